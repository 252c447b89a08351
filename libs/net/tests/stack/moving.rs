//! Sockets that move between two running instances, with traffic, faults and deaths.

use crate::sim::apps::{Client, EchoServer};
use crate::sim::twins::{Batch, Outcome, Twins};
use crate::sim::{A, B, Faults, World, config, layout};
use core::net::SocketAddrV4;
use hic_net::record::{Origin, Stage};
use hic_net::{Class, Id, Micros, Socket};
use hic_netapi::{AppSide, NetError, RegionKind};
use proptest::prelude::*;
use std::collections::BTreeSet;

const ECHO: SocketAddrV4 = SocketAddrV4::new(B, 7);
const PEER_ECHO: SocketAddrV4 = SocketAddrV4::new(A, 7);
const UDP_ECHO: SocketAddrV4 = SocketAddrV4::new(B, 9);

/// Octets of each datagram: three fragments, between which anything may happen.
const DATAGRAM: usize = 4000;

fn twins(seed: u64, faults: Faults) -> Twins {
    Twins::new(config(1), config(2), seed, faults)
}

/// A UDP socket of an application.
struct Udp {
    host: usize,
    id: Id,
    side: AppSide,
}

impl Udp {
    fn bind(world: &mut Twins, host: usize, port: u16) -> Self {
        let layout = layout(RegionKind::Udp, 65536);
        let (id, _) = world
            .call(host, None, |stack, shell| stack.udp_bind(port, layout, Origin::default(), shell).unwrap());
        let side = world.app_side(host, Socket::Udp(id));
        Self { host, id, side }
    }

    fn send(&mut self, world: &mut Twins, to: SocketAddrV4, data: &[u8]) {
        self.side.send_to(to, data).unwrap();
        let (now, id) = (world.now, self.id);
        if self.side.must_kick() {
            world.call(self.host, Some(Socket::Udp(id)), |stack, shell| stack.udp_kicked(now, id, shell));
        }
    }

    fn receive(&mut self) -> Option<(SocketAddrV4, Vec<u8>)> {
        let mut out = vec![0; DATAGRAM];
        let (from, len) = self.side.recv_from(&mut out)?;
        out.truncate(len);
        Some((from, out))
    }
}

/// Applications on both sides.
struct Applications {
    here: EchoServer,
    there: EchoServer,
    inward: Vec<Client>,
    outward: Vec<Client>,
    udp_echo: Udp,
    udp_client: Udp,
    udp_sent: u32,
    udp_back: u32,
}

impl Applications {
    fn new(world: &mut Twins, bytes: usize, size: u32) -> Self {
        let (here, there) = (EchoServer::on(world, 1, 7, size), EchoServer::on(world, 0, 7, size));
        let (udp_echo, udp_client) = (Udp::bind(world, 1, 9), Udp::bind(world, 0, 5000));
        let inward = (0..4).map(|_| Client::from(world, 0, ECHO, bytes, size)).collect();
        let outward = (0..3).map(|_| Client::from(world, 1, PEER_ECHO, bytes, size)).collect();
        Self { here, there, inward, outward, udp_echo, udp_client, udp_sent: 0, udp_back: 0 }
    }

    fn run(&mut self, world: &mut Twins) {
        for socket in world.take_woken(1) {
            self.here.woken(world, socket);
            for client in self.outward.iter_mut().filter(|client| Socket::Connection(client.id) == socket) {
                client.run(world);
            }
        }
        for socket in world.take_woken(0) {
            self.there.woken(world, socket);
            for client in self.inward.iter_mut().filter(|client| Socket::Connection(client.id) == socket) {
                client.run(world);
            }
        }
        while let Some((from, data)) = self.udp_echo.receive() {
            self.udp_echo.send(world, from, &data);
        }
        while let Some((_, data)) = self.udp_client.receive() {
            assert!(data.len() == DATAGRAM && data.iter().all(|byte| *byte == data[0]));
            self.udp_back += 1;
        }
    }

    fn datagram(&mut self, world: &mut Twins) {
        self.udp_sent += 1;
        self.udp_client.send(world, UDP_ECHO, &[self.udp_sent as u8; DATAGRAM]);
    }

