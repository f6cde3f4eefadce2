//! What a session has open when it ends is closed within a second: WebSockets, streamed answers, downloads, uploads. Others' stay.

use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use portcullis::demo::provider::Misbehaviour;

use crate::scene::{SESSION, Scene, session_value};
use crate::support::answer::Answer;
use crate::support::browser::Browser;
use crate::support::client::Request;
use crate::support::websocket::WebSocket;
use crate::support::wire::Reader;
use crate::support::{comes_true, pause};

/// How long it may take until what was open is closed: a second, and what a busy machine may take for all that lies around it.
const SOON: Duration = Duration::from_millis(2_500);

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a test watches the real clock")]
    Instant::now()
}

fn request(scene: &Scene, browser: &Browser, target: &str) -> Request {
    scene.gateway.client().named("app.example.com").get(target).header("Cookie", &cookie(browser))
}

fn cookie(browser: &Browser) -> String {
    format!("{SESSION}={}", session_value(browser))
}

fn websocket(scene: &Scene, browser: &Browser) -> WebSocket {
    let request = request(scene, browser, "/ws").header("Origin", "https://app.example.com");
    let mut socket = WebSocket::open(request).expect("it opens");
    assert_eq!(socket.ask("hello").expect("an echo"), "hello");
    socket
}

fn sign_out(scene: &Scene, browser: &Browser) {
    let mut browser = browser.clone();
    browser.fields.push(("Sec-Fetch-Site".to_owned(), "same-origin".to_owned()));
    assert_eq!(browser.peek(&scene.at("/.auth/logout")).status, 200);
}

/// Reads until the other side ends or breaks; how long that took.
fn until_closed(reader: &mut Reader<TcpStream>) -> Duration {
    let begun = now();
    while reader.take(1).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(40), "it is still open");
    }
    begun.elapsed()
}

fn answers() -> Scene {
    let scene = Scene::https(|config| config);
    scene.upstream.on("/ws", Answer::websocket());
    scene.upstream.on("/events", Answer::events(&["tick"; 300], Duration::from_millis(100)));
    scene.upstream.on("/quiet", Answer::events(&["once", "and never again"], Duration::from_mins(10)));
    scene
}

#[test]
fn a_websocket_is_closed_when_its_session_ends_and_others_stay() {
    let scene = answers();
    let (alice, bob) = (scene.signed_in("alice"), scene.signed_in("bob"));
    let (mut hers, mut his) = (websocket(&scene, &alice), websocket(&scene, &bob));
    let mut second = websocket(&scene, &alice);
    sign_out(&scene, &alice);
    let begun = now();
    while hers.ask("still there?").is_ok() {
        assert!(begun.elapsed() < SOON, "it is still open after {:?}", begun.elapsed());
        pause(Duration::from_millis(50));
    }
    assert!(comes_true(|| second.ask("and this one?").is_err()), "her second one is open");
    assert_eq!(his.ask("still there?").expect("his is open"), "still there?");
    // The upstream has learnt of it as well.
    assert!(comes_true(|| scene.upstream.open_connections() <= 2), "{}", scene.upstream.open_connections());
}

/// The provider's word at a refresh is an end like any other.
#[test]
fn a_websocket_is_closed_when_the_provider_refuses_to_refresh_its_session() {
    let scene = crate::refresh_scene::scene(8, |config| config.session_line("refresh_ahead = \"4s\""));
    scene.upstream.on("/ws", Answer::websocket());
    let (mut alice, bob) = (scene.signed_in("alice"), scene.signed_in("bob"));
    let (mut hers, mut his) = (websocket(&scene, &alice), websocket(&scene, &bob));
    crate::refresh_scene::seconds(5);
    assert_eq!(alice.peek(&scene.at("/x")).status, 200);
    assert!(scene.gateway.logs_come_to_hold(crate::refresh_scene::REFRESHED), "{}", scene.gateway.logs());
    assert_eq!(hers.ask("still there?").expect("a refresh closes nothing"), "still there?");
    let refusal = Misbehaviour::TokenRefused { error: "invalid_grant".to_owned(), description: String::new() };
    scene.provider.control().always(refusal);
    crate::refresh_scene::seconds(5);
    assert!(comes_true(|| alice.peek(&scene.at("/x")).status != 200), "{}", scene.gateway.logs());
    let begun = now();
    while hers.ask("still there?").is_ok() {
        assert!(begun.elapsed() < SOON, "it is still open after {:?}", begun.elapsed());
        pause(Duration::from_millis(50));
    }
    assert_eq!(his.ask("still there?").expect("his is open"), "still there?");
}

