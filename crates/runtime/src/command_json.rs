//! Commands to schools as every role's API shows them.

use huxiao_core::command::{Content, Instruction, Progress, SchoolStage, Target};
use huxiao_core::{CommandReceipt, CommandStage, CommandState, SchoolCommand, SealedCommand, Standing};
use serde::Serialize;

use crate::event_json::Words;
use crate::time_format::rfc3339;

/// A command, and how it stands. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct CommandJson {
    #[serde(flatten)]
    command: CommandFields,
    /// The furthest stage that it has reached.
    stage: Option<&'static str>,
    stage_text: Option<Words>,
    /// Whether the region's record does not have it yet.
    provisional: bool,
    receipts: Vec<CommandReceiptJson>,
    /// How many schools are how far: of a notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressJson>,
}

/// A command as it was given.
#[derive(Debug, Clone, Serialize)]
pub struct CommandFields {
    id: String,
    kind: &'static str,
    kind_text: Words,
    #[serde(skip_serializing_if = "Option::is_none")]
    school: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<String>,
    by: String,
    officer: String,
    reason: String,
    issued_at: String,
    ttl_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    zones: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<u8>,
    /// What a stop ends; all that was to be heard if nothing is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    stops: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    camera: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_text: Option<Words>,
    signature: &'static str,
}

/// A statement about a command.
#[derive(Debug, Clone, Serialize)]
pub struct CommandReceiptJson {
    stage: &'static str,
    stage_text: Words,
    at: String,
    by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_seconds: Option<f64>,
}

/// How many schools of a notice are how far.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ProgressJson {
    schools: u32,
    accepted: u32,
    playing: u32,
    finished: u32,
    failed: u32,
    expired: u32,
    open: u32,
}

/// One school of a notice.
#[derive(Debug, Clone, Serialize)]
pub struct SchoolStageJson {
    school: String,
    stage: Option<&'static str>,
}

impl CommandJson {
    /// The members of `state`.
    #[must_use]
    pub fn new(state: &CommandState) -> Self {
        Self {
            command: CommandFields::new(&state.sealed),
            stage: state.stage().map(CommandStage::as_str),
            stage_text: state.stage().map(|stage| stage.words().into()),
            provisional: state.standing == Standing::Provisional,
            receipts: state.receipts.iter().map(CommandReceiptJson::new).collect(),
            progress: state.progress.as_ref().map(ProgressJson::new),
        }
    }
}

impl CommandFields {
    /// The members of a command.
    #[must_use]
    pub fn new(sealed: &SealedCommand) -> Self {
        let command: &SchoolCommand = &sealed.command;
        let mut fields = Self {
            id: command.id.to_string(),
            kind: command.instruction.kind().as_str(),
            kind_text: command.instruction.kind().words().into(),
            school: None,
            area: None,
            by: huxiao_core::NodeName::Station(command.by.clone()).to_string(),
            officer: command.officer.to_string(),
            reason: command.reason.as_str().to_owned(),
            issued_at: rfc3339(command.issued_at),
            ttl_seconds: command.ttl.as_secs(),
            case: command.case.map(|event| event.to_string()),
            zones: command.zones.iter().map(ToString::to_string).collect(),
            device: command.device.as_ref().map(ToString::to_string),
            text: None,
            clip: None,
            body: None,
            media: None,
            priority: None,
            volume: None,
            stops: None,
            camera: None,
            action: None,
            action_text: None,
            signature: sealed.signature.algorithm.as_str(),
        };
        match &command.target {
            Target::School(school) => fields.school = Some(school.to_string()),
            Target::Area(area) => fields.area = Some(area.to_string()),
        }
        fields.instruct(&command.instruction);
        fields
    }

    fn instruct(&mut self, instruction: &Instruction) {
        match instruction {
            Instruction::Broadcast { content, priority, volume } => {
                (self.priority, self.volume) = (Some(priority.as_str()), *volume);
                match content {
                    Content::Text(text) => self.text = Some(text.as_str().to_owned()),
                    Content::Clip(clip) => self.clip = Some(clip.to_string()),
                    Content::Body(digest, media) => {
                        (self.body, self.media) = (Some(digest.to_string()), Some(media.as_str()));
                    }
                }
            }
            Instruction::Stop(which) => self.stops = which.map(|id| id.to_string()),
            Instruction::View(camera) => self.camera = camera.as_ref().map(ToString::to_string),
            Instruction::Test => {}
            Instruction::AllClear(text) => {
                self.text = Some(text.as_str().to_owned()).filter(|text| !text.is_empty());
            }
            Instruction::Notice(action, text) => {
                self.text = Some(text.as_str().to_owned());
                (self.action, self.action_text) = (Some(action.as_str()), Some(action.words().into()));
            }
        }
    }
}

impl CommandReceiptJson {
    /// The members of `receipt`.
    #[must_use]
    pub fn new(receipt: &CommandReceipt) -> Self {
        Self {
            stage: receipt.stage.as_str(),
            stage_text: receipt.stage.words().into(),
            at: rfc3339(receipt.at),
            by: receipt.by.to_string(),
            detail: receipt.detail.as_str().to_owned(),
            took_seconds: receipt.took.map(|took| took.as_secs_f64()),
        }
    }
}

impl ProgressJson {
    /// The members of `progress`.
    #[must_use]
    pub fn new(progress: &Progress) -> Self {
        let Progress { schools, accepted, playing, finished, failed, expired } = *progress;
        Self { schools, accepted, playing, finished, failed, expired, open: progress.open() }
    }
}

impl SchoolStageJson {
    /// The members of one school.
    #[must_use]
    pub fn new(school: &SchoolStage) -> Self {
        Self { school: school.school.to_string(), stage: school.stage.map(CommandStage::as_str) }
    }
}
