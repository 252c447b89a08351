//! The contract between Core-0 and ring 3.
//!
//! Everything that crosses the system-call boundary is named here once and used by both sides: the kernel
//! (`kernel/`), the run-time library (`libs/rt`) and the console, which prints what the kernel lets it inspect.
//! This crate never contains logic that only one side needs.
//!
//! | module | what |
//! | --- | --- |
//! | [`syscall`] | numbers and register conventions |
//! | [`error`] | the status every call returns |
//! | [`rights`] | what a capability allows |
//! | [`message`] | call and reply: register words, inline bytes, capability slots |
//! | [`object`] | object types and what a caller says to create one |
//! | [`switch`] | entries of a switch transaction |
//! | [`start`] | what a sandbox finds in its start page |
//! | [`inspect`] | what the console may look at |
//! | [`audit`] | audit records and their chain |
//! | [`log`] | lines of the log |
#![no_std]

pub mod audit;
pub mod error;
pub mod inspect;
pub mod log;
pub mod message;
pub mod object;
pub mod rights;
pub mod start;
pub mod switch;
pub mod syscall;

pub use error::Error;
pub use message::{IpcBuffer, MessageInfo};
pub use object::ObjectType;
pub use rights::Rights;

/// Bytes in a page, the unit of regions and mappings.
pub const PAGE_SIZE: u64 = 4096;

/// Version of this contract. Raised when a program compiled for it could no longer run; a module names the versions that it runs on.
pub const ABI: u16 = 1;

/// Owner of the ELF note by which a program tells what it was linked with.
pub const NOTE_NAME: [u8; 4] = *b"HIC\0";
/// Type of that note: four words, [`ABI`] and the version of the runtime.
pub const NOTE_RUNTIME: u32 = 1;
/// Type of the note of the services that a program exports: their names, 24 bytes each, the rest of each zero.
pub const NOTE_EXPORTS: u32 = 2;

/// Every region is mapped at `USER_BASE` + its physical address, in each sandbox that maps it, and nowhere else
/// (architecture, "One address for every byte of physical memory").
pub const USER_BASE: u64 = 0x0000_4000_0000_0000;

/// A capability handle: the number of a slot in the capability space of the sandbox that uses it. Slot 0 is never filled.
pub type Handle = u32;

/// Names "my own capability space" or "myself" where a call takes a sandbox capability.
pub const SELF: Handle = 0;

/// A point in monotonic time: nanoseconds since boot.
pub type Nanos = u64;

/// A deadline that never comes.
pub const FOREVER: Nanos = u64::MAX;

/// Views a plain-data value as bytes, to pass it through a message or a start page.
///
/// # Safety
/// `T` must be `#[repr(C)]` without padding bytes, so that no uninitialised byte is exposed.
pub const unsafe fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: the value is valid for reads of its size; the caller guarantees that it has no padding.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// Types for which every bit pattern is a value and which have no padding: safe to copy from and to raw bytes.
///
/// # Safety
/// Implement it only for `#[repr(C)]` types made of integers (or arrays and structs of them) without padding.
pub unsafe trait Plain: Copy {
    /// The value as bytes.
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: `Plain` promises that there is no padding.
        unsafe { bytes_of(self) }
    }

    /// The value as bytes that may be overwritten with any others.
    fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `Plain` promises that there is no padding and that any bit pattern is valid.
        unsafe { core::slice::from_raw_parts_mut(core::ptr::from_mut(self).cast(), size_of::<Self>()) }
    }

    /// The value with all bytes zero.
    fn zeroed() -> Self {
        // SAFETY: `Plain` promises that any bit pattern, zero among them, is valid.
        unsafe { core::mem::zeroed() }
    }
}

/// Declares that the named types are [`Plain`].
macro_rules! plain {
    ($($name:ty),+ $(,)?) => {
        $(
            // SAFETY: each of these is `#[repr(C)]`, made of integers, with its padding written out as fields.
            unsafe impl $crate::Plain for $name {}
        )+
    };
}
pub(crate) use plain;

/// A fixed-size name, zero padded; what is too long is cut at a character boundary.
#[must_use]
pub fn name_bytes<const N: usize>(name: &str) -> [u8; N] {
    let mut out = [0; N];
    let mut end = name.len().min(N);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    out[..end].copy_from_slice(&name.as_bytes()[..end]);
    out
}

/// Whether a fixed-size name can be shown as it is: it has no control characters, which would forge lines of a log or move a cursor.
#[must_use]
pub fn is_name(bytes: &[u8]) -> bool {
    let mut before = 0;
    bytes.iter().take_while(|byte| **byte != 0).all(|&byte| {
        let is_latin_control = (0x80..0xa0).contains(&byte) && before == 0xc2;
        before = byte;
        !byte.is_ascii_control() && !is_latin_control
    })
}

/// The text of a fixed-size name; bytes that are not UTF-8 make it `"?"`.
#[must_use]
pub fn name_str(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    core::str::from_utf8(bytes.get(..end).unwrap_or_default()).unwrap_or("?")
}
