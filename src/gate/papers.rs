//! What an admitted request takes along to prove who asks: a token of the session, one that is signed or fetched for the upstream, or a
//! credential of the gateway's own.
//!
//! What is at hand costs a look into the purse of the session; only what has to be fetched waits, in the back office.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use secrecy::SecretString;

use super::credential::Recognised;
use super::handle::Gate;
use super::pass::Passage;
use super::plan::UpstreamPlan;
use crate::config::settings::SubjectToken;
use crate::endpoint::borrowing::Borrower;
use crate::forward::request_out::{Authorization, Papers};
use crate::identity::vouched::Binding;
use crate::provider::ProviderFault;
use crate::token::assertion::{About, Assertion};
use crate::token::grant::{Grant, Whose};
use crate::token::plan::{Bearer, Wanted};
use crate::token::purse::{Kept, Place, Purse};
use crate::token::relay::{self, TokenProblem};

/// Why a request can't go on to an upstream that wants a token.
#[derive(Debug, thiserror::Error)]
pub enum NoPapers {
    /// The session has none, or none can be made of it.
    #[error(transparent)]
    Problem(#[from] TokenProblem),
    /// The provider gave none for the person.
    #[error(transparent)]
    Refused(ProviderFault),
    /// The provider gave none for the gateway itself: no sign-in would mend that.
    #[error(transparent)]
    Ours(ProviderFault),
    /// The back office is gone, or the person's provider is.
    #[error("there is nobody to ask for a token")]
    Nobody,
}

/// What there is for a request.
pub enum AtHand<'a> {
    /// All that its upstream wants.
    Papers(Papers),
    /// A token has to be fetched first.
    Wanted(&'a Wanted),
}

/// What goes along, from what is at hand.
///
/// # Errors
/// When there is no token where one is needed. Whoever may come without any is not turned away for having none.
pub fn at_hand<'a>(gate: &Gate, passage: &Passage<'_>, plan: &'a UpstreamPlan) -> Result<AtHand<'a>, NoPapers> {
    let who = passage.who.as_deref();
    let is_public = passage.route.rule.is_public();
    // A token that was for us is nobody else's unless the upstream asks for it (design, invariant 4).
    let visitors =
        if who.is_some_and(|who| who.bearer().is_some()) { Authorization::Nobodys } else { Authorization::Visitors };
    let authorization = match (&plan.tokens.bearer, who) {
        (Bearer::Visitors, _) => visitors,
        (Bearer::Static(credential), _) => {
            let mut papers = papers(gate, passage, plan, visitors)?;
            papers.credential = Some(Arc::clone(credential));
            return Ok(AtHand::Papers(papers));
        }
        (Bearer::Fetched(wanted), who) => match kept(gate, passage, wanted, who) {
            Some(value) => Authorization::Ours(value),
            None if who.is_some() || matches!(**wanted, Wanted::ClientCredentials(_)) => {
                return Ok(AtHand::Wanted(wanted));
            }
            None => Authorization::Nobodys,
        },
        (Bearer::Session(_) | Bearer::Assertion(_), None) => Authorization::Nobodys,
        (Bearer::Session(which), Some(who)) => {
            let relayed = who.session().map_or_else(
                || relay_own(*which, who),
                |session| relay::authorization(*which, &session.tokens, passage.now).map(Authorization::Ours),
            );
            match relayed {
                Ok(authorization) => authorization,
                Err(_) if is_public => Authorization::Nobodys,
                Err(problem) => return Err(problem.into()),
            }
        }
        (Bearer::Assertion(assertion), Some(who)) => {
            Authorization::Ours(signed(gate, passage, who, assertion, Place::Bearer)?)
        }
    };
    papers(gate, passage, plan, authorization).map(AtHand::Papers)
}

/// What the upstream gets of a bearer caller: the very token of the request, as its `Authorization` has it. One that is bound to the
/// caller's hands is of no use in ours.
fn relay_own(which: SubjectToken, who: &Recognised) -> Result<Authorization, TokenProblem> {
    match which {
        SubjectToken::IdToken => Err(TokenProblem::Missing("ID token")),
        SubjectToken::AccessToken if is_bound(who) => Err(TokenProblem::Bound),
        SubjectToken::AccessToken => Ok(Authorization::Visitors),
    }
}

fn is_bound(who: &Recognised) -> bool {
    who.bearer().is_some_and(|token| token.binding != Binding::default())
}

/// The token of a bearer caller's request (RFC 6750, section 2.1; RFC 9449, section 7.1), which was verified before.
fn own_token(parts: &Parts) -> Option<&str> {
    let (scheme, token) = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    ["Bearer", "DPoP"].iter().any(|known| scheme.eq_ignore_ascii_case(known)).then(|| token.trim())
}

/// What goes along, with a token that is fetched now.
///
/// # Errors
/// When the provider gives none and the last one has ended.
pub async fn fetched(
    gate: &Gate,
    passage: &Passage<'_>,
    plan: &UpstreamPlan,
    wanted: &Wanted,
    parts: &Parts,
) -> Result<Papers, NoPapers> {
    let site = &passage.admitted.visit.site;
    let purse = purse(gate, passage, wanted, passage.who.as_deref());
    let authorization = match fetch(gate, passage, plan, wanted, parts).await {
        Ok(kept) => {
            let value = kept.value.clone();
            if let Some(purse) = purse {
                purse.keep(Place::Bearer, site, kept);
            }
            Authorization::Ours(value)
        }
        Err(error) => {
            let is_over = matches!(&error, NoPapers::Refused(fault) if fault.asks_for_sign_in());
            let last = purse.filter(|_| !is_over).and_then(|purse| purse.last(Place::Bearer, site, passage.now));
            match last {
                Some(value) => {
                    let request_id = &*passage.admitted.visit.request_id;
                    tracing::warn!(request_id, upstream = &*plan.name, %error, "no new token; the last one has not ended yet");
                    Authorization::Ours(value)
                }
                None if passage.route.rule.is_public() && !matches!(wanted, Wanted::ClientCredentials(_)) => {
                    Authorization::Nobodys
                }
                None => return Err(error),
            }
        }
    };
    papers(gate, passage, plan, authorization)
}

/// The rest that goes along with this `Authorization`.
fn papers(
    gate: &Gate,
    passage: &Passage<'_>,
    plan: &UpstreamPlan,
    authorization: Authorization,
) -> Result<Papers, NoPapers> {
    let beside = match (&plan.tokens.beside, &authorization) {
        (Some(name), Authorization::Ours(value)) => bare(value).map(|value| (name.clone(), value)),
        _ => None,
    };
    let assertion: Option<(HeaderName, HeaderValue)> = match (&plan.tokens.assertion, passage.who.as_deref()) {
        (Some(assertion), Some(who)) => {
            Some((assertion.header().clone(), signed(gate, passage, who, assertion, Place::Assertion)?))
        }
        _ => None,
    };
    Ok(Papers { authorization, headers: [beside, assertion], credential: None })
}

/// A token without the `Bearer` before it.
fn bare(value: &HeaderValue) -> Option<HeaderValue> {
    let mut bare = HeaderValue::from_bytes(value.as_bytes().strip_prefix(b"Bearer ")?).ok()?;
    bare.set_sensitive(true);
    Some(bare)
}

/// An assertion: the one that is kept, or a new one.
fn signed(
    gate: &Gate,
    passage: &Passage<'_>,
    who: &Recognised,
    assertion: &Assertion,
    place: Place,
) -> Result<HeaderValue, NoPapers> {
    let signer = &gate.plan.site.signer;
    let site = &passage.admitted.visit.site;
    let purse = who.purse(passage.route.upstream);
    if let Some(value) = purse.and_then(|purse| purse.fresh(place, site, signer.epoch(), passage.now)) {
        return Ok(value);
    }
    let about = About {
        principal: who.principal(),
        session: who.session().map(|session| &session.id),
        host: site.authority(),
        now: passage.now,
    };
    let prefix = match place {
        Place::Bearer => "Bearer ",
        Place::Assertion => "",
    };
    let kept = assertion.write(about, signer, prefix)?;
    let value = kept.value.clone();
    if let Some(purse) = purse {
        purse.keep(place, site, kept);
    }
    Ok(value)
}

/// A fetched token that need not be fetched anew yet.
fn kept(gate: &Gate, passage: &Passage<'_>, wanted: &Wanted, who: Option<&Recognised>) -> Option<HeaderValue> {
    let purse = purse(gate, passage, wanted, who)?;
    purse.fresh(Place::Bearer, &passage.admitted.visit.site, 0, passage.now)
}

/// Where a fetched token is kept: in the session that it is of, or in the gateway's own purse.
fn purse<'a>(gate: &'a Gate, passage: &Passage<'_>, wanted: &Wanted, who: Option<&'a Recognised>) -> Option<&'a Purse> {
    match wanted {
        Wanted::ClientCredentials(_) => gate.purses.get(passage.route.upstream),
        Wanted::Exchange(_) | Wanted::Resource(_) => who?.purse(passage.route.upstream),
    }
}

