//! Lines for the system's log.

use core::fmt::{self, Write};

/// Longest line that the kernel takes.
const LINE: usize = 240;

/// A line being formatted; what does not fit is cut off.
struct Line {
    bytes: [u8; LINE],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let take = text.len().min(LINE - self.length);
        self.bytes[self.length..self.length + take].copy_from_slice(&text.as_bytes()[..take]);
        self.length += take;
        Ok(())
    }
}

/// Adds a formatted line to the log; used through [`log!`](crate::log!).
pub fn write(arguments: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; LINE], length: 0 };
    let _ = line.write_fmt(arguments);
    let _ = crate::sys::log_write(&line.bytes[..line.length]);
}

/// Adds a line to the system's log: `log!("lease {} for {} s", address, seconds)`.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::write(format_args!($($argument)*)) };
}
