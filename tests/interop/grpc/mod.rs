//! A gRPC client and server that we did not write, with the gateway between them: every kind of call, statuses, metadata,
//! deadlines and cancellation, with and without a session, over plain connections and over TLS.

mod parrot;

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};
use url::Url;

use self::parrot::{Certificate, Parrot, Words, codec, words};
use crate::support::browser::Browser;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::{PATIENCE, free_port};

type Grpc = tonic::client::Grpc<Channel>;

const SAY: PathAndQuery = path("/test.Parrot/Say");
const COUNT: PathAndQuery = path("/test.Parrot/Count");
const SUM: PathAndQuery = path("/test.Parrot/Sum");
const CHAT: PathAndQuery = path("/test.Parrot/Chat");

const fn path(text: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(text)
}

struct Scene {
    gateway: Gateway,
    parrot: Parrot,
    endpoint: Endpoint,
}

/// How the gateway is reached, and how it reaches the service.
#[derive(Clone, Copy, Debug)]
enum Ways {
    Plain,
    Secure,
}

/// A gateway that lets everybody pass.
fn open(ways: Ways, lines: &str) -> Scene {
    let config = GatewayConfig::on_loopback().provider("http://127.0.0.1:1", "a client secret");
    scene(config.route("/*", "\"everyone\"", "app"), ways, lines)
}

fn scene(config: GatewayConfig, ways: Ways, lines: &str) -> Scene {
    let parrot = Parrot::default();
    let config = config.top("workers = 1").listen_line("h2c = true");
    match ways {
        Ways::Plain => {
            let port = parrot.serve(None);
            let upstream = format!("[upstreams.app]\nurl = \"http://127.0.0.1:{port}\"\nprotocol = \"http2\"\n{lines}");
            let gateway = config.raw(&upstream).start();
            let endpoint = Endpoint::from_shared(gateway.url().to_owned()).unwrap();
            Scene { gateway, parrot, endpoint }
        }
        Ways::Secure => {
            let certificate = Certificate::new();
            let folder = tempfile::tempdir().unwrap();
            let write = |name: &str, text: &str| {
                let path = folder.path().join(name);
                std::fs::write(&path, text).unwrap();
                path.display().to_string()
            };
            let (cert, key) = (write("cert.pem", &certificate.cert), write("key.pem", certificate.key()));
            let (port, front) = (parrot.serve(Some(&certificate)), free_port());
            let upstream = format!("[upstreams.app]\nurl = \"https://localhost:{port}\"\nca = '{cert}'\n{lines}");
            let gateway = config
                .listen_line(&format!("https = [\"127.0.0.1:{front}\"]"))
                .raw(&format!("[tls]\ncert = '{cert}'\nkey = '{key}'"))
                .raw(&upstream)
                .start();
            let authority = tonic::transport::Certificate::from_pem(&certificate.cert);
            let tls = ClientTlsConfig::new().ca_certificate(authority).domain_name("localhost");
            let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{front}")).unwrap();
            Scene { gateway, parrot, endpoint: endpoint.tls_config(tls).unwrap() }
        }
    }
}

impl Scene {
    fn run<T>(&self, task: impl AsyncFnOnce(Grpc) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let channel = self.endpoint.connect().await;
            let channel = channel.unwrap_or_else(|error| panic!("{error:?}\n{}", self.gateway.logs()));
            tokio::time::timeout(PATIENCE, task(Grpc::new(channel))).await.expect("it ends in time")
        })
    }

    /// Waits, on the client's own runtime, until that many calls have come to the upstream.
    async fn comes_to_be_called(&self, count: usize) {
        while self.parrot.called() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits, on the client's own runtime, until that many calls were given up at the upstream.
    async fn comes_to_be_abandoned(&self, count: usize) {
        while self.parrot.abandoned() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn say(grpc: &mut Grpc, request: Request<Words>) -> Result<Response<Words>, Status> {
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    grpc.unary(request, SAY, codec()).await
}

fn said(text: &str) -> Request<Words> {
    Request::new(words(text))
}

/// The texts that came, and the status at their end.
async fn heard(mut answers: tonic::Streaming<Words>) -> (Vec<String>, Option<Status>) {
    let mut texts = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(message)) => texts.push(message.text),
            Ok(None) => return (texts, None),
            Err(status) => return (texts, Some(status)),
        }
    }
}

