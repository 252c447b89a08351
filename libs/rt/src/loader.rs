//! Making and starting instances of modules: the keeper does it for the module manager and the monitor, the module manager for
//! everyone else.
//!
//! An instance is a sandbox and one region: image, guard page, stack, start page, heap. The region is filled while it is mapped here and
//! nowhere else, then sealed, then mapped in the sandbox, so no page is ever writable and executable. A restart in place keeps the sealed
//! text, which nobody could change, and writes the rest anew.

use crate::{cap, sys};
use hic_abi::object::{SandboxSpec, SealSpec, ThreadSpec};
use hic_abi::start::{Grant, InstanceLayout, MAX_GRANTS, START_MAGIC, StartPage};
use hic_abi::{Error, Handle, PAGE_SIZE, Plain, Rights, SELF, name_bytes};
use hic_hicmod::{Image, ImageError};

/// Why an instance could not be made or started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The kernel refused a step.
    Kernel {
        /// Which.
        step: &'static str,
        /// Why.
        error: Error,
    },
    /// The image does not fit where it belongs.
    Image(ImageError),
    /// No slot is free here.
    NoSlot,
    /// More grants than a start page holds.
    TooManyGrants,
}

impl core::fmt::Display for LoadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Kernel { step, error } => write!(f, "{step}: {error}"),
            Self::Image(error) => write!(f, "image: {error}"),
            Self::NoSlot => f.write_str("no free capability slot"),
            Self::TooManyGrants => f.write_str("more grants than a start page holds"),
        }
    }
}

/// Names the step that the kernel refused.
pub fn at(step: &'static str) -> impl Fn(Error) -> LoadError {
    move |error| LoadError::Kernel { step, error }
}

/// A free slot of this program.
///
/// # Errors
/// [`LoadError::NoSlot`].
pub fn new_slot() -> Result<Handle, LoadError> {
    cap::allocate().ok_or(LoadError::NoSlot)
}

/// An instance: a sandbox that may be started, restarted and destroyed.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Instance {
    /// Slot of its account.
    pub account: Handle,
    /// Slot of its sandbox.
    pub sandbox: Handle,
    /// Slot of its region.
    pub region: Handle,
    /// Its sandbox's next free slot, where the next grant goes.
    pub next_slot: u32,
    /// Serial number of its sandbox.
    pub serial: u64,
    /// Address of its region.
    pub address: u64,
    /// Stack pages.
    pub stack_pages: u64,
    /// Heap pages.
    pub heap_pages: u64,
    /// Slots of its capability space.
    pub slots: u64,
    /// How often it was started again.
    pub restarts: u64,
}

/// What its start page says beside the grants.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Name of the module.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The clock capability, if it may know the time.
    pub clock: Option<Handle>,
}

/// The grants of an instance, in slot order from 1 on.
pub struct GrantList {
    grants: [Grant; MAX_GRANTS - 12],
    count: usize,
}

impl Default for GrantList {
    fn default() -> Self {
        Self::new()
    }
}

impl GrantList {
    /// No grants.
    #[must_use]
    pub fn new() -> Self {
        Self { grants: [Grant::zeroed(); MAX_GRANTS - 12], count: 0 }
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`LoadError::TooManyGrants`].
    pub fn add(&mut self, grant: Grant) -> Result<(), LoadError> {
        *self.grants.get_mut(self.count).ok_or(LoadError::TooManyGrants)? = grant;
        self.count += 1;
        Ok(())
    }

    /// Those added so far.
    #[must_use]
    pub fn as_slice(&self) -> &[Grant] {
        &self.grants[..self.count]
    }
}

impl Instance {
    fn layout(&self, image: &Image<'_>) -> InstanceLayout {
        InstanceLayout {
            image_pages: image.memory_pages() as u64,
            stack_pages: self.stack_pages,
            heap_pages: self.heap_pages,
        }
    }

    /// Makes the sandbox and its region.
    ///
    /// # Errors
    /// [`LoadError::Kernel`] names the step; nothing is left of what was made before it.
    pub fn create(
        account: Handle,
        spec: &SandboxSpec,
        image: &Image<'_>,
        stack_pages: u64,
        heap_pages: u64,
    ) -> Result<Self, LoadError> {
        let (sandbox, region) = (new_slot()?, new_slot()?);
        let layout = InstanceLayout { image_pages: image.memory_pages() as u64, stack_pages, heap_pages };
        let undo = |error| {
            for slot in [region, sandbox] {
                let _ = sys::destroy(SELF, slot);
                cap::drop_slot(slot);
            }
            error
        };
        let serial = sys::create_sandbox(account, sandbox, spec).map_err(at("sandbox")).map_err(undo)?;
        let address =
            sys::create_region(account, region, layout.bytes()).map_err(at("memory")).map_err(undo)?;
        let instance = Self {
            account,
            sandbox,
            region,
            next_slot: 1,
            serial,
            address,
            stack_pages,
            heap_pages,
            slots: spec.slots,
            restarts: 0,
        };
        instance.fill(image, &layout).map_err(undo)?;
        Ok(instance)
    }

