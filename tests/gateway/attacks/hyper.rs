//! What the HTTP library lets in and a gateway must not: each line of the table that was measured on it, and what it refuses itself.

use super::Arena;

/// Sends each of these, in which `HOST` stands for the gateway's own host.
#[track_caller]
fn assert_all_refused(arena: &Arena, requests: &[&str], statuses: &[u16]) {
    for request in requests {
        let answer = arena.raw(request);
        assert!(statuses.contains(&answer.status), "{request:?}: {} {}", answer.status, answer.text());
    }
    arena.assert_nothing_passed("a malformed request");
}

#[test]
fn hyper_table_there_is_exactly_one_valid_host() {
    let arena = Arena::new();
    assert_all_refused(
        &arena,
        &[
            "GET /public/x HTTP/1.1\r\n\r\n",
            "GET /public/x HTTP/1.0\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost: HOST\r\nhost: evil.example\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost: HOST, HOST\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost: a b@c/d\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost:\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost: user@HOST\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost: HOST/\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost: HOST;x=y\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost: \"HOST\"\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost: HOST:99999\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nHost : HOST\r\n\r\n",
            "GET /public/x HTTP/1.1\r\n Host: HOST\r\n\r\n",
            "GET /public/x HTTP/1.1\r\nH_ost: x\r\n\r\n",
        ],
        &[400],
    );
}

#[test]
fn hyper_table_absolute_form_has_to_agree_with_the_host() {
    let arena = Arena::new();
    assert_all_refused(
        &arena,
        &[
            "GET http://evil.example/public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET http://HOST/public/x HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "GET http://HOST/public/x HTTP/1.1\r\n\r\n",
            "GET http://evil.example/public/x HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "GET http://user@HOST/public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET ftp://HOST/public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET file:///etc/passwd HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET http:///public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET http:/public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
        ],
        &[400, 421],
    );
    let answer = arena.raw("GET http://HOST/public/x?y HTTP/1.1\r\nHost: HOST\r\n\r\n");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = arena.upstream.only_request();
    assert_eq!(seen.head.first_line, "GET /public/x?y HTTP/1.1", "a path goes on, never a URL");
    assert_eq!(seen.header("host"), Some(arena.host()));
}

#[test]
fn hyper_table_a_target_is_a_path_and_a_method_is_one() {
    let arena = Arena::new();
    assert_all_refused(
        &arena,
        &[
            "GET admin HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET elsewhere.example:80 HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "get /public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET ?x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n",
            "CONNECT /public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "TRACE /public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET /public/x HTTP/1.2\r\nHost: HOST\r\n\r\n",
            "GET /public/x HTTP/2.0\r\nHost: HOST\r\n\r\n",
            "GET /public/x\r\n\r\n",
            "GET  /public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "G\tET /public/x HTTP/1.1\r\nHost: HOST\r\n\r\n",
            "GET /public/<x> HTTP/1.1\r\nHost: HOST\r\n\r\n",
        ],
        &[400, 405],
    );
}

#[test]
fn hyper_table_there_is_at_most_one_transfer_coding_and_it_is_chunked() {
    let arena = Arena::new();
    for coding in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: cow, chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
        "Transfer-Encoding:",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 05",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 5, 5",
        "Content-Length: -5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 99999999999999999999999999",
    ] {
        let request = format!("POST /public/x HTTP/1.1\r\nHost: HOST\r\n{coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let answer = arena.raw(&request);
        assert!(matches!(answer.status, 400 | 501), "{coding:?}: {} {}", answer.status, answer.text());
    }
    assert_all_refused(
        &arena,
        &["POST /public/x HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
        &[400, 501],
    );
}

/// A refusal for framing ends the connection: nobody knows where the next request begins.
#[test]
fn hyper_table_a_message_framed_twice_ends_the_connection() {
    let arena = Arena::new();
    let next = "GET /public/next HTTP/1.1\r\nHost: HOST\r\n\r\n";
    for framing in [
        "Transfer-Encoding: cow, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: 05",
    ] {
        let request = format!("POST /public/x HTTP/1.1\r\nHost: HOST\r\n{framing}\r\n\r\n0\r\n\r\n{next}{next}");
        let answers = arena.answers(request.replace("HOST", arena.host()).as_bytes(), 3);
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [400], "{framing:?}");
        arena.assert_nothing_passed(framing);
    }
}

