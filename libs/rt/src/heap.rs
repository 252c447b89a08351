//! The heap, fixed in size by the manifest, and what happens when a program panics.

use linked_list_allocator::Heap;

/// The allocator over the heap that the start page names. One thread a program (architecture, "CPU").
struct ProgramHeap(core::cell::UnsafeCell<Heap>);

// SAFETY: a program has one thread, and nothing interrupts it to run other code of the same program.
unsafe impl Sync for ProgramHeap {}

#[global_allocator]
static HEAP: ProgramHeap = ProgramHeap(core::cell::UnsafeCell::new(Heap::empty()));

/// Called once at start.
pub(crate) fn init(address: u64, bytes: u64) {
    if bytes > 0 {
        // SAFETY: the loader mapped these bytes writable for this heap alone, and `init` runs once, before any allocation.
        unsafe { (*HEAP.0.get()).init(address as *mut u8, bytes as usize) };
    }
}

// SAFETY: blocks come from `linked_list_allocator`, which keeps them disjoint and aligned.
unsafe impl core::alloc::GlobalAlloc for ProgramHeap {
    unsafe fn alloc(&self, layout: core::alloc::Layout) -> *mut u8 {
        // SAFETY: the only thread is here and nowhere else in the heap (see `Sync`).
        let heap = unsafe { &mut *self.0.get() };
        heap.allocate_first_fit(layout).map_or(core::ptr::null_mut(), |block| block.as_ptr())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: core::alloc::Layout) {
        if let Some(block) = core::ptr::NonNull::new(block) {
            // SAFETY: as in `alloc`; the caller promises that the block came from there with this layout.
            unsafe { (*self.0.get()).deallocate(block, layout) };
        }
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::log!("{info}");
    crate::sys::exit(101)
}
