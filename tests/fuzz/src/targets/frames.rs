//! Frames from the wire into the network stack: one with an address of its own, a listener, a connection and a socket, and one that asks a
//! DHCP server. The shell around them is the one of the stack's own tests, which checks that nothing is promised before it is recorded.

use core::net::SocketAddrV4;

use hic_net::record::Origin;
use hic_net::{AddressSource, Config, EthernetAddress, Micros, RxInfo};
use hic_netapi::RegionKind;

use super::sim::{B, Faults, Wire, config, layout, mac};
use crate::input::Input;

/// Frames of one try: the first dozen change the state, the rest only take time.
const FRAMES: usize = 24;
/// Longest frame.
const MTU: usize = 1514;
/// Connections that strangers can make a stack hold at most in one try.
const CONNECTIONS: usize = 16;
/// Where an IPv4 packet begins in a frame.
const IP: usize = 14;

/// Tries the bytes as frames, each with a byte of choices and its length before it.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut wire = if input.byte() & 1 == 0 { connected() } else { asking() };
    for _ in 0..FRAMES {
        if input.is_empty() {
            break;
        }
        let choices = input.byte();
        let mut frame = input.piece().to_vec();
        frame.truncate(MTU);
        let host = usize::from(choices & 1);
        if choices & 2 != 0 {
            address(&mut frame, host);
        }
        if choices & 4 != 0 {
            checksum(&mut frame);
        }
        let info = RxInfo { checksum_valid: choices & 8 != 0 };
        let now = wire.now;
        wire.enter(host, |stack, shell| stack.on_frame(now, &frame, info, shell));
        if choices & 16 != 0 {
            wire.run_for(Micros::from_millis(1 << (choices >> 5)));
        }
    }
    wire.run_for(Micros::from_secs(5));
    for host in &wire.hosts {
        assert!(host.stack.connections().count() <= CONNECTIONS);
    }
}

/// Two stacks with a connection between them, over which something was sent.
pub(crate) fn connected() -> Wire {
    let mut wire = Wire::new(7, Faults::default());
    let now = wire.now;
    for host in 0..2 {
        let (tcp, udp) = (layout(RegionKind::Tcp, 4096), layout(RegionKind::Udp, 8192));
        wire.enter(host, |stack, shell| {
            stack.listen(7, 8, tcp, Origin::default(), shell).expect("room");
            stack.udp_bind(7, udp, Origin::default(), shell).expect("room");
        });
    }
    let tcp = layout(RegionKind::Tcp, 4096);
    let server = SocketAddrV4::new(B, 7);
    let id = wire
        .enter(0, |stack, shell| stack.connect(now, server, 0, tcp, Origin::default(), shell))
        .expect("room");
    wire.run_for(Micros::from_millis(20));
    let socket = hic_net::Socket::Connection(id);
    wire.hosts[0].shell.regions[&socket].1.app().write(&[9; 600]);
    let now = wire.now;
    wire.enter(0, |stack, shell| stack.conn_kicked(now, id, shell));
    wire
}

/// Two stacks that ask a server for their addresses.
fn asking() -> Wire {
    let source = AddressSource::Dhcp { fallback: None, after: Micros::from_secs(10) };
    let ask = |host| Config { source, ..config(host) };
    Wire::with([ask(1), ask(2)], 7, Faults::default())
}

/// To the station `host`, as IPv4 unless it is something that a stack knows.
fn address(frame: &mut [u8], host: usize) {
    let EthernetAddress(station) = mac(host as u8 + 1);
    if let Some(to) = frame.get_mut(..6) {
        to.copy_from_slice(&station);
    }
    if let Some(kind) = frame.get_mut(12..14).filter(|kind| *kind != [8, 6]) {
        kind.copy_from_slice(&[8, 0]);
    }
}

/// The header checksum of an IPv4 packet without options made right.
fn checksum(frame: &mut [u8]) {
    let Some(header) = frame.get_mut(IP..IP + 20).filter(|header| header[0] == 0x45) else { return };
    header[10..12].fill(0);
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// What crosses the wire when a connection is made and data sent, and when an address is asked for: name, first byte, frames.
#[must_use]
pub fn examples() -> Vec<(&'static str, (u8, Vec<u8>))> {
    let mut examples = Vec::new();
    for (name, first, mut wire) in [("connection", 0, connected()), ("address", 1, asking())] {
        let mut bytes = Vec::new();
        for _ in 0..6 {
            for (host, frame) in wire.flying_frames() {
                bytes.push(host as u8 | 8);
                bytes.extend((frame.len() as u16).to_le_bytes());
                bytes.extend(frame);
            }
            wire.run_for(Micros::from_millis(2));
        }
        examples.push((name, (first, bytes)));
    }
    examples
}
