//! Frames of moving flows against a model that knows what was sent.

use super::*;
use crate::flow::{FlowRecord, PROTO_TCP};
use crate::hold::{FLOW_FRAMES, HeldPool, HeldRecord, POOL_FRAMES, PoolError, PoolRepair};
use core::net::{Ipv4Addr, SocketAddrV4};
use hic_abi::Plain;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

const SECRET: [u8; 16] = [3; 16];
const LOCAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 15), 80);
const LISTENER: FlowKey = FlowKey::Port { protocol: PROTO_TCP, port: 80 };

fn connection(number: u8) -> FlowKey {
    let remote = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 2), number.into());
    FlowKey::Exact { protocol: PROTO_TCP, local: LOCAL, remote }
}

/// Frame `serial` of a connection.
fn frame(number: u8, serial: u32) -> Vec<u8> {
    let mut frame = vec![0; 58];
    (frame[12], frame[14], frame[23]) = (8, 0x45, PROTO_TCP);
    frame[26..30].copy_from_slice(&[10, 0, 2, 2]);
    frame[30..34].copy_from_slice(&LOCAL.ip().octets());
    (frame[35], frame[37]) = (number, 80);
    frame[54..].copy_from_slice(&serial.to_le_bytes());
    frame
}

fn read(frame: &[u8]) -> (u8, u32) {
    (frame[35], u32::from_le_bytes(frame[54..58].try_into().unwrap()))
}

/// Stacks with a few buffers each.
#[derive(Default)]
struct Model {
    /// Stack, connection, serial, in the order of delivery.
    log: Vec<(u32, u8, u32)>,
    used: [usize; 2],
    produced: [u64; 2],
}

const BUFFERS: usize = 5;

impl Stacks for Model {
    fn default_stack(&self) -> Option<u32> {
        Some(0)
    }

    fn is_attached(&self, stack: u32) -> bool {
        stack < 2
    }

    fn room(&self, stack: u32) -> Option<u64> {
        let stack = stack as usize;
        (self.used[stack] < BUFFERS).then_some(self.produced[stack])
    }

    fn deliver(&mut self, stack: u32, _: bool, bytes: &[u8]) {
        let (number, serial) = read(bytes);
        self.log.push((stack, number, serial));
        self.used[stack as usize] += 1;
        self.produced[stack as usize] += 1;
    }
}

/// A frame arrives; whether it was dropped.
fn arrive(steering: &mut Steering<'_>, model: &mut Model, bytes: &[u8]) -> bool {
    let stack = match steering.steer(bytes) {
        Steer::Deliver(stack) => stack,
        Steer::Default => 0,
        Steer::All => panic!("no ARP here"),
        Steer::Hold { flow, frame } => {
            let fill = |to: &mut [u8]| {
                to[..bytes.len()].copy_from_slice(bytes);
                bytes.len()
            };
            return steering.held.keep((&flow, &frame), true, fill).is_err();
        }
    };
    let has_room = model.room(stack).is_some();
    if has_room {
        model.deliver(stack, true, bytes);
    }
    !has_room
}

fn records() -> (Vec<FlowRecord>, Vec<HeldRecord>) {
    (vec![FlowRecord::zeroed(); 64], vec![HeldRecord::zeroed(); POOL_FRAMES])
}

fn open<'a>(flows: &'a mut [FlowRecord], held: &'a mut [HeldRecord]) -> Steering<'a> {
    let (flows, _) = FlowTable::attach(flows, SECRET);
    let (held, repair) = HeldPool::attach(held, |_, _| false);
    assert_eq!(repair, PoolRepair::default());
    Steering::new(flows, held)
}

#[test]
fn a_frame_goes_by_its_exact_entry_then_by_its_port_then_to_the_default() {
    let (mut flows, mut held) = records();
    let mut steering = open(&mut flows, &mut held);
    assert_eq!(steering.steer(&frame(1, 0)), Steer::Default);
    steering.flows.insert_if_absent(&LISTENER, 0).unwrap();
    steering.flows.insert_if_absent(&connection(1), 1).unwrap();
    assert_eq!(steering.steer(&frame(1, 0)), Steer::Deliver(1));
    assert_eq!(steering.steer(&frame(2, 0)), Steer::Deliver(0));
    let mut arp = vec![0; 42];
    (arp[12], arp[13], arp[21]) = (8, 6, 2);
    assert_eq!(steering.steer(&arp), Steer::All);
    arp[21] = 1;
    assert_eq!(steering.steer(&arp), Steer::Default);
}

