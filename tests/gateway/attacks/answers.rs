//! The way back: what an upstream's answer may do to a browser, to caches and to us. Belongs to classes 2, 4 and 30.

use super::Arena;
use crate::support::answer::{Answer, Ending};
use crate::support::client::Response;

fn ask(arena: &Arena, cookie: &str, head: &str) -> Response {
    let raw = format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: 2\r\n\r\nok");
    arena.upstream.on("/app/scripted", Answer::raw(raw, Ending::KeepOpen));
    let answer = arena.get("/app/scripted").header("Cookie", cookie).send();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    answer
}

#[test]
fn class_02_hop_by_hop_headers_of_an_answer_end_here() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    let answer = ask(
        &arena,
        &alice,
        "Connection: keep-alive, X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=1\r\nProxy-Connection: close\r\n\
         Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTE: trailers\r\nTrailer: X-T\r\nX-Kept: 1",
    );
    for name in ["x-private", "keep-alive", "proxy-connection", "proxy-authenticate", "upgrade", "te", "trailer"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.header("x-kept"), Some("1"));
    assert!(!answer.head.lists("connection", "x-private"));
}

/// An upstream can't have removed what protects the browser from it, nor what is ours.
#[test]
fn class_02_an_answer_cannot_name_what_protects_in_connection() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    let named = "Cache-Control, Set-Cookie, Content-Security-Policy, X-Frame-Options, Content-Type, Vary";
    let answer = ask(
        &arena,
        &alice,
        &format!(
            "Connection: {named}, Content-Length, Transfer-Encoding\r\nCache-Control: no-store\r\nSet-Cookie: a=b\r\n\
             Content-Security-Policy: default-src 'none'\r\nX-Frame-Options: DENY\r\nContent-Type: text/plain\r\nVary: Cookie"
        ),
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("set-cookie"), Some("a=b"));
}

#[test]
fn class_04_an_upstream_cannot_set_change_or_end_our_session() {
    let arena = Arena::new();
    let browser = arena.browser("alice");
    let alice = super::cookie_of(&browser, arena.gateway.url());
    let name = alice.split('=').next().expect("a name").to_owned();
    let forged = [
        format!("{name}=forged; Path=/"),
        format!("{name}=; Max-Age=0"),
        format!("{}=forged", name.to_ascii_uppercase()),
        format!("={name}=forged"),
        format!("{name} =forged"),
        format!(" \t{name}=forged"),
        format!("\"{name}\"=forged"),
        name.clone(),
        format!("{name}.0=forged; Domain=example.com"),
        format!("{name}.1=forged"),
        format!("{name}.007=forged"),
        format!("{name}-flow-x=forged"),
        format!("{}=forged", name.replace('o', "%6F")),
    ];
    let fields: Vec<String> = forged.iter().map(|value| format!("Set-Cookie: {value}")).collect();
    let answer =
        ask(&arena, &alice, &format!("Set-Cookie: app=1\r\n{}\r\nSet-Cookie: theme=dark", fields.join("\r\n")));
    let left = answer.head.all("set-cookie");
    assert_eq!(left, ["app=1", "theme=dark"]);
    assert_eq!(arena.get("/app/x").header("Cookie", &alice).send().status, 200);
}

/// Ours, under every disguise, stays out of what an upstream sees.
#[test]
fn class_04_an_upstream_never_sees_our_cookies() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    let (name, value) = alice.split_once('=').expect("a cookie");
    for field in [
        format!("a=1; {alice}; b=2"),
        format!("a=1; {alice}; b=2; {}={value}", name.to_ascii_uppercase()),
        format!("a=1; b=2; {alice}; ={name}={value}"),
        format!("a=1;b=2;{alice};\"{name}\"={value}"),
        format!("a=1; {alice}; {name}.7={value}; b=2"),
        format!("a=1; {alice}; {}={value}; b=2", name.replace('o', "%6f")),
    ] {
        arena.upstream.forget();
        let answer = arena.get("/public/x").header("Cookie", &field).send();
        assert_eq!(answer.status, 200);
        let seen = arena.upstream.only_request();
        assert!(!seen.mentions(value), "{field}: {:?}", seen.header("cookie"));
        let kept = seen.header("cookie").unwrap_or_default().replace(' ', "");
        assert!(kept.contains("a=1") && kept.contains("b=2"), "{kept}");
    }
}

