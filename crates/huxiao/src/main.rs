//! huxiao
fn main() {}
