//! Commands to schools, from and to their Protocol Buffers form.

use std::collections::BTreeSet;
use std::sync::Arc;

use huxiao_core::command::{
    AreaPrefix, CommandKind, Content, Instruction, Media, NoticeAction, Priority, Progress, SchoolStage, Sha256Digest,
    Target,
};
use huxiao_core::plan::AreaCode;
use huxiao_core::record::CommandEntry;
use huxiao_core::relay::CommandRow;
use huxiao_core::signature::{Algorithm, Signature};
use huxiao_core::{
    CommandId, CommandReceipt, CommandRefusal, CommandStage, CommandState, Name, NodeName, SchoolCommand, SchoolId,
    SealedCommand, Span, Standing, WallTime, limits,
};
use prost::Message as _;

use crate::error::WireError;
use crate::field;
use crate::proto;
use crate::proto::record_row::Body;
use crate::row::{unversioned, versioned};

/// Encodes a command. Done once, by the seat at which it is given; everyone after it forwards the bytes.
#[must_use]
pub fn seal_command(command: &SchoolCommand) -> Vec<u8> {
    let mut raw = proto::SchoolCommand {
        id: command.id.as_bytes().to_vec(),
        kind: i32::from(command.instruction.kind().number()),
        by: NodeName::Station(command.by.clone()).to_string(),
        officer: command.officer.to_string(),
        reason: command.reason.as_str().to_owned(),
        issued_us: command.issued_at.0,
        ttl_ms: millis(command.ttl),
        case_event: command.case.map(|event| event.as_bytes().to_vec()).unwrap_or_default(),
        zones: command.zones.iter().map(ToString::to_string).collect(),
        device: optional(command.device.as_ref()),
        ..proto::SchoolCommand::default()
    };
    match &command.target {
        Target::School(school) => raw.school = school.to_string(),
        Target::Area(area) => raw.area = area.code().number(),
    }
    match &command.instruction {
        Instruction::Broadcast { content, priority, volume } => {
            match content {
                Content::Text(text) => text.as_str().clone_into(&mut raw.text),
                Content::Clip(clip) => raw.clip = clip.to_string(),
                Content::Body(digest, media) => {
                    raw.body = digest.0.to_vec();
                    raw.media = i32::from(media.number());
                }
            }
            raw.priority = i32::from(priority.number());
            raw.volume = volume.map(u32::from).unwrap_or_default();
        }
        Instruction::Stop(which) => raw.stops = which.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        Instruction::View(camera) => raw.camera = optional(camera.as_ref()),
        Instruction::Test => {}
        Instruction::AllClear(text) => text.as_str().clone_into(&mut raw.text),
        Instruction::Notice(action, text) => {
            raw.action = i32::from(action.number());
            text.as_str().clone_into(&mut raw.text);
        }
    }
    raw.encode_to_vec()
}

/// Decodes a command and keeps its bytes as they are, fields unknown to this version included. Whether the signature holds is for a
/// [`Verifier`](huxiao_core::signature::Verifier) to say.
///
/// # Errors
/// As [`unseal`](crate::unseal): a kind that this version does not know is one, since nobody could judge it.
pub fn unseal_command(bytes: &[u8], signature: Signature) -> Result<SealedCommand, WireError> {
    if bytes.len() > limits::COMMAND_BYTES {
        return Err(WireError::Oversized { len: bytes.len(), limit: limits::COMMAND_BYTES });
    }
    let raw = proto::SchoolCommand::decode(bytes)?;
    field::at_most("command.zones", raw.zones.len(), limits::COMMAND_ZONES)?;
    let NodeName::Station(by) = field::node("command.by", &raw.by)? else {
        return Err(field::bad("command.by", "only a seat gives commands"));
    };
    let case = if raw.case_event.is_empty() { None } else { Some(field::event_id("command.case", &raw.case_event)?) };
    let command = SchoolCommand {
        id: command_id("command.id", &raw.id)?,
        target: target(&raw)?,
        instruction: instruction(&raw)?,
        by,
        officer: field::name("command.officer", &raw.officer)?,
        reason: field::text("command.reason", &raw.reason)?,
        issued_at: WallTime(raw.issued_us),
        ttl: Span::from_millis(u64::from(raw.ttl_ms)),
        case,
        zones: raw.zones.iter().map(|zone| field::name("command.zones", zone)).collect::<Result<_, _>>()?,
        device: field::optional_name("command.device", &raw.device)?,
    };
    let command = command.checked().map_err(|why| field::bad("command", why))?;
    Ok(SealedCommand { command: Arc::new(command), bytes: bytes.into(), signature })
}

