//! Addresses that a sandbox may not read, write or execute.

use super::Argument::{
    Code as OwnCode, Data, Foreign, Freed, Guard, Image, Number, ReadOnly, Sealed, SealedForReading, Shared,
};
use super::{ANY, Argument, At, Code, DATA_RET, GP, I, P, PF, U, W};
use hic_abi::USER_BASE;

/// `mov al, [rdi]`
const READ: &[u8] = &[0x8a, 0x07];
/// `mov byte ptr [rdi], 0xc3`: writes what is there already, so that the control changes nothing.
const WRITE: &[u8] = &[0xc6, 0x07, 0xc3];
/// `call rdi`
const EXECUTE: &[u8] = &[0xff, 0xd7];
/// `lock inc dword ptr [rdi]`
const LOCKED: &[u8] = &[0xf0, 0xff, 0x07];
/// `push rbp; mov rbp, rsp; mov rsp, rdi; push rax; mov rsp, rbp; pop rbp`
const PUSH: &[u8] = &[0x55, 0x48, 0x89, 0xe5, 0x48, 0x89, 0xfc, 0x50, 0x48, 0x89, 0xec, 0x5d];
/// `fxsave64 [rdi]`
const FXSAVE: &[u8] = &[0x48, 0x0f, 0xae, 0x07];

/// Within the kernel's code and its data (kernel/linker.ld), and where it has physical memory (kernel/src/arch/paging.rs).
const KERNEL_CODE: u64 = 0xffff_ffff_8021_0000;
const KERNEL_DATA: u64 = 0xffff_ffff_8025_0000;
const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// The lowest address that is not canonical.
const NOT_CANONICAL: u64 = 0x0000_8000_0000_0000;
/// The local APIC's registers, at the address that they would have for ring 3.
const APIC: u64 = USER_BASE + 0xfee0_0000;

const fn touch(
    name: &'static str,
    code: &'static [u8],
    argument: Argument,
    error: u64,
    control: Argument,
) -> Code {
    Code {
        name,
        code,
        argument,
        fault: (PF, error),
        at: At::Argument(0),
        control: Some(control),
        legal: None,
    }
}

const fn fetch(name: &'static str, argument: Argument, error: u64) -> Code {
    Code {
        name,
        code: EXECUTE,
        argument,
        fault: (PF, error),
        at: At::Fetch,
        control: Some(Sealed),
        legal: None,
    }
}

/// An address that no page table can map. QEMU 7.2 has no stack fault for it.
const fn wild(
    name: &'static str,
    code: &'static [u8],
    argument: Argument,
    vector: u64,
    offset: u64,
    control: Argument,
) -> Code {
    Code {
        name,
        code,
        argument,
        fault: (vector, 0),
        at: At::Code(offset),
        control: Some(control),
        legal: None,
    }
}

const OWN: Argument = Data(DATA_RET);

/// All of them.
pub static POINTERS: &[Code] = &[
    touch("read address 0", READ, Number(0), U, OWN),
    touch("write address 8", WRITE, Number(8), U | W, OWN),
    fetch("execute address 0", Number(0), U | I),
    touch("read below the user addresses", READ, Number(USER_BASE - 1), U, OWN),
    touch("read the highest user address", READ, Number(2 * USER_BASE - 1), U, OWN),
    touch("read the kernel's code", READ, Number(KERNEL_CODE), U | P, OWN),
    touch("write the kernel's code", WRITE, Number(KERNEL_CODE), U | W | P, OWN),
    fetch("execute the kernel's code", Number(KERNEL_CODE), U | I | P),
    touch("read the kernel's data", READ, Number(KERNEL_DATA), U | P, OWN),
    touch("write the kernel's data", WRITE, Number(KERNEL_DATA), U | W | P, OWN),
    fetch("execute the kernel's data", Number(KERNEL_DATA), U | I | P),
    touch("increment the kernel's data", LOCKED, Number(KERNEL_DATA), ANY, OWN),
    touch("read physical memory through the kernel's map", READ, Number(DIRECT_MAP + 0x20_0000), U | P, OWN),
    touch(
        "write physical memory through the kernel's map",
        WRITE,
        Number(DIRECT_MAP + 0x20_0000),
        U | W | P,
        OWN,
    ),
    fetch("execute physical memory through the kernel's map", Number(DIRECT_MAP + 0x20_0000), U | I | P),
    touch(
        "let the processor save registers into the kernel",
        FXSAVE,
        Number(KERNEL_CODE),
        U | W | P,
        Data(256),
    ),
    touch("read the last page of all", READ, Number(u64::MAX), U, OWN),
    touch("read the kernel's image at its physical place", READ, Number(USER_BASE + 0x20_0000), U, OWN),
    touch("write the local APIC", WRITE, Number(APIC), U | W, OWN),
    wild("read an address that is not canonical", READ, Number(NOT_CANONICAL), GP, 0, OWN),
    wild("write an address that is not canonical", WRITE, Number(u64::MAX >> 1), GP, 0, OWN),
    wild(
        "push to an address that is not canonical",
        PUSH,
        Number(NOT_CANONICAL + 0x1000),
        ANY,
        7,
        Data(1024),
    ),
    // QEMU reports the address that was jumped to, a processor the jump.
    wild("execute an address that is not canonical", EXECUTE, Number(NOT_CANONICAL), GP, ANY, Sealed),
    touch("read somebody else's memory", READ, Foreign, U, Shared),
    touch("write somebody else's memory", WRITE, Foreign, U | W, Shared),
    fetch("execute somebody else's memory", Foreign, U | I),
    touch("read memory that was taken away", READ, Freed, U, Shared),
    touch("write memory that was taken away", WRITE, Freed, U | W, Shared),
    touch("write memory that is mapped for reading", WRITE, ReadOnly, U | W | P, Shared),
    fetch("execute data", Data(DATA_RET), U | I | P),
    fetch("execute memory that can be written", Shared, U | I | P),
    fetch("execute memory that can be read", ReadOnly, U | I | P),
    fetch("execute sealed code without the right", SealedForReading, U | I | P),
    touch("change its own code", WRITE, OwnCode, U | W | P, OWN),
    touch("change sealed code", WRITE, Sealed, U | W | P, OWN),
    touch("change its image's constants", WRITE, Image, U | W | P, OWN),
    touch("read the stack's guard page", READ, Guard, U, OWN),
    touch("write the stack's guard page", WRITE, Guard, U | W, OWN),
];
