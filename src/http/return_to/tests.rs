//! The payloads of open-redirect attacks, each of which has to become the start page.

use proptest::prelude::*;

use super::*;

const PREFIX: &str = "/.auth";

fn own() -> SiteOrigin {
    SiteOrigin::new(&Url::parse("https://app.example.com").unwrap()).unwrap()
}

fn origins() -> Vec<Url> {
    ["https://shop.example.com", "http://localhost:5173"].iter().map(|url| Url::parse(url).unwrap()).collect()
}

fn parse(text: &str) -> ReturnTo {
    ReturnTo::parse(text, &origins(), &own(), PREFIX)
}

#[rustfmt::skip]
const PAYLOADS: &[&str] = &[
    // Another host by slashes and backslashes.
    "//evil.com", "///evil.com", "////evil.com", "/////evil.com", "//evil.com/", "//evil.com/%2f..", "//evil.com/%2e%2e",
    "/\\evil.com", "\\/evil.com", "\\\\evil.com", "\\evil.com", "/\\/evil.com", "/\\\\evil.com", "//\\evil.com", "\\//evil.com",
    "/\\/\\evil.com", "\\/\\/evil.com", "/ /evil.com", "/./\\evil.com", "/.\\evil.com", "/..\\evil.com", "//\\/evil.com",
    "/////", "//", "\\", "\\\\", "/\\", "//.", "//..", "///", "/\\.", "//@evil.com", "//evil.com:443", "//evil.com?x", "//evil.com#x",
    // Encoded slashes and backslashes.
    "/%2fevil.com", "/%2Fevil.com", "/%2f%2fevil.com", "/%2f/evil.com", "/%5cevil.com", "/%5Cevil.com", "/%5c%5cevil.com",
    "/%5c/evil.com", "/%2f%5cevil.com", "/%5c%2fevil.com", "%2f%2fevil.com", "%5c%5cevil.com", "/%252fevil.com", "/%255cevil.com",
    "/%252f%252fevil.com", "%2fevil.com", "/x%2f%5cevil.com", "/%2f", "/%5c", "/a%5c..%5c..%5cevil.com",
    // White space and control characters.
    "/\tevil.com", "/\t/evil.com", "\t//evil.com", " //evil.com", "/\n/evil.com", "/\r/evil.com", "/\r\n/evil.com", "\r\n//evil.com",
    "/\u{b}/evil.com", "/\u{c}/evil.com", "/\0/evil.com", "\0//evil.com", "/\u{7f}/evil.com", "/\u{85}/evil.com", "/\u{a0}/evil.com",
    "/%09/evil.com", "/%0a/evil.com", "/%0d/evil.com", "/%0b/evil.com", "/%00/evil.com", "/%0d%0a/evil.com", "/%09//evil.com",
    "/%0d%0aSet-Cookie:a=b", "/\r\nLocation: https://evil.com", "/x\r\nSet-Cookie: a=b", "/%20/evil.com", "%09//evil.com",
    "/%7f/evil.com", "/%c2%85/evil.com", "\u{feff}//evil.com", "/\u{feff}/evil.com", "/\u{200b}/evil.com", "/\u{2028}/evil.com",
    // Dot segments.
    "/..//evil.com", "/.//evil.com", "/../evil.com", "/../../evil.com", "/x/..//evil.com", "/%2e%2e//evil.com", "/%2e/%2e/evil.com",
    "/.%2e//evil.com", "/%2e.//evil.com", "/..;//evil.com", "/..%2fevil.com", "/..%5cevil.com", "/./evil.com", "/x/./../evil.com",
    "./evil.com", "../evil.com", "..//evil.com", ".//evil.com", "/.", "/..", "/...//evil.com", "/%252e%252e/evil.com",
    // Other schemes, and schemes without slashes.
    "javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", "java%0ascript:alert(1)", "javascript://%0aalert(1)",
    "javascript://app.example.com/%0aalert(1)", "/javascript:alert(1)\n", "data:text/html,x", "data:text/html;base64,eA==",
    "vbscript:msgbox(1)", "file:///etc/passwd", "ftp://evil.com", "ws://app.example.com/", "wss://app.example.com/",
    "blob:https://app.example.com/x", "about:blank", "mailto:a@evil.com", "view-source:https://evil.com", "jar:https://evil.com!/",
    "https:evil.com", "http:evil.com", "https:/evil.com", "https:///evil.com", "https:\\\\evil.com", "https:/\\evil.com",
    "https://\\evil.com", "http:app.example.com", "https:app.example.com/x", "https:/app.example.com/x", "HTTPS://evil.com",
    "://evil.com", ":evil.com", ":", "?", "#", "",
    // Other origins that look like ours.
    "https://evil.com", "http://evil.com/", "https://evil.com/app.example.com", "https://evil.com?app.example.com",
    "https://evil.com#app.example.com", "https://evil.com\\app.example.com", "https://evil.com\\.app.example.com",
    "https://app.example.com.evil.com", "https://app.example.com.evil.com/", "https://app.example.comevil.com",
    "https://app.example.com-evil.com/", "https://evil-app.example.com", "https://evilapp.example.com/", "https://x.app.example.com/",
    "https://example.com/", "https://app.example.co", "https://app.example.com./", "https://app.example.com..evil.com/",
    "https://app.example.com@evil.com", "https://app.example.com@evil.com/", "https://app.example.com:443@evil.com/",
    "https://app.example.com:x@evil.com/", "https://app.example.com%40evil.com", "https://app.example.com%2eevil.com",
    "https://app.example.com%00.evil.com/", "https://app.example.com%09.evil.com", "https://app.example.com\\@evil.com",
    "https://app.example.com\\.evil.com", "https://app.example.com#@evil.com/", "https://app.example.com?@evil.com/",
    "https://app.example.com;@evil.com/", "https://app.example.com,evil.com/", "https://app.example.com&evil.com",
    "https://app.example.com:8443/", "https://app.example.com:80/", "https://app.example.com:/", "https://app.example.com:444",
    "http://app.example.com/", "http://app.example.com", "https://user@app.example.com/", "https://user:pw@app.example.com/",
    "https://@app.example.com/", "https://:@app.example.com/", "https://app.example.com//evil.com", "https://app.example.com/\\evil.com",
    "https://app.example.com/..//evil.com", "https://app.example.com/%2fevil.com", "https://app.example.com\t/x",
    "https://app.example.com /x", " https://app.example.com/x", "https://shop.example.com.evil.com/", "https://shop.example.com@evil.com/",
    "https://shop.example.com//evil.com", "http://shop.example.com/", "https://shop.example.com:444/", "http://localhost:51733/",
    "http://localhost/", "http://localhost:5173@evil.com/", "https://localhost:5173/", "http://127.0.0.1:5173/",
    "https://[::ffff:6.6.6.6]/", "https://0x7f.1/", "https://2130706433/", "https://evil.com:80#@app.example.com/",
    // Look-alike characters.
    "/\u{2215}evil.com", "/\u{2044}evil.com", "/\u{ff0f}evil.com", "/\u{ff3c}evil.com", "/\u{29f8}evil.com", "\u{ff0f}\u{ff0f}evil.com",
    "https://app\u{3002}example\u{3002}com/", "https://\u{430}pp.example.com/", "//evil\u{3002}com", "//\u{24d4}vil.com",
    "https://app.example.com\u{2215}.evil.com", "https://app.example.com\u{ff0e}evil.com/", "https://app.example\u{ad}.com/",
    // Not absolute, and not for us.
    "evil.com", "www.evil.com/", "x/y", "@evil.com", "~", "*", "%", "/%", "/%4", "/%zz", "/%c0%af", "/\u{e9}", "/a b", "/a\"b", "/<script>",
    "/x\\y", "/{x}", "/?x=\"", "/?\\evil.com", "/#\\evil.com", "/?a b", "/#\ta",
    // Round in circles.
    "/.auth/login", "/.auth/login/corp", "/.auth/login?return_to=/", "/.auth/logout", "/.auth/callback/corp?code=x", "/.auth/",
    "/%2eauth/login", "/.auth//login", "/.auth/%6cogin", "/.auth;x/login", "/.auth/login;x", "/.auth./login", "/.auth/login.",
    "/.auth/refresh", "/.auth/verify", "/.auth/account/../logout", "https://app.example.com/.auth/logout", "/x/..;/.auth/login",
    "/.auth/account%2f..%2flogout", "/.auth/logout%3fx", "/.auth/account/x",
];

