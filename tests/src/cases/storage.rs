//! The storage service on a real disk image: every byte of the files that the host put there, a record over two boots, and the service killed
//! at each of its system calls. The guest is `tests/guest/storage_proof`.

use anyhow::{Result, ensure};

use super::selftest;
use crate::disk;
use crate::runner::TestContext;

/// Sizes of the files: none, less and more than a sector, and more than the service reads at once.
const SIZES: [u32; 4] = [0, 1, 513, 700_001];
/// Bytes of the file that is added between the boots.
const ADDED: u32 = 33_000;

/// The contents of each file, as `storage_proof::byte_at` has them.
fn contents(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

pub(super) fn run(context: &mut TestContext) -> Result<()> {
    let image = context.file("storage.img")?;
    disk::create(&image, &[])?;
    for size in SIZES {
        disk::put(&image, &format!("numbers-{size}.hicmod"), &contents(size))?;
    }
    disk::put(&image, "notes.txt", b"not a module")?;
    let mut machine = context.machine()?;
    machine.system = Some(image.clone());
    expect(&selftest::passes(context, machine.clone())?, "boot 1: 4 files")?;
    disk::put(&image, "a name that an operator chose.hicmod", &contents(ADDED))?;
    expect(&selftest::passes(context, machine)?, "boot 2: 5 files")?;
    let whole = disk::get(&image, "numbers-700001.hicmod")? == contents(700_001);
    ensure!(whole, "a module changed on the disk");
    ensure!(disk::list(&image)?.len() == SIZES.len() + 3, "files: {:?}", disk::list(&image)?);
    Ok(())
}

fn expect(serial: &str, text: &str) -> Result<()> {
    ensure!(serial.contains(text), "the guest did not say `{text}`");
    Ok(())
}
