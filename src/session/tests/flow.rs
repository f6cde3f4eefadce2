//! Tests of the flows' cookies.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::super::flow::{Flow, FlowCookies, FlowError, FlowProblem, Pending, UsedFlows};
use super::{Browser, HOST, NOW, ring, settings};
use crate::base::clock::Timestamp;
use crate::seal::aead::Purpose;

fn cookies() -> FlowCookies {
    FlowCookies::new(ring(&[1]), &settings(), true, UsedFlows::new(settings().flow_lifetime))
}

fn flow(state: &str, started: Timestamp) -> Flow {
    Flow {
        provider: "corp".into(),
        pending: Pending {
            issuer: "https://login.example.com".to_owned(),
            state: state.to_owned(),
            nonce: "nonce".to_owned(),
            verifier: "verifier".to_owned(),
            redirect_uri: "https://app.example.com/.auth/callback/corp".to_owned(),
            wanted: crate::policy::wanted::Wanted::default(),
        },
        return_to: "/page?x=1".to_owned(),
        started,
        round: 0,
    }
}

fn begun(cookies: &FlowCookies, state: &str) -> Browser {
    let mut browser = Browser::default();
    browser.take(&cookies.begin(&flow(state, NOW), &browser.headers(), HOST, NOW).unwrap());
    browser
}

fn problem(cookies: &FlowCookies, headers: &HeaderMap, provider: &str, state: &str, now: Timestamp) -> FlowProblem {
    match cookies.take(headers, HOST, provider, state, now) {
        Ok(_) => panic!("it was taken"),
        Err(problem) => problem,
    }
}

#[test]
fn a_flow_comes_back_whole_and_its_cookie_goes() {
    let cookies = cookies();
    let mut browser = begun(&cookies, "one");
    assert!(browser.jar.keys().all(|name| name.starts_with("__Host-portcullis-flow-")));
    let Ok((taken, answer)) = cookies.take(&browser.headers(), HOST, "corp", "one", NOW) else { panic!("not taken") };
    assert!(taken == flow("one", NOW));
    browser.take(&answer);
    assert!(browser.jar.is_empty());
}

#[test]
fn a_flow_works_once_even_from_a_kept_cookie() {
    let cookies = cookies();
    let browser = begun(&cookies, "one");
    assert!(cookies.take(&browser.headers(), HOST, "corp", "one", NOW).is_ok());
    assert_eq!(problem(&cookies, &browser.headers(), "corp", "one", NOW), FlowProblem::Used);
}

#[test]
fn what_was_used_is_remembered_across_a_reload() {
    let used = UsedFlows::new(settings().flow_lifetime);
    let before = FlowCookies::new(ring(&[1]), &settings(), true, used.clone());
    let browser = begun(&before, "one");
    assert!(before.take(&browser.headers(), HOST, "corp", "one", NOW).is_ok());
    let after = FlowCookies::new(ring(&[2, 1]), &settings(), true, used);
    assert_eq!(problem(&after, &browser.headers(), "corp", "one", NOW), FlowProblem::Used);
}

#[test]
fn an_answer_needs_the_browser_and_the_state_that_began() {
    let cookies = cookies();
    let browser = begun(&cookies, "one");
    assert_eq!(problem(&cookies, &HeaderMap::new(), "corp", "one", NOW), FlowProblem::Unknown);
    assert_eq!(problem(&cookies, &browser.headers(), "corp", "two", NOW), FlowProblem::Unknown);
    assert_eq!(problem(&cookies, &browser.headers(), "corp", "", NOW), FlowProblem::Unknown);
    let elsewhere = cookies.take(&browser.headers(), "b.example.com", "corp", "one", NOW);
    assert!(matches!(elsewhere, Err(FlowProblem::Unknown)));
    assert!(cookies.take(&browser.headers(), HOST, "corp", "one", NOW).is_ok(), "none of that used it up");
}

#[test]
fn the_state_itself_counts_and_not_the_cookies_name() {
    // A flow with another state, sealed under the name that the answer's state leads to.
    let cookies = cookies();
    let name = begun(&cookies, "one").jar.keys().next().unwrap().clone();
    let mut plain = vec![1];
    plain.extend(postcard::to_allocvec(&flow("two", NOW)).unwrap());
    let sealed = ring(&[1]).seal(Purpose::Flow, &[name.as_bytes(), HOST.as_bytes()], &plain).unwrap();
    let mut browser = Browser::default();
    browser.jar.insert(name, URL_SAFE_NO_PAD.encode(sealed));
    assert_eq!(problem(&cookies, &browser.headers(), "corp", "one", NOW), FlowProblem::Unknown);
}

#[test]
fn another_provider_gets_nothing_and_leaves_the_flow() {
    let cookies = cookies();
    let browser = begun(&cookies, "one");
    assert_eq!(problem(&cookies, &browser.headers(), "evil", "one", NOW), FlowProblem::OtherProvider);
    assert!(cookies.take(&browser.headers(), HOST, "corp", "one", NOW).is_ok());
}

#[test]
fn a_flow_ends_on_our_clock() {
    let cookies = cookies();
    let browser = begun(&cookies, "one");
    let end = NOW.after(settings().flow_lifetime);
    assert_eq!(problem(&cookies, &browser.headers(), "corp", "one", end), FlowProblem::Stale);
    let just = Timestamp::from_seconds(end.seconds() - 1);
    assert!(cookies.take(&browser.headers(), HOST, "corp", "one", just).is_ok());
}

