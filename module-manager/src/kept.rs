//! Which module goes to the system disk next, and to which of the places there.
//!
//! A place is used again when neither the record that is about to be written nor the one that lies on the disk names what is in it: until the new record
//! is there, a power cut leads back to the old one, and all that it names must be whole. There are as many places as modules in memory, so one is free.

use crate::journal::{CachedModule, MAX_CACHED};
use hic_hicmod::manifest::Version;
use hic_store::Defaults;
use hic_store::messages::MAX_KEPT;

const _: () = assert!(MAX_KEPT as usize >= MAX_CACHED);

/// Whether a record names this version as the default of its service, or as the one before it, and does not say that the service was removed.
#[must_use]
pub fn names(record: &Defaults, name: &str, version: Version, archived: bool) -> bool {
    let service = record.service(name);
    service.is_some_and(|s| s.version == version || s.previous == Some(version))
        && record.is_present(name, archived)
}

/// The next module to be kept, and its place; `None` if there is none. `names` tells of a cached module whether the next record names it, and whether the one
/// on the disk does. Whatever lay in the place is there no more from here on: the first part that is written destroys it.
pub fn begin(
    cached: &mut [CachedModule],
    names: impl Fn(usize) -> (bool, bool),
) -> Option<(usize, Option<u16>)> {
    let is_due = |(number, entry): (usize, &CachedModule)| {
        // What the repository disk has is found there by a boot.
        let is_homeless = entry.from != CachedModule::DISK && entry.place == CachedModule::NOWHERE;
        entry.region != 0 && is_homeless && names(number).0
    };
    let due = cached.iter().enumerate().position(is_due)?;
    let lies_in = |entry: &CachedModule, place: u16| entry.region != 0 && entry.place == place + 1;
    let needed = |number: usize| matches!(names(number), (true, _) | (_, true));
    let taken =
        |place: u16| cached.iter().enumerate().any(|(number, entry)| lies_in(entry, place) && needed(number));
    let place = (0..MAX_KEPT as u16).find(|place| !taken(*place));
    for entry in cached.iter_mut().filter(|entry| place.is_some_and(|place| entry.place == place + 1)) {
        entry.place = CachedModule::NOWHERE;
    }
    Some((due, place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Trust;
    use std::vec::Vec;

    const V1: Version = Version::new(1, 3, 0);
    const V2: Version = Version::new(1, 4, 0);
    const V3: Version = Version::new(1, 5, 0);
    const V4: Version = Version::new(1, 6, 0);

    fn module(from: u16, place: u16) -> CachedModule {
        let trust = Trust { state: Trust::VERIFIED, development: 0, digest: [0; 48], signer: [0; 64] };
        CachedModule { region: 1, from, place, address: 0, length: 1, trust }
    }

    fn record(version: Version, previous: Option<Version>) -> Defaults {
        let mut record = Defaults::default();
        record.install(&"netstack".parse().unwrap(), version).unwrap();
        record.services[0].previous = previous;
        record
    }

    /// What is there: each module with its version.
    struct Disk(Vec<CachedModule>, Vec<Version>);

    impl Disk {
        fn begin(&mut self, next: &Defaults, written: &Defaults) -> Option<(Version, Option<u16>)> {
            let versions = self.1.clone();
            let by = |record, number: usize| names(record, "netstack", versions[number], false);
            let begun = begin(&mut self.0, |number| (by(next, number), by(written, number)));
            begun.map(|(due, place)| (versions[due], place))
        }

        fn end(&mut self, version: Version, place: Option<u16>) {
            let number = self.1.iter().position(|known| *known == version).unwrap();
            self.0[number].place = place.unwrap() + 1;
        }

        fn place_of(&self, version: Version) -> u16 {
            self.0[self.1.iter().position(|known| *known == version).unwrap()].place
        }
    }

    fn two_and_one_more() -> Disk {
        let cached = [
            module(CachedModule::SYSTEM, 1),
            module(CachedModule::SYSTEM, 2),
            module(CachedModule::NETWORK, CachedModule::NOWHERE),
        ];
        Disk(cached.into(), [V2, V1, V3].into())
    }

    #[test]
    fn what_the_record_on_the_disk_names_stays_until_the_next_record_is_there() {
        let mut disk = two_and_one_more();
        let begun = disk.begin(&record(V3, Some(V2)), &record(V2, Some(V1)));
        assert_eq!(begun, Some((V3, Some(2))), "a place that neither record needs");
        assert_eq!((disk.place_of(V2), disk.place_of(V1)), (1, 2));
    }

    #[test]
    fn a_place_that_is_written_anew_is_nobody_s_before_the_first_byte() {
        let mut disk = two_and_one_more();
        // Both records are without 1.3.0: its place is used, and a keep that fails or is cut off leaves nobody who believes that it is still there.
        let (now, next) = (record(V2, None), record(V3, Some(V2)));
        assert_eq!(disk.begin(&next, &now), Some((V3, Some(1))));
        assert_eq!(disk.place_of(V1), CachedModule::NOWHERE);
        assert_eq!(disk.place_of(V2), 1);
    }

    #[test]
    fn what_was_read_from_the_system_disk_is_kept_again_when_its_place_was_given_away() {
        let mut disk = two_and_one_more();
        let mut written = record(V2, None);
        for (next, due) in [(record(V3, Some(V2)), V3), (record(V1, Some(V3)), V1)] {
            let (version, place) = disk.begin(&next, &written).unwrap();
            assert_eq!(version, due);
            disk.end(version, place);
            assert_eq!(disk.begin(&next, &written), None);
            written = next;
        }
        assert_ne!(disk.place_of(V1), disk.place_of(V3));
    }

    #[test]
    fn what_nobody_names_or_the_repository_disk_has_is_not_kept() {
        let mut disk = Disk(
            [module(CachedModule::DISK, 0), module(CachedModule::NETWORK, CachedModule::REFUSED)].into(),
            [V1, V2].into(),
        );
        assert_eq!(disk.begin(&record(V1, Some(V2)), &Defaults::default()), None);
        disk.0.push(module(CachedModule::NETWORK, 0));
        disk.1.push(V4);
        assert_eq!(disk.begin(&record(V1, Some(V2)), &Defaults::default()), None);
        let mut removed = record(V4, None);
        removed.remove(&"netstack".parse().unwrap(), V4, true).unwrap();
        assert_eq!(disk.begin(&removed, &removed), None, "removed");
        assert_eq!(disk.begin(&record(V4, None), &removed), Some((V4, Some(0))));
    }

    #[test]
    fn there_is_a_place_for_each_module_in_memory() {
        // All modules but one are kept and named by the record on the disk, and the next record names the last one, too.
        let mut cached: Vec<_> =
            (1..MAX_CACHED as u16).map(|place| module(CachedModule::SYSTEM, place)).collect();
        cached.push(module(CachedModule::NETWORK, CachedModule::NOWHERE));
        let begun = begin(&mut cached, |number| (number + 1 == MAX_CACHED, true));
        assert_eq!(begun, Some((MAX_CACHED - 1, Some(MAX_CACHED as u16 - 1))));
    }
}
