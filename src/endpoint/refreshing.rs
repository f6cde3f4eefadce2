//! Has the tokens of sessions refreshed in the back office, and says which text of a session counts.
//!
//! 1. Whoever meets a session that is due starts its refresh, and goes on with the tokens that there are; only when the access token is
//!    over is there anything to wait for.
//! 2. A task that was started goes on to its end though the browser hangs up: the refresh token is used up by then.
//! 3. What a provider grants to a session that was ended meanwhile is given back.
//! 4. A session that lives in a store is refreshed by one gateway at a time, and what came of it is written before anybody uses it. If the
//!    store goes away just then, it is used here, and written when the store is back.
//! 5. A session that outgrows its cookies moves into the store, where there is one, and the browser gets the key to it in their place.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Clock, Timestamp};
use crate::endpoint::site::Site;
use crate::provider::{Provider, RefreshFault, Refreshed};
use crate::session::ended::{EndedSessions, Mark};
use crate::session::model::{Session, Tokens};
use crate::session::refresh::flight::{Flight, Turn};
use crate::session::refresh::home::Home;
use crate::session::refresh::refreshes::{Boarding, Forced, Look};
use crate::session::refresh::schedule::is_over;
use crate::session::stored::{Chance, Lodging, Place};

/// The longest that a request waits for a refresh.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A session that may be used.
#[derive(Debug)]
pub struct Settled {
    /// The text that counts: the one that was asked about, or a newer one.
    pub session: Arc<Session>,
    /// When to ask again.
    pub look_again: Timestamp,
    /// A refresh to wait for, since the access token is over.
    pub flight: Option<Flight>,
}

/// What became of a refresh that somebody asked for.
#[derive(Debug)]
pub enum Outcome {
    /// The session has newer tokens than before.
    Refreshed(Arc<Session>),
    /// The provider can't be asked now, or did not answer in time.
    Unavailable,
    /// There is nothing to refresh it with.
    Impossible,
    /// The provider ended the session.
    Over,
}

/// How `session` stands, which a cookie with the text of version `carried` led to, or with the key that its `place` tells; starts its
/// refresh when one is due. `None` when it is over.
pub fn settle(site: &Site, session: &Arc<Session>, carried: u32, place: Place<'_>, now: Timestamp) -> Option<Settled> {
    if let Some(ticket) = place.ticket.filter(|ticket| ticket.is_moved()) {
        site.refreshes.note_key(session, ticket, now);
    }
    let standing = match site.refreshes.look(session, carried, now) {
        Look::Over => return None,
        Look::Use(standing) => standing,
    };
    let session = standing.newer.unwrap_or_else(|| Arc::clone(session));
    let flight =
        standing.boarding.and_then(|boarding| depart(site, boarding, place)).filter(|_| is_over(&session, now));
    Some(Settled { session, look_again: standing.look_again, flight })
}

/// Has `session` refreshed though it is not due, where it lives, and waits for it.
pub async fn refresh_now(site: &Site, session: &Arc<Session>, place: Place<'_>) -> Outcome {
    if session.tokens.refresh_token.is_none() {
        return Outcome::Impossible;
    }
    let now = site.clock.now();
    let boarding = match site.refreshes.force(session, now) {
        Forced::Newer(newer) => return Outcome::Refreshed(newer),
        Forced::TooSoon => return Outcome::Unavailable,
        Forced::Over => return Outcome::Over,
        Forced::Boarding(boarding) => boarding,
    };
    if let Some(flight) = depart(site, boarding, place) {
        flight.landed(LONGEST_WAIT).await;
    }
    match site.refreshes.newest(session, session.version, now) {
        None => Outcome::Over,
        Some(newest) if newest.version > session.version => Outcome::Refreshed(newest),
        Some(_) => Outcome::Unavailable,
    }
}

