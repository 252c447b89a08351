//! The repository disk, and the system disk with the guest's record, seen from the host: an image with one FAT16 partition and a folder `HIC`, as any operator's tools read and write it.
//!
//! Mounting needs no privilege here, since the file system is a library. An image must not be changed while a guest runs on it.
//!
//! ```text
//!   sector 0          the partition table (MBR): one entry
//!   sector 2048 on    FAT16: HIC/STATE.BIN  8 KiB, the guest's record; used on the system disk alone
//!                            HIC/*.hicmod   modules; the metadata lists them by these names
//!                            HIC/*.tuf      the repository's metadata
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};
use fscommon::{BufStream, StreamSlice};

/// Bytes of an image that [`create`] makes.
pub const IMAGE_BYTES: u64 = 64 << 20;
/// The folder of the repository.
pub const FOLDER: &str = "HIC";
/// The guest's record, in the folder.
pub const STATE_FILE: &str = "STATE.BIN";
/// Bytes of the record's file; it is made with zeros, so that the guest never needs to extend it.
pub const STATE_BYTES: usize = 8192;
/// File name of an image.
pub const IMAGE: &str = "repository.img";
/// File name of the image of a system disk, which holds the record and nothing else.
pub const SYSTEM_IMAGE: &str = "system.img";

const SECTOR: u64 = 512;
/// First sector of the partition: at 1 MiB, where all tools of today put it.
const PARTITION_START: u64 = 2048;
/// FAT16 with addresses of sectors rather than cylinders.
const PARTITION_TYPE: u8 = 0x0e;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
const ENTRY: usize = 446;

type Volume = FileSystem<BufStream<StreamSlice<File>>>;

/// Files get the FAT epoch as their time, so that the same files make the same image.
#[derive(Debug)]
struct Epoch;

