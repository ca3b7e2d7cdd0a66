//! Rows of the stores: one byte of format version, then one Protocol Buffers message of `record.proto`.
//!
//! Invariant: what an encoder here makes, its decoder takes. Since a row too large for the store would be an alarm that is
//! not kept, an encoder leaves out what matters least until a row fits [`limits::STORE_VALUE_BYTES`]: notes of receipts, the
//! last first, then receipts that repeat a stage, the last first, then who owns an alarm that nobody took, then its signature. It takes several
//! notes of full length on one event to come to that.

use huxiao_core::record::{Admission, Command, Entry, Escalation, Part};
use huxiao_core::relay::RelayRow;
use huxiao_core::signature::Verdict;
use huxiao_core::station::InboxRow;
use huxiao_core::{Case, Rung, Stage, StationId, WallTime, limits};
use prost::Message;

use crate::case;
use crate::command;
use crate::drill;
use crate::error::WireError;
use crate::field;
use crate::joining;
use crate::message;
use crate::overdue;
use crate::plan;
use crate::proto;
use crate::proto::record_command::Body;
use crate::trouble;
use crate::video;

/// The format of rows that this version writes, and the only one so far.
pub const ROW_VERSION: u8 = 1;

/// A relay's row.
#[must_use]
pub fn encode_relay_row(row: &RelayRow) -> Vec<u8> {
    // An over-long key is left out rather than written: the row would be refused when it is read, and the alarm with it.
    let key = row.idempotency_key.as_ref().filter(|key| key.len() <= limits::IDEMPOTENCY_KEY_BYTES);
    let mut raw = proto::RelayRow {
        slot: row.slot,
        event: row.sealed.bytes.to_vec(),
        signature: message::raw_signature(&row.sealed),
        idempotency_key: key.cloned(),
        receipts: message::raw_receipts_of_event(&row.receipts),
    };
    while raw.encoded_len() >= limits::STORE_VALUE_BYTES && message::shorten(&mut raw.receipts) {}
    versioned(&raw)
}

/// The relay's row in `bytes`.
///
/// # Errors
/// Any [`WireError`] but `UnknownBody`: the bytes are damaged, or written by a newer version.
pub fn decode_relay_row(bytes: &[u8]) -> Result<RelayRow, WireError> {
    let raw: proto::RelayRow = unversioned(bytes)?;
    if let Some(key) = raw.idempotency_key.as_ref().filter(|key| key.len() > limits::IDEMPOTENCY_KEY_BYTES) {
        let (len, limit) = (key.len(), limits::IDEMPOTENCY_KEY_BYTES);
        return Err(field::bad("row.idempotency_key", format_args!("at most {limit} bytes, this one has {len}")));
    }
    Ok(RelayRow {
        slot: raw.slot,
        sealed: message::sealed("row.event", &raw.event, raw.signature.as_ref())?,
        idempotency_key: raw.idempotency_key,
        receipts: message::receipts("row.receipts", &raw.receipts, limits::RECEIPTS_PER_EVENT)?,
    })
}

/// A station's row.
#[must_use]
pub fn encode_inbox_row(row: &InboxRow) -> Vec<u8> {
    let mut raw = proto::InboxRow {
        seq: row.seq,
        event: row.sealed.bytes.to_vec(),
        signature: message::raw_signature(&row.sealed),
        verdict: row.signature.map_or(0, raw_verdict),
        trail: message::raw_trail(&row.trail),
        received_at_us: row.received_at.0,
        receipts: message::raw_receipts_of_event(&row.receipts),
        unconfirmed: row.unconfirmed.iter().map(|stage| field::stage_number(*stage)).collect(),
        ownership: row.ownership.as_ref().map(overdue::raw_ownership),
        case: row.case.as_deref().map(case::raw_summary),
    };
    while raw.encoded_len() >= limits::STORE_VALUE_BYTES && message::shorten(&mut raw.receipts) {}
    if raw.encoded_len() >= limits::STORE_VALUE_BYTES {
        // The region says it again to a seat that greets it.
        raw.ownership = None;
    }
    if raw.encoded_len() >= limits::STORE_VALUE_BYTES {
        // What was found of it stays.
        raw.signature = None;
    }
    versioned(&raw)
}

