//! The sweep: every system call with every kind of argument in every place, by a sandbox that holds nothing, and by one that holds a capability
//! of each type without a single right.
//!
//! All of it must be refused, but for the calls that need no authority ([`harmless`]); and the kernel must not have written one byte. The
//! controls are those of the probes: the same calls with proper handles.

use core::sync::atomic::Ordering::Relaxed;

use crate::props::Gift;
use crate::raw::{self, Registers};
use crate::stage::{RW, Run, Stage};
use alloc::vec::Vec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, PAGE_SIZE, Rights, SELF, USER_BASE};
use hic_rt::loader::LoadError;
use hic_rt::sys;
use hostile::{Board, Expect, Task, outcome};

/// Numbers that are no system calls.
const NO_CALLS: [u64; 6] = [Syscall::ALL.len() as u64, 255, 1 << 31, 1 << 32, (1 << 32) + 3, u64::MAX];
/// What the sandbox's page of data holds in each word.
const CANARY: u64 = 0xa5a5_5a5a_c3c3_3c3c;
/// Different ways to fill the arguments after the second.
const TURNS: usize = 3;
/// Longest line that the kernel logs.
const LOG_LINE: u64 = 240;

/// Handles, lengths and numbers.
const NUMBERS: [u64; 28] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    64,
    LOG_LINE,
    1025,
    2047,
    2048,
    PAGE_SIZE,
    0xffff,
    1 << 31,
    u32::MAX as u64,
    1 << 32,
    1 << 63,
];

/// Addresses; something can be read from the last four on.
fn addresses(board: &Board) -> [u64; 12] {
    let (data, sealed) = (board.arg(1), board.arg(2));
    [
        u64::MAX,
        u64::MAX - 7,
        0xffff_ffff_8021_0000,
        0xffff_8000_0020_0000,
        0x0000_8000_0000_0000,
        USER_BASE,
        2 * USER_BASE - 8,
        sealed - 8,
        data + PAGE_SIZE - 4,
        sealed,
        data,
        data + 1,
    ]
}

/// Tries all numbers.
pub fn run(stage: &mut Stage) -> Result<(), LoadError> {
    let weak: Vec<Gift> =
        ObjectType::ALL.into_iter().filter(|kind| *kind != ObjectType::Thread).map(without_rights).collect();
    // A page that can be read and not written.
    let sealed = stage.code(&[0; 64])?;
    let mut swept = 0;
    let calls = Syscall::ALL.into_iter().filter(|call| *call != Syscall::Exit);
    for number in calls.map(|call| call as u64).chain(NO_CALLS) {
        for (gifts, holding) in [(&[] as &[Gift], "nothing"), (&weak, "handles without rights")] {
            let args = [number, stage.data.1, sealed.1, u64::from(!gifts.is_empty())];
            let shown = [(stage.data.0, RW), (sealed.0, Rights::READ)];
            let expect = Expect::NoEffect;
            let run = Run {
                task: Task::Sweep,
                index: 0,
                granted: false,
                args: &args,
                gifts,
                shown: &shown,
                expect,
            };
            let name = Syscall::from_number(number);
            let before = stage.tally.failures;
            stage.attempt(&format_args!("sweep over {name:?} ({number:#x}) holding {holding}"), &run)?;
            if stage.tally.failures != before {
                let words: Vec<u64> = (1..9).map(|n| stage.board.result(n)).collect();
                stage.fail(&"  the call was", &format_args!("status, arguments, buffer: {words:x?}"));
            }
            swept += stage.board.result(0);
        }
    }
    hic_rt::log!("selftest: note the sweep made {swept} system calls");
    hic_rt::cap::drop_slot(sealed.0);
    Ok(())
}

fn without_rights(kind: ObjectType) -> Gift {
    Gift::new(kind as Handle, kind, Rights::empty())
}

/// What the sandbox under trial does: all arguments for one number.
pub fn act(board: &Board) -> u64 {
    let (number, data, weak) = (board.arg(0), board.arg(1), board.arg(3) != 0);
    // SAFETY: the director maps the page of data here for nobody else; nothing of this program lies in it.
    let page = unsafe { core::slice::from_raw_parts_mut(data as *mut u64, 512) };
    page.fill(CANARY);
    let addresses = addresses(board);
    let kinds: Vec<u64> = NUMBERS.into_iter().chain(addresses).collect();
    let at = |n: usize| kinds.get(n % kinds.len()).copied().unwrap_or(0);
    let mut calls = 0;
    for a in 0..kinds.len() {
        for b in 0..kinds.len() {
            for turn in 0..TURNS {
                let n = a + b + turn * 13;
                let args = [at(a), at(b), at(n), at(n + 7 * turn + 1), at(n + 5), at(n + 11)];
                let registers = Registers { number, args, deadline: 0, buffer: at(n + 29) };
                let readable = addresses.get(8..).is_some_and(|own| own.contains(&args[1]));
                if skipped(number, &args, readable, weak) {
                    continue;
                }
                // SAFETY: the only memory that a pointer here leads to and that can be written is the page of data.
                let (status, ..) = unsafe { raw::call(&registers) };
                calls += 1;
                board.out[0].store(calls, Relaxed);
                if Error::from_status(status).is_ok() != harmless(number, &args, weak) {
                    let told = [status].into_iter().chain(args).chain([registers.buffer]);
                    told.zip(1..).for_each(|(word, n)| board.put(n, word));
                    return outcome::STRANGE;
                }
            }
        }
    }
    // SAFETY: as above; read anew, since the kernel may have written behind the compiler's back.
    let unchanged = page.iter().all(|word| unsafe { core::ptr::read_volatile(word) } == CANARY);
    if unchanged && (weak || space_is_empty()) { outcome::NO_EFFECT } else { outcome::STRANGE }
}

fn space_is_empty() -> bool {
    (0..=crate::child::SLOTS as Handle).all(|slot| sys::cap_info(SELF, slot) == Err(Error::InvalidHandle))
}

/// What is not tried: log lines that would be printed, and what would take away the handles that the rest of the sweep is about.
fn skipped(number: u64, args: &[u64; 6], readable: bool, weak: bool) -> bool {
    match Syscall::from_number(number) {
        Some(Syscall::LogWrite) => readable && args[2] <= LOG_LINE,
        Some(Syscall::CapDelete | Syscall::CapMove) => weak,
        _ => false,
    }
}

/// Whether the call needs no authority, or none but what these handles without rights give.
fn harmless(number: u64, args: &[u64; 6], weak: bool) -> bool {
    let handle = |arg: u64| arg as Handle;
    let held = |slot: Handle| {
        weak && ObjectType::ALL.iter().any(|k| *k as Handle == slot && *k != ObjectType::Thread)
    };
    let memory = |slot: Handle| {
        weak && [ObjectType::Region, ObjectType::Mmio, ObjectType::Clock].iter().any(|k| *k as Handle == slot)
    };
    match Syscall::from_number(number) {
        Some(Syscall::Null | Syscall::Yield | Syscall::Now) => true,
        Some(Syscall::BindNotification) => handle(args[0]) == 0,
        Some(Syscall::CapInfo | Syscall::CapRevoke) => handle(args[0]) == SELF && held(handle(args[1])),
        Some(Syscall::RegionInfo) => memory(handle(args[0])) && args[1] == 0,
        Some(Syscall::IrqAck) => weak && handle(args[0]) == ObjectType::Irq as Handle,
        _ => false,
    }
}
