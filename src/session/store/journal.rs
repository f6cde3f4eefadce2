//! What gateways tell each other through the store: two channels that everyone reads at their own pace. Unlike messages that are
//! pushed, nothing is lost while somebody is away, and who starts later reads what was told before.

use std::time::Duration;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Sessions that were ended; kept for as long as the sessions could have lived.
    Ends,
    /// Records that were written anew, so that local copies are read again; kept for a few minutes.
    Changes,
}

/// How long changes are kept: who has read nothing for so long reads every session anew anyway.
const CHANGES_KEPT: Duration = Duration::from_mins(5);
/// How far a reading goes back behind its cursor when it looks again for what a store may show late, in milliseconds: a transaction
/// that was begun before and ended after another one, or a primary whose clock is behind that of the one before it.
pub(super) const LATE: u64 = 5_000;
/// The most entries that one reading brings.
pub(super) const PAGE: u16 = 1_000;

/// How far somebody has read. Only its own store can make something of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The time of the last entry, in milliseconds of the store's clock.
    pub(super) time: u64,
    /// Its number: among those of the same time with Redis, among all with the others.
    pub(super) number: u64,
}

/// What one reading brought.
#[derive(Debug, Default)]
pub struct Entries {
    /// What was told, oldest first.
    pub entries: Vec<Vec<u8>>,
    /// Where to go on.
    pub cursor: Cursor,
    /// Whether there may be more already.
    pub more: bool,
}

impl Cursor {
    /// A cursor a few seconds before this one.
    #[must_use]
    pub fn back(&self) -> Self {
        Self { time: self.time.saturating_sub(LATE), number: 0 }
    }
}

impl Channel {
    /// Its part of a key's or row's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ends => "ends",
            Self::Changes => "changes",
        }
    }

    /// How long its entries are kept, where sessions last for `lifetime`.
    pub(super) fn kept(self, lifetime: Duration) -> Duration {
        match self {
            Self::Ends => lifetime,
            Self::Changes => CHANGES_KEPT,
        }
    }
}
