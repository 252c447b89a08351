//! How a sandbox stops: faults, exits, fuses, and the order of its manager.
//!
//! A sandbox that freezes leaves the scheduler at once and keeps all that it holds. Its threads are stopped in parts; whoever meets one before its
//! turn takes it for dead (docs/adr/0012).

use crate::config::EFFORT;
use crate::kernel::{FIRST_SERIAL, Kernel};
use crate::machine::{Machine, PowerAction};
use crate::objects::{ObjectRef, Queue, Sandbox, State};
use crate::pool::Link;
use core::fmt::Write;
use hic_abi::audit::Event;
use hic_abi::log::Text;
use hic_abi::message::Fault;
use hic_abi::syscall::Syscall;
use hic_abi::{Error, Handle, ObjectType, Rights};

impl<M: Machine> Kernel<M> {
    /// Stops all threads of a sandbox, keeps all else, and tells its fault port why. None of them runs from now on; those that this entry cannot
    /// stop are stopped later, as what is destroyed is taken apart later.
    pub(crate) fn freeze(&mut self, sandbox: u32, fault: [u64; 4]) {
        self.effort = 0;
        self.begin_to_freeze(sandbox, fault);
    }

    pub(crate) fn begin_to_freeze(&mut self, sandbox: u32, fault: [u64; 4]) {
        if self.sandboxes[sandbox].frozen {
            return;
        }
        let Sandbox { serial, name, .. } = self.sandboxes[sandbox];
        self.record(Event::SandboxFrozen, serial, fault[0], fault[1], name);
        let running = self.sched.current();
        self.sandboxes[sandbox].frozen = true;
        self.set_fuse(sandbox, (0, 0));
        self.leave_queue(sandbox);
        let frozen = &mut self.sandboxes[sandbox];
        (frozen.queue, frozen.fault, frozen.unstopped) = (Queue::Frozen, fault, frozen.threads.first());
        for thread in [running, self.sched.handoff.map(Link::index)].into_iter().flatten() {
            if self.threads[thread].sandbox == sandbox {
                self.stop_thread(thread);
            }
        }
        self.unfinished.push_back(&mut self.sandboxes, sandbox);
        self.stop_some(sandbox);
        self.look_after_remains();
    }

    /// Stops threads of a sandbox that froze, as many as one entry may; when all are stopped, its fault port hears of it.
    pub(crate) fn stop_some(&mut self, sandbox: u32) {
        while let Some(thread) = self.sandboxes[sandbox].unstopped {
            if self.effort >= EFFORT {
                return;
            }
            self.effort += 1;
            self.mark_stopped(sandbox, thread);
            self.stop_thread(thread);
        }
        self.sandboxes[sandbox].queue = Queue::Idle;
        if !self.sandboxes[sandbox].condemned {
            self.unfinished.remove(&mut self.sandboxes, sandbox);
        }
        self.report_fault(sandbox);
    }

    /// Whether a thread belongs to a sandbox that froze. One that others still find waiting is stopped when they do: nobody is served by it, no call of
    /// it is taken and none of it answered.
    pub(crate) fn is_stopped(&mut self, thread: u32) -> bool {
        let frozen = self.is_frozen_thread(thread);
        if frozen && self.threads[thread].state != State::Stopped {
            self.stop_thread(thread);
        }
        frozen
    }

    /// The thread after this one is the next to be stopped.
    pub(crate) fn mark_stopped(&mut self, sandbox: u32, thread: u32) {
        let sandbox = &mut self.sandboxes[sandbox];
        sandbox.unstopped = sandbox.threads.after(&self.threads, thread);
    }

    /// `SandboxFreeze`. Whoever freezes one comes back until its threads are stopped, whoever does the rest.
    pub(crate) fn sys_freeze(&mut self, sandbox: Handle, reason: u64) -> Result<u64, Error> {
        self.effort = 0;
        let begun = match self.leave_off(self.sched.running(), Syscall::SandboxFreeze) {
            Some(begun) => begun,
            None => {
                let kind = ObjectType::Sandbox;
                let id = self.object_of(self.own_space()?, sandbox, kind, Rights::MANAGE)?;
                if self.sandboxes[id.index].frozen {
                    return Err(Error::WrongState);
                }
                self.begin_to_freeze(id.index, [Fault::Frozen as u64, reason, 0, 0]);
                ObjectRef { kind, id }
            }
        };
        let is_left = |k: &Self| k.sandboxes.get(begun.id).is_some_and(|s| s.queue == Queue::Frozen);
        if is_left(self) {
            self.stop_some(begun.id.index);
        }
        Ok(if is_left(self) { self.again_with(Syscall::SandboxFreeze, begun) } else { 0 })
    }