/// The station's row in `bytes`.
///
/// # Errors
/// As [`decode_relay_row`].
pub fn decode_inbox_row(bytes: &[u8]) -> Result<InboxRow, WireError> {
    let raw: proto::InboxRow = unversioned(bytes)?;
    field::at_most("row.unconfirmed", raw.unconfirmed.len(), Stage::ALL.len())?;
    Ok(InboxRow {
        seq: raw.seq,
        sealed: message::sealed("row.event", &raw.event, raw.signature.as_ref())?,
        trail: message::trail("row.trail", &raw.trail)?,
        received_at: WallTime(raw.received_at_us),
        receipts: message::receipts("row.receipts", &raw.receipts, limits::RECEIPTS_PER_EVENT)?,
        unconfirmed: raw
            .unconfirmed
            .iter()
            .map(|number| field::stage("row.unconfirmed", *number))
            .collect::<Result<_, _>>()?,
        ownership: raw.ownership.as_ref().map(overdue::ownership).transpose()?,
        case: raw.case.as_ref().map(case::summary).transpose()?.map(Box::new),
        signature: verdict(raw.verdict),
    })
}

fn raw_verdict(verdict: Verdict) -> i32 {
    i32::from(match verdict {
        Verdict::Valid => proto::SignatureVerdict::Valid,
        Verdict::Missing => proto::SignatureVerdict::None,
        Verdict::Invalid => proto::SignatureVerdict::Invalid,
        Verdict::Unchecked => proto::SignatureVerdict::Unchecked,
    })
}

/// What a newer version found and this one has no word for was not looked at here.
fn verdict(number: i32) -> Option<Verdict> {
    Some(match proto::SignatureVerdict::try_from(number) {
        Ok(proto::SignatureVerdict::Unspecified) => return None,
        Ok(proto::SignatureVerdict::Valid) => Verdict::Valid,
        Ok(proto::SignatureVerdict::None) => Verdict::Missing,
        Ok(proto::SignatureVerdict::Invalid) => Verdict::Invalid,
        Ok(proto::SignatureVerdict::Unchecked) | Err(_) => Verdict::Unchecked,
    })
}

/// An entry of the record's log.
#[must_use]
pub fn encode_command(command: &Command) -> Vec<u8> {
    let body = match command {
        Command::Found { record } => Body::Found(proto::Found { record: record.0.to_vec() }),
        // A node of an older version must not take it for one that joins nothing: its record would be another.
        Command::Admit(admission) if admission.joins => Body::AdmitJoining(raw_admission(admission)),
        Command::Admit(admission) => Body::Admit(raw_admission(admission)),
        Command::Note(receipt) => Body::Note(message::raw_receipt(receipt)),
        Command::Route { event, stations } => {
            Body::Route(proto::Route { event: event.as_bytes().to_vec(), stations: overdue::raw_stations(stations) })
        }
        Command::Escalate { event, stations, by, officer, at, note } => Body::Escalate(proto::Escalate {
            event: event.as_bytes().to_vec(),
            stations: overdue::raw_stations(stations),
            by: by.to_string(),
            at_us: at.0,
            note: note.as_str().to_owned(),
            officer: officer.as_ref().map(ToString::to_string).unwrap_or_default(),
        }),
        Command::Overdue { event, rung, owners, told, by, at } => Body::Overdue(proto::Overdue {
            event: event.as_bytes().to_vec(),
            rung: overdue::number(*rung),
            owners: overdue::raw_stations(owners),
            told: overdue::raw_stations(told),
            by: by.to_string(),
            at_us: at.0,
        }),
        Command::Forwarded { event, stages } => {
            Body::Forwarded(proto::Forwarded { event: event.as_bytes().to_vec(), stages: raw_stages(stages) })
        }
        Command::StagePlan(part) => Body::StagePlan(plan::raw_stage(part)),
        Command::ApplyPlan(order) => Body::ApplyPlan(plan::raw_apply(order)),
        Command::Case { order, heard } => Body::Case(case::raw_act(order, *heard)),
        Command::AdmitCommand { sealed, heard, by } => Body::AdmitCommand(command::raw_admit(sealed, *heard, by)),
        Command::NoteCommand(receipts) => Body::NoteCommand(command::raw_receipts(receipts)),
        Command::Pictures { event, pictures } => {
            let pictures = pictures.iter().map(video::raw_picture).collect();
            Body::Pictures(proto::PictureList { event: event.as_bytes().to_vec(), pictures, live: false })
        }
        Command::TroubleBegan { about, admission } => Body::TroubleBegan(trouble::raw_began(about, admission)),
        Command::TroubleOver { about, admission, by, at } => {
            Body::TroubleOver(trouble::raw_over(about, admission.as_deref(), (by, *at)))
        }
        Command::OpenDrill(order) => Body::OpenDrill(drill::raw_open(order)),
        Command::CloseDrill(order) => Body::CloseDrill(drill::raw_close(order)),
        Command::EndCase { event, by, at } => Body::EndCase(drill::raw_end(event, by, *at)),
    };
    versioned(&proto::RecordCommand { body: Some(body) })
}

