//! Where regions are mapped, and for how long.
//!
//! A mapping hangs on a capability of its *holder*, whoever made it, or of the sandbox that it is in; it ends with the last of these. It is on
//! two lists, of its region and of its space, and knows the way to its entries in the page tables, so that little is sought when it ends.
//! Which bits an entry gets, [`RegionLayout`] says; nobody else does.

use crate::caps::{Cap, MAPPING};
use crate::config::{DEVICE_EFFORT, EFFORT, ENTRIES_AN_EFFORT, MOVE_EFFORT};
use crate::iommu::domain;
use crate::kernel::Kernel;
use crate::list::{Linked, List};
use crate::machine::Machine;
use crate::memory::is_memory;
use crate::objects::{Backing, IN_SPACE, Mapping, Region, Space};
use crate::paging::{Layout, PageKind, Paging, TABLE_PAGES};
use crate::pool::Pool;
use core::ops::Range;
use hic_abi::{Error, Handle, ObjectType, Rights, SELF};

impl<M: Machine> Kernel<M> {
    /// `RegionMap`, `MmioMap`.
    #[inline(never)]
    pub(crate) fn sys_region_map(
        &mut self,
        space: Handle,
        region: Handle,
        rights: u64,
    ) -> Result<u64, Error> {
        let holder = self.caller();
        let space = if space == SELF { Space::Sandbox(holder) } else { self.mappable(space)? };
        let (region, held) = self.memory_object(region)?;
        let rights = Rights::from_bits_truncate(rights as u32) | Rights::READ;
        if !held.contains(rights) {
            return Err(Error::MissingRights);
        }
        let address = self.map_region(space, region, rights & MAPPING, holder);
        self.answer(address?)
    }

    /// `RegionUnmap`.
    #[inline(never)]
    pub(crate) fn sys_region_unmap(&mut self, space: Handle, region: Handle) -> Result<u64, Error> {
        let space = if space == SELF { Space::Sandbox(self.caller()) } else { self.mappable(space)? };
        let (region, _) = self.memory_object(region)?;
        let mapping = self.find_mapping(space, region).ok_or(Error::WrongState)?;
        self.end_mapping(mapping);
        Ok(0)
    }

    /// The region or window behind a handle of the caller, with the rights of the capability.
    #[inline(always)]
    pub(crate) fn memory_object(&self, handle: Handle) -> Result<(u32, Rights), Error> {
        let place = self.place_in(self.own_space()?, handle)?;
        let cap = self.caps.get(place).ok_or(Error::InvalidHandle)?;
        if !is_memory(cap.object.kind) {
            return Err(self.mismatch(place, ObjectType::Region));
        }
        if !self.regions.is_live(cap.object.id) {
            return Err(Error::InvalidHandle);
        }
        Ok((cap.object.id.index, cap.rights))
    }

    /// Where a region can be mapped: a sandbox, or a device.
    pub(crate) fn mappable(&self, space: Handle) -> Result<Space, Error> {
        match self.space(space) {
            Err(Error::WrongType) => {
                self.object(space, ObjectType::Device, Rights::MANAGE).map(Space::Device)
            }
            sandbox => sandbox.map(Space::Sandbox),
        }
    }

    /// Maps a region in a sandbox at its one user address, or in a device at its physical one, by a capability of `holder`; the page tables
    /// are charged to the account of the sandbox, or of the holder. Inlined, as is what it calls: a single page is mapped in one go.
    #[inline(always)]
    pub(crate) fn map_region(
        &mut self,
        space: Space,
        region: u32,
        rights: Rights,
        holder: u32,
    ) -> Result<u64, Error> {
        match space {
            Space::Sandbox(at) => self.map_at::<false>(at, region, rights, holder),
            Space::Device(at) => self.map_at::<true>(at, region, rights, holder),
        }
    }

