//! The sockets and the loop that serves them.
//!
//! `hic_netclient::Server` knows sessions of one connection and listeners that are always accepted from. Here a session has
//! two connections that share a notification bit, and it sleeps only when both have agreed; one listener waits for an order, and loses the answer
//! of each Accept once.

use alloc::vec::Vec;

use hic_abi::start::StartPage;
use hic_abi::{Error, FOREVER, Handle, Nanos};
use hic_netapi::NetError;
use hic_netclient::table::{Table, other_bit, session_bit};
use hic_netclient::{AppSide, Client, SocketError, TcpListener, TcpStream};
use hic_rt::{Export, clock, log, sys};

use crate::relay::Sleep;
use crate::session::{Next, Session};

/// What it serves.
pub const SERVICE: Export = Export::new("dialer");
/// Takes orders.
pub const ORDERS: u16 = 7001;
/// Is not accepted from before the order to do so.
pub const QUEUE: u16 = 7002;
/// Bytes of each ring.
const RING: u32 = 16 * 1024;
/// Sessions at once: 64 relays, and as many of all other kinds.
const SESSIONS: usize = 128;
/// Connections that may wait for the order port.
const ORDER_BACKLOG: u16 = 64;
/// Connections that may wait in the queue. Tests fill it, and count on this number.
const QUEUE_BACKLOG: u16 = 4;
/// Steps of one session before others have their turn.
const ROUNDS: usize = 4;
/// Connections accepted before others have their turn.
const ACCEPT_BATCH: usize = 16;
/// Asked for in the Accepts whose answers are lost: a bit that wakes no session.
const IN_VAIN: u64 = other_bit(2);
/// What an Accept ends with whose answer nobody takes.
const NOT_TAKEN: SocketError = SocketError::Kernel { step: "call", error: Error::NoReceiveSlot };
/// Until a stack that did not answer is asked again.
const ASK_AGAIN: Nanos = 20_000_000;
/// Until a port that could not be opened is tried again.
const RETRY: Nanos = 500_000_000;

/// A listener that is to be there always: opened again if the stack lost it.
struct Listener {
    port: u16,
    backlog: u16,
    bit: u64,
    socket: Option<TcpListener>,
    /// Somebody may wait.
    ready: bool,
    /// Not asked before.
    retry_at: Nanos,
    reported: bool,
    /// Each Accept is asked with these bits first, and its answer lost.
    in_vain: Option<u64>,
}

impl Listener {
    const fn new(port: u16, backlog: u16, bit: u64, in_vain: Option<u64>) -> Self {
        Self { port, backlog, bit, socket: None, ready: false, retry_at: 0, reported: false, in_vain }
    }

    fn open_if_missing(&mut self, client: &mut Client, now: Nanos) {
        if self.socket.is_some() || now < self.retry_at {
            return;
        }
        match client.listen(self.port, self.backlog, RING, self.bit) {
            Ok(socket) => (self.socket, self.ready, self.reported) = (Some(socket), true, false),
            Err(error) => self.failed(error, now + RETRY),
        }
    }

    /// The connection that has waited longest; `None`: not now.
    fn accept(&mut self, client: &mut Client, signal: u64, now: Nanos) -> Option<TcpStream> {
        loop {
            let socket = self.socket.as_mut().filter(|_| self.ready && self.retry_at <= now)?;
            let answer = match self.in_vain.map(|bits| socket.accept_in_vain(client, bits)) {
                None | Some(NOT_TAKEN) => socket.accept(client, signal),
                Some(error) => Err(error),
            };
            match answer {
                Ok(stream) => {
                    self.reported = false;
                    return Some(stream);
                }
                Err(error) if error.is_would_block() => self.ready = false,
                // It broke before we had it: there may be another one.
                Err(SocketError::Refused(NetError::Aborted)) => {}
                Err(error) => {
                    if error.is_for_good() {
                        self.socket = None;
                    }
                    self.failed(error, now + ASK_AGAIN);
                }
            }
        }
    }

    fn failed(&mut self, error: SocketError, retry_at: Nanos) {
        self.retry_at = retry_at;
        if !core::mem::replace(&mut self.reported, true) {
            log!("port {}: {error}; trying again", self.port);
        }
    }

    /// When it is to be looked at without a signal.
    fn due(&self, accepts: bool) -> Nanos {
        if self.socket.is_none() || (self.ready && accepts) { self.retry_at } else { FOREVER }
    }
}

/// A session and its connections.
struct Entry {
    near: TcpStream,
    far: Option<TcpStream>,
    session: Session,
    deadline: Nanos,
}

impl Entry {
    const fn new(near: TcpStream, session: Session) -> Self {
        Self { near, far: None, session, deadline: FOREVER }
    }

    fn step(&mut self, now: Nanos) -> Next {
        let far = self.far.as_mut().map(TcpStream::side);
        self.session.step(self.near.side(), far, now)
    }

