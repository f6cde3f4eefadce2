//! A directory of files as an upstream: what is in it and may be seen comes out, and nothing else ever does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::support::client::Response;
use crate::support::gateway::{Gateway, GatewayConfig};

const PUBLIC: &str = "https://app.example.com";
const SECRET: &str = "the secret outside";

struct Scene {
    gateway: Gateway,
    folder: TempDir,
}

fn write(root: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().expect("below the root")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

/// `www` is served; `secret.txt` and `outside/` stand beside it.
fn scene(lines: &str) -> Scene {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let www = folder.path().join("www");
    write(folder.path(), "secret.txt", SECRET);
    write(folder.path(), "outside/secret.txt", SECRET);
    write(folder.path(), "www-data/secret.txt", SECRET);
    write(&www, "index.html", "<p>start</p>");
    write(&www, "style.css", "p{}");
    write(&www, "app.js", "1");
    write(&www, "data.json", "{}");
    write(&www, "picture.png", [137, 80, 78, 71]);
    write(&www, "module.wasm", "\0asm");
    write(&www, "unknown.xyzzy", "?");
    write(&www, "digits.txt", "0123456789");
    write(&www, "empty.txt", "");
    write(&www, "a b/ü.txt", "odd name");
    write(&www, "docs/index.html", "<p>docs</p>");
    write(&www, "bare/file.txt", "in bare");
    write(&www, ".env", SECRET);
    write(&www, ".git/config", SECRET);
    write(&www, "docs/.htpasswd", SECRET);
    write(&www, ".well-known/x", SECRET);
    let config =
        GatewayConfig::new(PUBLIC).top("workers = 1").raw(&format!("[upstreams.www]\nfiles = \"{}\"", www.display()));
    let gateway =
        config.raw(&format!("[[routes]]\npath = \"/*\"\nallow = \"everyone\"\nupstream = \"www\"\n{lines}")).start();
    Scene { gateway, folder }
}

impl Scene {
    fn get(&self, target: &str) -> Response {
        self.gateway.get(target).send()
    }

    fn www(&self) -> std::path::PathBuf {
        self.folder.path().join("www")
    }

    fn assert_absent(&self, target: &str) {
        for method in ["GET", "HEAD"] {
            let answer = self.gateway.client().request(method, target).send();
            assert!(matches!(answer.status, 400 | 404), "{method} {target}: {} {}", answer.status, answer.text());
            assert!(!answer.text().contains(SECRET), "{target}");
        }
    }
}

#[test]
fn files_come_out_with_their_types() {
    let scene = scene("");
    for (target, kind, body) in [
        ("/", "text/html; charset=utf-8", "<p>start</p>"),
        ("/index.html", "text/html; charset=utf-8", "<p>start</p>"),
        ("/docs/", "text/html; charset=utf-8", "<p>docs</p>"),
        ("/style.css?v=1", "text/css; charset=utf-8", "p{}"),
        ("/app.js", "text/javascript; charset=utf-8", "1"),
        ("/data.json", "application/json", "{}"),
        ("/module.wasm", "application/wasm", "\0asm"),
        ("/unknown.xyzzy", "application/octet-stream", "?"),
        ("/digits.txt", "text/plain; charset=utf-8", "0123456789"),
        ("/empty.txt", "text/plain; charset=utf-8", ""),
        ("/a%20b/%C3%BC.txt", "text/plain; charset=utf-8", "odd name"),
        ("/%64igits.txt", "text/plain; charset=utf-8", "0123456789"),
    ] {
        let answer = scene.get(target);
        assert_eq!((answer.status, answer.text().as_str()), (200, body), "{target}");
        assert_eq!(answer.header("content-type"), Some(kind), "{target}");
        assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let head = scene.gateway.client().request("HEAD", target).send();
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        for name in ["content-type", "content-length", "etag", "last-modified"] {
            assert_eq!(head.header(name), answer.header(name), "{name} of {target}");
        }
    }
    assert_eq!(scene.get("/picture.png").header("content-type"), Some("image/png"));
}

#[test]
fn large_files_stream() {
    let scene = scene("");
    let bytes = crate::support::answer::pattern(0, 3_000_000);
    write(&scene.www(), "large.bin", &bytes);
    let answer = scene.get("/large.bin");
    assert_eq!(crate::support::sha256(&answer.body), crate::support::sha256(&bytes));
}

#[test]
fn ranges_are_parts_of_the_whole() {
    let scene = scene("");
    let part = |range: &str| scene.gateway.get("/digits.txt").header("Range", range).send();
    for (range, content_range, body) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=-2", "bytes 8-9/10", "89"),
        ("bytes=4-4", "bytes 4-4/10", "4"),
        ("bytes=5-999", "bytes 5-9/10", "56789"),
        ("bytes=5-99999999999999999999", "bytes 5-9/10", "56789"),
        ("bytes=-999", "bytes 0-9/10", "0123456789"),
        ("Bytes=0-3,", "bytes 0-3/10", "0123"),
    ] {
        let answer = part(range);
        assert_eq!((answer.status, answer.text().as_str()), (206, body), "{range}");
        assert_eq!(answer.header("content-range"), Some(content_range));
    }
    for range in ["bytes=10-", "bytes=5-3", "bytes=x-y"] {
        let answer = part(range);
        assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */10")), "{range}");
    }
    for range in ["bytes=0-1,4-5", "items=0-1", "bytes=0-0,-1", "junk"] {
        let answer = part(range);
        assert_eq!((answer.status, answer.text().as_str()), (200, "0123456789"), "{range}");
    }
    let conditional =
        scene.gateway.get("/digits.txt").header("Range", "bytes=0-3").header("If-Range", "\"old\"").send();
    assert_eq!((conditional.status, conditional.text().as_str()), (200, "0123456789"));
    // A download that goes on where it broke off.
    let etag = part("bytes=0-0").header("etag").expect("there is one").to_owned();
    let resumed = |etag: &str, range: &str| {
        scene.gateway.get("/digits.txt").header("Range", range).header("If-Range", etag).send()
    };
    assert_eq!((resumed(&etag, "bytes=6-").status, resumed(&etag, "bytes=6-").text().as_str()), (206, "6789"));
    assert_eq!(resumed(&format!("W/{etag}"), "bytes=6-").status, 200, "a weak validator is none for parts");
    assert_eq!((resumed(&etag, "bytes=10-").status, resumed("\"old\"", "bytes=10-").status), (416, 200));
    write(&scene.www(), "empty.txt", "");
    for range in ["bytes=0-0", "bytes=0-", "bytes=-1"] {
        let none = scene.gateway.get("/empty.txt").header("Range", range).send();
        assert_eq!((none.status, none.header("content-range")), (416, Some("bytes */0")), "{range}");
    }
    let head = scene.gateway.client().request("HEAD", "/digits.txt").header("Range", "bytes=0-3").send();
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
}

