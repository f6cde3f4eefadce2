//! The rows that compare the gateway with itself: other ways to ask who somebody is, and other places for sessions to live.

use std::path::Path;
use std::process::Stdio;

use crate::figure::{Bar, Figure};
use crate::process::{self, Running, free_port};
use crate::rows::{What, figure, in_turn, load, wrk_in_turn};
use crate::side::Side;
use crate::stage::{GATEWAY, Pair, Stage, Variant};
use crate::upstream::SMALL;
use crate::{Outcome, client, mint, parts, tell};

/// One route that takes sessions and access tokens: a warm token against a session's cookie.
pub(crate) fn bearer(stage: &Stage, _: &Pair) -> Outcome<Vec<Figure>> {
    const PATH: &str = "/tokens/page";
    let session = stage.gateway(&Variant { name: "session", ..Variant::MAIN }, &stage.cores.tested)?;
    let caller = stage.fresh_gateway(&Variant { name: "access token", ..Variant::MAIN }, &stage.cores.tested)?;
    let caller = Side { bearer: mint::access_token(&stage.provider)?, ..caller };
    let slices = wrk_in_turn(stage, &session, &caller, &load(64, PATH, SMALL))?;
    let name = ("bearer", "GET with a verified access token, against a session on the same route, 64 connections");
    let told = [(What::Cpu, Bar::RatioAtMost(1.1)), (What::Rate, Bar::None)];
    Ok(told.iter().map(|told| figure(name, [&session, &caller], &slices, *told)).collect())
}

/// Whether a request may pass, as a proxy in front asks it, against taking the same request to the application.
pub(crate) fn verify(stage: &Stage, _: &Pair) -> Outcome<Vec<Figure>> {
    const PATH: &str = "/.auth/verify";
    let proxied = stage.gateway(&Variant { name: "proxied", ..Variant::MAIN }, &stage.cores.tested)?;
    let asked = stage.gateway(&Variant { name: "verified", in_front: true, ..Variant::MAIN }, &stage.cores.tested)?;
    let told = [
        ("X-Forwarded-Method", "GET".to_owned()),
        ("X-Forwarded-Proto", "http".to_owned()),
        ("X-Forwarded-Host", asked.authority().to_owned()),
        ("X-Forwarded-Uri", "/".to_owned()),
        ("X-Forwarded-For", "127.0.0.1".to_owned()),
    ];
    let [nobody, somebody] = ["", &asked.cookie].map(|cookie| {
        stage.runtime.block_on(client::get_with(&asked.url(PATH)?, Some(cookie).filter(|it| !it.is_empty()), &told))
    });
    let (nobody, somebody) = (nobody?.status, somebody?.status);
    if nobody != 401 || somebody != 200 {
        return Err(format!("the gateway says {nobody} of nobody and {somebody} of alice").into());
    }
    let (path, question) = (load(64, "/", SMALL), load(64, PATH, 1));
    let question = crate::load::Load { fields: told.into(), ..question };
    let runner = stage.runner();
    let slices = in_turn(stage, &proxied, &asked, |side, share| {
        runner.wrk(side, if side.name == proxied.name { &path } else { &question }, share)
    })?;
    let name = ("verify", "whether a request may pass, against taking it to the application, 64 connections");
    let told = [(What::Work, Bar::RatioAtLeast(1.5)), (What::Rate, Bar::None)];
    Ok(told.iter().map(|told| figure(name, [&proxied, &asked], &slices, *told)).collect())
}

/// A session in Redis that is asked for all the time, against one in the cookie.
pub(crate) fn redis(stage: &Stage, _: &Pair) -> Outcome<Vec<Figure>> {
    if !parts::is_there("redis-server") {
        tell("redis: LEFT OUT, redis-server is not installed (Debian package redis-server)");
        return Ok(Vec::new());
    }
    let port = free_port()?;
    let _server = start_redis(stage, port)?;
    let store = format!("redis://127.0.0.1:{port}");
    let cookie = stage.gateway(&Variant { name: "in the cookie", ..Variant::MAIN }, &stage.cores.tested)?;
    let variant = Variant { name: "in Redis", store: Some(store), ..Variant::MAIN };
    let stored = stage.gateway(&variant, &stage.cores.tested)?;
    if stored.cookie.len() >= cookie.cookie.len() {
        return Err(format!("{GATEWAY} keeps the session in the cookie though it has a store").into());
    }
    let slices = wrk_in_turn(stage, &cookie, &stored, &load(64, "/", SMALL))?;
    let name = ("redis", "GET with a session in Redis, against one in the cookie, 64 connections");
    let told = [(What::Cpu, Bar::RatioAtMost(1.3)), (What::Rate, Bar::None)];
    Ok(told.iter().map(|told| figure(name, [&cookie, &stored], &slices, *told)).collect())
}

fn start_redis(stage: &Stage, port: u16) -> Outcome<Running> {
    let mut command = process::on_cores(Some(&stage.cores.load), Path::new("redis-server"));
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]).arg(port.to_string());
    command.stdout(Stdio::null());
    let mut running = Running::start(&mut command, stage.folder().join("redis.err"))?;
    running.wait_for_port(port)?;
    Ok(running)
}
