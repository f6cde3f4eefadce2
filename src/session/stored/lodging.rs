//! Where a session lives while its tokens change: in a store under its key, or in a browser's cookies, which it may outgrow.
//!
//! 1. What came of a refresh is in its place before anybody uses it. If a store goes away just then, it is used here, and written when the
//!    store is back: what was there before may be worth nothing any more.
//! 2. A session that outgrows its cookies moves into the store, where there is one, under a key that every gateway can come to which is
//!    shown the cookies from before. So these look there before they refresh what they were shown.
//! 3. A store that is away keeps nobody from refreshing what is in cookies: hardly any of it ever moved.
//! 4. Where there is no store, what outgrew its cookies lives in this process alone. The log tells of each such session once.

use std::sync::Arc;
use std::time::Duration;

use super::alone::{Chance, Keeper};
use super::{KeepFault, Replaced, StoredSessions};
use crate::base::clock::Clock;
use crate::session::cookie::{SessionCookies, SessionTooLarge};
use crate::session::model::Session;
use crate::session::refresh::flight::Turn;
use crate::session::refresh::home::Home;
use crate::session::refresh::refreshes::Refreshes;
use crate::session::store::StoreFault;
use crate::session::ticket::Ticket;

/// The first and the longest pause between two tries to write what a store did not take. Until it has, other gateways have only tokens
/// that may be over, and know only of a refresh token that was used. A store that is away is spared by whoever speaks to it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long such tries go on for a session that is in the store: by then nobody has the tokens that were refreshed.
const KEPT_IN_MIND: Duration = Duration::from_hours(1);

/// Where a session was found.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The host of its site.
    pub host: &'a str,
    /// The key to it, if it lives in a store.
    pub ticket: Option<&'a Ticket>,
}

/// Where a session lives while its tokens change.
#[derive(Clone, Debug)]
pub struct Lodging {
    cookies: Arc<SessionCookies>,
    stored: Option<StoredSessions>,
    host: String,
    ticket: Option<Ticket>,
}

impl Lodging {
    /// That of a session which was found at `place`.
    pub fn new(cookies: &Arc<SessionCookies>, stored: Option<&StoredSessions>, place: Place<'_>) -> Self {
        Self {
            cookies: Arc::clone(cookies),
            stored: stored.cloned(),
            host: place.host.to_owned(),
            ticket: place.ticket.cloned(),
        }
    }

    /// That of the text which `turn` is for: it may have moved since the cookies were written that led to it.
    #[must_use]
    pub fn of(&self, turn: &Turn) -> Self {
        let moved = match turn.home() {
            Home::Store(ticket) => Some(Ticket::clone(ticket)),
            Home::Browser | Home::Nowhere => None,
        };
        Self { ticket: self.ticket.clone().or(moved), ..self.clone() }
    }

    /// Who is to use the session's refresh token. Waits while another gateway does.
    ///
    /// # Errors
    /// When the store that it lives in gives no answer, or another gateway takes too long.
    pub async fn chance(&self, session: &Session) -> Result<Chance, StoreFault> {
        if let Some(keeper) = self.keeper() {
            return keeper.chance(session.version).await;
        }
        match self.mover(session) {
            Some(keeper) => keeper.chance_of_text(session.version).await,
            None => Ok(Chance::Alone),
        }
    }

    /// Ends `turn` with `newest`, which is in its place by then. Where a store can't take it now, those of this gateway have it at once, and
    /// this goes on until the store does. False when the session was ended meanwhile: then nobody has `newest`.
    pub async fn land(&self, turn: Turn, newest: &Arc<Session>, clock: &Clock) -> bool {
        let Some(keeper) = self.keeper() else {
            return match self.cookies.fits(newest) {
                Ok(()) => {
                    turn.landed(Arc::clone(newest), Home::Browser);
                    true
                }
                Err(problem) => Box::pin(self.move_out(turn, newest, &problem)).await,
            };
        };
        let home = Home::store(keeper.ticket());
        match keeper.keep(newest).await {
            Ok(Replaced::Written(kept) | Replaced::Newer(kept)) => turn.landed(Arc::clone(kept.session()), home),
            Ok(Replaced::Over) => {
                turn.refused();
                return false;
            }
            Err(fault) => {
                tracing::warn!(error = %fault, "new tokens of a session are written when its store is back");
                turn.landed(Arc::clone(newest), home);
                keep_later(&keeper, newest, clock).await;
            }
        }
        true
    }

