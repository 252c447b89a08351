//! A mapped block of registers.

use core::ptr::NonNull;

mod sealed {
    pub trait Sealed {}
    impl Sealed for u8 {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
}

/// The width of a register. 64-bit registers are accessed in halves (4.1.3.1).
pub trait Register: Copy + sealed::Sealed {}
impl Register for u8 {}
impl Register for u16 {}
impl Register for u32 {}

/// A mapped block of registers. It may be copied: registers have no owner in the program but the driver.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    base: NonNull<u8>,
    len: usize,
}

impl Block {
    /// A block at `base` with `len` bytes.
    ///
    /// # Safety
    /// These bytes are registers of a device, or other memory that nothing else in the program refers to; they are mapped for reading and writing as
    /// long as the program runs. `base` is aligned to 4 bytes.
    #[must_use]
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// Its bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no registers.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a register of type `T` at `offset` is in it, aligned.
    #[must_use]
    pub fn holds<T: Register>(&self, offset: usize) -> bool {
        offset.is_multiple_of(size_of::<T>())
            && offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.len)
    }

    /// A wrong offset is a fault of the driver, never of the device: callers check what the device says with [`Self::holds`].
    fn place<T: Register>(&self, offset: usize) -> *mut T {
        assert!(self.holds::<T>(offset), "register {offset} outside its block");
        self.base.as_ptr().wrapping_add(offset).cast()
    }

    /// Reads a register.
    #[must_use]
    pub fn read<T: Register>(&self, offset: usize) -> T {
        // SAFETY: inside the mapped block and aligned (`place`); any bits are an integer.
        unsafe { self.place::<T>(offset).read_volatile() }
    }

    /// Writes a register.
    pub fn write<T: Register>(&self, offset: usize, value: T) {
        // SAFETY: as in `read`; what a register does is the device's business, and its DMA goes only where the driver's queues say.
        unsafe { self.place::<T>(offset).write_volatile(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_outside_the_block_or_across_its_end_is_not_in_it() {
        let mut memory = [0u32; 4];
        // SAFETY: the array is used through the block only, and outlives it.
        let block = unsafe { Block::new(NonNull::from(&mut memory).cast(), 15) };
        assert!(block.holds::<u16>(12) && block.holds::<u8>(14) && block.holds::<u32>(8));
        assert!(!block.holds::<u32>(12) && !block.holds::<u16>(15) && !block.holds::<u16>(usize::MAX - 1));
        assert!(!block.holds::<u32>(2), "not aligned");
        block.write(4, 0x1234_5678u32);
        assert_eq!((block.read::<u16>(4), block.read::<u8>(7)), (0x5678, 0x12));
    }
}
