//! What a capability allows. A copy may have fewer rights than its origin, never more.

bitflags::bitflags! {
    /// Rights of a capability. Which ones an operation needs is said at each system call ([`crate::syscall::Syscall`]).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rights: u32 {
        /// Read: a region's bytes, an MMIO window, a port's target, an audit log.
        const READ = 1 << 0;
        /// Write: a region's bytes, an MMIO window, I/O ports.
        const WRITE = 1 << 1;
        /// Map sealed pages executable.
        const EXECUTE = 1 << 2;
        /// Send: call a port, signal a notification.
        const SEND = 1 << 3;
        /// Receive on an endpoint, wait on a notification.
        const RECEIVE = 1 << 4;
        /// Make copies, and hand copies on in messages.
        const COPY = 1 << 5;
        /// Control: switch a port, start and freeze a sandbox, seal a region, bind an interrupt, destroy the object.
        const MANAGE = 1 << 6;
        /// Charge objects and memory to an account.
        const CHARGE = 1 << 7;
        /// Look at kernel objects (with the audit capability only).
        const INSPECT = 1 << 8;
    }
}
