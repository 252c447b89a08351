//! Modules that the system disk keeps, and power that fails while one is written.

use super::*;

/// A disk as large as the tests need, with nothing but the record's file.
fn system() -> Image {
    Image::with_files(&[])
}

fn keep(repository: &mut Repository<Image>, place: u32, bytes: &[u8]) -> Result<(), StoreError> {
    let mut parts = bytes.chunks(100_000).enumerate();
    parts.try_for_each(|(n, part)| repository.keep(place, n as u32 * 100_000, part, true))
}

#[test]
fn a_kept_module_is_found_whole_by_the_next_boot_and_by_a_host() {
    let image = system();
    let (mut repository, bytes) = (open(&image), contents(5_452_595));
    repository.write_state(b"record").unwrap();
    keep(&mut repository, 7, &bytes).unwrap();
    let flushed = Image::from_bytes(image.0.borrow().bytes.clone());
    let mut after = open(&flushed);
    assert_eq!(after.file(0).map(|file| (file.name.as_str(), file.size)), Ok(("KEPT07.HIC", 5_452_595)));
    let mut out = vec![0; bytes.len()];
    assert_eq!(after.read("KEPT07.HIC", 0, &mut out), Ok(bytes.len()));
    assert!(out == bytes && flushed.file_on_host("KEPT07.HIC") == bytes);
    assert_eq!(state(&mut after).as_deref(), Some(&b"record"[..]));
}

#[test]
fn places_are_used_again_until_the_disk_is_full_and_no_longer() {
    let image = system();
    let (mut repository, bytes) = (open(&image), contents(6 << 20));
    for round in 0..12 {
        keep(&mut repository, round % 3, &bytes).unwrap();
    }
    keep(&mut repository, 2, b"short").unwrap();
    repository.rescan().unwrap();
    let sizes: Vec<u32> = (0..3).map(|n| repository.file(n).unwrap().size).collect();
    assert_eq!(sizes, [6 << 20, 6 << 20, 5]);
    let full = (3..MAX_KEPT).find_map(|place| keep(&mut repository, place, &bytes).err());
    assert_eq!(full, Some(StoreError::Full));
    // What there was stays, and what did not fit left its room to others.
    let mut out = vec![0; bytes.len()];
    assert_eq!(repository.read("KEPT01.HIC", 0, &mut out), Ok(bytes.len()));
    assert!(out == bytes);
    repository.keep(0, 0, &[], true).unwrap();
    keep(&mut repository, 2, &bytes).unwrap();
    assert_eq!(repository.read("KEPT00.HIC", 0, &mut out), Ok(0));
}

#[test]
fn a_part_may_come_twice_and_none_is_left_out() {
    let image = system();
    let mut repository = open(&image);
    repository.keep(0, 0, b"0123456789", false).unwrap();
    repository.keep(0, 10, b"abc", false).unwrap();
    repository.keep(0, 10, b"abc", true).unwrap();
    assert_eq!(image.file_on_host("KEPT00.HIC"), b"0123456789abc");
    assert_eq!(repository.keep(0, 14, b"x", true), Err(StoreError::Malformed));
    assert_eq!(repository.keep(1, 1, b"x", true), Err(StoreError::NotFound));
    assert_eq!(repository.keep(MAX_KEPT, 0, b"x", true), Err(StoreError::Malformed));
}

/// The record that names what is kept.
const RECORD: &[u8] = b"record";

/// The disk with a module kept, which must be whole after every cut.
struct Before {
    image: Image,
    other: Vec<u8>,
}

impl Before {
    fn new(there: &[u8]) -> Self {
        let image = Image::from_bytes(system().seen()[..USED].to_vec());
        let other = contents(30_011);
        let mut repository = open(&image);
        repository.write_state(RECORD).unwrap();
        keep(&mut repository, 1, &other).unwrap();
        keep(&mut repository, 0, there).unwrap();
        Self { image, other }
    }

    fn is_whole(&self, repository: &mut Repository<Image>) {
        let mut out = vec![0; self.other.len() + 1];
        assert_eq!(repository.read("KEPT01.HIC", 0, &mut out), Ok(self.other.len()));
        assert!(out[..self.other.len()] == self.other);
        assert_eq!(state(repository).as_deref(), Some(RECORD));
    }

    /// The next boot finds what was whole before, and room for the module that was cut off, and for another one.
    fn boots(&self, after: &Image, module: &[u8]) {
        let mut repository = open(after);
        self.is_whole(&mut repository);
        let more = contents(40_007);
        keep(&mut repository, 2, &more).unwrap();
        keep(&mut repository, 0, module).unwrap();
        drop(repository);
        let mut repository = open(after);
        self.is_whole(&mut repository);
        for (name, bytes) in [("KEPT00.HIC", module), ("KEPT02.HIC", more.as_slice())] {
            let mut out = vec![0; bytes.len()];
            assert_eq!(repository.read(name, 0, &mut out), Ok(bytes.len()), "{name}");
            assert!(out == bytes, "{name}");
        }
    }
}

/// Keeps `module` where `there` lies, with power failing before each write in turn, and gives what is left to `look`.
fn cut_at_each_write(there: &[u8], module: &[u8], look: impl Fn(&Before, &Image)) {
    let before = Before::new(there);
    let start = before.image.0.borrow().bytes.clone();
    let mut cut = 0;
    loop {
        let image = Image::from_bytes(start.clone());
        image.0.borrow_mut().cut_at = Some(cut);
        let kept = keep(&mut open(&image), 0, module);
        look(&before, &image);
        if kept.is_ok() {
            break;
        }
        cut += 1;
    }
    assert!(cut > module.len() / SECTOR_BYTES, "{cut} writes");
}

#[test]
fn power_that_fails_at_any_write_of_a_kept_module_leaves_the_others_whole_and_room_for_it() {
    let module = contents(20_003);
    for there in [&[][..], &contents(50_001)] {
        cut_at_each_write(there, &module, |before, image| {
            let after = image.after_power_failed(|_| true);
            before.boots(&after, &module);
        });
    }
}

#[test]
fn writes_that_a_disk_did_in_another_order_before_power_failed_harm_no_other_module() {
    let module = contents(12_001);
    cut_at_each_write(&contents(9_001), &module, |before, image| {
        for round in 1..12u64 {
            let kept =
                |n: usize| (n as u64 + 1).wrapping_mul(round.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 63 == 0;
            let after = image.after_power_failed(kept);
            before.boots(&after, &module);
        }
    });
}
