//! The plan, from and to its Protocol Buffers form.
//!
//! Invariant: the encoding of a part is canonical, so the digest over a plan's parts says whether two plans are equal, on whichever node.

mod part;
mod person;
pub(crate) mod relay;
mod rows;

use std::sync::Arc;

use huxiao_core::limits;
use huxiao_core::plan::Change;
use huxiao_core::record::{ApplyPlan, StageId, StagePlan};
use huxiao_core::{Text, WallTime};
use prost::Message;

use crate::error::WireError;
use crate::field;
use crate::proto;

pub use relay::{decode_school_part, encode_school_part};
pub use rows::{PlanRows, encode_plan_rows};

/// A piece of a plan, for whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanPage {
    /// The version of the plan in force.
    pub version: u64,
    /// Some of its parts, in their one order.
    pub parts: Vec<Change>,
    /// How many come behind these.
    pub left: u64,
}

/// The canonical bytes of one part or change.
#[must_use]
pub fn encode_plan_change(change: &Change) -> Vec<u8> {
    part::raw(change).encode_to_vec()
}

/// Changes cut into pieces that fit one command each, in their order; at least one piece.
#[must_use]
pub fn cut_plan_changes(changes: Vec<Change>) -> Vec<Vec<Change>> {
    let (mut pieces, mut piece, mut bytes) = (Vec::new(), Vec::new(), 0);
    for change in changes {
        let more = framed_len(&change);
        if bytes + more > limits::PLAN_PART_BYTES && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
            bytes = 0;
        }
        bytes += more;
        piece.push(change);
    }
    if pieces.is_empty() || !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Bytes of a change inside a list, a little more than it takes.
fn framed_len(change: &Change) -> usize {
    part::raw(change).encoded_len() + 8
}

/// A part of a change of the plan, as it is handed to a node.
#[must_use]
pub fn encode_stage_plan(part: &StagePlan) -> Vec<u8> {
    raw_stage(part).encode_to_vec()
}

/// The part of a change of the plan in `bytes`.
///
/// # Errors
/// Any [`WireError`] but `UnknownBody`.
pub fn decode_stage_plan(bytes: &[u8]) -> Result<StagePlan, WireError> {
    within_frame(bytes.len())?;
    stage(&proto::StagePlan::decode(bytes)?)
}

/// A piece of a plan: of `parts` as many as go into one.
#[must_use]
pub fn encode_plan_page(version: u64, parts: impl Iterator<Item = Change>) -> Vec<u8> {
    let (mut page, mut bytes) = (proto::PlanPage { version, parts: Vec::new(), left: 0 }, 0);
    for change in parts {
        if bytes >= limits::PLAN_PAGE_BYTES {
            page.left += 1;
            continue;
        }
        let raw = part::raw(&change);
        bytes += raw.encoded_len() + 8;
        page.parts.push(raw);
    }
    page.encode_to_vec()
}

/// The piece of a plan in `bytes`.
///
/// # Errors
/// Any [`WireError`] but `UnknownBody`.
pub fn decode_plan_page(bytes: &[u8]) -> Result<PlanPage, WireError> {
    let limit = limits::PLAN_PAGE_BYTES + limits::EXPRESS_FRAME_BYTES;
    if bytes.len() > limit {
        return Err(WireError::Oversized { len: bytes.len(), limit });
    }
    let raw = proto::PlanPage::decode(bytes)?;
    Ok(PlanPage { version: raw.version, parts: part::changes(&raw.parts)?, left: raw.left })
}

fn within_frame(len: usize) -> Result<(), WireError> {
    let limit = limits::EXPRESS_FRAME_BYTES;
    if len > limit { Err(WireError::Oversized { len, limit }) } else { Ok(()) }
}

pub(crate) fn raw_stage(part: &StagePlan) -> proto::StagePlan {
    proto::StagePlan {
        stage: part.stage.0.to_vec(),
        part: part.part,
        parts: part.parts,
        changes: part.changes.iter().map(part::raw).collect(),
    }
}

pub(crate) fn stage(raw: &proto::StagePlan) -> Result<StagePlan, WireError> {
    if raw.parts > limits::PLAN_PARTS {
        let (field, count, limit) = ("stage_plan.parts", raw.parts as usize, limits::PLAN_PARTS as usize);
        return Err(WireError::TooMany { field, count, limit });
    }
    if raw.part >= raw.parts {
        return Err(field::bad("stage_plan.part", format_args!("part {} of {} parts", raw.part, raw.parts)));
    }
    Ok(StagePlan {
        stage: stage_id("stage_plan.stage", &raw.stage)?,
        part: raw.part,
        parts: raw.parts,
        changes: Arc::from(part::changes(&raw.changes)?),
    })
}

pub(crate) fn raw_apply(order: &ApplyPlan) -> proto::ApplyPlan {
    proto::ApplyPlan {
        stage: order.stage.0.to_vec(),
        base: order.base,
        digest: order.digest.to_vec(),
        by: order.by.to_string(),
        who: order.who.as_str().to_owned(),
        at_us: order.at.0,
        note: order.note.as_str().to_owned(),
    }
}

pub(crate) fn apply(raw: &proto::ApplyPlan) -> Result<ApplyPlan, WireError> {
    Ok(ApplyPlan {
        stage: stage_id("apply_plan.stage", &raw.stage)?,
        base: raw.base,
        digest: digest("apply_plan.digest", &raw.digest)?,
        by: field::node("apply_plan.by", &raw.by)?,
        who: part::label("apply_plan.who", &raw.who)?,
        at: WallTime(raw.at_us),
        note: note("apply_plan.note", &raw.note)?,
    })
}

fn stage_id(field: &'static str, bytes: &[u8]) -> Result<StageId, WireError> {
    field::record_id(field, bytes).map(|id| StageId(id.0))
}

fn digest(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], WireError> {
    let wrong = |_| field::bad(field, format_args!("a digest has 32 bytes, this one has {}", bytes.len()));
    bytes.try_into().map_err(wrong)
}

fn note(field: &'static str, text: &str) -> Result<Text, WireError> {
    field::text(field, text)
}
