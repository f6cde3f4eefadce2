//! `portcullis keygen`: a session key, or a signing key.

use std::process::ExitCode;

use super::FAILED;
use super::args::{KeygenArgs, SigningAlgorithm};
use super::output;
use crate::base::random;
use crate::jose::algorithm::Algorithm;
use crate::jose::signing::SigningKey;

/// Writes 32 random bytes in base64url (RFC 4648, section 5) and a line end, or a private key in PEM (RFC 7468, section 10).
pub(crate) fn run(args: KeygenArgs) -> ExitCode {
    let made = match args.signing {
        None => random::token().map_err(|error| error.to_string()),
        Some(algorithm) => SigningKey::generate(of(algorithm))
            .map(|pem| pem.trim_end().to_owned())
            .map_err(|_| "no key can be made: the cryptographic library failed".to_owned()),
    };
    match made {
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

const fn of(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::Es256 => Algorithm::Es256,
        SigningAlgorithm::EdDsa => Algorithm::EdDsa,
        SigningAlgorithm::Rs256 => Algorithm::Rs256,
    }
}
