//! The skeleton of a service: a package that builds, with tests, and runs as a module.

use std::fmt;
use std::path::{Path, PathBuf};

use hic_hicmod::is_valid_name;

/// Files of every skeleton: path, and text with `@NAME@`, `@IDENT@`, `@PORT@`, `@HIC@` and `@ELF@`.
const FILES: [(&str, &str); 5] = [
    ("hicmod.toml", include_str!("../template/hicmod.toml")),
    ("build.rs", include_str!("../template/build.rs")),
    ("src/lib.rs", include_str!("../template/src/lib.rs")),
    ("src/main.rs", include_str!("../template/src/main.rs")),
    ("README.md", include_str!("../template/README.md")),
];
const STANDALONE: &str = include_str!("../template/Cargo.standalone.toml");
const MEMBER: &str = include_str!("../template/Cargo.member.toml");
/// What a standalone package takes over from the checkout, so that it is built as the system is.
const SHARED: [&str; 2] = ["Cargo.lock", "rust-toolchain.toml"];
/// What a checkout of HIC has.
const MARKS: [&str; 2] = ["libs/rt/Cargo.toml", "libs/netclient/Cargo.toml"];

/// What a skeleton shall be.
#[derive(Debug, Clone)]
pub struct Skeleton {
    /// Name of module and package.
    pub name: String,
    /// The folder to make.
    pub folder: PathBuf,
    /// The checkout of HIC whose libraries it uses.
    pub hic: PathBuf,
    /// The TCP port on which it answers.
    pub port: u16,
}

/// Why no skeleton was made.
#[derive(Debug)]
pub enum NewError {
    /// A name that no module can have.
    Name(String),
    /// The folder is there already.
    Exists(PathBuf),
    /// There are no HIC libraries in this folder.
    NotHic(PathBuf),
    /// A checkout was not named, and none was found.
    NoHic,
    /// A path that cannot stand in a Cargo.toml.
    Path(PathBuf),
    /// A file could not be written or read.
    File(PathBuf, std::io::Error),
}

impl fmt::Display for NewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "{name:?} cannot be the name of a module: a lower-case letter first, then lower-case letters, digits, `-` and `_`, at most {} \
                 bytes",
                hic_hicmod::MAX_NAME_BYTES
            ),
            Self::Exists(path) => write!(f, "{} is there already; choose another folder", path.display()),
            Self::NotHic(path) => {
                write!(f, "{} is no checkout of HIC: it has no {}", path.display(), MARKS[0])
            }
            Self::NoHic => {
                write!(f, "no checkout of HIC around here; name one with --hic DIR, or in the variable HIC")
            }
            Self::Path(path) => {
                write!(
                    f,
                    "{} cannot be written into a Cargo.toml; use a path without quotes, in UTF-8",
                    path.display()
                )
            }
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for NewError {}

/// The checkout of HIC that one of `places` lies in.
#[must_use]
pub fn find_checkout<'p>(places: impl IntoIterator<Item = &'p Path>) -> Option<PathBuf> {
    places.into_iter().flat_map(Path::ancestors).find(|folder| is_checkout(folder)).map(Path::to_owned)
}

fn is_checkout(folder: &Path) -> bool {
    MARKS.iter().all(|mark| folder.join(mark).is_file())
}

impl Skeleton {
    /// Writes it; returns its files.
    ///
    /// # Errors
    /// [`NewError`]; what was written stays.
    pub fn write(&self) -> Result<Vec<PathBuf>, NewError> {
        let Self { name, folder, hic, .. } = self;
        if !is_valid_name(name)
            || name.contains('.')
            || !name.starts_with(|first: char| first.is_ascii_lowercase())
        {
            return Err(NewError::Name(name.clone()));
        }
        if !is_checkout(hic) {
            return Err(NewError::NotHic(hic.clone()));
        }
        if folder.exists() {
            return Err(NewError::Exists(folder.clone()));
        }
        let hic = hic.canonicalize().map_err(|error| NewError::File(hic.clone(), error))?;
        make_folder(&folder.join("src"))?;
        let member = self.is_member(&hic);
        let manifest = if member { MEMBER } else { STANDALONE };
        let mut written = Vec::new();
        for (path, text) in [("Cargo.toml", manifest)].into_iter().chain(FILES) {
            let path = folder.join(path);
            write_file(&path, self.filled(text, &hic, member)?.as_bytes())?;
            written.push(path);
        }
        for file in SHARED.iter().filter(|_| !member) {
            let (from, to) = (hic.join(file), folder.join(file));
            std::fs::copy(&from, &to).map_err(|error| NewError::File(from, error))?;
            written.push(to);
        }
        Ok(written)
    }

