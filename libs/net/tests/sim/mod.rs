//! Two stacks on a simulated wire that loses, repeats and reorders, with applications that run only when notified.

pub mod apps;
pub mod memory;
pub mod shell;
pub mod table;
pub mod twins;

use hic_net::{
    Address, AddressSource, Config, EthernetAddress, Ipv4Address, Micros, Offload, RxInfo, Socket, Stack,
};
use hic_netapi::{AppSide, Layout, RegionKind};
use shell::{Shell, random};
use std::collections::BTreeMap;

pub const A: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
pub const B: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);

pub fn layout(kind: RegionKind, size: u32) -> Layout {
    Layout::new(kind, size, size).unwrap()
}

pub fn mac(host: u8) -> EthernetAddress {
    EthernetAddress([2, 0, 0, 0, 0, host])
}

pub fn config(host: u8) -> Config {
    let address = Address {
        address: Ipv4Address::new(10, 0, 0, host),
        prefix_len: 24,
        gateway: None,
        dns: [Ipv4Address::UNSPECIFIED; 2],
    };
    Config::new(mac(host), AddressSource::Static(address), [host; 16])
}

pub struct Host {
    pub stack: Stack,
    pub shell: Shell,
    config: Config,
    pub deaths: u32,
}

impl Host {
    pub fn new(config: Config, seed: u64) -> Self {
        Self { stack: Stack::new(config.clone()), shell: Shell::new(seed), config, deaths: 0 }
    }

    /// One call into the stack, with the order checked; a stack that died in it is succeeded by one from its records.
    pub fn enter<T>(&mut self, now: Micros, call: impl FnOnce(&mut Stack, &mut Shell) -> T) -> T {
        let result = call(&mut self.stack, &mut self.shell);
        self.shell.check_order();
        if self.shell.dead() {
            self.deaths += 1;
            self.shell.succeed();
            self.stack = Stack::new(self.config.clone());
            let records = self.shell.restored();
            let errors = self.stack.restore(now, records, &mut self.shell);
            assert_eq!(errors, []);
            if self.shell.interface.is_none() {
                self.stack.start(now, &mut self.shell);
            }
            self.shell.check_order();
            // Notifications sent into the death of an instance are not lost in the kernel; ours may be, so wake everybody.
            self.shell.woken.extend(self.shell.records.keys());
        }
        result
    }
}

/// What the wire does to frames, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub loss: u64,
    pub repeat: u64,
    pub reorder: u64,
    /// Each call into host 1 dies with this probability, somewhere inside.
    pub death: u64,
}

/// Where applications live: host 0 and host 1, each with whatever serves its sockets.
pub trait World {
    fn now(&self) -> Micros;

    /// A call into the stack that has `socket`; for new ones, the one that takes such commands.
    fn call<T>(
        &mut self,
        host: usize,
        socket: Option<Socket>,
        call: impl FnOnce(&mut Stack, &mut Shell) -> T,
    ) -> T;

    /// A call during which no stack dies.
    fn call_alive<T>(
        &mut self,
        host: usize,
        socket: Option<Socket>,
        call: impl FnOnce(&mut Stack, &mut Shell) -> T,
    ) -> T;

    fn app_side(&self, host: usize, socket: Socket) -> AppSide;

    fn take_woken(&mut self, host: usize) -> Vec<Socket>;
}

impl World for Wire {
    fn now(&self) -> Micros {
        self.now
    }

    fn call<T>(
        &mut self,
        host: usize,
        _: Option<Socket>,
        call: impl FnOnce(&mut Stack, &mut Shell) -> T,
    ) -> T {
        self.enter(host, call)
    }

    fn call_alive<T>(
        &mut self,
        host: usize,
        _: Option<Socket>,
        call: impl FnOnce(&mut Stack, &mut Shell) -> T,
    ) -> T {
        let deaths = std::mem::take(&mut self.faults.death);
        let result = self.enter(host, call);
        self.faults.death = deaths;
        result
    }

    fn app_side(&self, host: usize, socket: Socket) -> AppSide {
        self.hosts[host].shell.regions[&socket].1.app()
    }

    fn take_woken(&mut self, host: usize) -> Vec<Socket> {
        std::mem::take(&mut self.hosts[host].shell.woken).into_iter().collect()
    }
}

pub struct Wire {
    pub now: Micros,
    pub hosts: [Host; 2],
    flying: BTreeMap<(Micros, u64), (usize, Vec<u8>)>,
    seed: u64,
    serial: u64,
    pub faults: Faults,
}

impl Wire {
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::with([config(1), config(2)], seed, faults)
    }

    pub fn with(configs: [Config; 2], seed: u64, faults: Faults) -> Self {
        let [a, b] = configs;
        let hosts = [Host::new(a, seed ^ 1), Host::new(b, seed ^ 2)];
        let now = Micros::from_secs(10);
        let mut wire = Self { now, hosts, flying: BTreeMap::new(), seed, serial: 0, faults };
        for host in 0..2 {
            wire.enter(host, |stack, shell| stack.start(now, shell));
        }
        wire
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        random(&mut self.seed) % 1000 < thousandths
    }

    pub fn enter<T>(&mut self, host: usize, call: impl FnOnce(&mut Stack, &mut Shell) -> T) -> T {
        if host == 1 && self.chance(self.faults.death) {
            let calls = 1 + random(&mut self.seed) % 12;
            self.hosts[1].shell.die_in.set(Some(calls as u32));
        }
        let now = self.now;
        let result = self.hosts[host].enter(now, call);
        self.hosts[host].shell.die_in.set(None);
        self.collect(host);
        result
    }

    /// Puts what a host sent on the wire.
    fn collect(&mut self, host: usize) {
        for (frame, offload) in std::mem::take(&mut self.hosts[host].shell.out) {
            assert_eq!(offload, Offload::None);
            assert!(frame.len() <= 1514);
            let copies = if self.chance(self.faults.loss) {
                0
            } else {
                1 + usize::from(self.chance(self.faults.repeat))
            };
            for _ in 0..copies {
                let delay = 500 + if self.chance(self.faults.reorder) { 3000 } else { 0 };
                self.serial += 1;
                self.flying.insert((self.now.after(Micros(delay)), self.serial), (1 - host, frame.clone()));
            }
        }
    }

    /// What is on the wire now: to which host, and the frame.
    #[allow(dead_code, reason = "the fuzz targets take their frames from here")]
    pub fn flying_frames(&self) -> Vec<(usize, Vec<u8>)> {
        self.flying.values().cloned().collect()
    }

    /// Lets the next thing happen. `false` if nothing is left before `until`.
    pub fn step(&mut self, until: Micros) -> bool {
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let deadlines = self.hosts.iter().filter_map(|host| host.stack.deadline());
        let Some(next) = arrival.into_iter().chain(deadlines).min() else { return false };
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        let now = self.now;
        if arrival.is_some_and(|at| at <= now) {
            let (_, (host, frame)) = self.flying.pop_first().unwrap();
            self.enter(host, |stack, shell| stack.on_frame(now, &frame, RxInfo::default(), shell));
        }
        for host in 0..2 {
            if self.hosts[host].stack.deadline().is_some_and(|at| at <= now) {
                self.enter(host, |stack, shell| stack.on_timer(now, shell));
            }
            if self.hosts[host].stack.wants_tx_room() {
                self.enter(host, |stack, shell| stack.on_tx_room(now, shell));
            }
        }
        true
    }

    pub fn run_for(&mut self, time: Micros) {
        let until = self.now.after(time);
        while self.step(until) {}
        self.now = until;
    }
}
