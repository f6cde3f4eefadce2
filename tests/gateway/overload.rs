//! Class 16: ten thousand connections that do nothing in time (slow heads, slow bodies, slow readers): everybody else is served as
//! before, and memory stays within bounds.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::{SESSION_KEY, comes_true, pause};

const HOST: &str = "app.example.com";

/// How many dawdle in each way; ten thousand in all.
const HEADS: usize = 6_500;
const BODIES: usize = 3_000;
const READERS: usize = 500;
/// Descriptors that this process needs for them: their own ends, and those of the upstream's connections.
const DESCRIPTORS: u64 = (HEADS + 2 * BODIES + 2 * READERS + 1_000) as u64;
/// What nobody notices, whatever it was before.
const UNNOTICED: Duration = Duration::from_millis(50);

/// What came to the upstream.
static REQUESTS: AtomicUsize = AtomicUsize::new(0);

/// An upstream without threads: a POST is read for as long as it takes, `/big` is an answer that is never over.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                drop(tokio::spawn(serve(stream)));
            }
        });
    });
    address
}

/// However a connection ends, its other end learns of it by its socket.
async fn serve(mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
    let mut seen = Vec::new();
    loop {
        if stream.read_buf(&mut seen).await? == 0 {
            return Ok(());
        }
        if !seen.windows(4).any(|end| end == b"\r\n\r\n") {
            continue;
        }
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        if seen.starts_with(b"POST") {
            while stream.read(&mut [0; 1024]).await? > 0 {}
            return Ok(());
        }
        if seen.starts_with(b"GET /big") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 16 * 1024]).await?;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await?;
        seen.clear();
    }
}

fn start(upstream: SocketAddr) -> Gateway {
    let text = format!(
        "public_url = \"https://{HOST}\"\nworkers = 2\n[listen]\nhttp = [\"127.0.0.1:0\"]\n\
         [limits]\nheader_timeout = \"60s\"\nbody_timeout = \"60s\"\nsend_timeout = \"60s\"\n\
         connections = 100000\nconnections_per_address = 100000\n\
         [session]\nkeys = [\"{SESSION_KEY}\"]\n[upstreams.app]\nurl = \"http://{upstream}\"\n\
         [[routes]]\npath = \"/*\"\nallow = \"everyone\"\n",
    );
    Gateway::start_files(&[("portcullis.toml", &text)], &[])
}

/// Connections need descriptors on our side too, and the gateway inherits what may be had of them.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    assert!(
        limit.maximum.is_none_or(|most| most >= DESCRIPTORS),
        "this test needs {DESCRIPTORS} descriptors and may have {:?}: raise the hard limit (ulimit -Hn)",
        limit.maximum
    );
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// How long the slowest of the fastest 99 of 100 requests takes.
#[allow(clippy::disallowed_methods, reason = "a test that measures has to read a clock")]
fn p99(client: &Client) -> Duration {
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(client.get("/").send().status, 200);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[197]
}

fn crowd(count: usize, client: &Client, bytes: &[u8]) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut stream = client.connect();
            stream.write_all(bytes).unwrap();
            stream
        })
        .collect()
}

/// Readers who say from the first byte on that they have little room.
fn readers(client: &Client, address: SocketAddr) -> Vec<TcpStream> {
    (0..READERS)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            socket.connect(&address.into()).unwrap();
            let mut stream = TcpStream::from(socket);
            stream.write_all(&client.get("/big").bytes()).unwrap();
            stream
        })
        .collect()
}

#[test]
#[ignore = "needs a machine with nothing else to do"]
fn ten_thousand_that_dawdle_are_not_noticed_by_the_others() {
    raise_descriptors();
    let gateway = start(upstream());
    let client = gateway.client().named(HOST);
    let address = gateway.url().trim_start_matches("http://").parse().unwrap();
    let before = gateway.memory();
    let calm = p99(&client);

    let body = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\nx");
    let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ");
    let mut dripping = crowd(HEADS, &client, head.as_bytes());
    dripping.extend(crowd(BODIES, &client, body.as_bytes()));
    let reading = Mutex::new(readers(&client, address));
    // All of them are let in, and the bodies and readers have begun.
    assert!(comes_true(|| REQUESTS.load(Ordering::Relaxed) >= 200 + BODIES + READERS), "{REQUESTS:?}");
    let stop = AtomicBool::new(false);
    let crowded = thread::scope(|scope| {
        // Each sends or takes a byte every few seconds, as slowly as keeps it going.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for part in dripping.chunks(200) {
                    for mut stream in part {
                        stream.write_all(b"x").expect("it is still open");
                    }
                    pause(Duration::from_millis(50));
                }
                for stream in reading.lock().expect("nobody panics").iter_mut() {
                    assert_eq!(stream.read(&mut [0]).expect("it is still open"), 1);
                }
            }
        });
        // The best of three, since other tests want the machine too.
        let crowded = (0..3).map(|_| p99(&client)).min().unwrap_or_default();
        stop.store(true, Ordering::Relaxed);
        crowded
    });
    assert!(crowded <= (calm * 2).max(UNNOTICED), "{calm:?} alone, {crowded:?} with ten thousand others");
    let after = gateway.memory();
    let each = after.resident.saturating_sub(before.resident) / (HEADS + BODIES + READERS) as u64;
    assert!(each < 48, "{each} KiB a connection: {before:?} {after:?}");
    let came = REQUESTS.load(Ordering::Relaxed);
    assert_eq!(came, 800 + BODIES + READERS, "nothing of the slow heads reached the upstream");
}
