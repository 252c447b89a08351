//! Private memory between two instances: *nobody else maps it, and each end learns from the kernel who the other is* (ledger P2.6).
//!
//! A channel is a region that names two sandboxes for good. Whoever makes it needs MANAGE on both; it can destroy the channel, and so
//! take it back from both at once, but it cannot look into it. A copy of the capability in other hands maps nowhere, and no device reaches the
//! memory. Encryption on top of it, against whoever can read memory all the same, is not the kernel's.

use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::objects::{Backing, Space};
use hic_abi::object::ChannelSpec;
use hic_abi::{Error, Handle};

/// Which identity `RegionInfo` is asked for.
const OF_PEER: u64 = 1;
const OF_CALLER: u64 = 2;

/// A UUID of version 8 (RFC 9562, 5.8): what tells this boot from others, and the number that no other sandbox of it ever has.
pub const fn identity(boot: u64, serial: u64) -> (u64, u64) {
    (boot & !0xf000 | 0x8000, 1 << 63 | serial & !(3 << 62))
}

impl<M: Machine> Kernel<M> {
    /// The two sandboxes that a channel is for.
    pub(crate) fn channel_ends(&mut self, spec: u64) -> Result<Backing, Error> {
        let ChannelSpec { ends } = self.read_user(spec)?;
        let mut serials = [0; 2];
        for (serial, end) in serials.iter_mut().zip(ends) {
            let end = Handle::try_from(end).map_err(|_| Error::InvalidHandle)?;
            *serial = self.sandboxes[self.space(end)?].serial;
        }
        let [one, other] = serials;
        if one == other { Err(Error::InvalidArgument) } else { Ok(Backing::Channel { ends: serials }) }
    }

    /// Whether a region may be mapped there.
    #[cold]
    pub(crate) fn may_map(&self, space: Space, region: u32) -> Result<(), Error> {
        match (&self.regions[region].backing, space) {
            (Backing::Channel { ends }, Space::Sandbox(at)) if ends.contains(&self.sandboxes[at].serial) => {
                Ok(())
            }
            (Backing::Channel { .. }, _) => Err(Error::MissingRights),
            (Backing::Frames, _) | (_, Space::Sandbox(_)) => Ok(()),
            (_, Space::Device(_)) => Err(Error::WrongType),
        }
    }

    /// Who is at the other end of a channel, or at this one, for the two that are.
    pub(crate) fn channel_identity(&self, region: u32, whose: u64) -> Result<(u64, u64), Error> {
        let Backing::Channel { ends: [one, other] } = self.regions[region].backing else {
            return Err(Error::WrongState);
        };
        let caller = self.sandboxes[self.caller()].serial;
        let peer = match caller {
            _ if caller == one => other,
            _ if caller == other => one,
            _ => return Err(Error::MissingRights),
        };
        match whose {
            OF_PEER => Ok(identity(self.boot, peer)),
            OF_CALLER => Ok(identity(self.boot, caller)),
            _ => Err(Error::InvalidArgument),
        }
    }
}
