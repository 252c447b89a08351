//! What of another sandbox's registers is left in ours after a switch.
//!
//! Somebody beside fills all its registers with a secret and calls, takes turns or is preempted; the sandbox under trial looks at all of its
//! own after each switch. The control looks in the sandbox that has the secret, where it must be found.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::Ordering::Relaxed;

use crate::TRIAL;
use crate::child::Child;
use crate::props::{Gift, Props};
use crate::stage::{PATIENCE, RW, Run, Stage, UNDER_TRIAL};
use alloc::vec::Vec;
use hic_abi::object::ThreadSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{FOREVER, Handle, ObjectType, PAGE_SIZE, Rights};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{cap, sys};
use hostile::{Board, End, Expect, Task, outcome};

/// The highest half of every secret word.
const SECRET: u64 = 0x5ec2_e75e << 32;
/// The same of every word of its own.
const OWN: u64 = 0x0a11_0a11 << 32;
/// Words of general registers: `rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15`.
const GENERAL: usize = 15;
/// Slot of the endpoint or port.
const CHANNEL: Handle = 1;
/// Looks in one attempt.
const LOOKS: u64 = 40;
/// Turns of the loop that lasts longer than a turn of the scheduler.
const LONG: u64 = 8_000_000;

/// `fxsave64` area: control word at 0, MXCSR at 24, x87 registers from 32, vector registers from 160 (SDM vol. 1, 10.5.1).
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Vectors([u64; 64]);

/// All registers, before and after.
#[repr(C, align(16))]
struct Snapshot {
    before: Vectors,
    after: Vectors,
    general: [u64; 16],
}

global_asm!(
    // rdi = the snapshot, rsi = turns of an empty loop; 0 = a system call instead.
    "hostile_switch:",
    "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
    "push rdi",
    "push rsi",
    "fxrstor64 [rdi]",
    "mov rax, [rdi + {general}]", "mov rbx, [rdi + {general} + 8]", "mov rcx, [rdi + {general} + 16]",
    "mov rdx, [rdi + {general} + 24]", "mov rsi, [rdi + {general} + 32]", "mov rbp, [rdi + {general} + 48]",
    "mov r8, [rdi + {general} + 56]", "mov r9, [rdi + {general} + 64]", "mov r10, [rdi + {general} + 72]",
    "mov r11, [rdi + {general} + 80]", "mov r12, [rdi + {general} + 88]", "mov r13, [rdi + {general} + 96]",
    "mov r14, [rdi + {general} + 104]", "mov r15, [rdi + {general} + 112]", "mov rdi, [rdi + {general} + 40]",
    "cmp qword ptr [rsp], 0",
    "je 3f",
    "2: dec qword ptr [rsp]",
    "jnz 2b",
    "jmp 4f",
    "3: syscall",
    "4:",
    "push rdi",
    "mov rdi, [rsp + 16]",
    "fxsave64 [rdi + {after}]",
    "mov [rdi + {general}], rax", "mov [rdi + {general} + 8], rbx", "mov [rdi + {general} + 16], rcx",
    "mov [rdi + {general} + 24], rdx", "mov [rdi + {general} + 32], rsi", "mov [rdi + {general} + 48], rbp",
    "mov [rdi + {general} + 56], r8", "mov [rdi + {general} + 64], r9", "mov [rdi + {general} + 72], r10",
    "mov [rdi + {general} + 80], r11", "mov [rdi + {general} + 88], r12", "mov [rdi + {general} + 96], r13",
    "mov [rdi + {general} + 104], r14", "mov [rdi + {general} + 112], r15",
    "pop rax", "mov [rdi + {general} + 40], rax",
    "add rsp, 16",
    "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
    "ret",
    general = const offset_of!(Snapshot, general),
    after = const offset_of!(Snapshot, after),
);

