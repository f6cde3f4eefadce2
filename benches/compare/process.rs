//! A server under measurement: started on its cores, waited for, stopped when it is dropped.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use portcullis::base::clock;

use crate::Outcome;

/// How long a server may take to start; valgrind makes that long.
const START: Duration = Duration::from_mins(1);

/// A server that runs until this is dropped.
pub(crate) struct Running {
    child: Child,
    words: PathBuf,
}

/// A port of 127.0.0.1 that is free now.
pub(crate) fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The command that runs `program` on these cores (a list as taskset reads it), or wherever it likes.
pub(crate) fn on_cores(cores: Option<&str>, program: &Path) -> Command {
    match cores {
        Some(cores) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(cores).arg(program);
            command
        }
        None => Command::new(program),
    }
}

impl Running {
    /// Starts `command`. What it says on standard error goes to the file `words`, for the message when it fails.
    pub(crate) fn start(command: &mut Command, words: PathBuf) -> Outcome<Self> {
        let errors = std::fs::File::create(&words)?;
        let child = command.stdin(Stdio::null()).stderr(errors).spawn();
        Ok(Self { child: child.map_err(|error| format!("{command:?}: {error}"))?, words })
    }

    /// The process; `taskset` has become the program by then.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the line `ready http://…` on standard output, then lets the rest of it go by unread.
    pub(crate) fn wait_for_ready_line(&mut self) -> Outcome<()> {
        let Some(out) = self.child.stdout.take() else { return Err("its standard output is not ours to read".into()) };
        let (tell, told) = mpsc::channel();
        drop(std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line.starts_with("ready http://") && tell.send(()).is_err() {
                    return;
                }
            }
        }));
        match told.recv_timeout(START) {
            Ok(()) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(self.failure("does not become ready")),
            Err(RecvTimeoutError::Disconnected) => Err(self.failure("ended before it was ready")),
        }
    }

    /// Waits until `port` answers.
    pub(crate) fn wait_for_port(&mut self, port: u16) -> Outcome<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let started = clock::instant();
        while TcpStream::connect_timeout(&address, Duration::from_millis(50)).is_err() {
            if self.child.try_wait()?.is_some() {
                return Err(self.failure("ended before it was ready"));
            }
            if started.elapsed() > START {
                return Err(self.failure("answers no connection"));
            }
            pause(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Asks it to end and waits until it has, as long as `patience`; then ends it.
    pub(crate) fn stop(&mut self, patience: Duration) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // TERM rather than KILL: the first process of nginx has to end its workers.
        let _asked = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status();
        let asked = clock::instant();
        while matches!(self.child.try_wait(), Ok(None)) {
            if asked.elapsed() > patience {
                let _gone = self.child.kill();
                let _gone = self.child.wait();
                return;
            }
            pause(Duration::from_millis(5));
        }
    }

    fn failure(&self, what: &str) -> Box<dyn std::error::Error> {
        let words = std::fs::read_to_string(&self.words).unwrap_or_default();
        format!("the server {what}; it said:\n{words}").into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop(Duration::from_secs(3));
    }
}

/// Waits on this thread, on which nothing else runs.
#[allow(clippy::disallowed_methods, reason = "the thread that measures is no worker, and waiting is all it has to do")]
pub(crate) fn pause(span: Duration) {
    std::thread::sleep(span);
}
