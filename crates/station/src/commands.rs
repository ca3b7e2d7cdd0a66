//! An officer's command: made, signed and given to the machine.
//!
//! Invariant: what leaves here is signed in this seat's name, or nothing leaves.

use std::sync::PoisonError;

use huxiao_core::command::{CommandError, Instruction, SchoolStage, Target};
use huxiao_core::signature::{Purpose, Signer};
use huxiao_core::station::{CommandFailure, Input, Station};
use huxiao_core::{
    CommandId, CommandState, EventId, Name, NodeName, SchoolCommand, SchoolId, SealedCommand, Span, Text, limits,
};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drive::Stopped;

use crate::seat::Seat;

/// The answer to an officer who commanded schools.
pub(crate) type Commanded = Result<Box<CommandState>, CommandFailure>;
/// A page of the schools of a notice, and how many there are in all.
pub(crate) type Schools = Result<(Vec<SchoolStage>, u32), CommandFailure>;

/// A command before it has an id and a signature.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// Which command it is: with the same, saying it again is harmless.
    pub(crate) id: Option<CommandId>,
    pub(crate) target: Target,
    pub(crate) instruction: Instruction,
    pub(crate) officer: Name,
    pub(crate) reason: Text,
    pub(crate) ttl: Span,
    pub(crate) case: Option<EventId>,
    pub(crate) zones: Vec<Name>,
    pub(crate) device: Option<Name>,
}

/// Why a command does not leave.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotGiven {
    /// The configuration names no signing certificate.
    #[error(
        "this seat has no signing certificate, and schools take no command without a signature: set sign.cert and sign.key"
    )]
    NoSigner,
    /// Something in it is beyond its limits.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The key store failed.
    #[error("the command could not be signed: {0}")]
    Signature(String),
    /// The node stops.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Seat {
    /// An officer commands a school, or all of an area. Answered when the record has it, when it is known to be provisional, or after
    /// [`limits::COMMAND_TIMEOUT`].
    pub(crate) async fn command(&self, draft: Draft) -> Result<Commanded, NotGiven> {
        let sealed = self.seal(draft)?;
        let (ticket, answer) = self.commanded.ask();
        self.handle.urgent(Input::Command(ticket, Box::new(sealed)))?;
        // The ticket's other end is dropped only with the loop.
        Ok(answer.await.map_err(|_| Stopped)?)
    }

    fn seal(&self, draft: Draft) -> Result<SealedCommand, NotGiven> {
        let NodeName::Station(by) = self.me.clone() else { return Err(NotGiven::NoSigner) };
        let signer: &dyn Signer = self.signer.as_deref().ok_or(NotGiven::NoSigner)?;
        let now = Clock::system().wall();
        let draw = || CommandId::generate(now, &mut self.ids.lock().unwrap_or_else(PoisonError::into_inner));
        let Draft { id, target, instruction, officer, reason, ttl, case, zones, device } = draft;
        let id = id.unwrap_or_else(draw);
        let issued_at = now;
        let command =
            SchoolCommand { id, target, instruction, by, officer, reason, issued_at, ttl, case, zones, device };
        let command = command.checked()?;
        let bytes = huxiao_wire::seal_command(&command);
        let signature = signer.sign(Purpose::Command, &bytes).map_err(NotGiven::Signature)?;
        Ok(SealedCommand { command: command.into(), bytes: bytes.into(), signature })
    }

    /// The commands that this seat knows of, the latest first; at most `limit`.
    pub(crate) async fn commands(&self, limit: usize) -> Result<Vec<CommandState>, Stopped> {
        let limit = limit.min(limits::COMMANDS_KNOWN);
        self.handle.inspect(move |station: &Station| station.commands().rev().take(limit).cloned().collect()).await
    }

    /// How one stands.
    pub(crate) async fn command_of(&self, id: CommandId) -> Result<Option<CommandState>, Stopped> {
        self.handle.inspect(move |station: &Station| station.command_of(&id).cloned()).await
    }

    /// The schools of a notice behind `after`, as a broker node has them.
    pub(crate) async fn schools(&self, id: CommandId, after: Option<SchoolId>) -> Result<Schools, Stopped> {
        let (ticket, answer) = self.schools.ask();
        self.handle.urgent(Input::Schools(ticket, id, after))?;
        // The ticket's other end is dropped only with the loop.
        answer.await.map_err(|_| Stopped)
    }
}
