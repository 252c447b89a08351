//! The event loop of a server with many connections in one thread.

use crate::client::Client;
use crate::error::SocketError;
use crate::socket::{TcpListener, TcpStream, UdpSocket};
use crate::table::{Table, other_bit, session_bit};
use alloc::vec::Vec;
use hic_abi::start::StartPage;
use hic_abi::{FOREVER, Handle, Nanos};
use hic_netapi::NetError;
use hic_netapi::region::{AppSide, Want};
use hic_rt::{Export, clock, log, sys};

/// Steps of one session before others have their turn.
const ROUNDS: usize = 4;
/// Connections accepted from one listener before others have their turn.
const ACCEPT_BATCH: usize = 32;
/// How often deadlines are looked at; they are limits against idle peers, not clocks.
const SWEEP: Nanos = 250_000_000;
/// How long a closed connection may wait for the other end to close too.
const LINGER: Nanos = 5_000_000_000;
/// Until a stack that did not answer is asked again, after the others had their turn.
const ASK_AGAIN: Nanos = 20_000_000;
/// Until a socket that could not be opened is tried again.
const RETRY: Nanos = 500_000_000;
/// Bytes of a datagram's header in the ring: with less there is no datagram to read.
const DATAGRAM: u32 = hic_netapi::datagram::HEADER as u32;

/// What a session wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Call again when this holds: at least `read_low` bytes readable or `write_low` writable (1 = any), or soon after
    /// `deadline`, or for no reason.
    Wait {
        /// What for.
        want: Want,
        /// Bytes to read.
        read_low: u32,
        /// Space to write.
        write_low: u32,
        /// Until when; [`FOREVER`] for no limit.
        deadline: Nanos,
    },
    /// Send what was written, then close in order.
    Close,
    /// Reset the connection.
    Abort,
}

impl Step {
    /// Waits for something to read.
    #[must_use]
    pub const fn read(deadline: Nanos) -> Self {
        Self::Wait { want: Want::READABLE, read_low: 1, write_low: 1, deadline }
    }

    /// Waits for at least `low` bytes of space to write.
    #[must_use]
    pub const fn write(low: u32, deadline: Nanos) -> Self {
        Self::Wait { want: Want::WRITABLE, read_low: 1, write_low: low, deadline }
    }
}

/// What an application does with its connections and datagrams. No method may wait.
pub trait Service {
    /// The state of one connection.
    type Session;

    /// A connection came to the listener with this number (in the order of [`Server::listen`]).
    fn open(&mut self, listener: usize, stream: &TcpStream, now: Nanos) -> Self::Session;

    /// Goes on with a connection as far as its rings allow. Connections that broke are dropped without it.
    fn step(&mut self, session: &mut Self::Session, side: &mut AppSide, now: Nanos) -> Step;

    /// Datagrams came to the UDP socket with this number (in the order of [`Server::bind`]).
    fn datagrams(&mut self, socket: usize, side: &mut AppSide, now: Nanos) {
        let _ = (socket, side, now);
    }
}

/// Bounds of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. More wait in the stack's backlog, and beyond it the other end tries again later.
    pub sessions: usize,
    /// Connections that may wait in the stack for each listener.
    pub backlog: u16,
}

/// A socket that is to be open always: opened again if the stack lost it.
struct Kept<T> {
    port: u16,
    ring: u32,
    bit: u64,
    socket: Option<T>,
    ready: bool,
    retry_at: Nanos,
    reported: bool,
}

impl<T> Kept<T> {
    fn new(port: u16, ring: u32, bit: u64) -> Self {
        Self { port, ring, bit, socket: None, ready: false, retry_at: 0, reported: false }
    }

    /// Takes the result of an attempt to open it; a failure is logged once.
    fn opened(&mut self, result: Result<T, SocketError>, now: Nanos) {
        match result {
            Ok(socket) => {
                (self.socket, self.ready, self.reported) = (Some(socket), true, false);
            }
            Err(error) => {
                self.retry_at = now + RETRY;
                if !core::mem::replace(&mut self.reported, true) {
                    log!("port {}: {error}", self.port);
                }
            }
        }
    }

    fn lost(&mut self, now: Nanos) {
        (self.socket, self.ready, self.retry_at) = (None, false, now);
    }
}

