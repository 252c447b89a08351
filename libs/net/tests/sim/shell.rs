//! The shell of the simulation: keeps published records as bytes, checks the order of what the engine does, and can die
//! between any two of its calls.

use super::memory::{Memory, Regions};
use super::table::{Key, Table};
use hic_net::env::Fill;
use hic_net::record::{ConnectionRecord, InterfaceRecord, ListenerRecord, MAX_RECORD, UdpRecord};
use hic_net::{Env, FrameOut, NoBuffer, NoMemory, Offload, Protocol, Published, Restored, Socket, Stack};
use hic_netapi::region::Indices;
use hic_netapi::{Layout, StackSide};
use hic_tcp::Tuple;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Publish(Option<Socket>),
    Frame(Option<Socket>),
    Notify(Socket),
}

#[derive(Default)]
pub struct Shell {
    pub regions: Regions,
    pub out: Vec<(Vec<u8>, Offload)>,
    pub records: BTreeMap<Socket, Vec<u8>>,
    pub interface: Option<Vec<u8>>,
    pub steps: Vec<Step>,
    pub woken: BTreeSet<Socket>,
    pub flows: BTreeSet<(u16, [u8; 4], u16)>,
    pub room: usize,
    /// Calls until the instance dies.
    pub die_in: Cell<Option<u32>>,
    pub seed: u64,
    pub refuse_memory: bool,
    pub ports: BTreeSet<(Protocol, u16)>,
    /// The driver's table, where two instances share one, and who this one is there.
    pub table: Option<(usize, Rc<RefCell<Table>>)>,
}

pub fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn flow(tuple: &Tuple) -> (u16, [u8; 4], u16) {
    (tuple.local_port, tuple.remote_addr, tuple.remote_port)
}

pub fn decode(socket: Socket, bytes: &[u8]) -> Restored {
    match socket {
        Socket::Connection(id) => Restored::Connection(id, ConnectionRecord::decode(bytes).unwrap()),
        Socket::Listener(id) => Restored::Listener(id, ListenerRecord::decode(bytes).unwrap()),
        Socket::Udp(id) => Restored::Udp(id, UdpRecord::decode(bytes).unwrap()),
    }
}

/// With what to attach the data region of a socket; `None` for what has none.
pub fn indices(record: &Restored) -> Option<(Socket, Indices)> {
    match record {
        Restored::Connection(id, record) => {
            Some((Socket::Connection(*id), Stack::connection_indices(record)))
        }
        Restored::Udp(id, record) => Some((Socket::Udp(*id), record.indices)),
        _ => None,
    }
}

impl Shell {
    pub fn new(seed: u64) -> Self {
        Self { room: usize::MAX, seed, ..Self::default() }
    }

    pub fn dead(&self) -> bool {
        self.die_in.get() == Some(0)
    }

    /// Counts a call; whether the instance is (now) dead.
    fn dies(&self) -> bool {
        if let Some(left) = self.die_in.get() {
            self.die_in.set(Some(left.saturating_sub(1)));
        }
        self.dead()
    }

    /// What a successor finds.
    pub fn restored(&self) -> Vec<Restored> {
        let interface = self.interface().map(Restored::Interface);
        let sockets = self.records.iter().map(|(socket, bytes)| decode(*socket, bytes));
        interface.into_iter().chain(sockets).collect()
    }

    pub fn interface(&self) -> Option<InterfaceRecord> {
        self.interface.as_ref().map(|bytes| InterfaceRecord::decode(bytes).unwrap())
    }

    /// What the service does before a successor runs: regions attached at the records' indices, orphans given back.
    pub fn succeed(&mut self) {
        self.die_in.set(None);
        self.out.clear();
        let records = self.restored();
        self.flows.clear();
        self.regions.retain(|socket, _| self.records.contains_key(socket));
        for record in records {
            if let Restored::Connection(_, record) = &record
                && record.owns_flow()
            {
                self.flows.insert(flow(&record.tcp.tuple()));
            }
            let Some((socket, indices)) = indices(&record) else { continue };
            if let Some((side, memory)) = self.regions.get_mut(&socket) {
                *side = memory.attach(indices);
            }
        }
    }

