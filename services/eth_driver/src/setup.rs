//! From grants to a running driver. A later start finds its capabilities again and makes only what is missing.

use crate::card::{Card, CardError, Registers};
use crate::driver::{Driver, Parts};
use crate::state::{self, Slots, State};
use crate::{is_live, new_slot};
use core::fmt;
use core::ptr::NonNull;
use hic_control::grants;
use hic_nic::flow::FlowTable;
use hic_nic::hold::HeldRecord;
use hic_nic::virtqueue::queue_bytes;
use hic_rt::region::map_for_dma;
use hic_rt::{Error, Handle, Rights, SELF, StartPage, log, start, sys};
use hic_virtio::block::Block;
use hic_virtio::capability::{self, Place, Places};

/// Bits of the driver's notification.
pub const RX_BIT: u64 = 1;
/// As [`RX_BIT`], for the transmit queue.
pub const TX_BIT: u64 = 2;
/// First of the bits by which stacks wake the driver, one each.
pub const DOORBELL_BIT: u64 = 1 << 8;

/// Descriptors of each queue.
pub const QUEUE_SIZE: u16 = 256;
/// Octets of DMA memory for the header of each frame to send.
pub const HEADER_STRIDE: usize = 16;

/// Why the driver cannot start.
#[derive(Clone, Copy, Debug)]
pub enum SetupError {
    /// A system call was refused.
    Kernel(&'static str, Error),
    /// The state region or the DMA memory is too small for its use.
    TooSmall(&'static str),
    /// The card lacks a register block.
    Missing(capability::Missing),
    /// A register block lies outside its BAR.
    Outside(Place),
    /// The card itself refuses.
    Card(CardError),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(what, error) => write!(f, "{what}: {error}"),
            Self::TooSmall(what) => write!(f, "{what} is too small: compare hicmod.toml"),
            Self::Missing(block) => write!(f, "the card has no registers for {}", block.0),
            Self::Outside(place) => {
                write!(f, "registers at {:#x} lie outside BAR {}", place.offset, place.bar)
            }
            Self::Card(error) => write!(f, "{error}"),
        }
    }
}

impl From<CardError> for SetupError {
    fn from(error: CardError) -> Self {
        Self::Card(error)
    }
}

fn kernel(what: &'static str) -> impl Fn(Error) -> SetupError {
    move |error| SetupError::Kernel(what, error)
}

/// Memory that only the driver and the card use.
#[derive(Clone, Copy, Debug)]
pub struct Dma {
    /// Where it is mapped.
    pub base: NonNull<u8>,
    /// Its physical address.
    pub physical: u64,
}

/// Sets everything up; on a restart, for the stacks that were attached.
pub fn driver(page: &'static StartPage) -> Result<Driver, SetupError> {
    let state = open_state(page)?;
    let State { head, flows, fresh } = state;
    let account = start::require(page, grants::ACCOUNT).slot;
    let device = start::require(page, grants::DEVICE).slot;
    head.claim_slots(device);
    // Asked for until it came: a flow table whose key anybody knows can be filled on purpose.
    if head.secret == [0; 16] {
        let entropy = start::require(page, grants::ENTROPY).slot;
        sys::entropy(entropy, &mut head.secret)
            .map_err(kernel("random numbers of the processor (RDRAND)"))?;
    }
    let notification = ensure(&mut head.slots.notification, |slot| sys::create_notification(account, slot))
        .map_err(kernel("notification"))?;
    sys::bind_notification(notification).map_err(kernel("bind notification"))?;
    let registers = registers(device, account, &mut head.slots)?;
    // Memory decoding must be on before the first register is touched; the card then knows only addresses that an earlier start gave
    // it.
    sys::device_master(device, true).map_err(kernel("bus master on"))?;
    bind_interrupts(device, account, notification, &mut head.slots)?;
    let card = Card::new(registers, dma(page, device)?);
    let (flows, repair) = FlowTable::attach(flows, head.secret);
    if repair != hic_nic::flow::Repair::default() {
        log!("flow table repaired: {} broken, {} lost", repair.broken, repair.lost);
    }
    let held = open_held(page, fresh)?;
    let mut driver = Driver::new(Parts { head, flows, held, card, account, device, notification });
    driver.start()?;
    Ok(driver)
}

