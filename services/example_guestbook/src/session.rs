//! One visitor: a line is a command, an answer is one or more lines.
//!
//! ```text
//!  add TEXT   writes a note: "thank you, note 3"      list   the notes kept, one a line, then "."
//!  count      notes ever written                      help   the commands          quit   ends the connection
//! ```

use crate::notes::{MAX_TEXT, NoteError, Notes};
use core::fmt::{self, Write};
use hic_abi::Nanos;
use hic_netclient::{AppSide, Step};

/// Longest line with its end; a longer one ends the connection.
pub const MAX_LINE: usize = MAX_TEXT + 16;
/// How long a visitor may be silent.
pub const IDLE_TIME: Nanos = 300_000_000_000;
/// Space for an answer of one line: without it no command is read, so that a visitor who does not read is not served.
const ANSWER: usize = 512;

const HELP: &str = "add TEXT, list, count, help, quit\n";

enum State {
    /// Waits for a line.
    Command,
    /// Writes the list; this note is next.
    Listing { next: u64 },
}

/// The state of a connection.
pub struct Session {
    state: State,
    deadline: Nanos,
}

/// Writes to the ring; the caller made sure of the space.
struct Out<'a>(&'a mut AppSide);

impl Write for Out<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.write(text.as_bytes()) == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

impl Session {
    /// A visitor who just came.
    #[must_use]
    pub const fn new(now: Nanos) -> Self {
        Self { state: State::Command, deadline: now + IDLE_TIME }
    }

