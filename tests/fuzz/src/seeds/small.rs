//! Seeds of small things: a loader's messages, questions to the resolver, answers and requests in HTTP, lines and keys of the console.

use super::Seeds;

/// Adds them.
pub fn add(seeds: &mut Seeds) {
    let mut put = |target: &'static str, name: &str, bytes: Vec<u8>| {
        seeds.insert((target, name.to_owned()), bytes);
    };
    put("boot_message", "pvh", [vec![0], pvh()].concat());
    put("boot_message", "multiboot2", [vec![1], multiboot2()].concat());
    put("elf", "small", elf(&[]));
    put("elf", "one-service", elf(b"x"));
    put("elf", "a-service-that-is-none", elf(b"-x"));
    put("elf", "header-alone", elf(&[])[..64].to_vec());
    // The goal; then releases: name, version, flags, dependencies (on, from, below), interfaces.
    put(
        "resolver",
        "two-must-change",
        vec![0, 2, 0, 1, 0x80, 0, 1, 1, 0x80, 0, 0, 2, 1, 1, 2, 0, 0, 1, 2, 0x21, 6, 2, 0, 0x12, 2],
    );
    put("resolver", "an-interface", vec![0, 1, 0, 1, 0, 0x20, 1, 1, 0, 2, 1, 0, 0x80, 0]);
    put(
        "resolver",
        "a-cycle",
        vec![0, 2, 0, 1, 0x80, 0, 1, 1, 0x80, 0, 0, 2, 1, 1, 2, 0, 0, 1, 2, 1, 0, 2, 0, 0],
    );
    for (name, text) in ANSWERS {
        put("http_answer", name, [&[7, 9, 80], text.as_bytes()].concat());
    }
    for (name, text) in REQUESTS {
        put("http_request", name, text.as_bytes().to_vec());
    }
    for (name, keys) in KEYS {
        put("console", name, keys.as_bytes().to_vec());
    }
}

const ANSWERS: [(&str, &str); 5] = [
    (
        "whole",
        "HTTP/1.1 200 OK\r\nContent-Length: 64\r\nETag: \"v1\"\r\n\r\n0123456789012345678901234567890123456789012345678901234567890123",
    ),
    (
        "a-part",
        "HTTP/1.1 206 Partial Content\r\nContent-Length: 48\r\nContent-Range: bytes 16-63/64\r\n\r\n678901234567890123456789012345678901234567890123",
    ),
    ("not-found", "HTTP/1.0 404 Not Found\r\n\r\n"),
    ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"),
    ("dated", "HTTP/1.1 200 OK\nContent-Length: 3\nLast-Modified: Tue, 15 Nov 1994 12:45:26 GMT\n\nabcdef"),
];

const REQUESTS: [(&str, &str); 3] = [
    ("get", "GET / HTTP/1.1\r\nHost: hic\r\nConnection: keep-alive\r\n\r\n"),
    ("post", "POST /healthz HTTP/1.1\r\nHost: hic\r\nContent-Length: 12\r\n\r\nhello, hic!\n"),
    ("old", "HEAD /nothing HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n"),
];

const KEYS: [(&str, &str); 7] = [
    ("update", "update netstack 1.3.0 watch=60 share=1000\r"),
    ("plan", "update netstack 1.3.0 --plan --json"),
    ("repository", "repository add http://10.0.2.2:8000/hic/stable"),
    ("edited", "statsu\x1b[D\x7f\x1b[C\x08us\x01\x05\x0b\x15memory\r\x1b[A\x1b[B\r"),
    ("cancelled", "kill netstack after=9\x03\x0clog -f\x17audit verify\n"),
    ("kill", "kill netstack@1.3.0 after=120"),
    ("nonsense", "frobnicate \u{1b}[2J \u{fffd}"),
];

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn longs(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The structure, its list of modules and its memory map, one after the other, at the address where the target puts them.
fn pvh() -> Vec<u8> {
    const AT: u64 = 0x50_0000;
    let head = [words(&[0x336e_c578, 1, 0, 1]), longs(&[AT + 56, 0, 0x1234, AT + 88]), words(&[2, 0])];
    let module = longs(&[0x80_0000, 0x1234, 0, 0]);
    let memory = longs(&[0, 0x9_fc00, 1, 0x10_0000, 0x3f0_0000, 1]);
    [head.concat(), module, memory].concat()
}

fn tag(kind: u32, content: &[u8]) -> Vec<u8> {
    let mut tag = [words(&[kind, content.len() as u32 + 8]), content.to_vec()].concat();
    tag.resize(tag.len().next_multiple_of(8), 0);
    tag
}

fn multiboot2() -> Vec<u8> {
    let module = [words(&[0x80_0000, 0x80_1234]), b"boot.archive\0".to_vec()].concat();
    let memory =
        [words(&[24, 0]), longs(&[0, 0x9_fc00, 1, 0xfec0_0000, 0x1000, 2, 0x10_0000, 0x3f0_0000, 1])]
            .concat();
    let tags =
        [tag(1, b"quiet\0"), tag(3, &module), tag(6, &memory), tag(14, b"RSD PTR old"), tag(0, &[])].concat();
    [words(&[tags.len() as u32 + 8, 0]), tags].concat()
}

/// An ELF file as our linker makes them, in small: code, data with one relocation, the table that names it, and a note of the service that it
/// exports, if that has a name.
fn elf(service: &[u8]) -> Vec<u8> {
    const PAGE: u64 = 4096;
    // ELF64, little-endian, ET_DYN, x86-64; entry in the second page; three segments, PT_DYNAMIC, PT_NOTE.
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    file.extend(longs(&[PAGE, 64, 0]));
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 4 + u8::from(!service.is_empty()), 0, 64, 0, 0, 0, 0, 0]);
    let segment = |kind: u32, flags: u32, at: u64, bytes: u64, memory: u64| {
        let alignment = if kind == 4 { 4 } else { PAGE };
        [words(&[kind, flags]), longs(&[at, at, at, bytes, memory, alignment])].concat()
    };
    let (rela, note, dynamic) = (512u64, 640u64, PAGE * 2 + 16);
    file.extend(segment(1, 4, 0, 1024, 1024));
    file.extend(segment(1, 5, PAGE, 16, 16));
    file.extend(segment(1, 6, PAGE * 2, 96, 200));
    file.extend(segment(2, 6, dynamic, 64, 64));
    if !service.is_empty() {
        file.extend(segment(4, 4, note, 40, 40));
    }
    file.resize(rela as usize, 0);
    file.extend(longs(&[PAGE * 2, 8, PAGE * 2 + 8]));
    if !service.is_empty() {
        file.resize(note as usize, 0);
        file.extend([words(&[4, 24, 2]), b"HIC\0".to_vec(), service.to_vec()].concat());
    }
    file.resize(PAGE as usize, 0);
    file.extend([0x90; 16]);
    file.resize(2 * PAGE as usize + 16, 0);
    file.extend(longs(&[7, rela, 8, 24, 9, 24, 0, 0]));
    file.resize(2 * PAGE as usize + 96, 0);
    file
}
