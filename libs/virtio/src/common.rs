//! The common configuration (virtio 1.2, 4.1.4.3).

use core::fmt;

use crate::block::Block;

/// Bytes of the common configuration that are used.
pub const COMMON_BYTES: usize = 56;
/// Interrupt vector of no event (4.1.5.1.3).
pub const NO_VECTOR: u16 = 0xffff;

/// Reads of the status register until a reset must be done.
const RESET_READS: usize = 100_000;

const DEVICE_FEATURE_SELECT: usize = 0;
const DEVICE_FEATURE: usize = 4;
const DRIVER_FEATURE_SELECT: usize = 8;
const DRIVER_FEATURE: usize = 12;
const CONFIG_VECTOR: usize = 16;
const STATUS: usize = 20;
const GENERATION: usize = 21;
const QUEUE_SELECT: usize = 22;
const QUEUE_SIZE: usize = 24;
const QUEUE_VECTOR: usize = 26;
const QUEUE_ENABLE: usize = 28;
const QUEUE_NOTIFY: usize = 30;
const QUEUE_ADDRESSES: usize = 32;

/// What a device does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommonError {
    /// Its common configuration is too short.
    TooShort,
    /// It does not finish its reset.
    Reset,
    /// It has no interrupt for a queue.
    NoInterrupt {
        /// The queue.
        queue: u16,
    },
}

impl fmt::Display for CommonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => f.write_str("the device's common configuration is too short"),
            Self::Reset => f.write_str("the device does not finish its reset"),
            Self::NoInterrupt { queue } => write!(f, "the device has no interrupt for queue {queue}"),
        }
    }
}

/// Physical addresses of a queue's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePlaces {
    /// Descriptor table.
    pub descriptors: u64,
    /// Available ring, written by the driver.
    pub available: u64,
    /// Used ring, written by the device.
    pub used: u64,
}

/// The common configuration of a device.
#[derive(Clone, Copy, Debug)]
pub struct Common(Block);

impl Common {
    /// From its mapped block.
    ///
    /// # Errors
    /// [`CommonError::TooShort`].
    pub fn new(block: Block) -> Result<Self, CommonError> {
        if block.len() < COMMON_BYTES { Err(CommonError::TooShort) } else { Ok(Self(block)) }
    }

    /// Stops the device: once this is done it touches no memory any more.
    ///
    /// # Errors
    /// [`CommonError::Reset`].
    pub fn reset(&self) -> Result<(), CommonError> {
        self.set_status(0);
        if (0..RESET_READS).any(|_| self.status() == 0) { Ok(()) } else { Err(CommonError::Reset) }
    }

    /// The status bits (2.1).
    #[must_use]
    pub fn status(&self) -> u8 {
        self.0.read(STATUS)
    }

    /// Writes the status bits; 0 begins a reset.
    pub fn set_status(&self, status: u8) {
        self.0.write(STATUS, status);
    }

    /// Feature bits that the device offers.
    #[must_use]
    pub fn device_features(&self) -> u64 {
        self.features(DEVICE_FEATURE_SELECT, DEVICE_FEATURE)
    }

    /// Takes feature bits.
    pub fn set_driver_features(&self, taken: u64) {
        for (which, bits) in [(0u32, taken as u32), (1, (taken >> 32) as u32)] {
            self.0.write(DRIVER_FEATURE_SELECT, which);
            self.0.write(DRIVER_FEATURE, bits);
        }
    }

    /// Feature bits that were taken.
    #[must_use]
    pub fn driver_features(&self) -> u64 {
        self.features(DRIVER_FEATURE_SELECT, DRIVER_FEATURE)
    }

    fn features(&self, select: usize, at: usize) -> u64 {
        let half = |which: u32| {
            self.0.write(select, which);
            u64::from(self.0.read::<u32>(at))
        };
        half(0) | half(1) << 32
    }

    /// Counts changes of the device's configuration (4.1.4.3.1).
    #[must_use]
    pub fn generation(&self) -> u8 {
        self.0.read(GENERATION)
    }

    /// No interrupt for changes of the configuration.
    pub fn mute_configuration(&self) {
        self.0.write(CONFIG_VECTOR, NO_VECTOR);
    }

    /// Largest size of a queue; 0 if there is no such queue.
    #[must_use]
    pub fn queue_size(&self, queue: u16) -> u16 {
        self.select(queue).0.read(QUEUE_SIZE)
    }

