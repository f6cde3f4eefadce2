//! Class 9: no mutation of what frames a body makes the gateway and an upstream count requests differently.
//!
//! Each mutation is a POST on a connection of its own, with a body that hides a request from whoever reads the framing in another
//! way, and a canary GET behind it. The upstream may see the POST with its whole body or not at all, then the canary or not at all,
//! then the last request or not at all, and nothing else.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::Arena;
use crate::support::client::{Client, read_response};
use crate::support::upstream::Recorded;
use crate::support::wire::Reader;

/// Clients that try mutations at the same time.
const CLIENTS: usize = 6;
/// Longer than any answer takes, on a busy machine too; nothing should come near it.
const SILENCE: Duration = Duration::from_secs(20);

/// One POST whose framing is odd.
struct Mutation {
    /// The fields that frame it, without the line end of the last one.
    fields: Vec<u8>,
    body: Vec<u8>,
    /// The bodies that an upstream may be sent, if it is sent any.
    meanings: Vec<Vec<u8>>,
    /// A body that it may be sent as well, but only as the last of the connection (RFC 9112, section 6.3).
    last: Option<Vec<u8>>,
}

/// A chunked body that ends at once, then a request, for whoever goes by `Content-Length` alone.
fn hidden_after_end() -> Vec<u8> {
    b"0\r\n\r\nGET /public/smuggled HTTP/1.1\r\nHost: smuggled.example\r\nX-Rest: ".to_vec()
}

/// With `Content-Length` of the whole body beside a mutated `Transfer-Encoding`.
fn beside_length(field: &[u8]) -> Mutation {
    let body = hidden_after_end();
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut meanings = vec![body.clone()];
    if let [b'\n', rest @ ..] = field {
        // An empty line that ends the head (RFC 9112, section 2.2): what follows it is the body.
        let mut after = [rest, b"\r\n\r\n", &body].concat();
        after.truncate(body.len());
        meanings.push(after);
    }
    Mutation { fields: [length.as_bytes(), field].concat(), meanings, last: Some(Vec::new()), body }
}

/// Alone: a chunk that is a request for whoever sees no body at all.
fn alone(field: &[u8]) -> Mutation {
    let inner = b"GET /public/smuggled HTTP/1.1\r\nHost: smuggled.example\r\n\r\n".to_vec();
    let body = [format!("{:x}\r\n", inner.len()).as_bytes(), &inner, b"\r\n0\r\n\r\n"].concat();
    Mutation { fields: field.to_vec(), meanings: vec![inner, Vec::new()], last: None, body }
}

/// `Transfer-Encoding: chunked` with one byte more, or another one, at every place where parsers differ.
fn transfer_encodings() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for byte in 0..=u8::MAX {
        let at = [byte];
        let b: &[u8] = &at;
        all.push([b"Transfer-Encoding: ", b, b"chunked"].concat());
        all.push([b"Transfer-Encoding: chunked", b].concat());
        all.push([b"Transfer-Encoding: chun", b, b"ked"].concat());
        all.push([b"Transfer-Encoding", b, b": chunked"].concat());
        all.push([b, b"Transfer-Encoding: chunked"].concat());
        all.push([b"Transfer", b, b"Encoding: chunked"].concat());
    }
    let mixes: [&[u8]; 40] = [
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: chunked",
        b"TRANSFER-ENCODING: CHUNKED",
        b"Transfer-Encoding: Chunked",
        b"Transfer-Encoding:chunked",
        b"Transfer-Encoding:\tchunked",
        b"Transfer-Encoding:  chunked  ",
        b"Transfer-Encoding: \"chunked\"",
        b"Transfer-Encoding: 'chunked'",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: x, chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: ,chunked",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: chunked; ext",
        b"Transfer-Encoding: chunk",
        b"Transfer-Encoding: chunkedx",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: \r\n chunked",
        b"Transfer-Encoding:\r\n\tchunked",
        b"Transfer-Encoding\r\n: chunked",
        b"X: y\r\n Transfer-Encoding: chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X: y\r\rTransfer-Encoding: chunked",
        b"X: y\r\n\rTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow",
        b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
        b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
        b"Connection: close, Content-Length\r\nTransfer-Encoding: chunked",
        b"Expect: 100-continue\r\nTransfer-Encoding: chunked",
        b"Upgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked",
        b"Content-Encoding: chunked\r\nTransfer_Encoding: chunked",
    ];
    all.extend(mixes.iter().map(|mix| mix.to_vec()));
    all
}