#[test]
fn a_held_port_holds_what_matches_only_it() {
    let (mut flows, mut held) = records();
    let mut steering = open(&mut flows, &mut held);
    steering.flows.insert_if_absent(&LISTENER, 0).unwrap();
    steering.flows.insert_if_absent(&connection(1), 0).unwrap();
    steering.flows.hold(&[LISTENER], 0, 100).unwrap();
    assert_eq!(steering.steer(&frame(1, 0)), Steer::Deliver(0));
    assert_eq!(steering.steer(&frame(2, 0)), Steer::Hold { flow: LISTENER, frame: connection(2) });
    let mut model = Model::default();
    assert!(!arrive(&mut steering, &mut model, &frame(2, 0)));
    steering.flows.take(&[LISTENER], 1).unwrap();
    let drained = steering.drain(&mut model);
    assert_eq!((drained.delivered, model.log), (1, vec![(1, 2, 0)]));
}

#[test]
fn a_flow_keeps_no_more_than_its_share_of_the_pool() {
    let (mut flows, mut held) = records();
    let mut steering = open(&mut flows, &mut held);
    for number in 0..5 {
        steering.flows.insert_if_absent(&connection(number), 0).unwrap();
        steering.flows.hold(&[connection(number)], 0, 100).unwrap();
    }
    let mut model = Model::default();
    let mut kept =
        |number| (0..40).filter(|serial| !arrive(&mut steering, &mut model, &frame(number, *serial))).count();
    assert_eq!([0, 1, 2, 3, 4].map(&mut kept), [FLOW_FRAMES, FLOW_FRAMES, FLOW_FRAMES, FLOW_FRAMES, 0]);
    let flow = connection(4);
    assert_eq!(steering.held.keep((&flow, &flow), true, |_| 60), Err(PoolError::Full));
}

#[test]
fn a_driver_that_died_while_it_delivered_neither_loses_nor_repeats_the_frame() {
    let (mut flows, mut held) = records();
    let mut steering = open(&mut flows, &mut held);
    let key = connection(1);
    for serial in 0..3 {
        let fill = |to: &mut [u8]| {
            to[..58].copy_from_slice(&frame(1, serial));
            58
        };
        steering.held.keep((&key, &key), true, fill).unwrap();
    }
    let places: Vec<usize> = [0, 1].map(|order| steering.held.next_after(order).unwrap().1).to_vec();
    // The first got into the ring of stack 1 as number 7, the second did not any more.
    steering.held.set_target(places[0], 1, 7);
    steering.held.set_target(places[1], 1, 8);
    let (pool, repair) = HeldPool::attach(&mut held, |stack, index| stack == 1 && index < 8);
    assert_eq!((pool.len(), repair), (2, PoolRepair { broken: 0, delivered: 1 }));
    let order = pool.next_after(0).unwrap();
    assert_eq!(read(pool.get(order.1).unwrap().bytes), (1, 1));
}

#[derive(Clone, Debug)]
enum Step {
    Frame(u8),
    Hold(u8, u32, u64),
    Release(u8, u32),
    Take(u8, u32),
    Remove(u8, u32),
    Expire(u64),
    Consume(u32),
    Restart,
}

