//! DHCP against a small server, the static fallback, conflicts.

use crate::sim::{Host, layout, mac};
use hic_net::record::Origin;
use hic_net::{Address, AddressSource, Config, EthernetAddress, Ipv4Address, Micros, RxInfo};
use hic_netapi::{NetError, RegionKind};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::*;

pub const SERVER: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
pub const OURS: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
const FALLBACK: Ipv4Address = Ipv4Address::new(192, 168, 7, 2);

pub fn config() -> Config {
    let fallback =
        Address { address: FALLBACK, prefix_len: 24, gateway: None, dns: [Ipv4Address::UNSPECIFIED; 2] };
    let source = AddressSource::Dhcp { fallback: Some(fallback), after: Micros::from_secs(20) };
    Config::new(mac(1), source, [1; 16])
}

pub fn host() -> Host {
    let mut host = Host::new(config(), 5);
    host.enter(Micros(0), |stack, shell| stack.start(Micros(0), shell));
    host
}

/// The DHCP messages among the frames that the host sent: type, transaction, destination.
pub fn messages(host: &mut Host) -> Vec<(DhcpMessageType, u32, Ipv4Address)> {
    flagged_messages(host).into_iter().map(|(kind, transaction, to, _)| (kind, transaction, to)).collect()
}

/// The same, each with whether the answer is to go to everybody.
fn flagged_messages(host: &mut Host) -> Vec<(DhcpMessageType, u32, Ipv4Address, bool)> {
    let parse = |frame: &Vec<u8>| {
        let frame = EthernetFrame::new_checked(&frame[..]).ok()?;
        if frame.ethertype() != EthernetProtocol::Ipv4 {
            return None;
        }
        let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
        assert!(ip.verify_checksum());
        let udp = UdpPacket::new_checked(ip.payload()).ok()?;
        assert!(udp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
        assert_eq!((udp.src_port(), udp.dst_port()), (68, 67));
        let dhcp = DhcpPacket::new_checked(udp.payload()).ok()?;
        let repr = DhcpRepr::parse(&dhcp).ok()?;
        Some((repr.message_type, repr.transaction_id, ip.dst_addr(), repr.broadcast))
    };
    let out = std::mem::take(&mut host.shell.out);
    out.iter().filter_map(|(frame, _)| parse(frame)).collect()
}

fn reply(kind: DhcpMessageType, transaction: u32) -> Vec<u8> {
    let dhcp = DhcpRepr {
        message_type: kind,
        transaction_id: transaction,
        secs: 0,
        client_hardware_address: mac(1),
        client_ip: Ipv4Address::UNSPECIFIED,
        your_ip: OURS,
        server_ip: SERVER,
        router: Some(SERVER),
        subnet_mask: Some(Ipv4Address::new(255, 255, 255, 0)),
        relay_agent_ip: Ipv4Address::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(SERVER),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: Some(3600),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let len = dhcp.buffer_len();
    let mut frame = vec![0; 14 + 20 + 8 + len];
    EthernetRepr { src_addr: mac(9), dst_addr: mac(1), ethertype: EthernetProtocol::Ipv4 }
        .emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
    let ip = Ipv4Repr {
        src_addr: SERVER,
        dst_addr: OURS,
        next_header: IpProtocol::Udp,
        payload_len: 8 + len,
        hop_limit: 64,
    };
    let caps = ChecksumCapabilities::default();
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[14..]), &caps);
    let mut udp = UdpPacket::new_unchecked(&mut frame[34..]);
    UdpRepr { src_port: 67, dst_port: 68 }.emit(
        &mut udp,
        &SERVER.into(),
        &OURS.into(),
        len,
        |space| dhcp.emit(&mut DhcpPacket::new_unchecked(space)).unwrap(),
        &caps,
    );
    frame
}

pub fn answer(host: &mut Host, now: Micros, kind: DhcpMessageType, transaction: u32) {
    let frame = reply(kind, transaction);
    host.enter(now, |stack, shell| stack.on_frame(now, &frame, RxInfo::default(), shell));
}

pub fn bind(host: &mut Host, now: Micros) {
    let transaction = messages(host).last().unwrap().1;
    answer(host, now, DhcpMessageType::Offer, transaction);
    assert_eq!(messages(host)[0].0, DhcpMessageType::Request);
    answer(host, now, DhcpMessageType::Ack, transaction);
}

pub fn address(host: &Host) -> Option<Ipv4Address> {
    host.stack.interface().address.map(|address| address.address)
}

/// Lets time pass up to `until`, timer by timer.
pub fn pass(host: &mut Host, until: Micros) {
    while let Some(at) = host.stack.deadline().filter(|at| *at <= until) {
        host.enter(at, |stack, shell| stack.on_timer(at, shell));
    }
}

pub fn arp_from(mac: EthernetAddress, sender: Ipv4Address, target: Ipv4Address) -> Vec<u8> {
    let mut frame = vec![0; 42];
    EthernetRepr { src_addr: mac, dst_addr: EthernetAddress::BROADCAST, ethertype: EthernetProtocol::Arp }
        .emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
    ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: mac,
        source_protocol_addr: sender,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: target,
    }
    .emit(&mut ArpPacket::new_unchecked(&mut frame[14..]));
    frame
}

