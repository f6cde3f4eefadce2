//! Floor 3: who may pass. Pure: no I/O and no clock.

pub mod rule;
