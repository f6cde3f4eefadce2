//! About 200 requests a second of people who are signed in, and what became of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use portcullis::base::clock::instant;

use crate::scene::SITE;
use crate::support::client::Client;
use crate::support::pause;

/// Threads that send, and the pause of each between two requests: together 200 a second.
const THREADS: usize = 4;
const BETWEEN: Duration = Duration::from_millis(20);

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) good: usize,
    pub(crate) bad: Vec<String>,
    pub(crate) slowest: Duration,
}

/// Requests that go on until they are stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Sends requests with each of `cookies` in turn to each of the gateways at `urls` in turn.
    pub(crate) fn start(urls: &[String], cookies: &[String]) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let threads = (0..THREADS).map(|thread| {
            let (urls, cookies) = (urls.to_vec(), cookies.to_vec());
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            thread::spawn(move || {
                let mut tally = Tally::default();
                let mut turn = thread;
                while !stop.load(Ordering::Relaxed) {
                    send(&urls[turn % urls.len()], &cookies[(turn / urls.len()) % cookies.len()], &mut tally);
                    sent.fetch_add(1, Ordering::Relaxed);
                    turn += THREADS;
                    pause(BETWEEN);
                }
                tally
            })
        });
        let threads = threads.collect();
        Self { stop, sent, threads }
    }

    /// How many were sent so far.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and tells what became of all.
    pub(crate) fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().fold(Tally::default(), |mut all, thread| {
            let one = thread.join().expect("it does not panic");
            all.good += one.good;
            all.bad.extend(one.bad);
            all.slowest = all.slowest.max(one.slowest);
            all
        })
    }
}

fn send(url: &str, cookie: &str, tally: &mut Tally) {
    let host = SITE.split_once("://").expect("it has a scheme").1;
    let began = instant();
    let request = Client::new(url).named(host).get("/page").header("Cookie", cookie).header("Accept", "text/html");
    match request.header("Sec-Fetch-Mode", "navigate").try_send() {
        Ok(answer) if answer.status == 200 => tally.good += 1,
        Ok(answer) => tally.bad.push(format!("{} at {url} after {:?}", answer.status, began.elapsed())),
        Err(error) => tally.bad.push(format!("{error} at {url} after {:?}", began.elapsed())),
    }
    tally.slowest = tally.slowest.max(began.elapsed());
}
