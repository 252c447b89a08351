//! The DHCP client (RFC 2131) as a state machine: messages and the time go in, messages to send and leases come out.
//!
//! It must never touch the interface: whether and how a lease is used is the stack's decision. Server messages are
//! believed only with our transaction number and our station address.

mod wire;

use crate::config::Address;
use alloc::vec::Vec;
use hic_tcp::Micros;
use smoltcp::wire::Ipv4Address;
pub(crate) use wire::{Kind, ServerMessage, emit, parse};

/// Octets of a message that we send: the BOOTP minimum (RFC 1542 2.1).
pub(crate) const MESSAGE_LEN: usize = 300;
/// First retransmission; doubles up to [`MAX_RETRY`] (RFC 2131 4.1).
const FIRST_RETRY: u64 = 4_000_000;
const MAX_RETRY: u64 = 64_000_000;
/// Requests for one offer before starting over.
const REQUEST_TRIES: u8 = 4;
/// After a refusal or a conflict (RFC 2131 3.1 step 5: at least ten seconds).
const DECLINE_PAUSE: Micros = Micros::from_secs(10);
/// Between renewals at least (RFC 2131 4.4.5).
const MIN_RENEW: Micros = Micros::from_secs(60);
/// Leases shorter than this are taken as this long, and none is renewed before half of it: a server must not make us busy.
const MIN_LEASE: u32 = 10;

/// A lease, as plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What was leased.
    pub address: Address,
    /// Who leased it.
    pub server: Ipv4Address,
    /// When to ask that server for more (T1).
    pub renew_at: Micros,
    /// When to ask any server (T2).
    pub rebind_at: Micros,
    /// When it ends.
    pub expires_at: Micros,
}

/// Where the client stands (RFC 2131 figure 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing to do.
    Off,
    /// Starts at this time.
    Init { at: Micros },
    /// Waits for offers.
    Selecting { try_number: u8, again: Micros },
    /// Asked for this one.
    Requesting { address: Ipv4Address, server: Ipv4Address, try_number: u8, again: Micros },
    /// Has a lease; asks for more at `again`.
    Bound { lease: Lease, again: Micros },
}

/// What the stack must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send this.
    Send(Outgoing),
    /// Use this lease from now on (also after a renewal).
    Bound(Lease),
    /// The address may not be used any more.
    Lost,
}

/// A message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub kind: Kind,
    pub transaction: u32,
    pub secs: u16,
    /// Our address, once we have one (ciaddr).
    pub client: Ipv4Address,
    pub requested: Option<Ipv4Address>,
    pub server: Option<Ipv4Address>,
    /// To this address, or to everybody.
    pub unicast: Option<Ipv4Address>,
}

#[derive(Debug)]
pub(crate) struct Client {
    state: State,
    transaction: u32,
    /// Since when we try, for the `secs` field.
    since: Micros,
}

pub(crate) type Actions = Vec<Action>;

impl Client {
    pub(crate) fn new(start: Option<Micros>) -> Self {
        let state = start.map_or(State::Off, |at| State::Init { at });
        Self { state, transaction: 0, since: start.unwrap_or_default() }
    }

    /// Goes on with a lease from a record.
    pub(crate) fn resume(lease: Lease) -> Self {
        Self { state: State::Bound { lease, again: lease.renew_at }, transaction: 0, since: lease.renew_at }
    }

