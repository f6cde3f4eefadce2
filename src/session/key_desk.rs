//! Where whoever met a seal of an unknown key asks that the key files be looked at now: another gateway that reads the same files may
//! have taken a new key a moment before us, and nobody is signed out for that.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// How long somebody waits for a look at most.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that wait at once; who comes then is not kept waiting.
const LINE: usize = 256;

/// Asks for looks. Clones ask the same one.
#[derive(Clone, Debug)]
pub struct KeyDesk {
    asking: mpsc::Sender<Asked>,
}

/// Told when the look is over.
pub type Asked = oneshot::Sender<()>;

impl KeyDesk {
    /// A desk, and what is asked there. When nobody takes that any more, asking is over at once.
    pub fn open() -> (Self, mpsc::Receiver<Asked>) {
        let (asking, asked) = mpsc::channel(LINE);
        (Self { asking }, asked)
    }

    /// Waits until the key files were looked at, if anybody does that.
    pub async fn look(&self) {
        let (asked, done) = oneshot::channel();
        if self.asking.try_send(asked).is_ok() {
            // However it ends, whoever asked tries with the keys that are there now.
            drop(tokio::time::timeout(PATIENCE, done).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asks_waits_for_the_look_and_not_for_nobody() {
        let (desk, mut asked) = KeyDesk::open();
        let clerk = async {
            asked.recv().await.unwrap().send(()).unwrap();
            drop(asked);
        };
        tokio::join!(desk.look(), clerk);
        desk.look().await;
    }
}
