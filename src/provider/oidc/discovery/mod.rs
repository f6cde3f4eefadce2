//! The provider's metadata: where it is, which of it counts, and that it can't move from under us (`OpenID` Connect Discovery 1.0).
//!
//! Rules, each with a test:
//! 1. `issuer` in the document is the configured one, byte for byte (section 4.3).
//! 2. Every endpoint is `https`, or `http` where the issuer itself is; none has a user, password or fragment.
//! 3. No authorization, token, user information or revocation endpoint is at the home of another configured provider.
//! 4. An endpoint that moves to another origin while we run is not followed.

use std::sync::Arc;

use http::StatusCode;
use url::{Origin, Url};

use super::authorize::RESERVED;
use super::calls::Calls;
use super::library;
use crate::jose::json::parse_object;
use crate::provider::ProviderFault;
use crate::provider::neighbours::Neighbours;

/// Bound on a metadata document or key set, in bytes.
pub(super) const DOCUMENT_LIMIT: usize = 512 * 1024;

/// What we use of a provider's metadata, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) userinfo: Option<Url>,
    pub(super) jwks: Url,
    pub(super) end_session: Option<Url>,
    /// `revocation_endpoint` (RFC 8414, section 2).
    pub(super) revocation: Option<Url>,
    /// `authorization_response_iss_parameter_supported` (RFC 9207, section 3).
    pub(super) answers_with_issuer: bool,
    /// Whether it says that it takes the parameter `claims` (`OpenID` Connect Core 1.0, section 5.5).
    pub(super) takes_claims: bool,
}

/// Whose metadata it is to be.
pub(super) struct Home {
    pub(super) provider: Arc<str>,
    /// As configured, to be compared byte for byte.
    pub(super) issuer: String,
    pub(super) url: Url,
    pub(super) neighbours: Neighbours,
}

impl Home {
    /// Where the document is: the issuer without a slash at its end, then the well-known path (section 4.1).
    fn document(&self) -> Result<Url, ProviderFault> {
        let base = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        Url::parse(&format!("{base}/.well-known/openid-configuration"))
            .map_err(|_| ProviderFault::misconfigured(&self.provider, "`issuer` is no URL"))
    }

    /// Reads the document over the network and checks it.
    pub(super) async fn read(&self, calls: &Calls) -> Result<Metadata, ProviderFault> {
        let url = self.document()?;
        let answer = calls.get("the discovery document", &url, None, DOCUMENT_LIMIT).await?;
        if answer.status != StatusCode::OK {
            let status = answer.status.as_u16();
            let reason = format!("{url} answered {status}; is `issuer` exactly what the provider calls itself?");
            return Err(ProviderFault::misconfigured(&self.provider, reason));
        }
        self.check(&answer.body)
    }

    /// Checks the text of a document.
    fn check(&self, text: &[u8]) -> Result<Metadata, ProviderFault> {
        let untrusted = |reason: String| ProviderFault::untrusted(&self.provider, reason);
        let object = parse_object(text).map_err(|fault| untrusted(format!("its discovery document: {fault}")))?;
        let issuer = object.get("issuer").and_then(serde_json::Value::as_str).unwrap_or_default();
        if issuer != self.issuer {
            let named: String = issuer.chars().filter(char::is_ascii_graphic).take(200).collect();
            let configured = &self.issuer;
            return Err(untrusted(format!("its discovery document is of `{named}`, and `{configured}` is configured")));
        }
        let raw = library::parse_metadata(text).map_err(|library::Unreadable| {
            untrusted("its discovery document lacks what `OpenID` Connect Discovery 1.0, section 3 requires".to_owned())
        })?;
        let endpoint = |name: &str, text: &str| {
            self.endpoint(text).ok_or_else(|| untrusted(format!("its {name} is no URL that can be used")))
        };
        let optional = |name: &str, text: Option<&String>| text.map(|text| endpoint(name, text)).transpose();
        let token = raw.token.as_ref().ok_or_else(|| untrusted("it has no token_endpoint".to_owned()))?;
        let metadata = Metadata {
            authorization: endpoint("authorization_endpoint", &raw.authorization)?,
            token: endpoint("token_endpoint", token)?,
            userinfo: optional("userinfo_endpoint", raw.userinfo.as_ref())?,
            jwks: endpoint("jwks_uri", &raw.jwks)?,
            end_session: optional("end_session_endpoint", raw.end_session.as_ref())?,
            revocation: optional("revocation_endpoint", raw.revocation.as_ref())?,
            answers_with_issuer: raw.answers_with_issuer,
            takes_claims: raw.takes_claims,
        };
        if metadata.authorization.query_pairs().any(|(name, _)| RESERVED.contains(&name.as_ref())) {
            return Err(untrusted("its authorization_endpoint sets a parameter that is ours to set".to_owned()));
        }
        Ok(metadata)
    }

