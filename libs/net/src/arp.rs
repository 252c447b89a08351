//! The ARP cache (RFC 826) as pure state: who is where, whom to ask, and what waits for an answer.
//!
//! It believes only what answers a question of ours or is addressed to us, and never more than its bounds.

use crate::outgoing::Waiting;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use hic_tcp::Micros;
use smoltcp::wire::{EthernetAddress, Ipv4Address};

/// Entries; beyond them the one confirmed longest ago goes.
const MAX_ENTRIES: usize = 256;
/// Packets that wait for one answer. RFC 1122 2.3.2.2 asks for at least one; this many, so that connections which go on
/// after a pause do not lose their first flight of ten segments (RFC 6928).
const MAX_WAITING: usize = 32;
/// Octets of all packets that wait, for whatever answer: strangers choose whom we reply to, and how much.
const MAX_OCTETS: usize = 256 * 1024;
/// Between questions (RFC 1122 2.3.2.1: at most one a second).
const RETRY: Micros = Micros::from_secs(1);
/// Questions before giving up.
const TRIES: u8 = 3;
/// Age from which on an entry in use is asked about again.
const REFRESH: Micros = Micros::from_secs(60);
/// Age at which an entry is not used any more.
const EXPIRE: Micros = Micros::from_secs(120);

#[derive(Debug)]
enum Entry {
    /// Asked, not answered.
    Asking { tries: u8, again: Micros, waiting: Vec<Waiting> },
    /// Answered at `confirmed`; asked again at `asked`.
    Known { mac: EthernetAddress, confirmed: Micros, asked: Micros },
}

impl Entry {
    fn waiting(&self) -> &[Waiting] {
        match self {
            Self::Asking { waiting, .. } => waiting,
            Self::Known { .. } => &[],
        }
    }
}

/// What to do to reach an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Send there.
    Known(EthernetAddress),
    /// Send there, and ask that station whether it is still the one.
    Refresh(EthernetAddress),
    /// Ask everybody, and let the packet wait.
    Ask,
    /// Let the packet wait: it was asked already.
    Wait,
}

/// What time did.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Addresses to ask for.
    pub ask: Vec<Ipv4Address>,
    /// Packets given up.
    pub dropped: usize,
}

#[derive(Debug, Default)]
pub(crate) struct ArpCache {
    entries: BTreeMap<Ipv4Address, Entry>,
}

impl ArpCache {
    /// How to reach `address`.
    pub(crate) fn lookup(&mut self, now: Micros, address: Ipv4Address) -> Lookup {
        match self.entries.get_mut(&address) {
            Some(Entry::Known { mac, confirmed, asked }) if now.since(*confirmed) < EXPIRE => {
                if now.since(*confirmed) >= REFRESH && now.since(*asked) >= RETRY {
                    *asked = now;
                    return Lookup::Refresh(*mac);
                }
                Lookup::Known(*mac)
            }
            Some(Entry::Asking { .. }) => Lookup::Wait,
            _ => {
                self.make_room();
                let entry = Entry::Asking { tries: 1, again: now.after(RETRY), waiting: Vec::new() };
                self.entries.insert(address, entry);
                Lookup::Ask
            }
        }
    }

    /// Whether another packet of `len` octets may wait for the answer about `address`. To be asked before it is copied.
    pub(crate) fn may_wait(&self, address: Ipv4Address, len: usize) -> bool {
        let Some(Entry::Asking { waiting, .. }) = self.entries.get(&address) else { return false };
        let all = self.entries.values().flat_map(Entry::waiting);
        let octets: usize = all.map(|packet| packet.payload.len()).sum();
        waiting.len() < MAX_WAITING && octets + len <= MAX_OCTETS
    }

    /// Lets a packet wait for the answer about `address`. `false` if too much waits already.
    pub(crate) fn wait(&mut self, address: Ipv4Address, packet: Waiting) -> bool {
        let allowed = self.may_wait(address, packet.payload.len());
        match self.entries.get_mut(&address) {
            Some(Entry::Asking { waiting, .. }) if allowed => {
                waiting.push(packet);
                true
            }
            _ => false,
        }
    }

    /// Takes in that `address` is at `mac`; returns what waited for it. Makes a new entry only if the packet was for us.
    pub(crate) fn learn(
        &mut self,
        now: Micros,
        address: Ipv4Address,
        mac: EthernetAddress,
        for_us: bool,
    ) -> Vec<Waiting> {
        if !for_us && !self.entries.contains_key(&address) {
            return Vec::new();
        }
        if !self.entries.contains_key(&address) {
            self.make_room();
        }
        match self.entries.insert(address, Entry::Known { mac, confirmed: now, asked: now }) {
            Some(Entry::Asking { waiting, .. }) => waiting,
            _ => Vec::new(),
        }
    }

    /// Whether packets can be sent there now.
    pub(crate) fn knows(&self, now: Micros, address: Ipv4Address) -> bool {
        let entry = self.entries.get(&address);
        entry.is_some_and(
            |entry| matches!(entry, Entry::Known { confirmed, .. } if now.since(*confirmed) < EXPIRE),
        )
    }

