//! A cache over a disk: the file system asks for single sectors, a disk is faster with many at a time.
//!
//! A few chunks are enough: one for the allocation table, one for the directory, the others for the file that is being read from front to
//! back. Writes go through, and what is in the cache follows them. What the file system reads is watched, so that the sectors of a file can be learnt.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use embedded_sdmmc::{Block, BlockCount, BlockDevice, BlockIdx};

use crate::disk::{Disk, DiskError, SECTOR_BYTES};

/// Sectors that are read at once: 16 KiB.
pub const CHUNK_SECTORS: usize = 32;
/// Chunks that are kept.
const LINES: usize = 4;
/// Sectors that one operation reads at most. The longest chain of clusters that a module or a folder can have is 65,536 links, each a read of the
/// allocation table; as many again are for what lies in the clusters.
const MAX_READS: u32 = 1 << 17;

/// A disk with a cache.
pub struct Cached<D>(RefCell<Inner<D>>);

struct Inner<D> {
    disk: D,
    lines: Vec<Line>,
    /// Counts uses, to find the line that was not used for longest.
    uses: u64,
    last_read: u64,
    /// Sectors that the operation under way may still read.
    left: u32,
    /// The first read of the operation that failed.
    trouble: Option<DiskError>,
}

struct Line {
    /// First sector; `None` while the line holds nothing.
    first: Option<u64>,
    used: u64,
    bytes: Box<[u8]>,
}

impl<D: Disk> Cached<D> {
    /// A cache that holds nothing yet.
    pub fn new(disk: D) -> Self {
        let line = || Line { first: None, used: 0, bytes: vec![0; CHUNK_SECTORS * SECTOR_BYTES].into() };
        let lines = (0..LINES).map(|_| line()).collect();
        Self(RefCell::new(Inner { disk, lines, uses: 0, last_read: 0, left: MAX_READS, trouble: None }))
    }

    /// Reads one sector.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn read_sector(&mut self, sector: u64, out: &mut [u8; SECTOR_BYTES]) -> Result<(), DiskError> {
        self.0.get_mut().read(sector, out)
    }

    /// Writes sectors from number `first` on.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn write_sector(&mut self, sector: u64, bytes: &[u8; SECTOR_BYTES]) -> Result<(), DiskError> {
        self.0.get_mut().write(sector, bytes)
    }

    /// See [`Disk::flush`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn flush(&mut self) -> Result<(), DiskError> {
        self.0.get_mut().disk.flush()
    }

    /// An operation begins. One that would read without end, as a damaged file system can have it do, fails with [`DiskError::Endless`].
    pub fn begin(&mut self) {
        let inner = self.0.get_mut();
        (inner.left, inner.trouble) = (MAX_READS, None);
    }

    /// Whether all reads of the operation went well: the file system takes a table that it cannot read for the end of a file or folder.
    ///
    /// # Errors
    /// That of the first one that did not.
    pub fn went_well(&mut self) -> Result<(), DiskError> {
        self.0.get_mut().trouble.map_or(Ok(()), Err)
    }

    /// Forgets what was read: somebody else may have written to the disk.
    pub fn forget(&mut self) {
        for line in &mut self.0.get_mut().lines {
            line.first = None;
        }
    }

    /// The sector that was asked for last.
    pub fn last_read(&mut self) -> u64 {
        self.0.get_mut().last_read
    }
}

impl<D: Disk> Inner<D> {
    fn read(&mut self, sector: u64, out: &mut [u8; SECTOR_BYTES]) -> Result<(), DiskError> {
        self.last_read = sector;
        let read = self.copy(sector, out);
        if let Err(error) = read {
            self.trouble.get_or_insert(error);
        }
        read
    }

    fn copy(&mut self, sector: u64, out: &mut [u8; SECTOR_BYTES]) -> Result<(), DiskError> {
        self.left = self.left.checked_sub(1).ok_or(DiskError::Endless)?;
        let bytes = self.cached(sector)?.ok_or(DiskError::Outside { sector })?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self, sector: u64, bytes: &[u8; SECTOR_BYTES]) -> Result<(), DiskError> {
        if sector >= self.disk.sectors() {
            return Err(DiskError::Outside { sector });
        }
        let first = chunk_of(sector);
        let Some(line) = self.lines.iter_mut().find(|line| line.first == Some(first)) else {
            return self.disk.write(sector, bytes);
        };
        // First forgotten: what a write that failed left on the disk is not known.
        line.first = None;
        self.disk.write(sector, bytes)?;
        let at = (sector - first) as usize * SECTOR_BYTES;
        if let Some(place) = line.bytes.get_mut(at..at + SECTOR_BYTES) {
            place.copy_from_slice(bytes);
            line.first = Some(first);
        }
        Ok(())
    }

    /// A sector's bytes, in a line that is filled if need be; `None` beyond the end of the disk.
    fn cached(&mut self, sector: u64) -> Result<Option<&mut [u8]>, DiskError> {
        let first = chunk_of(sector);
        self.uses += 1;
        let hit = self.lines.iter().position(|line| line.first == Some(first));
        let at = match hit {
            Some(at) => at,
            None => {
                let oldest = self.lines.iter().enumerate().min_by_key(|(_, line)| line.used);
                let at = oldest.map_or(0, |(at, _)| at);
                self.fill(at, first, sector)?;
                at
            }
        };
        let Some(line) = self.lines.get_mut(at) else { return Ok(None) };
        line.used = self.uses;
        let offset = (sector - first) as usize * SECTOR_BYTES;
        Ok(line.bytes.get_mut(offset..offset + SECTOR_BYTES).filter(|_| sector < self.disk.sectors()))
    }

