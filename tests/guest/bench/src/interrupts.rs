//! From an interrupt to the user driver that waits for it.
//!
//! The first serial port raises its interrupt at the instruction that asks for "transmitter empty", since it is. So the way from that instruction to the
//! driver is what passes between two readings of the clock, less what the same write costs when it raises nothing.

use crate::meter::{clock, nothing};
use crate::partners::DRIVER;
use crate::suite::Stage;
use alloc::vec::Vec;
use bench::median;
use core::sync::atomic::{AtomicU64, Ordering};
use hic_abi::{FOREVER, ObjectType, PAGE_SIZE, Rights, SELF};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{StartPage, start, sys};
use hic_stage::{Actor, Casting};

/// Registers of the first serial port (16550 data sheet).
const INTERRUPT_ENABLE: u16 = 0x3f9;
const INTERRUPT_IDENTIFICATION: u16 = 0x3fa;
/// Enables "transmitter empty".
const TRANSMITTER_EMPTY: u32 = 2;
/// Its interrupt line.
pub const LINE: u64 = 4;
const SAMPLES: usize = 101;

/// Measures it.
pub fn run(stage: &Stage) -> Result<(), LoadError> {
    let ports = start::require(stage.page, "io-ports").slot;
    let off = || sys::io_write(ports, INTERRUPT_ENABLE, 1, 0);
    let write = stage.meter.sample(nothing, off).map_err(at("io_write"))?;
    stage.meter.print("io_write", write);
    let page = new_slot()?;
    let address = sys::create_region(stage.account, page, PAGE_SIZE).map_err(at("page"))?;
    sys::region_map(SELF, page, Rights::READ | Rights::WRITE).map_err(at("map the page"))?;
    let casting = Casting {
        name: DRIVER,
        account: stage.account,
        priority: crate::director::PRIORITY + 1,
        slots: 64,
        heap_pages: 0,
    };
    let mut driver = Actor::create(stage.image, &casting)?;
    let (irq, notification) = (start::require(stage.page, "irq").slot, stage.notification()?);
    driver.grant("io-ports", ports, ObjectType::IoPorts, Rights::all(), (0, 0))?;
    driver.grant("irq", irq, ObjectType::Irq, Rights::all(), (0, 0))?;
    driver.grant("wake", notification, ObjectType::Notification, Rights::all(), (0, 0))?;
    driver.share("page", page)?;
    driver.start()?;
    // SAFETY: the page is mapped here and in the driver, both only load and store this one aligned word, and it stays mapped.
    let woken = unsafe { &*(address as *const AtomicU64) };
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let begin = clock();
        sys::io_write(ports, INTERRUPT_ENABLE, 1, TRANSMITTER_EMPTY).map_err(at("raise"))?;
        // The driver is more important: it has run by now.
        samples.push(woken.load(Ordering::SeqCst).saturating_sub(begin).saturating_sub(write));
    }
    stage.meter.print("interrupt_to_driver", median(&mut samples));
    driver.destroy()
}

/// The driver: notes when it is woken, and makes the port quiet again.
pub fn drive(page: &'static StartPage) -> u64 {
    let slot = |name| start::require(page, name).slot;
    let (ports, irq, wake) = (slot("io-ports"), slot("irq"), slot("wake"));
    let address = start::require(page, "page").address;
    // SAFETY: as in `run`.
    let woken = unsafe { &*(address as *const AtomicU64) };
    let rounds = || {
        sys::irq_bind(irq, wake, 1)?;
        loop {
            sys::wait(wake, FOREVER)?;
            woken.store(clock(), Ordering::SeqCst);
            sys::io_write(ports, INTERRUPT_ENABLE, 1, 0)?;
            sys::io_read(ports, INTERRUPT_IDENTIFICATION, 1)?;
            sys::irq_count(irq)?;
        }
    };
    let ended: Result<(), hic_abi::Error> = rounds();
    ended.map_or_else(hic_abi::Error::code, |()| 0)
}
