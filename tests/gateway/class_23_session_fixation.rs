//! A session that was there before a sign-in is not the one after it.

use crate::scene::{SESSION, Scene, session_value, set_cookies};

#[test]
fn a_planted_session_is_replaced_and_never_becomes_the_victims() {
    let scene = Scene::https(|config| config);
    let planted = session_value(&scene.signed_in("bob"));
    let (mut victim, callback) = scene.almost_signed_in("alice", "/.auth/login?return_to=/x");
    let mut cookie = victim.jar.all()[0].clone();
    SESSION.clone_into(&mut cookie.name);
    cookie.value.clone_from(&planted);
    victim.jar.all_mut().push(cookie);
    assert_eq!(scene.me(&mut victim).1["sub"], "bob", "the attack as it begins");

    let answer = victim.peek(callback.url.as_str());
    assert_eq!(set_cookies(&answer, SESSION).iter().filter(|line| !line.contains("-flow-")).count(), 1);
    assert_eq!(scene.me(&mut victim).1["sub"], "alice");
    assert_ne!(session_value(&victim), planted);
    // What the attacker kept is of no use to anybody.
    scene.upstream.forget();
    assert_ne!(scene.with_cookies("/y", &[&format!("{SESSION}={planted}")]).status, 200);
    assert_eq!(scene.upstream.count(), 0);
}

#[test]
fn every_sign_in_makes_another_session() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.signed_in("alice");
    let first = session_value(&browser);
    browser.open(&scene.at("/.auth/login?return_to=/"));
    assert_ne!(session_value(&browser), first);
}

#[test]
fn a_session_that_means_nothing_is_no_start_for_a_new_one() {
    let scene = Scene::https(|config| config);
    let mut browser = scene.browser();
    let login = browser.open(&scene.at("/x"));
    let mut cookie = browser.jar.all()[0].clone();
    SESSION.clone_into(&mut cookie.name);
    "1.attackers-choice".clone_into(&mut cookie.value);
    browser.jar.all_mut().push(cookie);
    let form = login.forms().remove(0);
    let home = browser.submit(&login, &form, &form.filled_for("alice"));
    assert_eq!((home.response.status, home.url.path()), (200, "/x"));
    assert!(!session_value(&browser).contains("attackers-choice"));
}
