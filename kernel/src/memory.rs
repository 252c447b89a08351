//! Accounts, frames and regions: who pays for memory, and where it is mapped.

use crate::config::{EFFORT, ENTRIES_AN_EFFORT, ZERO_AT_ONCE};
use crate::frames::Frames;
use crate::kernel::Kernel;
use crate::list::{Links, List};
use crate::machine::Machine;
use crate::objects::{Account, Backing, Header, Mapping, Region, Space};
use crate::paging::{Layout, PageKind, Paging, TABLE_PAGES};
use core::ops::Range;
use hic_abi::object::SealSpec;
use hic_abi::{Error, ObjectType, PAGE_SIZE, Rights, USER_BASE};

/// Largest region: 1 GiB, the allocator's largest block.
pub const MAX_REGION_PAGES: u64 = 1 << 18;

impl<M: Machine> Kernel<M> {
    /// Charges one object to an account.
    pub(crate) fn charge_object(&mut self, account: u32) -> Result<Header, Error> {
        let account_data = &mut self.accounts[account];
        if account_data.objects_used >= account_data.objects_limit {
            return Err(Error::NoMemory);
        }
        account_data.objects_used += 1;
        Ok(Header { account, capabilities: 0 })
    }

    /// Takes back the charge of one object. An account that nobody names ends with its last charge, and so may its parent; the frames of an
    /// object go back before this is called.
    pub(crate) fn uncharge_object(&mut self, header: Header) {
        let mut at = header.account;
        while let Some(account) = self.accounts.at_mut(at) {
            account.objects_used -= 1;
            if account.header.capabilities != 0 || account.frames_used != 0 || account.objects_used != 0 {
                return;
            }
            let Some(parent) = self.end_account(at) else { return };
            at = parent;
        }
    }

    /// Allocates zeroed contiguous frames, charged to an account.
    pub(crate) fn take_frames(&mut self, account: u32, count: u64) -> Result<u64, Error> {
        self.charge_frames(account, count)?;
        allocate(&mut self.frames, &mut self.machine, count).ok_or_else(|| {
            self.accounts[account].frames_used -= count;
            Error::NoMemory
        })
    }

    /// Gives frames back and takes back the charge. A long run is zeroed later: see [`Self::zero_some`].
    pub(crate) fn return_frames(&mut self, account: u32, base: u64, count: u64) {
        if count > ZERO_AT_ONCE {
            self.frames.give_back_dirty(base, count);
        } else {
            self.machine.zero(base, count * PAGE_SIZE);
            self.frames.free_run(base, count);
        }
        if let Some(account) = self.accounts.at_mut(account) {
            account.frames_used -= count;
        }
    }

    /// Zeroes some of what was given back; `false` when all of it is free. For when the processor has nothing else to do.
    pub fn zero_some(&mut self) -> bool {
        zero_some(&mut self.frames, &mut self.machine)
    }

    /// Whether a region that could not be had may be had later, because memory was zeroed for it meanwhile; some, as much as one entry may.
    pub(crate) fn is_worth_another_try(&mut self, account: u32, bytes: u64) -> bool {
        let Account { frames_used, frames_limit, objects_used, objects_limit, .. } = self.accounts[account];
        let payable = frames_limit.saturating_sub(frames_used) >= bytes.div_ceil(PAGE_SIZE)
            && objects_used < objects_limit;
        payable && self.zero_some()
    }

    /// Charges frames that come from elsewhere (a capability space's share of the slot table).
    pub(crate) fn charge_frames(&mut self, account: u32, count: u64) -> Result<(), Error> {
        let account = &mut self.accounts[account];
        if account.frames_limit.saturating_sub(account.frames_used) < count {
            return Err(Error::NoMemory);
        }
        account.frames_used += count;
        Ok(())
    }

    /// Makes a region of zeroed memory.
    pub(crate) fn new_region(&mut self, account: u32, bytes: u64) -> Result<(u32, u64), Error> {
        let pages = bytes.div_ceil(PAGE_SIZE);
        if pages == 0 || pages > MAX_REGION_PAGES {
            return Err(Error::InvalidArgument);
        }
        let header = self.charge_object(account)?;
        let base = self.take_frames(account, pages).inspect_err(|_| self.uncharge_object(header))?;
        let region = Region {
            header,
            base,
            pages,
            seal: None,
            backing: Backing::Frames,
            leaving: false,
            mappings: List::new(),
        };
        match self.regions.insert(region) {
            Ok(id) => Ok((id.index, base)),
            Err(_) => {
                self.uncharge_object(header);
                self.return_frames(account, base, pages);
                Err(Error::PoolFull)
            }
        }
    }

