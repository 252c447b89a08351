//! Serving a connection: what the application did goes into the protocol, segments go out, what happened goes to the
//! application. The order is the point: *publish before you promise*. Data first, then the record, then segments, shared
//! indices and notifications.

use super::Stack;
use super::ethernet::ETHERNET;
use super::ip_out::IP;
use super::work::Work;
use crate::env::{Env, Published, Socket};
use crate::outgoing::{Card, IpOut};
use crate::record::Stage;
use crate::slab::Id;
use crate::timers::Timer;
use core::mem;
use hic_netapi::region::Status;
use hic_netapi::{NetError, StackSide};
use hic_tcp::wire::{Checksum, emit, len};
use hic_tcp::{CloseReason, Connection, Flags, Micros, Segment, SegmentOut, State, Tuple, TxData, reset_for};
use smoltcp::wire::{IpProtocol, Ipv4Address};

/// Segments for one publication of the record.
const BATCH: usize = 16;
/// Looks at an application that goes on writing, before others get their turn.
const ROUNDS: usize = 3;
/// Largest payload handed to the card at once: with all headers below 65535.
const MAX_TSO: usize = 64_000;
/// IP and TCP headers with all options that a data segment can carry.
const MAX_HEADERS: usize = IP + 60;

/// The tx ring of a data region, as `hic-tcp` wants it.
struct TxRing<'a>(Option<&'a StackSide>);

impl TxData for TxRing<'_> {
    fn copy(&self, offset: u64, out: &mut [u8]) {
        if !self.0.is_some_and(|region| region.copy_tx(offset, out)) {
            // Only a region that went away, or a record that lies: the buffer must not show what it held before.
            out.fill(0);
        }
    }
}

impl Stack {
    /// Does everything that there is to do for a connection now.
    pub(super) fn serve(&mut self, now: Micros, id: Id, env: &mut dyn Env) {
        if self.is_frozen(Socket::Connection(id)) {
            return;
        }
        for _ in 0..ROUNDS {
            self.pull(now, id, env);
            let all_sent = self.send_owed(now, id, env);
            self.push(id, env);
            if !all_sent {
                self.blocked.push(Work::Connection(id));
                return self.settle(now, id, env);
            }
            if self.arm(id, env) {
                return self.settle(now, id, env);
            }
        }
        self.ready.push(Work::Connection(id));
        self.settle(now, id, env);
    }

    /// From the application: what it wrote, consumed, closed.
    pub(super) fn pull(&mut self, now: Micros, id: Id, env: &mut dyn Env) {
        let Some(conn) = self.tcp.conns.get_mut(id) else { return };
        if !conn.listens_to_app() {
            return;
        }
        let Some(region) = env.region(Socket::Connection(id)) else { return };
        if region.refresh().is_err() {
            self.counters.app_violations += 1;
            conn.error = Some(NetError::Violation);
            conn.tcp.app_detached(now);
            conn.tcp.abort();
            return;
        }
        // Refused figures are those of a connection that ended meanwhile; the region checked all others.
        let _ = conn.tcp.app_wrote(region.tx_written());
        let _ = conn.tcp.app_consumed(region.indices().rx_consumed);
        if region.tx_closed() {
            conn.tcp.app_closed();
        }
    }

    /// Publishes the record, then sends what it says was sent; again until nothing is owed. `false` if transmit buffers
    /// ran out first.
    fn send_owed(&mut self, now: Micros, id: Id, env: &mut dyn Env) -> bool {
        loop {
            let Some(conn) = self.tcp.conns.get(id) else { return true };
            let tuple = conn.tcp.tuple();
            let bound = self.max_payload(now, &tuple);
            let room = env.tx_room(ETHERNET + MAX_HEADERS + bound).min(BATCH);
            let mut batch = mem::take(&mut self.tcp.batch);
            let Some(conn) = self.tcp.conns.get_mut(id) else { return true };
            while batch.len() < room {
                match conn.tcp.next_segment(now, bound) {
                    Some(segment) => batch.push(segment),
                    None => break,
                }
            }
            env.publish(Published::Connection(id, &conn.record()));
            let region = conn.has_region.then_some(Socket::Connection(id));
            for segment in &batch {
                self.send_segment(now, &tuple, segment, region, env);
            }
            let sent = batch.len();
            batch.clear();
            self.tcp.batch = batch;
            if sent < room {
                return true;
            }
            if room < BATCH {
                return false;
            }
        }
    }

    /// To the application: indices, status, and a notification if it sleeps for one of them.
    fn push(&mut self, id: Id, env: &mut dyn Env) {
        let Some(conn) = self.tcp.conns.get(id).filter(|conn| conn.has_region) else { return };
        let Some(region) = env.region(Socket::Connection(id)) else { return };
        region.publish_acked(conn.tcp.tx_acked());
        region.publish_rx(conn.tcp.rx_ready());
        let before = region.status();
        let status = status(&conn.tcp, conn.error, before);
        if status != before {
            region.publish_status(status);
        }
        if region.take_app_wake() {
            env.notify(Socket::Connection(id));
        }
    }

    /// Asks for a kick. `false` if the application did something meanwhile.
    fn arm(&mut self, id: Id, env: &mut dyn Env) -> bool {
        let Some(conn) = self.tcp.conns.get(id) else { return true };
        if !conn.listens_to_app() {
            return true;
        }
        let Some(region) = env.region(Socket::Connection(id)) else { return true };
        // A quarter of the ring: often enough to keep the peer's window open, rare enough to cost little.
        region.arm(region.indices().rx_consumed + u64::from(conn.layout.rx_size() / 4))
    }

