//! The plan in the record: brought in parts, taken over as a whole or not at all.
//!
//! ```text
//! StagePlan part 0 … part n ─► staged ─► ApplyPlan ─► is the base the plan in force, is the result a plan? ─► in force, one version on
//!                                 └ a newer stage drops it                    └ no: refused, nothing changes
//! ```
//!
//! Invariants:
//! * The plan in force is valid, and its version says how many changes made it: 0 is none at all.
//! * What became of a stage is decided once. A part or an order of it that comes later changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::event::Text;
use crate::id::NodeName;
use crate::limits;
use crate::plan::{Change, Counts, Label, Plan, PlanError};
use crate::record::state::Effect;
use crate::time::WallTime;

/// One attempt to change the plan. Random, given by whoever makes the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub [u8; 16]);

/// SHA-256 over the parts of a plan.
pub type PlanDigest = [u8; 32];

/// One part of a change of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagePlan {
    /// Of which attempt.
    pub stage: StageId,
    /// Which part it is, from 0. Part 0 begins the attempt.
    pub part: u32,
    /// How many there are: 1 to [`limits::PLAN_PARTS`].
    pub parts: u32,
    /// What is put and removed.
    pub changes: Arc<[Change]>,
}

/// The order to take a staged change over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyPlan {
    /// Which attempt.
    pub stage: StageId,
    /// The version that it changes: the one in force, or nothing happens.
    pub base: u64,
    /// The digest of the plan that comes of it, looked at by the node that took the order.
    pub digest: PlanDigest,
    /// That node.
    pub by: NodeName,
    /// Who gave the order.
    pub who: Label,
    /// When, by the clock of `by`.
    pub at: WallTime,
    /// What for; may be empty.
    pub note: Text,
}

/// A change of the plan that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanVersion {
    /// Its number, from 1.
    pub version: u64,
    /// Where it stands in the log.
    pub index: u64,
    /// The digest of the plan that came of it.
    pub digest: PlanDigest,
    /// The node that took the order.
    pub by: NodeName,
    /// Who gave it.
    pub who: Label,
    /// When, by the clock of `by`.
    pub at: WallTime,
    /// What for.
    pub note: Text,
    /// What it came to.
    pub counts: Counts,
}

/// Why a change of the plan was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanRefusal {
    /// Look at what changed meanwhile, and make the change anew.
    #[error("the plan in force is version {now}, and the change was made for version {base}")]
    OtherBase {
        /// What it was made for.
        base: u64,
        /// What is in force.
        now: u64,
    },
    /// Parts of it are not in the record.
    #[error("only {have} of {parts} parts of the change are there")]
    Incomplete {
        /// Parts that are.
        have: u32,
        /// Parts that there should be.
        parts: u32,
    },
    /// Somebody began another change.
    #[error("another change of the plan was begun before this one was taken over")]
    Superseded,
    /// What would come of it is no plan; the first mistakes.
    #[error("the result would be no plan: {}", .0.iter().map(Text::as_str).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Text>),
}

/// What became of an attempt.
pub type PlanOutcome = Result<u64, PlanRefusal>;

/// Parts of a change that wait for the order to take them over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Which attempt.
    pub stage: StageId,
    /// How many parts there are to be.
    pub parts: u32,
    /// Those that are there.
    pub had: BTreeMap<u32, Arc<[Change]>>,
}

/// The plan of the record. Copies share their parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanState {
    plan: Arc<Plan>,
    version: u64,
    history: VecDeque<Arc<PlanVersion>>,
    staged: Option<Staged>,
    outcomes: VecDeque<(StageId, PlanOutcome)>,
}

/// The plan of the record in plain parts, for whoever writes it to a file or reads it back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanImage {
    /// Every part of the plan in force, in the order of [`Plan::parts`].
    pub parts: Vec<Change>,
    /// The changes that are remembered, oldest first; the last made the plan in force.
    pub history: Vec<Arc<PlanVersion>>,
    /// What waits to be taken over.
    pub staged: Option<Staged>,
    /// What became of the last attempts, oldest first.
    pub outcomes: Vec<(StageId, PlanOutcome)>,
}

impl PlanState {
    /// The plan in force; an empty one in version 0.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Which version it is; 0 as long as the record has no plan.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The changes that are remembered, oldest first.
    pub fn history(&self) -> impl DoubleEndedIterator<Item = &Arc<PlanVersion>> {
        self.history.iter()
    }

    /// What waits to be taken over.
    #[must_use]
    pub fn staged(&self) -> Option<&Staged> {
        self.staged.as_ref()
    }

    /// What became of an attempt; `None` while it is under way, and if it is not remembered.
    #[must_use]
    pub fn outcome(&self, stage: &StageId) -> Option<&PlanOutcome> {
        self.outcomes.iter().find(|(of, _)| of == stage).map(|(_, outcome)| outcome)
    }

