//! Floor 1: text → raw → settings, with every mistake and its place. Pure but for reading the files it is given.

pub mod secret;
pub mod settings;
