//! Commands to the stack: numbered, repeated when it died under them, with the capabilities that they bring.

use crate::error::SocketError;
use crate::socket::{TcpListener, TcpStream, UdpSocket};
use core::net::SocketAddrV4;
use hic_abi::start::StartPage;
use hic_abi::{Error, Handle, MessageInfo, Nanos, Rights, SELF};
use hic_control::grants;
use hic_netapi::NetError;
use hic_netapi::message::{CAP_NOTIFICATION, Message as NetMessage, tcp, udp};
use hic_rt::ipc::{self, Buffer, Message, Received};
use hic_rt::{cap, clock, log, start, sys};

/// How long a command may take. A stack that is being restarted answers when it is back; who wants longer asks again. Shorter than a
/// monitor waits for us to say that we are alive: we cannot while we wait here.
const PATIENCE: Nanos = 300_000_000;
/// Capabilities in the reply to a command that opens a socket: port, data region.
const OPENED_CAPS: usize = 2;

/// This program's connection to the stack.
pub struct Client {
    service: Handle,
    notification: Handle,
    sequence: u64,
    buffer: Buffer,
}

/// Slots offered for a reply's capabilities.
pub(crate) struct Offered([Handle; OPENED_CAPS]);

impl Offered {
    fn new() -> Result<Self, SocketError> {
        let mut slots = [0; OPENED_CAPS];
        for n in 0..OPENED_CAPS {
            let Some(slot) = cap::allocate() else {
                slots.iter().filter(|slot| **slot != 0).for_each(|slot| cap::release(*slot));
                return Err(SocketError::NoSlot);
            };
            if let Some(place) = slots.get_mut(n) {
                *place = slot;
            }
        }
        Ok(Self(slots))
    }

    /// Gives the slots back that the reply left empty.
    fn discard(self) {
        self.0.into_iter().for_each(cap::drop_slot);
    }

    /// Port, region.
    fn into_slots(self) -> [Handle; OPENED_CAPS] {
        self.0
    }
}

/// Deletes what an earlier life of this program left in its capability space: its connections close, and their memory goes
/// back. To be called once, before any slot is used.
fn sweep(page: &StartPage) {
    if page.restarts == 0 {
        return;
    }
    for slot in page.first_free_slot..page.slots {
        let _ = sys::cap_delete(SELF, slot as Handle);
    }
}

impl Client {
    /// Prepares this program (grants `account` and `port:netstack`): forgets what an earlier life of it held, and makes the
    /// notification with which the stack wakes it. Call it before anything else that allocates capability slots.
    ///
    /// # Errors
    /// [`SocketError::Kernel`], [`SocketError::NoSlot`]: the account or the capability space is too small.
    pub fn new(page: &StartPage) -> Result<Self, SocketError> {
        sweep(page);
        let account = start::require(page, grants::ACCOUNT).slot;
        let service = start::require(page, "port:netstack").slot;
        let notification = cap::allocate().ok_or(SocketError::NoSlot)?;
        sys::create_notification(account, notification)
            .map_err(|error| SocketError::Kernel { step: "make a notification", error })?;
        // Numbers of an earlier life must not come again: time has passed since, and no program sends a command a nanosecond.
        Ok(Self { service, notification, sequence: clock::now(), buffer: Buffer::new() })
    }

    /// The notification that the stack signals.
    #[must_use]
    pub fn notification(&self) -> Handle {
        self.notification
    }

