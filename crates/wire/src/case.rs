//! Cases, from and to their Protocol Buffers form.

use huxiao_core::case::{
    Action, ActionId, Case, CaseNumber, CaseOrder, CaseRefusal, History, LastStep, Owner, Reason, State, Step, Summary,
    Verb,
};
use huxiao_core::record::Part;
use huxiao_core::{EventId, WallTime, limits};

use crate::error::WireError;
use crate::field;
use crate::joining;
use crate::proto;

pub(crate) fn raw_order(order: &CaseOrder) -> proto::CaseOrder {
    proto::CaseOrder {
        id: order.id.0.to_vec(),
        event: order.event.as_bytes().to_vec(),
        verb: i32::from(order.action.verb().number()),
        detail: order.action.detail().to_owned(),
        by: order.by.to_string(),
        officer: order.officer.to_string(),
        at_us: order.at.0,
        note: order.note.as_str().to_owned(),
    }
}

pub(crate) fn order(raw: &proto::CaseOrder) -> Result<CaseOrder, WireError> {
    Ok(CaseOrder {
        id: action_id("case.id", &raw.id)?,
        event: field::event_id("case.event", &raw.event)?,
        action: action("case.detail", raw.verb, &raw.detail)?,
        by: field::node("case.by", &raw.by)?,
        officer: field::name("case.officer", &raw.officer)?,
        at: WallTime(raw.at_us),
        note: field::text("case.note", &raw.note)?,
    })
}

pub(crate) fn raw_act(order: &CaseOrder, heard: WallTime) -> proto::CaseAct {
    proto::CaseAct { order: Some(raw_order(order)), heard_us: heard.0 }
}

pub(crate) fn act(raw: &proto::CaseAct) -> Result<(CaseOrder, WallTime), WireError> {
    let raw_order = raw.order.as_ref().ok_or(WireError::Missing("case.order"))?;
    Ok((order(raw_order)?, WallTime(raw.heard_us)))
}

pub(crate) fn raw_states(cases: &[Summary]) -> proto::CaseStates {
    proto::CaseStates { cases: cases.iter().map(raw_summary).collect() }
}

pub(crate) fn states(raw: &proto::CaseStates) -> Result<Vec<Summary>, WireError> {
    field::at_most("cases", raw.cases.len(), limits::LIST_ITEMS)?;
    raw.cases.iter().map(summary).collect()
}

pub(crate) fn raw_taken(id: ActionId, step: u64, now: &Summary) -> proto::CaseTaken {
    proto::CaseTaken { id: id.0.to_vec(), step, state: Some(raw_summary(now)) }
}

pub(crate) fn taken(raw: &proto::CaseTaken) -> Result<(ActionId, u64, Summary), WireError> {
    let state = raw.state.as_ref().ok_or(WireError::Missing("case_taken.state"))?;
    Ok((action_id("case_taken.id", &raw.id)?, raw.step, summary(state)?))
}

pub(crate) fn raw_refused(id: ActionId, why: CaseRefusal, now: Option<&Summary>) -> proto::CaseRefused {
    proto::CaseRefused { id: id.0.to_vec(), why: Some(raw_denial(why)), state: now.map(raw_summary) }
}

pub(crate) fn refused(raw: &proto::CaseRefused) -> Result<(ActionId, CaseRefusal, Option<Summary>), WireError> {
    let why = denial("case_refused.why", raw.why.as_ref())?;
    Ok((action_id("case_refused.id", &raw.id)?, why, raw.state.as_ref().map(summary).transpose()?))
}

pub(crate) fn raw_ask(event: &EventId, after: u64) -> proto::CaseAsk {
    proto::CaseAsk { event: event.as_bytes().to_vec(), after }
}

pub(crate) fn ask(raw: &proto::CaseAsk) -> Result<(EventId, u64), WireError> {
    Ok((field::event_id("case_ask.event", &raw.event)?, raw.after))
}

pub(crate) fn raw_page(event: &EventId, steps: &[Step], total: u64) -> proto::CaseSteps {
    proto::CaseSteps {
        event: event.as_bytes().to_vec(),
        first: steps.first().map_or(0, |step| step.number),
        steps: steps.iter().map(raw_step).collect(),
        total,
    }
}

pub(crate) fn page(raw: &proto::CaseSteps) -> Result<(EventId, Vec<Step>, u64), WireError> {
    field::at_most("case_steps.steps", raw.steps.len(), limits::LIST_ITEMS)?;
    let numbers = (0..).map(|at| raw.first.saturating_add(at));
    let steps = numbers.zip(&raw.steps).map(|(number, raw)| step(number, raw)).collect::<Result<_, _>>()?;
    Ok((field::event_id("case_steps.event", &raw.event)?, steps, raw.total))
}

