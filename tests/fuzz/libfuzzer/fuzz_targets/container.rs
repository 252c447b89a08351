#![no_main]
//! See `hic_fuzz::targets`.

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hic_fuzz::targets::run("container", bytes));
