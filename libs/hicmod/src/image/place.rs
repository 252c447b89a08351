//! Placing an image in memory: copy, clear, relocate. Never writes outside the slice it is given, and writes nothing
//! at all before the destination has been checked.

use super::{Image, ImageError, PAGE_SIZE, WORD};

/// What a loader needs to start the placed module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Address of the first instruction.
    pub entry: u64,
}

impl Image<'_> {
    /// Writes the whole image to `target`, which will be seen at `load_address` by the module.
    ///
    /// `target` is at least [`Image::memory_bytes`] long; what lies beyond is left alone. `load_address` is a page
    /// multiple. After this, the caller seals [`super::Layout::rx`] and write-protects [`super::Layout::ro`].
    pub fn place(&self, target: &mut [u8], load_address: u64) -> Result<Placed, ImageError> {
        let rw = self.layout().rw;
        self.check_load_address(load_address)?;
        let memory = destination(target, rw.end)?;
        let (sealed, writable) = memory.split_at_mut_checked(rw.start).ok_or(ImageError::NothingToExecute)?;
        let (sealed_body, _) = self.split_body();
        sealed.copy_from_slice(sealed_body);
        self.fill_writable(writable, load_address)?;
        Ok(Placed { entry: load_address + u64::from(self.entry) })
    }

    /// Writes only the writable run: a restart in place, over text that is sealed already.
    ///
    /// `writable` is the memory of [`super::Layout::rw`] (at least that long); `load_address` is still the address of
    /// the *start of the image*, the same as was given to [`Image::place`].
    pub fn place_data(&self, writable: &mut [u8], load_address: u64) -> Result<Placed, ImageError> {
        self.check_load_address(load_address)?;
        let memory = destination(writable, self.layout().rw.len())?;
        self.fill_writable(memory, load_address)?;
        Ok(Placed { entry: load_address + u64::from(self.entry) })
    }

    /// `writable` is exactly the writable run.
    fn fill_writable(&self, writable: &mut [u8], load_address: u64) -> Result<(), ImageError> {
        let (_, data) = self.split_body();
        let too_small = ImageError::TargetTooSmall { needed: data.len(), found: writable.len() };
        let (head, tail) = writable.split_at_mut_checked(data.len()).ok_or(too_small)?;
        head.copy_from_slice(data);
        tail.fill(0);
        let base = self.layout().rw.start;
        for offset in self.relocations() {
            // `parse` checked that each word lies in the data; should that ever fail, this is an error and not a panic.
            let outside =
                ImageError::RelocationOutside { offset, data_start: base, data_end: base + head.len() };
            let at = (offset as usize).checked_sub(base).ok_or(outside)?;
            let word = head.get_mut(at..at + WORD).ok_or(outside)?;
            let word: &mut [u8; WORD] = word.try_into().map_err(|_| outside)?;
            let addend = u64::from_le_bytes(*word);
            self.check_addend(offset, addend)?;
            *word = (load_address + addend).to_le_bytes();
        }
        Ok(())
    }

    /// The body as (read-only and executable pages, data).
    fn split_body(&self) -> (&[u8], &[u8]) {
        let at = self.layout().rw.start;
        self.body.split_at_checked(at).unwrap_or((self.body, &[]))
    }

    fn check_load_address(&self, load_address: u64) -> Result<(), ImageError> {
        let fits = load_address.checked_add(self.memory_bytes() as u64).is_some();
        if !fits || !load_address.is_multiple_of(PAGE_SIZE as u64) {
            return Err(ImageError::LoadAddress { load_address });
        }
        Ok(())
    }
}

fn destination(target: &mut [u8], needed: usize) -> Result<&mut [u8], ImageError> {
    let found = target.len();
    target.get_mut(..needed).ok_or(ImageError::TargetTooSmall { needed, found })
}