/// A length beside `chunked` is dropped by the library before anybody sees it, and the connection ends after the answer, which is
/// what RFC 9112, section 6.3 asks for at least.
#[test]
fn hyper_table_a_length_beside_chunked_is_dropped_and_ends_the_connection() {
    let arena = Arena::new();
    let next = "GET /public/next HTTP/1.1\r\nHost: HOST\r\n\r\n";
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 0\r\nTransfer-Encoding: Chunked",
    ] {
        arena.upstream.forget();
        let request =
            format!("POST /public/x HTTP/1.1\r\nHost: HOST\r\n{framing}\r\n\r\n3\r\nabc\r\n0\r\n\r\n{next}{next}");
        let answers = arena.answers(request.replace("HOST", arena.host()).as_bytes(), 3);
        assert_eq!(answers.len(), 1, "{framing:?}: the connection goes on");
        if answers[0].status == 200 {
            let seen = arena.upstream.only_request();
            assert_eq!(seen.body, b"abc", "{framing:?}");
            assert_eq!(seen.header("content-length"), None, "{framing:?}");
        } else {
            assert_eq!(answers[0].status, 400);
            arena.assert_nothing_passed(framing);
        }
    }
}

/// Two lengths that agree are one to the library; one goes on.
#[test]
fn hyper_table_two_equal_lengths_become_one() {
    let arena = Arena::new();
    let answer =
        arena.raw("POST /public/x HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello");
    if answer.status == 200 {
        let seen = arena.upstream.only_request();
        assert_eq!(seen.head.all("content-length"), ["5"]);
        assert_eq!(seen.body, b"hello");
    } else {
        assert_eq!(answer.status, 400);
        arena.assert_nothing_passed("two lengths");
    }
}

/// What is written anew loses its odd form; nothing odd goes on.
#[test]
fn hyper_table_odd_framing_that_is_harmless_is_written_anew() {
    let arena = Arena::new();
    let head = "POST /public/x HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n";
    for body in ["\r\n5 \r\nhello\r\n0\r\n\r\n", "\r\n5;ext=1\r\nhello\r\n0\r\n\r\n", "\r\n05\r\nhello\r\n00\r\n\r\n"] {
        let answer = arena.raw(&format!("{head}{body}"));
        if answer.status == 200 {
            let seen = arena.upstream.last_request();
            assert_eq!(seen.body, b"hello", "{body:?}");
            assert_eq!(seen.head.all("transfer-encoding"), ["chunked"]);
        } else {
            assert_eq!(answer.status, 400, "{body:?}");
        }
    }
    arena.upstream.forget();
    let answer = arena.raw("GET /public/x HTTP/1.1\nHost: HOST\nX-A: 1\nX_Forwarded_User: root\n\n");
    if answer.status == 200 {
        let seen = arena.upstream.only_request();
        let text = String::from_utf8_lossy(&seen.head.raw).into_owned();
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "a bare line end went on: {text:?}");
        assert!(!seen.mentions("root"));
    } else {
        assert_eq!(answer.status, 400);
        arena.assert_nothing_passed("bare line ends");
    }
}

#[test]
fn hyper_table_disguised_framing_headers_are_dropped() {
    let arena = Arena::new();
    let answer = arena
        .get("/public/x")
        .headers(&[
            ("Transfer_Encoding", "chunked"),
            ("Transfer.Encoding", "chunked"),
            ("Content_Length", "5"),
            ("CONTENT_LENGTH", "5"),
            ("Proxy_Connection", "close"),
            ("Keep_Alive", "1"),
        ])
        .send();
    assert_eq!(answer.status, 200);
    let seen = arena.upstream.only_request();
    for part in ["encoding", "ENCODING", "ength", "ENGTH", "Proxy", "proxy_", "eep"] {
        assert!(!seen.mentions(part), "{part}: {:?}", seen.head.headers);
    }
}