impl TimeProvider for Epoch {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// Where the repository's image of a profile lies; `images` is the folder of boot archives (`target/hic`).
#[must_use]
pub fn repository_path(images: &Path, profile: &str) -> PathBuf {
    images.join(profile).join(IMAGE)
}

/// Makes an image with these files (name in the repository, path on the host).
pub fn create(image: &Path, files: &[(String, PathBuf)]) -> Result<()> {
    let at = || format!("cannot make {}", image.display());
    if let Some(folder) = image.parent() {
        std::fs::create_dir_all(folder).with_context(at)?;
    }
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(image);
    let file = file.as_mut().map_err(|error| std::io::Error::from(error.kind())).with_context(at)?;
    file.set_len(IMAGE_BYTES).with_context(at)?;
    file.write_all(&partition_table(IMAGE_BYTES / SECTOR)).with_context(at)?;
    let options = FormatVolumeOptions::new().fat_type(FatType::Fat16).volume_label(*b"HICREPO    ");
    fatfs::format_volume(&mut slice(file.try_clone()?)?, options).with_context(at)?;
    {
        let volume = volume(image)?;
        let folder = volume.root_dir().create_dir(FOLDER)?;
        folder.create_file(STATE_FILE)?.write_all(&[0; STATE_BYTES])?;
    }
    for (name, path) in files {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        put(image, name, &bytes)?;
    }
    Ok(())
}

/// The first sector: one partition that takes up the rest of the disk. A partition table is one entry of 16 bytes here; the crates for it
/// bring a serialization framework that is no longer maintained.
fn partition_table(sectors: u64) -> [u8; SECTOR as usize] {
    let mut table = [0; SECTOR as usize];
    let length = (sectors - PARTITION_START) as u32;
    // Cylinder, head and sector say "beyond what can be said": readers go by the two numbers behind.
    let mut entry = [0, 0xfe, 0xff, 0xff, PARTITION_TYPE, 0xfe, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    entry[8..12].copy_from_slice(&(PARTITION_START as u32).to_le_bytes());
    entry[12..].copy_from_slice(&length.to_le_bytes());
    table[ENTRY..ENTRY + entry.len()].copy_from_slice(&entry);
    table[510..].copy_from_slice(&SIGNATURE);
    table
}

/// The partition of an image, as its table says.
fn slice(mut image: File) -> Result<BufStream<StreamSlice<File>>> {
    let mut table = [0; SECTOR as usize];
    image.seek(SeekFrom::Start(0))?;
    image.read_exact(&mut table)?;
    ensure!(table[510..] == SIGNATURE, "no partition table");
    let number = |at: usize| u64::from(u32::from_le_bytes([0, 1, 2, 3].map(|n| table[ENTRY + at + n])));
    let start = number(8) * SECTOR;
    Ok(BufStream::new(StreamSlice::new(image, start, start + number(12) * SECTOR)?))
}

fn volume(image: &Path) -> Result<Volume> {
    let at = || format!("cannot open the repository in {}", image.display());
    let file = OpenOptions::new().read(true).write(true).open(image).with_context(at)?;
    FileSystem::new(slice(file).with_context(at)?, FsOptions::new().time_provider(&Epoch)).with_context(at)
}

/// Puts a file into the repository, over one of the same name.
pub fn put(image: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let volume = volume(image)?;
    let folder = volume.root_dir().open_dir(FOLDER)?;
    let mut file = folder.create_file(name).with_context(|| format!("cannot make {name} on the disk"))?;
    file.truncate()?;
    file.write_all(bytes).with_context(|| format!("cannot write {name} to the disk"))?;
    file.flush()?;
    Ok(())
}

/// Reads a file of the repository.
pub fn get(image: &Path, name: &str) -> Result<Vec<u8>> {
    let volume = volume(image)?;
    let folder = volume.root_dir().open_dir(FOLDER)?;
    let mut bytes = Vec::new();
    folder.open_file(name).with_context(|| format!("no {name} on the disk"))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes a file of the repository.
pub fn remove(image: &Path, name: &str) -> Result<()> {
    let volume = volume(image)?;
    let folder = volume.root_dir().open_dir(FOLDER)?;
    folder.remove(name).with_context(|| format!("no {name} on the disk"))
}

/// Names and sizes of the files in the repository.
pub fn list(image: &Path) -> Result<Vec<(String, u64)>> {
    let volume = volume(image)?;
    let mut files = Vec::new();
    for entry in volume.root_dir().open_dir(FOLDER)?.iter() {
        let entry = entry?;
        if entry.is_file() {
            files.push((entry.file_name(), entry.len()));
        }
    }
    Ok(files)
}

/// Copies an image without its holes, so that a machine has a disk of its own at little cost.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    const PIECE: usize = 64 << 10;
    let at = || format!("cannot copy {} to {}", from.display(), to.display());
    let mut source = File::open(from).with_context(at)?;
    let mut target = File::create(to).with_context(at)?;
    target.set_len(source.metadata()?.len()).with_context(at)?;
    let mut piece = vec![0; PIECE];
    let mut position = 0;
    loop {
        let count = source.read(&mut piece).with_context(at)?;
        if count == 0 {
            return Ok(());
        }
        if piece[..count].iter().any(|&byte| byte != 0) {
            target.seek(SeekFrom::Start(position)).with_context(at)?;
            target.write_all(&piece[..count]).with_context(at)?;
        }
        position += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(folder: &Path) -> PathBuf {
        let module = folder.join("module");
        std::fs::write(&module, b"a module").expect("written");
        let image = folder.join("sub").join(IMAGE);
        create(&image, &[("netstack-1.3.0.hicmod".to_owned(), module)]).expect("made");
        image
    }

    #[test]
    fn an_image_holds_what_was_put_into_it_under_long_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = image(folder.path());
        let large: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
        put(&image, "another module with a long name.hicmod", &large).expect("put");
        put(&image, "netstack-1.3.0.hicmod", b"short").expect("put over");
        let listed = list(&image).expect("listed");
        assert_eq!(listed.len(), 3, "{listed:?}");
        assert!(listed.contains(&("netstack-1.3.0.hicmod".to_owned(), 5)), "{listed:?}");
        assert!(listed.contains(&(STATE_FILE.to_owned(), STATE_BYTES as u64)), "{listed:?}");
        assert_eq!(get(&image, "another module with a long name.hicmod").expect("got"), large);
        remove(&image, "netstack-1.3.0.hicmod").expect("removed");
        assert!(get(&image, "netstack-1.3.0.hicmod").is_err());
    }

    #[test]
    fn a_copy_is_equal_and_takes_no_more_room() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().expect("a folder");
        let image = image(folder.path());
        let copied = folder.path().join("copy.img");
        copy(&image, &copied).expect("copied");
        assert!(std::fs::read(&image).expect("read") == std::fs::read(&copied).expect("read"));
        let used = copied.metadata().expect("there").blocks() * 512;
        assert!(used < IMAGE_BYTES / 8, "{used} bytes");
    }

    #[test]
    fn the_same_files_make_the_same_image() {
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (one, two) = (image(one.path()), image(two.path()));
        assert!(std::fs::read(one).expect("read") == std::fs::read(two).expect("read"));
    }

    #[test]
    fn something_that_is_no_disk_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("x.img");
        std::fs::write(&image, [0; 2048]).expect("written");
        assert!(list(&image).is_err() && put(&image, "x", b"").is_err());
    }
}
