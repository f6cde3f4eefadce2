//! What people who sign in must be able to rely on: every tab comes home, with a bounded number of cookies, and no script starts a sign-in.

use std::thread;

use url::Url;

use crate::scene::{CALLBACK, FLOW, HTTPS, SESSION, Scene, assert_calm, cleared, cookies, noise, set_cookies};
use crate::support::browser::Browser;

/// Cookies of one browser that was used in several tabs at once: each tab's answers are taken into the first one's jar.
fn join(tabs: &[Browser]) -> Browser {
    let mut joined = tabs[0].clone();
    for tab in &tabs[1..] {
        for cookie in tab.jar.all() {
            joined.jar.all_mut().retain(|known| (&known.name, &known.domain) != (&cookie.name, &cookie.domain));
            joined.jar.all_mut().push(cookie.clone());
        }
    }
    joined
}

#[test]
fn six_tabs_that_are_opened_at_once_all_reach_their_own_page_after_one_login() {
    let scene = Scene::https(|config| config);
    let page = |tab: usize| format!("/reports/{tab}?tab={tab}&q=a%20b&x=%2F&empty=");
    let opened: Vec<(Browser, Url)> = thread::scope(|scope| {
        let tabs: Vec<_> = (0..6)
            .map(|tab| {
                let (mut browser, address) = (scene.browser(), scene.at(&page(tab)));
                scope.spawn(move || {
                    let login = browser.open(&address);
                    (browser, login.url)
                })
            })
            .collect();
        tabs.into_iter().map(|tab| tab.join().expect("a tab opens")).collect()
    });
    let (tabs, logins): (Vec<Browser>, Vec<Url>) = opened.into_iter().unzip();
    let mut browser = join(&tabs);
    assert_eq!(cookies(&browser, FLOW).len(), 6, "one flow for each tab");

    // One login in the first tab; the others stand on the provider's page and are loaded again, all at once.
    let form_page = browser.open(logins[0].as_str());
    let form = form_page.forms().remove(0);
    let home = browser.submit(&form_page, &form, &form.filled_for("alice"));
    assert_eq!((home.response.status, home.url.as_str()), (200, &*scene.at(&page(0))), "{}", scene.gateway.logs());
    let homes: Vec<(String, u16)> = thread::scope(|scope| {
        let tabs: Vec<_> = (1..6)
            .map(|tab| {
                let (mut browser, login) = (browser.clone(), logins[tab].clone());
                scope.spawn(move || {
                    let home = browser.open(login.as_str());
                    (home.url.into(), home.response.status)
                })
            })
            .collect();
        tabs.into_iter().map(|tab| tab.join().expect("a tab comes home")).collect()
    });
    for (tab, home) in (1..6).zip(homes) {
        assert_eq!(home, (scene.at(&page(tab)), 200), "tab {tab}");
    }
    let targets: Vec<String> = scene.upstream.requests().into_iter().map(|request| request.target).collect();
    for tab in 0..6 {
        assert!(targets.contains(&page(tab)), "byte for byte: {targets:?}");
    }
}

#[test]
fn a_deep_link_comes_back_to_the_exact_page_and_query() {
    let scene = Scene::loopback(|config| config);
    let target = "/a/b%20c/d.html?x=1&y=%2F..%2F&z=%C3%A9&return_to=//evil.example&empty=&=&&q=a+b";
    let home = scene.browser().sign_in("alice", &scene.at(target));
    assert_eq!(home.url.as_str(), scene.at(target));
    assert_eq!(scene.upstream.only_request().target, target);
    assert!(home.response.header("set-cookie").is_none(), "the upstream's own answer sets nothing of ours");
}

