//! What must outlive a session, and power: without it, every old state of a repository would look like a new one.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// What was seen of a repository. The default is a system that has seen nothing. It belongs into the system's own durable store, never on a
/// disk that others write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// Highest root version that was accepted; 0: none but the installed one.
    pub root: u32,
    /// Digest of that root's payload, so that no other root takes its number.
    pub root_digest: Digest,
    /// Digest of the keys that signed timestamp and snapshot: other keys mean that their versions begin anew.
    pub online_keys: Digest,
    /// Highest versions that were accepted.
    pub timestamp: u32,
    /// See [`Self::timestamp`].
    pub snapshot: u32,
    /// See [`Self::timestamp`].
    pub targets: u32,
}
