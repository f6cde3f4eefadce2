//! What every front proxy of these tests has: a certificate, the shipped files with addresses and paths replaced, and visitors who come
//! to it over TLS from an address that is not the proxy's own.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::cases::{API, APP, Door, Who};
use crate::direct::visit;
use crate::scene::{Scene, run};
use crate::support::client::Client;
use crate::support::parts::{self, Part};
use crate::support::process::Process;
use crate::support::tls_tunnel::Tunnel;
use crate::support::{PATIENCE, free_port, pause};

/// Where visitors come from in these tests; proxies reach the gateway from 127.0.0.1, the one address that is trusted.
const VISITOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

const TICK: Duration = Duration::from_millis(20);

/// What a front proxy is started with.
pub(crate) struct Setting<'s> {
    /// Where its files are.
    pub(crate) folder: &'s Path,
    /// Where visitors come to it.
    pub(crate) port: u16,
    /// `host:port` of the gateway.
    pub(crate) gateway: &'s str,
    /// `host:port` of the application.
    pub(crate) application: &'s str,
    /// The port of `ext_authz`.
    pub(crate) ext_authz: u16,
}

impl Setting<'_> {
    /// The file of `deploy/forward-auth`, with every `(from, to)` replaced, each of which has to be there; written beside the certificate.
    pub(crate) fn write(&self, name: &str, replaced: &[(&str, String)]) -> PathBuf {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/forward-auth").join(name);
        let text = std::fs::read_to_string(&shipped).expect("the file is shipped");
        let text = replaced.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "the shipped {name} has no {from}");
            text.replace(from, to)
        });
        let path = self.folder.join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path
    }

    /// A path beside the certificate, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// A front proxy before the application, with everything behind it.
pub(crate) struct Front {
    pub(crate) scene: Scene,
    pub(crate) tunnel: Tunnel,
    _process: Process,
    _folder: TempDir,
}