    fn fill(&mut self, at: usize, first: u64, sector: u64) -> Result<(), DiskError> {
        if sector >= self.disk.sectors() {
            return Err(DiskError::Outside { sector });
        }
        let count = (self.disk.sectors() - first).min(CHUNK_SECTORS as u64) as usize;
        let Some(line) = self.lines.get_mut(at) else { return Ok(()) };
        line.first = None;
        let bytes = line.bytes.get_mut(..count * SECTOR_BYTES).ok_or(DiskError::Outside { sector })?;
        self.disk.read(first, bytes)?;
        line.first = Some(first);
        Ok(())
    }
}

fn chunk_of(sector: u64) -> u64 {
    sector - sector % CHUNK_SECTORS as u64
}

impl<D: Disk> BlockDevice for Cached<D> {
    type Error = DiskError;

    fn read(&self, blocks: &mut [Block], start: BlockIdx) -> Result<(), DiskError> {
        let mut inner = self.0.borrow_mut();
        (u64::from(start.0)..).zip(blocks).try_for_each(|(sector, block)| inner.read(sector, block))
    }

    fn write(&self, blocks: &[Block], start: BlockIdx) -> Result<(), DiskError> {
        let mut inner = self.0.borrow_mut();
        (u64::from(start.0)..).zip(blocks).try_for_each(|(sector, block)| inner.write(sector, block))
    }

    fn num_blocks(&self) -> Result<BlockCount, DiskError> {
        Ok(BlockCount(u32::try_from(self.0.borrow().disk.sectors()).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each sector holds its number; counts what is asked.
    struct Numbered {
        sectors: Vec<[u8; SECTOR_BYTES]>,
        reads: usize,
        fail: bool,
    }

    impl Disk for Numbered {
        fn sectors(&self) -> u64 {
            self.sectors.len() as u64
        }

        fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), DiskError> {
            self.reads += 1;
            if self.fail {
                return Err(DiskError::Failed);
            }
            for (sector, out) in out.chunks_exact_mut(SECTOR_BYTES).enumerate() {
                out.copy_from_slice(&self.sectors[first as usize + sector]);
            }
            Ok(())
        }

        fn write(&mut self, first: u64, bytes: &[u8]) -> Result<(), DiskError> {
            self.sectors[first as usize].copy_from_slice(bytes);
            if self.fail { Err(DiskError::Failed) } else { Ok(()) }
        }

        fn flush(&mut self) -> Result<(), DiskError> {
            Ok(())
        }
    }

    fn cached(sectors: usize) -> Cached<Numbered> {
        let sectors = (0..sectors).map(|n| [n as u8; SECTOR_BYTES]).collect();
        Cached::new(Numbered { sectors, reads: 0, fail: false })
    }

    fn first_byte(cache: &mut Cached<Numbered>, sector: u64) -> Result<u8, DiskError> {
        let mut out = [0; SECTOR_BYTES];
        cache.read_sector(sector, &mut out).map(|()| out[0])
    }

    #[test]
    fn a_walk_through_a_file_and_its_table_reads_each_chunk_once() {
        let mut cache = cached(200);
        for sector in 64..192 {
            assert_eq!(first_byte(&mut cache, sector), Ok(sector as u8));
            assert_eq!(first_byte(&mut cache, 1), Ok(1));
        }
        assert_eq!(cache.0.get_mut().disk.reads, 5);
        assert_eq!(cache.last_read(), 1);
    }

    #[test]
    fn the_last_chunk_may_be_short_and_beyond_it_is_nothing() {
        let mut cache = cached(33);
        assert_eq!(first_byte(&mut cache, 32), Ok(32));
        for sector in [33, 63, 64, u64::MAX] {
            assert_eq!(first_byte(&mut cache, sector), Err(DiskError::Outside { sector }));
            let refused = cache.write_sector(sector, &[0; SECTOR_BYTES]);
            assert_eq!(refused, Err(DiskError::Outside { sector }));
        }
    }

    #[test]
    fn what_was_written_is_read_even_if_the_write_reported_an_error() {
        let mut cache = cached(40);
        assert_eq!(first_byte(&mut cache, 3), Ok(3));
        cache.write_sector(3, &[77; SECTOR_BYTES]).unwrap();
        assert_eq!(first_byte(&mut cache, 3), Ok(77));
        cache.0.get_mut().disk.fail = true;
        assert_eq!(cache.write_sector(3, &[78; SECTOR_BYTES]), Err(DiskError::Failed));
        assert_eq!(first_byte(&mut cache, 3), Err(DiskError::Failed));
        cache.0.get_mut().disk.fail = false;
        assert_eq!(first_byte(&mut cache, 3), Ok(78));
    }

    #[test]
    fn what_a_host_wrote_is_read_once_the_cache_was_told_to_forget() {
        let mut cache = cached(40);
        assert_eq!(first_byte(&mut cache, 3), Ok(3));
        cache.0.get_mut().disk.sectors[3][0] = 99;
        assert_eq!(first_byte(&mut cache, 3), Ok(3));
        cache.forget();
        assert_eq!(first_byte(&mut cache, 3), Ok(99));
    }
}
