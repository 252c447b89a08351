//! Call and reply messages.
//!
//! A message is a [`MessageInfo`] word, four register words, up to [`MAX_INLINE`] bytes and up to [`MAX_CAPS`]
//! capabilities. The last two go through an [`IpcBuffer`] in the memory of the thread that sends or receives; a message
//! of register words alone needs none.

use crate::{Handle, plain};

/// Register words in a message.
pub const WORDS: usize = 4;
/// Inline bytes in a message: what fits in an [`IpcBuffer`]. More goes through a shared region.
pub const MAX_INLINE: usize = 1024;
/// Capabilities in a message.
pub const MAX_CAPS: usize = 4;

/// What a received message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call; the receiver owes a reply.
    Call,
    /// Bits of the notification bound to the receiving thread, in word 0. No reply is owed.
    Notification,
    /// A fault of a sandbox whose fault port leads here ([`Fault`] in the words). No reply is owed.
    Fault,
}

/// The message word: label (bits 0..32), inline length (32..48), number of capabilities (48..52), kind (56..64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageInfo(pub u64);

impl MessageInfo {
    /// A message with a label and register words only.
    #[must_use]
    pub const fn new(label: u32) -> Self {
        Self(label as u64)
    }

    /// The same with `len` inline bytes; the kernel refuses more than [`MAX_INLINE`].
    #[must_use]
    pub const fn with_inline(self, len: usize) -> Self {
        Self(self.0 & !(0xffff << 32) | ((len as u64 & 0xffff) << 32))
    }

    /// The same with `count` capabilities; the kernel refuses more than [`MAX_CAPS`].
    #[must_use]
    pub const fn with_caps(self, count: usize) -> Self {
        Self(self.0 & !(0xf << 48) | ((count as u64 & 0xf) << 48))
    }

    /// The same marked as `kind`; the kernel sets it on delivery and ignores it on sending.
    #[must_use]
    pub const fn with_kind(self, kind: Kind) -> Self {
        Self(self.0 & !(0xff << 56) | ((kind as u64) << 56))
    }

    /// What the two sides call the request or the result; Core-0 gives it no meaning.
    #[must_use]
    pub const fn label(self) -> u32 {
        self.0 as u32
    }

    /// Inline bytes in the message.
    #[must_use]
    pub const fn inline_len(self) -> usize {
        (self.0 >> 32 & 0xffff) as usize
    }

    /// Capabilities in the message.
    #[must_use]
    pub const fn caps(self) -> usize {
        (self.0 >> 48 & 0xf) as usize
    }

    /// Whether the message is register words alone.
    #[must_use]
    pub const fn is_words_only(self) -> bool {
        self.0 & 0xf_ffff << 32 == 0
    }

    /// What was received.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.0 >> 56 {
            1 => Kind::Notification,
            2 => Kind::Fault,
            _ => Kind::Call,
        }
    }
}

/// One capability to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SendCap {
    /// The sender's slot.
    pub slot: Handle,
    /// [`SendCap::COPY`] or [`SendCap::MOVE`].
    pub mode: u32,
    /// Rights that the receiver gets: these and the sender's.
    pub rights: u32,
    /// Padding, zero.
    pub reserved: u32,
}

impl SendCap {
    /// The receiver gets a copy (needs [`crate::Rights::COPY`]).
    pub const COPY: u32 = 0;
    /// The receiver gets the capability itself; the sender's slot becomes empty.
    pub const MOVE: u32 = 1;
}

/// Where a thread puts what does not fit in registers. It must lie in one writable mapping, 8-aligned.
///
/// One buffer serves both directions: the kernel reads `send_caps` and `data` when the thread sends and writes `received`
/// and `data` when a message reaches the thread.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct IpcBuffer {
    /// Capabilities to send.
    pub send_caps: [SendCap; MAX_CAPS],
    /// Empty slots that the owner of the buffer offers for capabilities to come, in order; 0 = none.
    pub receive_slots: [Handle; MAX_CAPS],
    /// Inline bytes.
    pub data: [u8; MAX_INLINE],
}

plain!(SendCap, IpcBuffer);

/// Offset of [`IpcBuffer::receive_slots`].
pub const RECEIVE_SLOTS_OFFSET: usize = core::mem::offset_of!(IpcBuffer, receive_slots);
/// Offset of [`IpcBuffer::data`].
pub const DATA_OFFSET: usize = core::mem::offset_of!(IpcBuffer, data);

/// Why a sandbox froze: the words of a fault message are `[cause, detail, address, instruction pointer]`, and its label
/// is the sandbox's serial number's low half; the badge is that of the fault port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Fault {
    /// A processor exception; detail = vector | error code << 8.
    Exception = 1,
    /// The sandbox ended itself; detail = the code it gave.
    Exit = 2,
    /// Whoever manages the sandbox froze it; detail = the reason it gave.
    Frozen = 3,
}

impl Fault {
    /// Reads word 0 of a fault message.
    #[must_use]
    pub const fn from_word(word: u64) -> Option<Self> {
        match word {
            1 => Some(Self::Exception),
            2 => Some(Self::Exit),
            3 => Some(Self::Frozen),
            _ => None,
        }
    }
}
