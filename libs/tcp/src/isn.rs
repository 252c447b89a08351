//! Initial sequence numbers and timestamp offsets that an outsider cannot guess (RFC 6528, RFC 7323 7.1).
//!
//! It must never keep a secret: the shell holds it, made once and given to every instance of the stack.

use crate::segment::Tuple;
use crate::seq::Seq;
use crate::time::Micros;
use core::hash::Hasher;
use siphasher::sip::SipHasher24;

/// RFC 6528 3: a timer that ticks every 4 microseconds.
const TICK: u64 = 4;

fn keyed(secret: &[u8; 16], tuple: &Tuple, purpose: u8) -> u64 {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(&tuple.local_addr);
    hasher.write(&tuple.local_port.to_be_bytes());
    hasher.write(&tuple.remote_addr);
    hasher.write(&tuple.remote_port.to_be_bytes());
    hasher.write(&[purpose]);
    hasher.finish()
}

/// The initial sequence number: a clock plus a keyed hash of both ends (RFC 6528 3).
#[must_use]
pub fn isn(secret: &[u8; 16], tuple: &Tuple, now: Micros) -> Seq {
    Seq(keyed(secret, tuple, 0) as u32).add((now.0 / TICK) as u32)
}

/// What is added to the millisecond clock in timestamps: the same for each connection between the same ends, so that
/// timestamps keep growing from one incarnation to the next (RFC 6191), and unknown to others (RFC 7323 7.1).
#[must_use]
pub fn timestamp_offset(secret: &[u8; 16], tuple: &Tuple) -> u32 {
    keyed(secret, tuple, 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 16] = *b"0123456789abcdef";

    fn tuple(remote_port: u16) -> Tuple {
        Tuple { local_addr: [10, 0, 0, 1], local_port: 80, remote_addr: [10, 0, 0, 2], remote_port }
    }

    #[test]
    fn a_later_incarnation_starts_higher() {
        let first = isn(&SECRET, &tuple(5), Micros::from_secs(1));
        let later = isn(&SECRET, &tuple(5), Micros::from_secs(2));
        assert_eq!(later.since(first), 250_000);
    }

    #[test]
    fn other_ends_and_other_secrets_give_unrelated_numbers() {
        let now = Micros::from_secs(1);
        assert_ne!(isn(&SECRET, &tuple(5), now), isn(&SECRET, &tuple(6), now));
        assert_ne!(isn(&SECRET, &tuple(5), now), isn(&[7; 16], &tuple(5), now));
        assert_ne!(timestamp_offset(&SECRET, &tuple(5)), timestamp_offset(&SECRET, &tuple(6)));
    }
}