fn target(raw: &proto::SchoolCommand) -> Result<Target, WireError> {
    if raw.area == 0 {
        return field::name("command.school", &raw.school).map(|school| Target::School(SchoolId(school)));
    }
    let code = AreaCode::new(raw.area).map_err(|why| field::bad("command.area", why))?;
    Ok(Target::Area(AreaPrefix::of(code)))
}

fn instruction(raw: &proto::SchoolCommand) -> Result<Instruction, WireError> {
    let text = || field::text("command.text", &raw.text);
    Ok(match known("command.kind", raw.kind, CommandKind::from_number(raw.kind))? {
        CommandKind::Broadcast => Instruction::Broadcast {
            content: match (raw.clip.is_empty(), raw.body.is_empty()) {
                (true, true) => Content::Text(text()?),
                (false, true) => Content::Clip(field::name("command.clip", &raw.clip)?),
                (true, false) => {
                    let digest = raw.body.as_slice().try_into();
                    let digest = digest.map_err(|_| field::bad("command.body", "a digest has 32 bytes"))?;
                    let media = known("command.media", raw.media, Media::from_number(raw.media))?;
                    Content::Body(Sha256Digest(digest), media)
                }
                (false, false) => return Err(field::bad("command.clip", "a clip or a body, not both")),
            },
            priority: known("command.priority", raw.priority, Priority::from_number(raw.priority))?,
            volume: match raw.volume {
                0 => None,
                volume => Some(u8::try_from(volume).map_err(|_| field::bad("command.volume", "at most 100"))?),
            },
        },
        CommandKind::Stop if raw.stops.is_empty() => Instruction::Stop(None),
        CommandKind::Stop => Instruction::Stop(Some(command_id("command.stops", &raw.stops)?)),
        CommandKind::View => Instruction::View(field::optional_name("command.camera", &raw.camera)?),
        CommandKind::Test => Instruction::Test,
        CommandKind::AllClear => Instruction::AllClear(text()?),
        CommandKind::Notice => {
            let action = known("command.action", raw.action, NoticeAction::from_number(raw.action))?;
            Instruction::Notice(action, text()?)
        }
    })
}

fn known<T>(field: &'static str, number: i32, found: Option<T>) -> Result<T, WireError> {
    match found {
        Some(found) => Ok(found),
        None if number == 0 => Err(WireError::Missing(field)),
        None => Err(field::bad(field, format_args!("{number} is not known to this version"))),
    }
}

pub(crate) fn raw_sealed(sealed: &SealedCommand) -> proto::SealedCommand {
    let signature = raw_signature(&sealed.signature);
    proto::SealedCommand { command: sealed.bytes.to_vec(), signature: Some(signature) }
}

pub(crate) fn sealed(raw: Option<&proto::SealedCommand>) -> Result<SealedCommand, WireError> {
    let raw = raw.ok_or(WireError::Missing("command"))?;
    let signature = raw.signature.as_ref().ok_or(WireError::Missing("command.signature"))?;
    unseal_command(&raw.command, self::signature(signature)?)
}

pub(crate) fn raw_signature(signature: &Signature) -> proto::Signature {
    proto::Signature {
        algorithm: signature.algorithm.0,
        certificate: signature.certificate.to_vec(),
        bytes: signature.bytes.to_vec(),
    }
}

pub(crate) fn signature(raw: &proto::Signature) -> Result<Signature, WireError> {
    field::within("signature.certificate", raw.certificate.len(), limits::SIGNING_CERTIFICATE_BYTES)?;
    field::within("signature.bytes", raw.bytes.len(), limits::SIGNATURE_BYTES)?;
    let (certificate, bytes) = (raw.certificate.as_slice().into(), raw.bytes.as_slice().into());
    Ok(Signature { algorithm: Algorithm(raw.algorithm), certificate, bytes })
}

pub(crate) fn raw_copy(sealed: &SealedCommand, left: Span) -> proto::CommandCopy {
    proto::CommandCopy { sealed: Some(raw_sealed(sealed)), left_ms: millis(left) }
}

