//! Floor 3: which token an upstream gets.

pub mod relay;
