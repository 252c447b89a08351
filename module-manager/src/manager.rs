//! The manager's state: the journal, the modules of the boot archive, and what it may hand out.

use crate::exchange::Exchanging;
use crate::modules::{Loaded, TrustRoot};
use crate::network::Network;
use crate::repository::Repository;
use crate::tasks::{Missing, Task};
use crate::update::Running;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use hic_abi::{Error, Handle};
use hic_hicmod::{ArchiveError, ModuleError};
use hic_policy::Policy;
use hic_rt::StartPage;
use hic_rt::loader::LoadError;
use hic_update::processor::Short;
use module_manager::journal::Journal;

/// Why a module could not be started, or the manager itself.
#[derive(Debug)]
pub enum StartError {
    /// The boot archive.
    Archive(ArchiveError),
    /// A module in it.
    Module(ModuleError),
    /// Making or starting the instance.
    Load(LoadError),
    /// The manifest names a device that this machine lacks or that is given away.
    NoDevice,
    /// The manifest names an interrupt line or authority that the manager does not hold.
    NoAuthority(&'static str),
    /// The manifest asks for more than a journal record holds.
    TooMuch(&'static str),
    /// There is no verified module of this name and version.
    NoModule,
    /// The policy denies something that the module cannot do without.
    Denied(String),
    /// More of the processor is guaranteed to others than leaves room for it.
    Processor(Short),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(error) => write!(f, "boot archive: {error}"),
            Self::Module(error) => write!(f, "module: {error}"),
            Self::Load(error) => write!(f, "{error}"),
            Self::NoDevice => f.write_str("no such device is free on this machine"),
            Self::NoAuthority(what) => write!(f, "the module manager holds no {what} to grant"),
            Self::TooMuch(what) => write!(f, "more {what} than a journal record holds"),
            Self::Denied(what) => {
                write!(f, "the policy of this system denies {what}, and the module does not work without")
            }
            Self::Processor(short) => short.fmt(f),
            Self::NoModule => f.write_str("there is no verified module of this name and version"),
        }
    }
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

/// Names the step that the kernel refused.
pub fn at(step: &'static str) -> impl Fn(Error) -> StartError {
    move |error| StartError::Load(LoadError::Kernel { step, error })
}

/// The manager.
pub struct Manager {
    pub page: &'static StartPage,
    pub journal: &'static mut Journal,
    pub modules: Vec<Loaded>,
    /// By what modules are verified.
    pub trust_root: TrustRoot,
    /// What modules may have; `None`: this image has no policy.
    pub policy: Option<Policy<'static>>,
    /// What is on the disk.
    pub repository: Repository,
    /// What is being fetched from the network.
    pub network: Network,
    /// An instance (`service@version`) that is to be killed, once it is started, at one of its system calls. For tests.
    pub fuse: Option<(heapless::String<64>, u64)>,
    /// The update under way, or the last one.
    pub update: Option<Running>,
    /// What an operator asked for, under way or done.
    pub task: Option<Task>,
    /// The exchange in place that is under way, or the last one.
    pub exchanging: Exchanging,
    /// What is installed and was not found at boot.
    pub missing: Missing,
    /// The account that all services' accounts come out of.
    pub account: Handle,
    /// The monitor's endpoint, to lead fault ports to.
    pub monitor: Handle,
}
