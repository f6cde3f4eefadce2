//! The access log: one line a request, built by hand because every request pays for it, written by a thread of its own.
//!
//! A line holds no query (it may carry a code), no claim and no header; every text in it is escaped, so that nothing a visitor sends can
//! begin a line of its own or move a terminal's cursor.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::log::Shape;
use crate::base::clock::Timestamp;

/// Lines that may wait for the writer; past that they are dropped and counted, because a slow terminal must not stop the gateway.
const WAITING_LINES: usize = 16 * 1024;

/// One request, told after its answer's head is known.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// When.
    pub time: Timestamp,
    /// The request's name, as on pages and towards the upstream.
    pub request_id: &'a str,
    /// The real client's address.
    pub client: Option<std::net::IpAddr>,
    /// The method.
    pub method: &'a str,
    /// The host that was asked for.
    pub host: &'a str,
    /// The path, without its query.
    pub path: &'a str,
    /// The route's name; absent when none fits.
    pub route: Option<&'a str>,
    /// What was decided.
    pub decision: &'a str,
    /// An opaque name of who was signed in, never their claims.
    pub principal: Option<&'a str>,
    /// The answer's status.
    pub status: u16,
    /// How long the upstream took to send the head of its answer.
    pub upstream: Option<Duration>,
    /// How long the whole took, to the head of the answer.
    pub total: Duration,
}

/// How long the end of a log waits for its last lines to be written: a stuck terminal must not keep the process alive.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Where entries go. Cheap to clone; when the last clone goes, what is waiting is written first.
#[derive(Clone, Debug)]
pub struct AccessLog {
    writer: Option<Arc<Writer>>,
    shape: Shape,
    dropped: Arc<AtomicU64>,
}

/// The way to the thread that writes.
#[derive(Debug)]
struct Writer {
    /// There until the end: the thread ends when it is gone.
    lines: Option<SyncSender<String>>,
    /// Ends when the thread has written all.
    ended: Mutex<Receiver<Infallible>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lines.take();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Either the thread has let go of its side, or it takes too long: in both cases there is no more to wait for.
        let _over = ended.recv_timeout(LAST_LINES);
    }
}

