//! What the stack answers when it does not do what was asked. The codes are stable: they are reply labels, they appear in
//! data regions, and the console prints them.

use core::fmt;

macro_rules! net_errors {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a command or a connection failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum NetError { $($(#[$doc])* $name = $code,)* }

        impl NetError {
            /// The error with this stable code, if there is one.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }

        impl fmt::Display for NetError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

net_errors! {
    /// Nothing is ready; the object's notification will say when to ask again.
    WouldBlock = 1, "nothing is ready yet: wait for the notification, then ask again";
    /// The local port (or the whole 4-tuple) is taken.
    AddressInUse = 2, "the local port is already in use";
    /// Every ephemeral port towards this destination is taken.
    NoEphemeralPort = 3, "no free ephemeral port towards this destination";
    /// The stack has no memory for another object; existing ones go on.
    NoMemory = 4, "the stack has no memory left for another socket";
    /// An argument is out of range. Detail: index of the word.
    BadArgument = 5, "an argument is out of range";
    /// The command sequence number is neither new nor a repeat. Detail: the number expected next.
    BadSequence = 6, "command sequence number out of order";
    /// The other end refused the connection (RST to our SYN, or port unreachable).
    Refused = 7, "connection refused by the other end";
    /// The other end reset the connection.
    Reset = 8, "connection reset by the other end";
    /// Nothing was heard for too long.
    TimedOut = 9, "connection timed out";
    /// No route, no ARP answer, or an ICMP unreachable.
    Unreachable = 10, "destination unreachable";
    /// The interface has no address yet.
    NoAddress = 11, "the interface has no address yet";
    /// The object is closed already.
    Closed = 12, "the socket is already closed";
    /// The label names no operation of this object.
    UnknownOperation = 13, "no such operation on this object";
    /// A table is full (flows, backlog).
    TableFull = 14, "a table of the stack is full";
    /// The other side wrote impossible numbers into the shared region.
    Violation = 15, "the application wrote an impossible index into its data region";
    /// A message or region that follows no version known here.
    Protocol = 16, "the other side speaks another protocol version";
    /// Aborted by the local application.
    Aborted = 17, "connection aborted locally";
    /// The stack was started again and cannot act yet. The command was not looked at: send it again with the same number.
    NotReady = 18, "the stack was restarted and is not ready yet";
}

impl NetError {
    /// The stable code: never 0, never reused.
    pub const fn code(self) -> u32 {
        self as u32
    }
}

impl core::error::Error for NetError {}