#[test]
fn streams_break_off_when_their_session_ends_whether_or_not_they_say_something() {
    let scene = answers();
    for path in ["/events", "/quiet"] {
        let (alice, bob) = (scene.signed_in("alice"), scene.signed_in("bob"));
        let (head, mut hers) = request(&scene, &alice, path).open().expect("a stream");
        let (_, mut his) = request(&scene, &bob, path).open().expect("a stream");
        assert_eq!(head.status, 200, "{path}");
        hers.take(5).and_then(|_| his.take(5)).expect("both begin");
        sign_out(&scene, &alice);
        let took = until_closed(&mut hers);
        assert!(took < SOON, "{path}: closed after {took:?}");
        if path == "/events" {
            assert!(his.take(200).is_ok(), "his goes on");
        }
    }
}

/// A body that is cut must not look whole: its last chunk never comes.
#[test]
fn an_answer_that_was_cut_does_not_look_whole() {
    let scene = answers();
    let alice = scene.signed_in("alice");
    let (_, mut reader) = request(&scene, &alice, "/quiet").open().expect("a stream");
    reader.take(5).expect("it begins");
    sign_out(&scene, &alice);
    let rest = reader.rest().unwrap_or_default();
    assert!(!String::from_utf8_lossy(&rest).contains("0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
}

#[test]
fn an_upload_is_cut_when_its_session_ends() {
    let scene = answers();
    let alice = scene.signed_in("alice");
    let upload =
        scene.gateway.client().named("app.example.com").request("POST", "/upload").header("Cookie", &cookie(&alice));
    scene.upstream.forget();
    let before = scene.upstream.begun();
    let sending = thread::spawn(move || {
        let result: io::Result<_> = upload.stream(1_000_000, || {
            pause(Duration::from_millis(100));
            vec![b'x'; 1_000]
        });
        result.map(|answer| answer.status)
    });
    assert!(comes_true(|| scene.upstream.begun() > before), "it is on its way");
    sign_out(&scene, &alice);
    let begun = now();
    let result = sending.join().expect("it does not panic");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // Whoever still writes may find the connection closed before they read the answer.
    assert!(result.as_ref().is_ok_and(|status| *status == 401) || result.is_err(), "{result:?}");
    assert!(scene.upstream.comes_to(1));
    assert!(!scene.upstream.last_request().whole, "the upstream must not take it for whole");
}

#[test]
fn what_is_open_is_no_idleness_and_ends_with_the_lifetime() {
    let scene = Scene::https(|config| config.session_line("idle = \"3s\"").session_line("lifetime = \"10s\""));
    scene.upstream.on("/ws", Answer::websocket());
    scene.upstream.on("/quiet", Answer::events(&["once", "and never again"], Duration::from_mins(10)));
    let before = now();
    let mut alice = scene.signed_in("alice");
    let begun = now();
    let mut socket = websocket(&scene, &alice);
    let (_, mut quiet) = request(&scene, &alice, "/quiet").open().expect("a stream");
    while begun.elapsed() < Duration::from_millis(4_600) {
        assert!(socket.ask("in use").is_ok(), "idle is not what this is, after {:?}", begun.elapsed());
        pause(Duration::from_millis(100));
    }
    assert_eq!(scene.me(&mut alice).0, 401, "new requests find it idle");
    let _took = until_closed(&mut quiet);
    // Times are in whole seconds.
    assert!(before.elapsed() >= Duration::from_secs(9), "closed after {:?}", before.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10) + SOON, "closed after {:?}", begun.elapsed());
    // Each worker looks at what is open once a second, at a moment of its own, and the two may be open on different ones.
    while socket.ask("over").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10) + SOON, "it is still open after {:?}", begun.elapsed());
        pause(Duration::from_millis(50));
    }
}

#[test]
fn a_download_from_a_directory_is_cut_too() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    std::fs::write(folder.path().join("big"), vec![b'x'; 64 << 20]).expect("a file can be written");
    let files = format!("[upstreams.files]\nfiles = {:?}", folder.path().display().to_string());
    let scene = Scene::https(|config| {
        config.raw(&files).route("/files/*", "\"signed-in\"", "files").route("/*", "\"signed-in\"", "app")
    });
    std::fs::create_dir(folder.path().join("files")).expect("a folder can be made");
    std::fs::rename(folder.path().join("big"), folder.path().join("files/big")).expect("a file can be moved");
    let alice = scene.signed_in("alice");
    let (head, mut reader) = request(&scene, &alice, "/files/big").open().expect("a download");
    assert_eq!(head.status, 200);
    reader.take(1_000).expect("it begins");
    sign_out(&scene, &alice);
    pause(Duration::from_secs(2));
    // Slowly, so that a busy machine has many seconds to cut it before all of it has come.
    let mut got = 1_000;
    while reader.take(64 << 10).is_ok() {
        got += 64 << 10;
        pause(Duration::from_millis(20));
    }
    assert!(got < 60 << 20, "{got} bytes came though the session had ended");
}
