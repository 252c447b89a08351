//! What the command prints. A reader that wants no more of it is no reason to end: the work goes on, and the exit code is that of the work.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use crate::failure::Failure;

/// Prints a line, formatted as by `println!`, which would end the process with an abort when the reader of a pipe has gone.
macro_rules! say {
    ($($words:tt)*) => { $crate::output::line(format_args!($($words)*)) };
}
pub(crate) use say;

/// See [`say`].
pub fn line(words: Arguments<'_>) -> Result<(), Failure> {
    bytes(format!("{words}\n").as_bytes())
}

/// Prints text as it is.
pub fn bytes(text: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format_args!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}
