//! Makes and shows HIC modules: the library behind the `hicmod-tool` command, also linked by `cargo xtask image`.
//!
//! This is the only place where an ELF file or a TOML manifest is ever parsed; the guest reads what comes out. What
//! is refused here is refused with the remedy, because the reader is the module's author.
//!
//! - [`pack`]: linker output and `hicmod.toml` become a `.hicmod`.
//! - [`archive`]: named files become the boot archive.
//! - [`bind`]: a kernel is told which archive it starts.
//! - [`inspect`]: either of the two becomes a [`Report`]; [`mod@diff`] says what changed between two modules.
//! - [`new`]: the skeleton of a service.
//! - [`keys`]: keys, certificates and revocation lists as files; [`SigningSet`] signs modules.
//! - [`repo`]: a repository of modules with signed metadata.
//! - [`replace`]: how files are written that may be there already.
//!
//! *Private keys.* `rsa` has an open advisory on the timing of private-key operations (RUSTSEC-2023-0071). Keys are used here,
//! off line, blinded with the system's randomness, and never in the guest; see `hic_hicmod::sign`.

mod bind;
pub mod diff;
mod elf;
mod inspect;
pub mod keys;
pub mod new;
mod pack;
mod replace;
pub mod repo;
mod signature;

pub use bind::{BindError, bind};
pub use elf::{ElfError, flatten};
pub use inspect::{
    ArchiveReport, EntryReport, ImageReport, InspectError, ModuleReport, Report, SectionReport, inspect,
};
pub use keys::{ChainOptions, KeyError, SigningSet, make_chain};
pub use pack::{PackError, pack, pack_built, parse_manifest};
pub use replace::replace;
pub use signature::{
    CertificateReport, SignatureReport, certificate_report, date, hex, is_signed_form_of, parse_date,
};

pub use hic_hicmod::archive::{BUILT, REPOSITORY_ROOT, REVOKED, TRUST_ROOT};

use hic_hicmod::Container;
use hic_hicmod::archive::{ArchiveError, encode};
use hic_hicmod::signature::SignatureBlock;

/// When the newest of the modules in `files` was signed, as the file `built` of a boot archive says it; `None` if none is signed. So the
/// same modules make the same archive, and a system that starts it believes no clock that is earlier.
#[must_use]
pub fn built(files: &[(&str, &[u8])]) -> Option<[u8; 8]> {
    let signed_at = |bytes: &[u8]| {
        let container = Container::parse(bytes).ok()?;
        SignatureBlock::find(&container).ok().map(|block| block.signed_at)
    };
    files.iter().filter_map(|(_, bytes)| signed_at(bytes)).max().map(u64::to_le_bytes)
}

/// The boot archive that holds `files` (name, content) in the given order.
pub fn archive(files: &[(&str, &[u8])]) -> Result<Vec<u8>, ArchiveError> {
    encode(files)
}
