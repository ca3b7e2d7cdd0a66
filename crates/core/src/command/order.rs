//! A command as the seat at which it is given makes it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::command::instruction::{Instruction, InstructionError};
use crate::event::Text;
use crate::id::{EventId, Name, SchoolId, SeatId};
use crate::limits;
use crate::plan::AreaCode;
use crate::rng::Rng;
use crate::signature::Signature;
use crate::time::{Span, WallTime};

/// A command's identity: a UUID of version 7, so ids sort by the clocks of the seats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId([u8; 16]);

impl CommandId {
    /// A new id from a seat's clock and its generator.
    #[must_use]
    pub fn generate(at: WallTime, rng: &mut Rng) -> Self {
        Self(*EventId::generate(at, rng).as_bytes())
    }

    /// Takes sixteen bytes as they came over the wire.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CommandId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        uuid::Uuid::try_parse(text).map(|id| Self(id.into_bytes()))
    }
}

/// The first two, four or six digits of area codes (GB/T 2260): a province, a city or a county, and all that is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AreaPrefix(AreaCode);

/// Why a text is no [`AreaPrefix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no area: two, four or six digits of GB/T 2260, such as 36, 3611 or 361102")]
pub struct AreaPrefixError(String);

impl AreaPrefix {
    /// The area of this code with all that is in it.
    #[must_use]
    pub fn of(code: AreaCode) -> Self {
        Self(code)
    }

    /// Whether an area is in it.
    #[must_use]
    pub fn holds(self, area: AreaCode) -> bool {
        area.upwards().any(|code| code == self.0)
    }

    /// The area itself.
    #[must_use]
    pub fn code(self) -> AreaCode {
        self.0
    }
}

impl fmt::Display for AreaPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        f.write_str(digits.strip_suffix("0000").or_else(|| digits.strip_suffix("00")).unwrap_or(&digits))
    }
}

impl FromStr for AreaPrefix {
    type Err = AreaPrefixError;
    fn from_str(text: &str) -> Result<Self, AreaPrefixError> {
        let wrong = || AreaPrefixError(text.chars().take(16).collect());
        if !matches!(text.len(), 2 | 4 | 6) {
            return Err(wrong());
        }
        format!("{text:0<6}").parse().map(Self).map_err(|_| wrong())
    }
}

/// Whom a command is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The relays of one school.
    School(SchoolId),
    /// Those of every school of an area for which the seat's station, or the desk that it is, answers.
    Area(AreaPrefix),
}

/// What a station has schools do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchoolCommand {
    /// Its identity.
    pub id: CommandId,
    /// Whom it is for: an area with a [`Instruction::Notice`], one school with everything else.
    pub target: Target,
    /// What is to be done.
    pub instruction: Instruction,
    /// The seat at which it is given.
    pub by: SeatId,
    /// The officer who gives it.
    pub officer: Name,
    /// Why; may be empty.
    pub reason: Text,
    /// When, by the seat's clock.
    pub issued_at: WallTime,
    /// How long after the region has heard of it a school may still begin with it ([`limits::COMMAND_TTL`]).
    pub ttl: Span,
    /// The alarm that it is about.
    pub case: Option<EventId>,
    /// The parts of the school where it is to be heard; none for all of it.
    pub zones: Vec<Name>,
    /// The device that is to carry it out; `None` leaves it to the school.
    pub device: Option<Name>,
}

/// Why something is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// What is to be done.
    #[error(transparent)]
    Instruction(#[from] InstructionError),
    /// Shorten or lengthen it.
    #[error("a command's time to live is {least} s to {most} s, not {0} s", least = limits::COMMAND_TTL.0.as_secs(), most = limits::COMMAND_TTL.1.as_secs())]
    Ttl(u64),
    /// Name fewer.
    #[error("a command names at most {limit} zones, this one {0}", limit = limits::COMMAND_ZONES)]
    Zones(usize),
    /// Notices go to areas, everything else to a school.
    #[error("a notice is for an area, and anything else for one school")]
    Target,
}

impl SchoolCommand {
    /// Checks what the types cannot hold.
    ///
    /// # Errors
    /// [`CommandError`]
    pub fn checked(mut self) -> Result<Self, CommandError> {
        self.instruction = self.instruction.checked()?;
        let (least, most) = limits::COMMAND_TTL;
        if self.ttl < least || self.ttl > most {
            return Err(CommandError::Ttl(self.ttl.as_secs()));
        }
        if self.zones.len() > limits::COMMAND_ZONES {
            return Err(CommandError::Zones(self.zones.len()));
        }
        let area = matches!(self.target, Target::Area(_));
        if area == matches!(self.instruction, Instruction::Notice(..)) { Ok(self) } else { Err(CommandError::Target) }
    }
}

/// A command with the bytes that its seat made of it, and the seat's signature over them. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCommand {
    /// What this version understands of the bytes.
    pub command: Arc<SchoolCommand>,
    /// The seat's encoding: what is sent on, stored and signed.
    pub bytes: Arc<[u8]>,
    /// The seat's signature over them.
    pub signature: Signature,
}

impl SealedCommand {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> CommandId {
        self.command.id
    }

    /// About how many bytes one copy of it is on the wire.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.bytes.len() + self.signature.wire_bytes() + 150
    }
}
