//! Names of grants in a start page ([`hic_abi::start::Grant`]), as the module manager writes them from a manifest.

/// The module's account, with CHARGE: pays for what it creates itself.
pub const ACCOUNT: &str = "account";
/// Prefix of each endpoint that the manifest provides: `endpoint:netstack`. RECEIVE, and MANAGE to make ports to it.
pub const ENDPOINT: &str = hic_abi::start::ENDPOINT;
/// Prefix of each port that the manifest needs: `port:eth_driver`. SEND and COPY.
pub const PORT: &str = "port:";
/// Prefix of each state region: `state:connections`. READ and WRITE; mapped for reading and writing at the grant's address; survives a restart.
pub const STATE: &str = "state:";
/// A PCI device (READ, MANAGE); the grant's address is its vendor and device number.
pub const DEVICE: &str = "device";
/// A region for DMA, mapped for reading and writing; address and length in the grant.
pub const DMA: &str = "dma";
/// A range of I/O ports; address = first port, length = count.
pub const IO_PORTS: &str = "io-ports";
/// An ISA interrupt; address = line.
pub const IRQ: &str = "irq";
/// The audit log and inspection.
pub const AUDIT: &str = "audit";
/// The kernel's log.
pub const LOG: &str = "log";
/// Random numbers.
pub const ENTROPY: &str = "entropy";
/// Power-off and reset.
pub const POWER: &str = "power";
/// The channel through which the module manager asks this service things while it must not wait for it ([`crate::ASKED`] on our endpoint says that
/// there is a question); mapped for reading and writing, address and length in the grant.
pub const CHANNEL: &str = "channel";
/// The notification to signal after an answer through the channel (SEND); the grant's address holds the bits.
pub const BELL: &str = "bell";
