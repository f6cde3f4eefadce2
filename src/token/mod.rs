//! Floor 3: which token an upstream gets.

pub mod assertion;
pub mod fixed;
pub mod grant;
pub mod life;
pub mod plan;
pub mod purse;
pub mod relay;
pub mod signer;
pub mod text;
pub mod vault;
