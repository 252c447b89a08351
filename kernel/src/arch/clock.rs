//! Time since boot from the time-stamp counter, and what it takes to know that counter's frequency.
//!
//! Where neither processor nor hypervisor states the frequency, channel 2 of the PIT is the yardstick ([`hic_bootinfo::calibrate`]).

use super::{CoreCell, apic, cpu, port, rtc};
use hic_abi::start::ClockPage;
use hic_bootinfo::calibrate::{Reading, measure};

const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
/// Channel 2, low then high byte, mode 0: counts down once, then its output is high, and the count goes round.
const COUNT_ONCE: u8 = 0xb0;
/// Latches status and count of channel 2, which are read in this order.
const READ_BACK: u8 = 0xc8;
/// Of the status: the output.
const OUTPUT: u8 = 0x80;
/// Bit 0: gate of channel 2; bit 1: speaker.
const GATE: u16 = 0x61;

static CLOCK: CoreCell<ClockPage> = CoreCell::new(ClockPage { scale: 0, base_tsc: 0, wall_base_seconds: 0 });

/// Measures, starts the clock at 0 and the timer. The APIC must be on.
pub fn init() {
    let rates = measure(start, read);
    let tsc_hz = cpu::stated_tsc_hz().unwrap_or(rates.tsc_hz);
    let clock = ClockPage {
        scale: ((1_000_000_000u128 << 32) / u128::from(tsc_hz)) as u64,
        base_tsc: rates.tsc,
        wall_base_seconds: rtc::unix_seconds(),
    };
    // SAFETY: boot code; nobody reads the clock before it returns.
    unsafe { *CLOCK.get() = clock };
    apic::start_timer(rates.timer_hz);
}

/// The PIT for 54 ms, and the timer.
fn start() {
    apic::count_freely();
    port::write::<u8>(GATE, port::read::<u8>(GATE) & !2 | 1);
    port::write::<u8>(COMMAND, COUNT_ONCE);
    port::write::<u8>(CHANNEL_2, 0xff);
    port::write::<u8>(CHANNEL_2, 0xff);
}

fn read() -> Option<Reading> {
    let before = cpu::tsc();
    port::write::<u8>(COMMAND, READ_BACK);
    let [status, low, high] = [(); 3].map(|()| port::read::<u8>(CHANNEL_2));
    let timer = apic::counter();
    let reading = Reading { tsc: [before, cpu::tsc()], yardstick: u16::from_le_bytes([low, high]), timer };
    (status & OUTPUT == 0).then_some(reading)
}

/// What the clock page of every sandbox says.
pub fn page() -> ClockPage {
    // SAFETY: a copy of words that are written once, by `init`.
    unsafe { *CLOCK.get() }
}

/// Nanoseconds since boot.
#[inline]
pub fn now() -> u64 {
    // SAFETY: as in `page`.
    unsafe { (*CLOCK.get()).nanos(cpu::tsc()) }
}
