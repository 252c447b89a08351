//! Putting IPv4 fragments together (RFC 791, RFC 815), within bounds that a stranger cannot push.
//!
//! Overlap policy: fragments that overlap (other than exact repeats) have no honest sender; the whole datagram is dropped
//! (as RFC 5722 has it for IPv6). Nothing is ever delivered that was not sent by one sender with one identification.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;
use hic_tcp::Micros;
use smoltcp::wire::Ipv4Address;

/// Datagrams in the making.
const MAX_DATAGRAMS: usize = 16;
/// Octets of all of them together.
const MAX_OCTETS: usize = 256 * 1024;
/// Longest IPv4 payload.
const MAX_LEN: usize = 65535 - 20;
/// Fragments of one datagram: 64 KiB in pieces of the smallest MTU (576) and then some.
const MAX_PIECES: usize = 160;
/// How long a datagram may take (RFC 1122 3.3.2 says 60 to 120 s; 30 s is what today's stacks use, and bounds memory).
const TIMEOUT: Micros = Micros::from_secs(30);

/// What fragments of one datagram have in common (RFC 791 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub source: Ipv4Address,
    pub destination: Ipv4Address,
    pub protocol: u8,
    pub ident: u16,
}

/// One fragment's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    /// Octets before it.
    pub offset: usize,
    /// Whether others follow.
    pub more: bool,
    /// Its octets.
    pub data: &'a [u8],
}

/// What there is of a datagram.
#[derive(Debug)]
pub(crate) struct Partial {
    octets: Vec<u8>,
    /// Start and end of each piece, in order.
    pieces: Vec<(usize, usize)>,
    len: Option<usize>,
    expires: Micros,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Others are missing.
    Incomplete,
    /// The whole payload.
    Complete(Vec<u8>),
    /// The datagram (or the fragment) was given up.
    Dropped,
}

#[derive(Debug, Default)]
pub(crate) struct Reassembler {
    partial: BTreeMap<Key, Partial>,
    octets: usize,
    evicted: u64,
}

impl Reassembler {
    /// Takes in one fragment. Other datagrams may have to go for it: see [`Self::take_evicted`].
    pub(crate) fn add(&mut self, now: Micros, key: Key, piece: Piece<'_>) -> Outcome {
        let end = piece.offset + piece.data.len();
        let odd = piece.more && (piece.data.is_empty() || !piece.data.len().is_multiple_of(8));
        if odd || end > MAX_LEN {
            self.forget(&key);
            return Outcome::Dropped;
        }
        let grows = end.saturating_sub(self.partial.get(&key).map_or(0, |partial| partial.octets.len()));
        self.make_room(&key, grows);
        let expires = now.after(TIMEOUT);
        let fresh = || Partial { octets: Vec::new(), pieces: Vec::new(), len: None, expires };
        let partial = self.partial.entry(key).or_insert_with(fresh);
        if !partial.insert(piece, end) {
            self.forget(&key);
            return Outcome::Dropped;
        }
        self.octets += grows;
        if !partial.is_complete() {
            return Outcome::Incomplete;
        }
        match self.forget(&key) {
            Some(whole) => Outcome::Complete(whole.octets),
            None => Outcome::Dropped,
        }
    }

