//! How we are a TLS server: versions, key exchange, tickets, and the certificates of clients. Read anew when its files change.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::certificates::{CertificateFault, Certificates, read_chain};
use super::tls_client::{HTTP1, HTTP2};
use crate::config::settings::{ClientCertificateSettings, TlsSettings};

/// What we speak, best first (RFC 7301).
pub const PROTOCOLS: &[&[u8]] = &[HTTP2, HTTP1];

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Why we can't be a TLS server.
#[derive(Debug, thiserror::Error)]
pub enum TlsServerFault {
    /// A certificate or key can't be used.
    #[error(transparent)]
    Certificates(#[from] CertificateFault),
    /// The authorities of clients can't be used.
    #[error("the authorities in {path}: {cause}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: VerifierBuilderError,
    },
    /// rustls refused the whole.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// A TLS server whose certificates may change while it serves. Handshakes under way end with what they began with.
pub struct TlsServer {
    settings: TlsSettings,
    config: ArcSwap<ServerConfig>,
    seen: Vec<Stamp>,
}

/// What tells one state of a file from another, symbolic links followed; `None` when it is not there.
type Stamp = Option<[i128; 5]>;

impl TlsServer {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them can't be used.
    pub fn new(settings: TlsSettings) -> Result<Self, TlsServerFault> {
        // Looked at before they are read, so that a change in between is seen as one.
        let seen = stamps(&settings);
        let config = ArcSwap::from_pointee(build(&settings)?);
        Ok(Self { settings, config, seen })
    }

    /// For one handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Looks at the files until the server is dropped, and takes up what they hold when they change. What can't be used is told once,
    /// and what was there before stays.
    pub async fn keep_fresh(server: Weak<Self>) {
        let mut seen = server.upgrade().map(|server| server.seen.clone()).unwrap_or_default();
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            let Some(server) = server.upgrade() else { return };
            let known = seen.clone();
            // The office has few threads, and a file system may be slow.
            if let Ok(now) = tokio::task::spawn_blocking(move || server.look(&known)).await {
                seen = now;
            }
        }
    }

    fn look(&self, seen: &[Stamp]) -> Vec<Stamp> {
        let now = stamps(&self.settings);
        if now != seen {
            match build(&self.settings) {
                Ok(config) => {
                    self.config.store(Arc::new(config));
                    tracing::info!("[tls]: the files have changed and are in use");
                }
                Err(error) => {
                    tracing::error!(%error, "[tls]: the files have changed and can't be used; what was there before stays");
                }
            }
        }
        now
    }
}

fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    let pairs = settings.certificates.iter().flat_map(|pair| [&pair.cert, &pair.key]);
    let paths = pairs.chain(settings.clients.iter().map(|clients| &clients.ca));
    let stamp = |path: &PathBuf| -> io::Result<[i128; 5]> {
        let found = std::fs::metadata(path)?;
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Ok([
            i128::from(found.dev()),
            i128::from(found.ino()),
            i128::from(found.size()),
            nanoseconds(found.mtime(), found.mtime_nsec()),
            nanoseconds(found.ctime(), found.ctime_nsec()),
        ])
    };
    paths.map(|path| stamp(path).ok()).collect()
}

/// TLS 1.2 and 1.3, with the hybrid X25519MLKEM768 first among the key exchanges. Early data is never taken, since it can be replayed
/// (RFC 8446, section 8).
fn build(settings: &TlsSettings) -> Result<ServerConfig, TlsServerFault> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificates = Certificates::read(&settings.certificates, &provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut config = match &settings.clients {
        None => {
            let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(certificates));
            // The keys of tickets are made here, live in memory alone and change every six hours.
            config.ticketer = aws_lc_rs::Ticketer::new()?;
            config
        }
        Some(clients) => {
            let verifier = verifier(clients, provider)?;
            let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(certificates));
            // A resumed session would bring back a certificate without another look at it, though it may have run out since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            config
        }
    };
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn verifier(
    clients: &ClientCertificateSettings,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsServerFault> {
    let mut roots = RootCertStore::empty();
    for authority in read_chain(&clients.ca)? {
        roots.add(authority)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|cause| TlsServerFault::Authorities { path: clients.ca.clone(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::CertificateFiles;

    fn write(folder: &std::path::Path, cert: &str, key: &str) -> CertificateFiles {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (folder.join(cert), folder.join(key));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        CertificateFiles { cert, key }
    }

    #[test]
    fn a_change_is_taken_up_and_a_mistake_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let pair = write(folder.path(), "cert", "key");
        let server = TlsServer::new(TlsSettings { certificates: vec![pair.clone()], clients: None }).unwrap();
        let first = server.config.load_full();
        let seen = server.look(&server.seen);
        assert!(Arc::ptr_eq(&first, &server.config.load_full()), "nothing changed");

        std::fs::write(&pair.cert, "no certificate").unwrap();
        let seen = server.look(&seen);
        assert!(Arc::ptr_eq(&first, &server.config.load_full()), "what was there before stays");

        drop(write(folder.path(), "cert", "key"));
        let seen = server.look(&seen);
        let second = server.config.load_full();
        assert!(!Arc::ptr_eq(&first, &second));
        drop(server.look(&seen));
        assert!(Arc::ptr_eq(&second, &server.config.load_full()), "one change is taken up once");
    }

    #[test]
    fn a_symbolic_link_that_moves_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            drop(write(&path, "cert", "key"));
            path
        });
        let link = folder.path().join("data");
        std::os::unix::fs::symlink(one, &link).unwrap();
        let pair = CertificateFiles { cert: link.join("cert"), key: link.join("key") };
        let server = TlsServer::new(TlsSettings { certificates: vec![pair], clients: None }).unwrap();
        let first = server.config.load_full();
        let swap = folder.path().join("swap");
        std::os::unix::fs::symlink(two, &swap).unwrap();
        std::fs::rename(&swap, &link).unwrap();
        drop(server.look(&server.seen));
        assert!(!Arc::ptr_eq(&first, &server.config.load_full()));
    }

    #[test]
    fn clients_with_certificates_never_resume() {
        let folder = tempfile::tempdir().unwrap();
        let pair = write(folder.path(), "cert", "key");
        let clients = Some(ClientCertificateSettings { ca: pair.cert.clone(), required: true });
        let asked = build(&TlsSettings { certificates: vec![pair.clone()], clients }).unwrap();
        assert!(!asked.session_storage.can_cache() && !asked.ticketer.enabled() && asked.send_tls13_tickets == 0);
        let plain = build(&TlsSettings { certificates: vec![pair], clients: None }).unwrap();
        assert!(plain.ticketer.enabled());
        assert_eq!(plain.max_early_data_size, 0);
    }
}
