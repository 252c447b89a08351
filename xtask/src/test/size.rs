//! How large the kernel is: all of it has to be read by whoever wants to trust it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Lines of code, without tests, comments and empty lines: under 8,000.
const CODE: usize = 7999;
/// Lines of one file, comments included, tests not.
const FILE: usize = 600;

/// What was counted.
#[derive(Debug, Default, PartialEq)]
struct Size {
    code: usize,
    longest: (usize, PathBuf),
}

/// Counts the kernel below this root; an error says what is too long.
pub fn check_kernel(root: &Path) -> Result<String> {
    let mut size = Size::default();
    count_folder(&root.join("kernel/src"), &mut size)?;
    let Size { code, longest: (lines, file) } = size;
    let file = file.strip_prefix(root).unwrap_or(&file).display();
    ensure!(
        code <= CODE,
        "the kernel has {code} lines of code, the limit is {CODE}: move what needs no privilege out of it"
    );
    ensure!(lines <= FILE, "{file} has {lines} lines without its tests, the limit is {FILE}: divide it");
    Ok(format!("{code} lines of code, the longest file has {lines} ({file})"))
}

fn count_folder(folder: &Path, size: &mut Size) -> Result<()> {
    let unreadable = || format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                count_folder(&path, size)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let (lines, code) = count(&text);
            size.code += code;
            if lines > size.longest.0 {
                size.longest = (lines, path);
            }
        }
    }
    Ok(())
}

/// Lines, and lines of code among them, up to the unit tests at the end of a file.
fn count(text: &str) -> (usize, usize) {
    let all: Vec<&str> = text.lines().collect();
    let tests =
        all.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
    let own = &all[..tests.unwrap_or(all.len())];
    let is_code = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    (own.len(), own.iter().filter(is_code).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_empty_lines_and_unit_tests_are_not_code() {
        let text = "//! About.\n\nuse x;\n/// Doc.\nfn f() {\n    // Why.\n    g();\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        assert_eq!(count(text), (9, 4));
        assert_eq!(count("#[cfg(test)]\nextern crate std;\nfn f() {}\n"), (3, 3));
    }
}