pub(crate) fn raw_summary(case: &Summary) -> proto::CaseState {
    proto::CaseState {
        event: case.event.as_bytes().to_vec(),
        phase: i32::from(case.state.number()),
        level: u32::from(case.level),
        owner: case.owner.as_ref().map(raw_owner),
        cancel_requested: case.cancel_requested,
        number_110: raw_number(case.number_110.as_ref()),
        reason: raw_reason(case.reason),
        steps: case.steps,
        last: case.last.as_ref().map(|last| proto::CaseLast {
            verb: i32::from(last.verb.number()),
            by: last.by.to_string(),
            officer: last.officer.as_ref().map(ToString::to_string).unwrap_or_default(),
            at_us: last.at.0,
        }),
        bond: joining::raw(case.bond),
        presses: case.presses,
        live: case.live,
    }
}

pub(crate) fn summary(raw: &proto::CaseState) -> Result<Summary, WireError> {
    let last = raw.last.as_ref().and_then(|last| Some((Verb::from_number(last.verb)?, last)));
    let last = last.map(|(verb, last)| {
        let by = field::node("case.last.by", &last.by)?;
        let officer = field::optional_name("case.last.officer", &last.officer)?;
        Ok::<_, WireError>(LastStep { verb, by, officer, at: WallTime(last.at_us) })
    });
    Ok(Summary {
        event: field::event_id("case.event", &raw.event)?,
        state: phase("case.phase", raw.phase)?,
        level: level("case.level", raw.level)?,
        owner: raw.owner.as_ref().map(owner).transpose()?,
        cancel_requested: raw.cancel_requested,
        number_110: number("case.number_110", &raw.number_110)?,
        reason: reason("case.reason", raw.reason)?,
        steps: raw.steps,
        last: last.transpose()?,
        bond: joining::bond("case.bond", raw.bond.as_ref())?,
        presses: raw.presses,
        live: raw.live,
    })
}

/// A case in its entry's row; nothing of one that is as every case begins.
pub(crate) fn raw_case(case: &Case, part: Part) -> Option<proto::CaseRow> {
    if case.is_untouched() && part == Part::WHOLE {
        return None;
    }
    let (at, of) = if part == Part::WHOLE { (0, 0) } else { (part.at, part.of) };
    Some(proto::CaseRow {
        phase: i32::from(case.state.number()),
        level: u32::from(case.level),
        owner: case.owner.as_ref().map(raw_owner),
        cancel_requested: case.cancel_requested,
        number_110: raw_number(case.number_110.as_ref()),
        reason: raw_reason(case.closed.map(|(reason, _)| reason)),
        closed_us: case.closed.map_or(0, |(_, at)| at.0),
        steps: case.history.steps().map(raw_step).collect(),
        refused: case.refused.iter().map(raw_denied).collect(),
        first: if case.history.first() == 1 { 0 } else { case.history.first() },
        part: at,
        parts: of,
        live: case.live,
    })
}

pub(crate) fn case(raw: &proto::CaseRow) -> Result<(Case, Part), WireError> {
    field::at_most("entry.case.steps", raw.steps.len(), limits::CASE_STEPS)?;
    field::at_most("entry.case.refused", raw.refused.len(), limits::CASE_REFUSED)?;
    let part = if raw.parts == 0 { Part::WHOLE } else { Part { at: raw.part, of: raw.parts } };
    let most = u32::try_from(limits::CASE_PARTS).unwrap_or(u32::MAX);
    if part.at >= part.of || part.of > most {
        let why = format_args!("part {} of {} is none, and {most} is the most", part.at, part.of);
        return Err(field::bad("entry.case.part", why));
    }
    let mut history = History::from_number(raw.first.max(1));
    for raw in &raw.steps {
        let step = step(history.next_number(), raw)?;
        history.push(step);
    }
    let closed = reason("entry.case.reason", raw.reason)?.map(|reason| (reason, WallTime(raw.closed_us)));
    let case = Case {
        state: phase("entry.case.phase", raw.phase)?,
        level: level("entry.case.level", raw.level)?,
        owner: raw.owner.as_ref().map(owner).transpose()?,
        cancel_requested: raw.cancel_requested,
        number_110: number("entry.case.number_110", &raw.number_110)?,
        closed,
        live: raw.live,
        history,
        refused: raw.refused.iter().map(denied).collect::<Result<_, _>>()?,
    };
    Ok((case, part))
}

fn raw_step(step: &Step) -> proto::CaseStep {
    proto::CaseStep {
        index: step.index,
        id: if step.id == ActionId::NONE { Vec::new() } else { step.id.0.to_vec() },
        verb: i32::from(step.action.verb().number()),
        detail: step.action.detail().to_owned(),
        phase: i32::from(step.state.number()),
        level: u32::from(step.level),
        by: step.by.to_string(),
        officer: step.officer.as_ref().map(ToString::to_string).unwrap_or_default(),
        at_us: step.at.0,
        heard_us: (step.heard != step.at).then_some(step.heard.0),
        note: step.note.as_str().to_owned(),
        digest: step.digest.to_vec(),
    }
}

