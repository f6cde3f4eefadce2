//! Tests of the session's cookies.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::super::chunks::RawSession;
use super::super::cookie::{Broken, Reading, SessionCookies, WriteError};
use super::super::encode;
use super::{Browser, HOST, NOW, large, ring, sample, settings};
use crate::base::clock::Timestamp;
use crate::seal::aead::Purpose;

const NAME: &str = "__Host-portcullis";

fn cookies() -> SessionCookies {
    SessionCookies::new(ring(&[1]), &settings(), true)
}

/// A browser with `bytes` of token in its session.
fn signed_in(bytes: usize) -> Browser {
    let mut browser = Browser::default();
    browser.take(&cookies().write(&large(bytes), &HeaderMap::new(), HOST, NOW).unwrap());
    browser
}

fn reading(browser: &Browser) -> Reading {
    cookies().read(&browser.headers(), HOST, NOW)
}

#[test]
fn sessions_of_every_size_come_back() {
    let mut most = 0;
    for bytes in [0, 100, 1_000, 2_500, 3_000, 4_000, 8_000, 10_000] {
        let session = large(bytes);
        let mut browser = Browser::default();
        browser.take(&cookies().write(&session, &browser.headers(), HOST, NOW).unwrap());
        most = most.max(browser.jar.len());
        let Reading::Open(opened) = reading(&browser) else { panic!("{bytes} bytes did not come back") };
        assert_eq!(opened.session, session);
        assert!(!opened.reseal);
    }
    assert!(most >= 3, "the test never saw more than {most} cookies");
    assert_eq!(reading(&Browser::default()), Reading::Absent);
}

#[test]
fn no_character_of_any_cookie_can_be_changed() {
    let browser = signed_in(4_000);
    assert!(browser.jar.len() > 1);
    for name in browser.jar.keys() {
        for index in 0..browser.jar[name].len() {
            let mut forged = browser.clone();
            let mut bytes = forged.jar[name].clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            forged.jar.insert(name.clone(), String::from_utf8(bytes).unwrap());
            assert!(matches!(reading(&forged), Reading::Broken(_)), "{name}, character {index}");
        }
    }
}

#[test]
fn pieces_can_be_neither_missing_nor_swapped_nor_cut_nor_foreign() {
    let browser = signed_in(10_000);
    let other = signed_in(10_000);
    let names: Vec<String> = browser.jar.keys().cloned().collect();
    assert!(names.len() >= 3);
    let attempt = |what: &str, change: &dyn Fn(&mut Browser)| {
        let mut forged = browser.clone();
        change(&mut forged);
        assert!(matches!(reading(&forged), Reading::Broken(_)), "{what}");
    };
    for name in &names {
        attempt("missing", &|forged| drop(forged.jar.remove(name)));
        attempt("cut", &|forged| assert!(forged.jar.get_mut(name).unwrap().pop().is_some()));
        attempt("foreign", &|forged| drop(forged.jar.insert(name.clone(), other.jar[name].clone())));
    }
    attempt("swapped", &|forged| {
        let (one, two) = (forged.jar[&names[1]].clone(), forged.jar[&names[2]].clone());
        forged.jar.insert(names[1].clone(), two);
        forged.jar.insert(names[2].clone(), one);
    });
}

#[test]
fn the_number_of_cookies_is_bound_by_the_seal() {
    // The same characters in fewer cookies join to the same text, but for the count.
    let browser = signed_in(4_000);
    let mut joined = browser.jar[NAME].clone();
    assert!(joined.starts_with("2."));
    joined.replace_range(0..1, "1");
    joined.push_str(&browser.jar[&format!("{NAME}.1")]);
    assert_eq!(cookies().open(joined.as_bytes(), HOST, NOW), Reading::Broken(Broken::Unreadable));
}

#[test]
fn a_claim_of_99999_cookies_is_refused_at_once() {
    for count in ["99999", "64", "65", "18446744073709551616"] {
        let mut browser = signed_in(100);
        let value = browser.jar[NAME].replacen("1.", &format!("{count}."), 1);
        browser.jar.insert(NAME.to_owned(), value);
        assert_eq!(reading(&browser), Reading::Broken(Broken::Incomplete), "{count}");
        assert_eq!(cookies().clear(&browser.headers()).len(), 1);
    }
}

#[test]
fn a_session_belongs_to_one_site_one_name_and_one_purpose() {
    let browser = signed_in(100);
    assert_eq!(cookies().read(&browser.headers(), "b.example.com", NOW), Reading::Broken(Broken::Unreadable));

    let mut renamed = Browser::default();
    renamed.jar.insert("__Host-other".to_owned(), browser.jar[NAME].clone());
    let mut other = settings();
    other.cookie_name = "other".to_owned();
    let other = SessionCookies::new(ring(&[1]), &other, true);
    assert_eq!(other.read(&renamed.headers(), HOST, NOW), Reading::Broken(Broken::Unreadable));

    let plain = encode::encode(&sample()).unwrap();
    for purpose in [Purpose::Flow, Purpose::Logout, Purpose::Csrf, Purpose::Session] {
        let context: [&[u8]; 3] = [NAME.as_bytes(), HOST.as_bytes(), &[1]];
        let sealed = ring(&[1]).seal(purpose, &context, &plain).unwrap();
        let joined = format!("1.{}", URL_SAFE_NO_PAD.encode(sealed));
        let opens = matches!(cookies().open(joined.as_bytes(), HOST, NOW), Reading::Open(_));
        assert_eq!(opens, purpose == Purpose::Session, "{purpose:?}");
    }
}