#[test]
fn calls_pass_with_metadata_and_without_a_forged_identity() {
    for ways in [Ways::Plain, Ways::Secure] {
        open(ways, "").run(async |mut grpc| {
            let mut request = said("hello");
            request.metadata_mut().insert("x-forwarded-user", MetadataValue::from_static("root"));
            let answer = say(&mut grpc, request).await.unwrap();
            assert_eq!(answer.metadata().get("x-header").unwrap(), "seen");
            assert_eq!(answer.get_ref().text, "hello from nobody/nobody within nobody", "{ways:?}");

            let refusal = say(&mut grpc, said("refuse")).await.unwrap_err();
            assert_eq!(refusal.code(), Code::FailedPrecondition);
            assert_eq!(refusal.message(), "50% of \"it\" failed: ü");
            assert_eq!(refusal.details(), b"details");
            assert_eq!(refusal.metadata().get("x-reason").unwrap(), "because");
        });
    }
}

#[test]
fn one_side_streams_while_the_other_waits() {
    for ways in [Ways::Plain, Ways::Secure] {
        open(ways, "").run(async |mut grpc| {
            grpc.ready().await.unwrap();
            let answers = grpc.server_streaming(said("5000"), COUNT, codec()).await.unwrap();
            let (texts, status) = heard(answers.into_inner()).await;
            assert!(
                texts.iter().map(String::as_str).eq((0..5000)
                    .map(|number| number.to_string())
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str))
            );
            let status = status.expect("it ends with a status");
            assert_eq!((status.code(), status.message()), (Code::OutOfRange, "that was all"), "{ways:?}");

            grpc.ready().await.unwrap();
            let texts = stream::iter((0..5000).map(|_| words("x".repeat(100))));
            let sum = grpc.client_streaming(Request::new(texts), SUM, codec()).await.unwrap();
            assert_eq!(sum.get_ref().text, "500000", "{ways:?}");
        });
    }
}

#[test]
fn streams_go_both_ways_at_once_and_end_with_their_status() {
    for ways in [Ways::Plain, Ways::Secure] {
        open(ways, "").run(async |mut grpc| {
            grpc.ready().await.unwrap();
            let (say, said) = tokio::sync::mpsc::unbounded_channel::<Words>();
            let texts = stream::unfold(said, async |mut said| said.recv().await.map(|text| (text, said)));
            say.send(words("one")).unwrap();
            let answer = grpc.streaming(Request::new(texts), CHAT, codec()).await.unwrap();
            let mut answers = answer.into_inner();
            // Each answer comes before the next text is sent: nothing on the way waits for more.
            assert_eq!(answers.message().await.unwrap().unwrap().text, "you said one");
            for text in ["two", "three"] {
                say.send(words(text)).unwrap();
                assert_eq!(answers.message().await.unwrap().unwrap().text, format!("you said {text}"));
            }
            say.send(words("end")).unwrap();
            let end = answers.message().await.unwrap_err();
            assert_eq!((end.code(), end.message()), (Code::Aborted, "as you wish"));

            // And one that just ends is a success.
            grpc.ready().await.unwrap();
            let answer = grpc.streaming(Request::new(stream::iter([words("a")])), CHAT, codec()).await.unwrap();
            let (texts, status) = heard(answer.into_inner()).await;
            assert_eq!((texts, status.map(|status| status.code())), (vec!["you said a".to_owned()], None));
        });
    }
}

#[test]
fn a_call_that_is_given_up_is_given_up_at_the_upstream() {
    let scene = open(Ways::Plain, "");
    scene.run(async |mut grpc| {
        // So that the way is open when the call begins, and it has arrived when it is given up.
        assert!(say(&mut grpc, said("hello")).await.is_ok());
        tokio::select! {
            answer = say(&mut grpc, said("wait")) => panic!("it answers: {answer:?}"),
            () = scene.comes_to_be_called(2) => {}
        }
        scene.comes_to_be_abandoned(1).await;
    });
    // In the middle of a stream too, by a caller whose connection goes.
    scene.run(async |mut grpc| {
        grpc.ready().await.unwrap();
        let texts = stream::once(async { words("one") }).chain(stream::pending());
        let answer = grpc.streaming(Request::new(texts), CHAT, codec()).await.unwrap();
        assert_eq!(answer.into_inner().message().await.unwrap().unwrap().text, "you said one");
    });
    scene.run(async |mut grpc| {
        scene.comes_to_be_abandoned(2).await;
        assert!(say(&mut grpc, said("hello")).await.is_ok());
    });
}