pub(crate) fn copy(raw: &proto::CommandCopy) -> Result<(SealedCommand, Span), WireError> {
    Ok((sealed(raw.sealed.as_ref())?, Span::from_millis(u64::from(raw.left_ms))))
}

fn raw_receipt(receipt: &CommandReceipt) -> proto::CommandReceipt {
    proto::CommandReceipt {
        command: receipt.command.as_bytes().to_vec(),
        stage: i32::from(receipt.stage.number()),
        at_us: receipt.at.0,
        by: receipt.by.to_string(),
        detail: field::cut(receipt.detail.as_str(), limits::COMMAND_DETAIL_BYTES).to_owned(),
        took_ms: receipt.took.map(millis),
        skew_us: receipt.skew,
    }
}

fn receipt(raw: &proto::CommandReceipt) -> Result<CommandReceipt, WireError> {
    field::within("command_receipt.detail", raw.detail.len(), limits::COMMAND_DETAIL_BYTES)?;
    Ok(CommandReceipt {
        command: command_id("command_receipt.command", &raw.command)?,
        stage: stage("command_receipt.stage", raw.stage)?,
        at: WallTime(raw.at_us),
        by: field::node("command_receipt.by", &raw.by)?,
        detail: field::text("command_receipt.detail", &raw.detail)?,
        took: raw.took_ms.map(|millis| Span::from_millis(u64::from(millis))),
        skew: raw.skew_us,
    })
}

pub(crate) fn raw_receipts(receipts: &[CommandReceipt]) -> proto::CommandReceipts {
    proto::CommandReceipts { receipts: receipts.iter().map(raw_receipt).collect() }
}

pub(crate) fn receipts(raw: &proto::CommandReceipts) -> Result<Vec<CommandReceipt>, WireError> {
    receipts_within(&raw.receipts, limits::LIST_ITEMS)
}

fn receipts_within(raw: &[proto::CommandReceipt], limit: usize) -> Result<Vec<CommandReceipt>, WireError> {
    field::at_most("command_receipts", raw.len(), limit)?;
    raw.iter().map(receipt).collect()
}

pub(crate) fn raw_confirmed(list: &[(CommandId, CommandStage)]) -> proto::CommandsConfirmed {
    let one = |(id, stage): &(CommandId, CommandStage)| proto::CommandAtStage {
        command: id.as_bytes().to_vec(),
        stage: i32::from(stage.number()),
    };
    proto::CommandsConfirmed { confirmed: list.iter().map(one).collect() }
}

pub(crate) fn confirmed(raw: &proto::CommandsConfirmed) -> Result<Vec<(CommandId, CommandStage)>, WireError> {
    field::at_most("commands_confirmed", raw.confirmed.len(), limits::LIST_ITEMS)?;
    let one = |raw: &proto::CommandAtStage| {
        Ok((command_id("commands_confirmed.command", &raw.command)?, stage("commands_confirmed.stage", raw.stage)?))
    };
    raw.confirmed.iter().map(one).collect()
}

fn raw_progress(progress: &Progress) -> proto::NoticeProgress {
    let Progress { schools, accepted, playing, finished, failed, expired } = *progress;
    proto::NoticeProgress { schools, accepted, playing, finished, failed, expired }
}

fn progress(raw: &proto::NoticeProgress) -> Progress {
    let proto::NoticeProgress { schools, accepted, playing, finished, failed, expired } = *raw;
    Progress { schools, accepted, playing, finished, failed, expired }
}

pub(crate) fn raw_state(state: &CommandState) -> proto::CommandState {
    proto::CommandState {
        sealed: Some(raw_sealed(&state.sealed)),
        receipts: state.receipts.iter().map(raw_receipt).collect(),
        progress: state.progress.as_ref().map(raw_progress),
        provisional: state.standing == Standing::Provisional,
        steps: state.steps,
    }
}

pub(crate) fn state(raw: &proto::CommandState) -> Result<CommandState, WireError> {
    Ok(CommandState {
        sealed: sealed(raw.sealed.as_ref())?,
        receipts: receipts_within(&raw.receipts, limits::COMMAND_RECEIPTS + 1)?,
        progress: raw.progress.as_ref().map(progress),
        standing: if raw.provisional { Standing::Provisional } else { Standing::Settled },
        steps: raw.steps,
    })
}

