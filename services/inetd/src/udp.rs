//! One answer to each datagram. There is no state: nobody can make us remember anything.
//!
//! An answer goes only to source ports from 1024 on: two machines with these services could otherwise be made to talk to
//! each other for ever by one forged datagram (the reason why RFC 862 services are off elsewhere).

use crate::{Protocol, chargen, daytime};
use hic_netclient::AppSide;

/// Longest datagram that is echoed: half of the ring, so that one datagram cannot fill it. A longer one is dropped, never cut.
pub const MAX_ECHO: usize = 16 * 1024;
/// Characters of a chargen datagram: a random length below 512 in RFC 864, one whole number of lines here.
const CHARGEN: usize = 6 * 74;
/// Source ports below are those of services.
const FIRST_CLIENT_PORT: u16 = 1024;
/// Datagrams answered before connections have their turn.
const BATCH: usize = 32;

/// Answers what waits; what cannot be sent now is dropped, as UDP allows.
pub fn answer(protocol: Protocol, side: &mut AppSide, unix_seconds: u64) {
    let mut buffer = [0; MAX_ECHO];
    for _ in 0..BATCH {
        let Some((remote, len)) = side.recv_from(&mut buffer) else { return };
        if remote.port() < FIRST_CLIENT_PORT {
            continue;
        }
        // A full ring drops the answer; the next datagram finds it emptier.
        let _ = match protocol {
            Protocol::Echo => match buffer.get(..len) {
                Some(datagram) => side.send_to(remote, datagram),
                None => Ok(()),
            },
            Protocol::Discard => Ok(()),
            Protocol::Daytime => side.send_to(remote, daytime::line(unix_seconds).as_bytes()),
            Protocol::Chargen => {
                let mut text = [0; CHARGEN];
                chargen::fill(0, &mut text);
                side.send_to(remote, &text)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Pair, peer};

    #[test]
    fn echo_answers_each_datagram_to_its_sender() {
        let mut pair = Pair::udp(8192);
        pair.datagram(peer(5000), b"one");
        pair.datagram(peer(5001), b"");
        answer(Protocol::Echo, &mut pair.app, 0);
        assert_eq!(pair.sent_datagrams(), [(peer(5000), b"one".to_vec()), (peer(5001), std::vec![])]);
    }

    #[test]
    fn a_datagram_of_several_frames_is_echoed_whole() {
        let mut pair = Pair::udp(32 * 1024);
        let long = std::vec![7; 4000];
        pair.datagram(peer(5000), &long);
        answer(Protocol::Echo, &mut pair.app, 0);
        assert_eq!(pair.sent_datagrams(), [(peer(5000), long)]);
    }

    #[test]
    fn services_on_low_ports_get_no_answer() {
        let mut pair = Pair::udp(8192);
        pair.datagram(peer(7), b"loop");
        for protocol in Protocol::ALL {
            answer(protocol, &mut pair.app, 0);
        }
        assert_eq!(pair.sent_datagrams(), []);
    }

    #[test]
    fn daytime_and_chargen_answer_anything_with_their_text() {
        let mut pair = Pair::udp(8192);
        pair.datagram(peer(5000), b"?");
        answer(Protocol::Daytime, &mut pair.app, 0);
        pair.datagram(peer(5000), b"?");
        answer(Protocol::Chargen, &mut pair.app, 0);
        let sent = pair.sent_datagrams();
        assert_eq!(sent[0].1, b"Thursday, January 1, 1970 00:00:00-UTC\r\n");
        assert_eq!((sent[1].1.len(), &sent[1].1[..3]), (CHARGEN, &b" !\""[..]));
    }
}
