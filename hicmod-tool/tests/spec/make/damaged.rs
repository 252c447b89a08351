//! Modules that are damaged, and such that are signed well and wrong inside.

use super::*;

pub(super) fn damaged(maker: &mut Maker) {
    let plain = std::fs::read(maker.folder.join("plain.hicmod")).expect("made before");
    let container = Container::parse(&plain).expect("good");
    let at = |kind| container.sections().find(|section| section.kind == kind).expect("there").offset;
    let (manifest_at, image_at) = (at(SectionKind::Manifest), at(SectionKind::Image));
    let flipped = |at: usize| [plain[at] ^ 0x10];
    maker.edited("another magic", 0, b"h", "format");
    maker.edited("a transfer as text", 6, b"\n\n", "format");
    maker.edited("format 2", 8, &[2], "format");
    maker.edited("too many sections", 10, &[17], "format");
    maker.edited("one section more than there is", 10, &[4], "checksum");
    maker.edited("a total that is longer", 12, &(plain.len() as u32 + 1).to_le_bytes(), "truncated");
    maker.edited("a total that is shorter", 12, &(plain.len() as u32 - 1).to_le_bytes(), "format");
    maker.edited("the checksum of the table", 16, &flipped(16), "checksum");
    maker.edited("the reserved field", 20, &[1], "format");
    maker.edited("a row of the table", 24 + 4, &flipped(28), "checksum");
    maker.edited("one bit of the manifest", manifest_at + 5, &flipped(manifest_at + 5), "checksum");
    maker.edited("one bit of the image", image_at + 100, &flipped(image_at + 100), "checksum");
    maker.edited("one bit of the signature", plain.len() - 1, &flipped(plain.len() - 1), "checksum");
    let gap = container.find(SectionKind::Manifest).expect("there").len() % SECTION_ALIGN;
    assert_ne!(gap, 0, "there is padding");
    maker.edited("padding that is not zero", image_at - 1, &[1], "format");
    for length in [0, 7, 9, 11, 15, 23, 50, 200, plain.len() - 1] {
        maker.of(&format!("cut to {length} bytes"), "plain.hicmod", "truncated").cut = Some(length);
    }
    maker.of("a byte more", "plain.hicmod", "format").append = "00".to_owned();
}

/// `plain.hicmod` with the section `kind` changed, checksums right, signature as it was.
fn repaired(maker: &mut Maker, name: &str, kind: SectionKind, change: impl Fn(&mut Vec<u8>), expect: &str) {
    let plain = std::fs::read(maker.folder.join("plain.hicmod")).expect("made before");
    let container = Container::parse(&plain).expect("good");
    let parts: Vec<(SectionKind, bool, Vec<u8>)> = container
        .sections()
        .map(|section| {
            let mut bytes = section.bytes.to_vec();
            if section.kind == kind {
                change(&mut bytes);
            }
            (section.kind, section.critical, bytes)
        })
        .collect();
    let parts: Vec<_> = parts.iter().map(|(kind, critical, bytes)| (*kind, *critical, &bytes[..])).collect();
    maker.file(name, &sections(&parts), expect);
}