    pub(crate) fn lease(&self) -> Option<Lease> {
        match self.state {
            State::Bound { lease, .. } => Some(lease),
            _ => None,
        }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            State::Off => "off",
            State::Init { .. } => "init",
            State::Selecting { .. } => "selecting",
            State::Requesting { .. } => "requesting",
            State::Bound { .. } => "bound",
        }
    }

    pub(crate) fn deadline(&self) -> Option<Micros> {
        match self.state {
            State::Off => None,
            State::Init { at } => Some(at),
            State::Selecting { again, .. } | State::Requesting { again, .. } => Some(again),
            State::Bound { lease, again } => Some(again.min(lease.expires_at)),
        }
    }

    /// Somebody else uses the address that we were given: decline it and start over (RFC 2131 3.1 step 5).
    pub(crate) fn conflict(&mut self, now: Micros) -> Actions {
        let State::Bound { lease, .. } = self.state else { return Actions::new() };
        self.state = State::Init { at: now.after(DECLINE_PAUSE) };
        let message = Outgoing {
            requested: Some(lease.address.address),
            server: Some(lease.server),
            ..self.message(now, Kind::Decline)
        };
        [Action::Send(message), Action::Lost].into()
    }

    /// Lets time pass. `random` varies transaction numbers and retransmission times.
    pub(crate) fn on_timer(&mut self, now: Micros, random: u64) -> Actions {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return Actions::new();
        }
        match self.state {
            State::Off => Actions::new(),
            State::Init { .. } => {
                self.since = now;
                self.discover(now, random, 0)
            }
            State::Selecting { try_number, .. } => self.discover(now, random, try_number.saturating_add(1)),
            State::Requesting { try_number, .. } if try_number >= REQUEST_TRIES => {
                self.discover(now, random, 0)
            }
            State::Requesting { address, server, try_number, .. } => {
                self.request(now, random, address, server, try_number + 1)
            }
            State::Bound { lease, .. } if now >= lease.expires_at => {
                let mut actions = Actions::from([Action::Lost]);
                self.since = now;
                actions.extend(self.discover(now, random, 0));
                actions
            }
            State::Bound { lease, .. } => self.renew(now, random, lease),
        }
    }

    /// Takes in a message of a server (its transaction number and station address are ours: see [`parse`]).
    pub(crate) fn on_message(&mut self, now: Micros, random: u64, message: &ServerMessage) -> Actions {
        if message.transaction != self.transaction {
            return Actions::new();
        }
        match (self.state, message.kind) {
            (State::Selecting { .. }, Kind::Offer) if usable(message.your_address) => match message.server {
                Some(server) => self.request(now, random, message.your_address, server, 0),
                None => Actions::new(),
            },
            (State::Requesting { address, .. }, Kind::Ack) if address == message.your_address => {
                self.bind(now, message)
            }
            (State::Bound { lease, again }, Kind::Ack)
                if again > lease.renew_at && lease.address.address == message.your_address =>
            {
                self.bind(now, message)
            }
            (State::Requesting { server, .. }, Kind::Nak) if message.server == Some(server) => {
                self.state = State::Init { at: now.after(DECLINE_PAUSE) };
                Actions::new()
            }
            (State::Bound { lease, again }, Kind::Nak) if again > lease.renew_at => {
                self.state = State::Init { at: now };
                [Action::Lost].into()
            }
            _ => Actions::new(),
        }
    }

    fn discover(&mut self, now: Micros, random: u64, try_number: u8) -> Actions {
        if try_number == 0 {
            self.transaction = random as u32;
        }
        self.state = State::Selecting { try_number, again: backoff(now, random, try_number) };
        [Action::Send(self.message(now, Kind::Discover))].into()
    }

    fn request(
        &mut self,
        now: Micros,
        random: u64,
        address: Ipv4Address,
        server: Ipv4Address,
        try_number: u8,
    ) -> Actions {
        self.state =
            State::Requesting { address, server, try_number, again: backoff(now, random, try_number) };
        let message =
            Outgoing { requested: Some(address), server: Some(server), ..self.message(now, Kind::Request) };
        [Action::Send(message)].into()
    }

    /// RENEWING to the server before T2, REBINDING to everybody after; each time half of what remains (4.4.5).
    fn renew(&mut self, now: Micros, random: u64, lease: Lease) -> Actions {
        let rebinding = now >= lease.rebind_at;
        let until = if rebinding { lease.expires_at } else { lease.rebind_at };
        let pause = Micros(until.since(now).0 / 2).max(MIN_RENEW);
        self.since = if now < lease.renew_at { now } else { lease.renew_at };
        self.transaction = random as u32;
        // Always after T1, which is how `on_message` knows that it asked.
        let again = now.after(pause).max(lease.renew_at.after(Micros(1)));
        self.state = State::Bound { lease, again };
        let message = Outgoing {
            client: lease.address.address,
            unicast: (!rebinding).then_some(lease.server),
            ..self.message(now, Kind::Request)
        };
        [Action::Send(message)].into()
    }

    fn bind(&mut self, now: Micros, message: &ServerMessage) -> Actions {
        let (seconds, least) = (u64::from(message.lease_seconds.max(MIN_LEASE)), u64::from(MIN_LEASE / 2));
        let at = |seconds: u64| now.after(Micros::from_secs(seconds));
        // RFC 2131 4.4.5: T1 is half, T2 seven eighths, unless the server says otherwise and in that order.
        let rebind = message.rebind_seconds.map_or(seconds * 7 / 8, u64::from).clamp(least, seconds);
        let renew = message.renew_seconds.map_or(seconds / 2, u64::from).clamp(least, rebind);
        let previous = self.lease();
        let server = message.server.or(previous.map(|lease| lease.server));
        let lease = Lease {
            address: Address {
                address: message.your_address,
                prefix_len: message.prefix_len,
                gateway: message.router.filter(|router| usable(*router)),
                dns: message.dns,
            },
            server: server.unwrap_or(Ipv4Address::UNSPECIFIED),
            renew_at: at(renew),
            rebind_at: at(rebind),
            expires_at: at(seconds),
        };
        self.state = State::Bound { lease, again: lease.renew_at };
        [Action::Bound(lease)].into()
    }

    fn message(&self, now: Micros, kind: Kind) -> Outgoing {
        let secs = now.since(self.since).0 / 1_000_000;
        Outgoing {
            kind,
            transaction: self.transaction,
            secs: secs.min(u16::MAX.into()) as u16,
            client: Ipv4Address::UNSPECIFIED,
            requested: None,
            server: None,
            unicast: None,
        }
    }
}

fn usable(address: Ipv4Address) -> bool {
    !(address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback())
}

/// 4, 8, 16, 32, 64 seconds, each moved by up to one second either way (RFC 2131 4.1).
fn backoff(now: Micros, random: u64, try_number: u8) -> Micros {
    let base = FIRST_RETRY.checked_shl(try_number.into()).unwrap_or(MAX_RETRY).min(MAX_RETRY);
    now.after(Micros(base - 1_000_000 + (random >> 32) % 2_000_000))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
