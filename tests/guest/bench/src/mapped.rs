//! Revoking capabilities by each of which a sandbox of its own has the region mapped.
//!
//! Only a sandbox itself can make a mapping that rests on its own capability, so each child runs a program of seven instructions that
//! maps the region and exits.

use crate::crowd;
use crate::suite::Stage;
use alloc::vec::Vec;
use bench::each;
use hic_abi::object::ThreadSpec;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, PAGE_SIZE, Rights, SELF};
use hic_rt::loader::{LoadError, at, new_slot};
use hic_rt::{cap, sys};

/// Populations, and the figures' names.
const CHILDREN: [(usize, &str); 3] = [
    (1, "revoke_per_mapped_child_1"),
    (100, "revoke_per_mapped_child_100"),
    (1000, "revoke_per_mapped_child_1000"),
];
/// Samples of each: a thousand children are started anew for one.
const SAMPLES: usize = 5;
/// Where each child finds the region.
const REGION: Handle = 1;

core::arch::global_asm!(
    "bench_mapper_begin:",
    "mov eax, {map}",
    "mov esi, edi",
    "mov edi, {own}",
    "mov edx, {rights}",
    "syscall",
    "mov eax, {exit}",
    "syscall",
    "bench_mapper_end:",
    map = const Syscall::RegionMap as u64,
    own = const SELF,
    rights = const Rights::READ.bits() | Rights::WRITE.bits(),
    exit = const Syscall::Exit as u64,
);

unsafe extern "C" {
    static bench_mapper_begin: u8;
    static bench_mapper_end: u8;
}

/// Measures all populations.
pub fn run(stage: &Stage) -> Result<(), LoadError> {
    let account = stage.account;
    let (code, entry) = crowd::code(account, &raw const bench_mapper_begin, &raw const bench_mapper_end)?;
    let region = new_slot()?;
    sys::create_region(account, region, PAGE_SIZE).map_err(at("region"))?;
    let most = CHILDREN[CHILDREN.len() - 1].0;
    let children =
        (0..most).map(|_| crowd::sandbox(account, code)).collect::<Result<Vec<Handle>, LoadError>>()?;
    let spec = ThreadSpec { entry, stack: entry, argument: REGION.into() };
    let map = |child: Handle| -> Result<(), Error> {
        // Frozen since it exited, but for the first time.
        if sys::sandbox_reset(child).is_ok() {
            crowd::map_code(child, code)?;
        }
        sys::cap_copy((child, REGION), (SELF, region), Rights::READ | Rights::WRITE)?;
        sys::thread_start(account, child, 0, &spec)
    };
    for (count, name) in CHILDREN {
        let some = children.iter().take(count);
        let prepare = || some.clone().try_for_each(|&child| map(child));
        let all =
            stage.meter.sample_times(SAMPLES, prepare, || sys::cap_revoke(SELF, region)).map_err(at(name))?;
        stage.meter.print(name, each(all, count as u64));
    }
    for child in children {
        sys::destroy(SELF, child).map_err(at("destroy a child"))?;
        cap::release(child);
    }
    [region, code].into_iter().for_each(cap::drop_slot);
    Ok(())
}