global_asm!(
    "hostile_store:",
    "fxsave64 [rdi]",
    "mov [rdi + 512], rax",
    "mov [rdi + 520], rbx",
    "mov [rdi + 528], rcx",
    "mov [rdi + 536], rdx",
    "mov [rdi + 544], rsi",
    "mov [rdi + 552], rdi",
    "mov [rdi + 560], rbp",
    "mov [rdi + 568], r8",
    "mov [rdi + 576], r9",
    "mov [rdi + 584], r10",
    "mov [rdi + 592], r11",
    "mov [rdi + 600], r12",
    "mov [rdi + 608], r13",
    "mov [rdi + 616], r14",
    "mov [rdi + 624], r15",
    "ud2",
    "hostile_store_end:",
);

unsafe extern "C" {
    static hostile_store: u8;
    static hostile_store_end: u8;
    fn hostile_switch(snapshot: *mut Snapshot, turns: u64);
}

/// Where a snapshot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Receive,
    Yield,
    Preempted,
    Alone,
}

/// Each with the name of the one beside.
const WAYS: [(Way, &str); 4] = [
    (Way::Receive, "one-who-calls"),
    (Way::Yield, "one-who-takes-turns"),
    (Way::Preempted, "one-who-goes-on"),
    (Way::Alone, "one-who-is-there"),
];

impl Snapshot {
    /// Every register holds a word of its own with this high half, but for those that the call uses.
    fn new(high: u64, way: Way) -> Self {
        let mut vectors = [0; 64];
        for (n, word) in (0..).zip(&mut vectors) {
            *word = high | n;
        }
        // Control word, all x87 registers in use; MXCSR with another rounding, all masked.
        (vectors[0], vectors[1], vectors[2], vectors[3]) = (0x00ff_0000_0b7f, 0, 0, 0x7f80);
        let mut general = [0; 16];
        for (n, word) in (0x100..).zip(&mut general) {
            *word = high | n;
        }
        let call = match way {
            Way::Receive => Some((Syscall::Receive, CHANNEL.into(), 0)),
            Way::Yield => Some((Syscall::Yield, general[5], general[4])),
            Way::Alone => Some((Syscall::Null, general[5], general[4])),
            Way::Preempted => None,
        };
        if let Some((number, rdi, rsi)) = call {
            (general[0], general[5], general[4]) = (number as u64, rdi, rsi);
        }
        if way == Way::Receive {
            // The deadline, and no buffer.
            (general[11], general[12]) = (FOREVER, 0);
        }
        Self { before: Vectors(vectors), after: Vectors([0; 64]), general }
    }

    fn take(&mut self, way: Way) {
        let turns = if way == Way::Preempted { LONG } else { 0 };
        // SAFETY: the snapshot is exclusive and aligned; the function keeps what the calling convention says it must, but for vector and x87
        // registers, which are cleared or reloaded below before any other code uses them.
        unsafe { hostile_switch(self, turns) };
        // SAFETY: puts the control words of x87 and SSE back to what compiled code expects, from constants.
        unsafe {
            core::arch::asm!("fninit", "ldmxcsr [{0}]", in(reg) &0x1f80u32, out("xmm0") _, out("xmm1") _, out("xmm2") _,
                out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _,
                out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _);
        }
    }

    fn words(&self) -> impl Iterator<Item = u64> {
        // Beyond the vector registers lies what neither instruction touches.
        let [_, _, state @ ..] = &self.after.0;
        let state = state.iter().take(50);
        self.general.iter().take(GENERAL).chain(state).copied()
    }

    fn holds(&self, high: u64) -> bool {
        self.words().any(|word| word >> 32 == high >> 32)
    }