    /// Divides a region into read-only, executable and writable pages, for ever.
    pub(crate) fn seal(&mut self, region: u32, spec: SealSpec) -> Result<(), Error> {
        let region = &mut self.regions[region];
        let fixed = spec.read_only.checked_add(spec.execute).ok_or(Error::InvalidArgument)?;
        let guard_ok = spec.guard == 0 || (spec.guard >= fixed && spec.guard < region.pages);
        if fixed > region.pages || !guard_ok {
            return Err(Error::InvalidArgument);
        }
        if region.seal.is_some() || region.backing != Backing::Frames {
            return Err(Error::WrongState);
        }
        if !region.mappings.is_empty() {
            return Err(Error::Mapped);
        }
        region.seal = Some(spec);
        Ok(())
    }

    /// Maps a region in a sandbox at its one user address, or in a device at its physical one, by a capability of `holder`; the page tables
    /// are charged to the account of the sandbox, or of the holder.
    pub(crate) fn map_region(
        &mut self,
        space: Space,
        region: u32,
        rights: Rights,
        holder: u32,
    ) -> Result<u64, Error> {
        if self.find_mapping(space, region).is_some() {
            return Err(Error::Mapped);
        }
        if self.regions[region].leaving {
            return Err(Error::Gone);
        }
        let mapping = Mapping { region, space, holder, of_region: Links::FREE, in_space: Links::FREE };
        let id = self.mappings.insert(mapping).map_err(|_| Error::PoolFull)?;
        let Region { base, pages, seal, ref backing, .. } = self.regions[region];
        let backing = backing.clone();
        if matches!(space, Space::Device(_)) && backing != Backing::Frames {
            self.mappings.remove(id.index);
            return Err(Error::WrongType);
        }
        let layout = RegionLayout { backing: &backing, seal, rights };
        let mapped = match space {
            Space::Sandbox(sandbox) => self.paging(sandbox).map(base, pages, &layout),
            Space::Device(device) => self.map_for_dma(device, holder, base, pages, &layout),
        };
        if let Err(error) = mapped {
            self.mappings.remove(id.index);
            return Err(error);
        }
        self.regions[region].mappings.push_back(&mut self.mappings, id.index);
        let (list, address) = match space {
            Space::Sandbox(at) => (&mut self.sandboxes[at].mappings, USER_BASE + base),
            Space::Device(at) => (&mut self.devices[at].mappings, base),
        };
        list.push_back(&mut self.mappings, id.index);
        if space != Space::Sandbox(holder) {
            self.sandboxes[holder].lent += 1;
        }
        Ok(address)
    }

    /// Takes one mapping away.
    pub(crate) fn unmap(&mut self, mapping: u32) {
        let (region, space) = (self.mappings[mapping].region, self.mappings[mapping].space);
        let entries = self.regions[region].pages / TABLE_PAGES + TABLE_PAGES.min(self.regions[region].pages);
        self.effort += 1 + (entries / ENTRIES_AN_EFFORT) as u32;
        self.regions[region].mappings.remove(&mut self.mappings, mapping);
        let list = match space {
            Space::Sandbox(at) => &mut self.sandboxes[at].mappings,
            Space::Device(at) => &mut self.devices[at].mappings,
        };
        list.remove(&mut self.mappings, mapping);
        if let Some(Mapping { holder, .. }) = self.mappings.remove(mapping)
            && space != Space::Sandbox(holder)
        {
            self.sandboxes[holder].lent -= 1;
        }
        let (base, pages) = (self.regions[region].base, self.regions[region].pages);
        match space {
            Space::Sandbox(sandbox) => self.paging(sandbox).unmap(base, pages),
            Space::Device(device) => self.unmap_for_dma(device, base, pages),
        }
    }

    /// The mapping of a region in a sandbox or device, sought where there are fewer: among those of the region or among those of the space.
    pub(crate) fn find_mapping(&self, space: Space, region: u32) -> Option<u32> {
        let of_region = &self.regions[region].mappings;
        let in_space = match space {
            Space::Sandbox(at) => &self.sandboxes[at].mappings,
            Space::Device(at) => &self.devices[at].mappings,
        };
        let by_region = of_region.len() <= in_space.len();
        let mut at = if by_region { of_region.first() } else { in_space.first() };
        while let Some(mapping) = at {
            let m = &self.mappings[mapping];
            if m.space == space && m.region == region {
                break;
            }
            at = if by_region {
                of_region.after(&self.mappings, mapping)
            } else {
                in_space.after(&self.mappings, mapping)
            };
        }
        at
    }

