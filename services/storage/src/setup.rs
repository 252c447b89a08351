//! From grants to a disk. A later start finds the capabilities of the earlier one in the same slots, since they are taken in the same order.

use core::fmt;
use core::ptr::NonNull;
use hic_abi::PAGE_SIZE;
use hic_control::grants;
use hic_rt::region::map_for_dma;
use hic_rt::{Error, Handle, Rights, SELF, StartPage, cap, start, sys};
use hic_virtio::block::Block;
use hic_virtio::capability::{self, Missing, Place};

use crate::dma;
use crate::transport::{QUEUE_VECTOR, Refused, Registers};
use crate::virtio_disk::VirtioDisk;

/// Bit of the notification of the disk's interrupts.
const DONE: u64 = 1;

/// Why there is no disk.
#[derive(Clone, Copy, Debug)]
pub enum SetupError {
    /// A system call was refused.
    Kernel(&'static str, Error),
    /// The granted DMA memory is too small or not aligned.
    DmaMemory,
    /// The disk lacks a register block.
    Missing(Missing),
    /// A register block lies outside its BAR.
    Outside(Place),
    /// The disk does not do what the driver needs.
    Refused(Refused),
    /// The disk does not start.
    Start(virtio_drivers::Error),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(what, error) => write!(f, "{what}: {error}"),
            Self::DmaMemory => f.write_str("the DMA memory is too small: compare hicmod.toml"),
            Self::Missing(missing) => write!(f, "{missing}"),
            Self::Outside(place) => {
                write!(f, "registers at {:#x} lie outside BAR {}", place.offset, place.bar)
            }
            Self::Refused(refused) => write!(f, "{refused}"),
            Self::Start(error) => write!(f, "the disk does not start: {error}"),
        }
    }
}

fn kernel(what: &'static str) -> impl Fn(Error) -> SetupError {
    move |error| SetupError::Kernel(what, error)
}

/// The capability in the next free slot, made if an earlier start has not left it there.
pub fn ensure(make: impl FnOnce(Handle) -> Result<(), Error>) -> Result<Handle, Error> {
    let slot = cap::allocate().ok_or(Error::PoolFull)?;
    if sys::cap_info(SELF, slot).is_err() {
        make(slot)?;
    }
    Ok(slot)
}

/// Finds the disk's registers, resets it, and starts it anew.
pub fn disk(page: &'static StartPage) -> Result<VirtioDisk, SetupError> {
    let account = start::require(page, grants::ACCOUNT).slot;
    let device = start::require(page, grants::DEVICE).slot;
    let interrupt = ensure(|slot| sys::create_notification(account, slot)).map_err(kernel("notification"))?;
    let irq = ensure(|slot| sys::device_vector(device, QUEUE_VECTOR, slot, account));
    let irq = irq.map_err(kernel("interrupt vector"))?;
    sys::irq_bind(irq, interrupt, DONE).map_err(kernel("bind interrupt"))?;
    let mut bars = Bars::new(device, account)?;
    // Memory decoding must be on before the first register is touched. The disk knows only addresses that an earlier start gave it until it is reset.
    sys::device_master(device, true).map_err(kernel("bus master on"))?;
    let places = capability::find(|offset| sys::device_read(device, offset, 4));
    let places = places.map_err(kernel("read configuration space"))?.map_err(SetupError::Missing)?;
    let notify = (bars.map(places.notify)?, places.notify_multiplier);
    let registers = Registers::take(bars.map(places.common)?, notify, bars.map(places.device)?, interrupt);
    let registers = registers.map_err(SetupError::Refused)?;
    let memory = start::require(page, grants::DMA);
    if memory.length < dma::PAGES * PAGE_SIZE || !memory.address.is_multiple_of(PAGE_SIZE) {
        return Err(SetupError::DmaMemory);
    }
    map_for_dma(device, memory.slot).map_err(kernel("DMA memory"))?;
    // SAFETY: the module manager mapped the region for us alone at the grant's address; the disk has just been reset; `disk` runs once.
    unsafe { dma::init(memory.address, memory.length) };
    VirtioDisk::start(registers).map_err(SetupError::Start)
}

/// Mapped windows on the disk's BARs.
struct Bars {
    device: Handle,
    account: Handle,
    info: hic_abi::object::DeviceInfo,
    bases: [Option<u64>; 6],
}

impl Bars {
    fn new(device: Handle, account: Handle) -> Result<Self, SetupError> {
        let info = sys::device_info(device).map_err(kernel("device info"))?;
        Ok(Self { device, account, info, bases: [None; 6] })
    }

    fn map(&mut self, place: Place) -> Result<Block, SetupError> {
        let outside = SetupError::Outside(place);
        let bar = usize::from(place.bar);
        let size = *self.info.bar_size.get(bar).ok_or(outside)?;
        if u64::from(place.offset) + u64::from(place.len) > size || !place.offset.is_multiple_of(4) {
            return Err(outside);
        }
        let base = match self.bases.get(bar).copied().flatten() {
            Some(base) => base,
            None => self.window(bar)?,
        };
        let at = NonNull::new((base + u64::from(place.offset)) as *mut u8).ok_or(outside)?;
        // SAFETY: registers of the disk, inside the window that is mapped for as long as the program runs; aligned (checked above).
        Ok(unsafe { Block::new(at, place.len as usize) })
    }

    fn window(&mut self, bar: usize) -> Result<u64, SetupError> {
        let slot = ensure(|slot| sys::device_bar(self.device, bar as u8, slot, self.account));
        let slot = slot.map_err(kernel("window on a BAR"))?;
        let base = match sys::mmio_map(SELF, slot, Rights::READ | Rights::WRITE) {
            Err(Error::Mapped) => Ok(self.info.bar_base.get(bar).copied().unwrap_or(0) + hic_abi::USER_BASE),
            other => other,
        };
        let base = base.map_err(kernel("map registers"))?;
        if let Some(place) = self.bases.get_mut(bar) {
            *place = Some(base);
        }
        Ok(base)
    }
}
