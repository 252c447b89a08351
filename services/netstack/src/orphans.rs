//! Sockets that nobody holds at the moment but will: whose answer did not arrive, because this service died with it or its caller could
//! not take it. The caller asks again with the same number, and gets a new port. Who does not is dead, and his socket goes.

use crate::shell::Shell;
use alloc::vec::Vec;
use hic_abi::Nanos;
use hic_net::record::Stage;
use hic_net::{Socket, Stack};

/// How long a caller may take to ask again: several times as long as `hic-netclient` is patient.
const GRACE: Nanos = 2_000_000_000;

/// The orphans.
#[derive(Default)]
pub struct Orphans {
    sockets: Vec<(Socket, Nanos)>,
}

impl Orphans {
    /// At a start: takes in every socket that ought to have a holder and has none.
    pub fn adopt(&mut self, stack: &Stack, shell: &mut Shell, now: Nanos) {
        let open = |id: &hic_net::Id| stack.connection(*id).is_some_and(|info| info.stage == Stage::Open);
        let connections = stack.connections().filter(open).map(Socket::Connection);
        let listeners = stack.listeners().map(|(id, _)| Socket::Listener(id));
        let udp = stack.udp_sockets().map(|(id, _)| Socket::Udp(id));
        for socket in connections.chain(listeners).chain(udp).filter(|socket| !shell.has_port(*socket)) {
            self.add(socket, now);
        }
        for socket in shell.bereaved(u64::MAX) {
            self.add(socket, now);
        }
    }

    /// Takes a socket in whose answer did not arrive.
    pub fn add(&mut self, socket: Socket, now: Nanos) {
        if !self.has(socket) {
            self.sockets.push((socket, now + GRACE));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Whether this one is still to be spared.
    pub fn has(&self, socket: Socket) -> bool {
        self.sockets.iter().any(|(other, _)| *other == socket)
    }

    /// Those that nobody asked for in time, or that have got a holder since: they are like all others from now on.
    pub fn take_due(&mut self, now: Nanos) -> Vec<Socket> {
        let due = self.sockets.iter().filter(|(_, at)| *at <= now).map(|(socket, _)| *socket).collect();
        self.sockets.retain(|(_, at)| *at > now);
        due
    }
}
