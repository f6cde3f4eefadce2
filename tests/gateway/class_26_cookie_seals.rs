//! A session cookie is what we sealed, where and as what we sealed it, or it is nobody: never an error, never half a session.

use crate::scene::{FLOW, SESSION, Scene, assert_calm, cookies, noise, session_value, set_cookies};
use crate::support::client::{Client, Response};
use crate::support::{SESSION_KEY, gateway::Gateway};

const OTHER_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8";

fn ask(gateway: &Gateway, host: &str, cookie: &str) -> Response {
    let request = Client::new(gateway.url()).named(host).get("/x");
    request.headers(&[("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Cookie", cookie)]).send()
}

/// `text` with the character at `index` replaced by another of the same alphabet.
fn flipped(text: &str, index: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[index] = if bytes[index] == b'A' { b'Q' } else { b'A' };
    String::from_utf8(bytes).expect("it was ASCII")
}

#[test]
fn whatever_is_changed_in_a_cookie_makes_it_nobodys() {
    let scene = Scene::https(|config| config);
    let value = session_value(&scene.signed_in("alice"));
    scene.upstream.forget();
    let mut forged: Vec<String> = (0..value.len()).map(|index| flipped(&value, index)).collect();
    forged.extend((0..value.len()).step_by(7).map(|length| value[..length].to_owned()));
    forged.extend([
        format!("{value}A"),
        format!("{value}AAAA"),
        format!("{value}="),
        format!("A{value}"),
        format!("2{}", &value[1..]),
    ]);
    for cookie in &forged {
        let answer = scene.with_cookies("/x", &[&format!("{SESSION}={cookie}")]);
        assert_eq!(answer.status, 302, "every change looks the same from outside: {cookie}");
    }
    assert_eq!(scene.upstream.count(), 0);
    assert_eq!(scene.with_cookies("/x", &[&format!("{SESSION}={value}")]).status, 200);
}

#[test]
fn pieces_count_only_together_in_order_and_of_one_session() {
    let scene = Scene::https(|config| config.session_line("max_cookie_bytes = \"32KiB\""));
    for (name, seed) in [("carol", 0), ("dora", 1)] {
        let groups = [noise(13_000 + seed)];
        scene.put_person(name, serde_json::json!({"sub": name, "groups": groups}));
    }
    let pieces = |user: &str| cookies(&scene.signed_in(user), SESSION);
    let (carol, dora) = (pieces("carol"), pieces("dora"));
    let count = carol.len();
    assert!(count >= 3 && dora.len() == count, "{count} {}", dora.len());
    let line = |values: Vec<(String, String)>| {
        values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    };
    scene.upstream.forget();
    let mut forged = Vec::new();
    for index in 0..count {
        let mut missing = carol.clone();
        missing.remove(index);
        forged.push(line(missing));
        let mut mixed = carol.clone();
        mixed[index].1.clone_from(&dora[index].1);
        forged.push(line(mixed));
        let mut swapped = carol.clone();
        let other = swapped[(index + 1) % count].1.clone();
        swapped[(index + 1) % count].1 = std::mem::replace(&mut swapped[index].1, other);
        forged.push(line(swapped));
    }
    let mut fewer = carol.clone();
    fewer[0].1 = fewer[0].1.replacen(&format!("{count}."), &format!("{}.", count - 1), 1);
    forged.push(line(fewer));
    for cookie in forged {
        assert_eq!(scene.with_cookies("/x", &[&cookie]).status, 302);
    }
    assert_eq!(scene.upstream.count(), 0);
    let mut reversed = carol;
    reversed.reverse();
    assert_eq!(scene.with_cookies("/x", &[&line(reversed)]).status, 200, "the order in the header does not matter");
}

#[test]
fn a_seal_works_only_as_what_it_was_made_for() {
    let scene = Scene::https(|config| {
        let route = |host: &str| {
            format!("[[routes]]\nhost = {host:?}\npath = \"/*\"\nallow = \"signed-in\"\nupstream = \"app\"")
        };
        config.raw(&route("app.example.com")).raw(&route("b.example.com"))
    });
    let session = session_value(&scene.signed_in("alice"));
    let (victim, callback) = scene.almost_signed_in("alice", "/");
    let (flow_name, flow) = cookies(&victim, FLOW).remove(0);
    scene.upstream.forget();

    let own = format!("{SESSION}={session}");
    assert_eq!(ask(&scene.gateway, "b.example.com", &own).status, 302, "a session of one host is none at another");
    for value in [flow.clone(), format!("1.{flow}")] {
        assert_eq!(scene.with_cookies("/x", &[&format!("{SESSION}={value}")]).status, 302, "a flow is no session");
    }
    let target = callback.url.as_str().trim_start_matches("https://app.example.com").to_owned();
    for value in [session.as_str(), &session[2..]] {
        let answer = scene.with_cookies(&target, &[&format!("{flow_name}={value}")]);
        assert_calm(&answer, "a session is no flow");
    }
    let other = if flow_name.ends_with('A') { 'B' } else { 'A' };
    let renamed = format!("{}{other}", &flow_name[..flow_name.len() - 1]);
    let answer = scene.with_cookies(&target, &[&format!("{renamed}={flow}")]);
    assert_calm(&answer, "a flow under another name");

    let other_key = scene.another(|config| config.keys(&[OTHER_KEY]));
    let other_name = scene.another(|config| config.session_line("cookie_name = \"gate\""));
    assert_eq!(ask(&other_key, "app.example.com", &own).status, 302, "another gateway's key");
    assert_eq!(ask(&other_name, "app.example.com", &format!("__Host-gate={session}")).status, 302, "another name");
    assert_eq!(scene.upstream.count(), 0);
}

#[test]
fn two_sessions_of_one_person_have_nothing_in_common() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.signed_in("alice");
    let first = session_value(&browser);
    browser.open(&scene.at("/.auth/login?return_to=/"));
    let second = session_value(&browser);
    let windows: Vec<&str> = (0..first.len() - 12).map(|start| &first[start..start + 12]).collect();
    let common = windows.iter().filter(|window| second.contains(**window)).count();
    assert!(common <= 2, "more than the key's id is the same: {common}");
}

#[test]
fn keys_rotate_without_signing_anyone_out() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.signed_in("alice");
    let old = session_value(&browser);
    let (mut on_the_way, callback) = scene.almost_signed_in("bob", "/later");

    let rotated = scene.another(|config| config.keys(&[OTHER_KEY, SESSION_KEY]));
    browser.reach(crate::scene::HTTPS, rotated.url());
    let answer = browser.peek(&scene.at("/x"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(set_cookies(&answer, SESSION).len(), 1, "it is sealed anew with the first key");
    let new = session_value(&browser);
    assert_ne!(new, old);
    assert_eq!(set_cookies(&browser.peek(&scene.at("/x")), SESSION).len(), 0, "once is enough");
    on_the_way.reach(crate::scene::HTTPS, rotated.url());
    let home = on_the_way.open(callback.url.as_str());
    assert_eq!((home.response.status, home.url.path()), (200, "/later"), "who was signing in comes home too");

    let without_old = scene.another(|config| config.keys(&[OTHER_KEY]));
    assert_eq!(ask(&without_old, "app.example.com", &format!("{SESSION}={new}")).status, 200);
    assert_eq!(ask(&without_old, "app.example.com", &format!("{SESSION}={old}")).status, 302);
}
