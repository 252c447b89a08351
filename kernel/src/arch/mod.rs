//! The x86-64 machine under Core-0: the only part of the kernel that executes privileged instructions or follows raw pointers.
//!
//! Below [`machine::X86`] nothing knows what a thread, a capability or a region is. In the order in which control meets them:
//!
//! - [`boot`]: from the loader's jump in 32-bit mode to the first Rust function.
//! - [`paging`], [`cpu`], [`segments`]: the final page tables, control registers, descriptor tables and stacks.
//! - [`memory`]: which memory is free, and the boot archive.
//! - [`apic`], [`clock`], [`rtc`], [`acpi`], [`pci`]: interrupts, timer, time, power, configuration space.
//! - [`entry`]: system calls, interrupts and the way back to ring 3.
//! - [`machine`]: all of it as [`core0::machine::Machine`].
//! - [`serial`], [`panic`]: the boot console and the end.

use core::cell::UnsafeCell;

pub mod acpi;
pub mod apic;
pub mod boot;
pub mod clock;
pub mod cpu;
pub mod entry;
pub mod machine;
pub mod memory;
pub mod paging;
pub mod panic;
pub mod pci;
pub mod port;
pub mod rtc;
pub mod segments;
pub mod serial;

/// A static that only the one processor core touches, with interrupts off.
///
/// The kernel runs with interrupts off everywhere but inside [`entry::idle`], which an interrupt only ends, so no two uses overlap as long as
/// no reference to the content is kept across a resumed thread.
#[repr(transparent)]
pub struct CoreCell<T>(UnsafeCell<T>);

// SAFETY: there is one core, and the kernel is not interrupted outside `idle` (see the type's comment).
unsafe impl<T> Sync for CoreCell<T> {}

impl<T> CoreCell<T> {
    /// Wraps the initial value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The content's address; who follows it keeps the type's rule.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}
