//! Class 6 and row 25: what the rules judged is what the upstream gets, and no way of reading it leads anywhere else.

use std::collections::BTreeSet;

use super::{Arena, assert_denied};

const EVERYONE: &str = "\"everyone\"";
const ADMINS: &str = "{ roles = [\"admin\"] }";

/// Everything is public but `/admin`, so that whatever reaches `/admin` under any reading was let past its rule.
fn open_house(allowances: &str) -> Arena {
    Arena::bare(|config| {
        config
            .raw(&format!("[[routes]]\npath = \"/*\"\nallow = {EVERYONE}\nupstream = \"app\"\n{allowances}"))
            .route("/admin", ADMINS, "app")
            .route("/admin/*", ADMINS, "app")
    })
}

/// Everything that some server makes of a path: decoded once or again, parameters and query cut, delimiters folded, dot segments
/// taken out, tails trimmed; in any order and any number of times.
fn readings(path: &str) -> BTreeSet<Vec<u8>> {
    let mut known = BTreeSet::from([path.as_bytes().to_vec()]);
    let mut fresh: Vec<Vec<u8>> = known.iter().cloned().collect();
    while let Some(text) = fresh.pop() {
        let ways: [Way; 8] =
            [decoded, with_slashes, without_parameters, collapsed, without_dots, trimmed, cut, without_controls];
        for way in ways {
            let read = way(&text);
            if known.len() < 5_000 && known.insert(read.clone()) {
                fresh.push(read);
            }
        }
    }
    known
}

/// One thing that some server does to a path.
type Way = fn(&[u8]) -> Vec<u8>;

fn decoded(path: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(path).collect()
}

fn with_slashes(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

fn by_segment(path: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    path.split(|byte| *byte == b'/').map(change).collect::<Vec<_>>().join(&b'/')
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    by_segment(path, |segment| segment.split(|byte| *byte == b';').next().unwrap_or_default().to_vec())
}

fn trimmed(path: &[u8]) -> Vec<u8> {
    by_segment(path, |segment| {
        if segment == b"." || segment == b".." {
            return segment.to_vec();
        }
        let end = segment.iter().rposition(|byte| *byte != b'.' && *byte != b' ').map_or(0, |last| last + 1);
        segment[..end].to_vec()
    })
}

fn collapsed(path: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    out.dedup_by(|next, before| *next == b'/' && *before == b'/');
    out
}

fn cut(path: &[u8]) -> Vec<u8> {
    path.split(|byte| matches!(*byte, b'?' | b'#' | 0)).next().unwrap_or_default().to_vec()
}

fn without_controls(path: &[u8]) -> Vec<u8> {
    path.iter().copied().filter(|byte| *byte >= 0x20 && *byte != 0x7f).collect()
}

fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b".." => drop(out.pop()),
            b"." => {}
            _ => out.push(segment),
        }
    }
    let joined = out.join(&b'/');
    if joined.first() == Some(&b'/') { joined } else { [b"/".as_slice(), &joined].concat() }
}

fn leads_to_admin(path: &str) -> bool {
    readings(path).iter().any(|read| read == b"/admin" || read.starts_with(b"/admin/"))
}

/// Paths made of every combination of a start, a way up, and a way to write the goal.
fn disguises() -> Vec<String> {
    let slashes = [
        "/",
        "//",
        "%2f",
        "%2F",
        "%5c",
        "%5C",
        "\\",
        "/;/",
        ";/",
        "/./",
        "%252f",
        "/%2e/",
        "%c0%af",
        "%e0%80%af",
        "/%20/",
        "%3b/",
    ];
    let ups = [
        "..",
        "%2e%2e",
        ".%2e",
        "%2E.",
        "%252e%252e",
        "..;",
        "..;x=y",
        ".%00.",
        "..%20",
        "%c0%ae%c0%ae",
        "%u002e%u002e",
        "\u{2025}",
        "%EF%BC%8E%EF%BC%8E",
        "..%09",
        "...",
    ];
    let goals = [
        "admin",
        "%61dmin",
        "adm%69n",
        "admin;x",
        "admin%3bx",
        "admin.",
        "admin%20",
        "admin%2f",
        "admin%00",
        "admin%23x",
        "admin%3fx",
        "admin/.",
        "admin//x",
        "%2561dmin",
        "admin%5c",
        "users",
        "administrators",
        "..admin",
        "x;admin",
        "x%20/y.",
    ];
    let mut all = Vec::new();
    for slash in slashes {
        for (number, goal) in goals.iter().enumerate() {
            all.push(format!("/{slash}{goal}"));
            all.push(format!("{}{goal}", if slash.starts_with('/') { slash.to_owned() } else { format!("/.{slash}") }));
            // Two in three of them: the rest tries nothing new.
            for up in ups.iter().filter(|_| number % 3 != 2) {
                all.push(format!("/public{slash}{up}{slash}{goal}"));
            }
        }
    }
    all.extend(goals.iter().map(|goal| format!("/{goal}/users")));
    all.extend(goals.iter().map(|goal| format!("/{goal}")));
    all
}

