//! The record of defaults over restarts of the manager: what the disk has, so that what the disk refused is refused, too, for a manager that is
//! started again.
//!
//! Two places, and one word that says which of them counts. It is stored last: at whatever store the manager dies, the record is the one from before or the
//! one from after.

use super::store_last;
use hic_store::{Defaults, MAX_RECORD_BYTES, StoreError};

/// The record that counts.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KeptDefaults {
    /// Bytes of the record that counts, and above them the place in which it lies; 0 = there is none.
    at: u64,
    records: [[u8; MAX_RECORD_BYTES]; 2],
}

impl KeptDefaults {
    /// Where the number of the place begins.
    const PLACE: u32 = 32;

    /// Stands for a record that nobody could read.
    const UNREAD: u64 = 2 << Self::PLACE;

    /// There is a record on the disk, or may be, and nobody knows what it says.
    pub fn could_not_be_read(&mut self) {
        self.at = Self::UNREAD;
    }

    /// Whether it is so: then nothing may be written over it.
    #[must_use]
    pub const fn is_unread(&self) -> bool {
        self.at == Self::UNREAD
    }

    /// The record that counts.
    #[must_use]
    pub fn load(&self) -> Option<Defaults> {
        let (place, length) = ((self.at >> Self::PLACE) as usize, self.at as u32 as usize);
        let record = self.records.get(place)?.get(..length)?;
        Defaults::decode(record).ok()
    }

    /// The disk has this record.
    pub fn keep(&mut self, record: &[u8]) {
        let place = usize::from(self.at >> Self::PLACE == 0);
        for (to, from) in self.records[place].iter_mut().zip(record) {
            *to = *from;
        }
        store_last(&mut self.at, (place as u64) << Self::PLACE | record.len() as u64);
    }

    /// The disk was asked to write this record, and answered. Without a disk it counts until power fails, which is better than nothing.
    pub fn written(&mut self, record: &[u8], result: Result<(), StoreError>) {
        if matches!(result, Ok(()) | Err(StoreError::NoDisk)) {
            self.keep(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hic_hicmod::manifest::{Name, Version};

    fn record(minor: u32, buffer: &mut [u8; MAX_RECORD_BYTES]) -> (Defaults, &[u8]) {
        let (mut defaults, name) = (Defaults::default(), "netstack".parse::<Name>().unwrap());
        defaults.set_default(&name, Version::new(1, minor, 0), Version::new(1, 0, 0)).unwrap();
        let bytes = defaults.encode(buffer).unwrap();
        (defaults, bytes)
    }

    fn empty() -> KeptDefaults {
        KeptDefaults { at: 0, records: [[0; MAX_RECORD_BYTES]; 2] }
    }

    #[test]
    fn what_the_disk_refused_does_not_count_for_a_manager_that_is_started_again() {
        let (mut kept, mut buffers) = (empty(), [[0; MAX_RECORD_BYTES]; 3]);
        assert_eq!(kept.load(), None);
        let [first, second, third] = &mut buffers;
        let (before, bytes) = record(1, first);
        kept.written(bytes, Ok(()));
        let (after, bytes) = record(2, second);
        for error in [StoreError::Device, StoreError::Full, StoreError::ReadOnly] {
            kept.written(bytes, Err(error));
            assert_eq!(kept.load(), Some(before.clone()));
        }
        kept.written(bytes, Ok(()));
        assert_eq!(kept.load(), Some(after));
        let (until_power_fails, bytes) = record(3, third);
        kept.written(bytes, Err(StoreError::NoDisk));
        assert_eq!(kept.load(), Some(until_power_fails));
    }

    #[test]
    fn a_record_that_could_not_be_read_is_none_and_is_known_to_be_there() {
        let (mut kept, mut buffer) = (empty(), [0; MAX_RECORD_BYTES]);
        assert!(!kept.is_unread(), "nothing was looked for yet");
        kept.could_not_be_read();
        assert!(kept.is_unread() && kept.load().is_none());
        let (_, bytes) = record(1, &mut buffer);
        kept.written(bytes, Err(StoreError::Unread));
        assert!(kept.is_unread() && kept.load().is_none(), "what was refused does not count");
    }

    #[test]
    fn a_record_that_was_cut_off_in_the_middle_did_not_take_the_place_of_the_one_before() {
        let (mut kept, mut buffer) = (empty(), [0; MAX_RECORD_BYTES]);
        for minor in 1..5 {
            let (before, was) = (kept, kept.load());
            let (_, bytes) = record(minor, &mut buffer);
            kept.keep(bytes);
            assert_ne!(kept.load(), was);
            for cut in 0..bytes.len() {
                let mut torn = before;
                for (to, from) in torn.records.iter_mut().zip(&kept.records) {
                    to[..cut].copy_from_slice(&from[..cut]);
                }
                assert_eq!(torn.load(), was, "{minor}, {cut}");
            }
        }
    }
}
