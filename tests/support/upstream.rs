//! An upstream that keeps the exact bytes of every request and answers by script; without one it echoes.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest;

use super::answer::Answer;
use super::wire::{Head, Reader, request_framing};
use super::{PATIENCE, hex, pause};

/// The most of a body that is kept; digest and length are of all of it.
const KEPT_BODY: usize = 64 * 1024;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Which connection it came over, counted from 0.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// The target, byte for byte.
    pub target: String,
    /// Request line and fields, in order and spelling.
    pub head: Head,
    /// How long the body was.
    pub body_bytes: u64,
    /// SHA-256 of the body, hexadecimal.
    pub body_sha256: String,
    /// The first 64 KiB of the body.
    pub body: Vec<u8>,
    /// Trailers of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Recorded {
    /// The value of the first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// Whether `needle` stands anywhere in the head.
    pub fn mentions(&self, needle: &str) -> bool {
        String::from_utf8_lossy(&self.head.raw).contains(needle)
    }
}

/// A running upstream; it serves until the test process ends.
#[derive(Clone)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    requests: Vec<Recorded>,
    begun: usize,
    connections: usize,
    open: usize,
    bytes: u64,
    scripts: Vec<(String, Vec<Answer>)>,
}

impl Upstream {
    /// Starts one that echoes everything.
    pub fn start() -> Self {
        let listener = super::listen(0);
        let upstream = Self { address: listener.local_addr().expect("it is bound"), shared: Arc::default() };
        let serving = upstream.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                let number = {
                    let mut shared = serving.shared.lock().expect("no server thread panics");
                    shared.connections += 1;
                    shared.open += 1;
                    shared.connections - 1
                };
                thread::spawn(move || {
                    // A connection that breaks is the other side's doing; what came before is recorded.
                    let _broken = serving.serve(number, stream);
                    serving.shared.lock().expect("no server thread panics").open -= 1;
                });
            }
        });
        upstream
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers every request for this path, query left aside, with `answer`.
    pub fn on(&self, path: &str, answer: Answer) {
        self.on_each(path, vec![answer]);
    }

    /// Answers the requests for this path with these in turn, and with the last one from then on.
    pub fn on_each(&self, path: &str, answers: Vec<Answer>) {
        assert!(!answers.is_empty(), "a script needs an answer");
        let reversed = answers.into_iter().rev().collect();
        let mut shared = self.shared.lock().expect("no server thread panics");
        shared.scripts.retain(|(scripted, _)| scripted != path);
        shared.scripts.push((path.to_owned(), reversed));
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.lock().expect("no server thread panics").requests.clone()
    }

    /// The only request so far.
    ///
    /// # Panics
    /// When there were none or several.
    pub fn only_request(&self) -> Recorded {
        let mut requests = self.requests();
        assert_eq!(
            requests.len(),
            1,
            "requests: {:?}",
            requests.iter().map(|one| &one.head.first_line).collect::<Vec<_>>()
        );
        requests.remove(0)
    }

    /// The latest request.
    pub fn last_request(&self) -> Recorded {
        self.requests().pop().expect("there was a request")
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.shared.lock().expect("no server thread panics").requests.len()
    }

    /// Requests whose head has come so far, also of those whose body has not; [`Upstream::forget`] forgets none of them.
    pub fn begun(&self) -> usize {
        self.shared.lock().expect("no server thread panics").begun
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.shared.lock().expect("no server thread panics").requests.clear();
    }

    /// Connections taken so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().expect("no server thread panics").connections
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.lock().expect("no server thread panics").open
    }

    /// Bytes received over all connections so far, counted when a request is over.
    pub fn bytes(&self) -> u64 {
        self.shared.lock().expect("no server thread panics").bytes
    }

    /// Waits until there were `count` requests; whether it came so.
    pub fn comes_to(&self, count: usize) -> bool {
        let tick = Duration::from_millis(10);
        let mut left = PATIENCE;
        while self.count() < count {
            if left.is_zero() {
                return false;
            }
            pause(tick);
            left = left.saturating_sub(tick);
        }
        true
    }

    fn serve(&self, connection: usize, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = Reader::new(stream.try_clone()?);
        let mut counted = 0;
        loop {
            let head = match reader.head() {
                Ok(Some(head)) => head,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.shared.lock().expect("no server thread panics").bytes += reader.taken() - counted;
                    return Err(error);
                }
            };
            self.shared.lock().expect("no server thread panics").begun += 1;
            if head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
                io::Write::write_all(&mut stream, b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let (recorded, failed) = record(connection, head, &mut reader);
            let path = recorded.target.split('?').next().unwrap_or_default().to_owned();
            let answer = {
                let mut shared = self.shared.lock().expect("no server thread panics");
                shared.bytes += reader.taken() - counted;
                counted = reader.taken();
                shared.requests.push(recorded.clone());
                shared.script(&path)
            };
            if let Some(error) = failed {
                return Err(error);
            }
            if !answer.send(&recorded, &mut stream, &mut reader)? || recorded.head.lists("connection", "close") {
                return Ok(());
            }
        }
    }
}

impl Shared {
    fn script(&mut self, path: &str) -> Answer {
        let scripted = self.scripts.iter_mut().find(|(scripted, _)| scripted == path);
        scripted.map_or_else(Answer::echo, |(_, answers)| {
            if answers.len() > 1 { answers.pop().expect("more than one") } else { answers[0].clone() }
        })
    }
}

fn record(connection: usize, head: Head, reader: &mut Reader<TcpStream>) -> (Recorded, Option<io::Error>) {
    let mut words = head.first_line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut kept = Vec::new();
    let mut body_bytes = 0;
    let read = reader.body(request_framing(&head), &mut |part| {
        digest.update(part);
        body_bytes += part.len() as u64;
        let room = KEPT_BODY - kept.len();
        kept.extend_from_slice(&part[..part.len().min(room)]);
    });
    let (trailers, failed) = match read {
        Ok(trailers) => (trailers, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let body_sha256 = hex(digest.finish().as_ref());
    let whole = failed.is_none();
    (Recorded { connection, method, target, head, body_bytes, body_sha256, body: kept, trailers, whole }, failed)
}
