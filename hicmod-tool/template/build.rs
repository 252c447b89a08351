//! Link arguments of the program for the guest.

fn main() {
    hic_link::module();
}
