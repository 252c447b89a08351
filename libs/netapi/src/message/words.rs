//! Packing of small fields into 64-bit words. Unpacking refuses set bits that no field owns, so that a later version can
//! give them a meaning.

use core::net::{Ipv4Addr, SocketAddrV4};

/// Address in bits 47..16, port in bits 15..0.
pub(super) fn pack_socket(socket: SocketAddrV4) -> u64 {
    u64::from(socket.ip().to_bits()) << 16 | u64::from(socket.port())
}

/// Inverse of [`pack_socket`]; `None` if a bit above 47 is set.
pub(super) fn unpack_socket(word: u64) -> Option<SocketAddrV4> {
    let address = u32::try_from(word >> 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from_bits(address), low16(word)))
}

/// The lowest 16 bits.
pub(super) fn low16(word: u64) -> u16 {
    (word & 0xffff) as u16
}

/// The whole word as 16 bits, or `None` if it is larger.
pub(super) fn exact16(word: u64) -> Option<u16> {
    u16::try_from(word).ok()
}

/// The whole word as 32 bits, or `None` if it is larger.
pub(super) fn exact32(word: u64) -> Option<u32> {
    u32::try_from(word).ok()
}
