//! Sessions that were ended before their time: a sealed cookie can't be taken back, so marks on what was ended are remembered until
//! no session that they hit could live any more.
//!
//! 1. A mark hits sessions whether or not this gateway ever saw them, and never one that begins after it, were it in the same second:
//!    such a session is dated a second later ([`EndedSessions::admit`]), and is not there before that second.
//! 2. Whoever asked at the present epoch need not ask again, so a request costs one atomic load.
//! 3. The memory is bounded. What anybody may ask for without a proof has a small memory of its own, so that strangers can't push out
//!    what counts.
//! 4. Marks are this process's alone unless somebody shares them ([`EndedSessions::share_with`]). Without that, a gateway beside this
//!    one, or this one after a restart, knows nothing of them: there a copied cookie is good until its own lifetimes end it.

mod mark;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::watch;

pub use self::mark::{Key, Mark};
use crate::base::clock::Timestamp;
use crate::session::model::Session;

/// The most marks that are remembered; past that those that were not asked for longest go first.
const CAPACITY: u64 = 1_000_000;
/// The most marks that came without a proof.
const HEARSAY: u64 = 100_000;
/// For how long beyond a session's lifetime a mark is kept: clocks of several gateways differ, and a session may be dated a little later
/// than it began.
const SLACK: Duration = Duration::from_mins(10);

/// What a session is dated after the last mark on it.
const A_SECOND: Duration = Duration::from_secs(1);

/// Marks on sessions that were ended before their time. Clones share one memory.
#[derive(Clone)]
pub struct EndedSessions {
    inner: Arc<Inner>,
}

struct Inner {
    marks: Cache<Key, Entry>,
    hearsay: Cache<Key, Entry>,
    epoch: AtomicU64,
    news: watch::Sender<u64>,
    sharing: OnceLock<Box<Share>>,
}

/// Hands a mark on to other gateways. It must not block.
type Share = dyn Fn(Mark) + Send + Sync;

#[derive(Clone, Copy)]
struct Entry {
    before: Timestamp,
    /// The epoch that it began.
    number: u64,
}

/// What a session was to come of had ended before the sign-in was over.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session was ended while its sign-in was on its way")]
pub struct EndedMeanwhile;

impl fmt::Debug for EndedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndedSessions").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

