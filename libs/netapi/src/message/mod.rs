//! Commands and replies as plain numbers: a 32-bit label and four 64-bit words, so that each fits the register path of
//! IPC. Which capability travels in which slot is part of the contract and named here; the capabilities themselves are
//! the caller's business.
//!
//! A label is `interface << 16 | operation`. A reply's label is 0 for success or a [`NetError`] code.

mod error;
pub mod sequence;
pub mod tcp;
pub mod udp;
mod words;

pub use error::NetError;

/// A message as IPC carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What is asked for, or for a reply the outcome (0 or a [`NetError`] code).
    pub label: u32,
    /// The arguments.
    pub words: [u64; 4],
}

/// Label of a reply that reports success.
pub const LABEL_OK: u32 = 0;

/// Request slot: the notification the stack signals for this object (Listen, Connect, Bind).
pub const CAP_NOTIFICATION: usize = 0;
/// Reply slot: the port to the new listener, connection or UDP socket. It is also the socket's doorbell: signalled with the bits in
/// the reply, it rings whoever serves the socket now.
pub const CAP_PORT: usize = 0;
/// Reply slot: the data region (absent in the reply to Listen).
pub const CAP_REGION: usize = 1;

impl Message {
    /// A success reply with these words.
    pub const fn ok(words: [u64; 4]) -> Self {
        Self { label: LABEL_OK, words }
    }

    /// A reply that reports `error`; `detail` goes into the first word (see [`NetError`] for which use it).
    pub const fn error(error: NetError, detail: u64) -> Self {
        Self { label: error.code(), words: [detail, 0, 0, 0] }
    }

    /// Splits a reply into its words, or the error that it reports.
    ///
    /// # Errors
    /// The reported [`NetError`]; a label that names none is [`NetError::Protocol`].
    pub fn into_result(self) -> Result<[u64; 4], NetError> {
        match self.label {
            LABEL_OK => Ok(self.words),
            code => Err(NetError::from_code(code).unwrap_or(NetError::Protocol)),
        }
    }
}
