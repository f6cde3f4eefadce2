//! A gRPC service of tonic's: it says who asks, counts, echoes, adds up, refuses and waits.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, stream};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::MetadataValue;
use tonic::server::{
    ClientStreamingService, Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService,
};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::support::pause;

/// The one message of the service.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Words {
    /// What is said.
    #[prost(string, tag = "1")]
    pub(super) text: String,
}

/// The codec of its messages.
pub(super) fn codec() -> ProstCodec<Words, Words> {
    ProstCodec::default()
}

/// `text` as a message.
pub(super) fn words(text: impl Into<String>) -> Words {
    Words { text: text.into() }
}

type Answers = Pin<Box<dyn Stream<Item = Result<Words, Status>> + Send>>;

/// The running service.
#[derive(Clone, Default)]
pub(super) struct Parrot {
    abandoned: Arc<AtomicUsize>,
    called: Arc<AtomicUsize>,
}

/// A certificate and its key, in PEM.
pub(super) struct Certificate {
    /// The certificate, which is its own authority.
    pub(super) cert: String,
    key: String,
}

impl Certificate {
    /// For `localhost`.
    pub(super) fn new() -> Self {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate can be made");
        Self { cert: issued.cert.pem(), key: issued.signing_key.serialize_pem() }
    }

    /// The key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }
}

/// Counts when it goes before its call is over.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Parrot {
    /// Serves until the test process ends; gives its port.
    pub(super) fn serve(&self, certificate: Option<&Certificate>) -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let address: SocketAddr = listener.local_addr().expect("it is bound");
        drop(listener);
        let serving = self.clone();
        let tls = certificate.map(|certificate| {
            ServerTlsConfig::new().identity(Identity::from_pem(&certificate.cert, &certificate.key))
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let mut server = Server::builder();
            if let Some(tls) = tls {
                server = server.tls_config(tls).expect("the certificate can be used");
            }
            runtime.block_on(server.add_service(serving).serve(address)).expect("it serves");
        });
        while std::net::TcpStream::connect(address).is_err() {
            pause(Duration::from_millis(10));
        }
        address.port()
    }

    /// Calls that were given up before they were over.
    pub(super) fn abandoned(&self) -> usize {
        self.abandoned.load(Ordering::SeqCst)
    }

    /// Calls that came.
    pub(super) fn called(&self) -> usize {
        self.called.load(Ordering::SeqCst)
    }
}

fn metadata<T>(request: &Request<T>, name: &'static str) -> String {
    request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned()
}

impl UnaryService<Words> for Parrot {
    type Response = Words;
    type Future = BoxFuture<'static, Result<Response<Words>, Status>>;

    fn call(&mut self, request: Request<Words>) -> Self::Future {
        let waiting = Arc::clone(&self.abandoned);
        Box::pin(async move {
            match request.get_ref().text.as_str() {
                "refuse" => {
                    let mut status =
                        Status::with_details(Code::FailedPrecondition, "50% of \"it\" failed: ü", "details".into());
                    status.metadata_mut().insert("x-reason", MetadataValue::from_static("because"));
                    Err(status)
                }
                "wait" => {
                    let _waiting = Waiting(waiting);
                    std::future::pending().await
                }
                text => {
                    let who = metadata(&request, "x-forwarded-user");
                    let cookie = metadata(&request, "cookie");
                    let deadline = metadata(&request, "grpc-timeout");
                    let mut response = Response::new(words(format!("{text} from {who}/{cookie} within {deadline}")));
                    response.metadata_mut().insert("x-header", MetadataValue::from_static("seen"));
                    Ok(response)
                }
            }
        })
    }
}

/// Says as many words as it is told to, and then how that went.
#[derive(Clone)]
struct Count;

impl ServerStreamingService<Words> for Count {
    type Response = Words;
    type ResponseStream = Answers;
    type Future = BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Words>) -> Self::Future {
        Box::pin(async move {
            let many: usize = request.get_ref().text.parse().map_err(|_| Status::invalid_argument("no number"))?;
            let numbers = stream::iter((0..many).map(|number| Ok(words(number.to_string()))));
            let end = stream::iter([Err(Status::out_of_range("that was all"))]);
            Ok(Response::new(Box::pin(numbers.chain(end)) as Answers))
        })
    }
}

/// Takes all words, then says how many letters they have.
#[derive(Clone)]
struct Sum;

impl ClientStreamingService<Words> for Sum {
    type Response = Words;
    type Future = BoxFuture<'static, Result<Response<Words>, Status>>;

    fn call(&mut self, request: Request<Streaming<Words>>) -> Self::Future {
        Box::pin(async move {
            let mut texts = request.into_inner();
            let mut letters = 0;
            while let Some(text) = texts.message().await? {
                letters += text.text.len();
            }
            Ok(Response::new(words(letters.to_string())))
        })
    }
}

/// Says back what comes, as it comes; ends with a status when told to.
#[derive(Clone)]
struct Chat(Parrot);

impl StreamingService<Words> for Chat {
    type Response = Words;
    type ResponseStream = Answers;
    type Future = BoxFuture<'static, Result<Response<Answers>, Status>>;

    fn call(&mut self, request: Request<Streaming<Words>>) -> Self::Future {
        let abandoned = Arc::clone(&self.0.abandoned);
        Box::pin(async move {
            let waiting = Waiting(abandoned);
            let answers = request.into_inner().map(move |heard| {
                let _held = &waiting;
                match heard?.text.as_str() {
                    "end" => Err(Status::aborted("as you wish")),
                    text => Ok(words(format!("you said {text}"))),
                }
            });
            Ok(Response::new(Box::pin(answers) as Answers))
        })
    }
}

impl NamedService for Parrot {
    const NAME: &'static str = "test.Parrot";
}

impl Service<http::Request<Body>> for Parrot {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let parrot = self.clone();
        self.called.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let mut grpc = Grpc::new(codec());
            Ok(match request.uri().path() {
                "/test.Parrot/Say" => grpc.unary(parrot, request).await,
                "/test.Parrot/Count" => grpc.server_streaming(Count, request).await,
                "/test.Parrot/Sum" => grpc.client_streaming(Sum, request).await,
                _ => grpc.streaming(Chat(parrot), request).await,
            })
        })
    }
}
