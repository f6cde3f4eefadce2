//! PEM files that the config names: they are there, and hold what they should.

use std::path::PathBuf;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::raw::report::Wrong;
use crate::config::raw::table::Table;
use crate::config::source::open_to_all;

/// A file with at least one certificate (RFC 7468, section 5).
pub(super) fn certificates(table: &Table<'_>, key: &'static str) -> Option<PathBuf> {
    table.parse(key, "the path of a PEM file", |text| {
        let path = PathBuf::from(text);
        let found = CertificateDer::pem_file_iter(&path).map_err(|error| unreadable(text, &error.to_string()))?;
        let mut count = 0_usize;
        for certificate in found {
            certificate.map_err(|error| unreadable(text, &error.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(Wrong::new(format!("{text} holds no certificate"))
                .note("give a PEM file with a block -----BEGIN CERTIFICATE-----"));
        }
        Ok(path)
    })
}

/// A file with a private key (RFC 7468, section 10).
pub(super) fn private_key(table: &Table<'_>, key: &'static str) -> Option<PathBuf> {
    let path = table.parse(key, "the path of a PEM file", |text| {
        PrivateKeyDer::from_pem_file(text).map_err(|error| unreadable(text, &error.to_string()))?;
        Ok(PathBuf::from(text))
    })?;
    if let Some(wrong) = open_to_all(&path) {
        table.report().warn(table.place(key), wrong);
    }
    Some(path)
}

fn unreadable(path: &str, cause: &str) -> Wrong {
    Wrong::new(format!("can't use the PEM file {path}: {cause}")).note("mend the path or the file")
}
