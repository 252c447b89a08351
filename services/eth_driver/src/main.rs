//! eth_driver

fn main() {}
