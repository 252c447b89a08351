//! Calls and replies.
//!
//! A program has one message buffer for each thread; it owns it as [`Buffer`] and passes it by `&mut`, so the compiler sees that no two
//! messages share it. A call whose server died is asked again by [`call_retry`]: what the request changes must carry a sequence number,
//! so that it is answered and not repeated (architecture, "IPC").

use crate::sys::{self, MessageRegisters};
use hic_abi::message::{Fault, Kind, MAX_CAPS, MAX_INLINE, SendCap};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, FOREVER, Handle, IpcBuffer, MessageInfo, Nanos, Plain, Rights};

/// A message of register words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Label, inline length, capabilities.
    pub info: MessageInfo,
    /// The words.
    pub words: [u64; 4],
}

impl Message {
    /// A message with words only.
    #[must_use]
    pub const fn new(label: u32, words: [u64; 4]) -> Self {
        Self { info: MessageInfo::new(label), words }
    }

    /// Its label.
    #[must_use]
    pub const fn label(&self) -> u32 {
        self.info.label()
    }
}

/// What came to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A call; an answer is owed.
    Call {
        /// Badge of the port.
        badge: u64,
        /// Serial number of the calling sandbox.
        caller: u64,
        /// The message.
        message: Message,
    },
    /// Bits of the bound notification.
    Signal(u64),
    /// A sandbox froze.
    Fault {
        /// Badge of the fault port.
        badge: u64,
        /// Serial number of the sandbox.
        sandbox: u64,
        /// Why; `None` for a number of no cause.
        cause: Option<Fault>,
        /// Cause, detail, address, instruction pointer.
        words: [u64; 4],
    },
}

/// A thread's message buffer.
pub struct Buffer {
    inner: IpcBuffer,
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Buffer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: IpcBuffer::zeroed() }
    }

    /// The first `len` inline bytes, at most [`MAX_INLINE`].
    #[must_use]
    pub fn data(&self, len: usize) -> &[u8] {
        &self.inner.data[..len.min(MAX_INLINE)]
    }

    /// All inline bytes, to fill.
    pub fn data_mut(&mut self) -> &mut [u8; MAX_INLINE] {
        &mut self.inner.data
    }

    /// Puts bytes (at most [`MAX_INLINE`]) in and returns how many went.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(MAX_INLINE);
        self.inner.data[..len].copy_from_slice(&bytes[..len]);
        len
    }

    /// Sends a copy of a capability as the `n`th (0..4) of the next message; `n` beyond that is ignored.
    pub fn send_copy(&mut self, n: usize, slot: Handle, rights: Rights) {
        if let Some(send) = self.inner.send_caps.get_mut(n) {
            *send = SendCap { slot, mode: SendCap::COPY, rights: rights.bits(), reserved: 0 };
        }
    }

    /// Gives a capability away as the `n`th of the next message.
    pub fn send_move(&mut self, n: usize, slot: Handle) {
        if let Some(send) = self.inner.send_caps.get_mut(n) {
            *send = SendCap { slot, mode: SendCap::MOVE, rights: 0, reserved: 0 };
        }
    }

    /// Offers empty slots for capabilities to come, in order; the rest is 0 = none.
    pub fn offer(&mut self, slots: &[Handle]) {
        self.inner.receive_slots = [0; MAX_CAPS];
        for (to, from) in self.inner.receive_slots.iter_mut().zip(slots) {
            *to = *from;
        }
    }

    fn pointer(&mut self) -> *mut IpcBuffer {
        &raw mut self.inner
    }
}

fn registers(rdi: u64, message: Message, deadline: Nanos) -> MessageRegisters {
    MessageRegisters { rdi, info: message.info.0, words: message.words, r12: deadline }
}

/// Calls a port with register words only; the answer must be words only too.
///
/// # Errors
/// See [`Syscall::Call`]; [`Error::ServerDied`] when the call was received and not answered.
#[inline(always)]
pub fn call_words(port: Handle, message: Message, deadline: Nanos) -> Result<Message, Error> {
    let out = sys::message(Syscall::Call, registers(port.into(), message, deadline), core::ptr::null_mut())?;
    Ok(Message { info: MessageInfo(out.info), words: out.words })
}