    /// Gives up the datagrams of which the beginning is there and that are `wanted` by it, and returns what there was of each.
    pub(crate) fn take_started(&mut self, wanted: impl Fn(&Key, &[u8]) -> bool) -> Vec<(Key, Partial)> {
        let begins = |key: &Key, piece: Piece<'_>| piece.offset == 0 && wanted(key, piece.data);
        let chosen = self
            .partial
            .iter()
            .filter(|(key, partial)| partial.pieces().next().is_some_and(|piece| begins(key, piece)));
        let keys: Vec<Key> = chosen.map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| Some((key, self.forget(&key)?))).collect()
    }

    /// Gives up the datagrams that expire first, until the datagram `key` can grow by so much. Who sends beginnings without
    /// ends thus delays others only while he does.
    fn make_room(&mut self, key: &Key, grows: usize) {
        let fresh = !self.partial.contains_key(key);
        while self.octets + grows > MAX_OCTETS || (fresh && self.partial.len() >= MAX_DATAGRAMS) {
            let others = self.partial.iter().filter(|(other, _)| *other != key);
            let oldest = others.min_by_key(|(_, partial)| partial.expires).map(|(key, _)| *key);
            let Some(oldest) = oldest else { return };
            self.forget(&oldest);
            self.evicted += 1;
        }
    }

    /// How many datagrams were given up for others since this was last asked.
    pub(crate) fn take_evicted(&mut self) -> u64 {
        mem::take(&mut self.evicted)
    }

    fn forget(&mut self, key: &Key) -> Option<Partial> {
        let partial = self.partial.remove(key)?;
        self.octets -= partial.octets.len();
        Some(partial)
    }

    /// Gives up what took too long; returns how many datagrams.
    pub(crate) fn on_timer(&mut self, now: Micros) -> usize {
        let late: Vec<Key> =
            self.partial.iter().filter(|(_, partial)| partial.expires <= now).map(|(key, _)| *key).collect();
        for key in &late {
            self.forget(key);
        }
        late.len()
    }

    /// When the oldest datagram expires.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        self.partial.values().map(|partial| partial.expires).min()
    }
}

