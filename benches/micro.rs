//! Micro-benchmarks of the steps that every request takes: open a session, find its route among 10,000, decide, dress; over HTTP/2
//! look at its frames.
//!
//! `cargo bench --bench micro`. Each line is the middle of many batches, in nanoseconds a call, with the least and the greatest
//! batch. Compare two versions on one quiet machine; for a figure that hardly moves, use `benches/instructions`.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, header};
use portcullis::base::clock::{Clock, Timestamp, instant};
use portcullis::base::random;
use portcullis::config::settings::{
    Allow, ApplicationSettings, Balance, Conditions, PathAllowances, PathPattern, RouteSettings, SessionSettings,
    SignedOut, StoreSettings, TokenSettings, UpstreamAddress, UpstreamKind, UpstreamProtocol, UpstreamSettings,
};
use portcullis::gate::decide::{Decision, decide};
use portcullis::gate::route::{Lookup, RouteTable};
use portcullis::http::path::CanonicalPath;
use portcullis::identity::headers::IdentityHeaders;
use portcullis::identity::principal::Principal;
use portcullis::policy::asker::Asker;
use portcullis::seal::keyring::Keyring;
use portcullis::server::guard::Guard;
use portcullis::session::cookie::{Reading, SessionCookies};
use portcullis::session::model::{Session, Tokens};
use serde_json::json;

type Outcome = Result<(), Box<dyn Error>>;

/// Batches whose middle is told.
const BATCHES: usize = 41;
/// How long a batch is to take.
const BATCH: Duration = Duration::from_millis(10);

const HOST: &str = "app.example.com";

fn main() -> Outcome {
    if !std::env::args().any(|word| word == "--bench") {
        // `cargo test` starts this too, and has no use for a measurement.
        return Ok(());
    }
    open_a_session()?;
    find_the_route()?;
    decide_by_a_rule()?;
    decide_by_fifty_rules()?;
    look_at_frames()?;
    dress()
}

/// Times `call` and tells the result.
fn measure<T>(name: &str, mut call: impl FnMut() -> T) -> Outcome {
    let mut calls: u32 = 1;
    let mut time = |calls: u32| {
        let started = instant();
        for _ in 0..calls {
            black_box(call());
        }
        started.elapsed()
    };
    // As many calls as fill a batch; finding that number warms everything up.
    while time(calls) < BATCH {
        calls = calls.saturating_mul(2);
    }
    let mut each: Vec<f64> = (0..BATCHES).map(|_| time(calls).as_secs_f64() * 1e9 / f64::from(calls)).collect();
    each.sort_by(f64::total_cmp);
    let at = |index: usize| each.get(index).copied().unwrap_or(f64::NAN);
    let (least, middle, greatest) = (at(0), at(BATCHES / 2), at(BATCHES - 1));
    Ok(writeln!(io::stdout(), "{name:<44} {middle:>10.1} ns  ({least:.1} to {greatest:.1})")?)
}

