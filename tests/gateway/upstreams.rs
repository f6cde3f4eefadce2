//! Several addresses behind one name: who gets a request, who is left out, and who comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use portcullis::base::clock::instant;

use crate::support::answer::Answer;
use crate::support::client::at_once;
use crate::support::comes_true;
use crate::support::gateway::{Gateway, GatewayConfig};
use crate::support::relay::Relay;
use crate::support::upstream::Upstream;

const PUBLIC: &str = "https://app.example.com";

/// A public gateway of one worker before `urls`, with further lines and tables of the upstream.
fn gateway(urls: &[String], lines: &str) -> Gateway {
    workers(1, urls, lines)
}

fn workers(count: usize, urls: &[String], lines: &str) -> Gateway {
    GatewayConfig::new(PUBLIC)
        .top(&format!("workers = {count}"))
        .raw("[[routes]]\npath = \"/*\"\nallow = \"everyone\"\nupstream = \"app\"")
        .raw(&format!("[upstreams.app]\nurls = {urls:?}\n{lines}"))
        .start()
}

fn urls(upstreams: &[&Upstream]) -> Vec<String> {
    upstreams.iter().map(|upstream| upstream.url()).collect()
}

fn ask(gateway: &Gateway, count: usize) -> Vec<u16> {
    (0..count).map(|_| gateway.get("/").send().status).collect()
}

#[test]
fn requests_are_dealt_out_to_all_addresses() {
    for balance in ["round_robin", "least_requests"] {
        let upstreams = [Upstream::start(), Upstream::start(), Upstream::start()];
        let gateway = gateway(&urls(&upstreams.each_ref()), &format!("balance = {balance:?}"));
        assert_eq!(ask(&gateway, 9), [200; 9]);
        let counts: Vec<usize> = upstreams.iter().map(Upstream::count).collect();
        assert_eq!(counts, [3, 3, 3], "{balance}");
    }
}

#[test]
fn a_busy_address_gets_less() {
    let (busy, quick) = (Upstream::start(), Upstream::start());
    busy.on("/slow", Answer::body("done").after(Duration::from_secs(5)));
    quick.on("/slow", Answer::body("done").after(Duration::from_secs(5)));
    let gateway = gateway(&urls(&[&busy, &quick]), "");
    let client = gateway.client();
    let slow = thread::spawn(move || client.get("/slow").send().status);
    assert!(comes_true(|| busy.count() + quick.count() == 1));
    let before = (busy.count(), quick.count());
    assert_eq!(ask(&gateway, 6), [200; 6]);
    let got = (busy.count() - before.0, quick.count() - before.1);
    assert!(got == (0, 6) || got == (6, 0), "the one with a request under way got some of {got:?}");
    assert_eq!(slow.join().expect("it is answered"), 200);
}

#[test]
fn each_address_gets_its_own_host_where_the_visitors_is_not_passed() {
    let upstreams = [Upstream::start(), Upstream::start()];
    let gateway = gateway(&urls(&upstreams.each_ref()), "balance = \"round_robin\"\npass_host = false");
    assert_eq!(ask(&gateway, 2), [200; 2]);
    for upstream in &upstreams {
        let request = upstream.only_request();
        assert_eq!(request.header("host"), upstream.url().strip_prefix("http://"));
        assert_eq!(request.header("x-forwarded-host"), Some("app.example.com"));
        assert_eq!(request.head.all("host").len(), 1);
    }
}

#[test]
fn a_dead_address_costs_no_request_and_is_left_out() {
    let (spare, alive) = (Upstream::start(), Upstream::start());
    let dead = Relay::tcp(&spare);
    dead.cut();
    let gateway = gateway(&[dead.url(), alive.url()], "eject_after = 2\neject_for = \"10m\"");
    assert_eq!(ask(&gateway, 10), [200; 10]);
    assert_eq!(alive.count(), 10);
    assert!(comes_true(|| gateway.logs().contains("left out for its faults")), "{}", gateway.logs());
    dead.restore();
    assert_eq!(ask(&gateway, 6), [200; 6]);
    assert_eq!(spare.count(), 0, "what is left out gets nothing before its time is over");
}

