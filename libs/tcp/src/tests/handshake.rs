//! Opening: RFC 9293 3.5, RFC 7323 2, RFC 5961 4.

use super::harness::*;
use crate::segment::Timestamp;
use crate::*;

fn bare(seq: Seq, ack: Option<Seq>, flags: Flags) -> Segment<'static> {
    let flags = if ack.is_some() { flags | Flags::ACK } else { flags };
    Segment { seq, ack, flags, window: 1000, ..Segment::default() }
}

#[test]
fn both_sides_are_established_and_agree_on_options() {
    let mut now = Micros(0);
    let hosts = pair(Config { rx_capacity: 1 << 20, ..Config::default() }, &mut now);
    for host in &hosts {
        assert_eq!(host.conn.state(), State::Established);
        let options = host.conn.r.options;
        assert!(options.sack && options.timestamps);
        assert_eq!((options.snd_shift, options.rcv_shift), (5, 5));
        assert_eq!(host.conn.r.cc.cwnd, 14480);
    }
    assert!(hosts[1].conn.r.snd.wnd > 1_000_000);
}

#[test]
fn options_that_one_side_lacks_are_not_used() {
    let mut now = Micros(0);
    let mut client = connect(plain());
    let syn = client.drain(now).remove(0);
    let server = Connection::accept(SERVER, Config::default(), Seq(1), 0, &syn.segment(), now).unwrap();
    let mut hosts = [client, Host::new(server)];
    settle(&mut hosts, &mut now, Micros::from_secs(1));
    let options = hosts[1].conn.r.options;
    assert_eq!(hosts[1].conn.state(), State::Established);
    assert!(!options.sack && !options.timestamps);
    assert_eq!((options.snd_shift, options.rcv_shift), (0, 0));
}

#[test]
fn simultaneous_open_ends_established() {
    let now = Micros(0);
    let mut a = connect(Config::default());
    let mut b = Host::new(Connection::connect(SERVER, Config::default(), Seq(9), 3, now).unwrap());
    let (syn_a, syn_b) = (a.drain(now).remove(0), b.drain(now).remove(0));
    a.receive(now, &syn_b.segment());
    b.receive(now, &syn_a.segment());
    assert_eq!(a.conn.state(), State::SynReceived { passive: false });
    let mut hosts = [a, b];
    let mut clock = now;
    settle(&mut hosts, &mut clock, Micros::from_millis(500));
    assert_eq!(hosts[0].conn.state(), State::Established);
    assert_eq!(hosts[1].conn.state(), State::Established);
}

#[test]
fn a_lost_syn_is_sent_again_and_costs_the_initial_window() {
    let mut host = connect(plain());
    host.drain(Micros(0));
    assert_eq!(host.conn.deadline(), Some(Micros::from_secs(1)));
    host.tick(Micros::from_secs(1));
    let again = host.drain(Micros::from_secs(1)).remove(0);
    assert_eq!((again.out.seq, again.out.flags), (OURS, Flags::SYN));
    let now = Micros::from_secs(2);
    host.receive(now, &bare(PEER, Some(OURS.add(1)), Flags::SYN));
    assert_eq!(host.conn.r.cc.cwnd, host.conn.smss());
    assert_eq!(host.conn.r.rto.rto, crate::rto::AFTER_LOST_SYN);
}

#[test]
fn a_peer_that_never_answers_a_syn_times_out() {
    let mut host = connect(plain());
    host.drain(Micros(0));
    while let Some(at) = host.conn.deadline() {
        host.tick(at);
        host.drain(at);
    }
    assert!(host.seen.contains(Events::TIMED_OUT | Events::CLOSED));
    assert_eq!(host.conn.state(), State::Closed(CloseReason::TimedOut));
    assert_eq!(host.conn.record().stats().retransmitted, 6);
}

#[test]
fn a_reset_that_answers_our_syn_refuses_the_connection() {
    let mut host = connect(plain());
    host.drain(Micros(0));
    let blind = bare(Seq(0), Some(OURS.add(2)), Flags::RST);
    assert_eq!(host.receive(Micros(1), &blind), Events::DROPPED);
    let real = bare(Seq(0), Some(OURS.add(1)), Flags::RST);
    assert!(host.receive(Micros(1), &real).contains(Events::RESET | Events::CLOSED));
    assert_eq!(host.conn.state(), State::Closed(CloseReason::Refused));
}

#[test]
fn an_old_acknowledgement_in_syn_sent_is_reset_and_the_connection_lives() {
    let mut host = connect(plain());
    host.drain(Micros(0));
    let stale = bare(Seq(1), Some(OURS.add(500)), Flags::empty());
    assert!(host.receive(Micros(1), &stale).contains(Events::SEND_RESET));
    let reset = reset_for(&stale).unwrap();
    assert_eq!((reset.seq, reset.ack, reset.flags), (OURS.add(500), None, Flags::RST));
    assert_eq!(host.conn.state(), State::SynSent);
}

