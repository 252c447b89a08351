//! The card: its registers (virtio 1.2, 4.1.4 and 5.1) and its two queues.

use crate::setup::{Dma, HEADER_STRIDE, QUEUE_SIZE, physical};
use core::fmt;
use core::ptr::NonNull;
use eth_driver::feature::CardFeatures;
use eth_driver::header;
use hic_nic::region::{BUFFER_BYTES, Submission};
use hic_nic::virtqueue::{
    Full, Notify, Part, Queue, QueueAddresses, QueueRecord, ResumeError, Setup, queue_bytes,
};
use hic_virtio::block::Block;
use hic_virtio::common::{Common, CommonError, QueuePlaces};

const RX: u16 = 0;
const TX: u16 = 1;
/// Descriptors of a receive request: the buffer.
const RX_CHAIN: u16 = 1;
/// Descriptors of a transmit request: header and frame.
const TX_CHAIN: u16 = 2;
/// Station address and link status.
const DEVICE_BYTES: usize = 8;

const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
/// Status of a card that runs.
const RUNS: u8 = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;

/// What the card does not do.
#[derive(Clone, Copy, Debug)]
pub enum CardError {
    /// What every virtio device must do.
    Common(CommonError),
    /// The block of what it says of itself is too short.
    TooShort,
    /// It lacks a feature that the driver needs, or does not keep to those negotiated.
    Features {
        /// What it offers.
        offered: u64,
    },
    /// A queue is shorter than the driver's, or has no notification register.
    Queue {
        /// Its number.
        queue: u16,
        /// Its longest size.
        size: u16,
    },
    /// The queue's record.
    Record(ResumeError),
    /// The card does not run, or not as its last driver started it.
    NotRunning {
        /// Its status.
        status: u8,
    },
    /// A queue of the running card is not the recorded one.
    OtherQueue {
        /// Its number.
        queue: u16,
    },
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Common(error) => error.fmt(f),
            Self::TooShort => f.write_str("the card's own configuration is too short"),
            Self::Features { offered } => write!(f, "the card's features do not suffice: {offered:#x}"),
            Self::Queue { queue, size } => {
                write!(f, "queue {queue} cannot be used, it has {size} descriptors")
            }
            Self::Record(error) => write!(f, "{error}"),
            Self::NotRunning { status } => {
                write!(f, "the card (status {status:#x}) does not run as it was started")
            }
            Self::OtherQueue { queue } => write!(f, "queue {queue} of the card is not the recorded one"),
        }
    }
}

/// The card's mapped registers, long enough for what is used of them.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    common: Common,
    notify: Block,
    notify_multiplier: u32,
    device: Block,
}

impl Registers {
    /// From mapped blocks.
    pub fn new(
        common: Block,
        notify: Block,
        notify_multiplier: u32,
        device: Block,
    ) -> Result<Self, CardError> {
        let common = Common::new(common).map_err(CardError::Common)?;
        if device.len() < DEVICE_BYTES {
            return Err(CardError::TooShort);
        }
        Ok(Self { common, notify, notify_multiplier, device })
    }

    /// Status bits and features (3.1.1); what was taken.
    fn negotiate(&self) -> Result<CardFeatures, CardError> {
        self.common.set_status(ACKNOWLEDGE);
        self.common.set_status(ACKNOWLEDGE | DRIVER);
        let offered = self.common.device_features();
        let taken = CardFeatures::negotiate(offered).ok_or(CardError::Features { offered })?;
        self.common.set_driver_features(taken.bits());
        self.common.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
        let kept = self.common.status() & FEATURES_OK != 0;
        if kept { Ok(taken) } else { Err(CardError::Features { offered }) }
    }

    /// Tells the card where a queue is; where to tell it of requests.
    fn enable_queue(&self, number: u16, queue: &Queue<'_>) -> Result<Doorbell, CardError> {
        let size = self.common.queue_size(number);
        let refused = CardError::Queue { queue: number, size };
        if size < QUEUE_SIZE {
            return Err(refused);
        }
        self.common.set_queue_vector(number, number).map_err(CardError::Common)?;
        let doorbell = self.doorbell(number).ok_or(refused)?;
        self.common.enable_queue(number, QUEUE_SIZE, places(queue));
        Ok(doorbell)
    }

