//! Frames in: for whom, and of which protocol. ARP in and out (RFC 826, RFC 5227).

use super::{RxInfo, Stack};
use crate::env::{Env, FrameOut};
use crate::outgoing::Waiting;
use crate::record::Role;
use crate::timers::Timer;
use hic_tcp::Micros;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, Ipv4Address,
};

/// Octets of an Ethernet header.
pub(super) const ETHERNET: usize = 14;
const ARP: usize = 28;

impl Stack {
    pub(super) fn ethernet_input(&mut self, now: Micros, frame: &[u8], info: RxInfo, env: &mut dyn Env) {
        let Ok(frame) = EthernetFrame::new_checked(frame) else {
            self.counters.ethernet_malformed += 1;
            return;
        };
        let destination = frame.dst_addr();
        if destination != self.config.mac && !destination.is_broadcast() {
            self.counters.ethernet_not_ours += 1;
            return;
        }
        match frame.ethertype() {
            EthernetProtocol::Arp => self.arp_input(now, frame.payload(), env),
            EthernetProtocol::Ipv4 => {
                let from_self = frame.src_addr() == self.config.mac;
                self.ip_input(now, frame.payload(), from_self, info, env);
            }
            _ => self.counters.ethernet_unknown_protocol += 1,
        }
    }

    fn arp_input(&mut self, now: Micros, bytes: &[u8], env: &mut dyn Env) {
        let packet = ArpPacket::new_checked(bytes).ok().and_then(|packet| ArpRepr::parse(&packet).ok());
        let Some(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: mac,
            source_protocol_addr: sender,
            target_protocol_addr: target,
            ..
        }) = packet
        else {
            self.counters.arp_malformed += 1;
            return;
        };
        if !mac.is_unicast() {
            self.counters.arp_malformed += 1;
            return;
        }
        let Some(ours) = self.interface.address else { return };
        if mac == self.config.mac {
            return;
        }
        if sender == ours.address {
            self.counters.arp_conflicts += 1;
            self.address_conflict(now, env);
            return;
        }
        let for_us = target == ours.address;
        if ours.on_link(sender) && !ours.is_subnet_broadcast(sender) {
            let waiting = self.arp.learn(now, sender, mac, for_us);
            self.timers.schedule(Timer::Arp, self.arp.deadline());
            self.send_waiting(now, waiting, env);
        }
        if for_us && operation == ArpOperation::Request {
            if self.interface.role != Role::Holder {
                self.counters.role_elsewhere += 1;
                return;
            }
            self.arp_send(ArpOperation::Reply, ours.address, mac, sender, mac, env);
        }
    }

    pub(super) fn send_waiting(
        &mut self,
        now: Micros,
        waiting: impl IntoIterator<Item = Waiting>,
        env: &mut dyn Env,
    ) {
        for Waiting { out, payload } in waiting {
            self.ip_output(now, &out, env, &mut |space, _| {
                for (to, from) in space.iter_mut().zip(&payload) {
                    *to = *from;
                }
            });
        }
    }

    pub(super) fn arp_timer(&mut self, now: Micros, env: &mut dyn Env) {
        let due = self.arp.on_timer(now);
        self.counters.arp_unresolved += due.dropped as u64;
        for address in due.ask {
            self.arp_ask(address, EthernetAddress::BROADCAST, env);
        }
        self.timers.schedule(Timer::Arp, self.arp.deadline());
    }

    /// Asks everybody, or the station believed to be the one (RFC 1122 2.3.2.1).
    pub(super) fn arp_ask(&mut self, address: Ipv4Address, whom: EthernetAddress, env: &mut dyn Env) {
        if let Some(ours) = self.interface.address {
            self.arp_send(ArpOperation::Request, ours.address, EthernetAddress([0; 6]), address, whom, env);
        }
    }

    /// Tells everybody that the address is ours (RFC 5227 2.3).
    pub(super) fn arp_announce(&mut self, env: &mut dyn Env) {
        if let Some(ours) = self.interface.address {
            let (none, all) = (EthernetAddress([0; 6]), EthernetAddress::BROADCAST);
            self.arp_send(ArpOperation::Request, ours.address, none, ours.address, all, env);
        }
    }

    fn arp_send(
        &mut self,
        operation: ArpOperation,
        source: Ipv4Address,
        target_mac: EthernetAddress,
        target: Ipv4Address,
        to: EthernetAddress,
        env: &mut dyn Env,
    ) {
        let repr = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: self.config.mac,
            source_protocol_addr: source,
            target_hardware_addr: target_mac,
            target_protocol_addr: target,
        };
        let mac = self.config.mac;
        let frame = FrameOut { len: ETHERNET + ARP, offload: Default::default(), region: None };
        let sent = env.frame_out(frame, &mut |space, _| {
            let body = ethernet_header(space, mac, to, EthernetProtocol::Arp);
            if let Some(body) = body.filter(|body| body.len() >= ARP) {
                repr.emit(&mut ArpPacket::new_unchecked(body));
            }
        });
        self.count_frame(sent.is_ok());
    }

    pub(super) fn count_frame(&mut self, sent: bool) {
        if sent {
            self.counters.frames_out += 1;
        } else {
            self.counters.no_tx_buffer += 1;
        }
    }
}

/// Writes the Ethernet header and returns the rest of the frame; `None` if there is no room for one.
pub(super) fn ethernet_header(
    frame: &mut [u8],
    from: EthernetAddress,
    to: EthernetAddress,
    protocol: EthernetProtocol,
) -> Option<&mut [u8]> {
    let (header, body) = frame.split_at_mut_checked(ETHERNET)?;
    let mut header = EthernetFrame::new_unchecked(header);
    header.set_src_addr(from);
    header.set_dst_addr(to);
    header.set_ethertype(protocol);
    Some(body)
}