    fn clients(&mut self) -> impl Iterator<Item = &mut Client> {
        self.inward.iter_mut().chain(&mut self.outward)
    }

    fn done(&mut self) -> bool {
        self.clients().all(|client| client.done)
    }

    /// One client stops reading, or all go on.
    fn toggle(&mut self, world: &mut Twins, pick: usize) {
        for (at, client) in self.clients().enumerate() {
            client.reading = at != pick;
            if !client.done {
                client.run(world);
            }
        }
    }
}

/// Longer than any move freezes a socket. A freeze of minutes would let the RTO outgrow the peer's TIME-WAIT.
const LONGEST_FREEZE: Micros = Micros::from_secs(2);

/// One batch after another, of random sockets in random directions, with random ends.
struct Mover {
    /// Under way, with the time at which it has to end.
    batch: Option<(Batch, Micros)>,
    every: usize,
    steps: usize,
    batches: usize,
    hold: bool,
    deaths: bool,
    /// What was moved: states of connections, and whether applications had them.
    seen: BTreeSet<String>,
}

impl Mover {
    fn step(&mut self, world: &mut Twins) {
        self.steps += 1;
        if !self.steps.is_multiple_of(self.every) {
            return;
        }
        if let Some((batch, _)) = self.batch.take() {
            let outcomes = [
                Outcome::Complete,
                Outcome::Complete,
                Outcome::Abort,
                Outcome::ImporterDiesBeforeToken,
                Outcome::ImporterDiesAfterToken,
                Outcome::ExporterDiesBeforeToken,
                Outcome::ExporterDiesAfterToken,
            ];
            let outcome = outcomes[world.random(if self.deaths { outcomes.len() } else { 3 })];
            world.finish(batch, outcome);
            self.batches += 1;
            return;
        }
        let from = world.random(2);
        if world.random(4) == 0 {
            let to = 1 - world.service;
            world.move_role(to);
        }
        let movable = world.twins[from].stack.movable(world.now);
        let mut sockets = Vec::new();
        for (_, socket) in movable {
            sockets.extend((world.random(2) == 0).then_some(socket));
        }
        let hold = self.hold || world.random(3) > 0;
        let batch = world.begin(from, &sockets, hold);
        for socket in &batch.sockets {
            self.seen.insert(match *socket {
                Socket::Connection(id) => {
                    let info = world.twins[from].stack.connection(id).unwrap();
                    let waits = matches!(info.stage, Stage::Queued(_));
                    if waits { "queued".to_string() } else { info.state.to_string() }
                }
                Socket::Listener(_) => "listener".to_string(),
                Socket::Udp(_) => "udp".to_string(),
            });
        }
        self.batch = Some((batch, world.now.after(LONGEST_FREEZE)));
    }
}

/// Runs everything to its end; returns the world and what was moved.
fn churn(seed: u64, faults: Faults, every: usize, deaths: bool) -> (Twins, Applications, Mover) {
    let mut world = twins(seed, faults);
    let mut apps = Applications::new(&mut world, 70_000, 8192);
    // Frames that meet frozen sockets are lost; only a wire that loses others too may show that.
    let mut mover = Mover {
        batch: None,
        every,
        steps: 0,
        batches: 0,
        hold: faults.loss == 0,
        deaths,
        seen: BTreeSet::new(),
    };
    let until = world.now.after(Micros::from_secs(3600));
    let mut read_again = Micros(u64::MAX);
    while !apps.done() {
        if !world.step(mover.batch.as_ref().map_or(until, |(_, end)| *end)) {
            let (batch, end) = mover.batch.take().expect("stalled");
            world.now = world.now.max(end);
            world.finish(batch, Outcome::Complete);
        }
        mover.step(&mut world);
        apps.run(&mut world);
        match mover.steps {
            steps if steps % 50 == 0 && apps.udp_sent < 100 => apps.datagram(&mut world),
            steps if steps % 333 == 0 && steps < 3000 => {
                let pick = world.random(9);
                apps.toggle(&mut world, pick);
                apps.here.open = world.random(2) == 0;
                read_again = world.now.after(Micros::from_secs(3));
            }
            _ if world.now >= read_again => {
                apps.toggle(&mut world, usize::MAX);
                apps.here.open = true;
                apps.here.accept(&mut world);
                read_again = Micros(u64::MAX);
            }
            _ => {}
        }
        // New connections come all the time, to whoever has the listener and from whoever takes commands.
        if mover.steps.is_multiple_of(200) && apps.inward.len() < 12 {
            apps.inward.push(Client::from(&mut world, 0, ECHO, 5_000, 8192));
            apps.outward.push(Client::from(&mut world, 1, PEER_ECHO, 5_000, 8192));
        }
    }
    if let Some((batch, _)) = mover.batch.take() {
        world.finish(batch, Outcome::Complete);
    }
    let until = world.now.after(Micros::from_secs(300));
    while world.step(until) {
        apps.run(&mut world);
    }
    (world, apps, mover)
}

