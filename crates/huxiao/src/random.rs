//! Random numbers from the system, for seeds and keys that must differ from process to process. Nothing here is a secret.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number that no other process has.
#[must_use]
pub fn number() -> u64 {
    // The standard library keys its hash maps from the system's generator; a keyed hash of nothing is as random as its key.
    RandomState::new().build_hasher().finish()
}
