//! A bad wire between a tap and QEMU, for kernels that were built without `netem`: frames go through this process.
//!
//! QEMU sends and receives each Ethernet frame as one datagram on a pair of UNIX sockets.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::bad_wire::{BadWire, Impairment};
use super::namespace::Entry;

/// Longer than any frame on a tap: 14 bytes of header and an MTU of 1500, with room for a tag.
const LONGEST_FRAME: usize = 2048;

/// How soon a thread of the relay notices that it is to end.
const NOTICE: Duration = Duration::from_millis(100);

/// The relay. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Relay {
    stop: Arc<AtomicBool>,
    folder: tempfile::TempDir,
}

impl Relay {
    /// Joins `tap`, in the namespace behind `entry`, with a QEMU that is yet to start.
    pub fn start(entry: Entry, tap: &'static str, how: Impairment) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("hic-").tempdir()?;
        let socket = UnixDatagram::bind(folder.path().join("relay"))?;
        socket.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let relay = Self { stop: Arc::clone(&stop), folder };
        let qemu = relay.qemu_path();
        let tap = std::thread::spawn(move || {
            entry.enter()?;
            open_tap(tap)
        });
        let tap = tap.join().map_err(|_| anyhow::anyhow!("opening the tap panicked"))??;
        let (tap_out, stop_out) = (tap.try_clone()?, Arc::clone(&stop));
        // A socket of its own, since this one waits when QEMU is behind: what is lost is to be lost by the dice alone.
        let to_qemu = UnixDatagram::unbound()?;
        to_qemu.set_write_timeout(Some(NOTICE))?;
        std::thread::spawn(move || {
            let (mut tap_in, wire) = (&tap, BadWire::new(how, 1));
            carry(
                tap.as_fd(),
                |frame| tap_in.read(frame),
                |frame| drop(to_qemu.send_to(frame, &qemu)),
                wire,
                &stop,
            );
        });
        std::thread::spawn(move || {
            let (mut tap_out, wire) = (&tap_out, BadWire::new(how, 2));
            let receive = |frame: &mut [u8]| socket.recv(frame);
            carry(socket.as_fd(), receive, |frame| drop(tap_out.write(frame)), wire, &stop_out);
        });
        Ok(relay)
    }

    /// Where QEMU sends to.
    pub fn relay_path(&self) -> PathBuf {
        self.folder.path().join("relay")
    }

    /// Where QEMU receives.
    pub fn qemu_path(&self) -> PathBuf {
        self.folder.path().join("qemu")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Carries frames in one direction until told to stop. A frame that the other end does not take is lost, as on any wire.
fn carry(
    input: BorrowedFd<'_>,
    mut receive: impl FnMut(&mut [u8]) -> std::io::Result<usize>,
    mut send: impl FnMut(&[u8]),
    mut wire: BadWire,
    stop: &AtomicBool,
) {
    let mut frame = [0; LONGEST_FRAME];
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        while let Some(frame) = wire.take(now) {
            send(&frame);
        }
        let wait = wire.next_due().map_or(NOTICE, |due| due.saturating_duration_since(now).min(NOTICE));
        // Rounded up: rounded down, the last millisecond would be spent turning in circles.
        let wait = u16::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        if poll(&mut [PollFd::new(input, PollFlags::POLLIN)], PollTimeout::from(wait)).is_err() {
            continue;
        }
        loop {
            match receive(&mut frame) {
                Ok(length) => {
                    let frame = frame.get(..length).unwrap_or_default();
                    wire.put(frame, Instant::now()).iter().for_each(|frame| send(frame));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }
}

/// Our end of the tap `name`, which exists in the calling thread's namespace.
fn open_tap(name: &str) -> Result<File> {
    let path = Path::new("/dev/net/tun");
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    // SAFETY: `ifreq` is plain data, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    ensure!(name.len() < request.ifr_name.len(), "{name} is too long for an interface");
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI)?;
    // SAFETY: TUNSETIFF reads an `ifreq`, which `request` is and stays for the length of the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    nix::errno::Errno::result(result).with_context(|| format!("cannot attach to {name}"))?;
    Ok(file)
}
