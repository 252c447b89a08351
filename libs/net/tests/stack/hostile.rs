//! Bytes that nobody meant well: never a panic, always a count.

use crate::packets::syn_frame;
use crate::sim::{B, Faults, Wire, layout};
use hic_net::record::Origin;
use hic_net::{Ipv4Address, Micros, RxInfo, Socket, Stack};
use hic_netapi::RegionKind;
use proptest::prelude::*;

/// Two stacks with listeners, sockets and traffic, and the frames that crossed the wire.
fn busy() -> (Wire, Vec<Vec<u8>>) {
    let mut wire = Wire::new(77, Faults::default());
    let mut frames = Vec::new();
    let now = wire.now;
    for host in 0..2 {
        let (tcp, udp) = (layout(RegionKind::Tcp, 4096), layout(RegionKind::Udp, 8192));
        let host = &mut wire.hosts[host];
        host.stack.listen(7, 8, tcp, Origin::default(), &mut host.shell).unwrap();
        host.stack.udp_bind(7, udp, Origin::default(), &mut host.shell).unwrap();
    }
    let remote = core::net::SocketAddrV4::new(crate::sim::B, 7);
    let tcp = layout(RegionKind::Tcp, 4096);
    let host = &mut wire.hosts[0];
    let id = host.stack.connect(now, remote, 0, tcp, Origin::default(), &mut host.shell).unwrap();
    for round in 0..12 {
        for (from, to) in [(0, 1), (1, 0)] {
            for (frame, _) in std::mem::take(&mut wire.hosts[from].shell.out) {
                let host = &mut wire.hosts[to];
                host.stack.on_frame(now, &frame, RxInfo::default(), &mut host.shell);
                frames.push(frame);
            }
        }
        if round == 5 {
            let host = &mut wire.hosts[0];
            let mut side = host.shell.regions[&hic_net::Socket::Connection(id)].1.app();
            side.write(&[9; 3000]);
            host.stack.conn_kicked(now, id, &mut host.shell);
        }
    }
    assert!(frames.len() > 6);
    (wire, frames)
}

#[test]
fn a_flood_of_syns_does_not_close_a_port() {
    let mut wire = Wire::new(78, Faults::default());
    let tcp = layout(RegionKind::Tcp, 4096);
    let listener = wire.enter(1, |stack, shell| stack.listen(7, 4, tcp, Origin::default(), shell)).unwrap();
    let flood = |wire: &mut Wire, numbers: std::ops::Range<u8>| {
        for number in numbers {
            let (now, frame) = (wire.now, syn_frame(Ipv4Address::new(10, 0, 0, 100 + number), 7));
            wire.enter(1, |stack, shell| stack.on_frame(now, &frame, RxInfo::default(), shell));
            wire.run_for(Micros::from_millis(800));
        }
    };
    flood(&mut wire, 0..50);
    let (now, remote) = (wire.now, core::net::SocketAddrV4::new(B, 7));
    let id =
        wire.enter(0, |stack, shell| stack.connect(now, remote, 0, tcp, Origin::default(), shell)).unwrap();
    flood(&mut wire, 50..100);
    let client = wire.hosts[0].shell.regions[&Socket::Connection(id)].1.app();
    assert!(client.status().established && client.status().error.is_none());
    wire.enter(1, |stack, shell| stack.accept(listener, Origin::default(), shell)).unwrap();
    let host = &wire.hosts[1];
    assert!(host.stack.counters().tcp_backlog_full > 50, "{:?}", host.stack.counters());
    // The listener, what was accepted, three or four that never answered: nothing is left of the others.
    assert!(host.stack.connections().count() <= 5);
    assert_eq!(host.shell.records.len(), host.stack.connections().count() + 1);
    assert_eq!(host.shell.flows.len(), host.stack.connections().count());
    let deadline = host.stack.deadline().unwrap();
    wire.run_for(Micros::from_secs(30));
    assert!(deadline < wire.now);
    assert_eq!(wire.hosts[1].stack.connections().count(), 1);
}

/// Everything that says where a frame ended.
fn outcomes(stack: &Stack) -> u64 {
    let endings = [
        "ethernet_",
        "arp_",
        "ip_malformed",
        "ip_bad",
        "ip_not",
        "ip_martian",
        "ip_unknown",
        "ip_fragments",
        "icmp_",
        "udp_",
        "tcp_",
        "dhcp_ignored",
    ];
    let ending = |name: &str| endings.iter().any(|prefix| name.starts_with(prefix));
    stack.counters().each().filter(|(name, _)| ending(name)).map(|(_, count)| count).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_counted_and_dropped(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..40)) {
        let mut wire = Wire::new(1, Faults::default());
        for mut frame in frames {
            if frame.len() > 14 {
                frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
                frame[13] = if frame[14] % 3 == 0 { 6 } else { 0 };
                frame[12] = 8;
            }
            let before = outcomes(&wire.hosts[1].stack);
            let now = wire.now;
            wire.enter(1, |stack, shell| stack.on_frame(now, &frame, RxInfo::default(), shell));
            let benign_arp = frame.len() >= 42 && frame[12..14] == [8, 6];
            prop_assert!(benign_arp || outcomes(&wire.hosts[1].stack) > before);
        }
    }

    #[test]
    fn mutated_and_truncated_frames_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), any::<Option<u8>>(), any::<bool>()), 1..60)
    ) {
        let (mut wire, frames) = busy();
        for (which, at, value, cut, valid) in edits {
            let mut frame = which.get(&frames).clone();
            let at = 14 + at.index(frame.len() - 14);
            frame[at] = value;
            if let Some(cut) = cut {
                frame.truncate(usize::from(cut));
            }
            // Repair the IP checksum half of the time, to get further in.
            if valid && frame.len() >= 34 && frame[14] == 0x45 {
                smoltcp::wire::Ipv4Packet::new_unchecked(&mut frame[14..34]).fill_checksum();
            }
            let now = wire.now;
            let info = RxInfo { checksum_valid: valid };
            for host in 0..2 {
                wire.enter(host, |stack, shell| stack.on_frame(now, &frame, info, shell));
            }
        }
        wire.run_for(Micros::from_secs(100));
    }
}
