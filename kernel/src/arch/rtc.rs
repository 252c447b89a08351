//! The battery-backed clock (MC146818A data sheet), read once at boot. It is taken to run in UTC.

use super::port;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const UPDATE_IN_PROGRESS: u8 = 0x80;
const BINARY: u8 = 4;
const HOURS_24: u8 = 2;
const AFTERNOON: u8 = 0x80;
/// Seconds, minutes, hours, day, month, year, century. The last is where ACPI's FADT puts it on every PC chipset and in QEMU.
const REGISTERS: [u8; 7] = [0x00, 0x02, 0x04, 0x07, 0x08, 0x09, 0x32];
/// Reads before a clock that never settles is given up.
const PATIENCE: u32 = 100_000;

fn register(index: u8) -> u8 {
    // Bit 7 of the index masks NMI: left clear.
    port::write::<u8>(INDEX, index);
    port::read::<u8>(DATA)
}

/// Two equal readings outside of an update: the registers change one by one.
fn stable() -> [u8; 7] {
    let mut last = REGISTERS.map(register);
    for _ in 0..PATIENCE {
        if register(STATUS_A) & UPDATE_IN_PROGRESS != 0 {
            continue;
        }
        let next = REGISTERS.map(register);
        if next == last {
            break;
        }
        last = next;
    }
    last
}

/// Unix time in seconds.
pub fn unix_seconds() -> u64 {
    let [second, minute, mut hour, day, month, year, century] = stable();
    let mode = register(STATUS_B);
    let afternoon = mode & HOURS_24 == 0 && hour & AFTERNOON != 0;
    hour &= !AFTERNOON;
    let number =
        |value: u8| u64::from(if mode & BINARY != 0 { value } else { (value >> 4) * 10 + (value & 0x0f) });
    let half_day = if afternoon { 12 } else { 0 };
    let hour = if mode & HOURS_24 != 0 { number(hour) } else { number(hour) % 12 + half_day };
    let century = if (19..=21).contains(&number(century)) { number(century) } else { 20 };
    let days = days(century * 100 + number(year), number(month).clamp(1, 12), number(day));
    days * 86_400 + hour * 3600 + number(minute) * 60 + number(second)
}

/// Days since 1970-01-01 of a Gregorian date from that day on. A month counts from March, so that the leap day comes last.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    (year * 365 + leap_days + (153 * month + 2) / 5 + day).saturating_sub(719_469)
}

// 2000-03-01 and 2026-11-21.
const _: () = assert!(days(2000, 3, 1) == 11_017 && days(2026, 11, 21) == 20_778);
