//! The steps from a module's bytes to a module in memory, each by itself, for `cargo xtask bench`, which counts their instructions.
//!
//! `verify MODULE ROOT STEP`: STEP is one of the functions below, and what is counted is what happens in it.

use std::process::ExitCode;

use hic_hicmod::container::SectionKind;
use hic_hicmod::signature::{SignatureBlock, content_digest};
use hic_hicmod::{Container, Image, Manifest, RevocationList, TrustRoot, manifest, verify};

/// Checksums and form.
#[inline(never)]
#[unsafe(no_mangle)]
fn step_container(file: &[u8]) -> Option<Container<'_>> {
    Container::parse(file).ok()
}

/// SHA-384 over the content.
#[inline(never)]
#[unsafe(no_mangle)]
fn step_digest(container: &Container<'_>) -> Option<[u8; 48]> {
    content_digest(container).ok()
}

/// The manifest, read and checked.
#[inline(never)]
#[unsafe(no_mangle)]
fn step_manifest(bytes: &[u8]) -> Option<Manifest> {
    manifest::decode(bytes).ok()
}

/// The image's form, each relocation.
#[inline(never)]
#[unsafe(no_mangle)]
fn step_image(bytes: &[u8]) -> Option<Image<'_>> {
    Image::parse(bytes).ok()
}

/// Copied and relocated.
#[inline(never)]
#[unsafe(no_mangle)]
fn step_place(image: &Image<'_>, memory: &mut [u8]) -> bool {
    image.place(memory, 1 << 32).is_ok()
}

/// Everything that the verifier does: the steps above but the last, and chain and signature.
#[inline(never)]
#[unsafe(no_mangle)]
fn step_verify(file: &[u8], root: &[u8], now: u64) -> bool {
    TrustRoot::parse(root).is_ok_and(|root| verify(file, &root, now, &RevocationList::none()).is_ok())
}

fn run(file: &[u8], root: &[u8], step: &str) -> Option<()> {
    let container =
        if step == "step_container" { step_container(file)? } else { Container::parse(file).ok()? };
    let (raw, image) = (container.find(SectionKind::Manifest)?, container.find(SectionKind::Image)?);
    let good = match step {
        "step_container" => true,
        "step_digest" => step_digest(&container).is_some(),
        "step_manifest" => step_manifest(raw).is_some(),
        "step_image" => step_image(image).is_some(),
        "step_place" => {
            let image = Image::parse(image).ok()?;
            step_place(&image, &mut vec![0; image.memory_bytes()])
        }
        "step_verify" => step_verify(file, root, SignatureBlock::find(&container).ok()?.signed_at),
        _ => false,
    };
    good.then_some(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [module, root, step] = words.as_slice() else {
        eprintln!("verify MODULE ROOT STEP: two files and the name of a step are wanted");
        return ExitCode::FAILURE;
    };
    let read = |path: &String| std::fs::read(path).unwrap_or_default();
    if run(&read(module), &read(root), step).is_some() {
        ExitCode::SUCCESS
    } else {
        eprintln!("{module}: {step} does not come to an end");
        ExitCode::FAILURE
    }
}
