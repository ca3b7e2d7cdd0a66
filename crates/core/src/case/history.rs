//! The steps of a case, kept so that a copy of ten thousand costs little.
//!
//! The record clones an entry before it changes one that a snapshot shares: only the last few steps are copied then, the others are shared.
//! Ids stand apart from steps, so that looking for one among many thousand reads a few pages.
//!
//! Invariants:
//! * Steps have rising numbers without gaps, from [`History::first`] on: 1, except in a part of an entry ([`crate::record::Entry::parts`]).
//! * Every chunk but the last is full.

use std::sync::Arc;

use crate::case::action::ActionId;
use crate::case::digest::{Digest, digest_of};
use crate::case::step::Step;

/// Steps of one chunk.
const CHUNK: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Chunk {
    ids: Vec<ActionId>,
    steps: Vec<Step>,
}

/// The steps of a case, or of one part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    chunks: Vec<Arc<Chunk>>,
    first: u64,
    len: usize,
    weight: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { chunks: Vec::new(), first: 1, len: 0, weight: 0 }
    }
}

impl History {
    /// No steps, the first of which will have the number `first`.
    #[must_use]
    pub fn from_number(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// How many steps are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of the first step that is, or will be, here.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next step gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.len).unwrap_or(u64::MAX))
    }

    /// About how many bytes its steps take.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The steps in order.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &Step> {
        self.chunks.iter().flat_map(|chunk| chunk.steps.iter())
    }

    /// The last step.
    #[must_use]
    pub fn last(&self) -> Option<&Step> {
        self.chunks.last().and_then(|chunk| chunk.steps.last())
    }

    /// The step that came with this order.
    #[must_use]
    pub fn find(&self, id: &ActionId) -> Option<&Step> {
        // What is said again was said a moment ago.
        let found = |chunk: &'_ Arc<Chunk>| chunk.ids.iter().position(|have| have == id);
        self.chunks.iter().rev().find_map(|chunk| found(chunk).and_then(|at| chunk.steps.get(at)))
    }

    /// Adds a step; false, and nothing is added, if its number is not the next.
    pub fn push(&mut self, step: Step) -> bool {
        if step.number != self.next_number() {
            return false;
        }
        self.len += 1;
        self.weight += step.weight();
        if self.chunks.last().is_none_or(|chunk| chunk.steps.len() >= CHUNK) {
            self.chunks.push(Arc::default());
        }
        if let Some(chunk) = self.chunks.last_mut().map(Arc::make_mut) {
            chunk.ids.push(step.id);
            chunk.steps.push(step);
        }
        true
    }

    /// How many histories [`History::split`] makes.
    #[must_use]
    pub fn parts(&self, weight: usize) -> usize {
        let (mut parts, mut taken) = (1, 0);
        for step in self.steps() {
            let step = step.weight();
            if taken > 0 && taken + step > weight {
                parts += 1;
                taken = 0;
            }
            taken += step;
        }
        parts
    }

    /// The same steps in histories of at most `weight` bytes each (or of one step). At least one history.
    #[must_use]
    pub fn split(&self, weight: usize) -> Vec<History> {
        let mut parts = vec![History::from_number(self.first)];
        for step in self.steps() {
            if let Some(part) = parts.last()
                && !part.is_empty()
                && part.weight + step.weight() > weight
            {
                parts.push(History::from_number(step.number));
            }
            if let Some(part) = parts.last_mut() {
                part.push(step.clone());
            }
        }
        parts
    }
}

/// What does not fit in a chain of steps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A step is missing, there twice, or stands elsewhere.
    #[error("step {found} stands where step {expected} should")]
    Number {
        /// The number that it should have.
        expected: u64,
        /// The number that it has.
        found: u64,
    },
    /// It, or what stands before it, is not what it was.
    #[error("step {0} does not have the digest of what it holds and of the step before it")]
    Digest(u64),
}

/// Holds `step` against the step before it, which had the number `number` (0 if there was none) and the digest `before`.
///
/// # Errors
/// [`ChainError`]
pub fn verify(number: u64, before: &Digest, step: &Step) -> Result<(), ChainError> {
    let expected = number.saturating_add(1);
    if step.number != expected {
        return Err(ChainError::Number { expected, found: step.number });
    }
    if digest_of(before, step) != step.digest {
        return Err(ChainError::Digest(step.number));
    }
    Ok(())
}
