//! The loads themselves: each does one thing for ever and counts how often.

use crate::child::{FREE_SLOTS, SLOTS};
use crate::props::Gift;
use hic_abi::ObjectType::{Account, Notification, Port, Region};
use hic_abi::object::{AccountSpec, SandboxSpec, ThreadSpec};
use hic_abi::switch::{Entry, EntryKind, MAX_ENTRIES};
use hic_abi::{Error, FOREVER, Handle, PAGE_SIZE, Plain, Rights, SELF};
use hic_rt::ipc::{self, Message};
use hic_rt::sys;
use hostile::Board;

/// One load.
pub struct Load {
    /// What it is.
    pub name: &'static str,
    /// What it is given.
    pub gifts: &'static [Gift],
    /// What it does; returns only when it cannot go on.
    pub act: fn(&Board) -> u64,
}

const ALL: Rights = Rights::all();
const RW: Rights = Rights::READ.union(Rights::WRITE);
/// Slot of what a load is about.
const HELD: Handle = 1;
/// Slot of its account, where it needs both.
const ACCOUNT: Handle = 2;
/// An empty slot.
const OUT: Handle = 40;
/// Capabilities in a bomb.
const BOMB: Handle = 1500;
/// Capabilities in a bomb each of which makes the kernel search the whole space.
const HEAVY_BOMB: Handle = 1000;
/// Pages of a region that is mapped.
const PAGES: u64 = 64;
/// Threads of a crowd.
const CROWD: u64 = 40;

const fn account(slot: Handle) -> Gift {
    Gift::new(slot, Account, ALL)
}

// A thread of the crowd: counts for ever and touches no stack.
core::arch::global_asm!("hostile_spin: inc qword ptr [rdi]", "jmp hostile_spin");

unsafe extern "C" {
    static hostile_spin: u8;
}

/// Does it for ever, or until it is refused.
fn again(board: &Board, mut once: impl FnMut() -> Result<(), Error>) -> u64 {
    loop {
        match once() {
            Ok(()) => board.step(),
            Err(error) => return hostile::outcome::refused(error),
        }
    }
}

fn copy(to: Handle, from: Handle) -> Result<(), Error> {
    sys::cap_copy((SELF, to), (SELF, from), ALL)
}

