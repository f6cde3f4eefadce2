//! Sessions in a store, as two gateways see them.

use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::session::ended::Mark;
use crate::session::store::tests::{settings_in, store_in};
use crate::session::tests::sample;

pub(super) const HOST: &str = "app.example.com";
const FRESH: Duration = Duration::from_secs(5);
const KEEP: Duration = Duration::from_mins(10);

pub(super) struct Desk {
    folder: TempDir,
    clock: Clock,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Clock::manual(sample().created.seconds()) }
    }

    /// A gateway on the store of this desk.
    pub(super) fn gateway(&self) -> StoredSessions {
        let mut settings = settings_in(&self.folder);
        settings.fresh_for = FRESH;
        settings.keep_for = KEEP;
        let lifetimes = Lifetimes { idle: Duration::from_hours(1), absolute: Duration::from_hours(8) };
        let foundations = Foundations {
            clock: self.clock.clone(),
            lifetimes,
            cookie_name: "__Host-portcullis".to_owned(),
            ended: EndedSessions::new(lifetimes.absolute),
        };
        StoredSessions::new(store_in(&self.folder), &settings, foundations)
    }

    fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("sessions.db")
    }

    /// The store is away: whatever is there now is no database.
    pub(super) fn break_store(&self) -> Vec<Vec<u8>> {
        let kept = ["", "-wal", "-shm"].map(|ending| {
            let path = format!("{}{ending}", self.database().display());
            let bytes = std::fs::read(&path).unwrap_or_default();
            drop(std::fs::remove_file(&path));
            bytes
        });
        std::fs::create_dir(self.database()).unwrap();
        kept.into()
    }

    /// It is back, and empty.
    pub(super) fn mend_store(&self) {
        std::fs::remove_dir(self.database()).unwrap();
    }
}

pub(super) fn session() -> Arc<Session> {
    Arc::new(Session { version: 1, ..sample() })
}

fn known(gateway: &StoredSessions, ticket: &Ticket) -> Option<Arc<Kept>> {
    match gateway.peek(ticket) {
        Peek::Here(kept) => Some(kept),
        Peek::Gone | Peek::Unusable | Peek::Unknown => None,
    }
}

async fn found(gateway: &StoredSessions, ticket: &Ticket) -> Option<Arc<Session>> {
    gateway.get(ticket, HOST).await.unwrap().map(|kept| Arc::clone(kept.session()))
}

#[tokio::test]
async fn every_gateway_of_the_store_finds_a_session_by_its_ticket_alone() {
    let desk = Desk::new();
    let (one, two) = (desk.gateway(), desk.gateway());
    let session = session();
    let ticket = one.create(Arc::clone(&session), HOST).await.unwrap();
    assert_eq!(*found(&one, &ticket).await.unwrap(), *session);
    assert_eq!(*found(&two, &Ticket::decode(&ticket.encode()).unwrap()).await.unwrap(), *session);
    assert!(two.get(&Ticket::draw(session.id).unwrap(), HOST).await.unwrap().is_none(), "another key finds nothing");
    let elsewhere = desk.gateway().get(&ticket, "other.example.com").await;
    assert!(matches!(elsewhere, Err(StoreFault::Unusable { .. })), "a record is bound to its site");
}

#[tokio::test]
async fn what_lies_in_the_store_tells_nothing_and_can_not_be_exchanged() {
    let desk = Desk::new();
    let gateway = desk.gateway();
    let secret = "a-token-that-nobody-else-may-see";
    let mut session = Session::clone(&session());
    session.tokens.access_token = Some(secret.to_owned());
    let ticket = gateway.create(Arc::new(session.clone()), HOST).await.unwrap();
    let stored = gateway.store().load(ticket.record()).await.unwrap().unwrap();
    for text in [secret, &*session.principal.subject, "example.com"] {
        assert!(!stored.bytes.windows(text.len()).any(|bytes| bytes == text.as_bytes()), "{text}");
    }
    assert!(!stored.bytes.windows(32).any(|bytes| bytes == ticket.key().secret()));
    // Another session's record in the place of this one, as whoever can write to the store could put it there.
    let other = gateway.create(Arc::new(Session { id: [8; 16], ..session }), HOST).await.unwrap();
    let foreign = gateway.store().load(other.record()).await.unwrap().unwrap();
    let expected = Expected::Version(stored.version);
    let life = Duration::from_mins(1);
    assert!(matches!(
        gateway.store().save(ticket.record(), &foreign.bytes, life, expected).await,
        Ok(Saved::Written(_))
    ));
    assert!(matches!(desk.gateway().get(&ticket, HOST).await, Err(StoreFault::Unusable { .. })));
}

#[tokio::test]
async fn what_one_gateway_writes_takes_the_place_of_what_the_others_know() {
    let desk = Desk::new();
    let (one, two) = (desk.gateway(), desk.gateway());
    let ticket = one.create(session(), HOST).await.unwrap();
    assert_eq!(found(&two, &ticket).await.unwrap().version, 1);
    let newer = Session { version: 2, ..Session::clone(&session()) };
    let Replaced::Written(kept) = one.replace(&ticket, HOST, &newer).await.unwrap() else { panic!() };
    assert_eq!(found(&one, &ticket).await.unwrap().version, 2);
    assert_eq!(found(&two, &ticket).await.unwrap().version, 1, "not told yet");
    let epoch = two.epoch();
    one.inner.outbox.empty(one.store()).await.unwrap();
    two.inner.reader.lock().await.round(&two).await.unwrap();
    assert!(two.epoch() > epoch && known(&two, &ticket).unwrap().is_outdated());
    assert_eq!(found(&two, &ticket).await.unwrap().version, 2);
    // Who comes with an older text, or with another of the same version, takes what is there.
    let late = Session { used: kept.session().used.after(FRESH), ..newer.clone() };
    for late in [Session { version: 1, ..late.clone() }, late] {
        assert!(
            matches!(two.replace(&ticket, HOST, &late).await.unwrap(), Replaced::Newer(kept) if kept.session().version == 2)
        );
    }
    assert!(matches!(two.replace(&ticket, HOST, &newer).await.unwrap(), Replaced::Written(_)), "the same once more");
}

