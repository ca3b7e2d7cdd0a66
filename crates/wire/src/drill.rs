//! Drills, from and to their Protocol Buffers form, and the rows of a snapshot that hold them and when schools were tested.

use std::collections::BTreeSet;
use std::sync::Arc;

use huxiao_core::drill::{
    CloseDrill, Drill, DrillId, DrillImage, DrillMode, DrillOrder, DrillRefusal, OpenDrill, Scope,
};
use huxiao_core::plan::{AreaCode, Label};
use huxiao_core::record::{Command, CommandEntry, Tested};
use huxiao_core::{EventId, Name, NodeName, SchoolId, Span, WallTime, limits};
use prost::Message as _;

use crate::command::{self, CommandRows};
use crate::error::WireError;
use crate::field;
use crate::proto;
use crate::proto::record_row::Body as RowBody;

pub(crate) fn raw_list(drills: &[Arc<Drill>]) -> proto::DrillList {
    proto::DrillList { drills: drills.iter().map(|drill| raw_drill(drill)).collect() }
}

pub(crate) fn list(raw: &proto::DrillList) -> Result<Vec<Arc<Drill>>, WireError> {
    field::at_most("drills", raw.drills.len(), limits::LIST_ITEMS)?;
    raw.drills.iter().map(|raw| drill(raw).map(Arc::new)).collect()
}

pub(crate) fn raw_mode(mode: &DrillMode) -> proto::DrillMode {
    proto::DrillMode {
        id: mode.id.0.to_vec(),
        starts_in_us: micros(mode.starts_in),
        lasts_us: micros(mode.lasts),
        devices: raw_names(&mode.devices),
        approver: mode.approver.to_string(),
    }
}

pub(crate) fn mode(raw: &proto::DrillMode) -> Result<DrillMode, WireError> {
    Ok(DrillMode {
        id: drill_id("drill_mode.id", &raw.id)?,
        starts_in: Span::from_micros(raw.starts_in_us),
        lasts: Span::from_micros(raw.lasts_us),
        devices: names("drill_mode.devices", &raw.devices, limits::PLAN_DEVICES)?,
        approver: label("drill_mode.approver", &raw.approver)?,
    })
}

pub(crate) fn raw_heard(id: DrillId) -> proto::DrillHeard {
    proto::DrillHeard { id: id.0.to_vec() }
}

pub(crate) fn raw_order(order: &DrillOrder) -> proto::DrillOrder {
    use proto::drill_order::Body;
    let body = match order {
        DrillOrder::Open(order) => Body::Open(raw_open(order)),
        DrillOrder::Close(order) => Body::Close(raw_close(order)),
    };
    proto::DrillOrder { body: Some(body) }
}

pub(crate) fn order(raw: &proto::DrillOrder) -> Result<DrillOrder, WireError> {
    use proto::drill_order::Body;
    match &raw.body {
        Some(Body::Open(raw)) => open(raw).map(DrillOrder::Open),
        Some(Body::Close(raw)) => close(raw).map(DrillOrder::Close),
        None => Err(WireError::Missing("drill_order")),
    }
}

pub(crate) fn raw_answer(id: DrillId, answer: &Result<Arc<Drill>, DrillRefusal>) -> proto::DrillAnswer {
    proto::DrillAnswer {
        id: id.0.to_vec(),
        drill: answer.as_ref().ok().map(|drill| raw_drill(drill)),
        refusal: answer.as_ref().err().map_or(0, |why| i32::from(why.number())),
    }
}

pub(crate) fn answer(raw: &proto::DrillAnswer) -> Result<(DrillId, Result<Arc<Drill>, DrillRefusal>), WireError> {
    let id = drill_id("drill_answer.id", &raw.id)?;
    let answer = match &raw.drill {
        Some(raw) => Ok(Arc::new(drill(raw)?)),
        None => Err(refusal("drill_answer.refusal", raw.refusal)?),
    };
    Ok((id, answer))
}

