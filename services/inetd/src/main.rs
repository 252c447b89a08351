//! inetd

fn main() {}