#[test]
fn an_address_comes_back_after_its_time() {
    let (spare, alive) = (Upstream::start(), Upstream::start());
    let weak = Relay::tcp(&spare);
    weak.cut();
    let gateway = gateway(&[weak.url(), alive.url()], "eject_after = 1\neject_for = \"1s\"");
    assert_eq!(ask(&gateway, 4), [200; 4]);
    weak.restore();
    let back = comes_true(|| {
        assert_eq!(gateway.get("/").send().status, 200);
        spare.count() > 0
    });
    assert!(back, "{}", gateway.logs());
}

#[test]
fn when_all_are_left_out_all_are_used() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let relays = [Relay::tcp(&one), Relay::tcp(&other)];
    relays.iter().for_each(Relay::cut);
    let gateway = gateway(&[relays[0].url(), relays[1].url()], "eject_after = 1\neject_for = \"10m\"");
    assert_eq!(ask(&gateway, 4), [502; 4]);
    relays[1].restore();
    assert_eq!(ask(&gateway, 4), [200; 4]);
    assert_eq!(other.count(), 4);
}

#[test]
fn an_upstream_that_dies_and_comes_back_under_load_loses_only_what_it_had_been_sent() {
    const THREADS: usize = 4;
    let (first, second) = (Upstream::start(), Upstream::start());
    let relay = Relay::tcp(&first);
    let gateway = gateway(&[relay.url(), second.url()], "eject_after = 1\neject_for = \"1s\"");
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..THREADS)
        .map(|number| {
            let (client, over, done) = (gateway.client(), Arc::clone(&over), Arc::clone(&done));
            thread::spawn(move || {
                let mut failed: Vec<(String, String)> = Vec::new();
                for step in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let target = format!("/{number}/{step}");
                    match client.get(&target).try_send() {
                        Ok(answer) if answer.status == 200 => {
                            assert_eq!(answer.json()["target"], target.as_str());
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(answer) => failed.push((target, answer.status.to_string())),
                        // What died in the middle of its answer breaks off here too.
                        Err(error) => {
                            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{target} hangs");
                            failed.push((target, error.to_string()));
                        }
                    }
                }
                failed
            })
        })
        .collect();
    let more = |count: usize| {
        let before = done.load(Ordering::Relaxed);
        assert!(comes_true(|| done.load(Ordering::Relaxed) >= before + count), "{}", gateway.logs());
    };
    more(50);
    for _ in 0..2 {
        relay.cut();
        more(50);
        relay.restore();
        let before = first.count();
        assert!(comes_true(|| first.count() > before), "it gets requests again: {}", gateway.logs());
        more(50);
    }
    over.store(true, Ordering::Relaxed);
    let failed: Vec<(String, String)> = load.into_iter().flat_map(|one| one.join().expect("no load panics")).collect();
    assert!(failed.len() <= 2 * THREADS, "at most what was under way when it died: {failed:?}\n{}", gateway.logs());
    assert!(!gateway.logs().contains("can't connect"), "nobody was told of it: {}", gateway.logs());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for request in first.requests().into_iter().chain(second.requests()) {
        *seen.entry(request.target).or_default() += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "sent twice: {twice:?}");
}

const HEALTH: &str = "eject_after = 0\n[upstreams.app.health]\npath = \"/healthz?full=1\"\ninterval = \"100ms\"\n\
    timeout = \"2s\"\nhealthy_after = 2\nunhealthy_after = 2\nexpect = \"204\"";

