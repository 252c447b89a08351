//! One host of a test: a connection, its rings, and a peer played by hand or by another host.

use super::moves::Moves;
use super::std::{collections::VecDeque, vec, vec::Vec};
use crate::schema::Dialect;
use crate::segment::Timestamp;
use crate::{
    Config, Connection, Events, Flags, Format, Micros, Options, Record, RxSpace, Schema, Segment, SegmentOut,
    Seq, Tuple, TxData,
};

pub const CLIENT: Tuple =
    Tuple { local_addr: [10, 0, 0, 1], local_port: 40000, remote_addr: [10, 0, 0, 2], remote_port: 80 };
pub const SERVER: Tuple =
    Tuple { local_addr: [10, 0, 0, 2], local_port: 80, remote_addr: [10, 0, 0, 1], remote_port: 40000 };

/// netstack 1.2.0, 1.3.0 before the commit, 1.3.0 after it.
pub const DIALECTS: [Dialect; 3] = [
    Dialect::new(Schema::V1, Format::Compatible),
    Dialect::new(Schema::V2, Format::Compatible),
    Dialect::new(Schema::V2, Format::Own),
];

/// A ring without an end: offset is index.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Stream(pub Vec<u8>);

impl TxData for Stream {
    fn copy(&self, offset: u64, out: &mut [u8]) {
        let from = offset as usize;
        out.copy_from_slice(&self.0[from..from + out.len()]);
    }
}

impl RxSpace for Stream {
    fn write(&mut self, offset: u64, data: &[u8]) {
        let from = offset as usize;
        if self.0.len() < from + data.len() {
            self.0.resize(from + data.len(), 0);
        }
        self.0[from..from + data.len()].copy_from_slice(data);
    }
}

/// A segment that owns its data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    pub out: SegmentOut,
    pub data: Vec<u8>,
}

impl Packet {
    pub fn segment(&self) -> Segment<'_> {
        Segment {
            seq: self.out.seq,
            ack: self.out.ack,
            flags: self.out.flags,
            window: self.out.window,
            options: self.out.options,
            payload: &self.data,
        }
    }
}

/// A connection with its rings.
#[derive(Clone, Debug)]
pub struct Host {
    pub conn: Connection,
    pub tx: Stream,
    pub rx: Stream,
    pub seen: Events,
    pub max_payload: usize,
    /// The record as last stored, and how often it was: after every step that changed it.
    pub stored: Record,
    pub stores: usize,
    /// What happens to the live connection then.
    pub moves: Moves,
    /// The most stretches that it ever held in the reassembly and the scoreboard.
    pub most: [usize; 2],
    /// Octets that were forgotten when it was converted down.
    pub forgotten: u64,
}

impl Host {
    pub fn new(conn: Connection) -> Self {
        let max_payload = usize::from(conn.r.config.mss);
        Self {
            conn,
            tx: Stream::default(),
            rx: Stream::default(),
            seen: Events::empty(),
            max_payload,
            stored: conn.r,
            stores: 0,
            moves: Moves::NEVER,
            most: [0; 2],
            forgotten: 0,
        }
    }

    /// The end of a step: the rules hold, and the record is stored.
    pub fn checked(&mut self) {
        if let Err(rule) = self.conn.r.check() {
            panic!("{rule}: {:?}", self.conn.r);
        }
        self.most[0] = self.most[0].max(self.conn.r.rcv.held.count());
        self.most[1] = self.most[1].max(self.conn.r.cc.sacked.count());
        if self.conn.r != self.stored {
            self.forgotten += self.moves.after_store(self.stores, &mut self.conn);
            self.stores += 1;
            self.stored = self.conn.r;
        }
    }

    pub fn receive(&mut self, now: Micros, segment: &Segment<'_>) -> Events {
        if self.moves.dies_in_steps() {
            // Killed before the store: the segment is still in the driver's ring, and its data perhaps in ours.
            let published = self.conn;
            self.conn.on_segment(now, segment, &mut self.rx);
            self.conn = published;
        }
        let events = self.conn.on_segment(now, segment, &mut self.rx);
        self.checked();
        self.seen |= events;
        events
    }

    pub fn tick(&mut self, now: Micros) -> Events {
        let events = self.conn.on_timer(now);
        self.checked();
        self.seen |= events;
        events
    }

    pub fn write(&mut self, data: &[u8]) {
        self.tx.0.extend_from_slice(data);
        self.conn.app_wrote(self.tx.0.len() as u64).expect("room in the tx ring");
        self.checked();
    }

