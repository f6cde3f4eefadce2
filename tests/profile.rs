//! What guides optimized builds: which of them get the profile, and that profile and order know the code that they guide.

#![allow(
    clippy::expect_used,
    clippy::tests_outside_test_module,
    reason = "this whole crate is a test: what fails here is to fail loudly"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, str};

/// Files that most requests pass through.
const WAY: &[&str] =
    &["forward/send", "gate/handle", "gate/pass", "gate/table", "http/cookie_scan", "server/connection"];

/// Those of them that the compiler writes into their callers as a whole: the profile knows them, and the linker has nothing to put in order.
const DISSOLVED: &[&str] = &["server/connection"];

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What becomes of a compiler's arguments: what is called in place of the compiler prints them.
fn handed_on(arguments: &[&str], count_into: Option<&str>) -> Vec<String> {
    let mut wrapper = Command::new(here("release/rustc"));
    wrapper.args(["printf", "%s\\n"]).args(arguments).env_remove("PROFILE_INTO").current_dir("/");
    if let Some(folder) = count_into {
        wrapper.env("PROFILE_INTO", folder);
    }
    let ran = wrapper.output().expect("release/rustc can be run");
    assert!(ran.status.success(), "release/rustc fails: {}", String::from_utf8_lossy(&ran.stderr));
    str::from_utf8(&ran.stdout).expect("arguments are text").lines().map(str::to_owned).collect()
}

/// How a symbol names a module of ours: each part with its length before it.
fn mangled(file: &str) -> String {
    let parts: Vec<String> = file.split('/').map(|part| format!("{}{part}", part.len())).collect();
    format!("10portcullis{}", parts.concat())
}

#[test]
fn cargo_calls_the_wrapper() {
    let config = fs::read_to_string(here(".cargo/config.toml")).expect("cargo's config can be read");
    let config: toml::Table = config.parse().expect("cargo's config is TOML");
    let wrapper = config.get("build").and_then(|build| build.get("rustc-wrapper")).and_then(toml::Value::as_str);
    assert_eq!(wrapper, Some("release/rustc"), "without it no build is guided");
}

#[test]
fn optimized_builds_get_the_profile_and_keep_their_arguments() {
    let given = ["--crate-name", "a b", "-C", "opt-level=3", ""];
    let handed = handed_on(&given, None);
    assert_eq!(handed.get(..given.len()), Some(&given.map(str::to_owned)[..]));
    let profile = handed.iter().find_map(|argument| argument.strip_prefix("-Cprofile-use="));
    assert!(profile.is_some_and(|path| Path::new(path).is_file()), "no profile that is there among {handed:?}");
}

#[test]
fn other_builds_are_left_alone() {
    for given in [&["-vV"][..], &["--crate-name", "a"], &["-C", "opt-level=1"], &["--crate-name", "opt-level=30"]] {
        assert_eq!(handed_on(given, None), given);
        assert_eq!(handed_on(given, Some("/counted")), given);
    }
}

#[test]
fn a_build_that_counts_is_not_guided() {
    assert_eq!(
        handed_on(&["-C", "opt-level=3"], Some("/counted")).get(2..),
        Some(&["-Cprofile-generate=/counted".to_owned()][..])
    );
}

/// A file that moved is unknown to both from then on, and is built as without them; nothing else would say so.
#[test]
fn profile_and_order_know_the_way_of_a_request() {
    for (guide, unknown) in [("release/portcullis.profdata", &[][..]), ("release/portcullis.order", DISSOLVED)] {
        let text = fs::read(here(guide)).expect("what guides builds can be read");
        for file in WAY.iter().filter(|file| !unknown.contains(file)) {
            let source = here("src").join(file).with_extension("rs");
            assert!(source.is_file(), "{} is gone: name here what took its place", source.display());
            let name = mangled(file);
            assert!(
                text.windows(name.len()).any(|window| window == name.as_bytes()),
                "{guide} doesn't know src/{file}.rs: run release/profile"
            );
        }
    }
}
