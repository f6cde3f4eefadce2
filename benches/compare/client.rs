//! A small HTTP/1.1 client for sign-ins and checks; the load itself is wrk's.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use crate::Outcome;

/// What a browser sends with a navigation, besides cookies: every request of a comparison has these, on both sides.
pub(crate) const BROWSER: [(&str, &str); 5] = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Sec-Fetch-Mode", "navigate"),
];

/// An answer, read to its end.
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
}

/// One connection that is kept between requests.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects to the host and port of `url`.
    pub(crate) async fn open(url: &Url) -> Outcome<Self> {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        let stream = TcpStream::connect((host, port)).await.map_err(|error| format!("{url}: {error}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        drop(tokio::spawn(connection));
        Ok(Self { sender })
    }

    /// Sends one request and reads its answer. A `form` is posted; without one it is a GET.
    pub(crate) async fn ask(&mut self, url: &Url, cookie: Option<&str>, form: Option<String>) -> Outcome<Answer> {
        self.ask_with(url, cookie, form, &[]).await
    }

    /// As [`Self::ask`], with further header fields.
    async fn ask_with(
        &mut self,
        url: &Url,
        cookie: Option<&str>,
        form: Option<String>,
        fields: &[(&'static str, String)],
    ) -> Outcome<Answer> {
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::builder().method(method).uri(target).header(HOST, authority);
        for (name, value) in BROWSER {
            request = request.header(name, value);
        }
        if let Some(cookie) = cookie.filter(|cookie| !cookie.is_empty()) {
            request = request.header(COOKIE, cookie);
        }
        for (name, value) in fields {
            request = request.header(*name, value);
        }
        if form.is_some() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let body = Full::new(Bytes::from(form.unwrap_or_default()));
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request.body(body)?).await?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }
}

/// One request over a connection of its own.
pub(crate) async fn get(url: &Url, cookie: Option<&str>) -> Outcome<Answer> {
    Connection::open(url).await?.ask(url, cookie, None).await
}

/// As [`get`], with further header fields.
pub(crate) async fn get_with(url: &Url, cookie: Option<&str>, fields: &[(&'static str, String)]) -> Outcome<Answer> {
    Connection::open(url).await?.ask_with(url, cookie, None, fields).await
}
