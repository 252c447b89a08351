//! Makes and shows HIC modules: the library behind the `hicmod-tool` command, also linked by `cargo xtask image`.
//!
//! This is the only place where an ELF file or a TOML manifest is ever parsed; the guest reads what comes out. What
//! is refused here is refused with the remedy, because the reader is the module's author.
//!
//! - [`pack`]: linker output and `hicmod.toml` become a `.hicmod`.
//! - [`archive`]: named files become the boot archive.
//! - [`inspect`]: either of the two becomes a [`Report`].

mod elf;
mod inspect;
mod pack;

pub use elf::{ElfError, flatten};
pub use inspect::{
    ArchiveReport, EntryReport, ImageReport, InspectError, ModuleReport, Report, SectionReport, inspect,
};
pub use pack::{PackError, pack, parse_manifest};

use hic_hicmod::archive::{ArchiveError, encode};

/// The boot archive that holds `files` (name, content) in the given order.
pub fn archive(files: &[(&str, &[u8])]) -> Result<Vec<u8>, ArchiveError> {
    encode(files)
}