#[test]
fn one_name_twice_is_no_session_and_is_cleared() {
    let browser = signed_in(100);
    let mut headers = browser.headers();
    let tossed = signed_in(100);
    headers.append(COOKIE, HeaderValue::try_from(format!("{NAME}={}", tossed.jar[NAME])).unwrap());
    assert_eq!(cookies().read(&headers, HOST, NOW), Reading::Broken(Broken::Ambiguous));
    assert_eq!(cookies().clear(&headers).len(), 1);

    let mut same = browser.headers();
    same.append(COOKIE, HeaderValue::try_from(format!("{NAME}={}", browser.jar[NAME])).unwrap());
    assert!(matches!(cookies().read(&same, HOST, NOW), Reading::Open(_)));
}

#[test]
fn other_spellings_and_nameless_cookies_never_win() {
    let value = signed_in(100).jar[NAME].clone();
    for line in [format!("__host-portcullis={value}"), format!("={NAME}={value}"), format!("portcullis={value}")] {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::try_from(&line).unwrap());
        assert_eq!(cookies().read(&headers, HOST, NOW), Reading::Absent, "{line}");
        assert_eq!(cookies().clear(&headers), Vec::<HeaderValue>::new());
    }
}

#[test]
fn garbage_is_anonymous() {
    let garbage = ["", "x", "1.", "1.AAAA", "1.!!!!", ".", "1", "0.x", "\"1.AAAA\"", "2.AAAA"];
    for value in garbage.into_iter().map(str::to_owned).chain(["1.".to_owned() + &"A".repeat(60_000)]) {
        let mut browser = Browser::default();
        browser.jar.insert(NAME.to_owned(), value.clone());
        assert!(matches!(reading(&browser), Reading::Broken(_)), "{value}");
        browser.take(&cookies().clear(&browser.headers()));
        assert_eq!(reading(&browser), Reading::Absent);
    }
}

#[test]
fn idle_and_absolute_lifetimes_count_on_our_clock() {
    let session = sample();
    let (idle, lifetime) = (settings().idle, settings().lifetime);
    let at = |session: &_, now| {
        let mut browser = Browser::default();
        browser.take(&cookies().write(session, &HeaderMap::new(), HOST, NOW).unwrap());
        cookies().read(&browser.headers(), HOST, now)
    };
    let before = |span: Duration| Timestamp::from_seconds(NOW.after(span).seconds() - 1);
    assert!(matches!(at(&session, before(idle)), Reading::Open(_)));
    assert_eq!(at(&session, NOW.after(idle)), Reading::Broken(Broken::Ended));

    let mut busy = sample();
    busy.used = before(lifetime);
    assert!(matches!(at(&busy, before(lifetime)), Reading::Open(_)));
    assert_eq!(at(&busy, NOW.after(lifetime)), Reading::Broken(Broken::Ended), "use does not make a session endless");
}