#[test]
fn sixty_scripts_without_a_session_leave_no_cookie_behind() {
    let scene = Scene::https(|config| config);
    thread::scope(|scope| {
        for script in 0..60 {
            let scene = &scene;
            scope.spawn(move || {
                let how = [
                    ("Sec-Fetch-Mode", "cors"),
                    ("X-Requested-With", "XMLHttpRequest"),
                    ("Accept", "application/json"),
                ][script % 3];
                let host = HTTPS.trim_start_matches("https://");
                let request = scene.gateway.client().named(host).get(&format!("/data/{script}"));
                let answer = request.headers(&[how]).send();
                assert_eq!(answer.status, 401, "{how:?}");
                assert_eq!(answer.header("set-cookie"), None, "{how:?}");
                assert_eq!(answer.header("location"), None, "{how:?}");
            });
        }
    });
    assert_eq!(scene.upstream.count(), 0);
}

#[test]
fn a_browser_holds_six_flows_at_most_and_the_oldest_goes_first() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.browser();
    let mut begun: Vec<String> = Vec::new();
    for tab in 0..9_usize {
        let answer = browser.peek(&scene.at(&format!("/{tab}")));
        assert_eq!(answer.status, 302, "{}", answer.text());
        let set = set_cookies(&answer, FLOW);
        let [flow] = set.as_slice() else { panic!("one flow each: {set:?}") };
        begun.push(flow.split('=').next().expect("a name").to_owned());
        let held: Vec<String> = cookies(&browser, FLOW).into_iter().map(|(name, _)| name).collect();
        assert_eq!(held, begun[(tab + 1).saturating_sub(6)..], "the newest six, though all began within a second");
    }
}

#[test]
fn a_finished_stale_or_foreign_flow_gives_a_calm_page_with_a_way_to_try_again() {
    let scene = Scene::https(|config| config.session_line("flow_lifetime = \"10s\""));

    let (_, foreign) = scene.almost_signed_in("alice", "/x");
    let mut other = scene.browser();
    assert_calm(&other.peek(foreign.url.as_str()), "foreign");
    assert_eq!(scene.me(&mut other).0, 401);

    let (mut browser, callback) = scene.almost_signed_in("alice", "/y?z=1");
    let kept = browser.jar.clone();
    assert_eq!(browser.open(callback.url.as_str()).url.as_str(), scene.at("/y?z=1"));
    let finished = browser.peek(callback.url.as_str());
    assert_calm(&finished, "finished");
    assert!(finished.text().contains("You are signed in already"), "{}", finished.text());
    assert_eq!(scene.me(&mut browser).0, 200, "the session is untouched");

    // The browser was restored with the cookies that it had: the flow is known, and used.
    let mut restored = scene.browser();
    restored.jar = kept;
    let redeemed = scene.redeemed();
    let used = restored.peek(callback.url.as_str());
    assert_calm(&used, "used");
    assert!(used.text().contains("works only once"), "{}", used.text());
    assert_eq!(scene.redeemed(), redeemed, "the code is not redeemed a second time");

    let (mut browser, callback) = scene.almost_signed_in("alice", "/z");
    crate::support::pause(std::time::Duration::from_millis(11_100));
    let redeemed = scene.redeemed();
    let stale = browser.peek(callback.url.as_str());
    assert_calm(&stale, "stale");
    assert_eq!(scene.redeemed(), redeemed, "the state is checked before the code is redeemed");
    let link = crate::support::forms::links(&stale.text()).into_iter().find(|link| link.contains("/login"));
    let again = browser.sign_in("alice", &scene.at(&link.expect("a link to try again")));
    assert_eq!(again.response.status, 200, "trying again works: {}", again.text());
}

#[test]
fn cookies_have_every_attribute_where_browsers_reach_us_over_tls() {
    let scene = Scene::https(|config| config);
    let (mut browser, callback) = scene.almost_signed_in("alice", "/");
    let begun = scene.window("/").send();
    let answer = browser.peek(callback.url.as_str());
    let lines: Vec<String> = [set_cookies(&begun, FLOW), set_cookies(&answer, SESSION)].concat();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        let parts: Vec<&str> = line.split("; ").skip(1).collect();
        for part in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(parts.contains(&part), "{part} in {parts:?}");
        }
        assert!(line.starts_with("__Host-"), "{parts:?}");
        assert!(!parts.iter().any(|part| part.to_ascii_lowercase().starts_with("domain")), "{parts:?}");
    }
    assert!(browser.jar.refused().is_empty(), "{:?}", browser.jar.refused());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
}

