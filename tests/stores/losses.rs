//! Stores that lose what they had, or take nothing new: what ended stays ended, all gateways stay of one mind, and what can be read is.

use crate::postgres::Postgres;
use crate::redis::{Redis, until};
use crate::scene::{Scene, at, cookies};
use crate::support::browser::Browser;
use crate::support::parts::{Part, are_there};

fn sign_out(scene: &Scene, browser: &mut Browser, gateway: usize) {
    scene.reach(browser, gateway);
    let answer = browser.peek(&at("/.auth/logout"));
    assert!(answer.status < 400, "{}", answer.text());
}

fn refuse(scene: &Scene, copied: &Browser, gateways: &[usize]) {
    for gateway in gateways {
        until("this gateway refuses it", || scene.status(&mut scene.copy(copied, *gateway), *gateway) == 302);
    }
}

/// A sign-in goes to the store again, and every gateway hears of its end, one that starts now included.
fn all_are_of_one_mind(scene: &mut Scene) {
    let mut browser = scene.browser(0);
    until("new sessions go to the store", || {
        browser = scene.signed_in("bob", 0);
        cookies(&browser).len() < 300
    });
    let later = scene.gateway();
    scene.gateways.push(later);
    let all: Vec<usize> = (0..scene.gateways.len()).collect();
    for gateway in &all {
        until("every gateway finds it", || scene.status(&mut scene.copy(&browser, *gateway), *gateway) == 200);
    }
    let copied = scene.copy(&browser, 0);
    sign_out(scene, &mut browser, 1);
    refuse(scene, &copied, &all);
}

#[test]
fn a_gateway_that_starts_after_redis_lost_everything_knows_who_signed_out() {
    if !are_there("stores::a_gateway_that_starts_after", &[Part::Redis]) {
        return;
    }
    let mut redis = Redis::start();
    let mut scene = Scene::new(&format!("{{ url = \"redis://127.0.0.1:{}\", sessions = \"large\" }}", redis.port()));
    let mut browser = scene.signed_in("alice", 0);
    let copied = scene.copy(&browser, 0);
    sign_out(&scene, &mut browser, 0);
    refuse(&scene, &copied, &[0, 1]);
    // Both gateways may stop and start by now: what is in the store is all that such a one knows.
    for _ in 0..2 {
        redis.kill();
        redis.restart();
        until("it is told again what ended", || redis.ask(&["XLEN", "portcullis:ends"]) != "0");
        let later = scene.gateway();
        scene.gateways.push(later);
        refuse(&scene, &copied, &[scene.gateways.len() - 1]);
    }
    redis.ask(&["FLUSHALL"]);
    until("without any interruption, too", || redis.ask(&["XLEN", "portcullis:ends"]) != "0");
    assert_eq!(scene.status(&mut scene.signed_in("alice", 2), 1), 200, "and nobody else is hit");
}

#[test]
fn a_full_redis_is_read_and_a_sign_out_reaches_the_others() {
    if !are_there("stores::a_full_redis_is_read", &[Part::Redis]) {
        return;
    }
    let redis = Redis::start();
    let scene = Scene::new(&format!("\"redis://127.0.0.1:{}\"", redis.port()));
    let (mut leaving, mut unseen) = (scene.signed_in("alice", 0), scene.signed_in("bob", 0));
    assert_eq!(scene.status(&mut leaving, 1), 200);
    let copied = scene.copy(&leaving, 0);
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    for _ in 0..5 {
        assert!(cookies(&scene.signed_in("alice", 1)).len() > 300, "a new session goes to cookies");
    }
    assert_eq!(scene.status(&mut unseen, 1), 200, "what is there is found, by a gateway that never saw it");
    sign_out(&scene, &mut leaving, 0);
    refuse(&scene, &copied, &[0, 1]);
    assert_eq!(redis.ask(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
    until("new sessions go there again", || cookies(&scene.signed_in("alice", 1)).len() < 300);
    assert!(scene.gateways[1].logs_come_to_hold("the session store takes new sessions again"));
    let logs = scene.gateways[1].logs();
    assert_eq!(logs.matches("the session store can only be read").count(), 1, "{logs}");
    assert!(!logs.contains("the session store is away;"), "it never was: {logs}");
}

#[test]
fn tables_that_went_are_made_anew_and_their_news_are_heard() {
    if !are_there("stores::tables_that_went", &[Part::Postgres]) {
        return;
    }
    let postgres = Postgres::start();
    let mut scene = Scene::new(&format!("{:?}", postgres.url()));
    // The gateways have read far by now, and what follows is counted from the beginning.
    for _ in 0..3 {
        let mut browser = scene.signed_in("alice", 0);
        let copied = scene.copy(&browser, 0);
        sign_out(&scene, &mut browser, 0);
        refuse(&scene, &copied, &[1]);
    }
    let tables = ["records", "locks", "news"].map(|table| format!("portcullis_{table}")).join(", ");
    postgres.ask("portcullis", &format!("DROP TABLE {tables}"));
    all_are_of_one_mind(&mut scene);
}

#[test]
fn a_file_that_went_is_made_anew_and_nobody_goes_on_with_the_one_before() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("sessions.db");
    let mut scene = Scene::new(&format!("\"sqlite:{}\"", path.display()));
    let mut browser = scene.signed_in("alice", 0);
    let copied = scene.copy(&browser, 0);
    sign_out(&scene, &mut browser, 0);
    refuse(&scene, &copied, &[1]);
    for ending in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{ending}", path.display())));
    }
    all_are_of_one_mind(&mut scene);
    assert!(scene.gateways[0].logs().contains("was taken away or replaced"), "{}", scene.gateways[0].logs());
}
