//! Linked files, which `hicmod-tool pack` reads on the host.

use hic_hicmod::container::Module;
use hicmod_tool::{PackError, flatten, pack};

use super::assert_sentence;

const MANIFEST: &str = "name = \"x\"\nversion = \"1.0.0\"\nkind = \"service\"\norder = 1\npriority = 1\nstack_pages = 1\ncspace_slots = 16\n";

/// Tries the bytes as an ELF file, of a module that provides nothing and of one that provides the service `x`.
pub fn run(bytes: &[u8]) {
    let provided = [(&[][..], MANIFEST.to_owned()), (&["x"], format!("{MANIFEST}provides = [\"x\"]\n"))];
    for (services, manifest) in provided {
        match pack(bytes, &manifest) {
            Ok(file) => {
                let module = Module::parse(&file).expect("what the tool packs can be loaded");
                let parts = flatten(bytes).expect("it was packed");
                assert_eq!(parts.exports, services, "it serves something else than its manifest says");
                assert_eq!(module.image.relocations().collect::<Vec<_>>(), parts.relocations);
                super::image::place(&module.image);
            }
            Err(error) => {
                assert!(!matches!(error, PackError::Toml(_) | PackError::Manifest(_)), "{error}");
                assert_sentence(&error, 600);
            }
        }
    }
}