    /// Whether a queue is in use.
    #[must_use]
    pub fn queue_enabled(&self, queue: u16) -> bool {
        self.select(queue).0.read::<u16>(QUEUE_ENABLE) == 1
    }

    /// Leads the interrupts of a queue to an MSI-X vector.
    ///
    /// # Errors
    /// [`CommonError::NoInterrupt`]: the device answers that it cannot (4.1.5.1.3).
    pub fn set_queue_vector(&self, queue: u16, vector: u16) -> Result<(), CommonError> {
        self.select(queue).0.write(QUEUE_VECTOR, vector);
        let kept = self.0.read::<u16>(QUEUE_VECTOR) == vector;
        if kept { Ok(()) } else { Err(CommonError::NoInterrupt { queue }) }
    }

    /// Tells the device where a queue is, and lets it be used.
    pub fn enable_queue(&self, queue: u16, size: u16, places: QueuePlaces) {
        self.select(queue).0.write(QUEUE_SIZE, size);
        let addresses = [places.descriptors, places.available, places.used];
        for (n, address) in addresses.into_iter().enumerate() {
            self.0.write(QUEUE_ADDRESSES + 8 * n, address as u32);
            self.0.write(QUEUE_ADDRESSES + 8 * n + 4, (address >> 32) as u32);
        }
        self.0.write(QUEUE_ENABLE, 1u16);
    }

    /// Whether a queue is in use, of this size, with this vector, and there: what [`Self::set_queue_vector`] and [`Self::enable_queue`] made of it.
    #[must_use]
    pub fn queue_is(&self, queue: u16, size: u16, vector: u16, places: QueuePlaces) -> bool {
        let address = |n: usize| {
            let [low, high] = [0, 4].map(|half| self.0.read::<u32>(QUEUE_ADDRESSES + 8 * n + half));
            u64::from(low) | u64::from(high) << 32
        };
        let here = |at: usize, word: u16| self.0.read::<u16>(at) == word;
        self.queue_enabled(queue)
            && here(QUEUE_SIZE, size)
            && here(QUEUE_VECTOR, vector)
            && [places.descriptors, places.available, places.used] == [0, 1, 2].map(address)
    }

    /// A queue's notification offset, to be multiplied with the multiplier of the notification capability (4.1.4.4).
    #[must_use]
    pub fn notify_offset(&self, queue: u16) -> u16 {
        self.select(queue).0.read(QUEUE_NOTIFY)
    }

    fn select(&self, queue: u16) -> &Self {
        self.0.write(QUEUE_SELECT, queue);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr::NonNull;

    fn with_memory(test: impl FnOnce(Common)) -> [u32; 14] {
        let mut memory = [0u32; 14];
        // SAFETY: until the test is over the array is used through the block only.
        let block = unsafe { Block::new(NonNull::from(&mut memory).cast(), COMMON_BYTES) };
        test(Common::new(block).unwrap());
        memory
    }

    #[test]
    fn a_short_block_is_refused() {
        let mut memory = [0u32; 13];
        // SAFETY: the array is used through the block only.
        let block = unsafe { Block::new(NonNull::from(&mut memory).cast(), 52) };
        assert_eq!(Common::new(block).err(), Some(CommonError::TooShort));
    }

    #[test]
    fn a_queue_is_written_where_the_specification_puts_it() {
        let places =
            QueuePlaces { descriptors: 0x1_0000_2000, available: 0x2_0000_3000, used: 0x3_0000_4000 };
        let memory = with_memory(|common| {
            common.enable_queue(5, 16, places);
            common.set_queue_vector(5, 2).unwrap();
            common.mute_configuration();
            assert!(common.queue_is(5, 16, 2, places));
            let moved = QueuePlaces { used: 0x4_0000_4000, ..places };
            assert!(!common.queue_is(5, 8, 2, places) && !common.queue_is(5, 16, 1, places));
            assert!(!common.queue_is(5, 16, 2, moved));
        });
        assert_eq!(memory[4] & 0xffff, 0xffff);
        assert_eq!((memory[5] >> 16, memory[6], memory[7] & 0xffff), (5, 16 | 2 << 16, 1));
        assert_eq!(memory[8..], [0x2000, 1, 0x3000, 2, 0x4000, 3]);
    }

    #[test]
    fn a_device_that_is_reset_has_status_zero() {
        with_memory(|common| {
            common.set_status(15);
            common.reset().unwrap();
            assert_eq!(common.status(), 0);
        });
    }
}
