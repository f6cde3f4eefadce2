//! Where a sign-in or sign-out leads: to this site or a configured origin, whatever was asked for.

use url::Url;

use crate::scene::Scene;

/// Targets that browsers or URL libraries take to another host, or to a script.
const EVIL: &[&str] = &[
    "//evil.example",
    "///evil.example",
    "////evil.example/%2f..",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\u{b}/evil.example",
    "/\u{c}/evil.example",
    "/ /evil.example",
    "/\u{a0}/evil.example",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/%0d/evil.example",
    "/%5cevil.example",
    "/%5c%5cevil.example",
    "/%2fevil.example",
    "/%2F%2Fevil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/x/..//evil.example",
    "/%2e%2e//evil.example",
    "/./\\evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https:\\evil.example",
    "http://evil.example",
    "https://evil.example/",
    "HTTPS://evil.example/",
    "hTtPs://evil.example",
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "blob:https://app.example.com/x",
    "file:///etc/passwd",
    "evil.example",
    ".evil.example",
    "@evil.example",
    "https://app.example.com@evil.example/",
    "https://app.example.com:x@evil.example/",
    "https://app.example.com.evil.example/",
    "https://app.example.comevil.example/",
    "https://app.example.com:444/",
    "https://app.example.com\\@evil.example/",
    "https://app.example.com%2eevil.example/",
    "http://app.example.com/",
    "https://evil.example#@app.example.com/",
    "https://evil.example?app.example.com/",
    "https://evil.example/app.example.com",
    "https://evil-front.example.com/",
    "https://evilfront.example.com/",
    "https://front.example.com.evil.example/",
    "https://front.example.com@evil.example/",
    "http://front.example.com/",
    "https://front.example.com:8443/",
    "https://xfront.example.com/",
    "https://front\u{3002}example.com/",
    "〱evil.example",
    "/〱evil.example",
    "//evil%E3%80%82example",
    "https://[::1]/",
    "//0x7f000001/",
    "/.auth/logout",
    "/.auth/login/corp",
    "/%2eauth/logout",
    "/.auth/callback/corp?code=x&state=y",
    "https://app.example.com/.auth/logout",
];

fn encoded(target: &str) -> String {
    url::form_urlencoded::byte_serialize(target.as_bytes()).collect()
}

#[test]
fn a_sign_in_leads_to_this_site_whatever_return_to_says() {
    let scene = Scene::https(|config| config.raw("[return_to]\norigins = [\"https://front.example.com\"]"));
    let mut browser = scene.signed_in("alice");
    let start = Url::parse(&scene.at("/")).expect("a URL");
    browser.stop_before = Some("/".to_owned());
    for evil in EVIL {
        let begun = browser.peek(&scene.at(&format!("/.auth/login?return_to={}", encoded(evil))));
        assert_eq!(begun.status, 302, "{evil:?}: {}", begun.text());
        assert!(!begun.header("location").unwrap_or_default().contains("evil"), "{evil:?} is told to the provider");
        let at_provider = browser.peek(begun.header("location").expect("to the provider"));
        let ended = browser.peek(at_provider.header("location").expect("back to us"));
        assert_eq!(ended.status, 303, "{evil:?}: {}", ended.text());
        let location = ended.header("location").expect("to the page");
        assert_eq!(location, start.as_str(), "{evil:?}");
    }
    for good in ["https://front.example.com/x?y=1", "https://front.example.com"] {
        let begun = browser.peek(&scene.at(&format!("/.auth/login?return_to={}", encoded(good))));
        let at_provider = browser.peek(begun.header("location").expect("to the provider"));
        let ended = browser.peek(at_provider.header("location").expect("back to us"));
        assert_eq!(ended.header("location"), Some(good));
    }
}

#[test]
fn other_names_for_a_target_mean_nothing() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.signed_in("alice");
    for name in ["rd", "redirect", "next", "url", "target_link_uri", "redirect_uri", "post_logout_redirect_uri", "goto"]
    {
        let begun = browser.peek(&scene.at(&format!("/.auth/login?{name}=https%3A%2F%2Fevil.example%2F")));
        let location = begun.header("location").expect("to the provider").to_owned();
        assert!(!location.contains("evil"), "{name}: {location}");
        let back = browser.peek(&location);
        let ended = browser.peek(back.header("location").expect("back to us"));
        assert_eq!(ended.header("location"), Some(&*scene.at("/")), "{name}");
    }
}

#[test]
fn the_retry_links_of_pages_lead_nowhere_else_either() {
    let scene = Scene::https(|config| config);
    for evil in EVIL {
        let page = scene.window(&format!("/.auth/callback/corp?code=c&state=s&return_to={}", encoded(evil))).send();
        assert!(matches!(page.status, 400 | 431), "{evil:?}");
        assert!(!page.text().contains("evil"), "{evil:?}: {}", page.text());
    }
}

#[test]
fn a_form_that_was_sent_without_a_session_comes_back_to_its_page_on_this_site_only() {
    let scene = Scene::https(|config| config);
    for (referer, expected) in [
        ("https://app.example.com/form?x=1", "/form?x=1"),
        ("https://app.example.com.evil.example/form", "/"),
        ("https://evil.example/form", "/"),
        ("https://app.example.com//evil.example", "/"),
    ] {
        let url = Url::parse(&scene.at("/save")).expect("a URL");
        let mut browser = scene.browser();
        let answer = browser.send(&url, |request| request.header("Referer", referer), "POST");
        assert_eq!(answer.status, 303, "{referer}");
        let login = browser.open(answer.header("location").expect("to the provider"));
        let form = login.forms().remove(0);
        browser.stop_before = Some("/".to_owned());
        let callback = browser.submit(&login, &form, &form.filled_for("alice"));
        let ended = browser.peek(callback.url.as_str());
        assert_eq!(ended.header("location"), Some(&*scene.at(expected)), "{referer}");
    }
}
