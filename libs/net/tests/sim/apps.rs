//! Applications: an echo server and a client that checks every byte. They run only when notified.

use super::Wire;
use super::shell::Shell;
use super::{World, layout};
use core::net::SocketAddrV4;
use hic_net::record::Origin;
use hic_net::{Id, Micros, Socket, Stack};
use hic_netapi::region::Want;
use hic_netapi::{AppSide, NetError, RegionKind};
use std::collections::BTreeMap;

/// Accepts and sends everything back.
pub struct EchoServer {
    host: usize,
    listener: Id,
    connections: BTreeMap<Id, AppSide>,
    accepts: u64,
    /// Remote ports in the order in which they were accepted.
    pub accepted: Vec<u16>,
    /// Does it accept now?
    pub open: bool,
    /// May connections end with an error?
    pub lenient: bool,
}

impl EchoServer {
    /// On host 1.
    pub fn new<W: World>(world: &mut W, port: u16, size: u32) -> Self {
        Self::on(world, 1, port, size)
    }

    pub fn on<W: World>(world: &mut W, host: usize, port: u16, size: u32) -> Self {
        let layout = layout(RegionKind::Tcp, size);
        let listen = |stack: &mut Stack, shell: &mut Shell| {
            stack.listen(port, 64, layout, Origin::default(), shell).unwrap()
        };
        let listener = world.call_alive(host, None, listen);
        Self {
            host,
            listener,
            connections: BTreeMap::new(),
            accepts: 0,
            accepted: Vec::new(),
            open: true,
            lenient: false,
        }
    }

    pub fn id(&self) -> Id {
        self.listener
    }

    pub fn run<W: World>(&mut self, world: &mut W) {
        for socket in world.take_woken(self.host) {
            self.woken(world, socket);
        }
    }

    pub fn woken<W: World>(&mut self, world: &mut W, socket: Socket) {
        match socket {
            Socket::Listener(id) if id == self.listener => self.accept(world),
            Socket::Connection(id) => self.serve(world, id),
            _ => {}
        }
    }

    pub fn accept<W: World>(&mut self, world: &mut W) {
        while self.open {
            self.accepts += 1;
            let (listener, origin) = (self.listener, Origin { badge: 1, seq: self.accepts });
            // Commands that die are repeated by clients; here they do not die, since the sequence rule is the shell's.
            let accepted = world.call_alive(self.host, Some(Socket::Listener(listener)), |stack, shell| {
                let id = stack.accept(listener, origin, shell)?;
                Ok::<_, NetError>((id, stack.connection(id).unwrap().remote.port()))
            });
            let Ok((id, port)) = accepted else { break };
            self.accepted.push(port);
            self.connections.insert(id, world.app_side(self.host, Socket::Connection(id)));
            self.serve(world, id);
        }
    }

    fn serve<W: World>(&mut self, world: &mut W, id: Id) {
        let Some(side) = self.connections.get_mut(&id) else { return };
        let socket = Some(Socket::Connection(id));
        loop {
            let mut buffer = [0; 4096];
            let len = side.peek_at(0, &mut buffer).min(side.writable());
            side.write(&buffer[..len]);
            side.consume_rx(len);
            let status = side.status();
            let finished = status.rx_closed && side.readable() == 0;
            if finished {
                side.close_tx();
            }
            let now = world.now();
            if side.must_kick() {
                world.call(self.host, socket, |stack, shell| stack.conn_kicked(now, id, shell));
            }
            if side.status().over {
                let status = side.status();
                assert!(self.lenient || status.error.is_none(), "{id:?} at {now:?}: {status:?}");
                let released = |stack: &mut Stack, shell: &mut Shell| stack.release(now, id, shell);
                // On the move: again when woken.
                if world.call_alive(self.host, socket, released).is_ok() {
                    self.connections.remove(&id);
                }
                return;
            }
            let want = match (finished, side.readable() > 0) {
                (true, _) => Want::OVER,
                (false, true) => Want::WRITABLE,
                (false, false) => Want::READABLE,
            };
            if side.sleep_until(want, 1, 1) {
                return;
            }
        }
    }
}

