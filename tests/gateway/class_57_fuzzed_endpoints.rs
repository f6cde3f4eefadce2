//! Attack 57 and row 12: every endpoint, asked in every odd way. Each gets an answer that is no 500 and no session, the process lives,
//! and its memory stays flat.

use std::fmt::Write as _;

use crate::sign_ins::SignIns;
use crate::support::client::{Client, Response};

/// What all of it together may add to the gateway's memory, in KiB.
const SLACK: u64 = 32 * 1024;

const PATHS: &[&str] = &[
    "/.auth/login",
    "/.auth/login/corp",
    "/.auth/callback/corp",
    "/.auth/logout",
    "/.auth/signed-out",
    "/.auth/me",
    "/.auth",
    "/.auth/",
    "/.auth/callback/",
    "/.auth/callback/nobody",
    "/.auth/login/nobody",
    "/.auth/callback/corp/more",
];

fn queries() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        "&",
        "?&",
        "&&&&",
        "=",
        "==",
        "=&=",
        "&=&",
        "?",
        "??",
        "state",
        "state=",
        "=x",
        "code",
        "code=&state=",
        "error",
        "error=",
        "state=a&state=b",
        "state=a&state=a",
        "code=a&code=b&state=c",
        "code=a&state=b&iss=c&iss=d",
        "error=a&error=b&state=c",
        "return_to=/a&return_to=/b",
        "login_hint=a&login_hint=b",
        "prompt=none&prompt=login",
        "st%61te=a&state=b",
        "state=%",
        "state=%z",
        "state=%zz",
        "state=%u0041",
        "state=%ff%fe",
        "state=%c0%af",
        "state=%00",
        "state=%0d%0aX:%20y",
        "%00=%00",
        "%=%",
        "state=a;code=b",
        "state[]=a",
        "state[0]=a&state[1]=b",
        "{\"state\":1}",
        "state=99999999999999999999999999",
        "state=-1",
        "state=1e300",
        "state=NaN",
        "code=x&state=y&error=z",
        "iss=",
        "iss=http://[::1",
        "return_to=//evil.example",
        "return_to=%2f%5cevil.example",
        "return_to=javascript:alert(1)",
        "return_to=%00",
        "login_hint=%0d%0a",
        "error=a&error_description=%3Cscript%3E",
        "logout_token=a&logout_token=b",
        "portcullis_again=1",
        "portcullis_again=1&portcullis_again=2",
    ]
    .map(str::to_owned)
    .to_vec();
    all.extend(long_queries());
    all
}

/// Many parameters, and long ones.
fn long_queries() -> [String; 5] {
    let mut many = String::new();
    for number in 0..2000 {
        write!(many, "p{number}=1&").expect("writing to a string can't fail");
    }
    [
        many,
        format!("{}=x", "n".repeat(20_000)),
        format!("state={}", "s".repeat(20_000)),
        "&".repeat(20_000),
        "%41".repeat(7000),
    ]
}

