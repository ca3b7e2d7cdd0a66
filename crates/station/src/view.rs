//! Events, stages and answers as the API shows them.

use std::collections::BTreeMap;

use huxiao_core::case::{LastStep, Owner, State, Summary, Verb};
use huxiao_core::record::Bond;
use huxiao_core::signature::Verdict;
use huxiao_core::station::{Acknowledged, CaseDone, InboxRow};
use huxiao_core::video::Pictures;
use huxiao_core::{Class, Escalate, Ownership, Receipt, Stage};
use huxiao_runtime::case_json::CaseJson;
use huxiao_runtime::event_json::{
    EventFields, LapJson, OwnershipJson, ReceiptJson, StepJson, Words, assisting, stages_on_the_way, timeline,
};
use huxiao_runtime::time_format::rfc3339;
use huxiao_runtime::video_json::PictureJson;
use serde::Serialize;

use crate::pictures::Gallery;

/// An event in the inbox. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventJson {
    #[serde(flatten)]
    event: EventFields,
    seq: u64,
    received_at: String,
    stages: BTreeMap<&'static str, String>,
    trail: Vec<StepJson>,
    receipts: Vec<ReceiptJson>,
    timeline: Vec<LapJson>,
    acknowledged_by: Option<ReceiptJson>,
    assisting: Vec<ReceiptJson>,
    /// Who owns it because nobody took it.
    ownership: Option<OwnershipJson>,
    /// Whether an officer has it by the region's record, or none need take it.
    finished: bool,
    durable: bool,
    /// What was found of its signature when it came: `valid`, `none`, `invalid` or `unchecked`; null for what nobody signs.
    signature: Option<&'static str>,
    signature_text: Option<Words>,
    /// What the police do about it; nothing below P1.
    case: Option<CaseJson>,
    /// What cameras showed at the alarm.
    pictures: Vec<PictureJson>,
    /// The latest that they showed to whoever looked.
    live: Vec<PictureJson>,
}

impl EventJson {
    pub(crate) fn new(row: &InboxRow, durable: bool) -> Self {
        let mut stages = stages_on_the_way(&row.receipts, &row.trail);
        if !durable {
            // Delivered means on this station's disk.
            stages.remove(Stage::Delivered.as_str());
        }
        // Said of this station by itself, as its last step.
        let me = row.trail.steps().last().map(|step| &step.node);
        let not_yet = |receipt: &&Receipt| !durable && receipt.stage == Stage::Delivered && Some(&receipt.by) == me;
        let receipts: Vec<Receipt> = row.receipts.iter().filter(|receipt| !not_yet(receipt)).cloned().collect();
        Self {
            event: EventFields::new(&row.sealed.event),
            seq: row.seq,
            received_at: rfc3339(row.received_at),
            stages,
            trail: row.trail.steps().iter().map(StepJson::new).collect(),
            timeline: timeline(&row.sealed.event, &row.trail, &receipts),
            receipts: receipts.iter().map(ReceiptJson::new).collect(),
            acknowledged_by: row.owner().map(ReceiptJson::new),
            assisting: assisting(&row.receipts),
            ownership: row.ownership.as_ref().map(OwnershipJson::new),
            finished: row.is_finished(),
            durable,
            signature: row.signature.map(Verdict::as_str),
            signature_text: row.signature.map(|verdict| verdict.words().into()),
            case: case_of(row).as_ref().map(CaseJson::new),
            pictures: Vec::new(),
            live: Vec::new(),
        }
    }

    /// The same, with the pictures that the seat knows of.
    pub(crate) fn with(self, gallery: &Gallery, row: &InboxRow) -> Self {
        let (pictures, live) = gallery.of(&row.sealed.event.id);
        Self { pictures, live, ..self }
    }
}

/// Words about pictures that were not known.
#[derive(Debug, Serialize)]
pub(crate) struct PicturesJson {
    id: String,
    live: bool,
    pictures: Vec<PictureJson>,
}

impl PicturesJson {
    pub(crate) fn new(said: &Pictures) -> Self {
        let pictures = said.pictures.iter().map(PictureJson::new).collect();
        Self { id: said.event.to_string(), live: said.live, pictures }
    }
}

