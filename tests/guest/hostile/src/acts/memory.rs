//! Memory that was taken away, that was never given, that somebody had before; writable and executable at once.

use super::{Act, HELD, OUT, act, held, page_fault, refused};
use crate::props::{Gift, SECRET};
use hic_abi::ObjectType::{Account, Entropy, Mmio, Region, Sandbox};
use hic_abi::object::{SealSpec, ThreadSpec};
use hic_abi::{Error, PAGE_SIZE, Rights, SELF, USER_BASE};
use hic_rt::sys;
use hostile::{Board, outcome};

const ALL: Rights = Rights::all();
const RW: Rights = Rights::READ.union(Rights::WRITE);
const REGION: &[Gift] = &[held(Region, ALL)];
const ACCOUNT: &[Gift] = &[held(Account, ALL)];
const ENTROPY: &[Gift] = &[held(Entropy, ALL)];
/// Error codes of page faults: ring 3 reads, or writes, what is not there; writes what may not be written.
const READ_ABSENT: u64 = 4;
const WRITE_ABSENT: u64 = 6;
const WRITE_PRESENT: u64 = 7;

fn read(board: &Board, address: u64) -> u64 {
    board.put(0, address);
    // SAFETY: an aligned word; where it is not mapped the sandbox dies, which is what the test is about.
    unsafe { core::ptr::read_volatile(address as *const u64) }
}

fn write(board: &Board, address: u64, value: u64) {
    board.put(0, address);
    // SAFETY: as in `read`; nothing of this program lies there.
    unsafe { core::ptr::write_volatile(address as *mut u64, value) };
}

/// Maps the region, touches it, so that the processor knows the way, lets `take` take it away (not in the control), and touches it again.
fn touch_after(board: &Board, granted: bool, write_it: bool, take: fn() -> Result<(), Error>) -> u64 {
    let Ok(address) = sys::region_map(SELF, HELD, RW) else { return outcome::STRANGE };
    if read(board, address) != SECRET {
        return outcome::STRANGE;
    }
    if !granted && take().is_err() {
        return outcome::STRANGE;
    }
    if write_it {
        write(board, address, 1);
    } else {
        let _ = read(board, address);
    }
    outcome::DONE
}