fn assert_harmless(what: &str, answer: &Response) {
    assert!((200..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
    for cookie in answer.head.all("set-cookie") {
        // A sign-in that begins has a flow's cookie; none of these may have a session's.
        assert!(!cookie.starts_with("portcullis="), "{what}: a session: {cookie}");
    }
    let location = answer.header("location").unwrap_or_default();
    assert!(!location.contains("evil.example/") && !location.starts_with("javascript"), "{what}: {location}");
    assert!(!answer.text().contains("<script>"), "{what}");
}

struct Fuzz {
    scene: SignIns,
    client: Client,
    host: String,
    before: u64,
}

fn fuzz() -> Fuzz {
    let scene = SignIns::start();
    scene.assert_accepted("warm");
    let client = scene.gateway.client();
    let host = scene.gateway.url().trim_start_matches("http://").to_owned();
    let before = scene.gateway.memory().peak;
    Fuzz { scene, client, host, before }
}

impl Fuzz {
    /// Sends these bytes; whatever answer comes is harmless. Whether one came.
    fn send(&self, what: &str, bytes: &[u8]) -> bool {
        let answer = self.client.raw(bytes);
        if let Ok(answer) = &answer {
            assert_harmless(what, answer);
        }
        answer.is_ok()
    }

    fn assert_unharmed(&self) {
        self.scene.assert_accepted("a good sign-in after all of it");
        let after = self.scene.gateway.memory().peak;
        assert!(after < self.before + SLACK, "memory grew from {} to {after} KiB", self.before);
        let logs = self.scene.gateway.logs();
        assert!(!logs.contains("panicked") && !logs.contains("RUST_BACKTRACE"), "{logs}");
    }
}

#[test]
fn odd_queries_get_harmless_answers() {
    let fuzz = fuzz();
    for path in PATHS {
        for query in queries() {
            let what: String = format!("GET {path}?{query}").chars().take(100).collect();
            let request = format!(
                "GET {path}?{query} HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\n\r\n",
                fuzz.host
            );
            assert!(fuzz.send(&what, request.as_bytes()), "{what}: no answer");
        }
    }
    fuzz.assert_unharmed();
}

#[test]
fn odd_forms_get_harmless_answers() {
    let fuzz = fuzz();
    let kinds =
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json", "text/plain", ""];
    for path in ["/.auth/callback/corp", "/.auth/logout", "/.auth/me", "/.auth/login"] {
        for (number, query) in queries().into_iter().enumerate() {
            let kind = kinds[if number % 2 == 0 { 0 } else { number % kinds.len() }];
            let what: String = format!("POST {path} {kind} {query}").chars().take(100).collect();
            let answer = fuzz.client.request("POST", path).header("Content-Type", kind).body(query.as_bytes()).send();
            assert_harmless(&what, &answer);
        }
        for body in [
            &b"state=\xff\xfe"[..],
            b"\x00\x01\x02",
            b"--x\r\n\r\n--x--",
            b"{\"state\":[[[[",
            b"state=a\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        ] {
            let request = fuzz.client.request("POST", path).header("Content-Type", kinds[0]).body(body);
            assert_harmless(path, &request.send());
        }
    }
    fuzz.assert_unharmed();
}

#[test]
fn a_megabyte_is_over_the_limit_wherever_it_stands() {
    let fuzz = fuzz();
    let long = "a".repeat(1 << 20);
    for path in PATHS {
        for request in [
            format!("GET {path}?state={long} HTTP/1.1\r\nHost: {}\r\n\r\n", fuzz.host),
            format!("GET {path}/{long} HTTP/1.1\r\nHost: {}\r\n\r\n", fuzz.host),
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: portcullis={long}\r\n\r\n", fuzz.host),
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{long}: x\r\n\r\n", fuzz.host),
            format!("{long} {path} HTTP/1.1\r\nHost: {}\r\n\r\n", fuzz.host),
        ] {
            let what: String = request.chars().take(60).collect();
            if let Ok(answer) = fuzz.client.raw(request.as_bytes()) {
                assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
            }
        }
        let posted = fuzz.client.request("POST", path).header("Content-Type", "application/x-www-form-urlencoded");
        if let Ok(answer) = posted.body(format!("state={long}")).try_send() {
            assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        }
    }
    fuzz.assert_unharmed();
}

#[test]
fn odd_methods_get_harmless_answers() {
    let fuzz = fuzz();
    for path in PATHS {
        for method in [
            "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "GeT", "PRI",
            "X", "FOO-BAR",
        ] {
            let answer = fuzz.client.request(method, &format!("{path}?code=a&state=b")).send();
            assert_harmless(&format!("{method} {path}"), &answer);
        }
    }
    for target in [
        "*",
        "http://",
        "http:///x",
        "//",
        "x",
        "/.auth/../app",
        "/.auth/%2e%2e/app",
        "/.auth//me",
        "/.auth/me;x=1",
        "/.auth%2fme",
        "/.AUTH/me",
    ] {
        for method in ["GET", "OPTIONS"] {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n\r\n", fuzz.host);
            fuzz.send(&format!("{method} {target}"), request.as_bytes());
        }
    }
    fuzz.assert_unharmed();
}

/// Bytes that are no HTTP at all, or half of it. The connection may end without a word; the process may not.
#[test]
fn junk_ends_a_connection_and_nothing_else() {
    let fuzz = fuzz();
    let mut junk: Vec<Vec<u8>> = vec![
        vec![0; 4096],
        vec![0xff; 4096],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET / \r\n\r\n".to_vec(),
        b"\r\n\r\n\r\n\r\n".to_vec(),
        format!("GET / HTTP/1.1\r\nHost: {}\r\nContent-Length: -1\r\n\r\n", fuzz.host).into(),
        format!("GET / HTTP/1.1\r\nHost: {}\r\nContent-Length: 99999999999999999999\r\n\r\n", fuzz.host).into(),
        format!(
            "POST /.auth/callback/corp HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            fuzz.host
        )
        .into(),
        format!("GET /.auth/me HTTP/1.1\r\nHost: {}\r\nCookie: \u{e9}=\u{e9}; portcullis=\u{e9}\r\n\r\n", fuzz.host)
            .into(),
    ];
    // A generator of our own, so that a failure can be repeated.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        let bytes = (0..64).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u8::try_from(state % 256).expect("below 256")
        });
        let mut request = b"GET /.auth/callback/corp?state=".to_vec();
        request.extend(bytes);
        request.extend(format!(" HTTP/1.1\r\nHost: {}\r\n\r\n", fuzz.host).into_bytes());
        junk.push(request);
    }
    for bytes in junk {
        let mut whole = bytes.clone();
        whole.extend_from_slice(b"\r\n\r\n");
        let what = format!("{:?}", String::from_utf8_lossy(&bytes).chars().take(80).collect::<String>());
        let stream = fuzz.client.connect_within(std::time::Duration::from_millis(300));
        let _closed_early = std::io::Write::write_all(&mut &stream, &whole);
        // An error, or nothing, is an end of the connection.
        let answer = crate::support::client::read_response(&mut crate::support::wire::Reader::new(stream), "GET");
        if let Ok(answer) = answer {
            assert_harmless(&what, &answer);
        }
    }
    fuzz.assert_unharmed();
}
