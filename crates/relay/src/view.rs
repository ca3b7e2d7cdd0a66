//! An event as the API shows it.

use std::collections::BTreeMap;

use huxiao_core::relay::EventView;
use huxiao_core::{EventId, Mode, Receipt, Stage};
use huxiao_runtime::time_format::rfc3339;
use serde::Serialize;

/// One change, for the stream.
pub(crate) struct Change {
    pub(crate) name: &'static str,
    pub(crate) id: EventId,
    pub(crate) event: EventJson,
    pub(crate) receipt: Option<Receipt>,
}

impl Change {
    /// The event after the change, with the change itself beside it.
    pub(crate) fn json(&self) -> String {
        #[derive(Serialize)]
        struct With<'a> {
            #[serde(flatten)]
            event: &'a EventJson,
            #[serde(skip_serializing_if = "Option::is_none")]
            change: Option<ReceiptJson>,
        }
        let with = With { event: &self.event, change: self.receipt.as_ref().map(ReceiptJson::new) };
        // Strings, numbers and maps with string keys: nothing that JSON cannot hold.
        serde_json::to_string(&with).unwrap_or_default()
    }
}

/// An event and how far it has come. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct EventJson {
    id: String,
    school: String,
    relay: String,
    epoch: u64,
    seq: u64,
    device: Option<String>,
    zone: Option<String>,
    kind: String,
    class: &'static str,
    note: String,
    test: bool,
    drill: bool,
    raised_at: String,
    kept: bool,
    refused: bool,
    finished: bool,
    lamp: &'static str,
    lamp_text: LampText,
    stages: BTreeMap<&'static str, String>,
    acknowledged_by: Option<AckView>,
    receipts: Vec<ReceiptJson>,
}

#[derive(Debug, Clone, Serialize)]
struct LampText {
    zh: &'static str,
    en: &'static str,
}

/// Who took the alarm.
#[derive(Debug, Clone, Serialize)]
pub struct AckView {
    by: String,
    officer: Option<String>,
    note: String,
    at: String,
}

/// One receipt.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptJson {
    stage: &'static str,
    at: String,
    by: String,
    officer: Option<String>,
    note: String,
}

impl ReceiptJson {
    pub(crate) fn new(receipt: &Receipt) -> Self {
        Self {
            stage: receipt.stage.as_str(),
            at: rfc3339(receipt.at),
            by: receipt.by.to_string(),
            officer: receipt.officer.as_ref().map(ToString::to_string),
            note: receipt.note.to_string(),
        }
    }
}

impl EventJson {
    pub(crate) fn new(view: &EventView) -> Self {
        let event = &view.sealed().event;
        let (zh, en) = view.lamp().words();
        let reached = Stage::ALL.into_iter().filter_map(|stage| view.receipt(stage));
        let owner = view.receipt(Stage::Acknowledged);
        Self {
            id: event.id.to_string(),
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
            kept: view.is_kept(),
            refused: view.is_refused(),
            finished: view.is_finished(),
            lamp: view.lamp().as_str(),
            lamp_text: LampText { zh, en },
            stages: reached.map(|receipt| (receipt.stage.as_str(), rfc3339(receipt.at))).collect(),
            acknowledged_by: owner.map(|receipt| AckView {
                by: receipt.by.to_string(),
                officer: receipt.officer.as_ref().map(ToString::to_string),
                note: receipt.note.to_string(),
                at: rfc3339(receipt.at),
            }),
            receipts: view.receipts().iter().map(ReceiptJson::new).collect(),
        }
    }
}

/// The mode's word in metrics.
pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "live",
        Mode::Drill => "drill",
        Mode::Test => "test",
    }
}
