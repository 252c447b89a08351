//! Lines for the system's log.

use core::fmt::{self, Write};

use hic_abi::log::{LINE, Text};

/// Adds a formatted line to the log; used through [`log!`](crate::log!).
pub fn write(arguments: fmt::Arguments<'_>) {
    let mut line = Text::<LINE>::new();
    let _ = line.write_fmt(arguments);
    let _ = crate::sys::log_write(line.as_bytes());
}

/// Adds a line to the system's log: `log!("lease {} for {} s", address, seconds)`.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::write(format_args!($($argument)*)) };
}