    /// Goes on as far as the rings allow.
    pub fn step(&mut self, side: &mut AppSide, now: Nanos, notes: &mut Notes) -> Step {
        loop {
            if now >= self.deadline {
                return Step::Close;
            }
            if side.writable() < ANSWER {
                return Step::write(ANSWER as u32, self.deadline);
            }
            let step = match self.state {
                State::Command => self.command(side, now, notes),
                State::Listing { next } => {
                    self.list(side, next, notes);
                    None
                }
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn command(&mut self, side: &mut AppSide, now: Nanos, notes: &mut Notes) -> Option<Step> {
        // Status before data: what came before the end is still there after it.
        let closed = side.status().rx_closed;
        let mut line = [0; MAX_LINE];
        let len = side.peek_at(0, &mut line);
        let line = line.get(..len).unwrap_or_default();
        let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
            let over = closed || len == MAX_LINE;
            return Some(if over { Step::Close } else { wait_for(len, self.deadline) });
        };
        side.consume_rx(end + 1);
        self.deadline = now + IDLE_TIME;
        let line = line.get(..end).unwrap_or_default().trim_ascii();
        self.act(line, side, notes)
    }

    fn act(&mut self, line: &[u8], side: &mut AppSide, notes: &mut Notes) -> Option<Step> {
        let (command, rest) = match line.iter().position(|byte| *byte == b' ') {
            Some(at) => line.split_at(at),
            None => (line, &b""[..]),
        };
        let out = &mut Out(side);
        // The answers fit: `step` made sure of `ANSWER` bytes.
        let _ = match command {
            b"add" => match notes.add(rest.trim_ascii()) {
                Ok(number) => writeln!(out, "thank you, note {number}"),
                Err(NoteError::Empty) => writeln!(out, "error: add what?"),
                Err(NoteError::TooLong) => writeln!(out, "error: at most {MAX_TEXT} bytes"),
            },
            b"count" => writeln!(out, "{}", notes.count()),
            b"list" => {
                self.state = State::Listing { next: notes.oldest() };
                Ok(())
            }
            b"help" => out.write_str(HELP),
            b"quit" => return Some(Step::Close),
            _ => write!(out, "error: no such command; {HELP}"),
        };
        None
    }

    /// One note. A visitor who reads slowly sees the notes that are kept when their turn comes.
    fn list(&mut self, side: &mut AppSide, next: u64, notes: &Notes) {
        let next = next.max(notes.oldest());
        match notes.get(next) {
            Some(text) => {
                side.write(text);
                side.write(b"\n");
                self.state = State::Listing { next: next + 1 };
            }
            None => {
                side.write(b".\n");
                self.state = State::Command;
            }
        }
    }
}

/// Waits for more than the part of a line that is there.
const fn wait_for(len: usize, deadline: Nanos) -> Step {
    Step::Wait { want: hic_netclient::Want::READABLE, read_low: len as u32 + 1, write_low: 1, deadline }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hic_netapi::{Layout, RegionKind, StackSide};
    use std::alloc;
    use std::string::String;
    use std::vec::Vec;

    struct Visit {
        app: AppSide,
        stack: StackSide,
        session: Session,
        notes: Notes,
    }

    impl Visit {
        /// The memory of one visit is never given back; a test has one.
        fn new() -> Self {
            let layout = Layout::new(RegionKind::Tcp, 4096, 4096).unwrap();
            let shape = alloc::Layout::from_size_align(layout.region_len() + 16384, 4096).unwrap();
            // SAFETY: the memory is never freed, has one side of each kind, and the notes lie behind the region.
            unsafe {
                let base = alloc::alloc_zeroed(shape);
                let stack = StackSide::create(base, layout.region_len(), layout).unwrap();
                let app = AppSide::attach(base, layout.region_len()).unwrap();
                let notes = Notes::attach(base.add(layout.region_len()), 16384).unwrap();
                Self { app, stack, session: Session::new(0), notes }
            }
        }

        fn say(&mut self, text: &str) -> Step {
            self.stack.refresh().unwrap();
            let at = self.stack.indices().rx_written;
            assert!(self.stack.write_rx(at, text.as_bytes()));
            self.stack.publish_rx(at + text.len() as u64);
            self.session.step(&mut self.app, 0, &mut self.notes)
        }

        fn hear(&mut self) -> String {
            self.stack.refresh().unwrap();
            let from = self.stack.indices().tx_acked;
            let mut out: Vec<u8> = std::vec![0; (self.stack.tx_written() - from) as usize];
            assert!(self.stack.copy_tx(from, &mut out));
            self.stack.publish_acked(from + out.len() as u64);
            String::from_utf8(out).unwrap()
        }
    }

    #[test]
    fn notes_are_taken_counted_and_listed() {
        let mut visit = Visit::new();
        visit.say("add hello there\r\nadd\nadd again\ncount\nlist\n");
        let expected = "thank you, note 0\nerror: add what?\nthank you, note 1\n2\nhello there\nagain\n.\n";
        assert_eq!(visit.hear(), expected);
    }

    #[test]
    fn a_command_in_pieces_is_one_command() {
        let mut visit = Visit::new();
        assert!(matches!(visit.say("cou"), Step::Wait { read_low: 4, .. }));
        visit.say("nt\n");
        assert_eq!(visit.hear(), "0\n");
    }

    #[test]
    fn a_line_without_end_and_quit_end_the_visit() {
        assert_eq!(Visit::new().say(&"x".repeat(MAX_LINE)), Step::Close);
        assert_eq!(Visit::new().say("quit\n"), Step::Close);
    }

    #[test]
    fn a_list_longer_than_the_ring_arrives_whole() {
        let mut visit = Visit::new();
        for _ in 0..60 {
            visit.notes.add(&[b'n'; MAX_TEXT]).unwrap();
        }
        let mut step = visit.say("list\n");
        let mut all = visit.hear();
        while matches!(step, Step::Wait { want: hic_netclient::Want::WRITABLE, .. }) {
            step = visit.session.step(&mut visit.app, 0, &mut visit.notes);
            all.push_str(&visit.hear());
        }
        assert_eq!(all.lines().count(), 61);
        assert!(all.ends_with("\n.\n"));
    }

    #[test]
    fn a_visitor_who_says_nothing_is_sent_away_in_time() {
        let mut visit = Visit::new();
        visit.say("count\n");
        assert_eq!(visit.session.step(&mut visit.app, IDLE_TIME, &mut visit.notes), Step::Close);
    }
}