    fn endpoint(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        let secure = url.scheme() == "https" || (url.scheme() == "http" && self.url.scheme() == "http");
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        (secure && plain && url.has_host()).then_some(url)
    }

    /// Our secret and the person's tokens go to nobody else's host, and nobody signs in at one provider for another, whose
    /// code would then be redeemed at the wrong place (RFC 9700, section 4.4).
    pub(super) fn check_neighbours(&self, metadata: &Metadata) -> Result<(), ProviderFault> {
        let own = self.url.origin();
        let settled = self.neighbours.settle(&self.provider, &own, &metadata.token.origin());
        let stranger = settled.err().or_else(|| {
            let mut further =
                std::iter::once(&metadata.authorization).chain(&metadata.userinfo).chain(&metadata.revocation);
            further.find_map(|endpoint| self.neighbours.stranger_at(&self.provider, &own, &endpoint.origin()))
        });
        match stranger {
            None => Ok(()),
            Some(stranger) => {
                tracing::error!(provider = %self.provider, %stranger, "metadata names an endpoint at another provider's host");
                let reason = format!("its metadata names an endpoint at the host of provider `{stranger}`");
                Err(ProviderFault::untrusted(&self.provider, reason))
            }
        }
    }
}

impl Metadata {
    /// This metadata with every endpoint that left the origin where it was first seen put back to its place, and the names
    /// of those.
    pub(super) fn held_to(mut self, first: &Self) -> (Self, Vec<&'static str>) {
        let mut moved = Vec::new();
        let mut hold = |name: &'static str, now: &mut Url, then: &Url| {
            if origin_changed(now, then) {
                now.clone_from(then);
                moved.push(name);
            }
        };
        hold("authorization_endpoint", &mut self.authorization, &first.authorization);
        hold("token_endpoint", &mut self.token, &first.token);
        hold("jwks_uri", &mut self.jwks, &first.jwks);
        for (name, now, then) in [
            ("userinfo_endpoint", &mut self.userinfo, &first.userinfo),
            ("end_session_endpoint", &mut self.end_session, &first.end_session),
            ("revocation_endpoint", &mut self.revocation, &first.revocation),
        ] {
            if let (Some(now), Some(then)) = (now.as_mut(), then.as_ref()) {
                hold(name, now, then);
            }
        }
        (self, moved)
    }

    /// `self` with endpoints that only `other` has.
    pub(super) fn filled_from(mut self, other: &Self) -> Self {
        self.userinfo = self.userinfo.or_else(|| other.userinfo.clone());
        self.end_session = self.end_session.or_else(|| other.end_session.clone());
        self.revocation = self.revocation.or_else(|| other.revocation.clone());
        self
    }
}

fn origin_changed(one: &Url, two: &Url) -> bool {
    let (one, two): (Origin, Origin) = (one.origin(), two.origin());
    one != two
}

#[cfg(test)]
mod tests;