#[test]
fn an_address_that_fails_its_checks_is_out_until_it_passes_them() {
    let upstreams = [Upstream::start(), Upstream::start()];
    for upstream in &upstreams {
        upstream.on("/healthz", Answer::status(204));
    }
    let gateway = gateway(&urls(&upstreams.each_ref()), &format!("pass_host = false\n{HEALTH}"));
    let asked = |upstream: &Upstream| upstream.requests().iter().filter(|request| request.target == "/").count();
    assert_eq!(ask(&gateway, 4), [200; 4]);
    assert_eq!((asked(&upstreams[0]), asked(&upstreams[1])), (2, 2));
    let check = upstreams[0].requests().into_iter().find(|request| request.target == "/healthz?full=1");
    let check = check.or_else(|| upstreams[0].comes_to(3).then(|| upstreams[0].last_request())).expect("it is checked");
    assert_eq!(check.method, "GET");
    assert_eq!(check.header("host"), upstreams[0].url().strip_prefix("http://"));

    // 200 is a good answer, but not the one that is expected.
    upstreams[0].on("/healthz", Answer::status(200));
    assert!(comes_true(|| gateway.logs().contains("is not well")), "{}", gateway.logs());
    let before = asked(&upstreams[0]);
    assert_eq!(ask(&gateway, 6), [200; 6]);
    assert_eq!(asked(&upstreams[0]), before, "it is out");

    upstreams[1].on("/healthz", Answer::silence(Duration::from_secs(5)));
    assert!(comes_true(|| gateway.logs().matches("is not well").count() == 2), "{}", gateway.logs());
    assert_eq!(ask(&gateway, 4), [200; 4]);
    assert!(asked(&upstreams[0]) > before, "when all are out all are used");

    upstreams[0].on("/healthz", Answer::status(204));
    assert!(comes_true(|| gateway.logs().contains("is well again")), "{}", gateway.logs());
    let before = (asked(&upstreams[0]), asked(&upstreams[1]));
    assert_eq!(ask(&gateway, 6), [200; 6]);
    assert_eq!((asked(&upstreams[0]), asked(&upstreams[1])), (before.0 + 6, before.1));
}

#[test]
fn checks_are_asked_once_for_the_whole_process() {
    let upstream = Upstream::start();
    upstream.on("/healthz", Answer::status(204));
    let begun = instant();
    let gateway = workers(4, &urls(&[&upstream]), &HEALTH.replace("100ms", "500ms"));
    assert!(upstream.comes_to(4), "{} checks", upstream.count());
    let (count, took) = (upstream.count(), begun.elapsed());
    assert!(count as u128 <= took.as_millis() / 500 + 2, "{count} checks in {took:?} at one in 500 ms, with 4 workers");
    drop(gateway);
}

#[test]
fn a_unix_socket_is_an_address_like_any_other() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let upstream = Upstream::start();
    upstream.on("/socket", Answer::websocket());
    let relay = Relay::unix(&upstream, &folder.path().join("app.sock"));
    let gateway = gateway(&[relay.url()], "pass_host = false");
    let answer = gateway.client().request("POST", "/x?y").body("abc").send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let request = upstream.only_request();
    assert_eq!((request.target.as_str(), request.header("host")), ("/x?y", Some("localhost")));
    assert_eq!(request.body, b"abc");
    let mut socket = crate::support::websocket::WebSocket::open(gateway.get("/socket")).expect("it opens");
    assert_eq!(socket.ask("hello").expect("it is echoed"), "hello");
    relay.cut();
    assert_eq!(gateway.get("/").send().status, 502);
    relay.restore();
    assert_eq!(gateway.get("/").send().status, 200);
}

#[test]
fn no_more_connections_are_kept_than_the_config_says() {
    let upstream = Upstream::start();
    upstream.on("/slow", Answer::body("done").after(Duration::from_secs(3)));
    let gateway = gateway(&urls(&[&upstream]), "max_idle = 2");
    for answer in at_once(vec![gateway.get("/slow"); 6]) {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(upstream.connections(), 6);
    assert!(comes_true(|| upstream.open_connections() == 2), "{} are open", upstream.open_connections());
}

#[test]
fn a_connection_is_replaced_after_as_many_requests_as_the_config_says() {
    let upstream = Upstream::start();
    let few = gateway(&urls(&[&upstream]), "max_requests = 3");
    assert_eq!(ask(&few, 8), [200; 8]);
    let used: Vec<usize> = upstream.requests().iter().map(|request| request.connection).collect();
    assert_eq!(used, [0, 0, 0, 1, 1, 1, 2, 2]);
    assert!(comes_true(|| upstream.open_connections() == 1), "{} are open", upstream.open_connections());
}
