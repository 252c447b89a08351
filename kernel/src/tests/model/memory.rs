//! Regions, mappings and what a sandbox reads and writes (`docs/book/memory.md`).

use super::state::{Body, Id, Mapping, Model, Region};
use hic_abi::{Error, ObjectType, PAGE_SIZE, Rights, USER_BASE};
use std::format;
use std::vec;
use std::vec::Vec;

/// Pages of the largest region.
const LARGEST: u64 = 1 << 18;

impl Model {
    /// The physical address of a range that a sandbox may read, or write.
    pub fn range(&self, sandbox: Id, address: u64, bytes: u64, write: bool) -> Result<u64, Error> {
        let end = address.checked_add(bytes).ok_or(Error::BadAddress)?;
        if address < USER_BASE || end >= 2 * USER_BASE {
            return Err(Error::BadAddress);
        }
        let pages = self.reach_of(sandbox, |region| region.window.is_none());
        let first = (address - USER_BASE) / PAGE_SIZE;
        let last = (end.max(address + 1) - 1 - USER_BASE) / PAGE_SIZE;
        for page in first..=last {
            match pages.get(&(page * PAGE_SIZE)) {
                Some((writable, _)) if *writable || !write => {}
                _ => return Err(Error::BadAddress),
            }
        }
        Ok(address - USER_BASE)
    }

    pub fn read_bytes(&self, physical: u64, bytes: u64) -> Vec<u8> {
        (physical..physical + bytes).map(|at| self.memory[&page_of(at)][(at % PAGE_SIZE) as usize]).collect()
    }

    pub fn write_bytes(&mut self, physical: u64, bytes: &[u8]) {
        for (at, byte) in (physical..).zip(bytes) {
            let page = self.memory.get_mut(&page_of(at)).expect("a page of a region");
            page[(at % PAGE_SIZE) as usize] = *byte;
        }
    }

    /// 64-bit words that a sandbox points at.
    pub fn read_words<const N: usize>(&self, sandbox: Id, address: u64) -> Result<[u64; N], Error> {
        let physical = self.range(sandbox, address, N as u64 * 8, false)?;
        let bytes = self.read_bytes(physical, N as u64 * 8);
        let word = |n: usize| u64::from_le_bytes(bytes[n * 8..n * 8 + 8].try_into().expect("8 bytes"));
        Ok(core::array::from_fn(word))
    }

    /// Makes a region where the kernel says that it is: anywhere, as long as nothing else is there.
    pub fn new_region(&mut self, payer: Option<Id>, base: u64, pages: u64) -> Id {
        let end = base + pages * PAGE_SIZE;
        if !base.is_multiple_of(PAGE_SIZE) || base < self.usable.start || end > self.usable.end {
            self.complaints.push(format!("a region at {base:#x}, which is no memory"));
        }
        for page in (base..end).step_by(PAGE_SIZE as usize) {
            if self.memory.insert(page, vec![0; PAGE_SIZE as usize]).is_some() {
                self.complaints.push(format!("two regions at {page:#x}"));
            }
        }
        self.add(payer, Body::Region(Region { base, pages, seal: None, clock: false, window: None }))
    }

    /// `created` is where the kernel put it.
    pub fn create_region(&mut self, account: Id, bytes: u64, created: u64) -> Result<Id, Error> {
        let pages = bytes.div_ceil(PAGE_SIZE);
        if pages == 0 || pages > LARGEST {
            return Err(Error::InvalidArgument);
        }
        if self.objects_left(account) == 0 || self.frames_left(account) < pages {
            return Err(Error::NoMemory);
        }
        Ok(self.new_region(Some(account), created.wrapping_sub(USER_BASE), pages))
    }

    pub fn end_region(&mut self, id: Id) {
        self.withdraw(|_, mapping| mapping.region == id);
        let &Region { base, pages, .. } = self.region(id);
        for page in 0..pages {
            self.memory.remove(&(base + page * PAGE_SIZE));
        }
        self.remove(id);
    }

    /// The region behind a handle, and the capability's rights.
    fn memory_object(&self, caller: Id, handle: u64) -> Result<(Id, Rights), Error> {
        let (_, cap) = self.cap(caller, handle)?;
        match cap.kind {
            ObjectType::Region | ObjectType::Clock | ObjectType::Mmio => Ok((cap.object, cap.rights)),
            _ => Err(Error::WrongType),
        }
    }

    pub fn is_mapped(&self, region: Id, space: Id) -> bool {
        self.mappings.iter().any(|m| m.region == region && m.space == space)
    }