#[test]
fn on_plain_http_the_names_have_no_prefix_since_browsers_would_refuse_it() {
    let scene = Scene::loopback(|config| config);
    let browser = scene.signed_in("alice");
    let ours: Vec<_> = browser.jar.all().iter().filter(|cookie| cookie.name.contains("portcullis")).collect();
    let [cookie] = ours.as_slice() else { panic!("one cookie is left: {ours:?}") };
    assert_eq!((&*cookie.name, cookie.secure, cookie.http_only), ("portcullis", false, true));
    assert_eq!((cookie.same_site.as_deref(), &*cookie.path, cookie.host_only), (Some("lax"), "/", true));
    assert!(browser.jar.refused().is_empty(), "{:?}", browser.jar.refused());
}

#[test]
fn a_large_session_is_spread_over_small_cookies_and_read_back() {
    let scene = Scene::https(|config| config);
    let groups: Vec<String> =
        noise(4_000).as_bytes().chunks(60).map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    scene.put_person("carol", serde_json::json!({"sub": "carol", "groups": groups}));
    let mut browser = scene.browser();
    browser.stop_before = Some(CALLBACK.to_owned());
    let callback = browser.sign_in("carol", &scene.at("/"));
    browser.stop_before = None;
    let answer = browser.peek(callback.url.as_str());
    let set = set_cookies(&answer, SESSION);
    assert!(set.len() >= 2, "{}", set.len());
    assert!(set.iter().all(|line| line.len() < 3_800), "{:?}", set.iter().map(String::len).collect::<Vec<_>>());
    assert_eq!(browser.open(&scene.at("/x")).response.status, 200, "{}", scene.gateway.logs());
    let seen = scene.upstream.last_request();
    assert_eq!(seen.header("x-forwarded-user"), Some("carol"));
    assert_eq!(seen.header("x-forwarded-groups").map(|value| value.split(',').count()), Some(groups.len()));
    assert!(!seen.mentions("portcullis="), "our cookies stay with us: {:?}", seen.head.headers);

    // A smaller session takes its place: what is left over of the larger one goes.
    let page = browser.sign_in("bob", &scene.at("/.auth/login?prompt=login&return_to=/y"));
    assert_eq!((page.response.status, page.url.path()), (200, "/y"), "{}", page.text());
    assert_eq!(cookies(&browser, SESSION).len(), 1, "{:?}", cookies(&browser, SESSION));
    assert_eq!(scene.upstream.last_request().header("x-forwarded-user"), Some("bob"));
}

#[test]
fn a_session_too_large_for_its_cookies_gives_a_clear_page_and_one_line_that_names_the_fix() {
    let scene = Scene::https(|config| config.session_line("max_cookie_bytes = \"4KiB\""));
    scene.put_person("carol", serde_json::json!({"sub": "carol", "groups": [noise(20_000)]}));
    let mut browser = scene.browser();
    let page = browser.sign_in("carol", &scene.at("/"));
    assert_eq!((page.response.status, page.url.path()), (500, CALLBACK), "{}", page.text());
    assert!(page.text().contains("more data than this site keeps") && page.text().contains("session.max_cookie_bytes"));
    assert_eq!(cookies(&browser, SESSION), [], "no half session");
    assert!(cleared(&page.response).iter().any(|name| name.starts_with(FLOW)), "the flow is over");
    let logs = scene.gateway.logs();
    let lines: Vec<&str> = logs.lines().filter(|line| line.contains("max_cookie_bytes")).collect();
    let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
    assert!(line.contains("ask the provider for less") && line.contains("4096"), "{line}");
    assert_eq!(scene.upstream.count(), 0);
}
