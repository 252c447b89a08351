//! The records that outlive a restart of the module manager: one for each service, in memory that the keeper holds.
//!
//! A record is written while its phase is [`Phase::CREATING`] and counts only once the phase says otherwise, so whatever instant the
//! manager dies at, a record is whole or unfinished. The keeper's memory is trusted (nobody else maps it); the header is checked
//! all the same, because an empty journal and a full one look alike otherwise.

use crate::policy::Window;
use hic_abi::Handle;
use hic_abi::start::{Grant, MAX_GRANTS};
use hic_control::manager::ServiceInfo;
use hic_rt::loader::Instance;

/// Marks a journal of this layout.
pub const MAGIC: u64 = u64::from_le_bytes(*b"HICjrnl1");
/// Services that the journal holds.
pub const MAX_SERVICES: usize = 48;
/// Grants in a record.
pub const MAX_RECORD_GRANTS: usize = MAX_GRANTS - 12;
/// Capabilities that the manager keeps for one service.
pub const MAX_HELD: usize = 64;

/// Where a record is in its life. Numbers, because the journal is plain memory.
pub struct Phase;

impl Phase {
    /// Not used.
    pub const EMPTY: u64 = 0;
    /// Being made: after a crash, what it holds is destroyed and it is made anew.
    pub const CREATING: u64 = 1;
    /// Made and started; its sandbox runs or is frozen.
    pub const LIVE: u64 = 2;
    /// Being started again: after a crash, the restart is done over.
    pub const RESTARTING: u64 = 3;
    /// Dead, and left so by its policy.
    pub const STOPPED: u64 = 4;
    /// Started by the keeper: listed, but not managed here.
    pub const KEPT: u64 = 5;
}

/// One endpoint that a service provides.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ProvidedEndpoint {
    /// Name of the service.
    pub name: [u8; 32],
    /// The manager's slot.
    pub slot: Handle,
    /// Padding, zero.
    pub reserved: u32,
}

/// One service.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Record {
    /// A [`Phase`] number.
    pub phase: u64,
    /// Its name, version and counters, as LIST shows them (state and serial are filled in when asked).
    pub info: ServiceInfo,
    /// Its sandbox and memory.
    pub instance: Instance,
    /// Restarts in the current window.
    pub window: Window,
    /// Endpoints in use.
    pub endpoint_count: u64,
    /// The endpoints.
    pub endpoints: [ProvidedEndpoint; 8],
    /// Regions mapped at each start, beside the instance's own: state and DMA.
    pub region_count: u64,
    /// Their slots.
    pub regions: [Handle; 16],
    /// Slots that the manager keeps for this service.
    pub held_count: u64,
    /// Those slots.
    pub held: [Handle; MAX_HELD],
    /// Grants in use.
    pub grant_count: u64,
    /// Its grants.
    pub grants: [Grant; MAX_RECORD_GRANTS],
}

impl Record {
    /// The grants in use.
    #[must_use]
    pub fn granted(&self) -> &[Grant] {
        self.grants.get(..self.grant_count as usize).unwrap_or_default()
    }

    /// The state and DMA regions in use.
    #[must_use]
    pub fn mapped_regions(&self) -> &[Handle] {
        self.regions.get(..self.region_count as usize).unwrap_or_default()
    }

    /// The endpoints in use.
    #[must_use]
    pub fn provided(&self) -> &[ProvidedEndpoint] {
        self.endpoints.get(..self.endpoint_count as usize).unwrap_or_default()
    }

    /// The slots that the manager keeps for it.
    #[must_use]
    pub fn held_slots(&self) -> &[Handle] {
        self.held.get(..self.held_count as usize).unwrap_or_default()
    }

    /// Remembers a slot; `false` when there is no room.
    pub fn hold(&mut self, slot: Handle) -> bool {
        push(&mut self.held, &mut self.held_count, slot)
    }

    /// Remembers a region to map at each start; `false` when there is no room.
    pub fn map_region(&mut self, slot: Handle) -> bool {
        push(&mut self.regions, &mut self.region_count, slot)
    }

    /// Remembers an endpoint; `false` when there is no room.
    pub fn provide(&mut self, name: [u8; 32], slot: Handle) -> bool {
        push(&mut self.endpoints, &mut self.endpoint_count, ProvidedEndpoint { name, slot, reserved: 0 })
    }

    /// Remembers a grant; `false` when there is no room.
    pub fn add_grant(&mut self, grant: Grant) -> bool {
        push(&mut self.grants, &mut self.grant_count, grant)
    }
}

fn push<T, const N: usize>(list: &mut [T; N], count: &mut u64, value: T) -> bool {
    match list.get_mut(*count as usize) {
        Some(entry) => {
            *entry = value;
            *count += 1;
            true
        }
        None => false,
    }
}

/// The journal as it lies in the keeper's region.
#[repr(C)]
pub struct Journal {
    /// [`MAGIC`] once the manager has started for the first time.
    pub magic: u64,
    /// Records in use.
    pub count: u64,
    /// The records.
    pub records: [Record; MAX_SERVICES],
}

impl Journal {
    /// The records in use.
    #[must_use]
    pub fn services(&self) -> &[Record] {
        self.records.get(..self.count as usize).unwrap_or_default()
    }

    /// Index of the service with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.services().iter().position(|r| hic_abi::name_str(&r.info.name) == name)
    }

    /// The endpoint of a provided service.
    #[must_use]
    pub fn endpoint(&self, service: &str) -> Option<Handle> {
        let provided = self.services().iter().flat_map(Record::provided);
        provided.filter(|e| hic_abi::name_str(&e.name) == service).map(|e| e.slot).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    fn journal() -> Box<Journal> {
        // SAFETY: a journal is made of integers and arrays of them; all-zero is an empty one.
        unsafe { Box::<Journal>::new_zeroed().assume_init() }
    }

    #[test]
    fn a_service_is_found_by_the_name_it_provides() {
        let mut journal = journal();
        journal.records[0].info.name = hic_abi::name_bytes("netstack");
        assert!(journal.records[0].provide(hic_abi::name_bytes("tcp"), 7));
        assert_eq!((journal.find("netstack"), journal.endpoint("tcp")), (None, None));
        journal.count = 1;
        assert_eq!((journal.find("netstack"), journal.endpoint("tcp")), (Some(0), Some(7)));
    }

    #[test]
    fn a_full_list_refuses_and_keeps_what_it_has() {
        let mut journal = journal();
        let record = &mut journal.records[0];
        for slot in 0..MAX_HELD as u32 {
            assert!(record.hold(slot));
        }
        assert!(!record.hold(99));
        assert_eq!(record.held_slots().len(), MAX_HELD);
        assert!(!record.held_slots().contains(&99));
    }

    #[test]
    fn the_journal_fits_in_the_region_that_the_keeper_makes() {
        assert!(size_of::<Journal>() <= 64 * 4096);
    }
}
