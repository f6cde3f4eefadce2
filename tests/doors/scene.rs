//! Two gateways with one set of rules, keys and people: one that visitors come to, and one that proxies ask; and what an upstream behind
//! either came to see.

use std::collections::HashMap;

use portcullis::demo::provider::{Client as Registered, Person, ProviderOptions, Redirects, SigningAlgorithm};
use serde_json::{Value, json};

use crate::cases::{API, APP, Case, Outcome, Who};
use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::provider::{CLIENT_ID, CLIENT_SECRET, Provider};
use crate::support::upstream::{Recorded, Upstream};
use crate::support::{SESSION_KEY, free_port};
use crate::tokens::{self, Mint, Token};

const OTHER_KEY: &str = "HxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgsMDQ4";

const ROUTES: &str = r#"
routes = [
  { path = "/*", methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], allow = "signed-in", upstream = "app" },
  { path = "/public/*", allow = "everyone", upstream = "app" },
  { path = "/admin/*", allow = { roles = ["admin"] }, upstream = "app" },
  { path = "/admin/open", allow = "everyone", upstream = "app" },
  { path = "/staff/*", allow = { groups = ["staff"] }, upstream = "app" },
  { path = "/mail/*", allow = { email_domains = ["example.com"] }, upstream = "app" },
  { path = "/both/*", allow = { groups = ["staff"], roles = ["admin"] }, upstream = "app" },
  { path = "/nobody/*", allow = { groups = ["nobody"] }, upstream = "app" },
  { path = "/other-provider/*", allow = { emails = ["carol@example.com"] }, upstream = "app" },
  { path = "/token/*", allow = "signed-in", upstream = "token" },
  { path = "/strip/*", allow = "signed-in", upstream = "app", strip_prefix = "/strip" },
  { path = "/locker/*", allow = "signed-in", upstream = "app", rewrite = "/lockers/{claims.locker}/*" },
  { path = "/submit", allow = "signed-in", upstream = "app" },
  { path = "/submit", methods = ["POST"], allow = { roles = ["admin"] }, upstream = "app" },
  { path = "/read/*", methods = ["GET"], allow = "everyone", upstream = "app" },
  { path = "/api/*", allow = "signed-in", signed_out = "401", upstream = "app" },
  { path = "/legacy/*", allow = "signed-in", upstream = "app", encoded_slash = true, path_parameters = true, empty_segments = true },
  { path = "/legacy/admin/*", allow = { roles = ["admin"] }, upstream = "app", encoded_slash = true, path_parameters = true, empty_segments = true },
  { path = "/guarded/*", allow = "signed-in", upstream = "app", csrf = "same-origin" },
  { path = "/with-token/*", allow = "signed-in", upstream = "app", csrf = "token" },
  { path = "/shared/*", allow = "signed-in", upstream = "app", cors = { origins = ["https://front.example.com"] } },
  { host = "api.example.com", path = "/*", allow = { roles = ["admin"] }, upstream = "app" },
  { host = "api.example.com", path = "/open/*", allow = "everyone", upstream = "app" },
  { host = "api.example.com", path = "/only/*", methods = ["GET"], allow = { roles = ["admin"] }, upstream = "app" },
"#;

/// The parts that every door has.
pub(crate) struct Scene {
    /// What visitors come to; trusts nobody.
    pub(crate) gateway: Gateway,
    /// What proxies ask; trusts 127.0.0.1.
    pub(crate) asked: Gateway,
    /// Where it is asked over gRPC.
    pub(crate) ext_authz: u16,
    /// The config of the first, as its operator wrote it.
    pub(crate) config: String,
    /// What is behind all doors.
    pub(crate) upstream: Upstream,
    provider: Provider,
    mint: Mint,
    cookies: HashMap<(Who, &'static str), String>,
}

fn config(provider: &Provider, upstream: &Upstream) -> GatewayConfig {
    GatewayConfig::new(&format!("https://{APP}"))
        .client(provider.issuer(), CLIENT_ID, CLIENT_SECRET)
        .top(&format!("{ROUTES}{}]", tokens::ROUTES))
        .raw(tokens::SETTINGS)
        .upstream("app", &upstream.url())
        .raw(&format!("[upstreams.token]\nurl = {:?}\ntoken = \"access_token\"", upstream.url()))
}

impl Scene {
    /// Starts everything, and has people sign in.
    pub(crate) fn start() -> Self {
        let provider = provider();
        let upstream = Upstream::start();
        let config = config(&provider, &upstream);
        let ext_authz = free_port();
        let gateway = config.start();
        let asked = config
            .clone()
            .listen_line(&format!("ext_authz = [\"127.0.0.1:{ext_authz}\"]"))
            .raw("[trusted_proxies]\nnetworks = [\"127.0.0.1\"]")
            .start();
        let mut scene = Self {
            gateway,
            asked,
            ext_authz,
            config: config.text(),
            upstream,
            provider,
            mint: Mint::new(),
            cookies: HashMap::new(),
        };
        scene.sign_everybody_in(&config);
        scene.upstream.forget();
        scene
    }

