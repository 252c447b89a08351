//! The kernel's half of every address space, and physical memory seen through it.
//!
//! Two top-level entries: 256, the direct map (physical memory at [`DIRECT_MAP`], never executable), and 511, the kernel image with each
//! section's own rights. Both are the same in every address space, so switching spaces never changes what the kernel sees. The low half
//! belongs to ring 3 alone; the boot mappings there are gone once [`init`] returns. Intel SDM vol. 3A, chapter 4.

use super::{CoreCell, segments};

/// Where physical address 0 appears.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// Virtual minus physical address of the kernel image.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

const DIRECT_SLOT: usize = 256;
const KERNEL_SLOT: usize = 511;
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const PAGE: u64 = 4096;
const MIB_2: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
/// Page tables for the image: linker.ld asserts that it ends within them, counted from 2 MiB.
const IMAGE_TABLES: usize = 4;
/// GiB of direct map on a processor without 1 GiB pages.
const SMALL_DIRECT_GIB: usize = 16;

#[repr(C, align(4096))]
struct Table([u64; 512]);

#[repr(C)]
struct Tables {
    root: Table,
    direct: Table,
    image_pointers: Table,
    image_directory: Table,
    image: [Table; IMAGE_TABLES],
    direct_directories: [Table; SMALL_DIRECT_GIB],
    /// Physical addresses from here on are not in the direct map.
    direct_end: u64,
}

// SAFETY: zero is a value of every word.
static TABLES: CoreCell<Tables> = CoreCell::new(unsafe { core::mem::zeroed() });

unsafe extern "C" {
    static text_start: u8;
    static rodata_start: u8;
    static data_start: u8;
    static kernel_end: u8;
}

/// Builds the final tables and makes them current.
pub fn init(gib_pages: bool, physical_bits: u32) {
    // SAFETY: boot code, run once, before any other use of the tables.
    let tables = unsafe { &mut *TABLES.get() };
    map_direct(tables, gib_pages, physical_bits);
    map_image(tables);
    tables.root.0[DIRECT_SLOT] = physical(&tables.direct) | PRESENT | WRITABLE | NO_EXECUTE;
    tables.root.0[KERNEL_SLOT] = physical(&tables.image_pointers) | PRESENT | WRITABLE;
    activate(kernel_root());
}

fn map_direct(tables: &mut Tables, gib_pages: bool, physical_bits: u32) {
    let rights = PRESENT | WRITABLE | LARGE | GLOBAL | NO_EXECUTE;
    // An address beyond the processor's width in an entry is a reserved-bit fault, so the map ends there at the latest.
    let width_gib = if physical_bits >= 39 { 512 } else { 1 << physical_bits.saturating_sub(30) };
    let gib = if gib_pages { width_gib } else { width_gib.min(SMALL_DIRECT_GIB) };
    if gib_pages {
        for (at, entry) in tables.direct.0.iter_mut().take(gib).enumerate() {
            *entry = (at as u64 * GIB) | rights;
        }
    } else {
        for (at, directory) in tables.direct_directories.iter_mut().take(gib).enumerate() {
            for (index, entry) in directory.0.iter_mut().enumerate() {
                *entry = (at as u64 * GIB + index as u64 * MIB_2) | rights;
            }
            tables.direct.0[at] = physical(directory) | PRESENT | WRITABLE;
        }
    }
    tables.direct_end = gib as u64 * GIB;
}

/// Maps the image by 4 KiB pages: code is never writable, data never executable, and the page under the stack is absent.
fn map_image(tables: &mut Tables) {
    let [text, rodata, data, end] = image_bounds();
    let guards = segments::stacks();
    let mut address = text;
    while address < end {
        let rights = match address {
            _ if guards.contains(&address) => 0,
            _ if address < rodata => PRESENT | GLOBAL,
            _ if address < data => PRESENT | GLOBAL | NO_EXECUTE,
            _ => PRESENT | WRITABLE | GLOBAL | NO_EXECUTE,
        };
        let page = ((address - KERNEL_BASE - MIB_2) / PAGE) as usize;
        tables.image[page / 512].0[page % 512] = (address - KERNEL_BASE) | rights;
        address += PAGE;
    }
    for (index, table) in tables.image.iter().enumerate() {
        tables.image_directory.0[index + 1] = physical(table) | PRESENT | WRITABLE;
    }
    tables.image_pointers.0[510] = physical(&tables.image_directory) | PRESENT | WRITABLE;
}

/// Virtual addresses of text, read-only data, data and the image's end.
pub fn image_bounds() -> [u64; 4] {
    [
        &raw const text_start as u64,
        &raw const rodata_start as u64,
        &raw const data_start as u64,
        &raw const kernel_end as u64,
    ]
}

/// The image's physical range, boot section included.
pub fn image_range() -> core::ops::Range<u64> {
    MIB_2..image_bounds()[3] - KERNEL_BASE
}

/// Physical addresses below this one are in the direct map.
pub fn direct_end() -> u64 {
    // SAFETY: a plain copy of a word that is written once, by `init`.
    unsafe { (*TABLES.get()).direct_end }
}

fn physical(table: &Table) -> u64 {
    core::ptr::from_ref(table) as u64 - KERNEL_BASE
}

/// Physical address of the table whose low half is empty.
pub fn kernel_root() -> u64 {
    TABLES.get() as u64 - KERNEL_BASE
}

/// The two entries of the kernel's half, with their slots.
pub fn kernel_half() -> [(usize, u64); 2] {
    // SAFETY: copies of words that are written once, by `init`.
    let root = unsafe { &(*TABLES.get()).root };
    [(DIRECT_SLOT, root.0[DIRECT_SLOT]), (KERNEL_SLOT, root.0[KERNEL_SLOT])]
}

/// Makes this top-level table the current one: the address of a page that holds the kernel's half.
#[inline(always)]
pub fn activate(root: u64) {
    // SAFETY: the caller's table holds the kernel's half, so this code and its stack stay mapped.
    unsafe { core::arch::asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Where this physical address is mapped.
pub fn pointer(physical: u64) -> *mut u8 {
    debug_assert!(physical < direct_end());
    (DIRECT_MAP + physical) as *mut u8
}

/// The direct map, for whoever parses what lies in memory.
pub struct DirectMap;

impl hic_bootinfo::Physical for DirectMap {
    fn read<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        if at.checked_add(N as u64)? > direct_end() {
            return None;
        }
        // SAFETY: all of it lies in the direct map, and any bytes are a value.
        Some(unsafe { pointer(at).cast::<[u8; N]>().read() })
    }
}