pub(super) fn contents(maker: &mut Maker) {
    repaired(maker, "changed after it was signed", SectionKind::Image, |bytes| bytes[100] ^= 1, "digest");
    repaired(
        maker,
        "dated anew after it was signed",
        SectionKind::Signature,
        |bytes| bytes[8] ^= 1,
        "signature",
    );
    repaired(
        maker,
        "another signature",
        SectionKind::Signature,
        |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        },
        "signature",
    );
    repaired(maker, "signature section of version 3", SectionKind::Signature, |bytes| bytes[4] = 3, "format");
    repaired(
        maker,
        "signature section with another magic",
        SectionKind::Signature,
        |bytes| bytes[0] = b'h',
        "format",
    );
    repaired(
        maker,
        "a certificate without bytes",
        SectionKind::Signature,
        |bytes| put(bytes, 64, &[0; 4]),
        "format",
    );
    repaired(
        maker,
        "signature section with a byte more",
        SectionKind::Signature,
        |bytes| bytes.push(0),
        "format",
    );
    let plain = unsigned(&encoded(&least()), &image());
    maker.file("not signed", &plain, "unsigned");
    let signature = sign(&plain, &maker.signer, &maker.intermediate, None, NOW);
    let signature =
        Container::parse(&signature).expect("good").find(SectionKind::Signature).expect("there").to_vec();
    let (manifest, image_bytes) = (encoded(&least()), image());
    let order = [
        (SectionKind::Manifest, true, &manifest[..]),
        (SectionKind::Signature, false, &signature),
        (SectionKind::Image, true, &image_bytes),
    ];
    maker.file("a section behind the signature", &sections(&order), "format");

    let bytes = |change: fn(&mut Vec<u8>)| {
        let mut bytes = encoded(&least());
        change(&mut bytes);
        unsigned(&bytes, &image())
    };
    maker.content("manifest of schema 2", &bytes(|bytes| bytes[0] = 2), "manifest");
    maker.content("manifest with a byte more", &bytes(|bytes| bytes.push(0)), "manifest");
    maker.content("manifest that is cut off", &bytes(|bytes| bytes.truncate(bytes.len() - 1)), "manifest");
    maker.content("a name with capitals", &bytes(|bytes| bytes[3] = b'P'), "manifest");
    // Name (6), version (4), summary (1) and kind (1) follow the schema (2).
    maker.content("a kind that there is not", &bytes(|bytes| bytes[13] = 3), "manifest");
    maker.content("an order that is too high", &bytes(|bytes| bytes[14] = 32), "manifest");
    maker.content("no manifest", &sections(&[(SectionKind::Image, true, &image())]), "format");
    maker.content("no image", &sections(&[(SectionKind::Manifest, true, &encoded(&least()))]), "format");

    let changed = |change: fn(&mut Vec<u8>)| {
        let mut bytes = image();
        change(&mut bytes);
        unsigned(&encoded(&least()), &bytes)
    };
    maker.content("image with another magic", &changed(|bytes| bytes[0] = b'h'), "image");
    maker.content("image that is cut off", &changed(|bytes| bytes.truncate(bytes.len() - 1)), "image");
    maker.content("nothing to execute", &changed(|bytes| put(bytes, 12, &[0; 4])), "segment");
    maker.content("an image beyond the limit", &changed(|bytes| put(bytes, 20, &[255; 4])), "segment");
    maker.content(
        "an entry outside the code",
        &changed(|bytes| put(bytes, 24, &4096u32.to_le_bytes())),
        "segment",
    );
    maker.content("a relocation of code", &changed(|bytes| put(bytes, 48, &[0; 4])), "relocation");
    maker.content(
        "a relocation that is not aligned",
        &changed(|bytes| put(bytes, 48, &4097u32.to_le_bytes())),
        "relocation",
    );
    maker.content(
        "a relocation beyond the data",
        &changed(|bytes| put(bytes, 48, &4104u32.to_le_bytes())),
        "relocation",
    );
    maker.content(
        "an addend outside the module",
        &changed(|bytes| {
            let last = bytes.len() - 8;
            put(bytes, last, &8193u64.to_le_bytes());
        }),
        "relocation",
    );
    maker.content("more relocations than fit", &changed(|bytes| put(bytes, 28, &[255; 4])), "relocation");
    maker.content("an image of version 1", &changed(|bytes| bytes[4] = 1), "image");
    maker.content("a reserved field of the image", &changed(|bytes| bytes[40] = 1), "image");
    exports(maker);
}

/// What the program says that it serves.
fn exports(maker: &mut Maker) {
    // One relocation, then the table.
    const TABLE: usize = 48 + 4;
    let provides = |services: &[&str]| {
        let mut manifest = least();
        manifest.provides = services.iter().map(|service| service.parse().expect("a name")).collect();
        encoded(&manifest)
    };
    let both = ["one", "two"];
    let content = |change: fn(&mut Vec<u8>)| {
        let mut bytes = image_that_exports(&both);
        change(&mut bytes);
        unsigned(&provides(&both), &bytes)
    };
    let eight = ["1", "2", "3", "4", "5", "6", "7", "a-name-of-24-bytes-is-it"];
    maker.content("eight services", &unsigned(&provides(&eight), &image_that_exports(&eight)), "good");
    maker.content("more services than fit", &content(|bytes| bytes[36] = 9), "exports");
    maker.content("a table of services elsewhere", &content(|bytes| bytes[32] += 4), "exports");
    maker.content("a service fewer than there is", &content(|bytes| bytes[36] = 1), "image");
    maker.content("a service more than there is", &content(|bytes| bytes[36] = 3), "image");
    maker.content("a service with a capital", &content(|bytes| bytes[TABLE] = b'O'), "exports");
    maker.content("a service without a name", &content(|bytes| put(bytes, TABLE, &[0; 3])), "exports");
    maker.content("a service with a zero in its name", &content(|bytes| bytes[TABLE + 1] = 0), "exports");
    maker.content("something behind a name", &content(|bytes| bytes[TABLE + 23] = b'x'), "exports");
    maker.content("a service that is no text", &content(|bytes| bytes[TABLE] = 0xff), "exports");
    maker.content("a service twice", &content(|bytes| put(bytes, TABLE, b"two")), "exports");
    for (name, provided, exported) in [
        ("a service that the manifest does not provide", &both[..1], &both[..]),
        ("a service that the program does not export", &both, &both[1..]),
        ("a program that exports nothing", &both, &[]),
        ("a manifest that provides nothing", &[], &both),
        ("another service", &both[..1], &both[1..]),
    ] {
        maker.content(name, &unsigned(&provides(provided), &image_that_exports(exported)), "exports");
    }
}
