//! What was put into the log a moment ago: every node of a region hears of the same alarm and of the same statement, and each of them
//! proposes it. The log needs it once.
//!
//! Invariant: a repeat is left out only within [`WINDOW`] after the first, and not once it is known that the first did not come into the log.
//! A machine proposes what it waits for again until the record has it, so a later proposal goes through.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use huxiao_core::record::Command;
use huxiao_core::{EventId, NodeName, Stage};
use tokio::time::Instant;

/// How long a repeat is one.
const WINDOW: Duration = Duration::from_millis(1_500);
/// Claims remembered; beyond it the oldest are forgotten, and their repeats go into the log, which does no harm.
const CLAIMS: usize = 65_536;

/// What a command wants to be true: the event is in the record, or somebody's statement about it is.
type Claim = (EventId, Option<(Stage, NodeName)>);

fn claim(command: &Command) -> Option<Claim> {
    match command {
        Command::Admit(admission) => Some((admission.sealed.event.id, None)),
        Command::Note(receipt) => Some((receipt.event, Some((receipt.stage, receipt.by.clone())))),
        // These are rare, and what they say may differ.
        Command::Found { .. }
        | Command::Route { .. }
        | Command::Escalate { .. }
        | Command::Overdue { .. }
        | Command::Forwarded { .. }
        | Command::TroubleBegan { .. }
        | Command::TroubleOver { .. }
        | Command::StagePlan(_)
        | Command::ApplyPlan(_)
        | Command::Case { .. }
        | Command::AdmitCommand { .. }
        | Command::NoteCommand(_)
        | Command::Pictures { .. }
        | Command::OpenDrill(_)
        | Command::CloseDrill(_)
        | Command::EndCase { .. } => None,
    }
}

#[derive(Default)]
struct Lately {
    claims: BTreeSet<Claim>,
    order: VecDeque<(Instant, Claim)>,
}

/// The claims that this node has put into the log lately.
#[derive(Default)]
pub(crate) struct Repeats(Mutex<Lately>);

impl Repeats {
    /// It did not come into the log after all: the next one is no repeat.
    pub(crate) fn forget(&self, command: &Command) {
        if let Some(claim) = claim(command) {
            // Its place in the order stays, and at worst ends the window of a later one early, which does no harm.
            self.0.lock().unwrap_or_else(PoisonError::into_inner).claims.remove(&claim);
        }
    }

    /// Whether the same was put into the log within [`WINDOW`] before `now`. If not, it counts as put there now.
    pub(crate) fn is_one(&self, command: &Command, now: Instant) -> bool {
        let Some(claim) = claim(command) else { return false };
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |lately: &Lately| lately.order.front().is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW);
        while old(&lately) || lately.order.len() >= CLAIMS {
            let Some((_, claim)) = lately.order.pop_front() else { break };
            lately.claims.remove(&claim);
        }
        if !lately.claims.insert(claim.clone()) {
            return true;
        }
        lately.order.push_back((now, claim));
        false
    }
}

#[cfg(test)]
mod tests {
    use huxiao_core::{Receipt, Standing, Text, WallTime};

    use super::*;

    fn note(stage: Stage, by: &str) -> Command {
        let by = by.parse().unwrap();
        let event = EventId::generate(WallTime(1_000), &mut huxiao_core::Rng::new(1));
        let (at, note) = (WallTime(1_000), Text::default());
        Command::Note(Receipt { event, stage, at, by, officer: None, note, skew: None, standing: Standing::Settled })
    }

    #[test]
    fn the_same_is_one_for_a_while_and_no_longer() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let (shown, taken) = (note(Stage::Displayed, "station/s/a"), note(Stage::Acknowledged, "station/s/a"));
        assert!(!repeats.is_one(&shown, now));
        assert!(!repeats.is_one(&taken, now) && !repeats.is_one(&note(Stage::Displayed, "station/s/b"), now));
        assert!(repeats.is_one(&shown, now + WINDOW / 2));
        assert!(!repeats.is_one(&shown, now + WINDOW), "a lost proposal must get through at last");
        assert!(repeats.is_one(&shown, now + WINDOW * 3 / 2));
    }

    #[test]
    fn what_did_not_come_into_the_log_is_no_repeat_the_next_time() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let taken = note(Stage::Acknowledged, "station/s/a");
        assert!(!repeats.is_one(&taken, now));
        repeats.forget(&taken);
        assert!(!repeats.is_one(&taken, now) && repeats.is_one(&taken, now));
    }
}
