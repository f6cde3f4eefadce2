//! What holds with every store: one cookie that tells nothing, every gateway serves, an end is an end everywhere, keys rotate.

use serde_json::json;

use crate::postgres::Postgres;
use crate::redis::{Cluster, Redis, Sentinels, until};
use crate::scene::{SESSION, Scene, at, cookies, patient};
use crate::support::SESSION_KEY;
use crate::support::parts::{Part, are_there};

/// A sign-in at one gateway, use at both, and a sign-out at the other. `dump` is all that the store holds, `records` how many sessions.
fn a_session_lives_in(scene: &Scene, records: &dyn Fn() -> usize, dump: &dyn Fn() -> String) {
    scene
        .put_person("carol", json!({ "sub": "carol-the-first", "email": "carol@example.com", "email_verified": true }));
    assert_eq!(records(), 0);
    let mut browser = scene.signed_in("carol", 0);
    assert_eq!(records(), 1);
    let line = cookies(&browser);
    assert!(line.starts_with(&format!("{SESSION}=1.")) && line.len() < 300, "one small cookie: {} bytes", line.len());
    for gateway in [1, 0, 1] {
        assert_eq!(scene.status(&mut browser, gateway), 200, "{}", scene.gateways[gateway].logs());
    }
    assert_eq!(scene.upstream.last_request().header("x-forwarded-user"), Some("carol-the-first"));
    // A page that has the token of one gateway writes through the other.
    let tokens = [0, 1].map(|gateway| {
        scene.reach(&mut browser, gateway);
        browser.peek(&at("/.auth/me")).json()["csrf_token"].as_str().map(str::to_owned)
    });
    assert!(tokens[0].is_some() && tokens[0] == tokens[1], "{tokens:?}");
    let held = dump();
    for part in ["carol", "example.com", line.trim_start_matches(&format!("{SESSION}=1."))] {
        assert!(!held.contains(part), "{part} stands in the store");
    }

    // Who signs in again has another key, and the one before is of no use.
    let page = browser.sign_in("carol", &at("/.auth/login/corp?return_to=/"));
    assert_eq!(page.response.status, 200);
    assert_ne!(cookies(&browser), line);
    until("the record from before is gone", || records() == 1);
    for gateway in [0, 1] {
        until("both gateways refuse the session from before", || {
            let mut planted = scene.browser(gateway);
            planted.jar.set(&at("/").parse().expect("a URL"), &format!("{line}; Path=/"));
            scene.status(&mut planted, gateway) == 302
        });
    }

    let last = cookies(&browser);
    scene.reach(&mut browser, 1);
    let page = browser.open(&at("/.auth/logout"));
    assert!(page.response.status < 400, "{}", page.text());
    for gateway in [0, 1] {
        until("both gateways refuse a copied cookie", || {
            let mut copied = scene.browser(gateway);
            copied.jar.set(&at("/").parse().expect("a URL"), &format!("{last}; Path=/"));
            scene.status(&mut copied, gateway) == 302
        });
    }
    until("the record is gone", || records() == 0);
    for gateway in &scene.gateways {
        assert!(!gateway.logs().contains("panicked"), "{}", gateway.logs());
    }
}

fn records_of(told: &str) -> usize {
    told.lines().filter(|line| line.starts_with("portcullis:r:")).count()
}

#[test]
fn in_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("sessions.db");
    let scene = Scene::new(&patient(&format!("sqlite:{}", path.display())));
    let dump = || {
        let files = ["", "-wal"].map(|ending| std::fs::read(format!("{}{ending}", path.display())).unwrap_or_default());
        String::from_utf8_lossy(&files.concat()).into_owned()
    };
    // Rows that were deleted leave their bytes behind, so they are counted by a gateway that reads them.
    let count = || sqlite_rows(&path);
    a_session_lives_in(&scene, &count, &dump);
}

fn sqlite_rows(path: &std::path::Path) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let Ok(pool) = sqlx::sqlite::SqlitePoolOptions::new().connect_with(options).await else { return 0 };
        let count = sqlx::query_scalar("SELECT count(*) FROM portcullis_records").fetch_one(&pool).await;
        let count: i64 = count.unwrap_or_default();
        pool.close().await;
        usize::try_from(count).expect("a count")
    })
}

