//! Every socket has a *place*: one number from which its record's position, its notification bits and the badge of its port
//! follow, so that none of these needs a table.
//!
//! ```text
//!  place   0 … CONNECTIONS-1 … + LISTENERS … + UDP_SOCKETS = PLACES
//!  bucket  place % BUCKETS   bit of the main notification: "look at the sockets of this bucket"
//!  row     place / BUCKETS   bit of the bucket's own notification: "this port has no holder any more"
//! ```

use hic_net::{Id, Limits, Socket};

/// TCP connections in any state, half-open and TIME-WAIT ones included.
pub const CONNECTIONS: usize = 1920;
/// TCP listeners.
pub const LISTENERS: usize = 64;
/// Connections that may wait on one listener, whatever its application asks for: a listener moves with all that wait on it in one batch, one
/// capability each, and a batch holds [`hic_migrate::MAX_CAPS`].
pub const MAX_BACKLOG: u16 = 100;
/// UDP sockets.
pub const UDP_SOCKETS: usize = 64;
/// All of them.
pub const PLACES: usize = CONNECTIONS + LISTENERS + UDP_SOCKETS;
/// Bits of the main notification that stand for sockets.
pub const BUCKETS: usize = 48;
/// Bit of the main notification that the driver signals.
pub const DRIVER_BIT: u64 = 1 << BUCKETS;

const _: () = assert!(PLACES <= BUCKETS * 64, "a row is one bit of a 64-bit notification");

/// The limits that the places impose on the stack.
#[must_use]
pub const fn limits() -> Limits {
    Limits { connections: CONNECTIONS, listeners: LISTENERS, udp_sockets: UDP_SOCKETS }
}

/// The place of a socket; `None` if its number is beyond the limits.
#[must_use]
pub const fn of(socket: Socket) -> Option<usize> {
    let (first, count, slot) = match socket {
        Socket::Connection(id) => (0, CONNECTIONS, id.slot()),
        Socket::Listener(id) => (CONNECTIONS, LISTENERS, id.slot()),
        Socket::Udp(id) => (CONNECTIONS + LISTENERS, UDP_SOCKETS, id.slot()),
    };
    if slot < count { Some(first + slot) } else { None }
}

/// A socket at this place, whichever: for those who mean the place and not the socket.
#[must_use]
pub const fn at(place: usize) -> Option<Socket> {
    const UDP: usize = CONNECTIONS + LISTENERS;
    match place {
        0..CONNECTIONS => Some(Socket::Connection(Id(place as u32))),
        CONNECTIONS..UDP => Some(Socket::Listener(Id((place - CONNECTIONS) as u32))),
        UDP..PLACES => Some(Socket::Udp(Id((place - UDP) as u32))),
        _ => None,
    }
}

/// The bit of a place in the main notification.
#[must_use]
pub const fn doorbell_bit(place: usize) -> u64 {
    1 << (place % BUCKETS)
}

/// Bucket of a place, and its bit in the bucket's own notification.
#[must_use]
pub const fn grave(place: usize) -> (usize, u64) {
    (place % BUCKETS, 1 << (place / BUCKETS % 64))
}

/// The places of a bucket whose rows are set in `rows`; `u64::MAX` for all of them.
pub fn in_bucket(bucket: usize, rows: u64) -> impl Iterator<Item = usize> {
    let places = (0..64).filter(move |row| rows >> row & 1 != 0).map(move |row| row * BUCKETS + bucket);
    places.filter(|place| *place < PLACES)
}

/// Marks the badge of a socket's port. Badges of the service port are small numbers of the module manager.
const TAG: u64 = 0xc5 << 56;
const TAG_MASK: u64 = 0xff << 56;

/// The kind of a socket and its number as one word: for badges and records.
#[must_use]
pub const fn to_word(socket: Socket) -> u64 {
    let (kind, id) = match socket {
        Socket::Connection(id) => (1, id),
        Socket::Listener(id) => (2, id),
        Socket::Udp(id) => (3, id),
    };
    kind << 32 | id.0 as u64
}

/// Inverse of [`to_word`].
#[must_use]
pub const fn from_word(word: u64) -> Option<Socket> {
    let id = Id(word as u32);
    match word >> 32 {
        1 => Some(Socket::Connection(id)),
        2 => Some(Socket::Listener(id)),
        3 => Some(Socket::Udp(id)),
        _ => None,
    }
}

/// The badge of a socket's port.
#[must_use]
pub const fn badge(socket: Socket) -> u64 {
    TAG | to_word(socket)
}

/// Whom a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The service itself.
    Service,
    /// A socket; it may be gone.
    Socket(Socket),
}

/// Whom a call with this badge is for.
#[must_use]
pub fn target(badge: u64) -> Target {
    let socket = if badge & TAG_MASK == TAG { from_word(badge & !TAG_MASK) } else { None };
    socket.map_or(Target::Service, Target::Socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    fn all() -> Vec<Socket> {
        let sockets = |count: usize, kind: fn(Id) -> Socket| (0..count as u32).map(move |n| kind(Id(n)));
        sockets(CONNECTIONS, Socket::Connection)
            .chain(sockets(LISTENERS, Socket::Listener))
            .chain(sockets(UDP_SOCKETS, Socket::Udp))
            .collect()
    }

    #[test]
    fn every_socket_has_a_place_and_a_row_of_its_own() {
        let places: BTreeSet<usize> = all().into_iter().filter_map(of).collect();
        assert_eq!(places.len(), PLACES);
        assert!(places.iter().all(|place| *place < PLACES));
        let rows: BTreeSet<(usize, u64)> = places.iter().map(|place| grave(*place)).collect();
        assert_eq!(rows.len(), PLACES);
    }

    #[test]
    fn a_place_names_a_socket_of_its_own() {
        assert!((0..PLACES).all(|place| at(place).and_then(of) == Some(place)));
        assert_eq!(at(PLACES), None);
    }

    #[test]
    fn numbers_beyond_the_limits_have_no_place() {
        assert_eq!(of(Socket::Connection(Id(CONNECTIONS as u32))), None);
        assert_eq!(of(Socket::Udp(Id(1 << 19))), None);
    }

    #[test]
    fn a_row_leads_back_to_its_place() {
        for place in 0..PLACES {
            let (bucket, row) = grave(place);
            assert_eq!(in_bucket(bucket, row).collect::<Vec<_>>(), [place]);
            assert_eq!(doorbell_bit(place), 1 << bucket);
        }
        assert_eq!((0..BUCKETS).flat_map(|bucket| in_bucket(bucket, u64::MAX)).count(), PLACES);
    }

    #[test]
    fn badges_lead_to_their_socket_and_foreign_ones_to_the_service() {
        let generation = Socket::Connection(Id(7 << 20 | 3));
        for socket in all().into_iter().chain([generation]) {
            assert_eq!(target(badge(socket)), Target::Socket(socket));
        }
        assert_eq!((target(0), target(5)), (Target::Service, Target::Service));
        assert_eq!(target(TAG | 9 << 32), Target::Service);
    }
}
