//! `udp@1`: datagrams in the two byte rings of a data region.
//!
//! Each datagram is a 16-byte header (payload length u16, port u16, address u32, 8 bytes zero; little-endian) and the
//! payload, padded to 16 bytes. Ring sizes are multiples of 16, so a header never wraps; a payload may. The address is
//! the destination in the tx ring and the source in the rx ring.
//!
//! A datagram that does not fit the rx ring is dropped and counted by the stack, as UDP allows; nothing ever waits for it.

use crate::region::{AppSide, StackSide, Violation};
use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

/// Bytes before each payload.
pub const HEADER: usize = 16;
/// Largest payload of a UDP datagram over IPv4 (65535 − 20 − 8).
pub const MAX_PAYLOAD: usize = 65507;

/// Why a datagram was not accepted for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// No space now: wait for [`crate::region::Want::WRITABLE`].
    Full,
    /// Longer than UDP or this ring can ever carry.
    TooLong,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no space in the send ring",
            Self::TooLong => "datagram is too long",
        })
    }
}

impl core::error::Error for SendError {}

/// One datagram waiting in the tx ring, as its checked header describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Destination.
    pub remote: SocketAddrV4,
    /// Payload bytes.
    pub len: usize,
    /// Index of the payload, for [`StackSide::copy_tx`].
    pub payload_at: u64,
    /// Index to hand to [`StackSide::publish_acked`] when it was sent.
    pub next: u64,
}

fn encode(remote: SocketAddrV4, len: usize) -> [u8; HEADER] {
    let word =
        u64::from(remote.ip().to_bits()) << 32 | u64::from(remote.port()) << 16 | (len as u64 & 0xffff);
    let mut header = [0; HEADER];
    for (to, from) in header.iter_mut().zip(word.to_le_bytes()) {
        *to = from;
    }
    header
}

fn decode(header: [u8; HEADER]) -> (SocketAddrV4, usize) {
    let word = header.iter().take(8).rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let remote = SocketAddrV4::new(Ipv4Addr::from_bits((word >> 32) as u32), (word >> 16 & 0xffff) as u16);
    (remote, (word & 0xffff) as usize)
}

const fn entry(len: usize) -> usize {
    HEADER + len.next_multiple_of(HEADER)
}

impl AppSide {
    /// Queues one datagram. Then ask [`AppSide::must_kick`].
    ///
    /// # Errors
    /// [`SendError`]; nothing was queued.
    pub fn send_to(&mut self, remote: SocketAddrV4, payload: &[u8]) -> Result<(), SendError> {
        let need = entry(payload.len());
        if payload.len() > MAX_PAYLOAD || need > self.layout().tx_size() as usize {
            return Err(SendError::TooLong);
        }
        if self.writable() < need {
            return Err(SendError::Full);
        }
        self.stage_tx(0, &encode(remote, payload.len()));
        self.stage_tx(HEADER, payload);
        self.commit_tx(need);
        Ok(())
    }

    /// Takes the oldest datagram: its source, and how long it was. What exceeds `out` is lost, as with every UDP socket.
    pub fn recv_from(&mut self, out: &mut [u8]) -> Option<(SocketAddrV4, usize)> {
        let mut header = [0; HEADER];
        if self.peek_at(0, &mut header) < HEADER {
            return None;
        }
        let (remote, len) = decode(header);
        let fitting = len.min(out.len());
        let (now, _) = out.split_at_mut(fitting);
        self.peek_at(HEADER, now);
        self.consume_rx(entry(len));
        Some((remote, len))
    }
}

impl StackSide {
    /// The oldest datagram that the application queued and [`StackSide::publish_acked`] did not pass yet.
    ///
    /// # Errors
    /// [`Violation::Datagram`] if its header is impossible: the ring cannot be followed any further.
    pub fn peek_datagram(&self) -> Result<Option<Outgoing>, Violation> {
        let at = self.indices().tx_acked;
        let queued = self.tx_written().saturating_sub(at);
        if queued == 0 {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        if !self.copy_tx(at, &mut header) {
            return Err(Violation::Datagram { at });
        }
        let (remote, len) = decode(header);
        if len > MAX_PAYLOAD || entry(len) as u64 > queued {
            return Err(Violation::Datagram { at });
        }
        let payload_at = at.saturating_add(HEADER as u64);
        Ok(Some(Outgoing { remote, len, payload_at, next: at.saturating_add(entry(len) as u64) }))
    }

    /// Stores a received datagram behind the published ones. Returns the index for [`StackSide::publish_rx`], or `None`
    /// if there is no space (the datagram is dropped).
    pub fn push_datagram(&mut self, remote: SocketAddrV4, payload: &[u8]) -> Option<u64> {
        let at = self.indices().rx_written;
        let end = at.checked_add(entry(payload.len()) as u64)?;
        if payload.len() > MAX_PAYLOAD || end > self.rx_limit() {
            return None;
        }
        let stored = self.write_rx(at, &encode(remote, payload.len()))
            && self.write_rx(at.saturating_add(HEADER as u64), payload);
        stored.then_some(end)
    }
}

#[cfg(test)]
#[path = "datagram_tests.rs"]
mod tests;
