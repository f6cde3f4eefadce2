//! Stores that are killed, frozen and restarted under 200 requests a second: no request of a session that was seen lately fails, none
//! is lost, memory stays flat.
//!
//! A frozen store stays so for a few seconds, or for the seconds in `STORE_FREEZE`: those who check a release say 30.

use std::time::Duration;

use crate::load::{Load, Tally};
use crate::postgres::Postgres;
use crate::redis::{Cluster, Redis, Sentinels, until};
use crate::scene::{Scene, cookies};
use crate::support::gateway::Gateway;
use crate::support::parts::{Part, are_there};
use crate::support::pause;

/// People who are signed in.
const PEOPLE: usize = 12;
/// How long the gateways wait for their store.
const TIMEOUT: &str = "4s";
/// The longest that any request may take: less than a store that is away could make it wait.
const SLOWEST: Duration = Duration::from_millis(3_600);
/// What a gateway may grow by while it is under load, in KiB.
const GROWTH: u64 = 24 * 1024;

fn freeze() -> Duration {
    let seconds = std::env::var("STORE_FREEZE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

struct Office {
    scene: Scene,
    sessions: Vec<String>,
}

impl Office {
    /// People who are signed in at one of the gateways, and known to both.
    fn open(url: &str) -> Self {
        let table = format!("{{ url = {url:?}, timeout = {TIMEOUT:?}, fresh_for = \"1s\", keep_for = \"5m\" }}");
        let scene = Scene::new(&table);
        let mut sessions = Vec::new();
        for number in 0..PEOPLE {
            let mut browser = scene.signed_in(if number % 2 == 0 { "alice" } else { "bob" }, number % 2);
            for gateway in [0, 1] {
                for _ in 0..4 {
                    assert_eq!(scene.status(&mut browser, gateway), 200);
                }
            }
            sessions.push(cookies(&browser));
        }
        Self { scene, sessions }
    }

    /// What becomes of the requests while `trouble` happens, and of the sessions after it.
    fn goes_on(&self, trouble: impl FnOnce()) {
        let urls: Vec<String> = self.scene.gateways.iter().map(|gateway| gateway.url().to_owned()).collect();
        let load = Load::start(&urls, &self.sessions);
        pause(Duration::from_secs(2));
        let before: Vec<u64> = self.scene.gateways.iter().map(|gateway| gateway.memory().resident).collect();
        trouble();
        pause(Duration::from_secs(3));
        let sent = load.sent();
        let Tally { good, bad, slowest } = load.stop();
        let logs = || self.scene.gateways.iter().map(Gateway::logs).collect::<Vec<_>>().join("\n--\n");
        assert!(bad.is_empty(), "{} of {sent} failed: {:?}\n{}", bad.len(), &bad[..bad.len().min(5)], logs());
        // 200 a second where the machine can do that; never so few that not each session was asked for again and again.
        assert!(good > 20 * PEOPLE, "only {good} requests were sent");
        assert!(slowest < SLOWEST, "a request took {slowest:?}\n{}", logs());
        for (gateway, before) in self.scene.gateways.iter().zip(before) {
            let after = gateway.memory().resident;
            assert!(after < before + GROWTH, "memory grew from {before} to {after} KiB");
        }
        // A gateway that starts now knows what is in the store, and nothing else.
        let newcomer = self.scene.gateway();
        let fresh = Load::start(&[newcomer.url().to_owned()], &self.sessions);
        until("everybody was served by a newcomer", || fresh.sent() > 4 * PEOPLE);
        let Tally { good, bad, .. } = fresh.stop();
        assert!(bad.is_empty() && good > PEOPLE, "sessions were lost: {:?}\n{}", &bad[..bad.len().min(5)], logs());
    }
}

#[test]
fn redis_is_killed_and_comes_back_empty() {
    if !are_there("stores::redis_is_killed", &[Part::Redis]) {
        return;
    }
    let mut redis = Redis::start();
    let office = Office::open(&format!("redis://127.0.0.1:{}", redis.port()));
    office.goes_on(|| {
        redis.kill();
        pause(Duration::from_secs(3));
        redis.restart();
        assert!(redis.ask(&["DBSIZE"]).parse::<usize>().expect("a count") <= PEOPLE + 2);
    });
}

#[test]
fn redis_is_frozen() {
    if !are_there("stores::redis_is_frozen", &[Part::Redis]) {
        return;
    }
    let redis = Redis::start();
    let office = Office::open(&format!("redis://127.0.0.1:{}", redis.port()));
    office.goes_on(|| {
        redis.freeze();
        pause(freeze());
        redis.thaw();
    });
}

#[test]
fn the_primary_dies_and_the_sentinels_fail_over() {
    if !are_there("stores::the_primary_dies", &[Part::Redis]) {
        return;
    }
    let mut sentinels = Sentinels::start();
    let office = Office::open(&sentinels.url());
    office.goes_on(|| {
        sentinels.primary.kill();
        sentinels.have_failed_over();
        sentinels.primary.restart();
        until("the one that was the primary follows", || sentinels.primary.ask(&["ROLE"]).starts_with("slave"));
    });
}

#[test]
fn the_primary_is_frozen_and_the_sentinels_fail_over() {
    if !are_there("stores::the_primary_is_frozen", &[Part::Redis]) {
        return;
    }
    let sentinels = Sentinels::start();
    let office = Office::open(&sentinels.url());
    office.goes_on(|| {
        sentinels.primary.freeze();
        pause(freeze());
        sentinels.have_failed_over();
        // For a moment there are two that take themselves for the primary.
        sentinels.primary.thaw();
        until("the one that was the primary follows", || sentinels.primary.ask(&["ROLE"]).starts_with("slave"));
    });
}

#[test]
fn a_node_of_the_cluster_dies() {
    if !are_there("stores::a_node_of_the_cluster_dies", &[Part::Redis]) {
        return;
    }
    let mut cluster = Cluster::start();
    let office = Office::open(&cluster.url());
    let primary = cluster.a_primary();
    office.goes_on(|| {
        cluster.nodes[primary].kill();
        cluster.is_well_without(primary);
        cluster.nodes[primary].restart();
        cluster.is_well();
    });
}

#[test]
fn a_node_of_the_cluster_is_frozen() {
    if !are_there("stores::a_node_of_the_cluster_is_frozen", &[Part::Redis]) {
        return;
    }
    let cluster = Cluster::start();
    let office = Office::open(&cluster.url());
    let primary = cluster.a_primary();
    office.goes_on(|| {
        cluster.nodes[primary].freeze();
        pause(freeze());
        cluster.is_well_without(primary);
        cluster.nodes[primary].thaw();
        cluster.is_well();
    });
}

#[test]
fn postgres_is_frozen_killed_and_comes_back() {
    if !are_there("stores::postgres_is_frozen", &[Part::Postgres]) {
        return;
    }
    let mut postgres = Postgres::start();
    let office = Office::open(&postgres.url());
    office.goes_on(|| {
        postgres.freeze();
        pause(freeze());
        postgres.thaw();
        postgres.kill();
        pause(Duration::from_secs(2));
        postgres.restart();
    });
}
