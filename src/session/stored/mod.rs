//! Sessions that live in a store: sealed with a key that only their browser's cookie holds, read through a small local memory.
//!
//! 1. A request of a session that was seen lately asks nobody: its worker knows the session, and looks here again after a few seconds.
//! 2. What is old is read anew in the background, and used meanwhile. What another gateway changed is known within a second.
//! 3. While the store is away, what was read from it goes on for a configured time. A fault ends no session and deletes nothing.
//! 4. A record that the store lost is written again by whoever still knows the session, but only where the store was interrupted since,
//!    and never for a session that was ended.
//! 5. Of two texts of one session the one with the higher version counts; whoever comes second finds that out, and takes it.

mod alone;
mod kept;
mod lodging;
mod outbox;
mod restore;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

pub use self::alone::{Chance, Hold};
pub use self::kept::Kept;
pub use self::lodging::{Lodging, Place, tell_of_size};
pub use self::watch::{all_told, watch};

use self::kept::{KeptSessions, Verdict};
use self::outbox::{Errand, Outbox};
use self::watch::Reader;
use crate::base::clock::{Clock, Timestamp};
use crate::config::settings::OutsideStore;
use crate::seal::aead::{Purpose, SealError};
use crate::session::encode;
use crate::session::ended::EndedSessions;
use crate::session::model::{Lifetimes, Session};
use crate::session::store::{Channel, Expected, RecordKey, Saved, Store, StoreFault, Version};
use crate::session::ticket::Ticket;

/// How often somebody else may come first before a writing is given up.
const TRIES: usize = 5;

/// Sessions that live in a store. Clones share one.
#[derive(Clone, Debug)]
pub struct StoredSessions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    kept: KeptSessions,
    outbox: Outbox,
    reader: tokio::sync::Mutex<Reader>,
    /// Told when the store may have lost what it was told.
    losses: Notify,
    ended: EndedSessions,
    clock: Clock,
    lifetimes: Lifetimes,
    cookie_name: String,
    cookie_fallback: bool,
    only_large: bool,
    /// Grows with each text that takes another one's place here.
    epoch: AtomicU64,
}

/// What stored sessions stand on besides their store.
#[derive(Clone, Debug)]
pub struct Foundations {
    /// The time.
    pub clock: Clock,
    /// How long sessions last.
    pub lifetimes: Lifetimes,
    /// The first session cookie's name, to which records are bound.
    pub cookie_name: String,
    /// Sessions that were ended before their time.
    pub ended: EndedSessions,
}

/// What is known of a session without asking the store.
#[derive(Clone, Debug)]
pub enum Peek {
    /// The session.
    Here(Arc<Kept>),
    /// A moment ago the store had no such session.
    Gone,
    /// A moment ago the store had something that is no session of ours.
    Unusable,
    /// Nothing: the store has to be asked, or gave no answer.
    Unknown,
}