/// One connection. Without a session it is closed here and waits for the other end.
struct Entry<S> {
    stream: TcpStream,
    session: Option<S>,
    deadline: Nanos,
}

enum Outcome {
    Asleep,
    Again,
    Ended,
    Aborted,
}

/// A server: sockets, sessions, and the loop that serves them.
pub struct Server<S: Service> {
    client: Client,
    endpoint: Option<Handle>,
    limits: Limits,
    listeners: Vec<Kept<TcpListener>>,
    sockets: Vec<Kept<UdpSocket>>,
    table: Table<Entry<S::Session>>,
    next_sweep: Nanos,
}

impl<S: Service> Server<S> {
    /// Prepares a server; on the endpoint of `service`, if it exports one and was given it, it answers liveness questions.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn new(page: &StartPage, service: Option<Export>, limits: Limits) -> Result<Self, SocketError> {
        let client = Client::new(page)?;
        let endpoint = service.and_then(|service| service.find_endpoint(page));
        if endpoint.is_some() {
            sys::bind_notification(client.notification())
                .map_err(|error| SocketError::Kernel { step: "bind a notification", error })?;
        }
        let table = Table::new(limits.sessions);
        let (listeners, sockets) = (Vec::new(), Vec::new());
        Ok(Self { client, endpoint, limits, listeners, sockets, table, next_sweep: 0 })
    }

    /// Keeps a TCP port open, with rings of `ring` bytes (a power of two from 4 KiB to 4 MiB) for each connection.
    pub fn listen(&mut self, port: u16, ring: u32) {
        let bit = other_bit(self.listeners.len() + self.sockets.len());
        self.listeners.push(Kept::new(port, ring, bit));
    }

    /// Keeps a UDP port open, with rings of `ring` bytes.
    pub fn bind(&mut self, port: u16, ring: u32) {
        let bit = other_bit(self.listeners.len() + self.sockets.len());
        self.sockets.push(Kept::new(port, ring, bit));
    }

    /// Serves for ever.
    pub fn run(&mut self, service: &mut S) -> ! {
        loop {
            let now = clock::now();
            self.open_missing(now);
            for index in 0..self.listeners.len() {
                self.accept(index, service, now);
            }
            for index in 0..self.sockets.len() {
                self.serve_socket(index, service, now);
            }
            for _ in 0..self.table.waiting() {
                if let Some(number) = self.table.dequeue() {
                    self.serve(number, service, now);
                }
            }
            self.sweep(now);
            let bits = self.client.wait(self.endpoint, self.next_deadline());
            self.mark(bits);
        }
    }

    fn open_missing(&mut self, now: Nanos) {
        let Self { client, limits, listeners, sockets, .. } = self;
        for kept in listeners.iter_mut().filter(|kept| kept.socket.is_none() && kept.retry_at <= now) {
            let result = client.listen(kept.port, limits.backlog, kept.ring, kept.bit);
            kept.opened(result, now);
        }
        for kept in sockets.iter_mut().filter(|kept| kept.socket.is_none() && kept.retry_at <= now) {
            let result = client.bind(kept.port, kept.ring, kept.bit);
            kept.opened(result, now);
        }
    }

    /// Accepts what waits, as far as there is room.
    fn accept(&mut self, index: usize, service: &mut S, now: Nanos) {
        let Self { client, listeners, table, .. } = self;
        let Some(kept) = listeners.get_mut(index).filter(|kept| kept.ready && kept.retry_at <= now) else {
            return;
        };
        for _ in 0..ACCEPT_BATCH {
            let (Some(number), Some(listener)) = (table.next_number(), kept.socket.as_mut()) else { return };
            match listener.accept(client, session_bit(number)) {
                Ok(stream) => {
                    kept.reported = false;
                    let session = Some(service.open(index, &stream, now));
                    // There is room: `next_number` said so, and nothing was inserted since.
                    let _ = table.insert(Entry { stream, session, deadline: FOREVER });
                }
                Err(error) if error.is_would_block() => {
                    kept.ready = false;
                    return;
                }
                // The connection broke before we had it.
                Err(SocketError::Refused(NetError::Aborted)) => {}
                Err(error) if error.is_for_good() => {
                    log!("port {}: accept: {error}; listening again", kept.port);
                    return kept.lost(now);
                }
                Err(error) => {
                    if !core::mem::replace(&mut kept.reported, true) {
                        log!("port {}: accept: {error}; asking again", kept.port);
                    }
                    kept.retry_at = now + ASK_AGAIN;
                    return;
                }
            }
        }
    }

    fn serve_socket(&mut self, index: usize, service: &mut S, now: Nanos) {
        let Some(kept) = self.sockets.get_mut(index).filter(|kept| kept.ready) else { return };
        let Some(socket) = kept.socket.as_mut() else { return };
        if socket.side().status().over {
            return kept.lost(now);
        }
        service.datagrams(index, socket.side(), now);
        socket.flush();
        kept.ready = !socket.side().sleep_until(Want::READABLE, DATAGRAM, 1);
    }

    fn serve(&mut self, number: usize, service: &mut S, now: Nanos) {
        let Some(mut entry) = self.table.take(number) else { return };
        match advance(&mut entry, service, now) {
            Outcome::Asleep => self.table.put(number, entry),
            Outcome::Again => {
                self.table.put(number, entry);
                self.table.enqueue(number);
            }
            Outcome::Ended => {
                drop(entry);
                self.table.end(number);
            }
            Outcome::Aborted => {
                entry.stream.abort();
                self.table.end(number);
            }
        }
    }

    /// Queues the sessions whose time is up.
    fn sweep(&mut self, now: Nanos) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP;
        let due: Vec<usize> =
            self.table.iter().filter(|(_, entry)| entry.deadline <= now).map(|(number, _)| number).collect();
        due.into_iter().for_each(|number| self.table.enqueue(number));
    }

    /// When there is something to do even if nobody signals; in the past = now.
    fn next_deadline(&self) -> Nanos {
        let room = self.table.next_number().is_some();
        let accepts = self.listeners.iter().filter(|kept| kept.ready && room && kept.socket.is_some());
        let datagrams = self.sockets.iter().any(|kept| kept.ready && kept.socket.is_some());
        if self.table.waiting() > 0 || datagrams {
            return 0;
        }
        let missing = self.listeners.iter().filter(|kept| kept.socket.is_none()).map(|kept| kept.retry_at);
        let missing =
            missing.chain(self.sockets.iter().filter(|kept| kept.socket.is_none()).map(|kept| kept.retry_at));
        let sweep = if self.table.is_empty() { FOREVER } else { self.next_sweep };
        accepts.map(|kept| kept.retry_at).chain(missing).fold(sweep, Nanos::min)
    }

    fn mark(&mut self, bits: u64) {
        self.table.enqueue_bits(bits);
        for kept in self.listeners.iter_mut().filter(|kept| kept.bit & bits != 0) {
            kept.ready = true;
        }
        for kept in self.sockets.iter_mut().filter(|kept| kept.bit & bits != 0) {
            kept.ready = true;
        }
    }
}

