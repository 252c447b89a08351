//! IPv4 out: next hop, its station, fragments, and the frame. Payload is written once, straight into the frame.

use super::Stack;
use super::ethernet::{ETHERNET, ethernet_header};
use crate::arp::Lookup;
use crate::env::{Env, Fill, FrameOut, Offload, Published};
use crate::outgoing::{Card, IpOut, Waiting};
use crate::reassembly::{Key, Piece};
use crate::timers::Timer;
use alloc::vec;
use hic_tcp::Micros;
use smoltcp::wire::{EthernetAddress, EthernetProtocol, Ipv4Address, Ipv4Packet};

/// Octets of our IPv4 headers: no options.
pub(super) const IP: usize = 20;
/// Offset of the checksum in a TCP header.
const TCP_CHECKSUM: u16 = 16;
const TTL: u8 = 64;
/// Identifications taken at once, so that the record is not published for each packet.
const IDENT_RESERVE: u16 = 256;

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    ident: u16,
    offset: usize,
    more: bool,
}

/// Octets of payload in each fragment but the last (RFC 791, 3.2).
pub(super) fn fragment_step(mtu: usize) -> usize {
    (mtu.saturating_sub(IP) & !7).max(8)
}

impl Stack {
    /// Sends one packet; `fill` writes what is above IP, exactly `out.len` octets. `false` if it could not be sent now and
    /// does not wait either.
    pub(super) fn ip_output(
        &mut self,
        now: Micros,
        out: &IpOut,
        env: &mut dyn Env,
        fill: &mut Fill<'_>,
    ) -> bool {
        let Some(hop) = self.next_hop(out.destination) else {
            self.counters.ip_no_route += 1;
            return false;
        };
        let mac = match hop {
            Hop::Station(mac) => mac,
            Hop::Resolve(address) => match self.arp.lookup(now, address) {
                Lookup::Known(mac) => mac,
                Lookup::Refresh(mac) => {
                    self.arp_ask(address, mac, env);
                    mac
                }
                unresolved => {
                    if unresolved == Lookup::Ask {
                        self.arp_ask(address, EthernetAddress::BROADCAST, env);
                    }
                    return self.wait_for_arp(address, out, env, fill);
                }
            },
        };
        self.transmit(now, mac, out, env, fill)
    }

    fn wait_for_arp(
        &mut self,
        hop: Ipv4Address,
        out: &IpOut,
        env: &mut dyn Env,
        fill: &mut Fill<'_>,
    ) -> bool {
        self.timers.schedule(Timer::Arp, self.arp.deadline());
        if !self.arp.may_wait(hop, out.len) {
            self.counters.arp_unresolved += 1;
            return false;
        }
        let mut payload = vec![0; out.len];
        let region = out.region.and_then(|socket| env.region(socket));
        fill(&mut payload, region.as_deref());
        self.arp.wait(hop, Waiting { out: IpOut { region: None, ..*out }, payload })
    }

    fn transmit(
        &mut self,
        now: Micros,
        mac: EthernetAddress,
        out: &IpOut,
        env: &mut dyn Env,
        fill: &mut Fill<'_>,
    ) -> bool {
        let mtu = usize::from(self.path_mtu(now, out.destination));
        let split_by_card = matches!(out.card, Card::Segment { .. });
        if IP + out.len <= mtu || split_by_card {
            return self.frame(mac, out, Place::default(), out.len, env, fill);
        }
        if out.dont_fragment {
            self.counters.ip_no_route += 1;
            return false;
        }
        let mut payload = vec![0; out.len];
        let region = out.region.and_then(|socket| env.region(socket));
        fill(&mut payload, region.as_deref());
        let ident = self.next_ident(env);
        let step = fragment_step(mtu);
        let mut sent = true;
        for (index, chunk) in payload.chunks(step).enumerate() {
            let offset = index * step;
            let place = Place { ident, offset, more: offset + chunk.len() < payload.len() };
            let whole = IpOut { region: None, card: Card::Nothing, ..*out };
            sent &= self.frame(mac, &whole, place, chunk.len(), env, &mut |space, _| {
                for (to, from) in space.iter_mut().zip(chunk) {
                    *to = *from;
                }
            });
        }
        sent
    }