    pub fn read_all(&mut self) {
        self.conn.app_consumed(self.conn.rx_ready()).expect("what is ready");
        self.checked();
    }

    /// Everything that it has to send now.
    pub fn drain(&mut self, now: Micros) -> Vec<Packet> {
        let mut packets = vec![];
        while let Some(out) = self.conn.next_segment(now, self.max_payload) {
            self.checked();
            let mut data = vec![0; (out.payload.end - out.payload.start) as usize];
            self.tx.copy(out.payload.start, &mut data);
            let one = self.max_payload <= usize::from(self.conn.r.config.mss);
            assert!(!one || data.len() <= usize::from(out.mss), "beyond the packet: {out:?}");
            packets.push(Packet { out, data });
            assert!(packets.len() < 100_000, "endless sending: {:?}", self.conn.r);
        }
        self.checked();
        packets
    }
}

/// A configuration without options that a hand-played peer would have to track.
pub fn plain() -> Config {
    Config { timestamps: false, sack: false, window_scaling: false, ..Config::default() }
}

pub fn connect(config: Config) -> Host {
    Host::new(Connection::connect(CLIENT, config, Seq(0xffff_ff00), 7, Micros(0)).expect("configuration"))
}

/// A connection whose peer is played by the test: the peer's stream starts at `PEER`, its window is `window`.
pub const PEER: Seq = Seq(5000);
pub const OURS: Seq = Seq(0xffff_ff00);

pub fn established(config: Config, options: Options, window: u16) -> Host {
    let mut host = connect(config);
    let syn = host.drain(Micros(0));
    assert_eq!(syn.len(), 1);
    let answer = Segment {
        seq: PEER,
        ack: Some(OURS.add(1)),
        flags: Flags::SYN | Flags::ACK,
        window,
        options: Options { mss: Some(1460), ..options },
        payload: &[],
    };
    assert!(host.receive(Micros(1000), &answer).contains(Events::ESTABLISHED));
    assert_eq!(host.drain(Micros(1000)).len(), 1);
    host
}

/// A segment of the hand-played peer: its data starts `from` octets into its stream, it acknowledges `ack` of ours.
pub fn from_peer(from: u32, ack: u32, payload: &[u8]) -> Segment<'_> {
    Segment {
        seq: PEER.add(1 + from),
        ack: Some(OURS.add(1 + ack)),
        flags: Flags::ACK,
        window: 65535,
        options: Options::default(),
        payload,
    }
}

pub fn stamped(mut segment: Segment<'_>, value: u32) -> Segment<'_> {
    segment.options.timestamp = Some(Timestamp { value, echo: 0 });
    segment
}

/// Two hosts joined by a perfect wire with the same delay each way, run until nothing moves before `until`.
pub fn settle(hosts: &mut [Host; 2], now: &mut Micros, until: Micros) -> usize {
    let delay = Micros::from_millis(5);
    let mut wire: VecDeque<(Micros, usize, Packet)> = VecDeque::new();
    let mut sent = 0;
    loop {
        for (index, host) in hosts.iter_mut().enumerate() {
            for packet in host.drain(*now) {
                wire.push_back((now.after(delay), 1 - index, packet));
                sent += 1;
            }
        }
        let arrival = wire.front().map(|(at, _, _)| *at);
        let timer = hosts.iter().filter_map(|host| host.conn.deadline()).min();
        let Some(next) = arrival.into_iter().chain(timer).min().filter(|next| *next <= until) else { break };
        *now = (*now).max(next);
        if arrival.is_some_and(|at| at <= *now) {
            let (_, to, packet) = wire.pop_front().expect("an arrival");
            hosts[to].receive(*now, &packet.segment());
        }
        hosts.iter_mut().for_each(|host| {
            host.tick(*now);
        });
    }
    *now = (*now).max(until);
    sent
}

/// Client and server after a handshake over a perfect wire.
pub fn pair(config: Config, now: &mut Micros) -> [Host; 2] {
    let mut client = connect(config);
    let syn = client.drain(*now).remove(0);
    let server = Connection::accept(SERVER, config, Seq(77), 9, &syn.segment(), *now).expect("a SYN");
    let mut hosts = [client, Host::new(server)];
    let until = now.after(Micros::from_millis(100));
    settle(&mut hosts, now, until);
    hosts
}
