//! An ordinary Django project: the admin site, its CSRF check, and large files both ways.

use aws_lc_rs::digest;
use url::Url;

use crate::support::browser::Browser;
use crate::support::client::{Client, Request};
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::parts::{self, Django, OidcProvider, Part};
use crate::support::wire::response_framing;
use crate::support::{hex, sha256};

/// How large the file is: far more than the gateway may hold.
const FILE_BYTES: u64 = 200 * 1024 * 1024;

/// How much the gateway may grow while that passes through it, in KiB.
const MAX_GROWTH: u64 = 32 * 1024;

struct Scene {
    gateway: Gateway,
    django: Django,
    _provider: OidcProvider,
}

fn scene(test: &str) -> Option<Scene> {
    if !parts::are_there(test, &[Part::OidcProvider, Part::Django]) {
        return None;
    }
    let config = GatewayConfig::on_loopback();
    let provider = OidcProvider::start(config.public_url());
    let django = Django::start(config.public_url());
    let gateway = config.provider(provider.issuer(), OidcProvider::SECRET).upstream("app", django.url()).start();
    Some(Scene { gateway, django, _provider: provider })
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

/// Bytes that no compression shrinks, the same at every run: a xorshift generator.
struct Noise(u64);

impl Noise {
    fn piece(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 * 1024);
        while bytes.len() < 64 * 1024 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes
    }
}

#[test]
fn django_alone_takes_the_name_from_the_header() {
    if !parts::are_there("interop::django_alone", &[Part::Django]) {
        return;
    }
    let django = Django::start("http://127.0.0.1:1");
    let client = Client::new(django.url());
    assert_eq!(client.get("/who").send().status, 403, "nobody is signed in by themselves");
    let alice = |request: Request| request.header("X-Forwarded-Preferred-Username", "alice");
    let who = alice(client.get("/who")).header("X-Forwarded-Proto", "https").send().json();
    assert_eq!((&who["superuser"], &who["secure"]), (&true.into(), &true.into()), "{who}");
    let answer = alice(client.request("PUT", "/files/x")).body("abc").send().json();
    assert_eq!(answer["sha256"], sha256(b"abc"));
    assert_eq!(alice(client.get("/files/x")).send().body, b"abc");
}

#[test]
fn alice_is_the_superuser_of_the_admin_site() {
    let Some(scene) = scene("interop::django_admin") else { return };
    let mut browser = Browser::new();
    let page = browser.sign_in("alice", &scene.gateway.at("/admin/"));
    assert_eq!(page.response.status, 200, "{}\n{}", page.text(), scene.django.logs());
    assert!(page.text().contains("Site administration"), "{}", page.text());
    let who = browser.open(&scene.gateway.at("/who")).response.json();
    assert_eq!((&who["user"], &who["superuser"]), (&"alice".into(), &true.into()), "{who}");
    assert!(!who.to_string().contains("__Host-"), "our cookies stay with the gateway: {who}");
}

#[test]
fn nobody_becomes_a_superuser_by_a_header_of_their_own() {
    let Some(scene) = scene("interop::django_spoof") else { return };
    let mut browser = Browser::new();
    browser.sign_in("bob", &scene.gateway.at("/who"));
    for name in ["X-Forwarded-Preferred-Username", "x_forwarded_preferred_username", "X-Forwarded_Preferred-Username"] {
        let spoof = |request: Request| request.header(name, "alice");
        let who = browser.send(&url(&scene.gateway.at("/who")), spoof, "GET").json();
        assert_eq!((&who["user"], &who["superuser"]), (&"bob".into(), &false.into()), "by {name}: {who}");
    }
}

#[test]
fn a_form_of_the_admin_site_is_taken_and_its_csrf_check_lives() {
    let Some(scene) = scene("interop::django_form") else { return };
    let mut browser = Browser::new();
    let page = browser.sign_in("alice", &scene.gateway.at("/admin/auth/group/add/"));
    let form = page.forms().into_iter().find(|form| form.id == "group_form").expect("the form of a group");
    let mut fields = form.pressing("_save");
    let named = fields.iter_mut().find(|(name, _)| name == "name").expect("the group's name");
    "Pilots".clone_into(&mut named.1);
    let list = browser.submit(&page, &form, &fields);
    assert_eq!((list.response.status, list.url.path()), (200, "/admin/auth/group/"), "{}", list.text());
    assert!(list.text().contains("Pilots"), "{}", list.text());

    let without_token: Vec<_> = fields.iter().filter(|(name, _)| name != "csrfmiddlewaretoken").cloned().collect();
    assert_eq!(browser.submit(&page, &form, &without_token).response.status, 403, "a form without its token");
    let foreign = |request: Request| request.header("Origin", "https://evil.example").form(&fields);
    let answer = browser.send(&url(&scene.gateway.at("/admin/auth/group/add/")), foreign, "POST");
    assert_eq!(answer.status, 403, "a form of another site");
}

#[test]
fn a_file_of_200_mb_goes_up_and_comes_down_while_memory_stays_flat() {
    let Some(scene) = scene("interop::django_upload") else { return };
    let mut browser = Browser::new();
    browser.sign_in("alice", &scene.gateway.at("/who"));
    let cookies = browser.jar.field(&url(scene.gateway.url())).expect("she is signed in");
    let request =
        |method: &str, target: &str| scene.gateway.client().request(method, target).header("Cookie", &cookies);

    // One small file first, so that what every first request needs is not counted.
    let small = request("PUT", "/files/small").body(vec![7; 1024 * 1024]).send();
    assert_eq!(small.status, 200, "{}", small.text());
    let before = scene.gateway.memory();

    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut sent = digest::Context::new(&digest::SHA256);
    let answer = request("PUT", "/files/large").stream(FILE_BYTES, || {
        let piece = noise.piece();
        sent.update(&piece);
        piece
    });
    let sent = hex(sent.finish().as_ref());
    let answer = answer.expect("it is answered").json();
    assert_eq!((&answer["bytes"], &answer["sha256"]), (&FILE_BYTES.into(), &sent.as_str().into()), "{answer}");
    let stored = std::fs::metadata(scene.django.file("large")).expect("it was stored").len();
    assert_eq!(stored, FILE_BYTES);

    let (head, mut reader) = request("GET", "/files/large").open().expect("it is answered");
    assert_eq!(head.status, 200, "{}", head.head.first_line);
    let mut received = digest::Context::new(&digest::SHA256);
    let framing = response_framing(&head.head, "GET", head.status);
    reader.body(framing, &mut |part| received.update(part)).expect("it comes whole");
    assert_eq!(hex(received.finish().as_ref()), sent, "byte for byte");

    let after = scene.gateway.memory();
    let growth = after.peak.saturating_sub(before.resident);
    assert!(growth < MAX_GROWTH, "the gateway grew by {growth} KiB: {before:?}, {after:?}");
}
