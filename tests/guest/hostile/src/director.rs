//! The director: sets the stage, tries everything, counts, and checks that nothing is left behind.

use crate::stage::Stage;
use crate::{acts, code, fuzz, loads, probes, registers, sweep};
use hic_abi::inspect::{MemoryInfo, SystemInfo, What};
use hic_abi::object::AccountSpec;
use hic_abi::{SELF, name_bytes};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{StartPage, cap, log, start, sys};
use hic_stage::own_image;

/// Frames of the account that pays for everybody.
const FRAMES: u64 = 16_384;
/// Objects of that account.
const OBJECTS: u64 = 8192;

/// One group of attempts.
type Group = fn(&mut Stage) -> Result<(), LoadError>;

/// All groups, in the order of the report.
const GROUPS: &[(&str, Group)] = &[
    ("wrong handles", probes::run),
    ("sweep", sweep::run),
    ("forging, limits, memory, messages", acts::run),
    ("registers", registers::run),
    ("instructions", code::run_instructions),
    ("pointers", code::run_pointers),
    ("loads", loads::run),
    ("random calls", fuzz::run),
];

/// Tries everything; how many did not end as they must.
pub fn run(page: &'static StartPage) -> Result<u64, LoadError> {
    // Maps the archive here for good, before the memory is counted.
    own_image(page)?;
    let before = Census::take(page)?;
    let account = new_slot()?;
    let spec = AccountSpec { frames: FRAMES, objects: OBJECTS, name: name_bytes("hostile") };
    let root = start::require(page, "account:root").slot;
    sys::create_account(root, account, &spec).map_err(at("account"))?;
    let mut stage = Stage::new(page, account)?;
    for (name, group) in GROUPS {
        let (attempts, controls, deaths) = (stage.tally.attempts, stage.tally.controls, stage.tally.deaths);
        group(&mut stage)?;
        let t = &stage.tally;
        log!(
            "selftest: note {name}: {} attempts, {} of them ended in the death of their sandbox, {} controls",
            t.attempts - attempts,
            t.deaths - deaths,
            t.controls - controls
        );
    }
    let (attempts, controls, deaths) = (stage.tally.attempts, stage.tally.controls, stage.tally.deaths);
    let mut failures = stage.tally.failures;
    stage.leave()?;
    // Refused as long as anything is charged to it.
    sys::destroy(SELF, account).map_err(at("destroy the account"))?;
    cap::release(account);
    failures += before.differences(&Census::take(page)?);
    log!(
        "selftest: note in all {attempts} attempts, {deaths} deaths, {controls} controls, {failures} failures"
    );
    Ok(failures)
}

/// Everything there is, to compare.
struct Census {
    memory: MemoryInfo,
    system: SystemInfo,
}

impl Census {
    fn take(page: &StartPage) -> Result<Self, LoadError> {
        let audit = start::require(page, "audit").slot;
        let memory = sys::inspect(audit, What::Memory, 0).map_err(at("count memory"))?;
        let system = sys::inspect(audit, What::System, 0).map_err(at("count objects"))?;
        Ok(Self { memory, system })
    }

    /// How many numbers are not as they were; each is told.
    fn differences(&self, after: &Self) -> u64 {
        let numbers = |c: &Self| {
            [
                ("frames free or waiting to be zeroed", c.memory.free),
                ("frames charged", c.memory.charged),
                ("sandboxes", c.system.sandboxes),
                ("threads", c.system.threads),
                ("ports", c.system.ports),
                ("endpoints", c.system.endpoints),
                ("regions", c.system.regions),
                ("capabilities", c.system.capabilities),
            ]
        };
        let mut differences = 0;
        for ((what, old), (_, new)) in numbers(self).into_iter().zip(numbers(after)) {
            if old != new {
                log!("not refused: left behind: {what}: {old} before, {new} after");
                differences += 1;
            }
        }
        differences
    }
}
