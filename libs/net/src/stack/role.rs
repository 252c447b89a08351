//! The interface role: which of two running instances answers for the address, and what the other needs to know to serve
//! its sockets there.
//!
//! An instance without the role never answers an ARP or echo request, never runs DHCP and never announces. It does ask for
//! stations, since its packets need them.

use super::Stack;
use super::address::Announcements;
use crate::config::AddressSource;
use crate::dhcp::Client;
use crate::env::{Env, Published};
use crate::record::{InterfaceRecord, Role};
use crate::timers::Timer;
use hic_netapi::NetError;
use hic_tcp::Micros;
use smoltcp::wire::{EthernetAddress, Ipv4Address};

impl Stack {
    /// What this instance is to the interface. A new one is a guest without an address.
    pub fn role(&self) -> Role {
        self.interface.role
    }

    /// Stops answering for the address and publishes the interface's record, now a guest's: another instance takes the
    /// role from it. The address stays, for the sockets that are still here. If the move is aborted, or after a restart
    /// from that record it turns out that the role is still ours: [`Stack::take_role`] with that record.
    pub fn release_role(&mut self, env: &mut dyn Env) {
        if self.interface.role == Role::Guest {
            return;
        }
        self.interface.role = Role::Guest;
        self.dhcp = Client::new(None);
        self.fallback_at = None;
        self.announcements = Announcements::default();
        self.timers.cancel(Timer::Dhcp);
        self.timers.cancel(Timer::Announce);
        env.publish(Published::Interface(&self.interface));
    }

    /// Goes on with the role where `record` (of whoever had it, or our own) stands. Nobody on the link notices: the
    /// station is the same, so nothing is announced.
    pub fn take_role(&mut self, now: Micros, record: &InterfaceRecord, env: &mut dyn Env) {
        self.learn_interface(now, record);
        self.interface.role = Role::Holder;
        self.resume_dhcp(now);
        self.settle_interface(now, env);
    }

    /// For an instance without the role: the holder's record says which address its sockets have, and what is known about
    /// paths. May be repeated when the holder's record changed. Does nothing in the holder.
    pub fn set_address_from(&mut self, now: Micros, record: &InterfaceRecord, env: &mut dyn Env) {
        if self.interface.role == Role::Guest {
            self.learn_interface(now, record);
            self.settle_interface(now, env);
        }
    }

    /// Takes in stations that another instance knows, so that connections from there need not ask. What was found out here
    /// is fresher and stays. Call after the address is known.
    pub fn learn_neighbours(
        &mut self,
        now: Micros,
        neighbours: impl IntoIterator<Item = (Ipv4Address, EthernetAddress)>,
        env: &mut dyn Env,
    ) {
        let Some(ours) = self.interface.address else { return };
        for (address, mac) in neighbours {
            let station = ours.on_link(address) && !ours.is_subnet_broadcast(address) && mac.is_unicast();
            if station && address != ours.address && !self.arp.knows(now, address) {
                let waiting = self.arp.learn(now, address, mac, true);
                self.send_waiting(now, waiting, env);
            }
        }
        self.timers.schedule(Timer::Arp, self.arp.deadline());
    }

    /// Goes on from our own record.
    pub(super) fn resume_interface(&mut self, now: Micros, record: InterfaceRecord) {
        self.interface = record;
        self.ident = record.ident_reserved;
        if record.role == Role::Holder {
            self.resume_dhcp(now);
        }
    }

    fn resume_dhcp(&mut self, now: Micros) {
        let InterfaceRecord { address, lease, .. } = self.interface;
        if let AddressSource::Dhcp { fallback, after } = self.config.source {
            self.dhcp = lease.map_or_else(|| Client::new(Some(now)), Client::resume);
            self.fallback_at = fallback.filter(|_| address.is_none()).map(|_| now.after(after));
            self.timers.schedule(Timer::Dhcp, Some(now));
        }
    }

    fn learn_interface(&mut self, now: Micros, record: &InterfaceRecord) {
        self.interface.address = record.address;
        self.interface.lease = record.lease;
        for path in record.paths.iter().flatten().filter(|path| path.expires_at > now) {
            self.remember_path(*path);
        }
        // The numbers go round, so "later" is within half a round; a stack that never sent any starts at the record's.
        let unused = self.ident == 0 && self.interface.ident_reserved == 0;
        if unused || (record.ident_reserved.wrapping_sub(self.interface.ident_reserved) as i16) > 0 {
            self.ident = record.ident_reserved;
            self.interface.ident_reserved = record.ident_reserved;
        }
    }

    fn settle_interface(&mut self, now: Micros, env: &mut dyn Env) {
        env.publish(Published::Interface(&self.interface));
        self.leave_other_addresses(now, env);
    }

    /// Connections from an address that is not ours any more cannot go on.
    pub(super) fn leave_other_addresses(&mut self, now: Micros, env: &mut dyn Env) {
        let Some(ours) = self.interface.address else { return };
        for id in self.tcp.not_from(ours.address) {
            self.fail(now, id, NetError::Unreachable, env);
        }
    }
}