fn open_state(page: &StartPage) -> Result<State, SetupError> {
    let grant = start::require(page, "state:driver");
    // SAFETY: the module manager mapped the region for this module alone; `driver` is the only caller and runs once.
    unsafe { state::open(grant.address, grant.length) }.ok_or(SetupError::TooSmall("the state region"))
}

fn open_held(page: &StartPage, fresh: bool) -> Result<&'static mut [HeldRecord], SetupError> {
    let grant = start::require(page, "state:held");
    // SAFETY: as in `open_state`.
    unsafe { state::open_held(grant.address, grant.length, fresh) }
        .ok_or(SetupError::TooSmall("the region of held frames"))
}

fn dma(page: &StartPage, device: Handle) -> Result<Dma, SetupError> {
    let grant = start::require(page, grants::DMA);
    let need = 2 * queue_bytes(QUEUE_SIZE) + usize::from(QUEUE_SIZE) * HEADER_STRIDE;
    let base = NonNull::new(grant.address as *mut u8).filter(|_| grant.length as usize >= need);
    let base = base.ok_or(SetupError::TooSmall("the DMA memory"))?;
    map_for_dma(device, grant.slot).map_err(kernel("DMA memory"))?;
    Ok(Dma { base, physical: physical(grant.address) })
}

/// Regions are mapped at a fixed distance from where they lie (architecture, "One address for every byte of physical memory").
pub fn physical(address: u64) -> u64 {
    address - hic_abi::USER_BASE
}

/// The capability in a recorded slot, made if it is not there.
fn ensure(place: &mut Handle, make: impl FnOnce(Handle) -> Result<(), Error>) -> Result<Handle, Error> {
    if *place == 0 {
        *place = new_slot()?;
    }
    if !is_live(*place) {
        make(*place)?;
    }
    Ok(*place)
}

fn registers(device: Handle, account: Handle, slots: &mut Slots) -> Result<Registers, SetupError> {
    let places = capability::find(|offset| sys::device_read(device, offset, 4));
    let places = places.map_err(kernel("read configuration space"))?.map_err(SetupError::Missing)?;
    let Places { common, notify, notify_multiplier, device: block } = places;
    let info = sys::device_info(device).map_err(kernel("device info"))?;
    let mut map = |place: Place| -> Result<Block, SetupError> {
        let bar = usize::from(place.bar).min(5);
        let inside = u64::from(place.offset) + u64::from(place.len) <= info.bar_size[bar];
        let slot = ensure(&mut slots.bars[bar], |slot| sys::device_bar(device, place.bar, slot, account));
        let slot = slot.map_err(kernel("window on a BAR"))?;
        let at = match sys::mmio_map(SELF, slot, Rights::READ | Rights::WRITE) {
            Err(Error::Mapped) => Ok(info.bar_base[bar] + hic_abi::USER_BASE),
            other => other,
        };
        let at = at.map_err(kernel("map registers"))? as *mut u8;
        let at = at.wrapping_add(place.offset as usize);
        let at = NonNull::new(at).filter(|at| inside && at.addr().get().is_multiple_of(4));
        let at = at.ok_or(SetupError::Outside(place))?;
        // SAFETY: registers of the card, inside the window that is mapped for as long as the program runs; aligned.
        Ok(unsafe { Block::new(at, place.len as usize) })
    };
    let (common, notify, block) = (map(common)?, map(notify)?, map(block)?);
    Ok(Registers::new(common, notify, notify_multiplier, block)?)
}

fn bind_interrupts(
    device: Handle,
    account: Handle,
    notification: Handle,
    slots: &mut Slots,
) -> Result<(), SetupError> {
    for (vector, bit) in [RX_BIT, TX_BIT].into_iter().enumerate() {
        let irq =
            ensure(&mut slots.irqs[vector], |slot| sys::device_vector(device, vector as u16, slot, account));
        let irq = irq.map_err(kernel("interrupt vector"))?;
        sys::irq_bind(irq, notification, bit).map_err(kernel("bind interrupt"))?;
    }
    Ok(())
}