/// Starts a refresh that nobody makes yet. Gives what to wait for.
fn depart(site: &Site, boarding: Boarding, place: Place<'_>) -> Option<Flight> {
    let (turn, flight) = match boarding {
        Boarding::UnderWay(flight) => return Some(flight),
        Boarding::Yours(turn, flight) => (turn, flight),
    };
    // Without its provider a session is not admitted at all.
    let offer = site.offer(&turn.session().principal.provider)?;
    let crew = Crew {
        provider: Arc::clone(&offer.provider),
        clock: site.clock.clone(),
        ended: site.ended.clone(),
        lodging: site.lodging(place).of(&turn),
    };
    site.office.start(crew.fly(turn));
    Some(flight)
}

/// Who makes one refresh.
struct Crew {
    provider: Arc<Provider>,
    clock: Clock,
    ended: EndedSessions,
    lodging: Lodging,
}

impl Crew {
    async fn fly(self, turn: Turn) {
        match self.lodging.chance(turn.session()).await {
            Ok(Chance::Alone) => self.ask(turn).await,
            Ok(Chance::Yours(hold)) => {
                Box::pin(hold.during(self.ask(turn))).await;
                hold.release().await;
            }
            Ok(Chance::Newer(newest, ticket)) => turn.landed(newest, Home::store(&ticket)),
            Ok(Chance::Over) => turn.refused(),
            Err(fault) => {
                let principal = turn.session().principal.id();
                tracing::warn!(principal, error = %fault, "the tokens of a session are not refreshed without its store");
                turn.postponed(self.clock.now());
            }
        }
    }

    async fn ask(&self, mut turn: Turn) {
        let session = Arc::clone(turn.session());
        let held = turn.take_held();
        let outcome = self.provider.refresh(&session, held).await;
        tell(&session, &outcome);
        match outcome {
            Ok(late) if self.ended.holds(&session) => {
                turn.refused();
                self.give_back(&late.tokens).await;
            }
            Ok(refreshed) => {
                let newest = Arc::new(renewed(&session, refreshed, self.clock.now()));
                if !self.lodging.land(turn, &newest, &self.clock).await {
                    self.give_back(&newest.tokens).await;
                }
            }
            Err(RefreshFault::Later { held, .. }) => turn.failed(self.clock.now(), held.map(|held| *held)),
            Err(RefreshFault::Over { .. } | RefreshFault::Untrusted(_)) => {
                if self.lodging.is_stored() {
                    // The refresh token was nobody else's to use, so the session is over wherever it is known.
                    self.ended.end(Mark::on_session(&session.id), self.clock.now());
                    self.lodging.remove();
                }
                turn.refused();
            }
        }
    }

    async fn give_back(&self, tokens: &Tokens) {
        if let Some(giving_back) = self.provider.revoke(tokens) {
            giving_back.await;
        }
    }
}

/// What operators read of it.
fn tell(session: &Session, outcome: &Result<Refreshed, RefreshFault>) {
    let (provider, principal) = (&*session.principal.provider, session.principal.id());
    match outcome {
        Ok(_) => tracing::info!(provider, principal, "the tokens of a session were refreshed"),
        Err(RefreshFault::Over { error, .. }) => {
            tracing::info!(provider, principal, error, "the provider ended a session");
        }
        Err(fault @ RefreshFault::Untrusted(_)) => {
            tracing::warn!(provider, principal, error = %fault, "a session is over: the answer to its refresh can't be trusted");
        }
        Err(fault @ RefreshFault::Later { .. }) => {
            tracing::warn!(provider, principal, error = %fault, "the tokens of a session can't be refreshed now");
        }
    }
}

/// The text of the session after a refresh. It is as old as before: a refresh lengthens no lifetime but that of being used.
fn renewed(session: &Session, refreshed: Refreshed, now: Timestamp) -> Session {
    let Refreshed { principal, tokens, obtained, authenticated, provider_session } = refreshed;
    Session {
        id: session.id,
        version: session.version.saturating_add(1),
        principal,
        tokens,
        obtained,
        nonce: session.nonce.clone(),
        created: session.created,
        asked: session.asked.clone(),
        round: session.round,
        used: now,
        authenticated,
        provider_session,
    }
}
