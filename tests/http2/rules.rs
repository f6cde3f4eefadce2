//! Whoever breaks a rule of HTTP/2 is told which (RFC 9113, section 7), and nobody else notices.

use std::io;
use std::time::Duration;

use crate::client::{Client, open_to_all, run};
use crate::frames::{DATA, Frame, GOAWAY, HEADERS, Outcome, RST_STREAM, Raw, block, request};
use crate::support::answer::Answer;
use crate::support::gateway::Gateway;
use crate::support::pause;
use crate::support::upstream::Upstream;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    authority: String,
}

impl Scene {
    fn new() -> Self {
        let upstream = Upstream::start();
        upstream.on("/slow", Answer::body("late").after(Duration::from_secs(2)));
        let gateway = open_to_all(&upstream.url()).start();
        let authority = gateway.url().trim_start_matches("http://").to_owned();
        Self { gateway, upstream, authority }
    }

    fn fields<'a>(&'a self, path: &'a str) -> Vec<u8> {
        block(&request("POST", path, &self.authority))
    }

    /// How the connection ends that sends these frames, in pieces of `size` bytes.
    fn end(&self, frames: &[Frame], size: usize) -> Outcome {
        let mut raw = Raw::connect(self.gateway.url());
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        for piece in bytes.chunks(size) {
            // It may have been closed in the middle.
            if raw.write(piece).is_err() {
                break;
            }
            if size < bytes.len() {
                pause(Duration::from_millis(2));
            }
        }
        end(&mut raw)
    }
}

fn end(raw: &mut Raw) -> Outcome {
    loop {
        match raw.next() {
            Ok(Some(frame)) if frame.kind == GOAWAY => return Outcome::GoneAway(frame.code()),
            Ok(Some(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it stays open"),
            Ok(None) | Err(_) => return Outcome::Closed,
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
    Frame { kind, flags, stream, payload: payload.to_vec() }
}

#[test]
fn what_breaks_a_rule_is_called_by_its_name() {
    let scene = Scene::new();
    let (fields, slow) = (scene.fields("/x"), scene.fields("/slow"));
    let whole = frame(HEADERS, END_HEADERS | END_STREAM, 1, &slow);
    let open = frame(HEADERS, END_HEADERS, 1, &slow);
    let data = |flags| frame(DATA, flags, 1, b"test");
    let broken = [&fields[..], &[0x40]].concat();
    let cases: Vec<(&str, Vec<Frame>, u32)> = vec![
        ("a short PING", vec![frame(PING, 0, 0, &[0; 6])], FRAME_SIZE_ERROR),
        ("a short SETTINGS", vec![frame(SETTINGS, 0, 0, &[0, 3, 0])], FRAME_SIZE_ERROR),
        ("an acknowledgement of more", vec![frame(SETTINGS, 1, 0, &[0])], FRAME_SIZE_ERROR),
        ("a short WINDOW_UPDATE", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], FRAME_SIZE_ERROR),
        ("a short RST_STREAM", vec![whole.clone(), frame(RST_STREAM, 0, 1, &[0; 3])], FRAME_SIZE_ERROR),
        ("a short PRIORITY", vec![whole.clone(), frame(PRIORITY, 0, 1, &[0; 4])], FRAME_SIZE_ERROR),
        ("a short GOAWAY", vec![frame(GOAWAY, 0, 0, &[0; 4])], FRAME_SIZE_ERROR),
        ("padding without a length", vec![open.clone(), frame(DATA, 8, 1, &[])], FRAME_SIZE_ERROR),
        ("a huge frame", vec![open.clone(), frame(DATA, 0, 1, &[0; 16_385])], FRAME_SIZE_ERROR),
        ("a huge window", vec![frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])], FLOW_CONTROL_ERROR),
        ("half a field", vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &broken)], COMPRESSION_ERROR),
        ("an index of nothing", vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0x70])], COMPRESSION_ERROR),
        ("a head after the end", vec![whole.clone(), whole.clone()], STREAM_CLOSED),
        ("a body after the end", vec![whole.clone(), data(0)], STREAM_CLOSED),
        ("a body after its end", vec![open.clone(), data(END_STREAM), data(0)], STREAM_CLOSED),
        ("a head after a reset", vec![open.clone(), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), whole], STREAM_CLOSED),
        ("a push", vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x88])], PROTOCOL_ERROR),
        ("a lower stream", vec![frame(HEADERS, 5, 5, &fields), frame(HEADERS, 5, 3, &fields)], PROTOCOL_ERROR),
        ("a stream of ours", vec![frame(HEADERS, 5, 2, &fields)], PROTOCOL_ERROR),
        ("a body of no stream", vec![frame(DATA, 0, 0, b"x")], PROTOCOL_ERROR),
        ("a gap in a head", vec![frame(HEADERS, 0, 1, &fields), frame(PING, 0, 0, &[0; 8])], PROTOCOL_ERROR),
        ("a head without a beginning", vec![frame(CONTINUATION, END_HEADERS, 1, &fields)], PROTOCOL_ERROR),
        ("pseudo-header fields among trailers", vec![open, data(0), frame(HEADERS, 5, 1, &[0x83])], PROTOCOL_ERROR),
    ];
    for (what, frames, code) in cases {
        for size in [usize::MAX, 5] {
            if size == 5 && frames.iter().map(|frame| frame.payload.len()).sum::<usize>() > 1000 {
                continue;
            }
            let outcome = scene.end(&frames, size);
            assert_eq!(outcome, Outcome::GoneAway(code), "{what}, in pieces of {size}");
        }
    }
    run(async {
        let client = Client::connect(scene.gateway.url()).await;
        assert_eq!(client.get("/after").await.unwrap().status, 200);
    });
}

