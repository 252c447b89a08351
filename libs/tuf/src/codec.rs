//! Payloads in postcard, in their normal form only.
//!
//! Postcard can write one number in several ways. Two different files must never say the same, so what was read is written again, byte by
//! byte against what came, and refused where they differ. Nothing is allocated for that.

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

/// Reads one value from the front of `bytes`, and returns it with the rest; `None` if there is none, or not in its normal form.
pub(crate) fn take<'a, T: Serialize + Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    let used = bytes.get(..bytes.len().checked_sub(rest.len())?)?;
    let left = postcard::serialize_with_flavor(&value, Same(used)).ok()?;
    left.is_empty().then_some((value, rest))
}

/// Reads the one value that takes up all of `bytes`.
pub(crate) fn whole<'a, T: Serialize + Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    take(bytes).and_then(|(value, rest)| rest.is_empty().then_some(value))
}

/// Takes what is written off the front of the bytes that it must equal.
struct Same<'a>(&'a [u8]);

impl<'a> Flavor for Same<'a> {
    type Output = &'a [u8];

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.try_extend(&[data])
    }

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0 = self.0.strip_prefix(data).ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<&'a [u8]> {
        Ok(self.0)
    }
}
