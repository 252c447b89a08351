//! Link arguments of the bootable kernel. Host builds of the library and its tests take none of them.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=linker.ld");
    if env::var_os("CARGO_FEATURE_FREESTANDING").is_none() {
        return;
    }
    let script = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("linker.ld");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,max-page-size=0x1000",
        "-Wl,-z,norelro",
        "-Wl,--no-eh-frame-hdr",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
}
