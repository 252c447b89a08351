//! The transmit fence: what a stack posts after it took a flow goes to the card after what the flow's former owner had posted.
//!
//! One fence a stack, in the driver's state region. Where no order can be kept (two stacks wait for each other after flows went
//! back and forth faster than the card sends) the driver drops the fence: order on the wire is a courtesy to the peer, which
//! must cope with its loss, and never worth a link that stands still.

use hic_abi::Plain;

/// A stack's fence. All zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TxFence {
    /// Sandbox of the stack that goes first; 0 = no fence.
    serial: u64,
    /// Frames below this index of its tx ring go first.
    theirs: u64,
    /// They go before the frames from this index on of our own tx ring.
    ours: u64,
}

// SAFETY: `repr(C)`, three `u64`.
unsafe impl Plain for TxFence {}

impl TxFence {
    /// Adds: the frames below `theirs` of the stack of sandbox `serial` go before ours from `ours` on. A fence against the same stack is
    /// widened to both; one against another stack gives way.
    pub fn raise(&mut self, serial: u64, theirs: u64, ours: u64) {
        if self.serial == serial {
            self.theirs = self.theirs.max(theirs);
            return;
        }
        self.clear();
        (self.theirs, self.ours) = (theirs, ours);
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
        self.serial = serial;
    }

    /// No fence any more.
    pub fn clear(&mut self) {
        self.serial = 0;
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
    }

    /// Sandbox of the stack that goes before our frame `next`, and up to which of its frames.
    #[must_use]
    pub fn before(&self, next: u64) -> Option<(u64, u64)> {
        (self.serial != 0 && next >= self.ours).then_some((self.serial, self.theirs))
    }

    /// Whether frame `next` must wait; `taken` is how far the other stack's ring was taken, `None` if it is gone or has nothing to
    /// send. A fence that is passed is cleared.
    pub fn blocks(&mut self, next: u64, taken: impl FnOnce(u64) -> Option<u64>) -> bool {
        let Some((serial, theirs)) = self.before(next) else { return false };
        let waits = taken(serial).is_some_and(|taken| taken < theirs);
        if !waits {
            self.clear();
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_later_frames_wait_and_only_until_the_others_are_taken() {
        let mut fence = TxFence::default();
        assert!(!fence.blocks(0, |_| Some(0)));
        fence.raise(7, 20, 5);
        assert!(!fence.blocks(4, |_| Some(0)), "it was posted before");
        assert!(fence.blocks(5, |serial| (serial == 7).then_some(19)));
        assert!(!fence.blocks(5, |_| Some(20)));
        assert!(!fence.blocks(9, |_| Some(0)), "a fence that was passed is gone");
    }

    #[test]
    fn a_fence_falls_with_the_stack_that_it_waits_for() {
        let mut fence = TxFence::default();
        fence.raise(7, 20, 5);
        assert!(!fence.blocks(6, |_| None));
        assert_eq!(fence.before(6), None);
    }

    #[test]
    fn a_second_fence_against_the_same_stack_keeps_the_first() {
        let mut fence = TxFence::default();
        fence.raise(7, 20, 5);
        fence.raise(7, 30, 9);
        assert_eq!((fence.before(4), fence.before(5)), (None, Some((7, 30))));
        fence.raise(7, 10, 9);
        assert_eq!(fence.before(5), Some((7, 30)));
    }
}