    fn flush(&mut self) {
        self.near.flush();
        if let Some(far) = &mut self.far {
            far.flush();
        }
    }

    /// Announces what it sleeps for; `false` if there is something to do already.
    fn fall_asleep(&mut self, near: Option<Sleep>, far: Option<Sleep>) -> bool {
        self.flush();
        asleep(self.near.side(), near) && self.far.as_mut().is_none_or(|stream| asleep(stream.side(), far))
    }

    fn abort(self) {
        self.near.abort();
        if let Some(far) = self.far {
            far.abort();
        }
    }
}

fn asleep(side: &AppSide, sleep: Option<Sleep>) -> bool {
    sleep.is_none_or(|sleep| side.sleep_until(sleep.want, sleep.read_low, sleep.write_low))
}

/// The application.
pub struct Dialer {
    client: Client,
    endpoint: Option<Handle>,
    orders: Listener,
    queue: Listener,
    /// The order to accept was given.
    accepts: bool,
    table: Table<Entry>,
}

impl Dialer {
    /// Prepares it.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn new(page: &StartPage) -> Result<Self, SocketError> {
        let client = Client::new(page)?;
        let endpoint = SERVICE.find_endpoint(page);
        if endpoint.is_some() {
            sys::bind_notification(client.notification())
                .map_err(|error| SocketError::Kernel { step: "bind a notification", error })?;
        }
        let orders = Listener::new(ORDERS, ORDER_BACKLOG, other_bit(0), None);
        let queue = Listener::new(QUEUE, QUEUE_BACKLOG, other_bit(1), Some(IN_VAIN));
        Ok(Self { client, endpoint, orders, queue, accepts: false, table: Table::new(SESSIONS) })
    }

    /// Serves for ever.
    pub fn run(&mut self) -> ! {
        loop {
            let now = clock::now();
            self.orders.open_if_missing(&mut self.client, now);
            self.queue.open_if_missing(&mut self.client, now);
            self.accept(now);
            for _ in 0..self.table.waiting() {
                if let Some(number) = self.table.dequeue() {
                    self.serve(number, now);
                }
            }
            self.queue_due(now);
            let deadline = self.next_deadline();
            let bits = self.client.wait(self.endpoint, deadline);
            self.mark(bits);
        }
    }

    /// Takes in who waits, as far as there is room.
    fn accept(&mut self, now: Nanos) {
        let Self { client, orders, queue, accepts, table, .. } = self;
        let queue = accepts.then_some((queue, Session::echo()));
        for (listener, session) in [(orders, Session::ordering(now))].into_iter().chain(queue) {
            for _ in 0..ACCEPT_BATCH {
                let Some(number) = table.next_number() else { return };
                let Some(near) = listener.accept(client, session_bit(number), now) else { break };
                // There is room: `next_number` said so, and nothing was inserted since.
                let _ = table.insert(Entry::new(near, session));
            }
        }
    }

    /// Goes on with one session until it sleeps, ends, or others should have their turn.
    fn serve(&mut self, number: usize, now: Nanos) {
        let Some(mut entry) = self.table.take(number) else { return };
        for _ in 0..ROUNDS {
            match entry.step(now) {
                Next::Wait { near, far, deadline } => {
                    entry.deadline = deadline;
                    if entry.fall_asleep(near, far) {
                        return self.table.put(number, entry);
                    }
                }
                Next::Dial(remote) => {
                    let opened = self.client.connect(remote, RING, session_bit(number));
                    let outcome = opened.map(|stream| entry.far = Some(stream));
                    // The call may have taken a while.
                    entry.session.dialed(outcome, entry.near.side(), clock::now());
                }
                Next::OpenQueue => self.accepts = true,
                Next::Over => {
                    entry.flush();
                    drop(entry);
                    return self.table.end(number);
                }
                Next::Abort => {
                    entry.abort();
                    return self.table.end(number);
                }
            }
        }
        entry.flush();
        self.table.put(number, entry);
        self.table.enqueue(number);
    }

    /// Queues the sessions whose time is up.
    fn queue_due(&mut self, now: Nanos) {
        let due: Vec<usize> =
            self.table.iter().filter(|(_, entry)| entry.deadline <= now).map(|(number, _)| number).collect();
        due.into_iter().for_each(|number| self.table.enqueue(number));
    }

    /// When there is something to do even if nobody signals; in the past = now.
    fn next_deadline(&self) -> Nanos {
        if self.table.waiting() > 0 {
            return 0;
        }
        let room = self.table.next_number().is_some();
        let listeners = self.orders.due(room).min(self.queue.due(room && self.accepts));
        self.table.iter().map(|(_, entry)| entry.deadline).fold(listeners, Nanos::min)
    }

    fn mark(&mut self, bits: u64) {
        self.table.enqueue_bits(bits);
        for listener in [&mut self.orders, &mut self.queue] {
            listener.ready |= listener.bit & bits != 0;
        }
    }
}