/// Calls a port; inline bytes and capabilities go through `buffer`.
///
/// # Errors
/// As [`call_words`].
pub fn call(port: Handle, message: Message, buffer: &mut Buffer, deadline: Nanos) -> Result<Message, Error> {
    let out = sys::message(Syscall::Call, registers(port.into(), message, deadline), buffer.pointer())?;
    Ok(Message { info: MessageInfo(out.info), words: out.words })
}

/// Calls a port and asks again as often as the server dies under the call. The request must be one that may be repeated: it reads only,
/// or carries a sequence number.
///
/// # Errors
/// As [`call_words`], but for [`Error::ServerDied`].
pub fn call_retry(port: Handle, message: Message, deadline: Nanos) -> Result<Message, Error> {
    loop {
        match call_words(port, message, deadline) {
            Err(Error::ServerDied) => {}
            other => return other,
        }
    }
}

#[inline(always)]
fn received(out: MessageRegisters) -> Received {
    let info = MessageInfo(out.info);
    match info.kind() {
        Kind::Call => {
            Received::Call { badge: out.rdi, caller: out.r12, message: Message { info, words: out.words } }
        }
        Kind::Notification => Received::Signal(out.words[0]),
        Kind::Fault => Received::Fault {
            badge: out.rdi,
            sandbox: out.r12,
            cause: Fault::from_word(out.words[0]),
            words: out.words,
        },
    }
}

/// Answers one call after the other, as a server of register words does; `answer` gets badge, caller and message of each. What it returns is the
/// first that was no call.
///
/// # Errors
/// As [`receive`] and [`reply`].
#[inline(always)]
pub fn answer_calls(
    endpoint: Handle,
    buffer: &mut Buffer,
    mut answer: impl FnMut(u64, u64, Message) -> Message,
) -> Result<Received, Error> {
    let (at, empty) = (endpoint.into(), Message::new(0, [0; 4]));
    let mut out = sys::message(Syscall::Receive, registers(at, empty, FOREVER), buffer.pointer())?;
    while MessageInfo(out.info).kind() == Kind::Call {
        let message = Message { info: MessageInfo(out.info), words: out.words };
        let message = answer(out.rdi, out.r12, message);
        out = sys::message(Syscall::ReplyReceive, registers(at, message, FOREVER), buffer.pointer())?;
    }
    Ok(received(out))
}

/// Waits on an endpoint until `deadline` ([`FOREVER`], or 0 to poll).
///
/// # Errors
/// [`Error::Timeout`], [`Error::WouldBlock`] for a poll; others are faults of the program.
pub fn receive(endpoint: Handle, buffer: &mut Buffer, deadline: Nanos) -> Result<Received, Error> {
    let empty = Message::new(0, [0; 4]);
    sys::message(Syscall::Receive, registers(endpoint.into(), empty, deadline), buffer.pointer())
        .map(received)
}

/// Answers the call received last.
///
/// # Errors
/// [`Error::CallerGone`]: nobody waits any more. [`Error::NoReceiveSlot`]: the caller made no room; it was told.
pub fn reply(message: Message, buffer: &mut Buffer) -> Result<(), Error> {
    sys::message(Syscall::Reply, registers(0, message, FOREVER), buffer.pointer()).map(|_| ())
}

/// Answers, then receives. A caller that is gone does not keep the server from the next one.
///
/// # Errors
/// As [`receive`] and [`reply`].
#[inline(always)]
pub fn reply_receive(
    endpoint: Handle,
    message: Message,
    buffer: &mut Buffer,
    deadline: Nanos,
) -> Result<Received, Error> {
    sys::message(Syscall::ReplyReceive, registers(endpoint.into(), message, deadline), buffer.pointer())
        .map(received)
}
