//! The keeper: the first sandbox, the only one that nobody restarts.
//!
//! It starts the module manager and the monitor, holds their capability spaces and their journals, and starts either again over what
//! it held. It reads nothing but the boot archive that came with the kernel, and must never block on anyone. When both are gone at
//! once, or one keeps dying, the only whole state left is a fresh boot: it says why and resets the machine.
#![no_std]
#![no_main]

mod child;

use child::{Child, Plan};
use hic_abi::{Handle, ObjectType, Rights, SELF, name_str};
use hic_control::fault::Words;
use hic_control::{OK, PING, Refusal, grants, keeper};
use hic_hicmod::Archive;
use hic_rt::ipc::{self, Buffer, Message, Received};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{FOREVER, StartPage, log, start, sys};

hic_rt::entry!(main);

/// Frames that stay with the root account: the keeper's own needs and the next boot record.
const ROOT_FRAMES: u64 = 256;
/// Frames of the monitor's account.
const MONITOR_FRAMES: u64 = 4096;
/// Objects of the monitor's account.
const MONITOR_OBJECTS: u64 = 4096;
/// Pages of the module manager's journal.
const JOURNAL_PAGES: u64 = 80;
/// Pages of the monitor's audit store.
const AUDIT_PAGES: u64 = 256;

const MANAGER: Plan = Plan {
    name: "module-manager",
    priority: 24,
    slots: 16_384,
    stack_pages: 32,
    heap_pages: 512,
    state: ("state:journal", JOURNAL_PAGES),
};
const MONITOR: Plan = Plan {
    name: "monitor",
    priority: 24,
    slots: 1024,
    stack_pages: 16,
    heap_pages: 128,
    state: ("state:audit", AUDIT_PAGES),
};

fn main(page: &'static StartPage) -> u64 {
    match set_up(page) {
        Ok(keeper) => keeper.serve(),
        Err(error) => {
            log!("cannot start the system: {error}");
            power(page, 2)
        }
    }
}

/// The keeper's state: two children and where their faults arrive.
struct Keeper {
    page: &'static StartPage,
    endpoint: Handle,
    manager: Child,
    monitor: Child,
}

fn set_up(page: &'static StartPage) -> Result<Keeper, LoadError> {
    let root = start::require(page, "account:root").slot;
    let archive = start::require(page, "archive");
    sys::region_map(SELF, archive.slot, Rights::READ).map_err(at("map the boot archive"))?;
    // SAFETY: the region holds the boot archive, `length` bytes long, mapped read-only; nobody can write it any more.
    let bytes = unsafe { core::slice::from_raw_parts(archive.address as *const u8, archive.length as usize) };
    let archive_files = Archive::parse(bytes)
        .map_err(|_| LoadError::Kernel { step: "boot archive", error: hic_abi::Error::InvalidArgument })?;
    let endpoint = new_endpoint(root)?;
    let manager_endpoint = new_endpoint(root)?;
    let monitor_endpoint = new_endpoint(root)?;
    let free = free_frames(page)?;
    let manager_frames = free.saturating_sub(MONITOR_FRAMES + ROOT_FRAMES);
    let mut manager = Child::create(&MANAGER, root, manager_frames, 1 << 24, &archive_files)?;
    let mut monitor = Child::create(&MONITOR, root, MONITOR_FRAMES, MONITOR_OBJECTS, &archive_files)?;
    manager.watch(root, endpoint, keeper::MANAGER)?;
    monitor.watch(root, endpoint, keeper::MONITOR)?;
    let all = Rights::all();
    manager.grant("endpoint:module-manager", manager_endpoint, ObjectType::Endpoint, all, (0, 0))?;
    manager.grant("endpoint:monitor", monitor_endpoint, ObjectType::Endpoint, all, (0, 0))?;
    manager.grant_port("port:keeper", root, endpoint, keeper::MANAGER)?;
    grant_hardware(page, &mut manager)?;
    monitor.grant("endpoint:monitor", monitor_endpoint, ObjectType::Endpoint, all, (0, 0))?;
    monitor.grant_port("port:module-manager", root, manager_endpoint, keeper::MONITOR)?;
    monitor.grant_port("port:keeper", root, endpoint, keeper::MONITOR)?;
    for name in [grants::AUDIT, grants::LOG] {
        let grant = start::require(page, name);
        let kind = if name == grants::AUDIT { ObjectType::Audit } else { ObjectType::Log };
        monitor.grant(name, grant.slot, kind, all, (0, 0))?;
    }
    manager.start(page)?;
    monitor.start(page)?;
    log!("module manager and monitor started, {manager_frames} frames for the services");
    Ok(Keeper { page, endpoint, manager, monitor })
}

