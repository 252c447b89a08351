use super::*;
use crate::image::Image;
use std::vec;

const MODULE: &str = "netstack-1.3.0.hicmod";

fn contents(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|n| (n ^ n >> 8) as u8).collect()
}

fn try_open(image: Image) -> Result<Repository<Image>, StoreError> {
    let mut repository = Repository::new(image);
    repository.rescan().map(|()| repository)
}

fn open(image: &Image) -> Repository<Image> {
    try_open(image.clone()).unwrap()
}

fn state(repository: &mut Repository<Image>) -> Option<Vec<u8>> {
    repository.read_state(&mut [0; hic_store::MAX_RECORD_BYTES]).unwrap().map(<[u8]>::to_vec)
}

#[test]
fn modules_that_a_host_put_on_the_disk_are_listed_by_their_long_names_and_read_whole() {
    let bytes = contents(700_001);
    let image = Image::with_files(&[
        (MODULE, &bytes),
        ("README.txt", b"not a module"),
        ("netstack-1.3.1 (new).hicmod", b"small"),
        ("SHORT.HIC", b"by hand"),
        ("empty.hicmod", b""),
    ]);
    let mut repository = open(&image);
    let listed: Vec<_> = (0..repository.count())
        .map(|n| repository.file(n).map(|file| (file.name.as_str(), file.size)).unwrap())
        .collect();
    let expected =
        [(MODULE, 700_001), ("netstack-1.3.1 (new).hicmod", 5), ("SHORT.HIC", 7), ("empty.hicmod", 0)];
    assert_eq!(listed, expected);
    assert_eq!(repository.file(4).err(), Some(StoreError::NotFound));
    let mut out = vec![0; bytes.len() + 10];
    assert_eq!(repository.read(MODULE, 0, &mut out), Ok(bytes.len()));
    assert!(out[..bytes.len()] == bytes);
    assert_eq!(repository.read("empty.hicmod", 0, &mut out), Ok(0));
    assert_eq!(repository.read("README.txt", 0, &mut out), Err(StoreError::NotFound));
    // 43 chunks of data, and a few for the tables.
    assert!(image.0.borrow().reads < 60, "{} reads", image.0.borrow().reads);
}

#[test]
fn metadata_is_read_by_name_and_is_no_module() {
    let image =
        Image::with_files(&[(MODULE, b"module"), ("1.root.tuf", b"root"), ("timestamp.tuf", &[7; 9000])]);
    let mut repository = open(&image);
    assert_eq!(repository.count(), 1);
    let mut out = [0; 8193];
    assert_eq!(repository.read("1.root.tuf", 0, &mut out), Ok(4));
    assert_eq!(&out[..4], b"root");
    // One byte more than is allowed tells that a file does not end there.
    assert_eq!(repository.read("timestamp.tuf", 0, &mut out), Ok(8193));
    assert_eq!(repository.read("2.root.tuf", 0, &mut out), Err(StoreError::NotFound));
}

#[test]
fn what_a_host_put_there_or_took_away_is_seen_by_the_next_scan() {
    let image = Image::with_files(&[(MODULE, b"old"), ("gone.hicmod", b"gone")]);
    let mut repository = open(&image);
    repository.write_state(b"record").unwrap();
    let large = contents(100_000);
    image.change_on_host(|disk| {
        hic_tests::disk::put(disk, MODULE, &large).unwrap();
        hic_tests::disk::put(disk, "new.hicmod", b"new").unwrap();
        hic_tests::disk::remove(disk, "gone.hicmod").unwrap();
    });
    repository.rescan().unwrap();
    let names: Vec<_> = (0..repository.count()).map(|n| repository.file(n).unwrap().name.clone()).collect();
    assert!(names.len() == 2 && names.iter().any(|name| name == "new.hicmod"), "{names:?}");
    let mut out = vec![0; large.len()];
    assert_eq!(repository.read(MODULE, 0, &mut out), Ok(large.len()));
    assert!(out == large);
    assert_eq!(repository.read("gone.hicmod", 0, &mut out), Err(StoreError::NotFound));
    assert_eq!(state(&mut repository).as_deref(), Some(&b"record"[..]));
}

