//! The serial line: the UART's registers by system calls, its interrupt and news of the log by one notification.

use console::uart::{Registers, Uart};
use hic_abi::{Error, FOREVER, Handle, Nanos, ObjectType, SELF};
use hic_control::grants;
use hic_rt::{StartPage, cap, clock, start, sys};

const KEY: u64 = 1;
const LOG: u64 = 2;
/// A line that takes not a byte for so long is dead: what was to be sent is given up.
const PATIENCE: Nanos = 10_000_000_000;

/// Registers behind a capability on I/O ports, and the notification that the interrupt raises.
struct Ports {
    slot: Handle,
    base: u16,
    notification: Handle,
    /// What was notified while bytes were sent.
    notified: u64,
}

impl Registers for Ports {
    fn read(&mut self, offset: u16) -> u8 {
        // A refused access reads as "nothing there", which the driver bears.
        sys::io_read(self.slot, self.base + offset, 1).unwrap_or(0) as u8
    }

    fn write(&mut self, offset: u16, value: u8) {
        let _ = sys::io_write(self.slot, self.base + offset, 1, value.into());
    }

    fn deadline(&self) -> Nanos {
        clock::now() + PATIENCE
    }

    fn wait(&mut self, deadline: Nanos) -> bool {
        let bits = sys::wait(self.notification, deadline);
        self.notified |= bits.unwrap_or(0);
        bits.is_ok()
    }
}

/// What woke someone who waits for a key or a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A key.
    Key,
    /// Lines were added to the log.
    Log,
}

/// The terminal at the other end of the line.
pub struct Terminal {
    uart: Uart<Ports>,
    /// The byte taken last.
    last: u8,
    /// What was typed while something was followed, and begins the next line.
    ahead: Option<u8>,
}

impl Terminal {
    /// Takes over the line, and the printing of the log from the kernel.
    pub fn open(page: &'static StartPage) -> Result<Self, Error> {
        let notification = own_notification(page)?;
        sys::log_watch(start::require(page, grants::LOG).slot, notification, LOG)?;
        sys::irq_bind(start::require(page, grants::IRQ).slot, notification, KEY)?;
        let ports = start::require(page, grants::IO_PORTS);
        let registers = Ports { slot: ports.slot, base: ports.address as u16, notification, notified: 0 };
        Ok(Self { uart: Uart::new(registers), last: 0, ahead: None })
    }

    /// Sends bytes as they are. A line that takes nothing loses them.
    pub fn send(&mut self, bytes: &str) {
        self.uart.send(bytes.as_bytes());
    }

    /// Sends text, lines ended as a terminal wants it.
    pub fn print(&mut self, text: &str) {
        self.uart.print(text);
    }

    /// Waits until all is on the wire.
    pub fn flush(&mut self) {
        self.uart.flush();
    }

    /// Waits for a byte.
    pub fn key(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.ahead.take().or_else(|| self.receive()) {
                return byte;
            }
            self.wait();
        }
    }

    /// Waits for a byte or for the log. A byte that begins a command is the next [`Self::key`]; others (Enter, Ctrl-C) are taken. The line
    /// feed of the Enter that began all this is no key.
    pub fn key_or_log(&mut self) -> Woken {
        loop {
            let returned = self.last == b'\r';
            match self.receive() {
                Some(b'\n') if returned => continue,
                Some(byte) => {
                    self.ahead = Some(byte).filter(u8::is_ascii_graphic);
                    return Woken::Key;
                }
                None => {}
            }
            if self.wait() & LOG != 0 {
                return Woken::Log;
            }
        }
    }

    fn receive(&mut self) -> Option<u8> {
        let byte = self.uart.receive()?;
        self.last = byte;
        Some(byte)
    }

    /// The interrupt is edge-triggered and its bit stays set until it is taken here: a byte that came between the last look and this wait
    /// ends the wait at once.
    fn wait(&mut self) -> u64 {
        let ports = self.uart.registers();
        match core::mem::take(&mut ports.notified) {
            0 => sys::wait(ports.notification, FOREVER).unwrap_or(0),
            bits => bits,
        }
    }
}

/// The notification always lies in the first free slot, where a restarted console finds it: then nothing is made twice.
fn own_notification(page: &'static StartPage) -> Result<Handle, Error> {
    let slot = page.first_free_slot as Handle;
    cap::claim(slot);
    let there = sys::cap_info(SELF, slot).is_ok_and(|(kind, _)| kind == ObjectType::Notification as u64);
    if !there {
        sys::create_notification(start::require(page, grants::ACCOUNT).slot, slot)?;
    }
    Ok(slot)
}
