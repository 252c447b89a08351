//! Files that are replaced as a whole: whoever reads one finds the old bytes or the new ones, also after the disk was full or the power went.

use std::io::Write;
use std::path::Path;

/// Makes `bytes` the contents of the file `path`, whether it is there or not. Something that is no file, as `/dev/stdout`, is written to.
///
/// # Errors
/// Those of the system; the file is as it was, and nothing is left beside it.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // What a link leads to is replaced, not the link.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let before = std::fs::metadata(path).ok();
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        return std::fs::write(path, bytes);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let fresh = path.with_file_name(name);
    let write = || {
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(bytes)?;
        if let Some(before) = &before {
            file.set_permissions(before.permissions())?;
        }
        // Moved only once it lies on the disk: else a crash may leave an empty file under the name.
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&fresh)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_where_a_link_leads_and_keeps_who_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        replace(&file, b"one").expect("written");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).expect("set");
        symlink(&file, &link).expect("linked");
        replace(&link, b"two").expect("written");
        assert_eq!(std::fs::read(&file).expect("read"), b"two");
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o640);
        assert!(link.is_symlink());
        replace(Path::new("/dev/null"), b"three").expect("written to");
        assert!(replace(folder.path(), b"four").is_err());
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            2,
            "something was left beside"
        );
    }
}