impl EndedSessions {
    /// An empty memory. No session lives longer than `lifetime`, so nothing is remembered for much longer.
    pub fn new(lifetime: Duration) -> Self {
        // The policy admits every newcomer, which the cache's default would not.
        let cache = |capacity| {
            Cache::builder()
                .max_capacity(capacity)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(lifetime.saturating_add(SLACK))
                .build()
        };
        let inner = Inner {
            marks: cache(CAPACITY),
            hearsay: cache(HEARSAY),
            epoch: AtomicU64::new(0),
            news: watch::Sender::new(0),
            sharing: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Has every mark that is made here handed to `share` as well. The first call counts.
    pub fn share_with(&self, share: impl Fn(Mark) + Send + Sync + 'static) {
        drop(self.inner.sharing.set(Box::new(share)));
    }

    /// Ends what `mark` is on, at `now`.
    pub fn end(&self, mark: Mark, now: Timestamp) {
        self.share(self.insert(&self.inner.marks, mark, Some(now)));
    }

    /// Ends what `mark` is on, at `now` and at the word of somebody who showed no proof.
    pub fn end_unproved(&self, mark: Mark, now: Timestamp) {
        self.share(self.insert(&self.inner.hearsay, mark, Some(now)));
    }

    /// Takes a mark that another gateway made, or one of our own that comes back.
    pub fn learn(&self, mark: Mark) {
        self.insert(&self.inner.marks, mark, None);
    }

    fn share(&self, mark: Option<Mark>) {
        if let (Some(share), Some(mark)) = (self.inner.sharing.get(), mark) {
            share(mark);
        }
    }

    /// One mark at a time: the number, the entry and the epoch belong together, and the epoch comes last, since whoever sees it relies on
    /// finding the entry. Gives the mark as it counts; nothing when it says nothing new.
    fn insert(&self, cache: &Cache<Key, Entry>, mark: Mark, now: Option<Timestamp>) -> Option<Mark> {
        let mut counts = None;
        self.inner.news.send_if_modified(|number| {
            let known = [&self.inner.marks, &self.inner.hearsay].into_iter().filter_map(|cache| cache.get(mark.key()));
            let before = match known.map(|entry| entry.before).max() {
                Some(known) if known == Timestamp::from_seconds(u64::MAX) => return false,
                // What began since then is dated after it, in the same second too, and this mark means that as well.
                Some(known)
                    if known >= mark.before() && now.is_some_and(|now| mark.before().after(A_SECOND) >= now) =>
                {
                    known.after(A_SECOND)
                }
                Some(known) if known >= mark.before() => return false,
                _ => mark.before(),
            };
            *number += 1;
            cache.insert(*mark.key(), Entry { before, number: *number });
            self.inner.epoch.store(*number, Ordering::Release);
            counts = Some(mark.until(before));
            true
        });
        counts
    }

    fn marks_on<'a>(&'a self, keys: &'a [Key; 3]) -> impl Iterator<Item = Entry> + 'a {
        let [_, at_provider, _] = keys;
        let proved = keys.iter().filter_map(|key| self.inner.marks.get(key));
        proved.chain(self.inner.hearsay.get(at_provider))
    }

    /// Whether the session was ended.
    pub fn holds(&self, session: &Session) -> bool {
        self.epoch() > 0 && self.marks_on(&mark::keys(session)).any(|entry| session.created <= entry.before)
    }

    /// When a session that comes of a sign-in may say that it was created: `session.created`, or the second after the last mark on it,
    /// so that no mark from before the sign-in hits it. `begun` is when the browser was sent to the provider, and `seen` the epoch from
    /// before the provider was asked for the session.
    ///
    /// # Errors
    /// When a mark was made meanwhile: the session at the provider that the sign-in relied on may be the one that has ended.
    pub fn admit(&self, session: &Session, begun: Timestamp, seen: u64) -> Result<Timestamp, EndedMeanwhile> {
        let mut created = session.created;
        if self.epoch() == 0 {
            return Ok(created);
        }
        for entry in self.marks_on(&mark::keys(session)) {
            if entry.before > begun || entry.number > seen {
                return Err(EndedMeanwhile);
            }
            created = created.max(entry.before.after(A_SECOND));
        }
        Ok(created)
    }

    /// Whether this very mark is there, made here or by a gateway that shares its own.
    pub fn has(&self, mark: &Mark) -> bool {
        self.inner.marks.contains_key(mark.key())
    }

    /// Every mark that is remembered.
    pub fn marks(&self) -> Vec<Mark> {
        let caches = [&self.inner.marks, &self.inner.hearsay];
        let all = caches.into_iter().flat_map(Cache::iter);
        all.map(|(key, entry)| Mark::of(*key, entry.before)).collect()
    }

    /// Grows with every mark: who has asked at this epoch need not ask again.
    pub fn epoch(&self) -> u64 {
        self.inner.epoch.load(Ordering::Acquire)
    }

    /// Tells of new marks.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.inner.news.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::session::tests::sample;

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

    fn ended() -> EndedSessions {
        EndedSessions::new(Duration::from_hours(1))
    }

    /// Three sessions of one person: two of one session at the provider, and one of which that isn't known. Another person's as well.
    fn sessions() -> [Session; 4] {
        let of = |id: u8, sid: Option<&str>| Session {
            id: [id; 16],
            provider_session: sid.map(str::to_owned),
            created: NOW,
            ..sample()
        };
        let mut stranger = of(4, Some("other"));
        stranger.principal.subject = "somebody else".to_owned();
        [of(1, Some("sid-1")), of(2, Some("sid-2")), of(3, None), stranger]
    }

    fn hit(ended: &EndedSessions) -> [bool; 4] {
        sessions().map(|session| ended.holds(&session))
    }

    #[test]
    fn each_mark_hits_what_it_is_on_and_nothing_else() {
        let (issuer, subject) = (sample().principal.issuer, sample().principal.subject);
        let cases = [
            (Mark::on_session(&[1; 16]), [true, false, false, false]),
            (Mark::on_provider_session(&issuer, "sid-2", NOW), [false, true, false, false]),
            (Mark::on_nameless(&issuer, &subject, NOW), [false, false, true, false]),
            (Mark::on_person(&issuer, &subject, NOW), [true, true, true, false]),
            (Mark::on_person("https://another.example", &subject, NOW), [false; 4]),
            (Mark::on_provider_session("https://another.example", "sid-1", NOW), [false; 4]),
        ];
        for (mark, expected) in cases {
            let ended = ended();
            assert_eq!(hit(&ended), [false; 4]);
            let elsewhere = ended.clone();
            let before = elsewhere.epoch();
            ended.end(mark, NOW);
            assert!(elsewhere.epoch() > before, "every clone learns of it");
            assert_eq!(hit(&elsewhere), expected, "{mark:?}");
        }
    }

    #[test]
    fn only_what_began_before_the_mark_is_hit() {
        let ended = ended();
        let [session, ..] = sessions();
        let mark = |at| Mark::on_person(&session.principal.issuer, &session.principal.subject, at);
        ended.end(mark(Timestamp::from_seconds(NOW.seconds() - 1)), NOW);
        assert!(!ended.holds(&session), "it began a second later");
        ended.end(mark(NOW), NOW);
        assert!(ended.holds(&session), "it began in that second");
        ended.learn(mark(Timestamp::from_seconds(5)));
        assert!(ended.holds(&session), "a clock that was set back takes nothing back");
        let after = Session { created: NOW.after(A_SECOND), ..session.clone() };
        let epoch = ended.epoch();
        ended.learn(mark(NOW));
        ended.end(mark(Timestamp::from_seconds(NOW.seconds() - 1)), NOW.after(A_SECOND * 9));
        assert_eq!((ended.epoch(), ended.holds(&after)), (epoch, false), "neither says anything new");
        // Ended, signed in and ended again, all in one second.
        ended.end(mark(NOW), NOW);
        assert!(ended.holds(&after));
    }

    #[test]
    fn a_sign_in_right_after_a_mark_is_dated_after_it() {
        let ended = ended();
        let [session, ..] = sessions();
        assert_eq!(ended.admit(&session, NOW, 0), Ok(NOW));
        ended.end(Mark::on_person(&session.principal.issuer, &session.principal.subject, NOW), NOW);
        let created = ended.admit(&session, NOW, ended.epoch()).unwrap();
        assert_eq!(created, NOW.after(A_SECOND));
        let again = Session { created, ..session };
        assert!(!ended.holds(&again));
        // Another gateway whose clock runs ahead made the mark.
        ended.learn(Mark::on_person(&again.principal.issuer, &again.principal.subject, NOW.after(A_SECOND * 5)));
        let begun = NOW.after(A_SECOND * 5);
        assert_eq!(ended.admit(&again, begun, ended.epoch()), Ok(NOW.after(A_SECOND * 6)));
    }

    #[test]
    fn what_ends_during_a_sign_in_ends_that_too() {
        let ended = ended();
        let [session, ..] = sessions();
        let sid = session.provider_session.clone().unwrap();
        let seen = ended.epoch();
        ended.end(Mark::on_provider_session(&session.principal.issuer, &sid, NOW), NOW);
        assert_eq!(ended.admit(&session, NOW, seen), Err(EndedMeanwhile), "while the provider was asked");
        let begun = Timestamp::from_seconds(NOW.seconds() - 1);
        assert_eq!(ended.admit(&session, begun, ended.epoch()), Err(EndedMeanwhile), "while the person was there");
        assert_eq!(ended.admit(&session, NOW, ended.epoch()), Ok(NOW.after(A_SECOND)));
    }

    #[test]
    fn a_word_is_heard_once_and_ends_nobody() {
        let (ended, elsewhere) = (ended(), ended());
        let word = Mark::on_word("https://idp.example", "jti-1");
        assert!(!ended.has(&word));
        ended.end(word, NOW);
        elsewhere.learn(word);
        for heard in [&ended, &elsewhere] {
            assert!(heard.has(&word) && !heard.has(&Mark::on_word("https://idp.example", "jti-2")));
            assert!(!heard.has(&Mark::on_word("https://other.example", "jti-1")));
            assert_eq!(hit(heard), [false; 4]);
        }
    }

    #[test]
    fn marks_without_proof_push_out_no_others() {
        let ended = ended();
        let [session, other, ..] = sessions();
        ended.end(Mark::on_session(&session.id), NOW);
        ended.end_unproved(Mark::on_provider_session(&other.principal.issuer, "sid-2", NOW), NOW);
        assert!(ended.holds(&session) && ended.holds(&other));
        for number in 0..HEARSAY + 1_000 {
            ended.end_unproved(Mark::on_provider_session("https://idp.example", &number.to_string(), NOW), NOW);
        }
        ended.inner.hearsay.run_pending_tasks();
        assert!(ended.inner.hearsay.entry_count() <= HEARSAY);
        assert!(ended.holds(&session), "what was proved stays");
    }

    #[test]
    fn marks_are_shared_and_those_of_others_are_not_sent_back() {
        let ended = ended();
        let told: Arc<Mutex<Vec<Mark>>> = Arc::default();
        let telling = Arc::clone(&told);
        ended.share_with(move |mark| telling.lock().unwrap().push(mark));
        let (own, others) = (Mark::on_session(&[1; 16]), Mark::on_session(&[2; 16]));
        ended.end(own, NOW);
        ended.learn(others);
        assert_eq!(*told.lock().unwrap(), [own]);
        assert_eq!(hit(&ended), [true, true, false, false]);
    }

    #[tokio::test]
    async fn news_come_with_every_mark() {
        let ended = ended();
        let mut news = ended.news();
        ended.end(Mark::on_session(&[1; 16]), NOW);
        news.changed().await.unwrap();
        assert_eq!(*news.borrow_and_update(), ended.epoch());
    }
}
