//! What a world had to do with: a run in which no leader was lost and nobody was contradicted shows little, and its figures say so.
//!
//! Invariant: what is counted here decides nothing.

use std::fmt;

/// Something that can befall a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Faced {
    /// A broker node lost its power.
    Crash,
    /// The region's leader died or was cut off.
    LeaderLost,
    /// A node was without a quorum for so long that it said so.
    QuorumLost,
    /// And had it again.
    Healed,
    /// Entries of a log that no majority held gave way to those of another leader.
    RolledBack,
    /// A leader began with entries of which nobody knew whether they were committed.
    Tail,
    /// A node was given the leader's record instead of the log.
    Restored,
    /// Something was journalled for want of a quorum, and said to be provisional.
    Journalled,
    /// A node started with something in its journal.
    Recovered,
    /// An officer's answer was provisional.
    Provisional,
    /// Two officers took one alarm, and the record has both.
    Assisting,
    /// The same, and at least one of them was on a side without a quorum.
    TwoSides,
    /// The same, and the one that owns it took it after the other.
    Overtaken,
    /// The archive was asked.
    Recalled,
}

impl Faced {
    /// All of them, with what is counted.
    pub const ALL: [(Faced, &'static str); 14] = [
        (Faced::Crash, "node crashes"),
        (Faced::LeaderLost, "leaders lost"),
        (Faced::QuorumLost, "times a node was without a quorum"),
        (Faced::Healed, "times it had it again"),
        (Faced::RolledBack, "logs rolled back"),
        (Faced::Tail, "leaders with an uncertain tail"),
        (Faced::Restored, "records given to laggards"),
        (Faced::Journalled, "things journalled"),
        (Faced::Recovered, "journals found at a start"),
        (Faced::Provisional, "provisional answers"),
        (Faced::Assisting, "officers who assist"),
        (Faced::TwoSides, "of them on two sides"),
        (Faced::Overtaken, "of them earlier by the clock"),
        (Faced::Recalled, "questions to the archive"),
    ];
}

/// How often each was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Met([u64; Faced::ALL.len()]);

impl Met {
    /// Once more.
    pub fn count(&mut self, faced: Faced) {
        self.0[faced as usize] += 1;
    }

    /// How often.
    #[must_use]
    pub fn times(&self, faced: Faced) -> u64 {
        self.0[faced as usize]
    }

    /// What was never met.
    pub fn lacking(&self) -> impl Iterator<Item = &'static str> {
        Faced::ALL.iter().filter(|(faced, _)| self.times(*faced) == 0).map(|(_, words)| *words)
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(ours, theirs)| *ours += theirs);
        self
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> =
            Faced::ALL.iter().map(|(faced, words)| format!("{} {words}", self.times(*faced))).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_place_and_its_words() {
        let mut met = Met::default();
        for (at, (faced, _)) in Faced::ALL.into_iter().enumerate() {
            assert_eq!(faced as usize, at);
            assert_eq!(met.lacking().count(), Faced::ALL.len() - at);
            met.count(faced);
        }
        assert_eq!(met.lacking().count(), 0);
        assert_eq!(met.and(met).times(Faced::Recalled), 2);
    }
}
