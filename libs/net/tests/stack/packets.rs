//! UDP, fragments, echo, ICMP errors, offload.

use crate::sim::{A, B, Faults, Wire, config, layout, mac};
use core::net::SocketAddrV4;
use hic_net::record::Origin;
use hic_net::{Capabilities, Id, Micros, Offload, RxInfo, Socket};
use hic_netapi::{AppSide, NetError, RegionKind};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::*;

fn bind(wire: &mut Wire, host: usize, port: u16) -> (Id, AppSide) {
    let layout = layout(RegionKind::Udp, 65536);
    let (id, _) =
        wire.enter(host, |stack, shell| stack.udp_bind(port, layout, Origin::default(), shell)).unwrap();
    (id, wire.hosts[host].shell.regions[&Socket::Udp(id)].1.app())
}

fn kick(wire: &mut Wire, host: usize, id: Id, side: &mut AppSide) {
    if side.must_kick() {
        let now = wire.now;
        wire.enter(host, |stack, shell| stack.udp_kicked(now, id, shell));
    }
}

#[test]
fn datagrams_of_all_sizes_travel_both_ways_in_fragments_where_needed() {
    let mut wire = Wire::new(1, Faults::default());
    let (here, mut client) = bind(&mut wire, 0, 5000);
    let (there, mut server) = bind(&mut wire, 1, 7);
    for len in [0, 1, 1472, 1473, 4096, 20_000] {
        let data: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        client.send_to(SocketAddrV4::new(B, 7), &data).unwrap();
        kick(&mut wire, 0, here, &mut client);
        wire.run_for(Micros::from_millis(10));
        let mut out = vec![0; 30_000];
        let (from, got) = server.recv_from(&mut out).unwrap();
        assert_eq!((from, got), (SocketAddrV4::new(A, 5000), len));
        assert_eq!(out[..len], data);
        server.send_to(from, &out[..len]).unwrap();
        kick(&mut wire, 1, there, &mut server);
        wire.run_for(Micros::from_millis(10));
        assert_eq!(client.recv_from(&mut out).map(|(_, len)| len), Some(len));
    }
    assert_eq!(wire.hosts[1].stack.counters().ip_reassembled, 3);
    assert_eq!(wire.hosts[1].stack.counters().ip_reassembly_failed, 0);
}

#[test]
fn a_datagram_to_nobody_is_answered_with_port_unreachable() {
    let mut wire = Wire::new(2, Faults::default());
    let (id, mut side) = bind(&mut wire, 0, 5000);
    side.send_to(SocketAddrV4::new(B, 9), b"anybody?").unwrap();
    kick(&mut wire, 0, id, &mut side);
    wire.run_for(Micros::from_millis(10));
    assert_eq!(wire.hosts[1].stack.counters().udp_no_socket, 1);
    assert_eq!(wire.hosts[0].stack.counters().icmp_errors_in, 1);
}

#[test]
fn a_full_socket_drops_and_counts() {
    let mut wire = Wire::new(3, Faults::default());
    let (id, mut side) = bind(&mut wire, 0, 5000);
    let (_, _server) = bind(&mut wire, 1, 7);
    for _ in 0..100 {
        side.send_to(SocketAddrV4::new(B, 7), &[0; 1400]).unwrap();
        kick(&mut wire, 0, id, &mut side);
        wire.run_for(Micros::from_millis(5));
    }
    let counters = wire.hosts[1].stack.counters();
    assert_eq!(counters.udp_in + counters.udp_no_space, 100);
    assert!(counters.udp_no_space > 0);
}

#[test]
fn an_unreachable_station_is_asked_for_three_times_and_the_packet_counted() {
    let mut wire = Wire::new(4, Faults::default());
    let (id, mut side) = bind(&mut wire, 0, 5000);
    side.send_to(SocketAddrV4::new(Ipv4Address::new(10, 0, 0, 77), 7), b"hello").unwrap();
    kick(&mut wire, 0, id, &mut side);
    wire.run_for(Micros::from_secs(5));
    assert_eq!(wire.hosts[0].stack.counters().arp_unresolved, 1);
}

