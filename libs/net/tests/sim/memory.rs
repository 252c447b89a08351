//! Data regions in ordinary memory, used through their address only.

use hic_net::Socket;
use hic_netapi::region::{Indices, Status};
use hic_netapi::{AppSide, Layout, StackSide};
use std::alloc;

pub struct Memory {
    base: *mut u8,
    pub layout: Layout,
}

impl Memory {
    fn shape(layout: &Layout) -> alloc::Layout {
        alloc::Layout::from_size_align(layout.region_len(), 4096).unwrap()
    }

    pub fn new(layout: Layout) -> Self {
        // SAFETY: a region's length is never zero.
        Self { base: unsafe { alloc::alloc_zeroed(Self::shape(&layout)) }, layout }
    }

    pub fn create(&self) -> StackSide {
        // SAFETY: the memory lives as long as the simulation, which keeps one stack side for each.
        unsafe { StackSide::create(self.base, self.layout.region_len(), self.layout) }.unwrap()
    }

    pub fn attach(&self, indices: Indices) -> StackSide {
        let len = self.layout.region_len();
        // SAFETY: as `create`; the side of the instance before is dropped.
        unsafe { StackSide::attach(self.base, len, self.layout, indices, Status::default()) }.unwrap()
    }

    pub fn app(&self) -> AppSide {
        // SAFETY: as `create`; the simulation makes one application side for each.
        unsafe { AppSide::attach(self.base, self.layout.region_len()) }.unwrap()
    }

    /// Overwrites a word, as a hostile application would.
    pub fn poke(&self, offset: usize, value: u64) {
        assert!(offset + 8 <= self.layout.region_len());
        // SAFETY: inside the allocation; aligned by the caller's choice.
        unsafe { core::sync::atomic::AtomicU64::from_ptr(self.base.add(offset).cast()) }
            .store(value, core::sync::atomic::Ordering::SeqCst);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this shape.
        unsafe { alloc::dealloc(self.base, Self::shape(&self.layout)) }
    }
}

/// Which region belongs to which socket.
pub type Regions = std::collections::BTreeMap<Socket, (StackSide, Memory)>;