impl Partial {
    /// Its pieces in order, as they came.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.pieces.iter().filter_map(|(start, end)| {
            let data = self.octets.get(*start..*end)?;
            Some(Piece { offset: *start, more: self.len != Some(*end), data })
        })
    }

    /// Puts a piece in its place. `false` if it contradicts another.
    fn insert(&mut self, piece: Piece<'_>, end: usize) -> bool {
        if !piece.more && *self.len.get_or_insert(end) != end {
            return false;
        }
        if self.len.is_some_and(|len| end > len || self.octets.len() > len) {
            return false;
        }
        let at = self.pieces.partition_point(|(start, _)| *start < piece.offset);
        if self.pieces.get(at) == Some(&(piece.offset, end)) {
            return self.octets.get(piece.offset..end) == Some(piece.data);
        }
        let before = at.checked_sub(1).and_then(|index| self.pieces.get(index));
        let overlaps = before.is_some_and(|(_, before_end)| *before_end > piece.offset)
            || self.pieces.get(at).is_some_and(|(start, _)| *start < end);
        if overlaps || self.pieces.len() >= MAX_PIECES {
            return false;
        }
        self.pieces.insert(at, (piece.offset, end));
        if self.octets.len() < end {
            self.octets.resize(end, 0);
        }
        match self.octets.get_mut(piece.offset..end) {
            Some(place) => place.copy_from_slice(piece.data),
            None => return false,
        }
        true
    }

    fn is_complete(&self) -> bool {
        let mut covered = 0;
        for (start, end) in &self.pieces {
            if *start != covered {
                return false;
            }
            covered = *end;
        }
        self.len == Some(covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const KEY: Key = Key {
        source: Ipv4Address::new(10, 0, 0, 1),
        destination: Ipv4Address::new(10, 0, 0, 2),
        protocol: 17,
        ident: 7,
    };
    const NOW: Micros = Micros(0);

    #[test]
    fn what_is_taken_out_makes_a_whole_datagram_elsewhere() {
        let payload: Vec<u8> = (0..40).collect();
        let piece = |offset: usize, end: usize| Piece { offset, more: end < 40, data: &payload[offset..end] };
        let (mut here, mut there) = (Reassembler::default(), Reassembler::default());
        let headless = Key { ident: 8, ..KEY };
        here.add(NOW, headless, piece(8, 16));
        here.add(NOW, KEY, piece(32, 40));
        here.add(NOW, KEY, piece(0, 16));
        assert!(
            here.take_started(|key, data| *key == KEY && data.first() == Some(&1)).is_empty(),
            "not wanted"
        );
        let taken = here.take_started(|_, data| data.first() == Some(&0));
        assert_eq!(taken.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [KEY]);
        assert_eq!((here.partial.len(), here.octets), (1, 16), "one without its beginning stays");
        for piece in taken[0].1.pieces() {
            assert_eq!(there.add(NOW, KEY, piece), Outcome::Incomplete);
        }
        assert_eq!(there.add(NOW, KEY, piece(16, 32)), Outcome::Complete(payload.clone()));
    }

    #[test]
    fn overlapping_fragments_kill_the_datagram() {
        let mut r = Reassembler::default();
        assert_eq!(r.add(NOW, KEY, Piece { offset: 0, more: true, data: &[1; 16] }), Outcome::Incomplete);
        assert_eq!(
            r.add(NOW, KEY, Piece { offset: 0, more: true, data: &[1; 16] }),
            Outcome::Incomplete,
            "repeat"
        );
        assert_eq!(r.add(NOW, KEY, Piece { offset: 8, more: false, data: &[2; 16] }), Outcome::Dropped);
        assert_eq!((r.partial.len(), r.octets), (0, 0));
    }

    #[test]
    fn bounds_hold_for_number_octets_and_time() {
        let mut r = Reassembler::default();
        for ident in 0..40 {
            r.add(NOW, Key { ident, ..KEY }, Piece { offset: 65000, more: true, data: &[0; 8] });
        }
        assert!(r.partial.len() <= MAX_DATAGRAMS && r.octets <= MAX_OCTETS);
        assert_eq!(r.add(NOW, KEY, Piece { offset: 65528, more: false, data: &[0; 8] }), Outcome::Dropped);
        assert!(r.on_timer(TIMEOUT) > 0);
        assert_eq!((r.partial.len(), r.octets, r.deadline()), (0, 0, None));
    }

    #[test]
    fn beginnings_without_an_end_do_not_stop_others() {
        for (offset, bound) in [(0, MAX_DATAGRAMS), (65_000, MAX_OCTETS / 65_008)] {
            let mut r = Reassembler::default();
            for ident in 0..40 {
                let (now, key) = (Micros(ident.into()), Key { protocol: 1, ident, ..KEY });
                assert_eq!(r.add(now, key, Piece { offset, more: true, data: &[0; 8] }), Outcome::Incomplete);
            }
            assert_eq!((r.partial.len(), r.take_evicted(), r.take_evicted()), (bound, 40 - bound as u64, 0));
            assert!(r.partial.keys().all(|key| usize::from(key.ident) >= 40 - bound), "the oldest went");
            let now = Micros(40);
            let start = Piece { offset: 0, more: true, data: &[1; 4096] };
            assert_eq!(r.add(now, KEY, start), Outcome::Incomplete);
            let end = Piece { offset: 4096, more: false, data: &[2; 8] };
            let whole = [&[1; 4096][..], &[2; 8]].concat();
            assert_eq!(r.add(now, KEY, end), Outcome::Complete(whole));
            assert_eq!(r.take_evicted(), 1);
        }
    }

    proptest! {
        #[test]
        fn any_order_with_repeats_gives_the_datagram(
            len in 1usize..9000, order in prop::collection::vec(any::<prop::sample::Index>(), 1..60)
        ) {
            let whole: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let chunks: Vec<(usize, &[u8])> = whole.chunks(1480).enumerate().collect();
            let piece = |(n, data): (usize, &'_ [u8])| (n * 1480, n + 1 < chunks.len(), data.to_vec());
            let mut sent: Vec<_> = order.iter().map(|index| piece(*index.get(&chunks))).collect();
            sent.extend(chunks.iter().map(|chunk| piece(*chunk)));
            let mut r = Reassembler::default();
            let mut complete = 0;
            for (offset, more, data) in &sent {
                if let Outcome::Complete(octets) = r.add(NOW, KEY, Piece { offset: *offset, more: *more, data }) {
                    prop_assert_eq!(&octets, &whole);
                    complete += 1;
                }
            }
            prop_assert!(complete >= 1);
        }

        #[test]
        fn arbitrary_fragments_never_panic_and_never_exceed_the_bounds(
            pieces in prop::collection::vec((0u16..4, 0usize..8192, any::<bool>(), 0usize..100), 1..200)
        ) {
            let mut r = Reassembler::default();
            for (ident, offset, more, len) in pieces {
                let data = vec![1; len];
                r.add(NOW, Key { ident, ..KEY }, Piece { offset: offset * 8, more, data: &data });
                prop_assert!(r.octets <= MAX_OCTETS);
                prop_assert_eq!(r.octets, r.partial.values().map(|p| p.octets.len()).sum::<usize>());
            }
        }
    }
}
