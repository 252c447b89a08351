//! Instructions that ring 3 may not execute, and those that end whoever executes them.

use super::Argument::{Data, Sealed};
use super::{ANY, Argument, At, Code, DATA_ZEROS, GP, PF, U, UD, W};

/// A gate that ring 3 may not use. The error code is the vector * 8 + 2; QEMU 7.2 says * 16.
const GATE: (u64, u64) = (GP, ANY);
/// QEMU 7.2 reports another exception than the processor: `iretq` and `retfq` read the stack of ring 3 as the kernel would, against SMAP; a
/// processor of AMD's has no `sysenter` in this mode.
const SOMEHOW: (u64, u64) = (ANY, ANY);

const fn instruction(
    name: &'static str,
    code: &'static [u8],
    fault: (u64, u64),
    offset: u64,
    argument: Argument,
    legal: Option<&'static str>,
) -> Code {
    Code { name, code, argument, fault, at: At::Code(offset), control: None, legal }
}

/// All of them. Each has the offset of the instruction that faults; those before it load its operands.
#[rustfmt::skip]
pub static INSTRUCTIONS: &[Code] = &[
    instruction("hlt", &[0xf4], (GP, 0), 0, Data(DATA_ZEROS), Some("wait for a notification")),
    instruction("cli", &[0xfa], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("sti", &[0xfb], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("in al, dx", &[0xba, 0xf8, 0x02, 0x00, 0x00, 0xec], (GP, 0), 5, Data(DATA_ZEROS), Some("read an I/O port")),
    instruction("in eax, dx", &[0xba, 0xf8, 0x0c, 0x00, 0x00, 0xed], (GP, 0), 5, Data(DATA_ZEROS), Some("read an I/O port")),
    instruction("in al, imm8", &[0xe4, 0x80], (GP, 0), 0, Data(DATA_ZEROS), Some("read an I/O port")),
    instruction("out dx, al", &[0xba, 0xf8, 0x02, 0x00, 0x00, 0xee], (GP, 0), 5, Data(DATA_ZEROS), Some("write an I/O port")),
    instruction("out imm8, al", &[0xe6, 0x80], (GP, 0), 0, Data(DATA_ZEROS), Some("write an I/O port")),
    instruction("out to the switch that ends the machine", &[0xba, 0xf4, 0x00, 0x00, 0x00, 0xef], (GP, 0), 5, Data(DATA_ZEROS), Some("power off")),
    instruction("insb", &[0xba, 0xf8, 0x02, 0x00, 0x00, 0x6c], (GP, 0), 5, Data(DATA_ZEROS), Some("read an I/O port")),
    instruction("outsb", &[0xba, 0xf8, 0x02, 0x00, 0x00, 0x48, 0x89, 0xfe, 0x6e], (GP, 0), 8, Data(DATA_ZEROS), Some("write an I/O port")),
    instruction("mov rax, cr0", &[0x0f, 0x20, 0xc0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("mov rax, cr2", &[0x0f, 0x20, 0xd0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("mov rax, cr3", &[0x0f, 0x20, 0xd8], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("mov rax, cr4", &[0x0f, 0x20, 0xe0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("mov cr0, rax", &[0x0f, 0x22, 0xc0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("mov cr2, rax", &[0x0f, 0x22, 0xd0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("mov cr3, rax", &[0x0f, 0x22, 0xd8], (GP, 0), 0, Data(DATA_ZEROS), Some("map a region for reading")),
    instruction("mov cr4, rax", &[0x0f, 0x22, 0xe0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("mov rax, cr8", &[0x44, 0x0f, 0x20, 0xc0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("mov cr8, rax", &[0x44, 0x0f, 0x22, 0xc0], (GP, 0), 0, Data(DATA_ZEROS), Some("give another sandbox another share of the processor")),
    instruction("mov rax, dr7", &[0x0f, 0x21, 0xf8], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("mov dr7, rax", &[0x0f, 0x23, 0xf8], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("mov dr0, rax", &[0x0f, 0x23, 0xc0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("rdmsr of EFER", &[0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32], (GP, 0), 5, Data(DATA_ZEROS), None),
    instruction("wrmsr of LSTAR", &[0xb9, 0x82, 0x00, 0x00, 0xc0, 0x0f, 0x30], (GP, 0), 5, Data(DATA_ZEROS), None),
    instruction("wrmsr of GS.base", &[0xb9, 0x01, 0x01, 0x00, 0xc0, 0x0f, 0x30], (GP, 0), 5, Data(DATA_ZEROS), None),
    instruction("rdpmc", &[0x0f, 0x33], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("lgdt", &[0x0f, 0x01, 0x17], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("lidt", &[0x0f, 0x01, 0x1f], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("sgdt", &[0x0f, 0x01, 0x07], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("sidt", &[0x0f, 0x01, 0x0f], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("smsw", &[0x0f, 0x01, 0xe0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("lmsw", &[0x0f, 0x01, 0xf0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("sldt", &[0x0f, 0x00, 0xc0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("str", &[0x0f, 0x00, 0xc8], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("lldt", &[0x0f, 0x00, 0xd0], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("ltr", &[0x0f, 0x00, 0xd8], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("invlpg", &[0x0f, 0x01, 0x3f], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("invd", &[0x0f, 0x08], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("wbinvd", &[0x0f, 0x09], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("clts", &[0x0f, 0x06], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("swapgs", &[0x0f, 0x01, 0xf8], (GP, 0), 0, Data(DATA_ZEROS), None),
    instruction("sysretq", &[0x48, 0x89, 0xf9, 0x48, 0x0f, 0x07], (GP, 0), 3, Data(DATA_ZEROS), None),
    instruction("sysexit", &[0x0f, 0x35], SOMEHOW, 0, Data(DATA_ZEROS), None),
    instruction("sysenter", &[0x0f, 0x34], SOMEHOW, 0, Data(DATA_ZEROS), Some("call a port")),
    instruction("iretq to ring 0", &[0x6a, 0x10, 0x54, 0x9c, 0x6a, 0x08, 0x57, 0x48, 0xcf], SOMEHOW, 7, Sealed, None),
    instruction("retfq to ring 0", &[0x6a, 0x08, 0x57, 0x48, 0xcb], SOMEHOW, 3, Sealed, None),
    instruction("load the kernel's data segment", &[0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8], (GP, 0x10), 4, Data(DATA_ZEROS), None),
    instruction("load the kernel's stack segment", &[0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd0], (GP, 0x10), 4, Data(DATA_ZEROS), None),
    instruction("load the task state as a segment", &[0x66, 0xb8, 0x28, 0x00, 0x8e, 0xc0], (GP, 0x28), 4, Data(DATA_ZEROS), None),
    instruction("int 0x80", &[0xcd, 0x80], GATE, 0, Data(DATA_ZEROS), Some("call a port")),
    instruction("int 0x20, as the timer", &[0xcd, 0x20], GATE, 0, Data(DATA_ZEROS), None),
    instruction("int 0x30, as a device", &[0xcd, 0x30], GATE, 0, Data(DATA_ZEROS), None),
    instruction("int 2, as an NMI", &[0xcd, 0x02], GATE, 0, Data(DATA_ZEROS), None),
    instruction("int 8, as a double fault", &[0xcd, 0x08], GATE, 0, Data(DATA_ZEROS), None),
    instruction("int 14, as a page fault", &[0xcd, 0x0e], GATE, 0, Data(DATA_ZEROS), None),
    instruction("ud2", &[0x0f, 0x0b], (UD, 0), 0, Data(DATA_ZEROS), None),
    instruction("vmcall", &[0x0f, 0x01, 0xc1], (UD, 0), 0, Data(DATA_ZEROS), None),
    instruction("vmrun", &[0x0f, 0x01, 0xd8], (UD, 0), 0, Data(DATA_ZEROS), None),
    instruction("clgi", &[0x0f, 0x01, 0xdd], (UD, 0), 0, Data(DATA_ZEROS), None),
    instruction("xsetbv", &[0x31, 0xc9, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x01, 0xd1], SOMEHOW, 6, Data(DATA_ZEROS), None),
    instruction("wrfsbase", &[0xf3, 0x0f, 0xae, 0xd0], (UD, 0), 0, Data(DATA_ZEROS), None),
    instruction("wrgsbase", &[0xf3, 0x0f, 0xae, 0xd8], (UD, 0), 0, Data(DATA_ZEROS), None),
    instruction("wrpkru", &[0x31, 0xc9, 0x31, 0xd2, 0x31, 0xc0, 0x0f, 0x01, 0xef], (UD, 0), 6, Data(DATA_ZEROS), None),
    instruction("rsm", &[0x0f, 0xaa], (UD, 0), 0, Data(DATA_ZEROS), None),
    instruction("an AVX instruction, whose registers nobody saves", &[0xc5, 0xfc, 0x57, 0xc0], (UD, 0), 0, Data(DATA_ZEROS), None),
    instruction("div by zero", &[0x31, 0xc9, 0xf7, 0xf1], (0, 0), 2, Data(DATA_ZEROS), None),
    instruction("an x87 exception that is not masked", &[0x9b, 0xdb, 0xe3, 0xc7, 0x47, 0x08, 0x00, 0x03, 0x00, 0x00, 0xd9, 0x6f, 0x08, 0xd9, 0xee, 0xd9, 0xee, 0xde, 0xf9, 0x9b], (16, 0), 19, Data(DATA_ZEROS), None),
    instruction("a misaligned vector access", &[0x0f, 0x28, 0x47, 0x01], (GP, 0), 0, Data(DATA_ZEROS), None),
    Code {
        name: "single-stepping itself",
        // pushfq; or dword [rsp], 0x100; popfq; nop; nop
        code: &[0x9c, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00, 0x9d, 0x90, 0x90],
        argument: Data(DATA_ZEROS), fault: (1, 0), at: At::Code(10), control: None, legal: None,
    },
    Code {
        name: "a breakpoint",
        code: &[0xcc, 0x90], argument: Data(DATA_ZEROS), fault: (3, 0), at: At::Code(1), control: None, legal: None,
    },
    Code {
        name: "recursion into the stack's guard page",
        // test edi, edi; jz end; dec edi; call itself; end:
        code: &[0x85, 0xff, 0x74, 0x07, 0xff, 0xcf, 0xe8, 0xf5, 0xff, 0xff, 0xff],
        argument: Argument::Number(u32::MAX as u64), fault: (PF, U | W), at: At::Stack(6),
        control: Some(Argument::Number(100)), legal: None,
    },
];