fn new_endpoint(root: Handle) -> Result<Handle, LoadError> {
    let slot = new_slot()?;
    sys::create_endpoint(root, slot).map_err(at("endpoint"))?;
    Ok(slot)
}

fn free_frames(page: &StartPage) -> Result<u64, LoadError> {
    let audit = start::require(page, grants::AUDIT).slot;
    let memory: hic_abi::inspect::MemoryInfo =
        sys::inspect(audit, hic_abi::inspect::What::Memory, 0).map_err(at("memory"))?;
    Ok(memory.free)
}

/// Passes on everything that modules may be granted later: the manager decides by their manifests.
fn grant_hardware(page: &StartPage, manager: &mut Child) -> Result<(), LoadError> {
    for grant in start::grants(page) {
        let name = name_str(&grant.name);
        if matches!(name, "account:root" | "region:own") {
            continue;
        }
        let Some(kind) = ObjectType::from_number(grant.object_type.into()) else { continue };
        manager.grant(name, grant.slot, kind, Rights::all(), (grant.address, grant.length))?;
    }
    Ok(())
}

impl Keeper {
    fn serve(mut self) -> u64 {
        let mut buffer = Buffer::new();
        let mut next = ipc::receive(self.endpoint, &mut buffer, FOREVER);
        loop {
            next = match next {
                Ok(Received::Call { badge: _, caller: _, message }) => {
                    let answer = self.answer(message);
                    ipc::reply_receive(self.endpoint, answer, &mut buffer, FOREVER)
                }
                Ok(Received::Fault { badge, words, .. }) => {
                    self.revive(badge, words, &mut buffer);
                    ipc::receive(self.endpoint, &mut buffer, FOREVER)
                }
                Ok(Received::Signal(_)) | Err(_) => ipc::receive(self.endpoint, &mut buffer, FOREVER),
            };
        }
    }

    fn answer(&self, message: Message) -> Message {
        let child = match message.words[0] {
            keeper::MANAGER => &self.manager,
            keeper::MONITOR => &self.monitor,
            _ => return Message::new(Refusal::NotFound as u32, [0; 4]),
        };
        match message.label() {
            PING => Message::new(OK, [0; 4]),
            keeper::STATUS => Message::new(OK, [child.serial(), child.restarts(), 0, 0]),
            keeper::FREEZE => match child.freeze(message.words[1]) {
                Ok(()) => Message::new(OK, [0; 4]),
                Err(_) => Message::new(Refusal::WrongState as u32, [0; 4]),
            },
            _ => Message::new(Refusal::UnknownRequest as u32, [0; 4]),
        }
    }

    /// Starts the one that died again, unless the other one is dead too.
    fn revive(&mut self, badge: u64, words: [u64; 4], buffer: &mut Buffer) {
        let name = if badge == keeper::MANAGER { MANAGER.name } else { MONITOR.name };
        log!("{name}: {}", Words(words));
        if let Ok(Received::Fault { .. }) = ipc::receive(self.endpoint, buffer, 0) {
            log!("module manager and monitor are both gone: reset");
            power(self.page, 1);
        }
        let page = self.page;
        let child = if badge == keeper::MANAGER { &mut self.manager } else { &mut self.monitor };
        if let Err(error) = child.restart(page) {
            log!("{name} cannot be started again: {error}: reset");
            power(page, 1);
        }
        log!("{name} started again, restart {}", child.restarts());
    }
}

/// Ends the system; if even that is refused, the keeper ends.
fn power(page: &StartPage, action: u64) -> ! {
    let _ = sys::power(start::require(page, grants::POWER).slot, action);
    sys::exit(1)
}