    /// Ends `turn` with `newest`, which does not fit into cookies: it is in the store by then, where there is one. Else as [`Self::land`].
    pub async fn move_out(&self, turn: Turn, newest: &Arc<Session>, problem: &SessionTooLarge) -> bool {
        let principal = newest.principal.id();
        let refreshes = Arc::clone(turn.refreshes());
        let Some(keeper) = self.mover(newest) else {
            tell_of_size(&refreshes, newest, problem);
            turn.landed(Arc::clone(newest), Home::Nowhere);
            return true;
        };
        let home = Home::store(keeper.ticket());
        match keeper.take_in(newest).await {
            Ok(Replaced::Written(kept) | Replaced::Newer(kept)) => {
                let SessionTooLarge { bytes, limit, biggest, .. } = problem;
                tracing::info!(
                    principal,
                    bytes,
                    limit,
                    biggest,
                    "a session outgrew its cookies and lives in the store from now on"
                );
                turn.landed(Arc::clone(kept.session()), home);
            }
            Ok(Replaced::Over) => {
                turn.refused();
                return false;
            }
            Err(KeepFault::Store(fault)) if fault.may_pass() => {
                if refreshes.tells_size(&newest.id) {
                    tracing::warn!(
                        principal,
                        error = %fault,
                        bytes = problem.bytes,
                        limit = problem.limit,
                        biggest = problem.biggest,
                        "a session outgrew its cookies while its store is away; it goes on in this process and is written when the store is \
                         back, so bring back what `session.store.url` names"
                    );
                }
                turn.landed(Arc::clone(newest), Home::Nowhere);
                move_later(&keeper, newest, &refreshes).await;
            }
            Err(fault) => {
                if refreshes.tells_size(&newest.id) {
                    tracing::error!(
                        principal,
                        error = %fault,
                        biggest = problem.biggest,
                        "a session outgrew its cookies, and the store can't have it either; it goes on in this process alone, so ask the \
                         provider for less"
                    );
                }
                turn.landed(Arc::clone(newest), Home::Nowhere);
            }
        }
        true
    }

    /// Takes a session that is over out of its store. Whoever calls this has marked it as ended.
    pub fn remove(&self) {
        if let Some(keeper) = self.keeper() {
            keeper.remove();
        }
    }

    /// Whether it lives in a store.
    pub const fn is_stored(&self) -> bool {
        self.stored.is_some() && self.ticket.is_some()
    }

    fn keeper(&self) -> Option<Keeper> {
        Some(Keeper::new(self.stored.as_ref()?, self.ticket.clone()?, &self.host))
    }

    /// Who keeps the session once it has moved.
    fn mover(&self, session: &Session) -> Option<Keeper> {
        let stored = self.stored.as_ref()?;
        Some(Keeper::new(stored, Ticket::of_moved(session.id).ok()?, &self.host))
    }
}

