//! Which runtime a program links and which kernel interface it was compiled for, as an ELF note in the program itself: what was
//! linked says so, not whoever packs it. The packing tool copies it into the manifest, and the loader compares.

/// Version of the runtime interface (major, minor, patch): start page, grants, IPC conventions, channels. It is installed in every
/// system under the name `ipc_lib`, and a module that links a newer one, or another major version, is not loaded.
pub const IPC_LIB: [u32; 3] = [2, 0, 0];

/// The note's layout (System V ABI, "Note Section"): sizes, type, name, description.
#[repr(C)]
struct Note {
    name_bytes: u32,
    description_bytes: u32,
    kind: u32,
    name: [u8; 4],
    /// Core-0 ABI, then [`IPC_LIB`].
    description: [u32; 4],
}

#[used]
// SAFETY: the section holds notes and nothing else, and this is one, 4-aligned and without padding.
#[unsafe(link_section = ".note.hic")]
static NOTE: Note = Note {
    name_bytes: 4,
    description_bytes: 16,
    kind: hic_abi::NOTE_RUNTIME,
    name: hic_abi::NOTE_NAME,
    description: [hic_abi::ABI as u32, IPC_LIB[0], IPC_LIB[1], IPC_LIB[2]],
};
