//! A program that a test starts: its lines are kept as they come, and it is gone when the test is over.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::pause;

/// What a program has written so far, line by line, from both of its streams.
#[derive(Clone, Default)]
struct Lines {
    shared: Arc<(Mutex<Written>, Condvar)>,
}

#[derive(Default)]
struct Written {
    out: Vec<String>,
    err: Vec<String>,
    open_streams: usize,
}

/// A running program.
pub struct Process {
    what: String,
    child: Child,
    lines: Lines,
}

impl Process {
    /// Starts `command`; `what` names it in failures.
    pub fn start(what: &str, command: &mut Command) -> Self {
        Self::start_with(what, command, Stdio::null())
    }

    /// Starts `command` with this as its standard input.
    pub fn start_with(what: &str, command: &mut Command, input: Stdio) -> Self {
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{what} can't be started: {error}"));
        let lines = Lines::default();
        lines.shared.0.lock().expect("no reader panics").open_streams = 2;
        lines.collect(child.stdout.take().expect("it is piped"), |written| &mut written.out);
        lines.collect(child.stderr.take().expect("it is piped"), |written| &mut written.err);
        Self { what: what.to_owned(), child, lines }
    }

    /// The first line of standard output that `pick` makes something of, waited for at most `patience`.
    ///
    /// # Panics
    /// When the program ends or the time is over before such a line; the message holds all that it wrote.
    pub fn wait_for<T>(&self, patience: Duration, pick: impl Fn(&str) -> Option<T>) -> T {
        let (lock, changed) = &*self.lines.shared;
        let mut written = lock.lock().expect("no reader panics");
        let mut seen = 0;
        let mut left = patience;
        loop {
            while let Some(line) = written.out.get(seen) {
                seen += 1;
                if let Some(found) = pick(line) {
                    return found;
                }
            }
            let over = written.open_streams == 0 || left.is_zero();
            if over {
                drop(written);
                panic!("{} did not get ready within {patience:?}; it wrote:\n{}", self.what, self.logs());
            }
            let tick = left.min(Duration::from_millis(100));
            let (again, timeout) = changed.wait_timeout(written, tick).expect("no reader panics");
            written = again;
            if timeout.timed_out() {
                left -= tick;
            }
        }
    }

    /// All that it wrote so far: standard output, then standard error. What it wrote a moment ago may still be on its way here, so this
    /// waits until nothing comes any more.
    pub fn logs(&self) -> String {
        const QUIET: Duration = Duration::from_millis(40);
        const MOST: usize = 25;
        let (lock, changed) = &*self.lines.shared;
        let mut written = lock.lock().expect("no reader panics");
        for _ in 0..MOST {
            if written.open_streams == 0 {
                break;
            }
            let (again, timeout) = changed.wait_timeout(written, QUIET).expect("no reader panics");
            written = again;
            if timeout.timed_out() {
                break;
            }
        }
        let mut all = written.out.clone();
        all.extend(written.err.iter().cloned());
        all.join("\n")
    }

    /// Standard output and standard error to their ends; for a program that has ended.
    pub fn streams(&self) -> (String, String) {
        let (lock, changed) = &*self.lines.shared;
        let open = |written: &mut Written| written.open_streams > 0;
        let guard = lock.lock().expect("no reader panics");
        let written = changed.wait_timeout_while(guard, super::PATIENCE, open).expect("no reader panics").0;
        (written.out.join("\n"), written.err.join("\n"))
    }

    /// Waits until `needle` stands in what it wrote; whether it came within `patience`.
    pub fn logs_come_to_hold(&self, needle: &str, patience: Duration) -> bool {
        let tick = Duration::from_millis(20);
        let mut left = patience;
        loop {
            if self.logs().contains(needle) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            pause(tick);
            left = left.saturating_sub(tick);
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal`, by its name: `TERM`, `HUP`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().expect("kill can be run");
        assert!(sent.success(), "signal {signal} could not be sent to {}", self.what);
    }

    /// Waits for its end; `None` when it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let tick = Duration::from_millis(20);
        let mut left = patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return Some(status);
            }
            if left.is_zero() {
                return None;
            }
            pause(tick);
            left = left.saturating_sub(tick);
        }
    }

    /// Asks it to stop by `TERM` and waits for its end.
    pub fn stop(&mut self, patience: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(patience)
            .unwrap_or_else(|| panic!("{} did not stop within {patience:?}:\n{}", self.what, self.logs()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to kill and its status was collected.
        let _ended_already = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Lines {
    fn collect(&self, stream: impl Read + Send + 'static, side: fn(&mut Written) -> &mut Vec<String>) {
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            let (lock, changed) = &*shared;
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                side(&mut lock.lock().expect("no reader panics")).push(text);
                changed.notify_all();
                line.clear();
            }
            lock.lock().expect("no reader panics").open_streams -= 1;
            changed.notify_all();
        });
    }
}

/// The address after `ready `, where a program says that it serves.
pub fn ready_address(line: &str) -> Option<String> {
    let rest = line.strip_prefix("ready ")?;
    rest.split_whitespace().next().map(str::to_owned)
}