/// A `Content-Length` that parsers read in different ways; the body is five bytes by the reading of some.
fn lengths() -> Vec<Mutation> {
    let fields: [&[u8]; 35] = [
        b"Content-Length: +5",
        b"Content-Length: -5",
        b"Content-Length: 05",
        b"Content-Length: 0x5",
        b"Content-Length: 5, 5",
        b"Content-Length: 5,6",
        b"Content-Length: 5;x",
        b"Content-Length: 5 6",
        b"Content-Length: 5.0",
        b"Content-Length: 5e0",
        b"Content-Length: \"5\"",
        b"Content-Length: \x0b5",
        b"Content-Length: 5\x0c",
        b"Content-Length: 5\0",
        b"Content-Length: \xef\xbc\x95",
        b"Content-Length:",
        b"Content-Length: 0\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 0",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5\r\ncontent-length: 6",
        b"Content-Length: 18446744073709551621",
        b"Content-Length: 99999999999999999999999999999999",
        b"Content_Length: 5",
        b"Content.Length: 5",
        b"Content-Length : 5",
        b" Content-Length: 5",
        b"\tContent-Length: 5",
        b"X: y\nContent-Length: 5",
        b"X: y\rContent-Length: 5",
        b"X: y\r\n Content-Length: 5",
        b"Content-Length\0: 5",
        b"Content-Length:\r\n 5",
        b"Connection: Content-Length\r\nContent-Length: 5",
        b"Content-Length: 0\r\nX-Content-Length: 5",
        b"Content-Length: 1_0",
    ];
    let body = b"xxxxx".to_vec();
    let meanings = vec![body.clone(), Vec::new()];
    // For whoever takes the length as 0, the five bytes would begin the next request.
    fields
        .iter()
        .map(|field| Mutation { fields: field.to_vec(), body: body.clone(), meanings: meanings.clone(), last: None })
        .collect()
}

/// Chunks that parsers read in different ways; each would be `hello` to some.
#[rustfmt::skip]
const CHUNKS: &[&str] = &[
    "+5\r\nhello\r\n", "-5\r\nhello\r\n", "0x5\r\nhello\r\n", "5 \r\nhello\r\n", " 5\r\nhello\r\n", "\t5\r\nhello\r\n",
    "5\t\r\nhello\r\n", "005\r\nhello\r\n", "5\nhello\r\n", "5\rhello\r\n", "5\r\nhello\n", "5\r\nhello\r", "5\r\nhello",
    "5\r\r\nhello\r\n", "5;\r\nhello\r\n", "5;a=b\r\nhello\r\n", "5;a=\"\r\nhello\r\n", "5;a\nb\r\nhello\r\n",
    "5;a\rb\r\nhello\r\n", "5;\x0b\r\nhello\r\n", "5\x0b\r\nhello\r\n", "5\0\r\nhello\r\n", "5,5\r\nhello\r\n",
    "\r\n5\r\nhello\r\n", "100000000000000005\r\nhello\r\n", "fffffffffffffffffff5\r\nhello\r\n", "5\r\nhelloXX",
    "5\r\nhell\r\n", "5\r\nhello\r\n\r\n", "g\r\nhello\r\n", "5_\r\nhello\r\n", "\u{ff15}\r\nhello\r\n",
];

