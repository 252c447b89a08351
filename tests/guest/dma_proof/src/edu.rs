//! QEMU's `edu` device (docs/specs/edu.txt of QEMU): a buffer of a page, and DMA between it and any address.

use core::ptr::NonNull;
use hic_control::grants;
use hic_rt::loader::new_slot;
use hic_rt::{Handle, Rights, SELF, StartPage, start, sys};
use hic_stage::{Failure, refused};
use hic_virtio::block::Block;

/// Vendor and device.
pub const IDENTITY: u64 = 0x1234 | 0x11e8 << 16;
/// Bytes of one transfer.
pub const BYTES: u32 = 64;
/// Bytes of the data of an interrupt.
const WORD: u32 = 4;

const BAR: u8 = 0;
const SOURCE: usize = 0x80;
const DESTINATION: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;
const RUN: u32 = 1;
/// From its buffer to memory; otherwise the other way.
const TO_MEMORY: u32 = 2;
/// Address of its buffer, for itself.
const BUFFER: u32 = 0x4_0000;
/// The device takes a tenth of a second for a transfer, and has no MSI-X by which to tell.
const PAUSE: u64 = 2_000_000;
const PATIENCE: u64 = 5_000_000_000;

/// The device.
pub struct Edu {
    /// The capability.
    pub device: Handle,
    registers: Block,
    /// A notification that nobody signals, to pause on.
    silence: Handle,
}

impl Edu {
    /// Maps its registers.
    pub fn open(page: &StartPage) -> Result<Self, Failure> {
        let device = start::require(page, grants::DEVICE).slot;
        let account = start::require(page, grants::ACCOUNT).slot;
        let (window, silence) = (new_slot()?, new_slot()?);
        sys::create_notification(account, silence).map_err(refused("notification"))?;
        sys::device_bar(device, BAR, window, account).map_err(refused("registers"))?;
        sys::device_master(device, true).map_err(refused("memory decoding"))?;
        let at =
            sys::mmio_map(SELF, window, Rights::READ | Rights::WRITE).map_err(refused("map registers"))?;
        let at = NonNull::new(at as *mut u8).ok_or(Failure::Late("registers"))?;
        // SAFETY: the window is mapped for as long as this program runs, and only this driver uses it.
        Ok(Self { device, registers: unsafe { Block::new(at, 0x100) }, silence })
    }

    /// Tells the device to read memory into its buffer.
    pub fn read(&self, address: u64) -> Result<(), Failure> {
        self.transfer(address as u32, BUFFER, BYTES, RUN)
    }

    /// Tells the device to write its buffer to memory.
    pub fn write(&self, address: u64) -> Result<(), Failure> {
        self.transfer(BUFFER, address as u32, BYTES, RUN | TO_MEMORY)
    }

    /// Tells the device to write the first word of its buffer, as a message that raises an interrupt.
    pub fn signal(&self, address: u64) -> Result<(), Failure> {
        self.transfer(BUFFER, address as u32, WORD, RUN | TO_MEMORY)
    }

    fn transfer(&self, from: u32, to: u32, bytes: u32, command: u32) -> Result<(), Failure> {
        // A refusal takes it off the bus; a driver that does not give up puts it back.
        sys::device_master(self.device, true).map_err(refused("bus master"))?;
        self.registers.write(SOURCE, from);
        self.registers.write(DESTINATION, to);
        self.registers.write(COUNT, bytes);
        self.registers.write(COMMAND, command);
        let end = sys::now() + PATIENCE;
        while self.registers.read::<u32>(COMMAND) & RUN != 0 {
            if sys::now() > end {
                return Err(Failure::Late("a transfer of the device"));
            }
            let _ = sys::wait(self.silence, sys::now() + PAUSE);
        }
        Ok(())
    }
}
