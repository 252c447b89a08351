//! The first serial port, polled: the boot console and the last words of a panic.
//!
//! Once a console service holds the port's I/O range, only a panic may print here.

use super::port;
use core::fmt;

/// The port.
pub const PORT: u16 = 0x3f8;
const LINE_STATUS: u16 = PORT + 5;
const TRANSMITTER_EMPTY: u8 = 0x20;
/// Status reads before a byte is given up: a machine without the port must still boot.
const PATIENCE: u32 = 100_000;

/// Sets 115200 baud, 8 data bits, no parity, one stop bit, receive and transmit queues on, no interrupts (16550 data sheet).
pub fn init() {
    for (register, value) in [(1, 0x00), (3, 0x80), (0, 0x01), (1, 0x00), (3, 0x03), (2, 0x07), (4, 0x03)] {
        port::write::<u8>(PORT + register, value);
    }
}

/// Writes bytes as they are, a carriage return before each line feed.
pub fn print(text: &[u8]) {
    for &byte in text {
        if byte == b'\n' {
            put(b'\r');
        }
        put(byte);
    }
}

fn put(byte: u8) {
    for _ in 0..PATIENCE {
        if port::read::<u8>(LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
            break;
        }
        core::hint::spin_loop();
    }
    port::write::<u8>(PORT, byte);
}

/// The port as a target of `write!`.
pub struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        print(text.as_bytes());
        Ok(())
    }
}
