//! One stack: its packet region and how to wake it.

use crate::new_slot;
use crate::state::StackRecord;
use core::ptr::NonNull;
use hic_abi::Plain;
use hic_nic::fence::TxFence;
use hic_nic::region::{DriverRecord, DriverSide, LayoutError, REGION_BYTES};
use hic_rt::region::{Mapped, map_for_dma};
use hic_rt::{Error, Handle, Rights, cap, log, sys};

/// A stack that is attached, or gone and not yet done with.
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
    /// It is gone for good: it gets nothing more, and sends its frames below this index.
    pub leaving: Option<u64>,
    /// Whose frames go before its own.
    pub fence: &'static mut TxFence,
    device: Handle,
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
    /// Opens the stack that a record describes; the card reaches its packet region from here on.
    ///
    /// # Safety
    /// The record lies in the state region and no other `Stack` is on it.
    pub unsafe fn open(record: NonNull<StackRecord>, device: Handle) -> Result<Self, OpenError> {
        // SAFETY: the caller's contract. The copy and references to two fields are all that is made of the record.
        let (now, driver, fence): (StackRecord, &'static mut DriverRecord, &'static mut TxFence) =
            unsafe { (record.read(), &mut (*record.as_ptr()).driver, &mut (*record.as_ptr()).fence) };
        let mapped = Mapped::map(now.region, Rights::READ | Rights::WRITE)?;
        map_for_dma(device, now.region)?;
        // SAFETY: the region is this program's own, mapped until `close`, and reached only through the side.
        let side = unsafe { DriverSide::attach(mapped.pointer(), mapped.bytes as usize, driver) };
        let (side, sane) = side.map_err(OpenError::Layout)?;
        if !sane {
            log!("the record of stack {} was damaged: it must attach again", now.serial);
        }
        let StackRecord { serial, signal, notification, region, order, last_tx, .. } = now;
        let leaving = (now.leaving != 0).then_some(last_tx);
        let muted = !sane;
        Ok(Self { serial, order, region, side, muted, leaving, fence, device, notification, signal, record })
    }

    /// Makes a packet region for a stack and opens it. The record says nobody until all of it is done.
    ///
    /// # Safety
    /// As [`Self::open`].
    pub unsafe fn create(
        record: NonNull<StackRecord>,
        (account, device): (Handle, Handle),
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
            fresh.forget(device);
            return Err(error.into());
        }
        (fresh.driver, fresh.fence) = (DriverRecord::zeroed(), TxFence::default());
        (fresh.leaving, fresh.last_tx) = (0, 0);
        (fresh.order, fresh.notification, fresh.signal) = (order, notification, signal);
        // The record is somebody's from this store on.
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
        fresh.serial = serial;
        // SAFETY: the caller's contract; `fresh` is not used while the stack is open.
        unsafe { Self::open(record, device) }.inspect_err(|_| {
            // SAFETY: no stack was made of the record.
            unsafe { (*record.as_ptr()).forget(device) }
        })
    }

    /// Gives everything of it back. The card must not have its buffers any more.
    pub fn close(self) {
        let Self { record, device, .. } = self;
        // SAFETY: side and fence, which borrowed from the record, are not used any more; the record is this stack's alone (contract of
        // `open`).
        unsafe { (*record.as_ptr()).forget(device) };
    }

    /// Whether what it is rung by still leads anywhere: a port whose endpoint is gone belongs to a stack that was destroyed.
    pub fn is_alive(&self) -> bool {
        sys::signal(self.notification, 0).is_ok()
    }

    /// It is gone for good. What it has posted by now is still sent, unless its indices cannot be believed.
    pub fn leave(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        let taken = self.side.tx_taken();
        let last = if self.muted { taken } else { self.side.tx_posted().unwrap_or(taken) };
        self.leaving = Some(last);
        let record = self.record.as_ptr();
        // SAFETY: these fields are the stack's alone; the side and the fence borrow others.
        unsafe {
            (*record).last_tx = last;
            core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
            (*record).leaving = 1;
        }
    }

    /// Whether frames that it posted are not yet given to the card.
    pub fn has_to_send(&self) -> bool {
        let taken = self.side.tx_taken();
        let end = self.leaving.unwrap_or(u64::MAX);
        !self.muted && self.side.tx_posted().is_ok_and(|posted| posted.min(end) > taken)
    }

    /// It attached again: from now on this notification.
    pub fn rebind(&mut self, notification: Handle, signal: u64) {
        let old = core::mem::replace(&mut self.notification, notification);
        self.signal = signal;
        let record = self.record.as_ptr();
        // SAFETY: these fields are the stack's alone; the side and the fence borrow others.
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
