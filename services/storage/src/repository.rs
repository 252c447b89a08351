//! Module files, the defaults record and kept modules on the first partition of a disk: FAT16 or FAT32, as any host reads and writes it.
//!
//! In the folder `HIC`, each file whose name ends in `.hicmod` (or, where only short names are known, `.HIC`) is a module, whatever else
//! its name is: what is in it is said by its manifest. `HIC/STATE.BIN` has the two halves of the record ([`hic_store::pair`]).
//!
//! Where that file lies is learnt once, by watching which sectors the file system reads for it. From then on its sectors are written
//! directly, so that no power cut can come between the record and the file system's own bookkeeping.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use embedded_sdmmc::{
    Error, LfnBuffer, Mode, RawDirectory, RawFile, RawVolume, ShortFileName, TimeSource, Timestamp,
    VolumeIdx, VolumeManager,
};
use hic_store::messages::{MAX_KEPT, kept_name};
use hic_store::pair::{self, Contents, HALF_BYTES, Half};
use hic_store::{FileName, StoreError};

use crate::cache::Cached;
use crate::disk::{Disk, DiskError, SECTOR_BYTES};

/// The folder.
pub const FOLDER: &str = "HIC";
/// The record's file in it.
pub const STATE_FILE: &str = "STATE.BIN";
/// Extension of a module file's short name. Hosts make it of `.hicmod`.
const MODULE_EXTENSION: &[u8] = b"HIC";
/// Extension of a metadata file.
const METADATA_EXTENSION: &[u8] = b"TUF";
/// Most module files that are listed; the rest is counted and left alone.
pub const MAX_FILES: usize = 256;
/// Bytes of the longest long file name: 255 characters of at most 3 bytes.
const LONG_NAME_BYTES: usize = 765;

const STATE_SECTORS: usize = pair::FILE_BYTES / SECTOR_BYTES;
const HALF_SECTORS: usize = HALF_BYTES / SECTOR_BYTES;

/// Files get the FAT epoch as their time: the service has no clock that knows the date, and nobody asks for it.
struct Epoch;

impl TimeSource for Epoch {
    fn get_timestamp(&self) -> Timestamp {
        Timestamp::from_fat(0x21, 0)
    }
}

type Volumes<D> = VolumeManager<Cached<D>, Epoch, 2, 1, 1>;

/// A module file.
struct Module {
    name: FileName,
    short: ShortFileName,
    size: u32,
    stamp: u64,
}

/// A module file as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'r> {
    /// Its name.
    pub name: &'r FileName,
    /// Its bytes.
    pub size: u32,
    /// Another number if it was written anew.
    pub stamp: u64,
}

/// The repository.
pub struct Repository<D: Disk> {
    volumes: Volumes<D>,
    /// The volume and the folder; `None` while they could not be opened, or what is in them could not be read.
    place: Option<(RawVolume, RawDirectory)>,
    modules: Vec<Module>,
    /// Found by name only: whoever wants one knows what it is called.
    metadata: Vec<Module>,
    left_out: usize,
    /// Where the record's file lies; `None` while nobody asked, or if it must be made first.
    state: Option<[u64; STATE_SECTORS]>,
}

/// What an error of the file system means to a client.
fn store_error(error: Error<DiskError>) -> StoreError {
    match error {
        Error::DeviceError(DiskError::Failed) => StoreError::Device,
        Error::DeviceError(DiskError::ReadOnly) | Error::ReadOnly => StoreError::ReadOnly,
        Error::NotFound => StoreError::NotFound,
        Error::DiskFull | Error::NotEnoughSpace | Error::AllocationError => StoreError::Full,
        _ => StoreError::Corrupt,
    }
}

fn disk_error(error: DiskError) -> StoreError {
    store_error(Error::DeviceError(error))
}

impl<D: Disk> Repository<D> {
    /// What is on this disk; nothing is read yet.
    pub fn new(disk: D) -> Self {
        Self {
            volumes: Volumes::new_with_limits(Cached::new(disk), Epoch, 1),
            place: None,
            modules: Vec::new(),
            metadata: Vec::new(),
            left_out: 0,
            state: None,
        }
    }

