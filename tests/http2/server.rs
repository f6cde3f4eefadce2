//! An HTTP/2 upstream that behaves as its paths say.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};

use crate::support::{PATIENCE, pause};

/// A running upstream; it serves until the test process ends.
#[derive(Clone)]
pub struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Seeing>,
    cancelled: Vec<Reason>,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seeing {
    /// `:authority`.
    pub authority: String,
    /// `:scheme`.
    pub scheme: String,
    /// Path and query.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
}

/// How a server begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Streams at once that it allows.
    pub streams: Option<u32>,
    /// After how many requests a connection is ended by GOAWAY.
    pub requests: Option<usize>,
    /// How long after its beginning a connection is told what it may do.
    pub silence: Duration,
}

impl Server {
    /// Starts one.
    pub fn start() -> Self {
        Self::with(Habits::default())
    }

    /// Starts one with habits.
    pub fn with(habits: Habits) -> Self {
        let listener = crate::support::listen(0);
        listener.set_nonblocking(true).expect("it can be waited for");
        let server = Self { address: listener.local_addr().expect("it is bound"), seen: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    stream.set_nodelay(true).expect("a delay can be unset");
                    serving.seen.lock().expect("no task panics").connections += 1;
                    tokio::spawn(serving.clone().connection(stream, habits));
                }
            });
        });
        server
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// An `[upstreams.app]` that is this server.
    pub fn table(&self) -> String {
        format!("[upstreams.app]\nurl = {:?}\nprotocol = \"http2\"", self.url())
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.seen.lock().expect("no task panics").connections
    }

    /// Requests so far.
    pub fn requests(&self) -> Vec<Seeing> {
        self.seen.lock().expect("no task panics").requests.clone()
    }

    /// The reasons of the streams that were cancelled so far.
    pub fn cancelled(&self) -> Vec<Reason> {
        self.seen.lock().expect("no task panics").cancelled.clone()
    }

    /// Waits until `holds` is true; whether it came so.
    pub fn comes_to(&self, holds: impl Fn(&Self) -> bool) -> bool {
        let tick = Duration::from_millis(10);
        let mut left = PATIENCE;
        while !holds(self) {
            if left.is_zero() {
                return false;
            }
            pause(tick);
            left = left.saturating_sub(tick);
        }
        true
    }

    async fn connection(self, stream: tokio::net::TcpStream, habits: Habits) {
        tokio::time::sleep(habits.silence).await;
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(1024 * 1024).initial_connection_window_size(8 * 1024 * 1024);
        if let Some(streams) = habits.streams {
            builder.max_concurrent_streams(streams);
        }
        let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
        let mut count = 0;
        while let Some(Ok((request, respond))) = connection.accept().await {
            count += 1;
            if habits.requests == Some(count) {
                connection.graceful_shutdown();
            }
            let server = self.clone();
            let earlier = {
                let mut seen = server.seen.lock().expect("no task panics");
                let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
                let earlier = seen.requests.iter().filter(|seeing| seeing.target == target).count();
                seen.requests.push(Seeing {
                    authority: request.uri().authority().map(ToString::to_string).unwrap_or_default(),
                    scheme: request.uri().scheme_str().unwrap_or_default().to_owned(),
                    target,
                    headers: request.headers().clone(),
                });
                earlier
            };
            tokio::spawn(async move {
                // A stream that breaks is the other side's doing; what came before is recorded.
                drop(server.answer(request, respond, earlier).await);
            });
        }
    }

    async fn answer(
        &self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        earlier: usize,
    ) -> Result<(), h2::Error> {
        let path = request.uri().path().to_owned();
        let ok = || Response::new(());
        match path.as_str() {
            "/refused-once" if earlier == 0 => respond.send_reset(Reason::REFUSED_STREAM),
            "/refused" => respond.send_reset(Reason::REFUSED_STREAM),
            "/crumbs" => crumbs(respond)?,
            "/broken" => respond.send_reset(Reason::INTERNAL_ERROR),
            "/cut" | "/cut-quietly" => {
                let mut stream = respond.send_response(ok(), false)?;
                stream.send_data(Bytes::from_static(&[b'x'; 1000]), false)?;
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.send_reset(if path == "/cut" { Reason::INTERNAL_ERROR } else { Reason::NO_ERROR });
            }
            "/204" | "/304" => content(respond, &path[1..])?,
            "/hints" => hints(respond).await?,
            "/hang" => {
                let reason = std::future::poll_fn(|context| respond.poll_reset(context)).await?;
                self.seen.lock().expect("no task panics").cancelled.push(reason);
            }
            "/endless" => {
                let mut stream = respond.send_response(ok(), false)?;
                stream.send_data(Bytes::from_static(b"first"), false)?;
                let reason = std::future::poll_fn(|context| stream.poll_reset(context)).await?;
                self.seen.lock().expect("no task panics").cancelled.push(reason);
            }
            "/big" => {
                let mut stream = respond.send_response(ok(), false)?;
                send_all(&mut stream, vec![b'b'; 1024 * 1024].into()).await?;
            }
            _ => {
                let user =
                    request.headers().get("x-who").or_else(|| request.headers().get("x-forwarded-user")).cloned();
                let (target, mut body) = (request.uri().to_string(), request.into_body());
                let text = whole(&mut body).await?;
                let trailers = body.trailers().await?;
                if path == "/slow" {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                let user = user.map(|user| user.to_str().unwrap_or_default().to_owned()).unwrap_or_default();
                let mut answer = format!("{user} {target} {}", String::from_utf8_lossy(&text)).into_bytes();
                if let Some(trailers) = trailers {
                    let mut names: Vec<&str> = trailers.keys().map(http::HeaderName::as_str).collect();
                    names.sort_unstable();
                    answer.extend_from_slice(format!(" trailers: {}", names.join(" ")).as_bytes());
                }
                let mut response = ok();
                let grpc = path == "/grpc";
                if grpc {
                    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
                }
                let mut stream = respond.send_response(response, false)?;
                if grpc || path == "/trailers" {
                    stream.send_data(answer.into(), false)?;
                    let mut trailers = HeaderMap::new();
                    for name in ["grpc-status", "x-meta", "set-cookie", "content-length", "location"] {
                        trailers.insert(name, http::HeaderValue::from_static("0"));
                    }
                    stream.send_trailers(trailers)?;
                } else {
                    send_all(&mut stream, answer.into()).await?;
                }
            }
        }
        Ok(())
    }
}

