//! Messages of a session, from and to their Protocol Buffers form.

use std::sync::Arc;

use huxiao_core::signature::{Algorithm, Signature};
use huxiao_core::{
    Degraded, Echo, EventCopy, EventId, Hello, Message, Receipt, Refusal, Resume, Stage, Step, Trail, WallTime, limits,
};

use crate::case;
use crate::command;
use crate::drill;
use crate::error::WireError;
use crate::escalation;
use crate::event::unseal;
use crate::field;
use crate::overdue;
use crate::plan::relay;
use crate::proto;
use crate::proto::frame::Body;
use crate::video;

/// The frame body of a message.
pub(crate) fn to_body(message: &Message) -> Body {
    match message {
        Message::Hello(hello) => Body::Hello(proto::Hello {
            software: field::cut(&hello.software, limits::NAME_BYTES).to_owned(),
            wire_minor: hello.wire_minor,
            resume: hello.resume.as_ref().map(raw_resume),
        }),
        Message::Event(copy) => Body::Event(raw_copy(copy)),
        Message::Receipts(list) => {
            Body::Receipts(proto::ReceiptList { receipts: list.iter().map(raw_receipt).collect() })
        }
        Message::Confirmed(list) => {
            Body::Confirmed(proto::ConfirmedList { confirmed: list.iter().map(raw_event_stage).collect() })
        }
        Message::Inquire(list) => Body::Inquire(proto::Inquire { events: raw_ids(list) }),
        Message::Unknown(list) => Body::Unknown(proto::UnknownList { events: raw_ids(list) }),
        Message::Refused(event, refusal) => {
            Body::Refused(proto::Refused { event: event.as_bytes().to_vec(), reason: refusal_number(*refusal) })
        }
        Message::Probe(number) => Body::Probe(proto::Probe { number: *number }),
        Message::Echo(echo) => {
            Body::Echo(proto::Echo { number: echo.number, received_us: echo.received.0, sent_us: echo.sent.0 })
        }
        Message::Mark(mark) => Body::Mark(raw_resume(mark)),
        Message::Condition(degraded) => {
            let degraded = degraded.as_ref();
            let degraded = degraded.map(|d| proto::Degraded { since_us: d.since.0, why: d.why.as_str().to_owned() });
            Body::Condition(proto::Condition { degraded })
        }
        Message::Escalate(escalate) => Body::Escalate(escalation::raw(escalate)),
        Message::Escalated(event, stations) => Body::Escalated(escalation::raw_done(event, stations)),
        Message::Ownership(ownership) => Body::Ownership(overdue::raw_ownership(ownership)),
        Message::Case(order) => Body::CaseOrder(case::raw_order(order)),
        Message::Cases(cases) => Body::Cases(case::raw_states(cases)),
        Message::CaseTaken(id, step, now) => Body::CaseTaken(case::raw_taken(*id, *step, now)),
        Message::CaseAsk(event, after) => Body::CaseAsk(case::raw_ask(event, *after)),
        Message::SeatState { audible } => Body::SeatState(proto::SeatState { audible: *audible }),
        Message::CaseSteps(event, steps, total) => Body::CaseSteps(case::raw_page(event, steps, *total)),
        Message::CommandOrder(sealed) => Body::CommandOrder(command::raw_sealed(sealed)),
        Message::Command(sealed, left) => Body::Command(command::raw_copy(sealed, *left)),
        Message::CommandReceipts(list) => Body::CommandReceipts(command::raw_receipts(list)),
        Message::CommandConfirmed(list) => Body::CommandsConfirmed(command::raw_confirmed(list)),
        Message::CommandState(state) => Body::CommandState(command::raw_state(state)),
        Message::CommandRefused(id, why) => Body::CommandRefused(command::raw_refused(*id, *why)),
        Message::NoticeAsk(id, after) => Body::NoticeAsk(command::raw_ask(*id, after.as_ref())),
        Message::NoticeSchools(id, after, schools, total) => {
            Body::NoticeSchools(command::raw_schools(*id, after.as_ref(), schools, *total))
        }
        Message::CaseRefused(id, why, now) => Body::CaseRefused(case::raw_refused(*id, *why, now.as_deref())),
        Message::SchoolPlan(part) => Body::SchoolPlan(relay::raw(part)),
        Message::PlanKept(mark) => Body::PlanKept(relay::raw_mark(mark)),
        Message::Body(body) => Body::BodyWord(video::raw_body(body)),
        Message::Pictures(said) => Body::Pictures(video::raw_said(said)),
        Message::PicturesKept(event, keys) => Body::PicturesKept(video::raw_kept(event, keys)),
        Message::Look(look) => Body::Look(video::raw_look(look)),
        Message::Drills(drills) => Body::Drills(drill::raw_list(drills)),
        Message::DrillMode(mode) => Body::DrillMode(drill::raw_mode(mode)),
        Message::DrillHeard(id) => Body::DrillHeard(drill::raw_heard(*id)),
        Message::DrillOrder(order) => Body::DrillOrder(drill::raw_order(order)),
        Message::DrillAnswer(id, answer) => Body::DrillAnswer(drill::raw_answer(*id, answer)),
    }
}