#[test]
fn conditions_are_honoured() {
    let scene = scene("");
    let first = scene.get("/digits.txt");
    let etag = first.header("etag").expect("there is one").to_owned();
    let modified = first.header("last-modified").expect("there is one").to_owned();
    let with = |name: &str, value: &str| scene.gateway.get("/digits.txt").header(name, value).send();
    let same = with("If-None-Match", &etag);
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(etag.as_str())));
    assert_eq!(with("If-None-Match", "\"other\"").status, 200);
    assert_eq!(with("If-Modified-Since", &modified).status, 304);
    assert_eq!(with("If-Modified-Since", "Thu, 01 Jan 1970 00:00:01 GMT").status, 200);
    assert_eq!(with("If-Match", "\"other\"").status, 412);
    assert_eq!(with("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:01 GMT").status, 412);
    write(&scene.www(), "digits.txt", "another text");
    assert_eq!(with("If-None-Match", &etag).text(), "another text");
}

#[test]
fn nothing_outside_ever_comes_out() {
    let odd = "encoded_slash = true\npath_parameters = true\nempty_segments = true";
    for lines in ["", odd] {
        let scene = scene(lines);
        for up in [
            "..",
            "%2e%2e",
            "%2E%2E",
            ".%2e",
            "%2e.",
            "..%2f",
            "%2e%2e%2f",
            "..%5c",
            "..\\",
            "%252e%252e",
            "..;",
            "..;x=1",
            "..%00",
            "%c0%ae%c0%ae",
            "%uff0e%uff0e",
            "....",
            "...",
            "%e2%80%a5",
            "..%2f..",
            ". .",
            "..%20",
            "%20..",
        ] {
            for target in [
                format!("/{up}/secret.txt"),
                format!("/{up}/outside/secret.txt"),
                format!("/docs/{up}/{up}/secret.txt"),
                format!("/docs/{up}%2f{up}%2fsecret.txt"),
                format!("/{up}/www-data/secret.txt"),
                format!("//{up}/secret.txt"),
                format!("/docs/;/{up}/{up}/secret.txt"),
            ] {
                scene.assert_absent(&target);
            }
        }
        let absolute = scene.folder.path().join("secret.txt").display().to_string();
        let encoded = absolute.replace('/', "%2f");
        for target in [
            absolute.clone(),
            format!("/{absolute}"),
            format!("/{encoded}"),
            format!("/docs/{encoded}"),
            format!("/%2f{encoded}"),
            format!("/file:%2f%2f{encoded}"),
            "/secret.txt".to_owned(),
            "/proc/self/environ".to_owned(),
            "/etc/passwd".to_owned(),
            "/index.html/".to_owned(),
            "/index.html/x".to_owned(),
            "/bare/".to_owned(),
            "/none".to_owned(),
            "/none/".to_owned(),
            format!("/{}", "x".repeat(300)),
            format!("/{}", "x/".repeat(3000)),
        ] {
            scene.assert_absent(&target);
        }
    }
}

#[test]
fn names_that_begin_with_a_dot_are_never_there() {
    let scene = scene("encoded_slash = true\nempty_segments = true");
    for target in [
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git/",
        "/.git",
        "/%2egit/config",
        "/docs/.htpasswd",
        "/docs%2f.htpasswd",
        "/docs//.htpasswd",
        "/.well-known/x",
    ] {
        scene.assert_absent(target);
    }
}

