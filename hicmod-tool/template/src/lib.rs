//! What is said: pure, so that it is tested on the host with `cargo test`.
#![no_std]

/// Longest line with its end; who sends a longer one is hung up on.
pub const LONGEST_LINE: usize = 256;
/// Longest answer, bytes.
pub const LONGEST_ANSWER: usize = LONGEST_LINE + 128;

/// What every answer starts with.
pub const GREETING: &str = "hello";

/// Writes the answer to `line`, which comes without its end, of the version `version`; `None`: the visitor wants to go.
///
/// ```
/// let mut said = Vec::new();
/// @IDENT@::answer(b"world", "0.1.0", &mut |bytes| said.extend_from_slice(bytes));
/// assert_eq!(said, b"hello, world (0.1.0)\n");
/// ```
pub fn answer(line: &[u8], version: &str, say: &mut dyn FnMut(&[u8])) -> Option<()> {
    if line == b"quit" {
        return None;
    }
    for part in [GREETING.as_bytes(), b", ", line, b" (", version.as_bytes(), b")\n"] {
        say(part);
    }
    Some(())
}
