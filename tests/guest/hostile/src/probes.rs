//! One system call with one handle, in every way in which that handle may be wrong: none there, of another type, without the right, stale.
//! The control is the same call with the proper handle.

mod table;

use alloc::vec::Vec;
use core::fmt;

use crate::props::Gift;
use crate::stage::{Run, Stage};
use hic_abi::{Error, Handle, ObjectType, Rights};
use hic_rt::loader::LoadError;
use hostile::{Expect, Task};
pub use table::PROBES;

/// The slot under test.
pub const TARGET: Handle = 1;
/// The first of the slots that a probe may fill.
pub const OUT: Handle = 40;

/// Slot of what a probe needs beside the handle under test.
pub const fn helper(kind: ObjectType) -> Handle {
    16 + kind as u32
}

/// One system call with a handle under test.
pub struct Probe {
    /// Which, and which of its handles.
    pub name: &'static str,
    /// The call.
    pub call: fn() -> Result<(), Error>,
    /// What the handle must name; `None`: anything that has the right.
    pub kind: Option<ObjectType>,
    /// The right that it must carry.
    pub right: Rights,
    /// What else the call needs, given with all rights.
    pub helpers: &'static [ObjectType],
    /// What the control ends with, where success would end the test.
    pub granted: Result<(), Error>,
}

/// What is wrong with the handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    WrongType,
    MissingRight,
    Stale,
}

impl Flaw {
    fn error(self) -> Error {
        match self {
            Self::Nothing | Self::Stale => Error::InvalidHandle,
            Self::WrongType => Error::WrongType,
            Self::MissingRight => Error::MissingRights,
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "with an empty slot",
            Self::WrongType => "with another type",
            Self::MissingRight => "without the right",
            Self::Stale => "with a stale handle",
        })
    }
}

/// What the sandbox under trial does.
pub fn act(index: usize) -> Option<Result<(), Error>> {
    PROBES.get(index).map(|probe| (probe.call)())
}

/// Tries all of them.
pub fn run(stage: &mut Stage) -> Result<(), LoadError> {
    for (index, probe) in PROBES.iter().enumerate() {
        for flaw in probe.flaws() {
            let gifts = probe.gifts(Some(flaw));
            let expect = Expect::Refused(flaw.error());
            stage.attempt(&format_args!("{} {flaw}", probe.name), &a_run(index, false, &gifts, expect))?;
        }
        probe.control(stage, index)?;
    }
    Ok(())
}

/// The control of the probe with this name: a legal way to an end.
pub fn run_control(stage: &mut Stage, name: &str) -> Result<(), LoadError> {
    match PROBES.iter().enumerate().find(|(_, probe)| probe.name == name) {
        Some((index, probe)) => probe.control(stage, index),
        None => {
            stage.fail(&name, &"no probe has this name");
            Ok(())
        }
    }
}

fn a_run(index: usize, granted: bool, gifts: &[Gift], expect: Expect) -> Run<'_> {
    Run { task: Task::Probe, index, granted, args: &[], gifts, shown: &[], expect }
}

impl Probe {
    fn control(&self, stage: &mut Stage, index: usize) -> Result<(), LoadError> {
        let expect = self.granted.map_or_else(Expect::Refused, |()| Expect::Done);
        stage.control(&self.name, &a_run(index, true, &self.gifts(None), expect))
    }

    /// The ways in which its handle can be wrong.
    fn flaws(&self) -> Vec<Flaw> {
        let mut flaws = Vec::from([Flaw::Nothing]);
        if self.kind.is_some() {
            flaws.push(Flaw::WrongType);
        }
        if !self.right.is_empty() {
            flaws.push(Flaw::MissingRight);
        }
        if !matches!(
            self.object(),
            ObjectType::Irq
                | ObjectType::Device
                | ObjectType::Mmio
                | ObjectType::Audit
                | ObjectType::Log
                | ObjectType::Entropy
                | ObjectType::Power
                | ObjectType::Clock
        ) {
            flaws.push(Flaw::Stale);
        }
        flaws
    }

    fn object(&self) -> ObjectType {
        self.kind.unwrap_or(ObjectType::Notification)
    }

    /// What the sandbox under trial is given: its helpers, and the handle with this flaw or without one.
    fn gifts(&self, flaw: Option<Flaw>) -> Vec<Gift> {
        let help = |&kind: &ObjectType| Gift::new(helper(kind), kind, all_of(kind));
        let mut gifts: Vec<Gift> = self.helpers.iter().map(help).collect();
        let object = self.object();
        let target = Gift::new(TARGET, object, all_of(object));
        match flaw {
            None => gifts.push(target),
            Some(Flaw::Nothing) => {}
            Some(Flaw::WrongType) => gifts.push(Gift { kind: other_than(object), ..target }),
            Some(Flaw::MissingRight) => gifts.push(Gift { rights: target.rights - self.right, ..target }),
            Some(Flaw::Stale) => gifts.push(Gift { stale: true, ..target }),
        }
        gifts
    }
}

/// All rights that the director itself has: the clock's are those of a reader.
fn all_of(kind: ObjectType) -> Rights {
    if kind == ObjectType::Clock { Rights::READ | Rights::COPY } else { Rights::all() }
}

/// A type that no call takes in place of this one.
fn other_than(kind: ObjectType) -> ObjectType {
    match kind {
        ObjectType::Region | ObjectType::Mmio | ObjectType::Clock => ObjectType::Notification,
        ObjectType::Account => ObjectType::Endpoint,
        _ => ObjectType::Account,
    }
}
