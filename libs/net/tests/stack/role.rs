//! The interface role between two instances: one answers, the other only serves.

use super::address::{OURS, SERVER, address, answer, arp_from, bind, host, messages, pass};
use crate::sim::apps::{Client, EchoServer};
use crate::sim::twins::{Outcome, Twins};
use crate::sim::{A, B, Faults, Host, World, config, mac};
use core::net::SocketAddrV4;
use hic_net::record::{InterfaceRecord, PathMtu, Role};
use hic_net::{Micros, RxInfo, Socket};
use smoltcp::wire::*;

/// Frames of a kind that the host sent: ARP replies, or anything in IP.
fn sent(host: &mut Host, kind: impl Fn(&[u8]) -> bool) -> usize {
    std::mem::take(&mut host.shell.out).iter().filter(|(frame, _)| kind(frame)).count()
}

fn arp_reply(frame: &[u8]) -> bool {
    frame[12..14] == [8, 6] && frame[21] == 2
}

fn ping() -> Vec<u8> {
    let repr = Icmpv4Repr::EchoRequest { ident: 1, seq_no: 2, data: b"hello" };
    let mut frame = vec![0; 14 + 20 + repr.buffer_len()];
    EthernetRepr { src_addr: mac(9), dst_addr: mac(1), ethertype: EthernetProtocol::Ipv4 }
        .emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
    let ip = Ipv4Repr {
        src_addr: SERVER,
        dst_addr: OURS,
        next_header: IpProtocol::Icmp,
        payload_len: repr.buffer_len(),
        hop_limit: 64,
    };
    let caps = smoltcp::phy::ChecksumCapabilities::default();
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[14..]), &caps);
    repr.emit(&mut Icmpv4Packet::new_unchecked(&mut frame[34..]), &caps);
    frame
}

/// How many ARP and echo requests a host answers.
fn answers(host: &mut Host, now: Micros) -> (usize, usize) {
    host.shell.out.clear();
    let frame = arp_from(mac(9), SERVER, OURS);
    host.enter(now, |stack, shell| stack.on_frame(now, &frame, RxInfo::default(), shell));
    let arp = sent(host, arp_reply);
    host.enter(now, |stack, shell| stack.on_frame(now, &ping(), RxInfo::default(), shell));
    (arp, sent(host, |frame| frame[12..14] == [8, 0] && frame[23] == 1))
}

/// Two instances as `address::host`: the first with a lease and the role, the second a guest at its address.
fn pair() -> (Host, Host) {
    let (mut old, mut new) = (host(), host());
    bind(&mut old, Micros(0));
    pass(&mut old, Micros::from_secs(10));
    new.stack = hic_net::Stack::new(super::address::config());
    new.shell = crate::sim::shell::Shell::new(6);
    let record = old.shell.interface().unwrap();
    new.enter(Micros(1), |stack, shell| stack.set_address_from(Micros(1), &record, shell));
    (old, new)
}

#[test]
fn only_the_holder_answers_and_the_lease_is_renewed_by_whoever_that_is() {
    let (mut old, mut new) = pair();
    let now = Micros::from_secs(60);
    assert_eq!(address(&new), Some(OURS));
    assert_eq!((answers(&mut old, now), answers(&mut new, now)), ((1, 1), (0, 0)));
    assert_eq!(new.stack.counters().role_elsewhere, 2);

    // The renewal falls due while nobody has the role.
    old.enter(now, |stack, shell| stack.release_role(shell));
    pass(&mut old, Micros::from_secs(1800));
    assert_eq!(answers(&mut old, now), (0, 0));
    let record = old.shell.interface().unwrap();
    assert_eq!((record.role, old.stack.role()), (Role::Guest, Role::Guest));
    messages(&mut new);
    let now = Micros::from_secs(1801);
    new.enter(now, |stack, shell| stack.take_role(now, &record, shell));
    pass(&mut new, now);
    let announced = |frame: &[u8]| frame[12..14] == [8, 6] && frame[28..32] == frame[38..42];
    assert_eq!(sent(&mut new, announced), 0);
    // The server's station is not known any more: the request waits for ARP.
    let arp = arp_from(mac(9), SERVER, OURS);
    new.enter(now, |stack, shell| stack.on_frame(now, &arp, RxInfo::default(), shell));
    let (kind, transaction, to) = messages(&mut new)[0];
    assert_eq!((kind, to), (DhcpMessageType::Request, SERVER));
    answer(&mut new, now, DhcpMessageType::Ack, transaction);
    assert_eq!(new.stack.interface().lease.unwrap().expires_at, Micros::from_secs(1801 + 3600));
    assert_eq!(answers(&mut new, now), (1, 1));
    pass(&mut old, Micros::from_secs(4000));
    assert_eq!((address(&old), messages(&mut old).len()), (Some(OURS), 0), "the guest asks nobody");
}

