//! An event: an immutable fact raised at a school.
//!
//! Invariant: an [`Event`] that exists is within the limits; its bytes ([`Sealed`]) were made once, by its raiser, and every node
//! passes them on unchanged, so that an older broker forwards what it does not understand.

mod details;
pub mod taxonomy;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::id::{EventId, Name, RelayId, SchoolId};
use crate::limits;
use crate::signature::Signature;
use crate::time::WallTime;

pub use details::{Details, DetailsError};

/// The lane of an event. A lower class never delays a higher one. Ordered: `P0 < P1` means P0 goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Life safety.
    P0,
    /// Urgent.
    P1,
    /// Fault and warning.
    P2,
    /// Supervision.
    P3,
    /// Bulk.
    P4,
}

impl Class {
    /// All classes, highest first.
    pub const ALL: [Class; 5] = [Class::P0, Class::P1, Class::P2, Class::P3, Class::P4];

    /// `P0` … `P4`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["P0", "P1", "P2", "P3", "P4"][self as usize]
    }

    /// The class of this number, 0 being the highest.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its number, 0 being the highest.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether an event is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// It is.
    Live,
    /// A rehearsal announced beforehand.
    Drill,
    /// A check of the equipment.
    Test,
}

impl Mode {
    /// Its word in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Live => "live",
            Mode::Drill => "drill",
            Mode::Test => "test",
        }
    }

    /// What it is called on a screen: Chinese, English; nothing for what is meant.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Mode::Live => ("", ""),
            Mode::Drill => ("演练", "Drill"),
            Mode::Test => ("测试", "Test"),
        }
    }
}

