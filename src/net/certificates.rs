//! The certificates that we show: read from their files, and chosen by the name that a client asks for.
//!
//! 1. A certificate that has the very name wins over one whose wildcard covers it; a wildcard covers one label (RFC 9525, section 6.3).
//! 2. Of several for one name the first whose key the client can check is taken, so that an RSA certificate can stand beside an ECDSA
//!    one.
//! 3. A client that asks for no name, or for one that nothing has, gets the first of all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::config::settings::CertificateFiles;

/// Why certificates can't be used. Never holds anything of a key.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    /// A file can't be read, or is no PEM.
    #[error("can't read {path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// A file holds no certificate.
    #[error("{path} holds no certificate")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key don't belong together, or are of a kind that we can't use.
    #[error("{cert} and {key} can't be used together: {cause}")]
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
    /// The settings name no certificate at all.
    #[error("no certificate is named")]
    None,
}

type Keys = Vec<Arc<CertifiedKey>>;

/// Certificates with their keys, by name.
#[derive(Debug)]
pub struct Certificates {
    exact: HashMap<Box<str>, Keys>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, Keys>,
    first: Arc<CertifiedKey>,
}

impl Certificates {
    /// Reads them from their files.
    ///
    /// # Errors
    /// When one of them can't be used: then none is, so that nothing is served that nobody wanted.
    pub fn read(files: &[CertificateFiles], provider: &CryptoProvider) -> Result<Self, CertificateFault> {
        let keys: Keys = files.iter().map(|files| read_pair(files, provider)).collect::<Result<_, _>>()?;
        let first = Arc::clone(keys.first().ok_or(CertificateFault::None)?);
        let (mut exact, mut wildcard): (HashMap<Box<str>, Keys>, HashMap<Box<str>, Keys>) = Default::default();
        for key in keys {
            for name in key.end_entity_cert().map(|leaf| names(leaf)).unwrap_or_default() {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut wildcard, rest),
                    None => (&mut exact, name.as_str()),
                };
                map.entry(name.into()).or_default().push(Arc::clone(&key));
            }
        }
        Ok(Self { exact, wildcard, first })
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> &Arc<CertifiedKey> {
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name.as_str()).or_else(wildcard)
        });
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        found.and_then(|keys| keys.iter().find(usable).or_else(|| keys.first())).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.choose(hello.server_name(), hello.signature_schemes())))
    }
}

/// The certificates in a PEM file, at least one.
///
/// # Errors
/// When it can't be read or holds none.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    let fail = |cause: rustls_pki_types::pem::Error| CertificateFault::File {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path).map_err(fail)?.collect::<Result<_, _>>().map_err(fail)?;
    if chain.is_empty() { Err(CertificateFault::Empty { path: path.to_owned() }) } else { Ok(chain) }
}

fn read_pair(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, CertificateFault> {
    let chain = read_chain(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|cause| CertificateFault::File { path: files.key.clone(), cause: cause.to_string() })?;
    CertifiedKey::from_der(chain, key, provider).map(Arc::new).map_err(|cause| CertificateFault::Pair {
        cert: files.cert.clone(),
        key: files.key.clone(),
        cause,
    })
}

/// The DNS names of a certificate, in lower case.
fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = CertificateInner::<Raw>::from_der(leaf) else { return Vec::new() };
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let names = found.ok().flatten().map(|(_, names)| names.0).unwrap_or_default();
    let dns = names.into_iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::*;

    struct Shelf(tempfile::TempDir);

    impl Shelf {
        fn put(&self, file: &str, names: &[&str], algorithm: &'static SignatureAlgorithm) -> CertificateFiles {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let made = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
            let (cert, path) = (self.0.path().join(format!("{file}.pem")), self.0.path().join(format!("{file}.key")));
            std::fs::write(&cert, made.pem()).unwrap();
            std::fs::write(&path, key.serialize_pem()).unwrap();
            CertificateFiles { cert, key: path }
        }
    }

    fn leaf(files: &CertificateFiles) -> CertificateDer<'static> {
        read_chain(&files.cert).unwrap().remove(0)
    }

    #[test]
    fn the_name_that_is_asked_for_chooses() {
        let shelf = Shelf(tempfile::tempdir().unwrap());
        let ecdsa = &rcgen::PKCS_ECDSA_P256_SHA256;
        let first = shelf.put("first", &["app.example.com"], ecdsa);
        let wild = shelf.put("wild", &["*.example.com"], ecdsa);
        let exact = shelf.put("exact", &["API.example.com"], ecdsa);
        let edwards = shelf.put("edwards", &["api.example.com"], &rcgen::PKCS_ED25519);
        let files = [first.clone(), wild.clone(), exact.clone(), edwards.clone()];
        let certificates = Certificates::read(&files, &default_provider()).unwrap();
        let both = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];
        for (name, schemes, expected) in [
            (Some("app.example.com"), &both[..], &first),
            (Some("api.example.com"), &both, &exact),
            (Some("api.example.com"), &both[1..], &edwards),
            (Some("Other.Example.com"), &both, &wild),
            (Some("a.b.example.com"), &both, &first),
            (Some("example.com"), &both, &first),
            (Some("evil.com"), &both, &first),
            (Some("com"), &both, &first),
            (None, &both, &first),
        ] {
            let chosen = certificates.choose(name, schemes).end_entity_cert().unwrap();
            assert_eq!(*chosen, leaf(expected), "{name:?}");
        }
    }

    #[test]
    fn one_pair_that_does_not_fit_spoils_all() {
        let shelf = Shelf(tempfile::tempdir().unwrap());
        let one = shelf.put("one", &["a.example"], &rcgen::PKCS_ED25519);
        let other = shelf.put("other", &["b.example"], &rcgen::PKCS_ED25519);
        let mixed = CertificateFiles { cert: one.cert.clone(), key: other.key.clone() };
        let fault = Certificates::read(&[one.clone(), mixed], &default_provider()).unwrap_err();
        assert!(matches!(fault, CertificateFault::Pair { .. }), "{fault}");
        std::fs::write(&other.cert, "").unwrap();
        let fault = Certificates::read(&[one, other], &default_provider()).unwrap_err();
        assert!(matches!(fault, CertificateFault::Empty { .. }), "{fault}");
        assert!(matches!(Certificates::read(&[], &default_provider()), Err(CertificateFault::None)));
    }
}