#[test]
fn a_repeated_syn_gets_the_syn_ack_again() {
    let syn = bare(PEER, None, Flags::SYN);
    let mut host = Host::new(Connection::accept(SERVER, plain(), OURS, 0, &syn, Micros(0)).unwrap());
    let first = host.drain(Micros(0));
    host.receive(Micros(10), &syn);
    let second = host.drain(Micros(10));
    assert_eq!(first, second);
    assert_eq!(first[0].out.flags, Flags::SYN | Flags::ACK);
}

#[test]
fn only_a_plain_syn_is_accepted() {
    for flags in [Flags::ACK, Flags::RST, Flags::FIN, Flags::SYN | Flags::FIN, Flags::SYN | Flags::RST] {
        let segment = bare(PEER, None, flags);
        let refused = Connection::accept(SERVER, plain(), OURS, 0, &segment, Micros(0));
        assert_eq!(refused, Err(OpenError::NotSyn));
    }
    let bad = Config { mss: 10, ..plain() };
    let refused = Connection::connect(CLIENT, bad, OURS, 0, Micros(0));
    assert_eq!(refused, Err(OpenError::Config(ConfigError::Mss(10))));
}

#[test]
fn a_tiny_mss_is_raised_to_the_floor() {
    let mut syn = bare(PEER, None, Flags::SYN);
    syn.options.mss = Some(1);
    let host = Connection::accept(SERVER, plain(), OURS, 0, &syn, Micros(0)).unwrap();
    assert_eq!(host.smss(), u32::from(config::MIN_MSS));
}

#[test]
fn a_wrong_acknowledgement_in_syn_received_is_reset() {
    let syn = bare(PEER, None, Flags::SYN);
    let mut host = Host::new(Connection::accept(SERVER, plain(), OURS, 0, &syn, Micros(0)).unwrap());
    host.drain(Micros(0));
    assert!(host.receive(Micros(1), &from_peer(0, 9, &[])).contains(Events::SEND_RESET));
    assert_eq!(host.conn.state(), State::SynReceived { passive: true });
    assert!(
        host.receive(Micros(1), &from_peer(0, 0, b"hi")).contains(Events::ESTABLISHED | Events::READABLE)
    );
    assert_eq!(host.rx.0, b"hi");
}

#[test]
fn what_was_written_and_closed_before_the_handshake_follows_it() {
    let mut now = Micros(0);
    let mut client = connect(Config::default());
    client.write(b"early");
    client.conn.app_closed();
    let syn = client.drain(now).remove(0);
    let server = Connection::accept(SERVER, Config::default(), Seq(1), 0, &syn.segment(), now).unwrap();
    let mut hosts = [client, Host::new(server)];
    settle(&mut hosts, &mut now, Micros::from_secs(1));
    assert_eq!(hosts[1].rx.0, b"early");
    assert!(hosts[1].conn.rx_finished());
    assert_eq!((hosts[0].conn.state(), hosts[1].conn.state()), (State::FinWait2, State::CloseWait));
}

#[test]
fn a_syn_in_an_open_connection_gets_a_challenge_and_changes_nothing() {
    let mut host = established(plain(), Options::default(), 1000);
    let events = host.receive(Micros(2000), &bare(PEER.add(50), None, Flags::SYN));
    assert_eq!(events, Events::DROPPED);
    let answer = host.drain(Micros(2000));
    assert_eq!(answer.len(), 1);
    assert_eq!((answer[0].out.seq, answer[0].out.ack), (OURS.add(1), Some(PEER.add(1))));
    assert_eq!(host.conn.state(), State::Established);
}

#[test]
fn a_window_scale_above_14_counts_as_14() {
    let options = Options { window_scale: Some(200), ..Options::default() };
    let host = established(Config::default(), options, 1000);
    assert_eq!(host.conn.r.options.snd_shift, 14);
    // The window on the SYN itself is not scaled.
    assert_eq!(host.conn.r.snd.wnd, 1000);
}

#[test]
fn timestamps_echo_the_peers_clock_and_start_at_the_secret_offset() {
    let options = Options { timestamp: Some(Timestamp { value: 1234, echo: 7 }), ..Options::default() };
    let mut host = established(Config::default(), options, 1000);
    host.write(&[1; 10]);
    let packet = host.drain(Micros::from_millis(3)).remove(0);
    assert_eq!(packet.out.options.timestamp, Some(Timestamp { value: 10, echo: 1234 }));
}
