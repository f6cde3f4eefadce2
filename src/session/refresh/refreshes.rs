//! What this process knows of refreshed sessions: the newest text of each, who is refreshing which, and what did not work out.
//!
//! 1. Of one session at most one refresh is under way, over all workers.
//! 2. The newest text that was seen, here or in a browser's cookie, counts; an older one is never written over it.
//! 3. An older text is served by the newest until the browser has shown that one and the grace is over; then no more.
//! 4. A refresh token that was used is never sent again: what it was in is superseded.
//! 5. What is remembered is bounded by its weight. What is forgotten costs a sign-in at most.
//!
//! Nothing here is asked for a request whose session is not due (see `gate::credential`).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::watch;

use super::flight::{Flight, Turn};
use super::home::Home;
use super::schedule::{Due, Schedule, is_over};
use super::track::{Failure, State, Track};
use crate::base::clock::Timestamp;
use crate::session::model::{Granted, Session};
use crate::session::ticket::Ticket;

/// The version that the browser has of a session that lives in a store: it has none that could be old.
pub const NOT_IN_THE_BROWSER: u32 = u32::MAX;
/// The most that is remembered of refreshed sessions, in bytes.
const WEIGHT: u64 = 64 * 1024 * 1024;
/// How long a session that an older text stands for is served before it is looked at again.
const GLANCE: Duration = Duration::from_secs(2);
/// The first and the longest pause after a refresh that failed.
const PAUSE: (u64, u64) = (1, 30);
/// Sessions that are remembered so that the log tells of each once.
const TOLD: u64 = 10_000;

type Id = [u8; 16];

/// What this process knows of refreshed sessions.
#[derive(Debug)]
pub struct Refreshes {
    schedule: Schedule,
    grace: Duration,
    tracks: Cache<Id, Arc<Track>>,
    desk: Mutex<Desk>,
    epoch: AtomicU64,
    /// Sessions whose operators were told that they are too large.
    told: Cache<Id, ()>,
}

/// What is changed by one at a time.
#[derive(Debug, Default)]
struct Desk {
    flights: HashMap<Id, watch::Receiver<()>>,
    /// When browsers showed newest texts: the oldest first.
    shown: VecDeque<(Timestamp, Id, u32)>,
}

/// What is to be known of a session before it is used.
#[derive(Debug)]
pub enum Look {
    /// It is superseded, or the provider ended it: nobody is signed in by it. Its cookies are left alone, for the browser may hold newer
    /// ones by now.
    Over,
    /// It may be used.
    Use(Standing),
}

/// How a session stands.
#[derive(Debug)]
pub struct Standing {
    /// A newer text of it, which is to be used in its place.
    pub newer: Option<Arc<Session>>,
    /// When to look again.
    pub look_again: Timestamp,
    /// Its refresh, if one is due.
    pub boarding: Option<Boarding>,
}

/// A refresh that is due.
#[derive(Debug)]
pub enum Boarding {
    /// Somebody makes it.
    UnderWay(Flight),
    /// The caller is to make it.
    Yours(Turn, Flight),
}

/// What a call for a refresh in any case finds.
#[derive(Debug)]
pub enum Forced {
    /// A newer text than the caller's is there already.
    Newer(Arc<Session>),
    /// A refresh.
    Boarding(Boarding),
    /// A try failed a moment ago, and the next one has to wait.
    TooSoon,
    /// The session is over.
    Over,
}

/// What a call for the session's refresh token finds.
#[derive(Debug)]
pub enum Taken {
    /// Nobody else uses it: the caller may, of the text that the turn is for.
    Yours(Turn),
    /// Somebody uses it; what comes of that counts.
    UnderWay(Flight),
    /// It was used up by a refresh whose answer could not be verified yet.
    Later,
    /// The session is over.
    Over,
}

impl Refreshes {
    /// An empty memory. No session lives longer than `lifetime`; an older text is served for `grace` after the browser has shown the newest.
    pub fn new(schedule: Schedule, grace: Duration, lifetime: Duration) -> Arc<Self> {
        let tracks = Cache::builder()
            .max_capacity(WEIGHT)
            .weigher(|_, track: &Arc<Track>| track.weight())
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(lifetime)
            .build();
        let told = Cache::builder().max_capacity(TOLD).time_to_live(lifetime).build();
        Arc::new(Self { schedule, grace, tracks, desk: Mutex::default(), epoch: AtomicU64::new(0), told })
    }

    /// Grows when a refresh lands that was not due: who has looked at this epoch need not look before its time.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// When the session's refresh is due.
    pub fn due(&self, session: &Session) -> Option<Due> {
        self.schedule.due(session)
    }

