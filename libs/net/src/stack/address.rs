//! The interface's address: static, by DHCP, or the fallback; announcing and defending it (RFC 5227, RFC 2131).

use super::Stack;
use crate::config::{Address, AddressSource};
use crate::dhcp::{self, Action, Client, Outgoing};
use crate::env::{Env, Published};
use crate::outgoing::IpOut;
use crate::record::Role;
use crate::timers::Timer;
use hic_tcp::Micros;
use smoltcp::wire::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, IpProtocol, Ipv4Address};

/// RFC 5227 1.1: ANNOUNCE_NUM and ANNOUNCE_INTERVAL.
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_EVERY: Micros = Micros::from_secs(2);
/// RFC 5227 1.1: DEFEND_INTERVAL. Also how long a new lease is declined when somebody else uses its address.
const DEFEND_EVERY: Micros = Micros::from_secs(10);

/// What is still to be announced, and since when the address is ours.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    left: u8,
    next: Micros,
    since: Micros,
    defended: Option<Micros>,
}

impl Stack {
    /// Begins: takes the static address, or asks for one.
    pub fn start(&mut self, now: Micros, env: &mut dyn Env) {
        self.interface.role = Role::Holder;
        match self.config.source {
            AddressSource::Static(address) => self.set_address(now, Some(address), env),
            AddressSource::Dhcp { fallback, after } => {
                self.dhcp = Client::new(Some(now));
                self.fallback_at = fallback.map(|_| now.after(after));
                self.dhcp_timer(now, env);
            }
        }
    }

    fn set_address(&mut self, now: Micros, address: Option<Address>, env: &mut dyn Env) {
        let before = self.interface.address.map(|old| old.address);
        self.interface.address = address;
        self.interface.lease = self.dhcp.lease();
        env.publish(Published::Interface(&self.interface));
        if address.is_none_or(|new| before == Some(new.address)) {
            return;
        }
        self.announcements = Announcements { left: ANNOUNCEMENTS, next: now, since: now, defended: None };
        self.announce_timer(now, env);
        self.leave_other_addresses(now, env);
    }

    pub(super) fn announce_timer(&mut self, now: Micros, env: &mut dyn Env) {
        if self.announcements.left > 0 && self.announcements.next <= now {
            self.announcements.left -= 1;
            self.announcements.next = now.after(ANNOUNCE_EVERY);
            self.arp_announce(env);
        }
        let more = self.announcements.left > 0;
        self.timers.schedule(Timer::Announce, more.then_some(self.announcements.next));
    }

    /// Somebody else says that our address is his. A fresh lease is declined; an address in use is defended (RFC 5227
    /// 2.4 c: never given up, since connections live on it), at most once in a while.
    pub(super) fn address_conflict(&mut self, now: Micros, env: &mut dyn Env) {
        if self.interface.role != Role::Holder {
            return;
        }
        if self.dhcp.lease().is_some() && now.since(self.announcements.since) < DEFEND_EVERY {
            let actions = self.dhcp.conflict(now);
            self.dhcp_actions(now, actions, env);
            return;
        }
        if self.announcements.defended.is_none_or(|at| now.since(at) >= DEFEND_EVERY) {
            self.announcements.defended = Some(now);
            self.arp_announce(env);
        }
    }

    pub(super) fn dhcp_timer(&mut self, now: Micros, env: &mut dyn Env) {
        let actions = self.dhcp.on_timer(now, env.random());
        self.dhcp_actions(now, actions, env);
        if self.fallback_at.is_some_and(|at| at <= now) {
            self.fallback_at = None;
            if let AddressSource::Dhcp { fallback: Some(address), .. } = self.config.source {
                self.set_address(now, Some(address), env);
            }
        }
        self.schedule_dhcp();
    }

    fn schedule_dhcp(&mut self) {
        let next = self.dhcp.deadline().into_iter().chain(self.fallback_at).min();
        self.timers.schedule(Timer::Dhcp, next);
    }

    /// A datagram to the client port.
    pub(super) fn dhcp_input(&mut self, now: Micros, payload: &[u8], env: &mut dyn Env) {
        let Some(message) = dhcp::parse(payload, self.config.mac) else {
            self.counters.dhcp_ignored += 1;
            return;
        };
        let actions = self.dhcp.on_message(now, env.random(), &message);
        if actions.is_empty() {
            self.counters.dhcp_ignored += 1;
        }
        self.dhcp_actions(now, actions, env);
    }

    fn dhcp_actions(&mut self, now: Micros, actions: dhcp::Actions, env: &mut dyn Env) {
        for action in actions {
            match action {
                Action::Send(message) => self.dhcp_send(now, &message, env),
                Action::Bound(lease) => {
                    self.counters.dhcp_leases += 1;
                    self.fallback_at = None;
                    self.set_address(now, Some(lease.address), env);
                }
                Action::Lost => {
                    if let AddressSource::Dhcp { fallback: Some(_), after } = self.config.source {
                        self.fallback_at = Some(now.after(after));
                    }
                    self.set_address(now, None, env);
                }
            }
        }
        self.schedule_dhcp();
    }

    fn dhcp_send(&mut self, now: Micros, message: &Outgoing, env: &mut dyn Env) {
        let (mac, name) = (self.config.mac, self.config.host_name);
        let out = IpOut {
            source: message.client,
            destination: message.unicast.unwrap_or(Ipv4Address::BROADCAST),
            protocol: IpProtocol::Udp,
            len: super::udp_io::UDP + dhcp::MESSAGE_LEN,
            ..IpOut::default()
        };
        let ports = (DHCP_CLIENT_PORT, DHCP_SERVER_PORT);
        self.ip_output(now, &out, env, &mut |space, _| {
            super::udp_io::emit(space, &out, ports, |body| {
                dhcp::emit(message, mac, name, body);
            });
        });
    }
}
