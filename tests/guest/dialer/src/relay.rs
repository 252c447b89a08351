//! Two connections as one: what comes on either goes out on the other, the end of a stream too.
//!
//! There is no buffer here: bytes are copied from a receive ring to a send ring, and only as many as the send ring has room for.
//! So a peer that does not read fills two rings, closes a window, and makes the other peer wait.

use hic_netclient::{AppSide, Want};

/// Room that a full send ring must have again before it is written to: a few bytes at a time would make small segments.
const ROOM: u32 = 4096;

/// What one side of a relay sleeps for: at least `read_low` bytes to read or `write_low` of room to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// What for.
    pub want: Want,
    /// Bytes to read.
    pub read_low: u32,
    /// Room to write, bytes.
    pub write_low: u32,
}

impl Sleep {
    /// Until this holds, for any number of bytes.
    #[must_use]
    pub const fn until(want: Want) -> Self {
        Self { want, read_low: 1, write_low: 1 }
    }
}

/// How far a relay got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing can move before one of these holds. `None`: nothing more is expected from that side.
    Wait {
        /// For the connection that came to us.
        near: Option<Sleep>,
        /// For the connection that we opened.
        far: Option<Sleep>,
    },
    /// Both peers have acknowledged everything, both ends of the streams included.
    Finished,
    /// A connection broke: the other one must be reset, or its peer would take the piece for the whole.
    Broken,
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    /// Bytes may come.
    Open,
    /// The end of the stream was passed on, behind its last byte.
    Ended,
}

impl Half {
    /// Moves what can be moved. What `from` and `to` should wake us for is [`Self::wants`].
    fn pump(&mut self, from: &mut AppSide, to: &mut AppSide) {
        if *self == Self::Ended {
            return;
        }
        // Status before data: what came before the end is still there after it.
        let closed = from.status().rx_closed;
        move_bytes(from, to);
        if closed && from.readable() == 0 {
            to.close_tx();
            *self = Self::Ended;
        }
    }

    /// Whether this direction waits for data (`from`) or for room (`to`).
    fn wants(self, from: &AppSide) -> [Option<Want>; 2] {
        match self {
            Self::Ended => [None, None],
            Self::Open if from.readable() == 0 => [Some(Want::READABLE), None],
            Self::Open => [None, Some(Want::WRITABLE)],
        }
    }
}

/// Copies from ring to ring what there is room for.
fn move_bytes(from: &mut AppSide, to: &mut AppSide) {
    let (first, second) = from.rx_filled();
    let mut moved = to.write(first);
    if moved == first.len() {
        moved += to.write(second);
    }
    from.consume_rx(moved);
}

/// Both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    out: Half,
    back: Half,
}

impl Relay {
    /// Of two connections that are established.
    #[must_use]
    pub const fn new() -> Self {
        Self { out: Half::Open, back: Half::Open }
    }

    /// Goes on as far as the four rings allow.
    pub fn step(&mut self, near: &mut AppSide, far: &mut AppSide) -> Progress {
        let (near_status, far_status) = (near.status(), far.status());
        // A side can be over in order only after we ended its stream.
        let cut =
            (self.out == Half::Open && far_status.over) || (self.back == Half::Open && near_status.over);
        if cut || near_status.error.is_some() || far_status.error.is_some() {
            return Progress::Broken;
        }
        self.out.pump(near, far);
        self.back.pump(far, near);
        if *self == (Self { out: Half::Ended, back: Half::Ended }) && near_status.over && far_status.over {
            return Progress::Finished;
        }
        let [near_reads, far_writes] = self.out.wants(near);
        let [far_reads, near_writes] = self.back.wants(far);
        Progress::Wait {
            near: sleep([near_reads, near_writes], near_status.over),
            far: sleep([far_reads, far_writes], far_status.over),
        }
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
}

/// One side's sleep: for its wants, and for its end if that has not come yet (one that has come would end the sleep at once, for
/// ever). A side that is over may still have bytes to read; those need no waiting for.
fn sleep(wants: [Option<Want>; 2], over: bool) -> Option<Sleep> {
    if over {
        return None;
    }
    let want = wants.into_iter().flatten().fold(Want::OVER, Want::and);
    Some(Sleep { want, read_low: 1, write_low: ROOM })
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
