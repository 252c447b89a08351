//! Copying, moving, deleting and revoking capabilities within one space.

use crate::meter::nothing;
use crate::suite::Stage;
use alloc::vec::Vec;
use bench::each;
use hic_abi::{Rights, SELF};
use hic_rt::loader::{LoadError, new_slot};
use hic_rt::{cap, sys};

/// Capabilities derived from the one that is revoked.
const CHILDREN: usize = 1000;

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
    clear().map_err(hic_rt::loader::at("clear"))?;
    let slots = (0..CHILDREN).map(|_| new_slot()).collect::<Result<Vec<_>, _>>()?;
    let derive =
        || slots.iter().try_for_each(|&slot| sys::cap_copy((SELF, slot), (SELF, object), Rights::all()));
    let revoke = || sys::cap_revoke(SELF, object);
    let all = meter.sample(derive, revoke).map_err(hic_rt::loader::at("revoke_per_child"))?;
    meter.print("revoke_per_child", each(all, CHILDREN as u64));
    meter.measure("revoke_none", nothing, revoke)?;
    slots.into_iter().chain([to, other]).for_each(cap::release);
    cap::drop_slot(object);
    Ok(())
}
