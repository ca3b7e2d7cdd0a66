//! What the broker nodes of one region say to each other: requests and their answers, in plain types.
//!
//! These types know of raft only what is on the wire; which engine makes and takes them is the broker's affair. `proto` is
//! `huxiao/v1/cluster.proto`, which says what each field means.
//!
//! Invariants:
//! * As everywhere in this crate: what comes out of a decoder is within the limits, whatever went in, and a decoder spends no more
//!   than a small multiple of its input.
//! * Commands and archived events are neither copied nor looked into when a request is decoded: they share the memory of the bytes
//!   that were decoded, which lives as long as any of them.
//! * An encoder makes only what the decoder takes, but for lists that are too long: [`fitting`] says how many entries go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
#[cfg(doc)]
use huxiao_core::limits;
use huxiao_core::supervision::{PresenceAsk, PresencePart};
use huxiao_core::{Name, RecordId};

pub use codec::{
    decode_answer, decode_entry, decode_log_id, decode_membership, decode_request, decode_vote, encode_answer,
    encode_entry, encode_log_id, encode_membership, encode_request, encode_vote, fitting,
};

mod codec;
mod count;
mod presence;
mod raft;

/// The minor version of the peers' protocol that this version speaks. Rises when the record gets commands that older nodes cannot read.
pub const PEER_MINOR: u32 = 1;

/// A store of a record: random, made with a node's record folder, and a node of the raft group. A wiped node has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StoreId(pub u64);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A question or an order to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRequest {
    /// The record that it is about; `None` from a node that has none yet.
    pub record: Option<RecordId>,
    /// Which raft group of the region; 0 is the only one so far.
    pub group: u32,
    /// The sender's store.
    pub from: StoreId,
    /// The store that it is meant for; `None` for whichever is there.
    pub to: Option<StoreId>,
    /// The minor version that the sender speaks, [`PEER_MINOR`].
    pub minor: u32,
    /// What is asked.
    pub body: RequestBody,
}

/// What a [`PeerRequest`] asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestBody {
    /// The leader has these entries; none is a heartbeat.
    Append(Append),
    /// A candidate asks for a vote, or whether it would get one.
    Vote(VoteRequest),
    /// A snapshot follows as the request's body.
    Snapshot(Box<SnapshotHead>),
    /// The leader hands its office over.
    TransferLeader(TransferLeader),
    /// Who are you?
    Introduce,
    /// To the leader: order these commands, one after the other; each as [`encode_command`](crate::encode_command) makes it. At most
    /// [`limits::PEER_ENTRIES`].
    Propose(Vec<Bytes>),
    /// To the leader: change the members.
    Change(Change),
    /// Archived events with a number higher than `after`, at most `limit` of them.
    Archive {
        /// The highest number that the asker has.
        after: u64,
        /// How many it takes; [`limits::ARCHIVE_ROWS`] at most are sent.
        limit: u32,
    },
    /// Who holds sessions with that node.
    Presence(PresenceAsk),
}

/// An answer of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAnswer {
    /// The answering store.
    pub from: StoreId,
    /// The minor version that it speaks.
    pub minor: u32,
    /// What it says.
    pub body: AnswerBody,
}

/// What a [`PeerAnswer`] says: the variant of the request's name, or a [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerBody {
    /// To [`RequestBody::Append`].
    Append(AppendAnswer),
    /// To [`RequestBody::Vote`].
    Vote(VoteAnswer),
    /// To [`RequestBody::Snapshot`]: the vote that the receiver has granted.
    Snapshot(RaftVote),
    /// To [`RequestBody::TransferLeader`].
    TransferLeader,
    /// To [`RequestBody::Introduce`].
    Introduce(Box<Introduction>),
    /// To [`RequestBody::Propose`]: where the last command stands in the log.
    Propose(RaftLogId),
    /// To [`RequestBody::Change`]: what came of it, in words. Cut to [`limits::NOTE_BYTES`].
    Change(String),
    /// To [`RequestBody::Archive`].
    Archive(ArchivePart),
    /// To [`RequestBody::Presence`]. At most [`limits::PRESENCE_NAMES`] names.
    Presence(PresencePart),
    /// To any of them.
    Fault(Fault),
}

/// A point in the order of votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RaftVote {
    /// The term.
    pub term: u64,
    /// Who is voted for.
    pub node: StoreId,
    /// Whether a quorum has granted it: the vote of a leader.
    pub committed: bool,
}

/// The name of one log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RaftLogId {
    /// The term in which it was made.
    pub term: u64,
    /// Who led then.
    pub leader: StoreId,
    /// Its place in the log.
    pub index: u64,
}

/// One log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftEntry {
    /// Its name.
    pub id: RaftLogId,
    /// What it holds.
    pub payload: RaftPayload,
}

/// What a log entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RaftPayload {
    /// Nothing: a new leader begins its term.
    Blank,
    /// An encoded command of the record. At most [`limits::EXPRESS_FRAME_BYTES`].
    Command(Bytes),
    /// Who is a member from here on.
    Membership(RaftMembership),
}