    /// `SandboxFuse`.
    pub(crate) fn sys_fuse(&mut self, sandbox: Handle, calls: u64, reason: u64) -> Result<u64, Error> {
        let sandbox = self.object(sandbox, ObjectType::Sandbox, Rights::MANAGE)?;
        if self.sandboxes[sandbox].frozen {
            return Err(Error::WrongState);
        }
        self.set_fuse(sandbox, (calls, reason));
        Ok(0)
    }

    pub(crate) fn set_fuse(&mut self, sandbox: u32, fuse: (u64, u64)) {
        // The fast path knows nothing of fuses: it finds no way while there is one.
        self.caps.changed();
        let before = core::mem::replace(&mut self.sandboxes[sandbox].fuse, fuse);
        self.fuses = self.fuses + u32::from(fuse.0 != 0) - u32::from(before.0 != 0);
    }

    /// The caller makes a system call while fuses burn somewhere. `true`: it was its last one, and it is frozen.
    pub(crate) fn burn_fuse(&mut self) -> bool {
        let sandbox = self.caller();
        let (calls, reason) = self.sandboxes[sandbox].fuse;
        if calls > 1 {
            self.sandboxes[sandbox].fuse.0 = calls - 1;
        } else if calls == 1 {
            self.freeze(sandbox, [Fault::Frozen as u64, reason, 0, 0]);
        }
        calls == 1
    }

    pub(crate) fn stop_thread(&mut self, thread: u32) {
        // It ends nothing any more.
        self.leave_off(thread, Syscall::Null);
        self.unblock(thread);
        self.threads[thread].state = State::Stopped;
        self.abandon_caller(thread);
    }

    /// Queues the fault on the fault port, carried by the sandbox's first thread.
    fn report_fault(&mut self, sandbox: u32) {
        if self.sandboxes[sandbox].serial == FIRST_SERIAL {
            self.end_of_keeper(sandbox);
        }
        let Some(port) = self.sandboxes[sandbox].fault_port else { return };
        let Some(thread) = self.sandboxes[sandbox].threads.first() else { return };
        let Some(endpoint) = self.ports.get(port).map(|port| port.endpoint) else { return };
        self.threads[thread].state = State::Faulted { port: port.index };
        self.queue_caller(port.index, thread);
        if self.endpoints.is_live(endpoint) {
            self.serve_pending(endpoint.index);
        }
    }

    /// Nobody keeps the first sandbox: without it, nothing that dies comes back, so the system ends and says why.
    fn end_of_keeper(&mut self, sandbox: u32) {
        let [cause, detail, address, rip] = self.sandboxes[sandbox].fault;
        let mut text = Text::<96>::new();
        let _ = write!(
            text,
            "the first sandbox froze: cause {cause} detail {detail:#x} address {address:#x} at {rip:#x}"
        );
        self.log_line("core-0", text.as_bytes());
        self.machine.power(PowerAction::Failed);
    }

    /// A processor exception in ring 3: the sandbox freezes, the kernel goes on.
    pub fn exception(&mut self, vector: u8, error: u64, address: u64) {
        let Some(thread) = self.sched.current() else { return };
        let sandbox = self.threads[thread].sandbox;
        let rip = self.threads[thread].context.frame.rip;
        self.freeze(sandbox, [Fault::Exception as u64, u64::from(vector) | error << 8, address, rip]);
    }

    /// A port of the sandbox's manager that hears of its faults.
    pub(crate) fn sys_fault_port(&mut self, sandbox: Handle, port: Handle) -> Result<u64, Error> {
        let sandbox = self.object(sandbox, ObjectType::Sandbox, Rights::MANAGE)?;
        let port = self.object(port, ObjectType::Port, Rights::SEND)?;
        self.sandboxes[sandbox].fault_port = self.ports.id(port);
        Ok(0)
    }

    pub(crate) fn is_frozen_thread(&self, index: u32) -> bool {
        self.sandboxes[self.threads[index].sandbox].frozen
    }
}
