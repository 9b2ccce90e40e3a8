//! Placeholder, replaced before the first release of the tools.
fn main() {}