    /// Looks at `session`, which a cookie with the text of version `carried` led to.
    pub fn look(self: &Arc<Self>, session: &Arc<Session>, carried: u32, now: Timestamp) -> Look {
        let track = self.tracks.get(&session.id);
        if let Some(track) = &track {
            self.note_shown(track, session, carried, Home::Browser, now);
        } else if carried > 0 {
            self.note_shown(&Track::default(), session, carried, Home::Browser, now);
        }
        let State::Current(newer) = self.state(track.as_deref(), session, carried, now) else { return Look::Over };
        let current = newer.as_ref().unwrap_or(session);
        let Some(due) = self.schedule.due(current) else {
            return Look::Use(Standing { look_again: after_all(current, carried, now, None), newer, boarding: None });
        };
        if now < due.at {
            let look_again = after_all(current, carried, now, Some(due.at));
            return Look::Use(Standing { look_again, newer, boarding: None });
        }
        self.board(session, carried, now)
    }

    /// A browser shows the key to a session that outgrew its cookies, which the store has as `session`: cookies from before need not be
    /// served for much longer.
    pub fn note_key(&self, session: &Arc<Session>, ticket: &Ticket, now: Timestamp) {
        let track = self.tracks.get(&session.id).unwrap_or_default();
        self.note_shown(&track, session, session.version, Home::store(ticket), now);
    }

    /// The refresh of a session that is due, or what has become of it since.
    fn board(self: &Arc<Self>, session: &Arc<Session>, carried: u32, now: Timestamp) -> Look {
        let mut desk = self.desk();
        let track = self.tracks.get(&session.id);
        let State::Current(newer) = self.state(track.as_deref(), session, carried, now) else { return Look::Over };
        let current = Arc::clone(newer.as_ref().unwrap_or(session));
        let due = self.schedule.due(&current).filter(|due| now >= due.at);
        let failure = track.as_ref().and_then(|track| track.failure.as_ref());
        let failure = failure.filter(|failure| failure.version == current.version);
        // While nothing is to be had, nobody asks; who still has a good token looks again in a second.
        let soon = if is_over(&current, now) { now } else { now.after(Duration::from_secs(1)) };
        if let Some(ended) = desk.flights.get(&session.id) {
            let flight = Flight::new(ended.clone(), failure.is_none());
            let boarding = Some(Boarding::UnderWay(flight));
            return Look::Use(Standing { newer, look_again: soon, boarding });
        }
        let pause = failure.map(|failure| failure.until).filter(|until| now < *until);
        if let (Some(_), None) = (due, pause) {
            let (turn, flight) = self.turn(&mut desk, &current, track.as_deref(), now, false);
            return Look::Use(Standing { newer, look_again: soon, boarding: Some(Boarding::Yours(turn, flight)) });
        }
        let at = pause.or_else(|| self.schedule.due(&current).map(|due| due.at));
        Look::Use(Standing { look_again: after_all(&current, carried, now, at), newer, boarding: None })
    }

    /// A refresh of `session` though it is not due: because an upstream refused its token, or because somebody asked for it.
    pub fn force(self: &Arc<Self>, session: &Arc<Session>, now: Timestamp) -> Forced {
        let mut desk = self.desk();
        let track = self.tracks.get(&session.id);
        let newer = match self.state(track.as_deref(), session, session.version, now) {
            State::Over => return Forced::Over,
            State::Current(newer) => newer,
        };
        if let Some(newer) = newer {
            return Forced::Newer(newer);
        }
        let failure = track.as_ref().and_then(|track| track.failure.as_ref());
        let failure = failure.filter(|failure| failure.version == session.version);
        if let Some(ended) = desk.flights.get(&session.id) {
            return Forced::Boarding(Boarding::UnderWay(Flight::new(ended.clone(), failure.is_none())));
        }
        if failure.is_some_and(|failure| now < failure.until) {
            return Forced::TooSoon;
        }
        let (turn, flight) = self.turn(&mut desk, session, track.as_deref(), now, true);
        Forced::Boarding(Boarding::Yours(turn, flight))
    }