#[test]
fn a_disk_that_fails_for_a_while_is_there_again_at_the_next_scan() {
    let image = Image::with_files(&[(MODULE, b"x")]);
    let mut repository = open(&image);
    for _ in 0..3 {
        image.0.borrow_mut().broken = true;
        assert_eq!(repository.rescan(), Err(StoreError::Device));
        assert_eq!(
            (repository.count(), repository.read(MODULE, 0, &mut [0; 4])),
            (0, Err(StoreError::Device))
        );
        image.0.borrow_mut().broken = false;
        assert_eq!(repository.rescan(), Ok(()));
        assert_eq!(repository.read(MODULE, 0, &mut [0; 4]), Ok(1));
    }
}

#[test]
fn a_file_can_be_read_in_pieces_from_any_offset() {
    let bytes = contents(50_000);
    let image = Image::with_files(&[(MODULE, &bytes)]);
    let mut repository = open(&image);
    for (offset, length) in [(0, 1), (511, 2), (49_999, 100), (12_345, 30_000), (50_000, 1), (u32::MAX, 5)] {
        let mut out = vec![0; length];
        let read = repository.read(MODULE, offset, &mut out).unwrap();
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        assert_eq!(read, rest.len().min(length));
        assert!(out[..read] == rest[..read]);
    }
}

#[test]
fn a_name_too_long_for_a_message_is_listed_short() {
    let long = std::format!("{}.hicmod", "long".repeat(20));
    let image = Image::with_files(&[(&long, b"x")]);
    let mut repository = open(&image);
    assert_eq!(repository.file(0).unwrap().name, "LONGLO~1.HIC");
    assert_eq!(repository.read("LONGLO~1.HIC", 0, &mut [0; 4]), Ok(1));
}

#[test]
fn a_name_that_a_console_must_not_see_is_listed_short() {
    let image = Image::with_files(&[("wipe~[2J.hicmod", b"x")]);
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let (shown, hidden) = (wide("wipe~"), wide("wipe\x1b"));
    let at = image.0.borrow().bytes.windows(shown.len()).position(|piece| piece == shown).unwrap();
    image.0.borrow_mut().bytes[at..at + hidden.len()].copy_from_slice(&hidden);
    let mut repository = open(&image);
    let name = repository.file(0).unwrap().name.clone();
    assert!(name.chars().all(|c| c.is_ascii_graphic()) && name.ends_with(".HIC"), "{name:?}");
    assert_eq!(repository.read(&name, 0, &mut [0; 4]), Ok(1));
}

#[test]
fn the_record_is_flushed_before_its_write_is_done_and_found_by_the_next_start() {
    let image = Image::with_files(&[(MODULE, b"x")]);
    let mut repository = open(&image);
    assert_eq!(state(&mut repository), None);
    for record in [b"one".to_vec(), b"two".to_vec(), vec![3; hic_store::MAX_RECORD_BYTES]] {
        repository.write_state(&record).unwrap();
        assert!(image.0.borrow().pending.is_empty());
        assert_eq!(state(&mut repository).as_ref(), Some(&record));
        assert_eq!(state(&mut open(&image)), Some(record));
    }
    let too_long = vec![0; hic_store::MAX_RECORD_BYTES + 1];
    assert_eq!(repository.write_state(&too_long), Err(StoreError::Malformed));
}

