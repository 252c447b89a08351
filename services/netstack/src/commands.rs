//! Calls: for whom, what is asked, and the answer with its capabilities.
//!
//! Order within a command: effect, record (with the answer), answer. An answer that its caller does not take gives the
//! capabilities in it back, and with them the socket.

use crate::shell::Shell;
use alloc::vec::Vec;
use hic_abi::{Handle, MessageInfo, Plain, Rights};
use hic_net::record::{Origin, Stage};
use hic_net::{Id, Micros, Socket, Stack};
use hic_netapi::admin;
use hic_netapi::message::sequence::Verdict;
use hic_netapi::message::{CAP_PORT, CAP_REGION, Message, NetError, tcp, udp};
use hic_netapi::{Layout, RegionKind};
use hic_rt::{cap, clock, ipc, log};
use netstack::orphans::{self, Orphans};
use netstack::{place, view};

/// Labels of admin requests have this above the operation.
const ADMIN: u32 = 3;
/// The same for udp@1.
const UDP: u32 = 2;

/// The slot of a capability that came with a call; emptied again unless somebody takes it.
pub struct Arrived(Option<Handle>);

impl Arrived {
    /// Around a slot that holds it.
    pub fn new(slot: Handle) -> Self {
        Self(Some(slot))
    }

    fn into_slot(mut self) -> Option<Handle> {
        self.0.take()
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(cap::drop_slot);
    }
}

/// One call.
pub struct Call {
    /// Badge of the port.
    pub badge: u64,
    /// Serial number of the calling sandbox.
    pub caller: u64,
    /// The message.
    pub message: ipc::Message,
    /// The capability that came with it.
    pub capability: Option<Arrived>,
}

/// An answer, and the socket whose capabilities go with it.
struct Answer {
    message: Message,
    grants: Option<Socket>,
}

impl Answer {
    fn plain(message: Message) -> Self {
        Self { message, grants: None }
    }
}

type Outcome = Result<Answer, NetError>;

/// What a command works on.
pub struct Context<'a> {
    /// The engine.
    pub stack: &'a mut Stack,
    /// Its surroundings.
    pub shell: &'a mut Shell,
    /// This thread's message buffer.
    pub buffer: &'a mut ipc::Buffer,
    /// Sockets to be spared though nobody holds them.
    pub orphans: &'a mut Orphans,
    /// The time.
    pub now: Micros,
}

