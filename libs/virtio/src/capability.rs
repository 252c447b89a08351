//! Finding the device's registers: vendor capabilities in PCI configuration space (virtio 1.2, 4.1.4).

/// A range of a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the BAR, 0 to 5.
    pub bar: u8,
    /// Offset in it, bytes.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

/// Where the device's register blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// Common configuration (4.1.4.3).
    pub common: Place,
    /// Queue notification (4.1.4.4).
    pub notify: Place,
    /// Bytes between the notification registers of two queues, multiplied with the queue's notification offset.
    pub notify_multiplier: u32,
    /// Configuration of the kind of device (5.1.4, 5.2.4).
    pub device: Place,
}

/// A block that is missing or impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing(
    /// Which one.
    pub &'static str,
);

impl core::fmt::Display for Missing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the device has no registers for {}", self.0)
    }
}

const STATUS: u16 = 6;
const HAS_LIST: u32 = 1 << 4;
const LIST: u16 = 0x34;
const VENDOR: u32 = 9;
const COMMON: u32 = 1;
const NOTIFY: u32 = 2;
const DEVICE: u32 = 4;
/// Capabilities that fit in 256 bytes; a longer list is a loop.
const MOST: usize = 48;

/// Walks the capability list; `read(offset)` reads an aligned 32-bit word of configuration space (offset below 256). Of two
/// blocks of one kind the first counts (4.1.4.1: the device prefers it).
///
/// # Errors
/// [`Missing`].
pub fn find<E>(mut read: impl FnMut(u16) -> Result<u32, E>) -> Result<Result<Places, Missing>, E> {
    let (mut common, mut notify, mut device) = (None, None, None);
    let has_list = read(STATUS & !3)? >> 16 & HAS_LIST != 0;
    let mut at = if has_list { read(LIST)? as u16 & 0xfc } else { 0 };
    for _ in 0..MOST {
        // The header of the device is before 0x40; a notify capability has 20 bytes.
        if !(0x40..=0xec).contains(&at) {
            break;
        }
        let head = read(at)?;
        let second = read(at + 4)?;
        let place = Place { bar: second as u8, offset: read(at + 8)?, len: read(at + 12)? };
        if head & 0xff == VENDOR && place.bar < 6 {
            match head >> 24 {
                COMMON => common = common.or(Some(place)),
                NOTIFY if notify.is_none() => notify = Some((place, read(at + 16)?)),
                DEVICE => device = device.or(Some(place)),
                _ => {}
            }
        }
        at = (head >> 8) as u16 & 0xfc;
    }
    Ok(assemble(common, notify, device))
}

fn assemble(
    common: Option<Place>,
    notify: Option<(Place, u32)>,
    device: Option<Place>,
) -> Result<Places, Missing> {
    let common = common.ok_or(Missing("common configuration"))?;
    let (notify, notify_multiplier) = notify.ok_or(Missing("notification"))?;
    let device = device.ok_or(Missing("device configuration"))?;
    Ok(Places { common, notify, notify_multiplier, device })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Configuration space with these capabilities from 0x40 on: (kind, bar, offset), 20 bytes each.
    fn space(capabilities: &[(u32, u32, u32)], looped: bool) -> [u32; 64] {
        let mut words = [0; 64];
        words[1] = HAS_LIST << 16;
        words[13] = 0x40;
        for (n, (kind, bar, offset)) in capabilities.iter().enumerate() {
            let at = 16 + n * 5;
            let next = if n + 1 < capabilities.len() {
                (at + 5) * 4
            } else if looped {
                0x40
            } else {
                0
            };
            words[at..at + 5].copy_from_slice(&[
                VENDOR | (next as u32) << 8 | 20 << 16 | kind << 24,
                *bar,
                *offset,
                0x1000,
                4,
            ]);
        }
        words
    }

    fn walk(words: &[u32; 64]) -> Result<Places, Missing> {
        find::<()>(|at| Ok(words[usize::from(at) / 4])).unwrap()
    }

    #[test]
    fn the_blocks_of_a_modern_device_are_found() {
        let found =
            walk(&space(&[(5, 0, 0), (1, 4, 0), (3, 4, 0x1000), (4, 4, 0x2000), (2, 4, 0x3000)], false))
                .unwrap();
        assert_eq!(found.common, Place { bar: 4, offset: 0, len: 0x1000 });
        assert_eq!((found.notify.offset, found.notify_multiplier, found.device.offset), (0x3000, 4, 0x2000));
    }

    #[test]
    fn a_list_without_end_or_without_a_block_is_an_error() {
        assert_eq!(walk(&space(&[(1, 4, 0), (4, 4, 0)], true)), Err(Missing("notification")));
        assert_eq!(walk(&[0; 64]), Err(Missing("common configuration")));
        assert_eq!(walk(&[u32::MAX; 64]), Err(Missing("common configuration")));
    }
}