    /// Sends a fragment that was received to our own station, as it was but for its path: whoever serves its flow gets it.
    pub(super) fn return_fragment(&mut self, key: &Key, piece: &Piece<'_>, env: &mut dyn Env) -> bool {
        let Key { source, destination, protocol, ident } = *key;
        let out = IpOut { source, destination, protocol: protocol.into(), ..IpOut::default() };
        let place = Place { ident, offset: piece.offset, more: piece.more };
        self.frame(self.config.mac, &out, place, piece.data.len(), env, &mut |space, _| {
            space.copy_from_slice(piece.data)
        })
    }

    fn frame(
        &mut self,
        to: EthernetAddress,
        out: &IpOut,
        place: Place,
        len: usize,
        env: &mut dyn Env,
        fill: &mut Fill<'_>,
    ) -> bool {
        let from = self.config.mac;
        let frame = FrameOut { len: ETHERNET + IP + len, offload: offload(out.card), region: out.region };
        let sent = env.frame_out(frame, &mut |space, region| {
            let body = ethernet_header(space, from, to, EthernetProtocol::Ipv4);
            let Some((header, payload)) = body.and_then(|body| body.split_at_mut_checked(IP)) else { return };
            ip_header(header, out, place, len);
            if let Some(payload) = payload.get_mut(..len) {
                fill(payload, region);
            }
        });
        self.count_frame(sent.is_ok());
        sent.is_ok()
    }

    /// The next identification. What may have been used is in the record, so a successor never repeats one.
    fn next_ident(&mut self, env: &mut dyn Env) -> u16 {
        loop {
            if self.ident == self.interface.ident_reserved {
                self.interface.ident_reserved = self.ident.wrapping_add(IDENT_RESERVE);
                env.publish(Published::Interface(&self.interface));
            }
            self.ident = self.ident.wrapping_add(1);
            // Two instances at one address use one half each.
            if self.lane.is_none_or(|lane| lane.has(self.ident.into())) {
                return self.ident;
            }
        }
    }

    fn next_hop(&self, destination: Ipv4Address) -> Option<Hop> {
        if destination.is_broadcast() {
            return Some(Hop::Station(EthernetAddress::BROADCAST));
        }
        let ours = self.interface.address?;
        if destination == ours.address {
            // The driver hands frames to ourselves back to us, through its flow table like all others.
            Some(Hop::Station(self.config.mac))
        } else if ours.is_subnet_broadcast(destination) {
            Some(Hop::Station(EthernetAddress::BROADCAST))
        } else if destination.is_multicast() || destination.is_loopback() || destination.is_unspecified() {
            None
        } else if ours.on_link(destination) {
            Some(Hop::Resolve(destination))
        } else {
            ours.gateway.map(Hop::Resolve)
        }
    }
}

enum Hop {
    Station(EthernetAddress),
    Resolve(Ipv4Address),
}

fn offload(card: Card) -> Offload {
    let start = (ETHERNET + IP) as u16;
    match card {
        Card::Nothing => Offload::None,
        Card::Checksum => Offload::Checksum { start, offset: TCP_CHECKSUM },
        Card::Segment { mss, header_len } => {
            Offload::Segment { start, offset: TCP_CHECKSUM, header_len: start + header_len, mss }
        }
    }
}

/// `header` has exactly [`IP`] octets.
fn ip_header(header: &mut [u8], out: &IpOut, place: Place, len: usize) {
    header.fill(0);
    let mut packet = Ipv4Packet::new_unchecked(header);
    packet.set_version(4);
    packet.set_header_len(IP as u8);
    packet.set_total_len((IP + len).min(usize::from(u16::MAX)) as u16);
    packet.set_ident(place.ident);
    packet.set_dont_frag(out.dont_fragment);
    packet.set_more_frags(place.more);
    packet.set_frag_offset(place.offset as u16);
    packet.set_hop_limit(TTL);
    packet.set_next_header(out.protocol);
    packet.set_src_addr(out.source);
    packet.set_dst_addr(out.destination);
    packet.fill_checksum();
}