#[tokio::test]
async fn a_session_is_read_anew_after_a_while_and_its_use_noted_once() {
    let desk = Desk::new();
    let (one, two) = (desk.gateway(), desk.gateway());
    let ticket = one.create(session(), HOST).await.unwrap();
    assert!(!one.is_due(&known(&one, &ticket).unwrap()));
    desk.clock.advance(FRESH);
    assert!(one.is_due(&known(&one, &ticket).unwrap()));
    found(&one, &ticket).await.unwrap();
    assert!(!one.is_due(&known(&one, &ticket).unwrap()));

    desk.clock.advance(Duration::from_mins(1));
    one.note_use(&ticket, HOST).await.unwrap();
    let noted = known(&one, &ticket).unwrap();
    assert_eq!(noted.session().used, desk.clock.now());
    two.note_use(&ticket, HOST).await.unwrap();
    assert_eq!(known(&two, &ticket).unwrap().version(), noted.version(), "it was noted a moment ago");
    // Used now and then it outlives its idle time, and not its absolute one.
    for _ in 0..16 {
        desk.clock.advance(Duration::from_mins(29));
        one.note_use(&ticket, HOST).await.unwrap();
    }
    assert!(found(&one, &ticket).await.is_some());
}

#[tokio::test]
async fn an_ended_session_is_gone_everywhere_and_never_comes_back() {
    let desk = Desk::new();
    let (one, two) = (desk.gateway(), desk.gateway());
    let ticket = one.create(session(), HOST).await.unwrap();
    found(&two, &ticket).await.unwrap();
    one.inner.ended.share_with({
        let one = one.clone();
        move |mark| one.inner.outbox.send(Errand::Tell(Channel::Ends, postcard::to_allocvec(&mark).unwrap()))
    });
    one.inner.ended.end(Mark::on_session(ticket.id()), desk.clock.now());
    one.remove(&ticket);
    assert!(known(&one, &ticket).is_none());
    one.inner.outbox.empty(one.store()).await.unwrap();
    assert!(one.store().load(ticket.record()).await.unwrap().is_none());
    // The other one has not heard of it, and believes that the store may have lost the record.
    two.store().note_interruption();
    desk.clock.advance(FRESH);
    assert!(found(&two, &ticket).await.is_none());
    assert!(two.inner.ended.holds(&session()));
    assert!(two.store().load(ticket.record()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_record_that_the_store_lost_is_written_again_by_who_knows_the_session() {
    let desk = Desk::new();
    let (one, two) = (desk.gateway(), desk.gateway());
    let ticket = one.create(session(), HOST).await.unwrap();
    one.store().remove(ticket.record()).await.unwrap();
    assert!(one.reread(&ticket, HOST).await.unwrap().is_none(), "a store that was there all the time has lost nothing");

    let ticket = one.create(session(), HOST).await.unwrap();
    one.store().remove(ticket.record()).await.unwrap();
    one.store().note_interruption();
    assert_eq!(*one.reread(&ticket, HOST).await.unwrap().unwrap().session(), session());
    assert_eq!(*found(&two, &ticket).await.unwrap(), *session(), "for everyone");
    desk.clock.advance(Duration::from_hours(1));
    one.store().remove(ticket.record()).await.unwrap();
    one.store().note_interruption();
    assert!(one.reread(&ticket, HOST).await.unwrap().is_none(), "its time is over");
}

#[tokio::test]
async fn while_the_store_is_away_what_was_seen_lately_goes_on_and_nothing_is_taken_for_gone() {
    let desk = Desk::new();
    let (one, two) = (desk.gateway(), desk.gateway());
    let ticket = one.create(session(), HOST).await.unwrap();
    let broken = desk.break_store();
    assert!(!broken[0].is_empty());
    let (one, two) = {
        // Stores that were never connected to, with what the first one knows.
        let away = desk.gateway();
        away.inner.kept.insert(*ticket.record(), known(&one, &ticket).unwrap());
        drop(two);
        (away, desk.gateway())
    };
    desk.clock.advance(FRESH);
    assert_eq!(*found(&one, &ticket).await.unwrap(), *session());
    assert!(matches!(two.get(&ticket, HOST).await, Err(StoreFault::Away { .. })), "nobody is told that it isn't there");
    desk.clock.advance(Duration::from_mins(2));
    assert!(one.note_use(&ticket, HOST).await.is_err());
    assert_eq!(found(&one, &ticket).await.unwrap().used, desk.clock.now(), "its use counts here");
    one.remove(&Ticket::draw([1; 16]).unwrap());
    assert!(one.inner.outbox.empty(one.store()).await.is_err());
    desk.clock.advance(KEEP);
    assert!(matches!(one.get(&ticket, HOST).await, Err(StoreFault::Away { .. })));
}
