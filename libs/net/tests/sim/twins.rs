//! A machine with two stacks at one address behind a flow table, and a peer. Sockets go from one stack to the other through
//! their encoded records, as the services and the driver do it: hold, freeze, (token,) take, adopt, forget.

use super::memory::Memory;
use super::shell::{Shell, decode, indices, random};
use super::table::{Key, Steered, Table, number};
use super::{Faults, Host, World};
use hic_net::record::Role;
use hic_net::{Config, ConnectionInfo, Lane, Micros, Protocol, Restored, RxInfo, Socket, Stack};
use hic_netapi::AppSide;
use hic_tcp::State;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// How a batch ends. Whoever dies is restored in place, by the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Complete,
    Abort,
    ImporterDiesBeforeToken,
    ImporterDiesAfterToken,
    ExporterDiesBeforeToken,
    ExporterDiesAfterToken,
}

/// A batch under way: frozen, its regions unmapped.
pub struct Batch {
    from: usize,
    pub sockets: Vec<Socket>,
    keys: Vec<Key>,
    unmapped: BTreeMap<Socket, Memory>,
}

pub struct Twins {
    pub now: Micros,
    pub peer: Host,
    pub twins: [Host; 2],
    configs: [Config; 2],
    pub table: Rc<RefCell<Table>>,
    /// Who takes commands that open sockets.
    pub service: usize,
    /// Arrival and number; to the peer or not; the frame.
    flying: BTreeMap<(Micros, u64), (bool, Vec<u8>)>,
    seed: u64,
    serial: u64,
    pub faults: Faults,
    /// Resets on the wire, by the peer and by the machine. Those that [`Twins::resets_a_former`] are not counted.
    pub resets: [u64; 2],
}

impl Twins {
    /// The first of the twins runs and has the role; the second is warmed up.
    pub fn new(peer: Config, twin: Config, seed: u64, faults: Faults) -> Self {
        let table = Rc::new(RefCell::new(Table::default()));
        let host = |me: usize| {
            let mut host = Host::new(twin.clone(), seed ^ (2 + me as u64));
            host.shell.table = Some((me, table.clone()));
            host
        };
        let mut world = Self {
            now: Micros::from_secs(10),
            peer: Host::new(peer, seed ^ 1),
            twins: [host(0), host(1)],
            configs: [twin.clone(), twin],
            table,
            service: 0,
            flying: BTreeMap::new(),
            seed,
            serial: 0,
            faults,
            resets: [0; 2],
        };
        let now = world.now;
        world.peer.enter(now, |stack, shell| stack.start(now, shell));
        world.collect(true);
        world.twin(0, |stack, shell| stack.start(now, shell));
        for me in 0..2 {
            world.share(me);
        }
        world.introduce(1);
        world
    }

    /// What an instance is told before it serves anything beside another.
    fn share(&mut self, me: usize) {
        let others: Vec<Socket> = self.twins[1 - me].shell.records.keys().copied().collect();
        let stack = &mut self.twins[me].stack;
        stack.set_lane(Some(if me == 0 { Lane::Even } else { Lane::Odd }));
        stack.set_reset_strangers(false);
        stack.reserve(others);
    }

    /// Tells a guest about address and neighbours.
    pub fn introduce(&mut self, guest: usize) {
        let record = self.twins[1 - guest].shell.interface().unwrap();
        let known: Vec<_> = self.twins[1 - guest].stack.neighbours().collect();
        let now = self.now;
        self.twin(guest, |stack, shell| {
            stack.set_address_from(now, &record, shell);
            stack.learn_neighbours(now, known, shell);
        });
    }

    pub fn random(&mut self, below: usize) -> usize {
        (random(&mut self.seed) % below as u64) as usize
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        random(&mut self.seed) % 1000 < thousandths
    }

    pub fn twin<T>(&mut self, me: usize, call: impl FnOnce(&mut Stack, &mut Shell) -> T) -> T {
        let result = self.twins[me].enter(self.now, call);
        self.collect(false);
        result
    }

    fn collect(&mut self, from_peer: bool) {
        let mut frames = std::mem::take(&mut self.peer.shell.out);
        for twin in &mut self.twins {
            frames.append(&mut twin.shell.out);
        }
        for (frame, _) in frames {
            let tcp = frame[12..14] == [8, 0] && frame[23] == 6;
            let reset = tcp && frame[47] & 4 != 0 && (from_peer || !self.resets_a_former(&frame));
            self.resets[usize::from(!from_peer)] += u64::from(reset);
            let lost = self.chance(self.faults.loss);
            // A second SYN may come when a short connection is over, and is then rightly reset: no matter of ours.
            let syn = tcp && frame[47] & 2 != 0;
            let repeated = !syn && self.chance(self.faults.repeat);
            let copies = if lost { 0 } else { 1 + usize::from(repeated) };
            // The driver hands frames to the machine's own station back.
            let to_peer = !from_peer && frame[..6] != *self.configs[0].mac.as_bytes();
            for _ in 0..copies {
                let delay = 500 + if self.chance(self.faults.reorder) { 3000 } else { 0 };
                self.serial += 1;
                let at = (self.now.after(Micros(delay)), self.serial);
                self.flying.insert(at, (to_peer, frame.clone()));
            }
        }
    }