    /// Where a region can be mapped: a sandbox, or a device.
    fn mappable(&self, caller: Id, space: u64) -> Result<Id, Error> {
        match self.space(caller, space) {
            Err(Error::WrongType) => self.object(caller, space, ObjectType::Device, Rights::MANAGE),
            sandbox => sandbox,
        }
    }

    /// Maps and returns the address; what page tables it takes is charged to the account of the sandbox, or of whoever maps it into a device.
    fn map(&mut self, space: Id, region: Id, rights: Rights, maker: Id) -> Result<u64, Error> {
        if self.is_mapped(region, space) {
            return Err(Error::Mapped);
        }
        let into_device = self.kind(space) == ObjectType::Device;
        let payer = if into_device { maker } else { space };
        let account = self.objects[&payer].payer.expect("sandboxes are paid for");
        if into_device && self.kind(region) != ObjectType::Region {
            return Err(Error::WrongType);
        }
        if into_device && self.payer_of(space).is_some_and(|other| other != account) {
            return Err(Error::Busy);
        }
        let before = self.reach(space);
        let (used, left) = (self.frames_used(account).0, self.frames_left(account));
        self.mappings.push(Mapping { region, space, maker: Some(maker), rights });
        // Two windows on the same registers have the same addresses.
        let twice = self.reach_of(space, |other| core::ptr::eq(other, self.region(region)));
        let refused = if twice.keys().any(|page| before.contains_key(page)) {
            Some(Error::Mapped)
        } else {
            (self.frames_used(account).0 - used > left).then_some(Error::NoMemory)
        };
        if let Some(error) = refused {
            self.mappings.pop();
            return Err(error);
        }
        Ok(self.region(region).base + if into_device { 0 } else { USER_BASE })
    }

    pub fn do_map(&mut self, thread: Id, caller: Id, args: [u64; 5]) -> Result<u64, Error> {
        let [space, region, rights, ..] = args;
        let space = self.mappable(caller, space)?;
        let (region, held) = self.memory_object(caller, region)?;
        let rights = Rights::from_bits_truncate(rights as u32) | Rights::READ;
        if !held.contains(rights) {
            return Err(Error::MissingRights);
        }
        // What else was asked for is held, and no part of how it is mapped.
        let rights = rights & (Rights::READ | Rights::WRITE | Rights::EXECUTE);
        let address = self.map(space, region, rights, caller)?;
        self.thread_mut(thread).registers.rdi = address;
        Ok(0)
    }

    pub fn do_unmap(&mut self, caller: Id, space: u64, region: u64) -> Result<u64, Error> {
        let space = self.mappable(caller, space)?;
        let (region, _) = self.memory_object(caller, region)?;
        if !self.is_mapped(region, space) {
            return Err(Error::WrongState);
        }
        self.mappings.retain(|m| m.region != region || m.space != space);
        Ok(0)
    }

    /// The clock page is mapped with a clock capability; twice does no harm.
    pub fn do_clock(&mut self, thread: Id, caller: Id, clock: u64, space: u64) -> Result<u64, Error> {
        let sandbox = self.space(caller, space)?;
        let region = self.object(caller, clock, ObjectType::Clock, Rights::READ)?;
        if !self.is_mapped(region, sandbox) {
            self.map(sandbox, region, Rights::READ, caller)?;
        }
        self.thread_mut(thread).registers.rdi = USER_BASE + self.region(region).base;
        Ok(0)
    }

    pub fn do_seal(&mut self, caller: Id, region: u64, spec: u64) -> Result<u64, Error> {
        let region = self.object(caller, region, ObjectType::Region, Rights::MANAGE)?;
        let seal: [u64; 3] = self.read_words(caller, spec)?;
        let [read_only, execute, guard] = seal;
        let fixed = read_only.checked_add(execute).ok_or(Error::InvalidArgument)?;
        let pages = self.region(region).pages;
        let guard_is_writable_page = guard == 0 || (fixed..pages).contains(&guard);
        if fixed > pages || !guard_is_writable_page {
            return Err(Error::InvalidArgument);
        }
        if self.region(region).seal.is_some() {
            return Err(Error::WrongState);
        }
        if self.mappings.iter().any(|m| m.region == region) {
            return Err(Error::Mapped);
        }
        self.region_mut(region).seal = Some(seal);
        Ok(0)
    }

    pub fn do_region_info(&mut self, thread: Id, caller: Id, region: u64) -> Result<u64, Error> {
        let (region, _) = self.memory_object(caller, region)?;
        let &Region { base, pages, .. } = self.region(region);
        let registers = &mut self.thread_mut(thread).registers;
        (registers.rdi, registers.rsi) = (USER_BASE + base, pages * PAGE_SIZE);
        Ok(0)
    }
}

fn page_of(at: u64) -> u64 {
    at & !(PAGE_SIZE - 1)
}
