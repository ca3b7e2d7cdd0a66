//! Drills as every role's API shows them, and orders about drills as it takes them.

use huxiao_core::drill::{CloseDrill, Drill, DrillId, DrillRefusal, OpenDrill, Scope};
use huxiao_core::plan::Label;
use huxiao_core::{NodeName, SchoolId, Span, Text, WallTime};
use serde::{Deserialize, Serialize};

use crate::event_json::Words;
use crate::http::ApiError;
use crate::time_format::{parse_rfc3339, rfc3339};

/// A drill. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct DrillJson {
    id: String,
    /// `announced`, `running` or `over`.
    phase: &'static str,
    phase_text: Words,
    /// Six digits of GB/T 2260, if it is about all schools of an area.
    area: Option<String>,
    /// The schools, if they were listed.
    schools: Vec<String>,
    /// The buttons; none for all.
    devices: Vec<String>,
    from: String,
    until: String,
    by: String,
    approver: String,
    note: String,
    /// Whether the plan registers it.
    planned: bool,
    closed: Option<ClosedJson>,
}

#[derive(Debug, Clone, Serialize)]
struct ClosedJson {
    at: String,
    by: String,
    who: String,
    note: String,
}

impl DrillJson {
    /// The members of `drill`, as it stands at `at`.
    #[must_use]
    pub fn new(drill: &Drill, at: WallTime) -> Self {
        let (area, schools) = match &drill.order.scope {
            Scope::Area(area) => (Some(area.to_string()), Vec::new()),
            Scope::Schools(schools) => (None, schools.iter().map(ToString::to_string).collect()),
        };
        let phase = drill.phase(at);
        Self {
            id: drill.id().to_string(),
            phase: phase.as_str(),
            phase_text: phase.words().into(),
            area,
            schools,
            devices: drill.order.devices.iter().map(ToString::to_string).collect(),
            from: rfc3339(drill.from),
            until: rfc3339(drill.end()),
            by: drill.order.by.to_string(),
            approver: drill.order.approver.to_string(),
            note: drill.order.note.to_string(),
            planned: drill.order.planned,
            closed: drill.closed.as_ref().map(|closed| ClosedJson {
                at: rfc3339(closed.at),
                by: closed.by.to_string(),
                who: closed.who.to_string(),
                note: closed.note.to_string(),
            }),
        }
    }
}

/// The body of `POST /v1/drills`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenBody {
    /// Which drill it is to be; drawn if it is not given. With the same, saying it again is harmless.
    id: Option<String>,
    /// The leading digits of an area: two, four or six.
    area: Option<String>,
    #[serde(default)]
    schools: Vec<String>,
    #[serde(default)]
    devices: Vec<String>,
    /// At once, if it is not given.
    from: Option<String>,
    minutes: u16,
    approver: String,
    #[serde(default)]
    note: String,
}

impl OpenBody {
    /// The order that it is, of `by`, at `now`, with the id `drawn` if it has none.
    ///
    /// # Errors
    /// Which field is wrong and why.
    pub fn order(self, drawn: DrillId, by: NodeName, now: WallTime) -> Result<OpenDrill, ApiError> {
        let scope = match (&self.area, self.schools.is_empty()) {
            (Some(area), true) => Scope::area(area).map_err(|why| bad("area", &why.to_string()))?,
            (None, false) => {
                let schools = self.schools.iter().map(|code| code.parse::<SchoolId>());
                Scope::Schools(schools.collect::<Result<_, _>>().map_err(|why| bad("schools", &why.to_string()))?)
            }
            _ => return Err(bad("area", "name either an area or schools")),
        };
        let devices = self.devices.iter().map(|device| device.parse());
        let from = self.from.as_deref().map(parse_rfc3339).transpose().map_err(|why| bad("from", &why.to_string()))?;
        let order = OpenDrill {
            id: self.id.as_deref().map_or(Ok(drawn), drill_id)?,
            scope,
            devices: devices
                .collect::<Result<_, _>>()
                .map_err(|why: huxiao_core::NameError| bad("devices", &why.to_string()))?,
            from: from.unwrap_or(now),
            length: Span::from_secs(u64::from(self.minutes) * 60),
            by,
            approver: label("approver", &self.approver)?,
            note: Text::new(&self.note).map_err(|why| bad("note", &why.to_string()))?,
            planned: false,
            at: now,
        };
        order.checked().map_err(|why| refused(order.id, why))?;
        Ok(order)
    }
}

/// The body of `POST /v1/drills/{id}/close`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseBody {
    /// Who orders it.
    who: String,
    #[serde(default)]
    note: String,
}

impl CloseBody {
    /// The order that it is, about the drill `id`, of `by`, at `now`.
    ///
    /// # Errors
    /// Which field is wrong and why.
    pub fn order(self, id: DrillId, by: NodeName, now: WallTime) -> Result<CloseDrill, ApiError> {
        let who = label("who", &self.who)?;
        if who.is_empty() {
            return Err(bad("who", "say who orders it"));
        }
        let note = Text::new(&self.note).map_err(|why| bad("note", &why.to_string()))?;
        Ok(CloseDrill { id, by, who, note, at: now })
    }
}

/// The id of a drill in a path or a body.
///
/// # Errors
/// That it is none.
pub fn drill_id(text: &str) -> Result<DrillId, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request("bad_id", "a drill's id is a UUID, as its announcement has it"))
}

/// The answer to an order that is not carried out.
#[must_use]
pub fn refused(id: DrillId, why: DrillRefusal) -> ApiError {
    let words = format!("drill {id}: {why}");
    match why {
        DrillRefusal::NoQuorum => ApiError::unavailable("no_quorum", words),
        DrillRefusal::Unknown => ApiError::not_found("unknown_drill", words),
        DrillRefusal::NotYours | DrillRefusal::TooMany | DrillRefusal::Other => ApiError::conflict(why.as_str(), words),
        _ => ApiError::invalid(why.as_str(), words),
    }
}

fn label(field: &str, text: &str) -> Result<Label, ApiError> {
    Label::new(text).map_err(|why| bad(field, &why.to_string()))
}

fn bad(field: &str, why: &str) -> ApiError {
    ApiError::invalid("bad_field", format!("{field}: {why}"))
}