#[test]
fn every_payload_becomes_the_start_page() {
    assert!(PAYLOADS.len() >= 150, "only {}", PAYLOADS.len());
    for payload in PAYLOADS {
        assert_eq!(parse(payload), ReturnTo::start(), "{payload:?}");
    }
    assert_eq!(parse(&format!("/{}", "a".repeat(MAX_BYTES))), ReturnTo::start());
}

#[test]
fn paths_of_this_site_are_kept_byte_for_byte() {
    for path in [
        "/",
        "/x",
        "/x?y=1",
        "/x/?y=//evil.com&z=%0a",
        "/caf%C3%A9",
        "/repo/branch%2fname",
        "/a;jsessionid=1",
        "/x//y",
        "/app#/route",
        "/?next=https://evil.com",
        "/.well-known/x",
        "/%40user",
        "/a:b@c",
        "/.auth/account",
        "/.auth/me",
        "/.authentic",
        "/login",
        "/?a=[1]|{2}",
        "/x%3Fy",
        "/#//x",
    ] {
        let target = parse(path);
        assert_eq!(target.as_str(), path);
        assert_eq!(target.location(&own()), format!("https://app.example.com{path}"));
        assert_eq!(parse(target.as_str()), target, "it reads back as itself");
    }
}

#[test]
fn configured_origins_are_exact() {
    let target = parse("https://shop.example.com/cart?x=1#y");
    assert_eq!(target.location(&own()), "https://shop.example.com/cart?x=1#y");
    assert_eq!(parse("http://localhost:5173").location(&own()), "http://localhost:5173");
    assert_eq!(parse("https://shop.example.com/.auth/login").as_str(), "https://shop.example.com/.auth/login");
    assert_eq!(ReturnTo::parse("https://shop.example.com/", &[], &own(), PREFIX), ReturnTo::start());
}

