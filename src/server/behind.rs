//! Settings → plan of one upstream: how each address is reached, and the health checks that look after it.

use std::sync::Arc;

use http::HeaderValue;
use rustls_pki_types::ServerName;
use url::{Host, Url};

use super::plan::PlanError;
use crate::base::office::Office;
use crate::config::settings::{ApplicationSettings, Settings, UpstreamAddress, UpstreamKind, UpstreamSettings};
use crate::forward::check::Check;
use crate::forward::files::Files;
use crate::forward::fixed::FixedAnswer;
use crate::forward::health::{AddressHealth, Ejection};
use crate::gate::{AddressPlan, ApplicationPlan, Behind, UpstreamPlan};
use crate::http::visit::SiteOrigin;
use crate::identity::headers::IdentityHeaders;
use crate::net::dial::{Dial, Target, alpn};
use crate::net::pool::Keep;
use crate::net::tls_client::{ClientCertificate, Trust, client_config_with};
use crate::token::assertion::Surroundings;
use crate::token::plan::TokenPlan;

/// The `Host` of an upstream on a unix socket, which has no name.
const SOCKET_HOST: HeaderValue = HeaderValue::from_static("localhost");

/// One upstream, compiled. Touches no network, so that a check of the config can make it and throw it away.
///
/// # Errors
/// When an address, a certificate or an identity header can't be used.
pub fn upstream(settings: &UpstreamSettings, surroundings: &Surroundings) -> Result<UpstreamPlan, PlanError> {
    let kind = match &settings.kind {
        UpstreamKind::Application(application) => Behind::Application(self::application(&settings.name, application)?),
        UpstreamKind::Files(root) => Behind::Files(Files::new(root)),
        UpstreamKind::Answer(answer) => Behind::Answer(FixedAnswer::new(answer)),
        UpstreamKind::Elsewhere => Behind::Elsewhere,
    };
    Ok(UpstreamPlan {
        name: Arc::clone(&settings.name),
        kind,
        identity: IdentityHeaders::compile(settings)?,
        tokens: TokenPlan::compile(settings, surroundings)?,
        client_cert_header: matches!(&settings.kind, UpstreamKind::Application(application) if application.client_cert_header),
    })
}

/// What the assertions of an upstream may name: it is called by its URL, or by its name where it has none or several.
pub fn surroundings(settings: &Settings, upstream: &UpstreamSettings) -> Surroundings {
    let origin = |url: &Url| url.origin().ascii_serialization();
    let address = match &upstream.kind {
        UpstreamKind::Application(application) => match application.addresses.as_slice() {
            [UpstreamAddress::Web(url)] => Some(origin(url)),
            _ => None,
        },
        UpstreamKind::Files(_) | UpstreamKind::Answer(_) | UpstreamKind::Elsewhere => None,
    };
    let clients = settings.providers.iter().map(|provider| (Arc::clone(&provider.name), provider.client_id.clone()));
    Surroundings {
        public_url: origin(&settings.public_url).into(),
        upstream: address.map_or_else(|| Arc::clone(&upstream.name), Arc::from),
        clients: Arc::new(clients.collect()),
    }
}

/// Begins the health checks that an upstream asks for; each ends once nobody holds the plan any more.
pub fn look_after(settings: &UpstreamSettings, plan: &UpstreamPlan, office: &Office) {
    let (UpstreamKind::Application(settings), Behind::Application(plan)) = (&settings.kind, &plan.kind) else { return };
    let Some(health) = &settings.health else { return };
    for address in &plan.addresses {
        let check = Check {
            dial: address.dial.clone(),
            host: address.host.clone(),
            settings: health.clone(),
            health: Arc::downgrade(&address.health),
        };
        office.accompany(check.keep_asking());
    }
}

fn application(name: &Arc<str>, settings: &ApplicationSettings) -> Result<ApplicationPlan, PlanError> {
    let addresses: Vec<AddressPlan> =
        settings.addresses.iter().map(|found| address(name, found, settings)).collect::<Result<_, _>>()?;
    Ok(ApplicationPlan {
        addresses,
        balance: settings.balance,
        pass_host: settings.pass_host,
        response_timeout: settings.response_timeout,
        keep: Keep {
            idle_timeout: settings.idle_timeout,
            max_idle: settings.max_idle,
            max_requests: settings.max_requests,
        },
    })
}

fn address(name: &Arc<str>, found: &UpstreamAddress, settings: &ApplicationSettings) -> Result<AddressPlan, PlanError> {
    let dial = dial(name, found, settings)?;
    let host = match found {
        UpstreamAddress::Web(url) => SiteOrigin::new(url).ok_or_else(|| unusable(url))?.host_header().clone(),
        UpstreamAddress::Unix(_) => SOCKET_HOST,
    };
    let label = Arc::from(format!("{name} at {}", dial.target));
    let ejection = Ejection { after: settings.eject_after, first: settings.eject_for };
    Ok(AddressPlan { dial, host, health: Arc::new(AddressHealth::new(label, ejection)) })
}

fn dial(name: &Arc<str>, found: &UpstreamAddress, settings: &ApplicationSettings) -> Result<Dial, PlanError> {
    let (timeout, protocol) = (settings.connect_timeout, settings.protocol);
    let url = match found {
        UpstreamAddress::Web(url) => url,
        UpstreamAddress::Unix(path) => {
            return Ok(Dial { target: Target::Unix(path.clone()), tls: None, protocol, timeout });
        }
    };
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else { return Err(unusable(url)) };
    let host = match host {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let tls = if url.scheme() == "https" {
        let trust = settings.ca.as_deref().map_or(Trust::System, Trust::Only);
        let certificate =
            settings.client_certificate.as_ref().map(|files| ClientCertificate { cert: &files.cert, key: &files.key });
        let names = alpn(protocol);
        let offered: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let config = client_config_with(trust, &offered, certificate)
            .map_err(|cause| PlanError::UpstreamTls { upstream: Arc::clone(name), cause })?;
        let shown = settings.server_name.clone().unwrap_or_else(|| host.clone());
        Some((config, ServerName::try_from(shown).map_err(|_| unusable(url))?))
    } else {
        None
    };
    Ok(Dial { target: Target::Tcp { host, port }, tls, protocol, timeout })
}

fn unusable(url: &Url) -> PlanError {
    PlanError::Url(url.to_string())
}