    /// Publish before promise: within one entry, no frame from and no notification about a socket before its record.
    pub fn check_order(&mut self) {
        let mut published = BTreeSet::new();
        let mut since = BTreeMap::new();
        for step in self.steps.drain(..) {
            match step {
                Step::Publish(Some(socket)) => {
                    published.insert(socket);
                    since.insert(socket, 0);
                }
                Step::Frame(Some(socket)) => {
                    assert!(published.contains(&socket), "frame of {socket:?} before its record");
                    let count = since.entry(socket).or_insert(0);
                    *count += 1;
                    assert!(*count <= 16, "more frames than one record can stand for");
                }
                Step::Notify(socket @ (Socket::Connection(_) | Socket::Udp(_))) => {
                    assert!(published.contains(&socket), "notification about {socket:?} before its record");
                }
                _ => {}
            }
        }
    }
}

/// Transmit buffers that a frame takes.
fn buffers(octets: usize) -> usize {
    octets.div_ceil(2048).max(1)
}

impl Env for Shell {
    fn tx_room(&self, octets: usize) -> usize {
        let used: usize = self.out.iter().map(|(frame, _)| buffers(frame.len())).sum();
        self.room.saturating_sub(used) / buffers(octets)
    }

    fn frame_out(&mut self, frame: FrameOut, fill: &mut Fill<'_>) -> Result<(), NoBuffer> {
        if self.dies() || self.tx_room(frame.len) == 0 {
            return Err(NoBuffer);
        }
        self.steps.push(Step::Frame(frame.region));
        let mut buffer = vec![0xa5; frame.len];
        let region = frame.region.and_then(|socket| self.regions.get(&socket)).map(|(side, _)| side);
        fill(&mut buffer, region);
        self.out.push((buffer, frame.offload));
        Ok(())
    }

    fn region(&mut self, socket: Socket) -> Option<&mut StackSide> {
        if self.dies() {
            return None;
        }
        self.regions.get_mut(&socket).map(|(side, _)| side)
    }

    fn open(&mut self, _: Socket) -> Result<(), NoMemory> {
        if self.refuse_memory { Err(NoMemory) } else { Ok(()) }
    }

    fn open_region(&mut self, socket: Socket, layout: Layout) -> Result<(), NoMemory> {
        if self.dies() || self.refuse_memory {
            return Err(NoMemory);
        }
        let memory = Memory::new(layout);
        self.regions.insert(socket, (memory.create(), memory));
        Ok(())
    }

    fn retire(&mut self, socket: Socket) {
        if !self.dies() {
            self.regions.remove(&socket);
            self.records.remove(&socket);
        }
    }

    fn publish(&mut self, record: Published<'_>) {
        if self.dies() {
            return;
        }
        let mut out = [0; MAX_RECORD];
        let (socket, len) = match record {
            Published::Connection(id, record) => (Some(Socket::Connection(id)), record.encode(&mut out)),
            Published::Listener(id, record) => (Some(Socket::Listener(id)), record.encode(&mut out)),
            Published::Udp(id, record) => (Some(Socket::Udp(id)), record.encode(&mut out)),
            Published::Interface(record) => (None, record.encode(&mut out)),
        };
        self.steps.push(Step::Publish(socket));
        match socket {
            Some(socket) => drop(self.records.insert(socket, out[..len].to_vec())),
            None => self.interface = Some(out[..len].to_vec()),
        }
    }

    fn notify(&mut self, socket: Socket) {
        if !self.dies() {
            self.steps.push(Step::Notify(socket));
            self.woken.insert(socket);
        }
    }

    fn claim_flow(&mut self, tuple: &Tuple) -> bool {
        match &self.table {
            Some((me, table)) => table.borrow_mut().claim(Key::of(tuple), *me),
            None => self.flows.insert(flow(tuple)),
        }
    }

    fn release_flow(&mut self, tuple: &Tuple) {
        match &self.table {
            Some((me, table)) => table.borrow_mut().release(Key::of(tuple), *me),
            None => drop(self.flows.remove(&flow(tuple))),
        }
    }

    fn claim_port(&mut self, protocol: Protocol, port: u16) -> bool {
        match &self.table {
            Some((me, table)) => table.borrow_mut().claim(Key::Port(protocol, port), *me),
            None => self.ports.insert((protocol, port)),
        }
    }

    fn release_port(&mut self, protocol: Protocol, port: u16) {
        match &self.table {
            Some((me, table)) => table.borrow_mut().release(Key::Port(protocol, port), *me),
            None => drop(self.ports.remove(&(protocol, port))),
        }
    }

    fn random(&mut self) -> u64 {
        random(&mut self.seed)
    }
}
