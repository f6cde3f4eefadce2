//! Calls to one provider: which origins they may go to, and what their failures mean.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};
use url::{Origin, Url};

use crate::config::settings::ProviderSettings;
use crate::http::client::{Answer, Call, Client, ClientFault};
use crate::net::connect::{ConnectFault, Reach};
use crate::net::outbound_proxy::Proxies;
use crate::net::tls_client::{Trust, client_config};
use crate::provider::ProviderFault;

/// Our line to one provider.
pub(super) struct Calls {
    provider: Arc<str>,
    client: Client,
    issuer: Origin,
    private: Vec<Origin>,
    time_limit: Duration,
}

impl Calls {
    /// A line to the provider at `issuer`.
    pub(super) fn new(settings: &ProviderSettings, issuer: &Url, proxies: Arc<Proxies>) -> Result<Self, ProviderFault> {
        let trust = settings.ca.as_deref().map_or(Trust::System, Trust::SystemAnd);
        let tls = match client_config(trust, &[b"http/1.1"]) {
            Ok(config) => Some(config),
            // A provider on this machine for development needs no certificates.
            Err(_) if issuer.scheme() == "http" && settings.ca.is_none() => None,
            Err(cause) => return Err(ProviderFault::misconfigured(&settings.name, cause.to_string())),
        };
        Ok(Self {
            provider: Arc::clone(&settings.name),
            client: Client::new(tls, proxies),
            issuer: issuer.origin(),
            private: settings.private_endpoints.iter().map(Url::origin).collect(),
            time_limit: settings.timeout,
        })
    }

    /// Reads JSON from `url`; `what` names it in messages.
    pub(super) async fn get(
        &self,
        what: &str,
        url: &Url,
        authorization: Option<HeaderValue>,
        body_limit: usize,
    ) -> Result<Answer, ProviderFault> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(http::header::AUTHORIZATION, authorization);
        }
        let mut call = Call::get(url, self.reach(url), self.time_limit);
        call.headers = headers;
        call.body_limit = body_limit;
        self.make(what, call).await
    }

    /// Sends a form to `url`.
    pub(super) async fn post(
        &self,
        what: &str,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        body_limit: usize,
    ) -> Result<Answer, ProviderFault> {
        let mut call = Call::get(url, self.reach(url), self.time_limit);
        (call.method, call.headers, call.body, call.body_limit) = (Method::POST, headers, body, body_limit);
        self.make(what, call).await
    }

    async fn make(&self, what: &str, call: Call<'_>) -> Result<Answer, ProviderFault> {
        let origin = call.url.origin().ascii_serialization();
        let answer = self.client.call(call).await.map_err(|cause| self.fault(what, &origin, &cause))?;
        if answer.status.is_server_error() || answer.status == http::StatusCode::TOO_MANY_REQUESTS {
            let status = answer.status.as_u16();
            return Err(ProviderFault::unavailable(&self.provider, format!("{what} at {origin} answered {status}")));
        }
        Ok(answer)
    }

    /// The issuer's own origin and those that the operator named may be anywhere; what metadata names must be public, lest
    /// it have us call services inside (RFC 9728, section 7.7 says so of metadata, and it holds for any).
    fn reach(&self, url: &Url) -> Reach {
        let origin = url.origin();
        if origin == self.issuer || self.private.contains(&origin) { Reach::Anywhere } else { Reach::PublicOnly }
    }

    fn fault(&self, what: &str, origin: &str, cause: &ClientFault) -> ProviderFault {
        let reason = format!("{what} at {origin}: {cause}");
        match cause {
            ClientFault::Connect(ConnectFault::NotPublic(_)) => ProviderFault::untrusted(
                &self.provider,
                format!("{reason}; add \"{origin}\" to `private_endpoints` if it belongs there"),
            ),
            ClientFault::Url | ClientFault::TooLarge(_) | ClientFault::Redirect(_) | ClientFault::Encoded => {
                ProviderFault::untrusted(&self.provider, reason)
            }
            ClientFault::NoTls => ProviderFault::misconfigured(&self.provider, reason),
            ClientFault::Connect(_) | ClientFault::Proxy(_) | ClientFault::Timeout(_) | ClientFault::Http(_) => {
                ProviderFault::unavailable(&self.provider, reason)
            }
        }
    }
}
