//! What a start finds of the one before, and goes on with: the slots in which every start has the same things, the slots that records
//! name, the frame that was being looked at.
//!
//! What it must never do: touch a slot that a record names, or leave anything in one that none names: nobody will ever ask for it.

use crate::setup::SetupError;
use hic_abi::{Handle, ObjectType, Rights, SELF};
use hic_rt::{StartPage, cap, sys};
use netstack::place::{BUCKETS, PLACES};
use netstack::records::Records;

/// The main notification and one for each bucket.
const FIXED: usize = 1 + BUCKETS;

/// Marks the slots in use that are on record, and empties all others. To be called before anything is allocated. Returns the slot of the
/// main notification; the buckets' follow it.
///
/// The notifications stay those of the start before: the driver and the watched ports signal them.
pub fn claim_slots(page: &StartPage, records: &mut Records, account: Handle) -> Result<Handle, SetupError> {
    let base = match records.base_slot() {
        0 => page.first_free_slot as Handle,
        slot => slot,
    };
    records.set_base_slot(base);
    let fixed = base..base + FIXED as Handle;
    fixed.clone().for_each(|slot| {
        cap::claim(slot);
    });
    if let Some(plan) = records.journal().plan {
        cap::claim(plan.token);
    }
    for (slot, _) in (0..PLACES).flat_map(|place| records.handles(place).each()) {
        cap::claim(slot);
    }
    if page.restarts > 0 {
        empty_others(page);
    }
    for slot in fixed {
        if !sys::cap_info(SELF, slot).is_ok_and(|(kind, _)| kind == ObjectType::Notification as u64) {
            let _ = sys::cap_delete(SELF, slot);
            sys::create_notification(account, slot).map_err(SetupError::at("notification"))?;
        }
    }
    Ok(base)
}

fn empty_others(page: &StartPage) {
    for slot in (page.first_free_slot..page.slots).map(|slot| slot as Handle) {
        if !cap::claim(slot) {
            continue;
        }
        match sys::cap_info(SELF, slot) {
            // A port that was made for an answer that was never sent.
            Ok((kind, rights)) if kind == ObjectType::Port as u64 && rights.contains(Rights::MANAGE) => {
                let _ = sys::destroy(SELF, slot);
                let _ = sys::cap_delete(SELF, slot);
            }
            _ => {
                let _ = sys::cap_delete(SELF, slot);
            }
        }
        cap::release(slot);
    }
}
