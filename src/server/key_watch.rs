//! Session keys that stand in files, looked at every few seconds: a changed file counts without a restart, and signs nobody out
//! as long as the old key stays in the list. Whoever meets a seal of an unknown key has them looked at at once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::base::clock;
use crate::config::secret::SecretSource;
use crate::seal::keyring::{KeyError, KeySet, Keyring};
use crate::session::key_desk::Asked;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How long a changed file must stay the same before it counts, so that one that is being written is not taken for whole.
const SETTLE: Duration = Duration::from_millis(250);

/// Files that were looked at this short a time ago are not looked at again: less than it takes until a gateway counts a new key, so that
/// what another one seals with has been seen, and long enough that forged seals cost next to nothing.
const LATELY: Duration = Duration::from_millis(200);
/// The most that are answered by one look.
const AT_ONCE: usize = 256;

/// Looks at the files of `sources` until the ring is gone, and gives it their keys when these have changed. Keys that can't
/// be used are told once, and leave the ring as it is. Whoever is `asked` for waits no longer than a look takes. Ends at once when no
/// source is a file.
pub async fn watch(ring: Weak<Keyring>, sources: Vec<SecretSource>, mut asked: mpsc::Receiver<Asked>) {
    if !sources.iter().any(|source| matches!(source, SecretSource::File(_))) {
        return;
    }
    let sources: Arc<[SecretSource]> = sources.into();
    let (mut told, mut looked) = (None, clock::instant());
    let mut waiting = Vec::new();
    loop {
        let next = EVERY.saturating_sub(looked.elapsed());
        // When nobody can ask any more there is nobody left to look for, which the ring will tell.
        let asking = tokio::time::timeout(next, asked.recv_many(&mut waiting, AT_ONCE)).await;
        if asking.is_err() || looked.elapsed() >= LATELY {
            let found = settled(&ring, &sources).await;
            looked = clock::instant();
            let Some(ring) = ring.upgrade() else { return };
            told = apply(&ring, found, told);
        }
        if asking == Ok(0) {
            tokio::time::sleep(EVERY).await;
        }
        for asked in waiting.drain(..) {
            // Who has stopped waiting needs no answer.
            let _stopped = asked.send(());
        }
    }
}

/// What to do with what was found; gives what was told of keys that can't be used.
fn apply(ring: &Keyring, found: Result<Found, KeyError>, told: Option<String>) -> Option<String> {
    match found {
        Ok(Found::Changed(keys)) => {
            tracing::info!(keys = keys.count(), "the session keys were replaced");
            ring.replace(keys);
            None
        }
        Ok(Found::Same) => {
            if told.is_some() {
                tracing::info!("the session keys can be used again");
            }
            None
        }
        Ok(Found::Moving) => told,
        Err(error) => {
            let text = error.to_string();
            if told.as_ref() != Some(&text) {
                tracing::error!("the session keys can't be read anew, so those from before stay in use: {text}");
            }
            Some(text)
        }
    }
}

enum Found {
    /// The ring has these keys.
    Same,
    /// Other keys, which have stood there for a moment.
    Changed(KeySet),
    /// Other keys, which have just been written over: the next look will tell.
    Moving,
}

/// Looks once, and once more a moment later when anything is new: a file that is being written is no news yet.
async fn settled(ring: &Weak<Keyring>, sources: &Arc<[SecretSource]>) -> Result<Found, KeyError> {
    let first = read(sources).await;
    if let Some(Ok(keys)) = &first
        && ring.upgrade().is_none_or(|ring| ring.holds(keys))
    {
        return Ok(Found::Same);
    }
    tokio::time::sleep(SETTLE).await;
    let second = read(sources).await.transpose()?;
    Ok(match (first, second) {
        (Some(Ok(first)), Some(second)) if first.is_same(&second) => Found::Changed(second),
        _ => Found::Moving,
    })
}

/// The keys as they stand now; nothing when the process is stopping.
async fn read(sources: &Arc<[SecretSource]>) -> Option<Result<KeySet, KeyError>> {
    let sources = Arc::clone(sources);
    tokio::task::spawn_blocking(move || KeySet::read(&sources)).await.ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::base::random;
    use crate::session::key_desk::KeyDesk;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    fn write_key(path: &Path) {
        std::fs::write(path, random::token().unwrap()).unwrap();
    }

    #[test]
    fn a_changed_file_gives_the_ring_its_key_and_a_bad_one_leaves_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_key(&path);
        let sources: Arc<[SecretSource]> = Arc::new([SecretSource::File(path.clone())]);
        let ring = Arc::new(Keyring::load(&sources).unwrap());
        let look = |told| apply(&ring, runtime().block_on(settled(&Arc::downgrade(&ring), &sources)), told);
        assert_eq!((look(None), ring.epoch()), (None, 0), "nothing has changed");
        write_key(&path);
        assert_eq!((look(None), ring.epoch()), (None, 1));
        for bad in ["", "short"] {
            std::fs::write(&path, bad).unwrap();
            let told = look(None);
            assert!(told.is_some_and(|text| text.contains("session key 1") || text.contains("is empty")), "{bad:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(look(None).is_some_and(|text| text.contains(&path.display().to_string())));
        assert_eq!(ring.epoch(), 1, "the keys from before stay in use");
        write_key(&path);
        assert_eq!((look(Some("told".to_owned())), ring.epoch()), (None, 2));
    }

    #[test]
    fn whoever_asks_gets_the_key_that_stands_there_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let takes = || {
            write_key(&path);
            let sources = vec![SecretSource::File(path.clone())];
            let ring = Arc::new(Keyring::load(&sources).unwrap());
            let (desk, asked) = KeyDesk::open();
            let begun = clock::instant();
            runtime().block_on(async {
                let asking = async {
                    tokio::time::sleep(LATELY * 2).await;
                    write_key(&path);
                    desk.look().await;
                };
                tokio::select! {
                    () = watch(Arc::downgrade(&ring), sources, asked) => {}
                    () = asking => {}
                }
            });
            assert_eq!(ring.epoch(), 1);
            begun.elapsed()
        };
        // A busy machine may stand still for so long once, but not again and again.
        assert!((0..10).any(|_| takes() < EVERY), "nobody waited for the usual look");
    }

    #[test]
    fn a_file_that_is_still_being_written_is_no_news() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_key(&path);
        let sources: Arc<[SecretSource]> = Arc::new([SecretSource::File(path.clone())]);
        let ring = Arc::new(Keyring::load(&sources).unwrap());
        write_key(&path);
        let fresh = folder.path().join("fresh");
        let runtime = runtime();
        let found = runtime.block_on(async {
            let weak = Arc::downgrade(&ring);
            // Again and again, and whole each time, so that something has changed between two looks however late a busy machine takes
            // them.
            let writer = async {
                loop {
                    tokio::time::sleep(SETTLE / 5).await;
                    write_key(&fresh);
                    std::fs::rename(&fresh, &path).unwrap();
                }
            };
            tokio::select! {
                biased;
                never = writer => never,
                found = settled(&weak, &sources) => found,
            }
        });
        assert!(matches!(found, Ok(Found::Moving)));
    }

    #[test]
    fn the_watch_ends_with_the_ring_and_where_there_is_no_file() {
        let inline = vec![SecretSource::Env("PORTCULLIS_TEST_NO_SUCH_VARIABLE".to_owned())];
        let ring = Arc::new(Keyring::ephemeral().unwrap());
        let (_desk, asked) = KeyDesk::open();
        runtime().block_on(watch(Arc::downgrade(&ring), inline, asked));
        assert_eq!(ring.epoch(), 0);
    }
}
