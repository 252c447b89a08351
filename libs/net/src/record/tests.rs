//! Records survive their encoding, and everything else is refused without a panic.

use super::*;
use crate::Id;
use hic_netapi::message::sequence::CommandSlot;
use hic_netapi::region::Indices;
use hic_netapi::{Layout, NetError, RegionKind};
use hic_tcp::{Config, Connection, Seq, Tuple};
use proptest::prelude::*;

fn address() -> Address {
    Address {
        address: Ipv4Address::new(10, 0, 2, 15),
        prefix_len: 24,
        gateway: Some(Ipv4Address::new(10, 0, 2, 2)),
        dns: [Ipv4Address::new(10, 0, 2, 3), Ipv4Address::UNSPECIFIED],
    }
}

fn interface() -> InterfaceRecord {
    let path = PathMtu { destination: Ipv4Address::new(1, 1, 1, 1), mtu: 1400, expires_at: Micros(5) };
    let lease = Lease {
        address: address(),
        server: Ipv4Address::new(10, 0, 2, 2),
        renew_at: Micros(1),
        rebind_at: Micros(2),
        expires_at: Micros(3),
    };
    InterfaceRecord {
        address: Some(address()),
        lease: Some(lease),
        ident_reserved: 512,
        paths: [Some(path); MAX_PATHS],
        role: Role::Guest,
    }
}

fn origin() -> Origin {
    Origin { badge: 7, seq: 3 }
}

fn commands() -> CommandSlot {
    CommandSlot { last: 4, label: 1, words: [1, 2, 3, 4] }
}

#[test]
fn records_survive_their_encoding() {
    let mut out = [0; MAX_RECORD];
    let len = interface().encode(&mut out);
    assert_eq!(InterfaceRecord::decode(&out[..len]), Ok(interface()));

    let layout = Layout::new(RegionKind::Tcp, 65536, 4096).unwrap();
    let listener = ListenerRecord { port: 80, backlog: 16, layout, origin: origin(), commands: commands() };
    let len = listener.encode(&mut out);
    assert_eq!(ListenerRecord::decode(&out[..len]), Ok(listener));

    let layout = Layout::new(RegionKind::Udp, 8192, 8192).unwrap();
    let indices = Indices { tx_acked: 1, tx_seen: 2, rx_written: 9, rx_consumed: 8 };
    let udp = UdpRecord { port: 53, layout, indices, origin: origin(), commands: commands() };
    let len = udp.encode(&mut out);
    assert_eq!(UdpRecord::decode(&out[..len]), Ok(udp));
}

#[test]
fn a_connection_record_survives_its_encoding() {
    let tuple =
        Tuple { local_addr: [10, 0, 0, 1], local_port: 80, remote_addr: [10, 0, 0, 2], remote_port: 99 };
    let connection = Connection::connect(tuple, Config::default(), Seq(5), 6, Micros(7)).unwrap();
    let record = ConnectionRecord {
        tcp: *connection.record(),
        stage: Stage::Queued(Id(3)),
        layout: Layout::new(RegionKind::Tcp, 65536, 65536).unwrap(),
        has_region: true,
        error: Some(NetError::Refused),
        origin: origin(),
        commands: commands(),
        ticket: 11,
        opened_at: Micros(12),
    };
    let mut out = [0; MAX_RECORD];
    let len = record.encode(&mut out);
    assert_eq!(ConnectionRecord::decode(&out[..len]), Ok(record));
}

#[test]
fn a_record_with_a_longer_body_is_read_and_one_for_newer_readers_is_refused() {
    let mut out = [0; MAX_RECORD];
    let len = interface().encode(&mut out);
    let mut newer = out[..len].to_vec();
    newer.extend_from_slice(b"extension");
    let body_len = (len - 16 + 9) as u32;
    newer[8..12].copy_from_slice(&body_len.to_le_bytes());
    let sum = crc32fast::hash(&newer[16..]);
    newer[12..16].copy_from_slice(&sum.to_le_bytes());
    newer[4] = 2;
    assert_eq!(InterfaceRecord::decode(&newer), Ok(interface()));
    newer[6] = 2;
    assert_eq!(InterfaceRecord::decode(&newer), Err(RecordError::Schema { schema: 2, readable_by: 2 }));
}

#[test]
fn a_record_from_before_a_field_was_added_is_read_without_it() {
    let mut out = [0; MAX_RECORD];
    let len = interface().encode(&mut out);
    let mut older = out[..len - 1].to_vec();
    let body_len = (len - 16 - 1) as u32;
    older[8..12].copy_from_slice(&body_len.to_le_bytes());
    let sum = crc32fast::hash(&older[16..]);
    older[12..16].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(InterfaceRecord::decode(&older), Ok(InterfaceRecord { role: Role::Holder, ..interface() }));
}

proptest! {
    #[test]
    fn damaged_records_are_refused(at in 0usize..200, bit in 0u8..8, cut in 0usize..200) {
        let mut out = [0; MAX_RECORD];
        let len = interface().encode(&mut out);
        let mut bytes = out[..len].to_vec();
        prop_assert!(InterfaceRecord::decode(&bytes[..cut.min(len - 1)]).is_err());
        bytes[at.min(len - 1)] ^= 1 << bit;
        // The schema number (octets 4 and 5) is information only.
        prop_assert!(InterfaceRecord::decode(&bytes).is_err() || (4..6).contains(&at) || at == 6 || at == 7);
        let _ = (ConnectionRecord::decode(&bytes), ListenerRecord::decode(&bytes), UdpRecord::decode(&bytes));
    }
}