async fn fetch(
    gate: &Gate,
    passage: &Passage<'_>,
    plan: &UpstreamPlan,
    wanted: &Wanted,
    parts: &Parts,
) -> Result<Kept, NoPapers> {
    let site = &gate.plan.site;
    let who = passage.who.as_deref();
    let secret = |text: &str| SecretString::from(text.to_owned());
    let (provider, grant, whose) = match (wanted, who) {
        (Wanted::ClientCredentials(settings), _) => {
            (&settings.provider, Grant::ClientCredentials(settings.target.clone()), Whose::Gateway)
        }
        (Wanted::Exchange(settings), Some(who)) => {
            let subject = match (who.session(), settings.subject) {
                (Some(session), kind) => relay::of_session(kind, &session.tokens, passage.now)?,
                (None, SubjectToken::IdToken) => return Err(TokenProblem::Missing("ID token").into()),
                (None, SubjectToken::AccessToken) => own_token(parts).ok_or(TokenProblem::Missing("access token"))?,
            };
            let (requested, target) = (settings.requested, settings.target.clone());
            let grant = Grant::Exchange { subject: secret(subject), kind: settings.subject, requested, target };
            (&who.principal().provider, grant, whose(who))
        }
        (Wanted::Resource(settings), Some(who)) => {
            let token = who.session().and_then(|session| session.tokens.refresh_token.as_deref());
            let token = secret(token.ok_or(TokenProblem::Missing("refresh token"))?);
            let (resource, scopes) = (settings.resource.clone(), settings.scopes.clone());
            (&who.principal().provider, Grant::Refresh { token, resource, scopes }, whose(who))
        }
        (Wanted::Exchange(_) | Wanted::Resource(_), None) => return Err(NoPapers::Nobody),
    };
    let is_ours = matches!(whose, Whose::Gateway);
    let offer = site.offer(provider).ok_or(NoPapers::Nobody)?;
    let key = grant.key(provider, &plan.name, whose);
    let borrower = who.filter(|_| matches!(wanted, Wanted::Resource(_))).and_then(|who| {
        let place = who.place(passage.admitted.visit.site.host());
        Some(Borrower::new(site, &offer.provider, who.carried()?, place))
    });
    let (vault, provider) = (gate.plan.vault.clone(), Arc::clone(&offer.provider));
    // In the back office to its end: whoever stops waiting leaves the token to the next who asks.
    let asking = async move {
        match borrower {
            Some(borrower) => borrower.fetch(|token| grant.with_refresh_token(token)).await,
            None => provider.grant(&grant).await,
        }
    };
    let outcome = site.office.run(async move { vault.get(key, asking).await }).await;
    let outcome = outcome.map_err(|_dropped| NoPapers::Nobody)?;
    let fetched = outcome.map_err(if is_ours { NoPapers::Ours } else { NoPapers::Refused })?;
    Ok(fetched.kept())
}

fn whose(who: &Recognised) -> Whose<'_> {
    let principal = who.principal();
    who.session().map_or(Whose::Caller(principal), |session| Whose::Session(&session.id, principal))
}

impl NoPapers {
    /// Whether a new sign-in may mend it.
    pub fn asks_for_sign_in(&self) -> bool {
        match self {
            Self::Problem(problem) => matches!(problem, TokenProblem::Expired),
            Self::Refused(fault) => fault.asks_for_sign_in(),
            Self::Ours(_) | Self::Nobody => false,
        }
    }
}

/// Whether what an upstream gets is of no use once the session's access token has ended, so that it is refreshed first.
pub const fn needs_access_token(bearer: &Bearer) -> bool {
    match bearer {
        Bearer::Session(SubjectToken::AccessToken) => true,
        Bearer::Fetched(wanted) => {
            matches!(**wanted, Wanted::Exchange(ref settings) if matches!(settings.subject, SubjectToken::AccessToken))
        }
        Bearer::Session(SubjectToken::IdToken) | Bearer::Visitors | Bearer::Assertion(_) | Bearer::Static(_) => false,
    }
}
