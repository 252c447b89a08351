//! Copying, moving, deleting and revoking capabilities, within one space and in that of another sandbox.

use crate::meter::nothing;
use crate::suite::Stage;
use alloc::vec::Vec;
use bench::each;
use hic_abi::audit::Record;
use hic_abi::object::SandboxSpec;
use hic_abi::{Handle, Plain, Rights, SELF, name_bytes};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{cap, start, sys};

/// Capabilities derived from the one that is revoked.
const CHILDREN: usize = 1000;
/// Audit records drained at once.
const RECORDS: usize = 16;

/// Measures all of them on a notification, an object that costs nothing to name.
pub fn run(stage: &Stage) -> Result<(), LoadError> {
    let (object, to, other) = (stage.notification()?, new_slot()?, new_slot()?);
    let meter = &stage.meter;
    let copy = || sys::cap_copy((SELF, to), (SELF, object), Rights::all());
    let clear = || {
        let _ = sys::cap_delete(SELF, to);
        let _ = sys::cap_delete(SELF, other);
        Ok(())
    };
    let fresh_copy = || clear().and_then(|()| copy());
    meter.measure("cap_copy", clear, copy)?;
    meter.measure("cap_move", fresh_copy, || sys::cap_move((SELF, other), (SELF, to)))?;
    meter.measure("cap_delete", fresh_copy, || sys::cap_delete(SELF, to))?;
    clear().map_err(at("clear"))?;
    recorded(stage, object)?;
    let slots = (0..CHILDREN).map(|_| new_slot()).collect::<Result<Vec<_>, _>>()?;
    let derive =
        || slots.iter().try_for_each(|&slot| sys::cap_copy((SELF, slot), (SELF, object), Rights::all()));
    let revoke = || sys::cap_revoke(SELF, object);
    let all = meter.sample(derive, revoke).map_err(at("revoke_per_child"))?;
    meter.print("revoke_per_child", each(all, CHILDREN as u64));
    meter.measure("revoke_none", nothing, revoke)?;
    slots.into_iter().chain([to, other]).for_each(cap::release);
    cap::drop_slot(object);
    Ok(())
}

/// The same in the space of another sandbox, which leaves an audit record each time.
fn recorded(stage: &Stage, object: Handle) -> Result<(), LoadError> {
    const TO: Handle = 1;
    const OTHER: Handle = 2;
    let (sandbox, audit) = (new_slot()?, start::require(stage.page, "audit").slot);
    let spec = SandboxSpec {
        slots: 64,
        priority: crate::director::PRIORITY,
        budget: 0,
        period: 0,
        hard_limit: 0,
        name: name_bytes("held"),
        purpose: name_bytes("bench"),
    };
    sys::create_sandbox(stage.account, sandbox, &spec).map_err(at("held"))?;
    let mut records = [Record::zeroed(); RECORDS];
    let mut drained = || {
        while sys::audit_drain(audit, &mut records)? == RECORDS {}
        Ok(())
    };
    let meter = &stage.meter;
    let copy = || sys::cap_copy((sandbox, TO), (SELF, object), Rights::all());
    let mut clear = || {
        let _ = sys::cap_delete(sandbox, TO);
        let _ = sys::cap_delete(sandbox, OTHER);
        drained()
    };
    meter.measure("cap_copy_recorded", &mut clear, copy)?;
    let mut fresh_copy = || clear().and_then(|()| copy());
    meter.measure("cap_move_recorded", &mut fresh_copy, || sys::cap_move((sandbox, OTHER), (sandbox, TO)))?;
    meter.measure("cap_delete_recorded", &mut fresh_copy, || sys::cap_delete(sandbox, TO))?;
    sys::destroy(SELF, sandbox).map_err(at("destroy"))?;
    cap::release(sandbox);
    Ok(())
}
