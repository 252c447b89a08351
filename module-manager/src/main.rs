//! module-manager

fn main() {}