    /// Does the machine reset what came late from a former connection between the same ports? Whoever opens the next one
    /// must (RFC 9293, 3.10.7.3: an acknowledgement of what was never sent). A short connection's port is soon taken again
    /// when a late acknowledgement met a peer that was through, whose reset then ended our TIME-WAIT (RFC 1337). Nothing comes
    /// late on a wire that keeps the order.
    fn resets_a_former(&self, reset: &[u8]) -> bool {
        if self.faults.reorder == 0 {
            return false;
        }
        let ports = (number(reset, 34), number(reset, 36));
        self.twins.iter().map(|twin| &twin.stack).any(|stack| {
            let opening = |info: &ConnectionInfo| {
                info.state == State::SynSent && (info.local.port(), info.remote.port()) == ports
            };
            stack.connections().any(|id| stack.connection(id).as_ref().is_some_and(opening))
        })
    }

    /// The driver gives a frame to the machine.
    fn deliver(&mut self, frame: &[u8]) {
        let steered = self.table.borrow_mut().steer(frame);
        let now = self.now;
        for me in 0..2 {
            if steered == Steered::Everybody || steered == Steered::To(me) {
                self.twin(me, |stack, shell| stack.on_frame(now, frame, RxInfo::default(), shell));
            }
        }
    }

    /// Lets the next thing happen. `false` if nothing is left before `until`.
    pub fn step(&mut self, until: Micros) -> bool {
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let stacks = [&self.peer, &self.twins[0], &self.twins[1]];
        let deadlines = stacks.into_iter().filter_map(|host| host.stack.deadline());
        let Some(next) = arrival.into_iter().chain(deadlines).min().filter(|at| *at <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        let now = self.now;
        if arrival.is_some_and(|at| at <= now) {
            let (_, (to_peer, frame)) = self.flying.pop_first().unwrap();
            if to_peer {
                self.peer.enter(now, |stack, shell| stack.on_frame(now, &frame, RxInfo::default(), shell));
                self.collect(true);
            } else {
                self.deliver(&frame);
            }
        }
        let due = |host: &Host| host.stack.deadline().is_some_and(|at| at <= now);
        if due(&self.peer) {
            self.peer.enter(now, |stack, shell| stack.on_timer(now, shell));
            self.collect(true);
        }
        for me in 0..2 {
            if due(&self.twins[me]) {
                self.twin(me, |stack, shell| stack.on_timer(now, shell));
            }
        }
        true
    }

    pub fn run_for(&mut self, time: Micros) {
        let until = self.now.after(time);
        while self.step(until) {}
        self.now = until;
    }

    /// Who has a socket: by whose records, which is where its port leads.
    pub fn owner(&self, socket: Socket) -> Option<usize> {
        (0..2).find(|me| self.twins[*me].shell.records.contains_key(&socket))
    }

    fn keys(&self, from: usize, sockets: &[Socket]) -> Vec<Key> {
        let stack = &self.twins[from].stack;
        let mut keys = Vec::new();
        for socket in sockets {
            match *socket {
                Socket::Listener(id) => {
                    let port = stack.listeners().find(|(listener, _)| *listener == id).unwrap().1.port;
                    keys.push(Key::Port(Protocol::Tcp, port));
                    keys.extend(self.keys(from, &stack.unit(id)[1..]));
                }
                Socket::Udp(id) => {
                    let port = stack.udp_sockets().find(|(udp, _)| *udp == id).unwrap().1.port;
                    keys.push(Key::Port(Protocol::Udp, port));
                }
                Socket::Connection(id) => {
                    let record = stack.connection_record(id).filter(|record| record.owns_flow());
                    keys.extend(record.map(|record| Key::of(&record.tcp.tuple())));
                }
            }
        }
        keys
    }

    /// Export: hold (unless the hold is to fail, so that frames meet frozen sockets), freeze, unmap.
    pub fn begin(&mut self, from: usize, sockets: &[Socket], hold: bool) -> Batch {
        let keys = self.keys(from, sockets);
        for key in keys.iter().filter(|_| hold) {
            self.table.borrow_mut().hold(*key, from);
        }
        let now = self.now;
        let sockets = self.twin(from, |stack, shell| stack.freeze(now, sockets, shell));
        let mut unmapped = BTreeMap::new();
        for socket in &sockets {
            let region = self.twins[from].shell.regions.remove(socket);
            unmapped.extend(region.map(|(_, memory)| (*socket, memory)));
        }
        Batch { from, sockets, keys, unmapped }
    }

    /// Gives a batch's records and regions to `to`, who may be the exporter again.
    fn hand_over(&mut self, batch: &mut Batch, to: usize) -> Vec<Restored> {
        let mut records = Vec::new();
        for socket in &batch.sockets {
            let bytes = self.twins[batch.from].shell.records.remove(socket).unwrap();
            let record = decode(*socket, &bytes);
            let shell = &mut self.twins[to].shell;
            shell.records.insert(*socket, bytes);
            if let Some(memory) = batch.unmapped.remove(socket) {
                let (_, indices) = indices(&record).unwrap();
                shell.regions.insert(*socket, (memory.attach(indices), memory));
            }
            records.push(record);
        }
        records
    }

    pub fn finish(&mut self, mut batch: Batch, outcome: Outcome) {
        let (from, to, now) = (batch.from, 1 - batch.from, self.now);
        let moved = matches!(
            outcome,
            Outcome::Complete | Outcome::ImporterDiesAfterToken | Outcome::ExporterDiesAfterToken
        );
        let records = self.hand_over(&mut batch, if moved { to } else { from });
        let keys = batch.keys.iter().copied();
        let owner = if moved { to } else { from };
        let held: Vec<Vec<u8>> = keys.flat_map(|key| self.table.borrow_mut().take(key, owner)).collect();
        match outcome {
            Outcome::ImporterDiesBeforeToken | Outcome::ImporterDiesAfterToken => self.restart(to),
            Outcome::ExporterDiesBeforeToken | Outcome::ExporterDiesAfterToken => self.restart(from),
            Outcome::Complete | Outcome::Abort => {}
        }
        if moved && outcome != Outcome::ImporterDiesAfterToken {
            let errors = self.twin(to, |stack, shell| stack.adopt(now, records, shell));
            assert_eq!(errors, []);
        }
        if !moved && outcome != Outcome::ExporterDiesBeforeToken {
            self.twin(from, |stack, shell| stack.thaw(now, &batch.sockets, shell));
        }
        if moved && outcome != Outcome::ExporterDiesAfterToken {
            self.twins[from].stack.forget(&batch.sockets);
        }
        self.check(&batch.sockets);
        for frame in held {
            self.deliver(&frame);
        }
    }

    /// An instance died: the next one goes on from what its state region holds.
    fn restart(&mut self, me: usize) {
        let shell = &mut self.twins[me].shell;
        shell.succeed();
        let records = shell.restored();
        self.twins[me].stack = Stack::new(self.configs[me].clone());
        self.share(me);
        let now = self.now;
        let errors = self.twin(me, |stack, shell| stack.restore(now, records, shell));
        assert_eq!(errors, []);
    }

    pub fn move_role(&mut self, to: usize) {
        let from = 1 - to;
        self.twin(from, |stack, shell| stack.release_role(shell));
        let record = self.twins[from].shell.interface().unwrap();
        let known: Vec<_> = self.twins[from].stack.neighbours().collect();
        let now = self.now;
        self.twin(to, |stack, shell| {
            stack.take_role(now, &record, shell);
            stack.learn_neighbours(now, known, shell);
        });
        self.table.borrow_mut().default = to;
        self.service = to;
        let roles = [from, to].map(|me| self.twins[me].stack.role());
        assert_eq!(roles, [Role::Guest, Role::Holder]);
    }

    /// No place twice, every socket is with its owner and nobody else.
    fn check(&self, moved: &[Socket]) {
        let place = |socket: &Socket| match socket {
            Socket::Connection(id) => (0, id.slot()),
            Socket::Listener(id) => (1, id.slot()),
            Socket::Udp(id) => (2, id.slot()),
        };
        let places = |me: usize| self.twins[me].shell.records.keys().map(place).collect::<BTreeSet<_>>();
        assert!(places(0).is_disjoint(&places(1)));
        for socket in moved {
            for me in 0..2 {
                let there = self.twins[me].stack.commands(*socket).is_some();
                assert_eq!(there, self.owner(*socket) == Some(me), "{socket:?} in {me}");
                assert!(!self.twins[me].stack.is_frozen(*socket));
            }
        }
    }
}

impl World for Twins {
    fn now(&self) -> Micros {
        self.now
    }