    /// Finds the partition, the folder and the module files, as if for the first time: a host may have put files there.
    ///
    /// # Errors
    /// [`StoreError::NoDisk`]: no partition with a FAT file system and the folder. [`StoreError::Device`]. [`StoreError::Corrupt`]. There are no files then,
    /// and the next attempt begins anew.
    pub fn rescan(&mut self) -> Result<(), StoreError> {
        (self.modules, self.metadata, self.left_out, self.state) = (Vec::new(), Vec::new(), 0, None);
        self.close();
        self.volumes.device(|disk| {
            disk.forget();
            disk.begin();
        });
        self.place = Some(open_folder(&self.volumes)?);
        self.scan().inspect_err(|_| self.close())
    }

    fn close(&mut self) {
        if let Some((volume, folder)) = self.place.take() {
            // What a disk that failed leaves open it gives back all the same.
            let _ = (self.volumes.close_dir(folder), self.volumes.close_volume(volume));
        }
    }

    /// Begins an operation: opens what could not be opened before.
    ///
    /// # Errors
    /// As [`Self::rescan`].
    pub(crate) fn ready(&mut self) -> Result<(), StoreError> {
        match self.place {
            None => self.rescan(),
            Some(_) => {
                self.volumes.device(Cached::begin);
                Ok(())
            }
        }
    }

    fn folder(&self) -> Result<RawDirectory, StoreError> {
        self.place.map(|(_, folder)| folder).ok_or(StoreError::NoDisk)
    }

    fn scan(&mut self) -> Result<(), StoreError> {
        let mut storage = [0; LONG_NAME_BYTES];
        let mut long_names = LfnBuffer::new(&mut storage);
        let folder = self.folder()?;
        let (modules, metadata, left_out) = (&mut self.modules, &mut self.metadata, &mut self.left_out);
        let listed = self.volumes.iterate_dir_lfn(folder, &mut long_names, |entry, long| {
            let is_file = !entry.attributes.is_directory() && !entry.attributes.is_volume();
            let extension = entry.name.extension();
            if !is_file || ![MODULE_EXTENSION, METADATA_EXTENSION].contains(&extension) {
                return ControlFlow::Continue(());
            }
            let modules = if extension == METADATA_EXTENSION { &mut *metadata } else { &mut *modules };
            if modules.len() == MAX_FILES {
                *left_out += 1;
                return ControlFlow::Continue(());
            }
            // A name that a console must not see is as good as none.
            let is_good = |name: &FileName| !name.is_empty() && !name.chars().any(char::is_control);
            let long = long.and_then(|name| FileName::try_from(name).ok()).filter(is_good);
            let name = long.unwrap_or_else(|| short_name(&entry.name));
            let stamp = stamp(entry.ctime) << 32 ^ stamp(entry.mtime);
            modules.push(Module { name, short: entry.name, size: entry.size, stamp });
            ControlFlow::Continue(())
        });
        listed.map_err(store_error)?;
        self.volumes.device(Cached::went_well).map_err(disk_error)
    }

    /// Module files that are listed.
    pub fn count(&self) -> usize {
        self.modules.len()
    }

