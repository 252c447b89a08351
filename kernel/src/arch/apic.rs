//! Interrupt controllers and the timer: local APIC and I/O APIC by memory-mapped registers, the old PICs masked.
//!
//! The registers are reached through the direct map; firmware or hypervisor types that memory uncached. Every interrupt is
//! acknowledged on entry: device interrupts are edge triggered, so the next one may be latched while the first is handled.
//! Intel SDM vol. 3A, chapter 11; 82093AA I/O APIC data sheet.

use super::{CoreCell, clock, paging, port};

/// The timer's vector.
pub const TIMER_VECTOR: u8 = 0xf0;
/// Delivered when an interrupt vanished before it was taken; it is not acknowledged (vol. 3A, 11.9).
const SPURIOUS_VECTOR: u8 = 0xff;
/// Where the PICs would deliver if they were not masked.
const PIC_VECTORS: [u8; 2] = [0x20, 0x28];

const LOCAL: u64 = 0xfee0_0000;
const TASK_PRIORITY: u64 = 0x80;
const END_OF_INTERRUPT: u64 = 0xb0;
const SPURIOUS: u64 = 0xf0;
const TIMER: u64 = 0x320;
const TIMER_INITIAL: u64 = 0x380;
const TIMER_CURRENT: u64 = 0x390;
const TIMER_DIVIDER: u64 = 0x3e0;
const ENABLE: u32 = 1 << 8;
const MASKED: u32 = 1 << 16;
const DIVIDE_BY_1: u32 = 0b1011;

const IO: u64 = 0xfec0_0000;
const IO_DATA: u64 = 0x10;
const IO_ID: u32 = 0;
const IO_VERSION: u32 = 1;
const IO_REDIRECTION: u32 = 0x10;
/// The pin that ISA line 0, the PIT, is wired to on every PC with this controller (MADT override; QEMU, ICH9).
const PIT_PIN: u8 = 2;

struct Timer {
    hertz: u64,
    /// Nanoseconds since boot; `u64::MAX` = not armed.
    deadline: u64,
}

static TIME: CoreCell<Timer> = CoreCell::new(Timer { hertz: 0, deadline: u64::MAX });

fn local_read(register: u64) -> u32 {
    // SAFETY: a device register within the direct map.
    unsafe { paging::pointer(LOCAL + register).cast::<u32>().read_volatile() }
}

fn local_write(register: u64, value: u32) {
    // SAFETY: as in `local_read`; no write here starts an access to memory.
    unsafe { paging::pointer(LOCAL + register).cast::<u32>().write_volatile(value) }
}

fn io_read(register: u32) -> u32 {
    // SAFETY: the I/O APIC's index and data registers, within the direct map.
    unsafe {
        paging::pointer(IO).cast::<u32>().write_volatile(register);
        paging::pointer(IO + IO_DATA).cast::<u32>().read_volatile()
    }
}

fn io_write(register: u32, value: u32) {
    // SAFETY: as in `io_read`.
    unsafe {
        paging::pointer(IO).cast::<u32>().write_volatile(register);
        paging::pointer(IO + IO_DATA).cast::<u32>().write_volatile(value);
    }
}

/// Masks everything, then turns the local APIC on with its timer masked, for [`clock`] to measure.
pub fn init() {
    mask_pics();
    let pins = (io_read(IO_VERSION) >> 16 & 0xff) + 1;
    for pin in 0..pins {
        io_write(IO_REDIRECTION + 2 * pin, MASKED);
    }
    local_write(TASK_PRIORITY, 0);
    local_write(SPURIOUS, ENABLE | u32::from(SPURIOUS_VECTOR));
    local_write(TIMER_DIVIDER, DIVIDE_BY_1);
    local_write(TIMER, MASKED | u32::from(TIMER_VECTOR));
}

/// Moves the PICs off the exception vectors and masks them (8259A data sheet: ICW1 to ICW4, then OCW1).
fn mask_pics() {
    for (command, vector, wiring) in [(0x20, PIC_VECTORS[0], 4), (0xa0, PIC_VECTORS[1], 2)] {
        port::write::<u8>(command, 0x11);
        for value in [vector, wiring, 1, 0xff] {
            port::write::<u8>(command + 1, value);
        }
    }
}

/// Has the timer count down from its upper end.
pub fn count_freely() {
    local_write(TIMER_INITIAL, u32::MAX);
}

/// The timer's counter, which runs down.
pub fn counter() -> u32 {
    local_read(TIMER_CURRENT)
}

/// Turns the timer into a one-shot of this frequency.
pub fn start_timer(hertz: u64) {
    local_write(TIMER_INITIAL, 0);
    local_write(TIMER, u32::from(TIMER_VECTOR));
    // SAFETY: nothing else holds the timer's state (`CoreCell`).
    unsafe { (*TIME.get()).hertz = hertz };
}

/// Arms the timer for this time, nanoseconds since boot; `u64::MAX` turns it off. A deadline in the past fires at once.
pub fn arm(deadline: u64) {
    // SAFETY: nothing else holds the timer's state (`CoreCell`).
    let timer = unsafe { &mut *TIME.get() };
    if timer.deadline == deadline {
        return;
    }
    timer.deadline = deadline;
    if deadline == u64::MAX {
        local_write(TIMER_INITIAL, 0);
    } else {
        count_down(timer);
    }
}

/// A wait that does not fit the counter ends early; [`fired`] goes on with it then.
fn count_down(timer: &Timer) {
    let wait = timer.deadline.saturating_sub(clock::now());
    let counts = (u128::from(wait) * u128::from(timer.hertz)).div_ceil(1_000_000_000);
    local_write(TIMER_INITIAL, counts.clamp(1, u128::from(u32::MAX)) as u32);
}

/// To be called on a timer interrupt: whether the deadline has come. If not, the timer is armed again.
pub fn fired() -> bool {
    // SAFETY: nothing else holds the timer's state (`CoreCell`).
    let timer = unsafe { &mut *TIME.get() };
    if timer.deadline == u64::MAX {
        return false;
    }
    if clock::now() < timer.deadline {
        count_down(timer);
        return false;
    }
    timer.deadline = u64::MAX;
    true
}

/// Acknowledges the interrupt that is being handled.
pub fn acknowledge(vector: u8) {
    if vector != SPURIOUS_VECTOR {
        local_write(END_OF_INTERRUPT, 0);
    }
}

/// Leads an ISA line to a vector of this core: edge triggered, active high, unmasked; or masks it. Where interrupts are remapped, its upper word names
/// the entry of that number instead of this core (VT-d specification, 5.1.5.1), which has the number 0 ([`super::cpu::unfit`]).
pub fn route_isa(line: u8, vector: Option<u8>, remapped: bool) {
    let pin = IO_REDIRECTION + 2 * u32::from(if line == 0 { PIT_PIN } else { line });
    let Some(vector) = vector.map(u32::from) else { return io_write(pin, MASKED) };
    io_write(pin + 1, if remapped { vector << 17 | 1 << 16 } else { 0 });
    io_write(pin, vector);
}

/// The I/O APIC's number.
pub fn io_number() -> u8 {
    (io_read(IO_ID) >> 24 & 0xf) as u8
}