/// Why a session was not written.
#[derive(Debug, thiserror::Error)]
pub enum KeepFault {
    /// The store gave no answer.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// It can't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// It is larger than any session may be.
    #[error(transparent)]
    TooLarge(#[from] encode::NotEncodable),
}

/// What became of a new text of a session.
#[derive(Clone, Debug)]
pub enum Replaced {
    /// It is what the store has, for every gateway.
    Written(Arc<Kept>),
    /// Somebody else wrote a newer one, which counts.
    Newer(Arc<Kept>),
    /// The session is over.
    Over,
}

impl StoredSessions {
    /// Sessions in `store`, as `settings` say.
    pub fn new(store: Store, settings: &OutsideStore, foundations: Foundations) -> Self {
        let Foundations { clock, lifetimes, cookie_name, ended } = foundations;
        let inner = Inner {
            kept: KeptSessions::new(settings.fresh_for, settings.keep_for, lifetimes.absolute),
            outbox: Outbox::default(),
            reader: tokio::sync::Mutex::default(),
            losses: Notify::new(),
            store,
            ended,
            clock,
            lifetimes,
            cookie_name,
            cookie_fallback: settings.cookie_fallback,
            only_large: settings.only_large,
            epoch: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The store itself, for locks, news and records of other kinds.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Whether a new session that fits into cookies goes there while the store is away.
    pub fn falls_back(&self) -> bool {
        self.inner.cookie_fallback
    }

    /// Whether the store is for those sessions alone that don't fit into cookies.
    pub fn is_for_large_ones(&self) -> bool {
        self.inner.only_large
    }

    /// Grows with each text that takes another one's place here: who has looked at this epoch need not look before its time.
    pub fn epoch(&self) -> u64 {
        self.inner.epoch.load(Ordering::Acquire)
    }

    /// What is known of the session here, without asking the store.
    pub fn peek(&self, ticket: &Ticket) -> Peek {
        match self.inner.kept.usable(ticket.record(), self.now()) {
            Some(kept) => Peek::Here(kept),
            None => self.inner.kept.verdict(ticket.record()),
        }
    }

    /// Whether what is known should be read anew by now.
    pub fn is_due(&self, kept: &Kept) -> bool {
        !self.inner.kept.is_fresh(kept, self.now())
    }

    /// When to look at it again: when it is due, or in a moment, when it is and somebody sees to it.
    pub fn look_at(&self, kept: &Kept) -> Timestamp {
        let now = self.now();
        self.inner.kept.due(kept).max(now.after(Duration::from_secs(1)))
    }

    /// Whether the caller is the one to read it anew: one in a second is.
    pub fn claim(&self, kept: &Kept) -> bool {
        kept.claim(self.now())
    }

    /// The session of `ticket` at the site with this host, from here where it was read a moment ago. `None` when there is none: it was
    /// ended, or its time is over. While the store is away, what was read from it lately.
    ///
    /// # Errors
    /// When the store gives no answer and the session is not known here. It may be there.
    pub async fn get(&self, ticket: &Ticket, host: &str) -> Result<Option<Arc<Kept>>, StoreFault> {
        let known = self.inner.kept.usable(ticket.record(), self.now());
        if let Some(kept) = &known
            && !self.is_due(kept)
        {
            return Ok(known);
        }
        match self.reread(ticket, host).await {
            Err(fault) if fault.may_pass() => known.map(Some).ok_or(fault),
            answer => answer,
        }
    }

    /// Remembers for a moment that the store has no such session, or none that can be used.
    fn note(&self, ticket: &Ticket, verdict: Verdict) {
        self.inner.kept.note(*ticket.record(), verdict);
    }

    /// The session as the store has it now, and nothing else.
    ///
    /// # Errors
    /// When the store gives no answer.
    pub async fn reread(&self, ticket: &Ticket, host: &str) -> Result<Option<Arc<Kept>>, StoreFault> {
        let found = self.read(ticket, host).await?;
        if found.is_none() {
            self.note(ticket, Verdict::Gone);
        }
        Ok(found)
    }

    /// As [`Self::reread`], of a session that is in a browser's cookies and may have moved. That it has not says nothing of a moment later,
    /// when the browser may come with the key to it.
    ///
    /// # Errors
    /// When the store gives no answer.
    async fn find_moved(&self, ticket: &Ticket, host: &str) -> Result<Option<Arc<Kept>>, StoreFault> {
        self.read(ticket, host).await
    }

    async fn read(&self, ticket: &Ticket, host: &str) -> Result<Option<Arc<Kept>>, StoreFault> {
        if self.inner.kept.is_removed(ticket.record()) {
            return Ok(None);
        }
        let interruptions = self.inner.store.interruptions();
        let Some(stored) = self.inner.store.load(ticket.record()).await? else {
            return self.missing(ticket, host).await;
        };
        let now = self.now();
        let known = self.inner.kept.usable(ticket.record(), now);
        if let Some(kept) = known.filter(|kept| kept.version() == stored.version) {
            kept.confirm(now, interruptions);
            // Put in anew, since it is kept from then on.
            self.inner.kept.insert(*ticket.record(), Arc::clone(&kept));
            return Ok(Some(kept));
        }
        let context = self.context(host);
        let plain = ticket.key().open(Purpose::Record, &context.each_ref().map(|part| *part), &stored.bytes);
        let session = plain.and_then(|plain| encode::decode(&plain)).filter(|session| session.id == *ticket.id());
        let Some(session) = session else {
            self.note(ticket, Verdict::Unusable);
            return Err(StoreFault::Unusable { what: "a session that its key does not open" });
        };
        let kept = Kept::new(Arc::new(session), stored.version, stored.bytes.len(), now, interruptions);
        Ok(Some(self.keep(ticket, kept)))
    }

    /// The store has no record of the session. Where it was interrupted since it last had one, it may have lost it.
    async fn missing(&self, ticket: &Ticket, host: &str) -> Result<Option<Arc<Kept>>, StoreFault> {
        let now = self.now();
        let known = self.inner.kept.usable(ticket.record(), now);
        let lost = known.filter(|kept| kept.seen() != self.inner.store.interruptions());
        // What other gateways ended counts: whoever ends a session tells it before taking the record away.
        if lost.is_some() {
            self.inner.reader.lock().await.round(self).await?;
        }
        let lost = lost.filter(|kept| {
            self.inner.lifetimes.is_alive(kept.session(), now) && !self.inner.ended.holds(kept.session())
        });
        let Some(lost) = lost else {
            self.forget(ticket.record());
            return Ok(None);
        };
        match Box::pin(self.write(ticket, host, lost.session(), Expected::Absent)).await {
            Ok(Some(kept)) => {
                tracing::info!("a session that the store had lost was written again");
                Ok(Some(self.keep(ticket, kept)))
            }
            // Somebody else may have been faster; the next look finds what they wrote.
            Ok(None) | Err(KeepFault::Seal(_) | KeepFault::TooLarge(_)) => Ok(Some(lost)),
            Err(KeepFault::Store(fault)) => Err(fault),
        }
    }

    /// Puts a new session into the store, under a key that nobody has had.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn create(&self, session: Arc<Session>, host: &str) -> Result<Ticket, KeepFault> {
        let ticket = Ticket::draw(session.id)?;
        let written = self.write(&ticket, host, &session, Expected::Absent).await?;
        // Nobody else can have a record under a key of 256 random bits.
        let kept = written.ok_or_else(|| StoreFault::away("it has a record that nobody can have written"))?;
        self.keep(&ticket, kept);
        Ok(ticket)
    }

    /// Puts a session that outgrew its cookies into the store, or in the place of an older text that somebody put there before.
    ///
    /// # Errors
    /// When it can't be written.
    async fn take_in(&self, ticket: &Ticket, host: &str, session: &Arc<Session>) -> Result<Replaced, KeepFault> {
        let is_over = || self.inner.ended.holds(session) || self.inner.kept.is_removed(ticket.record());
        if is_over() {
            return Ok(Replaced::Over);
        }
        let Some(kept) = self.write(ticket, host, session, Expected::Absent).await? else {
            return self.replace(ticket, host, session).await;
        };
        let kept = self.keep(ticket, kept);
        // Whoever ended it meanwhile may have found nothing here to take away.
        if is_over() {
            self.remove(ticket);
            return Ok(Replaced::Over);
        }
        Ok(Replaced::Written(kept))
    }

    /// Whether the session can still be used.
    fn lives(&self, session: &Session) -> bool {
        self.inner.lifetimes.is_alive(session, self.now()) && !self.inner.ended.holds(session)
    }

    /// Puts a newer text of a session in the place of the one before, for every gateway. Times of use that others noted meanwhile stay.
    ///
    /// # Errors
    /// When it can't be written. The one before counts, unless the answer alone was lost.
    pub async fn replace(&self, ticket: &Ticket, host: &str, session: &Session) -> Result<Replaced, KeepFault> {
        for _ in 0..TRIES {
            let Some(current) = self.reread(ticket, host).await? else { return Ok(Replaced::Over) };
            if current.session().version >= session.version && **current.session() != *session {
                return Ok(Replaced::Newer(current));
            }
            let mut newer = session.clone();
            newer.used = newer.used.max(current.session().used);
            let newer = Arc::new(newer);
            if let Some(kept) = self.write(ticket, host, &newer, Expected::Version(current.version())).await? {
                let kept = self.keep(ticket, kept);
                self.inner.outbox.send(Errand::Tell(Channel::Changes, watch::change(ticket.record(), kept.version())));
                return Ok(Replaced::Written(kept));
            }
        }
        Err(StoreFault::away("others kept writing the same session").into())
    }

    /// Notes that the session is used, which lengthens its life by its idle time. While the store is away that is noted here alone.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn note_use(&self, ticket: &Ticket, host: &str) -> Result<(), KeepFault> {
        for _ in 0..TRIES {
            let Some(current) = self.get(ticket, host).await? else { return Ok(()) };
            let now = self.now();
            // Another worker or gateway may just have noted it.
            if now.since(current.session().used) < self.inner.lifetimes.renew_after() {
                return Ok(());
            }
            let used = Session { used: now, ..Session::clone(current.session()) };
            match self.write(ticket, host, &Arc::new(used.clone()), Expected::Version(current.version())).await {
                Ok(Some(kept)) => {
                    self.keep(ticket, kept);
                    return Ok(());
                }
                Ok(None) => drop(self.reread(ticket, host).await?),
                Err(fault) => {
                    self.keep(ticket, current.used(used));
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    /// Takes a session that was ended out of the store; at once, or when the store is back. Whoever calls this has marked it as ended:
    /// that is what counts.
    pub fn remove(&self, ticket: &Ticket) {
        self.inner.kept.remove(ticket.record());
        self.forget(ticket.record());
        self.inner.outbox.send(Errand::Remove(*ticket.record()));
    }

    /// Writes a text of the session; `None` when the store has another than was expected.
    async fn write(
        &self,
        ticket: &Ticket,
        host: &str,
        session: &Arc<Session>,
        expected: Expected,
    ) -> Result<Option<Kept>, KeepFault> {
        let interruptions = self.inner.store.interruptions();
        let plain = encode::encode(session)?;
        let context = self.context(host);
        let sealed = ticket.key().seal(Purpose::Record, &context.each_ref().map(|part| *part), &plain)?;
        let life = self.inner.lifetimes.ends(session).since(self.now());
        Ok(match self.inner.store.save(ticket.record(), &sealed, life, expected).await? {
            Saved::Written(version) => {
                Some(Kept::new(Arc::clone(session), version, sealed.len(), self.now(), interruptions))
            }
            Saved::Conflict => None,
        })
    }

    fn keep(&self, ticket: &Ticket, kept: Kept) -> Arc<Kept> {
        let kept = Arc::new(kept);
        self.inner.kept.insert(*ticket.record(), Arc::clone(&kept));
        self.inner.epoch.fetch_add(1, Ordering::AcqRel);
        kept
    }

    /// Another gateway has written this version of a record.
    fn outdate(&self, record: &RecordKey, version: Version) {
        if self.inner.kept.outdate(record, version) {
            self.inner.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn forget(&self, record: &RecordKey) {
        if self.inner.kept.holds(record) {
            self.inner.kept.forget(record);
            self.inner.epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn context<'a>(&'a self, host: &'a str) -> [&'a [u8]; 2] {
        [self.inner.cookie_name.as_bytes(), host.as_bytes()]
    }

    fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }
}

#[cfg(test)]
mod tests;
