//! One refresh at a time over all gateways of a store: whoever has the session's lock asks the provider, and everyone else takes what
//! came of it.
//!
//! 1. The lock is lengthened for as long as its holder works, so it ends a few seconds after a holder that died.
//! 2. Nobody refreshes without it. While the store is away nobody does at all: a provider that sees a refresh token twice may end the
//!    whole sign-in (RFC 9700, section 4.14.2).
//! 3. Who has the lock looks at the record once more before asking, since another gateway may just have written it.
//! 4. What came of it is written before anybody uses it. If the store goes away just then, it is used here, and written when the store is
//!    back: what was there before may be worth nothing any more.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{KeepFault, Replaced, StoredSessions};
use crate::base::clock::Clock;
use crate::session::model::Session;
use crate::session::refresh::flight::Turn;
use crate::session::store::{Lock, RecordKey, StoreFault};
use crate::session::ticket::Ticket;

/// How long a holder that died keeps the others out.
const LIFE: Duration = Duration::from_secs(5);
/// How often a holder that lives lengthens that.
const BEAT: Duration = Duration::from_millis(1_500);
/// Between two looks at what another gateway makes of it.
const PAUSE: Duration = Duration::from_millis(150);
/// The longest that another gateway is waited for.
const PATIENCE: Duration = Duration::from_secs(40);

/// The first and the longest pause between two tries to write what a store did not take.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How long such tries go on: by then nobody has the tokens that were refreshed.
const KEPT_IN_MIND: Duration = Duration::from_hours(1);

/// Where a session lives.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The sessions of the store.
    pub stored: &'a StoredSessions,
    /// The key to this one.
    pub ticket: &'a Ticket,
    /// The host of its site.
    pub host: &'a str,
}

/// Keeps a session in its place while it is refreshed.
#[derive(Clone, Debug)]
pub struct Keeper {
    stored: StoredSessions,
    ticket: Ticket,
    host: String,
}

/// Who is to refresh a session.
#[derive(Debug)]
pub enum Chance {
    /// The caller, and nobody else for now.
    Yours(Hold),
    /// Nobody: another gateway has, and this is what came of it.
    Newer(Arc<Session>),
    /// Nobody: the session is over.
    Over,
}

/// The lock of a session.
#[derive(Debug)]
pub struct Hold {
    stored: StoredSessions,
    lock: Lock,
}

impl Place<'_> {
    /// Somebody to keep the session there.
    pub fn keeper(self) -> Keeper {
        Keeper { stored: self.stored.clone(), ticket: self.ticket.clone(), host: self.host.to_owned() }
    }
}

impl Keeper {
    /// Who is to refresh the session, of which the caller has the text of `version`. Waits while another gateway does.
    ///
    /// # Errors
    /// When the store gives no answer, or another gateway takes too long.
    pub async fn chance(&self, version: u32) -> Result<Chance, StoreFault> {
        let store = self.stored.store();
        let name = RecordKey::of("refresh", &[self.ticket.record().bytes()]);
        let until = Instant::now() + PATIENCE;
        loop {
            let lock = store.try_lock(&name, LIFE).await?;
            let hold = lock.map(|lock| Hold { stored: self.stored.clone(), lock });
            let looked = self.look(version).await;
            if let Some(hold) = hold {
                if matches!(looked, Ok(None)) {
                    return Ok(Chance::Yours(hold));
                }
                hold.release().await;
            }
            if let Some(chance) = looked? {
                return Ok(chance);
            }
            if Instant::now() >= until {
                return Err(StoreFault::away("another gateway has been at the same session for too long"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What others made of the text of `version`; `None` when it is still the newest.
    async fn look(&self, version: u32) -> Result<Option<Chance>, StoreFault> {
        Ok(match self.stored.reread(&self.ticket, &self.host).await? {
            None => Some(Chance::Over),
            Some(kept) if kept.session().version > version => Some(Chance::Newer(Arc::clone(kept.session()))),
            Some(_) => None,
        })
    }

    /// Puts what came of a refresh in the place of the text before.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn keep(&self, session: &Session) -> Result<Replaced, KeepFault> {
        self.stored.replace(&self.ticket, &self.host, session).await
    }

    /// Takes a session that is over out of the store. Whoever calls this has marked it as ended.
    pub fn remove(&self) {
        self.stored.remove(&self.ticket);
    }
}

impl Hold {
    /// Does `work`, and keeps the lock meanwhile.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(BEAT) => {
                    // A store that is away now may be back before the lock has ended.
                    drop(self.stored.store().lengthen(&self.lock, LIFE).await);
                }
            }
        }
    }

