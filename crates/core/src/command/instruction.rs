//! What a school is to do.

use std::fmt;
use std::str::FromStr;

use crate::case::named;
use crate::command::order::CommandId;
use crate::event::{Class, Text};
use crate::id::{Name, NameError};

named! {
    /// What is to be done, without its particulars.
    CommandKind: "a kind of command" {
        /// Something is to be heard.
        Broadcast "broadcast" "远程广播" "broadcast",
        /// What is heard, or waits to be, is to end.
        Stop "stop" "停止广播" "stop",
        /// What a camera sees is to be shown to the officer.
        View "view" "查看视频" "view",
        /// The way down is to be tried; nothing is heard or seen at the school.
        Test "test" "通道测试" "test",
        /// The danger is over.
        AllClear "all_clear" "警情解除" "all clear",
        /// Everybody in an area is to know something.
        Notice "notice" "区域通告" "notice",
    }
}

named! {
    /// What people are to do on a notice.
    NoticeAction: "an action of a notice" {
        /// Lock doors, keep away from windows.
        Lockdown "lockdown" "封闭校园" "lockdown",
        /// Stay where it is safe.
        Shelter "shelter" "就地避险" "shelter",
        /// Leave the buildings.
        Evacuate "evacuate" "紧急疏散" "evacuate",
        /// Know of it.
        Information "information" "通知" "information",
        /// The danger is over.
        AllClear "all_clear" "警情解除" "all clear",
    }
}

named! {
    /// Which of several things that a school could hear goes first.
    Priority: "a priority" {
        /// A prepared prompt for an emergency.
        Prompt "prompt" "预案语音" "emergency prompt",
        /// What an officer says now.
        Live "live" "实时喊话" "live words",
        /// Part of a drill.
        Drill "drill" "演练" "drill",
        /// Everyday announcements.
        Routine "routine" "日常" "routine",
    }
}

named! {
    /// How recorded sound is encoded.
    Media: "a kind of audio" {
        /// Opus in Ogg (RFC 7845).
        Opus "opus" "Opus音频" "Opus",
        /// Waveform audio.
        Wav "wav" "WAV音频" "WAV",
    }
}

/// The SHA-256 digest that names a body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest(pub [u8; 32]);

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Digest {
    type Err = InstructionError;
    fn from_str(text: &str) -> Result<Self, InstructionError> {
        let digit = |at: usize| text.get(at * 2..at * 2 + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = digit(at).filter(|_| hex).ok_or(InstructionError::Digest)?;
        }
        Ok(Self(digest))
    }
}

/// What is to be heard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// These words, spoken; never empty.
    Text(Text),
    /// The recording of that name, which the school has. A plain file name: no way leads out of the folder of clips.
    Clip(Name),
    /// The recording with this digest, which was uploaded.
    Body(Sha256Digest, Media),
}

/// What a school is to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Instruction {
    /// See [`CommandKind::Broadcast`].
    Broadcast {
        /// What is to be heard.
        content: Content,
        /// What it goes before, and what it waits for.
        priority: Priority,
        /// How loud, in percent; `None` leaves it to the school.
        volume: Option<u8>,
    },
    /// See [`CommandKind::Stop`]: of this command, or of all that a school was to be told so far.
    Stop(Option<CommandId>),
    /// See [`CommandKind::View`]: of this camera, or of the school's choice.
    View(Option<Name>),
    /// See [`CommandKind::Test`].
    Test,
    /// See [`CommandKind::AllClear`]. The words are spoken and shown; without any it is shown only.
    AllClear(Text),
    /// See [`CommandKind::Notice`]. The words are spoken and shown; never empty.
    Notice(NoticeAction, Text),
}

/// Why something is no [`Instruction`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstructionError {
    /// Say what is to be heard.
    #[error("there is nothing to say: the text is empty")]
    NoText,
    /// Between silence and all there is.
    #[error("a volume is 1 to 100 percent, not {0}")]
    Volume(u32),
    /// A name that the folder of clips cannot hold.
    #[error("the clip's name: {0}")]
    Clip(#[from] NameError),
    /// Names of clips that would lead elsewhere.
    #[error("a clip's name does not begin with a dot")]
    ClipDot,
    /// As `sha256sum` prints it.
    #[error("a digest is 64 hexadecimal digits")]
    Digest,
}

impl Instruction {
    /// What is to be done, without its particulars.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            Instruction::Broadcast { .. } => CommandKind::Broadcast,
            Instruction::Stop(_) => CommandKind::Stop,
            Instruction::View(_) => CommandKind::View,
            Instruction::Test => CommandKind::Test,
            Instruction::AllClear(_) => CommandKind::AllClear,
            Instruction::Notice(..) => CommandKind::Notice,
        }
    }

    /// The lane on which it goes down.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Instruction::Stop(_) | Instruction::AllClear(_) => Class::P0,
            Instruction::Notice(action, _) if *action != NoticeAction::Information => Class::P0,
            Instruction::Broadcast { .. } | Instruction::View(_) | Instruction::Notice(..) => Class::P1,
            Instruction::Test => Class::P2,
        }
    }

    /// Checks what the types cannot hold.
    ///
    /// # Errors
    /// [`InstructionError`]
    pub fn checked(self) -> Result<Self, InstructionError> {
        match &self {
            Instruction::Broadcast { content, volume, .. } => {
                match content {
                    Content::Text(text) if text.as_str().trim().is_empty() => return Err(InstructionError::NoText),
                    Content::Clip(name) if name.as_str().starts_with('.') => return Err(InstructionError::ClipDot),
                    Content::Text(_) | Content::Clip(_) | Content::Body(..) => {}
                }
                match volume {
                    Some(volume) if !(1..=100).contains(volume) => Err(InstructionError::Volume((*volume).into())),
                    _ => Ok(self),
                }
            }
            Instruction::Notice(_, text) if text.as_str().trim().is_empty() => Err(InstructionError::NoText),
            _ => Ok(self),
        }
    }
}