/// Tells operators of a session that is too large for cookies where there is no store: once of each, since nothing changes by itself.
pub fn tell_of_size(refreshes: &Refreshes, session: &Session, problem: &SessionTooLarge) {
    if refreshes.tells_size(&session.id) {
        tracing::error!(
            principal = session.principal.id(),
            error = %problem,
            "a session outgrew its cookies; its newest tokens live in this process alone, and it ends with the process, or when the cookies \
             that its browser has are older than `session.idle`"
        );
    }
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

/// As [`keep_later`], of a session that is nowhere else: for as long as it lives and nothing newer came of it here.
async fn move_later(keeper: &Keeper, newest: &Arc<Session>, refreshes: &Refreshes) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        if !keeper.lives(newest) || !refreshes.is_newest(newest) {
            return;
        }
        match keeper.take_in(newest).await {
            Ok(Replaced::Written(kept) | Replaced::Newer(kept)) => {
                let principal = newest.principal.id();
                tracing::info!(
                    principal,
                    "a session that outgrew its cookies while its store was away is in the store now"
                );
                refreshes.note_moved(kept.session(), keeper.ticket());
                return;
            }
            Err(KeepFault::Store(fault)) if fault.may_pass() => {}
            Ok(Replaced::Over) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::JoinHandle;

    use super::super::tests::{Desk, HOST, session};
    use super::*;
    use crate::session::ended::Mark;
    use crate::session::refresh::refreshes::Taken;
    use crate::session::refresh::schedule::Schedule;
    use crate::session::tests::{ring, settings};

    fn lodging(stored: Option<&StoredSessions>) -> Lodging {
        let cookies = Arc::new(SessionCookies::new(ring(&[1]), &settings(), true));
        Lodging::new(&cookies, stored, Place { host: HOST, ticket: None })
    }

    fn refreshes() -> Arc<Refreshes> {
        let schedule = Schedule::new(None, Duration::from_hours(1), 7);
        Refreshes::new(schedule, Duration::from_mins(1), Duration::from_hours(8))
    }

    fn turn(refreshes: &Arc<Refreshes>) -> Turn {
        let session = session();
        match refreshes.take(&session, session.version, session.used) {
            Taken::Yours(turn) => turn,
            other => panic!("no turn but {other:?}"),
        }
    }

    /// The session after a refresh that made it too large for any cookies, or not.
    fn refreshed(version: u32, is_large: bool) -> Arc<Session> {
        let mut state = 7_u64;
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
        };
        let mut session = Session { version, ..Session::clone(&session()) };
        session.tokens.access_token = Some((0..if is_large { 40_000 } else { 40 }).map(|_| letter()).collect());
        Arc::new(session)
    }

    #[tokio::test]
    async fn what_outgrows_its_cookies_is_in_the_store_before_anybody_uses_it() {
        let desk = Desk::new();
        let (one, two) = (desk.gateway(), desk.gateway());
        let refreshes = refreshes();
        let clock = Clock::manual(session().used.seconds());
        let moved = Ticket::of_moved(session().id).unwrap();
        let (small, large) = (refreshed(2, false), refreshed(3, true));
        assert!(lodging(Some(&one)).land(turn(&refreshes), &small, &clock).await);
        assert_eq!(refreshes.home(&small), Home::Browser);
        assert!(two.reread(&moved, HOST).await.unwrap().is_none(), "what fits goes nowhere");
        assert!(lodging(Some(&one)).land(turn(&refreshes), &large, &clock).await);
        assert_eq!(refreshes.home(&large), Home::store(&moved));
        assert_eq!(**two.reread(&moved, HOST).await.unwrap().unwrap().session(), *large);
        // The other gateway has the cookies from before, and finds it; with what is newer it has the turn.
        let there = lodging(Some(&two));
        let Chance::Newer(found, ticket) = there.chance(&small).await.unwrap() else { panic!("it would refresh") };
        assert_eq!((*found).clone(), (*large).clone());
        assert_eq!(ticket, moved);
        assert!(matches!(there.chance(&refreshed(4, false)).await.unwrap(), Chance::Yours(_)));
    }

    #[tokio::test]
    async fn a_look_for_what_never_moved_does_not_hide_what_moves_a_moment_later() {
        let desk = Desk::new();
        let (one, two) = (desk.gateway(), desk.gateway());
        let Chance::Yours(hold) = lodging(Some(&two)).chance(&session()).await.unwrap() else {
            panic!("nobody has it")
        };
        hold.release().await;
        let moved = Ticket::of_moved(session().id).unwrap();
        one.take_in(&moved, HOST, &refreshed(2, true)).await.unwrap();
        assert!(matches!(two.peek(&moved), super::super::Peek::Unknown), "it is to be asked for");
    }

    #[tokio::test]
    async fn whoever_moves_it_second_takes_what_is_there_and_what_was_ended_moves_nowhere() {
        let desk = Desk::new();
        let (one, two) = (desk.gateway(), desk.gateway());
        let moved = Ticket::of_moved(session().id).unwrap();
        let first = refreshed(2, true);
        assert!(matches!(one.take_in(&moved, HOST, &first).await.unwrap(), Replaced::Written(_)));
        let late = Arc::new(Session { nonce: None, ..Session::clone(&first) });
        let Replaced::Newer(kept) = two.take_in(&moved, HOST, &late).await.unwrap() else {
            panic!("it is overwritten")
        };
        assert_eq!(**kept.session(), *first);
        assert!(matches!(two.take_in(&moved, HOST, &refreshed(3, true)).await.unwrap(), Replaced::Written(_)));
        two.inner.ended.end(Mark::on_session(&session().id), session().used);
        two.remove(&moved);
        assert!(matches!(two.take_in(&moved, HOST, &refreshed(4, true)).await.unwrap(), Replaced::Over));
        two.inner.outbox.empty(two.store()).await.unwrap();
        assert!(one.reread(&moved, HOST).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn without_a_store_it_goes_on_in_this_process() {
        let refreshes = refreshes();
        let clock = Clock::manual(session().used.seconds());
        let large = refreshed(2, true);
        assert!(matches!(lodging(None).chance(&session()).await.unwrap(), Chance::Alone));
        assert!(lodging(None).land(turn(&refreshes), &large, &clock).await);
        assert_eq!(refreshes.home(&large), Home::Nowhere);
        assert_eq!(*refreshes.newest(&session(), 1, large.used).unwrap(), *large);
    }

    #[tokio::test]
    async fn what_the_store_can_not_have_goes_on_in_this_process_and_nobody_tries_again() {
        let (desk, refreshes) = (Desk::new(), refreshes());
        let mut huge = Session::clone(&refreshed(2, true));
        huge.principal.groups = (0..9_000).map(|_| crate::base::random::token().unwrap()).collect();
        let clock = Clock::manual(session().used.seconds());
        let huge = Arc::new(huge);
        assert!(lodging(Some(&desk.gateway())).land(turn(&refreshes), &huge, &clock).await);
        assert_eq!(refreshes.home(&huge), Home::Nowhere);
        assert!(!refreshes.tells_size(&huge.id), "it was told");
    }

    /// What outgrows its cookies while the store is away: used here by then, and on its way.
    async fn homeless(one: &StoredSessions, refreshes: &Arc<Refreshes>, large: &Arc<Session>) -> JoinHandle<bool> {
        assert!(matches!(lodging(Some(one)).chance(&session()).await.unwrap(), Chance::Alone));
        let (lodging, turn, landing) = (lodging(Some(one)), turn(refreshes), Arc::clone(large));
        let clock = Clock::manual(session().used.seconds());
        let landing = tokio::spawn(async move { lodging.land(turn, &landing, &clock).await });
        while refreshes.is_newest(&session()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(refreshes.home(large), Home::Nowhere);
        assert!(!landing.is_finished(), "it is tried again");
        landing
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_is_used_here_and_moves_when_the_store_is_back() {
        let desk = Desk::new();
        desk.break_store();
        let (one, refreshes, large) = (desk.gateway(), refreshes(), refreshed(2, true));
        let landing = homeless(&one, &refreshes, &large).await;
        desk.mend_store();
        assert!(landing.await.unwrap());
        let moved = Ticket::of_moved(session().id).unwrap();
        assert_eq!(refreshes.home(&large), Home::store(&moved));
        assert_eq!(**desk.gateway().reread(&moved, HOST).await.unwrap().unwrap().session(), *large);
    }

    #[tokio::test]
    async fn nobody_tries_for_longer_than_it_is_the_newest_and_lives() {
        let desk = Desk::new();
        desk.break_store();
        let (one, large) = (desk.gateway(), refreshed(2, true));
        let outdated = refreshes();
        let landing = homeless(&one, &outdated, &large).await;
        let small = refreshed(3, false);
        let clock = Clock::manual(session().used.seconds());
        assert!(lodging(Some(&one)).land(turn(&outdated), &small, &clock).await);
        assert!(landing.await.unwrap());
        assert_eq!(outdated.home(&small), Home::Browser);

        let landing = homeless(&one, &refreshes(), &large).await;
        one.inner.ended.end(Mark::on_session(&large.id), large.used);
        assert!(landing.await.unwrap());
    }
}
