//! Thousands of connections that do nothing, or nothing in time: everybody else is served as before, within bounds of memory.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::SESSION_KEY;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;

const HOST: &str = "app.example.com";
const CROWD: usize = 2_000;

fn start(upstream: &Upstream) -> Gateway {
    let text = format!(
        "public_url = \"https://{HOST}\"\nworkers = 2\n[listen]\nhttp = [\"127.0.0.1:0\"]\n\
         [limits]\nheader_timeout = \"60s\"\nconnections_per_address = 100000\n\
         [session]\nkeys = [\"{SESSION_KEY}\"]\n[upstreams.app]\nurl = \"{}\"\n\
         [[routes]]\npath = \"/*\"\nallow = \"everyone\"\n",
        upstream.url()
    );
    Gateway::start_files(&[("portcullis.toml", &text)], &[])
}

/// Connections need descriptors on our side too.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// How long the slowest of the fastest 99 of 100 requests takes.
#[allow(clippy::disallowed_methods, reason = "a test that measures has to read a clock")]
fn p99(client: &Client) -> Duration {
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(client.get("/").send().status, 200);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[98]
}

fn crowd(client: &Client, bytes: &[u8]) -> Vec<TcpStream> {
    (0..CROWD)
        .map(|_| {
            let mut stream = client.connect();
            stream.write_all(bytes).unwrap();
            stream
        })
        .collect()
}

#[test]
fn thousands_that_do_nothing_or_drip_are_not_noticed_by_the_others() {
    raise_descriptors();
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let client = gateway.client().named(HOST);
    let before = gateway.memory();
    let calm = p99(&client);
    let _idle = crowd(&client, b"");
    let mut slow = crowd(&client, b"GET / HTTP/1.1\r\nHost: app.example.com\r\nX-Slow: ");
    for stream in &mut slow {
        stream.write_all(b"x").unwrap();
    }
    // The best of three, since other tests want the machine too; and what is far below anybody's notice is no difference.
    let crowded = (0..3).map(|_| p99(&client)).min().unwrap_or_default();
    assert!(crowded <= (calm * 2).max(Duration::from_millis(50)), "{calm:?} alone, {crowded:?} with {CROWD} others");
    let after = gateway.memory();
    let each = (after.resident - before.resident.min(after.resident)) / (2 * CROWD as u64);
    assert!(each < 32, "{each} KiB a connection: {before:?} {after:?}");
    assert_eq!(upstream.count(), 400, "nothing of the slow ones reached the upstream");
}
