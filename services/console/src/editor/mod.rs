//! Line editing: bytes of a terminal go in, what to send to it comes out, and now and then a line.
//!
//! Ours instead of the crate `noline`: that one asks the terminal for its size and the cursor's place and waits for the answer before the
//! first key, which a script at the other end of the serial line never gives.
//!
//! Lines are ASCII, and at most [`MAX_LINE`] characters, so that one position is one column.

mod history;
mod keys;

use alloc::string::String;
use core::fmt::Write;
use history::History;
pub use history::LINES;
use keys::{Decoder, Key};

/// Longest line; more is answered with a bell.
pub const MAX_LINE: usize = 256;

const BELL: char = '\x07';

/// What a byte brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Go on.
    None,
    /// A line was entered.
    Line(String),
}

/// The editor.
#[derive(Clone, Debug)]
pub struct Editor {
    prompt: &'static str,
    decoder: Decoder,
    history: History,
    line: String,
    cursor: usize,
}

impl Editor {
    /// An editor with an empty line.
    #[must_use]
    pub fn new(prompt: &'static str) -> Self {
        let (decoder, history) = (Decoder::default(), History::default());
        Self { prompt, decoder, history, line: String::new(), cursor: 0 }
    }

    /// Begins a new line.
    pub fn prompt(&mut self, out: &mut String) {
        self.line.clear();
        self.cursor = 0;
        self.history.leave();
        out.push_str(self.prompt);
    }

    /// Takes one byte; `out` gets what the terminal must be sent.
    pub fn feed(&mut self, byte: u8, out: &mut String) -> Outcome {
        let Some(key) = self.decoder.feed(byte) else { return Outcome::None };
        match key {
            Key::Enter => {
                out.push_str("\r\n");
                self.history.add(&self.line);
                self.cursor = 0;
                return Outcome::Line(core::mem::take(&mut self.line));
            }
            Key::Cancel => {
                out.push_str("^C\r\n");
                self.prompt(out);
            }
            Key::Char(byte) => self.insert(byte, out),
            Key::Redraw => {
                out.push_str("\x1b[H\x1b[2J");
                self.redraw(out);
            }
            Key::Left | Key::Right | Key::Home | Key::End => self.go(key, out),
            Key::Up | Key::Down => self.recall(key, out),
            Key::Backspace | Key::Delete | Key::KillToEnd | Key::KillToStart | Key::KillWord => {
                self.delete(key, out);
            }
        }
        Outcome::None
    }

    fn insert(&mut self, byte: u8, out: &mut String) {
        if self.line.len() >= MAX_LINE {
            return out.push(BELL);
        }
        self.line.insert(self.cursor, char::from(byte));
        self.cursor += 1;
        if self.cursor == self.line.len() {
            out.push(char::from(byte));
        } else {
            self.redraw(out);
        }
    }

    fn go(&mut self, key: Key, out: &mut String) {
        self.cursor = match key {
            Key::Left => self.cursor.saturating_sub(1),
            Key::Right => (self.cursor + 1).min(self.line.len()),
            Key::Home => 0,
            _ => self.line.len(),
        };
        self.redraw(out);
    }

    fn recall(&mut self, key: Key, out: &mut String) {
        let found = if key == Key::Up { self.history.older(&self.line) } else { self.history.newer() };
        let Some(line) = found else { return out.push(BELL) };
        self.line = line;
        self.cursor = self.line.len();
        self.redraw(out);
    }

    fn delete(&mut self, key: Key, out: &mut String) {
        let (from, to) = match key {
            Key::Backspace => (self.cursor.saturating_sub(1), self.cursor),
            Key::Delete => (self.cursor, (self.cursor + 1).min(self.line.len())),
            Key::KillToEnd => (self.cursor, self.line.len()),
            Key::KillWord => (self.word_start(), self.cursor),
            _ => (0, self.cursor),
        };
        if from == to {
            return out.push(BELL);
        }
        self.line.replace_range(from..to, "");
        self.cursor = from;
        self.redraw(out);
    }

    fn word_start(&self) -> usize {
        let before = self.line.get(..self.cursor).unwrap_or_default().trim_end();
        before.rfind(' ').map_or(0, |space| space + 1)
    }

    fn redraw(&self, out: &mut String) {
        let right = self.line.len() - self.cursor;
        let _ = write!(out, "\r{}{}\x1b[K", self.prompt, self.line);
        if right > 0 {
            let _ = write!(out, "\x1b[{right}D");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Types bytes; the lines entered, and what the terminal got.
    fn type_in(bytes: &[u8]) -> (Vec<String>, String) {
        let (mut editor, mut out, mut lines) = (Editor::new("hic> "), String::new(), Vec::new());
        for &byte in bytes {
            if let Outcome::Line(line) = editor.feed(byte, &mut out) {
                lines.push(line);
            }
        }
        (lines, out)
    }

    fn line(bytes: &[u8]) -> String {
        type_in(bytes).0.pop().expect("a line")
    }

    #[test]
    fn plain_typing_is_echoed_and_nothing_else() {
        assert_eq!(type_in(b"help\r"), (std::vec!["help".into()], "help\r\n".into()));
    }

    #[test]
    fn editing_keys_do_what_they_do_elsewhere() {
        assert_eq!(line(b"hlp\x1b[D\x1b[De\r"), "help");
        assert_eq!(line(b"xhelp\x01\x04\r"), "help");
        assert_eq!(line(b"helpp\x7f\r"), "help");
        assert_eq!(line(b"restart netstack\x17inetd\r"), "restart inetd");
        assert_eq!(line(b"nonsense\x15help\r"), "help");
        assert_eq!(line(b"help me\x1b[D\x1b[D\x1b[D\x0b\r"), "help");
    }

    #[test]
    fn history_brings_lines_back() {
        assert_eq!(line(b"one\rtwo\r\x1b[A\x1b[A\r"), "one");
        assert_eq!(line(b"one\r\x1b[A\x1b[Bdraft\r"), "draft");
    }

    #[test]
    fn cancel_forgets_the_line_and_prompts_again() {
        let (lines, out) = type_in(b"abc\x03x\r");
        assert_eq!(lines, ["x"]);
        assert_eq!(out, "abc^C\r\nhic> x\r\n");
    }

    #[test]
    fn a_line_that_is_too_long_rings_the_bell() {
        let typed = std::vec![b'a'; MAX_LINE + 3];
        let (_, out) = type_in(&typed);
        assert_eq!(out.matches(BELL).count(), 3);
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_editor(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            for line in type_in(&bytes).0 {
                prop_assert!(line.len() <= MAX_LINE && line.is_ascii());
            }
        }
    }
}
