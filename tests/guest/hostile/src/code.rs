//! Instructions and pointers: a few bytes of code on a page of their own, which the sandbox under trial calls with one argument.
//!
//! What must end in an exception ends in exactly that one: vector, error code, address and instruction are compared. The control is the same
//! page with another argument, or with `nop` in place of the instruction; where there is a legal way to the same end, that is tried too.

mod pointers;
mod privileged;

use alloc::vec::Vec;

use crate::probes;
use crate::stage::{RW, Run, Stage, page_of};
use hic_abi::object::SealSpec;
use hic_abi::{Handle, PAGE_SIZE, Rights, SELF};
use hic_rt::loader::{LoadError, at};
use hic_rt::{cap, sys};
use hostile::{ANY, Board, Expect, Task};
pub use pointers::POINTERS;
pub use privileged::INSTRUCTIONS;

/// Invalid opcode.
const UD: u64 = 6;
/// General protection.
const GP: u64 = 13;
/// Page fault.
const PF: u64 = 14;

/// Error codes of page faults (SDM vol. 3A, 4.7): the page is present; a write; from ring 3; a fetch.
const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const I: u64 = 16;

/// `ret`.
const RET: u8 = 0xc3;
/// `nop`.
const NOP: u8 = 0x90;
/// Offset in the sandbox's page of data of a `ret`, which is data and not code.
const DATA_RET: u64 = 0;
/// Offset of zeros.
const DATA_ZEROS: u64 = 256;

/// What the code is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// This number.
    Number(u64),
    /// This offset in a page of data of its own.
    Data(u64),
    /// The page that the code lies in.
    Code,
    /// A page with `ret`, sealed executable, mapped with EXECUTE.
    Sealed,
    /// The same, mapped with READ only.
    SealedForReading,
    /// A page of its own that is mapped read-only.
    ReadOnly,
    /// The first page of its image, which is sealed read-only.
    Image,
    /// A page of somebody else's, mapped nowhere here.
    Foreign,
    /// The same, mapped here.
    Shared,
    /// A page that was mapped here and has been destroyed.
    Freed,
    /// Its stack's guard page.
    Guard,
}

/// Where the fault must be.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// At this offset of the code; the address too.
    Code(u64),
    /// At this offset of the code, with the argument as address.
    Argument(u64),
    /// At the argument itself: it was fetched.
    Fetch,
    /// At this offset of the code, with the end of the stack's guard page as address.
    Stack(u64),
}

/// One attempt.
pub struct Code {
    /// What it is.
    pub name: &'static str,
    /// The bytes, without the `ret`.
    pub code: &'static [u8],
    /// What they are called with.
    pub argument: Argument,
    /// Vector and error code of the exception.
    pub fault: (u64, u64),
    /// Where.
    pub at: At,
    /// What the control is called with; `None`: the same, and `nop` in place of the code.
    pub control: Option<Argument>,
    /// Name of the probe that is the legal way to the same end.
    pub legal: Option<&'static str>,
}

/// What the sandbox under trial does.
pub fn act(board: &Board) {
    let (code, argument) = (board.arg(0), board.arg(1));
    // SAFETY: the director put code there that returns if it is allowed to do what it tries, and changes no register that a function must
    // keep. What else it may do is what the test is about: this sandbox holds nothing.
    unsafe { core::arch::asm!("call {0}", in(reg) code, in("rdi") argument, clobber_abi("sysv64")) };
}

/// Tries all of them.
pub fn run_instructions(stage: &mut Stage) -> Result<(), LoadError> {
    INSTRUCTIONS.iter().try_for_each(|code| code.run(stage))
}

/// Tries all of them.
pub fn run_pointers(stage: &mut Stage) -> Result<(), LoadError> {
    POINTERS.iter().try_for_each(|code| code.run(stage))
}

/// An argument in place: its number, and what was made for it.
struct Placed {
    number: u64,
    region: Option<Handle>,
    /// How it is mapped in the sandbox under trial, if at all.
    shown: Option<Rights>,
}

impl Code {
    fn run(&self, stage: &mut Stage) -> Result<(), LoadError> {
        self.run_once(stage, self.argument, self.code, false)?;
        let nops = Vec::from_iter(self.code.iter().map(|_| NOP));
        match self.control {
            Some(argument) => self.run_once(stage, argument, self.code, true)?,
            None => self.run_once(stage, self.argument, &nops, true)?,
        }
        match self.legal {
            Some(name) => probes::run_control(stage, name),
            None => Ok(()),
        }
    }

