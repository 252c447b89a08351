//! Messages that lie about their length, their buffer or what they carry; flags that ring 3 may not change.

use super::{Act, Expect, HELD, act, held, refused};
use crate::props::Gift;
use crate::raw::{self, Registers};
use core::arch::asm;
use hic_abi::ObjectType::{Account, Notification, Port};
use hic_abi::message::{MAX_CAPS, MAX_INLINE, SendCap};
use hic_abi::object::AccountSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, FOREVER, MessageInfo, PAGE_SIZE, Rights, SELF};
use hic_rt::sys;
use hostile::{Board, outcome};

const PORT: &[Gift] = &[held(Port, Rights::all()), Gift::new(2, Notification, Rights::all())];

/// Calls the port with this message word and this buffer.
fn call(info: MessageInfo, buffer: u64) -> u64 {
    let args = [HELD.into(), info.0, 1, 2, 3, 4];
    let registers = Registers { number: Syscall::Call as u64, args, deadline: FOREVER, buffer };
    // SAFETY: where the kernel may write through these buffers, nothing of this program lies.
    let (status, ..) = unsafe { raw::call(&registers) };
    outcome::of(Error::from_status(status).map(|_| ()))
}

/// A call with one capability in its buffer.
fn send(board: &Board, slot: u32, mode: u32) -> u64 {
    let cap = SendCap { slot, mode, rights: u32::MAX, reserved: 0 };
    // SAFETY: the page of data is mapped here, aligned, and nothing of this program lies in it.
    unsafe { (board.arg(0) as *mut SendCap).write(cap) };
    call(MessageInfo::new(1).with_caps(1), board.arg(0))
}

fn inline(bytes: usize) -> MessageInfo {
    MessageInfo::new(1).with_inline(bytes)
}

/// What is needed to make the kernel copy, and to wait.
const FLAGS: &[Gift] = &[held(Account, Rights::all()), Gift::new(2, Notification, Rights::all())];

/// All of them.
pub const ACTS: &[Act] = &[
    act("send more bytes than a message holds", PORT, refused(Error::InvalidArgument), |board, granted| {
        call(inline(if granted { MAX_INLINE } else { MAX_INLINE + 1 }), board.arg(0))
    }),
    act(
        "send as many bytes as the length has room for",
        PORT,
        refused(Error::InvalidArgument),
        |board, granted| call(inline(if granted { 1 } else { 0xffff }), board.arg(0)),
    ),
    act(
        "send more capabilities than a message holds",
        PORT,
        refused(Error::InvalidArgument),
        |board, granted| {
            let caps = if granted { 0 } else { MAX_CAPS + 1 };
            call(MessageInfo::new(1).with_caps(caps), board.arg(0))
        },
    ),
    act("send from a misaligned buffer", PORT, refused(Error::BadAddress), |board, granted| {
        call(inline(8), board.arg(0) + u64::from(!granted))
    }),
    act("send from the kernel's memory", PORT, refused(Error::BadAddress), |board, granted| {
        call(inline(8), if granted { board.arg(0) } else { 0xffff_ffff_8025_0000 })
    }),
    act("send from memory that cannot be written", PORT, refused(Error::BadAddress), |board, granted| {
        call(inline(8), board.arg(usize::from(!granted)))
    }),
    act("send from a buffer that ends too late", PORT, refused(Error::BadAddress), |board, granted| {
        call(inline(8), board.arg(0) + if granted { 0 } else { PAGE_SIZE - 8 })
    }),
    act("send from no buffer", PORT, refused(Error::BadAddress), |board, granted| {
        call(inline(8), if granted { board.arg(0) } else { 0 })
    }),
    act("send a capability that it does not have", PORT, refused(Error::InvalidHandle), |board, granted| {
        if granted { call(MessageInfo::new(1), board.arg(0)) } else { send(board, 9, SendCap::COPY) }
    }),
    act(
        "force a capability on a server that made no room",
        PORT,
        refused(Error::NoReceiveSlot),
        |board, granted| {
            if granted { call(MessageInfo::new(1), board.arg(0)) } else { send(board, 2, SendCap::COPY) }
        },
    ),
    act(
        "force a capability on a server by giving it away",
        PORT,
        refused(Error::NoReceiveSlot),
        |board, granted| {
            if granted { call(MessageInfo::new(1), board.arg(0)) } else { send(board, 2, SendCap::MOVE) }
        },
    ),
    act("answer a call that nobody made", PORT, refused(Error::CallerGone), |board, granted| {
        if granted {
            return call(MessageInfo::new(1), board.arg(0));
        }
        let none = Registers { number: Syscall::Reply as u64, args: [0; 6], deadline: 0, buffer: 0 };
        // SAFETY: a reply of register words touches no memory.
        let (status, ..) = unsafe { raw::call(&none) };
        outcome::of(Error::from_status(status).map(|_| ()))
    }),
    act("raise its I/O privilege level by popf", &[], Expect::NoEffect, |_, granted| {
        // The carry flag is anybody's.
        flags_kept(if granted { 1 } else { 3 << 12 }, 0)
    }),
    act("turn interrupts off by popf", &[], Expect::NoEffect, |_, granted| {
        // The direction flag is anybody's.
        if granted { flags_kept(1 << 10, 0) } else { flags_kept(0, 1 << 9) }
    }),
    act(
        "turn string instructions round under the kernel",
        &[held(Account, Rights::all())],
        Expect::NoEffect,
        |_, granted| backwards(granted),
    ),
    act("enter the kernel with the nested-task flag", FLAGS, Expect::NoEffect, |_, granted| {
        with_flags(1 << 14, granted)
    }),
    act("enter the kernel with the alignment-check flag", FLAGS, Expect::NoEffect, |_, granted| {
        with_flags(1 << 18, granted)
    }),
    act(
        "single-step into the kernel",
        FLAGS,
        Expect::Dies { vector: 1, error: 0, address: hostile::ANY, rip: hostile::ANY },
        |board, granted| {
            board.put(0, hostile::ANY);
            with_flags(1 << 8, granted)
        },
    ),
];

