//! From a static-pie ELF file to the parts of an image.
//!
//! The linker's addresses are kept: code refers to data relative to itself, so classes of pages cannot be moved apart
//! afterwards. What is accepted is therefore what rust-lld makes of `-static-pie -z max-page-size=0x1000`: segments
//! in the order read-only, executable, writable, linked at 0, with `R_X86_64_RELATIVE` relocations alone.

mod dynamic;
mod error;
mod layout;
mod note;

pub use error::ElfError;
pub(crate) use note::linked_runtime;

use hic_hicmod::image::ImageParts;
use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

type Header = elf::FileHeader64<LittleEndian>;
type Segment = elf::ProgramHeader64<LittleEndian>;
const LE: LittleEndian = LittleEndian;

/// The image that `file`, an ET_DYN static-pie ELF, describes.
pub fn flatten(file: &[u8]) -> Result<ImageParts, ElfError> {
    let header = Header::parse(file).map_err(|error| ElfError::NotElf64(error.to_string()))?;
    check_header(header)?;
    let segments = header.program_headers(LE, file).map_err(|error| ElfError::NotElf64(error.to_string()))?;
    check_segment_types(segments)?;
    let mut flat = layout::lay_out(file, segments)?;
    let relocations = dynamic::apply_relocations(file, segments, &mut flat)?;
    let entry = header.e_entry(LE);
    if entry == 0 {
        return Err(ElfError::NoEntry);
    }
    Ok(ImageParts {
        ro_pages: flat.ro_pages,
        rx_pages: flat.rx_pages,
        bss_bytes: flat.bss_bytes,
        entry: u32::try_from(entry).map_err(|_| ElfError::EntryOutside { entry })?,
        relocations,
        exports: note::exports(file, segments)?,
        body: flat.body,
    })
}

fn check_header(header: &Header) -> Result<(), ElfError> {
    if !header.is_little_endian() {
        return Err(ElfError::NotElf64("it is big-endian".to_owned()));
    }
    let machine = header.e_machine(LE);
    if machine != elf::EM_X86_64 {
        return Err(ElfError::Machine { found: machine.0 });
    }
    let kind = header.e_type(LE);
    if kind != elf::ET_DYN {
        return Err(ElfError::NotPie { found: kind.0 });
    }
    Ok(())
}

fn check_segment_types(segments: &[Segment]) -> Result<(), ElfError> {
    for segment in segments {
        match segment.p_type(LE) {
            elf::PT_INTERP => return Err(ElfError::Interpreter),
            elf::PT_TLS => return Err(ElfError::ThreadLocal),
            _ => {}
        }
    }
    Ok(())
}
