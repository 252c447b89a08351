//! The user's terminal, handed to the guest and taken back.

use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Result;
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use super::prompt::PromptWatch;

/// How long an unfinished line is held back before it is shown.
const HOLD: Duration = Duration::from_millis(100);

/// The terminal in raw mode: keys go through one by one, and Ctrl-C belongs to the guest. Restored when dropped.
struct RawMode {
    before: Option<Termios>,
}

impl RawMode {
    /// Standard input in raw mode, if it is a terminal.
    fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self { before: None });
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        // Our own lines end in a plain newline, and the guest's are not changed by this.
        raw.output_flags |= before.output_flags & (OutputFlags::OPOST | OutputFlags::ONLCR);
        tcsetattr(&stdin, SetArg::TCSADRAIN, &raw)?;
        Ok(Self { before: Some(before) })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The terminal may be gone, and then there is nothing to restore.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}

/// Connects the terminal with the serial line until QEMU closes it.
pub fn converse(serial: &UnixStream) -> Result<()> {
    let _raw = RawMode::enter()?;
    let keys = serial.try_clone()?;
    // Ends with the process: a read of standard input cannot be interrupted.
    std::thread::spawn(move || forward_keys(keys));
    serial.set_read_timeout(Some(HOLD))?;
    show(serial)
}

fn forward_keys(mut serial: UnixStream) {
    let mut stdin = std::io::stdin();
    let mut keys = [0; 256];
    while let Ok(count @ 1..) = stdin.read(&mut keys) {
        if serial.write_all(keys.get(..count).unwrap_or_default()).is_err() {
            return;
        }
    }
}

fn show(mut serial: &UnixStream) -> Result<()> {
    let mut watch = PromptWatch::default();
    let mut piece = [0; 4096];
    let mut stdout = std::io::stdout();
    loop {
        let shown = match serial.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => watch.feed(piece.get(..count).unwrap_or_default()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                watch.flush()
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // QEMU went away with bytes of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error.into()),
        };
        stdout.write_all(&shown)?;
        stdout.flush()?;
    }
    stdout.write_all(&watch.flush())?;
    stdout.write_all(b"\r\n")?;
    Ok(stdout.flush()?)
}