/// Bytes above ASCII are nobody's identity: they go on in a header of the client's own, or nowhere.
#[test]
fn hyper_table_values_above_ascii_do_no_harm() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    let mut request =
        format!("GET /app/x HTTP/1.1\r\nHost: {}\r\nCookie: {alice}\r\nX-Note: ", arena.host()).into_bytes();
    request.extend_from_slice(b"caf\xe9\xff\x80\r\nX-Forwarded-User: \xff\x80root\r\nUser-Agent: \xfe\r\n\r\n");
    let answer = arena.raw_bytes(&request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = arena.upstream.only_request();
    assert_eq!(seen.head.all("x-forwarded-user"), ["alice"]);
    assert_eq!(seen.head.all("x-note"), ["caf\u{e9}\u{ff}\u{80}"]);
}

#[test]
fn hyper_table_two_cookie_lines_become_one_without_ours() {
    let arena = Arena::new();
    let alice = arena.cookie("alice");
    let answer = arena.get("/app/x").headers(&[("Cookie", "a=1"), ("Cookie", &alice), ("Cookie", "b=2; c=3")]).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = arena.upstream.only_request();
    assert_eq!(seen.head.all("cookie"), ["a=1; b=2; c=3"]);
}

#[test]
fn hyper_table_a_get_may_have_a_body_and_it_is_framed_once() {
    let arena = Arena::new();
    let answer = arena.get("/public/x").body("GET /public/hidden HTTP/1.1\r\n\r\n").send();
    assert_eq!(answer.status, 200);
    let seen = arena.upstream.only_request();
    assert_eq!(seen.body, b"GET /public/hidden HTTP/1.1\r\n\r\n");
    assert_eq!(seen.head.all("content-length").len() + seen.head.all("transfer-encoding").len(), 1);
}

#[test]
fn hyper_table_too_many_or_too_large_headers_are_431() {
    let arena = Arena::new();
    let many = (0..101).fold(arena.get("/public/x"), |request, at| request.header(&format!("X-H{at}"), "1"));
    assert_eq!(many.send().status, 431);
    let large = arena.get("/public/x").header("X-Large", &"a".repeat(70 * 1024));
    assert_eq!(large.send().status, 431);
    arena.assert_nothing_passed("too much");
}

#[test]
fn hyper_table_what_the_library_refuses_itself_stays_refused() {
    let arena = Arena::new();
    let mut requests: Vec<Vec<u8>> = Vec::new();
    for line in [
        &b"X-A : 1"[..],
        b" X-A: 1",
        b"X-A: 1\r\n folded",
        b"X-A: 1\r\n\tfolded",
        b"X-A: a\rb",
        b"X-A: a\0b",
        b"X A: 1",
        b"X(A): 1",
        b"X\x00A: 1",
        b": 1",
        b"X-A",
        b"X\xc3\xa9: 1",
    ] {
        requests.push([b"GET /public/x HTTP/1.1\r\nHost: HOST\r\n", line, b"\r\n\r\n"].concat());
    }
    for body in
        ["+5\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "5;a\nb\r\nhello\r\n0\r\n\r\n"]
    {
        let head = "POST /public/x HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        requests.push(format!("{head}{body}").into_bytes());
    }
    for request in requests {
        let text: String = request.iter().map(|byte| char::from(*byte)).collect();
        let bytes: Vec<u8> =
            text.replace("HOST", arena.host()).chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
        let answers = arena.answers(&bytes, 1);
        assert!(answers.iter().all(|answer| answer.status >= 400), "{text:?}: {answers:?}");
        assert!(arena.upstream.requests().iter().all(|seen| !seen.whole), "{text:?} reached the upstream");
    }
}
