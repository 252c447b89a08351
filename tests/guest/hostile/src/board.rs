//! One page that the director and the sandbox under trial share: what to try, with which numbers, and what came of it.
//!
//! It is mapped in the sandbox without a capability, so that a sandbox that shall hold nothing holds nothing.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Words for arguments and for results.
pub const WORDS: usize = 24;

/// The page; all words are zero at first.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Board {
    task: AtomicU64,
    index: AtomicU64,
    granted: AtomicU64,
    /// Numbers that the director gives: addresses, sizes, seeds.
    pub args: [AtomicU64; WORDS],
    /// Numbers that the sandbox under trial gives back.
    pub out: [AtomicU64; WORDS],
    /// Things done so far, by those who are measured or who shall not stop.
    pub count: AtomicU64,
    /// Where the sandbox under trial puts registers.
    pub dump: [[AtomicU64; 32]; 4],
}

const _: () = assert!(size_of::<Board>() <= hic_abi::PAGE_SIZE as usize);

/// What a sandbox under trial does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// One system call with the tested handle (`probes`).
    Probe,
    /// The code page (`code`).
    Code,
    /// An attempt with a function of its own (`acts`).
    Act,
    /// The sweep over all system calls (`sweep`).
    Sweep,
    /// A load on the whole system, until it is frozen (`loads`).
    Load,
    /// Random system calls (`fuzz`).
    Fuzz,
    /// Looking at its registers (`registers`).
    Registers,
}

const TASKS: [Task; 7] =
    [Task::Probe, Task::Code, Task::Act, Task::Sweep, Task::Load, Task::Fuzz, Task::Registers];

impl Board {
    /// Says what shall be done, and clears what came of the last one.
    pub fn order(&self, task: Task, index: usize, granted: bool, args: &[u64]) {
        self.task.store(task as u64, Relaxed);
        self.index.store(index as u64, Relaxed);
        self.granted.store(granted.into(), Relaxed);
        self.args
            .iter()
            .chain(&self.out)
            .chain(self.dump.as_flattened())
            .for_each(|word| word.store(0, Relaxed));
        self.count.store(0, Relaxed);
        for (word, value) in self.args.iter().zip(args) {
            word.store(*value, Relaxed);
        }
    }

    /// What shall be done: the task, its number, and whether the authority for it was granted.
    #[must_use]
    pub fn task(&self) -> Option<(Task, usize, bool)> {
        let task = TASKS.get(self.task.load(Relaxed) as usize)?;
        Some((*task, self.index.load(Relaxed) as usize, self.granted.load(Relaxed) != 0))
    }

    /// An argument; 0 beyond the last one.
    #[must_use]
    pub fn arg(&self, index: usize) -> u64 {
        self.args.get(index).map_or(0, |word| word.load(Relaxed))
    }

    /// Puts a result where the director finds it.
    pub fn put(&self, index: usize, value: u64) {
        if let Some(word) = self.out.get(index) {
            word.store(value, Relaxed);
        }
    }

    /// A result.
    #[must_use]
    pub fn result(&self, index: usize) -> u64 {
        self.out.get(index).map_or(0, |word| word.load(Relaxed))
    }

    /// Counts one more thing done.
    pub fn step(&self) {
        self.count.store(self.count.load(Relaxed) + 1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_was_given_and_forgets_the_one_before() {
        let board = Board::default();
        board.put(3, 7);
        for task in TASKS {
            board.order(task, 5, true, &[1, 2]);
            assert_eq!(board.task(), Some((task, 5, true)));
        }
        assert_eq!((board.arg(1), board.arg(2), board.arg(WORDS), board.result(3)), (2, 0, 0, 0));
    }
}
