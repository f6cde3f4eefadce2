//! The rows of the comparison, one function each.
//!
//! A new row is a function and a line in [`ALL`]. A row of gRPC or TLS takes [`in_turn`] with another way to make a slice.

use std::fs;
use std::io::Write as _;

use crate::figure::{Bar, Figure, Values};
use crate::load::{Load, Runner, Slice};
use crate::side::Side;
use crate::stage::{FEW, NGINX, Pair, Stage, Variant};
use crate::upstream::{LARGE, LARGE_PATH, SMALL};
use crate::{Outcome, client, cpu, memory, mint, ours, tell};

type Row = fn(&Stage, &Pair) -> Outcome<Vec<Figure>>;

type RowAlone = fn(&Stage) -> Outcome<Vec<Figure>>;

/// The rows that are measured before anything else of the same programs is up: a page that two processes share counts half for each.
const ALONE: &[(&str, RowAlone)] =
    &[("memory-idle", memory::idle), ("memory-512", memory::busy), ("memory-ws", memory::silent)];

/// Every other row, by the name that `--only` takes.
const ALL: &[(&str, Row)] = &[
    ("noise", noise),
    ("1k-64", small_64),
    ("1k-1", small_1),
    ("1k-512", small_512),
    ("1m-16", large),
    ("302-64", redirect),
    ("log-64", access_log),
    ("ws-echo", memory::echo),
    ("h2-64", h2),
    ("bearer", ours::bearer),
    ("verify", ours::verify),
    ("redis", ours::redis),
    ("routes", routes),
    ("sessions", sessions),
    ("two-cores", two_cores),
    ("start", memory::start),
];

/// Rows that need neither wrk nor h2load.
const OWN: [&str; 4] = ["ws-echo", "memory-idle", "memory-ws", "start"];

/// What came of a run.
#[derive(Default)]
pub(crate) struct Measured {
    /// The figures of the rows that could be measured.
    pub(crate) figures: Vec<Figure>,
    /// The names of those that could not.
    pub(crate) failed: Vec<&'static str>,
}

/// Measures every row that was asked for and that this machine has the programs for.
///
/// # Errors
/// When a row was asked for that does not exist, or the two sides don't answer as they should.
pub(crate) fn measure(stage: &Stage) -> Outcome<Measured> {
    let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).chain(ALONE.iter().map(|(name, _)| *name)).collect();
    let only = &stage.args.only;
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("there is no row `{unknown}`; there are {}", names.join(", ")).into());
    }
    let is_wanted = |name: &str| only.is_empty() || only.iter().any(|wish| wish == name);
    let mut measured = Measured::default();
    for (name, row) in ALONE.iter().filter(|(name, _)| is_wanted(name)) {
        measured.note(stage, name, || row(stage));
    }
    tell("starting nginx and the gateway, signing in");
    let pair = stage.pair()?;
    check(stage, &pair)?;
    for (name, row) in ALL.iter().filter(|(name, _)| is_wanted(name)) {
        measured.note(stage, name, || row(stage, &pair));
    }
    Ok(measured)
}

impl Measured {
    fn note(&mut self, stage: &Stage, name: &'static str, row: impl FnOnce() -> Outcome<Vec<Figure>>) {
        let program = if name == "h2-64" { stage.parts.h2load } else { stage.parts.wrk };
        if !program && !OWN.contains(&name) {
            tell(&format!("{name}: LEFT OUT, its load generator is missing"));
            return;
        }
        tell(&format!("{name} …"));
        match row() {
            Ok(told) => self.figures.extend(told),
            Err(error) => {
                tell(&format!("{name}: FAILED: {error}"));
                self.failed.push(name);
            }
        }
    }
}

/// Both sides give the application's answer to who may see it, and the gateway to nobody else: else nothing here means anything.
fn check(stage: &Stage, pair: &Pair) -> Outcome<()> {
    for side in [&pair.nginx, &pair.gateway] {
        for (path, length) in [("/", SMALL), (LARGE_PATH, LARGE)] {
            let answer = stage.runtime.block_on(client::get(&side.url(path)?, Some(&side.cookie)))?;
            if answer.status != 200 || answer.body.len() != length {
                return Err(format!("{} answers {path} with {}", side.name, answer.status).into());
            }
        }
    }
    let refused = stage.runtime.block_on(client::get(&pair.gateway.url("/")?, None))?;
    if refused.status.is_redirection() { Ok(()) } else { Err("the gateway lets anybody in".into()) }
}

