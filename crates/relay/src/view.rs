//! An event as the API shows it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use huxiao_core::event::taxonomy::DURESS_PIN;
use huxiao_core::lamp::{Lamp, LampState};
use huxiao_core::relay::{EventView, ModeView};
use huxiao_core::{Class, Details, Event, EventId, Kind, Receipt, Timestamp, Trail};
use huxiao_runtime::event_json::{
    EventFields, LapJson, ReceiptJson, Words, acknowledged_by, assisting, stages, timeline,
};
use serde::Serialize;

use crate::command_api::CommandView;

/// One change, for the stream.
pub(crate) enum Change {
    /// Of an event.
    Event { name: &'static str, id: EventId, event: Box<EventJson>, receipt: Option<Receipt> },
    /// Of a command.
    Command(Box<CommandView>),
}

impl Change {
    /// Its name in the stream.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Change::Event { name, .. } => name,
            Change::Command(_) => "command",
        }
    }

    /// The event that it is of.
    pub(crate) fn event(&self) -> Option<EventId> {
        match self {
            Change::Event { id, .. } => Some(*id),
            Change::Command(_) => None,
        }
    }

    /// The statement that made it.
    pub(crate) fn receipt(&self) -> Option<&Receipt> {
        match self {
            Change::Event { receipt, .. } => receipt.as_ref(),
            Change::Command(_) => None,
        }
    }

    /// The event, or the command, after the change, with the change itself beside it.
    pub(crate) fn json(&self) -> String {
        #[derive(Serialize)]
        struct With<'a> {
            #[serde(flatten)]
            event: &'a EventJson,
            #[serde(skip_serializing_if = "Option::is_none")]
            change: Option<ReceiptJson>,
        }
        // Strings, numbers and maps with string keys: nothing that JSON cannot hold.
        match self {
            Change::Event { event, receipt, .. } => {
                let with = With { event, change: receipt.as_ref().map(ReceiptJson::new) };
                serde_json::to_string(&with).unwrap_or_default()
            }
            Change::Command(command) => serde_json::to_string(command).unwrap_or_default(),
        }
    }
}

/// What presses are now.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ModeJson {
    /// `live`, `drill` or `test`.
    mode: &'static str,
    /// Empty for what is meant.
    text: Words,
    /// The drill that is on, or the next one.
    drill: Option<DrillWindowJson>,
    /// How long tests are still on, if somebody switched them on.
    test_ends_in_seconds: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
struct DrillWindowJson {
    id: String,
    approver: String,
    /// The buttons whose presses are drills; none for all.
    devices: Vec<String>,
    starts_in_seconds: f64,
    ends_in_seconds: f64,
}

impl ModeJson {
    pub(crate) fn new(view: &ModeView) -> Self {
        Self {
            mode: view.mode.as_str(),
            text: view.mode.words().into(),
            drill: view.drill.as_ref().map(|(window, starts, ends)| DrillWindowJson {
                id: window.id.to_string(),
                approver: window.approver.to_string(),
                devices: window.devices.iter().map(ToString::to_string).collect(),
                starts_in_seconds: starts.as_secs_f64(),
                ends_in_seconds: ends.as_secs_f64(),
            }),
            test_ends_in_seconds: view.test.map(|span| span.as_secs_f64()),
        }
    }
}

/// An event and how far it has come. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventJson {
    #[serde(flatten)]
    event: EventFields,
    kept: bool,
    refused: bool,
    finished: bool,
    lamp: &'static str,
    lamp_text: Words,
    stages: BTreeMap<&'static str, String>,
    acknowledged_by: Option<ReceiptJson>,
    assisting: Vec<ReceiptJson>,
    receipts: Vec<ReceiptJson>,
    timeline: Vec<LapJson>,
}

impl EventJson {
    pub(crate) fn new(view: &EventView) -> Self {
        let shown = disguised(&view.sealed().event);
        let lamp = match &shown {
            Cow::Borrowed(_) => view.lamp(),
            Cow::Owned(shown) => lamp_of(shown, view.receipts()),
        };
        Self {
            event: EventFields::new(&shown),
            kept: view.is_kept(),
            refused: view.is_refused(),
            finished: view.is_finished(),
            lamp: lamp.as_str(),
            lamp_text: lamp.words().into(),
            stages: stages(view.receipts()),
            acknowledged_by: acknowledged_by(view.receipts()),
            assisting: assisting(view.receipts()),
            receipts: view.receipts().iter().map(ReceiptJson::new).collect(),
            // Trails go with the copies, and none comes back; what others say of the event does.
            timeline: timeline(&view.sealed().event, &Trail::default(), view.receipts()),
        }
    }
}

/// What the school's own screens show of an event: of a silent alarm by PIN, the request that it came with.
fn disguised(event: &Event) -> Cow<'_, Event> {
    if event.kind != Kind::Duress || event.details.get("source") != Some(DURESS_PIN) {
        return Cow::Borrowed(event);
    }
    let (kind, class) = (Kind::Cancel, Class::P1);
    Cow::Owned(Event { kind, class, details: Details::default(), ..event.clone() })
}

/// The lamp as it would be of `event`.
fn lamp_of(event: &Event, receipts: &[Receipt]) -> Lamp {
    let mut lamp = LampState::new(Timestamp(0), event);
    for receipt in receipts {
        lamp.reached(receipt.stage);
    }
    lamp.show()
}