pub(crate) fn raw_refused(id: CommandId, why: CommandRefusal) -> proto::CommandRefused {
    proto::CommandRefused { command: id.as_bytes().to_vec(), reason: i32::from(why.number()) }
}

/// A reason that this version does not know is still a refusal.
pub(crate) fn refused(raw: &proto::CommandRefused) -> Result<(CommandId, CommandRefusal), WireError> {
    if raw.reason == 0 {
        return Err(WireError::Missing("command_refused.reason"));
    }
    let why = CommandRefusal::from_number(raw.reason).unwrap_or(CommandRefusal::Other);
    Ok((command_id("command_refused.command", &raw.command)?, why))
}

pub(crate) fn raw_ask(id: CommandId, after: Option<&SchoolId>) -> proto::NoticeAsk {
    proto::NoticeAsk { notice: id.as_bytes().to_vec(), after: after.map(ToString::to_string).unwrap_or_default() }
}

pub(crate) fn ask(raw: &proto::NoticeAsk) -> Result<(CommandId, Option<SchoolId>), WireError> {
    Ok((command_id("notice_ask.notice", &raw.notice)?, school("notice_ask.after", &raw.after)?))
}

pub(crate) fn raw_schools(
    id: CommandId,
    after: Option<&SchoolId>,
    schools: &[SchoolStage],
    total: u32,
) -> proto::NoticeSchools {
    proto::NoticeSchools {
        notice: id.as_bytes().to_vec(),
        after: after.map(ToString::to_string).unwrap_or_default(),
        schools: schools.iter().map(|one| one.school.to_string()).collect(),
        stages: schools.iter().map(|one| raw_stage(one.stage)).collect(),
        total,
    }
}

/// What a notice's page says: which notice, behind which school, the schools, and how many there are in all.
pub(crate) type Page = (CommandId, Option<SchoolId>, Vec<SchoolStage>, u32);

pub(crate) fn schools(raw: &proto::NoticeSchools) -> Result<Page, WireError> {
    let found = pairs("notice_schools", &raw.schools, &raw.stages)?;
    let found = found.into_iter().map(|(school, stage)| SchoolStage { school, stage }).collect();
    let after = school("notice_schools.after", &raw.after)?;
    Ok((command_id("notice_schools.notice", &raw.notice)?, after, found, raw.total))
}

fn pairs(
    field: &'static str,
    schools: &[String],
    stages: &[u8],
) -> Result<Vec<(SchoolId, Option<CommandStage>)>, WireError> {
    field::at_most(field, schools.len(), limits::NOTICE_PAGE)?;
    if schools.len() != stages.len() {
        return Err(field::bad(field, "not as many stages as schools"));
    }
    let one = |(school, number): (&String, &u8)| {
        let stage = if *number == 0 { None } else { Some(stage(field, i32::from(*number))?) };
        Ok((SchoolId(field::name(field, school)?), stage))
    };
    schools.iter().zip(stages).map(one).collect()
}

fn raw_stage(stage: Option<CommandStage>) -> u8 {
    stage.map_or(0, CommandStage::number)
}

pub(crate) fn raw_admit(sealed: &SealedCommand, heard: WallTime, by: &NodeName) -> proto::AdmitCommand {
    proto::AdmitCommand { sealed: Some(raw_sealed(sealed)), heard_us: heard.0, by: by.to_string() }
}

pub(crate) fn admit(raw: &proto::AdmitCommand) -> Result<(SealedCommand, WallTime, NodeName), WireError> {
    let by = field::node("admit_command.by", &raw.by)?;
    Ok((sealed(raw.sealed.as_ref())?, WallTime(raw.heard_us), by))
}

/// A relay's row of a command.
#[must_use]
pub fn encode_command_row(row: &CommandRow) -> Vec<u8> {
    versioned(&proto::CommandRow {
        slot: row.slot,
        sealed: Some(raw_sealed(&row.sealed)),
        came_us: row.came_at.0,
        deadline_us: row.deadline.0,
        receipts: row.receipts.iter().map(raw_receipt).collect(),
        unconfirmed: row.unconfirmed.iter().map(|stage| i32::from(stage.number())).collect(),
    })
}