/// Sends numbered bytes and checks that they come back.
pub struct Client {
    host: usize,
    pub id: Id,
    /// The local one.
    pub port: u16,
    side: AppSide,
    total: usize,
    sent: usize,
    received: usize,
    pub done: bool,
    pub status: hic_netapi::region::Status,
    /// Does it read now? The other end runs into a closed window if not.
    pub reading: bool,
}

fn byte(at: usize) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8)) as u8
}

impl Client {
    /// From host 0.
    pub fn connect<W: World>(world: &mut W, remote: SocketAddrV4, total: usize, size: u32) -> Self {
        Self::from(world, 0, remote, total, size)
    }

    pub fn from<W: World>(world: &mut W, host: usize, remote: SocketAddrV4, total: usize, size: u32) -> Self {
        let (now, layout) = (world.now(), layout(RegionKind::Tcp, size));
        let connect = |stack: &mut Stack, shell: &mut Shell| {
            let id = stack.connect(now, remote, 0, layout, Origin::default(), shell).unwrap();
            (id, stack.connection(id).unwrap().local.port())
        };
        let (id, port) = world.call(host, None, connect);
        let side = world.app_side(host, Socket::Connection(id));
        let status = side.status();
        let mut client =
            Self { host, id, port, side, total, sent: 0, received: 0, done: false, status, reading: true };
        client.run(world);
        client
    }

    pub fn run<W: World>(&mut self, world: &mut W) {
        while !self.done {
            let end = self.total.min(self.sent + self.side.writable());
            let data: Vec<u8> = (self.sent..end).map(byte).collect();
            self.sent += self.side.write(&data);
            if self.sent == self.total {
                self.side.close_tx();
            }
            let mut buffer = [0; 3000];
            let len = if self.reading { self.side.read(&mut buffer) } else { 0 };
            for byte_in in &buffer[..len] {
                assert_eq!(*byte_in, byte(self.received), "byte {} of the echo", self.received);
                self.received += 1;
            }
            let (now, id, socket) = (world.now(), self.id, Some(Socket::Connection(self.id)));
            if self.side.must_kick() {
                world.call(self.host, socket, |stack, shell| stack.conn_kicked(now, id, shell));
            }
            self.status = self.side.status();
            let ended = self.status.over || self.status.rx_closed;
            if ended && self.side.readable() == 0 {
                let released = |stack: &mut Stack, shell: &mut Shell| stack.release(now, id, shell);
                // On the move: again when woken.
                self.done = world.call(self.host, socket, released).is_ok();
                return;
            }
            if !self.reading && self.status.over {
                return;
            }
            let want = match (self.reading, self.sent < self.total) {
                (true, true) => Want::READABLE.and(Want::WRITABLE),
                (true, false) => Want::READABLE,
                (false, true) => Want::WRITABLE,
                (false, false) => Want::OVER,
            };
            if self.side.sleep_until(want, 1, 1) {
                return;
            }
        }
    }

    pub fn complete(&self) -> bool {
        self.received == self.total
    }
}

/// Runs both sides until the clients are done; panics if that takes longer than `limit`.
pub fn run_echo(wire: &mut Wire, server: &mut EchoServer, clients: &mut [Client], limit: Micros) {
    let until = wire.now.after(limit);
    while clients.iter().any(|client| !client.done) {
        assert!(wire.step(until), "stalled at {:?}: {:?}", wire.now, wire.hosts[1].stack.counters());
        server.run(wire);
        for socket in wire.take_woken(0) {
            for client in clients.iter_mut().filter(|client| Socket::Connection(client.id) == socket) {
                client.run(wire);
            }
        }
    }
}