/// Slices of both sides in turn, after one of each that does not count.
pub(crate) fn in_turn(
    stage: &Stage,
    base: &Side,
    ours: &Side,
    mut slice: impl FnMut(&Side, f64) -> Outcome<Slice>,
) -> Outcome<[Vec<Slice>; 2]> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    slice(base, 0.0)?;
    slice(ours, 0.0)?;
    for round in 0..stage.args.rounds {
        let share = f64::from(round) / f64::from(stage.args.rounds);
        first.push(slice(base, share)?);
        second.push(slice(ours, share)?);
    }
    Ok([first, second])
}

/// As [`in_turn`], with wrk.
pub(crate) fn wrk_in_turn(stage: &Stage, base: &Side, ours: &Side, load: &Load) -> Outcome<[Vec<Slice>; 2]> {
    let runner: Runner<'_> = stage.runner();
    in_turn(stage, base, ours, |side, share| runner.wrk(side, load, share))
}

/// A load of one path, asked for by nobody in particular.
pub(crate) fn load(connections: u32, path: &str, body: usize) -> Load {
    Load { connections, path: path.to_owned(), body, lines: None, fields: Vec::new() }
}

/// What is told of some slices.
#[derive(Clone, Copy)]
pub(crate) enum What {
    /// CPU milliseconds of the server for 1,000 requests.
    Cpu,
    /// Microseconds in the middle.
    P50,
    /// Microseconds at the slow end.
    P99,
    /// Requests a second.
    Rate,
    /// Requests for each CPU second of the server.
    Work,
    /// GiB of answers for each CPU second of the server.
    Bulk,
    /// Requests a second, were every one of so many cores busy with them alone.
    Capacity([u32; 2]),
}

impl What {
    const fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "CPU ms per 1,000",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::Rate => "per second",
            Self::Work => "per CPU s",
            Self::Bulk => "GiB per CPU s",
            Self::Capacity(_) => "per second, cores full",
        }
    }

    fn of(self, slice: &Slice, side: usize) -> Option<f64> {
        Some(match self {
            Self::Cpu => slice.cpu * 1e6 / slice.requests,
            Self::P50 => slice.p50?,
            Self::P99 => slice.p99?,
            Self::Rate => slice.requests / slice.seconds,
            Self::Work => slice.requests / slice.cpu,
            Self::Bulk => slice.bytes / f64::from(1 << 30) / slice.cpu,
            Self::Capacity(cores) => f64::from(*cores.get(side)?) * slice.requests / slice.cpu,
        })
    }
}

