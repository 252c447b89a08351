//! What the driver calls the requests that are with the card: a token says whose buffer or frame it is, so that the next start of
//! the driver finds out from the queues alone what is under way.

/// Stacks that a token can name.
const STACKS: u32 = 256;

/// A buffer that the card may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxToken {
    /// Number of the stack whose buffer it is.
    pub stack: usize,
    /// The buffer.
    pub buffer: u16,
}

impl RxToken {
    /// As a number.
    #[must_use]
    pub const fn encode(self) -> u32 {
        (self.stack as u32 % STACKS) << 16 | self.buffer as u32
    }

    /// From a number.
    #[must_use]
    pub const fn decode(token: u32) -> Self {
        Self { stack: (token >> 16) as usize, buffer: token as u16 }
    }
}

/// A frame that the card sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxToken {
    /// Number of the stack whose frame it is.
    pub stack: usize,
    /// Its slot in the stack's tx ring.
    pub slot: u8,
}

impl TxToken {
    /// For the frame with this index of the tx ring.
    #[must_use]
    pub const fn new(stack: usize, index: u64) -> Self {
        Self { stack, slot: index as u8 }
    }

    /// As a number.
    #[must_use]
    pub const fn encode(self) -> u32 {
        (self.stack as u32 % STACKS) << 8 | self.slot as u32
    }

    /// From a number.
    #[must_use]
    pub const fn decode(token: u32) -> Self {
        Self { stack: (token >> 8) as usize, slot: token as u8 }
    }
}

const _: () = assert!(crate::region::TX_SLOTS == 256, "a slot is the low octet of an index");
const _: () = assert!(crate::region::RX_SLOTS <= 65_536);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_their_numbers() {
        for (stack, buffer) in [(0, 0), (2, 255), (1, 65_535)] {
            let token = RxToken { stack, buffer };
            assert_eq!(RxToken::decode(token.encode()), token);
        }
        let token = TxToken::new(2, 513);
        assert_eq!((TxToken::decode(token.encode()), token.slot), (token, 1));
    }
}
