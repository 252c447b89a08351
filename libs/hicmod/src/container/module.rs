//! A module: a container that holds a manifest and an image, both checked.

use core::fmt;

use super::{Container, ContainerError, SectionKind};
use crate::image::{Image, ImageError};
use crate::manifest::{self, Manifest, ManifestError};

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
        Ok(Module { manifest, image })
    }
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(error) => write!(f, "container: {error}"),
            Self::NoManifest => write!(f, "module has no manifest section"),
            Self::NoImage => write!(f, "module has no image section"),
            Self::Manifest(error) => write!(f, "manifest: {error}"),
            Self::Image(error) => write!(f, "image: {error}"),
        }
    }
}

impl core::error::Error for ModuleError {}