fn refusal(field: &'static str, number: i32) -> Result<DrillRefusal, WireError> {
    if number == 0 { Err(WireError::Missing(field)) } else { Ok(DrillRefusal::from_number(number)) }
}

pub(crate) fn raw_open(order: &OpenDrill) -> proto::OpenDrill {
    let (area, schools) = match &order.scope {
        Scope::Area(area) => (area.number(), Vec::new()),
        Scope::Schools(schools) => (0, schools.iter().map(ToString::to_string).collect()),
    };
    proto::OpenDrill {
        id: order.id.0.to_vec(),
        scope: Some(proto::DrillScope { area, schools, devices: raw_names(&order.devices) }),
        from_us: order.from.0,
        length_us: micros(order.length),
        by: order.by.to_string(),
        approver: order.approver.to_string(),
        note: order.note.as_str().to_owned(),
        planned: order.planned,
        at_us: order.at.0,
    }
}

pub(crate) fn open(raw: &proto::OpenDrill) -> Result<OpenDrill, WireError> {
    let scope = raw.scope.as_ref().ok_or(WireError::Missing("drill.scope"))?;
    Ok(OpenDrill {
        id: drill_id("drill.id", &raw.id)?,
        scope: if scope.area == 0 {
            let schools = names("drill.schools", &scope.schools, limits::DRILL_SCHOOLS)?;
            Scope::Schools(schools.into_iter().map(SchoolId).collect())
        } else {
            Scope::Area(AreaCode::new(scope.area).map_err(|why| field::bad("drill.area", why))?)
        },
        devices: names("drill.devices", &scope.devices, limits::PLAN_DEVICES)?,
        from: WallTime(raw.from_us),
        length: Span::from_micros(raw.length_us),
        by: field::node("drill.by", &raw.by)?,
        approver: label("drill.approver", &raw.approver)?,
        note: field::text("drill.note", &raw.note)?,
        planned: raw.planned,
        at: WallTime(raw.at_us),
    })
}

pub(crate) fn raw_close(order: &CloseDrill) -> proto::CloseDrill {
    proto::CloseDrill {
        id: order.id.0.to_vec(),
        by: order.by.to_string(),
        who: order.who.to_string(),
        note: order.note.as_str().to_owned(),
        at_us: order.at.0,
    }
}

pub(crate) fn close(raw: &proto::CloseDrill) -> Result<CloseDrill, WireError> {
    Ok(CloseDrill {
        id: drill_id("close_drill.id", &raw.id)?,
        by: field::node("close_drill.by", &raw.by)?,
        who: label("close_drill.who", &raw.who)?,
        note: field::text("close_drill.note", &raw.note)?,
        at: WallTime(raw.at_us),
    })
}

pub(crate) fn raw_end(event: &EventId, by: &NodeName, at: WallTime) -> proto::EndCase {
    proto::EndCase { event: event.as_bytes().to_vec(), by: by.to_string(), at_us: at.0 }
}

pub(crate) fn end(raw: &proto::EndCase) -> Result<Command, WireError> {
    Ok(Command::EndCase {
        event: field::event_id("end_case.event", &raw.event)?,
        by: field::node("end_case.by", &raw.by)?,
        at: WallTime(raw.at_us),
    })
}

fn raw_drill(drill: &Drill) -> proto::Drill {
    proto::Drill {
        order: Some(raw_open(&drill.order)),
        from_us: drill.from.0,
        until_us: drill.until.0,
        closed: drill.closed.as_ref().map(raw_close),
    }
}

fn drill(raw: &proto::Drill) -> Result<Drill, WireError> {
    Ok(Drill {
        order: open(raw.order.as_ref().ok_or(WireError::Missing("drill.order"))?)?,
        from: WallTime(raw.from_us),
        until: WallTime(raw.until_us),
        closed: raw.closed.as_ref().map(close).transpose()?,
    })
}

pub(crate) fn drill_id(field: &'static str, bytes: &[u8]) -> Result<DrillId, WireError> {
    field::bytes16(field, bytes).map(DrillId)
}

