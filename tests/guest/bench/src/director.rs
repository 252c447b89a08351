//! The first sandbox of the benchmarks. Its own space has 1,024 slots, too few for 10,000 ports, so a child measures.

use crate::interrupts::LINE;
use hic_abi::inspect::{MemoryInfo, What};
use hic_abi::object::AccountSpec;
use hic_abi::{FOREVER, ObjectType, Rights, name_bytes, name_str};
use hic_rt::ipc::{self, Buffer};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{StartPage, log, start, sys};
use hic_stage::{Actor, Casting, own_image};

/// Name of the sandbox that measures.
pub const BENCH: &str = "bench";
/// Its priority; the callers of the crowd are above it, its partners its equals.
pub const PRIORITY: u64 = 20;
/// The most that a space may have.
const SLOTS: u64 = 65_536;
/// Frames that stay with the root account.
const ROOT_FRAMES: u64 = 256;
/// Objects of its account: ports, threads and the rest.
const OBJECTS: u64 = 1 << 20;

/// Starts the sandbox that measures; returns only when that one died.
pub fn run(page: &'static StartPage) -> Result<(), LoadError> {
    let image = own_image(page)?;
    let root = start::require(page, "account:root").slot;
    let audit = start::require(page, "audit").slot;
    let memory: MemoryInfo = sys::inspect(audit, What::Memory, 0).map_err(at("count memory"))?;
    let account = new_slot()?;
    let frames = memory.free.saturating_sub(ROOT_FRAMES);
    let spec = AccountSpec { frames, objects: OBJECTS, name: name_bytes(BENCH) };
    sys::create_account(root, account, &spec).map_err(at("account"))?;
    let casting = Casting { name: BENCH, account, priority: PRIORITY, slots: SLOTS, heap_pages: 64 };
    let mut bench = Actor::create(image, &casting)?;
    let all = Rights::all();
    bench.grant("account", account, ObjectType::Account, all, (0, 0))?;
    for (name, kind) in [("audit", ObjectType::Audit), ("power", ObjectType::Power)] {
        bench.grant(name, start::require(page, name).slot, kind, all, (0, 0))?;
    }
    for (name, kind, argument) in [("io-ports", ObjectType::IoPorts, 0), ("irq", ObjectType::Irq, LINE)] {
        let found = start::grants(page)
            .iter()
            .find(|grant| name_str(&grant.name) == name && grant.address == argument);
        let slot = found.map_or(0, |grant| grant.slot);
        bench.grant(name, slot, kind, all, (argument, 0))?;
    }
    let archive = start::require(page, "archive");
    let place = (archive.address, archive.length);
    bench.grant("archive", archive.slot, ObjectType::Region, Rights::READ | Rights::COPY, place)?;
    let (endpoint, port) = (new_slot()?, new_slot()?);
    sys::create_endpoint(root, endpoint).map_err(at("fault endpoint"))?;
    sys::create_port(root, port, endpoint, 0).map_err(at("fault port"))?;
    bench.watch(port)?;
    bench.start()?;
    let fault = ipc::receive(endpoint, &mut Buffer::new(), FOREVER);
    log!("the sandbox that measures died: {fault:?}");
    Ok(())
}
