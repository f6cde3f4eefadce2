//! How we check the other end's certificate when we are the TLS client. Keeps rustls's configuration in one place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::system_authorities::SystemAuthorities;

/// Whose certificates count.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// The authorities of the operating system.
    System,
    /// The authorities of the operating system and those of a PEM bundle.
    SystemAnd(&'a Path),
    /// The authorities of a PEM bundle alone.
    Only(&'a Path),
}

/// Why no TLS client can be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TlsClientFault {
    /// The bundle can't be read, or isn't PEM.
    #[error("can't read the certificate bundle {path}: {cause}")]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The bundle has no certificate in it.
    #[error("the certificate bundle {path} has no certificate in it")]
    EmptyBundle {
        /// The file.
        path: PathBuf,
    },
    /// The operating system has no authorities, or rustls refused the ones given.
    #[error("can't set up certificate checks: {0}; name a bundle with `ca`, or install the system's certificates")]
    Verifier(String),
}

/// A client that speaks TLS 1.2 and 1.3, checks certificates and host names, and offers `protocols` by ALPN.
///
/// # Errors
/// When the authorities can't be loaded; see [`TlsClientFault`].
pub fn client_config(trust: Trust<'_>, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsClientFault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let fail = |cause: rustls::Error| TlsClientFault::Verifier(cause.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(fail)?;
    let mut config = match trust {
        Trust::System => platform(builder, Vec::new(), provider)?,
        Trust::SystemAnd(path) => platform(builder, read_bundle(path)?, provider)?,
        Trust::Only(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in read_bundle(path)? {
                roots.add(certificate).map_err(fail)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

/// The platform's verifier is no shortcut around the checks: `dangerous` is rustls's name for every verifier but its own.
fn platform(
    builder: Builder,
    extra: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, TlsClientFault> {
    let verifier =
        SystemAuthorities::new(extra, provider).map_err(|cause| TlsClientFault::Verifier(cause.to_string()))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn read_bundle(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsClientFault> {
    let fail = |cause: rustls_pki_types::pem::Error| TlsClientFault::Bundle {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(fail)?.collect::<Result<_, _>>().map_err(fail)?;
    if certificates.is_empty() {
        return Err(TlsClientFault::EmptyBundle { path: path.to_owned() });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_must_be_there_and_hold_a_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        assert!(matches!(client_config(Trust::Only(&path), &[]), Err(TlsClientFault::Bundle { .. })));
        std::fs::write(&path, "no certificate").unwrap();
        assert!(matches!(client_config(Trust::Only(&path), &[]), Err(TlsClientFault::EmptyBundle { .. })));
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&path, issued.cert.pem()).unwrap();
        let config = client_config(Trust::Only(&path), &[b"http/1.1"]).unwrap();
        assert_eq!(config.alpn_protocols, vec![b"http/1.1".to_vec()]);
        assert!(client_config(Trust::SystemAnd(&path), &[]).is_ok());
    }
}