#[test]
fn a_browser_holds_six_flows_and_the_oldest_goes_first() {
    let cookies = cookies();
    let mut browser = Browser::default();
    for index in 0..20 {
        let now = NOW.after(Duration::from_secs(index));
        let answer = cookies.begin(&flow(&format!("state-{index}"), now), &browser.headers(), HOST, now).unwrap();
        browser.take(&answer);
        assert!(browser.jar.len() <= 6, "{}", browser.jar.len());
    }
    assert_eq!(browser.jar.len(), 6);
    let now = NOW.after(Duration::from_secs(20));
    for index in 0..20 {
        let taken = cookies.take(&browser.headers(), HOST, "corp", &format!("state-{index}"), now).is_ok();
        assert_eq!(taken, index >= 14, "{index}");
    }
}

#[test]
fn flows_of_one_second_go_in_the_order_in_which_the_browser_sends_them() {
    let cookies = cookies();
    let mut lines: Vec<String> = Vec::new();
    for index in 0..9 {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, lines.join("; ").parse().unwrap());
        let answer = cookies.begin(&flow(&format!("state-{index}"), NOW), &headers, HOST, NOW).unwrap();
        for line in answer.iter().map(|line| line.to_str().unwrap()) {
            let pair = line.split(';').next().unwrap();
            match pair.strip_suffix('=') {
                Some(gone) => lines.retain(|line| !line.starts_with(gone)),
                None => lines.push(pair.to_owned()),
            }
        }
    }
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, lines.join("; ").parse().unwrap());
    for index in 0..9 {
        let taken = cookies.take(&headers, HOST, "corp", &format!("state-{index}"), NOW).is_ok();
        assert_eq!(taken, index >= 3, "{index}");
    }
}

#[test]
fn stale_and_foreign_flows_go_before_good_ones() {
    let cookies = cookies();
    let mut browser = Browser::default();
    for index in 0..5 {
        browser.take(&cookies.begin(&flow(&format!("good-{index}"), NOW), &browser.headers(), HOST, NOW).unwrap());
    }
    let long_ago = Timestamp::from_seconds(NOW.seconds() - 601);
    let other = FlowCookies::new(ring(&[9]), &settings(), true, UsedFlows::new(settings().flow_lifetime));
    for (index, maker) in [&cookies, &other].into_iter().enumerate() {
        let made = maker.begin(&flow(&format!("bad-{index}"), long_ago), &HeaderMap::new(), HOST, long_ago).unwrap();
        browser.take(&made);
    }
    assert_eq!(browser.jar.len(), 7);
    browser.take(&cookies.begin(&flow("new", NOW), &browser.headers(), HOST, NOW).unwrap());
    assert_eq!(browser.jar.len(), 6);
    for state in ["good-0", "good-4", "new"] {
        assert!(cookies.take(&browser.headers(), HOST, "corp", state, NOW).is_ok(), "{state}");
    }
}

#[test]
fn eighty_planted_flows_are_cleared_and_six_are_left() {
    let cookies = cookies();
    let mut browser = Browser::default();
    for index in 0..80 {
        let started = NOW.after(Duration::from_secs(index));
        let state = format!("planted-{index}");
        browser.take(&cookies.begin(&flow(&state, started), &HeaderMap::new(), HOST, started).unwrap());
    }
    assert_eq!(browser.jar.len(), 80);
    let now = NOW.after(Duration::from_mins(2));
    browser.take(&cookies.begin(&flow("new", now), &browser.headers(), HOST, now).unwrap());
    assert_eq!(browser.jar.len(), 6);
    browser.take(&cookies.clear_all(&browser.headers()));
    assert!(browser.jar.is_empty());
}

#[test]
fn one_name_with_two_values_is_unknown_and_goes() {
    let cookies = cookies();
    let browser = begun(&cookies, "one");
    let name = browser.jar.keys().next().unwrap().clone();
    let mut headers = browser.headers();
    headers.append(COOKIE, HeaderValue::try_from(format!("{name}=tossed")).unwrap());
    assert_eq!(problem(&cookies, &headers, "corp", "one", NOW), FlowProblem::Unknown);
    let mut after = browser;
    after.take(&cookies.begin(&flow("two", NOW), &headers, HOST, NOW).unwrap());
    assert!(!after.jar.contains_key(&name));
}

#[test]
fn a_flow_begun_twice_is_set_and_not_cleared() {
    let cookies = cookies();
    let mut browser = Browser::default();
    browser.jar.insert(begun(&cookies, "one").jar.keys().next().unwrap().clone(), "broken".to_owned());
    browser.take(&cookies.begin(&flow("one", NOW), &browser.headers(), HOST, NOW).unwrap());
    assert!(cookies.take(&browser.headers(), HOST, "corp", "one", NOW).is_ok());
}

#[test]
fn too_long_a_page_to_return_to_becomes_the_first_page() {
    let cookies = cookies();
    let mut long = flow("one", NOW);
    long.return_to = format!("/{}", "x".repeat(10_000));
    let mut browser = Browser::default();
    browser.take(&cookies.begin(&long, &HeaderMap::new(), HOST, NOW).unwrap());
    let Ok((taken, _)) = cookies.take(&browser.headers(), HOST, "corp", "one", NOW) else { panic!("not taken") };
    assert_eq!(taken.return_to, "/");

    long.pending.redirect_uri = "x".repeat(10_000);
    assert!(matches!(cookies.begin(&long, &HeaderMap::new(), HOST, NOW), Err(FlowError::TooLarge)));
}

#[test]
fn a_thousand_uses_at_once_have_one_winner() {
    let cookies = cookies();
    let headers = begun(&cookies, "one").headers();
    let wins: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| (0..125).filter(|_| cookies.take(&headers, HOST, "corp", "one", NOW).is_ok()).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(wins, 1);
}
