//! What goes over the wire: headers of pages, who may ask, broken answers, stopping and starting.

use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{CALLBACK, Tester, query};
use crate::base::clock;
use crate::demo::provider::{Endpoint, ProviderOptions, Transport, start};
use crate::demo::testing::request;

const DISCOVERY: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn pages_run_no_script_and_lead_nowhere_else() {
    let mut tester = Tester::new().await;
    let page = tester.authorize(&[]).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.ends_with("form-action 'self' http://127.0.0.1:8080") && !policy.contains("script-src"), "{policy}");
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(!page.text().contains("<script"));

    let form = tester.sign_in_by_form("\"><script>x</script>").await;
    let policy = form.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'sha256-"), "{policy}");
    assert_eq!(form.text().matches("<script").count(), 1, "{}", form.text());
    assert!(form.text().contains(&format!("action=\"{CALLBACK}\"")));
    assert!(form.text().contains("name=\"code\"") && form.text().contains("name=\"iss\""));
}

impl Tester {
    async fn sign_in_by_form(&mut self, state: &str) -> crate::demo::testing::Heard {
        let query = query(&[("response_mode", "form_post"), ("state", state)]);
        let heard = self.browse("POST", &format!("/login?{query}"), "username=bob&password=").await;
        assert_eq!(heard.status, 200);
        heard
    }
}

#[tokio::test]
async fn other_names_and_other_sites_get_nothing() {
    let tester = Tester::new().await;
    let rebound = request(tester.address(), "GET", DISCOVERY, &[("host", "evil.example")], "").await.unwrap();
    assert_eq!(rebound.status, 421);
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let target = format!("/login?{}", query(&[]));
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 303)] {
        let headers = [kind, ("sec-fetch-site", site)];
        let heard = request(tester.address(), "POST", &target, &headers, "username=alice").await.unwrap();
        assert_eq!(heard.status, status, "{site}");
    }
    assert_eq!(tester.get("/token").await.status, 405);
    assert_eq!(tester.get("/nothing").await.status, 404);
    assert_eq!(tester.get("/hop?status=302&hops=0&url=http://evil.example/").await.status, 400);
}

#[tokio::test]
async fn an_issuer_may_have_a_path_and_a_name_of_its_own() {
    let issuer = Some("https://login.example.com/realms/corp".to_owned());
    let tester = Tester::with(ProviderOptions { issuer, ..ProviderOptions::default() }).await;
    let headers = [("host", "login.example.com")];
    let target = format!("/realms/corp{DISCOVERY}");
    let metadata = request(tester.address(), "GET", &target, &headers, "").await.unwrap().json();
    assert_eq!(metadata["jwks_uri"], "https://login.example.com/realms/corp/jwks");
    assert_eq!(tester.get(DISCOVERY).await.status, 404);
}

#[tokio::test]
async fn the_wire_misbehaves_as_told() {
    let tester = Tester::new().await;
    let control = tester.provider.control().clone();
    let ask = async |fault: Transport| {
        control.once((Endpoint::Discovery, fault));
        request(tester.address(), "GET", DISCOVERY, &[], "").await
    };
    assert_eq!(ask(Transport::Status(503)).await.unwrap().status, 503);
    let began = clock::instant();
    assert_eq!(ask(Transport::Slow(Duration::from_millis(50))).await.unwrap().status, 200);
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(ask(Transport::Endless(3_000_000)).await.unwrap().body.len(), 3_000_000);
    assert!(ask(Transport::Cut).await.is_err());
    assert!(ask(Transport::ByteOrderMark).await.unwrap().body.starts_with(b"\xef\xbb\xbf{"));
    assert_eq!(ask(Transport::DeepJson(10_000)).await.unwrap().body.len(), 20_000);
    assert!(serde_json::from_slice::<serde_json::Value>(&ask(Transport::NotANumber).await.unwrap().body).is_err());
    assert!(ask(Transport::Trickle(Duration::ZERO)).await.unwrap().json().is_object());
    let cookie = Transport::Header { name: "Set-Cookie".to_owned(), value: "a=b".to_owned() };
    assert_eq!(ask(cookie).await.unwrap().header("set-cookie"), Some("a=b"));

    let bomb = ask(Transport::GzipBomb(10_000_000)).await.unwrap();
    assert_eq!(bomb.header("content-encoding"), Some("gzip"));
    assert!(bomb.body.len() < 100_000, "{}", bomb.body.len());
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&*bomb.body).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked.len() > 10_000_000);

    let url = "http://10.0.0.1/secrets".to_owned();
    let mut heard = ask(Transport::Redirect { status: 307, url: url.clone(), hops: 2 }).await.unwrap();
    for _ in 0..2 {
        let next = heard.header("location").unwrap().strip_prefix(tester.provider.issuer()).unwrap().to_owned();
        heard = tester.get(&next).await;
        assert_eq!(heard.status, 307);
    }
    assert_eq!(heard.header("location"), Some(url.as_str()));

    control.always((Endpoint::Jwks, Transport::Hang));
    let waited = tokio::time::timeout(Duration::from_millis(100), tester.get("/jwks")).await;
    assert!(waited.is_err(), "no answer comes");
    assert_eq!(tester.get(DISCOVERY).await.status, 200, "the other endpoints go on");
}

#[tokio::test]
async fn it_can_be_killed_and_come_back() {
    // A socket that holds the port, and shares it with listeners alone that name it: nobody else is given it meanwhile.
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    held.set_reuse_address(true).unwrap();
    held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let listen = held.local_addr().unwrap().as_socket().unwrap();
    let mut tester = Tester::with(ProviderOptions { listen, ..ProviderOptions::default() }).await;
    let token = tester.tokens(&[]).await["refresh_token"].as_str().unwrap().to_owned();
    let address = tester.address();
    tester.provider.pause().await;
    assert!(request(address, "GET", DISCOVERY, &[], "").await.is_err());
    tester.provider.resume().await.unwrap();
    assert_eq!(tester.token(&[("grant_type", "refresh_token"), ("refresh_token", &token)]).await.status, 200);
    tester.provider.stop().await;
    let again = start(ProviderOptions { listen: address, ..ProviderOptions::default() }).await.unwrap();
    assert_eq!(request(address, "GET", DISCOVERY, &[], "").await.unwrap().json()["issuer"], again.issuer());
}
