//! Ephemeral ports, chosen so that a stranger cannot guess the next one (RFC 6056, algorithm 3).

use core::hash::Hasher;
use core::net::SocketAddrV4;
use siphasher::sip::SipHasher24;
use smoltcp::wire::Ipv4Address;

/// The dynamic range of RFC 6335.
const FIRST: u16 = 49152;
const COUNT: u16 = u16::MAX - FIRST + 1;

/// Chooses local ports.
#[derive(Debug, Default)]
pub(crate) struct PortChooser {
    next: u16,
}

impl PortChooser {
    /// Goes on elsewhere: the next ones are somebody else's, who chose them in the same order.
    pub(crate) fn skip(&mut self, random: u64) {
        self.next = (random % u64::from(COUNT)) as u16;
    }

    /// The first port that `free` accepts, from a starting point that depends on the destination and the secret.
    pub(crate) fn choose(
        &mut self,
        secret: &[u8; 16],
        local: Ipv4Address,
        remote: SocketAddrV4,
        mut free: impl FnMut(u16) -> bool,
    ) -> Option<u16> {
        let mut hasher = SipHasher24::new_with_key(secret);
        hasher.write(b"port");
        hasher.write(&local.octets());
        hasher.write(&remote.ip().octets());
        hasher.write(&remote.port().to_be_bytes());
        let offset = (hasher.finish() % u64::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let port = FIRST + (u32::from(offset) + u32::from(self.next)).rem_euclid(COUNT.into()) as u16;
            self.next = self.next.wrapping_add(1) % COUNT;
            if free(port) {
                return Some(port);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn every_port_of_the_range_is_found_once_and_then_none() {
        let (mut chooser, mut used) = (PortChooser::default(), BTreeSet::new());
        let remote = SocketAddrV4::new(Ipv4Address::new(10, 0, 0, 2), 80);
        for _ in 0..COUNT {
            let port = chooser.choose(&[1; 16], Ipv4Address::LOCALHOST, remote, |port| used.insert(port));
            assert!(port.is_some_and(|port| port >= FIRST));
        }
        assert_eq!(chooser.choose(&[1; 16], Ipv4Address::LOCALHOST, remote, |port| used.insert(port)), None);
    }

    #[test]
    fn the_sequence_depends_on_destination_and_secret() {
        let first = |secret, port| {
            let remote = SocketAddrV4::new(Ipv4Address::new(10, 0, 0, 2), port);
            PortChooser::default().choose(&[secret; 16], Ipv4Address::LOCALHOST, remote, |_| true)
        };
        assert_ne!(first(1, 80), first(2, 80));
        assert_ne!(first(1, 80), first(1, 81));
    }
}
