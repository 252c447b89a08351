//! The image of a module: what was accepted stays inside of itself, wherever it is placed.

use hic_hicmod::image::{Image, ImageParts, MAX_IMAGE_PAGES, PAGE_SIZE};
use hic_hicmod::{MAX_EXPORTS, is_valid_name};

use super::assert_sentence;

/// Images above this size are not placed: copying them takes the time of a thousand small ones.
const PLACED_BYTES: usize = 1 << 20;
/// What lies behind the image in memory, and must stay.
const BEYOND: u8 = 0xa5;
/// Addresses where an image is placed: the first that user memory has, and the last where the largest image fits.
const PLACES: [u64; 2] = [1 << 32, u64::MAX - (1 << 32) + 1];

/// Tries the bytes as an image.
pub fn run(bytes: &[u8]) {
    match Image::parse(bytes) {
        Ok(image) => {
            let parts = ImageParts::from(&image);
            assert!(
                parts.exports.len() <= MAX_EXPORTS && parts.exports.iter().all(|name| is_valid_name(name))
            );
            assert_eq!(parts.encode().expect("what was read can be written"), bytes);
            place(&image);
        }
        Err(error) => assert_sentence(&error, 200),
    }
}

/// Places an image that was accepted, and looks at what came of it.
pub fn place(image: &Image<'_>) {
    let length = image.memory_bytes();
    assert!(length <= MAX_IMAGE_PAGES as usize * PAGE_SIZE);
    if length > PLACED_BYTES {
        return;
    }
    for address in PLACES {
        let mut memory = vec![BEYOND; length + PAGE_SIZE];
        let placed = image.place(&mut memory, address).expect("there is room");
        let code = image.layout().rx;
        assert!(code.contains(&((placed.entry - address) as usize)), "it starts outside of its code");
        assert!(memory[length..].iter().all(|byte| *byte == BEYOND), "written behind the image");
        check_words(image, &memory, address);
        check_restart(image, &memory, address);
    }
    let mut short = vec![BEYOND; length - 1];
    assert!(image.place(&mut short, PLACES[0]).is_err());
    assert!(short.iter().all(|byte| *byte == BEYOND), "written although there is no room");
}

/// Each relocated word names a place in the image, and nothing but these words differs from the file.
fn check_words(image: &Image<'_>, memory: &[u8], address: u64) {
    let mut expected = image.body().to_vec();
    expected.resize(image.memory_bytes(), 0);
    for at in image.relocations().map(|offset| offset as usize) {
        let word = u64::from_le_bytes(*memory[at..].first_chunk().expect("inside"));
        assert!((address..=address + image.memory_bytes() as u64).contains(&word), "{word:#x} is outside");
        expected[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    assert_eq!(memory[..image.memory_bytes()], expected);
}

/// A restart in place leaves the same writable run.
fn check_restart(image: &Image<'_>, memory: &[u8], address: u64) {
    let run = image.layout().rw;
    let mut again = vec![BEYOND; run.len()];
    image.place_data(&mut again, address).expect("there is room");
    assert_eq!(again, memory[run]);
}