/// `Cookie` is not `Authorization`: a shared cache would keep what was made for one person.
#[test]
fn class_30_what_is_made_for_one_person_is_private() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    let plain = ask(&arena, &alice, "Content-Type: text/html");
    assert_eq!(plain.head.all("cache-control"), ["private"]);
    for said in ["Cache-Control: no-store", "Cache-Control: public, max-age=60", "Expires: 0", "Pragma: no-cache"] {
        let answer = ask(&arena, &alice, said);
        let (name, value) = said.split_once(": ").expect("a field");
        assert_eq!(answer.head.all(name), [value], "the upstream's own word stands");
    }
    // Without a person there is nothing to keep, and what sends to sign in is never kept.
    let public = arena.get("/public/x").send();
    assert_eq!(public.header("cache-control"), None);
    for target in ["/app/x", "/app/style.css", "/app/x/y.js?z=1"] {
        let answer = arena.get(target).header("Accept", "text/html").send();
        assert_eq!(answer.status, 302);
        assert!(answer.header("cache-control").is_some_and(|value| value.contains("no-store")), "{target}");
    }
}

#[test]
fn what_an_upstream_answers_goes_on_as_it_is() {
    let arena = Arena::new();
    for status in [201, 204, 206, 301, 304, 400, 404, 418, 429, 500, 503] {
        arena
            .upstream
            .on("/public/status", Answer::status(status).header("X-Own", "1").header("Location", "/elsewhere"));
        let answer = arena.get("/public/status").send();
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-own"), Some("1"));
        assert_eq!(answer.header("location"), Some("/elsewhere"), "an upstream's own redirects are its own");
        assert!(answer.body.is_empty(), "{status}: {}", answer.text());
    }
}

#[test]
fn ranges_heads_and_conditions_go_through() {
    let arena = Arena::new();
    arena.upstream.on(
        "/public/part",
        Answer::body("cde").with_status(206).header("Content-Range", "bytes 2-4/10").header("ETag", "\"x\""),
    );
    let fields =
        [("Range", "bytes=2-4"), ("If-Range", "\"x\""), ("If-None-Match", "\"y\""), ("Accept-Encoding", "br, gzip")];
    let part = arena.get("/public/part").headers(&fields).send();
    assert_eq!((part.status, part.text().as_str()), (206, "cde"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(part.header("etag"), Some("\"x\""));
    let seen = arena.upstream.only_request();
    for (name, value) in fields {
        assert_eq!(seen.head.all(name), [value]);
    }

    arena.upstream.on("/public/large", Answer::body("x".repeat(12_345)));
    let head = arena.request("HEAD", "/public/large").send();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("12345"), 0));
    assert_eq!(arena.upstream.last_request().method, "HEAD");
    // The next request on the same connection is not taken for the body that HEAD doesn't have.
    let bytes = "HEAD /public/large HTTP/1.1\r\nHost: HOST\r\n\r\n".replace("HOST", arena.host());
    let mut stream = arena.gateway.client().connect();
    let next = bytes.replace("HEAD /public/large", "GET /public/next");
    std::io::Write::write_all(&mut stream, format!("{bytes}{next}").as_bytes()).expect("the gateway takes bytes");
    let mut reader = crate::support::wire::Reader::new(stream);
    let first = crate::support::client::read_response(&mut reader, "HEAD").expect("an answer to HEAD");
    assert_eq!(first.status, 200);
    let second = crate::support::client::read_response(&mut reader, "GET").expect("an answer to GET");
    assert_eq!(second.json()["target"], "/public/next");
}

/// Where a status says that nothing follows no length does (RFC 9110, section 8.6), and where it has no name none is made up.
#[test]
fn a_status_says_no_more_than_it_means() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    let ask = |method: &str, raw: &str| {
        arena.upstream.on("/app/scripted", Answer::raw(raw.to_owned(), Ending::KeepOpen));
        arena.gateway.client().request(method, "/app/scripted").header("Cookie", &alice).send()
    };
    for method in ["GET", "HEAD"] {
        let empty = ask(method, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
        assert_eq!((empty.status, empty.header("content-length")), (204, None), "{method}");
    }
    // It has to say what it asks for.
    let other = ask(
        "GET",
        "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!((other.status, other.header("upgrade")), (426, Some("websocket")));
    let h2c =
        ask("GET", "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((h2c.status, h2c.header("upgrade")), (426, None));
    let odd = ask("GET", "HTTP/1.1 600 Odd\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!((odd.head.first_line.trim_end(), odd.text().as_str()), ("HTTP/1.1 600", "ok"));
}
