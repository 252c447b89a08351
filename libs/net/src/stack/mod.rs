//! The engine: one struct, its entry points, and its tables. Each file of this folder adds the methods of one layer.

mod address;
mod commands;
mod ethernet;
mod icmp_io;
mod ip_in;
mod ip_out;
mod moving;
mod query;
mod restore;
mod role;
mod tcp_in;
mod tcp_out;
mod tcp_table;
mod udp_io;
mod work;

use crate::arp::ArpCache;
use crate::config::Config;
use crate::counters::Counters;
use crate::dhcp::Client;
use crate::env::Env;
use crate::env::Socket;
use crate::icmp::RateLimits;
use crate::ports::PortChooser;
use crate::reassembly::Reassembler;
use crate::record::{InterfaceRecord, Role};
use crate::slab::{Id, Lane};
use crate::timers::{Timer, Timers};
use address::Announcements;
use alloc::collections::BTreeSet;
use hic_tcp::{Format, Micros};
pub use query::{ConnectionInfo, InterfaceInfo};
pub use restore::{RestoreError, Restored};
use tcp_table::TcpTable;
use udp_io::UdpTable;
use work::{Work, WorkQueue};

/// What the network card says about a received frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxInfo {
    /// It checked the TCP or UDP checksum and found it right (or the sender is on this machine and left it out).
    pub checksum_valid: bool,
}

/// The network stack of one interface.
#[derive(Debug)]
pub struct Stack {
    config: Config,
    interface: InterfaceRecord,
    /// Next identification for a packet that may be fragmented.
    ident: u16,
    arp: ArpCache,
    announcements: Announcements,
    dhcp: Client,
    /// When the static fallback takes effect.
    fallback_at: Option<Micros>,
    reassembly: Reassembler,
    rates: RateLimits,
    ports: PortChooser,
    tcp: TcpTable,
    udp: UdpTable,
    timers: Timers,
    /// Sockets that had more to send than there were transmit buffers.
    blocked: WorkQueue,
    /// Sockets whose application would not stop talking; served again on the next occasion.
    ready: WorkQueue,
    /// Sockets about to move to another instance. Nothing may touch them.
    frozen: BTreeSet<Socket>,
    lane: Option<Lane>,
    /// For whom connections are published.
    format: Format,
    counters: Counters,
}

impl Stack {
    /// An empty stack. It does nothing until [`Stack::start`], [`Stack::restore`] or [`Stack::set_address_from`].
    pub fn new(config: Config) -> Self {
        Self {
            interface: InterfaceRecord { role: Role::Guest, ..InterfaceRecord::default() },
            ident: 0,
            arp: ArpCache::default(),
            announcements: Announcements::default(),
            dhcp: Client::new(None),
            fallback_at: None,
            reassembly: Reassembler::default(),
            rates: RateLimits::default(),
            ports: PortChooser::default(),
            tcp: TcpTable::new(config.limits),
            udp: UdpTable::new(config.limits),
            timers: Timers::default(),
            blocked: WorkQueue::default(),
            ready: WorkQueue::default(),
            frozen: BTreeSet::new(),
            lane: None,
            format: Format::Compatible,
            counters: Counters::default(),
            config,
        }
    }

    /// Takes in one frame.
    pub fn on_frame(&mut self, now: Micros, frame: &[u8], info: RxInfo, env: &mut dyn Env) {
        self.counters.frames_in += 1;
        self.ethernet_input(now, frame, info, env);
    }

    /// Lets time pass: does everything that was due by `now`.
    pub fn on_timer(&mut self, now: Micros, env: &mut dyn Env) {
        for _ in 0..self.ready.len() {
            if let Some(work) = self.ready.pop() {
                self.serve_work(now, work, env);
            }
        }
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Arp => self.arp_timer(now, env),
                Timer::Announce => self.announce_timer(now, env),
                Timer::Dhcp => self.dhcp_timer(now, env),
                Timer::Reassembly => {
                    self.counters.ip_reassembly_failed += self.reassembly.on_timer(now) as u64;
                    self.timers.schedule(Timer::Reassembly, self.reassembly.deadline());
                }
                Timer::Connection(id) => self.connection_timer(now, id, env),
            }
        }
    }

    /// When [`Stack::on_timer`] must be called at the latest; in the past if there is work left over.
    pub fn deadline(&self) -> Option<Micros> {
        if self.ready.is_empty() { self.timers.deadline() } else { Some(Micros(0)) }
    }

    /// Transmit buffers became free: serves the sockets that waited for them.
    pub fn on_tx_room(&mut self, now: Micros, env: &mut dyn Env) {
        for _ in 0..self.blocked.len() {
            if env.tx_room(1) == 0 {
                return;
            }
            let Some(work) = self.blocked.pop() else { return };
            self.serve_work(now, work, env);
            if self.blocked.contains(work) {
                // There is not room enough for it yet: nor need others be asked each time that a little comes free.
                return;
            }
        }
    }

    /// Whether [`Stack::on_tx_room`] has anything to do.
    pub fn wants_tx_room(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// The application of this connection rang the doorbell (or may have).
    pub fn conn_kicked(&mut self, now: Micros, connection: Id, env: &mut dyn Env) {
        self.serve(now, connection, env);
    }

    /// The application of this UDP socket rang the doorbell (or may have).
    pub fn udp_kicked(&mut self, now: Micros, socket: Id, env: &mut dyn Env) {
        self.udp_serve(now, socket, env);
    }

    /// Whether what belongs to nobody is answered: segments with a reset, other packets with ICMP unreachable. To be off while
    /// two instances share the link, since the other may know better.
    pub fn set_reset_strangers(&mut self, on: bool) {
        self.config.reset_strangers = on;
    }

    fn serve_work(&mut self, now: Micros, work: Work, env: &mut dyn Env) {
        match work {
            Work::Connection(id) => self.serve(now, id, env),
            Work::Udp(id) => self.udp_serve(now, id, env),
        }
    }
}