    #[inline(always)]
    fn map_at<const DEVICE: bool>(
        &mut self,
        at: u32,
        region: u32,
        rights: Rights,
        holder: u32,
    ) -> Result<u64, Error> {
        let space = if DEVICE { Space::Device(at) } else { Space::Sandbox(at) };
        // Tables say themselves that memory is mapped: no two regions share a page, and the first page of memory is never hidden.
        if DEVICE || self.regions[region].backing != Backing::Frames {
            self.may_map_special(space, region, holder)?;
        }
        let Parts { region: memory, listed, mappings, mut tables } = self.parts::<DEVICE>(at, region);
        if memory.leaving {
            return Err(Error::Gone);
        }
        let (base, pages) = (memory.base, memory.pages);
        let way = tables.map(base, pages, &RegionLayout { region: memory, rights })?;
        let (of_region, in_space, rights) =
            (memory.mappings.at_end(), listed.at_end(), rights | Rights::READ);
        let mapping = Mapping { way, region, space, holder, rights, of_region, in_space };
        let Ok(id) = mappings.insert(mapping) else {
            tables.unmap(base, pages, way);
            return Err(Error::PoolFull);
        };
        memory.mappings.appended(mappings, id.index);
        listed.appended(mappings, id.index);
        if DEVICE || at != holder {
            self.sandboxes[holder].lent += 1;
        }
        Ok(Paging::<M, DEVICE>::BASE + base)
    }