    fn run_once(
        &self,
        stage: &mut Stage,
        argument: Argument,
        code: &[u8],
        control: bool,
    ) -> Result<(), LoadError> {
        let mut bytes = Vec::from(code);
        bytes.push(RET);
        let (slot, address) = stage.code(&bytes)?;
        // SAFETY: the page of data is mapped here and nobody runs in the sandbox that it is for.
        unsafe { (stage.data.1 as *mut u8).write_bytes(0, PAGE_SIZE as usize) };
        // SAFETY: as above.
        unsafe { ((stage.data.1 + DATA_RET) as *mut u8).write(RET) };
        let placed = place(stage, argument, address)?;
        let mut shown = Vec::from([(slot, Rights::READ | Rights::EXECUTE), (stage.data.0, RW)]);
        shown.extend(placed.region.zip(placed.shown));
        let mut run = Run {
            task: Task::Code,
            index: 0,
            granted: control,
            args: &[address, placed.number],
            gifts: &[],
            shown: &shown,
            expect: Expect::Done,
        };
        let mut props = crate::props::Props::new(stage.source);
        let child = stage.prepare(&run, &mut props)?;
        let number = match argument {
            Argument::Image => child.image(),
            Argument::Guard => child.stack() - 8,
            _ => placed.number,
        };
        let args = [address, number];
        run.args = &args;
        if !control {
            run.expect = self.dies(address, number, child.stack() - 8);
        }
        let mut region = placed.region;
        if argument == Argument::Freed {
            region.take().into_iter().for_each(cap::drop_slot);
        }
        stage.start(&child, &run)?;
        let end = stage.await_end(&child, crate::stage::PATIENCE)?;
        if control {
            stage.controlled(&self.name, run.expect.is_met(end), &end);
        } else {
            stage.attempted(&self.name, run.expect, end);
        }
        child.destroy()?;
        region.into_iter().chain([slot]).for_each(cap::drop_slot);
        props.strike()
    }

    fn dies(&self, code: u64, argument: u64, stack: u64) -> Expect {
        let (vector, error) = self.fault;
        let (address, rip) = match self.at {
            At::Code(ANY) => (ANY, ANY),
            At::Code(offset) if vector == ANY => (ANY, code + offset),
            At::Code(offset) => (code + offset, code + offset),
            At::Argument(offset) => (argument, code + offset),
            At::Fetch => (argument, argument),
            At::Stack(offset) => (stack, code + offset),
        };
        Expect::Dies { vector, error, address, rip }
    }
}

/// Puts in place what an argument leads to.
fn place(stage: &Stage, argument: Argument, code: u64) -> Result<Placed, LoadError> {
    let nothing = |number| Ok(Placed { number, region: None, shown: None });
    match argument {
        Argument::Number(number) => nothing(number),
        Argument::Data(offset) => nothing(stage.data.1 + offset),
        Argument::Code => nothing(code),
        // Known only when the sandbox is there.
        Argument::Image | Argument::Guard => nothing(0),
        Argument::Sealed => region(stage, true, Some(Rights::READ | Rights::EXECUTE)),
        Argument::SealedForReading => region(stage, true, Some(Rights::READ)),
        Argument::ReadOnly => region(stage, false, Some(Rights::READ)),
        Argument::Shared | Argument::Freed => region(stage, false, Some(RW)),
        Argument::Foreign => region(stage, false, None),
    }
}

/// A page full of `ret`.
fn region(stage: &Stage, sealed: bool, shown: Option<Rights>) -> Result<Placed, LoadError> {
    let (slot, number) = page_of(stage.account)?;
    // SAFETY: the page was just made and mapped here alone.
    unsafe { (number as *mut u8).write_bytes(RET, PAGE_SIZE as usize) };
    if sealed {
        sys::region_unmap(SELF, slot).map_err(at("unmap"))?;
        sys::region_seal(slot, &SealSpec { read_only: 0, execute: 1, guard: 0 }).map_err(at("seal"))?;
    }
    Ok(Placed { number, region: Some(slot), shown })
}