#[test]
fn the_host_sees_the_record_in_its_file_and_the_modules_unchanged() {
    let image = Image::with_files(&[(MODULE, b"module")]);
    let mut repository = open(&image);
    repository.write_state(b"first").unwrap();
    repository.write_state(b"second").unwrap();
    let file = image.file_on_host(STATE_FILE);
    let (first, second) = file.split_at(HALF_BYTES);
    let newest = pair::contents(first.try_into().unwrap(), second.try_into().unwrap());
    assert!(matches!(newest, Contents::Record { half: Half::Second, sequence: 2, bytes: b"second" }));
    assert_eq!(image.file_on_host(MODULE), b"module");
}

#[test]
fn power_that_fails_at_any_write_leaves_the_record_before_or_the_new_one_and_a_whole_file_system() {
    let image = Image::with_files(&[(MODULE, b"module")]);
    open(&image).write_state(b"old").unwrap();
    let before = image.0.borrow().bytes.clone();
    let sectors = HALF_SECTORS;
    for kept in 0..=sectors {
        let torn = Image::from_bytes(before.clone());
        let mut repository = open(&torn);
        // The writes of one record, of which the disk kept some when power failed before the flush.
        let mut out = [0; HALF_BYTES];
        let places = repository.state().unwrap().unwrap();
        let halves = repository.halves(&places).unwrap();
        let half = pair::next(pair::contents(&halves[0], &halves[1]), b"new", &mut out).unwrap();
        let first = half.offset() / SECTOR_BYTES;
        for n in 0..kept {
            let at = places[first + n] as usize * SECTOR_BYTES;
            torn.0.borrow_mut().bytes[at..at + SECTOR_BYTES]
                .copy_from_slice(&out[n * SECTOR_BYTES..(n + 1) * SECTOR_BYTES]);
        }
        let mut repository = open(&torn);
        let expected: &[u8] = if kept == 0 { b"old" } else { b"new" };
        assert_eq!(state(&mut repository).as_deref(), Some(expected), "{kept} sectors");
        assert_eq!(torn.file_on_host(MODULE), b"module");
    }
}

/// So much of the disk is used here; the rest of it is not copied for each cut.
const USED: usize = 4 << 20;

#[test]
fn a_half_that_is_in_the_disks_cache_alone_outlives_power_before_the_other_is_touched() {
    for written in 0..HALF_SECTORS {
        let image = Image::from_bytes(Image::with_files(&[]).seen()[..USED].to_vec());
        open(&image).write_state(b"old").unwrap();
        image.0.borrow_mut().flush_fails = true;
        assert_eq!(open(&image).write_state(b"new"), Err(StoreError::Device));
        image.0.borrow_mut().flush_fails = false;
        // Whoever opens the disk now reads that half out of its cache. Then power fails while the next record is written.
        let mut repository = open(&image);
        assert_eq!(state(&mut repository).as_deref(), Some(&b"new"[..]));
        let cut = image.0.borrow().writes + written;
        image.0.borrow_mut().cut_at = Some(cut);
        assert_eq!(repository.write_state(b"newer"), Err(StoreError::Device));
        let pending = image.0.borrow().pending.len();
        for kept in 0..1u32 << pending {
            let left = image.after_power_failed(|n| kept & 1 << n != 0);
            let found = state(&mut open(&left));
            // One sector may hold the whole of a record as short as these.
            let whole = [&b"new"[..], b"newer"].map(Some);
            assert!(whole.contains(&found.as_deref()), "{written} written, {kept:b} kept: {found:?}");
        }
    }
}

#[test]
fn writing_the_record_touches_no_sector_but_those_of_its_file() {
    let image = Image::with_files(&[(MODULE, b"module")]);
    let before = image.seen();
    let mut repository = open(&image);
    repository.write_state(b"record").unwrap();
    let places = repository.state().unwrap().unwrap();
    let after = image.seen();
    for (n, (a, b)) in before.chunks(SECTOR_BYTES).zip(after.chunks(SECTOR_BYTES)).enumerate() {
        assert!(a == b || places.contains(&(n as u64)), "sector {n}");
    }
}

