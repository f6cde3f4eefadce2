//! The third door: `ext_authz` over gRPC, asked as Envoy asks, and acted upon as Envoy acts.

use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, HeaderMap as Lines, HeaderValue as Field, HeaderValueOption, SocketAddress,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use crate::cases::{APP, Case, Door, Who};
use crate::scene::{Scene, Seen, run};
use crate::verify::{dressed, passed_on};

struct Envoy {
    runtime: Runtime,
    client: AuthorizationClient<Channel>,
}

impl Envoy {
    fn connect(scene: &Scene) -> Self {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let address = format!("http://127.0.0.1:{}", scene.ext_authz);
        let client = runtime.block_on(AuthorizationClient::connect(address)).expect("it listens");
        Self { runtime, client }
    }

    fn check(&mut self, http: HttpRequest, source: &str) -> CheckResponse {
        let socket = SocketAddress {
            address: source.to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(5000)),
            ..SocketAddress::default()
        };
        let peer = Peer { address: Some(Address { address: Some(Kind::SocketAddress(socket)) }), ..Peer::default() };
        let request = CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(peer),
                request: Some(Request { http: Some(http), ..Request::default() }),
                ..AttributeContext::default()
            }),
        };
        self.runtime.block_on(self.client.check(request)).expect("it answers").into_inner()
    }
}

fn text(option: &HeaderValueOption) -> (String, String) {
    let header = option.header.as_ref().expect("an option has a header");
    (header.key.clone(), header.value.clone())
}

fn acted_upon(scene: &Scene, case: &Case, answer: &CheckResponse) -> Seen {
    let code = answer.status.as_ref().map_or(0, |status| status.code);
    match answer.http_response.as_ref().expect("it says something") {
        HttpResponse::OkResponse(ok) => {
            assert_eq!(code, 0);
            let set: Vec<(String, String)> = ok.headers.iter().map(text).collect();
            let challenges = Vec::new();
            Seen {
                status: 200,
                challenges,
                upstream: vec![dressed(case, passed_on(scene, case), &ok.headers_to_remove, &set)],
            }
        }
        HttpResponse::DeniedResponse(denied) => {
            assert_ne!(code, 0);
            let status = denied.status.as_ref().map_or(0, |status| status.code);
            let location = denied.headers.iter().map(text).find(|(name, _)| name == "location");
            assert_eq!((300..400).contains(&status), location.is_some(), "{}", case.name());
            let challenges = denied.headers.iter().map(text).filter(|(name, _)| name == "www-authenticate");
            let challenges = challenges.map(|(_, value)| value).collect();
            Seen { status: u16::try_from(status).expect("a status"), challenges, upstream: Vec::new() }
        }
        HttpResponse::ErrorResponse(_) => panic!("no answer of ours is an error of Envoy's"),
    }
}

fn described(scene: &Scene, case: &Case) -> HttpRequest {
    HttpRequest {
        method: case.method.to_owned(),
        host: case.host.to_owned(),
        path: case.target.to_owned(),
        scheme: "https".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        headers: passed_on(scene, case)
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .chain([(":path".to_owned(), "/public/x".to_owned())])
            .fold(std::collections::HashMap::new(), |mut map, (name, value)| {
                map.entry(name)
                    .and_modify(|known: &mut String| {
                        let between = if known.contains('=') { "; " } else { "," };
                        known.push_str(between);
                        known.push_str(&value);
                    })
                    .or_insert(value);
                map
            }),
        ..HttpRequest::default()
    }
}

#[test]
fn the_table_holds_over_grpc() {
    let scene = Scene::start();
    let mut envoy = Envoy::connect(&scene);
    run(Door::ExtAuthz, |case| {
        let answer = envoy.check(described(&scene, case), "192.0.2.7");
        acted_upon(&scene, case, &answer)
    });
}

#[test]
fn the_table_holds_over_grpc_with_every_line_of_the_headers() {
    let scene = Scene::start();
    let mut envoy = Envoy::connect(&scene);
    run(Door::ExtAuthz, |case| {
        let lines = passed_on(&scene, case).into_iter();
        let lines = lines.map(|(key, value)| Field { key, value: String::new(), raw_value: value.into_bytes() });
        let headers = Lines { headers: lines.collect() };
        let http = HttpRequest { header_map: Some(headers), headers: [].into(), ..described(&scene, case) };
        let answer = envoy.check(http, "192.0.2.7");
        acted_upon(&scene, case, &answer)
    });
}

