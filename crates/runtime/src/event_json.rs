//! Events, receipts and trails as every role's API shows them: the same member has the same name everywhere.

use std::collections::BTreeMap;

use huxiao_core::{Degraded, Event, Lap, Mode, NodeName, Ownership, Receipt, Role, Span, Stage, Standing, Step, Trail};
use serde::Serialize;

use crate::time_format::{rfc3339, seconds};

/// Words for people, in both languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Words {
    zh: &'static str,
    en: &'static str,
}

impl From<(&'static str, &'static str)> for Words {
    /// From Chinese and English, as core's catalogue gives them.
    fn from((zh, en): (&'static str, &'static str)) -> Self {
        Self { zh, en }
    }
}

/// Who owns an alarm because nobody took it.
#[derive(Debug, Clone, Serialize)]
pub struct OwnershipJson {
    /// `louder`, `county`, `city` or `province`.
    rung: &'static str,
    text: Words,
    owners: Vec<String>,
    at: String,
}

impl OwnershipJson {
    /// The members of `ownership`.
    #[must_use]
    pub fn new(ownership: &Ownership) -> Self {
        Self {
            rung: ownership.rung.as_str(),
            text: Words::from(ownership.rung.words()),
            owners: ownership.owners.iter().map(ToString::to_string).collect(),
            at: rfc3339(ownership.at),
        }
    }
}

/// What the raiser said. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct EventFields {
    id: String,
    /// What it is about: `school` or, where the region raised it, `station`, `area` or `region`, whose code stands in the place of the school's.
    subject: &'static str,
    school: String,
    relay: String,
    epoch: u64,
    #[serde(rename = "relay_seq")]
    seq: u64,
    device: Option<String>,
    zone: Option<String>,
    kind: String,
    class: &'static str,
    note: String,
    test: bool,
    drill: bool,
    raised_at: String,
    count: u32,
    /// Name → text; `{}` where it says nothing more.
    details: BTreeMap<String, String>,
}

impl EventFields {
    /// The members of `event`.
    #[must_use]
    pub fn new(event: &Event) -> Self {
        Self {
            id: event.id.to_string(),
            subject: event.subject().as_str(),
            school: event.school().to_string(),
            relay: event.relay.device.to_string(),
            epoch: event.epoch,
            seq: event.seq,
            device: event.device.as_ref().map(ToString::to_string),
            zone: event.zone.as_ref().map(ToString::to_string),
            kind: event.kind.to_string(),
            class: event.class.as_str(),
            note: event.note.to_string(),
            test: event.mode == Mode::Test,
            drill: event.mode == Mode::Drill,
            raised_at: rfc3339(event.raised_at),
            count: event.count,
            details: details(event),
        }
    }
}

/// The details of `event` by name.
fn details(event: &Event) -> BTreeMap<String, String> {
    event.details.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// One receipt.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptJson {
    stage: &'static str,
    at: String,
    by: String,
    officer: Option<String>,
    note: String,
    skew_seconds: Option<f64>,
    /// `settled`, `provisional` or `assisting`.
    standing: &'static str,
}

impl ReceiptJson {
    /// The members of `receipt`.
    #[must_use]
    pub fn new(receipt: &Receipt) -> Self {
        Self {
            stage: receipt.stage.as_str(),
            at: rfc3339(receipt.at),
            by: receipt.by.to_string(),
            officer: receipt.officer.as_ref().map(ToString::to_string),
            note: receipt.note.to_string(),
            skew_seconds: receipt.skew.map(skew_seconds),
            standing: receipt.standing.as_str(),
        }
    }
}

/// That nothing enters the region's record, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DegradedJson {
    since: String,
    why: String,
    text: Words,
}

impl DegradedJson {
    /// The members of `degraded`.
    #[must_use]
    pub fn new(degraded: &Degraded) -> Self {
        Self { since: rfc3339(degraded.since), why: degraded.why.to_string(), text: Degraded::words().into() }
    }
}

