//! Round trips of every command and reply, and refusal of everything else.

use super::*;
use core::net::Ipv4Addr;
use proptest::prelude::*;

fn socket() -> impl Strategy<Value = SocketAddrV4> {
    (1u32.., 1u16..).prop_map(|(ip, port)| SocketAddrV4::new(Ipv4Addr::from_bits(ip), port))
}

proptest! {
    #[test]
    fn service_commands_survive_their_encoding(
        seq: u64, remote in socket(), port in 1u16.., backlog in 1u16.., size: u32, signal: u64
    ) {
        let listen =
            ServiceCommand::Listen { seq, local_port: port, backlog, buffer_size: size, signal };
        prop_assert_eq!(ServiceCommand::decode(&listen.encode()), Ok(listen));
        let connect =
            ServiceCommand::Connect { seq, remote, local_port: port, buffer_size: size, signal };
        prop_assert_eq!(ServiceCommand::decode(&connect.encode()), Ok(connect));
    }

    #[test]
    fn replies_survive_their_encoding(local in socket(), remote in socket(), len: u64, bits: u64, state: u32) {
        let opened = Opened { local, remote, region_len: len, doorbell_bits: bits };
        prop_assert_eq!(Opened::decode(&opened.encode().into_result().unwrap()), Ok(opened));
        let info = Info { local, remote, state, error: Some(NetError::Reset) };
        prop_assert_eq!(Info::decode(&info.encode().into_result().unwrap()), Ok(info));
    }

    #[test]
    fn arbitrary_messages_never_panic_and_decode_to_what_encodes_back(label in 0x1_0000u32..0x1_000a, words: [u64; 4]) {
        let message = Message { label, words };
        if let Ok(command) = ServiceCommand::decode(&message) { prop_assert_eq!(command.encode(), message); }
        if let Ok(command) = ListenerCommand::decode(&message) { prop_assert_eq!(command.encode(), message); }
        let _ = ConnectionCommand::decode(&message);
        let _ = (Opened::decode(&words), Info::decode(&words), Listening::decode(&words));
    }
}

#[test]
fn each_port_kind_refuses_the_commands_of_the_others() {
    let accept = ListenerCommand::Accept { seq: 1, signal: 2 }.encode();
    assert_eq!(ServiceCommand::decode(&accept), Err(NetError::UnknownOperation));
    assert_eq!(ConnectionCommand::decode(&accept), Err(NetError::UnknownOperation));
    let close = ConnectionCommand::Close { seq: 3 };
    assert_eq!(ConnectionCommand::decode(&close.encode()), Ok(close));
    assert_eq!(ListenerCommand::decode(&close.encode()), Err(NetError::UnknownOperation));
}

#[test]
fn an_error_reply_comes_back_as_that_error() {
    assert_eq!(Message::error(NetError::AddressInUse, 80).into_result(), Err(NetError::AddressInUse));
    assert_eq!(Message { label: 999, words: [0; 4] }.into_result(), Err(NetError::Protocol));
}
