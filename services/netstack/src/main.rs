//! netstack

fn main() {}
