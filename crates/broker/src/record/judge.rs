//! Whether the record takes commands: the judgement of a node on what it sees of its region.
//!
//! Invariant: a node is called degraded only after a second without a quorum, so that an election is not told as a failure; it is called
//! sound as soon as it is.
use std::fmt::Write as _;

use huxiao_core::{Span, Timestamp};

/// How long a quorum may be out of sight before the node calls itself degraded. Longer than an election takes.
pub(crate) const QUORUM_PATIENCE: Span = Span::from_secs(1);
/// How long a member may be silent before it is named as such. Less than [`QUORUM_PATIENCE`], so that the first words about a lost quorum
/// name those who are missing.
pub(crate) const SILENT_AFTER: Span = Span::from_millis(900);

/// What a node sees of its region at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// When.
    pub(crate) now: Timestamp,
    /// When the quorum was last heard of: by the leader its followers' acknowledgements, by a follower its leader.
    pub(crate) quorum_heard: Option<Timestamp>,
    /// Whether this node leads.
    pub(crate) leads: bool,
    /// The voters, this node among them if it is one.
    pub(crate) voters: Vec<Voter>,
    /// Why the engine does not run or the region is not there yet, in words. It outweighs all the rest.
    pub(crate) out: Option<String>,
}

/// A voter as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Voter {
    /// Its name.
    pub(crate) name: String,
    /// Whether it answers. This node itself does.
    pub(crate) answers: bool,
}

/// What the record is fit for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It takes commands.
    Sound,
    /// It takes none, since then and for this reason.
    Degraded {
        /// The last moment at which it was sound, or the node's start.
        since: Timestamp,
        /// Why, for people.
        why: String,
    },
}

/// Judges one look after another.
#[derive(Debug)]
pub(crate) struct Judge {
    sound_until: Timestamp,
    told: Option<Verdict>,
}

impl Judge {
    /// A judge who begins at `now` and has told nobody anything.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { sound_until: now, told: None }
    }

    /// The verdict, if it is another one than was told last.
    pub(crate) fn look(&mut self, look: &Look) -> Option<Verdict> {
        let verdict = self.judge(look)?;
        if self.told.as_ref() == Some(&verdict) {
            return None;
        }
        self.told = Some(verdict.clone());
        Some(verdict)
    }

    fn judge(&mut self, look: &Look) -> Option<Verdict> {
        let since = self.sound_until;
        if let Some(why) = &look.out {
            return Some(Verdict::Degraded { since, why: why.clone() });
        }
        let heard = look.quorum_heard.filter(|heard| look.now.since(*heard) <= QUORUM_PATIENCE);
        if let Some(heard) = heard {
            self.sound_until = self.sound_until.max(heard);
            return Some(Verdict::Sound);
        }
        // An election is under way, perhaps. Whoever waits for the record waits a little longer.
        if look.now.since(since) <= QUORUM_PATIENCE {
            return None;
        }
        Some(Verdict::Degraded { since, why: words(look) })
    }
}

/// Why there is no quorum.
fn words(look: &Look) -> String {
    let (answering, silent): (Vec<_>, Vec<_>) = look.voters.iter().partition(|voter| voter.answers);
    let all = look.voters.len();
    let names = |voters: &[&Voter]| voters.iter().map(|voter| voter.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut words = match answering.len() {
        1 if all > 1 => format!("only 1 of {all} nodes answers"),
        some if some < all => format!("only {some} of {all} nodes answer"),
        _ => format!("all {all} nodes answer, and none leads"),
    };
    if !silent.is_empty() {
        // Writing to a String does not fail.
        let _ = write!(words, ": {} silent", names(&silent));
    }
    if !silent.is_empty() && answering.len() > all / 2 && !look.leads {
        words.push_str(", and none leads");
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp(0) + Span::from_millis(millis)
    }

    fn look(now: u64, heard: Option<u64>, answers: [bool; 3]) -> Look {
        let voters = ["b1", "b2", "b3"].into_iter().zip(answers);
        Look {
            now: at(now),
            quorum_heard: heard.map(at),
            leads: false,
            voters: voters.map(|(name, answers)| Voter { name: name.to_owned(), answers }).collect(),
            out: None,
        }
    }

    #[test]
    fn a_quorum_is_told_at_once_and_its_loss_after_a_second() {
        let mut judge = Judge::new(at(0));
        assert_eq!(judge.look(&look(10, None, [true; 3])), None, "nobody knows yet");
        assert_eq!(judge.look(&look(300, Some(290), [true; 3])), Some(Verdict::Sound));
        assert_eq!(judge.look(&look(400, Some(390), [true; 3])), None, "told once");
        assert_eq!(judge.look(&look(1_390, Some(390), [true, false, false])), None, "an election, perhaps");
        let lost = judge.look(&look(1_391, Some(390), [true, false, false]));
        let why = "only 1 of 3 nodes answers: b2, b3 silent".to_owned();
        assert_eq!(lost, Some(Verdict::Degraded { since: at(390), why }));
        assert_eq!(judge.look(&look(2_000, Some(390), [true, false, false])), None, "told once");
        let why = "only 2 of 3 nodes answer: b3 silent, and none leads".to_owned();
        let changed = judge.look(&look(2_500, Some(390), [true, true, false]));
        assert_eq!(changed, Some(Verdict::Degraded { since: at(390), why }), "a new reason, the same moment");
        assert_eq!(judge.look(&look(2_600, Some(2_590), [true, true, false])), Some(Verdict::Sound));
    }

    #[test]
    fn what_stops_the_engine_is_told_at_once() {
        let mut judge = Judge::new(at(0));
        let mut full = look(10, Some(9), [true; 3]);
        full.out = Some("the disk is full".to_owned());
        let why = "the disk is full".to_owned();
        assert_eq!(judge.look(&full), Some(Verdict::Degraded { since: at(0), why }));
    }

    #[test]
    fn a_node_that_never_saw_a_quorum_is_degraded_from_its_start() {
        let mut judge = Judge::new(at(5));
        let why = "all 3 nodes answer, and none leads".to_owned();
        assert_eq!(judge.look(&look(1_100, None, [true; 3])), Some(Verdict::Degraded { since: at(5), why }));
    }
}