#[test]
fn the_browser_keeps_the_cookie_as_long_as_the_session_lasts() {
    let max_age = |session: &_, now| {
        let answer = cookies().write(session, &HeaderMap::new(), HOST, now).unwrap();
        let text = answer[0].to_str().unwrap().to_owned();
        text.split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(max_age(&sample(), NOW), settings().idle.as_secs());
    let mut old = sample();
    old.used = Timestamp::from_seconds(NOW.after(settings().lifetime).seconds() - 60);
    assert_eq!(max_age(&old, old.used), 60);
}

#[test]
fn a_session_is_written_anew_when_its_use_or_its_key_has_grown_old() {
    let browser = signed_in(100);
    let reseal = |cookies: &SessionCookies, now| match cookies.read(&browser.headers(), HOST, now) {
        Reading::Open(opened) => opened.reseal,
        other => panic!("{other:?}"),
    };
    assert!(!reseal(&cookies(), NOW.after(Duration::from_secs(59))));
    assert!(reseal(&cookies(), NOW.after(Duration::from_mins(1))));
    assert!(reseal(&SessionCookies::new(ring(&[2, 1]), &settings(), true), NOW));
}

#[test]
fn keys_rotate_ten_times_and_nobody_is_signed_out() {
    let mut seeds = vec![1];
    let mut browser = signed_in(100);
    for seed in 2..12 {
        seeds.insert(0, seed);
        seeds.truncate(2);
        let cookies = SessionCookies::new(ring(&seeds), &settings(), true);
        let Reading::Open(opened) = cookies.read(&browser.headers(), HOST, NOW) else { panic!("signed out at {seed}") };
        assert!(opened.reseal);
        browser.take(&cookies.write(&opened.session, &browser.headers(), HOST, NOW).unwrap());
    }
    assert_eq!(reading(&browser), Reading::Broken(Broken::UnknownKey), "the first key has left the ring");
}

#[test]
fn equal_sessions_give_unrelated_cookies() {
    let write = || cookies().write(&sample(), &HeaderMap::new(), HOST, NOW).unwrap()[0].to_str().unwrap().to_owned();
    let (one, two) = (write(), write());
    // Version, key id and the count are equal: the first nine characters of the value.
    let from = NAME.len() + 1 + 9;
    let equal = one.bytes().zip(two.bytes()).skip(from).take(300).filter(|(a, b)| a == b).count();
    assert!(equal < 30, "{equal} of 300 characters are equal");
}

#[test]
fn a_shorter_session_clears_what_the_longer_one_left() {
    let mut browser = signed_in(10_000);
    assert!(browser.jar.len() >= 3);
    browser.take(&cookies().write(&sample(), &browser.headers(), HOST, NOW).unwrap());
    assert_eq!(browser.jar.keys().collect::<Vec<_>>(), [NAME]);
    assert!(matches!(reading(&browser), Reading::Open(_)));
}

#[test]
fn clearing_takes_every_piece_and_nothing_else() {
    let mut browser = signed_in(10_000);
    browser.jar.insert("theme".to_owned(), "dark".to_owned());
    browser.jar.insert(format!("{NAME}.63"), "left over".to_owned());
    let answer = cookies().clear(&browser.headers());
    browser.take(&answer);
    assert_eq!(browser.jar.keys().collect::<Vec<_>>(), ["theme"]);
    assert!(cookies().clear(&browser.headers()).is_empty());
}

#[test]
fn a_session_that_is_too_large_says_what_makes_it_so() {
    let Err(WriteError::TooLarge(problem)) = cookies().write(&large(20_000), &HeaderMap::new(), HOST, NOW) else {
        panic!("it was written")
    };
    assert_eq!((problem.limit, problem.biggest, problem.biggest_bytes), (16 * 1024, "the access token", 20_000));
    assert!(problem.bytes > problem.limit);
    assert!(problem.to_string().contains("max_cookie_bytes"));

    let mut groups = sample();
    groups.principal.groups = (0..4_000).map(|_| crate::base::random::token().unwrap()).collect();
    assert!(
        matches!(cookies().write(&groups, &HeaderMap::new(), HOST, NOW), Err(WriteError::TooLarge(problem)) if problem.biggest == "the list of groups")
    );
}

#[test]
fn all_cookies_together_keep_to_the_limit() {
    let mut tight = settings();
    tight.max_cookie_bytes = 9_000;
    let cookies = SessionCookies::new(ring(&[1]), &tight, true);
    let mut written = 0;
    for bytes in (1_000..12_000).step_by(250) {
        let mut browser = Browser::default();
        let session = large(bytes);
        let written_at_all = cookies.write(&session, &HeaderMap::new(), HOST, NOW);
        assert_eq!(cookies.fits(&session).is_ok(), written_at_all.is_ok(), "{bytes}");
        let Ok(answer) = written_at_all else { continue };
        written += 1;
        browser.take(&answer);
        let total: usize = browser.jar.iter().map(|(name, value)| name.len() + 1 + value.len()).sum();
        assert!(total <= 9_000, "{total}");
        assert!(matches!(cookies.read(&browser.headers(), HOST, NOW), Reading::Open(_)), "what is written can be read");
    }
    assert!(written > 10);
}

#[test]
fn plain_http_has_cookies_without_the_prefix() {
    let cookies = SessionCookies::new(ring(&[1]), &settings(), false);
    let mut browser = Browser::default();
    browser.take(&cookies.write(&sample(), &HeaderMap::new(), "localhost", NOW).unwrap());
    assert_eq!(browser.jar.keys().collect::<Vec<_>>(), ["portcullis"]);
    assert!(matches!(cookies.read(&browser.headers(), "localhost", NOW), Reading::Open(_)));
}

#[test]
fn the_raw_bytes_tell_sessions_apart_without_opening_them() {
    let browser = signed_in(100);
    let headers = browser.headers();
    assert!(
        matches!(cookies().raw(&headers), RawSession::Whole(Cow::Borrowed(joined)) if joined == browser.jar[NAME].as_bytes())
    );
}

#[test]
fn debug_shows_no_secret() {
    let browser = signed_in(100);
    let Reading::Open(opened) = reading(&browser) else { panic!("it did not open") };
    let token = opened.session.tokens.access_token.clone().unwrap();
    let sealed: String = browser.jar[NAME].chars().take(40).collect();
    let answer = cookies().write(&opened.session, &HeaderMap::new(), HOST, NOW).unwrap();
    for shown in [format!("{opened:?}"), format!("{:?}", cookies()), format!("{answer:?}")] {
        assert!(!shown.contains(&token) && !shown.contains(&sealed), "{shown}");
        assert!(!shown.contains("=1."), "{shown}");
    }
}
