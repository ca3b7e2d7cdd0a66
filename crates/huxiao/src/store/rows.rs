//! A stored row as JSON, with the names that the APIs use.
//!
//! Invariant: a row that cannot be decoded is shown all the same, as hexadecimal digits with the reason.

use huxiao_broker::archive::ArchiveRow;
use huxiao_core::relay::CommandRow;
use huxiao_core::{Command, InboxRow, RelayRow};
use huxiao_runtime::case_json::CaseJson;
use huxiao_runtime::command_json::{CommandFields, CommandReceiptJson};
use huxiao_runtime::event_json::{EventFields, OwnershipJson, ReceiptJson, StepJson};
use huxiao_runtime::time_format::rfc3339;
use huxiao_runtime::video_json::PictureJson;
use huxiao_store::{Found, Space};
use huxiao_wire::{WireError, decode_command, decode_command_row, decode_entry, decode_inbox_row, decode_relay_row};
use serde_json::{Value, json};

/// The row with its name and where it was found.
pub(super) fn row(found: &Found) -> Value {
    let key = found.key;
    let mut json = json!({
        "space": key.space.as_str(), "class": key.class.as_str(), "number": key.seq,
        "commit": found.commit, "origin": found.origin,
    });
    let words = |error: WireError| error.to_string();
    let decoded: Result<Value, String> = match key.space {
        Space::Outbox => decode_relay_row(&found.value).map(|row| outbox(&row)).map_err(words),
        // A relay's holds commands.
        Space::Inbox => match decode_inbox_row(&found.value) {
            Ok(row) => Ok(inbox(&row)),
            Err(error) => decode_command_row(&found.value).map(|row| command(&row)).map_err(|_| words(error)),
        },
        Space::Record | Space::Journal => decode_command(&found.value).map(|command| record(&command)).map_err(words),
        Space::Archive => ArchiveRow::decode(key, &found.value)
            .map(|row| archive(&row))
            .ok_or_else(|| "this version has no such row in its archive".to_owned()),
        Space::Meta => Ok(json!({ "hex": hex(&found.value) })),
    };
    match decoded {
        Ok(content) => json["row"] = content,
        Err(error) => json["row"] = json!({ "error": error, "hex": hex(&found.value) }),
    }
    json
}

/// One line for people.
pub(super) fn line(found: &Found) -> [String; 5] {
    let json = row(found);
    let content = &json["row"];
    let event = content.get("event").unwrap_or(content);
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let what = match (content["error"].as_str(), text("kind")) {
        (Some(error), _) => format!("not readable: {error}"),
        (None, "") => content["what"].as_str().unwrap_or("small facts of the node").to_owned(),
        (None, kind) => format!("{} {kind} {} {}", text("raised_at"), text("school"), text("id")),
    };
    let origin = json["origin"].as_str().unwrap_or_default().to_owned();
    [found.key.to_string(), found.commit.to_string(), origin, found.value.len().to_string(), what]
}

fn outbox(row: &RelayRow) -> Value {
    json!({
        "what": "outbox", "slot": row.slot, "event": EventFields::new(&row.sealed.event),
        "idempotency_key": row.idempotency_key,
        "receipts": row.receipts.iter().map(ReceiptJson::new).collect::<Vec<_>>(),
    })
}

fn command(row: &CommandRow) -> Value {
    json!({
        "what": "command", "slot": row.slot, "command": CommandFields::new(&row.sealed),
        "came_at": rfc3339(row.came_at), "deadline": rfc3339(row.deadline),
        "receipts": row.receipts.iter().map(CommandReceiptJson::new).collect::<Vec<_>>(),
        "unconfirmed": row.unconfirmed.iter().map(|stage| stage.as_str()).collect::<Vec<_>>(),
    })
}

fn inbox(row: &InboxRow) -> Value {
    json!({
        "what": "inbox", "seq": row.seq, "event": EventFields::new(&row.sealed.event),
        "received_at": rfc3339(row.received_at),
        "trail": row.trail.steps().iter().map(StepJson::new).collect::<Vec<_>>(),
        "receipts": row.receipts.iter().map(ReceiptJson::new).collect::<Vec<_>>(),
        "unconfirmed": row.unconfirmed.iter().map(|stage| stage.as_str()).collect::<Vec<_>>(),
        "ownership": row.ownership.as_ref().map(OwnershipJson::new),
        "case": row.case.as_deref().map(CaseJson::new),
    })
}

