//! Escalations, from and to their Protocol Buffers form.

use huxiao_core::{Escalate, EventId, StationId, WallTime, limits};

use crate::error::WireError;
use crate::field;
use crate::proto;

pub(crate) fn raw(escalate: &Escalate) -> proto::EscalateOrder {
    proto::EscalateOrder {
        event: escalate.event.as_bytes().to_vec(),
        stations: escalate.stations.iter().map(ToString::to_string).collect(),
        by: escalate.by.to_string(),
        officer: escalate.officer.as_ref().map(ToString::to_string).unwrap_or_default(),
        at_us: escalate.at.0,
        note: escalate.note.as_str().to_owned(),
    }
}

pub(crate) fn escalate(raw: &proto::EscalateOrder) -> Result<Escalate, WireError> {
    if raw.stations.is_empty() {
        return Err(WireError::Missing("escalate.stations"));
    }
    field::at_most("escalate.stations", raw.stations.len(), limits::STATIONS_PER_SCHOOL)?;
    Ok(Escalate {
        event: field::event_id("escalate.event", &raw.event)?,
        stations: stations("escalate.stations", &raw.stations)?,
        by: field::node("escalate.by", &raw.by)?,
        officer: field::optional_name("escalate.officer", &raw.officer)?,
        at: WallTime(raw.at_us),
        note: field::text("escalate.note", &raw.note)?,
    })
}

pub(crate) fn raw_done(event: &EventId, stations: &[StationId]) -> proto::Escalated {
    proto::Escalated { event: event.as_bytes().to_vec(), stations: stations.iter().map(ToString::to_string).collect() }
}

pub(crate) fn done(raw: &proto::Escalated) -> Result<(EventId, Vec<StationId>), WireError> {
    field::at_most("escalated.stations", raw.stations.len(), limits::STATIONS_PER_SCHOOL)?;
    let stations = stations("escalated.stations", &raw.stations)?;
    Ok((field::event_id("escalated.event", &raw.event)?, stations))
}

fn stations(field: &'static str, raw: &[String]) -> Result<Vec<StationId>, WireError> {
    raw.iter().map(|text| field::name(field, text).map(StationId)).collect()
}