/// Every stream is complete. On a bad wire a client may never come in: whoever listens gives it up after four SYN-ACKs, if none
/// of its answers arrives. Once in thousands of runs that happens to one.
fn verify(world: &Twins, apps: &mut Applications) {
    let accepted: BTreeSet<u16> = apps.here.accepted.iter().chain(&apps.there.accepted).copied().collect();
    let (came_in, given_up): (Vec<_>, Vec<_>) =
        apps.clients().partition(|client| accepted.contains(&client.port));
    assert!(given_up.len() <= if world.faults.loss > 0 { 2 } else { 0 }, "{} never came in", given_up.len());
    for client in given_up {
        let error = client.status.error;
        assert!(matches!(error, Some(NetError::Reset | NetError::TimedOut)), "it was not told: {error:?}");
    }
    for client in came_in {
        assert!(client.complete(), "{:?}", client.status);
        assert_eq!(client.status.error, None);
    }
    assert_eq!(world.resets[1], 0, "resets from the machine");
    assert_eq!(world.peer.stack.counters().icmp_errors_in, 0);
    let connections = world.twins.iter().map(|twin| twin.stack.connections().count());
    assert_eq!(connections.sum::<usize>(), 0, "every connection is forgotten in the end");
    assert_eq!(world.table.borrow().len(), 2, "the listener's and the UDP socket's flow");
    for twin in &world.twins {
        assert!(twin.shell.regions.keys().all(|socket| matches!(socket, Socket::Udp(_))));
    }
}

