//! The loop: batches of frames, rings and timers, one signal to the driver for each, calls in between.

use crate::commands::{Arrived, Call, Context};
use crate::link::Wire;
use crate::migration::{Moves, role_flow};
use crate::shell::{Grants, Recorded, Shell};
use alloc::vec::Vec;
use hic_abi::{Error, FOREVER, Handle, Nanos};
use hic_control::ASKED;
use hic_net::record::{InterfaceRecord, Role};
use hic_net::{Config, Env, EthernetAddress, Micros, Restored, RxInfo, Socket, Stack};
use hic_nic::RxHalf;
use hic_rt::ipc::{self, Buffer, Received};
use hic_rt::{cap, clock, log};
use hic_tcp::Format;
use netstack::crumb::{Flow, Sentence};
use netstack::orphans::Orphans;
use netstack::place::{BUCKETS, PLACES};

/// Frames taken in before calls and timers have their turn.
const RX_BATCH: usize = 128;
/// Calls answered before frames and timers have their turn.
const CALL_BATCH: usize = 16;
/// How often all buckets are searched for sockets whose application died, and the driver's doorbell is tried.
const SWEEP: Nanos = 250_000_000;
/// Bits of the main notification that stand for buckets.
const BUCKET_BITS: u64 = (1 << BUCKETS) - 1;

/// The service.
pub struct Netstack {
    pub(crate) stack: Stack,
    pub(crate) shell: Shell,
    pub(crate) orphans: Orphans,
    pub(crate) moves: Moves,
    /// What the stack was made from.
    pub(crate) config: Config,
    rx: RxHalf,
    grants: Grants,
    buffer: Buffer,
    /// The slot in which the next capability arrives.
    spare: Option<Handle>,
    /// Buckets to look at. All of them at a start: who rang before may not have been heard.
    dirty: u64,
    next_sweep: Nanos,
    /// Room for the sockets found in a bucket, kept to allocate it once.
    found: Vec<Socket>,
}

impl Netstack {
    /// A service with an empty stack.
    pub fn new(config: Config, shell: Shell, moves: Moves, rx: RxHalf, grants: Grants) -> Self {
        let stack = Stack::new(config.clone());
        let (buffer, orphans, found) = (Buffer::new(), Orphans::default(), Vec::new());
        let (spare, dirty, next_sweep) = (None, BUCKET_BITS | ASKED, 0);
        Self { stack, shell, orphans, moves, config, rx, grants, buffer, spare, dirty, next_sweep, found }
    }

    /// Goes on with everything that is on record and ours; with nothing, begins.
    pub fn go_on(&mut self, restarts: u64) {
        let began = clock::now();
        let batch = self.settle_first();
        self.take_lane();
        let interface = InterfaceRecord::decode(&self.shell.records.interface()).ok();
        let holds = interface.is_some_and(|record| record.role == Role::Holder);
        let others = (0..PLACES).filter(|place| !batch.places.contains(*place));
        let Recorded { places, records, mut flows } = self.shell.resume(others, Vec::new());
        flows.extend((holds && !batch.role).then(role_flow));
        if let Err(code) = self.shell.wire.take_flows(&flows, 0) {
            // Frames of these flows still come: what belongs to no flow comes to the only stack there is.
            log!("eth_driver does not give the flows back (code {code})");
        }
        let now = Micros(clock::now_micros());
        if self.moves.journal.own_format {
            self.stack.set_format(Format::Own, &mut self.shell);
        }
        self.stack.restore(now, interface.map(Restored::Interface), &mut self.shell);
        // Before anything is sent: whoever has to ask for a station first drops what it has to send meanwhile.
        let view = *self.shell.records;
        let neighbours = view.neighbours().map(|(ip, mac)| (ip.into(), EthernetAddress(mac)));
        self.stack.learn_neighbours(now, neighbours, &mut self.shell);
        let errors = self.stack.restore(now, records, &mut self.shell);
        self.lose(errors);
        if interface.is_none() && self.claim_role() {
            self.stack.start(now, &mut self.shell);
        }
        self.context(now).judge_unheld();
        self.judge_crumb();
        self.settle_last(&batch);
        if restarts > 0 {
            let (sockets, micros) = (places.len(), (clock::now() - began) / 1000);
            log!("start {}: {sockets} sockets go on, {micros} us after the driver was joined", restarts + 1);
        }
    }

    /// The frame at the head of the ring may have killed the start before.
    fn judge_crumb(&mut self) {
        let frame = self.rx.peek().map(|frame| frame.bytes);
        let (crumb, sentence) = self.shell.records.crumb().judge(self.rx.position(), frame, clock::now());
        let flow = frame.and_then(Flow::of);
        self.shell.records.set_crumb(crumb);
        if sentence == Sentence::Serve {
            return;
        }
        log!(
            "dropped a frame of {} bytes that killed the start before: {flow:?}",
            frame.map_or(0, <[u8]>::len)
        );
        self.rx.consume();
        self.shell.records.count_poisoned();
        let Some(flow) = flow.filter(|_| sentence == Sentence::Reset) else { return };
        let its = |id: &hic_net::Id| {
            self.stack.connection(*id).is_some_and(|c| (c.local, c.remote) == (flow.local, flow.remote))
        };
        let found = self.stack.connections().find(its);
        if let Some(id) = found {
            log!("reset the connection from {}: its frames kill", flow.remote);
            // Nothing is about to move at a start, so it does not refuse.
            let _ = self.stack.reset_connection(Micros(clock::now_micros()), id, &mut self.shell);
        }
    }

    /// Serves; returns only when the kernel refuses to let it receive.
    pub fn run(&mut self) -> u64 {
        loop {
            self.turn();
            let deadline = self.deadline();
            if let Err(error) = self.answer_calls(deadline) {
                log!("cannot receive: {error}");
                return 2;
            }
        }
    }

