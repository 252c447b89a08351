//! The pattern of RFC 864: lines of 72 of the 95 printing ASCII characters, each line starting one character later.

/// Characters of a line, without CR LF.
const LINE: u64 = 72;
/// A line with its end.
const LINE_END: u64 = LINE + 2;
/// The printing characters, space to tilde.
const CHARACTERS: u64 = 95;

/// The byte at this offset of the endless stream.
#[must_use]
pub const fn byte_at(offset: u64) -> u8 {
    let (line, column) = (offset / LINE_END, offset % LINE_END);
    match column {
        LINE => b'\r',
        column if column > LINE => b'\n',
        column => b' ' + ((line % CHARACTERS + column) % CHARACTERS) as u8,
    }
}

/// Fills `out` with the stream from `offset` on.
pub fn fill(offset: u64, out: &mut [u8]) {
    for (at, byte) in (offset..).zip(out) {
        *byte = byte_at(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn line(n: u64) -> String {
        let mut out = [0; LINE_END as usize];
        fill(n * LINE_END, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn lines_are_those_of_the_rfc() {
        assert_eq!(line(0), " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n");
        assert_eq!(line(1), "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n");
        assert!(line(94).starts_with("~ !\"#"));
        assert_eq!(line(95), line(0));
    }

    #[test]
    fn pieces_join_without_a_seam() {
        let mut whole = [0; 1000];
        fill(0, &mut whole);
        let mut pieces = [0; 1000];
        let (first, second) = pieces.split_at_mut(333);
        fill(0, first);
        fill(333, second);
        assert_eq!(whole, pieces);
    }
}
