//! A link that loses, delays, reorders and doubles, and two applications that send random data over it and close.
//!
//! Everything follows from one seed, so two runs differ only in what the test changes.

use super::harness::*;
use super::moves::Moves;
use super::std::{collections::BTreeMap, vec, vec::Vec};
use crate::*;

/// xorshift64*: enough for a test, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// The choices of hosts that outwait any bad luck with the link. A dead peer is not what these tests are about, and whoever
/// is in TIME-WAIT must still be there for the peer's last retransmission: by default it leaves after a minute, which is also
/// what the peer's timeout can have grown to. No run takes longer for it.
pub fn patient() -> Config {
    Config { syn_retries: 100, retries: 100, time_wait: Micros::from_secs(86_400), ..Config::default() }
}

/// How bad the link is, per mille and microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub loss: u64,
    pub double: u64,
    pub jitter: u64,
}

/// One run: hosts, what each is to send, what is in the air.
pub struct Run {
    pub hosts: Vec<Host>,
    pub plans: [Vec<u8>; 2],
    pub now: Micros,
    pub trace: Vec<(Micros, usize, Packet)>,
    /// The senders ignore congestion: many holes at once.
    pub reckless: bool,
    config: Config,
    air: BTreeMap<(Micros, u64), (usize, Packet)>,
    rng: Rng,
    weather: Weather,
    count: u64,
    moves: Moves,
}

impl Run {
    pub fn new(seed: u64, config: Config, sizes: [usize; 2], weather: Weather, moves: Moves) -> Self {
        let mut rng = Rng::new(seed);
        let plans = sizes.map(|size| rng.bytes(size));
        let mut client = connect(config);
        client.moves = moves;
        moves.begin(&mut client.conn);
        let hosts = vec![client];
        let air = BTreeMap::new();
        let now = Micros(0);
        Self { hosts, plans, now, trace: vec![], reckless: false, config, air, rng, weather, count: 0, moves }
    }

    /// Runs to the end: both sides closed. Panics when it takes too long.
    pub fn finish(&mut self) {
        for _ in 0..2_000_000 {
            self.applications();
            self.transmit();
            let over = |host: &Host| matches!(host.conn.state(), State::TimeWait | State::Closed(_));
            if self.hosts.len() == 2 && self.hosts.iter().all(over) {
                return;
            }
            self.step();
        }
        panic!("no end: {:?}", self.hosts);
    }

    fn applications(&mut self) {
        for (index, host) in self.hosts.iter_mut().enumerate() {
            if self.reckless {
                host.conn.r.cc.cwnd = 1 << 20;
            }
            if host.conn.state().can_write() && !host.conn.r.snd.closed {
                let plan = &self.plans[index];
                let room = host.conn.tx_acked() as usize + host.conn.r.config.tx_capacity as usize;
                let chunk = 1 + self.rng.below(4000) as usize;
                let to = plan.len().min(room).min(host.tx.0.len() + chunk);
                let more = plan[host.tx.0.len()..to].to_vec();
                host.write(&more);
                if host.tx.0.len() == plan.len() {
                    host.conn.app_closed();
                    host.checked();
                }
            }
            // A lazy reader now and then leaves the window closed.
            if self.rng.below(4) != 0 {
                host.read_all();
            }
        }
    }

    fn transmit(&mut self) {
        for index in 0..self.hosts.len() {
            for packet in self.hosts[index].drain(self.now) {
                self.trace.push((self.now, index, packet.clone()));
                let copies = 1 + u64::from(self.rng.below(1000) < self.weather.double);
                for _ in 0..copies {
                    let lost = self.rng.below(1000) < self.weather.loss;
                    let at = self.now.after(Micros(2000 + self.rng.below(self.weather.jitter)));
                    if !lost {
                        self.count += 1;
                        self.air.insert((at, self.count), (1 - index, packet.clone()));
                    }
                }
            }
        }
    }

    /// Moves to the next arrival or deadline. Applications look again every 10 ms.
    fn step(&mut self) {
        let arrival = self.air.keys().next().map(|(at, _)| *at);
        let timer = self.hosts.iter().filter_map(|host| host.conn.deadline()).min();
        let wake = self.now.after(Micros::from_millis(10));
        let next = arrival.into_iter().chain(timer).min().map_or(wake, |next| next.min(wake));
        self.now = self.now.max(next);
        if arrival.is_some_and(|at| at <= self.now) {
            let (_, (to, packet)) = self.air.pop_first().expect("an arrival");
            self.deliver(to, &packet);
        }
        for host in &mut self.hosts {
            host.tick(self.now);
        }
    }

    fn deliver(&mut self, to: usize, packet: &Packet) {
        if to == self.hosts.len() {
            let accepted =
                Connection::accept(SERVER, self.config, Seq(0x7fff_fff0), 11, &packet.segment(), self.now);
            if let Ok(conn) = accepted {
                let mut host = Host::new(conn);
                host.moves = self.moves;
                self.moves.begin(&mut host.conn);
                host.max_payload = 4 * usize::from(self.config.mss);
                self.hosts.push(host);
            }
        } else {
            self.hosts[to].receive(self.now, &packet.segment());
        }
    }

    /// Each side has exactly what the other sent, and the end of it.
    pub fn check(&self) {
        for (index, host) in self.hosts.iter().enumerate() {
            let plan = &self.plans[1 - index];
            assert_eq!(host.rx.0.len(), plan.len());
            assert!(host.rx.0 == *plan, "bytes differ");
            assert!(host.conn.rx_finished());
            assert_eq!(host.conn.rx_ready(), plan.len() as u64);
            assert!(!host.seen.intersects(Events::RESET | Events::TIMED_OUT), "{:?}", host.seen);
        }
    }
}
