//! Bytes of a terminal (ECMA-48, as xterm sends them) become keys.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable ASCII character.
    Char(u8),
    /// The line is done.
    Enter,
    /// Delete before the cursor.
    Backspace,
    /// Delete under the cursor.
    Delete,
    /// One to the left.
    Left,
    /// One to the right.
    Right,
    /// To the beginning.
    Home,
    /// To the end.
    End,
    /// The line before in the history.
    Up,
    /// The line after.
    Down,
    /// Ctrl-C: forget the line.
    Cancel,
    /// Ctrl-K: delete to the end.
    KillToEnd,
    /// Ctrl-U: delete to the beginning.
    KillToStart,
    /// Ctrl-W: delete the word before the cursor.
    KillWord,
    /// Ctrl-L: clear the screen.
    Redraw,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    /// After a carriage return: a line feed belongs to it.
    Returned,
    Escape,
    /// Within a control sequence; its last number.
    Sequence(u8),
    /// After ESC O.
    Single,
}

/// The decoder.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    state: State,
}

impl Decoder {
    /// Takes one byte; the key that it completes. Sequences of no known key are swallowed whole.
    pub fn feed(&mut self, byte: u8) -> Option<Key> {
        let state = core::mem::take(&mut self.state);
        match (state, byte) {
            (_, 0x1b) => self.go(State::Escape),
            (State::Escape, b'[') => self.go(State::Sequence(0)),
            (State::Escape, b'O') => self.go(State::Single),
            (State::Escape, _) => None,
            (State::Single, _) => named(byte, 0),
            (State::Sequence(n), b'0'..=b'9') => {
                self.go(State::Sequence(n.wrapping_mul(10).wrapping_add(byte - b'0')))
            }
            (State::Sequence(_), b';') => self.go(State::Sequence(0)),
            (State::Sequence(n), 0x20..=0x3f) => self.go(State::Sequence(n)),
            (State::Sequence(n), _) => named(byte, n),
            (State::Returned, b'\n') => None,
            (State::Plain | State::Returned, b'\r') => {
                self.state = State::Returned;
                Some(Key::Enter)
            }
            (State::Plain | State::Returned, _) => plain(byte),
        }
    }

    fn go(&mut self, state: State) -> Option<Key> {
        self.state = state;
        None
    }
}

/// The key that a control sequence with this final byte and number means.
const fn named(last: u8, number: u8) -> Option<Key> {
    match (last, number) {
        (b'A', _) => Some(Key::Up),
        (b'B', _) => Some(Key::Down),
        (b'C', _) => Some(Key::Right),
        (b'D', _) => Some(Key::Left),
        (b'H', _) | (b'~', 1 | 7) => Some(Key::Home),
        (b'F', _) | (b'~', 4 | 8) => Some(Key::End),
        (b'~', 3) => Some(Key::Delete),
        _ => None,
    }
}

const fn plain(byte: u8) -> Option<Key> {
    Some(match byte {
        b' '..=b'~' => Key::Char(byte),
        b'\n' => Key::Enter,
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x03 => Key::Cancel,
        0x04 => Key::Delete,
        0x05 => Key::End,
        0x06 => Key::Right,
        0x08 | 0x7f => Key::Backspace,
        0x0b => Key::KillToEnd,
        0x0c => Key::Redraw,
        0x0e => Key::Down,
        0x10 => Key::Up,
        0x15 => Key::KillToStart,
        0x17 => Key::KillWord,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|&b| decoder.feed(b)).collect()
    }

    #[test]
    fn return_and_line_feed_together_are_one_enter() {
        assert_eq!(keys(b"\r\n"), [Key::Enter]);
        assert_eq!(keys(b"\r\r"), [Key::Enter, Key::Enter]);
        assert_eq!(keys(b"\n\n"), [Key::Enter, Key::Enter]);
    }

    #[test]
    fn sequences_of_xterm_and_vt_are_known() {
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[1;5C\x1b[D"), [Key::Up, Key::Down, Key::Right, Key::Left]);
        assert_eq!(keys(b"\x1b[1~\x1b[4~\x1b[3~\x1bOH"), [Key::Home, Key::End, Key::Delete, Key::Home]);
    }

    #[test]
    fn what_is_unknown_is_swallowed_whole() {
        assert_eq!(keys(b"\x1b[99999q\x1b[?25hx\xc3\xa9\x00y"), [Key::Char(b'x'), Key::Char(b'y')]);
    }
}
