//! Whether a module may join those that run, or leave them, and what a boot does with a set that does not fit together.
//!
//! Facts come in, a refusal that an operator can act on comes out. Nothing is started or ended here.

use alloc::vec::Vec;
use core::fmt;
use hic_hicmod::manifest::{self, List, MAX_MODULES, Manifest, Name, OrderError};
use hic_update::processor::{self, Short};

/// What the system cannot do without, and cannot bring back once it is gone.
const ESSENTIAL: [(&str, &str); 6] = [
    ("keeper", "keeps the module manager and the monitor"),
    ("module-manager", "manages all others"),
    ("monitor", "watches all others"),
    ("verifier", "verifies modules"),
    ("storage", "keeps what is installed"),
    ("console", "takes your commands"),
];

/// Why a module is not installed or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It does not fit those that run.
    Order(OrderError),
    /// Less memory is free than it takes.
    Memory {
        /// Bytes free.
        free: u64,
        /// Bytes wanted.
        wanted: u64,
    },
    /// Less of the processor is free than it is to be guaranteed; the manager says who holds how much.
    Processor(Short),
    /// The system needs it.
    Essential {
        /// For what.
        purpose: &'static str,
    },
    /// Others need it.
    Needed {
        /// Who.
        by: Vec<Name>,
    },
    /// It drives a device, which cannot be taken back from it while the system runs.
    HoldsDevice,
}

impl Refused {
    /// The stable code that the console prints: `error[CODE]`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Order(error) => order_code(error),
            Self::Memory { .. } => "memory",
            Self::Processor(_) => "processor",
            Self::Essential { .. } => "essential",
            Self::Needed { .. } => "needed",
            Self::HoldsDevice => "holds-device",
        }
    }
}

const fn order_code(error: &OrderError) -> &'static str {
    match error {
        OrderError::TooMany { .. } => "too-many-modules",
        OrderError::Duplicate { .. } => "service-taken",
        OrderError::Missing { .. } => "missing-need",
        OrderError::Cycle { .. } => "cycle",
        OrderError::NotBelow { .. } => "wrong-order",
        OrderError::Inverted { .. } => "wrong-priority",
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1 << 10;
        match self {
            Self::Order(error) => error.fmt(f),
            Self::Memory { free, wanted } => write!(
                f,
                "{} KiB of memory are short: {} KiB are free, {} KiB are wanted; give the machine more, or remove something",
                wanted.saturating_sub(*free).div_ceil(KIB),
                free / KIB,
                wanted.div_ceil(KIB)
            ),
            Self::Processor(short) => short.fmt(f),
            Self::Essential { purpose } => write!(f, "the system cannot do without it: it {purpose}"),
            Self::Needed { by } => {
                f.write_str("it is needed by ")?;
                for (n, name) in by.iter().enumerate() {
                    write!(f, "{}{name}", if n == 0 { "" } else { ", " })?;
                }
                f.write_str("; remove them first")
            }
            Self::HoldsDevice => f.write_str(
                "it drives a device, which is not taken back from it while the system runs; leave it out of the boot archive",
            ),
        }
    }
}

impl core::error::Error for Refused {}

/// What those that run leave over, and what a module takes of it.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of memory that are free.
    pub free_memory: u64,
    /// Bytes that it takes.
    pub wanted_memory: u64,
    /// Thousandths of the processor that are guaranteed to nobody.
    pub free_processor: u64,
    /// Those that it is to be guaranteed.
    pub guarantee: u64,
}

/// Whether `candidate` can be started beside those that run.
///
/// # Errors
/// The first reason against it.
pub fn may_join(running: &[&Manifest], candidate: &Manifest, room: &Room) -> Result<(), Refused> {
    let mut all = List::<&Manifest, MAX_MODULES>::new();
    for module in running.iter().copied().chain([candidate]) {
        let count = running.len() + 1;
        all.push(module).map_err(|_| Refused::Order(OrderError::TooMany { count }))?;
    }
    manifest::start_order(&all).map_err(Refused::Order)?;
    let (free, wanted) = (room.free_memory, room.wanted_memory);
    if free < wanted {
        return Err(Refused::Memory { free, wanted });
    }
    processor::room(room.free_processor, room.guarantee).map_err(Refused::Processor)
}

/// Whether the service `name` can be ended while the others go on.
///
/// # Errors
/// [`Refused::Essential`], [`Refused::Needed`], [`Refused::HoldsDevice`].
pub fn may_leave(running: &[&Manifest], name: &str) -> Result<(), Refused> {
    if let Some((_, purpose)) = ESSENTIAL.into_iter().find(|(essential, _)| *essential == name) {
        return Err(Refused::Essential { purpose });
    }
    let Some(leaving) = running.iter().find(|module| module.name == name) else { return Ok(()) };
    let needs_it = |module: &&&Manifest| {
        module.needs.iter().any(|need| !need.optional && leaving.provides_service(&need.service))
    };
    let by: Vec<Name> = running.iter().filter(needs_it).map(|module| module.name.clone()).collect();
    if !by.is_empty() {
        return Err(Refused::Needed { by });
    }
    if leaving.devices.is_empty() { Ok(()) } else { Err(Refused::HoldsDevice) }
}

/// The order in which a boot starts these modules, and those that it must leave out so that the others have an order at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootOrder {
    /// Indices, in the order in which to start.
    pub order: Vec<usize>,
    /// Indices, each with the reason.
    pub left_out: Vec<(usize, OrderError)>,
}

/// Orders a boot. What was installed or removed by an operator, and what another boot archive brings, need not fit together; then whoever does not
/// fit is left out, and whoever needs that one after it.
#[must_use]
pub fn boot_order(modules: &[&Manifest]) -> BootOrder {
    let mut kept: Vec<usize> = (0..modules.len()).take(MAX_MODULES).collect();
    let mut left_out = Vec::new();
    loop {
        let set: Vec<&Manifest> = kept.iter().filter_map(|&at| modules.get(at).copied()).collect();
        let error = match manifest::start_order(&set) {
            Ok(order) => {
                let order = order.into_iter().filter_map(|at| kept.get(at).copied()).collect();
                return BootOrder { order, left_out };
            }
            Err(error) => error,
        };
        // The later of two with one name: what was installed comes after what the archive brings.
        let is_it = |module: &&Manifest| match &error {
            OrderError::TooMany { .. } => true,
            OrderError::Duplicate { name } => module.name == *name || module.provides_service(name),
            OrderError::Missing { module: name, .. }
            | OrderError::Cycle { module: name, .. }
            | OrderError::NotBelow { module: name, .. }
            | OrderError::Inverted { module: name, .. } => module.name == *name,
        };
        let Some(at) = set.iter().rposition(is_it) else {
            return BootOrder { left_out, ..BootOrder::default() };
        };
        left_out.push((kept.remove(at), error));
    }
}

#[cfg(test)]
#[path = "install_tests.rs"]
mod tests;
