//! The command sequence rule: a retry after a crash is answered, not repeated.
//!
//! Every state-changing command carries `seq` in word 0. A client numbers the commands that it sends *on one port* 1, 2,
//! 3, … and sends the next one only when it has the answer to the last (calls are synchronous, so this is natural). If a
//! call ends without an answer because the server died, the client repeats the same message with the same number.
//!
//! The server keeps for each port (by badge) one [`CommandSlot`] in the object's record and publishes it *with* the effect
//! of the command, in the same record publication. So after any crash either neither or both happened:
//! - `seq == last + 1`: new. Act, then publish effect and reply together, then reply.
//! - `seq == last`: a repeat. Send the kept reply again (a capability in it is minted again for the same object).
//! - anything else: [`super::NetError::BadSequence`] with the number expected next.
//!
//! Queries (`Info`) carry no number and change nothing. `WouldBlock` is an answer like any other and uses up its number.

use super::Message;

/// The last command that changed something through one port, and what was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandSlot {
    /// Number of the last command acted on; 0 before the first.
    pub last: u64,
    /// Label of the reply to it.
    pub label: u32,
    /// Words of the reply to it.
    pub words: [u64; 4],
}

/// What to do with a numbered command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is new: act, then [`CommandSlot::complete`].
    Execute,
    /// It was done before: send this reply again.
    Repeat(Message),
    /// It is out of order; this number was expected.
    Refuse {
        /// The next new number.
        expected: u64,
    },
}

impl CommandSlot {
    /// Length of the encoded slot.
    pub const ENCODED_LEN: usize = 44;

    /// Classifies the command with number `seq`.
    pub fn judge(&self, seq: u64) -> Verdict {
        let expected = self.last.wrapping_add(1);
        if seq == expected {
            Verdict::Execute
        } else if seq == self.last && seq != 0 {
            Verdict::Repeat(Message { label: self.label, words: self.words })
        } else {
            Verdict::Refuse { expected }
        }
    }

    /// Keeps the answer to command `seq`, to be published with its effect.
    pub fn complete(&mut self, seq: u64, reply: Message) {
        *self = Self { last: seq, label: reply.label, words: reply.words };
    }

    /// The slot as bytes (little-endian), for the record that holds it.
    pub fn encode(&self) -> [u8; Self::ENCODED_LEN] {
        let mut out = [0; Self::ENCODED_LEN];
        let words = [self.last, u64::from(self.label)].into_iter().chain(self.words);
        // `label` takes 4 bytes, everything else 8.
        let mut at = 0;
        for (index, word) in words.enumerate() {
            let width = if index == 1 { 4 } else { 8 };
            for (to, from) in out.iter_mut().skip(at).zip(word.to_le_bytes().iter().take(width)) {
                *to = *from;
            }
            at += width;
        }
        out
    }

    /// Inverse of [`Self::encode`].
    pub fn decode(bytes: &[u8; Self::ENCODED_LEN]) -> Self {
        let number = |at: usize, width: usize| {
            bytes.iter().skip(at).take(width).rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
        };
        Self {
            last: number(0, 8),
            label: number(8, 4) as u32,
            words: [number(12, 8), number(20, 8), number(28, 8), number(36, 8)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_answered_and_not_repeated() {
        let mut slot = CommandSlot::default();
        assert_eq!(slot.judge(1), Verdict::Execute);
        let reply = Message::ok([7, 0, 0, 9]);
        slot.complete(1, reply);
        assert_eq!(slot.judge(1), Verdict::Repeat(reply));
        assert_eq!(slot.judge(2), Verdict::Execute);
    }

    #[test]
    fn numbers_out_of_order_are_refused_with_the_expected_one() {
        let mut slot = CommandSlot::default();
        assert_eq!(slot.judge(0), Verdict::Refuse { expected: 1 });
        assert_eq!(slot.judge(2), Verdict::Refuse { expected: 1 });
        slot.complete(5, Message::ok([0; 4]));
        assert_eq!(slot.judge(4), Verdict::Refuse { expected: 6 });
    }

    #[test]
    fn a_slot_survives_its_encoding() {
        let slot = CommandSlot { last: u64::MAX - 1, label: 0xdead_beef, words: [1, 2, u64::MAX, 4] };
        assert_eq!(CommandSlot::decode(&slot.encode()), slot);
    }
}