    fn make_room(&mut self) {
        if self.entries.len() < MAX_ENTRIES {
            return;
        }
        let age = |entry: &Entry| match entry {
            Entry::Known { confirmed, .. } => *confirmed,
            Entry::Asking { again, .. } => *again,
        };
        let oldest = self.entries.iter().min_by_key(|(_, entry)| age(entry)).map(|(address, _)| *address);
        if let Some(address) = oldest {
            self.entries.remove(&address);
        }
    }

    /// Asks again, gives up, forgets.
    pub(crate) fn on_timer(&mut self, now: Micros) -> Due {
        let mut due = Due::default();
        self.entries.retain(|address, entry| match entry {
            Entry::Known { confirmed, .. } => now.since(*confirmed) < EXPIRE,
            Entry::Asking { again, .. } if *again > now => true,
            Entry::Asking { tries, again, waiting } => {
                if *tries >= TRIES {
                    due.dropped += waiting.len();
                    return false;
                }
                *tries += 1;
                *again = now.after(RETRY);
                due.ask.push(*address);
                true
            }
        });
        due
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<Micros> {
        let at = |entry: &Entry| match entry {
            Entry::Known { confirmed, .. } => confirmed.after(EXPIRE),
            Entry::Asking { again, .. } => *again,
        };
        self.entries.values().map(at).min()
    }

    /// The stations known now, for the console.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ipv4Address, EthernetAddress)> + '_ {
        self.entries.iter().filter_map(|(address, entry)| match entry {
            Entry::Known { mac, .. } => Some((*address, *mac)),
            Entry::Asking { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const PEER: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);
    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
    const fn secs(n: u64) -> Micros {
        Micros::from_secs(n)
    }

    #[test]
    fn packets_wait_for_the_answer_within_the_bound() {
        let mut cache = ArpCache::default();
        assert_eq!(cache.lookup(secs(0), PEER), Lookup::Ask);
        assert_eq!(cache.lookup(secs(0), PEER), Lookup::Wait);
        let accepted = (0..2 * MAX_WAITING).filter(|_| cache.wait(PEER, Waiting::default())).count();
        assert_eq!(accepted, MAX_WAITING);
        assert_eq!(cache.learn(secs(0), PEER, MAC, true).len(), MAX_WAITING);
        assert_eq!(cache.lookup(secs(1), PEER), Lookup::Known(MAC));
    }

    #[test]
    fn all_that_waits_is_bounded_in_octets_and_lets_others_in_when_it_went() {
        let mut cache = ArpCache::default();
        let packet = || Waiting { payload: vec![0; 60_000], ..Waiting::default() };
        let accepted = |n| {
            let address = Ipv4Address::from_bits(n);
            cache.lookup(secs(0), address);
            cache.wait(address, packet())
        };
        assert_eq!((10..100).map(accepted).filter(|accepted| *accepted).count(), MAX_OCTETS / 60_000);
        assert!(!cache.may_wait(Ipv4Address::from_bits(50), 60_000));
        assert!(cache.may_wait(Ipv4Address::from_bits(50), 1500), "a small one fits");
        cache.learn(secs(1), Ipv4Address::from_bits(10), MAC, true);
        assert!(cache.wait(Ipv4Address::from_bits(50), packet()));
        assert!(!cache.may_wait(Ipv4Address::from_bits(51), 60_000));
    }

    #[test]
    fn an_address_that_never_answers_is_asked_three_times_and_given_up() {
        let mut cache = ArpCache::default();
        cache.lookup(secs(0), PEER);
        cache.wait(PEER, Waiting::default());
        assert_eq!(cache.on_timer(secs(1)).ask, [PEER]);
        assert_eq!(cache.on_timer(secs(2)).ask, [PEER]);
        assert_eq!(cache.on_timer(secs(3)).dropped, 1);
        assert_eq!(cache.deadline(), None);
    }

    #[test]
    fn an_entry_in_use_is_refreshed_once_and_expires_without_answer() {
        let mut cache = ArpCache::default();
        cache.learn(secs(0), PEER, MAC, true);
        assert_eq!(cache.lookup(secs(61), PEER), Lookup::Refresh(MAC));
        assert_eq!(cache.lookup(secs(61), PEER), Lookup::Known(MAC));
        assert_eq!(cache.lookup(secs(121), PEER), Lookup::Ask);
    }

    #[test]
    fn strangers_talk_to_others_does_not_fill_the_cache() {
        let mut cache = ArpCache::default();
        cache.learn(secs(0), PEER, MAC, false);
        assert_eq!(cache.iter().count(), 0);
        for n in 0..1000u32 {
            cache.learn(secs(n.into()), Ipv4Address::from_bits(n), MAC, true);
        }
        assert_eq!(cache.iter().count(), MAX_ENTRIES);
    }
}