/// All of them.
pub const ACTS: &[Act] = &[
    act("read a region after it was unmapped", REGION, page_fault(READ_ABSENT), |board, granted| {
        touch_after(board, granted, false, || sys::region_unmap(SELF, HELD))
    }),
    act("write a region after it was unmapped", REGION, page_fault(WRITE_ABSENT), |board, granted| {
        touch_after(board, granted, true, || sys::region_unmap(SELF, HELD))
    }),
    act(
        "read a region after its capability was deleted",
        REGION,
        page_fault(READ_ABSENT),
        |board, granted| touch_after(board, granted, false, || sys::cap_delete(SELF, HELD)),
    ),
    act("write a region after it was destroyed", REGION, page_fault(WRITE_ABSENT), |board, granted| {
        touch_after(board, granted, true, || sys::destroy(SELF, HELD))
    }),
    act(
        "read a region mapped by a copy after a revocation",
        &[held(Region, ALL), Gift::new(2, Sandbox, ALL)],
        page_fault(READ_ABSENT),
        |board, granted| {
            // The origin goes to another sandbox, so that the copy is all that the mapping hangs on.
            let ready = sys::cap_copy((SELF, OUT), (SELF, HELD), RW)
                .and_then(|()| sys::cap_move((2, 9), (SELF, HELD)));
            let Ok(address) = ready.and_then(|()| sys::region_map(SELF, OUT, RW)) else {
                return outcome::STRANGE;
            };
            let _ = read(board, address);
            if !granted && sys::cap_revoke(2, 9).is_err() {
                return outcome::STRANGE;
            }
            let _ = read(board, address);
            outcome::DONE
        },
    ),
    act("write what it may execute", ACCOUNT, page_fault(WRITE_PRESENT), |board, granted| {
        let made = sys::create_region(HELD, OUT, 2 * PAGE_SIZE);
        let sealed =
            made.and_then(|_| sys::region_seal(OUT, &SealSpec { read_only: 0, execute: 1, guard: 0 }));
        let Ok(address) = sealed.and_then(|()| sys::region_map(SELF, OUT, ALL)) else {
            return outcome::STRANGE;
        };
        write(board, if granted { address + PAGE_SIZE } else { address }, 1);
        outcome::DONE
    }),
    act("map what it writes a second time, to execute it", REGION, refused(Error::Mapped), |_, granted| {
        let mapped = sys::region_map(SELF, HELD, RW);
        let gone = mapped.and_then(|_| if granted { sys::region_unmap(SELF, HELD) } else { Ok(()) });
        outcome::of(gone.and_then(|()| sys::region_map(SELF, HELD, ALL)).map(|_| ()))
    }),
    act("find what freed memory held", ACCOUNT, super::Expect::NoEffect, |_, granted| leftovers(granted)),
    act("read the kernel through a log line", &[], refused(Error::BadAddress), |board, granted| {
        log_from(if granted { board.arg(0) } else { 0xffff_ffff_8021_0000 })
    }),
    act("read physical memory through a log line", &[], refused(Error::BadAddress), |board, granted| {
        log_from(if granted { board.arg(0) } else { 0xffff_8000_0020_0000 })
    }),
    act(
        "read somebody else's memory through a log line",
        &[],
        refused(Error::BadAddress),
        |board, granted| log_from(if granted { board.arg(0) } else { USER_BASE + 0x20_0000 }),
    ),
    act(
        "read over the end of its memory through a log line",
        &[],
        refused(Error::BadAddress),
        |board, granted| log_from(board.arg(0) + PAGE_SIZE - if granted { 4 } else { 1 }),
    ),
    act("let the kernel write into the kernel", ENTROPY, refused(Error::BadAddress), |board, granted| {
        entropy_to(if granted { board.arg(0) } else { 0xffff_ffff_8025_0000 })
    }),
    act("let the kernel write into code", ENTROPY, refused(Error::BadAddress), |board, granted| {
        entropy_to(board.arg(usize::from(!granted)))
    }),
    act(
        "let the kernel write over the end of its memory",
        ENTROPY,
        refused(Error::BadAddress),
        |board, granted| entropy_to(board.arg(0) + PAGE_SIZE - if granted { 16 } else { 8 }),
    ),
    act(
        "let the kernel write where the sum of address and length wraps",
        ENTROPY,
        refused(Error::BadAddress),
        |board, granted| entropy_to(if granted { board.arg(0) } else { u64::MAX - 7 }),
    ),
    act(
        "let the kernel write into device registers",
        &[held(Entropy, ALL), Gift::new(2, Mmio, ALL)],
        refused(Error::BadAddress),
        |board, granted| {
            let Ok(window) = sys::mmio_map(SELF, 2, RW) else { return outcome::STRANGE };
            entropy_to(if granted { board.arg(0) } else { window })
        },
    ),
    act(
        "ask for more random bytes than one call gives",
        ENTROPY,
        refused(Error::InvalidArgument),
        |board, granted| {
            let length = if granted { 256 } else { PAGE_SIZE };
            // SAFETY: the page of data is mapped here, a page long, and nothing of this program lies in it.
            let out = unsafe { core::slice::from_raw_parts_mut(board.arg(0) as *mut u8, length as usize) };
            outcome::of(sys::entropy(HELD, out))
        },
    ),
    act("start a thread in the kernel", ACCOUNT, refused(Error::BadAddress), |_, granted| {
        start_thread(|spec| {
            if !granted {
                spec.entry = 0xffff_ffff_8021_0000
            }
        })
    }),
    act(
        "start a thread at an address that is not canonical",
        ACCOUNT,
        refused(Error::BadAddress),
        |_, granted| {
            start_thread(|spec| {
                if !granted {
                    spec.entry = 0x0000_8000_0000_0000
                }
            })
        },
    ),
    act("start a thread on the kernel's stack", ACCOUNT, refused(Error::BadAddress), |_, granted| {
        start_thread(|spec| {
            if !granted {
                spec.stack = 0xffff_ffff_8025_0000
            }
        })
    }),
];

fn log_from(address: u64) -> u64 {
    // SAFETY: the kernel checks the address, which is what the test is about; nothing is read here.
    outcome::of(sys::log_write(unsafe { core::slice::from_raw_parts(address as *const u8, 4) }))
}

fn entropy_to(address: u64) -> u64 {
    // SAFETY: as in `log_from`; where the kernel may write, nothing of this program lies.
    outcome::of(sys::entropy(HELD, unsafe { core::slice::from_raw_parts_mut(address as *mut u8, 16) }))
}

fn start_thread(change: impl Fn(&mut ThreadSpec)) -> u64 {
    // A thread that is never scheduled before this one ends the sandbox needs no code of its own.
    let mut spec = ThreadSpec { entry: USER_BASE, stack: USER_BASE, argument: 0 };
    change(&mut spec);
    outcome::of(sys::thread_start(HELD, SELF, 0, &spec))
}

/// Fills regions of all sizes and gives them back, and looks at each new one: whoever finds a word that is not zero found something.
fn leftovers(granted: bool) -> u64 {
    for round in 1..200 {
        let pages = round % 24 + 1;
        let Ok(address) = sys::create_region(HELD, OUT, pages * PAGE_SIZE) else { return outcome::STRANGE };
        if sys::region_map(SELF, OUT, RW).is_err() {
            return outcome::STRANGE;
        }
        // SAFETY: the region was just made and mapped here; it is this long.
        let words =
            unsafe { core::slice::from_raw_parts_mut(address as *mut u64, (pages * PAGE_SIZE / 8) as usize) };
        if words.iter().any(|word| *word != 0) {
            return outcome::DONE;
        }
        words.fill(SECRET);
        // The control looks again before it gives the region back.
        if granted && words.iter().any(|word| *word != 0) {
            return outcome::DONE;
        }
        if sys::cap_delete(SELF, OUT).is_err() {
            return outcome::STRANGE;
        }
    }
    outcome::NO_EFFECT
}