/// Chunked bodies with those, with odd ends, and with trailers that would frame a message.
fn chunks() -> Vec<Mutation> {
    let inner = "GET /public/smuggled HTTP/1.1\r\nHost: smuggled.example\r\n\r\n";
    let end = "0\r\n\r\n";
    let mut bodies: Vec<String> = CHUNKS.iter().map(|chunk| format!("{chunk}{end}")).collect();
    for last in [
        "0\r\n\n",
        "0\n\r\n",
        "0\n\n",
        "0\r\r\n\r\n",
        "0 \r\n\r\n",
        "00\r\n\r\n",
        "0;x\r\n\r\n",
        "-0\r\n\r\n",
        "0x0\r\n\r\n",
    ] {
        bodies.push(format!("5\r\nhello\r\n{last}"));
    }
    for trailer in [
        "Content-Length: 50",
        "Transfer-Encoding: chunked",
        "Host: smuggled.example",
        "X: y\nZ: w",
        "X : y",
        " X: y",
        "X",
    ] {
        bodies.push(format!("5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"));
    }
    // An extension that hides the start of a chunk from whoever stops at another line end.
    bodies.push(format!("5;\n{:x}\r\nhello\r\n{inner}\r\n{end}", inner.len()));
    let fields = b"Transfer-Encoding: chunked".to_vec();
    // Some of these end early for a strict reader and never end for a lax one, so the body that goes on is its beginning.
    let meanings = vec![b"hello".to_vec(), b"hell".to_vec(), Vec::new()];
    bodies
        .into_iter()
        .map(|body| Mutation {
            fields: fields.clone(),
            body: body.into_bytes(),
            meanings: meanings.clone(),
            last: None,
        })
        .collect()
}

/// The statuses of the answers that the client got.
struct Outcome {
    statuses: Vec<u16>,
}

fn attempt(client: &Client, host: &str, number: usize, mutation: &Mutation) -> Outcome {
    let head = format!("POST /public/{number}/post HTTP/1.1\r\nHost: {host}\r\n");
    let canary = format!("GET /public/{number}/canary HTTP/1.1\r\nHost: {host}\r\n\r\n");
    // Some mutations swallow the canary as trailers; the connection then ends all the same.
    let last = format!("GET /public/{number}/last HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let parts = [head.as_bytes(), &mutation.fields, b"\r\n\r\n", &mutation.body, canary.as_bytes(), last.as_bytes()];
    let bytes = parts.concat();
    let mut stream = client.connect_within(SILENCE);
    // It may be refused and closed before all of it is written.
    let _answered_early = stream.write_all(&bytes);
    let mut reader = Reader::new(stream);
    let mut statuses = Vec::new();
    while let Ok(answer) = read_response(&mut reader, "GET") {
        statuses.push(answer.status);
        if statuses.len() == 1 && answer.status >= 400 && answer.head.lists("connection", "close") {
            break;
        }
    }
    Outcome { statuses }
}

fn by_number(requests: Vec<Recorded>) -> BTreeMap<usize, Vec<Recorded>> {
    let mut sorted: BTreeMap<usize, Vec<Recorded>> = BTreeMap::new();
    for request in requests {
        let mut words = request.target.trim_start_matches("/public/").split('/');
        let number = words.next().and_then(|number| number.parse().ok());
        let number = number.unwrap_or_else(|| panic!("smuggled: {:?}", request.head.first_line));
        sorted.entry(number).or_default().push(request);
    }
    sorted
}

/// The fields of a request that say how long its body is, by any reading of their names.
fn framing_fields(seen: &Recorded) -> Vec<String> {
    let fold = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let framing = seen
        .head
        .headers
        .iter()
        .filter(|(name, _)| matches!(fold(name).as_str(), "transfer-encoding" | "content-length"));
    framing.map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase())).collect()
}

