//! The small services of RFC 862, 863, 864 and 867 as state machines over the rings of one connection.
//!
//! Nothing here waits or calls the kernel: `hic_netclient::Server` does, and calls [`Inetd`] when there is something to do.
//!
//! | module | what |
//! | --- | --- |
//! | [`chargen`] | the rotating pattern of RFC 864 |
//! | [`daytime`] | the time as a line of text |
//! | [`tcp`] | one connection of each service |
//! | [`udp`] | one answer to each datagram |
#![no_std]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

#[cfg(test)]
extern crate std;

pub mod chargen;
pub mod daytime;
pub mod tcp;
pub mod udp;

#[cfg(test)]
pub(crate) mod testing;

/// One of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// What comes goes back (RFC 862).
    Echo,
    /// What comes is thrown away (RFC 863).
    Discard,
    /// The time, then the end (RFC 867).
    Daytime,
    /// Characters until the other end has enough (RFC 864).
    Chargen,
}

impl Protocol {
    /// All of them, in the order in which they are listened for.
    pub const ALL: [Self; 4] = [Self::Echo, Self::Discard, Self::Daytime, Self::Chargen];

    /// Its port, the same for TCP and UDP.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Echo => 7,
            Self::Discard => 9,
            Self::Daytime => 13,
            Self::Chargen => 19,
        }
    }

    /// Bytes of each TCP ring: large where throughput counts.
    #[must_use]
    pub const fn ring(self) -> u32 {
        match self {
            Self::Echo | Self::Discard => 64 * 1024,
            Self::Daytime => 4096,
            Self::Chargen => 16 * 1024,
        }
    }
}
