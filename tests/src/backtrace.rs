//! Names for the addresses that the kernel prints when it panics.
//!
//! The kernel prints numbers only: it carries no symbols, and a panic is no moment to parse some.

use std::fmt::Write;
use std::path::Path;

use addr2line::Loader;

/// What the kernel puts before each address.
const MARK: &str = "backtrace: ";

/// The backtrace in `serial`, one line for each function, innermost first; empty if there is none, or if `kernel` has no
/// symbols to name them by.
#[must_use]
pub fn named(kernel: &Path, serial: &str) -> String {
    let addresses = addresses(serial);
    let mut out = String::new();
    if addresses.is_empty() {
        return out;
    }
    let Ok(symbols) = Loader::new(kernel) else { return out };
    for address in addresses {
        if let Some(lines) = describe(&symbols, address) {
            out += &lines;
        }
    }
    out
}

/// The addresses that the kernel printed, in order.
fn addresses(serial: &str) -> Vec<u64> {
    let hex = |line: &str| u64::from_str_radix(line.trim().strip_prefix(MARK)?.strip_prefix("0x")?, 16).ok();
    serial.lines().filter_map(hex).collect()
}

/// All functions at `address`, since some are inlined in others.
fn describe(symbols: &Loader, address: u64) -> Option<String> {
    let mut out = String::new();
    // What is printed is where a call returns to; the call itself lies before it.
    let mut frames = symbols.find_frames(address.checked_sub(1)?).ok()?;
    while let Some(frame) = frames.next().ok()? {
        let name =
            frame.function.as_ref().and_then(|name| name.demangle().ok()).unwrap_or_else(|| "?".into());
        let place = frame.location.as_ref();
        let file = place.and_then(|place| place.file).unwrap_or("?");
        let line = place.and_then(|place| place.line).unwrap_or(0);
        writeln!(out, "  {address:#x} {name} ({file}:{line})").ok()?;
    }
    if out.is_empty() {
        // No line table covers assembly; the symbol table does.
        writeln!(out, "  {address:#x} {}", symbols.find_symbol(address - 1)?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_kernels_lines_alone() {
        let serial =
            "kernel panic: x\r\nbacktrace: 0xffffffff80000010\r\nbacktrace: nonsense\nuser backtrace: 0x1\n";
        assert_eq!(addresses(serial), [0xffff_ffff_8000_0010]);
    }

    #[test]
    fn a_program_without_symbols_or_a_text_without_addresses_gives_nothing() {
        assert_eq!(named(Path::new("/no/such/kernel"), "backtrace: 0x10\n"), "");
        assert_eq!(named(Path::new("/no/such/kernel"), "all is well\n"), "");
    }
}
