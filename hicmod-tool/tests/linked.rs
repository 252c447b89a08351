//! What the pinned toolchain really links, with the arguments that our modules use, becomes a module.

mod common;

use std::process::Command;

use hic_hicmod::Module;
use hicmod_tool::pack;

const PROGRAM: &str = r#"
#![no_std]
#![no_main]
// As `hic_rt::entry!` makes it.
#[repr(C)]
struct Exports { head: [u32; 3], owner: [u8; 4], services: [[u8; 24]; 1] }
#[used]
#[unsafe(link_section = ".note.hic")]
static EXPORTS: Exports =
    Exports { head: [4, 24, 2], owner: *b"HIC\0", services: [*b"echo\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] };
static NAMES: [&str; 2] = ["alpha", "beta"];
static mut COUNTER: u64 = 0x1122_3344_5566_7788;
static mut BUFFER: [u8; 10_000] = [0; 10_000];
#[unsafe(no_mangle)]
extern "C" fn _start(which: usize) -> ! {
    unsafe {
        let counter = &raw mut COUNTER;
        counter.write_volatile(counter.read_volatile() + NAMES[which & 1].len() as u64);
        (&raw mut BUFFER).cast::<u8>().add(which & 1023).write_volatile(1);
        core::ptr::read_volatile(&raw const NAMES);
    }
    loop {}
}
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }
"#;

fn link(extra: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (source, binary) = (directory.path().join("module.rs"), directory.path().join("module"));
    std::fs::write(&source, PROGRAM).unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "-O", "-C", "panic=abort"]).arg(&source).arg("-o").arg(&binary);
    for argument in hic_link::ARGUMENTS.iter().chain(extra) {
        rustc.args(["-C", &format!("link-arg={argument}")]);
    }
    assert!(rustc.status().unwrap().success(), "rustc failed");
    std::fs::read(&binary).unwrap()
}

#[test]
fn a_linked_program_is_placed_with_its_pointers_relocated() {
    for extra in [&[][..], &["-Wl,-z,relro"][..]] {
        let bytes = pack(&link(extra), common::MANIFEST).unwrap();
        let image = Module::parse(&bytes).unwrap().image;
        assert_eq!(image.exports().iter().collect::<Vec<_>>(), ["echo"], "the linker keeps the note");
        let base = 0x7700_0000;
        let mut memory = vec![0xFF; image.memory_bytes()];
        let placed = image.place(&mut memory, base).unwrap();

        assert!(image.layout().rx.contains(&((placed.entry - base) as usize)));
        assert!(image.bss_bytes() >= 10_000);
        let strings: Vec<String> = image
            .relocations()
            .filter_map(|offset| {
                let word = |at: usize| u64::from_le_bytes(memory[at..at + 8].try_into().unwrap());
                let (address, length) = (word(offset as usize), word(offset as usize + 8) as usize);
                let start = (address - base) as usize;
                Some(String::from_utf8_lossy(memory.get(start..start.checked_add(length)?)?).into_owned())
            })
            .collect();
        assert!(strings.iter().any(|s| s == "alpha") && strings.iter().any(|s| s == "beta"), "{strings:?}");
        let counter = 0x1122_3344_5566_7788u64.to_le_bytes();
        assert!(memory[image.layout().rw].windows(8).any(|word| word == counter));
    }
}

#[test]
fn a_program_linked_without_pie_is_refused_with_the_argument_to_use() {
    let error = pack(&link(&["-static", "-no-pie"]), common::MANIFEST).unwrap_err().to_string();
    assert!(error.contains("-static-pie"), "{error}");
}
