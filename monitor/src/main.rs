//! monitor

fn main() {}
