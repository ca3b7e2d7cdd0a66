//! What a mover of bodies is told, what it wants done, and what it reports.

use std::sync::Arc;

use crate::body::message::{BodyMessage, BodyRefusal, Offer};
use crate::body::{BodyId, Media};
use crate::id::{NodeName, PathId};
use crate::time::{Span, WallTime};

/// The content of a body. Cheap to clone.
pub type Content = Arc<[u8]>;

/// Whose offers are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// Only of what was asked for: relays and stations.
    Wanted,
    /// Of relays (pictures) and stations (audio) too: broker nodes.
    Given,
}

/// What a mover is told once.
#[derive(Debug, Clone)]
pub struct MoverConfig {
    /// Whose offers it takes.
    pub accepts: Accepts,
    /// Bytes of bodies on the disk; beyond it the oldest leave.
    pub max_bytes: u64,
    /// How long a body stays on the disk.
    pub max_age: Span,
    /// What the disk holds: name, bytes, since when.
    pub held: Vec<(BodyId, usize, WallTime)>,
}

/// Who is to get a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Towards {
    /// So many of the nodes that sessions are kept to: one by one, the others if some are not there.
    Some(usize),
    /// This one.
    Node(NodeName),
}

/// What the world tells a mover.
#[derive(Debug)]
pub enum Input {
    /// A bulk session is there.
    PathUp(PathId, NodeName),
    /// It is gone.
    PathDown(PathId),
    /// A peer said something.
    Message(PathId, BodyMessage),
    /// This body has been put on the disk by somebody else than this mover.
    Added(BodyId, usize),
    /// Give this body, which is on the disk.
    Give(BodyId, Towards),
    /// Give this one of the moment, and forget it when it is given, refused or followed by the next.
    GiveLive(BodyId, Content, NodeName),
    /// Get this body, if need be for so long.
    Want(BodyId, Span),
    /// What [`Output::Load`] asked for; `None` if it cannot be read.
    Loaded(BodyId, Option<(Media, Content)>),
    /// What [`Output::Store`] asked for is on stable storage.
    Stored(BodyId),
    /// It is not, and will not be.
    StoreFailed(BodyId, String),
}

/// What a mover wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this over a bulk session, in class P4.
    Send(PathId, BodyMessage),
    /// Read this body from the disk, and answer with [`Input::Loaded`].
    Load(BodyId),
    /// Bring this body to stable storage, and answer with [`Input::Stored`] or [`Input::StoreFailed`].
    Store(BodyId, Content),
    /// This body leaves the disk: there is no room for it, or it is too old.
    Remove(BodyId),
    /// Something that people, metrics and whoever waits want to know.
    Report(Report),
}

/// What people, metrics and whoever waits want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A body has come whole; unless it is of the moment, it is on the disk.
    Arrived(Offer, NodeName),
    /// A body that was wanted is here, since just now or before.
    Here(BodyId),
    /// A node has a body that was to be given to it.
    Given(Offer, NodeName),
    /// A node does not take it.
    NotGiven(BodyId, NodeName, BodyRefusal),
    /// This node did not take a body that a peer offered.
    Refused(BodyId, NodeName, BodyRefusal),
    /// What was wanted has not come in its time.
    Lost(BodyId),
    /// The disk does not take a body.
    NotStored(BodyId, String),
}
