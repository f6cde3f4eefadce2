//! What lives under the prefix: one file per endpoint, one table that finds it.

pub mod backchannel;
pub mod borrowing;
pub mod callback;
pub mod fault;
pub mod form;
pub mod frontchannel;
pub mod jwks;
pub mod keep;
pub mod login;
pub mod logout;
pub mod me;
pub mod origin;
pub mod outgrown;
pub mod pace;
pub mod refresh;
pub mod refreshing;
pub mod signed_out;
pub mod site;
pub mod step_up;
pub mod table;

#[cfg(test)]
mod kit;
