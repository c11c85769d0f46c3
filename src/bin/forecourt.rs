//! The `forecourt` command.
fn main() {}
