//! Sockets that wait for their turn: each once, first come first served.

use crate::slab::Id;
use alloc::collections::{BTreeSet, VecDeque};

/// A socket to serve again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    Connection(Id),
    Udp(Id),
}

#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    order: VecDeque<Work>,
    members: BTreeSet<Work>,
}

impl WorkQueue {
    pub(super) fn push(&mut self, work: Work) {
        if self.members.insert(work) {
            self.order.push_back(work);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Work> {
        let work = self.order.pop_front()?;
        self.members.remove(&work);
        Some(work)
    }

    pub(super) fn contains(&self, work: Work) -> bool {
        self.members.contains(&work)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
