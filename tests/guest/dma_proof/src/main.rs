//! What a hostile driver reaches through its device: QEMU's `edu` copies between its own buffer and any address that it is told.
//!
//! A driver that holds this device and two regions tells it to read and to write its own region that is mapped in the device (the control:
//! this works), one that was and is not any more, one that never was, the kernel, and the memory of another sandbox. With an IOMMU nothing
//! of the last four arrives in either direction, and each try is recorded with its source and its address; without one all of them succeed, which
//! shows that the test can fail. The same with an interrupt of another line, which it tries to raise by a write to the local APIC's address.
//!
//! | module | role |
//! | --- | --- |
//! | [`director`] | makes the driver and its victim, and looks at what became of them |
//! | [`driver`] | the hostile driver |
//! | [`edu`] | its device |
//! | [`board`] | what is tried, and what both know |
#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod director;
mod driver;
mod edu;

use hic_abi::name_str;
use hic_rt::StartPage;
use hic_stage::{DIRECTOR, conclude};

hic_rt::entry!(main);

fn main(page: &'static StartPage) -> u64 {
    match name_str(&page.name) {
        DIRECTOR => conclude(page, director::run(page)),
        director::DRIVER => driver::run(page),
        _ => director::wait(page),
    }
}
