//! ELF files made by hand, so that each test can break exactly one thing; `tool` runs the command.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod tool;

pub const R: u32 = 4;
pub const RX: u32 = 5;
pub const RW: u32 = 6;
pub const RWX: u32 = 7;
pub const PT_LOAD: u32 = 1;
pub const PT_DYNAMIC: u32 = 2;
pub const PT_INTERP: u32 = 3;
pub const PT_NOTE: u32 = 4;
pub const PT_TLS: u32 = 7;
pub const RELATIVE: u64 = 8;

/// A manifest that fits every ELF file here.
pub const MANIFEST: &str = r#"
name = "echo"
version = "0.1.0"
kind = "service"
order = 3
priority = 10
stack_pages = 4
cspace_slots = 64
provides = ["echo"]
"#;

/// One program header and the bytes that it describes.
#[derive(Clone)]
pub struct Segment {
    pub kind: u32,
    pub flags: u32,
    pub address: u64,
    pub bytes: Vec<u8>,
    pub memory_bytes: u64,
}

/// The parts of an ELF64 file (System V gABI, "ELF Header", "Program Header").
#[derive(Clone)]
pub struct Elf {
    pub class: u8,
    pub kind: u16,
    pub machine: u16,
    pub entry: u64,
    pub segments: Vec<Segment>,
}

impl Elf {
    /// Like rust-lld's: R at 0 with the relocations, RX, then RW with data, dynamic section and bss. Exports what [`MANIFEST`] provides.
    pub fn good() -> Elf {
        Elf::with_relocations(&[(0x2010, RELATIVE, 0x1008), (0x2000, RELATIVE, 0x10)])
    }

    /// As [`Elf::good`], exporting these services.
    pub fn that_exports(services: &[&str]) -> Elf {
        let mut elf = Elf::good();
        elf.segments.retain(|segment| segment.kind != PT_NOTE);
        if !services.is_empty() {
            elf.add_note(exports_note(services));
        }
        elf
    }

    /// One more segment of notes.
    pub fn add_note(&mut self, bytes: Vec<u8>) {
        self.segments.push(Segment { kind: PT_NOTE, ..load(R, 0x40, bytes, 0) });
    }

    /// As [`Elf::good`], with these relocations (offset, type, addend).
    pub fn with_relocations(relocations: &[(u64, u64, u64)]) -> Elf {
        let mut table = vec![0xAA; 0x100];
        for &(offset, kind, addend) in relocations {
            words(&mut table, &[offset, kind, addend]);
        }
        let size = table.len() as u64 - 0x100;
        let dynamic = [(7, 0x100), (8, size), (9, 24), (0, 0)];
        let mut elf = Elf {
            class: 2,
            kind: 3,
            machine: 62,
            entry: 0x1010,
            segments: vec![
                load(R, 0, table, 0),
                load(RX, 0x1010, vec![0xCC; 0x40], 0),
                load(RW, 0x2000, vec![0xDD; 0x30], 0x1500),
            ],
        };
        elf.set_dynamic(&dynamic);
        elf.add_note(exports_note(&["echo"]));
        elf
    }

    /// Replaces the dynamic section by these tags and values.
    pub fn set_dynamic(&mut self, entries: &[(u64, u64)]) {
        self.segments.retain(|segment| segment.kind != PT_DYNAMIC);
        let mut bytes = Vec::new();
        entries.iter().for_each(|&(tag, value)| words(&mut bytes, &[tag, value]));
        self.segments.push(Segment { kind: PT_DYNAMIC, ..load(RW, 0x2030, bytes, 0) });
    }

    pub fn add(&mut self, kind: u32) {
        self.segments.push(Segment { kind, ..load(R, 0, vec![0; 8], 0) });
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0x7f, b'E', b'L', b'F', self.class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&self.machine.to_le_bytes());
        out.extend_from_slice(&1u32.to_le_bytes());
        words(&mut out, &[self.entry, 64, 0]);
        out.extend_from_slice(&0u32.to_le_bytes());
        for half in [64u16, 56, self.segments.len() as u16, 64, 0, 0] {
            out.extend_from_slice(&half.to_le_bytes());
        }
        let mut offset = 64 + 56 * self.segments.len() as u64;
        for segment in &self.segments {
            out.extend_from_slice(&segment.kind.to_le_bytes());
            out.extend_from_slice(&segment.flags.to_le_bytes());
            let length = segment.bytes.len() as u64;
            words(
                &mut out,
                &[
                    offset,
                    segment.address,
                    segment.address,
                    length,
                    segment.memory_bytes,
                    segment.alignment(),
                ],
            );
            offset += length;
        }
        self.segments.iter().for_each(|segment| out.extend_from_slice(&segment.bytes));
        out
    }
}

impl Segment {
    fn alignment(&self) -> u64 {
        if self.kind == PT_NOTE { 4 } else { 0x1000 }
    }
}

/// A note of ours (System V gABI, "Note Section").
pub fn note(name: &[u8; 4], kind: u32, description: &[u8]) -> Vec<u8> {
    let head = [4, description.len() as u32, kind].map(u32::to_le_bytes).concat();
    [&head, &name[..], description].concat()
}

/// The note by which a program exports these services.
pub fn exports_note(services: &[&str]) -> Vec<u8> {
    let row = |name: &&str| {
        let mut row = name.as_bytes().to_vec();
        row.resize(24, 0);
        row
    };
    note(b"HIC\0", 2, &services.iter().flat_map(row).collect::<Vec<u8>>())
}

pub fn load(flags: u32, address: u64, bytes: Vec<u8>, memory_bytes: u64) -> Segment {
    let memory_bytes = memory_bytes.max(bytes.len() as u64);
    Segment { kind: PT_LOAD, flags, address, bytes, memory_bytes }
}

fn words(out: &mut Vec<u8>, words: &[u64]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}
