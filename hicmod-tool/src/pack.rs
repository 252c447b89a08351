//! From linker output and manifest to a module.

use std::fmt;

use hic_hicmod::ImageError;
use hic_hicmod::container::{ContainerError, NewSection, SectionKind, encode};
use hic_hicmod::manifest::{self, Build, MAX_MANIFEST_BYTES, Manifest, ManifestError, Span};

use crate::elf::{ElfError, flatten, linked_runtime};

/// Why no module was made: which input is at fault, and what would be right.
#[derive(Debug)]
pub enum PackError {
    /// The manifest is not TOML, or not of the right shape. Says line and column.
    Toml(toml::de::Error),
    /// A field of the manifest.
    Manifest(ManifestError),
    /// The ELF file.
    Elf(ElfError),
    /// The ELF file is well-formed, the image that it describes is not.
    Image(ImageError),
    /// The manifest says that the module runs on other versions of the Core-0 interface than the one that it was compiled for.
    Abi {
        /// What the manifest says.
        stated: Span,
        /// What the linked file says.
        compiled: u16,
    },
    /// The program exports other services than the manifest says that the module provides.
    Exports {
        /// Services that only the program names.
        program: Vec<String>,
        /// Services that only the manifest names.
        manifest: Vec<String>,
    },
    /// The module cannot be expressed in the format.
    Container(ContainerError),
}

/// The `.hicmod` made of the linker's output and the text of `hicmod.toml`; the time of the build is not recorded.
pub fn pack(elf: &[u8], toml: &str) -> Result<Vec<u8>, PackError> {
    pack_built(elf, toml, 0)
}

/// The same, with the time of the build, seconds since 1970, UTC. What the build knows better than the author is taken from it: the
/// runtime that was linked and the kernel interface that it was compiled for.
pub fn pack_built(elf: &[u8], toml: &str, time: u64) -> Result<Vec<u8>, PackError> {
    let mut manifest = parse_manifest(toml)?;
    let linked = linked_runtime(elf).map_err(PackError::Elf)?;
    manifest.build = Build { time, ipc_lib: linked.map(|linked| linked.ipc_lib) };
    if let Some(linked) = linked.filter(|linked| !manifest.abi.contains(linked.abi)) {
        return Err(PackError::Abi { stated: manifest.abi, compiled: linked.abi });
    }
    let parts = flatten(elf).map_err(PackError::Elf)?;
    let image = parts.encode().map_err(PackError::Image)?;
    compare_exports(&parts.exports, &manifest)?;
    let mut buffer = [0; MAX_MANIFEST_BYTES];
    let manifest = manifest::encode(&manifest, &mut buffer).map_err(PackError::Manifest)?;
    encode(&[
        NewSection { kind: SectionKind::Manifest, critical: true, bytes: manifest },
        NewSection { kind: SectionKind::Image, critical: true, bytes: &image },
    ])
    .map_err(PackError::Container)
}

/// As the guest compares them, with all differences in place of the first.
fn compare_exports(exports: &[String], manifest: &Manifest) -> Result<(), PackError> {
    let is_exported = |name: &str| exports.iter().any(|exported| exported == name);
    let program: Vec<_> = exports.iter().filter(|name| !manifest.provides_service(name)).cloned().collect();
    let manifest: Vec<_> =
        manifest.provides.iter().filter(|name| !is_exported(name)).map(ToString::to_string).collect();
    if program.is_empty() && manifest.is_empty() {
        return Ok(());
    }
    Err(PackError::Exports { program, manifest })
}

/// The checked manifest in the text of `hicmod.toml`.
pub fn parse_manifest(text: &str) -> Result<Manifest, PackError> {
    let manifest: Manifest = toml::from_str(text).map_err(PackError::Toml)?;
    manifest.check().map_err(PackError::Manifest)?;
    Ok(manifest)
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toml(error) => write!(f, "manifest: {error}"),
            Self::Manifest(error) => write!(f, "manifest: {error}"),
            Self::Elf(error) => write!(f, "ELF file: {error}"),
            Self::Image(error) => write!(f, "ELF file: {error}"),
            Self::Abi { stated, compiled } => write!(
                f,
                "abi: the manifest says {stated}, but the file was compiled for version {compiled} of the Core-0 interface; add it to the \
                 range"
            ),
            Self::Exports { program, manifest } => write_exports(f, program, manifest),
            Self::Container(error) => write!(f, "module: {error}"),
        }
    }
}

fn write_exports(f: &mut fmt::Formatter<'_>, program: &[String], manifest: &[String]) -> fmt::Result {
    if !program.is_empty() {
        let names = program.join(", ");
        write!(f, "the program exports {names}, which the manifest does not provide: ")?;
        f.write_str("add to `provides`, or take out of hic_rt::entry!")?;
    }
    if !program.is_empty() && !manifest.is_empty() {
        f.write_str("; ")?;
    }
    if !manifest.is_empty() {
        let names = manifest.join(", ");
        write!(f, "the manifest provides {names}, which the program does not export: ")?;
        f.write_str("add to the exports of hic_rt::entry!, or take out of `provides`")?;
    }
    Ok(())
}

impl std::error::Error for PackError {}