    /// Timers, and the end of what is over.
    fn settle(&mut self, now: Micros, id: Id, env: &mut dyn Env) {
        let Some(conn) = self.tcp.conns.get_mut(id) else { return };
        conn.activity.note(now, conn.tcp.tx_acked().saturating_add(conn.tcp.rx_ready()));
        self.timers.schedule(Timer::Connection(id), conn.tcp.deadline());
        if matches!(conn.tcp.state(), State::Closed(_)) && !self.blocked.contains(Work::Connection(id)) {
            self.unlist(id, env);
            if self.tcp.conns.get(id).is_some_and(|conn| conn.stage != Stage::Open) {
                self.reap(id, env);
            }
        }
    }

    /// Frees the connection's ends for another.
    pub(super) fn unlist(&mut self, id: Id, env: &mut dyn Env) {
        let Some(conn) = self.tcp.conns.get_mut(id).filter(|conn| conn.listed) else { return };
        conn.listed = false;
        let tuple = conn.tcp.tuple();
        self.tcp.unlist(&tuple);
        env.release_flow(&tuple);
    }

    /// Forgets a connection, unless an application still has it: then it stays until released.
    pub(super) fn reap(&mut self, id: Id, env: &mut dyn Env) {
        let Some(conn) = self.tcp.conns.get(id) else { return };
        if conn.stage == Stage::Open {
            return;
        }
        if let Some(listener) = conn.listener() {
            self.tcp.leave_listener(listener, id);
        }
        self.timers.cancel(Timer::Connection(id));
        self.tcp.conns.remove(id);
        env.retire(Socket::Connection(id));
    }

    /// Ends a connection for a reason of ours.
    pub(super) fn fail(&mut self, now: Micros, id: Id, error: NetError, env: &mut dyn Env) {
        if self.is_frozen(Socket::Connection(id)) {
            return;
        }
        if let Some(conn) = self.tcp.conns.get_mut(id) {
            conn.error = Some(error);
            conn.tcp.abort();
        }
        self.serve(now, id, env);
    }

    fn max_payload(&self, now: Micros, tuple: &Tuple) -> usize {
        let mtu = self.path_mtu(now, Ipv4Address::from(tuple.remote_addr));
        if mtu < self.config.mtu {
            return usize::from(mtu).saturating_sub(MAX_HEADERS);
        }
        let card = self.config.capabilities;
        let tso = if card.tx_csum_offload { card.tso_max as usize } else { 0 };
        tso.min(MAX_TSO).max(usize::from(self.config.mtu).saturating_sub(IP + 20))
    }

    /// Answers a segment that is not acceptable at all.
    pub(super) fn reset(&mut self, now: Micros, tuple: &Tuple, segment: &Segment<'_>, env: &mut dyn Env) {
        let Some(answer) = reset_for(segment) else { return };
        if !self.rates.reset.take(now) {
            self.counters.replies_rate_limited += 1;
            return;
        }
        self.counters.tcp_resets_out += 1;
        self.send_segment(now, tuple, &answer, None, env);
    }

    fn send_segment(
        &mut self,
        now: Micros,
        tuple: &Tuple,
        segment: &SegmentOut,
        region: Option<Socket>,
        env: &mut dyn Env,
    ) {
        // A connection from an address that we lost has nothing to say any more.
        let ours = self.interface.address.map(|ours| ours.address.octets());
        if ours != Some(tuple.local_addr) {
            self.counters.ip_no_route += 1;
            return;
        }
        let data = segment.payload.end.saturating_sub(segment.payload.start);
        let header_len = (len(segment) as u64).saturating_sub(data) as u16;
        let card = match self.config.capabilities.tx_csum_offload {
            true if data > u64::from(segment.mss) => Card::Segment { mss: segment.mss, header_len },
            true => Card::Checksum,
            false => Card::Nothing,
        };
        let checksum = if card == Card::Nothing { Checksum::Full } else { Checksum::PseudoHeader };
        let out = IpOut {
            source: Ipv4Address::from(tuple.local_addr),
            destination: Ipv4Address::from(tuple.remote_addr),
            protocol: IpProtocol::Tcp,
            len: len(segment),
            dont_fragment: !segment.flags.contains(Flags::SYN),
            region,
            card,
        };
        self.counters.tcp_out += 1;
        self.ip_output(now, &out, env, &mut |space, region| {
            // The buffer has exactly the length that was asked for.
            let _ = emit(segment, tuple, &TxRing(region), checksum, space);
        });
    }
}

/// What the application is told. `established` stays once it was true.
fn status(tcp: &Connection, error: Option<NetError>, before: Status) -> Status {
    let state = tcp.state();
    let ended = match state {
        State::Closed(CloseReason::Reset) => Some(NetError::Reset),
        State::Closed(CloseReason::Refused) => Some(NetError::Refused),
        State::Closed(CloseReason::TimedOut) => Some(NetError::TimedOut),
        State::Closed(CloseReason::Aborted) => Some(NetError::Aborted),
        _ => None,
    };
    let closed = matches!(state, State::Closed(_));
    Status {
        established: before.established || !(closed || Stack::is_opening(state)),
        rx_closed: tcp.rx_finished(),
        over: closed || state == State::TimeWait,
        error: error.or(ended),
    }
}
