//! Callers that bring an access token in place of a session (RFC 6750, RFC 9449, RFC 8705), on routes that take tokens.
//!
//! Rules, each with a test:
//! 1. A token comes in `Authorization` alone; form and query are no place for one (RFC 9700, section 4.3.2).
//! 2. A request has one credential: two `Authorization`, or a token beside a session's cookie or beside another token ([`second`]), are
//!    refused with 400.
//! 3. What another scheme says, and what says itself anything to a route that takes no tokens, is the application's business.
//! 4. A bound token comes with what it is bound to, each time: a proof of its key that was not there before, or the certificate of this
//!    connection. A token that is bound to no key is no token for `DPoP`, and one that is none for `Bearer`.
//! 5. Where nobody can tell whether a token holds, the answer is 503.

pub mod challenge;
pub mod metadata;
pub mod replay;
pub mod second;
pub mod table;

use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use self::challenge::Denial;
use self::replay::{Name, Replays};
use self::table::{Key, TokenTable};
use super::credential::Recognised;
use super::edge::Admitted;
use crate::base::clock::Timestamp;
use crate::config::settings::{Allow, PathPattern, RouteSettings};
use crate::endpoint::site::Site;
use crate::identity::vouched::Binding;
use crate::jose::proof::{self, Demand};
use crate::provider::bearer::{BearerFault, TokenIssuers};
use crate::session::chunks::RawSession;

/// The header of a proof (RFC 9449, section 4.1).
pub static DPOP: HeaderName = HeaderName::from_static("dpop");

/// What all routes that take tokens share.
pub struct BearerPlan {
    /// Whose tokens callers may bring.
    pub issuers: Arc<TokenIssuers>,
    /// The proofs that were there before.
    pub replays: Replays,
    /// Whether we ask clients for certificates, so that a token may be bound to one.
    pub certificates: bool,
}

/// Whose tokens a route takes.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// The issuers, by index, in ascending order. Never empty.
    issuers: Box<[usize]>,
    /// Names this set of issuers: what is known of a token counts only where the same issuers' tokens are taken.
    set: u64,
    /// All scopes that the route's rule speaks of, with spaces between.
    scopes: String,
    /// The route's path, as far as it is the same for all its requests, without a slash at its end.
    base: String,
}

impl Acceptance {
    /// What a route takes; `None` when it takes sessions alone.
    pub fn compile(route: &RouteSettings) -> Option<Self> {
        if route.bearer.is_empty() {
            return None;
        }
        let mut scopes: Vec<&str> = Vec::new();
        if let Allow::AnyOf(tables) = &route.allow {
            for scope in tables.iter().flat_map(|table| table.scopes.iter().flatten()) {
                if !scopes.contains(&scope.as_str()) {
                    scopes.push(scope);
                }
            }
        }
        let (PathPattern::Exact(path) | PathPattern::Below(path)) = &route.path;
        let base = path.strip_suffix('/').unwrap_or(path).to_owned();
        let list = format!("{:?}", route.bearer);
        let set = digest(&SHA256, list.as_bytes()).as_ref().first_chunk().copied().unwrap_or_default();
        Some(Self {
            issuers: route.bearer.as_slice().into(),
            set: u64::from_be_bytes(set),
            scopes: scopes.join(" "),
            base,
        })
    }

    /// Whether the route takes tokens of this issuer.
    pub fn takes(&self, issuer: usize) -> bool {
        self.issuers.contains(&issuer)
    }
}

/// A credential in `Authorization`.
enum Presented<'h> {
    /// None of ours.
    Nothing,
    Token {
        scheme: Scheme,
        /// As it came: [`token68`] says whether it may be one.
        token: &'h [u8],
    },
    Malformed(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Bearer,
    Dpop,
}

impl<'h> Presented<'h> {
    fn read(headers: &'h HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Self::Nothing };
        if values.next().is_some() {
            return Self::Malformed("the request has two Authorization headers");
        }
        let bytes = value.as_bytes();
        let length = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
        let (name, rest) = bytes.split_at_checked(length).unwrap_or_default();
        let scheme = if name.eq_ignore_ascii_case(b"bearer") {
            Scheme::Bearer
        } else if name.eq_ignore_ascii_case(b"dpop") {
            Scheme::Dpop
        } else {
            return Self::Nothing;
        };
        Self::Token { scheme, token: rest.trim_ascii() }
    }
}

/// `b64token` (RFC 6750, section 2.1).
fn token68(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let body = text.trim_end_matches('=');
    let is_one = !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte));
    is_one.then_some(text)
}

/// What a request shows of itself to a bound token.
struct Request<'r> {
    scheme: Scheme,
    /// SHA-256 of the token.
    hash: &'r [u8; 32],
    admitted: &'r Admitted,
    parts: &'r Parts,
    now: Timestamp,
}

/// One worker's view of what a request has to do with tokens.
pub(super) struct Desk<'a> {
    pub(super) plan: &'a BearerPlan,
    pub(super) site: &'a Site,
    pub(super) table: &'a TokenTable,
    pub(super) upstreams: usize,
}

