//! What is measured, in the order of the report.

use crate::crowd::Crowd;
use crate::meter::{Meter, nothing};
use crate::{capabilities, growth, interrupts, lives, mapped, messages, pages, switching};
use hic_abi::Handle;
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{StartPage, start, sys};
use hic_stage::{Casting, Image, own_image};

/// What every measurement needs.
pub struct Stage {
    /// The clock.
    pub meter: Meter,
    /// Slot of the account that pays.
    pub account: Handle,
    /// The image, to make partners of.
    pub image: Image,
    /// The start page.
    pub page: &'static StartPage,
}

/// Measures everything.
pub fn run(page: &'static StartPage) -> Result<(), LoadError> {
    let account = start::require(page, "account").slot;
    let stage = Stage { meter: Meter::calibrate(), account, image: own_image(page)?, page };
    let mut crowd = Crowd::gather(account)?;
    stage.meter.measure("null_syscall", nothing, sys::null)?;
    messages::run(&stage)?;
    capabilities::run(&stage)?;
    switching::run(&stage, &mut crowd)?;
    pages::run(&stage)?;
    lives::run(&stage)?;
    interrupts::run(&stage)?;
    mapped::run(&stage)?;
    growth::run(&stage)
}

impl Stage {
    /// How a partner is made: an equal of the sandbox that measures.
    pub fn partner(&self, name: &'static str) -> Casting {
        Casting { name, account: self.account, priority: crate::director::PRIORITY, slots: 64, heap_pages: 0 }
    }

    /// A new endpoint.
    pub fn endpoint(&self) -> Result<Handle, LoadError> {
        let slot = new_slot()?;
        sys::create_endpoint(self.account, slot).map_err(at("endpoint"))?;
        Ok(slot)
    }

    /// A new notification.
    pub fn notification(&self) -> Result<Handle, LoadError> {
        let slot = new_slot()?;
        sys::create_notification(self.account, slot).map_err(at("notification"))?;
        Ok(slot)
    }
}
