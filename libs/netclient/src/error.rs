//! Why a socket could not be opened or used, and whether to try again.

use core::fmt;
use hic_abi::Error;
use hic_netapi::NetError;
use hic_netapi::region::LayoutError;

/// Why a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketError {
    /// The stack refused it.
    Refused(NetError),
    /// The object behind the port is gone: the stack could not take it over when it was started again, which it says in the log. Open it
    /// again through the service port.
    SocketLost,
    /// The kernel refused a step.
    Kernel {
        /// Which.
        step: &'static str,
        /// Why.
        error: Error,
    },
    /// No capability slot of this program is free.
    NoSlot,
    /// The data region is not one of this interface version.
    Region(LayoutError),
}

impl SocketError {
    /// An error of a call through a socket's own port.
    pub(crate) const fn of_call(error: Error) -> Self {
        match error {
            Error::Gone | Error::InvalidHandle => Self::SocketLost,
            error => Self::Kernel { step: "call", error },
        }
    }

    /// Whether the socket that was asked will never answer otherwise: it is gone, or the two sides do not understand each other.
    #[must_use]
    pub const fn is_for_good(self) -> bool {
        use NetError::{BadArgument, BadSequence, Closed, Protocol, UnknownOperation};
        matches!(
            self,
            Self::SocketLost
                | Self::Refused(BadArgument | BadSequence | Closed | Protocol | UnknownOperation)
        )
    }

    /// Whether the stack has nothing now and will signal when it has.
    #[must_use]
    pub const fn is_would_block(self) -> bool {
        matches!(self, Self::Refused(NetError::WouldBlock))
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "refused by the stack: {error}"),
            Self::SocketLost => f.write_str("the stack lost the socket when it was restarted"),
            Self::Kernel { step, error } => write!(f, "{step}: {error}"),
            Self::NoSlot => f.write_str("no free capability slot"),
            Self::Region(error) => write!(f, "data region: {error}"),
        }
    }
}

impl core::error::Error for SocketError {}
