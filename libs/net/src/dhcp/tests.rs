//! The client against a server of a few lines, and against nonsense.

use super::*;
use proptest::prelude::*;
use smoltcp::wire::EthernetAddress;

const OURS: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
const SERVER: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
const fn secs(n: u64) -> Micros {
    Micros::from_secs(n)
}

fn answer(client: &Client, kind: Kind) -> ServerMessage {
    ServerMessage {
        kind,
        transaction: client.transaction,
        your_address: OURS,
        server: Some(SERVER),
        prefix_len: 24,
        router: Some(SERVER),
        dns: [SERVER, Ipv4Address::UNSPECIFIED],
        lease_seconds: 3600,
        renew_seconds: None,
        rebind_seconds: None,
    }
}

fn sent(actions: &[Action]) -> Vec<(Kind, Option<Ipv4Address>)> {
    let message = |action: &Action| match action {
        Action::Send(out) => Some((out.kind, out.unicast)),
        _ => None,
    };
    actions.iter().filter_map(message).collect()
}

fn bound() -> Client {
    let mut client = Client::new(Some(secs(0)));
    assert_eq!(sent(&client.on_timer(secs(0), 77)), [(Kind::Discover, None)]);
    assert_eq!(sent(&client.on_message(secs(0), 78, &answer(&client, Kind::Offer))), [(Kind::Request, None)]);
    let actions = client.on_message(secs(0), 79, &answer(&client, Kind::Ack));
    assert!(matches!(actions[..], [Action::Bound(lease)] if lease.expires_at == secs(3600)));
    client
}

#[test]
fn discovery_is_repeated_with_growing_pauses() {
    let mut client = Client::new(Some(secs(0)));
    let mut times = Vec::new();
    for _ in 0..7 {
        let now = client.deadline().unwrap();
        assert_eq!(sent(&client.on_timer(now, u64::from(u32::MAX) << 32)), [(Kind::Discover, None)]);
        times.push(client.deadline().unwrap().since(now).0 / 1_000_000);
    }
    for (pause, base) in times.iter().zip([4, 8, 16, 32, 64, 64, 64]) {
        assert!((base - 1..=base).contains(pause), "{times:?}");
    }
}

#[test]
fn a_lease_is_renewed_at_t1_with_its_server_and_at_t2_with_any() {
    let mut client = bound();
    assert_eq!(client.deadline(), Some(secs(1800)));
    assert_eq!(sent(&client.on_timer(secs(1800), 5)), [(Kind::Request, Some(SERVER))]);
    let t2 = secs(3150);
    assert_eq!(sent(&client.on_timer(t2, 6)), [(Kind::Request, None)]);
    let actions = client.on_message(t2, 7, &answer(&client, Kind::Ack));
    assert!(matches!(actions[..], [Action::Bound(lease)] if lease.expires_at == secs(3150 + 3600)));
}

#[test]
fn no_server_has_us_renew_without_end() {
    let mut client = bound();
    client.on_timer(secs(1800), 5);
    let (lease_seconds, renew_seconds, rebind_seconds) = (1, Some(0), Some(0));
    let message =
        ServerMessage { lease_seconds, renew_seconds, rebind_seconds, ..answer(&client, Kind::Ack) };
    client.on_message(secs(1800), 6, &message);
    assert_eq!(client.deadline(), Some(secs(1805)));
}

#[test]
fn an_expired_lease_is_lost_and_discovery_begins_again() {
    let mut client = bound();
    let actions = client.on_timer(secs(3600), 9);
    assert_eq!(actions.first(), Some(&Action::Lost));
    assert_eq!(sent(&actions), [(Kind::Discover, None)]);
    assert_eq!(client.lease(), None);
}

#[test]
fn a_refusal_starts_over_after_a_pause() {
    let mut client = Client::new(Some(secs(0)));
    client.on_timer(secs(0), 1);
    client.on_message(secs(0), 1, &answer(&client, Kind::Offer));
    assert!(client.on_message(secs(1), 1, &answer(&client, Kind::Nak)).is_empty());
    assert_eq!(client.deadline(), Some(secs(11)));
}

#[test]
fn an_unasked_acknowledgement_or_refusal_changes_nothing() {
    let mut client = bound();
    for kind in [Kind::Ack, Kind::Nak, Kind::Offer] {
        assert!(client.on_message(secs(5), 1, &answer(&client, kind)).is_empty());
    }
    client.on_timer(secs(1800), 5);
    let foreign = ServerMessage { transaction: 6, ..answer(&client, Kind::Nak) };
    assert!(client.on_message(secs(1800), 1, &foreign).is_empty());
}

#[test]
fn a_conflict_declines_the_address() {
    let mut client = bound();
    let actions = client.conflict(secs(2));
    assert_eq!(sent(&actions), [(Kind::Decline, None)]);
    assert_eq!((actions.last(), client.deadline()), (Some(&Action::Lost), Some(secs(12))));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..600), patch: bool) {
        if patch && bytes.len() > 240 {
            bytes[..4].copy_from_slice(&[2, 1, 6, 0]);
            bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
            bytes[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
            bytes.splice(240..240, [53, 1, 5]);
        }
        let _ = parse(&bytes, EthernetAddress([2, 0, 0, 0, 0, 1]));
    }

    #[test]
    fn any_server_messages_at_any_time_keep_the_lease_in_order(
        steps in prop::collection::vec((0u64..5000, 0u8..3, any::<u32>(), any::<Option<u32>>(), any::<Option<u32>>()), 1..60)
    ) {
        let mut client = Client::new(Some(secs(0)));
        let mut now = secs(0);
        for (pause, kind, lease_seconds, renew_seconds, rebind_seconds) in steps {
            now = now.after(secs(pause));
            client.on_timer(now, pause);
            let kind = [Kind::Offer, Kind::Ack, Kind::Nak][usize::from(kind)];
            let message = ServerMessage { lease_seconds, renew_seconds, rebind_seconds, ..answer(&client, kind) };
            client.on_message(now, 1, &message);
            if let Some(lease) = client.lease() {
                prop_assert!(lease.renew_at <= lease.rebind_at && lease.rebind_at <= lease.expires_at);
            }
        }
    }
}