/// Whoever measures something else than they think should hear of it.
fn expect(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn open_a_session() -> Outcome {
    let now = Clock::System.now();
    let settings = SessionSettings {
        keys: Vec::new(),
        store: StoreSettings::Cookie,
        idle: Duration::from_hours(8),
        lifetime: Duration::from_hours(7 * 24),
        cookie_name: "portcullis".to_owned(),
        max_cookie_bytes: 16 * 1024,
        flow_lifetime: Duration::from_mins(10),
        refresh_ahead: None,
        refresh_grace: Duration::from_mins(1),
        cache: 8192,
    };
    let cookies = SessionCookies::new(Arc::new(Keyring::ephemeral()?), &settings, true);
    for (name, with_tokens) in [("claims alone", false), ("with tokens of 3 KiB", true)] {
        let session = session(now, with_tokens)?;
        let lines = cookies.write(&session, &HeaderMap::new(), HOST, now)?;
        let pairs: Vec<&str> = lines.iter().filter_map(|line| line.to_str().ok()?.split(';').next()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::try_from(format!("theme=dark; {}", pairs.join("; ")))?);
        expect(matches!(cookies.read(&headers, HOST, now), Reading::Open(_)), "the session does not open")?;
        measure(&format!("open a session, {name}"), || cookies.read(black_box(&headers), HOST, now))?;
        measure(&format!("seal a session, {name}"), || {
            cookies.write(black_box(&session), &HeaderMap::new(), HOST, now)
        })?;
    }
    Ok(())
}

fn find_the_route() -> Outcome {
    for count in [1, 10_000] {
        let mut routes = vec![route("/".to_owned(), Allow::SignedIn)];
        routes.extend((1..count).map(|number| route(format!("/teams/{number}/"), Allow::SignedIn)));
        let table = RouteTable::compile(&routes)?;
        let path = CanonicalPath::parse(&PathAndQuery::from_static("/teams/7919/boards/12?sort=name"))?;
        let found = table.lookup(HOST, &Method::GET, &path);
        expect(matches!(found, Lookup::Found { .. }), "no route is found")?;
        measure(&format!("find the route among {count}"), || {
            matches!(table.lookup(HOST, &Method::GET, black_box(&path)), Lookup::Found { .. })
        })?;
    }
    let target = PathAndQuery::from_static("/teams/7919/boards/12?sort=name");
    measure("read a path", || CanonicalPath::parse(black_box(&target)))
}

fn decide_by_a_rule() -> Outcome {
    let conditions = Conditions {
        roles: Some(vec!["owner".to_owned(), "admin".to_owned()]),
        groups: Some(vec!["engineering".to_owned()]),
        ..Conditions::default()
    };
    let rules = [("signed-in", Allow::SignedIn), ("role and group", Allow::AnyOf(vec![conditions]))];
    let alice = principal();
    for (name, allow) in rules {
        let table = RouteTable::compile(&[route("/".to_owned(), allow)])?;
        let found = table.find(HOST, &Method::GET, "/").ok_or("no route is found")?;
        let asker = Asker { principal: Some(&alice), ..Asker::NOBODY };
        expect(decide(found, &[], &asker) == Decision::Pass, "alice may not pass")?;
        measure(&format!("decide, {name}"), || decide(found, &[], black_box(&asker)))?;
    }
    Ok(())
}

/// The last of fifty tables admits, so all of them are looked at.
fn decide_by_fifty_rules() -> Outcome {
    let table = |number: usize| Conditions {
        roles: Some(vec![format!("role-{number}"), "auditor".to_owned()]),
        groups: Some(vec![format!("team-{number}")]),
        ..Conditions::default()
    };
    let last = Conditions { groups: Some(vec!["engineering".to_owned()]), ..Conditions::default() };
    let tables: Vec<Conditions> = (1..50).map(table).chain([last]).collect();
    let alice = principal();
    let routes = RouteTable::compile(&[route("/".to_owned(), Allow::AnyOf(tables))])?;
    let found = routes.find(HOST, &Method::GET, "/").ok_or("no route is found")?;
    let asker = Asker { principal: Some(&alice), ..Asker::NOBODY };
    expect(decide(found, &[], &asker) == Decision::Pass, "alice may not pass")?;
    measure("decide, fifty tables, the last admits", || decide(found, &[], black_box(&asker)))
}

fn dress() -> Outcome {
    let alice = principal();
    for identity in ["portcullis", "oauth2-proxy"] {
        let headers = IdentityHeaders::compile(&upstream(identity)?)?;
        measure(&format!("dress, preset {identity}"), || headers.render(black_box(&alice)))?;
    }
    Ok(())
}

fn principal() -> Principal {
    let claims =
        json!({ "locale": "en", "given_name": "Alice", "family_name": "Liddell", "zoneinfo": "Europe/Berlin" });
    Principal {
        provider: "corp".into(),
        issuer: "https://login.example.com/realms/corp".to_owned(),
        subject: "6f1d2c0e-5b2f-4f0a-9a0e-0d6f2f1f7c11".to_owned(),
        email: Some("alice@example.com".to_owned()),
        email_verified: true,
        preferred_username: Some("alice".to_owned()),
        name: Some("Alice Liddell".to_owned()),
        groups: vec!["staff".to_owned(), "engineering".to_owned()],
        roles: vec!["user".to_owned(), "admin".to_owned()],
        claims: claims.as_object().cloned().unwrap_or_default(),
        ..Principal::default()
    }
}

/// A session; `with_tokens` puts three of 1 KiB into it, which do not shrink, as real ones don't.
fn session(now: Timestamp, with_tokens: bool) -> Result<Session, Box<dyn Error>> {
    let token = || -> Result<Option<String>, Box<dyn Error>> {
        Ok(if with_tokens { Some(URL_SAFE_NO_PAD.encode(random::bytes::<768>()?)) } else { None })
    };
    Ok(Session {
        id: [7; 16],
        version: 0,
        principal: principal(),
        tokens: Tokens {
            access_token: token()?,
            access_expires: Some(now.after(Duration::from_mins(5))),
            refresh_token: token()?,
            id_token: token()?,
        },
        obtained: now,
        nonce: None,
        created: now,
        used: now,
        authenticated: Some(now),
        provider_session: Some("c0ffee".to_owned()),
        asked: portcullis::policy::wanted::Wanted::default(),
        round: 0,
    })
}

fn route(below: String, allow: Allow) -> RouteSettings {
    RouteSettings {
        name: below.as_str().into(),
        host: None,
        path: PathPattern::Below(below),
        methods: None,
        allow,
        deny: Vec::new(),
        report_only: false,
        signed_out: SignedOut::Auto,
        upstream: 0,
        rewrite: None,
        allowances: PathAllowances::default(),
        body_bytes: None,
        bearer: Vec::new(),
        retry_unauthorized: false,
        cors: None,
        csrf: None,
    }
}

fn upstream(identity: &str) -> Result<UpstreamSettings, Box<dyn Error>> {
    Ok(UpstreamSettings {
        name: "app".into(),
        kind: UpstreamKind::Application(Box::new(ApplicationSettings {
            addresses: vec![UpstreamAddress::Web(url::Url::parse("http://127.0.0.1:3000/")?)],
            balance: Balance::LeastRequests,
            health: None,
            eject_after: None,
            eject_for: Duration::from_secs(5),
            protocol: UpstreamProtocol::Auto,
            pass_host: false,
            ca: None,
            client_certificate: None,
            server_name: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_mins(1),
            max_idle: 256,
            max_requests: None,
            client_cert_header: false,
        })),
        identity: identity.to_owned(),
        headers: Vec::new(),
        token: TokenSettings::None,
        assertion: None,
    })
}

/// A request of fifteen fields as a browser sends it again and again: two are written out, the others stand in the tables.
fn look_at_frames() -> Outcome {
    let mut guard = Guard::new(true);
    let entry = literal(0x40, &[b"x-a-field-of-a-browser", &[b'v'; 30]]);
    let (path, cookie) = (literal(0x04, &[&[b'p'; 40]]), literal(0x00, &[b"cookie", &[b'c'; 100]]));
    let known = [0xbe, 0xbf, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8];
    let (entries, again) = (entry.repeat(13), [&[0x82, 0x87][..], &path, &known, &cookie].concat());
    let frame = |block: &[u8]| -> Result<Vec<u8>, Box<dyn Error>> {
        let [_, _, high, low] = u32::try_from(block.len())?.to_be_bytes();
        Ok([&[0, high, low, 1, 5, 0, 0, 0, 1], block].concat())
    };
    let mut first = frame(&entries)?;
    let mut next = frame(&again)?;
    if guard.inspect(&mut first) != first.len() {
        return Err("the first request is not let pass".into());
    }
    let mut stream: u32 = 1;
    let mut ask = || {
        stream = (stream + 2) & 0x7fff_ffff;
        if let Some(number) = next.get_mut(5..9) {
            number.copy_from_slice(&stream.to_be_bytes());
        }
        guard.inspect(&mut next)
    };
    if ask() == 0 {
        return Err("the next request is not let pass".into());
    }
    measure("look at a request over HTTP/2", ask)?;
    let mut guard = Guard::new(true);
    let mut data = vec![b'x'; 9 + 16_384];
    if let Some(header) = data.get_mut(..9) {
        header.copy_from_slice(&[0, 0x40, 0, 0, 0, 0, 0, 0, 1]);
    }
    measure("look at 16 KiB of a body over HTTP/2", || guard.inspect(&mut data))
}

/// A field that is written out, by its first byte and its texts, each shorter than 127 bytes (RFC 7541, section 6.2).
fn literal(first: u8, texts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![first];
    for text in texts {
        bytes.push(u8::try_from(text.len()).unwrap_or(0));
        bytes.extend_from_slice(text);
    }
    bytes
}