impl Context<'_> {
    /// Acts on a call and answers it.
    pub fn answer(&mut self, mut call: Call) {
        if call.message.label() == hic_control::PING {
            return self.reply(Message { label: hic_control::OK, words: [0; 4] }, 0);
        }
        if call.message.label() >> 16 == ADMIN {
            return self.admin(&call.message);
        }
        let outcome = match place::target(call.badge) {
            place::Target::Service => self.service(&mut call),
            place::Target::Socket(Socket::Listener(id)) => self.listener(id, &call),
            place::Target::Socket(Socket::Connection(id)) => self.connection(id, &call),
            place::Target::Socket(Socket::Udp(id)) => self.udp_socket(id, &call),
        };
        match outcome {
            Ok(Answer { message, grants: None }) => self.reply(message, 0),
            Ok(Answer { message, grants: Some(socket) }) => self.reply_with(message, socket),
            Err(error) => self.reply(Message::error(error, 0), 0),
        }
    }

    fn reply(&mut self, message: Message, inline: usize) {
        let info = MessageInfo::new(message.label).with_inline(inline);
        // A caller that gave up needs no answer.
        let _ = ipc::reply(ipc::Message { info, words: message.words }, self.buffer);
    }

    /// Answers with the capabilities of a socket: port, data region if it has one.
    fn reply_with(&mut self, message: Message, socket: Socket) {
        let port = match self.shell.make_port(socket) {
            Ok(port) => port,
            Err(error) => {
                log!("no port for a socket: {error}");
                self.discard(socket);
                return self.reply(Message::error(NetError::NoMemory, 0), 0);
            }
        };
        self.buffer.send_move(CAP_PORT, port);
        let mut caps = CAP_PORT + 1;
        if let Some((region, _)) = self.shell.region_of(socket) {
            self.buffer.send_copy(CAP_REGION, region, Rights::READ | Rights::WRITE);
            caps = CAP_REGION + 1;
        }
        let info = MessageInfo::new(message.label).with_caps(caps);
        match ipc::reply(ipc::Message { info, words: message.words }, self.buffer) {
            Ok(()) => cap::release(port),
            // Nobody has the port. Its caller may have given up waiting, and ask again.
            Err(_) => {
                self.orphans.add(socket, clock::now());
                cap::drop_slot(port);
            }
        }
    }

    /// Ends a socket that nobody holds.
    pub fn discard(&mut self, socket: Socket) {
        // One that is about to move refuses: whoever has it then finds out by itself that nobody holds it.
        let _ = match socket {
            Socket::Connection(id) => self.stack.release(self.now, id, self.shell),
            Socket::Listener(id) => self.stack.close_listener(self.now, id, self.shell),
            Socket::Udp(id) => self.stack.udp_close(self.now, id, self.shell),
        };
    }

    /// Ends the sockets in these buckets that nobody holds any more: dropped, or the application died.
    pub fn bury(&mut self, buckets: u64) {
        for socket in self.shell.bereaved(buckets) {
            if !self.orphans.has(socket) {
                self.discard(socket);
            }
        }
    }

    /// At a start, and after a batch: spares the sockets that nobody holds and whose command may come again, and ends those that nobody can ask for
    /// any more.
    pub fn judge_unheld(&mut self) {
        let open = |id: &Id| self.stack.connection(*id).is_some_and(|info| info.stage == Stage::Open);
        let connections = self.stack.connections().filter(open).map(Socket::Connection);
        let listeners = self.stack.listeners().map(|(id, _)| Socket::Listener(id));
        let udp = self.stack.udp_sockets().map(|(id, _)| Socket::Udp(id));
        let all = connections.chain(listeners).chain(udp);
        let mut unheld: Vec<Socket> = all.filter(|socket| !self.shell.has_port(*socket)).collect();
        unheld.extend(self.shell.bereaved(u64::MAX));
        for socket in unheld {
            if self.may_come_again(socket) {
                self.orphans.add(socket, clock::now());
            } else if !self.orphans.has(socket) {
                self.discard(socket);
            }
        }
    }

    /// Whether the command that opened this socket may come again.
    fn may_come_again(&self, socket: Socket) -> bool {
        let Socket::Connection(id) = socket else { return true };
        let record = self.stack.connection_record(id);
        record.is_some_and(|record| orphans::may_come_again(record.origin, self.stack.listeners()))
    }

    /// Ends the orphans that nobody asked for.
    pub fn bury_orphans(&mut self) {
        for socket in self.orphans.take_due(clock::now()) {
            // With a port that has no holder, `bury` finds it.
            if !self.shell.watch_port(socket) {
                self.discard(socket);
            }
        }
    }

    /// Commands that open something. A repeat finds what the first attempt opened.
    fn service(&mut self, call: &mut Call) -> Outcome {
        // A program that was started again asks for the ports of its earlier life, which may not have been noticed yet.
        self.bury(u64::MAX);
        let message = Message { label: call.message.label(), words: call.message.words };
        if message.label >> 16 == UDP {
            let udp::ServiceCommand::Bind { seq, local_port, buffer_size, signal } =
                udp::ServiceCommand::decode(&message)?;
            let notification = call.capability.take().ok_or(NetError::BadArgument)?;
            let layout = layout(RegionKind::Udp, buffer_size)?;
            let socket = match self.opened_before(call, seq)? {
                Some(socket) => socket,
                None => {
                    Socket::Udp(self.stack.udp_bind(local_port, layout, origin(call, seq), self.shell)?.0)
                }
            };
            self.tell(socket, notification, signal);
            return self.bound(socket);
        }
        let notification = call.capability.take().ok_or(NetError::BadArgument);
        match tcp::ServiceCommand::decode(&message)? {
            tcp::ServiceCommand::Listen { seq, local_port, backlog, buffer_size, signal } => {
                let (notification, layout) = (notification?, layout(RegionKind::Tcp, buffer_size)?);
                let socket = match self.opened_before(call, seq)? {
                    Some(socket) => socket,
                    None => {
                        let origin = origin(call, seq);
                        let backlog = backlog.min(place::MAX_BACKLOG);
                        Socket::Listener(self.stack.listen(local_port, backlog, layout, origin, self.shell)?)
                    }
                };
                self.tell(socket, notification, signal);
                Ok(Answer { message: tcp::Listening { local_port }.encode(), grants: Some(socket) })
            }
            tcp::ServiceCommand::Connect { seq, remote, local_port, buffer_size, signal } => {
                let (notification, layout) = (notification?, layout(RegionKind::Tcp, buffer_size)?);
                let (origin, before) = (origin(call, seq), self.opened_before(call, seq)?);
                let socket = match before {
                    Some(socket) => socket,
                    None => Socket::Connection(
                        self.stack.connect(self.now, remote, local_port, layout, origin, self.shell)?,
                    ),
                };
                self.tell(socket, notification, signal);
                self.opened(socket)
            }
        }
    }

    fn tell(&mut self, socket: Socket, notification: Arrived, signal: u64) {
        if let Some(slot) = notification.into_slot() {
            self.shell.set_application(socket, slot, signal);
        }
    }

    /// What an earlier attempt of this command opened.
    fn opened_before(&self, call: &Call, seq: u64) -> Result<Option<Socket>, NetError> {
        self.unless_frozen(self.stack.opened_by(origin(call, seq)))
    }

    /// A socket that is about to move gets no new capabilities: whoever has it then is asked the same.
    fn unless_frozen(&self, socket: Option<Socket>) -> Result<Option<Socket>, NetError> {
        if socket.is_some_and(|socket| self.stack.is_frozen(socket)) {
            Err(NetError::NotReady)
        } else {
            Ok(socket)
        }
    }

    fn bound(&mut self, socket: Socket) -> Outcome {
        let number = place::of(socket).ok_or(NetError::Closed)?;
        let Socket::Udp(id) = socket else { return Err(NetError::BadSequence) };
        let (_, record) = self.stack.udp_sockets().find(|(other, _)| *other == id).ok_or(NetError::Closed)?;
        let (_, region_len) = self.shell.region_of(socket).ok_or(NetError::Closed)?;
        let doorbell_bits = place::doorbell_bit(number);
        let message = udp::Bound { local_port: record.port, region_len, doorbell_bits }.encode();
        Ok(Answer { message, grants: Some(socket) })
    }

    fn opened(&mut self, socket: Socket) -> Outcome {
        let number = place::of(socket).ok_or(NetError::Closed)?;
        let Socket::Connection(id) = socket else { return Err(NetError::BadSequence) };
        let info = self.stack.connection(id).ok_or(NetError::Closed)?;
        let (_, region_len) = self.shell.region_of(socket).ok_or(NetError::Closed)?;
        let doorbell_bits = place::doorbell_bit(number);
        let opened = tcp::Opened { local: info.local, remote: info.remote, region_len, doorbell_bits };
        Ok(Answer { message: opened.encode(), grants: Some(socket) })
    }

    /// What a command on a socket is answered with that the engine does not have. Its port may be here before it is: in a batch, between the
    /// transaction and its service; or in a start after the one that froze it. Then its caller asks again. Who heard that his listener
    /// is closed would let it go, and everybody who waits on it would be reset.
    fn absent(&self, socket: Socket) -> NetError {
        if self.shell.records.names(socket) { NetError::NotReady } else { NetError::Closed }
    }

    /// Judges a numbered command on a socket's port: `Ok(None)` if it is new, else its answer.
    fn judge(&self, socket: Socket, seq: u64) -> Result<Option<Message>, NetError> {
        if self.stack.is_frozen(socket) {
            // It is about to move: whoever has it then is asked the same.
            return Err(NetError::NotReady);
        }
        match self.stack.commands(socket).ok_or_else(|| self.absent(socket))?.judge(seq) {
            Verdict::Execute => Ok(None),
            Verdict::Repeat(message) => Ok(Some(message)),
            Verdict::Refuse { expected } => Ok(Some(Message::error(NetError::BadSequence, expected))),
        }
    }

    fn listener(&mut self, id: Id, call: &Call) -> Outcome {
        let socket = Socket::Listener(id);
        let message = Message { label: call.message.label(), words: call.message.words };
        match tcp::ListenerCommand::decode(&message)? {
            tcp::ListenerCommand::Accept { seq, signal } => self.accept(id, seq, signal),
            tcp::ListenerCommand::Close { seq } => {
                if let Some(answer) = self.judge(socket, seq)? {
                    return Ok(Answer::plain(answer));
                }
                self.stack.close_listener(self.now, id, self.shell)?;
                Ok(Answer::plain(Message::ok([0; 4])))
            }
        }
    }

    fn accept(&mut self, id: Id, seq: u64, signal: u64) -> Outcome {
        let listener = Socket::Listener(id);
        let found = self.stack.listeners().find(|(other, _)| *other == id);
        let (_, record) = found.ok_or_else(|| self.absent(listener))?;
        let origin = orphans::origin_of_accept(id, &record, seq);
        if let Some(kept) = self.judge(listener, seq)? {
            // The same connection again, with new capabilities, if the first answer did not arrive and it still exists.
            return match kept.into_result() {
                Ok(_) => {
                    let socket = self.unless_frozen(self.stack.opened_by(origin))?;
                    let socket = socket.ok_or(NetError::Aborted)?;
                    // Another number may be free for it by now, and with it another bit.
                    self.shell.set_bits(socket, signal);
                    self.opened(socket)
                }
                Err(_) => Ok(Answer::plain(kept)),
            };
        }
        // The connection's record decides: one that this command took before a crash is not taken again.
        let taken = if self.orphans.is_empty() { None } else { self.stack.opened_by(origin) };
        let taken = self.unless_frozen(taken)?;
        let Some(notification) = self.shell.copy_of_notification(listener) else {
            // An answer like any other: its number is used up here as it is at the caller's.
            let message = Message::error(NetError::NoMemory, 0);
            self.stack.answered(listener, seq, message, self.shell);
            return Ok(Answer::plain(message));
        };
        let accepted = match taken {
            Some(socket) => Ok(socket),
            None => self.stack.accept(id, origin, self.shell).map(Socket::Connection),
        };
        let outcome = match accepted {
            Ok(socket) => {
                self.shell.set_application(socket, notification, signal);
                self.opened(socket)
            }
            Err(error) => {
                cap::drop_slot(notification);
                Err(error)
            }
        };
        let message = match &outcome {
            Ok(answer) => answer.message,
            Err(error) => Message::error(*error, 0),
        };
        self.stack.answered(listener, seq, message, self.shell);
        outcome
    }

    fn connection(&mut self, id: Id, call: &Call) -> Outcome {
        let socket = Socket::Connection(id);
        let message = Message { label: call.message.label(), words: call.message.words };
        let command = tcp::ConnectionCommand::decode(&message)?;
        let Some(seq) = command.seq() else {
            let info = self.stack.connection(id).ok_or_else(|| self.absent(socket))?;
            let state = view::state_code(info.state);
            let info = tcp::Info { local: info.local, remote: info.remote, state, error: info.error };
            return Ok(Answer::plain(info.encode()));
        };
        if let Some(answer) = self.judge(socket, seq)? {
            return Ok(Answer::plain(answer));
        }
        match command {
            tcp::ConnectionCommand::Shutdown { .. } => self.stack.shutdown(self.now, id, self.shell),
            tcp::ConnectionCommand::Close { .. } => self.stack.close(self.now, id, self.shell),
            tcp::ConnectionCommand::Abort { .. } => self.stack.abort(self.now, id, self.shell),
            tcp::ConnectionCommand::Info => Ok(()),
        }?;
        let message = Message::ok([0; 4]);
        self.stack.answered(socket, seq, message, self.shell);
        Ok(Answer::plain(message))
    }

    fn udp_socket(&mut self, id: Id, call: &Call) -> Outcome {
        let socket = Socket::Udp(id);
        let message = Message { label: call.message.label(), words: call.message.words };
        let udp::SocketCommand::Close { seq } = udp::SocketCommand::decode(&message)?;
        if let Some(answer) = self.judge(socket, seq)? {
            return Ok(Answer::plain(answer));
        }
        self.stack.udp_close(self.now, id, self.shell)?;
        Ok(Answer::plain(Message::ok([0; 4])))
    }

    fn admin(&mut self, message: &ipc::Message) {
        let [index, ..] = message.words;
        let len = match message.label() {
            admin::ADMIN_NET => Some(self.buffer.put(view::net_info(self.stack, self.now, true).as_bytes())),
            admin::ADMIN_CONNECTION => {
                view::socket(self.stack, |place| self.shell.records.freeze(place), index)
                    .map(|record| self.buffer.put(record.as_bytes()))
            }
            admin::ADMIN_COUNTER => view::counter(self.stack, self.shell.records.poisoned(), index)
                .map(|record| self.buffer.put(record.as_bytes())),
            _ => return self.reply(Message::error(NetError::UnknownOperation, 0), 0),
        };
        match len {
            Some(len) => self.reply(Message::ok([0; 4]), len),
            None => self.reply(Message { label: admin::NO_RECORD, words: [0; 4] }, 0),
        }
    }
}

fn layout(kind: RegionKind, size: u32) -> Result<Layout, NetError> {
    Layout::new(kind, size, size).map_err(|_| NetError::BadArgument)
}

/// Who sent a command: the caller's sandbox, the port it came through, its number.
fn origin(call: &Call, seq: u64) -> Origin {
    Origin { badge: call.caller << 32 | call.badge & 0xffff_ffff, seq }
}