/// The upstream gets the forwarding headers that it would get from us, whatever the visitor says.
#[test]
fn forwarding_headers_are_ours() {
    let scene = Scene::start();
    let mut envoy = Envoy::connect(&scene);
    let forged = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-port", "1"),
    ];
    let http = HttpRequest {
        method: "GET".to_owned(),
        host: APP.to_owned(),
        path: "/public/x".to_owned(),
        headers: forged.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..HttpRequest::default()
    };
    let answer = envoy.check(http, "192.0.2.7");
    let Some(HttpResponse::OkResponse(ok)) = answer.http_response else { panic!("{answer:?}") };
    let set: Vec<(String, String)> = ok.headers.iter().map(text).collect();
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-host", APP),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=192.0.2.7;host=\"app.example.com\";proto=https"),
    ] {
        assert!(set.contains(&(name.to_owned(), value.to_owned())), "{name}: {set:?}");
    }
    assert!(ok.headers_to_remove.contains(&"x-real-ip".to_owned()), "{:?}", ok.headers_to_remove);
    for name in ["authorization", "cookie", "x-forwarded-user", "x-forwarded-email", "x-forwarded-groups"] {
        assert!(ok.headers_to_remove.contains(&name.to_owned()), "{name}: {:?}", ok.headers_to_remove);
    }
}

#[test]
fn nonsense_is_denied() {
    let scene = Scene::start();
    let mut envoy = Envoy::connect(&scene);
    let cookie = scene.cookie(Who::Alice, APP).expect("alice has one").to_owned();
    let good = HttpRequest {
        method: "GET".to_owned(),
        host: APP.to_owned(),
        path: "/".to_owned(),
        headers: [("cookie".to_owned(), cookie)].into(),
        ..HttpRequest::default()
    };
    let header = |name: &str, value: &str| {
        let mut http = good.clone();
        http.headers.insert(name.to_owned(), value.to_owned());
        http
    };
    let status = |envoy: &mut Envoy, http: HttpRequest| match envoy
        .check(http, "192.0.2.7")
        .http_response
        .expect("it says something")
    {
        HttpResponse::OkResponse(_) => 200,
        HttpResponse::DeniedResponse(denied) | HttpResponse::ErrorResponse(denied) => denied.status.expect("one").code,
    };
    assert_eq!(status(&mut envoy, good.clone()), 200);
    for (http, expected) in [
        (HttpRequest { method: String::new(), ..good.clone() }, 400),
        (HttpRequest { method: "G T".to_owned(), ..good.clone() }, 400),
        (HttpRequest { host: String::new(), ..good.clone() }, 400),
        (HttpRequest { path: String::new(), ..good.clone() }, 400),
        (HttpRequest { path: "public".to_owned(), ..good.clone() }, 400),
        (HttpRequest { fragment: "/x".to_owned(), ..good.clone() }, 400),
        (header("a b", "x"), 400),
        (header("x", "a\r\nb"), 400),
        (header("big", &"x".repeat(70_000)), 431),
        (HttpRequest::default(), 400),
    ] {
        assert_eq!(status(&mut envoy, http.clone()), expected, "{http:?}");
    }
    let mut client = envoy.client.clone();
    let empty = envoy.runtime.block_on(client.check(CheckRequest::default())).expect("it answers").into_inner();
    assert!(matches!(empty.http_response, Some(HttpResponse::DeniedResponse(_))), "{empty:?}");
    drop(empty);
    // HTTP/1.1 is nobody's language there.
    let plain = crate::support::client::Client::new(&format!("http://127.0.0.1:{}", scene.ext_authz));
    assert!(plain.get("/public/x").try_send().is_err(), "the listener is for gRPC alone");
}

/// Only trusted proxies may ask: here nobody who connects is one.
#[test]
fn a_stranger_is_told_nothing() {
    let port = crate::support::free_port();
    let provider = crate::support::provider::Provider::start();
    let gateway = crate::support::gateway::GatewayConfig::new("https://app.example.com")
        .provider(provider.issuer(), "secret")
        .upstream("app", "none")
        .route("/*", "\"everyone\"", "app")
        .listen_line(&format!("ext_authz = [\"127.0.0.1:{port}\"]"))
        .raw("[trusted_proxies]\nnetworks = [\"10.0.0.0/8\"]")
        .start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let refused = runtime.block_on(async {
        let mut client = AuthorizationClient::connect(format!("http://127.0.0.1:{port}")).await.expect("it listens");
        client.check(CheckRequest::default()).await.expect_err("a stranger may not ask")
    });
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    assert!(gateway.logs_come_to_hold("no trusted proxy"));
}