/// The broker nodes that are without a quorum, by name.
#[must_use]
pub fn degraded_nodes(nodes: &BTreeMap<&NodeName, &Degraded>) -> BTreeMap<String, DegradedJson> {
    nodes.iter().map(|(node, degraded)| (node.to_string(), DegradedJson::new(degraded))).collect()
}

/// The first receipt of each stage: stage → time.
#[must_use]
pub fn stages(receipts: &[Receipt]) -> BTreeMap<&'static str, String> {
    let first = |stage| receipts.iter().find(|receipt| receipt.stage == stage);
    Stage::ALL.into_iter().filter_map(first).map(|receipt| (receipt.stage.as_str(), rfc3339(receipt.at))).collect()
}

/// The same, with what the trail of the first copy tells beside the receipts: when the relay sent it and when a broker node had it.
#[must_use]
pub fn stages_on_the_way(receipts: &[Receipt], trail: &Trail) -> BTreeMap<&'static str, String> {
    let mut all = stages(receipts);
    for step in trail.steps() {
        let told = match step.node.role() {
            Role::Relay => step.left.map(|at| (Stage::Sent, at)),
            Role::Broker => Some((Stage::Received, step.arrived)),
            Role::Station => None,
        };
        if let Some((stage, at)) = told {
            all.entry(stage.as_str()).or_insert_with(|| rfc3339(at));
        }
    }
    all
}

/// The officer who has it: by the region's record or, while that has not said, by whatever node took it first.
#[must_use]
pub fn acknowledged_by(receipts: &[Receipt]) -> Option<ReceiptJson> {
    let taken = receipts.iter().filter(|receipt| receipt.stage == Stage::Acknowledged);
    taken.filter(|receipt| receipt.standing != Standing::Assisting).min_by_key(|r| r.standing).map(ReceiptJson::new)
}

/// The officers who assist.
#[must_use]
pub fn assisting(receipts: &[Receipt]) -> Vec<ReceiptJson> {
    receipts.iter().filter(|receipt| receipt.standing == Standing::Assisting).map(ReceiptJson::new).collect()
}

/// One step of a trail.
#[derive(Debug, Clone, Serialize)]
pub struct StepJson {
    node: String,
    arrived: String,
    left: Option<String>,
    skew_seconds: Option<f64>,
}

impl StepJson {
    /// The members of `step`.
    #[must_use]
    pub fn new(step: &Step) -> Self {
        Self {
            node: step.node.to_string(),
            arrived: rfc3339(step.arrived),
            left: step.left.map(rfc3339),
            skew_seconds: step.skew.map(skew_seconds),
        }
    }
}

/// One point of an event's way, on one clock.
#[derive(Debug, Clone, Serialize)]
pub struct LapJson {
    stage: &'static str,
    by: String,
    at_ms: f64,
    took_ms: f64,
    exact: bool,
}

impl LapJson {
    /// The members of `lap`.
    #[must_use]
    pub fn new(lap: &Lap) -> Self {
        Self {
            stage: lap.point.as_str(),
            by: lap.by.to_string(),
            at_ms: millis(lap.at),
            took_ms: millis(lap.took),
            exact: lap.exact,
        }
    }
}

/// The way of `event` on one clock, from the press on.
#[must_use]
pub fn timeline(event: &Event, trail: &Trail, receipts: &[Receipt]) -> Vec<LapJson> {
    huxiao_core::timeline(event, trail, receipts).iter().map(LapJson::new).collect()
}

/// Seconds from the press to `receipt`, one of `receipts`, as far as the clocks are known against each other: what metrics are told.
#[must_use]
pub fn seconds_since_press(event: &Event, trail: &Trail, receipts: &[Receipt], receipt: &Receipt) -> f64 {
    let known = huxiao_core::since_press(event, trail, receipts, receipt);
    known.map_or_else(|| seconds(receipt.at, event.raised_at).max(0.0), |span| span.as_secs_f64())
}

fn millis(span: Span) -> f64 {
    span.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a human span are exact in an f64")]
fn skew_seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
