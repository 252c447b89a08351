//! Accounts, frames and regions: who pays for memory.

use crate::caps::Cap;
use crate::config::ZERO_AT_ONCE;
use crate::frames::Frames;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::{Backing, Header, ObjectRef, Region};
use crate::pool::Id;
use hic_abi::object::SealSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, PAGE_SIZE, Rights, USER_BASE};

/// Largest region: 1 GiB, the allocator's largest block.
pub const MAX_REGION_PAGES: u64 = 1 << 18;

impl<M: Machine> Kernel<M> {
    /// Charges one object to an account.
    pub(crate) fn charge_object(&mut self, account: u32) -> Result<Header, Error> {
        let payer = &mut self.accounts[account];
        if !payer.affords(1, 0) {
            return Err(Error::NoMemory);
        }
        payer.objects_used += 1;
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
        let Some((address, count)) = self.frames.take_dirty(ZERO_AT_ONCE) else { return false };
        self.machine.zero(address, count * PAGE_SIZE);
        self.frames.free_run(address, count);
        true
    }

    /// Whether a region that could not be had may be had later, because memory was zeroed for it meanwhile; some, as much as one entry may.
    pub(crate) fn is_worth_another_try(&mut self, account: u32, bytes: u64) -> bool {
        self.accounts[account].affords(1, bytes.div_ceil(PAGE_SIZE)) && self.zero_some()
    }

    /// Charges frames that come from elsewhere (a capability space's share of the slot table).
    pub(crate) fn charge_frames(&mut self, account: u32, count: u64) -> Result<(), Error> {
        let payer = &mut self.accounts[account];
        if !payer.affords(0, count) {
            return Err(Error::NoMemory);
        }
        payer.frames_used += count;
        Ok(())
    }

    /// `Create` of a region.
    #[inline(never)]
    pub(crate) fn sys_create_region(
        &mut self,
        account: Handle,
        slot: Handle,
        bytes: u64,
    ) -> Result<u64, Error> {
        let account = self.object(account, ObjectType::Account, Rights::CHARGE)?;
        let own = self.own_space()?;
        let place = self.empty_place(own, slot)?;
        match self.new_region(account, bytes) {
            Ok((id, base)) => {
                let object = ObjectRef { kind: ObjectType::Region, id };
                self.fill_in(own, place, Cap { object, rights: Rights::all(), owner: own.index() }, None)?;
                self.answer(USER_BASE + base)
            }
            Err(Error::NoMemory) if self.is_worth_another_try(account, bytes) => {
                Ok(self.again(Syscall::Create))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a region of zeroed memory; its identity and its physical address.
    #[inline]
    pub(crate) fn new_region(&mut self, account: u32, bytes: u64) -> Result<(Id, u64), Error> {
        let pages = bytes.div_ceil(PAGE_SIZE);
        if pages == 0 || pages > MAX_REGION_PAGES {
            return Err(Error::InvalidArgument);
        }
        let payer = &mut self.accounts[account];
        if !payer.affords(1, pages) {
            return Err(Error::NoMemory);
        }
        let base = allocate(&mut self.frames, &mut self.machine, pages).ok_or(Error::NoMemory)?;
        let region = Region::new(Header { account, capabilities: 0 }, base, pages, Backing::Frames);
        let Ok(id) = self.regions.insert(region) else {
            self.frames.free_run(base, pages);
            return Err(Error::PoolFull);
        };
        payer.objects_used += 1;
        payer.frames_used += pages;
        Ok((id, base))
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
}

/// Contiguous frames, all zero. A single one is zeroed for it when only dirty ones are left; for a longer run that is the caller's to do, in parts.
#[inline]
pub(crate) fn allocate<M: Machine>(frames: &mut Frames, machine: &mut M, count: u64) -> Option<u64> {
    frames.allocate(count).or_else(|| {
        let (address, _) = if count == 1 { frames.take_dirty(1)? } else { return None };
        machine.zero(address, PAGE_SIZE);
        Some(address)
    })
}

/// Whether capabilities of this type name an entry of the region table.
#[inline(always)]
pub(crate) const fn is_memory(kind: ObjectType) -> bool {
    const THEY_DO: u32 =
        1 << ObjectType::Region as u32 | 1 << ObjectType::Mmio as u32 | 1 << ObjectType::Clock as u32;
    THEY_DO >> (kind as u32 % u32::BITS) & 1 != 0
}

/// Whether mappings hang on capabilities of this type.
pub(crate) const fn is_mappable(kind: ObjectType) -> bool {
    matches!(kind, ObjectType::Region | ObjectType::Mmio | ObjectType::Clock | ObjectType::Device)
}
