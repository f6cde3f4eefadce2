//! One refresh at a time over all gateways of a store: whoever has the session's lock asks the provider, and everyone else takes what
//! came of it.
//!
//! 1. The lock is lengthened for as long as its holder works, so it ends a few seconds after a holder that died.
//! 2. Nobody refreshes without it. While the store is away nobody does at all: a provider that sees a refresh token twice may end the
//!    whole sign-in (RFC 9700, section 4.14.2).
//! 3. Who has the lock looks at the record once more before asking, since another gateway may just have written it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{KeepFault, Replaced, StoredSessions};
use crate::session::model::Session;
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

/// Keeps a session in its place while it is refreshed.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    stored: StoredSessions,
    ticket: Ticket,
    host: String,
}

/// Who is to refresh a session.
#[derive(Debug)]
pub enum Chance {
    /// The caller, and nobody else for now.
    Yours(Hold),
    /// The caller, and nobody keeps others from it: the session is in a browser's cookies, and there is no store or it is away.
    Alone,
    /// Nobody: another gateway has, and this is what came of it, in the store under this key.
    Newer(Arc<Session>, Ticket),
    /// Nobody: the session is over.
    Over,
}

/// The lock of a session.
#[derive(Debug)]
pub struct Hold {
    stored: StoredSessions,
    lock: Lock,
}

/// What it means that the store has no record.
#[derive(Clone, Copy, Debug)]
enum Absent {
    IsOver,
    NeverMoved,
}

fn taken() -> StoreFault {
    StoreFault::away("another gateway has been at the same session for too long")
}

impl Keeper {
    /// Keeps the session of `ticket` at the site with this host.
    pub(super) fn new(stored: &StoredSessions, ticket: Ticket, host: &str) -> Self {
        Self { stored: stored.clone(), ticket, host: host.to_owned() }
    }

    /// Who is to refresh the session, of which the caller has the text of `version`. Waits while another gateway does.
    ///
    /// # Errors
    /// When the store gives no answer, or another gateway takes too long.
    pub(super) async fn chance(&self, version: u32) -> Result<Chance, StoreFault> {
        let chance = self.wait_for_chance(version, Absent::IsOver).await?;
        chance.ok_or_else(taken)
    }

    /// As [`Self::chance`], of a session in a browser's cookies: others may have moved it here, and if the store does not tell, they have not.
    ///
    /// # Errors
    /// When another gateway takes too long.
    pub(super) async fn chance_of_text(&self, version: u32) -> Result<Chance, StoreFault> {
        match self.wait_for_chance(version, Absent::NeverMoved).await {
            Ok(chance) => chance.ok_or_else(taken),
            Err(_) => Ok(Chance::Alone),
        }
    }

    /// `None` when another gateway takes too long.
    async fn wait_for_chance(&self, version: u32, absent: Absent) -> Result<Option<Chance>, StoreFault> {
        let store = self.stored.store();
        let name = RecordKey::of("refresh", &[self.ticket.record().bytes()]);
        let until = Instant::now() + PATIENCE;
        loop {
            let lock = store.try_lock(&name, LIFE).await?;
            let hold = lock.map(|lock| Hold { stored: self.stored.clone(), lock });
            let looked = self.look(version, absent).await;
            if let Some(hold) = hold {
                if matches!(looked, Ok(None)) {
                    return Ok(Some(Chance::Yours(hold)));
                }
                hold.release().await;
            }
            if let Some(chance) = looked? {
                return Ok(Some(chance));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What others made of the text of `version`; `None` when it is still the newest.
    async fn look(&self, version: u32, absent: Absent) -> Result<Option<Chance>, StoreFault> {
        let found = match absent {
            Absent::IsOver => self.stored.reread(&self.ticket, &self.host).await?,
            Absent::NeverMoved => self.stored.find_moved(&self.ticket, &self.host).await?,
        };
        Ok(match found {
            None if matches!(absent, Absent::IsOver) => Some(Chance::Over),
            Some(kept) if kept.session().version > version => {
                Some(Chance::Newer(Arc::clone(kept.session()), self.ticket.clone()))
            }
            None | Some(_) => None,
        })
    }

    /// Puts what came of a refresh in the place of the text before.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) async fn keep(&self, session: &Session) -> Result<Replaced, KeepFault> {
        self.stored.replace(&self.ticket, &self.host, session).await
    }

    /// Puts a session that outgrew its cookies into the store.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) async fn take_in(&self, session: &Arc<Session>) -> Result<Replaced, KeepFault> {
        self.stored.take_in(&self.ticket, &self.host, session).await
    }

    /// Whether the session can still be used.
    pub(super) fn lives(&self, session: &Session) -> bool {
        self.stored.lives(session)
    }

    /// What leads to it.
    pub(super) const fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Takes a session that is over out of the store. Whoever calls this has marked it as ended.
    pub(super) fn remove(&self) {
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

#[cfg(test)]
mod tests {
    use super::super::tests::{Desk, HOST, session};
    use super::*;

    fn place<'a>(stored: &'a StoredSessions, ticket: &'a Ticket) -> Keeper {
        Keeper::new(stored, ticket.clone(), HOST)
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
        let Chance::Newer(found, _) = waiting.await.unwrap() else { panic!("it refreshes once more") };
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
