//! Floor 0: the few things that every room stands on. Imports nothing of ours.

pub mod clock;
pub mod office;
pub mod random;
pub mod tally;
pub mod tie;
pub mod units;