fn ip_frame(protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    ip_frame_from(A, protocol, payload)
}

/// To host 1, by the station of host 0.
fn ip_frame_from(source: Ipv4Address, protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 34 + payload.len()];
    EthernetRepr { src_addr: mac(1), dst_addr: mac(2), ethertype: EthernetProtocol::Ipv4 }
        .emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
    let repr = Ipv4Repr {
        src_addr: source,
        dst_addr: B,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 64,
    };
    repr.emit(&mut Ipv4Packet::new_unchecked(&mut frame[14..]), &ChecksumCapabilities::default());
    frame[34..].copy_from_slice(payload);
    frame
}

/// A frame to host 1 that opens a connection.
pub fn syn_frame(source: Ipv4Address, port: u16) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: 40_000,
        dst_port: port,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(1000),
        ack_number: None,
        window_len: 8192,
        window_scale: None,
        max_seg_size: Some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let mut tcp = vec![0; repr.buffer_len()];
    let (from, to) = (source.into(), B.into());
    repr.emit(&mut TcpPacket::new_unchecked(&mut tcp[..]), &from, &to, &ChecksumCapabilities::default());
    ip_frame_from(source, IpProtocol::Tcp, &tcp)
}

fn deliver(wire: &mut Wire, frame: &[u8]) {
    let now = wire.now;
    wire.enter(1, |stack, shell| stack.on_frame(now, frame, RxInfo::default(), shell));
}

fn echo_flood(wire: &mut Wire) {
    let repr = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 9, data: &[3; 56] };
    let mut icmp = vec![0; repr.buffer_len()];
    repr.emit(&mut Icmpv4Packet::new_unchecked(&mut icmp[..]), &ChecksumCapabilities::default());
    let frame = ip_frame(IpProtocol::Icmp, &icmp);
    for _ in 0..1000 {
        deliver(wire, &frame);
    }
}

#[test]
fn an_echo_request_comes_back_and_a_flood_is_limited() {
    let mut wire = Wire::new(5, Faults::default());
    echo_flood(&mut wire);
    let counters = wire.hosts[1].stack.counters();
    assert_eq!(counters.icmp_echoed + counters.replies_rate_limited, 1000);
    assert!((1..200).contains(&counters.icmp_echoed));
    wire.run_for(Micros::from_millis(10));
    assert!(wire.hosts[0].stack.counters().icmp_ignored > 0, "the replies arrived");
}

#[test]
fn an_echo_flood_takes_no_resets_and_no_errors_from_others() {
    let mut wire = Wire::new(5, Faults::default());
    echo_flood(&mut wire);
    deliver(&mut wire, &syn_frame(A, 81));
    deliver(&mut wire, &ip_frame(IpProtocol::from(132), &[0; 20]));
    let counters = wire.hosts[1].stack.counters();
    assert!(counters.replies_rate_limited > 0);
    assert_eq!((counters.tcp_resets_out, counters.icmp_errors_out), (1, 1));
}

#[test]
fn the_first_flight_after_two_idle_minutes_arrives() {
    let mut wire = Wire::new(12, Faults::default());
    let layout = layout(RegionKind::Tcp, 65536);
    let listener =
        wire.enter(0, |stack, shell| stack.listen(80, 4, layout, Origin::default(), shell)).unwrap();
    let (id, mut side) = connect(&mut wire, SocketAddrV4::new(A, 80));
    wire.run_for(Micros::from_secs(130));
    let accepted = wire.enter(0, |stack, shell| stack.accept(listener, Origin::default(), shell)).unwrap();
    assert!(wire.hosts.iter().all(|host| host.stack.neighbours().count() == 0), "forgotten meanwhile");
    assert!(side.write(&[1; 14_000]) == 14_000 && side.must_kick());
    let now = wire.now;
    wire.enter(1, |stack, shell| stack.conn_kicked(now, id, shell));
    wire.run_for(Micros::from_secs(5));
    let other = wire.hosts[0].shell.regions[&Socket::Connection(accepted)].1.app();
    assert_eq!(other.readable(), 14_000);
    assert_eq!(wire.hosts[1].stack.connection(id).unwrap().stats.retransmitted, 0);
    assert_eq!(wire.hosts[1].stack.counters().arp_unresolved, 0);
}

