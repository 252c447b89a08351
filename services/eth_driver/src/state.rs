//! The state region: what a later start of the driver must find. Plain records, so that any version can read them.

use hic_abi::Plain;
use hic_nic::Counters;
use hic_nic::fence::TxFence;
use hic_nic::flow::{FlowRecord, RECORD_BYTES};
use hic_nic::hold::{HELD_RECORD_BYTES, HeldRecord, POOL_FRAMES};
use hic_nic::region::DriverRecord;
use hic_nic::virtqueue::QueueRecord;
use hic_rt::{Handle, cap, sys};

/// Stacks that can be attached at once: one, and its successor during an update.
pub const MAX_STACKS: usize = 2;
/// Places for stacks: beside the attached ones, one that is gone and whose buffers the card still has.
pub const PLACES: usize = MAX_STACKS + 1;
/// Slots of the flow table: three quarters of them (6144 flows) can be used, more than a stack has connections.
pub const FLOW_SLOTS: usize = 8192;
const MAGIC: u64 = u64::from_le_bytes(*b"HICeth02");

/// Slots of capabilities that the driver made or was sent; 0 = none. A slot is written here before it is filled.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Slots {
    /// The driver's own notification.
    pub notification: u32,
    /// Where the next capability sent to us goes.
    pub offered: u32,
    /// Interrupts of the receive and the transmit queue.
    pub irqs: [u32; 2],
    /// Windows on the card's BARs.
    pub bars: [u32; 6],
}

/// One attached stack.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct StackRecord {
    /// Serial number of its sandbox; 0 = nobody.
    pub serial: u64,
    /// Bits to signal.
    pub signal: u64,
    /// Slot of its notification.
    pub notification: u32,
    /// Slot of its packet region.
    pub region: u32,
    /// Order of attaching.
    pub order: u64,
    /// 1 = it is gone for good; its place is free when the card has nothing of it any more.
    pub leaving: u64,
    /// Of one that is gone: its frames to send end before this index.
    pub last_tx: u64,
    /// Whose frames go to the card before its own.
    pub fence: TxFence,
    /// Indices of its packet region.
    pub driver: DriverRecord,
}

/// Everything but the flows.
#[repr(C)]
pub struct Head {
    magic: u64,
    /// Orders given so far.
    pub attached: u64,
    /// Sandbox of the default stack.
    pub default: u64,
    /// Features that the running card was started with; 0 = it was not, or is being started.
    pub features: u64,
    /// Places flows in the table.
    pub secret: [u8; 16],
    /// Capabilities.
    pub slots: Slots,
    /// Counters.
    pub counters: Counters,
    /// Stacks.
    pub stacks: [StackRecord; PLACES],
    /// Queues of the card: receive, transmit.
    pub queues: [QueueRecord; 2],
}

const FLOWS_AT: usize = size_of::<Head>().next_multiple_of(4096);

/// Bytes of the state region.
pub const STATE_BYTES: usize = FLOWS_AT + FLOW_SLOTS * RECORD_BYTES;

/// The parts of the state region.
pub struct State {
    /// Everything but the flows.
    pub head: &'static mut Head,
    /// The flow table's records.
    pub flows: &'static mut [FlowRecord],
    /// Whether nothing was there.
    pub fresh: bool,
}

/// Opens the state region at `address`; one that no driver wrote becomes empty.
///
/// # Safety
/// `address..address + bytes` is mapped for this program alone, for ever, and this is called once.
pub unsafe fn open(address: u64, bytes: u64) -> Option<State> {
    if (bytes as usize) < STATE_BYTES {
        return None;
    }
    let base = address as *mut u8;
    // SAFETY: the caller's contract; `Head` is made of integers only (each field is `Plain` or an integer), so any bytes are a value.
    let head = unsafe { &mut *base.cast::<Head>() };
    let fresh = head.magic != MAGIC;
    if fresh {
        // SAFETY: as above.
        unsafe { base.write_bytes(0, STATE_BYTES) };
        head.magic = MAGIC;
    }
    // SAFETY: as above; the records lie behind the head, page-aligned.
    let flows =
        unsafe { core::slice::from_raw_parts_mut(base.add(FLOWS_AT).cast::<FlowRecord>(), FLOW_SLOTS) };
    Some(State { head, flows, fresh })
}

/// Opens the region of held frames; `fresh` empties it.
///
/// # Safety
/// As [`open`].
pub unsafe fn open_held(address: u64, bytes: u64, fresh: bool) -> Option<&'static mut [HeldRecord]> {
    let need = POOL_FRAMES * HELD_RECORD_BYTES;
    if (bytes as usize) < need {
        return None;
    }
    let base = address as *mut u8;
    if fresh {
        // SAFETY: the caller's contract; the length was checked.
        unsafe { base.write_bytes(0, need) };
    }
    // SAFETY: as above; a record is `Plain`, so any bytes are a value, and regions are page-aligned.
    Some(unsafe { core::slice::from_raw_parts_mut(base.cast::<HeldRecord>(), POOL_FRAMES) })
}

impl Slots {
    /// Marks all slots as used, and empties the one that may hold a capability nobody recorded.
    fn claim(&mut self) {
        let Self { notification, offered, irqs, bars } = *self;
        let rest = irqs.into_iter().chain(bars);
        for slot in rest.chain([notification, offered]).filter(|slot| *slot != 0) {
            cap::claim(slot);
        }
        if offered != 0 {
            let _ = sys::cap_delete(hic_rt::SELF, offered);
        }
    }
}

impl Head {
    /// Takes the slots of an earlier start over. A stack that was attached half way gives its slots back.
    pub fn claim_slots(&mut self, device: Handle) {
        self.slots.claim();
        for stack in &mut self.stacks {
            for slot in [stack.notification, stack.region].into_iter().filter(|slot| *slot != 0) {
                cap::claim(slot);
            }
            if stack.serial == 0 {
                stack.forget(device);
            }
        }
    }
}

impl StackRecord {
    /// Frees the packet region and the slots. The card has none of its buffers any more, and is told so in the kernel's way: it does not
    /// reach them.
    pub fn forget(&mut self, device: Handle) {
        self.serial = 0;
        if self.region != 0 {
            let _ = sys::region_unmap(device, self.region);
            let _ = sys::destroy(hic_rt::SELF, self.region);
        }
        for slot in [self.notification, self.region].into_iter().filter(|slot| *slot != 0) {
            cap::drop_slot(slot);
        }
        (self.notification, self.region, self.signal) = (0, 0, 0);
        (self.leaving, self.last_tx, self.fence) = (0, 0, TxFence::default());
        self.driver = DriverRecord::zeroed();
    }
}
