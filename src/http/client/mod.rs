//! Our own HTTP client, for providers: one connection a call, everything bounded, nothing followed, nothing kept.
//!
//! Rules, each with a test:
//! 1. `https` or, where the caller allows it, `http`; no other scheme.
//! 2. The whole call has one time limit, the connection a shorter one of its own.
//! 3. Head and body of the answer are bounded while they are read.
//! 4. A redirect is an error: a provider can't send us, or our credentials, elsewhere.
//! 5. No content coding is asked for or taken, so that a small answer can't unfold into a large one.
//! 6. No cookies, no cache, no connection reuse.
//! 7. The address is checked as it is connected to (see `net::connect`).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::net::connect::{self, ConnectFault, Reach, Stream};
use crate::net::outbound_proxy::{HttpProxy, Proxies};

/// Bound on the body of an answer unless the caller sets another: 1 MiB.
pub const DEFAULT_BODY_LIMIT: usize = 1024 * 1024;
/// Bounds on the head of an answer: 100 fields, and a buffer of 64 KiB, which hyper may overrun by one read.
const HEAD_LIMIT: usize = 64 * 1024;
const HEAD_FIELDS: usize = 100;
/// Bound on connecting, within the time of the whole call.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// One call.
pub struct Call<'a> {
    /// Its method.
    pub method: Method,
    /// Where to. Its fragment is not sent.
    pub url: &'a Url,
    /// Its header fields; `Host` and `Accept-Encoding` are ours to set.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Which addresses it may go to.
    pub reach: Reach,
    /// Bound on the body of the answer, in bytes.
    pub body_limit: usize,
    /// Bound on the time of the whole call.
    pub time_limit: Duration,
}

impl<'a> Call<'a> {
    /// A `GET` with the default bounds.
    pub fn get(url: &'a Url, reach: Reach, time_limit: Duration) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            reach,
            body_limit: DEFAULT_BODY_LIMIT,
            time_limit,
        }
    }
}

/// An answer that was read to its end. Its status is anything but a redirect.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// `Content-Type`, if there is one.
    pub content_type: Option<HeaderValue>,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// Whether `Content-Type` is this media type, whatever its parameters and case (RFC 9110, section 8.3.1).
    pub fn is_of_type(&self, media_type: &str) -> bool {
        let Some(value) = self.content_type.as_ref().and_then(|value| value.to_str().ok()) else { return false };
        value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
    }
}

/// Why a call has no answer. Never holds a header, a body or a query.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// The URL's scheme is not ours to speak, or it has no host.
    #[error("the URL is neither http nor https with a host")]
    Url,
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectFault),
    /// No TLS can be spoken, since no certificate authorities could be loaded.
    #[error("no certificate authorities are loaded, so TLS can't be used")]
    NoTls,
    /// The proxy refused to tunnel.
    #[error("the proxy answered {0}")]
    Proxy(StatusCode),
    /// The call took longer than it may.
    #[error("no full answer within {0:?}")]
    Timeout(Duration),
    /// What came back is no HTTP, its head is too large, or the connection broke.
    #[error("the answer can't be read: {0}")]
    Http(hyper::Error),
    /// The body is larger than it may be.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The answer is a redirect.
    #[error("the answer is a redirect ({0}), and redirects are not followed")]
    Redirect(StatusCode),
    /// The answer has a content coding that nobody asked for.
    #[error("the answer is compressed though none was asked for")]
    Encoded,
}

/// The client of one provider: whom it trusts, and which proxy it uses.
#[derive(Clone)]
pub struct Client {
    tls: Option<Arc<ClientConfig>>,
    proxies: Arc<Proxies>,
}

impl Client {
    /// A client that trusts as `tls` does; without it `https` fails.
    pub const fn new(tls: Option<Arc<ClientConfig>>, proxies: Arc<Proxies>) -> Self {
        Self { tls, proxies }
    }

    /// Makes one call and reads its answer to the end.
    ///
    /// # Errors
    /// See [`ClientFault`]; an error status such as 400 or 503 is an answer, not an error.
    pub async fn call(&self, call: Call<'_>) -> Result<Answer, ClientFault> {
        let limit = call.time_limit;
        tokio::time::timeout(limit, Box::pin(self.exchange(call))).await.map_err(|_| ClientFault::Timeout(limit))?
    }

