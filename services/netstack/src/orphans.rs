//! Sockets that nobody holds at the moment but will: whose answer did not arrive, because this service died with it or its caller could
//! not take it. The caller asks again with the same number, and gets a new port. Who does not is dead, and his socket goes.
//!
//! What it must never do: end a socket because the machine stood still. Time that nobody had is no time to ask in.

use alloc::vec::Vec;
use hic_abi::Nanos;
use hic_net::Socket;

/// How long a caller may take to ask again: several times as long as `hic-netclient` is patient.
const GRACE: Nanos = 2_000_000_000;

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
    use hic_net::Id;

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
}