    /// This instance with another image, in a new region in `region` that `account` pays for: what [`Instance::reset`] and [`Instance::start`] go on
    /// with. The region of `self` is left as it is, so the way back is to use `self` again.
    ///
    /// # Errors
    /// [`LoadError::Kernel`] names the step; then there is no new region.
    pub fn with_image(
        &self,
        (account, region): (Handle, Handle),
        image: &Image<'_>,
        (stack_pages, heap_pages): (u64, u64),
    ) -> Result<Self, LoadError> {
        let layout = InstanceLayout { image_pages: image.memory_pages() as u64, stack_pages, heap_pages };
        let address = sys::create_region(account, region, layout.bytes()).map_err(at("memory"))?;
        let instance = Self { region, address, stack_pages, heap_pages, ..*self };
        instance.fill(image, &layout).inspect_err(|_| {
            let _ = sys::destroy(SELF, region);
        })?;
        Ok(instance)
    }

    /// Places the image for the first time and seals the region.
    fn fill(&self, image: &Image<'_>, layout: &InstanceLayout) -> Result<(), LoadError> {
        sys::region_map(SELF, self.region, Rights::READ | Rights::WRITE).map_err(at("map for loading"))?;
        // SAFETY: the region was just made and mapped here alone; it is `layout.bytes()` long, the image fits within.
        let memory =
            unsafe { core::slice::from_raw_parts_mut(self.address as *mut u8, image.memory_bytes()) };
        image.place(memory, self.address).map_err(LoadError::Image)?;
        sys::region_unmap(SELF, self.region).map_err(at("unmap"))?;
        let map = image.layout();
        let seal = SealSpec {
            read_only: map.ro.len() as u64 / PAGE_SIZE,
            execute: map.rx.len() as u64 / PAGE_SIZE,
            guard: layout.guard_page(),
        };
        sys::region_seal(self.region, &seal).map_err(at("seal"))
    }

    /// Gives it a copy of one of this program's capabilities, in its next slot.
    ///
    /// # Errors
    /// [`LoadError::Kernel`].
    pub fn grant(&mut self, slot: Handle, rights: Rights) -> Result<Handle, LoadError> {
        let to = self.next_slot;
        sys::cap_copy((self.sandbox, to), (SELF, slot), rights).map_err(at("grant"))?;
        self.next_slot += 1;
        Ok(to)
    }

    /// Starts it, for the first time or, after [`Instance::reset`], again.
    ///
    /// # Errors
    /// [`LoadError::Kernel`], [`LoadError::Image`].
    pub fn start(
        &self,
        image: &Image<'_>,
        identity: &Identity<'_>,
        grants: &[Grant],
    ) -> Result<(), LoadError> {
        let layout = self.layout(image);
        let clock = match identity.clock {
            Some(clock) => sys::clock_map(clock, self.sandbox).map_err(at("clock"))?,
            None => 0,
        };
        let mut page = StartPage::zeroed();
        page.magic = START_MAGIC;
        page.name = name_bytes(identity.name);
        page.version = name_bytes(identity.version);
        page.restarts = self.restarts;
        (page.heap, page.heap_bytes) = (self.address + layout.heap(), layout.heap_pages * PAGE_SIZE);
        page.clock = clock;
        (page.first_free_slot, page.slots) = (u64::from(self.next_slot), self.slots);
        page.grant_count = grants.len() as u64;
        page.grants.get_mut(..grants.len()).ok_or(LoadError::TooManyGrants)?.copy_from_slice(grants);
        self.write_page(&layout, &page)?;
        let rights = Rights::READ | Rights::WRITE | Rights::EXECUTE;
        sys::region_map(self.sandbox, self.region, rights).map_err(at("map"))?;
        let start = self.address + layout.start_page();
        let thread =
            ThreadSpec { entry: self.address + u64::from(image.entry()), stack: start - 8, argument: start };
        sys::thread_start(self.account, self.sandbox, 0, &thread).map_err(at("thread"))
    }

    fn write_page(&self, layout: &InstanceLayout, page: &StartPage) -> Result<(), LoadError> {
        sys::region_map(SELF, self.region, Rights::READ | Rights::WRITE).map_err(at("map for loading"))?;
        let target = (self.address + layout.start_page()) as *mut StartPage;
        // SAFETY: the start page lies within the region, page aligned, writable, mapped here alone while the sandbox has no thread.
        unsafe { target.write(*page) };
        sys::region_unmap(SELF, self.region).map_err(at("unmap"))
    }

    /// Readies a frozen instance for a new start: its threads go, its writable memory is as at first, its capabilities stay.
    ///
    /// # Errors
    /// [`LoadError::Kernel`], [`LoadError::Image`].
    pub fn reset(&mut self, image: &Image<'_>) -> Result<(), LoadError> {
        sys::sandbox_reset(self.sandbox).map_err(at("reset"))?;
        let layout = self.layout(image);
        match sys::region_map(SELF, self.region, Rights::READ | Rights::WRITE) {
            Ok(_) | Err(Error::Mapped) => {}
            Err(error) => return Err(at("map for loading")(error)),
        }
        let rw = image.layout().rw;
        let data = (self.address + rw.start as u64) as *mut u8;
        // SAFETY: after the reset no thread runs in the sandbox; the writable pages of the image are mapped here alone.
        let writable = unsafe { core::slice::from_raw_parts_mut(data, rw.len()) };
        image.place_data(writable, self.address).map_err(LoadError::Image)?;
        let rest = (self.address + layout.stack()) as *mut u8;
        // SAFETY: stack, start page and heap follow the guard page to the region's end; they are mapped here alone, as above.
        unsafe { rest.write_bytes(0, (layout.bytes() - layout.stack()) as usize) };
        sys::region_unmap(SELF, self.region).map_err(at("unmap"))?;
        self.restarts += 1;
        Ok(())
    }
}

impl core::error::Error for LoadError {}