    /// Module files beyond [`MAX_FILES`].
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Module file number `index`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub fn file(&self, index: usize) -> Result<Listed<'_>, StoreError> {
        let Module { name, size, stamp, .. } = self.modules.get(index).ok_or(StoreError::NotFound)?;
        Ok(Listed { name, size: *size, stamp: *stamp })
    }

    /// Reads a module or metadata file from `offset` on into `out`; how many bytes there were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(&mut self, name: &str, offset: u32, out: &mut [u8]) -> Result<usize, StoreError> {
        self.ready()?;
        let mut files = self.modules.iter().chain(&self.metadata);
        let module = files.find(|file| file.name == name).ok_or(StoreError::NotFound)?;
        if offset >= module.size {
            return Ok(0);
        }
        let short = module.short;
        self.with_file(&short, Mode::ReadOnly, |volumes, file| {
            volumes.file_seek_from_start(file, offset)?;
            volumes.read(file, out)
        })
    }

    /// The newest whole record, copied to `out`; `None` if none was ever written.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Device`].
    pub fn read_state<'b>(&mut self, out: &'b mut [u8]) -> Result<Option<&'b [u8]>, StoreError> {
        self.ready()?;
        let Some(sectors) = self.state()? else { return Ok(None) };
        let halves = self.halves(&sectors)?;
        match pair::contents(&halves[0], &halves[1]) {
            Contents::Empty => Ok(None),
            Contents::Corrupt => Err(StoreError::Corrupt),
            Contents::Record { bytes, .. } => {
                let out = out.get_mut(..bytes.len()).ok_or(StoreError::Malformed)?;
                out.copy_from_slice(bytes);
                Ok(Some(out))
            }
        }
    }

    /// Writes a record over the older one and returns once it outlives power.
    ///
    /// # Errors
    /// [`StoreError`]. The record before is still there.
    pub fn write_state(&mut self, record: &[u8]) -> Result<(), StoreError> {
        self.ready()?;
        let sectors = match self.state()? {
            Some(sectors) => sectors,
            None => self.make_state()?,
        };
        let halves = self.halves(&sectors)?;
        let mut out = [0; HALF_BYTES];
        let half = pair::next(pair::contents(&halves[0], &halves[1]), record, &mut out)
            .map_err(|pair::TooLong| StoreError::Malformed)?;
        let (first, second) = sectors.split_at(HALF_SECTORS);
        let places = if half == Half::First { first } else { second };
        let write = |disk: &mut Cached<D>| {
            // The newest half may be there by the disk's word alone, if it was written and its flush went wrong: it outlives power before the other is touched.
            disk.flush()?;
            let (pieces, _) = out.as_chunks::<SECTOR_BYTES>();
            places.iter().zip(pieces).try_for_each(|(&at, bytes)| disk.write_sector(at, bytes))?;
            disk.flush()
        };
        self.volumes.device(write).map_err(disk_error)
    }

    /// Writes a part of a module that is kept. From `offset` 0 on the file is a new one; `last` makes it outlive power. What is there of a file whose last
    /// part did not come is no module, and whoever reads it finds that out.
    ///
    /// # Errors
    /// [`StoreError::Malformed`]: no such place, or a part beyond the end of what was written. [`StoreError::Full`], [`StoreError::Device`].
    pub fn keep(&mut self, place: u32, offset: u32, bytes: &[u8], last: bool) -> Result<(), StoreError> {
        if place >= MAX_KEPT {
            return Err(StoreError::Malformed);
        }
        self.ready()?;
        let name = ShortFileName::create_from_str(&kept_name(place)).map_err(|_| StoreError::Malformed)?;
        let mode = if offset == 0 { Mode::ReadWriteCreateOrTruncate } else { Mode::ReadWriteAppend };
        let written = self.with_file(&name, mode, |volumes, file| {
            if offset > volumes.file_length(file)? {
                return Ok(Err(StoreError::Malformed));
            }
            volumes.file_seek_from_start(file, offset)?;
            volumes.write(file, bytes)?;
            // The table of clusters before the entry that names one of them: an entry whose cluster is free would be given what is not its own.
            volumes.device(Cached::flush)?;
            Ok(Ok(()))
        });
        let written = written.and_then(|result| result);
        if written == Err(StoreError::Full) {
            // What does not fit is of no use in part: others get its room.
            let _ = self.with_file(&name, Mode::ReadWriteCreateOrTruncate, |_, _| Ok(()));
        }
        written?;
        if last { self.volumes.device(Cached::flush).map_err(disk_error) } else { Ok(()) }
    }

    fn halves(&self, sectors: &[u64; STATE_SECTORS]) -> Result<[[u8; HALF_BYTES]; 2], StoreError> {
        let mut halves = [[0; HALF_BYTES]; 2];
        let (pieces, _) = halves.as_flattened_mut().as_chunks_mut::<SECTOR_BYTES>();
        self.volumes
            .device(|disk| sectors.iter().zip(pieces).try_for_each(|(&at, out)| disk.read_sector(at, out)))
            .map_err(disk_error)?;
        Ok(halves)
    }

    /// Makes the record's file anew, with nothing in it, on the disk before it is used.
    fn make_state(&mut self) -> Result<[u64; STATE_SECTORS], StoreError> {
        let name = ShortFileName::create_from_str(STATE_FILE).map_err(|_| StoreError::Malformed)?;
        self.with_file(&name, Mode::ReadWriteCreateOrTruncate, |volumes, file| {
            volumes.write(file, &[0; pair::FILE_BYTES])
        })?;
        self.volumes.device(Cached::flush).map_err(disk_error)?;
        self.state()?.ok_or(StoreError::Corrupt)
    }

    /// Where the record's file lies, if there is one of the right size. Only who needs it looks: on a repository disk a file of this name is nothing.
    fn state(&mut self) -> Result<Option<[u64; STATE_SECTORS]>, StoreError> {
        if self.state.is_none() {
            self.state = match self.locate_state() {
                Err(StoreError::NotFound) => None,
                located => located?,
            };
        }
        Ok(self.state)
    }

    fn locate_state(&self) -> Result<Option<[u64; STATE_SECTORS]>, StoreError> {
        let name = ShortFileName::create_from_str(STATE_FILE).map_err(|_| StoreError::Malformed)?;
        let sectors = self.with_file(&name, Mode::ReadOnly, |volumes, file| {
            if volumes.file_length(file)? as usize != pair::FILE_BYTES {
                return Ok(None);
            }
            let mut sectors = [0; STATE_SECTORS];
            for (place, offset) in sectors.iter_mut().zip((0u32..).step_by(SECTOR_BYTES)) {
                volumes.file_seek_from_start(file, offset)?;
                volumes.read(file, &mut [0])?;
                // The bytes of the file are the last that were read for it; asking also empties the file system's own cache of one sector.
                *place = volumes.device(Cached::last_read);
            }
            Ok(Some(sectors))
        })?;
        let mut distinct = sectors;
        if let Some(sectors) = &mut distinct {
            sectors.sort_unstable();
            if sectors.array_windows().any(|[a, b]| a == b) {
                return Err(StoreError::Corrupt);
            }
        }
        Ok(sectors)
    }

    fn with_file<T>(
        &self,
        name: &ShortFileName,
        mode: Mode,
        act: impl FnOnce(&Volumes<D>, RawFile) -> Result<T, Error<DiskError>>,
    ) -> Result<T, StoreError> {
        let file = match self.volumes.open_file_in_dir(self.folder()?, name, mode) {
            Ok(file) => file,
            Err(error) => {
                // The file system takes a folder that it cannot read for one that does not have the file.
                self.volumes.device(Cached::went_well).map_err(disk_error)?;
                return Err(store_error(error));
            }
        };
        let result = act(&self.volumes, file);
        let closed = self.volumes.close_file(file);
        let value = result.and_then(|value| closed.map(|()| value)).map_err(store_error)?;
        self.volumes.device(Cached::went_well).map(|()| value).map_err(disk_error)
    }
}