impl Front {
    /// `None` when the part is not there. `command` writes the proxy's files and says how to start it.
    pub(crate) fn start(test: &str, needed: Part, command: impl FnOnce(&Setting<'_>) -> Command) -> Option<Self> {
        if !parts::are_there(test, &[needed]) {
            return None;
        }
        let scene = Scene::start();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let certificate = certificate(folder.path());
        let port = free_port();
        let application = scene.upstream.url();
        let setting = Setting {
            folder: folder.path(),
            port,
            gateway: scene.asked.url().trim_start_matches("http://"),
            application: application.trim_start_matches("http://"),
            ext_authz: scene.ext_authz,
        };
        let mut process = Process::start(test, &mut command(&setting));
        let mut left = PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                process.wait(Duration::ZERO).is_none() && !left.is_zero(),
                "{test} does not start:\n{}",
                process.logs()
            );
            pause(TICK);
            left = left.saturating_sub(TICK);
        }
        let tunnel = Tunnel::start(SocketAddr::from(([127, 0, 0, 1], port)), VISITOR, APP, &certificate);
        Some(Self { scene, tunnel, _process: process, _folder: folder })
    }

    /// Asks the whole table.
    pub(crate) fn run(&self, door: Door) {
        let url = self.tunnel.url();
        run(door, |case| visit(&self.scene, &url, case));
        self.questions_are_the_proxys_own(&url);
        self.a_yes_of_any_size_is_understood(&url);
        Self::clients_find_their_way(&url);
        self.a_refusal_brings_its_cookies(&url);
        self.what_a_page_shows_goes_no_further(&url);
        self.a_target_with_a_host_of_its_own_is_judged_by_one_of_the_two(&url);
    }

    /// The host that the proxy serves is the host that is judged, whatever else the request names.
    fn a_target_with_a_host_of_its_own_is_judged_by_one_of_the_two(&self, url: &str) {
        self.scene.upstream.forget();
        // At the other host everyone may see this.
        let asked = Client::new(url).named(API).request("GET", "https://app.example.com/open/x").try_send();
        let status = asked.map_or(0, |answer| answer.status);
        assert!(status == 302 || (400..500).contains(&status) || status == 0, "{status}");
        assert_eq!(self.scene.upstream.count(), 0);
    }

    /// Cookies of the application come back in a yes, and so do the names of what a visitor must not say.
    fn a_yes_of_any_size_is_understood(&self, url: &str) {
        let cookie = self.scene.cookie(Who::Alice, APP).expect("alice has one");
        let cookies = format!("{cookie}; theme={}", "x".repeat(30_000));
        self.scene.upstream.forget();
        let mut request = Client::new(url).named(APP).request("GET", "/token/x").header("Cookie", &cookies);
        for index in 0..30 {
            request = request.header(&format!("X-Webauth-{}-{index}", "x".repeat(200)), "root");
        }
        let answer = request.send();
        assert_eq!((answer.status, self.scene.upstream.count()), (200, 1), "{}", answer.text());
    }

    /// What `resource_metadata` leads to is there (RFC 9728), and it alone.
    fn clients_find_their_way(url: &str) {
        let get = |path: &str| Client::new(url).named(APP).get(path).header("Accept", "application/json").send();
        let answer = get("/.well-known/oauth-protected-resource/machine/x");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["resource"], "https://app.example.com/machine/x");
        for path in ["/.well-known/other", "/.well-known/oauth-protected-resource/../../admin/x"] {
            assert!(matches!(get(path).status, 400 | 401 | 403), "{path}");
        }
    }

    /// A sign-in that begins at a refusal, as a step-up does, ends in the browser that has its cookie.
    fn a_refusal_brings_its_cookies(&self, url: &str) {
        let cookie = self.scene.cookie(Who::Alice, APP).expect("alice has one");
        let page = [("Accept", "text/html"), ("Cookie", cookie)];
        let answer = Client::new(url).named(APP).get("/machine/gold/x").headers(&page).send();
        assert_eq!(answer.status, 302, "{}", answer.text());
        let cookies = answer.head.all("set-cookie");
        assert!(cookies.iter().any(|line| line.contains("portcullis-flow-")), "{cookies:?}");
    }

    /// The token of a session is for us.
    fn what_a_page_shows_goes_no_further(&self, url: &str) {
        let cookie = self.scene.cookie(Who::Alice, APP).expect("alice has one");
        let client = Client::new(url).named(APP);
        let me = client.get("/.auth/me").headers(&[("Cookie", cookie), ("Sec-Fetch-Site", "same-origin")]).send();
        let token = me.json()["csrf_token"].as_str().expect("it has one").to_owned();
        for (target, is_ours) in [("/with-token/x", true), ("/x", false)] {
            self.scene.upstream.forget();
            let shown = [("Cookie", cookie), ("X-CSRF-Token", &token)];
            let answer = client.request("POST", target).headers(&shown).body("a").send();
            assert_eq!(answer.status, 200, "{target}: {}", answer.text());
            assert_eq!(self.scene.upstream.last_request().header("x-csrf-token").is_none(), is_ours, "{target}");
        }
    }

    /// The proxy comes from an address that is trusted, so what a visitor asks through it must not get to `/verify`.
    fn questions_are_the_proxys_own(&self, url: &str) {
        let cookie = self.scene.cookie(Who::Alice, APP).expect("alice has one");
        for path in [
            "/.auth/verify",
            "/.auth/verify?x",
            "/.auth/verify/",
            "/.auth/verify/redirect",
            "/.auth/%76erify",
            "/.auth/verif%79/redirect",
            "/.auth/x/../verify",
            "/.auth/./verify",
            "/.auth//verify",
            "//.auth/verify",
            "/.AUTH/verify",
            "/.auth/verify;x",
            "/.auth/verify/ext_authz/public/x",
            "/x/../.auth/verify",
            "/portcullis/verify",
        ] {
            for cookie in [Some(cookie), None] {
                self.scene.upstream.forget();
                let mut question = Client::new(url).named(APP).request("GET", path).headers(&[
                    ("X-Original-Method", "GET"),
                    ("X-Original-URL", "https://app.example.com/public/x"),
                    ("Sec-Fetch-Mode", "cors"),
                ]);
                if let Some(cookie) = cookie {
                    question = question.header("Cookie", cookie);
                }
                let answer = question.send();
                let head = String::from_utf8_lossy(&answer.head.raw).to_lowercase();
                assert!(!head.contains("x-portcullis-") && !head.contains("x-forwarded-"), "{path}: {head}");
                // A path that is not ours may be the application's, for who may see it.
                let is_asked = self.scene.upstream.count() == 1 && cookie.is_some();
                assert!((400..500).contains(&answer.status) || is_asked, "{path} {}: {head}", cookie.is_some());
            }
        }
    }
}

/// A self-signed certificate, in the files that the shipped configs name, and in one file for those that want that.
fn certificate(folder: &Path) -> PathBuf {
    let made = rcgen::generate_simple_self_signed([APP.to_owned()]).expect("a certificate can be made");
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let path = folder.join("fullchain.pem");
    std::fs::write(&path, &chain).expect("a file can be written");
    std::fs::write(folder.join("privkey.pem"), &key).expect("a file can be written");
    std::fs::write(folder.join("app.example.com.pem"), chain + &key).expect("a file can be written");
    path
}