    fn sign_everybody_in(&mut self, config: &GatewayConfig) {
        for host in [APP, API] {
            let alice = cookies(&self.gateway, "alice", host);
            let bob = cookies(&self.gateway, "bob", host);
            self.cookies.insert((Who::Bob, host), bob);
            let middle = alice.len() / 2;
            let other = if alice.as_bytes()[middle] == b'A' { "B" } else { "A" };
            let tampered = format!("{}{other}{}", &alice[..middle], &alice[middle + 1..]);
            self.cookies.insert((Who::Tampered, host), tampered);
            let (name, value) = alice.split_once('=').expect("a cookie has a value");
            self.cookies.insert((Who::Twice, host), format!("{name}={value}; {name}=x{value}"));
            self.cookies.insert((Who::Garbage, host), format!("{name}=garbage"));
            self.cookies.insert((Who::AliceElsewhere, if host == APP { API } else { APP }), alice.clone());
            self.cookies.insert((Who::Alice, host), alice);
            let ended = cookies(&self.gateway, "alice", host);
            for gateway in [&self.gateway, &self.asked] {
                let out = Client::new(gateway.url())
                    .named(host)
                    .request("POST", "/.auth/logout")
                    .headers(&[
                        ("Cookie", &ended),
                        ("Origin", &format!("https://{host}")),
                        ("Sec-Fetch-Site", "same-origin"),
                    ])
                    .send();
                assert!(out.status < 400, "{}", out.text());
            }
            self.cookies.insert((Who::Ended, host), ended);
        }
        let other = config.clone().keys(&[OTHER_KEY]).start();
        assert_ne!(OTHER_KEY, SESSION_KEY);
        self.cookies.insert((Who::OtherKey, APP), cookies(&other, "alice", APP));
    }

    /// The `Cookie` of somebody at a host, as that host is known to us.
    pub(crate) fn cookie(&self, who: Who, host: &str) -> Option<&str> {
        if who == Who::Nobody {
            return None;
        }
        let host = if host.to_ascii_lowercase().starts_with("api.") { API } else { APP };
        let known = self.cookies.iter().find(|((known, at), _)| *known == who && *at == host);
        Some(known.unwrap_or_else(|| panic!("{who:?} has no cookie at {host}")).1)
    }

    /// What a token says.
    pub(crate) fn token_claims(&self, token: Token) -> Value {
        self.mint.claims(&self.provider, token)
    }

    /// The headers of a case beside `Host`.
    pub(crate) fn headers(&self, case: &Case) -> Vec<(String, String)> {
        // One line of cookies, as browsers send them over HTTP/1.1.
        let mut cookies: Vec<&str> =
            case.headers.iter().filter(|(name, _)| *name == "Cookie").map(|(_, value)| *value).collect();
        cookies.extend(self.cookie(case.who, case.host));
        let cookie = (!cookies.is_empty()).then(|| ("Cookie".to_owned(), cookies.join("; ")));
        let said = case.headers.iter().filter(|(name, _)| *name != "Cookie");
        let said = said.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let token = case.token.map(|token| self.mint.headers(&self.provider, token, case)).unwrap_or_default();
        said.chain(cookie).chain(token).collect()
    }
}

fn provider() -> Provider {
    let here = vec![format!("https://{APP}"), format!("https://{API}")];
    let provider = Provider::start_with(ProviderOptions {
        clients: vec![Registered {
            redirects: Redirects::LoopbackOr(here.clone()),
            post_logout: Redirects::LoopbackOr(here),
            ..Registered::development(CLIENT_ID, CLIENT_SECRET)
        }],
        signing: SigningAlgorithm::Es256,
        ..ProviderOptions::default()
    });
    for (name, who) in [("alice", Who::Alice), ("bob", Who::Bob)] {
        provider.control().put_person(Person::new(name, claims_of(who).expect("they are somebody")));
    }
    provider
}

/// What the provider says of who is signed in; nothing when nobody is.
pub(crate) fn claims_of(who: Who) -> Option<Value> {
    match who {
        Who::Alice => Some(json!({"sub": "alice", "preferred_username": "alice", "email": "alice@example.com",
            "email_verified": true, "roles": ["user", "admin"], "groups": ["staff"]})),
        Who::Bob => Some(json!({"sub": "bob", "preferred_username": "bob", "email": "bob@example.com",
            "email_verified": false, "roles": ["user"]})),
        _ => None,
    }
}

fn cookies(gateway: &Gateway, user: &str, host: &str) -> String {
    let mut browser = Browser::new();
    let origin = format!("https://{host}");
    browser.reach(&origin, gateway.url());
    let page = browser.sign_in(user, &format!("{origin}/.auth/me"));
    assert_eq!(page.response.status, if page.url.path() == "/.auth/me" { 401 } else { 200 }, "{}", page.text());
    browser.sign_in(user, &format!("{origin}/.auth/login"));
    let kept = browser.jar.field(&format!("{origin}/").parse().expect("a URL"));
    kept.unwrap_or_else(|| panic!("{user} has no session at {host}:\n{}", gateway.logs()))
}

/// What a visitor was told, and what an upstream came to see.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    /// The lines of `WWW-Authenticate`.
    pub(crate) challenges: Vec<String>,
    pub(crate) upstream: Vec<Dressed>,
}