    async fn exchange(&self, call: Call<'_>) -> Result<Answer, ClientFault> {
        let target = Target::of(call.url)?;
        let connect_limit = CONNECT_LIMIT.min(call.time_limit);
        let proxy = self.proxies.for_url(call.url);
        let stream = match proxy {
            None => {
                let stream = connect::tcp(&target.host, target.port, call.reach, connect_limit).await?;
                self.secure(stream, &target).await?
            }
            Some(proxy) => {
                connect::check_before_proxy(&target.host, target.port, call.reach).await?;
                let stream = connect::tcp(&proxy.host, proxy.port, Reach::Anywhere, connect_limit).await?;
                if target.tls {
                    self.secure(tunnel(stream, &target, proxy).await?, &target).await?
                } else {
                    Stream::Plain(stream)
                }
            }
        };
        let plain_proxy = proxy.filter(|_| !target.tls);
        let (limit, request) = (call.body_limit, request(call, &target, plain_proxy)?);
        let (mut sender, connection) =
            connection_settings().handshake(TokioIo::new(stream)).await.map_err(ClientFault::Http)?;
        let answer = async move {
            let answer = sender.send_request(request).await.map_err(ClientFault::Http)?;
            read(answer, limit).await
        };
        // The connection has to be driven while the answer is read; it may end first, with the answer still in its buffer.
        let (mut answer, mut connection) = (pin!(answer), pin!(connection));
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ended = &mut connection => answer.await,
        }
    }

    async fn secure(&self, stream: TcpStream, target: &Target) -> Result<Stream, ClientFault> {
        if !target.tls {
            return Ok(Stream::Plain(stream));
        }
        let config = self.tls.as_ref().ok_or(ClientFault::NoTls)?;
        Ok(connect::tls(stream, &target.host, Arc::clone(config)).await?)
    }
}

/// Where a call goes.
struct Target {
    host: Host,
    port: u16,
    tls: bool,
}

impl Target {
    fn of(url: &Url) -> Result<Self, ClientFault> {
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(ClientFault::Url),
        };
        let host = url.host().ok_or(ClientFault::Url)?.to_owned();
        let port = url.port_or_known_default().ok_or(ClientFault::Url)?;
        Ok(Self { host, port, tls })
    }

    /// Host and port, always with the port, as `CONNECT` wants it (RFC 9110, section 9.3.6).
    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn connection_settings() -> http1::Builder {
    let mut settings = http1::Builder::new();
    settings.max_buf_size(HEAD_LIMIT).max_headers(HEAD_FIELDS);
    settings
}

fn request(call: Call<'_>, target: &Target, proxy: Option<&HttpProxy>) -> Result<Request<Full<Bytes>>, ClientFault> {
    let path = match call.url.query() {
        Some(query) => format!("{}?{query}", call.url.path()),
        None => call.url.path().to_owned(),
    };
    let host = call.url.port().map_or_else(|| target.host.to_string(), |port| format!("{}:{port}", target.host));
    // A proxy that does not tunnel wants the absolute form (RFC 9112, section 3.2.2).
    let uri = if proxy.is_some() { format!("http://{host}{path}") } else { path };
    let mut request = Request::new(Full::new(call.body));
    *request.method_mut() = call.method;
    *request.uri_mut() = uri.parse::<Uri>().map_err(|_| ClientFault::Url)?;
    let headers = request.headers_mut();
    *headers = call.headers;
    headers.insert(HOST, HeaderValue::try_from(host).map_err(|_| ClientFault::Url)?);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.clone()) {
        headers.insert(PROXY_AUTHORIZATION, authorization);
    }
    Ok(request)
}

/// Asks the proxy for a tunnel and gives back the raw connection (RFC 9110, section 9.3.6).
async fn tunnel(stream: TcpStream, target: &Target, proxy: &HttpProxy) -> Result<TcpStream, ClientFault> {
    let authority = target.authority();
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = authority.parse::<Uri>().map_err(|_| ClientFault::Url)?;
    request.headers_mut().insert(HOST, HeaderValue::try_from(authority).map_err(|_| ClientFault::Url)?);
    if let Some(authorization) = proxy.authorization.clone() {
        request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
    }
    let (mut sender, connection) =
        connection_settings().handshake(TokioIo::new(stream)).await.map_err(ClientFault::Http)?;
    let mut connection = pin!(connection.without_shutdown());
    let mut answer = pin!(sender.send_request(request));
    let mut parts = None;
    let status = tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => {
            parts = Some(ended.map_err(ClientFault::Http)?);
            answer.await
        }
    }
    .map_err(ClientFault::Http)?
    .status();
    if !status.is_success() {
        return Err(ClientFault::Proxy(status));
    }
    // The TLS server speaks only after us, so nothing of the tunnel can be in the buffer yet.
    let parts = match parts {
        Some(parts) => parts,
        None => connection.await.map_err(ClientFault::Http)?,
    };
    Ok(parts.io.into_inner())
}

async fn read(answer: Response<Incoming>, limit: usize) -> Result<Answer, ClientFault> {
    let status = answer.status();
    if status.is_redirection() {
        return Err(ClientFault::Redirect(status));
    }
    let (head, mut body) = answer.into_parts();
    let encoded =
        head.headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(ClientFault::Encoded);
    }
    if body.size_hint().lower() > limit as u64 {
        return Err(ClientFault::TooLarge(limit));
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(ClientFault::Http)?.into_data() else { continue };
        if data.len() > limit.saturating_sub(bytes.len()) {
            return Err(ClientFault::TooLarge(limit));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Answer { status, content_type: head.headers.get(CONTENT_TYPE).cloned(), body: bytes.freeze() })
}

#[cfg(test)]
mod tests;
