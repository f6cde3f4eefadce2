//! A well-behaved HTTP/2 client: the h2 crate with a thread of its own, so that tests can wait for it line by line.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::net::TcpStream;

use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::{PATIENCE, client};

/// Runs `task` on a runtime of one thread, within the patience of tests.
pub fn run<T>(task: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let local = tokio::task::LocalSet::new();
    let done = local.block_on(&runtime, async { tokio::time::timeout(PATIENCE, task).await });
    done.expect("it ends in time")
}

/// A connection to `url`, by prior knowledge.
pub struct Client {
    sender: SendRequest<Bytes>,
    origin: String,
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Sends requests.
    pub fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }

    /// Connects.
    pub async fn connect(url: &str) -> Self {
        Self::connect_with(url, &h2::client::Builder::new()).await
    }

    /// Connects with settings of its own.
    pub async fn connect_with(url: &str, builder: &h2::client::Builder) -> Self {
        let address = url.strip_prefix("http://").expect("a plain address");
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("a delay can be unset");
        let (sender, connection) = builder.handshake(stream).await.expect("it speaks HTTP/2");
        Self { sender, origin: url.to_owned(), connection: tokio::task::spawn_local(connection) }
    }

    /// A request with nothing but what it needs.
    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("{}{path}", self.origin))
    }

    /// Sends a request without a body and reads the answer.
    pub async fn get(&self, path: &str) -> Result<Answer, h2::Error> {
        self.send(self.request(Method::GET, path), None).await
    }

    /// Sends a request and reads the answer.
    pub async fn send(&self, request: http::request::Builder, body: Option<Bytes>) -> Result<Answer, h2::Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut stream) = sender.send_request(request.body(()).expect("a request"), body.is_none())?;
        if let Some(body) = body {
            stream.reserve_capacity(body.len());
            stream.send_data(body, true)?;
        }
        read(response.await?).await
    }

    /// Waits until the other side has ended the connection, and how.
    pub async fn is_closed(&mut self) -> Result<(), h2::Error> {
        (&mut self.connection).await.expect("it does not panic")
    }
}

/// Reads an answer to its end.
pub async fn read(response: Response<h2::RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    let trailers = stream.trailers().await?;
    Ok(Answer { status: head.status, headers: head.headers, body, trailers })
}

/// Asserts that an answer which the upstream breaks off at `path` is broken for visitors too, whichever protocol they speak, and that a
/// connection over HTTP/2 goes on. `/after` has an answer.
pub fn assert_breaks_off(gateway: &Gateway, path: &str) {
    run(async {
        let client = Client::connect(gateway.url()).await;
        match client.get(path).await {
            Ok(answer) => assert_eq!(answer.status, 502, "{path}: {} bytes came whole", answer.body.len()),
            Err(error) => assert!(error.is_reset(), "{path}: {error}"),
        }
        assert_eq!(client.get("/after").await.unwrap().status, 200, "the connection goes on");
    });
    client::assert_breaks_off(gateway.get(path).try_send(), path);
}

/// A gateway that takes HTTP/2 by prior knowledge and lets everybody pass to `upstream`.
pub fn open_to_all(upstream: &str) -> GatewayConfig {
    h2c().upstream("app", upstream).route("/*", "\"everyone\"", "app")
}

/// A gateway that takes HTTP/2 by prior knowledge; its provider is never asked.
pub fn h2c() -> GatewayConfig {
    GatewayConfig::on_loopback()
        .provider("http://127.0.0.1:1", "a client secret")
        .listen_line("h2c = true")
        .top("workers = 1")
}