impl AccessLog {
    /// A log that writes to standard error, unless the filter has switched the target `access` off.
    ///
    /// # Errors
    /// When the writer's thread can't be started.
    pub fn start(shape: Shape) -> std::io::Result<Self> {
        let dropped = Arc::new(AtomicU64::new(0));
        if !tracing::enabled!(target: "access", tracing::Level::INFO) {
            return Ok(Self { writer: None, shape, dropped });
        }
        let (lines, waiting) = sync_channel(WAITING_LINES);
        let (ends, ended) = channel::<Infallible>();
        let counter = Arc::clone(&dropped);
        drop(std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            write_all(&waiting, &counter);
            drop(ends);
        })?);
        let writer = Writer { lines: Some(lines), ended: Mutex::new(ended) };
        Ok(Self { writer: Some(Arc::new(writer)), shape, dropped })
    }

    /// Whether anybody reads: when not, an entry need not be made.
    pub const fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Writes one entry.
    pub fn record(&self, entry: &Entry<'_>) {
        let Some(lines) = self.writer.as_ref().and_then(|writer| writer.lines.as_ref()) else { return };
        let line = match self.shape {
            Shape::Text => text(entry),
            Shape::Json => json(entry),
        };
        if let Err(TrySendError::Full(_)) = lines.try_send(line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(waiting: &Receiver<String>, dropped: &AtomicU64) {
    let mut batch = String::new();
    while let Ok(first) = waiting.recv() {
        batch.clear();
        batch.push_str(&first);
        while batch.len() < 64 * 1024
            && let Ok(next) = waiting.try_recv()
        {
            batch.push_str(&next);
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "access log lines were dropped because standard error is read too slowly");
        }
        // Standard error may be closed; a gateway goes on without its log.
        drop(std::io::stderr().lock().write_all(batch.as_bytes()));
    }
}

fn text(entry: &Entry<'_>) -> String {
    let mut line = String::with_capacity(256);
    stamp(&mut line, entry.time);
    line.push_str(" access request_id=");
    line.push_str(entry.request_id);
    if let Some(client) = entry.client {
        put(&mut line, format_args!(" client={client}"));
    }
    for (key, value) in [("method", entry.method), ("host", entry.host), ("path", entry.path)] {
        put(&mut line, format_args!(" {key}="));
        quote(&mut line, value);
    }
    for (key, value) in [("route", entry.route), ("decision", Some(entry.decision)), ("principal", entry.principal)] {
        if let Some(value) = value {
            put(&mut line, format_args!(" {key}="));
            quote(&mut line, value);
        }
    }
    put(&mut line, format_args!(" status={}", entry.status));
    if let Some(upstream) = entry.upstream {
        put(&mut line, format_args!(" upstream_ms={}", Millis(upstream)));
    }
    put(&mut line, format_args!(" total_ms={}\n", Millis(entry.total)));
    line
}

fn json(entry: &Entry<'_>) -> String {
    let mut line = String::with_capacity(320);
    line.push_str("{\"timestamp\":\"");
    stamp(&mut line, entry.time);
    line.push_str("\",\"level\":\"INFO\",\"target\":\"access\",\"request_id\":");
    quote(&mut line, entry.request_id);
    if let Some(client) = entry.client {
        put(&mut line, format_args!(",\"client\":\"{client}\""));
    }
    for (key, value) in [
        ("method", Some(entry.method)),
        ("host", Some(entry.host)),
        ("path", Some(entry.path)),
        ("route", entry.route),
        ("decision", Some(entry.decision)),
        ("principal", entry.principal),
    ] {
        if let Some(value) = value {
            put(&mut line, format_args!(",\"{key}\":"));
            quote(&mut line, value);
        }
    }
    put(&mut line, format_args!(",\"status\":{}", entry.status));
    if let Some(upstream) = entry.upstream {
        put(&mut line, format_args!(",\"upstream_ms\":{}", Millis(upstream)));
    }
    put(&mut line, format_args!(",\"total_ms\":{}}}\n", Millis(entry.total)));
    line
}

fn put(line: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    line.write_fmt(arguments).unwrap_or_default();
}

fn stamp(line: &mut String, time: Timestamp) {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_second(seconds) {
        Ok(at) => put(line, format_args!("{at}")),
        Err(_) => put(line, format_args!("{seconds}")),
    }
}

/// A JSON string literal, which serves as a quoted value in text too. Everything but printable ASCII is escaped.
fn quote(line: &mut String, value: &str) {
    line.push('"');
    for c in value.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            ' '..='~' => line.push(c),
            _ => {
                let mut units = [0_u16; 2];
                for unit in c.encode_utf16(&mut units) {
                    put(line, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
    line.push('"');
}

struct Millis(Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry<'_> {
        Entry {
            time: Timestamp::from_seconds(1_700_000_000),
            request_id: "00",
            client: Some(std::net::IpAddr::from([127, 0, 0, 1])),
            method: "GET",
            host: "app.example.com",
            path,
            route: Some("/*"),
            decision: "pass",
            principal: Some("ab12"),
            status: 200,
            upstream: Some(Duration::from_micros(1500)),
            total: Duration::from_micros(2001),
        }
    }

    #[test]
    fn a_line_tells_one_request() {
        assert_eq!(
            text(&entry("/x")),
            "2023-11-14T22:13:20Z access request_id=00 client=127.0.0.1 method=\"GET\" host=\"app.example.com\" path=\"/x\" \
             route=\"/*\" decision=\"pass\" principal=\"ab12\" status=200 upstream_ms=1.500 total_ms=2.001\n"
        );
        let value: serde_json::Value = serde_json::from_str(&json(&entry("/x"))).unwrap();
        assert_eq!(value["path"], "/x");
        assert_eq!(value["upstream_ms"], 1.5);
    }

    #[test]
    fn nothing_sent_can_begin_a_line_or_move_a_cursor() {
        let nasty = "/a\r\nforged \u{1b}[31m\u{85}\u{2028}\"\\\u{1f600}";
        for line in [text(&entry(nasty)), json(&entry(nasty))] {
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(line.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        }
        let value: serde_json::Value = serde_json::from_str(&json(&entry(nasty))).unwrap();
        assert_eq!(value["path"], nasty);
    }
}
