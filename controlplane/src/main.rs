//! The `webgateway-controlplane` binary.

fn main() {}