#[test]
fn an_unknown_protocol_is_reported_to_its_sender() {
    let mut wire = Wire::new(6, Faults::default());
    deliver(&mut wire, &ip_frame(IpProtocol::from(132), &[0; 20]));
    assert_eq!(wire.hosts[1].stack.counters().icmp_errors_out, 1);
}

/// An ICMP error about a segment of host 1's connection.
fn complaint(wire: &Wire, id: Id, code: u8, mtu: u16) -> Vec<u8> {
    let info = wire.hosts[1].stack.connection(id).unwrap();
    let mut icmp = vec![0; 8 + 28];
    icmp[6..8].copy_from_slice(&mtu.to_be_bytes());
    icmp[8] = 0x45;
    icmp[17] = 6;
    icmp[20..24].copy_from_slice(&info.local.ip().octets());
    icmp[24..28].copy_from_slice(&info.remote.ip().octets());
    icmp[28..30].copy_from_slice(&info.local.port().to_be_bytes());
    icmp[30..32].copy_from_slice(&info.remote.port().to_be_bytes());
    let mut packet = Icmpv4Packet::new_unchecked(&mut icmp[..]);
    packet.set_msg_type(Icmpv4Message::DstUnreachable);
    packet.set_msg_code(code);
    packet.fill_checksum();
    ip_frame(IpProtocol::Icmp, &icmp)
}

fn connect(wire: &mut Wire, remote: SocketAddrV4) -> (Id, AppSide) {
    let (now, layout) = (wire.now, layout(RegionKind::Tcp, 65536));
    let id = wire
        .enter(1, |stack, shell| stack.connect(now, remote, 0, layout, Origin::default(), shell))
        .unwrap();
    (id, wire.hosts[1].shell.regions[&Socket::Connection(id)].1.app())
}

#[test]
fn port_unreachable_refuses_a_connection_that_is_being_opened() {
    let mut wire = Wire::new(7, Faults { loss: 1000, ..Faults::default() });
    let (id, side) = connect(&mut wire, SocketAddrV4::new(A, 80));
    let frame = complaint(&wire, id, 3, 0);
    deliver(&mut wire, &frame);
    assert_eq!(side.status().error, Some(NetError::Refused));
}

#[test]
fn fragmentation_needed_shrinks_the_segments_of_that_path() {
    let mut wire = Wire::new(8, Faults::default());
    let layout = layout(RegionKind::Tcp, 65536);
    wire.enter(0, |stack, shell| stack.listen(80, 4, layout, Origin::default(), shell)).unwrap();
    let (id, mut side) = connect(&mut wire, SocketAddrV4::new(A, 80));
    wire.run_for(Micros::from_millis(10));
    let frame = complaint(&wire, id, 4, 1000);
    deliver(&mut wire, &frame);
    assert!(side.write(&[1; 20_000]) > 0 && side.must_kick());
    let now = wire.now;
    let host = &mut wire.hosts[1];
    host.stack.conn_kicked(now, id, &mut host.shell);
    assert!(host.shell.out.len() > 3);
    assert!(host.shell.out.iter().all(|(frame, _)| frame.len() <= 1014));
}