/// Goes on with one connection until it sleeps, ends, or others should have their turn.
fn advance<S: Service>(entry: &mut Entry<S::Session>, service: &mut S, now: Nanos) -> Outcome {
    let Entry { stream, session, deadline } = entry;
    for _ in 0..ROUNDS {
        let status = stream.side().status();
        if status.error.is_some() || status.over {
            return Outcome::Ended;
        }
        let step = match session {
            Some(session) => service.step(session, stream.side(), now),
            None if status.rx_closed || *deadline <= now => return Outcome::Ended,
            None => linger(stream.side(), *deadline),
        };
        match step {
            Step::Wait { want, read_low, write_low, deadline: until } => {
                *deadline = until;
                stream.flush();
                if stream.side().sleep_until(want, read_low, write_low) {
                    return Outcome::Asleep;
                }
            }
            Step::Close => {
                stream.side().close_tx();
                // The peer may have closed before, and then this is the last round.
                stream.flush();
                (*session, *deadline) = (None, now + LINGER);
            }
            Step::Abort => return Outcome::Aborted,
        }
    }
    stream.flush();
    Outcome::Again
}

/// Reads what still comes, so that the other end is not reset before it has read our last words.
fn linger(side: &mut AppSide, deadline: Nanos) -> Step {
    side.consume_rx(side.readable());
    Step::Wait { want: Want::READABLE.and(Want::OVER), read_low: 1, write_low: 1, deadline }
}
