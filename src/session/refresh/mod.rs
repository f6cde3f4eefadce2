//! Refreshes of sessions' tokens: when one is due, that only one is under way for a session, and which text of a session is the newest.
//!
//! A session in a cookie can't be changed where it is: a refresh makes a newer text of it, with a higher version, and the browser goes on
//! sending the older one until an answer has brought it the newer one. So this process remembers the newest text of each session that
//! was refreshed, until the browser has shown it and requests that were under way are over. Calls to providers are made elsewhere.

pub mod flight;
pub mod home;
pub mod refreshes;
pub mod schedule;
mod track;

#[cfg(test)]
mod tests;