#[test]
fn with_offload_large_segments_go_to_the_card_with_their_split() {
    let mut configs = [config(1), config(2)];
    configs[1].capabilities = Capabilities { tx_csum_offload: true, tso_max: 65535 };
    let mut wire = Wire::with(configs, 9, Faults::default());
    let layout = layout(RegionKind::Tcp, 65536);
    wire.enter(0, |stack, shell| stack.listen(80, 4, layout, Origin::default(), shell)).unwrap();
    let now = wire.now;
    let host = &mut wire.hosts[1];
    let remote = SocketAddrV4::new(A, 80);
    let id = host.stack.connect(now, remote, 0, layout, Origin::default(), &mut host.shell).unwrap();
    for _ in 0..6 {
        let valid = RxInfo { checksum_valid: true };
        for (from, to) in [(1, 0), (0, 1)] {
            for (frame, _) in std::mem::take(&mut wire.hosts[from].shell.out) {
                let host = &mut wire.hosts[to];
                host.stack.on_frame(now, &frame, valid, &mut host.shell);
            }
        }
    }
    let host = &mut wire.hosts[1];
    let mut side = host.shell.regions[&Socket::Connection(id)].1.app();
    assert!(side.status().established);
    side.write(&[7; 40_000]);
    host.shell.room = 3;
    host.stack.conn_kicked(now, id, &mut host.shell);
    assert!(host.shell.out.is_empty() && host.stack.wants_tx_room(), "there is room for small frames alone");
    assert_eq!(host.stack.counters().no_tx_buffer, 0);
    host.shell.room = 100;
    host.stack.on_tx_room(now, &mut host.shell);
    let (frame, offload) = &host.shell.out[0];
    assert!(frame.len() > 5000, "{}", frame.len());
    let Offload::Segment { start, header_len, mss, .. } = *offload else { panic!("{offload:?}") };
    assert_eq!((start, usize::from(header_len)), (34, 34 + usize::from(frame[46] >> 4) * 4));
    assert!((1300..=1460).contains(&mss));
}

#[test]
fn a_connection_to_our_own_address_goes_through_the_driver_and_back() {
    let mut wire = Wire::new(10, Faults::default());
    let layout = layout(RegionKind::Tcp, 65536);
    wire.hosts[1].shell.out.clear();
    let now = wire.now;
    let host = &mut wire.hosts[1];
    let listener = host.stack.listen(80, 4, layout, Origin::default(), &mut host.shell).unwrap();
    let remote = SocketAddrV4::new(B, 80);
    let id = host.stack.connect(now, remote, 0, layout, Origin::default(), &mut host.shell).unwrap();
    let mut side = host.shell.regions[&Socket::Connection(id)].1.app();
    side.write(&[5; 9000]);
    for _ in 0..20 {
        for (frame, _) in std::mem::take(&mut host.shell.out) {
            assert_eq!(frame[..6], mac(2).0);
            host.stack.on_frame(now, &frame, RxInfo::default(), &mut host.shell);
        }
        host.stack.conn_kicked(now, id, &mut host.shell);
    }
    let accepted = host.stack.accept(listener, Origin::default(), &mut host.shell).unwrap();
    let other = host.shell.regions[&Socket::Connection(accepted)].1.app();
    assert_eq!(other.readable(), 9000);
    assert_eq!(host.stack.counters().ip_martian, 0);
}

#[test]
fn a_segment_for_nobody_is_reset_unless_another_instance_may_have_it() {
    for (answer, resets) in [(true, 1), (false, 0)] {
        let mut wire = Wire::new(11, Faults::default());
        wire.hosts[1].stack.set_reset_strangers(answer);
        let layout = layout(RegionKind::Tcp, 4096);
        let (now, remote) = (wire.now, SocketAddrV4::new(B, 81));
        wire.enter(0, |stack, shell| stack.connect(now, remote, 0, layout, Origin::default(), shell))
            .unwrap();
        wire.run_for(Micros::from_millis(50));
        assert_eq!(wire.hosts[1].stack.counters().tcp_resets_out, resets);
        assert_eq!(wire.hosts[1].stack.counters().tcp_no_listener, resets);
        assert_eq!(wire.hosts[1].stack.counters().tcp_strangers, 1 - resets);
    }
}
