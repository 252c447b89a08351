//! Inline bytes and capabilities in messages.

use super::invariants::check;
use super::world::{CALL, Pair, SERVE, Send, World, pair, word};
use hic_abi::message::{MAX_INLINE, SendCap};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, PAGE_SIZE, Rights};

fn send(slot: Handle, mode: u32, rights: Rights) -> SendCap {
    SendCap { slot, mode, rights: rights.bits(), reserved: 0 }
}

fn with(inline: usize, caps: usize) -> Send {
    Send { inline, caps, buffer: true, ..word(1) }
}

/// A client with a notification in slot 10, a server that waits with these receive slots.
fn ready(w: &mut World, rights: Rights, receives: &[Handle]) -> Pair {
    let p = pair(w);
    let n = w.notification();
    w.give(n, p.client, 10, rights);
    w.set_buffer(p.server, &[], receives, &[]);
    w.receive_buffered(p.server, SERVE);
    p
}

#[test]
fn inline_bytes_reach_the_server_and_the_answers_bytes_the_client() {
    let mut w = World::new();
    let p = ready(&mut w, Rights::all(), &[]);
    let text: [u8; MAX_INLINE] = core::array::from_fn(|n| n as u8);
    w.set_buffer(p.client, &[], &[], &text);
    assert_eq!(w.call(p.client, CALL, with(MAX_INLINE, 0)), None);
    assert_eq!(w.got(p.server).expect("received").expect("a message").inline, MAX_INLINE);
    assert_eq!(w.buffer(p.server).data, text);
    w.set_buffer(p.server, &[], &[], b"answer");
    w.reply(p.server, with(6, 0)).expect("replied");
    assert_eq!(w.got(p.client).expect("answered").expect("a message").inline, 6);
    assert_eq!(&w.buffer(p.client).data[..8], b"answer\x06\x07");
}

#[test]
fn a_copied_capability_lands_in_the_receivers_slot_with_no_more_rights_than_the_sender_had() {
    let mut w = World::new();
    let p = ready(&mut w, Rights::SEND | Rights::COPY, &[30]);
    w.set_buffer(p.client, &[send(10, SendCap::COPY, Rights::all())], &[], &[]);
    assert_eq!(w.call(p.client, CALL, with(0, 1)), None);
    assert_eq!(w.rights(p.server, 30), Ok(Rights::SEND | Rights::COPY));
    w.reply(p.server, word(0)).expect("replied");
    assert_eq!(w.rights(p.client, 10), Ok(Rights::SEND | Rights::COPY), "the sender keeps its own");
    w.ok(p.client, Syscall::CapRevoke, [0, 10, 0, 0, 0]);
    assert_eq!(w.rights(p.server, 30), Err(Error::InvalidHandle), "what was sent derives from it");
    check(&w.k);
}

#[test]
fn a_moved_capability_leaves_the_sender() {
    let mut w = World::new();
    let p = ready(&mut w, Rights::SEND, &[30]);
    w.set_buffer(p.client, &[send(10, SendCap::MOVE, Rights::empty())], &[], &[]);
    assert_eq!(w.call(p.client, CALL, with(0, 1)), None);
    assert_eq!(w.rights(p.server, 30), Ok(Rights::SEND));
    w.reply(p.server, word(0)).expect("replied");
    assert_eq!(w.rights(p.client, 10), Err(Error::InvalidHandle));
    check(&w.k);
}

#[test]
fn a_reply_carries_capabilities_too() {
    let mut w = World::new();
    let p = ready(&mut w, Rights::all(), &[]);
    let n = w.notification();
    w.give(n, p.server, 11, Rights::SEND);
    w.set_buffer(p.client, &[], &[31], &[]);
    w.call(p.client, CALL, with(0, 0));
    w.set_buffer(p.server, &[send(11, SendCap::MOVE, Rights::empty())], &[], &[]);
    w.reply(p.server, with(0, 1)).expect("replied");
    assert_eq!(w.rights(p.client, 31), Ok(Rights::SEND));
    check(&w.k);
}

#[test]
fn a_capability_without_room_is_refused_and_the_server_keeps_waiting() {
    for receives in [&[][..], &[0], &[SERVE], &[64]] {
        let mut w = World::new();
        let p = ready(&mut w, Rights::all(), receives);
        w.set_buffer(p.client, &[send(10, SendCap::MOVE, Rights::empty())], &[], &[]);
        assert_eq!(w.call(p.client, CALL, with(0, 1)), Some(Err(Error::NoReceiveSlot)), "{receives:?}");
        assert_eq!(w.got(p.server), None);
        assert_eq!(w.rights(p.client, 10), Ok(Rights::all()));
        check(&w.k);
    }
}

#[test]
fn of_several_capabilities_all_arrive_or_none() {
    let mut w = World::new();
    let p = ready(&mut w, Rights::all(), &[30, 31]);
    let both = [send(10, SendCap::MOVE, Rights::empty()), send(11, SendCap::MOVE, Rights::empty())];
    w.set_buffer(p.client, &both, &[], &[]);
    assert_eq!(w.call(p.client, CALL, with(0, 2)), Some(Err(Error::InvalidHandle)));
    assert_eq!(w.rights(p.client, 10), Ok(Rights::all()), "the good one stayed");
    w.set_buffer(p.client, &[both[0], both[0]], &[], &[]);
    assert_eq!(w.call(p.client, CALL, with(0, 2)), Some(Err(Error::InvalidArgument)), "one given twice");
    check(&w.k);
}

