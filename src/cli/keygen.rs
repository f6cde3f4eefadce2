//! `portcullis keygen`: a session key.

use std::process::ExitCode;

use super::FAILED;
use super::output;
use crate::base::random;

/// Writes 32 random bytes in base64url (RFC 4648, section 5) and a line end.
pub(crate) fn run() -> ExitCode {
    match random::token() {
        Ok(key) => {
            output::say(key);
            ExitCode::SUCCESS
        }
        Err(error) => {
            output::complain(error);
            ExitCode::from(FAILED)
        }
    }
}