/// How the case of an alarm stands: as the region said or, before it said anything, as the acknowledgement that the record has says.
pub(crate) fn case_of(row: &InboxRow) -> Option<Summary> {
    let event = &row.sealed.event;
    if event.class > Class::P1 || row.case.is_some() {
        return row.case.as_deref().cloned();
    }
    let taken = row.owner().filter(|owner| owner.is_final());
    Some(Summary {
        event: event.id,
        state: if taken.is_some() { State::Acknowledged } else { State::Raised },
        level: 0,
        owner: taken.map(|receipt| Owner { by: receipt.by.clone(), officer: receipt.officer.clone() }),
        cancel_requested: false,
        number_110: None,
        reason: None,
        steps: u64::from(taken.is_some()),
        last: taken.map(|receipt| LastStep {
            verb: Verb::Acknowledge,
            by: receipt.by.clone(),
            officer: receipt.officer.clone(),
            at: receipt.at,
        }),
        bond: Bond::Alone,
        presses: 0,
        live: false,
    })
}

/// How a case stands, for whoever follows.
#[derive(Debug, Serialize)]
pub(crate) struct CaseChangeJson {
    id: String,
    seq: u64,
    case: Option<CaseJson>,
}

impl CaseChangeJson {
    pub(crate) fn new(row: &InboxRow) -> Self {
        let (id, case) = (row.sealed.event.id.to_string(), case_of(row).as_ref().map(CaseJson::new));
        Self { id, seq: row.seq, case }
    }
}

/// The answer to an officer who did something about an alarm.
#[derive(Debug, Serialize)]
pub(crate) struct CaseDoneJson {
    id: String,
    /// The order.
    action_id: String,
    /// The number of its step.
    step: u64,
    case: CaseJson,
}

impl CaseDoneJson {
    pub(crate) fn new(done: &CaseDone) -> Self {
        let (id, action_id) = (done.case.event.to_string(), done.id.to_string());
        Self { id, action_id, step: done.step, case: CaseJson::new(&done.case) }
    }
}

/// An event reached a stage.
#[derive(Debug, Serialize)]
pub(crate) struct StageJson {
    id: String,
    seq: u64,
    #[serde(flatten)]
    receipt: ReceiptJson,
}

impl StageJson {
    pub(crate) fn new(seq: u64, receipt: &Receipt) -> Self {
        Self { id: receipt.event.to_string(), seq, receipt: ReceiptJson::new(receipt) }
    }
}

/// The ownership of an event went up.
#[derive(Debug, Serialize)]
pub(crate) struct OwnershipNews {
    id: String,
    seq: u64,
    #[serde(flatten)]
    ownership: OwnershipJson,
}

impl OwnershipNews {
    pub(crate) fn new(seq: u64, ownership: &Ownership) -> Self {
        Self { id: ownership.event.to_string(), seq, ownership: OwnershipJson::new(ownership) }
    }
}

/// The answer to an officer.
#[derive(Debug, Serialize)]
pub(crate) struct AckJson {
    id: String,
    officer: Option<String>,
    at: String,
    repeated: bool,
    /// `settled` (or not answered yet), `provisional` or `assisting`.
    standing: &'static str,
    owner: OwnerJson,
}

impl AckJson {
    pub(crate) fn new(done: &Acknowledged) -> Self {
        Self {
            id: done.receipt.event.to_string(),
            officer: done.receipt.officer.as_ref().map(ToString::to_string),
            at: rfc3339(done.receipt.at),
            repeated: done.repeated,
            standing: done.receipt.standing.as_str(),
            owner: OwnerJson::new(&done.owner),
        }
    }
}

/// The answer to an officer who wanted more stations to see an event.
#[derive(Debug, Serialize)]
pub(crate) struct EscalateJson {
    id: String,
    to: Vec<String>,
    officer: Option<String>,
    at: String,
}

impl EscalateJson {
    pub(crate) fn new(done: &Escalate) -> Self {
        Self {
            id: done.event.to_string(),
            to: done.stations.iter().map(ToString::to_string).collect(),
            officer: done.officer.as_ref().map(ToString::to_string),
            at: rfc3339(done.at),
        }
    }
}

/// Who has an alarm.
#[derive(Debug, Serialize)]
pub(crate) struct OwnerJson {
    by: String,
    officer: Option<String>,
    at: String,
    standing: &'static str,
}

impl OwnerJson {
    pub(crate) fn new(receipt: &Receipt) -> Self {
        Self {
            by: receipt.by.to_string(),
            officer: receipt.officer.as_ref().map(ToString::to_string),
            at: rfc3339(receipt.at),
            standing: receipt.standing.as_str(),
        }
    }
}

/// Any of the above as text.
pub(crate) fn text(value: &impl Serialize) -> String {
    // Strings, numbers and maps with string keys: nothing that JSON cannot hold.
    serde_json::to_string(value).unwrap_or_default()
}