fn step(number: u64, raw: &proto::CaseStep) -> Result<Step, WireError> {
    Ok(Step {
        number,
        index: raw.index,
        id: if raw.id.is_empty() { ActionId::NONE } else { action_id("case.step.id", &raw.id)? },
        action: action("case.step.detail", raw.verb, &raw.detail)?,
        state: phase("case.step.phase", raw.phase)?,
        level: level("case.step.level", raw.level)?,
        by: field::node("case.step.by", &raw.by)?,
        officer: field::optional_name("case.step.officer", &raw.officer)?,
        at: WallTime(raw.at_us),
        heard: WallTime(raw.heard_us.unwrap_or(raw.at_us)),
        note: field::text("case.step.note", &raw.note)?,
        digest: raw.digest.as_slice().try_into().map_err(|_| {
            let len = raw.digest.len();
            field::bad("case.step.digest", format_args!("a digest has 32 bytes, this one has {len}"))
        })?,
    })
}

fn raw_denied((id, why): &(ActionId, CaseRefusal)) -> proto::CaseDenied {
    proto::CaseDenied { id: id.0.to_vec(), why: Some(raw_denial(*why)) }
}

fn denied(raw: &proto::CaseDenied) -> Result<(ActionId, CaseRefusal), WireError> {
    Ok((action_id("case.refused.id", &raw.id)?, denial("case.refused.why", raw.why.as_ref())?))
}

fn raw_denial(why: CaseRefusal) -> proto::CaseDenial {
    let (verb, phase) = match why {
        CaseRefusal::NotNow { verb, state } => (i32::from(verb.number()), i32::from(state.number())),
        _ => (0, 0),
    };
    proto::CaseDenial { reason: i32::from(why.number()), verb, phase }
}

/// A reason. One that this version does not know is still a refusal.
fn denial(field: &'static str, raw: Option<&proto::CaseDenial>) -> Result<CaseRefusal, WireError> {
    let raw = raw.filter(|raw| raw.reason != 0).ok_or(WireError::Missing(field))?;
    Ok(CaseRefusal::from_number(raw.reason, Verb::from_number(raw.verb).zip(State::from_number(raw.phase))))
}

fn raw_owner(owner: &Owner) -> proto::CaseOwner {
    proto::CaseOwner {
        by: owner.by.to_string(),
        officer: owner.officer.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn owner(raw: &proto::CaseOwner) -> Result<Owner, WireError> {
    let by = field::node("case.owner.by", &raw.by)?;
    Ok(Owner { by, officer: field::optional_name("case.owner.officer", &raw.officer)? })
}

fn raw_number(number: Option<&CaseNumber>) -> String {
    number.map(|number| number.as_str().to_owned()).unwrap_or_default()
}

fn number(field: &'static str, text: &str) -> Result<Option<CaseNumber>, WireError> {
    if text.is_empty() { Ok(None) } else { CaseNumber::new(text).map(Some).map_err(|why| field::bad(field, why)) }
}

fn raw_reason(reason: Option<Reason>) -> i32 {
    reason.map_or(0, |reason| i32::from(reason.number()))
}

fn reason(field: &'static str, number: i32) -> Result<Option<Reason>, WireError> {
    match number {
        0 => Ok(None),
        // Closed for a reason of a newer version.
        number => Reason::from_number(number)
            .map(Some)
            .ok_or_else(|| field::bad(field, format_args!("reason {number} is not known to this version"))),
    }
}

fn phase(field: &'static str, number: i32) -> Result<State, WireError> {
    if number == 0 {
        return Err(WireError::Missing(field));
    }
    State::from_number(number)
        .ok_or_else(|| field::bad(field, format_args!("state {number} is not known to this version")))
}

fn level(field: &'static str, level: u32) -> Result<u8, WireError> {
    let known = u8::try_from(level).ok().filter(|level| *level <= limits::CASE_LEVEL);
    known.ok_or_else(|| field::bad(field, format_args!("at most {}, this one is {level}", limits::CASE_LEVEL)))
}

fn action(field: &'static str, verb: i32, detail: &str) -> Result<Action, WireError> {
    if verb == 0 {
        return Err(WireError::Missing(field));
    }
    let known = Verb::from_number(verb);
    let verb = known.ok_or_else(|| field::bad(field, format_args!("action {verb} is not known to this version")))?;
    // What is wrong with it may be all of it.
    field::within(field, detail.len(), limits::NAME_BYTES.max(limits::CASE_NUMBER_BYTES))?;
    Action::from_parts(verb, detail).map_err(|why| field::bad(field, why))
}

fn action_id(field: &'static str, bytes: &[u8]) -> Result<ActionId, WireError> {
    field::bytes16(field, bytes).map(ActionId)
}