#[test]
fn an_aborted_move_of_the_role_and_restarts_of_both_sides_keep_it_in_one_place() {
    let (mut old, mut new) = pair();
    let now = Micros::from_secs(60);
    old.enter(now, |stack, shell| stack.release_role(shell));
    let record = old.shell.interface().unwrap();
    old.enter(now, |stack, shell| stack.take_role(now, &record, shell));
    for host in [&mut old, &mut new] {
        host.shell.die_in.set(Some(0));
        host.enter(now, |_, _| ());
    }
    assert_eq!((answers(&mut old, now), answers(&mut new, now)), ((1, 1), (0, 0)));
    assert_eq!([old.stack.role(), new.stack.role()], [Role::Holder, Role::Guest]);
}

#[test]
fn paths_and_identifications_go_with_the_record() {
    let (old, mut new) = pair();
    let now = Micros::from_secs(60);
    let path =
        |mtu, expires_at| PathMtu { destination: SERVER, mtu, expires_at: Micros::from_secs(expires_at) };
    let mut record: InterfaceRecord = old.shell.interface().unwrap();
    record.paths[3] = Some(path(900, 300));
    record.paths[4] = Some(PathMtu { destination: OURS, ..path(800, 30) });
    record.ident_reserved = 700;
    new.enter(now, |stack, shell| stack.take_role(now, &record, shell));
    let taken = new.stack.interface_record();
    assert_eq!(taken.paths.iter().flatten().count(), 1, "what expired is left out");
    assert_eq!((taken.ident_reserved, taken.role), (700, Role::Holder));
    record.paths[3] = Some(path(1000, 200));
    record.ident_reserved = 600;
    new.enter(now, |stack, shell| stack.take_role(now, &record, shell));
    let taken = new.stack.interface_record();
    assert_eq!(taken.paths.iter().flatten().next(), Some(&path(900, 300)), "the later word counts");
    assert_eq!(taken.ident_reserved, 700, "numbers are not used again");
    assert_eq!(address(&old), address(&new));
}

#[test]
fn a_guest_that_hears_of_another_address_ends_the_connections_of_the_old_one() {
    let mut world = Twins::new(config(1), config(2), 9, Faults::default());
    let mut server = EchoServer::on(&mut world, 0, 7, 4096);
    server.lenient = true;
    let client = Client::from(&mut world, 1, SocketAddrV4::new(A, 7), 1_000_000, 4096);
    world.run_for(Micros::from_millis(20));
    let batch = world.begin(0, &[Socket::Connection(client.id)], true);
    world.finish(batch, Outcome::Complete);
    let (now, mut record) = (world.now, world.twins[0].shell.interface().unwrap());
    let new = record.address.as_mut().unwrap();
    assert_eq!(new.address, B);
    new.address = Ipv4Address::new(10, 0, 0, 77);
    world.twin(1, |stack, shell| stack.set_address_from(now, &record, shell));
    let error = world.twins[1].stack.connection(client.id).unwrap().error;
    assert_eq!(error, Some(hic_netapi::NetError::Unreachable));
}

#[test]
fn a_moved_connection_needs_no_question_about_its_neighbour() {
    let mut world = Twins::new(config(1), config(2), 10, Faults::default());
    let mut server = EchoServer::on(&mut world, 0, 7, 4096);
    let mut client = Client::from(&mut world, 1, SocketAddrV4::new(A, 7), 30_000, 4096);
    world.run_for(Micros::from_millis(20));
    world.introduce(1);
    let batch = world.begin(0, &[Socket::Connection(client.id)], true);
    world.finish(batch, Outcome::Complete);
    while !client.done {
        assert!(world.step(Micros::from_secs(100)));
        server.run(&mut world);
        if !world.take_woken(1).is_empty() {
            client.run(&mut world);
        }
    }
    assert!(client.complete());
    let counters = world.twins[1].stack.counters();
    assert_eq!(counters.frames_out, counters.tcp_out, "segments only");
}
