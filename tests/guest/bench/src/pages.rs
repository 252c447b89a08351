//! Mapping and unmapping a region of one page.

use crate::suite::Stage;
use hic_abi::{Handle, PAGE_SIZE, Rights, SELF};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::sys;

/// What one page table reaches.
const TABLE_BYTES: u64 = 512 * PAGE_SIZE;

/// Measures both. A neighbour stays mapped, so that the page tables are there, as in the figures that ours are compared with.
pub fn run(stage: &Stage) -> Result<(), LoadError> {
    let (neighbour, region) = neighbours(stage)?;
    let rights = Rights::READ | Rights::WRITE;
    sys::region_map(SELF, neighbour, rights).map_err(at("map the neighbour"))?;
    let map = || sys::region_map(SELF, region, rights).map(|_| ());
    let unmap = || sys::region_unmap(SELF, region);
    let unmapped = || {
        let _ = unmap();
        Ok(())
    };
    stage.meter.measure("page_map", unmapped, map)?;
    unmapped().map_err(at("unmap"))?;
    stage.meter.measure("page_unmap", map, unmap)?;
    Ok(())
}

/// Two regions of one page that one page table reaches; those made on the way are kept.
fn neighbours(stage: &Stage) -> Result<(Handle, Handle), LoadError> {
    let make = || {
        let slot = new_slot()?;
        let address = sys::create_region(stage.account, slot, PAGE_SIZE).map_err(at("region"))?;
        Ok((slot, address / TABLE_BYTES))
    };
    let mut last: (Handle, u64) = make()?;
    loop {
        let next = make()?;
        if next.1 == last.1 {
            return Ok((last.0, next.0));
        }
        last = next;
    }
}