/// The entry of the record's log in `bytes`.
///
/// # Errors
/// As [`decode_relay_row`]. A command that only a newer version knows is an error too: to skip it would make another state.
pub fn decode_command(bytes: &[u8]) -> Result<Command, WireError> {
    let raw: proto::RecordCommand = unversioned(bytes)?;
    Ok(match raw.body {
        Some(Body::Found(raw)) => Command::Found { record: field::record_id("found.record", &raw.record)? },
        Some(Body::Admit(raw)) => Command::Admit(Admission { joins: false, ..admission(&raw)? }),
        Some(Body::AdmitJoining(raw)) => Command::Admit(Admission { joins: true, ..admission(&raw)? }),
        Some(Body::Note(raw)) => Command::Note(message::receipt(&raw)?),
        Some(Body::Route(raw)) => Command::Route {
            event: field::event_id("route.event", &raw.event)?,
            stations: stations("route.stations", &raw.stations)?,
        },
        Some(Body::Escalate(raw)) => Command::Escalate {
            event: field::event_id("escalate.event", &raw.event)?,
            stations: stations("escalate.stations", &raw.stations)?,
            by: field::node("escalate.by", &raw.by)?,
            officer: field::optional_name("escalate.officer", &raw.officer)?,
            at: WallTime(raw.at_us),
            note: field::text("escalate.note", &raw.note)?,
        },
        Some(Body::Overdue(raw)) => overdue::command(&raw)?,
        Some(Body::Forwarded(raw)) => Command::Forwarded {
            event: field::event_id("forwarded.event", &raw.event)?,
            stages: stages("forwarded.stages", &raw.stages)?,
        },
        Some(Body::StagePlan(raw)) => Command::StagePlan(plan::stage(&raw)?),
        Some(Body::ApplyPlan(raw)) => Command::ApplyPlan(plan::apply(&raw)?),
        Some(Body::Pictures(raw)) => video::command(&raw)?,
        Some(Body::Case(raw)) => {
            let (order, heard) = case::act(&raw)?;
            Command::Case { order: Box::new(order), heard }
        }
        Some(Body::AdmitCommand(raw)) => {
            let (sealed, heard, by) = command::admit(&raw)?;
            Command::AdmitCommand { sealed: Box::new(sealed), heard, by }
        }
        Some(Body::NoteCommand(raw)) => Command::NoteCommand(command::receipts(&raw)?),
        Some(Body::TroubleBegan(raw)) => trouble::began(&raw)?,
        Some(Body::TroubleOver(raw)) => trouble::over(&raw)?,
        Some(Body::OpenDrill(raw)) => Command::OpenDrill(Box::new(drill::open(&raw)?)),
        Some(Body::CloseDrill(raw)) => Command::CloseDrill(Box::new(drill::close(&raw)?)),
        Some(Body::EndCase(raw)) => drill::end(&raw)?,
        None if bytes.len() == 1 => return Err(WireError::Missing("command")),
        None => return Err(field::bad("command", "a newer version of huxiao wrote it; start that version")),
    })
}

/// An event of the record, for a snapshot or the archive. May be longer than one value of a store. At most
/// [`limits::ARCHIVE_ROW_BYTES`] of one of [`Entry::parts`].
#[must_use]
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    versioned(&proto::RecordEntry {
        index: entry.index,
        routed_at: if entry.routed_at == entry.index { 0 } else { entry.routed_at },
        admission: Some(raw_admission(&entry.admission)),
        notes: entry.notes.iter().map(message::raw_receipt).collect(),
        escalations: entry.escalations.iter().map(raw_escalation).collect(),
        overdue: entry.overdue.iter().map(overdue::raw_reached).collect(),
        forwarded: raw_stages(&entry.forwarded),
        bond: joining::raw(entry.bond),
        presses: entry.presses,
        pressed_us: entry.pressed_at.map(|at| at.0),
        case: case::raw_case(&entry.case, entry.part),
        pictures: entry.pictures.iter().map(video::raw_picture).collect(),
        trouble: entry.trouble.as_ref().map(trouble::raw_trouble),
    })
}

