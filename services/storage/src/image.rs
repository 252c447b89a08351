//! A disk over an image in memory, for tests: what was not flushed can be lost.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use crate::disk::{Disk, DiskError, SECTOR_BYTES};

/// One write: first byte and bytes.
pub type Write = (usize, Vec<u8>);

/// What a test sees of a disk that a repository owns.
#[derive(Default)]
pub struct Platter {
    /// What outlives power.
    pub bytes: Vec<u8>,
    /// Writes since the last flush, in order.
    pub pending: Vec<Write>,
    /// Flushes so far.
    pub flushes: usize,
    /// Reads so far.
    pub reads: usize,
    /// Whether all transfers fail.
    pub broken: bool,
    /// Whether what was written stays in the disk's cache: a flush that has something to do fails.
    pub flush_fails: bool,
    /// Writes so far.
    pub writes: usize,
    /// Power fails before this write.
    pub cut_at: Option<usize>,
}

/// A disk.
#[derive(Clone, Default)]
pub struct Image(pub Rc<RefCell<Platter>>);

impl Image {
    /// A disk as the host's tools make it, with these files.
    pub fn with_files(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(hic_tests::disk::IMAGE);
        let on_host: Vec<(String, PathBuf)> = (0..)
            .zip(files)
            .map(|(n, (name, bytes))| {
                let file = folder.path().join(std::format!("{n}"));
                std::fs::write(&file, bytes).unwrap();
                (String::from(*name), file)
            })
            .collect();
        hic_tests::disk::create(&path, &on_host).unwrap();
        Self::from_bytes(std::fs::read(&path).unwrap())
    }

    /// A disk with these bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Rc::new(RefCell::new(Platter { bytes, ..Platter::default() })))
    }

    /// The bytes as a reader sees them now.
    pub fn seen(&self) -> Vec<u8> {
        let platter = self.0.borrow();
        let mut bytes = platter.bytes.clone();
        for (at, piece) in &platter.pending {
            bytes[*at..*at + piece.len()].copy_from_slice(piece);
        }
        bytes
    }

    /// The disk as power that failed now may leave it: of what was not flushed, the writes for which `kept` says so are there.
    pub fn after_power_failed(&self, kept: impl Fn(usize) -> bool) -> Self {
        let platter = self.0.borrow();
        let mut bytes = platter.bytes.clone();
        for (_, (at, piece)) in platter.pending.iter().enumerate().filter(|(n, _)| kept(*n)) {
            bytes[*at..*at + piece.len()].copy_from_slice(piece);
        }
        Self::from_bytes(bytes)
    }

    /// Puts these bytes on the host's disk and asks the host's tools for a file.
    pub fn file_on_host(&self, name: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(hic_tests::disk::IMAGE);
        std::fs::write(&path, self.seen()).unwrap();
        hic_tests::disk::get(&path, name).unwrap()
    }

    /// Lets the host's tools change the disk under whoever reads it.
    pub fn change_on_host(&self, change: impl FnOnce(&std::path::Path)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(hic_tests::disk::IMAGE);
        std::fs::write(&path, self.seen()).unwrap();
        change(&path);
        self.0.borrow_mut().bytes = std::fs::read(&path).unwrap();
    }
}

impl Disk for Image {
    fn sectors(&self) -> u64 {
        (self.0.borrow().bytes.len() / SECTOR_BYTES) as u64
    }

    fn read(&mut self, first: u64, out: &mut [u8]) -> Result<(), DiskError> {
        let mut platter = self.0.borrow_mut();
        platter.reads += 1;
        if platter.broken {
            return Err(DiskError::Failed);
        }
        let start = first as usize * SECTOR_BYTES;
        out.copy_from_slice(&platter.bytes[start..start + out.len()]);
        let end = start + out.len();
        let overlaps = |(at, piece): &&Write| *at < end && at + piece.len() > start;
        for (at, piece) in platter.pending.iter().filter(overlaps) {
            for (n, byte) in piece.iter().enumerate() {
                if let Some(out) = (at + n).checked_sub(start).and_then(|n| out.get_mut(n)) {
                    *out = *byte;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, first: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut platter = self.0.borrow_mut();
        platter.broken |= platter.cut_at == Some(platter.writes);
        if platter.broken {
            return Err(DiskError::Failed);
        }
        platter.writes += 1;
        platter.pending.push((first as usize * SECTOR_BYTES, bytes.to_vec()));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        let mut platter = self.0.borrow_mut();
        if platter.broken || platter.flush_fails && !platter.pending.is_empty() {
            return Err(DiskError::Failed);
        }
        for (at, piece) in std::mem::take(&mut platter.pending) {
            platter.bytes[at..at + piece.len()].copy_from_slice(&piece);
        }
        platter.flushes += 1;
        Ok(())
    }
}
