//! The memory that the disk may reach: the pages that the module was granted for it, and no others.
//!
//! Behind an IOMMU the disk reaches nothing else; without one, what keeps its hands off other memory is that it is told addresses in these pages only:
//! what is to be transferred is copied through them. The first pages hold the queue; the rest is shared out from its start for each request and empty again after it.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use hic_abi::PAGE_SIZE;
use hic_rt::{log, sys};
use storage::cache::CHUNK_SECTORS;
use storage::disk::SECTOR_BYTES;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// Pages of the queue: descriptors with the available ring, and the used ring.
const QUEUE_PAGES: u64 = 2;
/// Bytes beside the data of a request: its header and its status, each aligned.
const FRAMING: u64 = 64;
/// Pages that the module needs.
pub const PAGES: u64 = QUEUE_PAGES + ((CHUNK_SECTORS * SECTOR_BYTES) as u64 + FRAMING).div_ceil(PAGE_SIZE);
/// Shared pieces start at multiples of this.
const ALIGN: u64 = 16;
/// Exit code of a driver that would have given the disk memory that is not for it.
const NO_ROOM: u64 = 4;

/// The pages. One thread uses them; atomics make a static of it that needs no unsafe code.
struct Pool {
    base: AtomicU64,
    end: AtomicU64,
    /// Where the next page of the queue is.
    queue: AtomicU64,
    /// Where the next shared piece is.
    next: AtomicU64,
    /// Pieces that are shared.
    shared: AtomicU32,
}

static POOL: Pool = Pool {
    base: AtomicU64::new(0),
    end: AtomicU64::new(0),
    queue: AtomicU64::new(0),
    next: AtomicU64::new(0),
    shared: AtomicU32::new(0),
};

/// Takes the granted pages into use.
///
/// # Safety
/// `address` is a multiple of the page size; from there on `bytes` bytes are mapped for reading and writing as long as the program runs, at their physical
/// address + [`hic_abi::USER_BASE`], and nothing else refers to them. The disk is stopped. Called once.
pub unsafe fn init(address: u64, bytes: u64) {
    POOL.base.store(address, Ordering::Relaxed);
    POOL.end.store(address + bytes, Ordering::Relaxed);
    POOL.queue.store(address, Ordering::Relaxed);
    POOL.next.store(address + QUEUE_PAGES * PAGE_SIZE, Ordering::Relaxed);
}

/// Regions are mapped at a fixed distance from where they lie (architecture, "One address for every byte of physical memory").
fn physical(address: u64) -> PhysAddr {
    address - hic_abi::USER_BASE
}

/// [`Hal`] over the pool.
pub struct Dma;

// SAFETY: pages come from the queue's part of the pool, each once, zeroed, aligned; `init` promises that they are mapped and nobody else's.
unsafe impl Hal for Dma {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let bytes = pages as u64 * PAGE_SIZE;
        let at = POOL.queue.load(Ordering::Relaxed);
        let limit = POOL.base.load(Ordering::Relaxed) + QUEUE_PAGES * PAGE_SIZE;
        match NonNull::new(at as *mut u8)
            .filter(|_| at + bytes <= limit.min(POOL.end.load(Ordering::Relaxed)))
        {
            Some(place) => {
                POOL.queue.store(at + bytes, Ordering::Relaxed);
                // SAFETY: inside the pool and handed out never before (`queue` only grows).
                unsafe { place.write_bytes(0, bytes as usize) };
                (physical(at), place)
            }
            // The crate takes 0 for "no memory".
            None => (0, NonNull::dangling()),
        }
    }

    /// The queue lives as long as the program; what a failed start took stays taken.
    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0
    }

    /// Only for the crate's own PCI transport, which is not used.
    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new((paddr + hic_abi::USER_BASE) as *mut u8).unwrap_or(NonNull::dangling())
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        let at = POOL.next.load(Ordering::Relaxed);
        let end = (at + buffer.len() as u64).next_multiple_of(ALIGN);
        if end > POOL.end.load(Ordering::Relaxed) {
            // There is no way to refuse, and an address outside the pool must never reach the disk. `PAGES` is made so that this cannot be.
            log!("a request of {} bytes does not fit the DMA memory", buffer.len());
            sys::exit(NO_ROOM);
        }
        POOL.next.store(end, Ordering::Relaxed);
        POOL.shared.fetch_add(1, Ordering::Relaxed);
        if direction != BufferDirection::DeviceToDriver {
            // SAFETY: the caller's buffer is valid; the piece is in the pool behind all others that are shared.
            unsafe { core::ptr::copy_nonoverlapping(buffer.cast().as_ptr(), at as *mut u8, buffer.len()) };
        }
        physical(at)
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, direction: BufferDirection) {
        if direction != BufferDirection::DriverToDevice {
            let from = (paddr + hic_abi::USER_BASE) as *const u8;
            // SAFETY: `paddr` is what `share` returned for this buffer, and the disk is done with it.
            unsafe { core::ptr::copy_nonoverlapping(from, buffer.cast().as_ptr(), buffer.len()) };
        }
        if POOL.shared.fetch_sub(1, Ordering::Relaxed) == 1 {
            let start = POOL.base.load(Ordering::Relaxed) + QUEUE_PAGES * PAGE_SIZE;
            POOL.next.store(start, Ordering::Relaxed);
        }
    }
}
