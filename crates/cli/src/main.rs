//! The `mainstay` command.

mod demo;

fn main() {}
