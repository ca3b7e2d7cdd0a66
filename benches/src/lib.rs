//! What the benches and the tests over real processes share: a network that is as bad as it is told to be.
//!
//! Invariant: nothing here changes the machine's own network. All of it happens in network namespaces that end with their owner.

pub mod emulator;
