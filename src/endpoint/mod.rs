//! What lives under the prefix: one file per endpoint, one table that finds it.

pub mod callback;
pub mod fault;
pub mod login;
pub mod logout;
pub mod me;
pub mod origin;
pub mod signed_out;
pub mod site;
pub mod table;

#[cfg(test)]
mod kit;
