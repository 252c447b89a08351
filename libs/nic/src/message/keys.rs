//! A list of flows as the inline bytes of a request: 24 bytes each, the key's words in little-endian order.

use super::Refusal;
use crate::flow::FlowKey;

/// Most flows that one request names: 960 of the 1024 inline bytes of a message.
pub const MAX_KEYS: usize = 40;
/// Inline bytes of one flow.
pub const KEY_BYTES: usize = 24;

/// Up to [`MAX_KEYS`] flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKeys {
    keys: [FlowKey; MAX_KEYS],
    len: usize,
}

impl Default for FlowKeys {
    fn default() -> Self {
        Self { keys: [FlowKey::Port { protocol: 0, port: 0 }; MAX_KEYS], len: 0 }
    }
}

impl FlowKeys {
    /// Adds a flow; `false` if the list is full.
    pub fn push(&mut self, key: FlowKey) -> bool {
        let Some(place) = self.keys.get_mut(self.len) else { return false };
        *place = key;
        self.len += 1;
        true
    }

    /// The flows in the order of the list.
    #[must_use]
    pub fn as_slice(&self) -> &[FlowKey] {
        self.keys.get(..self.len).unwrap_or_default()
    }

    /// Reads the `count` flows of a request from its inline bytes.
    ///
    /// # Errors
    /// [`Refusal::BadArgument`] for no or more than [`MAX_KEYS`] flows, bytes that are not exactly theirs, or words that are no key's.
    pub fn read(count: u32, bytes: &[u8]) -> Result<Self, Refusal> {
        let count = count as usize;
        if count == 0 || count > MAX_KEYS || bytes.len() != count * KEY_BYTES {
            return Err(Refusal::BadArgument);
        }
        let mut keys = Self::default();
        for chunk in bytes.chunks_exact(KEY_BYTES) {
            let mut words = chunk.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
            let words = core::array::from_fn(|_| words.next().unwrap_or(0));
            keys.push(FlowKey::from_words(words).ok_or(Refusal::BadArgument)?);
        }
        Ok(keys)
    }
}

/// Writes flows as inline bytes; how many bytes. `None` if there are none, more than [`MAX_KEYS`], or `out` is too short.
#[must_use]
pub fn write_keys(keys: &[FlowKey], out: &mut [u8]) -> Option<usize> {
    let len = keys.len() * KEY_BYTES;
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return None;
    }
    for (key, place) in keys.iter().zip(out.get_mut(..len)?.as_chunks_mut::<KEY_BYTES>().0) {
        for (word, to) in key.to_words().into_iter().zip(place.as_chunks_mut::<8>().0) {
            *to = word.to_le_bytes();
        }
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn a_list_of_flows_survives_its_bytes(ports in proptest::collection::vec(any::<u16>(), 1..MAX_KEYS + 1)) {
            let keys: Vec<FlowKey> = ports.into_iter().map(|port| FlowKey::Port { protocol: 6, port }).collect();
            let mut bytes = [0; 1024];
            let len = write_keys(&keys, &mut bytes).unwrap();
            let read = FlowKeys::read(keys.len() as u32, &bytes[..len]).unwrap();
            prop_assert_eq!(read.as_slice(), &keys[..]);
        }

        #[test]
        fn arbitrary_bytes_are_a_list_or_a_refusal(count: u32, bytes in proptest::collection::vec(any::<u8>(), 0..1024)) {
            let _ = FlowKeys::read(count, &bytes);
            let _ = FlowKeys::read((bytes.len() / KEY_BYTES) as u32, &bytes);
        }
    }

    #[test]
    fn no_flow_one_too_many_and_loose_bytes_are_refused() {
        let key = FlowKey::Port { protocol: 17, port: 53 };
        let mut bytes = [0; 1024];
        assert_eq!(write_keys(&[], &mut bytes), None);
        assert_eq!(write_keys(&[key; MAX_KEYS + 1], &mut bytes), None);
        assert_eq!(write_keys(&[key], &mut bytes), Some(24));
        assert_eq!(FlowKeys::read(1, &bytes[..25]), Err(Refusal::BadArgument));
        assert_eq!(FlowKeys::read(0, &[]), Err(Refusal::BadArgument));
        assert_eq!(FlowKeys::read(2, &bytes[..24]), Err(Refusal::BadArgument));
    }
}