#[expect(clippy::too_many_lines, reason = "one short arm for each kind")]
fn record(command: &Command) -> Value {
    match command {
        Command::Admit(admission) => json!({
            "what": "admit", "event": EventFields::new(&admission.sealed.event),
            "at": rfc3339(admission.at), "by": admission.by.to_string(),
            "stations": admission.stations.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "trail": admission.trail.steps().iter().map(StepJson::new).collect::<Vec<_>>(),
        }),
        Command::Note(receipt) => {
            json!({ "what": "note", "id": receipt.event.to_string(), "receipt": ReceiptJson::new(receipt) })
        }
        Command::Route { event, stations } => json!({
            "what": "route", "id": event.to_string(),
            "stations": stations.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Command::Found { record } => json!({ "what": "found", "record": hex(&record.0) }),
        Command::Escalate { event, stations, by, officer, at, note } => json!({
            "what": "escalate", "id": event.to_string(), "by": by.to_string(), "at": rfc3339(*at), "note": note.as_str(),
            "officer": officer.as_ref().map(ToString::to_string),
            "stations": stations.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Command::Overdue { event, rung, owners, told, by, at } => json!({
            "what": "overdue", "id": event.to_string(), "rung": rung.as_str(), "by": by.to_string(), "at": rfc3339(*at),
            "owners": owners.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "told": told.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Command::TroubleBegan { about, admission } => json!({
            "what": "trouble_began", "about": about.to_string(), "event": EventFields::new(&admission.sealed.event),
            "at": rfc3339(admission.at), "by": admission.by.to_string(),
            "stations": admission.stations.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Command::TroubleOver { about, admission, by, at } => json!({
            "what": "trouble_over", "about": about.to_string(), "by": by.to_string(), "at": rfc3339(*at),
            "event": admission.as_ref().map(|admission| EventFields::new(&admission.sealed.event)),
        }),
        Command::Forwarded { event, stages } => json!({
            "what": "forwarded", "id": event.to_string(),
            "stages": stages.iter().map(|stage| stage.as_str()).collect::<Vec<_>>(),
        }),
        Command::Pictures { event, pictures } => json!({
            "what": "pictures", "id": event.to_string(),
            "pictures": pictures.iter().map(PictureJson::new).collect::<Vec<_>>(),
        }),
        Command::StagePlan(part) => json!({
            "what": "stage_plan", "stage": hex(&part.stage.0), "part": part.part, "parts": part.parts,
            "changes": part.changes.iter().map(|change| change.of().to_string()).collect::<Vec<_>>(),
        }),
        Command::ApplyPlan(order) => json!({
            "what": "apply_plan", "stage": hex(&order.stage.0), "base": order.base, "digest": hex(&order.digest),
            "by": order.by.to_string(), "who": order.who.as_str(), "at": rfc3339(order.at), "note": order.note.as_str(),
        }),
        Command::Case { order, heard } => json!({
            "what": "case", "id": order.event.to_string(), "action_id": order.id.to_string(),
            "action": order.action.verb().as_str(), "detail": order.action.detail(), "by": order.by.to_string(),
            "officer": order.officer.to_string(), "at": rfc3339(order.at), "heard": rfc3339(*heard),
            "note": order.note.as_str(),
        }),
        Command::AdmitCommand { sealed, heard, by } => json!({
            "what": "admit_command", "command": CommandFields::new(sealed), "heard": rfc3339(*heard), "by": by.to_string(),
        }),
        Command::NoteCommand(receipts) => json!({
            "what": "note_command", "ids": receipts.iter().map(|said| said.command.to_string()).collect::<Vec<_>>(),
            "receipts": receipts.iter().map(CommandReceiptJson::new).collect::<Vec<_>>(),
        }),
        Command::OpenDrill(order) => json!({
            "what": "open_drill", "drill": order.id.to_string(), "scope": order.scope.to_string(),
            "devices": order.devices.iter().map(ToString::to_string).collect::<Vec<_>>(), "from": rfc3339(order.from),
            "minutes": order.length.as_secs() / 60, "by": order.by.to_string(), "approver": order.approver.as_str(),
            "planned": order.planned, "at": rfc3339(order.at), "note": order.note.as_str(),
        }),
        Command::CloseDrill(order) => json!({
            "what": "close_drill", "drill": order.id.to_string(), "by": order.by.to_string(), "who": order.who.as_str(),
            "at": rfc3339(order.at), "note": order.note.as_str(),
        }),
        Command::EndCase { event, by, at } => json!({
            "what": "end_case", "id": event.to_string(), "by": by.to_string(), "at": rfc3339(*at),
        }),
    }
}

fn archive(row: &ArchiveRow) -> Value {
    match row {
        ArchiveRow::Entry(id, bytes, first) => match decode_entry(first) {
            Ok(entry) => json!({
                "what": "archived", "event": EventFields::new(&entry.admission.sealed.event),
                "at": rfc3339(entry.admission.at), "by": entry.admission.by.to_string(),
                "stations": entry.admission.stations.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "receipts": entry.receipts().iter().map(ReceiptJson::new).collect::<Vec<_>>(),
                "case": entry.summary().as_ref().map(CaseJson::new),
            }),
            // Further parts stand in rows of their own, which may be lost.
            Err(_) => json!({
                "what": "archived", "id": id.to_string(), "bytes": bytes, "first_part": hex(first),
            }),
        },
        ArchiveRow::Part(number) => json!({ "what": "further part of an archived event", "archive_number": number }),
        ArchiveRow::Index(number) => json!({ "what": "where an event is archived", "archive_number": number }),
        ArchiveRow::Runs(runs) => json!({ "what": "which archive numbers are there", "from_to": runs }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use huxiao_core::Class;
    use huxiao_store::{Key, Origin};

    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_is_shown_all_the_same() {
        for space in Space::ALL {
            let key = Key { space, class: Class::P0, seq: 7 };
            let found = Found { key, commit: 3, value: vec![0xff, 0x01], origin: Origin::BlackBox };
            let json = row(&found);
            assert_eq!(json["row"]["hex"], "ff01");
            assert_eq!((&json["number"], &json["origin"]), (&json!(7), &json!("black_box")));
            assert_eq!(json["row"]["error"].is_string(), space != Space::Meta, "{json}");
            assert_eq!(line(&found)[4].contains("not readable"), space != Space::Meta);
        }
    }
}
