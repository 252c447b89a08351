//! Sessions from their first line on.

use super::*;
use crate::testing::{Pair, peer};
use hic_abi::Error;
use std::string::String;
use std::vec::Vec;

const RING: u32 = 16 * 1024;
const NOW: Nanos = 1_000_000;

fn said(pair: &mut Pair) -> String {
    String::from_utf8(pair.take_sent(usize::MAX)).unwrap()
}

/// A session that was told to connect and asks for it.
fn dialing(near: &mut Pair) -> Session {
    let mut session = Session::ordering(NOW);
    near.receive(b"connect 10.0.2.2:4000\nhello");
    assert_eq!(session.step(&mut near.app, None, NOW), Next::Dial(peer(4000)));
    session
}

#[test]
fn connect_dials_waits_for_the_handshake_and_relays_what_follows_the_line() {
    let (mut near, mut far) = (Pair::tcp(RING), Pair::tcp(RING));
    let mut session = dialing(&mut near);
    session.dialed(Ok(()), &mut near.app, NOW);
    let Next::Wait { far: Some(sleep), .. } = session.step(&mut near.app, Some(&mut far.app), NOW) else {
        panic!("{session:?}")
    };
    assert_eq!((sleep.want, far.take_sent(10)), (Want::ESTABLISHED, Vec::new()));
    far.establish();
    session.step(&mut near.app, Some(&mut far.app), NOW);
    assert_eq!(said(&mut far), "hello");
    far.receive(b"welcome");
    session.step(&mut near.app, Some(&mut far.app), NOW);
    assert_eq!(said(&mut near), "welcome");
}

#[test]
fn a_stack_that_is_away_is_asked_again_for_a_while() {
    let mut near = Pair::tcp(RING);
    let mut session = dialing(&mut near);
    let away = Err(SocketError::Kernel { step: "call", error: Error::Timeout });
    session.dialed(away, &mut near.app, NOW);
    let Next::Wait { deadline, .. } = session.step(&mut near.app, None, NOW) else { panic!("{session:?}") };
    assert_eq!(deadline, NOW + DIAL_AGAIN);
    assert_eq!(session.step(&mut near.app, None, deadline), Next::Dial(peer(4000)));
    session.dialed(away, &mut near.app, NOW + DIAL_LIMIT);
    assert!(said(&mut near).starts_with("error: "));
}

#[test]
fn a_connection_that_cannot_be_made_is_told_and_the_stream_ends() {
    let mut near = Pair::tcp(RING);
    let mut session = dialing(&mut near);
    session.dialed(Err(SocketError::Refused(NetError::TableFull)), &mut near.app, NOW);
    assert_eq!(said(&mut near), "error: refused by the stack: a table of the stack is full\n");

    let (mut near, mut far) = (Pair::tcp(RING), Pair::tcp(RING));
    let mut session = dialing(&mut near);
    session.dialed(Ok(()), &mut near.app, NOW);
    far.fail(NetError::Refused);
    session.step(&mut near.app, Some(&mut far.app), NOW);
    assert_eq!(said(&mut near), "error: connection refused by the other end\n");
    assert!(near.tx_closed());
}

#[test]
fn one_that_breaks_right_after_its_handshake_is_reset_and_nothing_is_said() {
    let (mut near, mut far) = (Pair::tcp(RING), Pair::tcp(RING));
    let mut session = dialing(&mut near);
    session.dialed(Ok(()), &mut near.app, NOW);
    far.establish();
    far.fail(NetError::Reset);
    assert_eq!(session.step(&mut near.app, Some(&mut far.app), NOW), Next::Abort);
    assert_eq!(said(&mut near), "");
}

#[test]
fn accept_opens_the_queue_says_ok_and_ends() {
    let mut near = Pair::tcp(RING);
    let mut session = Session::ordering(NOW);
    near.receive(b"accept\n");
    assert_eq!(session.step(&mut near.app, None, NOW), Next::OpenQueue);
    assert!(matches!(session.step(&mut near.app, None, NOW), Next::Wait { .. }));
    assert_eq!((said(&mut near).as_str(), near.tx_closed()), ("ok\n", true));
    near.close_rx();
    assert_eq!(session.step(&mut near.app, None, NOW), Next::Over);
}

#[test]
fn a_bad_line_is_answered_with_an_error_and_the_rest_is_read_until_the_client_closes() {
    for line in ["hello\n", "connect nowhere\n", &"x".repeat(65)] {
        let mut near = Pair::tcp(RING);
        let mut session = Session::ordering(NOW);
        near.receive(line.as_bytes());
        assert!(matches!(session.step(&mut near.app, None, NOW), Next::Wait { .. }));
        let answer = said(&mut near);
        assert!(answer.starts_with("error: ") && answer.ends_with('\n'), "{answer:?}");
        assert!(near.tx_closed());
        near.receive(&[0; 1000]);
        session.step(&mut near.app, None, NOW);
        assert_eq!(near.app.readable(), 0);
        near.close_rx();
        assert_eq!(session.step(&mut near.app, None, NOW), Next::Over);
    }
}

#[test]
fn half_a_line_is_waited_for_without_turning_in_circles_but_not_for_ever() {
    let mut near = Pair::tcp(RING);
    let mut session = Session::ordering(NOW);
    near.receive(b"conn");
    let Next::Wait { near: Some(sleep), deadline, .. } = session.step(&mut near.app, None, NOW) else {
        panic!("{session:?}")
    };
    assert_eq!((sleep.read_low, deadline), (5, NOW + LINE_LIMIT));
    assert!(near.app.sleep_until(sleep.want, sleep.read_low, sleep.write_low));
    session.step(&mut near.app, None, deadline);
    assert_eq!(said(&mut near), "error: no line came in time\n");
}

#[test]
fn who_does_not_close_after_our_last_words_is_waited_for_so_long_and_no_longer() {
    let mut near = Pair::tcp(RING);
    let mut session = Session::ordering(NOW);
    near.receive(b"?\n");
    let Next::Wait { deadline, .. } = session.step(&mut near.app, None, NOW) else { panic!("{session:?}") };
    assert_eq!(deadline, NOW + LINGER);
    assert_eq!(session.step(&mut near.app, None, deadline), Next::Over);
}

#[test]
fn a_client_that_breaks_takes_the_other_connection_with_it() {
    let (mut near, mut far) = (Pair::tcp(RING), Pair::tcp(RING));
    let mut session = dialing(&mut near);
    session.dialed(Ok(()), &mut near.app, NOW);
    near.fail(NetError::Reset);
    assert_eq!(session.step(&mut near.app, Some(&mut far.app), NOW), Next::Abort);
}

#[test]
fn the_queue_echoes_every_byte_and_ends_after_the_last() {
    let mut near = Pair::tcp(4096);
    let mut session = Session::echo();
    let data: Vec<u8> = (0..10_000_u32).map(|n| (n * 7) as u8).collect();
    let (mut fed, mut back) = (0, Vec::new());
    while back.len() < data.len() {
        fed += near.receive_some(&data[fed..]);
        session.step(&mut near.app, None, NOW);
        back.extend(near.take_sent(700));
    }
    assert_eq!(back, data);
    near.close_rx();
    assert_eq!(session.step(&mut near.app, None, NOW), Next::Over);
    assert!(near.tx_closed());
}