    /// The refresh token of `session`, which a cookie with the text of version `carried` led to, for something else than a refresh.
    pub fn take(self: &Arc<Self>, session: &Arc<Session>, carried: u32, now: Timestamp) -> Taken {
        let mut desk = self.desk();
        let track = self.tracks.get(&session.id);
        let State::Current(newer) = self.state(track.as_deref(), session, carried, now) else { return Taken::Over };
        if let Some(ended) = desk.flights.get(&session.id) {
            return Taken::UnderWay(Flight::new(ended.clone(), true));
        }
        let current = newer.as_ref().unwrap_or(session);
        let failure = track.as_ref().and_then(|track| track.failure.as_ref());
        if failure.is_some_and(|failure| failure.version == current.version && failure.held.is_some()) {
            return Taken::Later;
        }
        Taken::Yours(self.turn(&mut desk, current, track.as_deref(), now, true).0)
    }

    /// The text of the session that counts now: `session` itself, or a newer one. `None` when it is over.
    pub fn newest(&self, session: &Arc<Session>, carried: u32, now: Timestamp) -> Option<Arc<Session>> {
        let track = self.tracks.get(&session.id);
        match self.state(track.as_deref(), session, carried, now) {
            State::Over => None,
            State::Current(newer) => Some(newer.unwrap_or_else(|| Arc::clone(session))),
        }
    }

    /// Whether the provider refused to refresh `session` or a newer text of it, and nobody has shown one since that it did not refuse.
    pub fn is_refused(&self, session: &Session) -> bool {
        self.tracks.get(&session.id).is_some_and(|track| {
            track.newest.is_none() && track.refused.is_some_and(|refused| session.version <= refused)
        })
    }

    /// Where `session`, the newest text that is known here, is kept.
    pub fn home(&self, session: &Session) -> Home {
        self.tracks.get(&session.id).map_or(Home::Browser, |track| track.home(session))
    }

    /// Whether no newer text of the session is known here.
    pub fn is_newest(&self, session: &Session) -> bool {
        let track = self.tracks.get(&session.id);
        track.and_then(|track| track.newest.clone()).is_none_or(|newest| newest.version <= session.version)
    }

