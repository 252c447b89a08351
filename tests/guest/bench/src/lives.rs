//! Making and ending regions and sandboxes, and what the audit log costs.

use crate::meter::Meter;
use crate::suite::Stage;
use bench::each;
use hic_abi::audit::{NoteText, Record};
use hic_abi::object::SandboxSpec;
use hic_abi::{Error, Handle, PAGE_SIZE, Plain, Rights, SELF, name_bytes};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{clock, start, sys};

/// Memory of the sandbox that is made and destroyed.
const SANDBOX_BYTES: u64 = 4 << 20;
/// Pages of the larger region.
const PAGES: u64 = 64;
/// Long enough for the idle processor to zero what was given back, so that no figure holds the zeroing of another's memory.
const REST: u64 = 5_000_000;
/// Records drained at once.
const RECORDS: usize = 16;

/// Measures all of them.
pub fn run(stage: &Stage) -> Result<(), LoadError> {
    regions(stage)?;
    sandbox(stage)?;
    audit(stage)
}

fn regions(stage: &Stage) -> Result<(), LoadError> {
    let (slot, account, meter) = (new_slot()?, stage.account, &stage.meter);
    let idle = stage.notification()?;
    let make = |bytes| sys::create_region(account, slot, bytes).map(|_| ());
    let end = || sys::destroy(SELF, slot);
    let gone = || {
        let _ = end();
        rest(idle);
        Ok(())
    };
    meter.measure("region_create", gone, || make(PAGE_SIZE))?;
    meter.measure("region_create_64", gone, || make(PAGES * PAGE_SIZE))?;
    gone().map_err(at("destroy"))?;
    // Zeroing its page included.
    meter.measure("region_destroy", || make(PAGE_SIZE), end)?;
    Ok(())
}

/// Lets the processor be idle for a moment.
fn rest(notification: Handle) {
    let _ = sys::wait(notification, clock::now() + REST);
}

fn sandbox(stage: &Stage) -> Result<(), LoadError> {
    let (sandbox, region, account) = (new_slot()?, new_slot()?, stage.account);
    let idle = stage.notification()?;
    let spec = SandboxSpec {
        slots: 64,
        priority: crate::director::PRIORITY,
        budget: 0,
        period: 0,
        hard_limit: 0,
        name: name_bytes("brief"),
        purpose: name_bytes("bench"),
    };
    let rested = || {
        rest(idle);
        Ok(())
    };
    stage.meter.measure("sandbox_create_destroy_4m", rested, || {
        sys::create_sandbox(account, sandbox, &spec)?;
        sys::create_region(account, region, SANDBOX_BYTES)?;
        sys::region_map(sandbox, region, Rights::READ | Rights::WRITE)?;
        sys::destroy(SELF, sandbox)?;
        sys::destroy(SELF, region)
    })?;
    Ok(())
}

fn audit(stage: &Stage) -> Result<(), LoadError> {
    let audit = start::require(stage.page, "audit").slot;
    let text = NoteText([0; 32]);
    let note = || sys::audit_note(audit, 1, 2, &text);
    let mut records = [Record::zeroed(); RECORDS];
    let mut drained = || {
        while sys::audit_drain(audit, &mut records)? == RECORDS {}
        Ok(())
    };
    stage.meter.measure("audit_note", &mut drained, note)?;
    let filled = || (0..RECORDS).try_for_each(|_| note());
    drained().map_err(at("drain"))?;
    let all = drain(&stage.meter, audit, filled).map_err(at("audit_drain_per_record"))?;
    stage.meter.print("audit_drain_per_record", each(all, RECORDS as u64));
    Ok(())
}

fn drain(meter: &Meter, audit: Handle, filled: impl FnMut() -> Result<(), Error>) -> Result<u64, Error> {
    let mut records = [Record::zeroed(); RECORDS];
    meter.sample(filled, || sys::audit_drain(audit, &mut records).map(|_| ()))
}