/// The message of a frame body, with every limit checked.
#[expect(clippy::too_many_lines, reason = "one arm for each message")]
pub(crate) fn from_body(body: Body) -> Result<Message, WireError> {
    Ok(match body {
        Body::Hello(raw) => Message::Hello(hello(raw)?),
        Body::Event(raw) => Message::Event(copy(&raw)?),
        Body::Receipts(raw) => Message::Receipts(receipts("receipts", &raw.receipts, limits::LIST_ITEMS)?),
        Body::Confirmed(raw) => Message::Confirmed(event_stages("confirmed", &raw.confirmed, limits::LIST_ITEMS)?),
        Body::Inquire(raw) => Message::Inquire(ids("inquire.events", &raw.events)?),
        Body::Unknown(raw) => Message::Unknown(ids("unknown.events", &raw.events)?),
        Body::Refused(raw) => Message::Refused(field::event_id("refused.event", &raw.event)?, refusal(raw.reason)?),
        Body::Probe(raw) => Message::Probe(raw.number),
        Body::Echo(raw) => {
            Message::Echo(Echo { number: raw.number, received: WallTime(raw.received_us), sent: WallTime(raw.sent_us) })
        }
        Body::Mark(raw) => Message::Mark(resume(&raw)?),
        Body::Condition(raw) => Message::Condition(raw.degraded.map(|raw| degraded(&raw)).transpose()?),
        Body::Escalate(raw) => Message::Escalate(escalation::escalate(&raw)?),
        Body::Escalated(raw) => {
            let (event, stations) = escalation::done(&raw)?;
            Message::Escalated(event, stations)
        }
        Body::Ownership(raw) => Message::Ownership(overdue::ownership(&raw)?),
        Body::CaseOrder(raw) => Message::Case(Box::new(case::order(&raw)?)),
        Body::Cases(raw) => Message::Cases(case::states(&raw)?),
        Body::CaseAsk(raw) => {
            let (event, after) = case::ask(&raw)?;
            Message::CaseAsk(event, after)
        }
        Body::SeatState(raw) => Message::SeatState { audible: raw.audible },
        Body::CaseSteps(raw) => {
            let (event, steps, total) = case::page(&raw)?;
            Message::CaseSteps(event, steps, total)
        }
        Body::CaseTaken(raw) => {
            let (id, step, now) = case::taken(&raw)?;
            Message::CaseTaken(id, step, Box::new(now))
        }
        Body::SchoolPlan(raw) => Message::SchoolPlan(Box::new(relay::school_plan(&raw)?)),
        Body::PlanKept(raw) => Message::PlanKept(relay::mark(&raw)?),
        Body::CommandOrder(raw) => Message::CommandOrder(Box::new(command::sealed(Some(&raw))?)),
        Body::Command(raw) => {
            let (sealed, left) = command::copy(&raw)?;
            Message::Command(Box::new(sealed), left)
        }
        Body::CommandReceipts(raw) => Message::CommandReceipts(command::receipts(&raw)?),
        Body::CommandsConfirmed(raw) => Message::CommandConfirmed(command::confirmed(&raw)?),
        Body::CommandState(raw) => Message::CommandState(Box::new(command::state(&raw)?)),
        Body::CommandRefused(raw) => {
            let (id, why) = command::refused(&raw)?;
            Message::CommandRefused(id, why)
        }
        Body::NoticeAsk(raw) => {
            let (id, after) = command::ask(&raw)?;
            Message::NoticeAsk(id, after)
        }
        Body::NoticeSchools(raw) => {
            let (id, after, schools, total) = command::schools(&raw)?;
            Message::NoticeSchools(id, after, schools, total)
        }
        Body::CaseRefused(raw) => {
            let (id, why, now) = case::refused(&raw)?;
            Message::CaseRefused(id, why, now.map(Box::new))
        }
        Body::BodyWord(raw) => Message::Body(video::body(raw)?),
        Body::Pictures(raw) => Message::Pictures(video::said(&raw)?),
        Body::PicturesKept(raw) => {
            let (event, keys) = video::kept(&raw)?;
            Message::PicturesKept(event, keys)
        }
        Body::Look(raw) => Message::Look(video::look(&raw)?),
        Body::Drills(raw) => Message::Drills(drill::list(&raw)?),
        Body::DrillMode(raw) => Message::DrillMode(Box::new(drill::mode(&raw)?)),
        Body::DrillHeard(raw) => Message::DrillHeard(drill::drill_id("drill_heard.id", &raw.id)?),
        Body::DrillOrder(raw) => Message::DrillOrder(Box::new(drill::order(&raw)?)),
        Body::DrillAnswer(raw) => {
            let (id, answer) = drill::answer(&raw)?;
            Message::DrillAnswer(id, answer)
        }
    })
}

