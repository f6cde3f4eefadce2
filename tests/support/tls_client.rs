//! Authorities, certificates, and a TLS client that says what was agreed on in its handshake.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore, StreamOwned};

use super::PATIENCE;
use super::wire::{Head, Reader, response_framing};

/// An authority of a test's own.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Issued {
    cert: CertificateDer<'static>,
    cert_pem: String,
    key: KeyPair,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key can be made");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority can be made") }
    }

    /// Its certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for servers of these names.
    pub fn server(&self, names: &[&str]) -> Issued {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a client with these alternative names.
    pub fn client(&self, names: &[&str]) -> Issued {
        self.issue(names, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are good");
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().expect("a key can be made");
        let cert = params.signed_by(&key, &self.issuer).expect("it can be signed");
        Issued { cert: cert.der().clone(), cert_pem: cert.pem(), key }
    }
}

impl Issued {
    /// The certificate.
    pub const fn der(&self) -> &CertificateDer<'static> {
        &self.cert
    }

    /// Writes `NAME.pem` and `NAME.key` into `folder`.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&cert, &self.cert_pem).expect("a file can be written");
        std::fs::write(&key, self.key.serialize_pem()).expect("a file can be written");
        (cert, key)
    }
}

/// How a TLS client goes about it; connections of one client share their tickets.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

/// A connection after its handshake.
pub struct TlsConnection {
    reader: Reader<StreamOwned<ClientConnection, TcpStream>>,
}

/// What was agreed on.
#[derive(Debug)]
pub struct Agreed {
    /// The version.
    pub version: ProtocolVersion,
    /// The key exchange.
    pub group: Option<NamedGroup>,
    /// Whether a ticket was taken.
    pub kind: HandshakeKind,
    /// The protocol on top.
    pub protocol: Option<String>,
    /// The server's certificate.
    pub certificate: CertificateDer<'static>,
}

impl TlsClient {
    /// Trusts `authority` alone, speaks these versions (all when empty), and shows `certificate` when asked.
    pub fn new(
        authority: &Authority,
        versions: &[&'static rustls::SupportedProtocolVersion],
        certificate: Option<&Issued>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).expect("it is an authority");
        let versions = if versions.is_empty() { rustls::ALL_VERSIONS } else { versions };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("these versions are known")
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let key = PrivateKeyDer::try_from(issued.key.serialize_der()).expect("it is a key");
                builder.with_client_auth_cert(vec![issued.cert.clone()], key).expect("they belong together")
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { config: Arc::new(config) }
    }

    /// Connects to `https://address:port` and asks for `name`.
    pub fn connect(&self, url: &str, name: &str) -> io::Result<TlsConnection> {
        let place = url.strip_prefix("https://").unwrap_or_else(|| panic!("{url} is no https URL"));
        self.over(TcpStream::connect(place)?, name)
    }

    /// Does the handshake over a connection that exists.
    pub fn over(&self, stream: TcpStream, name: &str) -> io::Result<TlsConnection> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(name.to_owned()).expect("a host name");
        let connection = ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(TlsConnection { reader: Reader::new(stream) })
    }
}

impl TlsConnection {
    /// What was agreed on in the handshake.
    pub fn agreed(&self) -> Agreed {
        let connection = &self.reader.stream().conn;
        Agreed {
            version: connection.protocol_version().expect("the handshake is done"),
            group: connection.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name),
            kind: connection.handshake_kind().expect("the handshake is done"),
            protocol: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            certificate: connection.peer_certificates().expect("servers show one")[0].clone().into_owned(),
        }
    }

    /// Sends a request and reads the answer: its status, head and body.
    pub fn ask(&mut self, host: &str, target: &str, fields: &[(&str, &str)]) -> io::Result<(u16, Head, Vec<u8>)> {
        self.request("GET", host, target, fields)
    }

    /// The same with any method, without a body.
    pub fn request(
        &mut self,
        method: &str,
        host: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> io::Result<(u16, Head, Vec<u8>)> {
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in fields {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        self.reader.stream_mut().write_all(text.as_bytes())?;
        let head = self.reader.head()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.first_line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut body = Vec::new();
        self.reader.body(response_framing(&head, method, status), &mut |part| body.extend_from_slice(part))?;
        Ok((status, head, body))
    }

    /// Whether the other end closes without another byte.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        !matches!(self.reader.stream_mut().read(&mut byte), Ok(1))
    }
}