/// The event of the record in `bytes`.
///
/// # Errors
/// As [`decode_relay_row`].
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, WireError> {
    let raw: proto::RecordEntry = unversioned_within(bytes, limits::ARCHIVE_ROW_BYTES)?;
    field::at_most("entry.escalations", raw.escalations.len(), limits::ESCALATIONS_PER_EVENT)?;
    field::at_most("entry.overdue", raw.overdue.len(), Rung::ALL.len())?;
    let (kept, part) = raw.case.as_ref().map(case::case).transpose()?.unwrap_or((Case::default(), Part::WHOLE));
    let mut entry = Entry {
        index: raw.index,
        routed_at: if raw.routed_at == 0 { raw.index } else { raw.routed_at },
        admission: admission(raw.admission.as_ref().ok_or(WireError::Missing("entry.admission"))?)?,
        notes: message::receipts("entry.notes", &raw.notes, limits::RECEIPTS_PER_EVENT)?,
        escalations: raw.escalations.iter().map(escalation).collect::<Result<_, _>>()?,
        overdue: raw.overdue.iter().map(overdue::reached).collect::<Result<_, _>>()?,
        forwarded: stages("entry.forwarded", &raw.forwarded)?,
        bond: joining::bond("entry.bond", raw.bond.as_ref())?,
        presses: raw.presses,
        pressed_at: raw.pressed_us.map(WallTime),
        case: kept,
        pictures: video::pictures(&raw.pictures)?,
        trouble: raw.trouble.as_ref().map(trouble::trouble).transpose()?,
        part,
    };
    // Older versions wrote none.
    entry.derive_case();
    Ok(entry)
}

pub(crate) fn raw_admission(admission: &Admission) -> proto::Admit {
    proto::Admit {
        event: admission.sealed.bytes.to_vec(),
        signature: message::raw_signature(&admission.sealed),
        trail: message::raw_trail(&admission.trail),
        at_us: admission.at.0,
        by: admission.by.to_string(),
        stations: overdue::raw_stations(&admission.stations),
        owed: admission.owed,
        joins: admission.joins,
    }
}

pub(crate) fn admission(raw: &proto::Admit) -> Result<Admission, WireError> {
    Ok(Admission {
        sealed: message::sealed("admit.event", &raw.event, raw.signature.as_ref())?,
        trail: message::trail("admit.trail", &raw.trail)?,
        at: WallTime(raw.at_us),
        by: field::node("admit.by", &raw.by)?,
        stations: stations("admit.stations", &raw.stations)?,
        owed: raw.owed,
        joins: raw.joins,
    })
}

fn raw_escalation(escalation: &Escalation) -> proto::Escalation {
    proto::Escalation {
        index: escalation.index,
        stations: overdue::raw_stations(&escalation.stations),
        by: escalation.by.to_string(),
        at_us: escalation.at.0,
        note: escalation.note.as_str().to_owned(),
        officer: escalation.officer.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn escalation(raw: &proto::Escalation) -> Result<Escalation, WireError> {
    Ok(Escalation {
        index: raw.index,
        stations: stations("escalation.stations", &raw.stations)?,
        by: field::node("escalation.by", &raw.by)?,
        officer: field::optional_name("escalation.officer", &raw.officer)?,
        at: WallTime(raw.at_us),
        note: field::text("escalation.note", &raw.note)?,
    })
}

fn raw_stages(stages: &[Stage]) -> Vec<i32> {
    stages.iter().map(|stage| field::stage_number(*stage)).collect()
}

fn stages(field: &'static str, raw: &[i32]) -> Result<Vec<Stage>, WireError> {
    field::at_most(field, raw.len(), Stage::ALL.len())?;
    raw.iter().map(|number| field::stage(field, *number)).collect()
}

fn stations(field: &'static str, raw: &[String]) -> Result<Vec<StationId>, WireError> {
    field::at_most(field, raw.len(), limits::LIST_ITEMS)?;
    raw.iter().map(|text| field::name(field, text).map(StationId)).collect()
}

/// The version byte and the message.
pub(crate) fn versioned(raw: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + raw.encoded_len());
    bytes.push(ROW_VERSION);
    raw.encode_raw(&mut bytes);
    bytes
}

/// The message behind the version byte.
pub(crate) fn unversioned<M: Message + Default>(bytes: &[u8]) -> Result<M, WireError> {
    unversioned_within(bytes, limits::EXPRESS_FRAME_BYTES)
}

fn unversioned_within<M: Message + Default>(bytes: &[u8], limit: usize) -> Result<M, WireError> {
    // Nothing larger is ever written; what is was not written by us.
    if bytes.len() > limit {
        return Err(WireError::Oversized { len: bytes.len(), limit });
    }
    match bytes.split_first() {
        None => Err(WireError::Truncated { have: 0, need: 1 }),
        Some((&ROW_VERSION, body)) => Ok(M::decode(body)?),
        Some((version, _)) => Err(WireError::UnknownVersion(*version)),
    }
}
