//! Classes 9, 10 and 16: ten thousand connections that do nothing in time (slow heads, slow bodies, slow readers): everybody else is
//! served as at a gateway where nobody dawdles, memory stays within bounds, and who dawdles is cut when the time is up.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use portcullis::base::clock::instant;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::{SESSION_KEY, comes_true, listen, pause};

const HOST: &str = "app.example.com";

/// How many dawdle in each way; ten thousand in all.
const HEADS: usize = 6_500;
const BODIES: usize = 3_000;
const READERS: usize = 500;
/// Descriptors that this process needs for them: their own ends, and those of the upstream's connections.
const DESCRIPTORS: u64 = (HEADS + 2 * BODIES + 2 * READERS + 1_000) as u64;
/// How long the gateway waits for those that dawdle.
const LIMIT: Duration = Duration::from_secs(40);
/// What nobody notices, whatever it was before.
const UNNOTICED: Duration = Duration::from_millis(50);
/// Requests of a measurement, and how many measurements one of them may have been disturbed by whatever else the machine does.
const REQUESTS_EACH: usize = 200;
const MEASUREMENTS: usize = 8;
/// The longest that anybody waits: far more than the busiest machine needs, far less than those that dawdle take.
const BOUND: Duration = Duration::from_secs(10);

/// What came to the upstream.
static REQUESTS: AtomicUsize = AtomicUsize::new(0);

/// An upstream without threads: a POST is read for as long as it takes, `/big` is an answer that is never over.
fn upstream() -> SocketAddr {
    let listener = listen(0);
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
         [limits]\nheader_timeout = \"{0}s\"\nbody_timeout = \"{0}s\"\nsend_timeout = \"{0}s\"\n\
         connections = 100000\nconnections_per_address = 100000\n\
         [session]\nkeys = [\"{SESSION_KEY}\"]\n[upstreams.app]\nurl = \"http://{upstream}\"\n\
         [[routes]]\npath = \"/*\"\nallow = \"everyone\"\n",
        LIMIT.as_secs()
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

/// How long the slowest of the fastest 99 of 100 requests takes to each of two gateways. They are sent in turns, so that whatever else the
/// machine does meets both.
fn p99(gateways: [&Client; 2]) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..REQUESTS_EACH {
        for (client, times) in gateways.iter().zip(&mut times) {
            let begun = instant();
            assert_eq!(client.get("/").send().status, 200);
            let took = begun.elapsed();
            assert!(took < BOUND, "a request took {took:?}");
            times.push(took);
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[REQUESTS_EACH * 99 / 100 - 1]
    })
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

/// Whether the other side has closed it, whatever it sent before.
fn is_cut(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut [0; 8 * 1024]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn ten_thousand_that_dawdle_are_not_noticed_by_the_others_and_are_cut_in_the_end() {
    raise_descriptors();
    let upstream = upstream();
    let (gateway, calm) = (start(upstream), start(upstream));
    let (client, calm) = (gateway.client().named(HOST), calm.client().named(HOST));
    let address = gateway.url().trim_start_matches("http://").parse().unwrap();
    let mut sent = 2 * REQUESTS_EACH;
    p99([&client, &calm]);
    let before = gateway.memory();

    let body = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\nx");
    let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ");
    let began = instant();
    let mut dripping = crowd(HEADS, &client, head.as_bytes());
    dripping.extend(crowd(BODIES, &client, body.as_bytes()));
    let reading = Mutex::new(readers(&client, address));
    // All of them are let in, and the bodies and readers have begun.
    assert!(comes_true(|| REQUESTS.load(Ordering::Relaxed) >= sent + BODIES + READERS), "{REQUESTS:?}");
    let stop = AtomicBool::new(false);
    // A head has so long as a whole. Before that nobody is cut who is as slow as keeps it going.
    let may_be_cut = || began.elapsed() >= LIMIT;
    let measured = thread::scope(|scope| {
        // Each sends or takes a byte every few seconds.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) && !may_be_cut() {
                for part in dripping.chunks(200) {
                    for mut stream in part {
                        assert!(stream.write_all(b"x").is_ok() || may_be_cut(), "cut after {:?}", began.elapsed());
                    }
                    pause(Duration::from_millis(50));
                }
                for stream in reading.lock().expect("nobody panics").iter_mut() {
                    assert!(stream.read(&mut [0]).is_ok_and(|count| count == 1) || may_be_cut(), "a reader was cut");
                }
            }
        });
        let mut measured = Vec::new();
        while measured.len() < MEASUREMENTS {
            let [crowded, calm] = p99([&client, &calm]);
            measured.push((crowded, calm));
            sent += 2 * REQUESTS_EACH;
            if crowded <= (calm * 2).max(UNNOTICED) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        measured
    });
    let after = gateway.memory();
    let (crowded, calm) = measured.last().copied().unwrap();
    assert!(crowded <= (calm * 2).max(UNNOTICED), "with ten thousand others and without: {measured:?}");
    let each = after.resident.saturating_sub(before.resident) / (HEADS + BODIES + READERS) as u64;
    assert!(each < 48, "{each} KiB a connection: {before:?} {after:?}");

    let mut left = dripping;
    left.extend(reading.into_inner().unwrap());
    pause(LIMIT);
    let cut = comes_true(|| {
        left.retain_mut(|stream| !is_cut(stream));
        left.is_empty()
    });
    assert!(cut, "{} are still there after {:?}", left.len(), began.elapsed());
    assert_eq!(client.get("/").send().status, 200);
    let came = REQUESTS.load(Ordering::Relaxed);
    assert_eq!(came, sent + 1 + BODIES + READERS, "nothing of the slow heads reached the upstream");
}