#[test]
fn the_callers_deadline_counts_beyond_the_upstreams_timeout() {
    let scene = open(Ways::Plain, "response_timeout = \"200ms\"");
    scene.run(async |mut grpc| {
        let mut request = said("hello");
        request.set_timeout(Duration::from_secs(20));
        let text = say(&mut grpc, request).await.unwrap().into_inner().text;
        assert!(text.starts_with("hello from nobody/nobody within ") && !text.ends_with("nobody"), "{text}");

        let begun = tokio::time::Instant::now();
        let refusal = say(&mut grpc, said("wait")).await.unwrap_err();
        assert_eq!(refusal.code(), Code::DeadlineExceeded, "{refusal:?}");
        assert!(begun.elapsed() < Duration::from_secs(10));

        let begun = tokio::time::Instant::now();
        let mut request = said("wait");
        request.set_timeout(Duration::from_secs(2));
        let given_up = say(&mut grpc, request).await.unwrap_err();
        assert!(begun.elapsed() >= Duration::from_millis(1500), "{given_up:?} after {:?}", begun.elapsed());
        scene.comes_to_be_abandoned(2).await;
    });
}

#[test]
fn a_session_names_the_caller_and_without_one_the_refusal_is_a_status() {
    let provider = Provider::start();
    let config = GatewayConfig::on_loopback().client(provider.issuer(), CLIENT_ID, CLIENT_SECRET);
    let scene = scene(
        config.route("/test.Parrot/Say", "\"signed-in\"", "app").route("/*", "{ roles = [\"admin\"] }", "app"),
        Ways::Plain,
        "",
    );
    let cookie = |user: &str| {
        let mut browser = Browser::new();
        drop(browser.sign_in(user, &scene.gateway.at("/test.Parrot/Say")));
        let field = browser.jar.field(&Url::parse(scene.gateway.url()).unwrap()).expect("a session has a cookie");
        let ours = field.split("; ").filter(|pair| !pair.starts_with("development-provider"));
        ours.chain(["theme=dark"]).collect::<Vec<_>>().join("; ").parse::<MetadataValue<_>>().unwrap()
    };
    let (alice, bob) = (cookie("alice"), cookie("bob"));
    let before = scene.parrot.called();
    scene.run(async |mut grpc| {
        let refusal = say(&mut grpc, said("hello")).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unauthenticated, "{refusal:?}");
        grpc.ready().await.unwrap();
        let refusal = grpc.server_streaming(said("3"), COUNT, codec()).await.map(drop).unwrap_err();
        assert_eq!(refusal.code(), Code::Unauthenticated, "{refusal:?}");
        grpc.ready().await.unwrap();
        let mut request = Request::new(stream::iter([words("a")]));
        request.metadata_mut().insert("cookie", bob.clone());
        let refusal = grpc.streaming(request, CHAT, codec()).await.map(drop).unwrap_err();
        assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal:?}");
        assert_eq!(scene.parrot.called(), before, "nothing of that reached the service");

        for (user, cookie) in [("alice", &alice), ("bob", &bob)] {
            let mut request = said("hello");
            request.metadata_mut().insert("cookie", cookie.clone());
            request.metadata_mut().insert("x-forwarded-user", MetadataValue::from_static("root"));
            let text = say(&mut grpc, request).await.unwrap().into_inner().text;
            assert_eq!(text, format!("hello from {user}/theme=dark within nobody"));
        }
        grpc.ready().await.unwrap();
        let mut request = Request::new(stream::iter([words("a")]));
        request.metadata_mut().insert("cookie", alice.clone());
        let answers = grpc.streaming(request, CHAT, codec()).await.unwrap();
        assert_eq!(heard(answers.into_inner()).await.0, ["you said a"]);
    });
}

#[test]
fn faults_of_the_way_are_statuses_too() {
    let gateway = GatewayConfig::on_loopback()
        .listen_line("h2c = true")
        .provider("http://127.0.0.1:1", "a client secret")
        .raw("[upstreams.app]\nurl = \"http://127.0.0.1:1\"\nprotocol = \"http2\"")
        .route("/test.Parrot/*", "\"everyone\"", "app")
        .start();
    let endpoint = Endpoint::from_shared(gateway.url().to_owned()).unwrap();
    let scene = Scene { gateway, parrot: Parrot::default(), endpoint };
    scene.run(async |mut grpc| {
        let refusal = say(&mut grpc, said("hello")).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
        grpc.ready().await.unwrap();
        let refusal = grpc.unary(said("hello"), path("/other.Service/Say"), codec()).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unimplemented, "{refusal:?}");
    });
}
