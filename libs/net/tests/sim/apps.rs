//! Applications: an echo server and a client that checks every byte. They run only when notified.

use super::{Wire, layout};
use core::net::SocketAddrV4;
use hic_net::record::Origin;
use hic_net::{Id, Micros, Socket};
use hic_netapi::region::Want;
use hic_netapi::{AppSide, RegionKind};
use std::collections::BTreeMap;

/// Host 1: accepts and sends everything back.
pub struct EchoServer {
    listener: Id,
    connections: BTreeMap<Id, AppSide>,
    accepts: u64,
}

impl EchoServer {
    pub fn new(wire: &mut Wire, port: u16, size: u32) -> Self {
        let deaths = std::mem::take(&mut wire.faults.death);
        let layout = layout(RegionKind::Tcp, size);
        let listener =
            wire.enter(1, |stack, shell| stack.listen(port, 64, layout, Origin::default(), shell)).unwrap();
        wire.faults.death = deaths;
        Self { listener, connections: BTreeMap::new(), accepts: 0 }
    }

    pub fn run(&mut self, wire: &mut Wire) {
        for socket in wire.take_woken(1) {
            match socket {
                Socket::Listener(_) => self.accept(wire),
                Socket::Connection(id) => self.serve(wire, id),
                Socket::Udp(_) => {}
            }
        }
    }

    fn accept(&mut self, wire: &mut Wire) {
        // Commands that die are repeated by clients; here they do not die, since the sequence rule is the shell's.
        let deaths = std::mem::take(&mut wire.faults.death);
        loop {
            self.accepts += 1;
            let (listener, origin) = (self.listener, Origin { badge: 1, seq: self.accepts });
            let Ok(id) = wire.enter(1, |stack, shell| stack.accept(listener, origin, shell)) else { break };
            let side = wire.hosts[1].shell.regions[&Socket::Connection(id)].1.app();
            self.connections.insert(id, side);
            self.serve(wire, id);
        }
        wire.faults.death = deaths;
    }

    fn serve(&mut self, wire: &mut Wire, id: Id) {
        let Some(side) = self.connections.get_mut(&id) else { return };
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
            let now = wire.now;
            if side.must_kick() {
                wire.enter(1, |stack, shell| stack.conn_kicked(now, id, shell));
            }
            if side.status().over {
                self.connections.remove(&id);
                let deaths = std::mem::take(&mut wire.faults.death);
                wire.enter(1, |stack, shell| stack.release(now, id, shell));
                wire.faults.death = deaths;
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

/// Host 0: sends numbered bytes and checks that they come back.
pub struct Client {
    pub id: Id,
    side: AppSide,
    total: usize,
    sent: usize,
    received: usize,
    pub done: bool,
    pub status: hic_netapi::region::Status,
}

fn byte(at: usize) -> u8 {
    (at.wrapping_mul(31) ^ (at >> 8)) as u8
}

impl Client {
    pub fn connect(wire: &mut Wire, remote: SocketAddrV4, total: usize, size: u32) -> Self {
        let (now, layout) = (wire.now, layout(RegionKind::Tcp, size));
        let id = wire
            .enter(0, |stack, shell| stack.connect(now, remote, 0, layout, Origin::default(), shell))
            .unwrap();
        let side = wire.hosts[0].shell.regions[&Socket::Connection(id)].1.app();
        let status = side.status();
        let mut client = Self { id, side, total, sent: 0, received: 0, done: false, status };
        client.run(wire);
        client
    }

    pub fn run(&mut self, wire: &mut Wire) {
        while !self.done {
            let end = self.total.min(self.sent + self.side.writable());
            let data: Vec<u8> = (self.sent..end).map(byte).collect();
            self.sent += self.side.write(&data);
            if self.sent == self.total {
                self.side.close_tx();
            }
            let mut buffer = [0; 3000];
            let len = self.side.read(&mut buffer);
            for byte_in in &buffer[..len] {
                assert_eq!(*byte_in, byte(self.received), "byte {} of the echo", self.received);
                self.received += 1;
            }
            let (now, id) = (wire.now, self.id);
            if self.side.must_kick() {
                wire.enter(0, |stack, shell| stack.conn_kicked(now, id, shell));
            }
            self.status = self.side.status();
            let ended = self.status.over || self.status.rx_closed;
            if ended && self.side.readable() == 0 {
                self.done = true;
                wire.enter(0, |stack, shell| stack.release(now, id, shell));
                return;
            }
            let want =
                if self.sent < self.total { Want::READABLE.and(Want::WRITABLE) } else { Want::READABLE };
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