    /// What was kept in this process alone is in the store by now, which has it, or what another gateway made of it, as `session`.
    pub fn note_moved(&self, session: &Arc<Session>, ticket: &Ticket) {
        let _desk = self.desk();
        let old = self.tracks.get(&session.id).as_deref().cloned().unwrap_or_default();
        if old.newest.as_ref().is_some_and(|newest| newest.version > session.version) || session.version < old.least {
            return;
        }
        let (newest, home) = (Some(Arc::clone(session)), Home::store(ticket));
        self.tracks.insert(session.id, Arc::new(Track { newest, home, shown: None, ..old }));
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Whether the log is to tell of this session's size: once.
    pub fn tells_size(&self, id: &Id) -> bool {
        self.told.entry(*id).or_insert(()).is_fresh()
    }

    /// Whether a refresh of the session is under way here.
    pub fn is_under_way(&self, id: &Id) -> bool {
        self.desk().flights.contains_key(id)
    }

    fn turn(
        self: &Arc<Self>,
        desk: &mut Desk,
        session: &Arc<Session>,
        track: Option<&Track>,
        now: Timestamp,
        is_forced: bool,
    ) -> (Turn, Flight) {
        let (ended, waiting) = watch::channel(());
        desk.flights.insert(session.id, waiting.clone());
        let failure = track.and_then(|track| track.failure.as_ref());
        let failure = failure.filter(|failure| failure.version == session.version);
        let held = failure.and_then(|failure| failure.held.clone()).map(Box::new);
        let turn = Turn {
            refreshes: Arc::clone(self),
            session: Arc::clone(session),
            home: track.map_or(Home::Browser, |track| track.home(session)),
            held,
            is_forced,
            now,
            _ended: ended,
            is_told: false,
        };
        (turn, Flight::new(waiting, failure.is_none()))
    }

    /// See [`Track::state`].
    fn state(&self, track: Option<&Track>, session: &Session, carried: u32, now: Timestamp) -> State {
        track.map_or(State::Current(None), |track| track.state(session, carried, now, self.grace))
    }

    /// A browser shows a text: of the newest that is noted, and a newer one than was known here takes its place.
    fn note_shown(&self, track: &Track, session: &Arc<Session>, carried: u32, home: Home, now: Timestamp) {
        if session.version != carried || carried < track.least || track.refused >= Some(carried) {
            return;
        }
        let known = track.newest.as_ref().map_or(track.least, |newest| newest.version);
        let is_news = match &track.newest {
            Some(newest) if newest.version == carried => track.shown.is_none(),
            Some(_) => carried > known,
            // A session that has no newer text than this, or of which nothing is known: others may bring an older one.
            None => carried > track.least || track.refused.is_some(),
        };
        if !is_news {
            return;
        }
        let mut desk = self.desk();
        let latest = self.tracks.get(&session.id);
        let overtaken = latest.as_ref().is_some_and(|latest| {
            latest.least > carried
                || latest.refused >= Some(carried)
                || latest.newest.as_ref().is_some_and(|newest| newest.version > carried)
        });
        if overtaken {
            return;
        }
        let old = latest.as_deref().unwrap_or(track);
        let failure = old.failure.clone().filter(|failure| failure.version == carried);
        let newest = Some(Arc::clone(session));
        let shown = Track { newest, home, shown: Some(now), least: old.least, refused: None, failure };
        self.tracks.insert(session.id, Arc::new(shown));
        desk.shown.push_back((now, session.id, carried));
        self.tidy(&mut desk, now);
    }

    pub(super) fn note_landed(&self, newest: Arc<Session>, home: Home, is_forced: bool) {
        let mut desk = self.desk();
        let id = newest.id;
        let old = self.tracks.get(&id);
        let least = old.as_ref().map_or(0, |old| match (&old.newest, old.shown) {
            (Some(before), Some(shown)) if newest.obtained >= shown.after(self.grace) => before.version.max(old.least),
            _ => old.least,
        });
        let now = newest.obtained;
        self.tracks.insert(id, Arc::new(Track { newest: Some(newest), home, least, ..Track::default() }));
        self.tidy(&mut desk, now);
        drop(desk);
        if is_forced {
            self.epoch.fetch_add(1, Ordering::Release);
        }
    }

    pub(super) fn note_refused(&self, session: &Session) {
        let _desk = self.desk();
        let old = self.tracks.get(&session.id).as_deref().cloned().unwrap_or_default();
        // Another gateway was faster, and the browser has shown meanwhile what it got.
        if old.newest.is_some_and(|newest| newest.version > session.version) {
            return;
        }
        let refused = Some(session.version);
        self.tracks.insert(session.id, Arc::new(Track { least: old.least, refused, ..Track::default() }));
        self.epoch.fetch_add(1, Ordering::Release);
    }

    pub(super) fn note_failed(&self, session: &Session, now: Timestamp, held: Option<Granted>) {
        self.pause(session, now, held, |tries| {
            (tries.saturating_add(1), PAUSE.0.checked_shl(tries).unwrap_or(PAUSE.1).min(PAUSE.1))
        });
    }

    pub(super) fn note_postponed(&self, session: &Session, now: Timestamp, held: Option<Granted>) {
        self.pause(session, now, held, |tries| (tries, PAUSE.0));
    }

    /// `next` makes of the tries before those that count, and how many seconds to wait.
    fn pause(&self, session: &Session, now: Timestamp, held: Option<Granted>, next: impl FnOnce(u32) -> (u32, u64)) {
        let _desk = self.desk();
        let old = self.tracks.get(&session.id).as_deref().cloned().unwrap_or_default();
        let earlier = old.failure.as_ref().filter(|failure| failure.version == session.version);
        let (tries, pause) = next(earlier.map_or(0, |failure| failure.tries));
        let until = now.after(Duration::from_secs(pause));
        let failure = Some(Failure { version: session.version, tries, until, held });
        self.tracks.insert(session.id, Arc::new(Track { failure, ..old }));
    }

    pub(super) fn clear_flight(&self, id: &Id) {
        self.desk().flights.remove(id);
    }

    /// Lets go of newest texts that browsers have had for longer than the grace; that older ones are over stays known.
    fn tidy(&self, desk: &mut Desk, now: Timestamp) {
        while let Some((shown, id, version)) = desk.shown.front().copied() {
            if now < shown.after(self.grace) {
                return;
            }
            desk.shown.pop_front();
            let track = self.tracks.get(&id);
            let is_same = |newest: &Arc<Session>| newest.version == version;
            if let Some(track) = track.filter(|track| track.newest.as_ref().is_some_and(is_same)) {
                let slim = Track { least: version, failure: track.failure.clone(), ..Track::default() };
                self.tracks.insert(id, Arc::new(slim));
            }
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> u64 {
        self.tracks.run_pending_tasks();
        self.tracks.entry_count()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // What a panic left behind is whole: each change is one step.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When to look again at what an older text stands for: soon, since the grace ends. Else when the next thing is due.
fn after_all(current: &Session, carried: u32, now: Timestamp, due: Option<Timestamp>) -> Timestamp {
    let due = due.unwrap_or(Timestamp::from_seconds(u64::MAX));
    if carried < current.version { due.min(now.after(GLANCE)) } else { due }
}