    /// Where the card is told of requests of a queue; `None` if that lies outside its registers.
    fn doorbell(&self, number: u16) -> Option<Doorbell> {
        let offset = u32::from(self.common.notify_offset(number)).checked_mul(self.notify_multiplier)?;
        let offset = Some(offset as usize).filter(|at| self.notify.holds::<u16>(*at))?;
        Some(Doorbell { block: self.notify, offset, queue: number })
    }

    /// Whether the card runs with these features.
    fn check_running(&self, features: CardFeatures) -> Result<(), CardError> {
        let status = self.common.status();
        let same = status == RUNS && self.common.driver_features() == features.bits();
        if same { Ok(()) } else { Err(CardError::NotRunning { status }) }
    }

    /// Whether the running card has this queue; where to tell it of requests.
    fn find_queue(&self, number: u16, queue: &Queue<'_>) -> Result<Doorbell, CardError> {
        let same = self.common.queue_is(number, QUEUE_SIZE, number, places(queue));
        let doorbell = self.doorbell(number).filter(|_| same);
        doorbell.ok_or(CardError::OtherQueue { queue: number })
    }

    fn mac(&self) -> [u8; 6] {
        core::array::from_fn(|n| self.device.read(n))
    }
}

fn places(queue: &Queue<'_>) -> QueuePlaces {
    let QueueAddresses { descriptors, available, used } = queue.addresses();
    QueuePlaces { descriptors, available, used }
}

/// Where the card is told of new requests of a queue.
#[derive(Clone, Copy, Debug)]
struct Doorbell {
    block: Block,
    offset: usize,
    queue: u16,
}

impl Notify for Doorbell {
    fn notify(&mut self) {
        self.block.write(self.offset, self.queue);
    }
}

/// A queue that is in use.
pub struct Live {
    queue: Queue<'static>,
    doorbell: Doorbell,
}

impl Live {
    /// The queue.
    pub fn queue(&mut self) -> &mut Queue<'static> {
        &mut self.queue
    }

    /// Tells the card to look at the queue, whether or not it wants to know.
    pub fn notify(&mut self) {
        self.doorbell.notify();
    }

    /// Tells the card of new requests if it wants to know.
    pub fn kick(&mut self) {
        self.queue.kick(&mut self.doorbell);
    }
}

/// What runs between two resets.
pub struct Running {
    /// Received frames, by [`hic_nic::token::RxToken`].
    pub rx: Live,
    /// Frames to send, by [`hic_nic::token::TxToken`].
    pub tx: Live,
    /// What was negotiated.
    pub features: CardFeatures,
    /// The station address.
    pub mac: [u8; 6],
    headers: Dma,
}

/// The card.
pub struct Card {
    registers: Registers,
    dma: Dma,
}

impl Card {
    /// A card with mapped registers and memory for its queues: receive queue, transmit queue, headers.
    pub fn new(registers: Registers, dma: Dma) -> Self {
        Self { registers, dma }
    }

    fn part(&self, offset: usize) -> Dma {
        // SAFETY: `setup::dma` checked that the memory holds both queues and the headers.
        Dma { base: unsafe { self.dma.base.add(offset) }, physical: self.dma.physical + offset as u64 }
    }

    /// Stops the card: it touches no memory any more.
    pub fn reset(&self) -> Result<(), CardError> {
        self.registers.common.reset().map_err(CardError::Common)
    }

    /// Starts it after a reset, with empty queues.
    ///
    /// # Safety
    /// The card was reset, and nothing of an earlier start of it is in use: `records` are its queues' records alone.
    pub unsafe fn start(&self, records: *mut [QueueRecord; 2]) -> Result<Running, CardError> {
        let features = self.registers.negotiate()?;
        self.registers.common.mute_configuration();
        // SAFETY: the caller's contract: nobody else uses the records.
        let [rx, tx]: &'static mut [QueueRecord; 2] = unsafe { &mut *records };
        let rx = self.live(RX, RX_CHAIN, features, rx)?;
        let tx = self.live(TX, TX_CHAIN, features, tx)?;
        self.registers.common.set_status(RUNS);
        Ok(self.running(rx, tx, features))
    }

