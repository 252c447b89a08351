//! Giving sockets to another running instance. A socket is *frozen*, then either *thawed* (the move was aborted) or
//! *forgotten* (the other has it). Taking them is `restore`'s business.
//!
//! Nothing here destroys what a socket is made of: flows, data region and record's place belong to whoever gets it. What a
//! frozen socket's record says was published last and must stay true: no code may touch a frozen socket.

use super::Stack;
use crate::activity::Class;
use crate::env::{Env, Published, Socket};
use crate::record::Stage;
use crate::slab::{Id, Lane};
use crate::timers::Timer;
use alloc::vec::Vec;
use hic_netapi::NetError;
use hic_tcp::{Format, Micros, State};
use smoltcp::wire::IpProtocol;

impl Stack {
    /// While two instances give sockets to each other: new sockets get numbers of this half only, the other instance the
    /// other half; likewise the identifications of packets that may be fragmented. `None` once it is alone.
    pub fn set_lane(&mut self, lane: Option<Lane>) {
        self.lane = lane;
        self.tcp.conns.set_lane(lane);
        self.tcp.listeners.set_lane(lane);
        self.udp.sockets.set_lane(lane);
    }

    /// The other instance has sockets there: their places are not given to new ones, until the socket comes here
    /// ([`Stack::adopt`]) or [`Stack::clear_reservations`].
    pub fn reserve(&mut self, sockets: impl IntoIterator<Item = Socket>) {
        for socket in sockets {
            match socket {
                Socket::Connection(id) => self.tcp.conns.reserve(id.slot()),
                Socket::Listener(id) => self.tcp.listeners.reserve(id.slot()),
                Socket::Udp(id) => self.udp.sockets.reserve(id.slot()),
            }
        }
    }

    /// The other instance is gone.
    pub fn clear_reservations(&mut self) {
        self.tcp.conns.clear_reserved();
        self.tcp.listeners.clear_reserved();
        self.udp.sockets.clear_reserved();
    }

    /// A listener with everything that moves with it: itself, its accept queue in order, its half-open connections.
    /// Empty if there is no such listener.
    pub fn unit(&self, listener: Id) -> Vec<Socket> {
        let Some(entry) = self.tcp.listeners.get(listener) else { return Vec::new() };
        let waiting = self.tcp.of_listener(listener);
        let half_open = waiting.into_iter().filter(|id| !entry.queue.contains(id));
        let connections = entry.queue.iter().copied().chain(half_open).map(Socket::Connection);
        [Socket::Listener(listener)].into_iter().chain(connections).collect()
    }

    /// All sockets that may move, in the order in which they best do: by class, the quieter first. Connections that wait
    /// on a listener are not listed: they move with it ([`Stack::unit`]).
    pub fn movable(&self, now: Micros) -> Vec<(Class, Socket)> {
        let connections = self.tcp.conns.iter().filter(|(_, conn)| conn.listener().is_none());
        let connections = connections.map(|(id, conn)| {
            let done = conn.stage == Stage::Detached || matches!(conn.tcp.state(), State::Closed(_));
            let class = if done { Class::Idle } else { conn.activity.class(now) };
            (class, conn.activity.rate(now), Socket::Connection(id))
        });
        let listeners = self.listeners().map(|(id, _)| (Class::Medium, 0, Socket::Listener(id)));
        let udp = self.udp_sockets().map(|(id, _)| (Class::Low, 0, Socket::Udp(id)));
        let mut all: Vec<_> = connections.chain(listeners).chain(udp).collect();
        all.retain(|(_, _, socket)| !self.is_frozen(*socket));
        all.sort_unstable();
        all.into_iter().map(|(class, _, socket)| (class, socket)).collect()
    }

    /// Whether a socket is about to move. The shell asks before it judges a command's number: a command to such a socket
    /// must be repeated with the same number, to whoever has the socket then.
    pub fn is_frozen(&self, socket: Socket) -> bool {
        !self.frozen.is_empty() && self.frozen.contains(&socket)
    }

    /// For commands.
    pub(super) fn refuse_frozen(&self, socket: Socket) -> Result<(), NetError> {
        if self.is_frozen(socket) { Err(NetError::WouldBlock) } else { Ok(()) }
    }

    /// Stops sockets: takes in what their applications did so far and publishes each record. From then on frames for
    /// them are dropped and counted, their timers and rings do nothing, and commands on them get
    /// [`NetError::WouldBlock`]. Fragments of datagrams that are not whole yet go back to the driver, which holds them with what follows. A listener brings its whole unit; a connection that waits on a listener does not move
    /// without it and is left out. Returns what is frozen now: listeners before their connections, each once. The shell
    /// holds the flows of all of them *before* (see the crate's documentation).
    pub fn freeze(&mut self, now: Micros, sockets: &[Socket], env: &mut dyn Env) -> Vec<Socket> {
        let sockets = self.with_units(sockets);
        for socket in &sockets {
            self.freeze_one(now, *socket, env);
        }
        sockets
    }