    /// A sandbox loses the capability on a region in this place. A mapping lasts while the sandbox that it is in, or the one by whose capability it
    /// was made, still holds one: no access without a capability, and a manager's mapping in a child does not hang on what the child does. A
    /// device holds nothing, so a mapping in it ends with the last capability of who made it. Whether all is done that had to be; one
    /// entry does [`EFFORT`] of it.
    pub(crate) fn unmap_unheld(&mut self, loser: u32, region: u32, place: u32) -> bool {
        let mut at = match self.sandboxes[loser].lent {
            // Then none but its own can be concerned.
            0 => self.find_mapping(Space::Sandbox(loser), region),
            _ => self.next_concerned(self.regions[region].mappings.first(), loser, region),
        };
        if at.is_none() || self.holds(loser, region, place) {
            return true;
        }
        while let Some(mapping) = at {
            if self.effort >= EFFORT {
                return false;
            }
            let following = match self.sandboxes[loser].lent {
                0 => None,
                _ => self.regions[region].mappings.after(&self.mappings, mapping),
            };
            let Mapping { space, holder, .. } = self.mappings[mapping];
            let other = match space {
                Space::Sandbox(sandbox) if sandbox != loser => sandbox,
                Space::Sandbox(_) => holder,
                Space::Device(_) => loser,
            };
            if other != loser && self.holds(other, region, place) {
                self.effort += 1;
                if holder == loser {
                    // It was lent to whom it belongs now.
                    self.mappings[mapping].holder = other;
                    self.sandboxes[loser].lent -= 1;
                }
            } else {
                self.withdraw(mapping);
            }
            at = self.next_concerned(following, loser, region);
        }
        true
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

    /// Whether a sandbox has a capability on a region in another place than this one.
    fn holds(&self, sandbox: u32, region: u32, except: u32) -> bool {
        self.regions.id(region).is_some_and(|id| self.caps.has_peer(id, sandbox, except))
    }

    /// The page tables of a sandbox, with what they need to grow.
    pub(crate) fn paging(&mut self, sandbox: u32) -> Paging<'_, M> {
        let (root, account) = (self.sandboxes[sandbox].root, self.sandboxes[sandbox].header.account);
        let active = self.sched.is_active(sandbox);
        Paging {
            machine: &mut self.machine,
            frames: &mut self.frames,
            account: &mut self.accounts[account],
            root,
            active,
        }
    }
}

/// Contiguous frames, all zero. A single one is zeroed for it when only dirty ones are left; for a longer run that is the caller's to do, in parts.
pub(crate) fn allocate<M: Machine>(frames: &mut Frames, machine: &mut M, count: u64) -> Option<u64> {
    frames.allocate(count).or_else(|| {
        let (address, _) = if count == 1 { frames.take_dirty(1)? } else { return None };
        machine.zero(address, PAGE_SIZE);
        Some(address)
    })
}

fn zero_some<M: Machine>(frames: &mut Frames, machine: &mut M) -> bool {
    let Some((address, count)) = frames.take_dirty(ZERO_AT_ONCE) else { return false };
    machine.zero(address, count * PAGE_SIZE);
    frames.free_run(address, count);
    true
}

/// How a region is mapped with these rights.
struct RegionLayout<'a> {
    backing: &'a Backing,
    seal: Option<SealSpec>,
    rights: Rights,
}

impl Layout for RegionLayout<'_> {
    fn kind(&self, page: u64) -> Option<PageKind> {
        let writable = self.rights.contains(Rights::WRITE);
        if let Backing::Device { hidden } = self.backing {
            let kind = if writable { PageKind::Device } else { PageKind::DeviceRead };
            return (!hidden.contains(&page)).then_some(kind);
        }
        let open = Some(if writable { PageKind::Write } else { PageKind::Read });
        let Some(seal) = self.seal else { return open };
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
        if let Backing::Device { hidden } = self.backing
            && hidden.start < pages.end
            && pages.start < hidden.end
        {
            return None;
        }
        let divides = |edge: u64| pages.start < edge && edge < pages.end;
        let divided = self.seal.is_some_and(|seal| {
            let fixed = seal.read_only + seal.execute;
            divides(seal.read_only) || divides(fixed) || (seal.guard != 0 && pages.contains(&seal.guard))
        });
        if divided { None } else { self.kind(pages.start) }
    }
}

/// Whether capabilities of this type name an entry of the region table.
pub(crate) fn is_memory(kind: ObjectType) -> bool {
    matches!(kind, ObjectType::Region | ObjectType::Mmio | ObjectType::Clock)
}

/// Whether mappings hang on capabilities of this type.
pub(crate) const fn is_mappable(kind: ObjectType) -> bool {
    matches!(kind, ObjectType::Region | ObjectType::Mmio | ObjectType::Clock | ObjectType::Device)
}