/// All of a body.
async fn whole(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut whole = Vec::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// An answer in very many small pieces, as long as a stream's window.
fn crumbs(mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut stream = respond.send_response(Response::new(()), false)?;
    (0..20_000).try_for_each(|_| stream.send_data(Bytes::from_static(b"twelve bytes"), false))?;
    stream.send_data(Bytes::new(), true)
}

/// Content where there can be none.
fn content(mut respond: SendResponse<Bytes>, status: &str) -> Result<(), h2::Error> {
    let response = Response::builder().status(status).header("content-length", "7").body(()).expect("an answer");
    respond.send_response(response, false)?.send_data(Bytes::from_static(b"content"), true)
}

/// Two interim answers (RFC 9110, section 15.2), then the one that was asked for.
async fn hints(mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut hints = Response::new(());
    *hints.status_mut() = http::StatusCode::EARLY_HINTS;
    hints.headers_mut().insert("link", http::HeaderValue::from_static("</style.css>; rel=preload"));
    respond.send_informational(hints.clone())?;
    respond.send_informational(hints)?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut response = Response::new(());
    response.headers_mut().insert("x-kept", http::HeaderValue::from_static("yes"));
    let mut stream = respond.send_response(response, false)?;
    send_all(&mut stream, Bytes::from_static(b"the answer")).await
}

/// Sends no more than the other side has room for.
async fn send_all(stream: &mut h2::SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(room) = std::future::poll_fn(|context| stream.poll_capacity(context)).await else { return Ok(()) };
        let part = bytes.split_to(room?.min(bytes.len()));
        let last = bytes.is_empty();
        stream.send_data(part, last)?;
    }
    Ok(())
}