#[test]
fn an_unsendable_capability_is_the_senders_error() {
    let mut w = World::new();
    let p = ready(&mut w, Rights::SEND, &[30]);
    w.set_buffer(p.client, &[send(10, SendCap::COPY, Rights::SEND)], &[], &[]);
    assert_eq!(w.call(p.client, CALL, with(0, 1)), Some(Err(Error::MissingRights)));
    w.set_buffer(p.client, &[send(10, 2, Rights::SEND)], &[], &[]);
    assert_eq!(w.call(p.client, CALL, with(0, 1)), Some(Err(Error::InvalidArgument)));
    assert_eq!(w.got(p.server), None);
}

#[test]
fn a_server_without_a_buffer_is_not_stuck_behind_a_message_that_needs_one() {
    let mut w = World::new();
    let p = pair(&mut w);
    let second = w.threads(p.client, 1)[0];
    w.set_buffer(p.client, &[], &[], b"text");
    assert_eq!(w.call(p.client, CALL, with(4, 0)), None);
    assert_eq!(w.call(second, CALL, word(5)), None);
    assert_eq!(w.receive(p.server, SERVE).expect("queued").expect("a message").words[0], 5);
    assert_eq!(w.got(p.client), Some(Err(Error::NoReceiveSlot)));
    check(&w.k);
}

#[test]
fn a_client_without_a_buffer_gets_an_error_in_place_of_bytes_and_the_server_goes_on() {
    let mut w = World::new();
    let p = ready(&mut w, Rights::all(), &[]);
    w.call(p.client, CALL, word(1));
    w.set_buffer(p.server, &[], &[], b"text");
    assert_eq!(w.reply(p.server, with(4, 0)), Err(Error::NoReceiveSlot));
    assert_eq!(w.got(p.client), Some(Err(Error::NoReceiveSlot)));
    assert_eq!(w.receive_buffered(p.server, SERVE), None);
    check(&w.k);
}

#[test]
fn one_buffer_for_both_sides_is_refused() {
    let mut w = World::new();
    let p = pair(&mut w);
    let second = w.threads(p.server, 1)[0];
    w.give(p.port, p.server, CALL, Rights::SEND);
    w.receive_buffered(p.server, SERVE);
    assert_eq!(w.call(second, CALL, with(4, 0)), Some(Err(Error::NoReceiveSlot)));
    check(&w.k);
}

#[test]
fn too_many_bytes_too_many_capabilities_and_a_wild_buffer_are_refused_before_anything_happens() {
    let mut w = World::new();
    let p = ready(&mut w, Rights::all(), &[]);
    assert_eq!(w.call(p.client, CALL, with(MAX_INLINE + 1, 0)), Some(Err(Error::InvalidArgument)));
    assert_eq!(w.call(p.client, CALL, with(0, 5)), Some(Err(Error::InvalidArgument)));
    let none = Send { buffer: false, ..with(1, 0) };
    assert_eq!(w.call(p.client, CALL, none), Some(Err(Error::BadAddress)));
    let memory = p.client.memory;
    for buffer in [1, memory + 4, memory + 2 * PAGE_SIZE - 8, u64::MAX - 7, p.server.memory] {
        w.k.run_instead(p.client.thread);
        w.k.threads[p.client.thread].context.frame.r13 = buffer;
        let refused = w.refused(p.client, Syscall::Call, [CALL.into(), 1 << 32, 0, 0, 0]);
        assert_eq!(refused, Error::BadAddress, "{buffer:#x}");
    }
    assert_eq!(w.got(p.server), None);
}

#[test]
fn a_buffer_that_went_while_its_call_was_queued_is_the_senders_error() {
    let mut w = World::new();
    let p = pair(&mut w);
    w.set_buffer(p.client, &[], &[], b"gone");
    assert_eq!(w.call(p.client, CALL, with(4, 0)), None);
    while let Some(mapping) = w.k.sandboxes[p.client.sandbox].mappings.first() {
        w.k.end_mapping(mapping);
    }
    w.set_buffer(p.server, &[], &[], &[]);
    assert_eq!(w.receive_buffered(p.server, SERVE), None, "there is nothing to deliver");
    assert_eq!(w.got(p.client), Some(Err(Error::BadAddress)));
    check(&w.k);
}

#[test]
fn a_queued_capability_is_looked_up_when_it_is_delivered() {
    let mut w = World::new();
    let p = pair(&mut w);
    let n = w.notification();
    w.give(n, p.client, 10, Rights::all());
    w.set_buffer(p.client, &[send(10, SendCap::MOVE, Rights::empty())], &[], &[]);
    assert_eq!(w.call(p.client, CALL, with(0, 1)), None);
    w.ok(w.manager, Syscall::CapRevoke, [0, n.into(), 0, 0, 0]);
    w.set_buffer(p.server, &[], &[30], &[]);
    assert_eq!(w.receive_buffered(p.server, SERVE), None, "there is nothing to deliver any more");
    assert_eq!(w.got(p.client), Some(Err(Error::InvalidHandle)));
    check(&w.k);
}
