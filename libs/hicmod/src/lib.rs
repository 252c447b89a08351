//! The module format: what a tool on the host writes and what Core-0 and the module manager read.
//!
//! Principles:
//! - *No ELF in the guest.* The host tool flattens the linker's output; what is parsed in the guest is a page layout,
//!   a list of relocations and nothing else.
//! - *Everything here is input from outside.* Each parser checks every bound before it hands out a slice, never
//!   panics, never allocates, and returns an error which names the part at fault.
//! - *Canonical.* Sections and entries lie in one defined order with zero padding between them, so that no byte of a
//!   module escapes its checksums and its signature.
//!
//! ```text
//!   boot archive (initrd)                 .hicmod                        image
//!   +---------------------+               +------------------+           +-----------------+
//!   | header, table (crc) |   Archive     | header (crc)     | Container | header          | Image
//!   +---------------------+   ::parse     | section table    | ::parse   | relocations     | ::parse
//!   | keeper      (crc)   | ------------> +------------------+           | ro | rx | data  |
//!   | netstack    (crc)   |               | manifest  (crc)  |           +-----------------+
//!   | ...                 |               | image     (crc)  | ------->      place() --> memory
//!   +---------------------+               +------------------+
//! ```
//!
//! Modules, in the order in which data meets them: [`binding`], [`archive`], [`container`], `signature` and `verify` (feature
//! `verify`), `manifest` (feature `manifest`) and [`image`]; `verdict` is how the verifier and the module manager speak
//! of the outcome, `sign` (feature `sign`, host only) makes what `verify` accepts.
#![no_std]

#[cfg(any(feature = "alloc", feature = "verify"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod archive;
pub mod binding;
pub mod container;
pub mod image;
#[cfg(feature = "manifest")]
pub mod manifest;
#[cfg(feature = "sign")]
pub mod sign;
#[cfg(feature = "verify")]
pub mod signature;
#[cfg(feature = "manifest")]
pub mod verdict;
#[cfg(feature = "verify")]
pub mod verify;

mod bytes;
mod name;

pub use archive::{Archive, ArchiveError};
pub use binding::{BINDING_SECTION, Binding, BindingError};
pub use container::{Container, ContainerError};
#[cfg(feature = "manifest")]
pub use container::{ExportsError, Module, ModuleError};
pub use image::{Image, ImageError, PAGE_SIZE, Placed};
#[cfg(feature = "manifest")]
pub use manifest::{Manifest, ManifestError};
pub use name::{MAX_EXPORTS, MAX_NAME_BYTES, is_valid_name};
#[cfg(feature = "verify")]
pub use verify::{RevocationList, TrustRoot, Verified, VerifyError, verify};
