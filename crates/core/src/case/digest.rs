//! The chain of digests: what makes a changed, missing or exchanged step show.
//!
//! A step's digest is SHA-256 over `huxiao case step 1`, a zero byte, the digest before it, and its members in the order of [`Step`]: numbers
//! as eight bytes, most significant first; id and digests as they are; verb, state and level as one byte each; texts behind their length in
//! four bytes. The digest before the first step is SHA-256 over `huxiao case 1`, a zero byte, and the event's bytes.
//!
//! Invariant: this never changes. Histories that were exported are held against it for as long as there are any.

use sha2::{Digest as _, Sha256};

use crate::case::step::Step;

/// A SHA-256.
pub type Digest = [u8; 32];

/// The digest before a case's first step: of its event's bytes.
#[must_use]
pub fn genesis(event: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"huxiao case 1\0");
    hash.update(event);
    hash.finalize().into()
}

/// The digest of `step` behind a step with the digest `before`. What the step holds as its digest is not looked at.
#[must_use]
pub fn digest_of(before: &Digest, step: &Step) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"huxiao case step 1\0");
    hash.update(before);
    hash.update(step.number.to_be_bytes());
    hash.update(step.index.to_be_bytes());
    hash.update(step.id.0);
    hash.update([step.action.verb().number()]);
    text(&mut hash, step.action.detail());
    hash.update([step.state.number(), step.level]);
    text(&mut hash, &step.by.to_string());
    text(&mut hash, step.officer.as_ref().map_or("", |officer| officer.as_str()));
    hash.update(step.at.0.to_be_bytes());
    hash.update(step.heard.0.to_be_bytes());
    text(&mut hash, step.note.as_str());
    hash.finalize().into()
}

fn text(hash: &mut Sha256, text: &str) {
    // Texts have limits far below.
    hash.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    hash.update(text);
}