fn label(field: &'static str, text: &str) -> Result<Label, WireError> {
    Label::new(text).map_err(|why| field::bad(field, why))
}

fn raw_names(names: &BTreeSet<Name>) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn names(field: &'static str, raw: &[String], limit: usize) -> Result<BTreeSet<Name>, WireError> {
    field::at_most(field, raw.len(), limit)?;
    raw.iter().map(|text| field::name(field, text)).collect()
}

fn micros(span: Span) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Schools in one row.
const TESTED_IN_ROW: usize = 512;

/// What a snapshot holds of drills, of when schools were tested, and of commands to schools, row by row.
#[must_use]
pub fn encode_record_rows(
    drills: &DrillImage,
    tests: &[(SchoolId, Tested)],
    commands: &[Arc<CommandEntry>],
) -> Vec<Vec<u8>> {
    let row = |body| proto::RecordRow { body: Some(body) }.encode_to_vec();
    let mut rows: Vec<Vec<u8>> = drills.drills.iter().map(|drill| row(RowBody::Drill(raw_drill(drill)))).collect();
    rows.extend(drills.refused.iter().map(|(id, why)| {
        row(RowBody::DrillRefused(proto::DrillDenied { id: id.0.to_vec(), why: i32::from(why.number()) }))
    }));
    for some in tests.chunks(TESTED_IN_ROW) {
        let schools = some.iter().map(|(school, tested)| proto::Tested {
            school: school.to_string(),
            by_hand_us: tested.by_hand.map(|at| at.0),
            by_itself_us: tested.by_itself.map(|at| at.0),
        });
        rows.push(row(RowBody::Tested(proto::TestedList { schools: schools.collect() })));
    }
    rows.extend(commands.iter().flat_map(|entry| command::rows(entry)));
    rows
}

/// Puts the same together from its rows.
#[derive(Debug, Default)]
pub struct RecordRows {
    drills: DrillImage,
    tests: Vec<(SchoolId, Tested)>,
    commands: CommandRows,
}

impl RecordRows {
    /// Takes the next row.
    ///
    /// # Errors
    /// Any [`WireError`] but `UnknownBody`.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        if bytes.len() > limits::EXPRESS_FRAME_BYTES {
            return Err(WireError::Oversized { len: bytes.len(), limit: limits::EXPRESS_FRAME_BYTES });
        }
        match proto::RecordRow::decode(bytes)?.body {
            Some(RowBody::Drill(raw)) => {
                field::at_most("record_row.drill", self.drills.drills.len() + 1, limits::DRILLS_KEPT)?;
                self.drills.drills.push(Arc::new(drill(&raw)?));
            }
            Some(RowBody::DrillRefused(raw)) => {
                field::at_most("record_row.drill_refused", self.drills.refused.len() + 1, limits::DRILLS_REFUSED)?;
                let why = refusal("record_row.drill_refused", raw.why)?;
                self.drills.refused.push((drill_id("record_row.drill_refused", &raw.id)?, why));
            }
            Some(RowBody::Tested(raw)) => {
                let count = self.tests.len().saturating_add(raw.schools.len());
                field::at_most("record_row.tested", count, limits::SCHOOLS_TESTED)?;
                for raw in raw.schools {
                    let school = SchoolId(field::name("record_row.tested.school", &raw.school)?);
                    let (by_hand, by_itself) = (raw.by_hand_us.map(WallTime), raw.by_itself_us.map(WallTime));
                    self.tests.push((school, Tested { by_hand, by_itself }));
                }
            }
            Some(RowBody::Command(raw)) => self.commands.command(&raw)?,
            Some(RowBody::Notice(raw)) => self.commands.notice(&raw)?,
            None => return Err(field::bad("record_row", "a newer version of huxiao wrote it; start that version")),
        }
        Ok(())
    }

    /// All of it.
    #[must_use]
    pub fn finish(self) -> (DrillImage, Vec<(SchoolId, Tested)>, Vec<Arc<CommandEntry>>) {
        (self.drills, self.tests, self.commands.finish())
    }
}
