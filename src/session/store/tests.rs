//! What every store promises, tried on `SQLite`; `tests/stores` tries the others with real servers.

use std::time::Duration;

use super::*;
use crate::config::settings::StorePlace;

const LIFE: Duration = Duration::from_mins(1);

/// A store of its own in a directory that goes with it.
pub(crate) fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (store_in(&folder), folder)
}

/// Another gateway's store in the same file.
pub(crate) fn store_in(folder: &tempfile::TempDir) -> Store {
    Store::new(&settings_in(folder), LIFE).unwrap()
}

/// The settings of a store in a file of this directory.
pub(crate) fn settings_in(folder: &tempfile::TempDir) -> OutsideStore {
    OutsideStore {
        place: StorePlace::Sqlite(folder.path().join("sessions.db")),
        password: None,
        ca: None,
        certificate: None,
        timeout: Duration::from_secs(5),
        fresh_for: Duration::from_secs(1),
        keep_for: LIFE,
        prefix: "portcullis".to_owned(),
        cookie_fallback: true,
        only_large: false,
    }
}

fn key(number: u8) -> RecordKey {
    RecordKey::of("test", &[&[number]])
}

#[tokio::test]
async fn a_record_is_written_by_one_read_by_all_and_ends() {
    let (store, folder) = store();
    let other = store_in(&folder);
    assert_eq!(store.load(&key(1)).await.unwrap(), None);
    let Saved::Written(first) = store.save(&key(1), b"one", LIFE, Expected::Absent).await.unwrap() else { panic!() };
    assert_eq!(other.load(&key(1)).await.unwrap(), Some(Stored { bytes: b"one".to_vec(), version: first }));
    assert_eq!(other.save(&key(1), b"two", LIFE, Expected::Absent).await.unwrap(), Saved::Conflict);
    let Saved::Written(second) = other.save(&key(1), b"two", LIFE, Expected::Version(first)).await.unwrap() else {
        panic!()
    };
    assert_eq!(store.save(&key(1), b"late", LIFE, Expected::Version(first)).await.unwrap(), Saved::Conflict);
    assert_eq!(store.load(&key(1)).await.unwrap().unwrap().version, second);
    store.remove(&key(1)).await.unwrap();
    store.remove(&key(1)).await.unwrap();
    assert_eq!(other.load(&key(1)).await.unwrap(), None);
    assert_eq!(store.save(&key(1), b"late", LIFE, Expected::Version(second)).await.unwrap(), Saved::Conflict);

    let short = Duration::from_millis(50);
    assert!(matches!(store.save(&key(2), b"brief", short, Expected::Absent).await.unwrap(), Saved::Written(_)));
    tokio::time::sleep(short * 3).await;
    assert_eq!(store.load(&key(2)).await.unwrap(), None);
    assert!(matches!(store.save(&key(2), b"again", short, Expected::Absent).await.unwrap(), Saved::Written(_)));
    tokio::time::sleep(short * 3).await;
    store.tidy().await.unwrap();
}

#[tokio::test]
async fn a_lock_has_one_holder_and_outlives_nobody() {
    let (store, folder) = store();
    let other = store_in(&folder);
    let lock = store.try_lock(&key(1), LIFE).await.unwrap().unwrap();
    assert!(other.try_lock(&key(1), LIFE).await.unwrap().is_none());
    assert!(other.try_lock(&key(2), LIFE).await.unwrap().is_some(), "another name");
    store.unlock(lock).await.unwrap();
    let short = other.try_lock(&key(1), Duration::from_secs(2)).await.unwrap().unwrap();
    assert!(other.lengthen(&short, Duration::from_secs(5)).await.unwrap());
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert!(store.try_lock(&key(1), LIFE).await.unwrap().is_none(), "it was lengthened");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _held = store.try_lock(&key(1), LIFE).await.unwrap().unwrap();
    assert!(!other.lengthen(&short, LIFE).await.unwrap(), "it is another's by now");
    other.unlock(short).await.unwrap();
    assert!(
        other.try_lock(&key(1), LIFE).await.unwrap().is_none(),
        "who came late gives nothing back that is another's"
    );
}

#[tokio::test]
async fn news_reach_everyone_and_those_who_start_later() {
    let (store, folder) = store();
    let other = store_in(&folder);
    store.tell(Channel::Ends, b"one").await.unwrap();
    store.tell(Channel::Changes, b"elsewhere").await.unwrap();
    let read = other.news(Channel::Ends, &Cursor::default()).await.unwrap();
    assert_eq!(read.entries, [b"one"]);
    assert!(!read.more);
    assert!(other.news(Channel::Ends, &read.cursor).await.unwrap().entries.is_empty());
    store.tell(Channel::Ends, b"two").await.unwrap();
    assert_eq!(other.news(Channel::Ends, &read.cursor).await.unwrap().entries, [b"two"]);
    assert_eq!(
        other.news(Channel::Ends, &read.cursor.back()).await.unwrap().entries,
        [b"one", b"two"],
        "nothing is missed"
    );
    let later = store_in(&folder);
    assert_eq!(later.news(Channel::Ends, &Cursor::default()).await.unwrap().entries, [b"one", b"two"]);
    for _ in 0..journal::PAGE {
        later.tell(Channel::Changes, b"x").await.unwrap();
    }
    let page = later.news(Channel::Changes, &Cursor::default()).await.unwrap();
    assert!(page.more && page.entries.len() == usize::from(journal::PAGE));
    assert_eq!(later.news(Channel::Changes, &page.cursor).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn nothing_is_made_before_it_is_asked_for_and_others_can_not_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (store, folder) = store();
    let path = folder.path().join("sessions.db");
    assert!(!path.exists());
    store.load(&key(1)).await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_a_fault_and_soon_no_wait() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("sessions.db"),
        "this is no database, and long enough to be seen as none".repeat(40),
    )
    .unwrap();
    let store = store_in(&folder);
    for _ in 0..3 {
        // Each of these asks the store itself.
        let Err(fault @ StoreFault::Away { .. }) = store.load(&key(1)).await else { panic!("that was no database") };
        assert!(!fault.to_string().contains("a moment ago"), "{fault}");
    }
    let told = store.save(&key(1), b"x", LIFE, Expected::Absent).await.unwrap_err().to_string();
    assert!(told.contains("a moment ago"), "{told}");
}
