//! What the shell chooses for a connection when it opens it. It is part of the record, so a successor keeps it.

use crate::time::Micros;
use core::fmt;

/// The smallest segment size that we let a peer or a configuration choose. Linux has the same floor, for the same reason:
/// a peer that says 1 makes us send 40 octets of header for each of data.
pub const MIN_MSS: u16 = 88;
/// The segment size when the peer names none (RFC 9293 3.7.1).
pub const DEFAULT_MSS: u16 = 536;
/// Largest ring, each direction: a 30-bit window is the most that RFC 7323 2.3 can express.
pub const MAX_RING: u32 = 1 << 30;

/// Keep-alive probes (RFC 9293 3.8.4). Off unless configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// Silence before the first probe.
    pub idle: Micros,
    /// Between probes.
    pub interval: Micros,
    /// Unanswered probes after which the connection is dead.
    pub probes: u8,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Micros::from_secs(7200), interval: Micros::from_secs(75), probes: 9 }
    }
}

/// The choices of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The segment size that we announce: interface MTU less 40.
    pub mss: u16,
    /// Octets in the rx ring.
    pub rx_capacity: u32,
    /// Octets in the tx ring.
    pub tx_capacity: u32,
    /// Offer and accept timestamps (RFC 7323 3).
    pub timestamps: bool,
    /// Offer and accept selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Offer and accept window scaling (RFC 7323 2).
    pub window_scaling: bool,
    /// Hold small segments back while data is in flight (RFC 9293 3.7.4).
    pub nagle: bool,
    /// Keep-alive, if any.
    pub keep_alive: Option<KeepAlive>,
    /// How long TIME-WAIT lasts. RFC 9293 wants 4 minutes (2 MSL); the default is what Linux does.
    pub time_wait: Micros,
    /// How long FIN-WAIT-2 lasts once no application is left to wait for.
    pub fin_wait_2: Micros,
    /// How long an acknowledgement may wait for company (RFC 9293 3.8.6.3: under 500 ms).
    pub delayed_ack: Micros,
    /// Retransmissions of the same SYN before giving up.
    pub syn_retries: u8,
    /// Retransmissions of the same data, or unanswered window probes, before giving up (R2, RFC 9293 3.8.3).
    pub retries: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mss: 1460,
            rx_capacity: 65536,
            tx_capacity: 65536,
            timestamps: true,
            sack: true,
            window_scaling: true,
            nagle: false,
            keep_alive: None,
            time_wait: Micros::from_secs(60),
            fin_wait_2: Micros::from_secs(60),
            delayed_ack: Micros::from_millis(40),
            syn_retries: 6,
            retries: 15,
        }
    }
}

/// A configuration that cannot work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// The segment size lies below [`MIN_MSS`].
    Mss(u16),
    /// A ring is empty or larger than [`MAX_RING`].
    Ring(u32),
    /// A duration is longer than a day, or an acknowledgement would wait for half a second or more.
    Duration(Micros),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mss(mss) => write!(f, "segment size {mss} is below {MIN_MSS}"),
            Self::Ring(size) => write!(f, "ring of {size} octets: it must have 1 to {MAX_RING}"),
            Self::Duration(micros) => write!(f, "a duration of {} microseconds is out of range", micros.0),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Longest duration that a configuration may name: a record from outside must not park a connection for ever.
const MAX_DURATION: Micros = Micros::from_secs(86_400);
/// Longest delay of an acknowledgement (RFC 9293 3.8.6.3).
const MAX_DELAYED_ACK: Micros = Micros::from_millis(499);

impl Config {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.mss < MIN_MSS {
            return Err(ConfigError::Mss(self.mss));
        }
        for ring in [self.rx_capacity, self.tx_capacity] {
            if ring == 0 || ring > MAX_RING {
                return Err(ConfigError::Ring(ring));
            }
        }
        let keep = self.keep_alive.unwrap_or_default();
        for duration in [self.time_wait, self.fin_wait_2, keep.idle, keep.interval] {
            if duration > MAX_DURATION {
                return Err(ConfigError::Duration(duration));
            }
        }
        if self.delayed_ack > MAX_DELAYED_ACK {
            return Err(ConfigError::Duration(self.delayed_ack));
        }
        Ok(())
    }

    /// The window scale that we announce: the smallest that can express the whole rx ring.
    #[must_use]
    pub fn window_shift(&self) -> u8 {
        let bits = u32::BITS - self.rx_capacity.leading_zeros();
        bits.saturating_sub(16).min(14) as u8
    }
}
