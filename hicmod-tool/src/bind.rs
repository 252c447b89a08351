//! Writes into a kernel's image which boot archive it starts.

use std::fmt;

use hic_hicmod::{Archive, ArchiveError, BINDING_SECTION, Binding};
use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader, SectionHeader};

/// Why a kernel cannot be bound to an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindError {
    /// The kernel is not an ELF64 file.
    NotElf64(String),
    /// It has no place for a binding.
    NoSection,
    /// Its place for a binding has another size than this tool knows.
    SectionBytes {
        /// Its bytes.
        found: u64,
    },
    /// The archive is not one.
    Archive(ArchiveError),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf64(why) => write!(f, "the kernel is not an ELF64 file: {why}"),
            Self::NoSection => {
                write!(f, "the kernel has no section {BINDING_SECTION}: it is not Core-0, or an older one")
            }
            Self::SectionBytes { found } => write!(
                f,
                "section {BINDING_SECTION} of the kernel has {found} bytes, not {}: use the hicmod-tool of its release",
                Binding::BYTES
            ),
            Self::Archive(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for BindError {}

/// The kernel's ELF file `kernel`, changed so that it starts `archive` and no other. It may have been bound before.
pub fn bind(kernel: &[u8], archive: &[u8]) -> Result<Vec<u8>, BindError> {
    Archive::parse(archive).map_err(BindError::Archive)?;
    let offset = place(kernel)?;
    let mut bound = kernel.to_vec();
    let place = bound.get_mut(offset..).and_then(|rest| rest.get_mut(..Binding::BYTES));
    place.ok_or(BindError::NoSection)?.copy_from_slice(&Binding::of(archive).to_bytes());
    Ok(bound)
}

/// Where in the file the binding lies.
fn place(kernel: &[u8]) -> Result<usize, BindError> {
    let not_elf = |error: object::Error| BindError::NotElf64(error.to_string());
    let header = elf::FileHeader64::<LittleEndian>::parse(kernel).map_err(not_elf)?;
    let sections = header.sections(LittleEndian, kernel).map_err(not_elf)?;
    let found = sections.section_by_name(LittleEndian, BINDING_SECTION.as_bytes());
    let (_, section) = found.ok_or(BindError::NoSection)?;
    let bytes = section.sh_size(LittleEndian);
    if bytes != Binding::BYTES as u64 {
        return Err(BindError::SectionBytes { found: bytes });
    }
    usize::try_from(section.sh_offset(LittleEndian)).map_err(|_| BindError::NoSection)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF64 file with nothing but sections: none, the binding's with `bytes` bytes at 0x40, and their names.
    fn kernel(bytes: u64) -> Vec<u8> {
        let names = [b"\0", BINDING_SECTION.as_bytes(), b"\0"].concat();
        let names_at = 0x40 + bytes;
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[18] = 62;
        file[20] = 1;
        let sections_at = names_at + names.len() as u64;
        file[40..48].copy_from_slice(&sections_at.to_le_bytes());
        for (at, value) in [(52, 64u16), (58, 64), (60, 3), (62, 2)] {
            file[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        file.resize(names_at as usize, 0);
        file.extend(&names);
        let section = |name: u32, kind: u32, offset: u64, size: u64| {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[24..32].copy_from_slice(&offset.to_le_bytes());
            header[32..40].copy_from_slice(&size.to_le_bytes());
            header
        };
        file.extend(section(0, 0, 0, 0));
        file.extend(section(1, 1, 0x40, bytes));
        file.extend(section(0, 3, names_at, names.len() as u64));
        file
    }

    #[test]
    fn a_bound_kernel_differs_in_its_binding_alone_and_can_be_bound_again() {
        let (kernel, archive) = (kernel(56), crate::archive(&[("keeper", b"module")]).expect("an archive"));
        let bound = bind(&kernel, &archive).expect("bound");
        let place: [u8; Binding::BYTES] = bound[0x40..0x40 + 56].try_into().expect("56 bytes");
        let expected = Binding::of(&archive);
        assert_eq!(Binding::from_bytes(&place), expected);
        assert_eq!((&bound[..0x40], &bound[0x40 + 56..]), (&kernel[..0x40], &kernel[0x40 + 56..]));
        let other = crate::archive(&[("keeper", b"another")]).expect("an archive");
        assert_eq!(bind(&bound, &other), bind(&kernel, &other));
    }

    #[test]
    fn what_is_no_kernel_or_no_archive_is_refused() {
        let archive = crate::archive(&[]).expect("an archive");
        assert!(matches!(bind(b"text", &archive), Err(BindError::NotElf64(_))));
        assert_eq!(bind(&kernel(8), &archive), Err(BindError::SectionBytes { found: 8 }));
        let mut nameless = kernel(56);
        nameless[0x40 + 56 + 2] = b'x';
        assert_eq!(bind(&nameless, &archive), Err(BindError::NoSection));
        assert!(matches!(bind(&kernel(56), b"text"), Err(BindError::Archive(_))));
    }
}