/// A copy of an event.
fn raw_copy(copy: &EventCopy) -> proto::EventCopy {
    proto::EventCopy {
        event: copy.sealed.bytes.to_vec(),
        signature: raw_signature(&copy.sealed),
        trail: raw_trail(&copy.trail),
        receipts: raw_receipts_of_event(&copy.receipts),
    }
}

fn copy(raw: &proto::EventCopy) -> Result<EventCopy, WireError> {
    Ok(EventCopy {
        sealed: sealed("event", &raw.event, raw.signature.as_ref())?,
        trail: trail("event.trail", &raw.trail)?,
        receipts: receipts("event.receipts", &raw.receipts, limits::RECEIPTS_PER_EVENT)?,
    })
}

/// An event inside another message, with its signature. One that no node makes never costs the event: it is kept as one that does not hold.
pub(crate) fn sealed(
    field: &'static str,
    bytes: &[u8],
    signature: Option<&proto::Signature>,
) -> Result<huxiao_core::Sealed, WireError> {
    let sealed = if bytes.is_empty() { Err(WireError::Missing(field)) } else { unseal(bytes) }?;
    let signature = signature.map(|raw| {
        let signature = command::signature(raw).ok().filter(Signature::fits_an_event);
        let (certificate, bytes) = (Arc::from([].as_slice()), Arc::from([].as_slice()));
        signature.unwrap_or(Signature { algorithm: Algorithm(raw.algorithm), certificate, bytes })
    });
    Ok(huxiao_core::Sealed { signature, ..sealed })
}

/// The signature of an event.
pub(crate) fn raw_signature(sealed: &huxiao_core::Sealed) -> Option<proto::Signature> {
    sealed.signature.as_ref().map(command::raw_signature)
}

pub(crate) fn raw_trail(trail: &Trail) -> Vec<proto::Step> {
    trail.steps().iter().map(raw_step).collect()
}

pub(crate) fn trail(field: &'static str, raw: &[proto::Step]) -> Result<Trail, WireError> {
    field::at_most(field, raw.len(), limits::TRAIL_STEPS)?;
    raw.iter().map(step).collect::<Result<_, _>>().map(Trail::new)
}

fn raw_step(step: &Step) -> proto::Step {
    proto::Step {
        node: step.node.to_string(),
        arrived_us: step.arrived.0,
        left_us: step.left.map(|at| at.0),
        skew_us: step.skew,
    }
}

fn step(raw: &proto::Step) -> Result<Step, WireError> {
    Ok(Step {
        node: field::node("step.node", &raw.node)?,
        arrived: WallTime(raw.arrived_us),
        left: raw.left_us.map(WallTime),
        skew: raw.skew_us,
    })
}

pub(crate) fn raw_receipt(receipt: &Receipt) -> proto::Receipt {
    proto::Receipt {
        event: receipt.event.as_bytes().to_vec(),
        stage: field::stage_number(receipt.stage),
        at_us: receipt.at.0,
        by: receipt.by.to_string(),
        officer: receipt.officer.as_ref().map(ToString::to_string).unwrap_or_default(),
        note: receipt.note.as_str().to_owned(),
        skew_us: receipt.skew,
        standing: field::standing_number(receipt.standing),
    }
}

pub(crate) fn receipt(raw: &proto::Receipt) -> Result<Receipt, WireError> {
    Ok(Receipt {
        event: field::event_id("receipt.event", &raw.event)?,
        stage: field::stage("receipt.stage", raw.stage)?,
        at: WallTime(raw.at_us),
        by: field::node("receipt.by", &raw.by)?,
        officer: field::optional_name("receipt.officer", &raw.officer)?,
        note: field::text("receipt.note", &raw.note)?,
        skew: raw.skew_us,
        standing: field::standing(raw.standing),
    })
}

pub(crate) fn receipts(field: &'static str, raw: &[proto::Receipt], limit: usize) -> Result<Vec<Receipt>, WireError> {
    field::at_most(field, raw.len(), limit)?;
    raw.iter().map(receipt).collect()
}

/// The receipts of one event. Too many would have the reader refuse the event for them, so those that repeat a stage are left
/// out, the last first, until they are few enough: the first of each stage always stays.
pub(crate) fn raw_receipts_of_event(receipts: &[Receipt]) -> Vec<proto::Receipt> {
    let mut raw: Vec<_> = receipts.iter().map(raw_receipt).collect();
    while raw.len() > limits::RECEIPTS_PER_EVENT && drop_repeat(&mut raw) {}
    raw
}

