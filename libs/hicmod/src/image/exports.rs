//! The table of exported services: the names under which the program of an image is asked, as its author compiled them into it.
//!
//! Nothing is called through it: a service is reached by a port to its endpoint and in no other way. It is what the program itself says, and
//! is compared with what its manifest says ([`crate::Module`]).
//!
//! A row is [`ROW_BYTES`] long: the name, then zeros. So there is one way to write a table.

use super::ImageError;
use crate::name::{MAX_EXPORTS, MAX_NAME_BYTES, is_valid_name};

pub(super) const ROW_BYTES: usize = MAX_NAME_BYTES;

/// The services that an image exports: at most [`MAX_EXPORTS`], each with a valid name, none twice.
#[derive(Debug, Clone, Copy)]
pub struct Exports<'a> {
    rows: &'a [u8],
}

impl<'a> Exports<'a> {
    /// Reads the rows of a table, whose length is one that [`table_bytes`] gave.
    pub(super) fn parse(rows: &'a [u8]) -> Result<Self, ImageError> {
        let table = Self { rows };
        for (index, row) in table.rows().iter().enumerate() {
            name(row).ok_or(ImageError::ExportName { index })?;
            if let Some(first) = table.rows().iter().take(index).position(|earlier| earlier == row) {
                return Err(ImageError::ExportTwice { index, first });
            }
        }
        Ok(table)
    }

    /// The names, in the order in which the program lists them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        // Every row was found good: none is left out, and none is empty.
        self.rows().iter().map(|row| name(row).unwrap_or_default())
    }

    /// Whether the service `name` is among them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|exported| exported == name)
    }

    fn rows(&self) -> &'a [[u8; ROW_BYTES]] {
        self.rows.as_chunks().0
    }
}

/// The name in a row, if that is valid and the rest of the row zero.
fn name(row: &[u8; ROW_BYTES]) -> Option<&str> {
    let end = row.iter().position(|byte| *byte == 0).unwrap_or(ROW_BYTES);
    let (name, rest) = row.split_at_checked(end)?;
    let name = core::str::from_utf8(name).ok().filter(|name| is_valid_name(name))?;
    rest.iter().all(|byte| *byte == 0).then_some(name)
}

/// Bytes of a table of `count` services, of which the header says that it begins at `found`, and which must begin at `expected`.
pub(super) fn table_bytes(count: u32, found: u32, expected: usize) -> Result<usize, ImageError> {
    if count as usize > MAX_EXPORTS {
        return Err(ImageError::TooManyExports { count });
    }
    if found as usize != expected {
        return Err(ImageError::ExportsPlace { found, expected });
    }
    Ok(count as usize * ROW_BYTES)
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::image::{HEADER_BYTES, Image, ImageParts, PAGE_SIZE};

    /// Where the table of an image with one relocation begins.
    const AT: usize = HEADER_BYTES + 4;

    fn parts(names: &[&str]) -> ImageParts {
        let mut body = vec![0x90; PAGE_SIZE];
        body.extend_from_slice(&[0; 8]);
        let exports = names.iter().map(ToString::to_string).collect();
        ImageParts {
            rx_pages: 1,
            relocations: vec![PAGE_SIZE as u32],
            exports,
            body,
            ..ImageParts::default()
        }
    }

    /// What is wrong with an image that exports `netstack` and `resolver` once `change` was done to its bytes.
    fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> ImageError {
        let mut bytes = parts(&["netstack", "resolver"]).encode().unwrap();
        change(&mut bytes);
        Image::parse(&bytes).map(drop).expect_err("this image must be refused")
    }

    #[test]
    fn exported_services_are_read_in_the_order_of_the_program() {
        let longest = "a-name-of-24-bytes-is-it";
        let names = ["resolver", longest, "0", "b", "c", "d", "e", "netstack"];
        for count in 0..=names.len() {
            let bytes = parts(&names[..count]).encode().unwrap();
            let exports = Image::parse(&bytes).unwrap().exports();
            assert_eq!(exports.iter().collect::<Vec<_>>(), names[..count]);
            assert_eq!(exports.contains("netstack"), count == names.len());
            assert!(!exports.contains(""));
        }
    }

    #[test]
    fn a_table_elsewhere_than_behind_the_relocations_is_refused() {
        for found in [0, AT as u32 - 4, AT as u32 + 4, AT as u32 + 24, u32::MAX] {
            let error = refusal(|bytes| bytes[32..36].copy_from_slice(&found.to_le_bytes()));
            assert_eq!(error, ImageError::ExportsPlace { found, expected: AT });
        }
    }

    #[test]
    fn more_exported_services_than_a_manifest_can_name_are_refused() {
        let names: Vec<String> = (0..=MAX_EXPORTS).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(parts(&names).encode(), Err(ImageError::TooManyExports { count: 9 }));
        let error = refusal(|bytes| bytes[36..40].fill(0xFF));
        assert_eq!(error, ImageError::TooManyExports { count: u32::MAX });
    }

    #[test]
    fn a_number_of_exported_services_that_is_not_theirs_is_refused() {
        assert!(matches!(refusal(|bytes| bytes[36] = 1), ImageError::TrailingBytes { .. }));
        assert!(matches!(refusal(|bytes| bytes[36] = 3), ImageError::Truncated { .. }));
        let within = refusal(|bytes| bytes.truncate(AT + 30));
        assert!(matches!(within, ImageError::Truncated { .. }), "cut off in the table: {within}");
    }

    #[test]
    fn names_that_are_none_are_refused_with_their_place() {
        let second = AT + ROW_BYTES;
        let changes: [(usize, u8, &str); 6] = [
            (0, 0, "empty"),
            (0, b'-', "not a letter first"),
            (3, b'E', "a capital"),
            (3, 0, "a zero within"),
            (3, 0xFF, "not UTF-8"),
            (ROW_BYTES - 1, b'x', "something behind the name"),
        ];
        for (at, value, what) in changes {
            let error = refusal(|bytes| bytes[second + at] = value);
            assert_eq!(error, ImageError::ExportName { index: 1 }, "{what}");
        }
        let long = parts(&["a-name-of-twenty-five-byte"]).encode();
        assert_eq!(long, Err(ImageError::ExportName { index: 0 }), "longer than a row");
        assert_eq!(parts(&["a", ""]).encode(), Err(ImageError::ExportName { index: 1 }));
    }

    #[test]
    fn a_service_that_is_exported_twice_is_refused() {
        let twice = parts(&["a", "netstack", "b", "netstack"]).encode();
        assert_eq!(twice, Err(ImageError::ExportTwice { index: 3, first: 1 }));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said_with_its_place() {
        for (error, words) in [
            (ImageError::TooManyExports { count: 9 }, "9 services, the limit is 8"),
            (ImageError::ExportsPlace { found: 7, expected: 52 }, "at 7, and must be at 52"),
            (ImageError::ExportName { index: 2 }, "service 2 has no valid name"),
            (ImageError::ExportTwice { index: 3, first: 1 }, "service 3 has the name of exported service 1"),
        ] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
