//! A 16550 UART (National Semiconductor PC16550D data sheet), interrupt-driven for receiving, polled for sending.
//!
//! Its own few lines instead of the crate `uart_16550`: that one executes `in` and `out` itself, which ring 3 cannot; here a register
//! access is a system call on an I/O port capability.

/// Access to the eight registers, by their offset.
pub trait Registers {
    /// Reads one.
    fn read(&mut self, offset: u16) -> u8;
    /// Writes one.
    fn write(&mut self, offset: u16, value: u8);
}

/// Received byte, byte to send.
const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;

/// Interrupt when a byte was received.
const ON_RECEIVED: u8 = 1;
/// Queues on, both emptied, interrupt at the first byte.
const FIFOS_ON: u8 = 0x07;
/// Eight data bits, no parity, one stop bit.
const EIGHT_N_ONE: u8 = 0x03;
/// The divisor is at offsets 0 and 1 while this is set.
const DIVISOR_ACCESS: u8 = 0x80;
/// 115200 baud.
const DIVISOR: [u8; 2] = [1, 0];
/// DTR, RTS, and OUT2, which lets the interrupt through on a PC.
const READY: u8 = 0x0b;
const DATA_READY: u8 = 0x01;
/// The transmit queue is empty.
const QUEUE_EMPTY: u8 = 0x20;
/// So is the shift register: all is on the wire.
const ALL_SENT: u8 = 0x40;
/// Bytes that the transmit queue takes when it is empty.
const QUEUE: usize = 16;
/// Status reads before bytes are given up: a line that takes nothing must not hang the console.
const PATIENCE: u32 = 200_000;

/// The UART.
pub struct Uart<R> {
    registers: R,
}

impl<R: Registers> Uart<R> {
    /// Sets it up: 115200 8N1, queues on, interrupt on reception.
    pub fn new(mut registers: R) -> Self {
        let [low, high] = DIVISOR;
        let setup = [
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, DIVISOR_ACCESS),
            (DATA, low),
            (INTERRUPT_ENABLE, high),
            (LINE_CONTROL, EIGHT_N_ONE),
            (FIFO_CONTROL, FIFOS_ON),
            (MODEM_CONTROL, READY),
            (INTERRUPT_ENABLE, ON_RECEIVED),
        ];
        for (offset, value) in setup {
            registers.write(offset, value);
        }
        Self { registers }
    }

    /// The next received byte. All must be taken before the next interrupt can come: the line is edge-triggered.
    pub fn receive(&mut self) -> Option<u8> {
        (self.registers.read(LINE_STATUS) & DATA_READY != 0).then(|| self.registers.read(DATA))
    }

    /// Sends bytes as they are; whether the line took them all.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        for part in bytes.chunks(QUEUE) {
            if !self.wait(QUEUE_EMPTY) {
                return false;
            }
            for &byte in part {
                self.registers.write(DATA, byte);
            }
        }
        true
    }

    /// Sends text, a carriage return before each line feed; whether the line took it all.
    pub fn print(&mut self, text: &str) -> bool {
        let mut taken = true;
        for line in text.split_inclusive('\n') {
            let bare = line.strip_suffix('\n');
            taken = taken && self.send(bare.unwrap_or(line).as_bytes());
            taken = taken && (bare.is_none() || self.send(b"\r\n"));
        }
        taken
    }

    /// Waits until all is on the wire.
    pub fn flush(&mut self) {
        self.wait(ALL_SENT);
    }

    fn wait(&mut self, bits: u8) -> bool {
        (0..PATIENCE).any(|_| self.registers.read(LINE_STATUS) & bits != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    #[derive(Default)]
    struct Line {
        received: VecDeque<u8>,
        sent: Vec<u8>,
        queued: usize,
        enabled: bool,
        dead: bool,
    }

    impl Registers for &mut Line {
        fn read(&mut self, offset: u16) -> u8 {
            match offset {
                DATA => self.received.pop_front().unwrap_or(0),
                LINE_STATUS if self.dead => 0,
                LINE_STATUS => {
                    self.queued = 0;
                    u8::from(!self.received.is_empty()) | QUEUE_EMPTY | ALL_SENT
                }
                _ => 0,
            }
        }

        fn write(&mut self, offset: u16, value: u8) {
            match offset {
                DATA if self.enabled => {
                    self.queued += 1;
                    assert!(self.queued <= QUEUE, "the queue overflows");
                    self.sent.push(value);
                }
                INTERRUPT_ENABLE => self.enabled = value == ON_RECEIVED,
                _ => {}
            }
        }
    }

    #[test]
    fn lines_end_with_carriage_return_and_line_feed() {
        let mut line = Line::default();
        assert!(Uart::new(&mut line).print("a long line of text\n\nhic> "));
        assert_eq!(line.sent, b"a long line of text\r\n\r\nhic> ");
    }

    #[test]
    fn receiving_drains_what_is_there() {
        let mut line = Line { received: VecDeque::from(*b"ab"), ..Line::default() };
        let mut uart = Uart::new(&mut line);
        assert_eq!([uart.receive(), uart.receive(), uart.receive()], [Some(b'a'), Some(b'b'), None]);
    }

    #[test]
    fn a_dead_line_does_not_hang_the_console() {
        let mut line = Line { dead: true, ..Line::default() };
        assert!(!Uart::new(&mut line).print("text\n"));
        assert!(line.sent.is_empty());
    }
}
