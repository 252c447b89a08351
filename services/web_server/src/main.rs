//! web_server

fn main() {}
