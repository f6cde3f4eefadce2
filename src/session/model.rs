//! The session: who signed in, their tokens, and the times that end it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::identity::principal::Principal;
use crate::policy::wanted::Wanted;

/// The tokens that the provider gave. They are written to no log: `Debug` shows only which are there.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// For calls to APIs in the person's name.
    #[serde(with = "super::packed")]
    pub access_token: Option<String>,
    /// When the access token ends, if the provider said so.
    pub access_expires: Option<Timestamp>,
    /// For new access tokens.
    #[serde(with = "super::packed")]
    pub refresh_token: Option<String>,
    /// The ID token as it came, byte for byte: the hint at RP-initiated logout.
    #[serde(with = "super::packed")]
    pub id_token: Option<String>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("access_token", &self.access_token.is_some())
            .field("access_expires", &self.access_expires)
            .field("refresh_token", &self.refresh_token.is_some())
            .field("id_token", &self.id_token.is_some())
            .finish()
    }
}

/// What a token endpoint gave, before any of it was verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Granted {
    /// For calls to APIs.
    pub access_token: String,
    /// For new access tokens; absent when an earlier one stays in use (RFC 6749, section 6).
    pub refresh_token: Option<String>,
    /// Seconds that the access token lasts, if the provider said so.
    pub expires_in: Option<u64>,
    /// What is granted by now, if the provider said so (RFC 6749, section 5.1).
    pub scopes: Option<Vec<String>>,
    /// The ID token as it came, byte for byte.
    pub id_token: Option<String>,
    /// When it was asked for.
    pub asked: Timestamp,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted")
            .field("refresh_token", &self.refresh_token.is_some())
            .field("expires_in", &self.expires_in)
            .field("id_token", &self.id_token.is_some())
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}

/// What a browser holds after a sign-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Names this session; made anew at every sign-in.
    pub id: [u8; 16],
    /// How often its tokens were refreshed. Of two texts of one session, the one with the higher version counts.
    pub version: u32,
    /// Who signed in.
    pub principal: Principal,
    /// Their tokens.
    pub tokens: Tokens,
    /// When the tokens were asked for: at the sign-in, or at the latest refresh.
    pub obtained: Timestamp,
    /// The nonce of the sign-in: an ID token that comes with a refresh has this one or none (`OpenID` Connect Core 1.0, section 12.2).
    pub nonce: Option<String>,
    /// When the sign-in ended here.
    pub created: Timestamp,
    /// When it was last known to be used; written anew only now and then (see [`Lifetimes::renew_after`]).
    pub used: Timestamp,
    /// When the person last proved who they are to the provider, if it said so (`auth_time`).
    pub authenticated: Option<Timestamp>,
    /// The provider's own session (`sid`), for logout.
    pub provider_session: Option<String>,
    /// What was asked of this sign-in besides that it is one, so that a provider that does not give it is not asked for ever.
    pub asked: Wanted,
    /// How many sign-ins in a row were begun because a rule wanted more of them, up to this one.
    pub round: u8,
}

/// How long sessions last, on our clock.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Unused for this long, a session is over.
    pub idle: Duration,
    /// This old, a session is over.
    pub absolute: Duration,
}

impl Lifetimes {
    /// Whether the session may still be used.
    pub fn is_alive(&self, session: &Session, now: Timestamp) -> bool {
        now < self.ends(session)
    }

    /// When the session ends if it is not used again.
    pub fn ends(&self, session: &Session) -> Timestamp {
        session.used.after(self.idle).min(session.created.after(self.absolute))
    }

    /// Whether the time of last use should be written anew: after a tenth of the idle lifetime, a minute at the most.
    pub fn renew_after(&self) -> Duration {
        (self.idle / 10).min(Duration::from_mins(1))
    }
}
