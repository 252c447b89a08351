//! In which order a set of modules is started: what is called before what calls.
//!
//! Synchronous calls go only down the fixed order of services, so a need must be met by a strictly lower level. That
//! rules out a cycle of calls and with it the deadlock it would be; a cycle is still told apart from a mere wrong level,
//! since the remedy differs. Pure: decides, starts nothing.

use core::borrow::Borrow;
use core::fmt;

use super::{List, Manifest, Name};

/// Most modules in one set: as many as the boot archive can hold.
pub const MAX_MODULES: usize = crate::archive::MAX_ENTRIES as usize;

/// Indices into the given set, in the order in which to start.
pub type StartOrder = List<usize, MAX_MODULES>;

/// Why a set of modules cannot be started. Modules are given by name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line and its Display name")]
pub enum OrderError {
    /// More than [`MAX_MODULES`].
    TooMany { count: usize },
    /// Two modules have the same name, or provide the same service.
    Duplicate { name: Name },
    /// A service that is needed and not optional, and that no module provides.
    Missing { module: Name, service: Name },
    /// The provider needs, directly or through others, the module that needs it.
    Cycle { module: Name, service: Name },
    /// The provider's level is not below that of the module that needs it.
    NotBelow { module: Name, level: u8, service: Name, service_level: u8 },
    /// The provider's priority is below that of the module that waits for it.
    Inverted { module: Name, priority: u8, service: Name, service_priority: u8 },
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { count } => write!(f, "{count} modules, the limit is {MAX_MODULES}"),
            Self::Duplicate { name } => {
                write!(f, "\"{name}\" is the name or service of two modules; start only one of them")
            }
            Self::Missing { module, service } => {
                write!(
                    f,
                    "{module} needs \"{service}\", which no module provides; add one or make the need optional"
                )
            }
            Self::Cycle { module, service } => write!(
                f,
                "{module} needs \"{service}\", whose provider in turn needs {module}: calls would wait for each \
                 other; turn one direction into a notification"
            ),
            Self::NotBelow { module, level, service, service_level } => write!(
                f,
                "{module} (order {level}) needs \"{service}\" (order {service_level}): calls go only to a lower order"
            ),
            Self::Inverted { module, priority, service, service_priority } => write!(
                f,
                "{module} (priority {priority}) needs \"{service}\" (priority {service_priority}): whoever runs between the two \
                 would keep it waiting; raise the provider or lower the module"
            ),
        }
    }
}

impl core::error::Error for OrderError {}

/// The order in which to start `modules`: by level, and within a level as given.
///
/// Each module's needs are started before it. An optional need that nobody provides is passed over; one that is
/// provided must be lower, like any other.
pub fn start_order<M: Borrow<Manifest>>(modules: &[M]) -> Result<StartOrder, OrderError> {
    if modules.len() > MAX_MODULES {
        return Err(OrderError::TooMany { count: modules.len() });
    }
    check_unique(modules)?;
    for module in modules {
        check_needs(modules, module.borrow())?;
    }
    let mut order: StartOrder = (0..modules.len()).collect();
    // The index as second key keeps the given order within a level.
    order.sort_unstable_by_key(|&index| (modules.get(index).map(|m| m.borrow().order), index));
    Ok(order)
}

fn check_unique<M: Borrow<Manifest>>(modules: &[M]) -> Result<(), OrderError> {
    for (index, module) in modules.iter().enumerate() {
        let module = module.borrow();
        for earlier in modules.iter().take(index).map(Borrow::borrow) {
            if earlier.name == module.name {
                return Err(OrderError::Duplicate { name: module.name.clone() });
            }
            if let Some(service) = module.provides.iter().find(|service| earlier.provides_service(service)) {
                return Err(OrderError::Duplicate { name: service.clone() });
            }
        }
    }
    Ok(())
}

fn check_needs<M: Borrow<Manifest>>(modules: &[M], module: &Manifest) -> Result<(), OrderError> {
    for need in &module.needs {
        let (name, service) = (module.name.clone(), need.service.clone());
        let Some(provider) = provider_of(modules, &service) else {
            if need.optional {
                continue;
            }
            return Err(OrderError::Missing { module: name, service });
        };
        if calls(modules, provider, module) {
            return Err(OrderError::Cycle { module: name, service });
        }
        if provider.order >= module.order {
            return Err(OrderError::NotBelow {
                module: name,
                level: module.order,
                service,
                service_level: provider.order,
            });
        }
        if provider.priority < module.priority {
            return Err(OrderError::Inverted {
                module: name,
                priority: module.priority,
                service,
                service_priority: provider.priority,
            });
        }
    }
    Ok(())
}

fn provider_of<'m, M: Borrow<Manifest>>(modules: &'m [M], service: &str) -> Option<&'m Manifest> {
    modules.iter().map(Borrow::borrow).find(|module| module.provides_service(service))
}

/// Whether `from` is `to`, or needs it directly or through others. Each module is visited once.
fn calls<M: Borrow<Manifest>>(modules: &[M], from: &Manifest, to: &Manifest) -> bool {
    let mut reached: List<&Manifest, MAX_MODULES> = List::new();
    let _ = reached.push(from);
    let mut next = 0;
    while let Some(&module) = reached.get(next) {
        if module.name == to.name {
            return true;
        }
        next += 1;
        for provider in module.needs.iter().filter_map(|need| provider_of(modules, &need.service)) {
            if !reached.iter().any(|known| known.name == provider.name) {
                // Cannot be full: there are at most MAX_MODULES distinct modules.
                let _ = reached.push(provider);
            }
        }
    }
    false
}