/// Asks for each target just as it is; gives it with the status of the answer.
fn ask_each(arena: &Arena, targets: &[String]) -> Vec<(String, u16)> {
    let workers: usize = 4;
    let share = targets.len().div_ceil(workers);
    std::thread::scope(|scope| {
        let asking: Vec<_> = targets
            .chunks(share)
            .map(|share| {
                scope.spawn(move || -> Vec<(String, u16)> {
                    share.iter().map(|target| (target.clone(), arena.get(target).send().status)).collect()
                })
            })
            .collect();
        asking.into_iter().flat_map(|one| one.join().expect("no client panics")).collect()
    })
}

fn assert_no_way_in(allowances: &str) {
    let arena = open_house(allowances);
    let targets = disguises();
    assert!(targets.len() > 3_000, "{}", targets.len());
    let sent: BTreeSet<&str> = targets.iter().map(String::as_str).collect();
    let answers = ask_each(&arena, &targets);
    let passed = arena.upstream.requests();
    for seen in &passed {
        assert!(sent.contains(seen.target.as_str()), "{} was never sent like this", seen.target);
        assert!(!leads_to_admin(&seen.target), "{} passed, and may be read as /admin", seen.target);
    }
    assert!(passed.len() > 10, "only {} passed: this tried too little", passed.len());
    assert_eq!(answers.iter().filter(|(_, status)| *status == 200).count(), passed.len());
    for (target, status) in answers {
        assert!(matches!(status, 200 | 302 | 400 | 401 | 403 | 404), "{target}: {status}");
    }
}

#[test]
fn class_06_no_disguise_of_a_path_gets_past_its_rule() {
    assert_no_way_in("");
}

/// The same where everything odd that can be allowed is allowed.
#[test]
fn class_06_nor_where_odd_paths_are_allowed() {
    assert_no_way_in("encoded_slash = true\npath_parameters = true\nempty_segments = true");
}

#[test]
fn class_06_ambiguous_paths_are_refused_before_any_rule() {
    let arena = open_house("");
    for target in [
        "/public/..%2fadmin",
        "/public/%2e%2e/admin",
        "/public/..;/admin",
        "/public;/../admin",
        "/public/%252e%252e/admin",
        "/public\\..\\admin",
        "/public/..\\admin",
        "/public/../admin",
        "/public/./x",
        "/public/.",
        "//admin",
        "/public//x",
        "///",
        "/public/x;/../../admin",
        "/%c0%af",
        "/x/%c0%ae%c0%ae/admin",
        "/admin%2f",
        "/admin%5c",
        "/a%00b",
        "/%zz",
        "/%",
        "/%2",
        "/a%0d%0aSet-Cookie:x",
        "/public/\u{e9}",
        "/a%u002e",
        "/a b",
        "/a\"b",
        "/a<b>",
        "/a\tb",
    ] {
        let answer = arena.get(target).send();
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
    arena.assert_nothing_passed("an ambiguous path");
}

/// Where there is one meaning it is judged by its meaning and sent by its bytes.
#[test]
fn class_06_what_is_matched_is_what_is_sent() {
    let arena = open_house("");
    for target in
        ["/%61dmin", "/%61dmin/x", "/adm%69n/%78", "/admin%23/public", "/admin%3fpublic", "/admin.", "/admin%20/x"]
    {
        assert_denied(&arena.get(target).send(), target);
    }
    arena.assert_nothing_passed("another spelling of /admin");
    for target in [
        "/ADMIN",
        "/administrators",
        "/x/admin",
        "/public%2dx/%41",
        "/%C3%A9t%C3%A9/%E2%82%AC",
        "/a+b/c%20d%20e",
        "/a:b@c/!$&'()*+,=~",
        "/x%23y/z%3f",
        "/caf%c3%a9.html",
    ] {
        arena.upstream.forget();
        assert_eq!(arena.get(target).send().status, 200, "{target}");
        assert_eq!(arena.upstream.only_request().target, target);
    }
}

/// hyper drops a fragment before anybody can look: the path before it is what is judged and what is sent.
#[test]
fn class_06_a_fragment_hides_nothing() {
    let arena = open_house("");
    for target in ["/admin#/public", "/admin/x#?/public", "/admin?x#/public"] {
        assert_denied(&arena.get(target).send(), target);
    }
    arena.assert_nothing_passed("a fragment");
    let answer = arena.get("/public/x#/admin").send();
    if answer.status == 200 {
        assert_eq!(arena.upstream.only_request().target, "/public/x");
    } else {
        assert_eq!(answer.status, 400);
    }
}
