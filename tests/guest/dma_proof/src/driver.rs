//! The hostile driver: it tells its device to read and to write each target, and to raise an interrupt that is not its own.

use crate::board::{BLANK, Board, Signal, Target};
use crate::director::{BOARD, MAPPED, UNMAPPED};
use crate::edu::Edu;
use core::sync::atomic::Ordering::Relaxed;
use hic_control::grants;
use hic_rt::region::map_for_dma;
use hic_rt::{StartPage, log, start, sys};
use hic_stage::{Failure, refused};

/// Offsets in the mapped region: from where the device's buffer is filled, and where it is emptied. The target itself is at 0.
const SOURCE: u64 = 1024;
const SINK: u64 = 2048;

/// Exit code of a driver that could not try.
const FAILED: u64 = 1;

/// Tries everything; 0 when all was tried, whatever came of it.
pub fn run(page: &'static StartPage) -> u64 {
    match try_all(page) {
        Ok(()) => 0,
        Err(failure) => {
            log!("{failure}");
            FAILED
        }
    }
}

fn try_all(page: &'static StartPage) -> Result<(), Failure> {
    // SAFETY: the director shares the board's region with this program for its whole life; it is made of atomic words.
    let board = unsafe { &*(start::require(page, BOARD).address as *const Board) };
    let edu = Edu::open(page)?;
    let (mapped, unmapped) = (start::require(page, MAPPED), start::require(page, UNMAPPED));
    for region in [mapped, unmapped] {
        map_for_dma(edu.device, region.slot).map_err(refused("map into the device"))?;
    }
    let window = Window { edu: &edu, address: mapped.address };
    // Whatever is remembered of a region that is used is remembered of this one.
    edu.read(physical(unmapped.address))?;
    sys::region_unmap(edu.device, unmapped.slot).map_err(refused("unmap from the device"))?;
    for target in Target::ALL {
        let address = board.addresses[target as usize].load(Relaxed);
        window.fill(BLANK)?;
        edu.read(address)?;
        board.seen[target as usize].store(window.look()?, Relaxed);
        if target == Target::Kernel && board.spare_kernel.load(Relaxed) != 0 {
            continue;
        }
        window.fill(target.pattern())?;
        edu.write(address)?;
    }
    raise_all(page, board, &window)
}

/// Tries to raise an interrupt of another line, and looks whether that one came.
fn raise_all(page: &'static StartPage, board: &Board, window: &Window<'_>) -> Result<(), Failure> {
    let irq = start::require(page, grants::IRQ).slot;
    let count = || sys::irq_count(irq).map_err(refused("count of interrupts"));
    let spare = board.spare_processor.load(Relaxed) != 0;
    for signal in Signal::ALL.into_iter().filter(|signal| !spare || signal.is_harmless()) {
        let (address, data) = signal.message(!spare);
        window.fill(data.into())?;
        let before = count()?;
        window.edu.signal(address)?;
        board.raised[signal as usize].store(count()? - before, Relaxed);
    }
    Ok(())
}

/// Where memory at this address is for a device.
pub const fn physical(address: u64) -> u64 {
    address - hic_abi::USER_BASE
}

/// The region by which the driver and its device may exchange what they have.
struct Window<'a> {
    edu: &'a Edu,
    address: u64,
}

impl Window<'_> {
    /// Puts a word into the device's buffer.
    fn fill(&self, word: u64) -> Result<(), Failure> {
        let at = (self.address + SOURCE) as *mut u64;
        // SAFETY: inside the mapped region, which is a page; aligned; nobody else uses this part of it.
        unsafe { at.write_volatile(word) };
        self.edu.read(physical(self.address + SOURCE))
    }

    /// The first word of the device's buffer.
    fn look(&self) -> Result<u64, Failure> {
        self.edu.write(physical(self.address + SINK))?;
        let at = (self.address + SINK) as *const u64;
        // SAFETY: as in `fill`.
        Ok(unsafe { at.read_volatile() })
    }
}
