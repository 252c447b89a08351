//! What a module or a boot archive holds, as data: for people by the command, for scripts as JSON.

use std::fmt;

use hic_hicmod::archive::{ArchiveError, Entry};
use hic_hicmod::container::{Section, SectionKind};
use hic_hicmod::signature::uuid;
use hic_hicmod::{Archive, Container, Image, Manifest, Module, ModuleError, PAGE_SIZE};
use serde::Serialize;

use crate::signature::{self, SignatureReport};

/// What was found in a file.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Report {
    /// A `.hicmod`.
    Module(Box<ModuleReport>),
    /// A boot archive.
    Archive(ArchiveReport),
}

/// A module's parts.
#[derive(Debug, Serialize)]
pub struct ModuleReport {
    /// Length of the file.
    pub bytes: usize,
    /// Its sections in file order.
    pub sections: Vec<SectionReport>,
    /// The identifier of the release.
    pub uuid: String,
    /// What it says about itself.
    pub manifest: Manifest,
    /// What will be placed in memory.
    pub image: ImageReport,
    /// What its signature says, if it has one. Not verified.
    pub signature: Option<SignatureReport>,
}

/// One section of a module.
#[derive(Debug, Serialize)]
pub struct SectionReport {
    /// Its kind's name, or `kind-N` where this build knows none.
    pub kind: String,
    /// Whether a reader must understand it.
    pub critical: bool,
    /// Byte offset in the file.
    pub offset: usize,
    /// Length in bytes.
    pub length: usize,
    /// CRC-32, eight hex digits.
    pub crc: String,
}

/// The layout of an image.
#[derive(Debug, Serialize)]
pub struct ImageReport {
    /// Read-only pages.
    pub ro_pages: usize,
    /// Executable pages.
    pub rx_pages: usize,
    /// Writable pages.
    pub rw_pages: usize,
    /// Initialised bytes of the writable pages.
    pub data_bytes: u32,
    /// Zero bytes that follow them.
    pub bss_bytes: u32,
    /// Offset of the first instruction.
    pub entry: u32,
    /// Words that are relocated.
    pub relocations: usize,
    /// Services that the program exports, in its order.
    pub exports: Vec<String>,
}

/// A boot archive's files.
#[derive(Debug, Serialize)]
pub struct ArchiveReport {
    /// Length of the archive.
    pub bytes: usize,
    /// Its files in order.
    pub entries: Vec<EntryReport>,
}

/// One file of a boot archive.
#[derive(Debug, Serialize)]
pub struct EntryReport {
    /// Its name.
    pub name: String,
    /// Byte offset in the archive.
    pub offset: usize,
    /// Length in bytes.
    pub length: usize,
    /// The module in it as `name version`, if it is one.
    pub module: Option<String>,
    /// Why its bytes cannot be used, if so.
    pub problem: Option<String>,
}

/// Why a file could not be shown.
#[derive(Debug)]
pub enum InspectError {
    /// It starts like a boot archive, and is not a good one.
    Archive(ArchiveError),
    /// It is not a good module.
    Module(ModuleError),
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(error) => write!(f, "{error}"),
            Self::Module(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for InspectError {}

/// What `bytes`, a `.hicmod` or a boot archive, holds. A damaged file *in* an archive is part of the report.
pub fn inspect(bytes: &[u8]) -> Result<Report, InspectError> {
    match Archive::parse(bytes) {
        Ok(archive) => Ok(Report::Archive(ArchiveReport {
            bytes: archive.total_bytes(),
            entries: archive.iter().map(|entry| entry_report(&entry)).collect(),
        })),
        Err(ArchiveError::Magic | ArchiveError::Truncated { found: ..8, .. }) => {
            let report = module_report(bytes).map_err(InspectError::Module)?;
            Ok(Report::Module(Box::new(report)))
        }
        Err(error) => Err(InspectError::Archive(error)),
    }
}

fn module_report(bytes: &[u8]) -> Result<ModuleReport, ModuleError> {
    let Module { manifest, image } = Module::parse(bytes)?;
    let container = Container::parse(bytes).map_err(ModuleError::Container)?;
    Ok(ModuleReport {
        bytes: bytes.len(),
        uuid: uuid(&manifest).to_string(),
        signature: signature::report(&container),
        sections: container.sections().map(|section| section_report(&section)).collect(),
        manifest,
        image: image_report(&image),
    })
}

fn section_report(section: &Section<'_>) -> SectionReport {
    let kind = match section.kind {
        SectionKind::Manifest => "manifest".to_owned(),
        SectionKind::Image => "image".to_owned(),
        SectionKind::Signature => "signature".to_owned(),
        SectionKind::Unknown(code) => format!("kind-{code}"),
    };
    SectionReport {
        kind,
        critical: section.critical,
        offset: section.offset,
        length: section.bytes.len(),
        crc: format!("{:08x}", section.crc),
    }
}

fn image_report(image: &Image<'_>) -> ImageReport {
    let layout = image.layout();
    ImageReport {
        ro_pages: layout.ro.len() / PAGE_SIZE,
        rx_pages: layout.rx.len() / PAGE_SIZE,
        rw_pages: layout.rw.len() / PAGE_SIZE,
        data_bytes: image.data_bytes(),
        bss_bytes: image.bss_bytes(),
        entry: image.entry(),
        relocations: image.relocations().len(),
        exports: image.exports().iter().map(str::to_owned).collect(),
    }
}

/// A file which does not start like a module is simply not one; a module that does not parse is a problem.
fn entry_report(entry: &Entry<'_>) -> EntryReport {
    let (module, problem) = match entry.bytes() {
        Err(error) => (None, Some(error.to_string())),
        Ok(bytes) if bytes.starts_with(b"HICMOD") => match Module::parse(bytes) {
            Ok(module) => (Some(format!("{} {}", module.manifest.name, module.manifest.version)), None),
            Err(error) => (None, Some(error.to_string())),
        },
        Ok(_) => (None, None),
    };
    EntryReport { name: entry.name.to_owned(), offset: entry.offset, length: entry.len(), module, problem }
}
