//! The domain of Huxiao as pure state machines: no IO, no clock, no task, no lock.
//!
//! # The contract of every machine
//!
//! Whatever decides anything in Huxiao (the relay, the broker node, the station, and the couriers and lamps inside
//! them) implements [`Machine`]. The rules are the same everywhere:
//!
//! 1. Facts come in by [`Machine::handle`], the passing of time by [`Machine::handle_timeout`]; both are told what time it
//!    is. A machine reads no clock and rolls no dice: a seed is given at construction.
//! 2. Decisions come out of [`Machine::poll_output`] as values. Whoever drives a machine calls it until it gives `None`
//!    at the start and after *every* input, carries each output out in order, and adds no rule of its own.
//! 3. A statement about durability (a receipt, an answer to the presser) leaves a machine only after the driver has fed
//!    back that the record is on stable storage. An *alarm* waits for nothing.
//! 4. After outputs are drained, [`Machine::poll_timeout`] says when the machine wants to be woken at the latest.
//! 5. [`Machine::check`] holds the invariants. Tests and the simulator call it after each step.
//!
//! The way of one alarm: an [`Event`] is raised at the [`relay`], carried by a [`courier`], routed by the [`broker`] along the
//! [`plan`], put into the [`record`], shown by the [`station`], and answered by [`Receipt`]s that end at a [`lamp`].

mod condition;
pub mod duty;
mod escalate;
pub mod event;
mod id;
mod inquiry;
mod keeping;
mod lane;
mod limits_check;
mod message;
mod overdue;
mod path;
mod probe;
mod receipt;
mod rng;
mod time;
mod timeline;

pub mod body;
pub mod broker;
pub mod case;
pub mod command;
pub mod courier;
pub mod drill;
pub mod lamp;
pub mod limits;
pub mod plan;
pub mod record;
pub mod relay;
pub mod report;
pub mod signature;
pub mod station;
pub mod supervision;
pub mod trouble;
pub mod video;

pub use case::{Case, CaseOrder, CaseRefusal};
pub use command::{
    CommandId, CommandReceipt, CommandRefusal, CommandStage, CommandState, SchoolCommand, SealedCommand,
};
pub use escalate::Escalate;
pub use event::{Class, Details, DetailsError, Event, EventError, Kind, Mode, Sealed, Text};
pub use id::{
    EventId, Identity, IdentityError, KEY_WINDOW_MILLIS, Name, NameError, NodeName, PathId, PersistSeq, RecordId,
    RelayId, Role, SchoolId, SeatId, StationId,
};
pub use lane::Lane;
pub use message::{Degraded, Echo, EventCopy, Hello, Message, Refusal, Resume, WIRE_MINOR};
pub use overdue::{Overdue, Ownership, Rung};
pub use path::{Carrier, Cost, Form, PathInfo, UplinkId};
pub use probe::{Health, Losses, PathHealth, Prober};
pub use receipt::{Receipt, Stage, Standing, Step, Trail};
pub use record::{Admission, Command};
pub use relay::RelayRow;
pub use rng::Rng;
pub use station::InboxRow;
pub use time::{Now, Span, Timestamp, WallTime};
pub use timeline::{Lap, Point, since_press, timeline};
pub use trouble::{About, Trouble};

/// What a driver and a machine say to each other. See the crate's documentation for the rules.
pub trait Machine {
    /// What the world tells the machine.
    type Input;
    /// What the machine wants done.
    type Output;

    /// Takes one fact in.
    fn handle(&mut self, now: Now, input: Self::Input);

    /// Does what has become due. Calling it early is harmless.
    fn handle_timeout(&mut self, now: Now);

    /// The instant at which [`Machine::handle_timeout`] must be called at the latest; `None` while nothing is pending.
    fn poll_timeout(&self) -> Option<Timestamp>;

    /// The next thing to do, in order; `None` when all is said.
    fn poll_output(&mut self) -> Option<Self::Output>;

    /// Holds the machine against its invariants.
    ///
    /// # Errors
    /// The sentence of the first invariant that does not hold: always a defect of the machine, never of its inputs.
    fn check(&self) -> Result<(), String>;
}
