//! TCP echo over good and bad wires, over full transmit rings, and over the death of the stack at any point.

use crate::sim::apps::{Client, EchoServer, run_echo};
use crate::sim::{A, B, Faults, Wire, config, layout, mac};
use core::net::SocketAddrV4;
use hic_net::record::Origin;
use hic_net::{Micros, Socket};
use hic_netapi::message::Message;
use hic_netapi::message::sequence::Verdict;
use hic_netapi::{NetError, RegionKind};
use proptest::prelude::*;

const ECHO: SocketAddrV4 = SocketAddrV4::new(B, 7);
const MINUTES: Micros = Micros::from_secs(3600);

fn echo(wire: &mut Wire, clients: usize, bytes: usize, size: u32) {
    let mut server = EchoServer::new(wire, 7, size);
    let mut clients: Vec<Client> = (0..clients).map(|_| Client::connect(wire, ECHO, bytes, size)).collect();
    run_echo(wire, &mut server, &mut clients, MINUTES);
    for client in &clients {
        assert!(client.complete(), "{:?}", client.status);
        assert_eq!(client.status.error, None);
    }
    let until = wire.now.after(Micros::from_secs(300));
    while wire.step(until) {
        server.run(wire);
    }
    for host in &wire.hosts {
        assert_eq!(host.stack.connections().count(), 0, "every connection is forgotten in the end");
        assert!(host.shell.flows.is_empty());
        assert!(host.shell.regions.keys().all(|socket| matches!(socket, Socket::Udp(_))));
    }
}

#[test]
fn a_megabyte_comes_back_whole() {
    let mut wire = Wire::new(1, Faults::default());
    echo(&mut wire, 1, 1_000_000, 65536);
    assert_eq!(wire.hosts[0].stack.counters().tcp_not_acceptable, 0);
}

#[test]
fn hundred_connections_share_the_wire() {
    echo(&mut Wire::new(2, Faults::default()), 60, 20_000, 16384);
}

#[test]
fn those_who_come_at_once_beyond_the_backlog_try_again_and_are_not_reset() {
    let mut wire = Wire::new(12, Faults::default());
    let now = wire.now;
    for (host, neighbour) in [(0, (B, mac(2))), (1, (A, mac(1)))] {
        wire.enter(host, |stack, shell| stack.learn_neighbours(now, [neighbour], shell));
    }
    echo(&mut wire, 80, 100, 4096);
    let counters = wire.hosts[1].stack.counters();
    assert!(counters.tcp_backlog_full > 0, "all found place");
    assert_eq!(counters.tcp_resets_out, 0);
}

#[test]
fn a_transmit_ring_of_three_frames_delays_and_loses_nothing() {
    let mut wire = Wire::new(3, Faults::default());
    for host in &mut wire.hosts {
        host.shell.room = 3;
    }
    echo(&mut wire, 5, 50_000, 16384);
    assert_eq!(wire.hosts[1].stack.counters().no_tx_buffer, 0);
}

#[test]
fn a_connection_to_a_closed_port_is_refused() {
    let mut wire = Wire::new(4, Faults::default());
    let mut client = Client::connect(&mut wire, ECHO, 10, 4096);
    wire.run_for(Micros::from_secs(1));
    client.run(&mut wire);
    assert!(client.done && client.status.over);
    assert_eq!(client.status.error, Some(NetError::Refused));
    assert_eq!(wire.hosts[1].stack.counters().tcp_no_listener, 1);
}

#[test]
fn an_index_that_cannot_be_costs_the_application_its_connection_only() {
    let mut wire = Wire::new(5, Faults::default());
    let mut server = EchoServer::new(&mut wire, 7, 4096);
    server.lenient = true;
    let bad = Client::connect(&mut wire, ECHO, 100_000, 4096);
    let mut clients = [Client::connect(&mut wire, ECHO, 50_000, 4096)];
    let until = wire.now.after(Micros::from_millis(5));
    while wire.step(until) {
        server.run(&mut wire);
    }
    wire.hosts[0].shell.regions[&Socket::Connection(bad.id)].1.poke(64, u64::MAX);
    let now = wire.now;
    wire.enter(0, |stack, shell| stack.conn_kicked(now, bad.id, shell));
    assert_eq!(wire.hosts[0].stack.connection(bad.id).unwrap().error, Some(NetError::Violation));
    clients[0].run(&mut wire);
    run_echo(&mut wire, &mut server, &mut clients, MINUTES);
    assert!(clients[0].complete());
}

