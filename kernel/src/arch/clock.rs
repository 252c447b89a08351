//! Time since boot from the time-stamp counter, and what it takes to know that counter's frequency.
//!
//! Where neither processor nor hypervisor states the frequency, the PIT is the yardstick: both it and the counters are sampled twice, with
//! the quickest of several reads each time, so that a pause of the emulator between two reads does not end up in the result.

use super::{CoreCell, apic, cpu, port, rtc};
use hic_abi::start::ClockPage;

/// Counts of the PIT in a second (8254 data sheet; 14.31818 MHz / 12).
const PIT_HZ: u64 = 1_193_182;
/// PIT counts between the samples: 20 ms, so that one count is 42 millionths of it.
const PIT_SPAN: u16 = 23_864;
const SAMPLES: u32 = 16;

const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
/// Bit 0: gate of channel 2; bit 1: speaker.
const GATE: u16 = 0x61;

static CLOCK: CoreCell<ClockPage> = CoreCell::new(ClockPage { scale: 0, base_tsc: 0, wall_base_seconds: 0 });

#[derive(Clone, Copy)]
struct Sample {
    tsc: u64,
    pit: u16,
    apic: u32,
}

/// Measures, starts the clock at 0 and the timer. The APIC must be on.
pub fn init() {
    start_pit();
    let first = sample();
    while first.pit.wrapping_sub(pit()) < PIT_SPAN {
        core::hint::spin_loop();
    }
    let last = sample();
    let counts = u64::from(first.pit.wrapping_sub(last.pit)).max(1);
    let tsc_hz = cpu::stated_tsc_hz().unwrap_or((last.tsc - first.tsc) * PIT_HZ / counts).max(1);
    let apic_hz = u64::from(first.apic - last.apic) * PIT_HZ / counts;
    let clock = ClockPage {
        scale: ((1_000_000_000u128 << 32) / u128::from(tsc_hz)) as u64,
        base_tsc: last.tsc,
        wall_base_seconds: rtc::unix_seconds(),
    };
    // SAFETY: boot code; nobody reads the clock before it returns.
    unsafe { *CLOCK.get() = clock };
    apic::start_timer(apic_hz);
}

/// Channel 2, low then high byte, mode 0, from 65535 down: 54 ms, once.
fn start_pit() {
    port::write::<u8>(GATE, port::read::<u8>(GATE) & !2 | 1);
    port::write::<u8>(COMMAND, 0xb0);
    port::write::<u8>(CHANNEL_2, 0xff);
    port::write::<u8>(CHANNEL_2, 0xff);
}

fn pit() -> u16 {
    port::write::<u8>(COMMAND, 0x80);
    let low = port::read::<u8>(CHANNEL_2);
    u16::from_le_bytes([low, port::read::<u8>(CHANNEL_2)])
}

fn sample() -> Sample {
    let mut best = (u64::MAX, Sample { tsc: 0, pit: 0, apic: 0 });
    for _ in 0..SAMPLES {
        let before = cpu::tsc();
        let (pit, apic) = (pit(), apic::counter());
        let after = cpu::tsc();
        if after - before < best.0 {
            best = (after - before, Sample { tsc: before + (after - before) / 2, pit, apic });
        }
    }
    best.1
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