    /// What a mapping of this region in this sandbox or device changes.
    #[inline(always)]
    fn parts<const DEVICE: bool>(&mut self, at: u32, region: u32) -> Parts<'_, M, DEVICE> {
        let (root, payer, listed) = if DEVICE {
            let device = &mut self.devices[at];
            (device.dma_table, device.payer, &mut device.mappings)
        } else {
            let sandbox = &mut self.sandboxes[at];
            (sandbox.root, sandbox.header.account, &mut sandbox.mappings)
        };
        let tables = Paging {
            machine: &mut self.machine,
            frames: &mut self.frames,
            accounts: &mut self.accounts,
            payer,
            root,
            active: !DEVICE && self.sched.is_active(at),
            iommu: if DEVICE { self.iommu.as_ref().map(|iommu| (iommu, domain(at))) } else { None },
        };
        Parts { region: &mut self.regions[region], listed, mappings: &mut self.mappings, tables }
    }

    /// Takes one mapping away. Inlined, as is what it calls: a single page is unmapped in one go.
    #[inline(always)]
    pub(crate) fn end_mapping(&mut self, mapping: u32) {
        let Some(mapping) = self.mappings.remove(mapping) else { return };
        match mapping.space {
            Space::Sandbox(at) => self.end_at::<false>(at, mapping),
            Space::Device(at) => self.end_at::<true>(at, mapping),
        }
    }

    #[inline(always)]
    fn end_at<const DEVICE: bool>(&mut self, at: u32, mapping: Mapping) {
        let Parts { region, listed, mappings, mut tables } = self.parts::<DEVICE>(at, mapping.region);
        region.mappings.unlink(mappings, mapping.of_region);
        listed.unlink(mappings, mapping.in_space);
        tables.unmap(region.base, region.pages, mapping.way);
        self.effort += effort(region, DEVICE);
        if DEVICE || mapping.holder != at {
            self.sandboxes[mapping.holder].lent -= 1;
        }
    }

    #[cold]
    fn may_map_special(&mut self, space: Space, region: u32, holder: u32) -> Result<(), Error> {
        let is_window = matches!(self.regions[region].backing, Backing::Device { .. });
        if (is_window || matches!(space, Space::Device(_))) && self.find_mapping(space, region).is_some() {
            return Err(Error::Mapped);
        }
        self.may_map(space, region)?;
        if let Space::Device(device) = space { self.pay_for_reach(device, holder) } else { Ok(()) }
    }

    /// The mapping of a region in a sandbox or device, sought where there are fewer: among those of the region or among those of the space.
    #[inline(always)]
    pub(crate) fn find_mapping(&self, space: Space, region: u32) -> Option<u32> {
        let of_region = &self.regions[region].mappings;
        let in_space = match space {
            Space::Sandbox(at) => &self.sandboxes[at].mappings,
            Space::Device(at) => &self.devices[at].mappings,
        };
        let by_region = of_region.len() <= in_space.len();
        let mut at = if by_region { of_region.head() } else { in_space.head() };
        while let Some(mapping) = self.mappings.at(at) {
            if mapping.space == space && mapping.region == region {
                return Some(at);
            }
            at = if by_region { mapping.of_region.next } else { mapping.in_space.next };
        }
        None
    }

    /// Deletes what derives from a capability on memory, as much as one entry may, with the mappings that hang on it; how many. All of them name
    /// the same region, which this one keeps.
    pub(crate) fn prune_memory(&mut self, place: u32, region: u32) -> u64 {
        let mut deleted = 0;
        self.effort = 0;
        while self.effort < EFFORT
            && let Some(descendant) = self.caps.next_to_revoke(place)
            && self.end_holding(descendant)
        {
            deleted += 1;
        }
        self.regions[region].header.capabilities -= deleted;
        deleted.into()
    }

    /// Deletes one of them; `false`: the rest of its mappings has to wait.
    #[inline(always)]
    fn end_holding(&mut self, place: u32) -> bool {
        let Some(&lost) = self.caps.get(place) else { return true };
        if !self.unmap_unheld(lost, place, None) {
            return false;
        }
        self.caps.unlink_peer(place);
        self.caps.empty(place);
        self.effort += 1;
        self.sandboxes[lost.owner].filled -= 1;
        true
    }

    /// A sandbox loses the capability on a region in this place. A mapping lasts while the sandbox that it is in, or the one by whose capability it
    /// was made, still holds one that allows it: no access without a capability, and a manager's mapping in a child does not hang on what the child
    /// does. A device holds nothing, so a mapping in it ends with the last such capability of who made it. Whether all is done that had to be;
    /// one entry does [`EFFORT`] of it. An `heir` is about to get the capability.
    #[inline(always)]
    pub(crate) fn unmap_unheld(&mut self, lost: Cap, place: u32, heir: Option<u32>) -> bool {
        let (loser, region) = (lost.owner, lost.object.id.index);
        if self.regions[region].mappings.is_empty() {
            return true;
        }
        if self.sandboxes[loser].lent != 0 {
            return self.unmap_lent(lost, place, heir);
        }
        // None but its own can be concerned.
        let Some(mapping) = self.find_mapping(Space::Sandbox(loser), region) else { return true };
        let Mapping { holder, rights, .. } = self.mappings[mapping];
        if !self.hangs_on(lost, place, rights) {
            return true;
        }
        if self.effort >= EFFORT {
            return false;
        }
        if holder == loser || heir != Some(holder) && !self.caps.has_peer(lost.object, holder, place, rights)
        {
            self.end_mapping(mapping);
        }
        true
    }

    /// Whether, of the capabilities of its owner, only this one allows what is mapped with these rights.
    #[inline(always)]
    pub(crate) fn hangs_on(&self, cap: Cap, place: u32, rights: Rights) -> bool {
        let others = || self.caps.has_peer(cap.object, cap.owner, place, rights);
        cap.rights.contains(rights) && (self.caps.is_alone(place) || !others())
    }

    /// The same for a sandbox that has mapped something in others.
    #[inline(never)]
    fn unmap_lent(&mut self, lost: Cap, place: u32, heir: Option<u32>) -> bool {
        let (loser, region) = (lost.owner, lost.object.id.index);
        let mut next = self.next_concerned(self.regions[region].mappings.first(), loser, region);
        // Nothing hangs on a capability beside another one like it.
        if next.is_none() || self.caps.has_peer(lost.object, loser, place, lost.rights) {
            return true;
        }
        while let Some(mapping) = next {
            if self.effort >= EFFORT {
                return false;
            }
            let following = self.regions[region].mappings.after(&self.mappings, mapping);
            next = self.next_concerned(following, loser, region);
            let Mapping { space, holder, rights, .. } = self.mappings[mapping];
            if !self.hangs_on(lost, place, rights) {
                continue;
            }
            let other = match space {
                Space::Sandbox(sandbox) if sandbox != loser => sandbox,
                Space::Sandbox(_) => holder,
                Space::Device(_) => loser,
            };
            let stays = heir == Some(other) || self.caps.has_peer(lost.object, other, place, rights);
            if other != loser && stays {
                self.effort += 1;
                if holder == loser {
                    // It was lent to whom it belongs now.
                    self.mappings[mapping].holder = other;
                    self.sandboxes[loser].lent -= 1;
                }
            } else {
                self.withdraw(mapping);
            }
        }
        true
    }

    /// How much work, as [`EFFORT`] counts it, the mappings may make that hang on a capability when it goes to this sandbox.
    pub(crate) fn work_of_move(&self, from: u32, to: u32) -> u32 {
        let Some(&Cap { object, owner, .. }) = self.caps.get(from).filter(|cap| cap.owner != to) else {
            return 0;
        };
        if is_memory(object.kind) {
            let region = &self.regions[object.id.index];
            if self.sandboxes[owner].lent != 0 {
                return self.work_of(&region.mappings);
            }
            return region.mappings.len().min(1) * effort(region, false);
        }
        if object.kind == ObjectType::Device {
            self.work_of(&self.devices[object.id.index].mappings)
        } else {
            0
        }
    }

    /// How much work the ends of these mappings are, or more than may be moved.
    fn work_of<const TAG: usize>(&self, mappings: &List<TAG>) -> u32
    where
        Mapping: Linked<TAG>,
    {
        let (mut work, mut at) = (0, mappings.first());
        while let Some(mapping) = at.filter(|_| work <= MOVE_EFFORT) {
            let Mapping { region, space, .. } = self.mappings[mapping];
            work += effort(&self.regions[region], matches!(space, Space::Device(_)));
            at = mappings.after(&self.mappings, mapping);
        }
        work
    }

    /// The first mapping from `at` on that is in this sandbox or was made by its capability.
    fn next_concerned(&self, mut at: Option<u32>, sandbox: u32, region: u32) -> Option<u32> {
        while let Some(mapping) = at {
            let m = &self.mappings[mapping];
            if m.space == Space::Sandbox(sandbox) || m.holder == sandbox {
                break;
            }
            at = self.regions[region].mappings.after(&self.mappings, mapping);
        }
        at
    }
}