#[test]
fn on_a_good_wire_moves_lose_nothing_and_deaths_no_byte_of_a_stream() {
    let mut seen = BTreeSet::new();
    for (every, deaths) in [(1, false), (7, false), (40, false), (1, true), (9, true)] {
        let (world, mut apps, mover) = churn(every as u64, Faults::default(), every, deaths);
        assert!(mover.batches > 10, "{}", mover.batches);
        seen.extend(mover.seen);
        verify(&world, &mut apps);
        assert_eq!(world.resets, [0, 0]);
        if deaths {
            // A datagram that waits for ARP dies with its instance.
            continue;
        }
        assert!(apps.udp_sent > 10);
        assert_eq!(apps.udp_back, apps.udp_sent, "no datagram is lost, batches of {every}");
        for twin in &world.twins {
            let counters = twin.stack.counters();
            assert_eq!((counters.tcp_frozen, counters.udp_frozen), (0, 0), "held frames only");
        }
    }
    let every_kind = [
        "listener",
        "udp",
        "queued",
        "SYN-SENT",
        "SYN-RECEIVED",
        "ESTABLISHED",
        "FIN-WAIT-1",
        "FIN-WAIT-2",
        "CLOSE-WAIT",
        "LAST-ACK",
        "TIME-WAIT",
    ];
    for kind in every_kind {
        assert!(seen.contains(kind), "{kind} not among {seen:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn on_a_bad_wire_every_stream_is_complete_and_in_order(
        seed: u64, every in 1usize..60, loss in 1u64..50, repeat in 0u64..50, reorder in 0u64..100,
    ) {
        let faults = Faults { loss, repeat, reorder, death: 0 };
        let (world, mut apps, mover) = churn(seed, faults, every, true);
        prop_assert!(mover.batches > 0);
        verify(&world, &mut apps);
    }
}

fn listen(world: &mut Twins) -> EchoServer {
    let mut server = EchoServer::on(world, 1, 7, 4096);
    server.open = false;
    server
}

fn listener(world: &Twins, me: usize) -> Id {
    world.twins[me].stack.listeners().next().unwrap().0
}

#[test]
fn the_accept_queue_keeps_its_order_over_two_moves_and_a_death() {
    let mut world = twins(3, Faults::default());
    let mut server = listen(&mut world);
    let mut ports = Vec::new();
    for round in 0..12 {
        let client = Client::from(&mut world, 0, ECHO, 10, 4096);
        ports.push(world.peer.stack.connection(client.id).unwrap().local.port());
        world.run_for(Micros::from_millis(20));
        let me = world.owner(Socket::Listener(listener(&world, round / 4 % 2))).unwrap();
        let unit = world.twins[me].stack.unit(listener(&world, me));
        assert_eq!(unit.len(), 2 + round, "the listener and all that wait");
        if round % 4 == 3 {
            let batch = world.begin(me, &unit[..1], true);
            let died = if round == 3 { Outcome::ImporterDiesAfterToken } else { Outcome::Complete };
            world.finish(batch, died);
        }
    }
    server.open = true;
    server.accept(&mut world);
    assert_eq!(server.accepted, ports);
}

#[test]
fn a_half_open_connection_moves_with_its_listener_and_is_established_there() {
    let mut world = twins(4, Faults::default());
    let mut server = listen(&mut world);
    let mut client = Client::from(&mut world, 0, ECHO, 3000, 4096);
    // The SYN arrives; its answer is under way.
    let until = world.now.after(Micros::from_millis(50));
    while world.twins[0].stack.connections().count() == 0 {
        assert!(world.step(until));
    }
    let alone: Vec<Socket> = world.twins[0].stack.connections().map(Socket::Connection).collect();
    assert_eq!(world.twins[0].stack.movable(world.now).len(), 1, "it moves with its listener only");
    let now = world.now;
    assert_eq!(world.twin(0, |stack, shell| stack.freeze(now, &alone, shell)), []);
    let unit = world.twins[0].stack.unit(listener(&world, 0));
    let batch = world.begin(0, &unit[..1], true);
    world.run_for(Micros::from_millis(50));
    let _second = Client::from(&mut world, 0, ECHO, 10, 4096);
    world.run_for(Micros::from_millis(50));
    assert_eq!(world.twins[0].stack.counters().tcp_frozen, 0, "the new SYN is held with the port's flow");
    world.finish(batch, Outcome::Complete);
    server.open = true;
    while !client.done || server.accepted.len() < 2 {
        assert!(world.step(Micros::from_secs(3600)));
        server.run(&mut world);
        if !world.take_woken(0).is_empty() {
            client.run(&mut world);
        }
    }
    assert!(client.complete());
    assert_eq!(world.resets, [0, 0]);
}

#[test]
fn a_frozen_socket_answers_nothing_refuses_commands_and_loses_nothing_when_thawed() {
    let mut world = twins(5, Faults::default());
    let mut apps = Applications::new(&mut world, 30_000, 8192);
    let until = world.now.after(Micros::from_millis(4));
    while world.step(until) {
        apps.run(&mut world);
    }
    let all: Vec<Socket> =
        world.twins[0].stack.movable(world.now).into_iter().map(|(_, socket)| socket).collect();
    assert!(all.len() >= 8);
    let frames_before = world.twins[0].stack.counters().frames_out;
    let batch = world.begin(0, &all, false);
    let frozen = world.twins[0].stack.counters().frames_out;
    assert_eq!(frozen, frames_before, "freezing sends nothing");
    apps.datagram(&mut world);
    let until = world.now.after(Micros::from_millis(900));
    while world.step(until) {
        apps.run(&mut world);
    }
    let now = world.now;
    world.twin(0, |stack, shell| {
        for socket in &all {
            let refused = match *socket {
                Socket::Connection(id) => stack.shutdown(now, id, shell).and(stack.abort(now, id, shell)),
                Socket::Listener(id) => stack.accept(id, Origin::default(), shell).map(|_| ()),
                Socket::Udp(id) => stack.udp_close(now, id, shell),
            };
            assert_eq!(refused, Err(NetError::WouldBlock));
            assert!(stack.is_frozen(*socket));
        }
        assert_eq!(stack.movable(now), []);
    });
    let counters = *world.twins[0].stack.counters();
    assert_eq!(counters.frames_out, frozen, "nothing leaves, whatever is due");
    assert!(counters.tcp_frozen > 0 && counters.udp_frozen == 1);
    world.finish(batch, Outcome::Abort);
    while !apps.done() {
        assert!(world.step(Micros::from_secs(3600)));
        apps.run(&mut world);
    }
    for client in apps.clients() {
        assert!(client.complete() && client.status.error.is_none());
    }
}

#[test]
fn new_connections_of_one_instance_avoid_the_ports_and_places_of_the_other() {
    let mut world = twins(6, Faults::default());
    let mut apps = Applications::new(&mut world, 1_000_000, 8192);
    world.move_role(1);
    let more: Vec<Client> = (0..40).map(|_| Client::from(&mut world, 1, PEER_ECHO, 10, 4096)).collect();
    assert!(more.iter().all(|client| client.id.slot() % 2 == 1));
    let layout = layout(RegionKind::Tcp, 4096);
    let again = world.call(1, None, |stack, shell| stack.listen(7, 4, layout, Origin::default(), shell));
    assert_eq!(again, Err(NetError::AddressInUse), "the other instance listens there");
    world.run_for(Micros::from_millis(100));
    apps.run(&mut world);
    let unit = [Socket::Listener(listener(&world, 0))];
    let batch = world.begin(0, &unit, true);
    world.finish(batch, Outcome::Complete);
    let free = world.twin(0, |stack, shell| {
        stack.forget(&unit);
        stack.listen(80, 4, layout, Origin::default(), shell)
    });
    assert_ne!(free.map(Id::slot), Ok(0), "the place of the listener that moved away stays free");
}

#[test]
fn quiet_sockets_move_first() {
    let mut world = twins(7, Faults::default());
    let mut server = EchoServer::on(&mut world, 0, 7, 4096);
    let (udp, listener) = (Udp::bind(&mut world, 1, 9), listen(&mut world).id());
    let idle = Client::from(&mut world, 1, PEER_ECHO, 100, 4096);
    let mut busy = Client::from(&mut world, 1, PEER_ECHO, 100_000_000, 4096);
    let until = world.now.after(Micros::from_millis(1100));
    while world.step(until) {
        server.run(&mut world);
        if world.take_woken(1).contains(&Socket::Connection(busy.id)) {
            busy.run(&mut world);
        }
    }
    let order = [
        (Class::Low, Socket::Udp(udp.id)),
        (Class::Low, Socket::Connection(idle.id)),
        (Class::Medium, Socket::Listener(listener)),
        (Class::High, Socket::Connection(busy.id)),
    ];
    assert_eq!(world.twins[0].stack.movable(world.now), order);
    let later = world.now.after(Micros::from_secs(20));
    assert_eq!(world.twins[0].stack.movable(later)[0].0, Class::Idle);
}

#[test]
fn a_dangerous_connection_alone_is_reset() {
    let mut world = twins(8, Faults::default());
    let mut apps = Applications::new(&mut world, 400_000, 8192);
    let until = world.now.after(Micros::from_millis(10));
    while world.step(until) {
        apps.run(&mut world);
    }
    let (now, victim) = (world.now, apps.outward[0].id);
    world.twin(0, |stack, shell| stack.reset_connection(now, victim, shell)).unwrap();
    apps.there.lenient = true;
    while !apps.done() {
        assert!(world.step(Micros::from_secs(3600)));
        apps.run(&mut world);
    }
    assert!(world.resets[1] >= 1);
    assert_eq!(apps.outward[0].status.error, Some(NetError::Aborted));
    assert_eq!(apps.clients().filter(|client| client.complete()).count(), 6);
}