/// A request as an upstream sees it.
#[derive(Clone, Debug)]
pub(crate) struct Dressed {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl From<&Recorded> for Dressed {
    fn from(request: &Recorded) -> Self {
        Self { method: request.method.clone(), target: request.target.clone(), headers: request.head.headers.clone() }
    }
}

impl Dressed {
    fn all(&self, name: &str) -> Vec<&str> {
        let fold = |text: &str| text.to_ascii_lowercase().replace(['_', '.'], "-");
        self.headers.iter().filter(|(known, _)| fold(known) == fold(name)).map(|(_, value)| value.as_str()).collect()
    }
}

/// What is wrong, if anything is.
pub(crate) fn complaint(case: &Case, seen: &Seen) -> Option<String> {
    let wrong =
        |what: String| Some(format!("{}: expected {:?}, {what}\n    seen: {seen:?}", case.name(), case.expected));
    if !case.expected.statuses().contains(&seen.status) {
        return wrong(format!("got {}", seen.status));
    }
    let told = |challenge: &String| case.challenge.iter().all(|part| challenge.contains(part));
    if !case.challenge.is_empty() && !matches!(seen.challenges.as_slice(), [only] if told(only)) {
        return wrong(format!("and it should be told {:?}", case.challenge));
    }
    let Outcome::Pass(who) = case.expected else {
        return if seen.upstream.is_empty() { None } else { wrong("and the upstream was asked".to_owned()) };
    };
    let [request] = seen.upstream.as_slice() else { return wrong("and the upstream was not asked once".to_owned()) };
    let target = case.target.split('#').next().unwrap_or_default();
    let stripped = target.strip_prefix("/strip").unwrap_or(target);
    if request.method != case.method || (request.target != target && request.target != stripped) {
        return wrong("and it is another request".to_owned());
    }
    let expected: Vec<&str> = who.into_iter().collect();
    if request.all("x-forwarded-preferred-username") != expected || request.all("x-forwarded-user") != expected {
        return wrong("and the upstream is told of somebody else".to_owned());
    }
    let groups: &[&str] = if who == Some("alice") { &["staff"] } else { &[] };
    if request.all("x-forwarded-groups") != groups {
        return wrong("and the upstream is told of other groups".to_owned());
    }
    let forged = ["root", "6.6.6.6", "forged", "portcullis="];
    let told = request.headers.iter().find(|(_, value)| forged.iter().any(|forged| value.contains(forged)));
    if let Some((name, value)) = told {
        return wrong(format!("and the upstream sees {name}: {value}"));
    }
    let token = request.all("authorization").first().is_some_and(|value| value.starts_with("Bearer "));
    if token != case.leaves_a_token() || !request.all("dpop").is_empty() {
        return wrong("and the upstream sees another token".to_owned());
    }
    let kept = case.headers.iter().find(|(name, _)| *name == "Cookie").map(|(_, value)| *value);
    // Upstreams take each byte of a header for one character.
    let read = |text: &str| text.bytes().map(char::from).collect::<String>();
    let are_kept = match (request.all("cookie").as_slice(), kept) {
        ([], None) => true,
        ([seen], Some(kept)) => *seen == kept || *seen == read(kept),
        _ => false,
    };
    if !are_kept {
        return wrong("and the upstream sees other cookies".to_owned());
    }
    None
}

/// Asks every case of the table through one door, and tells all that came out otherwise than expected.
pub(crate) fn run(door: crate::cases::Door, mut ask: impl FnMut(&Case) -> Seen) {
    let cases = crate::cases::all();
    assert!(cases.len() >= 120, "the table has only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let case = &case.seen_from(door);
        let seen = ask(case);
        let itself = case.by_itself.iter().find(|(known, _)| *known == door);
        match itself {
            // Never laxer: whatever the proxy says by itself, the upstream is not asked.
            Some((_, status)) if seen.status == *status && seen.upstream.is_empty() => {}
            Some((_, status)) => {
                wrong.push(format!("{}: {door:?} says {status} by itself; seen: {seen:?}", case.name()));
            }
            None => wrong.extend(complaint(case, &seen)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