    /// Whether it lies where the checkout's workspace finds it.
    fn is_member(&self, hic: &Path) -> bool {
        let parent = self.folder.canonicalize().ok().and_then(|folder| folder.parent().map(Path::to_owned));
        parent.is_some_and(|parent| parent == hic.join("services"))
    }

    fn filled(&self, text: &str, hic: &Path, member: bool) -> Result<String, NewError> {
        let path = hic.to_str().filter(|path| !path.contains(['"', '\\']));
        let path = path.ok_or_else(|| NewError::Path(hic.to_owned()))?;
        let built = if member { format!("{path}/target") } else { "target".to_owned() };
        Ok(text
            .replace("@ELF@", &format!("{built}/release/{}", self.name))
            .replace("@NAME@", &self.name)
            .replace("@IDENT@", &self.name.replace('-', "_"))
            .replace("@PORT@", &self.port.to_string())
            .replace("@HIC@", path))
    }
}

fn make_folder(folder: &Path) -> Result<(), NewError> {
    std::fs::create_dir_all(folder).map_err(|error| NewError::File(folder.to_owned(), error))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), NewError> {
    std::fs::write(path, bytes).map_err(|error| NewError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skeleton(name: &str, folder: PathBuf) -> Skeleton {
        let hic = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        Skeleton { name: name.to_owned(), folder, hic, port: 7100 }
    }

    #[test]
    fn a_skeleton_has_a_manifest_that_is_good_and_nothing_left_to_fill_in() {
        let place = tempfile::tempdir().expect("a folder");
        let files = skeleton("my-hello", place.path().join("x")).write().expect("written");
        for path in files.iter().filter(|path| !path.ends_with("Cargo.lock")) {
            let text = std::fs::read_to_string(path).expect("text");
            // How mtools are told where a partition begins.
            let left = text.replace("run.img@@1M", "");
            assert!(
                !left.contains('@') || path.ends_with("rust-toolchain.toml"),
                "{}: {text}",
                path.display()
            );
        }
        let manifest = std::fs::read_to_string(place.path().join("x/hicmod.toml")).expect("there");
        let manifest = crate::parse_manifest(&manifest).expect("good");
        assert_eq!((manifest.name.as_str(), manifest.update.is_none()), ("my-hello", true));
        assert!(
            std::fs::read_to_string(place.path().join("x/src/main.rs"))
                .expect("there")
                .contains("use my_hello::")
        );
    }

    #[test]
    fn what_cannot_be_made_is_refused_before_anything_is_written() {
        let place = tempfile::tempdir().expect("a folder");
        let at = |name: &str| place.path().join(name);
        for name in ["", "a.b", "Hello", "1hello", "hel lo", "../hello", "-x"] {
            assert!(matches!(skeleton(name, at("a")).write(), Err(NewError::Name(_))), "{name}");
        }
        assert!(matches!(skeleton("hello", place.path().to_owned()).write(), Err(NewError::Exists(_))));
        let elsewhere = Skeleton { hic: place.path().to_owned(), ..skeleton("hello", at("b")) };
        assert!(matches!(elsewhere.write(), Err(NewError::NotHic(_))));
        assert!(!at("a").exists() && !at("b").exists());
    }

    #[test]
    fn among_the_services_of_a_checkout_it_is_a_member_of_the_workspace() {
        let place = tempfile::tempdir().expect("a folder");
        for mark in MARKS {
            let path = place.path().join(mark);
            make_folder(path.parent().expect("a folder")).expect("made");
            write_file(&path, b"").expect("written");
        }
        let folder = place.path().join("services/hello");
        let made = Skeleton { hic: place.path().to_owned(), ..skeleton("hello", folder.clone()) };
        made.write().expect("written");
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("there");
        assert!(
            manifest.contains("hic-rt.workspace = true") && !manifest.contains("[workspace]"),
            "{manifest}"
        );
        assert!(!folder.join("Cargo.lock").exists());
    }

    #[test]
    fn a_checkout_is_found_from_inside() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = find_checkout([Path::new("/"), &here.join("src")]).expect("found");
        assert_eq!(found, here.parent().expect("the workspace"));
        assert_eq!(find_checkout([Path::new("/")]), None);
    }
}
