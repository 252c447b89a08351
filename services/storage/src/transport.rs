//! The disk's registers as `virtio-drivers` wants them.
//!
//! Its own PCI transport cannot be used: it reads BARs from configuration space, which the kernel keeps for itself, and leads no interrupt to
//! a queue. Here, telling the disk of a request and waiting for the interrupt that ends it are one step, [`Transport::notify`]: with one request at
//! a time this makes every function of the crate's block driver sleep instead of spin.

use hic_rt::{Error, Handle, clock, log, sys};
use hic_virtio::block::Block;
use hic_virtio::common::{Common, CommonError, QueuePlaces};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// MSI-X vector of the disk's only queue.
pub const QUEUE_VECTOR: u16 = 0;
const QUEUE: u16 = 0;
/// The disk cannot be written (5.2.3).
const FEATURE_READ_ONLY: u64 = 1 << 5;
/// The disk has a cache of its own, and a command to empty it. A disk without the command writes through (5.2.5.1).
const FEATURE_FLUSH: u64 = 1 << 9;
const FEATURE_VERSION_1: u64 = 1 << 32;
/// The disk reaches memory through the IOMMU, as every other device does (6.1: taken wherever it is offered).
const FEATURE_ACCESS_PLATFORM: u64 = 1 << 33;
/// Bytes of the disk's configuration that are used: its size.
const DEVICE_BYTES: usize = 8;
/// How long a request may take before the disk counts as dead: far above what a loaded host needs to write its cache back.
const REQUEST_TIMEOUT: u64 = 20_000_000_000;
/// Exit code after a request that never ended. The next start resets the disk.
const DEAD_DISK: u64 = 3;

/// The registers of a disk, and the notification that its interrupts set.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    common: Common,
    notify: Block,
    notify_offset: usize,
    device: Block,
    interrupt: Handle,
}

/// What the disk does not do.
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    /// See there.
    Common(CommonError),
    /// It does not follow virtio 1.x.
    Old,
    /// Its registers for notification or configuration are too short.
    Registers,
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Common(error) => write!(f, "{error}"),
            Self::Old => f.write_str("the disk does not follow virtio 1"),
            Self::Registers => f.write_str("the disk's register blocks are too short"),
        }
    }
}

impl From<CommonError> for Refused {
    fn from(error: CommonError) -> Self {
        Self::Common(error)
    }
}

impl Registers {
    /// Resets the disk and checks all that [`Transport`] has no way to refuse later. `interrupt` is led to [`QUEUE_VECTOR`] already.
    pub fn take(
        common: Block,
        notify: (Block, u32),
        device: Block,
        interrupt: Handle,
    ) -> core::result::Result<Self, Refused> {
        let common = Common::new(common)?;
        common.reset()?;
        if common.device_features() & FEATURE_VERSION_1 == 0 {
            return Err(Refused::Old);
        }
        common.mute_configuration();
        common.set_queue_vector(QUEUE, QUEUE_VECTOR)?;
        let (notify, multiplier) = notify;
        let offset = u32::from(common.notify_offset(QUEUE)).checked_mul(multiplier);
        let offset = offset.map(|offset| offset as usize).filter(|&at| notify.holds::<u16>(at));
        let notify_offset = offset.filter(|_| device.len() >= DEVICE_BYTES).ok_or(Refused::Registers)?;
        Ok(Self { common, notify, notify_offset, device, interrupt })
    }
}

impl Transport for Registers {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    /// Of what the disk offers, what this driver wants: with one request at a time, neither event indices nor indirect descriptors gain anything.
    fn read_device_features(&mut self) -> u64 {
        self.common.device_features() & (FEATURE_READ_ONLY | FEATURE_FLUSH | FEATURE_VERSION_1)
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        // The crate does not know this one: it is taken here.
        let platform = self.common.device_features() & FEATURE_ACCESS_PLATFORM;
        self.common.set_driver_features(driver_features | platform);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.common.queue_size(queue).into()
    }

    /// Tells the disk of a request and waits until it is done. An interrupt that came late for an earlier request ends the wait too early; then
    /// the crate spins for the rest, as it would without this.
    fn notify(&mut self, queue: u16) {
        self.notify.write(self.notify_offset, queue);
        if let Err(Error::Timeout) = sys::wait(self.interrupt, clock::now() + REQUEST_TIMEOUT) {
            log!("the disk does not answer");
            sys::exit(DEAD_DISK);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(self.common.status().into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        if !status.is_empty() {
            self.common.set_status(status.bits() as u8);
        } else if let Err(error) = self.common.reset() {
            log!("{error}");
        }
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        available: PhysAddr,
        used: PhysAddr,
    ) {
        self.common.mute_configuration();
        // The reset of the driver's start took the vector away. That the disk has it was checked in `take`.
        if let Err(error) = self.common.set_queue_vector(queue, QUEUE_VECTOR) {
            log!("{error}");
        }
        self.common.enable_queue(queue, size as u16, QueuePlaces { descriptors, available, used });
    }

    /// A queue of a PCI function is taken out of use by a reset only (4.1.4.3.2).
    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.common.queue_enabled(queue)
    }

    /// MSI-X needs none.
    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.common.generation().into()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        let mut value = T::new_zeroed();
        if offset.checked_add(size_of::<T>()).is_none_or(|end| end > self.device.len()) {
            return Err(virtio_drivers::Error::ConfigSpaceTooSmall);
        }
        // Fields are read in their own width, longer ones in words (4.1.3.1).
        for (n, piece) in value.as_mut_bytes().chunks_mut(4).enumerate() {
            let at = offset + 4 * n;
            match piece {
                [a, b, c, d] if self.device.holds::<u32>(at) => {
                    [*a, *b, *c, *d] = self.device.read::<u32>(at).to_le_bytes();
                }
                [a, b] if self.device.holds::<u16>(at) => {
                    [*a, *b] = self.device.read::<u16>(at).to_le_bytes();
                }
                bytes => (at..).zip(bytes).for_each(|(at, byte)| *byte = self.device.read(at)),
            }
        }
        Ok(value)
    }

    /// The driver of a disk writes no configuration.
    fn write_config_space<T: IntoBytes + Immutable>(&mut self, _: usize, _: T) -> Result<()> {
        Err(virtio_drivers::Error::Unsupported)
    }
}
