//! Those who run beside the sandbox under trial and shall not notice it.

use crate::props::SECRET;
use hic_abi::FOREVER;
use hic_rt::ipc::{self, Buffer, Message, Received};
use hostile::Board;

/// Words that the victim keeps and reads over and over.
const KEPT: usize = 64;

/// The victim: reads its own memory, counts, and dies if a word of it ever changes.
pub fn count(board: &'static Board) -> u64 {
    let mut kept = [0; KEPT];
    for (word, n) in kept.iter_mut().zip(0..) {
        *word = SECRET ^ n;
    }
    loop {
        for (word, n) in kept.iter().zip(0..) {
            // SAFETY: a reference is valid for reads; volatile, so that the compiler does not know what must be there.
            if unsafe { core::ptr::read_volatile(word) } != SECRET ^ n {
                return n;
            }
        }
        board.count.store(
            board.count.load(core::sync::atomic::Ordering::Relaxed) + 1,
            core::sync::atomic::Ordering::Relaxed,
        );
    }
}

/// Takes what nobody wants. Without `pause`, which costs an emulator more than anything else.
pub fn fill() -> u64 {
    // SAFETY: a jump to itself touches nothing.
    unsafe { core::arch::asm!("2: jmp 2b", options(noreturn, nomem, nostack)) }
}

/// Answers every call with its own words, and takes no capabilities.
pub fn echo() -> u64 {
    let mut buffer = Buffer::new();
    let mut next = ipc::receive(1, &mut buffer, FOREVER);
    loop {
        next = match next {
            Ok(Received::Call { message, .. }) => {
                ipc::reply_receive(1, Message::new(0, message.words), &mut buffer, FOREVER)
            }
            Ok(_) => ipc::receive(1, &mut buffer, FOREVER),
            Err(error) => return error.code(),
        };
    }
}