    fn running(&self, rx: Live, tx: Live, features: CardFeatures) -> Running {
        let headers = self.part(2 * queue_bytes(QUEUE_SIZE));
        Running { rx, tx, features, mac: self.registers.mac(), headers }
    }

    /// Goes on with a card that an earlier start left running with these features. Tell it to look at its queues then.
    ///
    /// # Safety
    /// Nothing else uses `records`, which are its queues' records.
    ///
    /// # Errors
    /// [`CardError`]: the card or the records are not as they were left; nothing was changed at the card.
    pub unsafe fn resume(&self, records: *mut [QueueRecord; 2], features: u64) -> Result<Running, CardError> {
        let features = CardFeatures::from_bits_truncate(features);
        self.registers.check_running(features)?;
        // SAFETY: the caller's contract: nobody else uses the records.
        let [rx, tx]: &'static mut [QueueRecord; 2] = unsafe { &mut *records };
        let rx = self.live_again(RX, RX_CHAIN, features, rx)?;
        let tx = self.live_again(TX, TX_CHAIN, features, tx)?;
        Ok(self.running(rx, tx, features))
    }

    fn live_again(
        &self,
        number: u16,
        chain: u16,
        features: CardFeatures,
        record: &'static mut QueueRecord,
    ) -> Result<Live, CardError> {
        let Dma { base, physical } = self.part(usize::from(number) * queue_bytes(QUEUE_SIZE));
        // SAFETY: the part holds a queue of the largest size that a record can have, is mapped for ever, and no other queue is on it
        // (contract of `resume`).
        let queue = unsafe { Queue::resume(base, physical, record) }.map_err(CardError::Record)?;
        if !queue.is_like(QUEUE_SIZE, chain, features.contains(CardFeatures::EVENT_INDEX)) {
            return Err(CardError::OtherQueue { queue: number });
        }
        let doorbell = self.registers.find_queue(number, &queue)?;
        Ok(Live { queue, doorbell })
    }

    fn live(
        &self,
        number: u16,
        chain: u16,
        features: CardFeatures,
        record: &'static mut QueueRecord,
    ) -> Result<Live, CardError> {
        let Dma { base, physical } = self.part(usize::from(number) * queue_bytes(QUEUE_SIZE));
        let event_index = features.contains(CardFeatures::EVENT_INDEX);
        let setup = Setup { memory: base, physical, size: QUEUE_SIZE, chain, event_index };
        // SAFETY: the part holds a queue, is mapped for ever, and no other queue is on it (contract of `start`).
        let queue = unsafe { Queue::create(setup, record) }.map_err(CardError::Record)?;
        let doorbell = self.registers.enable_queue(number, &queue)?;
        Ok(Live { queue, doorbell })
    }
}

impl Running {
    /// Gives the card a buffer to receive into.
    pub fn post_rx(&mut self, token: u32, buffer: NonNull<u8>) -> Result<(), Full> {
        let address = physical(buffer.as_ptr().addr() as u64);
        self.rx.queue.push(token, &[Part { address, len: BUFFER_BYTES as u32, writable: true }])
    }

    /// Gives the card a frame to send. Its header lies where no stack can change it.
    pub fn post_tx(&mut self, token: u32, frame: &Submission) -> Result<(), Full> {
        // Each place of the queue has its header, so the one of the next place is free.
        let place = self.tx.queue.next_place().ok_or(Full)? * HEADER_STRIDE;
        let header = header::encode(frame.offload);
        // SAFETY: `place` is below the number of requests of the queue, for each of which there is a header; the card does not
        // read it, since the request that would use it is free.
        unsafe {
            self.headers.base.add(place).as_ptr().copy_from_nonoverlapping(header.as_ptr(), header.len())
        };
        let head =
            Part { address: self.headers.physical + place as u64, len: header.len() as u32, writable: false };
        let address = physical(frame.at.as_ptr().addr() as u64);
        let body = Part { address, len: frame.len as u32, writable: false };
        self.tx.queue.push(token, &[head, body])
    }
}