/// Keys of a step: a connection, two of them, or the listener.
fn keys(which: u8) -> Vec<FlowKey> {
    match which {
        0..=3 => vec![connection(which)],
        4 => vec![connection(0), connection(1), LISTENER],
        _ => vec![LISTENER],
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (which, owner) = (0u8..6, 0u32..2);
    prop_oneof![
        12 => (0u8..6).prop_map(Step::Frame),
        4 => (which.clone(), owner.clone(), 0u64..50).prop_map(|(k, o, d)| Step::Hold(k, o, d)),
        2 => (which.clone(), owner.clone()).prop_map(|(k, o)| Step::Release(k, o)),
        2 => (which.clone(), owner.clone()).prop_map(|(k, o)| Step::Take(k, o)),
        1 => (which, owner.clone()).prop_map(|(k, o)| Step::Remove(k, o)),
        2 => (0u64..60).prop_map(Step::Expire),
        4 => owner.prop_map(Step::Consume),
        2 => Just(Step::Restart),
    ]
}

/// Applies a step; the connection and serial of a frame that was dropped at a bound.
fn apply(
    steering: &mut Steering<'_>,
    model: &mut Model,
    sent: &mut [u32; 6],
    step: Step,
) -> Option<(u8, u32)> {
    match step {
        Step::Frame(number) => {
            let serial = sent[usize::from(number)];
            sent[usize::from(number)] += 1;
            return arrive(steering, model, &frame(number, serial)).then_some((number, serial));
        }
        Step::Hold(which, owner, deadline) => {
            let _ = steering.flows.hold(&keys(which), owner, deadline);
        }
        Step::Release(which, owner) => {
            let _ = steering.flows.release(&keys(which), owner);
        }
        Step::Take(which, owner) => steering.flows.take(&keys(which), owner).unwrap(),
        Step::Remove(which, owner) => {
            for key in keys(which) {
                steering.flows.remove(&key, owner);
            }
        }
        Step::Expire(now) => {
            steering.flows.expire(now);
        }
        Step::Consume(stack) => model.used[stack as usize] = 0,
        Step::Restart => {}
    }
    let before = model.log.len();
    let drained = steering.drain(model);
    assert_eq!((drained.delivered, drained.dropped), (model.log.len() - before, 0));
    for (stack, number, _) in &model.log[before..] {
        let (owner, is_held) = steering
            .flows
            .route(&connection(*number))
            .map_or((0, false), |(_, flow)| (flow.owner, flow.state != FlowState::Flowing));
        assert!(*stack == owner && !is_held, "a frame went to {stack}, its flow is {owner}'s");
    }
    None
}

proptest! {
    #[test]
    fn frames_come_out_in_order_once_and_all_within_the_bounds(
        steps in proptest::collection::vec(step(), 1..400),
    ) {
        let (mut flows, mut held) = records();
        let (mut model, mut sent, mut dropped) = (Model::default(), [0; 6], Vec::new());
        {
            let mut steering = open(&mut flows, &mut held);
            (0..3).for_each(|n| steering.flows.insert_if_absent(&connection(n), n as u32 % 2).unwrap());
            steering.flows.insert_if_absent(&LISTENER, 0).unwrap();
        }
        for step in steps {
            let mut steering = open(&mut flows, &mut held);
            dropped.extend(apply(&mut steering, &mut model, &mut sent, step));
        }
        let mut steering = open(&mut flows, &mut held);
        steering.flows.expire(u64::MAX);
        while !steering.held.is_empty() {
            model.used = [0; 2];
            prop_assert!(steering.drain(&mut model).delivered > 0);
        }
        prop_assert!(steering.is_idle());
        for number in 0..6u8 {
            let came: Vec<u32> = model.log.iter().filter(|(_, n, _)| *n == number).map(|(.., s)| *s).collect();
            let is_kept = |serial: &u32| !dropped.contains(&(number, *serial));
            let expected: Vec<u32> = (0..sent[usize::from(number)]).filter(is_kept).collect();
            prop_assert_eq!(came, expected, "connection {}", number);
        }
    }

    #[test]
    fn any_memory_becomes_a_pool_that_holds_together(bytes in proptest::collection::vec(any::<u8>(), 4 * 76)) {
        let (_, mut held) = records();
        for (record, head) in held.iter_mut().zip(bytes.chunks_exact(76)) {
            record.as_bytes_mut()[..76].copy_from_slice(head);
        }
        let (pool, _) = HeldPool::attach(&mut held, |_, _| false);
        let len = pool.len();
        let (mut pool, repair) = HeldPool::attach(&mut held, |_, _| false);
        prop_assert_eq!((pool.len(), repair), (len, PoolRepair::default()));
        prop_assert!(pool.keep((&LISTENER, &connection(1)), false, |_| 60).is_ok());
    }
}