    /// The buffer, for the program's own messages between commands.
    pub fn buffer(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    /// Waits for bits of [`Client::notification`], at most until `deadline`; none are a reason to look again too. With an `endpoint` (the
    /// notification bound to it by [`sys::bind_notification`]), liveness questions are answered meanwhile.
    pub fn wait(&mut self, endpoint: Option<Handle>, mut deadline: Nanos) -> u64 {
        let Some(endpoint) = endpoint else {
            return sys::wait(self.notification, deadline).unwrap_or(0);
        };
        let mut all = 0;
        loop {
            match ipc::receive(endpoint, &mut self.buffer, deadline) {
                Ok(Received::Call { message, .. }) => {
                    let label = match message.label() {
                        hic_control::PING => hic_control::OK,
                        _ => hic_control::Refusal::UnknownRequest as u32,
                    };
                    let _ = ipc::reply(Message::new(label, [0; 4]), &mut self.buffer);
                }
                // Bits come before calls: who went back to work here would never hear a question while there is always work.
                Ok(Received::Signal(bits)) => (all, deadline) = (all | bits, 0),
                Ok(Received::Fault { .. }) | Err(Error::Timeout | Error::WouldBlock) => return all,
                // A caller that sends capabilities: it was refused by the kernel already.
                Err(Error::NoReceiveSlot) => {}
                Err(error) => {
                    log!("cannot receive: {error}");
                    sys::exit(1)
                }
            }
        }
    }

    /// Listens on a TCP port. `ring` is the size in bytes of each ring of an accepted connection, a power of two from 4 KiB
    /// to 4 MiB; `signal` is signalled when a connection waits.
    ///
    /// # Errors
    /// [`SocketError`]; [`SocketError::Refused`] says why the stack did not.
    pub fn listen(
        &mut self,
        port: u16,
        backlog: u16,
        ring: u32,
        signal: u64,
    ) -> Result<TcpListener, SocketError> {
        let seq = self.next_sequence();
        let command =
            tcp::ServiceCommand::Listen { seq, local_port: port, backlog, buffer_size: ring, signal };
        let (words, offered) = self.open(self.service, &command.encode(), true)?;
        tcp::Listening::decode(&words).map_err(SocketError::Refused)?;
        let [port, region] = offered.into_slots();
        cap::drop_slot(region);
        Ok(TcpListener::new(port))
    }

    /// Opens a TCP connection; the stream's status tells when it is established.
    ///
    /// # Errors
    /// As [`Client::listen`].
    pub fn connect(
        &mut self,
        remote: SocketAddrV4,
        ring: u32,
        signal: u64,
    ) -> Result<TcpStream, SocketError> {
        let seq = self.next_sequence();
        let command = tcp::ServiceCommand::Connect { seq, remote, local_port: 0, buffer_size: ring, signal };
        let (words, offered) = self.open(self.service, &command.encode(), true)?;
        let opened = tcp::Opened::decode(&words).map_err(SocketError::Refused)?;
        TcpStream::open(self.service, offered.into_slots(), &opened)
    }

    /// Opens a UDP socket on a port, 0 for any.
    ///
    /// # Errors
    /// As [`Client::listen`].
    pub fn bind(&mut self, port: u16, ring: u32, signal: u64) -> Result<UdpSocket, SocketError> {
        let seq = self.next_sequence();
        let command = udp::ServiceCommand::Bind { seq, local_port: port, buffer_size: ring, signal };
        let (words, offered) = self.open(self.service, &command.encode(), true)?;
        let bound = udp::Bound::decode(&words).map_err(SocketError::Refused)?;
        UdpSocket::open(self.service, offered.into_slots(), &bound)
    }

    /// Sends one numbered command on a listener's port that opens a connection.
    pub(crate) fn accept(&mut self, port: Handle, command: &NetMessage) -> Result<TcpStream, SocketError> {
        let (words, offered) = self.open(port, command, false)?;
        let opened = tcp::Opened::decode(&words).map_err(SocketError::Refused)?;
        TcpStream::open(self.service, offered.into_slots(), &opened)
    }

    /// Sends one numbered command on a listener's port without room for the capabilities of its answer. Why there is none; without an
    /// error of the kernel's or the stack's it is [`NetError::Protocol`].
    pub(crate) fn accept_in_vain(&mut self, port: Handle, command: &NetMessage) -> SocketError {
        self.buffer.offer(&[]);
        let answer = self.ask(port, command, false);
        let refused = answer.and_then(|answer| answer.into_result().map_err(SocketError::Refused)).err();
        refused.unwrap_or(SocketError::Refused(NetError::Protocol))
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Sends a command that opens something and takes what it brings.
    fn open(
        &mut self,
        port: Handle,
        command: &NetMessage,
        with_notification: bool,
    ) -> Result<([u64; 4], Offered), SocketError> {
        let offered = Offered::new()?;
        self.buffer.offer(&offered.0);
        let answer = self.ask(port, command, with_notification);
        self.buffer.offer(&[]);
        match answer.and_then(|answer| answer.into_result().map_err(SocketError::Refused)) {
            Ok(words) => Ok((words, offered)),
            Err(error) => {
                offered.discard();
                Err(error)
            }
        }
    }

    /// The same message again as often as the stack dies under it, or was started again and is not ready: its number says that it is
    /// the same. While the stack is down the call waits at the port.
    fn ask(&mut self, port: Handle, command: &NetMessage, notify: bool) -> Result<NetMessage, SocketError> {
        let deadline = clock::now() + PATIENCE;
        loop {
            let mut info = MessageInfo::new(command.label);
            if notify {
                // COPY: the stack keeps one capability for each socket, so that each can move to another instance on its own.
                self.buffer.send_copy(CAP_NOTIFICATION, self.notification, Rights::SEND | Rights::COPY);
                info = info.with_caps(1);
            }
            match ipc::call(port, Message { info, words: command.words }, &mut self.buffer, deadline) {
                Ok(answer) if answer.label() == NetError::NotReady.code() && clock::now() < deadline => {
                    sys::yield_now();
                }
                Ok(answer) => return Ok(NetMessage { label: answer.label(), words: answer.words }),
                Err(Error::ServerDied) => {}
                Err(error) => return Err(SocketError::of_call(error)),
            }
        }
    }
}
