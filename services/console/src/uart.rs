//! A 16550 UART (National Semiconductor PC16550D data sheet), interrupt-driven both ways.
//!
//! Its own few lines instead of the crate `uart_16550`: that one executes `in` and `out` itself, which ring 3 cannot; here a register
//! access is a system call on an I/O port capability.

use hic_abi::Nanos;

/// Access to the eight registers, by their offset, and to the interrupt.
pub trait Registers {
    /// Reads one.
    fn read(&mut self, offset: u16) -> u8;
    /// Writes one.
    fn write(&mut self, offset: u16, value: u8);
    /// When a line that takes nothing from now on is dead, on the clock of [`Self::wait`].
    fn deadline(&self) -> Nanos;
    /// Waits for the interrupt, or another reason to look again; false once the deadline has passed.
    fn wait(&mut self, deadline: Nanos) -> bool;
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
/// Interrupt when the transmit queue is empty, or is so already.
const ON_EMPTY: u8 = 2;
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
/// Status reads for the last byte to leave the shift register, which takes 87 us.
const LAST_BYTE: u32 = 10_000;

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

    /// What the registers are reached by.
    pub fn registers(&mut self) -> &mut R {
        &mut self.registers
    }

    /// The next received byte. All must be taken before the next interrupt can come: the line is edge-triggered.
    pub fn receive(&mut self) -> Option<u8> {
        (self.status() & DATA_READY != 0).then(|| self.registers.read(DATA))
    }

    /// Sends bytes as they are; whether the line took them all.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        bytes.chunks(QUEUE).all(|part| {
            let taken = self.wait_until_empty();
            if taken {
                part.iter().for_each(|&byte| self.registers.write(DATA, byte));
            }
            taken
        })
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
        let _ = self.wait_until_empty() && (0..LAST_BYTE).any(|_| self.status() & ALL_SENT != 0);
    }

    /// Waits until the transmit queue takes bytes again; false if the line is dead. Interrupts for received bytes are off meanwhile: one that nobody
    /// serves keeps the line of the interrupt up, and no other edge can come. Turned on again they make an edge for what was received.
    fn wait_until_empty(&mut self) -> bool {
        if self.status() & QUEUE_EMPTY != 0 {
            return true;
        }
        self.registers.write(INTERRUPT_ENABLE, ON_EMPTY);
        let (mut empty, deadline) = (false, self.registers.deadline());
        while !empty && self.registers.wait(deadline) {
            empty = self.status() & QUEUE_EMPTY != 0;
        }
        self.registers.write(INTERRUPT_ENABLE, ON_RECEIVED);
        empty
    }

    fn status(&mut self) -> u8 {
        self.registers.read(LINE_STATUS)
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
        interrupts: u8,
        dead: bool,
        /// Waits until the queue is empty after bytes went in.
        slow: u32,
        waits: u32,
    }

    impl Registers for &mut Line {
        fn read(&mut self, offset: u16) -> u8 {
            match offset {
                DATA => self.received.pop_front().unwrap_or(0),
                LINE_STATUS if self.dead => 0,
                LINE_STATUS if self.queued > 0 && self.waits < self.slow => {
                    u8::from(!self.received.is_empty())
                }
                LINE_STATUS => {
                    (self.queued, self.waits) = (0, 0);
                    u8::from(!self.received.is_empty()) | QUEUE_EMPTY | ALL_SENT
                }
                _ => 0,
            }
        }

        fn write(&mut self, offset: u16, value: u8) {
            match offset {
                DATA if self.interrupts == ON_RECEIVED => {
                    self.queued += 1;
                    assert!(self.queued <= QUEUE, "the queue overflows");
                    self.sent.push(value);
                }
                INTERRUPT_ENABLE => self.interrupts = value,
                _ => {}
            }
        }

        fn deadline(&self) -> Nanos {
            7
        }

        fn wait(&mut self, deadline: Nanos) -> bool {
            assert_eq!(deadline, 7);
            assert_eq!(self.interrupts, ON_EMPTY, "no other interrupt tells that the queue is empty");
            self.waits += 1;
            !self.dead
        }
    }

    #[test]
    fn lines_end_with_carriage_return_and_line_feed() {
        let mut line = Line::default();
        assert!(Uart::new(&mut line).print("a long line of text\n\nhic> "));
        assert_eq!(line.sent, b"a long line of text\r\n\r\nhic> ");
    }

    #[test]
    fn a_slow_line_takes_all_and_then_hears_of_what_was_received() {
        let text = "sixteen bytes go in at once, then the line takes its time\n";
        let mut line = Line { slow: 3, received: VecDeque::from(*b"k"), ..Line::default() };
        let mut uart = Uart::new(&mut line);
        assert!(uart.print(text));
        uart.flush();
        assert_eq!(uart.receive(), Some(b'k'));
        assert_eq!(line.sent, text.replace('\n', "\r\n").as_bytes());
        assert_eq!((line.interrupts, line.queued), (ON_RECEIVED, 0));
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
        assert_eq!((line.waits, line.interrupts), (1, ON_RECEIVED));
    }
}