macro_rules! kinds {
    ($($variant:ident $name:literal $class:ident $zh:literal $en:literal;)*) => {
        /// What happened. The names are those of the local API and the wire.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $en] $variant,)*
            /// A kind that a newer relay raises; carried unchanged with the class that it states.
            Other(Name),
        }

        impl Kind {
            /// Every kind that this version can raise.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),*];

            /// Its name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self { $(Kind::$variant => $name,)* Kind::Other(name) => name.as_str() }
            }

            /// Its class; `None` for a kind of a newer version.
            #[must_use]
            pub fn class(&self) -> Option<Class> {
                match self { $(Kind::$variant => Some(Class::$class),)* Kind::Other(_) => None }
            }

            /// What it is called on a screen: Chinese, English.
            #[must_use]
            pub fn words(&self) -> (&str, &str) {
                match self { $(Kind::$variant => ($zh, $en),)* Kind::Other(name) => (name.as_str(), name.as_str()) }
            }

            /// The kind of this name, if this version knows it.
            #[must_use]
            pub fn known(name: &str) -> Option<Kind> {
                match name { $($name => Some(Kind::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    Panic "panic" P0 "一键报警" "One-key alarm";
    Duress "duress" P0 "胁迫报警" "Duress";
    Meeting "meeting" P0 "会客室报警" "Meeting-room alarm";
    Medical "medical" P0 "医疗求助" "Medical emergency";
    Fire "fire" P0 "火警" "Fire";
    Assist "assist" P1 "校内求助" "Assistance";
    Cancel "cancel" P1 "撤销申请" "Cancel request";
    Absent "absent" P1 "离岗预警" "Guard post unattended";
    Person "person" P1 "人员预警" "Person warning";
    Crowd "crowd" P1 "人群聚集" "Crowd";
    Gate "gate" P1 "安检门报警" "Security gate";
    Tamper "tamper" P1 "设备防拆" "Tamper";
    Reset "reset" P2 "现场复位" "Reset on site";
    Mains "mains" P2 "市电中断" "Mains lost";
    Battery "battery" P2 "电池电量低" "Battery low";
    Fault "fault" P2 "设备故障" "Device fault";
    Test "test" P2 "测试" "Test press";
    Silent "silent" P1 "学校失联" "School silent";
    Unwatched "unwatched" P1 "派出所无人值守" "Station unwatched";
    Outage "outage" P1 "区域断联" "Outage of an area";
    Gap "gap" P2 "序号缺口" "Events missing by number";
    StoreLoss "store_loss" P2 "存储丢失" "Store lost";
    Untested "untested" P2 "测试逾期" "Test overdue";
    Back "back" P3 "学校恢复" "School back";
    Watched "watched" P3 "派出所恢复值守" "Station watched again";
    OutageOver "outage_over" P3 "区域恢复" "Outage over";
    SelfTest "self_test" P2 "每日自检" "Daily self-test";
    Return "return" P3 "回岗" "Guard post attended";
    Status "status" P3 "状态报告" "Status report";
}

impl Kind {
    /// Whether only the region raises it: what it finds out by itself ([`trouble`](crate::trouble)).
    #[must_use]
    pub fn is_of_region(&self) -> bool {
        matches!(
            self,
            Kind::Silent
                | Kind::Back
                | Kind::Unwatched
                | Kind::Watched
                | Kind::Outage
                | Kind::OutageOver
                | Kind::Gap
                | Kind::Untested
        )
    }

    /// Whether an event of this kind may be of that class: of its own or, for a silent school, of a lower one where it is less urgent.
    #[must_use]
    pub fn allows(&self, class: Class) -> bool {
        self.class().is_none_or(|own| own == class || (*self == Kind::Silent && class == Class::P2))
    }
}

impl FromStr for Kind {
    type Err = crate::id::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Kind::known(text) {
            Some(kind) => Ok(kind),
            None => Name::new(text).map(Kind::Other),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Free text of at most [`limits::NOTE_BYTES`] bytes, without control characters except line breaks and tabs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(Arc<str>);

impl Text {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`EventError::NoteTooLong`], [`EventError::NoteControl`].
    pub fn new(text: &str) -> Result<Self, EventError> {
        if text.len() > limits::NOTE_BYTES {
            return Err(EventError::NoteTooLong(text.len()));
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            return Err(EventError::NoteControl(bad));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why something is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Shorten the note.
    #[error("a note has at most {limit} bytes, this one has {0}", limit = limits::NOTE_BYTES)]
    NoteTooLong(usize),
    /// Remove the control character.
    #[error("a note holds no control characters; found {0:?}")]
    NoteControl(char),
    /// The peer claims a lane that its event's kind does not have.
    #[error("kind {kind} is of class {expected}, not {claimed}")]
    WrongClass {
        /// The kind.
        kind: Kind,
        /// The class that it has.
        expected: Class,
        /// The class that was claimed.
        claimed: Class,
    },
}

/// An immutable fact raised at a school.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its identity; the idempotency key of every hop.
    pub id: EventId,
    /// Who raised it.
    pub relay: RelayId,
    /// The raiser's boot epoch: rises with each start of the relay.
    pub epoch: u64,
    /// Its number in that epoch, from 1, without gaps.
    pub seq: u64,
    /// What happened.
    pub kind: Kind,
    /// Its lane.
    pub class: Class,
    /// Whether it is meant.
    pub mode: Mode,
    /// The button or sensor.
    pub device: Option<Name>,
    /// The part of the school.
    pub zone: Option<Name>,
    /// Free text; may be empty.
    pub note: Text,
    /// When it was raised, by the relay's clock.
    pub raised_at: WallTime,
    /// How many presses it stands for: more than one where a button sticks ([`limits::PRESSES_APART`]). Never 0.
    pub count: u32,
    /// What it says beyond that.
    pub details: Details,
}

impl Event {
    /// The school that it is about.
    #[must_use]
    pub fn school(&self) -> &SchoolId {
        &self.relay.school
    }

    /// Checks what the types cannot hold.
    ///
    /// # Errors
    /// [`EventError::WrongClass`].
    pub fn checked(self) -> Result<Self, EventError> {
        match self.kind.class() {
            Some(expected) if !self.kind.allows(self.class) => {
                Err(EventError::WrongClass { kind: self.kind, expected, claimed: self.class })
            }
            _ => Ok(self),
        }
    }
}

/// An event with the bytes that its raiser made of it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// What this version understands of the bytes.
    pub event: Arc<Event>,
    /// The raiser's encoding: what is sent on, stored and signed.
    pub bytes: Arc<[u8]>,
    /// The raiser's signature over the bytes; `None` if it made none, or a node of an older version did not pass it on.
    pub signature: Option<Signature>,
}

impl Sealed {
    /// About how many bytes one copy of it is on the wire, with its trail and the headers of frame, QUIC, UDP and IP.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.bytes.len() + self.signature.as_ref().map_or(0, Signature::wire_bytes) + 200
    }
}