    /// As it was before, all of it: an interrupt changes nothing.
    fn kept(&self, high: u64) -> bool {
        let fresh = Self::new(high, Way::Preempted);
        let vectors = |v: &Vectors| v.0.into_iter().skip(20).take(32).collect::<Vec<_>>();
        self.own_general_of(&fresh, &[])
            && vectors(&self.after) == vectors(&fresh.before)
            && self.after.0[0] & 0xffff == fresh.before.0[0] & 0xffff
            && self.after.0[3] & 0xffff_ffff == fresh.before.0[3]
            && (0..8).all(|n| self.after.0.get(4 + 2 * n) == fresh.before.0.get(4 + 2 * n))
    }

    /// Vector and x87 registers as the kernel leaves them after a system call.
    fn clean(&self) -> bool {
        let state = &self.after.0;
        state[0] == 0x37f
            && state[3] & 0xffff_ffff == 0x1f80
            && state.iter().skip(4).take(48).all(|word| *word == 0)
    }

    /// General registers that a system call keeps: all but `rax`, `rcx` and `r11`.
    fn own_general(&self) -> bool {
        self.own_general_of(&Self::new(OWN, Way::Yield), &[0, 2, 10])
    }

    fn own_general_of(&self, fresh: &Self, but: &[usize]) -> bool {
        (0..GENERAL).filter(|n| !but.contains(n)).all(|n| self.general.get(n..=n) == fresh.general.get(n..=n))
    }

    /// After a call was received: the message's registers hold the message, the others what they held.
    fn message(&self) -> bool {
        self.own_general_of(&Self::new(OWN, Way::Receive), &[0, 2, 3, 4, 5, 7, 8, 9, 10, 11])
    }
}

/// What the sandbox under trial does: looks after each switch.
pub fn act(board: &Board, index: usize, granted: bool) -> u64 {
    let Some(&(way, _)) = WAYS.get(index) else { return outcome::STRANGE };
    if granted {
        // The sandbox with the secret finds it in its own registers.
        let mut own = Snapshot::new(SECRET, Way::Preempted);
        own.take(Way::Preempted);
        return if own.holds(SECRET) && own.kept(SECRET) { outcome::DONE } else { outcome::STRANGE };
    }
    let looks = if way == Way::Preempted { 3 } else { LOOKS };
    for look in 0..looks {
        let mut snapshot = Snapshot::new(OWN, way);
        snapshot.take(way);
        board.put(0, look);
        for (word, out) in snapshot.words().zip(board.dump.as_flattened()) {
            out.store(word, Relaxed);
        }
        if snapshot.holds(SECRET) {
            return outcome::DONE;
        }
        let right = match way {
            Way::Preempted => snapshot.kept(OWN),
            Way::Receive => snapshot.clean() && snapshot.message(),
            Way::Yield | Way::Alone => snapshot.clean() && snapshot.own_general(),
        };
        if !right {
            return outcome::STRANGE;
        }
    }
    outcome::NO_EFFECT
}

/// The one beside: keeps its registers full of the secret, and calls, takes turns or goes on until it is interrupted.
pub fn keep_secrets(name: &str) -> u64 {
    loop {
        let spins = name == WAYS[2].1;
        let mut snapshot = Snapshot::new(SECRET, if spins { Way::Preempted } else { Way::Yield });
        if name == WAYS[0].1 {
            let g = &mut snapshot.general;
            // A call of four words that are no secret.
            (g[0], g[5], g[4], g[3], g[9], g[7], g[8]) =
                (Syscall::Call as u64, CHANNEL.into(), 1, 1, 2, 3, 4);
            (g[11], g[12]) = (FOREVER, 0);
        }
        snapshot.take(if spins { Way::Preempted } else { Way::Yield });
    }
}

/// Whether a sandbox of this name is one that keeps secrets.
pub fn is_secretive(name: &str) -> bool {
    WAYS.iter().any(|way| way.1 == name)
}

/// Tries all ways, and what a new thread finds.
pub fn run(stage: &mut Stage) -> Result<(), LoadError> {
    for (index, (_, beside)) in WAYS.into_iter().enumerate() {
        for granted in [false, true] {
            attempt(stage, index, beside, granted)?;
        }
    }
    new_thread(stage)
}