/// Sets and clears flags; whether the change is still there afterwards.
fn flags_kept(set: u64, clear: u64) -> u64 {
    let flags: u64;
    // SAFETY: flags are saved and restored around; the direction flag is clear again before any other instruction.
    unsafe {
        asm!("pushfq", "pushfq", "or [rsp], {set}", "and [rsp], {keep}", "popfq", "pushfq", "pop {flags}", "popfq",
            set = in(reg) set, keep = in(reg) !clear, flags = out(reg) flags);
    }
    if flags & set == set && flags & clear == 0 { outcome::DONE } else { outcome::NO_EFFECT }
}

/// Makes an account, the specification of which the kernel copies, and waits, all with these flags set; they are set in the attempt and
/// not in the control. The kernel must not notice.
fn with_flags(flags: u64, granted: bool) -> u64 {
    let spec = AccountSpec { frames: 1, objects: 1, name: *b"0123456789abcdef0123456789abcdef" };
    for _ in 0..50 {
        for (number, args) in [
            (Syscall::Create, [HELD.into(), Account as u64, 40, core::ptr::from_ref(&spec) as u64, 0]),
            // Whoever goes on meanwhile was interrupted.
            (Syscall::Wait, [2, sys::now() + 30_000, 0, 0, 0]),
            (Syscall::CapDelete, [SELF.into(), 40, 0, 0, 0]),
        ] {
            let status = flagged_call(if granted { 0 } else { flags }, number, args);
            if !matches!(Error::from_status(status), Ok(_) | Err(Error::Timeout)) {
                return outcome::STRANGE;
            }
        }
    }
    if granted { outcome::DONE } else { outcome::NO_EFFECT }
}

/// Gives filled memory back with the direction flag set: the kernel zeroes it, and backwards that would be somebody else's. Whoever gets it again must
/// find nothing. The control looks before it gives the memory back.
fn backwards(granted: bool) -> u64 {
    const WORDS: usize = 1024;
    for _ in 0..8 {
        let Ok(address) = sys::create_region(HELD, 40, WORDS as u64 * 8) else { return outcome::STRANGE };
        if sys::region_map(SELF, 40, Rights::READ | Rights::WRITE).is_err() {
            return outcome::STRANGE;
        }
        // SAFETY: the region was just made and mapped here; it is this long.
        let words = unsafe { core::slice::from_raw_parts_mut(address as *mut u64, WORDS) };
        if words.iter().any(|word| *word != 0) {
            return outcome::DONE;
        }
        words.fill(u64::MAX);
        if granted && words.iter().any(|word| *word != 0) {
            return outcome::DONE;
        }
        if Error::from_status(flagged_call(1 << 10, Syscall::CapDelete, [SELF.into(), 40, 0, 0, 0])).is_err()
        {
            return outcome::STRANGE;
        }
    }
    outcome::NO_EFFECT
}

fn flagged_call(flags: u64, number: Syscall, [a, b, c, d, e]: [u64; 5]) -> u64 {
    let mut status = number as u64;
    // SAFETY: as in `hic_rt::sys`; the flags are as before afterwards.
    unsafe {
        asm!("pushfq", "or [rsp], {flags}", "popfq", "syscall", "pushfq", "and qword ptr [rsp], -0x44501", "popfq",
            flags = in(reg) flags, inlateout("rax") status, inlateout("rdi") a => _, inlateout("rsi") b => _,
            inlateout("rdx") c => _, inlateout("r10") d => _, inlateout("r8") e => _, lateout("r9") _,
            lateout("rcx") _, lateout("r11") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _);
    }
    status
}
