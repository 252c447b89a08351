//! The board: how the director tells the others what to do, and what they did.

use core::sync::atomic::{AtomicU64, Ordering};

/// Sandboxes that queue beside the client in the test of order.
pub const CALLERS: usize = 8;

/// What the server does with the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Mode {
    /// Answers it.
    Normal = 0,
    /// Does not receive any more.
    Hold = 1,
    /// Counts, then ends without an answer.
    ExitBeforeReply = 2,
    /// Counts, then touches memory that it has not.
    FaultBeforeReply = 3,
    /// Counts, says so on the board, and neither answers nor ends.
    StallBeforeReply = 4,
    /// Answers, then ends.
    ExitAfterReply = 5,
}

impl Mode {
    const ALL: [Self; 6] = [
        Self::Normal,
        Self::Hold,
        Self::ExitBeforeReply,
        Self::FaultBeforeReply,
        Self::StallBeforeReply,
        Self::ExitAfterReply,
    ];
}

/// The board, as it lies in its region; all zero at first.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Board {
    mode: AtomicU64,
    /// 1 = the server stalls.
    pub stalled: AtomicU64,
    /// 1 = the client ends after its next answer.
    pub stop: AtomicU64,
    /// 1 = the client makes no new calls.
    pub pause: AtomicU64,
    /// 1 = it makes none.
    pub paused: AtomicU64,
    /// Sequence numbers for which the client got an answer.
    pub calls: AtomicU64,
    /// How often a server died under its call.
    pub died: AtomicU64,
    /// Answers that were not what they had to be.
    pub wrong: AtomicU64,
    /// Calls that each caller shall have made.
    pub go: [AtomicU64; CALLERS],
    /// Calls that each caller has made.
    pub done: [AtomicU64; CALLERS],
    /// How many entered in this round.
    pub entered: AtomicU64,
    /// Who, in the order in which the servers received them.
    pub order: [AtomicU64; CALLERS],
}

impl Board {
    /// What the server shall do.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let number = self.mode.load(Ordering::Relaxed);
        Mode::ALL.into_iter().find(|mode| *mode as u64 == number).unwrap_or(Mode::Normal)
    }

    /// Tells the server what to do.
    pub fn set_mode(&self, mode: Mode) {
        self.stalled.store(0, Ordering::Relaxed);
        self.mode.store(mode as u64, Ordering::Relaxed);
    }

    /// Notes that a caller came by.
    pub fn enter(&self, caller: u64) {
        let place = self.entered.load(Ordering::Relaxed);
        if let Some(entry) = self.order.get(place as usize) {
            entry.store(caller, Ordering::Relaxed);
        }
        self.entered.store(place + 1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_read_as_it_was_set() {
        let board = Board::default();
        assert_eq!(board.mode(), Mode::Normal);
        for mode in Mode::ALL {
            board.set_mode(mode);
            assert_eq!(board.mode(), mode);
        }
    }

    #[test]
    fn those_who_enter_are_noted_in_order_and_too_many_are_only_counted() {
        let board = Board::default();
        (0..=CALLERS as u64).rev().for_each(|caller| board.enter(caller));
        assert_eq!(board.entered.load(Ordering::Relaxed), CALLERS as u64 + 1);
        assert_eq!(board.order[0].load(Ordering::Relaxed), CALLERS as u64);
        assert_eq!(board.order[CALLERS - 1].load(Ordering::Relaxed), 1);
    }
}
