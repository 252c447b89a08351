//! The entry point and the start page.

use hic_abi::start::{Grant, START_MAGIC, StartPage};
use hic_abi::{Handle, name_str};

/// Defines the program's entry point: `entry!(main)` with `fn main(start: &'static StartPage) -> u64`.
///
/// A program that serves others names the services, each a constant of type [`Export`](crate::Export):
/// `entry!(main, exports: [SERVICE])`. The manifest of its module has to say the same in `provides`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Entry point: the kernel starts the first thread here.
        ///
        /// # Safety
        /// `page` is the address of this sandbox's start page, as its loader passes it in `rdi`; nobody else calls this.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn _start(page: *const $crate::StartPage) -> ! {
            let main: fn(&'static $crate::StartPage) -> u64 = $main;
            // SAFETY: whoever started this sandbox put its start page there and leaves it alone from now on.
            let page = unsafe { &*page };
            $crate::start::run(page, main)
        }
    };
    ($main:path, exports: [$($export:expr),+ $(,)?]) => {
        $crate::entry!($main);

        const _: () = {
            const EXPORTS: &[$crate::Export] = &[$($export),+];

            #[used]
            // SAFETY: the section holds notes and nothing else, and this is one, 4-aligned and without padding.
            #[unsafe(link_section = ".note.hic")]
            static TABLE: $crate::exports::Table<{ EXPORTS.len() }> = $crate::exports::Table::new(EXPORTS);
        };
    };
}

/// Sets up the heap, runs `main`, and ends the sandbox with its result.
pub fn run(page: &'static StartPage, main: fn(&'static StartPage) -> u64) -> ! {
    if page.magic != START_MAGIC {
        crate::sys::exit(u64::MAX);
    }
    #[cfg(feature = "freestanding")]
    crate::heap::init(page.heap, page.heap_bytes);
    crate::clock::init(page.clock);
    crate::cap::init(page.first_free_slot as Handle, page.slots as Handle);
    crate::sys::exit(main(page))
}

/// The grants of a start page.
#[must_use]
pub fn grants(page: &StartPage) -> &[Grant] {
    page.grants.get(..page.grant_count as usize).unwrap_or_default()
}

/// The first grant with this name.
#[must_use]
pub fn find<'a>(page: &'a StartPage, name: &str) -> Option<&'a Grant> {
    grants(page).iter().find(|g| name_str(&g.name) == name)
}

/// The slot of a grant that the program's manifest asks for. Without it the program cannot work: it logs so and ends.
#[must_use]
pub fn require(page: &StartPage, name: &str) -> &'static Grant {
    let found = find(page, name).map(core::ptr::from_ref);
    match found {
        // SAFETY: the start page lives as long as the sandbox (see `entry!`), and so do the grants in it.
        Some(grant) => unsafe { &*grant },
        None => {
            crate::log!("the grant {name} is missing");
            crate::sys::exit(u64::MAX - 1)
        }
    }
}