#[test]
fn a_lease_is_obtained_announced_renewed_and_survives_a_restart() {
    let mut host = host();
    bind(&mut host, Micros(0));
    assert_eq!(address(&host), Some(OURS));
    assert_eq!(host.stack.interface().address.unwrap().gateway, Some(SERVER));
    assert!(host.shell.out.iter().any(|(frame, _)| frame.len() == 42), "announced by ARP");
    pass(&mut host, Micros::from_secs(10));
    host.shell.die_in.set(Some(0));
    host.enter(Micros::from_secs(10), |_, _| ());
    assert_eq!((host.deaths, address(&host)), (1, Some(OURS)));
    messages(&mut host);
    pass(&mut host, Micros::from_secs(1800));
    // The gateway's station is not known: the request waits for ARP.
    let now = Micros::from_secs(1800);
    let arp = arp_from(mac(9), SERVER, OURS);
    host.enter(now, |stack, shell| stack.on_frame(now, &arp, RxInfo::default(), shell));
    let (kind, transaction, to) = messages(&mut host)[0];
    assert_eq!((kind, to), (DhcpMessageType::Request, SERVER));
    answer(&mut host, now, DhcpMessageType::Ack, transaction);
    assert_eq!(host.stack.interface().lease.unwrap().expires_at, Micros::from_secs(1800 + 3600));
}

#[test]
fn without_a_server_the_fallback_is_used_until_a_lease_comes() {
    let mut host = host();
    pass(&mut host, Micros::from_secs(19));
    assert_eq!(address(&host), None);
    pass(&mut host, Micros::from_secs(20));
    assert_eq!(address(&host), Some(FALLBACK));
    bind_broadcast(&mut host);
    assert_eq!(address(&host), Some(OURS));
}

/// With an address of its own, the host takes replies to everybody.
fn bind_broadcast(host: &mut Host) {
    let now = Micros::from_secs(21);
    let transaction = messages(host).last().unwrap().1;
    for kind in [DhcpMessageType::Offer, DhcpMessageType::Ack] {
        answer_everybody(host, now, kind, transaction);
    }
}

fn answer_everybody(host: &mut Host, now: Micros, kind: DhcpMessageType, transaction: u32) {
    let mut frame = reply(kind, transaction);
    let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
    ip.set_dst_addr(Ipv4Address::BROADCAST);
    ip.fill_checksum();
    UdpPacket::new_unchecked(&mut frame[34..]).set_checksum(0);
    host.enter(now, |stack, shell| stack.on_frame(now, &frame, RxInfo::default(), shell));
}

#[test]
fn whoever_has_no_lease_asks_for_answers_to_everybody_and_whoever_has_one_does_not() {
    let mut host = host();
    pass(&mut host, Micros::from_secs(20));
    assert_eq!(address(&host), Some(FALLBACK));
    flagged_messages(&mut host);
    pass(&mut host, Micros::from_secs(40));
    let (kind, transaction, _, broadcast) = *flagged_messages(&mut host).last().unwrap();
    assert_eq!((kind, broadcast), (DhcpMessageType::Discover, true));
    let now = Micros::from_secs(40);
    answer(&mut host, now, DhcpMessageType::Offer, transaction);
    assert!(flagged_messages(&mut host).is_empty(), "an answer to another address is not ours");
    answer_everybody(&mut host, now, DhcpMessageType::Offer, transaction);
    let (kind, _, _, broadcast) = flagged_messages(&mut host)[0];
    assert_eq!((kind, broadcast), (DhcpMessageType::Request, true));
    answer_everybody(&mut host, now, DhcpMessageType::Ack, transaction);
    assert_eq!(address(&host), Some(OURS));
    for (seconds, to) in [(1840, SERVER), (3240, Ipv4Address::BROADCAST)] {
        flagged_messages(&mut host);
        let now = Micros::from_secs(seconds);
        pass(&mut host, now);
        // The server's station is not known any more.
        let arp = arp_from(mac(9), SERVER, OURS);
        host.enter(now, |stack, shell| stack.on_frame(now, &arp, RxInfo::default(), shell));
        let (kind, _, destination, broadcast) = *flagged_messages(&mut host).last().unwrap();
        assert_eq!((kind, destination, broadcast), (DhcpMessageType::Request, to, false));
    }
}

#[test]
fn an_expired_lease_takes_the_address_away_and_the_fallback_returns() {
    let mut host = host();
    bind(&mut host, Micros(0));
    pass(&mut host, Micros::from_secs(3600));
    assert_eq!(address(&host), None);
    pass(&mut host, Micros::from_secs(3620));
    assert_eq!(address(&host), Some(FALLBACK));
}

#[test]
fn a_conflict_on_a_fresh_lease_declines_it_and_on_an_old_one_defends_it() {
    let mut fresh = host();
    bind(&mut fresh, Micros(0));
    fresh.shell.out.clear();
    let arp = arp_from(mac(8), OURS, SERVER);
    fresh.enter(Micros(1), |stack, shell| stack.on_frame(Micros(1), &arp, RxInfo::default(), shell));
    assert_eq!(address(&fresh), None);
    assert_eq!(messages(&mut fresh)[0].0, DhcpMessageType::Decline);

    let mut old = host();
    bind(&mut old, Micros(0));
    pass(&mut old, Micros::from_secs(60));
    old.shell.out.clear();
    let now = Micros::from_secs(60);
    for _ in 0..5 {
        old.enter(now, |stack, shell| stack.on_frame(now, &arp, RxInfo::default(), shell));
    }
    assert_eq!(address(&old), Some(OURS));
    assert_eq!(old.shell.out.len(), 1, "one announcement, however often it is claimed");
    assert_eq!(old.stack.counters().arp_conflicts, 5);
}

#[test]
fn no_application_gets_the_port_to_which_leases_come() {
    let mut leased = host();
    let mut bind = |port| {
        let layout = layout(RegionKind::Udp, 16_384);
        leased
            .enter(Micros(0), |stack, shell| stack.udp_bind(port, layout, Origin::default(), shell))
            .map(|_| ())
    };
    assert_eq!(bind(68), Err(NetError::AddressInUse));
    assert_eq!(bind(69), Ok(()));
}