impl Desk<'_> {
    /// Whom the token of this request speaks for, and the proof that came with it and now has served; `None` when it brings no token.
    pub(super) async fn recognise(
        &self,
        acceptance: &Acceptance,
        admitted: &Admitted,
        parts: &Parts,
        now: Timestamp,
    ) -> Result<Option<(Rc<Recognised>, Option<Name>)>, Denial> {
        let (scheme, token) = match Presented::read(&parts.headers) {
            Presented::Nothing => return Ok(None),
            Presented::Malformed(reason) => return Err(Denial::malformed(reason)),
            Presented::Token { scheme, token } => (scheme, token),
        };
        if !matches!(self.site.sessions.raw(&parts.headers), RawSession::Absent) {
            return Err(Denial::malformed("the request has a token and a session; send one of them"));
        }
        if second::is_in_query(&parts.uri) {
            return Err(Denial::malformed("the request has a second token in its query"));
        }
        let hash = hash(token);
        let key = Key { token: hash, issuers: acceptance.set };
        let known = self.table.find(&key).filter(|who| self.still_counts(who, now));
        let who = if let Some(who) = known {
            who
        } else {
            // What was verified before was well formed then.
            let token = token68(token).ok_or_else(|| Denial::malformed("the Authorization header holds no token"))?;
            self.verify(acceptance, token, key, scheme, now).await?
        };
        let Some(vouched) = who.bearer() else { return Err(Denial::invalid("the token is none", scheme)) };
        let request = Request { scheme, hash: &hash, admitted, parts, now };
        let proof = self.check_binding(&vouched.binding, &request)?;
        Ok(Some((who, proof)))
    }

    fn still_counts(&self, who: &Recognised, now: Timestamp) -> bool {
        who.bearer()
            .is_some_and(|vouched| now < vouched.until && self.plan.issuers.is_current(vouched.issuer, vouched.keys))
    }

    async fn verify(
        &self,
        acceptance: &Acceptance,
        token: &str,
        key: Key,
        scheme: Scheme,
        now: Timestamp,
    ) -> Result<Rc<Recognised>, Denial> {
        let (issuers, accepted, token) = (Arc::clone(&self.plan.issuers), acceptance.issuers.clone(), token.to_owned());
        let outcome = self.site.office.run(async move { issuers.vouch(&accepted, &token).await }).await;
        match outcome {
            Ok(Ok(vouched)) => {
                let is_kept = now < vouched.until;
                let who = Rc::new(Recognised::bearer_of(vouched, self.upstreams));
                if is_kept {
                    self.table.keep(key, Rc::clone(&who));
                }
                Ok(who)
            }
            Ok(Err(BearerFault::Refused(reason))) => Err(Denial::invalid(reason, scheme)),
            Ok(Err(BearerFault::Unknown(fault))) => {
                tracing::warn!(%fault, "an access token can't be checked");
                Err(Denial::unknown())
            }
            Err(_) => Err(Denial::unknown()),
        }
    }

    /// Whether the caller has what the token is bound to. Gives the proof of a key.
    fn check_binding(&self, binding: &Binding, request: &Request<'_>) -> Result<Option<Name>, Denial> {
        let scheme = request.scheme;
        if let Some(wanted) = &binding.certificate {
            let shown = request.admitted.certificate.as_deref().and_then(|certificate| certificate.names().first());
            let wanted = URL_SAFE_NO_PAD.decode(wanted).ok().map(|digest| fingerprint(&digest));
            if wanted.is_none() || shown != wanted.as_ref() {
                return Err(Denial::invalid(
                    "the token is bound to another certificate than this connection's",
                    scheme,
                ));
            }
        }
        match (&binding.key, scheme) {
            (None, Scheme::Bearer) => Ok(None),
            (Some(_), Scheme::Bearer) => {
                Err(Denial::invalid("the token is bound to a key; send it as DPoP with a proof", Scheme::Dpop))
            }
            (None, Scheme::Dpop) => {
                Err(Denial::invalid("the token is bound to no key, so a proof says nothing", scheme))
            }
            (Some(thumbprint), Scheme::Dpop) => self.check_proof(thumbprint, request).map(Some),
        }
    }

    fn check_proof(&self, thumbprint: &str, request: &Request<'_>) -> Result<Name, Denial> {
        let Request { hash, admitted, parts, now, .. } = *request;
        let mut proofs = parts.headers.get_all(&DPOP).iter();
        let proof = match (proofs.next().map(HeaderValue::to_str), proofs.next()) {
            (Some(Ok(proof)), None) => proof,
            (None, _) => return Err(Denial::unproven("the request has no proof (DPoP)")),
            _ => return Err(Denial::unproven("the request has several proofs, or one that can't be read (DPoP)")),
        };
        let url = admitted.visit.site.at(admitted.path.sent());
        let demand = Demand { method: parts.method.as_str(), url: &url, token_hash: hash, now };
        let proven = proof::check(proof, &demand).map_err(Denial::unproven)?;
        if proven.thumbprint != *thumbprint {
            return Err(Denial::unproven("the proof is by another key than the token's"));
        }
        let name = Name::of(&proven);
        match self.plan.replays.note(name, now) {
            replay::Noted::New => Ok(name),
            replay::Noted::Known => Err(Denial::unproven("the proof was there before (jti)")),
            replay::Noted::Full => {
                tracing::warn!("no more proofs of possession can be remembered for now");
                Err(Denial::unknown())
            }
        }
    }
}

/// As [`crate::net::client_certificate::ClientCertificate::names`] has it.
fn fingerprint(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a text never fails.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

fn hash(token: &[u8]) -> [u8; 32] {
    digest(&SHA256, token).as_ref().first_chunk().copied().unwrap_or_default()
}