    fn call<T>(
        &mut self,
        host: usize,
        socket: Option<Socket>,
        call: impl FnOnce(&mut Stack, &mut Shell) -> T,
    ) -> T {
        if host == 0 {
            let result = self.peer.enter(self.now, call);
            self.collect(true);
            return result;
        }
        let me = socket.and_then(|socket| self.owner(socket)).unwrap_or(self.service);
        self.twin(me, call)
    }

    fn call_alive<T>(
        &mut self,
        host: usize,
        socket: Option<Socket>,
        call: impl FnOnce(&mut Stack, &mut Shell) -> T,
    ) -> T {
        self.call(host, socket, call)
    }

    fn app_side(&self, host: usize, socket: Socket) -> AppSide {
        let region = |host: &Host| host.shell.regions.get(&socket).map(|(_, memory)| memory.app());
        let mut places = if host == 0 { vec![&self.peer] } else { self.twins.iter().collect() }.into_iter();
        places.find_map(region).unwrap()
    }

    fn take_woken(&mut self, host: usize) -> Vec<Socket> {
        if host == 0 {
            return std::mem::take(&mut self.peer.shell.woken).into_iter().collect();
        }
        let [a, b] = &mut self.twins;
        let mut woken = std::mem::take(&mut a.shell.woken);
        woken.append(&mut b.shell.woken);
        woken.into_iter().collect()
    }
}
