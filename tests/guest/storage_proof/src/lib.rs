//! What the host and the guest of the storage proof agree on: the contents of the test's files, and the record.
#![no_std]

/// Byte number `n` of a test's file.
#[must_use]
pub const fn byte_at(n: u32) -> u8 {
    (n ^ n >> 8 ^ n >> 16) as u8
}

/// Bytes of the record: the number of the boot.
pub const RECORD_BYTES: usize = size_of::<u64>();
