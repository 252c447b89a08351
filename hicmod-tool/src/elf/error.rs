//! What can be wrong with a linker's output: what, where, and which link argument or change sets it right.

use std::fmt;

/// Why an ELF file cannot become a module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum ElfError {
    /// Not a readable 64-bit little-endian ELF file.
    NotElf64(String),
    /// Made for another processor.
    Machine { found: u16 },
    /// Not ET_DYN.
    NotPie { found: u16 },
    /// Asks for a dynamic linker.
    Interpreter,
    /// Has thread-local storage.
    ThreadLocal,
    /// Has no entry point.
    NoEntry,
    /// Its entry point is beyond any image.
    EntryOutside { entry: u64 },
    /// A segment that could be written and executed.
    WritableAndExecutable { address: u64 },
    /// A segment that leaves the file or the address space.
    SegmentBounds { address: u64 },
    /// Larger than an image may be.
    TooLarge { end: u64 },
    /// No executable segment.
    NothingToExecute,
    /// Not linked at 0.
    Base { address: u64 },
    /// Segments overlap or are not ascending.
    SegmentOverlap { address: u64 },
    /// Not read-only, executable, writable in this order.
    SegmentOrder { address: u64 },
    /// Two segments with different permissions on one page.
    SharedPage { address: u64 },
    /// The dynamic section cannot be read.
    Dynamic(String),
    /// Needs a shared library.
    NeedsLibrary,
    /// Relocations in read-only or executable pages.
    TextRelocations,
    /// A relocation table in a form that is not read here.
    RelocationForm { tag: i64 },
    /// A relocation table outside the image, or of odd length.
    RelocationTable { address: u64 },
    /// A relocation other than `R_X86_64_RELATIVE`.
    RelocationKind { offset: u64, kind: u32 },
    /// A relocation in read-only or executable pages.
    RelocationInText { offset: u64 },
    /// The note of the runtime is not of the form that this tool reads.
    RuntimeNote,
    /// The table of exported services is not of the form that this tool reads.
    Exports,
    /// There is more than one table of exported services.
    SecondExports,
    /// A relocation outside the file's writable bytes.
    RelocationOutside { offset: u64 },
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf64(..) | Self::Machine { .. } | Self::NotPie { .. } | Self::Interpreter => {
                self.describe_file(f)
            }
            Self::ThreadLocal
            | Self::NoEntry
            | Self::EntryOutside { .. }
            | Self::NothingToExecute
            | Self::RuntimeNote
            | Self::Exports
            | Self::SecondExports => self.describe_program(f),
            Self::WritableAndExecutable { .. }
            | Self::SegmentBounds { .. }
            | Self::TooLarge { .. }
            | Self::Base { .. }
            | Self::SegmentOverlap { .. }
            | Self::SegmentOrder { .. }
            | Self::SharedPage { .. } => self.describe_segments(f),
            _ => self.describe_dynamic(f),
        }
    }
}

impl ElfError {
    fn describe_file(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf64(reason) => {
                write!(f, "not a 64-bit little-endian ELF file ({reason}); pass the linked binary")
            }
            Self::Machine { found } => write!(f, "machine {found} is not x86-64 (62); build for x86_64"),
            Self::NotPie { found } => {
                write!(f, "file type {found} is not ET_DYN (3); link with -static-pie and without -no-pie")
            }
            _ => write!(f, "it asks for a dynamic linker; link with -static-pie -nostartfiles -nostdlib"),
        }
    }

    fn describe_program(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThreadLocal => {
                write!(
                    f,
                    "it has thread-local storage, which modules do not have; drop the thread_local or #[thread_local]"
                )
            }
            Self::RuntimeNote => {
                write!(f, "the note of its runtime cannot be read; build it with the hic-rt of this system")
            }
            Self::Exports => write!(
                f,
                "the table of the services that it exports cannot be read; name them in hic_rt::entry! and build it with the hic-rt \
                 of this system"
            ),
            Self::SecondExports => {
                write!(
                    f,
                    "it has two tables of exported services; link one hic_rt::entry! and name all services there"
                )
            }
            Self::NoEntry => write!(f, "it has no entry point; define _start and link with -Wl,-e,_start"),
            Self::EntryOutside { entry } => write!(f, "its entry point {entry:#x} is outside the image"),
            _ => write!(
                f,
                "it has no executable segment; is _start missing, so that the linker dropped all code?"
            ),
        }
    }

    fn describe_segments(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WritableAndExecutable { address } => {
                write!(
                    f,
                    "segment at {address:#x} is writable and executable; remove -Wl,-N or the section that asks for it"
                )
            }
            Self::SegmentBounds { address } => {
                write!(
                    f,
                    "segment at {address:#x} leaves the file or is longer there than in memory; the file is damaged, link again"
                )
            }
            Self::TooLarge { end } => write!(
                f,
                "it ends at {end:#x}, beyond the {} MiB that a module may take",
                hic_hicmod::image::MAX_IMAGE_PAGES / 256
            ),
            Self::Base { address } => {
                write!(
                    f,
                    "its first segment is at {address:#x} and not at 0; drop the linker script or image base"
                )
            }
            Self::SegmentOverlap { address } => {
                write!(f, "segment at {address:#x} overlaps the one before it or is out of order")
            }
            Self::SegmentOrder { address } => write!(
                f,
                "segment at {address:#x} breaks the order read-only, executable, writable; link with rust-lld and no script"
            ),
            _ => write!(
                f,
                "a segment shares a page with one of other permissions ({self:?}); link with -Wl,-z,max-page-size=0x1000"
            ),
        }
    }

    fn describe_dynamic(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic(reason) => write!(f, "its dynamic section cannot be read ({reason})"),
            Self::NeedsLibrary => {
                write!(f, "it needs a shared library; link with -static-pie -nostartfiles -nostdlib")
            }
            Self::TextRelocations => {
                write!(f, "it has relocations in its code; link with -Wl,-z,text to see where")
            }
            Self::RelocationForm { tag } => write!(
                f,
                "dynamic tag {tag} stands for relocations other than RELA, of 24 bytes; drop -z pack-relative-relocs and symbols \
                 that are bound lazily"
            ),
            Self::RelocationTable { address } => {
                write!(
                    f,
                    "its relocation table at {address:#x} leaves the image or ends in the middle of an entry"
                )
            }
            Self::RelocationKind { offset, kind } => write!(
                f,
                "relocation of type {kind} at {offset:#x} is not R_X86_64_RELATIVE (8); is a symbol undefined?"
            ),
            Self::RelocationInText { offset } => {
                write!(
                    f,
                    "relocation at {offset:#x} is in read-only or executable pages; link with -Wl,-z,text to see why"
                )
            }
            Self::RelocationOutside { offset } => {
                write!(f, "relocation at {offset:#x} is outside the initialised data")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl std::error::Error for ElfError {}