#[test]
fn a_disk_without_the_records_file_gets_one_with_the_first_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(hic_tests::disk::IMAGE);
    hic_tests::disk::create(&path, &[]).unwrap();
    hic_tests::disk::remove(&path, STATE_FILE).unwrap();
    hic_tests::disk::put(&path, MODULE, b"module").unwrap();
    let image = Image::from_bytes(std::fs::read(&path).unwrap());
    let mut repository = open(&image);
    assert_eq!(state(&mut repository), None);
    repository.write_state(b"record").unwrap();
    assert_eq!(state(&mut open(&image)).as_deref(), Some(&b"record"[..]));
    assert_eq!(image.file_on_host(STATE_FILE).len(), pair::FILE_BYTES);
    assert_eq!(image.file_on_host(MODULE), b"module");
}

#[test]
fn two_broken_halves_are_reported_and_the_next_record_repairs_them() {
    let image = Image::with_files(&[]);
    let mut repository = open(&image);
    let places = repository.state().unwrap().unwrap();
    for place in [places[0], places[HALF_SECTORS]] {
        image.0.borrow_mut().bytes[place as usize * SECTOR_BYTES] = 1;
    }
    drop(repository);
    repository = open(&image);
    assert_eq!(repository.read_state(&mut [0; 64]), Err(StoreError::Corrupt));
    repository.write_state(b"new").unwrap();
    assert_eq!(state(&mut repository).as_deref(), Some(&b"new"[..]));
}

#[test]
fn a_disk_that_is_no_repository_is_refused_with_a_reason() {
    let blank = Image::from_bytes(vec![0; 1 << 20]);
    assert_eq!(try_open(blank).err(), Some(StoreError::NoDisk));
    assert_eq!(try_open(Image::from_bytes(Vec::new())).err(), Some(StoreError::NoDisk));
    let image = Image::with_files(&[]);
    image.0.borrow_mut().broken = true;
    assert_eq!(try_open(image).err(), Some(StoreError::Device));
}

#[test]
fn a_disk_that_could_not_be_read_at_first_is_tried_again_at_each_request() {
    let image = Image::with_files(&[(MODULE, b"module")]);
    image.0.borrow_mut().broken = true;
    let mut repository = Repository::new(image.clone());
    assert_eq!(repository.rescan(), Err(StoreError::Device));
    assert_eq!(repository.read_state(&mut [0; 64]), Err(StoreError::Device));
    image.0.borrow_mut().broken = false;
    assert_eq!(repository.read_state(&mut [0; 64]), Ok(None));
    assert_eq!(repository.read(MODULE, 0, &mut [0; 10]), Ok(6));
    // A host makes the file system and the folder while the machine runs.
    let made = image.0.borrow().bytes.clone();
    let blank = Image::from_bytes(vec![0; made.len()]);
    let mut repository = Repository::new(blank.clone());
    assert_eq!(repository.rescan(), Err(StoreError::NoDisk));
    blank.0.borrow_mut().bytes = made;
    assert_eq!(repository.rescan().map(|()| repository.count()), Ok(1));
}

/// The image with the folder's only cluster followed by itself, and without the mark behind its last entry.
fn folder_that_is_a_circle(image: &Image) {
    let mut platter = image.0.borrow_mut();
    let bytes = &mut platter.bytes;
    let volume = 2048 * SECTOR_BYTES;
    let number = |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    // FAT16: reserved sectors, tables, root folder of a fixed size, clusters from number 2 on.
    let [root_entries, reserved, table] = [17, 14, 22].map(|at| number(bytes, volume + at));
    let (per_cluster, tables) = (usize::from(bytes[volume + 13]), usize::from(bytes[volume + 16]));
    let first_table = volume + reserved * SECTOR_BYTES;
    let root = first_table + tables * table * SECTOR_BYTES;
    // The volume may have the same name.
    let is_it = |at: &usize| bytes[*at..].starts_with(b"HIC        \x10");
    let folder = (root..).step_by(32).find(is_it).unwrap();
    let cluster = number(bytes, folder + 26);
    for copy in 0..tables {
        let link = first_table + copy * table * SECTOR_BYTES + 2 * cluster;
        bytes[link..link + 2].copy_from_slice(&(cluster as u16).to_le_bytes());
    }
    let start = root + root_entries * 32 + (cluster - 2) * per_cluster * SECTOR_BYTES;
    let entries = start..start + per_cluster * SECTOR_BYTES;
    for entry in entries.step_by(32).filter(|at| bytes[*at] == 0).collect::<Vec<_>>() {
        bytes[entry] = 0xe5;
    }
}

