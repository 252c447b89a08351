//! Link arguments of the freestanding binary.

fn main() {
    hic_link::module();
}