#[test]
fn our_own_origin_is_a_path() {
    assert_eq!(parse("https://app.example.com/x?y").as_str(), "/x?y");
    assert_eq!(parse("https://app.example.com").as_str(), "/");
}

/// What a browser makes of a `Location` has to be at an origin of ours.
fn stays_home(location: &str) -> bool {
    let mut homes = origins();
    homes.push(own().url().clone());
    Url::parse(location).is_ok_and(|url| homes.iter().any(|home| home.origin() == url.origin()))
}

proptest! {
    #[test]
    fn nothing_leads_away(text in "[/\\\\.:@?#%;a-z0-9\t\n ]{0,40}") {
        let target = parse(&text);
        prop_assert!(stays_home(&target.location(&own())));
        // Even a client that resolves the path by itself stays here.
        prop_assert!(stays_home(own().url().join(target.as_str()).unwrap().as_str()));
    }

    #[test]
    fn nothing_leads_away_from_crooked_urls(text in "(https?:)?[/\\\\]{0,3}(app|shop)[.]example[.]com[/\\\\.:@?#%a-z0-9]{0,20}") {
        prop_assert!(stays_home(&parse(&text).location(&own())));
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,60}|(?s).{0,60}") {
        prop_assert!(stays_home(&parse(&text).location(&own())));
    }
}