/// Opens the first partition and the folder; what was opened is closed again if that fails.
fn open_folder<D: Disk>(volumes: &Volumes<D>) -> Result<(RawVolume, RawDirectory), StoreError> {
    let no_disk = |error| match error {
        Error::DeviceError(DiskError::Failed) => StoreError::Device,
        Error::DeviceError(DiskError::Endless) => StoreError::Corrupt,
        _ => StoreError::NoDisk,
    };
    let volume = volumes.open_raw_volume(VolumeIdx(0)).map_err(no_disk)?;
    let opened = volumes.open_root_dir(volume).and_then(|root| {
        let folder = volumes.open_dir(root, FOLDER);
        volumes.close_dir(root).and(folder)
    });
    match opened {
        Ok(folder) => Ok((volume, folder)),
        Err(error) => {
            let _ = volumes.close_volume(volume);
            Err(no_disk(error))
        }
    }
}

/// A time of the file system as a number.
fn stamp(time: Timestamp) -> u64 {
    let Timestamp { year_since_1970, zero_indexed_month, zero_indexed_day, hours, minutes, seconds } = time;
    let parts = [(zero_indexed_month, 12), (zero_indexed_day, 31), (hours, 24), (minutes, 60), (seconds, 60)];
    parts.iter().fold(year_since_1970.into(), |all, &(part, of)| all * of + u64::from(part))
}

/// `NETSTA~1.HIC`.
fn short_name(short: &ShortFileName) -> FileName {
    let mut name = FileName::new();
    let bytes = short.base_name().iter().chain(b".").chain(short.extension());
    for &byte in bytes {
        // Other bytes are letters of a code page that is not known here.
        let shown = if byte.is_ascii_graphic() { char::from(byte) } else { '_' };
        let _ = name.push(shown);
    }
    name
}

#[cfg(test)]
mod tests;