/// What the end of a mapping of this region, in a device or not, counts of [`EFFORT`].
#[inline]
const fn effort(region: &Region, in_device: bool) -> u32 {
    let command = if in_device { DEVICE_EFFORT } else { 0 };
    let small = if region.pages < TABLE_PAGES { region.pages } else { TABLE_PAGES };
    1 + command + ((region.pages / TABLE_PAGES + small) / ENTRIES_AN_EFFORT) as u32
}

/// A region, and where it is or is to be mapped: what has to change together.
struct Parts<'a, M: Machine, const DEVICE: bool> {
    region: &'a mut Region,
    /// The list of the sandbox or device.
    listed: &'a mut List<IN_SPACE>,
    /// Links of both lists.
    mappings: &'a mut Pool<Mapping>,
    tables: Paging<'a, M, DEVICE>,
}

/// How a region is mapped with these rights.
struct RegionLayout<'a> {
    region: &'a Region,
    rights: Rights,
}

impl Layout for RegionLayout<'_> {
    fn kind(&self, page: u64) -> Option<PageKind> {
        let writable = self.rights.contains(Rights::WRITE);
        if let Backing::Device { hidden } = &self.region.backing {
            let kind = if writable { PageKind::Device } else { PageKind::DeviceRead };
            return (!hidden.contains(&page)).then_some(kind);
        }
        let open = Some(if writable { PageKind::Write } else { PageKind::Read });
        let Some(seal) = self.region.seal else { return open };
        if page < seal.read_only {
            Some(PageKind::Read)
        } else if page < seal.read_only + seal.execute {
            Some(if self.rights.contains(Rights::EXECUTE) { PageKind::Execute } else { PageKind::Read })
        } else if page == seal.guard && seal.guard != 0 {
            None
        } else {
            open
        }
    }

    fn uniform(&self, pages: &Range<u64>) -> Option<PageKind> {
        if let Backing::Device { hidden } = &self.region.backing
            && hidden.start < pages.end
            && pages.start < hidden.end
        {
            return None;
        }
        let divides = |edge: u64| pages.start < edge && edge < pages.end;
        let divided = self.region.seal.is_some_and(|seal| {
            let fixed = seal.read_only + seal.execute;
            divides(seal.read_only) || divides(fixed) || (seal.guard != 0 && pages.contains(&seal.guard))
        });
        if divided { None } else { self.kind(pages.start) }
    }
}
