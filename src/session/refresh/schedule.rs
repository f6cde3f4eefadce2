//! When a session's tokens are to be refreshed: ahead of the access token's end, each session and each process at a moment of its own.
//!
//! 1. The lead is the configured one, or a fifth of the token's life and five minutes at most; never more than half of that life.
//! 2. Before it lies a span in which sessions and processes choose their moments. Gateways that share nothing would else ask the provider
//!    at the same moment, and a refresh token that is used twice ends the sign-in (RFC 9700, section 4.14.2).
//! 3. A token without a told end is refreshed once an hour, and never counts as over (RFC 6749, section 5.1, lets the end be told elsewhere).

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::session::model::Session;

/// The longest lead that is chosen when none is configured.
const LONGEST_LEAD: Duration = Duration::from_mins(5);
/// The part of the token's life that is the lead when none is configured.
const SHARE: u32 = 5;
/// The least time between two refreshes that nobody asked for.
const LEAST: Duration = Duration::from_secs(1);
/// How long tokens of unknown life are used.
const UNKNOWN_LIFE: Duration = Duration::from_hours(1);

/// When tokens are refreshed.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    lead: Option<Duration>,
    idle: Duration,
    seed: u64,
}

/// When a refresh is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When another process may find it due at the earliest.
    pub earliest: Timestamp,
    /// When it is due here.
    pub at: Timestamp,
}

impl Schedule {
    /// A schedule with this lead, for sessions of this idle lifetime. `seed` is this process's own.
    pub const fn new(lead: Option<Duration>, idle: Duration, seed: u64) -> Self {
        Self { lead, idle, seed }
    }

    /// When the session's tokens are due; `None` when there is nothing to refresh them with.
    pub fn due(&self, session: &Session) -> Option<Due> {
        session.tokens.refresh_token.as_ref()?;
        let floor = session.obtained.after(LEAST);
        let Some(ends) = session.tokens.access_expires else {
            let at = session.obtained.after(UNKNOWN_LIFE);
            return Some(Due { earliest: at, at });
        };
        let life = ends.since(session.obtained);
        let lead = self.lead.unwrap_or_else(|| (life / SHARE).clamp(Duration::from_secs(1), LONGEST_LEAD));
        let lead = lead.as_secs().min(life.as_secs() / 2);
        // The idle lifetime bounds the span, since uses are not noted in the session during it.
        let span = (lead / 4).min(self.idle.as_secs() / 10);
        let latest = ends.seconds().saturating_sub(lead);
        let at = Timestamp::from_seconds(latest.saturating_sub(self.draw(session.id, span)));
        let earliest = Timestamp::from_seconds(latest.saturating_sub(span));
        Some(Due { earliest: earliest.max(floor), at: at.max(floor) })
    }

    /// 0 to `span`: always the same for a session, as far as this process is concerned.
    fn draw(&self, id: [u8; 16], span: u64) -> u64 {
        let (half, _) = id.split_at(8);
        let bits = half.iter().fold(self.seed, |bits, byte| (bits ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
        (bits >> 32) % (span + 1)
    }
}

/// Whether the session's access token is over.
pub fn is_over(session: &Session, now: Timestamp) -> bool {
    session.tokens.access_expires.is_some_and(|ends| now >= ends)
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{NOW, sample};
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn session(life: Option<u64>) -> Session {
        let mut session = sample();
        session.obtained = NOW;
        session.tokens.access_expires = life.map(|life| NOW.after(Duration::from_secs(life)));
        session
    }

    fn due(lead: Option<u64>, life: u64) -> (u64, u64) {
        let schedule = Schedule::new(lead.map(Duration::from_secs), HOUR, 7);
        let due = schedule.due(&session(Some(life))).unwrap();
        assert!(due.earliest <= due.at);
        (due.earliest.since(NOW).as_secs(), due.at.since(NOW).as_secs())
    }

    #[test]
    fn the_lead_is_a_share_of_the_life_within_bounds() {
        // A fifth of 100 s is 20 s; the span before it is 5 s.
        let (earliest, at) = due(None, 100);
        assert_eq!(earliest, 75);
        assert!((75..=80).contains(&at), "{at}");
        assert_eq!(due(None, 3600).0, 3600 - 300 - 75, "five minutes at most");
        assert_eq!(due(Some(60), 3600).0, 3600 - 60 - 15);
        assert_eq!(due(Some(3600), 100).0, 100 - 50 - 12, "never more than half of the life");
        assert_eq!(due(None, 3), (2, 2));
        assert_eq!(due(None, 1), (1, 1));
        assert_eq!(due(None, 0), (1, 1), "a token without any life is not asked for without a pause");
    }

    #[test]
    fn sessions_and_processes_choose_moments_of_their_own() {
        let moments = |seed: u64| -> Vec<u64> {
            let schedule = Schedule::new(None, HOUR, seed);
            let of = |number: u8| {
                let session = Session { id: [number; 16], ..session(Some(3600)) };
                assert_eq!(schedule.due(&session), schedule.due(&session));
                schedule.due(&session).unwrap().at.since(NOW).as_secs()
            };
            (0..64).map(of).collect()
        };
        let (here, there) = (moments(1), moments(0x1234_5678_9abc_def0));
        let mut different = here.clone();
        different.sort_unstable();
        different.dedup();
        assert!(different.len() > 20, "{different:?}");
        assert!(here.iter().all(|at| (3225..=3300).contains(at)), "{here:?}");
        assert!(here.iter().zip(&there).filter(|(here, there)| here != there).count() > 50);
    }

    #[test]
    fn nothing_is_due_without_a_refresh_token_and_tokens_of_unknown_life_are_due_in_an_hour() {
        let schedule = Schedule::new(None, HOUR, 7);
        let mut without = session(Some(100));
        without.tokens.refresh_token = None;
        assert_eq!(schedule.due(&without), None);
        assert_eq!(schedule.due(&session(None)).unwrap().at, NOW.after(UNKNOWN_LIFE));
        assert!(!is_over(&session(None), NOW.after(HOUR * 24)));
        assert!(is_over(&session(Some(10)), NOW.after(Duration::from_secs(10))));
        assert!(!is_over(&session(Some(10)), NOW.after(Duration::from_secs(9))));
    }

    #[test]
    fn a_short_idle_lifetime_keeps_the_span_short() {
        let schedule = Schedule::new(None, Duration::from_secs(20), 7);
        assert_eq!(schedule.due(&session(Some(3600))).unwrap().earliest.since(NOW).as_secs(), 3600 - 300 - 2);
    }
}
