//! What can go wrong with a store: it is away, it is slow, or what it has can't be used. Never "not there", which is an answer.

use std::time::Duration;

use crate::config::secret::SecretError;

/// Why a store gave no answer. Holds nothing that was stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreFault {
    /// It can't be reached, refuses us, or can't work at present.
    #[error("the session store can't be used: {reason}")]
    Away {
        /// Why.
        reason: String,
    },
    /// It has not answered in time.
    #[error("the session store has not answered within {} ms", bound.as_millis())]
    Slow {
        /// How long it had.
        bound: Duration,
    },
    /// It is there, and takes nothing new at present: it is full, or may only be read. What it has can be read.
    #[error("the session store takes nothing new: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// It answered with something that is none of ours: the store is well, this one record is not.
    #[error("the session store holds {what}")]
    Unusable {
        /// What.
        what: &'static str,
    },
}

impl StoreFault {
    /// The store can't be used for this reason.
    pub(crate) fn away(reason: impl Into<String>) -> Self {
        Self::Away { reason: reason.into() }
    }

    /// Whether the same may work in a while, without anybody's doing anything about this one record.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Slow { .. } | Self::Refused { .. } => true,
            Self::Unusable { .. } => false,
        }
    }
}

impl From<SecretError> for StoreFault {
    fn from(error: SecretError) -> Self {
        Self::away(error.to_string())
    }
}

/// Why no store can be made of settings.
#[derive(Debug, thiserror::Error)]
pub enum StoreSetup {
    /// A file of the settings can't be used.
    #[error("`{key}` can't be used: {cause}")]
    File {
        /// The key of `[session.store]`.
        key: &'static str,
        /// Why.
        cause: String,
    },
    /// The address can't be used.
    #[error("`url` can't be used: {0}")]
    Url(String),
}