/// All of them.
pub const LOADS: &[Load] = &[
    Load { name: "hog the processor", gifts: &[], act: |board| again(board, || Ok(())) },
    Load {
        name: "take turns all the time",
        gifts: &[],
        act: |board| {
            again(board, || {
                sys::yield_now();
                Ok(())
            })
        },
    },
    Load { name: "make system calls all the time", gifts: &[], act: |board| again(board, sys::null) },
    Load {
        name: "hog the processor with a crowd of threads",
        gifts: &[account(HELD)],
        act: |board| {
            for _ in 0..CROWD {
                let here = &raw const hostile_spin as u64;
                let spec = ThreadSpec { entry: here, stack: here, argument: board.count.as_ptr() as u64 };
                if let Err(error) = sys::thread_start(HELD, SELF, 0, &spec) {
                    return hostile::outcome::refused(error);
                }
            }
            loop {
                sys::yield_now();
            }
        },
    },
    Load {
        name: "set timers all the time",
        gifts: &[Gift::new(HELD, Notification, ALL)],
        act: |board| {
            let _ = sys::wait(HELD, 0);
            again(board, || match sys::wait(HELD, sys::now() + 1) {
                Ok(_) | Err(Error::Timeout) => Ok(()),
                Err(error) => Err(error),
            })
        },
    },
    Load {
        name: "flood a server with calls",
        gifts: &[Gift::new(HELD, Port, ALL)],
        act: |board| again(board, || ipc::call_words(HELD, Message::new(1, [0; 4]), FOREVER).map(|_| ())),
    },
    Load {
        name: "flood a notification with signals",
        gifts: &[Gift::new(HELD, Notification, ALL)],
        act: |board| again(board, || sys::signal(HELD, u64::MAX)),
    },
    Load { name: "flood the log", gifts: &[], act: |board| again(board, || sys::log_write(&[b'!'; 64])) },
    Load {
        name: "flood with transactions of 256 entries",
        gifts: &[Gift::new(HELD, Notification, ALL)],
        act: |board| {
            let entries =
                [Entry { kind: EntryKind::Signal as u64, args: [HELD.into(), 1, 0, 0] }; MAX_ENTRIES];
            again(board, || sys::transaction(&entries).map_err(|(error, _)| error))
        },
    },
    Load {
        name: "exhaust frames and give them back",
        gifts: &[account(HELD)],
        act: |board| {
            again(board, || {
                let mut slot = FREE_SLOTS;
                while sys::create_region(HELD, slot, PAGE_SIZE).is_ok() {
                    slot += 1;
                }
                (FREE_SLOTS..slot).try_for_each(|made| sys::cap_delete(SELF, made))
            })
        },
    },
    Load {
        name: "exhaust objects and give them back",
        gifts: &[account(HELD)],
        act: |board| {
            again(board, || {
                let mut slot = FREE_SLOTS;
                while sys::create_notification(HELD, slot).is_ok() {
                    slot += 1;
                }
                (FREE_SLOTS..slot).try_for_each(|made| sys::cap_delete(SELF, made))
            })
        },
    },
    Load {
        name: "make and end sandboxes",
        gifts: &[account(HELD)],
        act: |board| {
            let spec = SandboxSpec { slots: 1024, ..SandboxSpec::zeroed() };
            again(board, || sys::create_sandbox(HELD, OUT, &spec).and_then(|_| sys::destroy(SELF, OUT)))
        },
    },
    Load {
        name: "make and end accounts",
        gifts: &[account(HELD)],
        act: |board| {
            let spec = AccountSpec { frames: 1, objects: 1, name: [0; 32] };
            again(board, || sys::create_account(HELD, OUT, &spec).and_then(|()| sys::destroy(SELF, OUT)))
        },
    },
    Load {
        name: "map and unmap",
        gifts: &[account(HELD)],
        act: |board| {
            if let Err(error) = sys::create_region(HELD, OUT, PAGES * PAGE_SIZE) {
                return hostile::outcome::refused(error);
            }
            again(board, || sys::region_map(SELF, OUT, RW).and_then(|_| sys::region_unmap(SELF, OUT)))
        },
    },
    Load {
        name: "a wide revoke bomb",
        gifts: &[Gift::new(HELD, Notification, ALL)],
        act: |board| {
            again(board, || {
                (FREE_SLOTS..FREE_SLOTS + BOMB).try_for_each(|slot| copy(slot, HELD))?;
                sys::cap_revoke(SELF, HELD)
            })
        },
    },
    Load {
        name: "a deep revoke bomb",
        gifts: &[Gift::new(HELD, Notification, ALL)],
        act: |board| {
            again(board, || {
                copy(FREE_SLOTS, HELD)?;
                (FREE_SLOTS..FREE_SLOTS + BOMB).try_for_each(|slot| copy(slot + 1, slot))?;
                sys::cap_revoke(SELF, HELD)
            })
        },
    },
    Load {
        name: "a revoke bomb of a region that is mapped",
        gifts: &[Gift::new(ACCOUNT, Account, ALL)],
        act: |board| {
            // The origin lies in the last slot, where a search of the space finds it last.
            let last = SLOTS as Handle - 1;
            let made = sys::create_region(ACCOUNT, last, PAGE_SIZE);
            if let Err(error) = made.and_then(|_| sys::region_map(SELF, last, RW)) {
                return hostile::outcome::refused(error);
            }
            again(board, || {
                (FREE_SLOTS..FREE_SLOTS + HEAVY_BOMB).try_for_each(|slot| copy(slot, last))?;
                sys::cap_revoke(SELF, last)
            })
        },
    },
    Load {
        name: "revoke memory that a server is using",
        gifts: &[Gift::new(HELD, Region, RW.union(Rights::COPY)), Gift::new(3, Port, ALL)],
        act: |board| {
            again(board, || {
                copy(OUT, HELD)?;
                sys::region_map(SELF, OUT, RW)?;
                sys::cap_revoke(SELF, HELD)?;
                let _ = sys::region_unmap(SELF, HELD);
                ipc::call_words(3, Message::new(1, [0; 4]), FOREVER).map(|_| ())
            })
        },
    },
];
