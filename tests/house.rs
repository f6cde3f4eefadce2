//! The shape of the house: imports point down the floors only, files stay small and say what they are for.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::tests_outside_test_module,
    reason = "this whole crate is a test: what fails here is to fail loudly"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Every room, from the ground up. A file imports from its own room and from rooms that stand before it.
const ROOMS: &[&str] = &[
    "base", // floor 0
    "config", "seal", "jose", // floor 1
    "observe", "net", "http", // floor 2
    "identity", "policy", "session", "token", "provider", // floor 3
    "forward", "page", "endpoint", "gate", "door",   // floor 4
    "server", // floor 5
    "cli",    // floor 6
];

/// The wing of the development provider: stands on floors 0 to 2; only `cli` and tests look in.
const WING: &str = "demo";
const WING_STANDS_ON: &[&str] = &["base", "jose", "net", "http", "observe"];

const LONGEST_FILE: usize = 500;

fn sources() -> Vec<(PathBuf, String)> {
    let found = files_in("src");
    assert!(found.len() > 20, "the check found only {} files, so it looks in the wrong place", found.len());
    found
}

fn files_in(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    found
}

/// The lines that are code, numbered from 1, without their comments; those of a module `tests` are left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let shipped = text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text, |(shipped, _)| shipped);
    shipped.lines().enumerate().map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            found.push((path, text));
        }
    }
}

fn room(path: &Path) -> String {
    let inside = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("below src");
    let mut parts = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    match (parts.next(), parts.next()) {
        (Some(folder), Some(_)) => folder,
        _ => "top".to_owned(),
    }
}

/// The rooms that a file names after `crate::`, with the line, comments left out.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for rest in code.split("crate::").skip(1) {
            if let Some(group) = rest.strip_prefix('{') {
                panic!("line {}: name one room at a time, not `crate::{{{group}`", number + 1);
            }
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            named.push((number + 1, name));
        }
    }
    named
}

#[test]
fn imports_point_down_the_floors() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in sources() {
        let here = room(&path);
        if here == "top" {
            continue;
        }
        for (line, target) in imports(&text) {
            seen += 1;
            let allowed = if here == target {
                true
            } else if here == WING {
                WING_STANDS_ON.contains(&target.as_str())
            } else if target == WING {
                here == "cli"
            } else {
                let height = |name: &str| ROOMS.iter().position(|room| *room == name);
                match (height(&here), height(&target)) {
                    (Some(from), Some(to)) => to < from,
                    _ => false,
                }
            };
            if !allowed {
                wrong.push(format!("{}:{line}: {here} may not look into {target}", path.display()));
            }
        }
    }
    assert!(seen > 20, "the check saw only {seen} imports");
    assert!(wrong.is_empty(), "imports that run up a floor:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{}: {lines} lines, at most {LONGEST_FILE}", path.display()));
        }
        if !text.lines().next().is_some_and(|first| first.starts_with("//! ")) {
            wrong.push(format!("{}: its first line says nothing of what it is for", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn tests_and_benches_say_what_they_are_for_too() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in files_in("tests").into_iter().chain(files_in("benches")) {
        seen += 1;
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{}: {lines} lines, at most {LONGEST_FILE}", path.display()));
        }
        if !text.lines().next().is_some_and(|first| first.starts_with("//! ")) {
            wrong.push(format!("{}: its first line says nothing of what it is for", path.display()));
        }
    }
    assert!(seen > 20, "the check saw only {seen} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lints refuse these too; this holds where a lint was allowed.
#[test]
fn nothing_is_left_to_be_done_later() {
    let marks = ["dbg!(", "todo!(", "unimplemented!(", "unreachable_unchecked", "process::exit("];
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (path, text) in sources() {
        for (number, line) in code(&text) {
            seen += 1;
            for mark in marks.iter().filter(|mark| line.contains(**mark)) {
                wrong.push(format!("{}:{number}: {mark}", path.display()));
            }
        }
        for (number, line) in text.lines().enumerate() {
            if ["TODO", "FIXME", "XXX"].iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{}:{}: a note to do something later", path.display(), number + 1));
            }
        }
    }
    assert!(seen > 5_000, "the check saw only {seen} lines");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What every operator reads must stay true: a test compares the annotated config with the keys that are read.
#[test]
fn the_reference_config_has_its_drift_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let test = fs::read_to_string(root.join("src/config/tests/reference.rs")).expect("the drift test is there");
    assert!(test.contains("config/portcullis.toml") && test.contains("#[test]"), "it compares the reference config");
    assert!(root.join("config/portcullis.toml").is_file());
}

/// What the documents point at is there: files behind links, and files of the house that are named as `room/file.rs`.
#[test]
fn documents_point_at_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut seen = 0;
    for name in ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md"] {
        let text = fs::read_to_string(root.join(name)).expect("the document is there");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links = links.filter(|link| !link.contains("://")).map(|link| root.join(link));
        let named = text.split('`').skip(1).step_by(2).filter(|code| code.contains('/')).map(Path::new);
        let named = named.filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
        let named =
            named.map(|path| if path.starts_with("tests") { root.join(path) } else { root.join("src").join(path) });
        for path in links.chain(named) {
            seen += 1;
            if !path.exists() {
                wrong.push(format!("{name}: there is no {}", path.display()));
            }
        }
    }
    assert!(seen > 20, "the check saw only {seen} of them");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every dependency is named somewhere in the code.
#[test]
fn every_dependency_is_used() {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("there is a manifest");
    let names = |table: &str| -> Vec<String> {
        let lines = manifest.lines().skip_while(|line| line.trim() != table).skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        let names = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        names.map(|(name, _)| name.trim().replace('-', "_")).collect()
    };
    let texts = |folders: &[&str]| -> String {
        folders.iter().flat_map(|folder| files_in(folder)).map(|(_, text)| text).collect()
    };
    let uses = |text: &str, name: &str| text.contains(&format!("{name}::")) || text.contains(&format!("use {name};"));
    let (shipped, tried) = (texts(&["src"]), texts(&["src", "tests", "benches"]));
    let (needed, for_tests) = (names("[dependencies]"), names("[dev-dependencies]"));
    assert!(needed.len() > 20 && !for_tests.is_empty(), "the manifest is read wrongly: {needed:?} {for_tests:?}");
    let unused: Vec<&String> = needed.iter().filter(|name| !uses(&shipped, name)).collect();
    assert!(unused.is_empty(), "no file below src uses {unused:?}");
    let unused: Vec<&String> = for_tests.iter().filter(|name| !uses(&tried, name)).collect();
    assert!(unused.is_empty(), "no test uses {unused:?}");
}

#[test]
fn openidconnect_stays_in_its_room() {
    let mut seen = 0;
    for (path, text) in sources() {
        let names_it = text.lines().any(|line| line.split("//").next().unwrap_or_default().contains("openidconnect::"));
        if names_it {
            seen += 1;
            assert!(
                path.ends_with("provider/oidc/library.rs")
                    || path.to_string_lossy().contains("/provider/oidc/library/"),
                "{} names an openidconnect type outside provider/oidc/library",
                path.display()
            );
        }
    }
    assert!(seen > 0, "the check found no use of openidconnect at all");
}

#[test]
fn no_private_rsa_key_of_the_rsa_crate() {
    for (path, text) in sources() {
        assert!(
            !text.contains("CoreRsaPrivateSigningKey"),
            "{}: private RSA keys are aws-lc's alone (RUSTSEC-2023-0071)",
            path.display()
        );
    }
}
