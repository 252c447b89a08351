//! The audit records: drained from the kernel, kept in the state region.

use hic_abi::audit::Record;
use hic_abi::inspect::{SystemInfo, What};
use hic_abi::{Handle, PAGE_SIZE};
use hic_control::grants;
use hic_rt::{StartPage, log, start, sys};
use monitor::chain::Verification;
use monitor::store::{Front, Opened, STAGED, Store};

/// The state region's smallest size: the fixed part and a ring worth keeping.
const MIN_BYTES: u64 = 64 * PAGE_SIZE;

/// The store, where it is fed from, and the verification under way.
pub struct Audit {
    log: Handle,
    /// The records kept.
    pub store: Store<'static>,
    /// Begun by the console, gone on with step by step.
    pub verification: Option<Verification>,
}

impl Audit {
    /// Opens the state region.
    pub fn open(page: &'static StartPage) -> Self {
        let region = start::require(page, "state:audit");
        assert!(region.length >= MIN_BYTES, "the state region for audit records is too small");
        let records = (region.length as usize - size_of::<Front>()) / size_of::<Record>();
        // SAFETY: the keeper mapped this region for us alone, page-aligned, for the life of the sandbox; it is at least as long as `Front`
        // (checked above), of which every bit pattern is a value.
        let front = unsafe { &mut *(region.address as *mut Front) };
        let after = region.address as usize + size_of::<Front>();
        // SAFETY: the rest of the same region, disjoint from `front`; `Front` is a multiple of 8 bytes, which is the alignment of `Record`,
        // and `records` of them fit.
        let ring = unsafe { core::slice::from_raw_parts_mut(after as *mut Record, records) };
        let (store, opened) = Store::open(front, ring);
        if opened == Opened::Foreign {
            log!("the state region held no audit records of ours: cleared");
        }
        Self { log: start::require(page, grants::AUDIT).slot, store, verification: None }
    }

    /// Keeps all that the kernel has recorded.
    pub fn drain(&mut self) {
        loop {
            match sys::audit_drain(self.log, self.store.staging()) {
                Ok(0) | Err(hic_abi::Error::WouldBlock) => return,
                Ok(drained) => {
                    self.store.absorb();
                    if drained < STAGED {
                        return;
                    }
                }
                Err(error) => return log!("cannot drain the audit log: {error}"),
            }
        }
    }

    /// Records that the kernel appended since boot; 0 when it does not say.
    pub fn appended(&self) -> u64 {
        sys::inspect::<SystemInfo>(self.log, What::System, 0).map_or(0, |s| s.audit_records)
    }
}
