//! `make dev`.

fn main() {}
