//! Uses a session's refresh token for something else than a refresh: a token for one resource (RFC 8707, section 2.2).
//!
//! 1. A refresh token works once at many providers, so whoever uses one has the session's turn, as a refresh has: nobody else uses it
//!    meanwhile, at this gateway or another.
//! 2. A refresh token that comes back takes the place of the one that was used (RFC 6749, section 6): the session gets a newer text.
//! 3. Whatever the provider says of the resource, it says nothing of the session: a refusal ends no session.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::base::clock::Clock;
use crate::endpoint::refreshing::LONGEST_WAIT;
use crate::endpoint::site::Site;
use crate::provider::{Provider, ProviderFault};
use crate::session::model::Session;
use crate::session::refresh::flight::Turn;
use crate::session::refresh::home::Home;
use crate::session::refresh::refreshes::{Refreshes, Taken};
use crate::session::stored::{Chance, Lodging, Place};
use crate::token::grant::{Fetched, Grant};

/// How often somebody else may be faster.
const TRIES: usize = 3;

/// Whoever borrows the refresh token of one session.
pub struct Borrower {
    refreshes: Arc<Refreshes>,
    provider: Arc<Provider>,
    clock: Clock,
    lodging: Lodging,
    session: Arc<Session>,
    carried: u32,
}

impl Borrower {
    /// A borrower for `session`, which a cookie with the text of version `carried` led to, or the key that its `place` tells.
    pub fn new(
        site: &Site,
        provider: &Arc<Provider>,
        (session, carried): (&Arc<Session>, u32),
        place: Place<'_>,
    ) -> Self {
        Self {
            refreshes: Arc::clone(&site.refreshes),
            provider: Arc::clone(provider),
            clock: site.clock.clone(),
            lodging: site.lodging(place),
            session: Arc::clone(session),
            carried,
        }
    }

    /// Has the provider asked for what `grant` makes of the refresh token. To be run to its end in the back office: the refresh token may
    /// be used up by then.
    ///
    /// # Errors
    /// What the provider says, or that the refresh token can't be had now.
    pub async fn fetch(self, grant: impl Fn(SecretString) -> Grant + Send) -> Result<Fetched, ProviderFault> {
        for _ in 0..TRIES {
            match self.refreshes.take(&self.session, self.carried, self.clock.now()) {
                Taken::Over => return Err(self.over()),
                Taken::Later => return Err(self.later("the session's refresh is to be tried again first")),
                Taken::UnderWay(flight) => drop(flight.landed(LONGEST_WAIT).await),
                Taken::Yours(turn) => {
                    if let Some(outcome) = Box::pin(self.alone(turn, &grant)).await {
                        return outcome;
                    }
                }
            }
        }
        Err(self.later("others keep using the session's refresh token"))
    }

    /// `None` when another gateway has a newer text of the session.
    async fn alone(
        &self,
        turn: Turn,
        grant: &(impl Fn(SecretString) -> Grant + Send),
    ) -> Option<Result<Fetched, ProviderFault>> {
        let lodging = self.lodging.of(&turn);
        match lodging.chance(turn.session()).await {
            Ok(Chance::Alone) => Some(self.ask(turn, &lodging, grant).await),
            Ok(Chance::Yours(hold)) => {
                let outcome = Box::pin(hold.during(self.ask(turn, &lodging, grant))).await;
                hold.release().await;
                Some(outcome)
            }
            Ok(Chance::Newer(newest, ticket)) => {
                turn.landed(newest, Home::store(&ticket));
                None
            }
            Ok(Chance::Over) => {
                turn.refused();
                Some(Err(self.over()))
            }
            Err(fault) => {
                turn.unchanged();
                Some(Err(self.later(&fault.to_string())))
            }
        }
    }

    async fn ask(
        &self,
        turn: Turn,
        lodging: &Lodging,
        grant: &(impl Fn(SecretString) -> Grant + Send),
    ) -> Result<Fetched, ProviderFault> {
        let session = Arc::clone(turn.session());
        let Some(token) = session.tokens.refresh_token.clone() else {
            turn.unchanged();
            return Err(self.over());
        };
        let outcome = self.provider.grant(&grant(SecretString::from(token.clone()))).await;
        let replaced = outcome.as_ref().ok().and_then(Fetched::refresh_token).map(ExposeSecret::expose_secret);
        match replaced.filter(|replaced| **replaced != *token) {
            None => turn.unchanged(),
            Some(replaced) => {
                let mut newest = Session { version: session.version.saturating_add(1), ..Session::clone(&session) };
                newest.tokens.refresh_token = Some(replaced.to_owned());
                lodging.land(turn, &Arc::new(newest), &self.clock).await;
            }
        }
        outcome
    }

    fn later(&self, reason: &str) -> ProviderFault {
        ProviderFault::unavailable(self.provider.name(), reason)
    }

    /// A new sign-in mends it.
    fn over(&self) -> ProviderFault {
        ProviderFault::refused(self.provider.name(), "invalid_grant")
    }
}
