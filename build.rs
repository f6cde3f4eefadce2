//! Asks the linker for small relocations.
//!
//! Every address that the loader has to put in at the start takes 24 bytes of the program, and a bit where they are packed: a megabyte
//! less to read at each start. Loaders know that since glibc 2.36, as linkers do that are of its age; older ones leave
//! the wish aside.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name| std::env::var(name).unwrap_or_default();
    if target("CARGO_CFG_TARGET_OS") == "linux" && target("CARGO_CFG_TARGET_ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
