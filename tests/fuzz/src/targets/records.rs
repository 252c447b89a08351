//! Records that outlive whoever wrote them: on the system disk, and in the state regions that a successor takes over.

use hic_net::record::{ConnectionRecord, InterfaceRecord, ListenerRecord, MAX_RECORD, UdpRecord};
use hic_store::pair::{Contents, HALF_BYTES, Half, contents, next};
use hic_store::{Defaults, MAX_RECORD_BYTES, Presence};
use hic_tcp::{RECORD_LEN, Record, Schema};

use super::assert_sentence;
use crate::input::Input;

/// Tries the bytes behind the first as a record; the first says of which kind.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.below(7) {
        0 => defaults(input.rest()),
        1 => halves(&mut input),
        2 => connection(input.rest()),
        kind => sockets(kind, input.rest()),
    }
}

fn defaults(bytes: &[u8]) {
    match Defaults::decode(bytes) {
        Ok(defaults) => {
            let mut buffer = [0; MAX_RECORD_BYTES];
            let written = defaults.encode(&mut buffer).expect("what was read can be written");
            assert_eq!(Defaults::decode(written), Ok(defaults.clone()));
            for service in &defaults.services {
                assert!(defaults.service(&service.name).is_some());
                let mut booted = defaults.clone();
                let Some(choice) = booted.begin_boot(&service.name, |_| true) else {
                    assert_eq!(service.presence, Presence::Removed, "a service that no boot starts");
                    continue;
                };
                let known = [Some(service.version), service.previous];
                assert!(known.contains(&Some(choice.version())), "a version that nobody recorded");
            }
        }
        Err(error) => assert_sentence(&error, 300),
    }
}

/// Two halves of a file of which one may be anything: the record that was there before is never lost by a write.
fn halves(input: &mut Input<'_>) {
    let (mut first, mut second) = ([0; HALF_BYTES], [0; HALF_BYTES]);
    for half in [&mut first, &mut second] {
        let piece = input.piece();
        let length = piece.len().min(HALF_BYTES);
        half[..length].copy_from_slice(&piece[..length]);
    }
    let before = contents(&first, &second);
    let mut out = [0; HALF_BYTES];
    let record = b"what is to be kept";
    let place = next(before, record, &mut out).expect("it is short");
    if let Contents::Record { half, bytes, .. } = before {
        assert!(bytes.len() <= MAX_RECORD_BYTES);
        assert_ne!(place, half, "the newest record would be written over");
    }
    let after = match place {
        Half::First => contents(&out, &second),
        Half::Second => contents(&first, &out),
    };
    assert!(matches!(after, Contents::Record { bytes, .. } if bytes == record), "{after:?}");
}

/// The record of a TCP connection, as each version of the stack reads it.
fn connection(bytes: &[u8]) {
    for reader in [Schema::V1, Schema::V2] {
        match Record::decode_as(reader, bytes) {
            Ok(record) => {
                let mut out = [0; RECORD_LEN];
                let length = record.encode(&mut out);
                assert!(length <= RECORD_LEN);
                let again = Record::decode_as(reader, &out[..length]).expect("what was read can be written");
                assert_eq!(format!("{again:?}"), format!("{record:?}"));
            }
            Err(error) => assert_sentence(&error, 200),
        }
    }
}

fn sockets(kind: usize, bytes: &[u8]) {
    let mut out = [0; MAX_RECORD];
    macro_rules! record {
        ($record:ty) => {
            match <$record>::decode(bytes) {
                Ok(record) => {
                    let length = record.encode(&mut out);
                    assert_eq!(<$record>::decode(&out[..length]), Ok(record));
                }
                Err(error) => assert_sentence(&error, 200),
            }
        };
    }
    match kind {
        3 => record!(InterfaceRecord),
        4 => record!(ListenerRecord),
        5 => record!(UdpRecord),
        _ => record!(ConnectionRecord),
    }
}

/// A record of each kind, as a stack leaves them: number of the kind, name, bytes.
#[must_use]
pub fn examples() -> Vec<(u8, &'static str, Vec<u8>)> {
    let wire = super::frames::connected();
    let shell = &wire.hosts[0].shell;
    let mut examples: Vec<_> = shell.interface.iter().map(|bytes| (3, "interface", bytes.clone())).collect();
    for (socket, bytes) in &shell.records {
        let (kind, name) = match socket {
            hic_net::Socket::Listener(_) => (4, "listener"),
            hic_net::Socket::Udp(_) => (5, "udp"),
            hic_net::Socket::Connection(_) => (6, "connection"),
        };
        examples.push((kind, name, bytes.clone()));
        if let Ok(record) = ConnectionRecord::decode(bytes) {
            let mut out = [0; RECORD_LEN];
            let length = record.tcp.encode(&mut out);
            examples.push((2, "tcp", out[..length].to_vec()));
        }
    }
    examples
}
