//! Mapping and unmapping a region of one page.

use crate::suite::Stage;
use hic_abi::{PAGE_SIZE, Rights, SELF};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::sys;

/// Measures both. A neighbour stays mapped, so that the page tables are there, as in the figures that ours are compared with.
pub fn run(stage: &Stage) -> Result<(), LoadError> {
    let (neighbour, region) = (new_slot()?, new_slot()?);
    let rights = Rights::READ | Rights::WRITE;
    for slot in [neighbour, region] {
        sys::create_region(stage.account, slot, PAGE_SIZE).map_err(at("region"))?;
    }
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
