//! The sandboxes and ports that are alive while everything is measured, and callers to queue.
//!
//! A caller is a thread that calls a port and never touches memory, so ten thousand of them need neither stack nor heap: its whole
//! program is nine instructions on one page that all sandboxes of the crowd share.

use alloc::vec::Vec;
use hic_abi::object::{SandboxSpec, SealSpec, ThreadSpec};
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, PAGE_SIZE, Rights, SELF, name_bytes};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::sys;

/// Sandboxes.
const SANDBOXES: usize = 100;
/// Ports.
const PORTS: usize = 10_000;
/// Slots of each sandbox's space.
const SLOTS: u64 = 64;
/// Slot in which each sandbox of the crowd finds the port to call.
const PORT_SLOT: Handle = 1;
/// Above the sandbox that measures: a new caller is queued before the call that starts it returns.
const PRIORITY: u64 = crate::director::PRIORITY + 1;

core::arch::global_asm!(
    "bench_caller_begin:",
    "mov ebx, edi",
    "2: mov eax, {call}",
    "mov edi, ebx",
    "xor esi, esi",
    "mov r12, -1",
    "xor r13d, r13d",
    "syscall",
    "jmp 2b",
    "bench_caller_end:",
    call = const Syscall::Call as u64,
);

unsafe extern "C" {
    static bench_caller_begin: u8;
    static bench_caller_end: u8;
}

/// The crowd.
pub struct Crowd {
    /// Slots of the ports, which lead to `endpoint`.
    pub ports: Vec<Handle>,
    /// An endpoint at which nobody receives.
    pub endpoint: Handle,
    sandboxes: Vec<Handle>,
    account: Handle,
    code: u64,
    callers: usize,
}

impl Crowd {
    /// Makes the sandboxes and the ports.
    pub fn gather(account: Handle) -> Result<Self, LoadError> {
        let endpoint = new_slot()?;
        sys::create_endpoint(account, endpoint).map_err(at("endpoint"))?;
        let (region, code) = caller_code(account)?;
        let sandboxes = (0..SANDBOXES).map(|_| sandbox(account, region)).collect::<Result<Vec<_>, _>>()?;
        let port = |number: usize| {
            let slot = new_slot()?;
            sys::create_port(account, slot, endpoint, number as u64).map_err(at("port"))?;
            Ok(slot)
        };
        let ports = (0..PORTS).map(port).collect::<Result<Vec<_>, LoadError>>()?;
        Ok(Self { ports, endpoint, sandboxes, account, code, callers: 0 })
    }

    /// Lets every sandbox of the crowd call this port.
    pub fn give_port(&self, port: Handle) -> Result<(), LoadError> {
        for &sandbox in &self.sandboxes {
            sys::cap_copy((sandbox, PORT_SLOT), (SELF, port), Rights::SEND).map_err(at("give the port"))?;
        }
        Ok(())
    }

    /// Starts callers until there are this many, spread over the sandboxes; all are queued when this returns.
    pub fn queue_callers(&mut self, count: usize) -> Result<(), LoadError> {
        let callers = self.callers..count.max(self.callers);
        self.callers = callers.end;
        for (_, &sandbox) in callers.zip(self.sandboxes.iter().cycle()) {
            let spec = ThreadSpec { entry: self.code, stack: self.code, argument: PORT_SLOT.into() };
            sys::thread_start(self.account, sandbox, 0, &spec).map_err(at("start a caller"))?;
        }
        Ok(())
    }
}

/// A sandbox above the one that measures, with the page that holds its program mapped.
pub fn sandbox(account: Handle, region: Handle) -> Result<Handle, LoadError> {
    let slot = new_slot()?;
    let spec = SandboxSpec {
        slots: SLOTS,
        priority: PRIORITY,
        budget: 0,
        period: 0,
        hard_limit: 0,
        name: name_bytes("crowd"),
        purpose: name_bytes("bench"),
    };
    sys::create_sandbox(account, slot, &spec).map_err(at("sandbox"))?;
    map_code(slot, region).map_err(at("map the callers' code"))?;
    Ok(slot)
}

/// Maps the page with a program.
pub fn map_code(sandbox: Handle, region: Handle) -> Result<(), Error> {
    sys::region_map(sandbox, region, Rights::READ | Rights::EXECUTE).map(|_| ())
}

/// The sealed page with the callers' program; its slot and address.
fn caller_code(account: Handle) -> Result<(Handle, u64), LoadError> {
    code(account, &raw const bench_caller_begin, &raw const bench_caller_end)
}

/// A sealed page with a program of position-independent code that lies between two labels; its slot and address.
pub fn code(account: Handle, begin: *const u8, end: *const u8) -> Result<(Handle, u64), LoadError> {
    let slot = new_slot()?;
    let address = sys::create_region(account, slot, PAGE_SIZE).map_err(at("code region"))?;
    sys::region_map(SELF, slot, Rights::READ | Rights::WRITE).map_err(at("map the code"))?;
    let length = end as usize - begin as usize;
    // SAFETY: the program lies between the two labels and is far shorter than the page, which was just mapped here alone.
    unsafe { core::ptr::copy_nonoverlapping(begin, address as *mut u8, length) };
    sys::region_unmap(SELF, slot).map_err(at("unmap the code"))?;
    sys::region_seal(slot, &SealSpec { read_only: 0, execute: 1, guard: 0 }).map_err(at("seal the code"))?;
    Ok((slot, address))
}
