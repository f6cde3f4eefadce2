//! The rows that need no load generator: memory, WebSockets, and the time to start.

use std::time::Duration;

use portcullis::base::clock;

use crate::figure::{Bar, Figure, Values};
use crate::load::{Load, Slice};
use crate::process;
use crate::rows::{What, figure, in_turn};
use crate::stage::{FEW, GATEWAY, NGINX, Pair, Stage, Variant};
use crate::upstream::SMALL;
use crate::{Outcome, cpu, gateway, tell, websocket};

/// WebSockets that are wished for in [`silent`].
const WEBSOCKETS: usize = 10_000;
/// WebSockets that talk in [`echo`].
const TALKING: usize = 64;
/// Files that a process holds besides its WebSockets, at most.
const OTHER_FILES: usize = 200;
/// Starts that are timed.
const STARTS: usize = 21;

fn memory(row: &'static str, what: &str, most: f64, nginx: f64, ours: f64) -> Figure {
    Figure {
        row,
        what: what.to_owned(),
        unit: "MiB PSS",
        base: Values { name: NGINX, all: vec![nginx] },
        ours: Values { name: GATEWAY, all: vec![ours] },
        bar: Bar::AtMost(most),
        note: None,
    }
}

/// Two servers that nobody has asked anything.
pub(crate) fn idle(stage: &Stage) -> Outcome<Vec<Figure>> {
    let nginx = stage.nginx(FEW)?;
    let gateway = stage.fresh_gateway(&Variant::MAIN, &stage.cores.tested)?;
    process::pause(Duration::from_secs(1));
    let (theirs, ours) = (cpu::memory(nginx.process.pid())?, cpu::memory(gateway.process.pid())?);
    Ok(vec![memory("memory-idle", "memory a second after the start", 8.0, theirs, ours)])
}

/// The most that is held while 512 connections ask.
pub(crate) fn busy(stage: &Stage) -> Outcome<Vec<Figure>> {
    let Pair { nginx, gateway } = stage.pair()?;
    let load = Load { connections: 512, path: "/".to_owned(), body: SMALL, lines: None, fields: Vec::new() };
    let mut most = [0.0_f64; 2];
    for (side, most) in [&nginx, &gateway].into_iter().zip(&mut most) {
        std::thread::scope(|scope| -> Outcome<()> {
            let runner = stage.runner();
            let load = &load;
            let slice = scope.spawn(move || runner.wrk(side, load, 0.0).map_err(|error| error.to_string()));
            while !slice.is_finished() {
                *most = most.max(cpu::memory(side.process.pid())?);
                process::pause(Duration::from_millis(100));
            }
            slice.join().map_err(|_| "the thread of the load panicked")??;
            Ok(())
        })?;
    }
    let [theirs, ours] = most;
    Ok(vec![memory("memory-512", "most memory while 512 connections ask for 1 KiB", 40.0, theirs, ours)])
}

/// Ten thousand WebSockets on which nobody says anything.
pub(crate) fn silent(stage: &Stage) -> Outcome<Vec<Figure>> {
    // Each is two sockets in the server, and two in this process, which is visitor and application.
    let count = WEBSOCKETS.min(stage.open_files.saturating_sub(OTHER_FILES) / 2);
    if count < WEBSOCKETS {
        let limit = stage.open_files;
        tell(&format!(
            "memory-ws: only {count} WebSockets, because a process may hold no more than {limit} files here"
        ));
    }
    // When an eighth of its places is left, nginx begins to close connections that wait.
    let nginx = stage.nginx(count * 3)?;
    let gateway = stage.gateway(&Variant::MAIN, &stage.cores.tested)?;
    let mut held = [0.0_f64; 2];
    for (side, held) in [&nginx, &gateway].into_iter().zip(&mut held) {
        let sockets = stage.runtime.block_on(websocket::open_many(side, count))?;
        process::pause(Duration::from_secs(2));
        *held = cpu::memory(side.process.pid())?;
        drop(sockets);
        process::pause(Duration::from_secs(1));
    }
    let [theirs, ours] = held;
    let what = format!("memory with {count} idle WebSockets");
    let mut figure = memory("memory-ws", &what, 200.0, theirs, ours);
    if count < WEBSOCKETS {
        figure.note = Some(format!("{WEBSOCKETS} were wished for; the limit of open files is {}", stage.open_files));
    }
    Ok(vec![figure])
}

/// Messages to and fro.
pub(crate) fn echo(stage: &Stage, pair: &Pair) -> Outcome<Vec<Figure>> {
    let span = Duration::from_secs(stage.args.seconds);
    let sides = [&pair.nginx, &pair.gateway];
    let slices = in_turn(stage, sides[0], sides[1], |side, _| {
        let mut sockets = stage.runtime.block_on(websocket::open_many(side, TALKING))?;
        let (before, started) = (cpu::seconds(side.process.pid())?, clock::instant());
        let echoes = stage.runtime.block_on(websocket::talk(&mut sockets, span))?;
        let cpu = cpu::seconds(side.process.pid())? - before;
        let requests = f64::from(u32::try_from(echoes)?);
        Ok(Slice { requests, seconds: started.elapsed().as_secs_f64(), cpu, bytes: 0.0, p50: None, p99: None })
    })?;
    let name = ("ws-echo", "WebSocket messages of 120 bytes and back, 64 sockets");
    let told = [(What::Cpu, Bar::None), (What::Rate, Bar::None)];
    Ok(told.iter().map(|told| figure(name, sides, &slices, *told)).collect())
}

/// From the start of the process to its line `ready http://…`, its provider out of reach.
pub(crate) fn start(stage: &Stage, _: &Pair) -> Outcome<Vec<Figure>> {
    let mut all = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        // Nobody answers at port 9 (discard).
        let config = stage.gateway_config(&Variant::MAIN, "http://127.0.0.1:9")?;
        let started = clock::instant();
        let running = gateway::start(&stage.args.gateway, &config.file, None, false)?;
        all.push(started.elapsed().as_secs_f64() * 1e3);
        drop(running);
    }
    Ok(vec![Figure {
        row: "start",
        what: "start to ready on one core, provider out of reach".to_owned(),
        unit: "ms",
        base: Values { name: "", all: Vec::new() },
        ours: Values { name: Variant::MAIN.name, all },
        bar: Bar::AtMost(15.0),
        note: None,
    }])
}
