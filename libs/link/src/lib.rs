//! How the freestanding binaries of ring 3 are linked. For build scripts, on the host; the one place where these arguments stand.

/// Position independent, without a C start-up, pages of 4 KiB (docs/adr/0001).
pub const ARGUMENTS: [&str; 8] = [
    "-nostartfiles",
    "-nostdlib",
    "-static-pie",
    "-Wl,-e,_start",
    "-Wl,--build-id=none",
    "-Wl,-z,max-page-size=0x1000",
    "-Wl,-z,norelro",
    "-Wl,--no-eh-frame-hdr",
];

/// Tells cargo how to link this package's binaries, if its feature `freestanding` is on. A build script's `main` is this call.
pub fn module() {
    if std::env::var_os("CARGO_FEATURE_FREESTANDING").is_none() {
        return;
    }
    for argument in ARGUMENTS {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
