//! Attempts with a function of their own.
//!
//! Each function runs in the sandbox under trial, once as the attempt and once, with `granted`, as the control; what differs is what the
//! director gave it, or the one number that makes it legal.

mod accounts;
mod channels;
mod handles;
mod memory;
mod messages;

use crate::props::Gift;
use crate::stage::{RW, Run, Stage};
use hic_abi::{Error, ObjectType, Rights};
use hic_rt::loader::LoadError;
use hostile::{ANY, Board, Expect, Task, outcome};

/// One attempt.
pub struct Act {
    /// What it is.
    pub name: &'static str,
    /// What it does; its outcome.
    pub act: fn(&Board, bool) -> u64,
    /// What it is given.
    pub attack: &'static [Gift],
    /// What the control is given.
    pub control: &'static [Gift],
    /// How it must end.
    pub expect: Expect,
}

/// Slot of the capability that an act is about.
const HELD: u32 = 1;
/// Empty slots.
const OUT: u32 = 40;

/// An end by a page fault; the address is what the act put on the board.
const fn page_fault(error: u64) -> Expect {
    Expect::Dies { vector: 14, error, address: ANY, rip: ANY }
}

const fn refused(error: Error) -> Expect {
    Expect::Refused(error)
}

/// A capability in [`HELD`].
const fn held(kind: ObjectType, rights: Rights) -> Gift {
    Gift::new(HELD, kind, rights)
}

/// An act whose control is given the same.
const fn act(
    name: &'static str,
    gifts: &'static [Gift],
    expect: Expect,
    act: fn(&Board, bool) -> u64,
) -> Act {
    Act { name, act, attack: gifts, control: gifts, expect }
}

const GROUPS: [&[Act]; 5] = [handles::ACTS, accounts::ACTS, channels::ACTS, memory::ACTS, messages::ACTS];

/// What the sandbox under trial does.
pub fn perform(board: &Board, index: usize, granted: bool) -> u64 {
    GROUPS.iter().copied().flatten().nth(index).map_or(outcome::STRANGE, |act| (act.act)(board, granted))
}

/// Tries all of them.
pub fn run(stage: &mut Stage) -> Result<(), LoadError> {
    for (index, act) in GROUPS.iter().copied().flatten().enumerate() {
        let sealed = stage.code(&[0xc3])?;
        let args = [stage.data.1, sealed.1];
        let shown = [(stage.data.0, RW), (sealed.0, Rights::READ.union(Rights::EXECUTE))];
        let run = Run {
            task: Task::Act,
            index,
            granted: false,
            args: &args,
            gifts: act.attack,
            shown: &shown,
            expect: act.expect,
        };
        let end = stage.run(&run)?;
        let expect = match act.expect {
            Expect::Dies { vector, error, rip, .. } => {
                Expect::Dies { vector, error, address: stage.board.result(0), rip }
            }
            other => other,
        };
        stage.attempted(&act.name, expect, end);
        let control = Run { granted: true, gifts: act.control, expect: Expect::Done, ..run };
        stage.control(&act.name, &control)?;
        hic_rt::cap::drop_slot(sealed.0);
    }
    Ok(())
}