/// The relay's row of a command in `bytes`.
///
/// # Errors
/// As [`decode_relay_row`](crate::decode_relay_row).
pub fn decode_command_row(bytes: &[u8]) -> Result<CommandRow, WireError> {
    let raw: proto::CommandRow = unversioned(bytes)?;
    field::at_most("command_row.unconfirmed", raw.unconfirmed.len(), CommandStage::ALL.len())?;
    let unconfirmed = raw.unconfirmed.iter().map(|number| stage("command_row.unconfirmed", *number));
    Ok(CommandRow {
        slot: raw.slot,
        sealed: sealed(raw.sealed.as_ref())?,
        came_at: WallTime(raw.came_us),
        deadline: WallTime(raw.deadline_us),
        receipts: receipts_within(&raw.receipts, CommandStage::ALL.len())?,
        unconfirmed: unconfirmed.collect::<Result<BTreeSet<_>, _>>()?,
    })
}

/// A command of the record in a snapshot: one row, and of a notice one more for each [`limits::NOTICE_PAGE`] of its schools.
pub(crate) fn rows(entry: &CommandEntry) -> Vec<Vec<u8>> {
    let row = |body| proto::RecordRow { body: Some(body) }.encode_to_vec();
    let mut rows = vec![row(Body::Command(proto::CommandEntry {
        index: entry.index,
        admit: Some(raw_admit(&entry.sealed, entry.heard, &entry.by)),
        receipts: entry.receipts.iter().map(raw_receipt).collect(),
        steps: entry.steps,
        progress: entry.is_notice().then(|| raw_progress(&entry.progress)),
    }))];
    for (schools, stages) in entry.schools.chunks(limits::NOTICE_PAGE).zip(entry.stages.chunks(limits::NOTICE_PAGE)) {
        rows.push(row(Body::Notice(proto::NoticePart {
            schools: schools.iter().map(ToString::to_string).collect(),
            stages: stages.iter().map(|stage| raw_stage(*stage)).collect(),
        })));
    }
    rows
}

/// Puts the commands of a record together from their rows in a snapshot.
#[derive(Debug, Default)]
pub(crate) struct CommandRows {
    entries: Vec<CommandEntry>,
    schools: Vec<SchoolId>,
}

impl CommandRows {
    /// Takes the row of a command.
    pub(crate) fn command(&mut self, raw: &proto::CommandEntry) -> Result<(), WireError> {
        self.finish_last();
        let (sealed, heard, by) = admit(raw.admit.as_ref().ok_or(WireError::Missing("command_entry.admit"))?)?;
        let receipts = receipts_within(&raw.receipts, limits::COMMAND_RECEIPTS)?;
        let progress = raw.progress.as_ref().map(progress).unwrap_or_default();
        let (index, steps, schools, stages) = (raw.index, raw.steps, Arc::default(), Vec::new());
        self.entries.push(CommandEntry { index, sealed, heard, by, receipts, schools, stages, progress, steps });
        Ok(())
    }

    /// Takes some schools of the notice before.
    pub(crate) fn notice(&mut self, raw: &proto::NoticePart) -> Result<(), WireError> {
        let found = pairs("notice_part", &raw.schools, &raw.stages)?;
        let Some(last) = self.entries.last_mut().filter(|last| last.is_notice()) else {
            return Err(field::bad("notice_part", "it belongs to no notice"));
        };
        field::at_most("notice_part", self.schools.len(), limits::PLAN_SCHOOLS)?;
        for (school, stage) in found {
            self.schools.push(school);
            last.stages.push(stage);
        }
        Ok(())
    }

    fn finish_last(&mut self) {
        if let Some(last) = self.entries.last_mut().filter(|_| !self.schools.is_empty()) {
            last.schools = std::mem::take(&mut self.schools).into();
        }
    }

    /// All of them.
    pub(crate) fn finish(mut self) -> Vec<Arc<CommandEntry>> {
        self.finish_last();
        self.entries.into_iter().map(Arc::new).collect()
    }
}

fn stage(field: &'static str, number: i32) -> Result<CommandStage, WireError> {
    known(field, number, CommandStage::from_number(number))
}

fn command_id(field: &'static str, bytes: &[u8]) -> Result<CommandId, WireError> {
    field::bytes16(field, bytes).map(CommandId::from_bytes)
}

fn school(field: &'static str, text: &str) -> Result<Option<SchoolId>, WireError> {
    Ok(field::optional_name(field, text)?.map(SchoolId))
}

fn optional(name: Option<&Name>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

fn millis(span: Span) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
