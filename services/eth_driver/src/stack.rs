//! One attached stack: its packet region and how to wake it.

use crate::state::StackRecord;
use crate::{is_live, new_slot};
use core::ptr::NonNull;
use hic_abi::Plain;
use hic_nic::region::{DriverRecord, DriverSide, LayoutError, REGION_BYTES};
use hic_rt::region::Mapped;
use hic_rt::{Error, Handle, Rights, cap, log, sys};

/// An attached stack.
pub struct Stack {
    /// Serial number of its sandbox.
    pub serial: u64,
    /// Order of attaching.
    pub order: u64,
    /// Slot of its packet region.
    pub region: Handle,
    /// The packet region.
    pub side: DriverSide<'static>,
    /// It wrote an impossible index: its rings are left alone until it attaches again.
    pub muted: bool,
    notification: Handle,
    signal: u64,
    record: NonNull<StackRecord>,
}

/// Why a stack has no packet region.
#[derive(Clone, Copy, Debug)]
pub enum OpenError {
    /// A system call was refused.
    Kernel(Error),
    /// The region is not what it should be.
    Layout(LayoutError),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Kernel(error) => write!(f, "{error}"),
            Self::Layout(error) => write!(f, "{error}"),
        }
    }
}

impl Stack {
    /// Opens the stack that a record describes.
    ///
    /// # Safety
    /// The record lies in the state region and no other `Stack` is on it.
    pub unsafe fn open(record: NonNull<StackRecord>) -> Result<Self, OpenError> {
        // SAFETY: the caller's contract. The copy and the reference to one field are all that is made of the record.
        let (now, driver): (StackRecord, &'static mut DriverRecord) =
            unsafe { (record.read(), &mut (*record.as_ptr()).driver) };
        let mapped = Mapped::map(now.region, Rights::READ | Rights::WRITE)?;
        // SAFETY: the region is this program's own, mapped until `close`, and reached only through the side.
        let side = unsafe { DriverSide::attach(mapped.pointer(), mapped.bytes as usize, driver) };
        let (side, sane) = side.map_err(OpenError::Layout)?;
        if !sane {
            log!("eth_driver: the record of stack {} was damaged: it must attach again", now.serial);
        }
        let StackRecord { serial, signal, notification, region, order, .. } = now;
        Ok(Self { serial, order, region, side, muted: !sane, notification, signal, record })
    }

    /// Makes a packet region for a stack and opens it. The record says nobody until all of it is done.
    ///
    /// # Safety
    /// As [`Self::open`].
    pub unsafe fn create(
        record: NonNull<StackRecord>,
        account: Handle,
        (serial, order): (u64, u64),
        (notification, signal): (Handle, u64),
    ) -> Result<Self, OpenError> {
        // SAFETY: the caller's contract.
        let fresh = unsafe { &mut *record.as_ptr() };
        let made = new_slot().and_then(|slot| {
            fresh.region = slot;
            sys::create_region(account, slot, REGION_BYTES as u64)
        });
        if let Err(error) = made {
            fresh.forget();
            return Err(error.into());
        }
        fresh.driver = DriverRecord::zeroed();
        (fresh.order, fresh.notification, fresh.signal) = (order, notification, signal);
        fresh.serial = serial;
        // SAFETY: the caller's contract; `fresh` is not used while the stack is open.
        unsafe { Self::open(record) }.inspect_err(|_| {
            // SAFETY: no stack was made of the record.
            unsafe { (*record.as_ptr()).forget() }
        })
    }

    /// Gives everything of it back. The card must not have its buffers any more.
    pub fn close(self) {
        let Self { record, .. } = self;
        // SAFETY: the side that borrowed from the record is not used any more; the record is this stack's alone (contract of
        // `open`).
        unsafe { (*record.as_ptr()).forget() };
    }

    /// Whether whoever made its notification still exists.
    pub fn is_alive(&self) -> bool {
        is_live(self.notification)
    }

    /// It attached again: from now on this notification.
    pub fn rebind(&mut self, notification: Handle, signal: u64) {
        let old = core::mem::replace(&mut self.notification, notification);
        self.signal = signal;
        let record = self.record.as_ptr();
        // SAFETY: these fields are the stack's alone; the side borrows another one.
        unsafe {
            (*record).notification = notification;
            (*record).signal = signal;
        }
        if old != notification {
            cap::drop_slot(old);
        }
    }

    /// Wakes it; a stack that is gone is found out when another one attaches.
    pub fn signal(&self) {
        let _ = sys::signal(self.notification, self.signal);
    }
}
