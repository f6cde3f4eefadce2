//! Floor 4: the way of a request, one file per verb.
//!
//! `arrival` is what comes; `handle` tells the story; `edge` makes one canonical request or refuses it, `client` finds who really calls, `judge` asks `route` for
//! the rule, `credential` for the person, `decide` for the answer and `csrf` whether it was they who asked, `cors` says which pages may
//! read the answer, `refuse` says no, `pass` says yes with its `papers`, or what mends it that they are `lacking`, `renewal` has tokens and
//! cookies follow the provider, `vouch` says yes to a proxy that asks, `record` writes it down.

pub mod arrival;
pub mod at_hand;
pub mod bearer;
pub mod client;
pub mod cors;
pub mod credential;
pub mod csrf;
pub mod decide;
pub mod edge;
pub mod handle;
pub mod insufficient;
pub mod introduce;
pub mod judge;
pub mod lacking;
pub mod papers;
pub mod pass;
pub mod plan;
pub mod reception;
pub mod record;
pub mod refuse;
pub mod renewal;
pub mod route;
mod second_chance;
pub mod table;
pub mod ties;
pub mod vouch;

pub use self::arrival::Arrival;
pub use self::handle::Gate;
pub use self::plan::{AddressPlan, ApplicationPlan, Behind, Plan, UpstreamPlan};