    /// One batch of everything but calls.
    fn turn(&mut self) {
        if self.dirty & ASKED != 0 {
            self.dirty &= !ASKED;
            self.serve_channel();
        }
        if self.moves.journal.retired {
            self.dirty = 0;
            return;
        }
        self.take_frames();
        let now = Micros(clock::now_micros());
        self.serve_buckets(now);
        if self.stack.deadline().is_some_and(|at| at <= now) {
            self.stack.on_timer(now, &mut self.shell);
        }
        if self.stack.wants_tx_room() && self.shell.tx_room(1) > 0 {
            self.stack.on_tx_room(now, &mut self.shell);
        }
        if clock::now() >= self.next_sweep {
            self.sweep(now);
        }
        if self.rx.must_kick() | self.shell.wire.tx.get_mut().must_kick() {
            self.ring_driver();
        }
    }

    fn take_frames(&mut self) {
        for _ in 0..RX_BATCH {
            if !self.take_frame() {
                return;
            }
        }
    }

    /// Takes in the frames before this position of the ring.
    pub(crate) fn take_frames_up_to(&mut self, fence: u64) {
        // Positions go round; "before" is within half a round.
        while (fence.wrapping_sub(self.rx.position()) as i64) > 0 && self.take_frame() {}
    }

    fn take_frame(&mut self) -> bool {
        let Some(frame) = self.rx.peek() else { return false };
        // Whoever starts here next knows what we died of.
        self.shell.records.set_crumb_frame(self.rx.position().wrapping_add(1));
        let info = RxInfo { checksum_valid: frame.checksum_valid };
        self.stack.on_frame(Micros(clock::now_micros()), frame.bytes, info, &mut self.shell);
        // Only now: what a crash interrupts comes again.
        self.rx.consume();
        true
    }

    /// Serves the sockets whose applications rang, and ends those that nobody holds any more.
    fn serve_buckets(&mut self, now: Micros) {
        let bits = core::mem::take(&mut self.dirty) & BUCKET_BITS;
        if bits == 0 {
            return;
        }
        let mut found = core::mem::take(&mut self.found);
        self.shell.kicked(bits, &mut found);
        for socket in found.drain(..) {
            match socket {
                Socket::Connection(id) => self.stack.conn_kicked(now, id, &mut self.shell),
                Socket::Udp(id) => self.stack.udp_kicked(now, id, &mut self.shell),
                Socket::Listener(_) => {}
            }
        }
        self.found = found;
        self.context(now).bury(bits);
    }

    pub(crate) fn context(&mut self, now: Micros) -> Context<'_> {
        let Self { stack, shell, buffer, orphans, .. } = self;
        Context { stack, shell, buffer, orphans, now }
    }

    /// Keeps the stations that we know for whoever comes after us.
    pub(crate) fn keep_neighbours(&mut self) {
        let neighbours = self.stack.neighbours().map(|(ip, mac)| (ip.octets(), mac.0));
        self.shell.records.keep_neighbours(neighbours);
    }

    /// What nobody signals: an application that died, a driver that died.
    fn sweep(&mut self, now: Micros) {
        self.next_sweep = clock::now() + SWEEP;
        self.context(now).bury_orphans();
        self.keep_neighbours();
        self.forget_peer();
        self.context(now).bury(BUCKET_BITS);
        self.ring_driver();
    }

    fn ring_driver(&mut self) {
        let Self { shell, rx, grants, .. } = self;
        if shell.wire.ring().is_ok() {
            return;
        }
        match shell.wire.reattach(grants, rx) {
            Ok(()) => {
                log!("joined eth_driver again");
                let _ = shell.wire.ring();
            }
            // The next sweep tries again.
            Err(error) => log!("eth_driver is away: {error}"),
        }
    }

    /// Until when to sleep; 0 if there is work.
    fn deadline(&mut self) -> Nanos {
        if self.moves.journal.retired {
            return FOREVER;
        }
        let Self { stack, shell, rx, .. } = self;
        let Wire { tx, .. } = &mut shell.wire;
        if self.dirty != 0 || !rx.sleep() || (stack.wants_tx_room() && !tx.get_mut().sleep_for_room(1)) {
            return 0;
        }
        let timer = stack.deadline().map_or(FOREVER, |at| at.0.saturating_mul(1000));
        timer.min(self.next_sweep)
    }

    /// Waits until `deadline`, answers what comes (some calls at most), and takes the signalled bits.
    fn answer_calls(&mut self, deadline: Nanos) -> Result<(), Error> {
        let mut until = deadline;
        for _ in 0..CALL_BATCH {
            self.offer();
            match ipc::receive(self.grants.endpoint, &mut self.buffer, until) {
                // Bits come before calls: who returned here would never hear a caller while the link is busy.
                Ok(Received::Signal(bits)) => self.dirty |= bits,
                Ok(Received::Call { badge, caller, message }) => {
                    let capability = self.take_capability(message.info.caps());
                    let now = Micros(clock::now_micros());
                    self.context(now).answer(Call { badge, caller, message, capability });
                }
                Ok(Received::Fault { .. }) => {}
                Err(Error::Timeout | Error::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
            until = 0;
        }
        Ok(())
    }

    /// Offers a slot for the capability of the next call. Without one free, callers that send one are refused.
    fn offer(&mut self) {
        self.spare = self.spare.or_else(cap::allocate);
        match self.spare {
            Some(slot) => self.buffer.offer(&[slot]),
            None => self.buffer.offer(&[]),
        }
    }

    fn take_capability(&mut self, count: usize) -> Option<Arrived> {
        if count == 0 { None } else { self.spare.take().map(Arrived::new) }
    }
}
