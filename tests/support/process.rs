//! A program that a test starts: what it writes is kept, and it is gone when the test is over.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pause;

/// A running program.
///
/// It writes into files without a name, not into pipes: what it wrote before a test heard of something is there for certain, however
/// busy the machine is, and nothing has to be read for the program to go on.
pub struct Process {
    what: String,
    child: Mutex<Child>,
    id: u32,
    out: File,
    err: File,
}

impl Process {
    /// Starts `command`; `what` names it in failures.
    pub fn start(what: &str, command: &mut Command) -> Self {
        Self::start_with(what, command, Stdio::null())
    }

    /// Starts `command` with this as its standard input.
    pub fn start_with(what: &str, command: &mut Command, input: Stdio) -> Self {
        let (out, err) = (file(), file());
        command.stdin(input).stdout(copy(&out)).stderr(copy(&err));
        let child = command.spawn().unwrap_or_else(|error| panic!("{what} can't be started: {error}"));
        // A command that stays would keep copies of the files.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self { what: what.to_owned(), id: child.id(), child: Mutex::new(child), out, err }
    }

    /// The first line of standard output that `pick` makes something of, waited for at most `patience`.
    ///
    /// # Panics
    /// When the program ends or the time is over before such a line; the message holds all that it wrote.
    pub fn wait_for<T>(&self, patience: Duration, pick: impl Fn(&str) -> Option<T>) -> T {
        let tick = Duration::from_millis(5);
        let mut left = patience;
        let mut seen = 0;
        loop {
            // Asked before the lines are looked at, so that the last ones are among them.
            let ended = self.has_ended();
            let written = text_from(&self.out, seen);
            // A line that is not over yet is looked at the next time.
            let whole = written.rfind('\n').map_or(0, |end| end + 1);
            if let Some(found) = written[..whole].lines().find_map(&pick) {
                return found;
            }
            seen += whole as u64;
            let waits = !ended && !left.is_zero();
            assert!(waits, "{} did not get ready within {patience:?}; it wrote:\n{}", self.what, self.logs());
            pause(tick);
            left = left.saturating_sub(tick);
        }
    }

    /// All that it wrote so far: standard output, then standard error. What it did a moment ago may be written a moment later, so this
    /// waits until nothing comes any more.
    pub fn logs(&self) -> String {
        const QUIET: Duration = Duration::from_millis(40);
        const MOST: usize = 25;
        let size = || [&self.out, &self.err].map(|file| file.metadata().expect("it can be looked at").len());
        let mut before = size();
        for _ in 0..MOST {
            if self.has_ended() {
                break;
            }
            pause(QUIET);
            let now = size();
            if now == before {
                break;
            }
            before = now;
        }
        let (out, err) = self.streams();
        [out, err].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Standard output and standard error as they are now: to their ends for a program that has ended.
    pub fn streams(&self) -> (String, String) {
        let text = |file| text_from(file, 0).lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        (text(&self.out), text(&self.err))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.child().try_wait().expect("it is our child").is_some()
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
        self.id
    }

    /// Sends `signal`, by its name: `TERM`, `HUP`.
    pub fn signal(&self, signal: &str) {
        let id = self.id.to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().expect("kill can be run");
        assert!(sent.success(), "signal {signal} could not be sent to {}", self.what);
    }

    /// Waits for its end; `None` when it still runs after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let tick = Duration::from_millis(20);
        let mut left = patience;
        loop {
            let status =
                self.child.get_mut().unwrap_or_else(PoisonError::into_inner).try_wait().expect("it is our child");
            if status.is_some() || left.is_zero() {
                return status;
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
        let mut child = self.child();
        let _ended_already = child.kill();
        let _status = child.wait();
    }
}

/// A file that has lost its name, to whose end everybody writes.
fn file() -> File {
    tempfile::Builder::new().append(true).tempfile().expect("a temporary file can be made").into_file()
}

fn copy(file: &File) -> Stdio {
    Stdio::from(file.try_clone().expect("a file can be shared"))
}

/// What stands in `file` from `start` on. The place where the program writes is not moved.
fn text_from(file: &File, start: u64) -> String {
    let length = file.metadata().expect("it can be looked at").len().saturating_sub(start);
    let mut bytes = vec![0; usize::try_from(length).expect("it fits into memory")];
    file.read_exact_at(&mut bytes, start).expect("it has so much");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The address after `ready `, where a program says that it serves.
pub fn ready_address(line: &str) -> Option<String> {
    let rest = line.strip_prefix("ready ")?;
    rest.split_whitespace().next().map(str::to_owned)
}
