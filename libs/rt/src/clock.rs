//! The time without a system call, from the clock page.

use core::sync::atomic::{AtomicPtr, Ordering};
use hic_abi::Nanos;
use hic_abi::start::ClockPage;

static PAGE: AtomicPtr<ClockPage> = AtomicPtr::new(core::ptr::null_mut());

/// Called once at start with the address of the clock page, or 0.
pub(crate) fn init(address: u64) {
    PAGE.store(address as *mut ClockPage, Ordering::Relaxed);
}

fn page() -> Option<&'static ClockPage> {
    let page = PAGE.load(Ordering::Relaxed);
    // SAFETY: the loader mapped the kernel's clock page there for the life of the sandbox; it is never written after boot.
    unsafe { page.as_ref() }
}

/// Monotonic nanoseconds since boot.
#[must_use]
pub fn now() -> Nanos {
    // SAFETY: reading the time-stamp counter has no preconditions (CR4.TSD is off).
    page().map_or_else(crate::sys::now, |page| page.nanos(unsafe { core::arch::x86_64::_rdtsc() }))
}

/// Monotonic microseconds since boot.
#[must_use]
pub fn now_micros() -> u64 {
    now() / 1000
}

/// Unix time, seconds; `None` in a sandbox without the clock page.
#[must_use]
pub fn wall_seconds() -> Option<u64> {
    page().map(|page| page.wall_base_seconds + now() / 1_000_000_000)
}
