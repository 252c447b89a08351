//! TCP segments in: to their connection, to a listener, or answered with a reset.

use super::Stack;
use super::ip_in::Packet;
use super::tcp_table::Conn;
use crate::activity::Activity;
use crate::env::{Env, Socket};
use crate::record::{Origin, Stage};
use crate::slab::Id;
use hic_netapi::message::sequence::CommandSlot;
use hic_netapi::{Layout, StackSide};
use hic_tcp::wire::{ParseError, parse};
use hic_tcp::{Config as TcpConfig, Connection, Events, Flags, Micros, RxSpace, Segment, State, Tuple, isn};

/// Retransmissions of a SYN-ACK (RFC 9293 leaves it open): what a flood of SYNs leaves behind is gone after 15 s.
const SYN_ACK_RETRIES: u8 = 3;
/// A half-open connection of this age gives its place in a full backlog to another. A peer that is there has answered by
/// then, even if its first answer or our first SYN-ACK was lost (RFC 6298, 2.1: a second), so none of those who come at once
/// beyond the backlog is reset: the later ones try again.
const ANSWER_TIME: Micros = Micros::from_millis(2000);

/// The rx ring of a data region, as `hic-tcp` wants it.
struct RxRing<'a>(Option<&'a mut StackSide>);

impl RxSpace for RxRing<'_> {
    fn write(&mut self, offset: u64, data: &[u8]) {
        let Some(region) = &mut self.0 else { return };
        // What was shown to the application already is not written again.
        let shown = region.indices().rx_written.saturating_sub(offset).min(data.len() as u64);
        let fresh = data.get(shown as usize..).unwrap_or_default();
        region.write_rx(offset + shown, fresh);
    }
}

/// The part of a full table of which TIME-WAIT connections are forgotten at once: one in this many.
const RECYCLED_SHARE: usize = 64;

impl Stack {
    pub(super) fn tcp_input(&mut self, now: Micros, up: &Packet<'_>, env: &mut dyn Env) {
        let (source, destination) = (up.source.octets(), up.destination.octets());
        let (tuple, segment) = match parse(up.payload, source, destination, !up.checksum_valid) {
            Ok(parsed) => parsed,
            Err(ParseError::Checksum) => {
                self.counters.tcp_bad_checksum += 1;
                return;
            }
            Err(_) => {
                self.counters.tcp_malformed += 1;
                return;
            }
        };
        self.counters.tcp_in += 1;
        match self.tcp.find(&tuple) {
            Some(id) if self.is_frozen(Socket::Connection(id)) => self.counters.tcp_frozen += 1,
            Some(id) if self.tcp.conns.get(id).is_some_and(|conn| conn.tcp.may_reopen(&segment)) => {
                self.unlist(id, env);
                self.reap(id, env);
                self.segment_for_listener(now, &tuple, &segment, env);
            }
            Some(id) => self.segment_for_connection(now, id, &tuple, &segment, env),
            None => self.segment_for_listener(now, &tuple, &segment, env),
        }
    }

    fn segment_for_connection(
        &mut self,
        now: Micros,
        id: Id,
        tuple: &Tuple,
        segment: &Segment<'_>,
        env: &mut dyn Env,
    ) {
        if !self.ensure_region(id, segment, env) {
            self.counters.tcp_no_memory += 1;
            return;
        }
        self.pull(now, id, env);
        let Some(conn) = self.tcp.conns.get_mut(id) else { return };
        let mut ring = RxRing(env.region(Socket::Connection(id)));
        let events = conn.tcp.on_segment(now, segment, &mut ring);
        let mut arrived = None;
        if events.contains(Events::ESTABLISHED) {
            match conn.stage {
                Stage::HalfOpen(listener) => {
                    conn.stage = Stage::Queued(listener);
                    conn.ticket = self.tcp.tickets.draw();
                    self.tcp.leave_listener(listener, id);
                    arrived = Some(listener);
                }
                _ => self.counters.tcp_connected += 1,
            }
        }
        if events.contains(Events::DROPPED) {
            self.counters.tcp_not_acceptable += 1;
        }
        if events.contains(Events::SEND_RESET) {
            self.reset(now, tuple, segment, env);
        }
        self.serve(now, id, env);
        if let Some(listener) = arrived {
            self.queue_for_accept(listener, id, env);
        }
    }

    /// A half-open connection gets its data region when the peer answers: what a flood of SYNs costs is a record each.
    fn ensure_region(&mut self, id: Id, segment: &Segment<'_>, env: &mut dyn Env) -> bool {
        let Some(conn) = self.tcp.conns.get_mut(id) else { return false };
        let answers = segment.ack.is_some() && !segment.flags.contains(Flags::RST);
        if conn.has_region || !answers {
            return true;
        }
        conn.has_region = env.open_region(Socket::Connection(id), conn.layout).is_ok();
        conn.has_region
    }

    /// After the connection's record said that it is queued.
    fn queue_for_accept(&mut self, listener: Id, id: Id, env: &mut dyn Env) {
        if self.tcp.conns.get(id).is_none_or(|conn| conn.stage != Stage::Queued(listener)) {
            return;
        }
        if let Some(entry) = self.tcp.listeners.get_mut(listener) {
            entry.queue.push_back(id);
            self.counters.tcp_accepted += 1;
            env.notify(Socket::Listener(listener));
        }
    }