fn judge(number: usize, mutation: &Mutation, outcome: &Outcome, seen: &[Recorded]) {
    let shown = format!(
        "{:?} + {:?}: {:?}",
        String::from_utf8_lossy(&mutation.fields),
        String::from_utf8_lossy(&mutation.body),
        outcome.statuses
    );
    let post = format!("/public/{number}/post");
    let mut expected = ["post", "canary", "last"].map(|name| format!("/public/{number}/{name}")).into_iter();
    let targets: Vec<&str> = seen.iter().map(|one| one.target.as_str()).collect();
    let in_order = targets.iter().all(|target| expected.any(|next| next == **target));
    assert!(in_order, "{shown}: the upstream saw {targets:?}");
    for one in seen {
        let framing = framing_fields(one);
        assert!(framing.len() <= 1, "{shown}: {framing:?}");
        let plain = format!("content-length: {}", one.body_bytes);
        assert!(
            framing.iter().all(|field| *field == plain || field == "transfer-encoding: chunked") || !one.whole,
            "{shown}: {framing:?}"
        );
        assert!(one.trailers.is_empty(), "{shown}: {:?}", one.trailers);
        if one.target == post && one.whole {
            let ends_there = seen.len() == 1 && outcome.statuses.len() == 1;
            assert!(
                mutation.meanings.contains(&one.body) || (ends_there && mutation.last.as_ref() == Some(&one.body)),
                "{shown}: the upstream got the body {:?}",
                String::from_utf8_lossy(&one.body)
            );
        }
    }
    let passed = seen.iter().filter(|one| one.whole).count();
    let good = outcome.statuses.iter().filter(|status| **status == 200).count();
    assert!(good <= passed, "{shown}: {good} answers for {passed} requests");
    assert!(!outcome.statuses.is_empty(), "{shown}: no answer at all");
    assert!(outcome.statuses.len() <= 3, "{shown}: more answers than requests");
}

fn try_all(mutations: &[Mutation]) {
    let arena = Arena::with(|config| config.top("workers = 2"));
    let client = arena.gateway.client();
    let next = AtomicUsize::new(0);
    let outcomes: BTreeMap<usize, Outcome> = thread::scope(|scope| {
        let trying: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(mutation) = mutations.get(number) else { return mine };
                        mine.push((number, attempt(&client, arena.host(), number, mutation)));
                    }
                })
            })
            .collect();
        trying.into_iter().flat_map(|one| one.join().expect("no client panics")).collect()
    });
    let seen = by_number(arena.upstream.requests());
    let mut whole = 0;
    for (number, mutation) in mutations.iter().enumerate() {
        let requests = seen.get(&number).map_or(&[][..], Vec::as_slice);
        whole += usize::from(requests.len() == 3);
        judge(number, mutation, &outcomes[&number], requests);
    }
    assert!(whole > 0, "not one went through whole: this tried nothing");
    assert_eq!(arena.get("/public/0/alive").send().status, 200, "the gateway serves on");
}

#[test]
fn class_09_transfer_encoding_mutations_beside_a_length_smuggle_nothing() {
    let mut mutations: Vec<Mutation> = transfer_encodings().iter().map(|field| beside_length(field)).collect();
    let body = hidden_after_end();
    let plain = format!("Content-Length: {}", body.len());
    mutations.push(Mutation { fields: plain.into_bytes(), meanings: vec![body.clone()], last: None, body });
    assert!(mutations.len() > 1_570, "{}", mutations.len());
    try_all(&mutations);
}

#[test]
fn class_09_transfer_encoding_mutations_alone_smuggle_nothing() {
    // What hides a request in a chunk is worth trying only where the field may be taken for none at all.
    let mutations: Vec<Mutation> = transfer_encodings().iter().map(|field| alone(field)).collect();
    try_all(&mutations);
}

#[test]
fn class_09_length_and_chunk_mutations_smuggle_nothing() {
    let mut mutations = lengths();
    mutations.extend(chunks());
    mutations.push(Mutation {
        fields: b"Content-Length: 5".to_vec(),
        body: b"hello".to_vec(),
        meanings: vec![b"hello".to_vec()],
        last: None,
    });
    try_all(&mutations);
}
