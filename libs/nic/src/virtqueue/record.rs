//! What the driver knows of a queue and the card does not, and the errors of both.

use core::fmt;

/// Most descriptors of a queue.
pub const MAX_SIZE: u16 = 256;
/// No request is under way in this place.
pub(super) const FREE: u32 = u32::MAX;

/// A queue's state outside the DMA memory. Lies in a state region; any content is checked before use.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct QueueRecord {
    /// Descriptors of the queue.
    pub(super) size: u16,
    /// Descriptors of each request.
    pub(super) chain: u16,
    /// Requests made available so far, modulo 2^16.
    pub(super) available: u16,
    /// Used entries taken so far, modulo 2^16.
    pub(super) used: u16,
    /// 1 = the event index feature was negotiated.
    pub(super) event_index: u32,
    /// What the driver calls the request in each place, or [`FREE`].
    pub(super) tokens: [u32; MAX_SIZE as usize],
    /// The step that was begun: [`PUSH`] or [`TAKE`] with a place, or 0.
    pub(super) step: u32,
}

/// A request is being made in the place: token, then available index.
pub(super) const PUSH: u32 = 1 << 16;
/// A used request is being taken out of the place: token, then used index.
pub(super) const TAKE: u32 = 2 << 16;

// SAFETY: `repr(C)`, integers: 8 + 4 + 1024 + 4 bytes without padding.
unsafe impl hic_abi::Plain for QueueRecord {}

impl QueueRecord {
    /// Places for requests.
    pub(super) fn places(&self) -> usize {
        usize::from(self.size) / usize::from(self.chain.max(1))
    }

    /// Tokens of the requests under way.
    pub fn under_way(&self) -> impl Iterator<Item = u32> + '_ {
        self.tokens.iter().take(self.places()).copied().filter(|token| *token != FREE)
    }

    /// Tokens less indices: requests that one of them does not know.
    fn surplus(&self) -> isize {
        self.under_way().count() as isize - self.available.wrapping_sub(self.used) as isize
    }

    /// Undoes or completes a step that was begun: a request that the card was not told of is none, a used one whose token is gone
    /// was taken.
    pub(super) fn repair(&mut self) {
        let place = (self.step & 0xffff) as usize;
        match (self.step & !0xffff, self.surplus()) {
            (PUSH, 1) => {
                if let Some(token) = self.tokens.get_mut(place) {
                    *token = FREE;
                }
            }
            (TAKE, -1) => self.used = self.used.wrapping_add(1),
            _ => {}
        }
        self.step = 0;
    }

    /// Whether the numbers add up.
    pub(super) fn check(&self) -> Result<(), ResumeError> {
        if !geometry_is_valid(self.size, self.chain) {
            return Err(ResumeError::Geometry { size: self.size, chain: self.chain });
        }
        let (indices, tokens) = (self.available.wrapping_sub(self.used), self.under_way().count());
        if self.surplus() != 0 { Err(ResumeError::HalfDone { indices, tokens }) } else { Ok(()) }
    }
}

/// A power of two (2.7) up to [`MAX_SIZE`], and at least one request of `chain` in it.
pub(super) fn geometry_is_valid(size: u16, chain: u16) -> bool {
    size.is_power_of_two() && size <= MAX_SIZE && chain >= 1 && chain <= size
}

/// Why a queue cannot be gone on with: reset the card and create it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeError {
    /// The sizes are none that a queue can have.
    Geometry {
        /// Descriptors.
        size: u16,
        /// Descriptors of each request.
        chain: u16,
    },
    /// Tokens and indices do not belong together, and no step that was begun explains it.
    HalfDone {
        /// Requests under way by the indices.
        indices: u16,
        /// Requests under way by the tokens.
        tokens: usize,
    },
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Geometry { size, chain } => {
                write!(f, "queue of {size} descriptors in chains of {chain} cannot be")
            }
            Self::HalfDone { indices, tokens } => {
                write!(f, "queue has {tokens} requests under way, its indices say {indices}")
            }
        }
    }
}

impl core::error::Error for ResumeError {}

/// What the card wrote that it cannot have meant: reset it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedError {
    /// More used entries than requests under way.
    Index {
        /// The used index read.
        value: u16,
    },
    /// An entry names no request that is under way.
    Entry {
        /// The descriptor named.
        id: u32,
    },
}

impl fmt::Display for UsedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index { value } => write!(f, "the card set the used index to an impossible {value}"),
            Self::Entry { id } => write!(f, "the card used descriptor {id}, which it does not have"),
        }
    }
}

impl core::error::Error for UsedError {}