    pub(super) fn stage(&mut self, part: StagePlan) -> Effect {
        let StagePlan { stage, part, parts, changes } = part;
        if part >= parts || parts > limits::PLAN_PARTS || self.outcome(&stage).is_some() {
            return Effect::Nothing;
        }
        if self.staged.as_ref().is_none_or(|staged| staged.stage != stage) {
            if part != 0 {
                return Effect::Nothing;
            }
            if let Some(old) = self.staged.take() {
                self.decide(old.stage, Err(PlanRefusal::Superseded));
            }
        }
        let staged = self.staged.get_or_insert_with(|| Staged { stage, parts, had: BTreeMap::new() });
        if staged.parts != parts || staged.had.contains_key(&part) {
            return Effect::Nothing;
        }
        staged.had.insert(part, changes);
        Effect::PlanStaged(stage)
    }

    pub(super) fn apply(&mut self, index: u64, order: ApplyPlan) -> Effect {
        let stage = order.stage;
        if self.outcome(&stage).is_some() {
            return Effect::Nothing;
        }
        let outcome = self.take_over(index, order);
        let effect = match &outcome {
            Ok(version) => Effect::PlanApplied(*version),
            Err(_) => Effect::PlanRefused(stage),
        };
        self.decide(stage, outcome);
        effect
    }

    fn take_over(&mut self, index: u64, order: ApplyPlan) -> PlanOutcome {
        let Some(staged) = self.staged.take_if(|staged| staged.stage == order.stage) else {
            return Err(PlanRefusal::Incomplete { have: 0, parts: 0 });
        };
        // A map of at most as many parts as a stage may have.
        let have = u32::try_from(staged.had.len()).unwrap_or(u32::MAX);
        if have != staged.parts {
            return Err(PlanRefusal::Incomplete { have, parts: staged.parts });
        }
        if order.base != self.version {
            return Err(PlanRefusal::OtherBase { base: order.base, now: self.version });
        }
        let changes = staged.had.values().flat_map(|part| part.iter());
        let (plan, counts) = self.plan.changed(changes).map_err(|found| PlanRefusal::Invalid(words(&found)))?;
        self.plan = Arc::new(plan);
        self.version += 1;
        let ApplyPlan { digest, by, who, at, note, .. } = order;
        let version = PlanVersion { version: self.version, index, digest, by, who, at, note, counts };
        if self.history.len() >= limits::PLAN_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Arc::new(version));
        Ok(self.version)
    }

    fn decide(&mut self, stage: StageId, outcome: PlanOutcome) {
        if self.outcomes.len() >= limits::PLAN_OUTCOMES {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back((stage, outcome));
    }

    /// It in plain parts.
    #[must_use]
    pub fn image(&self) -> PlanImage {
        PlanImage {
            parts: self.plan.parts().collect(),
            history: self.history.iter().cloned().collect(),
            staged: self.staged.clone(),
            outcomes: self.outcomes.iter().cloned().collect(),
        }
    }

    /// The plan that these parts make.
    ///
    /// # Errors
    /// Why they are not the plan of any record, in words.
    pub fn from_image(image: PlanImage) -> Result<Self, String> {
        let PlanImage { parts, history, staged, outcomes } = image;
        let plan = Plan::of_parts(&parts)
            .map_err(|found| words(&found).iter().map(Text::as_str).collect::<Vec<_>>().join("; "))?;
        let version = history.last().map_or(0, |last| last.version);
        let state = Self { plan: Arc::new(plan), version, history: history.into(), staged, outcomes: outcomes.into() };
        state.check()?;
        Ok(state)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.history.back().map_or(0, |last| last.version) != self.version {
            return Err(format!("the plan is version {}, and its history ends otherwise", self.version));
        }
        if self.version == 0 && *self.plan != Plan::default() {
            return Err("there is a plan that no change made".to_owned());
        }
        let versions: Vec<u64> = self.history.iter().map(|change| change.version).collect();
        if versions.windows(2).any(|pair| pair[0] + 1 != pair[1]) {
            return Err("the plan's history has a gap".to_owned());
        }
        if self.history.len() > limits::PLAN_HISTORY || self.outcomes.len() > limits::PLAN_OUTCOMES {
            return Err("more changes of the plan are remembered than may be".to_owned());
        }
        if let Some(staged) = &self.staged {
            let last = staged.had.last_key_value().is_none_or(|(last, _)| *last >= staged.parts);
            if last || staged.parts > limits::PLAN_PARTS || self.outcome(&staged.stage).is_some() {
                return Err("a change of the plan waits, and is decided or none".to_owned());
            }
        }
        Ok(())
    }
}

/// The first mistakes in words.
fn words(found: &[PlanError]) -> Vec<Text> {
    let words = found.iter().take(limits::PLAN_MISTAKES);
    // A mistake names at most four names.
    words.map(|mistake| Text::new(&mistake.to_string()).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests;
