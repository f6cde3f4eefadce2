//! Checking certificates by the operating system's authorities, which are read beside the start and not on its way: there may be
//! hundreds of files of them.
//!
//! Until they are read nobody is trusted: a handshake that comes sooner waits for them, and fails where they can't be had.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;

/// The system's authorities, and further ones.
#[derive(Debug)]
pub struct SystemAuthorities {
    extra: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    verifier: OnceLock<Result<Verifier, Error>>,
}

impl SystemAuthorities {
    /// Begins to read them, and does not wait for that. Those without further ones are shared by the whole process.
    ///
    /// # Errors
    /// When one of `extra` is no authority.
    pub fn new(extra: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Arc<Self>, Error> {
        static PLAIN: OnceLock<Arc<SystemAuthorities>> = OnceLock::new();
        if extra.is_empty() {
            return Ok(Arc::clone(PLAIN.get_or_init(|| Self::begin(extra, provider))));
        }
        let mut checked = RootCertStore::empty();
        for authority in &extra {
            checked.add(authority.clone())?;
        }
        Ok(Self::begin(extra, provider))
    }

    fn begin(extra: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Arc<Self> {
        let authorities = Arc::new(Self { extra, provider, verifier: OnceLock::new() });
        let reading = Arc::clone(&authorities);
        let started = std::thread::Builder::new().name("authorities".to_owned()).spawn(move || {
            if let Err(error) = reading.verifier() {
                tracing::error!(%error, "no certificate of a provider or upstream can be checked: name a bundle with `ca`, or install the system's certificates");
            }
        });
        // Without a thread of their own they are read by the first who asks.
        drop(started);
        authorities
    }

    fn verifier(&self) -> Result<&Verifier, Error> {
        let read = || Verifier::new_with_extra_roots(self.extra.iter().cloned(), Arc::clone(&self.provider));
        self.verifier.get_or_init(read).as_ref().map_err(Clone::clone)
    }
}

impl ServerCertVerifier for SystemAuthorities {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier()?.verify_server_cert(leaf, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls13_signature(message, leaf, signed)
    }

    /// Known without the authorities, and asked for before a handshake begins.
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::*;

    #[test]
    fn further_authorities_count_and_strangers_do_not() {
        let issuer = || {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let (known, stranger) = (issuer(), issuer());
        let provider = Arc::new(default_provider());
        let authorities = SystemAuthorities::new(vec![known.der().clone()], Arc::clone(&provider)).unwrap();
        let check = |authorities: &SystemAuthorities, issuer: &CertifiedIssuer<'_, KeyPair>, name: &str| {
            let params = CertificateParams::new(vec!["app.example.com".to_owned()]).unwrap();
            let made = params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap();
            let name = ServerName::try_from(name.to_owned()).unwrap();
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_hours(500_000));
            authorities.verify_server_cert(made.der(), &[], &name, &[], now).is_ok()
        };
        assert!(check(&authorities, &known, "app.example.com"));
        assert!(!check(&authorities, &known, "other.example.com"));
        assert!(!check(&authorities, &stranger, "app.example.com"));
        let plain = SystemAuthorities::new(Vec::new(), Arc::clone(&provider)).unwrap();
        assert!(!check(&plain, &known, "app.example.com"), "what one of them trusts is not for all");
        assert!(SystemAuthorities::new(vec![CertificateDer::from(vec![1])], provider).is_err());
    }
}