#[test]
fn a_full_backlog_and_a_full_account_refuse_new_work_only() {
    let mut wire = Wire::new(6, Faults::default());
    let mut server = EchoServer::new(&mut wire, 7, 4096);
    let mut first = [Client::connect(&mut wire, ECHO, 30_000, 4096)];
    let until = wire.now.after(Micros::from_millis(3));
    while wire.step(until) {
        server.run(&mut wire);
    }
    wire.hosts[1].shell.refuse_memory = true;
    let _second = Client::connect(&mut wire, ECHO, 10, 4096);
    run_echo(&mut wire, &mut server, &mut first, MINUTES);
    assert!(first[0].complete());
    wire.run_for(Micros::from_secs(2));
    assert!(wire.hosts[1].stack.counters().tcp_no_memory > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_bad_wire_delays_and_loses_nothing(seed: u64, loss in 0u64..100, repeat in 0u64..100, reorder in 0u64..300) {
        let faults = Faults { loss, repeat, reorder, death: 0 };
        echo(&mut Wire::new(seed, faults), 3, 60_000, 16384);
    }

    #[test]
    fn the_stack_may_die_between_any_two_of_its_steps(seed: u64, loss in 0u64..30) {
        let faults = Faults { loss, repeat: 10, reorder: 20, death: 50 };
        let mut wire = Wire::new(seed, faults);
        echo(&mut wire, 3, 60_000, 16384);
        // A seed that killed nobody says nothing.
        prop_assume!(wire.hosts[1].deaths > 0);
    }
}

#[test]
fn a_command_repeated_after_a_crash_finds_what_it_opened() {
    let mut wire = Wire::new(9, Faults::default());
    let layout = layout(RegionKind::Tcp, 4096);
    let by = |seq| Origin { badge: 5, seq };
    let listener = wire.enter(1, |stack, shell| stack.listen(7, 4, layout, by(1), shell)).unwrap();
    let client = Client::connect(&mut wire, ECHO, 10, 4096);
    wire.run_for(Micros::from_millis(50));
    let accepted = wire.enter(1, |stack, shell| stack.accept(listener, by(2), shell)).unwrap();
    let (now, reply) = (wire.now, Message::ok([9; 4]));
    wire.enter(1, |stack, shell| {
        stack.shutdown(now, accepted, shell).unwrap();
        stack.answered(Socket::Connection(accepted), 1, reply, shell);
    });
    wire.hosts[1].shell.die_in.set(Some(0));
    wire.enter(1, |_, _| ());
    let stack = &wire.hosts[1].stack;
    assert_eq!(stack.opened_by(by(1)), Some(Socket::Listener(listener)));
    assert_eq!(stack.opened_by(by(2)), Some(Socket::Connection(accepted)));
    assert_eq!(stack.opened_by(by(3)), None);
    let slot = stack.commands(Socket::Connection(accepted)).unwrap();
    assert_eq!(slot.judge(1), Verdict::Repeat(reply));
    wire.run_for(Micros::from_millis(50));
    assert!(wire.hosts[0].shell.regions[&Socket::Connection(client.id)].1.app().status().rx_closed);
}

#[test]
fn closing_a_listener_resets_what_nobody_accepted_and_frees_everything() {
    let mut wire = Wire::new(10, Faults::default());
    let layout = layout(RegionKind::Tcp, 4096);
    let origin = Origin::default();
    let listener = wire.enter(1, |stack, shell| stack.listen(7, 2, layout, origin, shell)).unwrap();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&mut wire, ECHO, 10, 4096)).collect();
    wire.run_for(Micros::from_millis(50));
    assert_eq!(wire.hosts[1].stack.connections().count(), 2);
    assert_eq!(wire.hosts[1].stack.counters().tcp_backlog_full, 1);
    let now = wire.now;
    wire.enter(1, |stack, shell| stack.close_listener(now, listener, shell)).unwrap();
    wire.run_for(Micros::from_millis(50));
    for client in &mut clients[..2] {
        client.run(&mut wire);
        assert_eq!(client.status.error, Some(NetError::Reset));
    }
    let shell = &wire.hosts[1].shell;
    assert!(shell.regions.is_empty() && shell.records.is_empty() && shell.flows.is_empty());
}

#[test]
fn a_full_table_makes_room_by_forgetting_who_is_longest_in_time_wait() {
    let mut small = config(1);
    small.limits.connections = 2;
    let mut wire = Wire::with([small, config(2)], 11, Faults::default());
    let mut server = EchoServer::new(&mut wire, 7, 4096);
    for _ in 0..6 {
        let mut client = [Client::connect(&mut wire, ECHO, 5_000, 4096)];
        run_echo(&mut wire, &mut server, &mut client, MINUTES);
        assert!(client[0].complete());
        let until = wire.now.after(Micros::from_millis(50));
        while wire.step(until) {
            server.run(&mut wire);
        }
    }
    let host = &wire.hosts[0];
    assert_eq!(host.stack.connections().count(), 2);
    assert_eq!(host.stack.counters().tcp_recycled, 4);
    assert_eq!(host.shell.flows.len(), 2);
}
