//! For all bytes and all mixtures of files.

use proptest::prelude::*;

use super::*;
use crate::envelope::Envelope;

const NAMES: [&str; 4] = ["2.root.tuf", "timestamp.tuf", "1.snapshot.tuf", "1.targets.tuf"];

/// A repository of two roots.
fn two_roots() -> &'static Files {
    static MADE: OnceLock<Files> = OnceLock::new();
    MADE.get_or_init(|| {
        let mut files = repository();
        files.put("2.root.tuf", root(head(2), &Holders::default(), &ROOTS[..2]));
        files
    })
}

/// Three publications after one another, with the highest version in them.
fn history() -> &'static [Files; 3] {
    static MADE: OnceLock<[Files; 3]> = OnceLock::new();
    MADE.get_or_init(|| {
        [1, 2, 3].map(|version| {
            let mut files = repository();
            let mut manifest = manifest();
            manifest.version.patch = version;
            files.publish(&Holders::default(), [version; 3], &[target(&manifest)]);
            files
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_flipped_bit_of_any_file_is_refused(name in 0..NAMES.len(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut files = two_roots().clone();
        files.change(NAMES[name], |bytes| {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        });
        prop_assert!(files.walk(Trusted::default(), NOW).is_err());
    }

    #[test]
    fn any_cut_or_longer_file_is_refused(name in 0..NAMES.len(), length in any::<prop::sample::Index>(), more in 1..600usize) {
        let mut files = two_roots().clone();
        files.change(NAMES[name], |bytes| bytes.truncate(length.index(bytes.len())));
        prop_assert!(files.walk(Trusted::default(), NOW).is_err());
        let mut files = two_roots().clone();
        files.change(NAMES[name], |bytes| bytes.resize(bytes.len() + more, 0));
        prop_assert!(files.walk(Trusted::default(), NOW).is_err());
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), role in 0..4usize) {
        let role = Role::ALL[role];
        let _ = Envelope::parse(role, &bytes);
        let _ = crate::Targets::parse(&bytes);
        let _ = crate::metadata::Root::parse(&bytes);
        let _ = crate::metadata::Pointer::parse(&bytes);
        prop_assert!(Client::new(&bytes, Trusted::default(), NOW).is_err());
    }

    /// A mirror that answers each question out of any of three states: what is accepted is one state whole, and never an older one.
    #[test]
    fn a_mixture_is_accepted_only_where_it_is_one_state_not_older_than_the_last(
        picks in prop::collection::vec((0..3usize, 0..3usize, 0..3usize), 1..12)
    ) {
        let states = history();
        let (mut seen, mut last) = (Trusted::default(), 0);
        for (timestamp, snapshot, targets) in picks {
            let mut files = repository();
            files.put("timestamp.tuf", states[timestamp].0["timestamp.tuf"].clone());
            for state in states {
                for (name, bytes) in state.0.iter().filter(|(name, _)| *name != "timestamp.tuf" && *name != "1.root.tuf") {
                    files.put(name, bytes.clone());
                }
            }
            // The mirror hands out the snapshot and targets of other states under the names that are asked for.
            let (s, t) = (snapshot + 1, targets + 1);
            let wanted = timestamp + 1;
            files.put(&std::format!("{wanted}.snapshot.tuf"), states[snapshot].0[&std::format!("{s}.snapshot.tuf")].clone());
            files.put(&std::format!("{wanted}.targets.tuf"), states[targets].0[&std::format!("{t}.targets.tuf")].clone());
            files.put("1.root.tuf", states[0].0["1.root.tuf"].clone());
            let whole = timestamp == snapshot && snapshot == targets && timestamp >= last;
            match files.walk(seen, NOW) {
                Ok(current) => {
                    prop_assert!(whole);
                    prop_assert_eq!(current.trusted.targets as usize, timestamp + 1);
                    (seen, last) = (current.trusted, timestamp);
                }
                Err(_) => prop_assert!(!whole),
            }
        }
    }

    #[test]
    fn a_list_is_read_as_it_was_written(count in 0..40usize, needs in 0..8usize) {
        let mut manifest = manifest();
        manifest.needs = (0..needs).map(|n| Need {
            service: std::format!("service-{n}").as_str().try_into().unwrap(), optional: n % 2 == 0 }).collect();
        let names: Vec<String> = (0..count).rev().map(|n| std::format!("m-{n}.0.0.hicmod")).collect();
        let targets: Vec<Target<'_>> =
            names.iter().map(|name| Target::describe(name, name.as_bytes(), &manifest, SIGNER).unwrap()).collect();
        let file = sign(&Draft::targets(head(9), &targets).unwrap(), &[TARGETS]);
        let payload = Envelope::parse(Role::Targets, &file).unwrap().payload();
        let read = crate::Targets::parse(payload).unwrap();
        prop_assert_eq!(read.len(), count);
        let mut sorted = targets;
        sorted.sort_by_key(|target| target.file);
        prop_assert_eq!(read.iter().collect::<Vec<_>>(), sorted);
    }
}
