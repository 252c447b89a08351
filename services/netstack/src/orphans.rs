//! Sockets that nobody holds at the moment but will: whose answer did not arrive, because this service died with it or its caller could
//! not take it. The caller asks again with the same number, and gets a new port. Who does not is dead, and his socket goes.
//!
//! What it must never do: end a socket because the machine stood still. Time that nobody had is no time to ask in.

use crate::place;
use alloc::vec::Vec;
use hic_abi::Nanos;
use hic_net::record::{ListenerRecord, Origin};
use hic_net::{Id, Socket};

/// How long a caller may take to ask again: several times as long as `hic-netclient` is patient.
const GRACE: Nanos = 2_000_000_000;

/// By what a connection that the Accept with this number takes is found. Numbers of listeners come again after a restart, and so do those of the
/// commands to them; the number of the command that opened the listener does not (it is a time).
#[must_use]
pub fn origin_of_accept(id: Id, listener: &ListenerRecord, seq: u64) -> Origin {
    Origin { badge: place::badge(Socket::Listener(id)) ^ listener.origin.seq.rotate_left(8), seq }
}

/// The Accepts that may still come to a listener and find what was taken before: its last one, whose answer may not have arrived, and the next,
/// which a start before this one may have obeyed without keeping the answer. All others were answered.
#[must_use]
pub fn open_accepts(id: Id, listener: &ListenerRecord) -> [Origin; 2] {
    let last = listener.commands.last;
    [last, last.wrapping_add(1)].map(|seq| origin_of_accept(id, listener, seq))
}

/// Whether the command that opened a connection may come again, as far as `listeners` say. It may if none of them took it: then a Connect did.
pub fn may_come_again(origin: Origin, mut listeners: impl Iterator<Item = (Id, ListenerRecord)>) -> bool {
    let by = listeners.find(|(id, listener)| origin_of_accept(*id, listener, origin.seq) == origin);
    by.is_none_or(|(id, listener)| open_accepts(id, &listener).contains(&origin))
}

struct Orphan {
    socket: Socket,
    until: Nanos,
    /// Its time was over when it was looked at last. Calls have been answered since.
    last_call: bool,
}

/// The orphans.
#[derive(Default)]
pub struct Orphans(Vec<Orphan>);

impl Orphans {
    /// Takes a socket in whose answer did not arrive.
    pub fn add(&mut self, socket: Socket, now: Nanos) {
        if !self.has(socket) {
            self.0.push(Orphan { socket, until: now + GRACE, last_call: false });
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this one is still to be spared.
    #[must_use]
    pub fn has(&self, socket: Socket) -> bool {
        self.0.iter().any(|orphan| orphan.socket == socket)
    }

    /// Those that nobody asked for in time, or that have got a holder since: they are like all others from now on. To be called now and
    /// again, with calls answered in between: whoever asked while the machine stood still is heard before his socket ends.
    pub fn take_due(&mut self, now: Nanos) -> Vec<Socket> {
        let due = |orphan: &&mut Orphan| orphan.until <= now;
        let mut taken = Vec::new();
        for orphan in self.0.iter_mut().filter(due) {
            if core::mem::replace(&mut orphan.last_call, true) {
                taken.push(orphan.socket);
            }
        }
        self.0.retain(|orphan| !taken.contains(&orphan.socket));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hic_netapi::message::sequence::CommandSlot;
    use hic_netapi::{Layout, RegionKind};

    const ONE: Socket = Socket::Connection(Id(1));
    const TWO: Socket = Socket::Connection(Id(2));

    #[test]
    fn an_orphan_is_spared_for_its_time_and_once_more_after_it() {
        let mut orphans = Orphans::default();
        orphans.add(ONE, 5);
        orphans.add(TWO, 6);
        assert_eq!(orphans.take_due(GRACE + 4), []);
        assert_eq!(orphans.take_due(GRACE + 5), [], "it may have asked already");
        assert!(orphans.has(ONE));
        assert_eq!(orphans.take_due(GRACE + 5), [ONE]);
        assert!(!orphans.has(ONE) && orphans.has(TWO) && !orphans.is_empty());
    }

    #[test]
    fn a_machine_that_stood_still_for_long_ends_nobody_at_once() {
        let mut orphans = Orphans::default();
        orphans.add(ONE, 0);
        assert_eq!(orphans.take_due(1000 * GRACE), []);
        assert_eq!(orphans.take_due(1000 * GRACE), [ONE]);
    }

    #[test]
    fn who_is_an_orphan_already_gets_no_more_time() {
        let mut orphans = Orphans::default();
        orphans.add(ONE, 0);
        orphans.add(ONE, GRACE);
        assert_eq!((orphans.take_due(GRACE).len(), orphans.take_due(GRACE).len()), (0, 1));
        assert!(orphans.is_empty());
    }

    fn listener(opened_by: u64, last: u64) -> ListenerRecord {
        let layout = Layout::new(RegionKind::Tcp, 4096, 4096).unwrap();
        let origin = Origin { badge: 7, seq: opened_by };
        let commands = CommandSlot { last, ..CommandSlot::default() };
        ListenerRecord { port: 7, backlog: 4, layout, origin, commands }
    }

    #[test]
    fn what_the_last_accept_took_may_be_asked_for_again_and_what_was_taken_before_was_answered() {
        let (id, record) = (Id(3), listener(1_000_000, 9));
        let asked = |seq| may_come_again(origin_of_accept(id, &record, seq), [(id, record)].into_iter());
        assert_eq!([7, 8, 9, 10, 11].map(asked), [false, false, true, true, false]);
    }

    #[test]
    fn what_no_listener_took_was_opened_by_a_command_that_may_come_again() {
        let (id, record) = (Id(3), listener(1_000_000, 9));
        let connect = Origin { badge: 4 << 32 | 1, seq: 2_000_000 };
        assert!(may_come_again(connect, [(id, record)].into_iter()));
        let of_an_earlier_life = origin_of_accept(id, &listener(500_000, 2), 2);
        assert!(may_come_again(of_an_earlier_life, [(id, record)].into_iter()), "not this listener's");
        assert!(
            may_come_again(origin_of_accept(id, &record, 2), core::iter::empty()),
            "the listener is elsewhere"
        );
    }
}