/// One figure of slices that ran in turn.
pub(crate) fn figure(
    (row, what): (&'static str, &str),
    sides: [&Side; 2],
    slices: &[Vec<Slice>; 2],
    (measure, bar): (What, Bar),
) -> Figure {
    let [base, ours] = slices;
    let values = |side: usize, slices: &[Slice]| Values {
        name: sides.get(side).map_or("", |side| side.name),
        all: slices.iter().filter_map(|slice| measure.of(slice, side)).collect(),
    };
    Figure {
        row,
        what: what.to_owned(),
        unit: measure.unit(),
        base: values(0, base),
        ours: values(1, ours),
        bar,
        note: None,
    }
}

/// Measures one load at both sides of the pair and tells these figures of it.
fn plain(
    stage: &Stage,
    pair: &Pair,
    name: (&'static str, &str),
    load: &Load,
    told: &[(What, Bar)],
) -> Outcome<Vec<Figure>> {
    let sides = [&pair.nginx, &pair.gateway];
    let slices = wrk_in_turn(stage, sides[0], sides[1], load)?;
    Ok(told.iter().map(|told| figure(name, sides, &slices, *told)).collect())
}

/// A against A: what a ratio is worth on this machine today.
fn noise(stage: &Stage, pair: &Pair) -> Outcome<Vec<Figure>> {
    let sides = [&pair.nginx, &pair.nginx];
    let slices = wrk_in_turn(stage, sides[0], sides[1], &load(64, "/", SMALL))?;
    let name = ("noise", "nginx against itself: 1 KiB, 64 connections");
    let told = [(What::Cpu, Bar::None), (What::Rate, Bar::None), (What::P50, Bar::None)];
    Ok(told.iter().map(|told| figure(name, sides, &slices, *told)).collect())
}

fn small_64(stage: &Stage, pair: &Pair) -> Outcome<Vec<Figure>> {
    let told = [(What::Cpu, Bar::RatioAtMost(0.9)), (What::Rate, Bar::None), (What::P99, Bar::None)];
    plain(stage, pair, ("1k-64", "GET with a session, 1 KiB, 64 connections"), &load(64, "/", SMALL), &told)
}

fn small_1(stage: &Stage, pair: &Pair) -> Outcome<Vec<Figure>> {
    let told = [(What::P50, Bar::RatioAtMost(1.0)), (What::Cpu, Bar::None), (What::Rate, Bar::None)];
    plain(stage, pair, ("1k-1", "GET with a session, 1 KiB, 1 connection"), &load(1, "/", SMALL), &told)
}

fn small_512(stage: &Stage, pair: &Pair) -> Outcome<Vec<Figure>> {
    let told = [(What::Cpu, Bar::RatioAtMost(1.0)), (What::Rate, Bar::None), (What::P99, Bar::None)];
    plain(stage, pair, ("1k-512", "GET with a session, 1 KiB, 512 connections"), &load(512, "/", SMALL), &told)
}

fn large(stage: &Stage, pair: &Pair) -> Outcome<Vec<Figure>> {
    let told = [(What::Bulk, Bar::RatioAtLeast(1.0)), (What::Rate, Bar::None)];
    plain(stage, pair, ("1m-16", "GET with a session, 1 MiB, 16 connections"), &load(16, LARGE_PATH, LARGE), &told)
}

/// A redirect to the sign-in, against what nginx needs to proxy the same request, which has no cookie.
fn redirect(stage: &Stage, _: &Pair) -> Outcome<Vec<Figure>> {
    let runner = stage.runner();
    let (proxied, refused) = (load(64, "/", SMALL), load(64, "/", 1));
    let nobody = stage.fresh_gateway(&Variant::MAIN, &stage.cores.tested)?;
    let answer = stage.runtime.block_on(client::get(&nobody.origin, None))?;
    if answer.status != 302 {
        return Err(format!("who has no session gets {} instead of 302", answer.status).into());
    }
    let nginx = stage.nginx(FEW)?;
    let sides = [&nginx, &nobody];
    let slices = in_turn(stage, sides[0], sides[1], |side, share| {
        runner.wrk(side, if side.name == NGINX { &proxied } else { &refused }, share)
    })?;
    let name = ("302-64", "302 to the sign-in, 64 connections; nginx proxies 1 KiB");
    let told = [(What::Cpu, Bar::RatioAtMost(0.5)), (What::Rate, Bar::None)];
    Ok(told.iter().map(|told| figure(name, sides, &slices, *told)).collect())
}

fn access_log(stage: &Stage, pair: &Pair) -> Outcome<Vec<Figure>> {
    let logging = stage.gateway(&Variant { access_log: true, ..Variant::MAIN }, &stage.cores.tested)?;
    let sides = [&pair.nginx, &logging];
    let slices = wrk_in_turn(stage, sides[0], sides[1], &load(64, "/", SMALL))?;
    let name = ("log-64", "as 1k-64, the gateway with its access log (to /dev/null)");
    Ok(vec![
        figure(name, sides, &slices, (What::Cpu, Bar::None)),
        figure(name, sides, &slices, (What::Rate, Bar::None)),
    ])
}

fn h2(stage: &Stage, pair: &Pair) -> Outcome<Vec<Figure>> {
    let (runner, load) = (stage.runner(), load(64, "/", SMALL));
    if let Err(error) = runner.h2load(&pair.gateway, &load) {
        tell(&format!("h2-64: LEFT OUT, the gateway does not answer HTTP/2 without TLS: {error}"));
        return Ok(Vec::new());
    }
    let sides = [&pair.nginx, &pair.gateway];
    let slices = in_turn(stage, sides[0], sides[1], |side, _| runner.h2load(side, &load))?;
    let name = ("h2-64", "GET with a session over HTTP/2, 1 KiB, 64 streams on 4 connections");
    let told = [(What::Cpu, Bar::None), (What::Rate, Bar::None)];
    Ok(told.iter().map(|told| figure(name, sides, &slices, *told)).collect())
}

/// Ten thousand paths in turn, found among one route and among ten thousand.
fn routes(stage: &Stage, _: &Pair) -> Outcome<Vec<Figure>> {
    const ROUTES: usize = 10_000;
    let cores = &stage.cores.tested;
    let one = stage.gateway(&Variant { name: "2 routes", ..Variant::MAIN }, cores)?;
    let many = stage.gateway(&Variant { name: "10,002 routes", routes: ROUTES, ..Variant::MAIN }, cores)?;
    // Both have the same key, so the session of one is good at the other, and both get the very same requests.
    let lines = stage.folder().join("routes.lines");
    let mut file = std::io::BufWriter::new(fs::File::create(&lines)?);
    for number in 0..ROUTES {
        writeln!(file, "/r{}/page\t{}", number * 7_919 % ROUTES, one.cookie)?;
    }
    file.flush()?;
    drop(file);
    let slices = wrk_in_turn(stage, &one, &many, &Load { lines: Some(lines), ..load(64, "/", SMALL) })?;
    let name = ("routes", "10,000 paths in turn, 64 connections");
    Ok(vec![figure(name, [&one, &many], &slices, (What::Cpu, Bar::RatioAtMost(1.05)))])
}

/// One session over and over, and a new one with every request.
fn sessions(stage: &Stage, pair: &Pair) -> Outcome<Vec<Figure>> {
    let (count, host) = (stage.args.sessions, pair.gateway.origin.host_str().unwrap_or_default());
    let [one, many] = ["one.lines", "many.lines"].map(|name| stage.folder().join(name));
    tell(&format!("sealing {count} sessions"));
    mint::sessions(&one, 1, &stage.key, host, stage.provider.issuer())?;
    mint::sessions(&many, count, &stage.key, host, stage.provider.issuer())?;
    let runner = stage.runner();
    let new = |name| stage.gateway(&Variant { name, ..Variant::MAIN }, &stage.cores.tested);
    let (few, lots) = (new("1 session")?, new("distinct sessions")?);
    let roomy = Variant { name: "distinct sessions, kept", cache: Some(count * 2), ..Variant::MAIN };
    let kept = stage.gateway(&roomy, &stage.cores.tested)?;
    let load = |lines: &std::path::Path| Load { lines: Some(lines.to_owned()), ..load(64, "/", SMALL) };
    let (single, distinct) = (load(&one), load(&many));
    let ask = |side: &Side, share| {
        if side.name == few.name { runner.wrk(side, &single, 0.0) } else { runner.wrk(side, &distinct, share) }
    };
    let slices = in_turn(stage, &few, &lots, ask)?;
    take_all(&runner, &kept, &distinct, count)?;
    let again = in_turn(stage, &few, &kept, ask)?;
    fs::remove_file(many)?;
    let name = ("sessions", "every request with a session of its own, 64 connections");
    let mut anew = figure(name, [&few, &lots], &slices, (What::Cpu, Bar::RatioAtMost(1.05)));
    let asked: f64 = slices.iter().skip(1).flatten().map(|slice| slice.requests).sum();
    anew.note = Some(format!("{count} sessions were sealed, and {asked:.0} requests took them in turn"));
    let name = ("sessions-kept", "the same, where `session.cache` has room for them and each was there before");
    let mut warm = figure(name, [&few, &kept], &again, (What::Cpu, Bar::RatioAtMost(1.05)));
    warm.note = Some(format!("the gateway that keeps them holds {:.0} MiB", cpu::memory(kept.process.pid())?));
    Ok(vec![anew, warm])
}

/// Asks once with each of the `count` sessions in the lines of `load`, and with a few twice.
fn take_all(runner: &Runner<'_>, side: &Side, load: &Load, count: usize) -> Outcome<()> {
    const OVERLAP: f64 = 0.005;
    let count = f64::from(u32::try_from(count)?);
    let mut asked = 0.0;
    while asked < count * (1.0 + 2.0 * OVERLAP) {
        let share = (asked / count - OVERLAP).clamp(0.0, 1.0);
        asked += (runner.wrk(side, load, share)?.requests - count * OVERLAP).max(1.0);
    }
    Ok(())
}

fn two_cores(stage: &Stage, _: &Pair) -> Outcome<Vec<Figure>> {
    let one = stage.gateway(&Variant { name: "1 worker", ..Variant::MAIN }, &stage.cores.tested)?;
    let two = stage.gateway(&Variant { name: "2 workers", workers: 2, ..Variant::MAIN }, &stage.cores.two)?;
    let sides = [&one, &two];
    let slices = wrk_in_turn(stage, &one, &two, &load(64, "/", SMALL))?;
    let name = ("two-cores", "1k-64 with two workers on two cores, against one on one");
    let mut told = vec![
        figure(name, sides, &slices, (What::Capacity([1, 2]), Bar::RatioAtLeast(1.9))),
        figure(name, sides, &slices, (What::Rate, Bar::None)),
    ];
    if stage.cores.two_are_shared {
        let note = "load and upstream run on the second core too, so requests a second can't double here; \
                    what two full cores would carry is reckoned from CPU per request";
        if let Some(first) = told.first_mut() {
            first.note = Some(note.to_owned());
        }
    }
    Ok(told)
}
