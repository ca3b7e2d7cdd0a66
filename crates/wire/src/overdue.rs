//! Alarms that nobody takes, or to which nobody is sent, from and to their Protocol Buffers form.

use huxiao_core::record::Command;
use huxiao_core::{Overdue, Ownership, Rung, StationId, WallTime, limits};

use crate::error::WireError;
use crate::field;
use crate::proto;

pub(crate) fn raw_ownership(ownership: &Ownership) -> proto::Ownership {
    proto::Ownership {
        event: ownership.event.as_bytes().to_vec(),
        rung: number(ownership.rung),
        owners: raw_stations(&ownership.owners),
        at_us: ownership.at.0,
    }
}

pub(crate) fn ownership(raw: &proto::Ownership) -> Result<Ownership, WireError> {
    Ok(Ownership {
        event: field::event_id("ownership.event", &raw.event)?,
        rung: told_rung(raw.rung)?,
        owners: stations("ownership.owners", &raw.owners)?,
        at: WallTime(raw.at_us),
    })
}

/// The body of [`Command::Overdue`].
pub(crate) fn command(raw: &proto::Overdue) -> Result<Command, WireError> {
    Ok(Command::Overdue {
        event: field::event_id("overdue.event", &raw.event)?,
        rung: rung("overdue.rung", raw.rung)?,
        owners: stations("overdue.owners", &raw.owners)?,
        told: stations("overdue.told", &raw.told)?,
        by: field::node("overdue.by", &raw.by)?,
        at: WallTime(raw.at_us),
    })
}

pub(crate) fn raw_reached(overdue: &Overdue) -> proto::Reached {
    proto::Reached {
        index: overdue.index,
        rung: number(overdue.rung),
        owners: raw_stations(&overdue.owners),
        stations: raw_stations(&overdue.stations),
        by: overdue.by.to_string(),
        at_us: overdue.at.0,
    }
}

pub(crate) fn reached(raw: &proto::Reached) -> Result<Overdue, WireError> {
    Ok(Overdue {
        index: raw.index,
        rung: rung("overdue.rung", raw.rung)?,
        owners: stations("overdue.owners", &raw.owners)?,
        stations: stations("overdue.stations", &raw.stations)?,
        by: field::node("overdue.by", &raw.by)?,
        at: WallTime(raw.at_us),
    })
}

pub(crate) fn raw_stations(stations: &[StationId]) -> Vec<String> {
    stations.iter().map(ToString::to_string).collect()
}

fn stations(field: &'static str, raw: &[String]) -> Result<Vec<StationId>, WireError> {
    field::at_most(field, raw.len(), limits::OVERDUE_STATIONS)?;
    raw.iter().map(|text| field::name(field, text).map(StationId)).collect()
}

pub(crate) fn number(rung: Rung) -> i32 {
    i32::from(match rung {
        Rung::Louder => proto::Rung::Louder,
        Rung::County => proto::Rung::County,
        Rung::City => proto::Rung::City,
        Rung::Province => proto::Rung::Province,
        Rung::DispatchNudge => proto::Rung::DispatchNudge,
        Rung::DispatchCounty => proto::Rung::DispatchCounty,
        Rung::DispatchCity => proto::Rung::DispatchCity,
        Rung::Arrival => proto::Rung::Arrival,
    })
}

/// A rung of the record. One that this version does not know is refused: to take another would make another state.
fn rung(field: &'static str, number: i32) -> Result<Rung, WireError> {
    match proto::Rung::try_from(number) {
        Ok(proto::Rung::Unspecified) => Err(WireError::Missing(field)),
        Ok(proto::Rung::Louder) => Ok(Rung::Louder),
        Ok(proto::Rung::County) => Ok(Rung::County),
        Ok(proto::Rung::City) => Ok(Rung::City),
        Ok(proto::Rung::Province) => Ok(Rung::Province),
        Ok(proto::Rung::DispatchNudge) => Ok(Rung::DispatchNudge),
        Ok(proto::Rung::DispatchCounty) => Ok(Rung::DispatchCounty),
        Ok(proto::Rung::DispatchCity) => Ok(Rung::DispatchCity),
        Ok(proto::Rung::Arrival) => Ok(Rung::Arrival),
        Err(_) => Err(field::bad(field, format_args!("rung {number} is not known to this version"))),
    }
}

/// A rung that a seat is told of. One that this version does not know still says that nobody takes the alarm: it is the highest known one
/// below it.
fn told_rung(told: i32) -> Result<Rung, WireError> {
    let known = Rung::ALL.into_iter().rev().find(|rung| number(*rung) <= told);
    known.ok_or(WireError::Missing("ownership.rung"))
}
