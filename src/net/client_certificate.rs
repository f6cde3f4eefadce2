//! A certificate that a client showed in its handshake with us: the names that rules may ask for, and its form for upstreams.
//!
//! Whether it is valid was decided in the handshake, by the authorities that the config names. What is read here only gives it names.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use rustls_pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The most names of one certificate that count.
const MAX_NAMES: usize = 100;

/// A client's certificate, verified in the handshake.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    names: Vec<String>,
    header: HeaderValue,
}

impl ClientCertificate {
    /// Names the certificate `leaf`. One whose insides can't be read has its fingerprint alone.
    pub fn new(leaf: &CertificateDer<'_>) -> Option<Self> {
        let mut fingerprint = "sha256:".to_owned();
        for byte in digest::digest(&digest::SHA256, leaf).as_ref() {
            write!(fingerprint, "{byte:02x}").ok()?;
        }
        let mut names = vec![fingerprint];
        names.extend(inner_names(leaf).into_iter().flatten().take(MAX_NAMES));
        // A byte sequence (RFC 9440, section 2.1; RFC 9651, section 3.3.5).
        let header = HeaderValue::try_from(format!(":{}:", STANDARD.encode(leaf))).ok()?;
        Some(Self { names, header })
    }

    /// By what a rule may ask for it: `sha256:` and its fingerprint in lower-case hex; `dns:`, `email:` and `uri:` with its subject
    /// alternative names (RFC 5280, section 4.2.1.6); `subject:` and its subject as RFC 4514 writes it.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The value of `Client-Cert` (RFC 9440, section 2.2).
    pub const fn header(&self) -> &HeaderValue {
        &self.header
    }
}

fn inner_names(leaf: &CertificateDer<'_>) -> Option<Vec<String>> {
    let certificate = CertificateInner::<Raw>::from_der(leaf).ok()?;
    let body = certificate.tbs_certificate();
    let mut names = Vec::new();
    if !body.subject().is_empty() {
        names.push(format!("subject:{}", body.subject()));
    }
    let alternative = body.get_extension::<SubjectAltName>().ok()?;
    names.extend(alternative.into_iter().flat_map(|(_, names)| names.0).filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(format!("dns:{}", name.as_str().to_ascii_lowercase())),
        GeneralName::Rfc822Name(name) => Some(format!("email:{}", name.as_str())),
        GeneralName::UniformResourceIdentifier(name) => Some(format!("uri:{}", name.as_str())),
        _ => None,
    }));
    Some(names)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(dress: impl FnOnce(&mut CertificateParams)) -> ClientCertificate {
        let mut params = CertificateParams::new(vec!["Backup.Example.com".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        dress(&mut params);
        let key = KeyPair::generate().unwrap();
        ClientCertificate::new(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn a_certificate_goes_by_its_names() {
        let found = certificate(|params| {
            params.distinguished_name.push(DnType::OrganizationName, "A, B");
            params.distinguished_name.push(DnType::CommonName, "alice");
            params.subject_alt_names.push(SanType::Rfc822Name("alice@example.com".try_into().unwrap()));
            params.subject_alt_names.push(SanType::URI("spiffe://example.com/backup".try_into().unwrap()));
        });
        let (fingerprint, names) = found.names().split_first().unwrap();
        assert!(fingerprint.starts_with("sha256:") && fingerprint.len() == 71, "{fingerprint}");
        assert_eq!(
            names,
            [
                "subject:CN=alice,O=A\\, B",
                "dns:backup.example.com",
                "email:alice@example.com",
                "uri:spiffe://example.com/backup"
            ]
        );
    }

    #[test]
    fn the_header_is_a_byte_sequence_of_the_whole() {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        let found = ClientCertificate::new(made.der()).unwrap();
        let text = found.header().to_str().unwrap();
        let inner = text.strip_prefix(':').and_then(|text| text.strip_suffix(':')).unwrap();
        assert_eq!(STANDARD.decode(inner).unwrap(), made.der().as_ref());
    }

    #[test]
    fn without_an_alternative_name_no_name_is_made_up() {
        let found = certificate(|params| {
            params.subject_alt_names.clear();
            params.distinguished_name.push(DnType::CommonName, "host.example.com");
        });
        assert_eq!(found.names()[1..], ["subject:CN=host.example.com"]);
        let broken = ClientCertificate::new(&CertificateDer::from(vec![0x30, 0x00])).unwrap();
        assert_eq!(broken.names().len(), 1, "the fingerprint stays");
    }
}
