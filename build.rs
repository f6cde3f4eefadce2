//! Asks the linker for small relocations, and to lay side by side what a gateway needs for its start.
//!
//! Every address that the loader has to put in at the start takes 24 bytes of the program, and a bit where they are packed: a megabyte
//! less to read at each start. Loaders know that since glibc 2.36, as linkers do that are of its age; older ones leave
//! the wish aside.
//!
//! What runs at a start lies scattered over the whole program otherwise, and the system reads sixteen pages for each that is needed: 3 MiB
//! of an idle gateway are functions that it never calls. `release/portcullis.order` names those that it calls (`release/profile` made
//! it). Only lld reads such a list.

use std::env;
use std::path::Path;
use std::process::Command;

const ORDER: &str = "release/portcullis.order";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={ORDER}");
    println!("cargo::rerun-if-env-changed=RUSTC_LINKER");
    if variable("CARGO_CFG_TARGET_OS") != "linux" || variable("CARGO_CFG_TARGET_ENV") != "gnu" {
        return;
    }
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    if variable("OPT_LEVEL") == "3" && is_linked_by_lld() {
        let order = Path::new(&variable("CARGO_MANIFEST_DIR")).join(ORDER);
        println!("cargo::rustc-link-arg-bins=-Wl,--symbol-ordering-file={}", order.display());
        // The order outlives some of the functions in it.
        println!("cargo::rustc-link-arg-bins=-Wl,--no-warn-symbol-ordering");
    }
}

/// A variable that Cargo sets for build scripts; empty where it sets none.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Whether rustc links by the lld that it brings along. It does where it has it and nobody asks for another linker.
fn is_linked_by_lld() -> bool {
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    if !variable("RUSTC_LINKER").is_empty()
        || ["linker", "fuse-ld", "link-self-contained"].iter().any(|word| flags.contains(word))
    {
        return false;
    }
    let asked =
        Command::new(variable("RUSTC")).args(["--print", "target-libdir", "--target", &variable("TARGET")]).output();
    asked.is_ok_and(|told| {
        let folder = String::from_utf8_lossy(&told.stdout).into_owned();
        Path::new(folder.trim()).join("../bin/gcc-ld/ld.lld").is_file()
    })
}
