//! A module: a container that holds a manifest and an image, both checked.

use core::fmt;

use super::{Container, ContainerError, SectionKind};
use crate::image::{Image, ImageError};
use crate::manifest::{self, Manifest, ManifestError, Name};

/// A module that can be loaded.
#[derive(Debug, Clone)]
pub struct Module<'a> {
    /// What it is and which authority it asks for, checked by [`Manifest::check`].
    pub manifest: Manifest,
    /// What to place in memory.
    pub image: Image<'a>,
}

/// Why a module was refused: which part, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleError {
    /// The container itself.
    Container(ContainerError),
    /// There is no manifest section.
    NoManifest,
    /// There is no image section.
    NoImage,
    /// The manifest section.
    Manifest(ManifestError),
    /// The image section.
    Image(ImageError),
    /// The two do not name the same services.
    Exports(ExportsError),
}

/// What of the services that a program exports and of those that its manifest provides has no counterpart; the first of them, those of the
/// program before those of the manifest. Their order does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is what the variant's line names")]
pub enum ExportsError {
    /// The program exports a service that its manifest does not provide.
    NotProvided { service: Name },
    /// The manifest provides a service that the program does not export.
    NotExported { service: Name },
}

impl<'a> Module<'a> {
    /// Reads a module which takes up all of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ModuleError> {
        Self::of(&Container::parse(bytes).map_err(ModuleError::Container)?)
    }

    /// The module in a container that was read before, whose checksums are not looked at again.
    pub fn of(container: &Container<'a>) -> Result<Self, ModuleError> {
        let raw = container.find(SectionKind::Manifest).ok_or(ModuleError::NoManifest)?;
        let manifest = manifest::decode(raw).map_err(ModuleError::Manifest)?;
        let image = container.image().ok_or(ModuleError::NoImage)?.map_err(ModuleError::Image)?;
        check_exports(&image, &manifest).map_err(ModuleError::Exports)?;
        Ok(Module { manifest, image })
    }
}

/// Whether the program serves what its manifest says, no less and no more: the loader makes endpoints by the manifest, and an operator reads it.
fn check_exports(image: &Image<'_>, manifest: &Manifest) -> Result<(), ExportsError> {
    let exports = image.exports();
    if let Some(name) = exports.iter().find(|name| !manifest.provides_service(name)) {
        // A name of a table is as long as one of a manifest at most.
        return Err(ExportsError::NotProvided { service: name.parse().unwrap_or_default() });
    }
    if let Some(name) = manifest.provides.iter().find(|name| !exports.contains(name)) {
        return Err(ExportsError::NotExported { service: name.clone() });
    }
    Ok(())
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(error) => write!(f, "container: {error}"),
            Self::NoManifest => write!(f, "module has no manifest section"),
            Self::NoImage => write!(f, "module has no image section"),
            Self::Manifest(error) => write!(f, "manifest: {error}"),
            Self::Image(error) => write!(f, "image: {error}"),
            Self::Exports(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for ModuleError {}

impl fmt::Display for ExportsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotProvided { service } => {
                write!(f, "the program exports the service {service}, which its manifest does not provide")
            }
            Self::NotExported { service } => {
                write!(f, "the manifest provides the service {service}, which the program does not export")
            }
        }
    }
}

impl core::error::Error for ExportsError {}
