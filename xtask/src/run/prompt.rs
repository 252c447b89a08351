//! Finds the guest's first prompt in what comes over the serial line, in whatever pieces it comes.

use hic_tests::text::{self, PROMPT};

/// Announces the prompt, on a line of its own.
const READY: &[u8] = b"ready\r\n";

/// Watches for the prompt. What goes in comes out again, except that the line with the first prompt is held back until
/// `ready` was put before it.
#[derive(Debug, Default)]
pub struct PromptWatch {
    /// The line under way.
    line: Vec<u8>,
    /// How much of it was handed on.
    handed_on: usize,
    seen: bool,
}

impl PromptWatch {
    /// Whether the prompt was seen.
    #[must_use]
    pub fn seen(&self) -> bool {
        self.seen
    }

    /// Takes `bytes` and returns what may be shown now.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.seen {
                out.push(*byte);
                continue;
            }
            self.line.push(*byte);
            if *byte == b'\n' {
                out.extend(self.flush());
                self.line.clear();
                self.handed_on = 0;
            } else if self.line.ends_with(PROMPT.as_bytes()) && text::shows_prompt(&text::plain(&self.line)) {
                self.seen = true;
                out.extend(self.announce());
            }
        }
        out
    }

    /// What is held back: to be shown when nothing more comes for a while, since it need not be a prompt.
    pub fn flush(&mut self) -> Vec<u8> {
        let held = self.line.get(self.handed_on..).unwrap_or_default().to_vec();
        self.handed_on = self.line.len();
        held
    }

    fn announce(&mut self) -> Vec<u8> {
        if self.handed_on == 0 {
            return [READY, &self.flush()].concat();
        }
        // Part of the line is on the screen already: finish that line, then show the prompt again.
        [&self.flush(), b"\r\n".as_slice(), READY, PROMPT.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_put_on_a_line_of_its_own_before_the_first_prompt() {
        let mut watch = PromptWatch::default();
        let mut shown = Vec::new();
        for piece in ["core0\r\nh", "ic", "> ", "help\r\nhic> "] {
            shown.extend(watch.feed(piece.as_bytes()));
        }
        assert_eq!(String::from_utf8_lossy(&shown), "core0\r\nready\r\nhic> help\r\nhic> ");
        assert!(watch.seen());
    }

    #[test]
    fn what_was_shown_early_is_not_lost_and_the_prompt_is_shown_again() {
        let mut watch = PromptWatch::default();
        assert!(watch.feed(b"hic").is_empty());
        assert_eq!(watch.flush(), b"hic");
        assert_eq!(watch.feed(b"> "), b"> \r\nready\r\nhic> ");
    }

    #[test]
    fn escapes_do_not_hide_the_prompt_and_words_do_not_make_one() {
        let mut watch = PromptWatch::default();
        watch.feed(b"type at hic> now");
        assert!(!watch.seen());
        watch.feed(b"\r\n\x1b[2K\x1b[1mhic> ");
        assert!(watch.seen());
    }
}
