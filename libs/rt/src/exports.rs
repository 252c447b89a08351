//! Which services a program offers, as a table in the program itself: an ELF note beside that of `note`. The packing tool copies it into
//! the image of the module, and whoever loads the module compares it with what the signed manifest says.
//!
//! A service is named once, by a constant. From it come the row of the table and the name by which the program finds its endpoint, so
//! the two cannot differ.
//!
//! ```
//! use hic_rt::Export;
//! use hic_rt::exports::Table;
//!
//! const SERVICE: Export = Export::new("netstack");
//! const OTHER: Export = Export::new("resolver");
//! static TABLE: Table<2> = Table::new(&[SERVICE, OTHER]);
//! ```
//!
//! What is wrong with a table is found while the program is compiled: a name that is none,
//!
//! ```compile_fail
//! # use hic_rt::Export;
//! const SERVICE: Export = Export::new("Netstack");
//! ```
//!
//! one that is there twice,
//!
//! ```compile_fail
//! # use hic_rt::Export;
//! # use hic_rt::exports::Table;
//! # const SERVICE: Export = Export::new("netstack");
//! static TABLE: Table<2> = Table::new(&[SERVICE, SERVICE]);
//! ```
//!
//! and more than a manifest can list.
//!
//! ```compile_fail
//! # use hic_rt::Export;
//! # use hic_rt::exports::Table;
//! # const fn service(name: &'static str) -> Export { Export::new(name) }
//! static TABLE: Table<9> = Table::new(&[
//!     service("a"), service("b"), service("c"), service("d"), service("e"), service("f"), service("g"), service("h"), service("i"),
//! ]);
//! ```

use hic_abi::start::{ENDPOINT, StartPage};
use hic_abi::{Handle, NOTE_EXPORTS, NOTE_NAME};
use hic_hicmod::{MAX_EXPORTS, MAX_NAME_BYTES, is_valid_name};

use crate::start::grants;

/// A service that the program offers, by its name. Make it a constant, and name it in [`entry!`](crate::entry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Export {
    name: &'static str,
}

impl Export {
    /// The service `name`: 1 to 24 bytes of `a-z 0-9 _ - .`, a letter or digit first.
    ///
    /// # Panics
    /// Another name; in a constant that is an error of the compiler.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(
            is_valid_name(name),
            "a service's name is 1 to 24 of a-z 0-9 _ - . and starts with a letter or digit"
        );
        Self { name }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The slot of the endpoint on which the service is asked; `None` if whoever started the program gave it none.
    #[must_use]
    pub fn find_endpoint(self, page: &StartPage) -> Option<Handle> {
        let label = self.label();
        grants(page).iter().find(|grant| grant.name == label).map(|grant| grant.slot)
    }

    /// The same. Without it the program cannot serve: it logs so and ends.
    #[must_use]
    pub fn endpoint(self, page: &StartPage) -> Handle {
        self.find_endpoint(page).unwrap_or_else(|| {
            crate::log!("the grant {ENDPOINT}{} is missing", self.name);
            crate::sys::exit(u64::MAX - 1)
        })
    }

    /// Name of the endpoint's grant, cut where the start page's field ends, as the loader cuts it.
    fn label(self) -> [u8; 32] {
        let mut label = [0; 32];
        for (to, byte) in label.iter_mut().zip(ENDPOINT.bytes().chain(self.name.bytes())) {
            *to = byte;
        }
        label
    }
}

/// The table of a program that exports `N` services: a note (System V ABI, "Note Section"). [`entry!`](crate::entry) makes it.
#[derive(Debug)]
#[repr(C)]
pub struct Table<const N: usize> {
    name_bytes: u32,
    description_bytes: u32,
    kind: u32,
    name: [u8; 4],
    services: [[u8; MAX_NAME_BYTES]; N],
}

impl<const N: usize> Table<N> {
    /// The table of these services, in this order.
    ///
    /// # Panics
    /// More services than a module may export, another number of them than `N`, or one of them twice; in a constant that is an error of
    /// the compiler.
    #[must_use]
    pub const fn new(exports: &[Export]) -> Self {
        assert!(exports.len() == N && N <= MAX_EXPORTS, "a module exports at most 8 services");
        let mut services = [[0; MAX_NAME_BYTES]; N];
        let mut row = 0;
        while row < N {
            let name = exports[row].name.as_bytes();
            let mut at = 0;
            while at < name.len() {
                services[row][at] = name[at];
                at += 1;
            }
            let mut earlier = 0;
            while earlier < row {
                assert!(!same(&services[earlier], &services[row]), "a service is exported twice");
                earlier += 1;
            }
            row += 1;
        }
        let description_bytes = (N * MAX_NAME_BYTES) as u32;
        Self {
            name_bytes: NOTE_NAME.len() as u32,
            description_bytes,
            kind: NOTE_EXPORTS,
            name: NOTE_NAME,
            services,
        }
    }
}

const fn same(a: &[u8; MAX_NAME_BYTES], b: &[u8; MAX_NAME_BYTES]) -> bool {
    let mut at = 0;
    while at < MAX_NAME_BYTES {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use hic_abi::Plain;
    use hic_abi::name_bytes;
    use hic_abi::start::Grant;

    use super::*;

    const LONGEST: Export = Export::new("a-name-of-24-bytes-is-it");
    static TABLE: Table<2> = Table::new(&[Export::new("netstack"), LONGEST]);

    #[test]
    fn a_table_is_a_note_with_the_names_in_their_order() {
        assert_eq!((TABLE.name_bytes, TABLE.description_bytes, TABLE.kind), (4, 48, NOTE_EXPORTS));
        assert_eq!(TABLE.name, NOTE_NAME);
        assert_eq!(TABLE.services, [name_bytes("netstack"), name_bytes(LONGEST.name())]);
        assert_eq!((size_of_val(&TABLE), align_of_val(&TABLE)), (16 + 48, 4));
    }

    #[test]
    fn a_service_finds_its_endpoint_by_the_name_that_it_exports() {
        let mut page = StartPage::zeroed();
        let mut grant = |name: &str, slot| {
            let at = page.grant_count as usize;
            page.grants[at] = Grant { name: name_bytes(name), slot, ..Grant::zeroed() };
            page.grant_count += 1;
        };
        grant("port:netstack", 1);
        grant("endpoint:netstack", 2);
        grant("endpoint:a-name-of-24-bytes-is-it", 3);
        assert_eq!(Export::new("netstack").find_endpoint(&page), Some(2));
        assert_eq!(LONGEST.find_endpoint(&page), Some(3), "the field of the start page is shorter");
        assert_eq!(Export::new("netstac").find_endpoint(&page), None);
    }
}