#[test]
fn links_inside_are_followed_and_links_outside_are_not() {
    let scene = scene("");
    let www = scene.www();
    symlink("digits.txt", www.join("inside.txt")).expect("a link can be made");
    symlink("../digits.txt", www.join("docs/up.txt")).expect("a link can be made");
    symlink("docs", www.join("pages")).expect("a link can be made");
    symlink("../secret.txt", www.join("relative.txt")).expect("a link can be made");
    symlink(scene.folder.path().join("secret.txt"), www.join("absolute.txt")).expect("a link can be made");
    symlink(scene.folder.path().join("outside"), www.join("folder")).expect("a link can be made");
    symlink("../outside", www.join("docs-outside")).expect("a link can be made");
    symlink("relative.txt", www.join("twice.txt")).expect("a link can be made");
    symlink("loop.txt", www.join("loop.txt")).expect("a link can be made");
    symlink("/proc/self/environ", www.join("environ.txt")).expect("a link can be made");
    assert_eq!(scene.get("/inside.txt").text(), "0123456789");
    assert_eq!(scene.get("/docs/up.txt").text(), "0123456789");
    assert_eq!(scene.get("/pages/").text(), "<p>docs</p>");
    for target in [
        "/relative.txt",
        "/absolute.txt",
        "/folder/secret.txt",
        "/folder/",
        "/folder",
        "/docs-outside/secret.txt",
        "/twice.txt",
        "/environ.txt",
    ] {
        scene.assert_absent(target);
    }
    let looped = scene.get("/loop.txt");
    assert!(matches!(looped.status, 404 | 502), "{}", looped.status);
}

#[test]
fn a_link_that_keeps_changing_never_leads_out() {
    let scene = scene("");
    let www = scene.www();
    write(&www, "docs/secret.txt", "inside");
    let over = Arc::new(AtomicBool::new(false));
    let turning = {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            for target in ["docs", "../outside"].iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                symlink(target, www.join("fresh")).expect("a link can be made");
                fs::rename(www.join("fresh"), www.join("turning")).expect("a link can be replaced");
            }
        })
    };
    let mut seen = 0;
    for _ in 0..400 {
        let answer = scene.get("/turning/secret.txt");
        assert!(!answer.text().contains(SECRET));
        seen += usize::from(answer.text() == "inside");
    }
    over.store(true, Ordering::Relaxed);
    turning.join().expect("it turns");
    assert!(seen > 0, "the link led inside at times");
}

#[test]
fn devices_sockets_and_pipes_are_not_files() {
    let scene = scene("");
    let pipe = scene.www().join("pipe.txt");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let _socket = std::os::unix::net::UnixListener::bind(scene.www().join("socket")).expect("a socket can be made");
    scene.assert_absent("/pipe.txt");
    scene.assert_absent("/socket");
    assert_eq!(scene.get("/digits.txt").status, 200, "nobody waits for the pipe's other end");
}

#[test]
fn a_directory_is_sent_to_its_slash_at_the_configured_address() {
    let scene = scene("");
    let host = "app.example.com";
    for (target, location) in [
        ("/docs", format!("{PUBLIC}/docs/")),
        ("/docs?a=1&b=/", format!("{PUBLIC}/docs/?a=1&b=/")),
        ("/a%20b", format!("{PUBLIC}/a%20b/")),
    ] {
        let answer = scene.gateway.client().named(host).get(target).header("X-Forwarded-Host", "evil.example").send();
        assert_eq!((answer.status, answer.header("location")), (307, Some(location.as_str())), "{target}");
    }
    let answer = scene.gateway.client().named("evil.example").get("/docs").send();
    assert!(!String::from_utf8_lossy(&answer.head.raw).contains("evil"), "{:?}", answer.head);
}

#[test]
fn a_redirect_below_a_prefix_keeps_the_visitors_path() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    write(folder.path(), "docs/index.html", "<p>docs</p>");
    let gateway = GatewayConfig::new(PUBLIC)
        .raw(&format!("[upstreams.www]\nfiles = {:?}", folder.path()))
        .raw("[[routes]]\npath = \"/app/*\"\nallow = \"everyone\"\nupstream = \"www\"\nstrip_prefix = \"/app\"")
        .start();
    assert_eq!(gateway.get("/app/docs").send().header("location"), Some(format!("{PUBLIC}/app/docs/").as_str()));
    assert_eq!(gateway.get("/app/docs/").send().text(), "<p>docs</p>");
}

#[test]
fn files_are_read_only() {
    let scene = scene("");
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let answer = scene.gateway.client().request(method, "/digits.txt").body("x").send();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(fs::read_to_string(scene.www().join("digits.txt")).expect("it is there"), "0123456789");
}

#[test]
fn the_directory_may_be_replaced_as_a_whole() {
    let scene = scene("");
    fs::rename(scene.www(), scene.folder.path().join("old")).expect("it can be moved");
    scene.assert_absent("/digits.txt");
    write(&scene.www(), "digits.txt", "new");
    assert_eq!(scene.get("/digits.txt").text(), "new");
}
