//! The plan in a snapshot of the record: rows of bounded size, each of which says what it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use huxiao_core::plan::{Counts, Tally};
use huxiao_core::record::{PlanImage, PlanOutcome, PlanRefusal, PlanVersion, StageId, StagePlan, Staged};
use huxiao_core::{WallTime, limits};
use prost::Message;

use super::{cut_plan_changes, digest, note, part, raw_stage, stage, stage_id, within_frame};
use crate::error::WireError;
use crate::field;
use crate::proto;
use crate::proto::plan_outcome::Body as OutcomeBody;
use crate::proto::plan_row::Body;

/// The plan of a record, row by row.
#[must_use]
pub fn encode_plan_rows(image: PlanImage) -> Vec<Vec<u8>> {
    let row = |body| proto::PlanRow { body: Some(body) }.encode_to_vec();
    let mut rows = Vec::new();
    if !image.parts.is_empty() {
        for piece in cut_plan_changes(image.parts) {
            rows.push(row(Body::Parts(proto::PlanParts { parts: piece.iter().map(part::raw).collect() })));
        }
    }
    rows.extend(image.history.iter().map(|version| row(Body::Version(raw_version(version)))));
    if let Some(staged) = image.staged {
        let Staged { stage, parts, had } = staged;
        for (part, changes) in had {
            rows.push(row(Body::Staged(raw_stage(&StagePlan { stage, part, parts, changes }))));
        }
    }
    rows.extend(image.outcomes.iter().map(|(of, outcome)| row(Body::Outcome(raw_outcome(of, outcome)))));
    rows
}

/// Puts the plan of a record together from its rows.
#[derive(Debug, Default)]
pub struct PlanRows {
    image: PlanImage,
}

impl PlanRows {
    /// Takes the next row.
    ///
    /// # Errors
    /// Any [`WireError`] but `UnknownBody`.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        within_frame(bytes.len())?;
        match proto::PlanRow::decode(bytes)?.body {
            Some(Body::Parts(raw)) => self.image.parts.extend(part::changes(&raw.parts)?),
            Some(Body::Version(raw)) => self.image.history.push(Arc::new(version(&raw)?)),
            Some(Body::Staged(raw)) => self.staged(stage(&raw)?)?,
            Some(Body::Outcome(raw)) => self.image.outcomes.push(outcome(&raw)?),
            None => return Err(field::bad("plan_row", "a newer version of huxiao wrote it; start that version")),
        }
        Ok(())
    }

    fn staged(&mut self, next: StagePlan) -> Result<(), WireError> {
        let StagePlan { stage, part, parts, changes } = next;
        let staged = self.image.staged.get_or_insert_with(|| Staged { stage, parts, had: BTreeMap::new() });
        if staged.stage != stage || staged.parts != parts || staged.had.insert(part, changes).is_some() {
            return Err(field::bad("plan_row.staged", "two changes of the plan wait at once"));
        }
        Ok(())
    }

    /// All of it.
    #[must_use]
    pub fn finish(self) -> PlanImage {
        self.image
    }
}

fn raw_version(version: &PlanVersion) -> proto::PlanVersion {
    let tally = |tally: Tally| {
        let Tally { added, changed, removed } = tally;
        (tally != Tally::default()).then_some(proto::PlanTally { added, changed, removed })
    };
    let Counts { areas, stations, schools, regions } = version.counts;
    proto::PlanVersion {
        version: version.version,
        index: version.index,
        digest: version.digest.to_vec(),
        by: version.by.to_string(),
        who: version.who.to_string(),
        at_us: version.at.0,
        note: version.note.as_str().to_owned(),
        areas: tally(areas),
        stations: tally(stations),
        schools: tally(schools),
        regions: tally(regions),
    }
}

fn version(raw: &proto::PlanVersion) -> Result<PlanVersion, WireError> {
    let tally = |raw: &Option<proto::PlanTally>| {
        raw.as_ref().map_or_else(Tally::default, |raw| Tally {
            added: raw.added,
            changed: raw.changed,
            removed: raw.removed,
        })
    };
    Ok(PlanVersion {
        version: raw.version,
        index: raw.index,
        digest: digest("plan_version.digest", &raw.digest)?,
        by: field::node("plan_version.by", &raw.by)?,
        who: part::label("plan_version.who", &raw.who)?,
        at: WallTime(raw.at_us),
        note: note("plan_version.note", &raw.note)?,
        counts: Counts {
            areas: tally(&raw.areas),
            stations: tally(&raw.stations),
            schools: tally(&raw.schools),
            regions: tally(&raw.regions),
        },
    })
}

fn raw_outcome(of: &StageId, outcome: &PlanOutcome) -> proto::PlanOutcome {
    let body = match outcome {
        Ok(version) => OutcomeBody::Applied(*version),
        Err(PlanRefusal::OtherBase { base, now }) => {
            OutcomeBody::OtherBase(proto::PlanOtherBase { base: *base, now: *now })
        }
        Err(PlanRefusal::Incomplete { have, parts }) => {
            OutcomeBody::Incomplete(proto::PlanIncomplete { have: *have, parts: *parts })
        }
        Err(PlanRefusal::Superseded) => OutcomeBody::Superseded(true),
        Err(PlanRefusal::Invalid(mistakes)) => OutcomeBody::Invalid(proto::PlanInvalid {
            mistakes: mistakes.iter().map(|mistake| mistake.as_str().to_owned()).collect(),
        }),
    };
    proto::PlanOutcome { stage: of.0.to_vec(), body: Some(body) }
}

fn outcome(raw: &proto::PlanOutcome) -> Result<(StageId, PlanOutcome), WireError> {
    let outcome = match &raw.body {
        Some(OutcomeBody::Applied(version)) => Ok(*version),
        Some(OutcomeBody::OtherBase(raw)) => Err(PlanRefusal::OtherBase { base: raw.base, now: raw.now }),
        Some(OutcomeBody::Incomplete(raw)) => Err(PlanRefusal::Incomplete { have: raw.have, parts: raw.parts }),
        Some(OutcomeBody::Superseded(_)) => Err(PlanRefusal::Superseded),
        Some(OutcomeBody::Invalid(raw)) => {
            field::at_most("plan_outcome.mistakes", raw.mistakes.len(), limits::PLAN_MISTAKES)?;
            let words = raw.mistakes.iter().map(|words| note("plan_outcome.mistakes", words));
            Err(PlanRefusal::Invalid(words.collect::<Result<_, _>>()?))
        }
        None => return Err(field::bad("plan_outcome", "a newer version of huxiao wrote it; start that version")),
    };
    Ok((stage_id("plan_outcome.stage", &raw.stage)?, outcome))
}