fn attempt(stage: &mut Stage, index: usize, name: &'static str, granted: bool) -> Result<(), LoadError> {
    let mut props = Props::new(stage.source);
    let gifts = [Gift::new(CHANNEL, ObjectType::Endpoint, Rights::all())];
    let expect = if granted { Expect::Done } else { Expect::NoEffect };
    let run = Run { task: Task::Registers, index, granted, args: &[], gifts: &gifts, shown: &[], expect };
    let child = stage.prepare(&run, &mut props)?;
    let port = new_slot()?;
    sys::create_port(stage.account, port, props.get(ObjectType::Endpoint)?, 0).map_err(at("port"))?;
    let beside = Child::create(stage.image, stage.account, name, UNDER_TRIAL)?;
    beside.give(CHANNEL, port, Rights::SEND)?;
    stage.start_beside(&beside)?;
    stage.start(&child, &run)?;
    let end = stage.await_end(&child, PATIENCE)?;
    let title = format_args!("find another's registers: {name}");
    if granted {
        stage.controlled(&title, run.expect.is_met(end), &end);
    } else {
        stage.attempted(&title, run.expect, end);
    }
    child.destroy()?;
    beside.destroy()?;
    cap::drop_slot(port);
    props.strike()
}

/// A new thread, whose first instructions store all registers. The control stores after it has put something into one.
fn new_thread(stage: &mut Stage) -> Result<(), LoadError> {
    let begin = &raw const hostile_store;
    // SAFETY: the code lies between the two labels, in this program's image.
    let code =
        unsafe { core::slice::from_raw_parts(begin, &raw const hostile_store_end as usize - begin as usize) };
    for granted in [false, true] {
        // `mov rbx, 7`
        let mut bytes = Vec::from(if granted { &[0x48, 0xc7, 0xc3, 7, 0, 0, 0][..] } else { &[] });
        bytes.extend_from_slice(code);
        let (slot, address) = stage.code(&bytes)?;
        let (data, place) = stage.data;
        // SAFETY: the page of data is mapped here, and nobody runs in a sandbox that it is for.
        unsafe { (place as *mut u8).write_bytes(0, PAGE_SIZE as usize) };
        let child = Child::create(stage.image, stage.account, TRIAL, UNDER_TRIAL)?;
        child.show(slot, Rights::READ | Rights::EXECUTE)?;
        child.show(data, RW)?;
        let rip = address + bytes.len() as u64 - 2;
        let spec = ThreadSpec { entry: address, stack: place + PAGE_SIZE - 8, argument: place };
        // Right before the new thread somebody with a secret in all registers is interrupted.
        let beside = Child::create(stage.image, stage.account, WAYS[2].1, UNDER_TRIAL)?;
        stage.start_beside(&beside)?;
        let end = stage.run_thread(&child, &spec)?;
        beside.destroy()?;
        // SAFETY: the page of data is mapped here; the thread that wrote it is dead.
        let words = unsafe { core::slice::from_raw_parts(place as *const u64, 64 + GENERAL) };
        let found = words.iter().enumerate().filter(|&(n, word)| *word != fresh(n, place)).count();
        let name = "find something in the registers of a new thread";
        if granted {
            stage.controlled(&name, found == 1, &found);
        } else {
            let dies = Expect::Dies { vector: 6, error: 0, address: rip, rip };
            stage.attempted(&name, dies, if found == 0 { end } else { End::Exit(outcome::STRANGE) });
        }
        child.destroy()?;
        cap::drop_slot(slot);
    }
    Ok(())
}

/// What a new thread must find in this word of what it stores.
fn fresh(word: usize, argument: u64) -> u64 {
    match word {
        0 => 0x37f,
        // MXCSR and its mask.
        3 => 0xffff_0000_1f80,
        // `rdi`
        69 => argument,
        _ => 0,
    }
}