/// Who is a member of the region, and who votes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RaftMembership {
    /// The sets of voters; two while one takes over from the other. At most [`CONFIGS`].
    pub configs: Vec<BTreeSet<StoreId>>,
    /// All members; those in no set are learners. At most [`limits::REGION_MEMBERS`].
    pub nodes: BTreeMap<StoreId, Member>,
}

/// Sets of voters in one [`RaftMembership`].
pub const CONFIGS: usize = 4;

/// A member of the region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The node's name inside its region.
    pub name: Name,
    /// Where peers reach it, `host:port`. At most [`limits::ADDR_BYTES`], no blanks or control characters.
    pub addr: String,
}

/// See [`RequestBody::Append`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The leader's vote.
    pub vote: RaftVote,
    /// The entry right before `entries`.
    pub prev: Option<RaftLogId>,
    /// How much is committed.
    pub commit: Option<RaftLogId>,
    /// At most [`limits::PEER_ENTRIES`], and no more than [`fitting`] allows.
    pub entries: Vec<RaftEntry>,
}

/// See [`RequestBody::Append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendAnswer {
    /// All are on disk.
    Success,
    /// Those up to this one are on disk.
    Partial(Option<RaftLogId>),
    /// The log does not have `prev`.
    Conflict,
    /// This vote, which is higher, was granted.
    Higher(RaftVote),
}

/// See [`RequestBody::Vote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteRequest {
    /// The candidate's vote.
    pub vote: RaftVote,
    /// The candidate's last entry.
    pub last: Option<RaftLogId>,
    /// Only a question: nothing is saved.
    pub pre: bool,
    /// The leader itself has asked for this election.
    pub transfer: bool,
}

/// See [`RequestBody::Vote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteAnswer {
    /// The vote that the answering node has granted.
    pub vote: RaftVote,
    /// Whether it is the one that was asked for.
    pub granted: bool,
    /// The answering node's last entry.
    pub last: Option<RaftLogId>,
}

/// See [`RequestBody::Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The leader's vote.
    pub vote: RaftVote,
    /// The last entry that the snapshot holds.
    pub last: Option<RaftLogId>,
    /// The entry that made `membership`.
    pub membership_id: Option<RaftLogId>,
    /// The membership at that point.
    pub membership: RaftMembership,
    /// Bytes that follow.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

/// See [`RequestBody::TransferLeader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLeader {
    /// The vote of the leader that leaves.
    pub vote: RaftVote,
    /// Who is to lead.
    pub heir: StoreId,
    /// What the heir must have first.
    pub last: Option<RaftLogId>,
}

/// Who a node is, as far as founding and replacing need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Its name inside its region.
    pub name: Name,
    /// The record that it has.
    pub record: Option<RecordId>,
    /// Nothing was ever voted for or stored there.
    pub pristine: bool,
    /// The peers that its configuration names. At most [`limits::REGION_MEMBERS`].
    pub peers: Vec<Name>,
    /// Its software, for people. Cut to [`limits::NAME_BYTES`].
    pub software: String,
    /// The last entry that it has applied.
    pub applied: Option<RaftLogId>,
    /// Who leads, as far as it knows.
    pub leader: Option<StoreId>,
}

/// An order to change the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Found the region.
    Init,
    /// Take a node in.
    Add(Member),
    /// Let a node go.
    Remove(Name),
    /// A node of this name has a new store and, perhaps, a new address.
    Replace(Member),
    /// Let this node lead.
    TransferLeader(Name),
}

/// A part of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivePart {
    /// Numbers, rising, and encoded entries. At most [`limits::ARCHIVE_ROWS`] of [`limits::ARCHIVE_ROW_BYTES`].
    pub rows: Vec<(u64, Bytes)>,
    /// The highest number that the answering node has.
    pub end: u64,
}

/// Why there is no answer of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of reason.
    pub kind: FaultKind,
    /// The same for people. Cut to [`limits::NOTE_BYTES`].
    pub words: String,
    /// Whom to ask instead, if it is known.
    pub leader: Option<(StoreId, Member)>,
}

/// The kinds of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// The request is about another record.
    OtherRecord,
    /// It is meant for another store.
    OtherStore,
    /// The sender is not who that store belongs to, or no member.
    NotMember,
    /// Only the leader does that.
    NotLeader,
    /// It cannot be done now; later perhaps.
    NotNow,
    /// The answering version does not know how, or the asking one does not know the reason.
    Unknown,
    /// It was tried and came to nothing.
    Failed,
}

impl FaultKind {
    /// Its name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::OtherRecord => "other_record",
            FaultKind::OtherStore => "other_store",
            FaultKind::NotMember => "not_member",
            FaultKind::NotLeader => "not_leader",
            FaultKind::NotNow => "not_now",
            FaultKind::Unknown => "unknown",
            FaultKind::Failed => "failed",
        }
    }
}