#[test]
fn in_redis() {
    if !are_there("stores::in_redis", &[Part::Redis]) {
        return;
    }
    let redis = Redis::start();
    let scene = Scene::new(&patient(&format!("redis://127.0.0.1:{}", redis.port())));
    a_session_lives_in(&scene, &|| records_of(&redis.ask(&["KEYS", "*"])), &|| dump(&redis));
}

#[test]
fn in_redis_over_tls_with_a_certificate_and_a_password() {
    if !are_there("stores::in_redis_over_tls", &[Part::Redis]) {
        return;
    }
    let redis = Redis::tls();
    redis.ask(&["ACL", "SETUSER", "gate", "on", ">pass word", "~portcullis:*", "+@all"]);
    let tls = redis.tls_files().clone();
    let password = redis.folder().join("password");
    std::fs::write(&password, "pass word\n").expect("a file can be written");
    let table = format!(
        "{{ url = \"rediss://gate@localhost:{}/0\", timeout = \"10s\", password = {{ file = {password:?} }}, ca = {:?}, cert = {:?}, key = {:?} }}",
        redis.port(),
        tls.ca,
        tls.cert,
        tls.key
    );
    let scene = Scene::new(&table);
    a_session_lives_in(&scene, &|| records_of(&redis.ask(&["KEYS", "*"])), &|| dump(&redis));
}

#[test]
fn behind_sentinels() {
    if !are_there("stores::behind_sentinels", &[Part::Redis]) {
        return;
    }
    let sentinels = Sentinels::start();
    let scene = Scene::new(&patient(&sentinels.url()));
    let primary = &sentinels.primary;
    a_session_lives_in(&scene, &|| records_of(&primary.ask(&["KEYS", "*"])), &|| dump(primary));
}

#[test]
fn in_a_cluster() {
    if !are_there("stores::in_a_cluster", &[Part::Redis]) {
        return;
    }
    let cluster = Cluster::start();
    let scene = Scene::new(&patient(&cluster.url()));
    let primaries = || cluster.nodes.iter().filter(|node| node.ask(&["ROLE"]).starts_with("master"));
    let records = || primaries().map(|node| records_of(&node.ask(&["KEYS", "*"]))).sum();
    a_session_lives_in(&scene, &records, &|| primaries().map(dump).collect());
}

#[test]
fn in_postgres() {
    if !are_there("stores::in_postgres", &[Part::Postgres]) {
        return;
    }
    let postgres = Postgres::start();
    let scene = Scene::new(&patient(&postgres.url()));
    let count = || {
        let there = postgres.ask("portcullis", "SELECT to_regclass('portcullis_records') IS NOT NULL") == "t";
        if there {
            postgres.ask("portcullis", "SELECT count(*) FROM portcullis_records").parse().expect("a count")
        } else {
            0
        }
    };
    let dump = || postgres.ask("portcullis", "SELECT encode(value, 'escape') FROM portcullis_records");
    a_session_lives_in(&scene, &count, &dump);
}

/// Everything that a server of Redis holds.
fn dump(redis: &Redis) -> String {
    let names = redis.ask(&["KEYS", "*"]);
    let values = names.lines().filter(|name| name.starts_with("portcullis:r:")).map(|name| redis.ask(&["GET", name]));
    values.chain([names.clone()]).collect::<Vec<_>>().join("\n")
}

#[test]
fn keys_rotate_ten_times_and_nobody_is_signed_out() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let store = format!("store = {}", patient(&format!("sqlite:{}", folder.path().join("s.db").display())));
    let key = |number: u8| {
        let bytes: Vec<u8> = (0..32_u8).map(|i| i.wrapping_mul(37).wrapping_add(number)).collect();
        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
    };
    let mut scene = Scene::with(1, &[&store]);
    let mut browser = scene.signed_in("alice", 0);
    let first = cookies(&browser);
    let mut keys = vec![SESSION_KEY.to_owned()];
    for number in 1..=10 {
        keys.insert(0, key(number));
        keys.truncate(2);
        scene.use_keys(&keys);
        scene.gateways[0] = scene.gateway();
        let before = cookies(&browser);
        assert_eq!(scene.status(&mut browser, 0), 200, "rotation {number}");
        assert_ne!(cookies(&browser), before, "the cookie is carried to the first key");
    }
    let mut stale = scene.browser(0);
    stale.jar.set(&at("/").parse().expect("a URL"), &format!("{first}; Path=/"));
    assert_eq!(scene.status(&mut stale, 0), 302, "a key that left opens nothing");
}