    fn segment_for_listener(&mut self, now: Micros, tuple: &Tuple, segment: &Segment<'_>, env: &mut dyn Env) {
        let opens = segment.ack.is_none()
            && segment.flags.contains(Flags::SYN)
            && !segment.flags.intersects(Flags::RST | Flags::FIN);
        let listener = self.tcp.by_port.get(&tuple.local_port).copied().filter(|_| opens);
        match listener {
            Some(id) if self.is_frozen(Socket::Listener(id)) => self.counters.tcp_frozen += 1,
            Some(id) => self.half_open(now, id, tuple, segment, env),
            None if !self.config.reset_strangers => self.counters.tcp_strangers += 1,
            None => {
                self.counters.tcp_no_listener += 1;
                self.reset(now, tuple, segment, env);
            }
        }
    }

    fn half_open(&mut self, now: Micros, listener: Id, tuple: &Tuple, syn: &Segment<'_>, env: &mut dyn Env) {
        let Some(entry) = self.tcp.listeners.get(listener) else { return };
        let (layout, is_full) = (entry.record.layout, entry.is_full());
        let oldest = entry.half_open.front().copied().filter(|_| is_full);
        let replaced = oldest.filter(|id| self.is_silent(now, *id));
        if is_full {
            self.counters.tcp_backlog_full += 1;
            if replaced.is_none() {
                return;
            }
        }
        let config = TcpConfig { syn_retries: SYN_ACK_RETRIES, ..self.tcp_config(&layout) };
        let (isn, offset) = self.secrets(now, tuple);
        let Ok(tcp) = Connection::accept(*tuple, config, isn, offset, syn, now) else {
            self.counters.tcp_malformed += 1;
            return;
        };
        if let Some(id) = replaced {
            self.unlist(id, env);
            self.reap(id, env);
        }
        let stage = Stage::HalfOpen(listener);
        let Some(id) = self.admit(now, tcp, stage, layout, Origin::default(), env) else {
            self.counters.tcp_no_memory += 1;
            return;
        };
        if let Some(entry) = self.tcp.listeners.get_mut(listener) {
            entry.half_open.push_back(id);
        }
        self.serve(now, id, env);
    }

    /// Whether a half-open connection had its time, and may be touched.
    fn is_silent(&self, now: Micros, id: Id) -> bool {
        let begun = self.tcp.conns.get(id).map(|conn| conn.activity.opened_at());
        begun.is_some_and(|begun| now.since(begun) >= ANSWER_TIME) && !self.is_frozen(Socket::Connection(id))
    }

    /// Enters a new connection everywhere, or nowhere.
    fn admit(
        &mut self,
        now: Micros,
        tcp: Connection,
        stage: Stage,
        layout: Layout,
        origin: Origin,
        env: &mut dyn Env,
    ) -> Option<Id> {
        let tuple = tcp.tuple();
        self.recycle(env);
        if !self.tcp.is_free(&tuple) || self.tcp.conns.is_full() || !env.claim_flow(&tuple) {
            return None;
        }
        let id = self.enter(now, tcp, stage, layout, origin, env);
        if id.is_none() {
            env.release_flow(&tuple);
        }
        id
    }

    /// Enters a new connection whose flow is claimed.
    pub(super) fn enter(
        &mut self,
        now: Micros,
        mut tcp: Connection,
        stage: Stage,
        layout: Layout,
        origin: Origin,
        env: &mut dyn Env,
    ) -> Option<Id> {
        tcp.set_format(self.format);
        let tuple = tcp.tuple();
        env.open(Socket::Connection(self.tcp.conns.next_id()?)).ok()?;
        let conn = Conn {
            tcp,
            stage,
            layout,
            has_region: false,
            error: None,
            origin,
            commands: CommandSlot::default(),
            listed: true,
            ticket: 0,
            activity: Activity::new(now, now, 0),
        };
        let id = self.tcp.conns.insert(conn)?;
        self.tcp.list(&tuple, id);
        Some(id)
    }

    /// Makes room in a full table: forgets connections that are longest in TIME-WAIT and that no application has. A
    /// server that closes first could otherwise be filled by anybody who connects often enough; what is lost is the
    /// protection of a new connection between the same ports against segments of the old one (RFC 9293 3.4.1).
    pub(super) fn recycle(&mut self, env: &mut dyn Env) {
        if !self.tcp.conns.is_full() {
            return;
        }
        // Some at once: looking for them costs a look at every connection.
        let share = (self.config.limits.connections / RECYCLED_SHARE).max(1);
        let mut oldest = self.tcp.oldest_time_wait();
        oldest.retain(|id| !self.is_frozen(Socket::Connection(*id)));
        for id in oldest.into_iter().take(share) {
            self.unlist(id, env);
            self.reap(id, env);
            self.counters.tcp_recycled += 1;
        }
    }

    pub(super) fn tcp_config(&self, layout: &Layout) -> TcpConfig {
        TcpConfig {
            mss: self.config.mtu.saturating_sub(40),
            rx_capacity: layout.rx_size(),
            tx_capacity: layout.tx_size(),
            ..self.config.tcp
        }
    }

    pub(super) fn secrets(&self, now: Micros, tuple: &Tuple) -> (hic_tcp::Seq, u32) {
        let secret = &self.config.secret;
        (isn::isn(secret, tuple, now), isn::timestamp_offset(secret, tuple))
    }

    pub(super) fn connection_timer(&mut self, now: Micros, id: Id, env: &mut dyn Env) {
        if self.is_frozen(Socket::Connection(id)) {
            return;
        }
        let Some(conn) = self.tcp.conns.get_mut(id) else { return };
        let due = conn.tcp.deadline();
        if due.is_none_or(|at| at > now) {
            self.timers.schedule(crate::timers::Timer::Connection(id), due);
            return;
        }
        conn.tcp.on_timer(now);
        self.serve(now, id, env);
    }

    /// Whether the handshake of a connection is still under way.
    pub(super) fn is_opening(state: State) -> bool {
        matches!(state, State::SynSent | State::SynReceived { .. })
    }
}
