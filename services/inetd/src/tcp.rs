//! One TCP connection of each service.

use crate::{Protocol, chargen, daytime};
use hic_abi::{FOREVER, Nanos};
use hic_netclient::{AppSide, Step};

/// Space that chargen waits for: writing a few bytes at a time would make small segments.
const CHARGEN_LOW: u32 = 4096;

/// The state of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    protocol: Protocol,
    /// Bytes of the endless stream sent so far.
    sent: u64,
}

impl Session {
    /// A connection that was just accepted.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Self {
        Self { protocol, sent: 0 }
    }

    /// Goes on as far as the rings allow; `unix_seconds` is the wall clock.
    pub fn step(&mut self, side: &mut AppSide, unix_seconds: u64) -> Step {
        match self.protocol {
            Protocol::Echo => echo(side),
            Protocol::Discard => discard(side),
            Protocol::Daytime => {
                side.write(daytime::line(unix_seconds).as_bytes());
                Step::Close
            }
            Protocol::Chargen => self.chargen(side),
        }
    }

    fn chargen(&mut self, side: &mut AppSide) -> Step {
        // Status before data: what came before the end is still there after it.
        let closed = side.status().rx_closed;
        side.consume_rx(side.readable());
        if closed {
            return Step::Close;
        }
        let (first, second) = side.tx_spare();
        chargen::fill(self.sent, first);
        chargen::fill(self.sent + first.len() as u64, second);
        let written = first.len() + second.len();
        side.commit_tx(written);
        self.sent += written as u64;
        Step::Wait { want: READ_OR_WRITE, read_low: 1, write_low: CHARGEN_LOW, deadline: NEVER }
    }
}

const NEVER: Nanos = FOREVER;
const READ_OR_WRITE: hic_netclient::Want = hic_netclient::Want::READABLE.and(hic_netclient::Want::WRITABLE);

/// Copies straight from ring to ring. When the other end is slow to read, waits for space and reads nothing meanwhile: the
/// window closes, and the other end waits.
fn echo(side: &mut AppSide) -> Step {
    let closed = side.status().rx_closed;
    side.echo(usize::MAX);
    match (side.readable(), closed) {
        (0, true) => Step::Close,
        (0, false) => Step::read(NEVER),
        _ => Step::write(1, NEVER),
    }
}

fn discard(side: &mut AppSide) -> Step {
    let closed = side.status().rx_closed;
    side.consume_rx(side.readable());
    if closed { Step::Close } else { Step::read(NEVER) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Pair;
    use hic_netclient::Want;
    use std::vec::Vec;

    #[test]
    fn echo_returns_every_byte_and_closes_after_the_last() {
        let mut pair = Pair::tcp(4096);
        let mut session = Session::new(Protocol::Echo);
        let data: Vec<u8> = (0..3000).map(|n| n as u8).collect();
        pair.receive(&data);
        assert_eq!(session.step(&mut pair.app, 0), Step::read(FOREVER));
        pair.close_rx();
        assert_eq!(session.step(&mut pair.app, 0), Step::Close);
        assert_eq!(pair.sent(), data);
    }

    #[test]
    fn echo_to_a_slow_reader_waits_for_space_and_loses_nothing() {
        let mut pair = Pair::tcp(4096);
        let mut session = Session::new(Protocol::Echo);
        let data: Vec<u8> = (0..10_000u32).map(|n| (n * 7) as u8).collect();
        let (mut fed, mut back) = (0, Vec::new());
        while back.len() < data.len() {
            fed += pair.receive_some(&data[fed..]);
            let step = session.step(&mut pair.app, 0);
            assert!(matches!(step, Step::Wait { want: Want::READABLE | Want::WRITABLE, .. }), "{step:?}");
            back.extend(pair.take_sent(700));
        }
        assert_eq!(back, data);
    }

    #[test]
    fn discard_frees_its_ring_and_answers_nothing() {
        let mut pair = Pair::tcp(4096);
        let mut session = Session::new(Protocol::Discard);
        for _ in 0..10 {
            pair.receive(&[9; 4096]);
            assert_eq!(session.step(&mut pair.app, 0), Step::read(FOREVER));
        }
        assert_eq!(pair.sent(), []);
    }

    #[test]
    fn daytime_says_the_time_and_closes() {
        let mut pair = Pair::tcp(4096);
        assert_eq!(Session::new(Protocol::Daytime).step(&mut pair.app, 0), Step::Close);
        assert_eq!(pair.sent(), b"Thursday, January 1, 1970 00:00:00-UTC\r\n");
    }

    #[test]
    fn chargen_goes_on_where_it_stopped_until_the_other_end_closes() {
        let mut pair = Pair::tcp(4096);
        let mut session = Session::new(Protocol::Chargen);
        let mut out = Vec::new();
        for _ in 0..20 {
            assert!(matches!(session.step(&mut pair.app, 0), Step::Wait { write_low: CHARGEN_LOW, .. }));
            out.extend(pair.take_sent(1234));
        }
        let mut expected = std::vec![0; out.len()];
        chargen::fill(0, &mut expected);
        assert_eq!(out, expected);
        pair.close_rx();
        assert_eq!(session.step(&mut pair.app, 0), Step::Close);
    }
}
