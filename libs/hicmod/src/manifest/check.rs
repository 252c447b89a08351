//! Whether a manifest makes sense in itself. Run by the tool when a module is packed and by the loader when it is
//! read, since only the second of them is trusted.

use core::ops::RangeInclusive;

use super::{Authority, CpuPolicy, IoPortRange, Kind, Manifest, ManifestError, Name, Restart};
use crate::name::is_valid_name;

/// Highest priority.
pub const MAX_PRIORITY: u8 = 31;
/// Highest level in the order of services.
pub const MAX_ORDER: u8 = 31;
/// Shortest period of a budget, microseconds: Core-0 refuses a shorter one, which would be lost in timer granularity.
pub const MIN_PERIOD_US: u32 = 1000;
/// Longest period of a budget, microseconds: a guarantee that comes later than a second is none.
pub const MAX_PERIOD_US: u32 = 1_000_000;
/// Largest stack, pages (1 MiB).
pub const MAX_STACK_PAGES: u32 = 256;
/// Largest heap, pages (256 MiB).
pub const MAX_HEAP_PAGES: u32 = 65_536;
/// Largest state region or DMA memory, pages (256 MiB).
pub const MAX_REGION_PAGES: u32 = 65_536;
/// Smallest capability space, slots: what every instance is started with fits.
pub const MIN_CSPACE_SLOTS: u32 = 16;
/// Largest capability space, slots.
pub const MAX_CSPACE_SLOTS: u32 = 65_536;

/// The legacy interrupts of a PC; 2 is the cascade and never reaches a handler (Intel 8259A).
const LEGACY_IRQS: RangeInclusive<u8> = 0..=15;
const CASCADE_IRQ: u8 = 2;
/// Longest window of a restart policy, seconds: a day.
const MAX_WINDOW_S: u32 = 86_400;

type Check = Result<(), ManifestError>;

impl Manifest {
    /// Checks every field; the error names the first at fault and what would be right.
    pub fn check(&self) -> Check {
        name("name", &self.name)?;
        if self.summary.chars().any(char::is_control) {
            return Err(ManifestError::Summary);
        }
        self.check_scheduling()?;
        self.check_memory()?;
        self.check_services()?;
        self.check_authority()?;
        self.check_hardware()?;
        self.check_release()?;
        self.update.as_ref().map_or(Ok(()), |update| update.check(self.version))
    }

    fn check_scheduling(&self) -> Check {
        in_range("order", self.order, 0, MAX_ORDER)?;
        in_range("priority", self.priority, 0, MAX_PRIORITY)?;
        if let Restart::Always { max, window_s } = self.restart {
            in_range("restart.always.max", max, 1, u16::MAX)?;
            in_range("restart.always.window_s", window_s, 1, MAX_WINDOW_S)?;
        }
        let (budget_us, period_us) = (self.budget_us, self.period_us);
        if (budget_us, period_us) == (0, 0) {
            return match self.cpu {
                CpuPolicy::Hard => Err(ManifestError::HardWithoutBudget),
                CpuPolicy::Conserving => Ok(()),
            };
        }
        if !(1..=period_us).contains(&budget_us) {
            return Err(ManifestError::Budget { budget_us, period_us });
        }
        in_range("period_us", period_us, MIN_PERIOD_US, MAX_PERIOD_US)
    }

    fn check_memory(&self) -> Check {
        in_range("stack_pages", self.stack_pages, 1, MAX_STACK_PAGES)?;
        in_range("heap_pages", self.heap_pages, 0, MAX_HEAP_PAGES)?;
        in_range("cspace_slots", self.cspace_slots, MIN_CSPACE_SLOTS, MAX_CSPACE_SLOTS)?;
        for region in &self.state_regions {
            in_range("state_regions.pages", region.pages, 1, MAX_REGION_PAGES)?;
        }
        names("state_regions.name", || self.state_regions.iter().map(|region| &region.name))
    }

