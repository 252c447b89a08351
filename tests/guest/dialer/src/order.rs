//! The first line of a connection to the order port. It comes from outside: any bytes, in any pieces.

use core::fmt;
use core::net::SocketAddrV4;
use core::str::{self, FromStr};

use hic_netclient::AppSide;

/// Longest line in bytes, without its end; `connect 255.255.255.255:65535` takes 29.
pub const MAX_LINE: usize = 64;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// To be connected to there.
    Connect(SocketAddrV4),
    /// That the queue is accepted from.
    Accept,
}

/// Why a line is no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// More than [`MAX_LINE`] bytes.
    TooLong,
    /// The stream ended before the line did.
    Unfinished,
    /// Neither `connect` nor `accept`.
    Unknown,
    /// `connect`, but not to an IPv4 address and a port other than 0.
    Address,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the first line has more than {MAX_LINE} bytes"),
            Self::Unfinished => f.write_str("the stream ended within the first line"),
            Self::Unknown => f.write_str("say `connect IP:PORT` or `accept`"),
            Self::Address => f.write_str("not an IPv4 address and a port"),
        }
    }
}

impl core::error::Error for BadLine {}

/// Takes the first line out of the ring, and nothing behind it. `None`: its end has not come yet.
pub fn take(side: &mut AppSide) -> Option<Result<Order, BadLine>> {
    // Status before data: what came before the end is still there after it.
    let closed = side.status().rx_closed;
    let mut line = [0; MAX_LINE + 1];
    let len = side.peek_at(0, &mut line);
    let line = line.get(..len).unwrap_or_default();
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            side.consume_rx(end + 1);
            Some(parse(line.get(..end).unwrap_or_default()))
        }
        None if len > MAX_LINE => Some(Err(BadLine::TooLong)),
        None if closed => Some(Err(BadLine::Unfinished)),
        None => None,
    }
}

/// Understands a line without its end; a carriage return there is ignored.
///
/// # Errors
/// [`BadLine`].
pub fn parse(line: &[u8]) -> Result<Order, BadLine> {
    let line = str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).map_err(|_| BadLine::Unknown)?;
    if line == "accept" {
        return Ok(Order::Accept);
    }
    let address = line.strip_prefix("connect ").ok_or(BadLine::Unknown)?;
    let remote = SocketAddrV4::from_str(address).map_err(|_| BadLine::Address)?;
    if remote.port() == 0 { Err(BadLine::Address) } else { Ok(Order::Connect(remote)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Pair, peer};
    use std::vec;

    #[test]
    fn orders_are_understood() {
        assert_eq!(parse(b"connect 10.0.2.2:4000"), Ok(Order::Connect(peer(4000))));
        assert_eq!(parse(b"connect 10.0.2.2:4000\r"), Ok(Order::Connect(peer(4000))));
        assert_eq!(parse(b"accept"), Ok(Order::Accept));
    }

    #[test]
    fn other_lines_say_what_is_wrong_with_them() {
        for line in [&b""[..], b"connect", b"accept ", b"Accept", b"connect\t10.0.2.2:1", b"\xff\xfe", b"\0"]
        {
            assert_eq!(parse(line), Err(BadLine::Unknown), "{line:?}");
        }
        for address in
            ["", "10.0.2.2", "10.0.2.2:0", "10.0.2.2:65536", "10.0.2.256:1", " 10.0.2.2:1", "[::1]:1"]
        {
            let line = std::format!("connect {address}");
            assert_eq!(parse(line.as_bytes()), Err(BadLine::Address), "{line:?}");
        }
    }

    #[test]
    fn a_line_in_pieces_is_one_line_and_what_follows_stays() {
        let mut pair = Pair::tcp(4096);
        for piece in ["acc", "ept"] {
            pair.receive(piece.as_bytes());
            assert_eq!(take(&mut pair.app), None);
        }
        pair.receive(b"\nrest");
        assert_eq!(take(&mut pair.app), Some(Ok(Order::Accept)));
        assert_eq!(pair.app.readable(), 4);
    }

    #[test]
    fn the_longest_line_is_read_and_one_byte_more_is_too_long() {
        let mut line = vec![b'x'; MAX_LINE];
        let mut pair = Pair::tcp(4096);
        pair.receive(&line);
        assert_eq!(take(&mut pair.app), None);
        pair.receive(b"\n");
        assert_eq!(take(&mut pair.app), Some(Err(BadLine::Unknown)));
        line.extend(b"x\n");
        pair.receive(&line);
        assert_eq!(take(&mut pair.app), Some(Err(BadLine::TooLong)));
    }

    #[test]
    fn a_line_before_the_end_of_the_stream_counts_and_half_a_line_does_not() {
        let mut pair = Pair::tcp(4096);
        pair.receive(b"accept\nacc");
        pair.close_rx();
        assert_eq!(take(&mut pair.app), Some(Ok(Order::Accept)));
        assert_eq!(take(&mut pair.app), Some(Err(BadLine::Unfinished)));
    }
}
