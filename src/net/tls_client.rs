//! How we check the other end's certificate when we are the TLS client. Keeps rustls's configuration in one place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::system_authorities::SystemAuthorities;

/// HTTP/1.1 as ALPN names it (RFC 7301, section 6).
pub const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 over TLS as ALPN names it (RFC 9113, section 3.2).
pub const HTTP2: &[u8] = b"h2";

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

/// What we show to a server that asks who we are.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificate<'a> {
    /// PEM with the certificate chain, leaf first.
    pub cert: &'a Path,
    /// PEM with the private key.
    pub key: &'a Path,
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
    /// The private key of the client certificate can't be read.
    #[error("can't read the private key {path}: {cause}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Certificate and key don't belong together, or rustls can't use them.
    #[error("{cert} and {key} don't fit: {cause}")]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        cause: String,
    },
}

/// A client that speaks TLS 1.2 and 1.3, checks certificates and host names, and offers `protocols` by ALPN.
///
/// # Errors
/// When the authorities can't be loaded; see [`TlsClientFault`].
pub fn client_config(trust: Trust<'_>, protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsClientFault> {
    client_config_with(trust, protocols, None)
}

/// A client as [`client_config`] makes one, which shows `certificate` where a server asks for one (RFC 8446, section 4.3.2).
///
/// # Errors
/// When the authorities, the certificate or its key can't be loaded or don't fit; see [`TlsClientFault`].
pub fn client_config_with(
    trust: Trust<'_>,
    protocols: &[&[u8]],
    certificate: Option<ClientCertificate<'_>>,
) -> Result<Arc<ClientConfig>, TlsClientFault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let fail = |cause: rustls::Error| TlsClientFault::Verifier(cause.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(fail)?;
    let builder = match trust {
        Trust::System => platform(builder, Vec::new(), provider)?,
        Trust::SystemAnd(path) => platform(builder, read_bundle(path)?, provider)?,
        Trust::Only(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in read_bundle(path)? {
                roots.add(certificate).map_err(fail)?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => show(builder, certificate)?,
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;
type Verified = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn show(builder: Verified, certificate: ClientCertificate<'_>) -> Result<ClientConfig, TlsClientFault> {
    let ClientCertificate { cert, key } = certificate;
    let chain = read_bundle(cert)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|cause| TlsClientFault::Key { path: key.to_owned(), cause: cause.to_string() })?;
    builder.with_client_auth_cert(chain, private).map_err(|cause| TlsClientFault::Mismatch {
        cert: cert.to_owned(),
        key: key.to_owned(),
        cause: cause.to_string(),
    })
}

/// The platform's verifier is no shortcut around the checks: `dangerous` is rustls's name for every verifier but its own.
fn platform(
    builder: Builder,
    extra: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verified, TlsClientFault> {
    let verifier =
        SystemAuthorities::new(extra, provider).map_err(|cause| TlsClientFault::Verifier(cause.to_string()))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
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

    #[test]
    fn a_client_certificate_needs_its_own_key() {
        let dir = tempfile::tempdir().unwrap();
        let [cert, key, other] = ["cert.pem", "key.pem", "other.pem"].map(|name| dir.path().join(name));
        let issued = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
        std::fs::write(&cert, issued.cert.pem()).unwrap();
        std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
        let another = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
        std::fs::write(&other, another.signing_key.serialize_pem()).unwrap();
        let with =
            |key: &Path| client_config_with(Trust::Only(&cert), &[], Some(ClientCertificate { cert: &cert, key }));
        assert!(with(&key).unwrap().client_auth_cert_resolver.has_certs());
        assert!(matches!(with(&other), Err(TlsClientFault::Mismatch { .. })));
        assert!(matches!(with(&dir.path().join("none")), Err(TlsClientFault::Key { .. })));
    }
}