#[test]
fn a_folder_without_end_is_refused_and_the_others_need_not_wait_for_it() {
    let image = Image::with_files(&[("README.txt", b"not a module")]);
    folder_that_is_a_circle(&image);
    let mut repository = Repository::new(image.clone());
    assert_eq!(repository.rescan(), Err(StoreError::Corrupt));
    assert_eq!(repository.read(MODULE, 0, &mut [0]), Err(StoreError::Corrupt));
}

#[test]
fn a_damaged_record_is_no_reason_to_refuse_the_modules() {
    let image = Image::with_files(&[(MODULE, b"module"), (STATE_FILE, b"not a record")]);
    let mut repository = open(&image);
    assert_eq!(repository.read(MODULE, 0, &mut [0; 10]), Ok(6));
}

#[test]
fn a_disk_that_breaks_later_says_so_and_goes_on_when_it_works_again() {
    let bytes = contents(100_000);
    let image = Image::with_files(&[(MODULE, &bytes)]);
    let mut repository = open(&image);
    let mut out = vec![0; bytes.len()];
    image.0.borrow_mut().broken = true;
    assert_eq!(repository.read(MODULE, 0, &mut out), Err(StoreError::Device));
    assert_eq!(repository.write_state(b"x"), Err(StoreError::Device));
    image.0.borrow_mut().broken = false;
    assert_eq!(repository.read(MODULE, 0, &mut out), Ok(bytes.len()));
    assert!(out == bytes);
}

#[test]
fn a_record_that_cannot_be_looked_up_is_not_taken_for_none() {
    let image = Image::with_files(&[]);
    open(&image).write_state(b"kept").unwrap();
    let mut repository = open(&image);
    for _ in 0..2 {
        repository.volumes.device(Cached::forget);
        image.0.borrow_mut().broken = true;
        assert_eq!(repository.read_state(&mut [0; 64]), Err(StoreError::Device));
        assert_eq!(repository.write_state(b"new"), Err(StoreError::Device));
        image.0.borrow_mut().broken = false;
    }
    assert_eq!(state(&mut repository).as_deref(), Some(&b"kept"[..]));
}

#[test]
fn flipped_bits_in_the_tables_never_make_reads_leave_the_disk() {
    let bytes = contents(20_000);
    let image = Image::with_files(&[(MODULE, &bytes)]);
    let partition = 2048 * SECTOR_BYTES;
    // The partition table and the volume's first sector with everything that says where things are, and the start of its table.
    let suspicious = (446..512).chain(partition + 11..partition + 40).chain(partition + 510..partition + 540);
    for (at, bit) in suspicious.flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        image.0.borrow_mut().bytes[at] ^= 1 << bit;
        // A panic ends the service only; what counts here is that it neither reads beyond the disk nor reads for ever.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if let Ok(mut repository) = try_open(image.clone()) {
                let mut out = vec![0; bytes.len()];
                let _ = repository.read(MODULE, 0, &mut out);
                let _ = repository.read_state(&mut [0; hic_store::MAX_RECORD_BYTES]);
            }
        }));
        image.0.borrow_mut().bytes[at] ^= 1 << bit;
    }
    assert_eq!(open(&image).read(MODULE, 0, &mut vec![0; bytes.len()]), Ok(bytes.len()));
}

mod kept;
