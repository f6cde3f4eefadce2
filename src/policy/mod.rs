//! Floor 3: who may pass. Pure: no I/O; the time is a parameter.

pub mod asker;
pub mod claim;
pub mod condition;
pub mod expression;
pub mod names;
pub mod rule;
mod shapes;
pub mod table;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod wanted;
