//! Built-in answers to people and programs: HTML for browsers, `application/problem+json` for everyone else, and the headers of both.

pub mod answer;
pub mod html;
pub mod people;
pub mod problem;
pub mod style;

#[cfg(test)]
mod tests;

pub use answer::{redirect, to_grpc, to_head, with_cookies};
pub use people::{Question, ask, chooser, notice, onward};
pub use problem::{
    Explanation, error, forbidden, insufficient, not_found, refused, token_unavailable, unauthorized,
    unauthorized_json, upstream_timeout, upstream_unavailable,
};
