//! The time of day as a line of text. RFC 867 leaves the form open; this is its popular syntax, in UTC.

use core::fmt::Write as _;
use heapless::String;
use time::OffsetDateTime;

/// Longest line.
pub const MAX_LINE: usize = 64;

/// The line for a Unix time in seconds; past the year 9999 the number itself.
#[must_use]
pub fn line(unix_seconds: u64) -> String<MAX_LINE> {
    let mut line = String::new();
    let signed = i64::try_from(unix_seconds).ok();
    // The longest line ("Wednesday, September 30, 9998 23:59:59-UTC") fits.
    let _ = match signed.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()) {
        Some(date) => {
            let (hour, minute, second) = date.to_hms();
            let (weekday, month, day, year) = (date.weekday(), date.month(), date.day(), date.year());
            write!(line, "{weekday}, {month} {day}, {year} {hour:02}:{minute:02}:{second:02}-UTC\r\n")
        }
        None => write!(line, "{unix_seconds} s after January 1, 1970 00:00:00-UTC\r\n"),
    };
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_have_their_known_names() {
        for (seconds, text) in [
            (0, "Thursday, January 1, 1970 00:00:00-UTC\r\n"),
            (951_782_400, "Tuesday, February 29, 2000 00:00:00-UTC\r\n"),
            (1_709_251_199, "Thursday, February 29, 2024 23:59:59-UTC\r\n"),
            (4_107_542_400, "Monday, March 1, 2100 00:00:00-UTC\r\n"),
            (253_362_815_999, "Wednesday, September 30, 9998 23:59:59-UTC\r\n"),
            (253_402_300_799, "Friday, December 31, 9999 23:59:59-UTC\r\n"),
            (253_402_300_800, "253402300800 s after January 1, 1970 00:00:00-UTC\r\n"),
            (u64::MAX, "18446744073709551615 s after January 1, 1970 00:00:00-UTC\r\n"),
        ] {
            assert_eq!(line(seconds).as_str(), text);
        }
    }
}
