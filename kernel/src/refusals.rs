//! What the IOMMU refused: who it was, what it wanted, and how often that is said.
//!
//! A device that is refused leaves the bus until its driver puts it back, so it costs its driver a system call each time. That a driver
//! does so in a loop must not push everything else out of the log and the audit ring: beyond a few in a second, refusals are only counted.

use crate::audit::Entry;
use crate::iommu::{INTERRUPT, Refusal};
use crate::kernel::Kernel;
use crate::machine::Machine;
use core::fmt::Write;
use hic_abi::audit::Event;
use hic_abi::log::Text;
use hic_abi::{name_bytes, name_str};

/// Refusals that one entry into the kernel reports.
const AT_ONCE: usize = 64;
/// Refusals that are recorded and said in each [`WINDOW`].
const SAID: u32 = 16;
/// Nanoseconds.
const WINDOW: u64 = 1_000_000_000;

/// How often refusals are said.
#[derive(Debug, Default)]
pub struct Restraint {
    window: u64,
    said: u32,
    unsaid: u64,
}

impl Restraint {
    /// Whether one may be said now; if so, how many before it were not.
    pub fn may_say(&mut self, now: u64) -> Option<u64> {
        if now.saturating_sub(self.window) >= WINDOW {
            (self.window, self.said) = (now, 0);
        }
        if self.said == SAID {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(core::mem::take(&mut self.unsaid))
    }
}

impl<M: Machine> Kernel<M> {
    /// The IOMMU refused something. It says so once, until all that it has recorded is taken (VT-d specification, 10.4.9): what one entry
    /// cannot take, others have to.
    #[cold]
    pub(crate) fn refusals(&mut self) {
        for _ in 0..AT_ONCE {
            let refusal = self.iommu.as_ref().and_then(|iommu| iommu.take_refusal(&mut self.machine));
            self.unread = refusal.is_some();
            let Some(refusal) = refusal else { return };
            self.refused(refusal);
        }
        self.look_after_remains();
    }

    fn refused(&mut self, refusal: Refusal) {
        self.counters.dma_faults += 1;
        let known = |d: &u32| self.devices.at(*d).is_some_and(|device| device.function == refusal.source);
        let device = (0..self.devices.touched()).find(known);
        if let Some(device) = device {
            self.set_master(device, false);
        }
        let nanos = self.machine.now();
        let Some(unsaid) = self.restraint.may_say(nanos) else { return };
        let Refusal { source, wish, what: b, reason } = refusal;
        let event = if wish == INTERRUPT { Event::InterruptRefused } else { Event::DmaRefused };
        let mapping = device.and_then(|device| self.devices[device].mappings.first());
        let driver = mapping.map(|mapping| &self.sandboxes[self.mappings[mapping].holder]);
        let (subject, name) =
            driver.map_or((0, "no driver"), |driver| (driver.serial, name_str(&driver.name)));
        let a = u64::from(source) | u64::from(reason) << 16 | unsaid << 32;
        self.audit.append(&Entry { nanos, actor: 0, subject, event, a, b }, &name_bytes(wish));
        let (bus, slot, function) = (source >> 8, source >> 3 & 0x1f, source & 7);
        let id = device.map_or(0, |device| self.devices[device].info.id);
        let (vendor, model) = (id & 0xffff, id >> 16 & 0xffff);
        let state = if device.is_some() { "off the bus" } else { "not known here" };
        let mut line = Text::<200>::new();
        let _ = write!(
            line,
            "IOMMU: {bus:02x}:{slot:02x}.{function} ({vendor:04x}:{model:04x}, {name}) is {state}: refused its {wish} at {b:#x}"
        );
        if unsaid != 0 {
            let _ = write!(line, ", and {unsaid} refusals before");
        }
        self.log_line("core-0", line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_few_in_a_second_is_counted_and_said_with_the_next_that_may_be() {
        let mut restraint = Restraint::default();
        let start = 5 * WINDOW;
        let said = (0..1000).filter(|n| restraint.may_say(start + n).is_some()).count();
        assert_eq!(said as u32, SAID);
        assert_eq!(restraint.may_say(start + WINDOW - 1), None);
        assert_eq!(restraint.may_say(start + WINDOW), Some(1000 - u64::from(SAID) + 1));
        assert_eq!(restraint.may_say(start + WINDOW), Some(0));
    }
}