/// Makes receipts of one event shorter by what matters least; false if nothing is left that may go.
pub(crate) fn shorten(raw: &mut Vec<proto::Receipt>) -> bool {
    match raw.iter_mut().rev().find(|receipt| !receipt.note.is_empty()) {
        Some(receipt) => {
            receipt.note.clear();
            true
        }
        None => drop_repeat(raw),
    }
}

/// Drops the last receipt whose stage an earlier one has too; false if there is none.
fn drop_repeat(raw: &mut Vec<proto::Receipt>) -> bool {
    let repeat = (0..raw.len()).rev().find(|&at| raw[..at].iter().any(|earlier| earlier.stage == raw[at].stage));
    if let Some(at) = repeat {
        raw.remove(at);
    }
    repeat.is_some()
}

fn raw_event_stage((event, stage): &(EventId, Stage)) -> proto::EventStage {
    proto::EventStage { event: event.as_bytes().to_vec(), stage: field::stage_number(*stage) }
}

fn event_stages(
    field: &'static str,
    raw: &[proto::EventStage],
    limit: usize,
) -> Result<Vec<(EventId, Stage)>, WireError> {
    field::at_most(field, raw.len(), limit)?;
    raw.iter()
        .map(|one| Ok((field::event_id("confirmed.event", &one.event)?, field::stage("confirmed.stage", one.stage)?)))
        .collect()
}

fn raw_ids(list: &[EventId]) -> Vec<Vec<u8>> {
    list.iter().map(|id| id.as_bytes().to_vec()).collect()
}

fn ids(field: &'static str, raw: &[Vec<u8>]) -> Result<Vec<EventId>, WireError> {
    field::at_most(field, raw.len(), limits::LIST_ITEMS)?;
    raw.iter().map(|bytes| field::event_id(field, bytes)).collect()
}

fn hello(raw: proto::Hello) -> Result<Hello, WireError> {
    if raw.software.len() > limits::NAME_BYTES {
        let (len, limit) = (raw.software.len(), limits::NAME_BYTES);
        return Err(field::bad("hello.software", format_args!("at most {limit} bytes, this one has {len}")));
    }
    // It is meant for logs: a line break in it would let a peer write lines of its own there.
    if let Some(found) = raw.software.chars().find(|c| c.is_control()) {
        return Err(field::bad("hello.software", format_args!("no control characters; found {found:?}")));
    }
    Ok(Hello {
        software: raw.software,
        wire_minor: raw.wire_minor,
        resume: raw.resume.as_ref().map(resume).transpose()?,
    })
}

fn degraded(raw: &proto::Degraded) -> Result<Degraded, WireError> {
    Ok(Degraded { since: WallTime(raw.since_us), why: field::text("condition.why", &raw.why)? })
}

fn raw_resume(resume: &Resume) -> proto::Resume {
    proto::Resume { record: resume.record.0.to_vec(), index: resume.index }
}

fn resume(raw: &proto::Resume) -> Result<Resume, WireError> {
    Ok(Resume { record: field::record_id("resume.record", &raw.record)?, index: raw.index })
}

fn refusal_number(refusal: Refusal) -> i32 {
    i32::from(match refusal {
        Refusal::OtherSchool => proto::Refusal::OtherSchool,
        Refusal::OtherRelay => proto::Refusal::OtherRelay,
        Refusal::Expired => proto::Refusal::Expired,
        Refusal::NoRoom => proto::Refusal::NoRoom,
        Refusal::OtherRegion => proto::Refusal::OtherRegion,
        Refusal::Kind => proto::Refusal::Kind,
        Refusal::Other => proto::Refusal::Other,
    })
}

/// A reason. One that this version does not know is still a refusal.
fn refusal(number: i32) -> Result<Refusal, WireError> {
    match proto::Refusal::try_from(number) {
        Ok(proto::Refusal::Unspecified) => Err(WireError::Missing("refused.reason")),
        Ok(proto::Refusal::OtherSchool) => Ok(Refusal::OtherSchool),
        Ok(proto::Refusal::OtherRelay) => Ok(Refusal::OtherRelay),
        Ok(proto::Refusal::Expired) => Ok(Refusal::Expired),
        Ok(proto::Refusal::NoRoom) => Ok(Refusal::NoRoom),
        Ok(proto::Refusal::OtherRegion) => Ok(Refusal::OtherRegion),
        Ok(proto::Refusal::Kind) => Ok(Refusal::Kind),
        Ok(proto::Refusal::Other) | Err(_) => Ok(Refusal::Other),
    }
}