/// Trailers that would be another request's head end the exchange: the upstream gets no whole request.
#[test]
fn a_request_whose_trailers_are_a_head_is_not_forwarded_as_a_whole_one() {
    let scene = Scene::new();
    let frames = [
        frame(HEADERS, END_HEADERS, 1, &scene.fields("/x")),
        frame(DATA, 0, 1, b"test"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(b":path", b"/admin")])),
    ];
    let outcome = scene.end(&frames, usize::MAX);
    assert_ne!(outcome, Outcome::Closed);
    pause(Duration::from_millis(300));
    assert!(scene.upstream.requests().iter().all(|seen| !seen.whole && seen.target == "/x"));
}

#[test]
fn a_head_without_an_end_is_not_waited_for() {
    let scene = Scene::new();
    let before = scene.gateway.memory();
    for piece in [1, 16_000] {
        let mut raw = Raw::connect(scene.gateway.url());
        let fields = scene.fields("/x");
        raw.send(HEADERS, END_STREAM, 1, &fields).unwrap();
        let filler = block(&[(b"x-filler", &vec![b'x'; piece])]);
        let mut sent = 0;
        // 64 MiB, if they were taken.
        while sent < 4_000 && raw.send(CONTINUATION, 0, 1, &filler).is_ok() {
            sent += 1;
        }
        let outcome = end(&mut raw);
        assert!(
            matches!(
                outcome,
                Outcome::GoneAway(ENHANCE_YOUR_CALM | COMPRESSION_ERROR | PROTOCOL_ERROR) | Outcome::Closed
            ),
            "{outcome:?}"
        );
        assert!(sent < 4_000 || piece == 1, "{sent} frames of a head were taken");
    }
    let after = scene.gateway.memory();
    assert!(after.peak < before.peak + 32 * 1024, "{before:?} {after:?}");
    assert_eq!(scene.upstream.count(), 0);
}

/// A client that says goodbye has its answers first.
#[test]
fn a_farewell_of_the_client_ends_nothing_that_is_under_way() {
    let scene = Scene::new();
    let mut raw = Raw::connect(scene.gateway.url());
    raw.headers(1, &request("GET", "/slow", &scene.authority), true).unwrap();
    raw.send(GOAWAY, 0, 0, &[0; 8]).unwrap();
    assert_eq!(raw.outcome(1), Outcome::Answered(200));
}