    fn check_services(&self) -> Check {
        names("provides", || self.provides.iter())?;
        names("needs.service", || self.needs.iter().map(|need| &need.service))
    }

    fn check_authority(&self) -> Check {
        for (index, &authority) in self.authority.iter().enumerate() {
            if self.authority.iter().take(index).any(|&earlier| earlier == authority) {
                return Err(ManifestError::DuplicateAuthority { authority });
            }
        }
        let unasked = |authority: &&Authority| !self.has_authority(**authority);
        if let Some(&authority) = self.optional_authority.iter().find(unasked) {
            return Err(ManifestError::OptionalAuthority { authority });
        }
        let over_others = [Authority::Manage, Authority::Power, Authority::Audit];
        if self.kind == Kind::Application && over_others.iter().any(|&a| self.has_authority(a)) {
            return Err(ManifestError::NotForKind {
                field: "authority: manage, power and audit",
                allowed: "\"service\" or \"driver\"",
            });
        }
        Ok(())
    }

    fn check_hardware(&self) -> Check {
        if self.kind != Kind::Driver {
            let uses = [
                ("devices", self.devices.is_empty()),
                ("ioports", self.ioports.is_empty()),
                ("irqs", self.irqs.is_empty()),
            ];
            if let Some(&(field, _)) = uses.iter().find(|(_, unused)| !unused) {
                return Err(ManifestError::NotForKind { field, allowed: "\"driver\"" });
            }
        }
        for device in &self.devices {
            if device.ids.is_empty() {
                return Err(ManifestError::NoDeviceId);
            }
            in_range("devices.dma_pages", device.dma_pages, 0, MAX_REGION_PAGES)?;
        }
        self.check_irqs()?;
        self.check_ioports()
    }

    fn check_irqs(&self) -> Check {
        for (index, &irq) in self.irqs.iter().enumerate() {
            in_range("irqs", irq, *LEGACY_IRQS.start(), *LEGACY_IRQS.end())?;
            if irq == CASCADE_IRQ {
                return Err(ManifestError::CascadeIrq);
            }
            if self.irqs.iter().take(index).any(|&earlier| earlier == irq) {
                return Err(ManifestError::DuplicateNumber { field: "irqs", value: u64::from(irq) });
            }
        }
        Ok(())
    }

    fn check_ioports(&self) -> Check {
        for (index, &IoPortRange { base, len }) in self.ioports.iter().enumerate() {
            if len == 0 || base.checked_add(len - 1).is_none() {
                return Err(ManifestError::IoPorts { base, len });
            }
            let range = |r: &IoPortRange| u32::from(r.base)..u32::from(r.base) + u32::from(r.len);
            let this = range(&IoPortRange { base, len });
            let overlaps = |other: &IoPortRange| {
                let other = range(other);
                this.start < other.end && other.start < this.end
            };
            if self.ioports.iter().take(index).any(overlaps) {
                return Err(ManifestError::DuplicateNumber { field: "ioports", value: u64::from(base) });
            }
        }
        Ok(())
    }
}

pub(super) fn name(field: &'static str, value: &Name) -> Check {
    if is_valid_name(value) {
        Ok(())
    } else {
        Err(ManifestError::InvalidName { field, value: value.clone() })
    }
}

/// Each name valid and none twice. Quadratic, over at most 16.
pub(super) fn names<'a, I: Iterator<Item = &'a Name>>(field: &'static str, list: impl Fn() -> I) -> Check {
    for (index, value) in list().enumerate() {
        name(field, value)?;
        if list().take(index).any(|earlier| earlier == value) {
            return Err(ManifestError::Duplicate { field, value: value.clone() });
        }
    }
    Ok(())
}

pub(super) fn in_range<T: Into<u64>>(field: &'static str, value: T, min: T, max: T) -> Check {
    let (value, min, max) = (value.into(), min.into(), max.into());
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ManifestError::OutOfRange { field, value, min, max })
    }
}
