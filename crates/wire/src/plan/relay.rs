//! A school's own part of the plan: on its way to its relays, and on their disks.

use std::sync::Arc;

use huxiao_core::limits;
use huxiao_core::plan::{PlanMark, SchoolPart};
use prost::Message;

use crate::error::WireError;
use crate::field;
use crate::plan::part;
use crate::proto;
use crate::row::ROW_VERSION;

pub(crate) fn raw(part: &SchoolPart) -> proto::SchoolPlan {
    proto::SchoolPlan {
        mark: Some(raw_mark(&part.mark)),
        school: part.school.as_ref().map(|school| part::raw_school(school)),
    }
}

pub(crate) fn school_plan(raw: &proto::SchoolPlan) -> Result<SchoolPart, WireError> {
    let raw_mark = raw.mark.as_ref().ok_or(WireError::Missing("school_plan.mark"))?;
    Ok(SchoolPart { mark: mark(raw_mark)?, school: raw.school.as_ref().map(part::school).transpose()?.map(Arc::new) })
}

pub(crate) fn raw_mark(mark: &PlanMark) -> proto::PlanMark {
    proto::PlanMark { record: mark.record.map(|record| record.0.to_vec()).unwrap_or_default(), version: mark.version }
}

pub(crate) fn mark(raw: &proto::PlanMark) -> Result<PlanMark, WireError> {
    let record = (!raw.record.is_empty()).then(|| field::record_id("plan_mark.record", &raw.record)).transpose()?;
    Ok(PlanMark { record, version: raw.version })
}

/// A school's part of the plan as its relay keeps it: one byte of format version, then the message.
#[must_use]
pub fn encode_school_part(part: &SchoolPart) -> Vec<u8> {
    let raw = raw(part);
    let mut bytes = Vec::with_capacity(1 + raw.encoded_len());
    bytes.push(ROW_VERSION);
    raw.encode_raw(&mut bytes);
    bytes
}

/// The part in `bytes`.
///
/// # Errors
/// Any [`WireError`] but `UnknownBody`: the bytes are damaged, or written by a newer version.
pub fn decode_school_part(bytes: &[u8]) -> Result<SchoolPart, WireError> {
    if bytes.len() > limits::EXPRESS_FRAME_BYTES {
        return Err(WireError::Oversized { len: bytes.len(), limit: limits::EXPRESS_FRAME_BYTES });
    }
    match bytes.split_first() {
        None => Err(WireError::Truncated { have: 0, need: 1 }),
        Some((&ROW_VERSION, body)) => school_plan(&proto::SchoolPlan::decode(body)?),
        Some((version, _)) => Err(WireError::UnknownVersion(*version)),
    }
}
