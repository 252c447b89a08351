//! The time of day as a line of text. RFC 867 leaves the form open; this is its popular syntax, in UTC.

use core::fmt::{self, Write};

/// Longest line.
pub const MAX_LINE: usize = 64;

const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Year, month (1 to 12) and day (1 to 31) of a day counted from 1 January 1970 (the Gregorian calendar repeats after
/// 146,097 days; years are counted from 1 March, so that the leap day is a year's last).
const fn civil(days: u64) -> (u64, usize, u64) {
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + if month <= 2 { 1 } else { 0 }, month as usize, day)
}

/// A line of text with a bound.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    bytes: [u8; MAX_LINE],
    len: usize,
}

impl Line {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let place = self.bytes.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// The line for a Unix time in seconds.
#[must_use]
pub fn line(unix_seconds: u64) -> Line {
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = civil(days);
    let weekday = DAYS.get((days % 7) as usize).copied().unwrap_or_default();
    let month = MONTHS.get(month.wrapping_sub(1)).copied().unwrap_or_default();
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut line = Line { bytes: [0; MAX_LINE], len: 0 };
    // The longest line ("Wednesday, September 30, 999999 23:59:59-UTC") fits.
    let _ = write!(line, "{weekday}, {month} {day}, {year} {hour:02}:{minute:02}:{second:02}-UTC\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::from_utf8;

    #[test]
    fn known_moments_have_their_known_names() {
        for (seconds, text) in [
            (0, "Thursday, January 1, 1970 00:00:00-UTC\r\n"),
            (951_782_400, "Tuesday, February 29, 2000 00:00:00-UTC\r\n"),
            (1_709_251_199, "Thursday, February 29, 2024 23:59:59-UTC\r\n"),
            (4_107_542_400, "Monday, March 1, 2100 00:00:00-UTC\r\n"),
        ] {
            assert_eq!(from_utf8(line(seconds).as_bytes()), Ok(text));
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut last = civil(0);
        for day in 1..146_097 {
            let today = civil(day);
            let next_day = today.2 == last.2 + 1 && (today.0, today.1) == (last.0, last.1);
            let next_month =
                today.2 == 1 && last.2 >= 28 && (today.1 == last.1 + 1 || (today.1, last.1) == (1, 12));
            assert!(next_day || next_month, "{last:?} then {today:?}");
            last = today;
        }
    }
}