    fn freeze_one(&mut self, now: Micros, socket: Socket, env: &mut dyn Env) {
        if self.is_frozen(socket) {
            return;
        }
        match socket {
            Socket::Connection(id) => {
                self.pull(now, id, env);
                if let Some(conn) = self.tcp.conns.get(id) {
                    env.publish(Published::Connection(id, &conn.record()));
                }
            }
            Socket::Listener(id) => {
                if let Some(entry) = self.tcp.listeners.get(id) {
                    env.publish(Published::Listener(id, &entry.record));
                }
            }
            Socket::Udp(id) => {
                let Some(record) = self.udp.sockets.get_mut(id) else { return };
                if let Some(region) = env.region(socket) {
                    // Nonsense is dealt with by whoever serves the socket next.
                    let _ = region.refresh();
                    record.indices = region.indices();
                }
                env.publish(Published::Udp(id, record));
                let port = record.port;
                self.return_fragments(port, env);
            }
        }
        self.frozen.insert(socket);
    }

    /// What came of datagrams to this port is sent to our own station: the flow is held, so whoever has it next puts them together.
    fn return_fragments(&mut self, port: u16, env: &mut dyn Env) {
        let begun = self.reassembly.take_started(|key, udp| {
            key.protocol == IpProtocol::Udp.into() && udp.get(2..4) == Some(&port.to_be_bytes()[..])
        });
        for (key, partial) in begun {
            let sent = partial.pieces().all(|piece| self.return_fragment(&key, &piece, env));
            self.counters.ip_reassembly_failed += u64::from(!sent);
        }
    }

    /// Says for whom connections are published from now on: for a predecessor as well, or for this version and its successors. Publishes every
    /// connection that is not frozen. Going back to [`Format::Compatible`] may forget data that arrived out of order; it comes again.
    pub fn set_format(&mut self, format: Format, env: &mut dyn Env) {
        self.format = format;
        let ids: Vec<Id> = self.tcp.conns.iter().map(|(id, _)| id).collect();
        for id in ids.into_iter().filter(|id| !self.frozen.contains(&Socket::Connection(*id))) {
            let Some(conn) = self.tcp.conns.get_mut(id) else { continue };
            if conn.tcp.format() != format {
                conn.tcp.set_format(format);
                env.publish(Published::Connection(id, &conn.record()));
            }
        }
    }

    /// The move was aborted: frozen sockets are ours again, and everything about them is served once. The shell
    /// attached their data regions again, as before [`Stack::restore`].
    pub fn thaw(&mut self, now: Micros, sockets: &[Socket], env: &mut dyn Env) {
        let mut sockets = self.with_units(sockets);
        sockets.retain(|socket| self.frozen.remove(socket));
        self.resume(now, &sockets, env);
    }

    /// Another instance has these sockets now (a listener's with its unit). Their places stay free until they come back
    /// or this instance is alone ([`Stack::clear_reservations`]). Flows, regions and records are not touched.
    pub fn forget(&mut self, sockets: &[Socket]) {
        let all = self.with_units(sockets);
        // A listener's books are still needed while its connections leave.
        for socket in all.iter().rev() {
            match *socket {
                Socket::Connection(id) => self.forget_connection(id),
                Socket::Listener(id) => {
                    if let Some(entry) = self.tcp.listeners.remove(id) {
                        self.tcp.by_port.remove(&entry.record.port);
                    }
                }
                Socket::Udp(id) => {
                    if let Some(record) = self.udp.sockets.remove(id) {
                        self.udp.by_port.remove(&record.port);
                    }
                }
            }
            self.frozen.remove(socket);
        }
        // Those as well that a restarted engine never had.
        self.reserve(all.into_iter().chain(sockets.iter().copied()));
    }

    fn forget_connection(&mut self, id: Id) {
        let Some(conn) = self.tcp.conns.remove(id) else { return };
        if conn.listed {
            self.tcp.unlist(&conn.tcp.tuple());
        }
        if let Some(listener) = conn.listener() {
            self.tcp.leave_listener(listener, id);
        }
        self.timers.cancel(Timer::Connection(id));
    }

    /// Those that exist, each once, listeners replaced by their units.
    fn with_units(&self, sockets: &[Socket]) -> Vec<Socket> {
        let mut all = Vec::with_capacity(sockets.len());
        for socket in sockets {
            match *socket {
                Socket::Listener(id) => all.extend(self.unit(id)),
                Socket::Connection(id) => {
                    let alone = self.tcp.conns.get(id).is_some_and(|conn| conn.listener().is_none());
                    all.extend(alone.then_some(*socket));
                }
                Socket::Udp(id) => all.extend(self.udp.sockets.get(id).map(|_| *socket)),
            }
        }
        let mut seen = alloc::collections::BTreeSet::new();
        all.retain(|socket| seen.insert(*socket));
        all
    }
}