    /// Lets others have it. If the store can't be told, it ends by itself.
    pub async fn release(self) {
        drop(self.stored.store().unlock(self.lock).await);
    }
}

/// Ends `turn` with `newest`, which is in its place by then, of a session that lives in a store. Where the store can't take it now, those
/// of this gateway have it at once, and this goes on until the store does. False when the session was ended meanwhile: then nobody has
/// `newest`.
pub async fn land(keeper: Option<&Keeper>, turn: Turn, newest: &Arc<Session>, clock: &Clock) -> bool {
    let Some(keeper) = keeper else {
        turn.landed(Arc::clone(newest));
        return true;
    };
    match keeper.keep(newest).await {
        Ok(Replaced::Written(kept) | Replaced::Newer(kept)) => turn.landed(Arc::clone(kept.session())),
        Ok(Replaced::Over) => {
            turn.refused();
            return false;
        }
        Err(fault) => {
            tracing::warn!(error = %fault, "new tokens of a session are written when its store is back");
            turn.landed(Arc::clone(newest));
            keep_later(keeper, newest, clock).await;
        }
    }
    true
}

/// Tries again to write what a store did not take, for as long as anybody may want it. One that was ended meanwhile is not there to be
/// written over.
async fn keep_later(keeper: &Keeper, newest: &Session, clock: &Clock) {
    let mut pause = FIRST_PAUSE;
    while clock.now() < newest.used.after(KEPT_IN_MIND) {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        if keeper.keep(newest).await.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Desk, HOST, session};
    use super::*;

    fn place<'a>(stored: &'a StoredSessions, ticket: &'a Ticket) -> Keeper {
        Place { stored, ticket, host: HOST }.keeper()
    }

    #[tokio::test]
    async fn of_two_gateways_one_refreshes_and_the_other_takes_what_came_of_it() {
        let desk = Desk::new();
        let (one, two) = (desk.gateway(), desk.gateway());
        let ticket = one.create(session(), HOST).await.unwrap();
        let (here, there) = (place(&one, &ticket), place(&two, &ticket));
        let Chance::Yours(hold) = here.chance(1).await.unwrap() else { panic!("nobody has it") };
        let waiting = tokio::spawn(async move { there.chance(1).await.unwrap() });
        let newest = Session { version: 2, ..Session::clone(&session()) };
        // Longer than the lock lives by itself.
        let kept = hold
            .during(async {
                tokio::time::sleep(LIFE + BEAT).await;
                here.keep(&newest).await.unwrap()
            })
            .await;
        assert!(matches!(kept, Replaced::Written(_)));
        let Chance::Newer(found) = waiting.await.unwrap() else { panic!("it refreshes once more") };
        assert_eq!(found.version, 2);
        hold.release().await;
        let Chance::Yours(_) = here.chance(2).await.unwrap() else { panic!("it was given back") };
    }

    #[tokio::test]
    async fn a_holder_that_died_keeps_nobody_out_for_long() {
        let desk = Desk::new();
        let (one, two) = (desk.gateway(), desk.gateway());
        let ticket = one.create(session(), HOST).await.unwrap();
        let Chance::Yours(dead) = place(&one, &ticket).chance(1).await.unwrap() else { panic!("nobody has it") };
        let begun = Instant::now();
        assert!(matches!(place(&two, &ticket).chance(1).await.unwrap(), Chance::Yours(_)));
        assert!(begun.elapsed() < LIFE * 2, "{:?}", begun.elapsed());
        drop(dead);
    }

    #[tokio::test]
    async fn nobody_refreshes_a_session_that_is_over_or_while_the_store_is_away() {
        let desk = Desk::new();
        let one = desk.gateway();
        let (gone, there) = (one.create(session(), HOST).await.unwrap(), one.create(session(), HOST).await.unwrap());
        one.remove(&gone);
        assert!(matches!(place(&one, &gone).chance(1).await.unwrap(), Chance::Over));
        desk.break_store();
        assert!(place(&desk.gateway(), &there).chance(1).await.is_err());
    }
}
