//! Encoding and decoding of requests, answers and raft's values.

use bytes::Bytes;
use huxiao_core::{RecordId, limits};
use prost::Message as _;
use prost::encoding::encoded_len_varint;

use crate::cluster::raft::{
    entry, log_id, membership, needed_vote, raw_entry, raw_log_id, raw_member, raw_membership, raw_vote, vote,
};
use crate::cluster::{
    AnswerBody, Append, AppendAnswer, ArchivePart, Change, Fault, FaultKind, Introduction, Member, PeerAnswer,
    PeerRequest, RaftEntry, RaftLogId, RaftMembership, RaftVote, RequestBody, SnapshotHead, TransferLeader, VoteAnswer,
    VoteRequest, count, presence, raft,
};
use crate::error::WireError;
use crate::field;
use crate::proto;
use crate::proto::append_answer::Outcome;
use crate::proto::change::Order;
use crate::proto::peer_answer::Body as Answer;
use crate::proto::peer_request::Body as Request;

/// What [`fitting`] leaves of a frame for everything that is not an entry.
const HEAD_ROOM: usize = 1_024;
/// Bytes of an entry's key in its list.
const KEY_BYTES: usize = 1;

/// How many of these entries, from the first on, go in one request. At least one, if there is one.
#[must_use]
pub fn fitting(entries: &[RaftEntry]) -> usize {
    let mut room = limits::PEER_FRAME_BYTES - HEAD_ROOM;
    let fits = |entry: &&RaftEntry| {
        let len = raw_entry(entry).encoded_len();
        let len = KEY_BYTES + encoded_len_varint(u64::try_from(len).unwrap_or(u64::MAX)) + len;
        let fits = len <= room;
        room = room.saturating_sub(len);
        fits
    };
    let count = entries.iter().take(limits::PEER_ENTRIES).take_while(fits).count();
    count.max(usize::from(!entries.is_empty()))
}

/// A request's bytes.
#[must_use]
pub fn encode_request(request: &PeerRequest) -> Vec<u8> {
    let body = match &request.body {
        RequestBody::Append(append) => Request::Append(proto::Append {
            vote: Some(raw_vote(&append.vote)),
            prev: append.prev.as_ref().map(raw_log_id),
            commit: append.commit.as_ref().map(raw_log_id),
            entries: append.entries.iter().map(raw_entry).collect(),
        }),
        RequestBody::Vote(ask) => Request::Vote(proto::Vote {
            vote: Some(raw_vote(&ask.vote)),
            last: ask.last.as_ref().map(raw_log_id),
            pre: ask.pre,
            transfer: ask.transfer,
        }),
        RequestBody::Snapshot(head) => Request::Snapshot(proto::SnapshotHead {
            vote: Some(raw_vote(&head.vote)),
            last: head.last.as_ref().map(raw_log_id),
            membership_id: head.membership_id.as_ref().map(raw_log_id),
            membership: Some(raw_membership(&head.membership)),
            bytes: head.bytes,
            sha256: head.sha256.to_vec(),
        }),
        RequestBody::TransferLeader(transfer) => Request::TransferLeader(proto::TransferLeader {
            vote: Some(raw_vote(&transfer.vote)),
            heir: transfer.heir.0,
            last: transfer.last.as_ref().map(raw_log_id),
        }),
        RequestBody::Introduce => Request::Introduce(proto::Introduce {}),
        RequestBody::Propose(commands) => Request::Propose(proto::Propose { commands: commands.clone() }),
        RequestBody::Change(change) => Request::Change(proto::Change { order: Some(raw_change(change)) }),
        RequestBody::Archive { after, limit } => Request::Archive(proto::ArchiveRange { after: *after, limit: *limit }),
        RequestBody::Presence(ask) => Request::Presence(presence::raw_ask(ask)),
    };
    proto::PeerRequest {
        record: raw_record(request.record),
        group: request.group,
        from: request.from.0,
        to: request.to.map_or(0, |store| store.0),
        minor: request.minor,
        body: Some(body),
    }
    .encode_to_vec()
}

/// The request in `bytes`, whose memory it shares.
///
/// # Errors
/// Any [`WireError`]. On [`WireError::UnknownBody`] the sender is newer; everything else is its fault or damage.
pub fn decode_request(bytes: Bytes) -> Result<PeerRequest, WireError> {
    bounded(&bytes)?;
    count::request(&bytes)?;
    let raw = proto::PeerRequest::decode(bytes)?;
    let body = match raw.body.ok_or(WireError::UnknownBody)? {
        Request::Append(raw) => RequestBody::Append(Append {
            vote: needed_vote("append.vote", raw.vote.as_ref())?,
            prev: raw.prev.as_ref().map(log_id),
            commit: raw.commit.as_ref().map(log_id),
            entries: raw.entries.into_iter().map(entry).collect::<Result<_, _>>()?,
        }),
        Request::Vote(raw) => RequestBody::Vote(VoteRequest {
            vote: needed_vote("vote.vote", raw.vote.as_ref())?,
            last: raw.last.as_ref().map(log_id),
            pre: raw.pre,
            transfer: raw.transfer,
        }),
        Request::Snapshot(raw) => RequestBody::Snapshot(Box::new(SnapshotHead {
            vote: needed_vote("snapshot.vote", raw.vote.as_ref())?,
            last: raw.last.as_ref().map(log_id),
            membership_id: raw.membership_id.as_ref().map(log_id),
            membership: raw.membership.as_ref().map(membership).transpose()?.unwrap_or_default(),
            bytes: raw.bytes,
            sha256: raw.sha256.as_slice().try_into().map_err(|_| {
                let len = raw.sha256.len();
                field::bad("snapshot.sha256", format_args!("a digest has 32 bytes, this one has {len}"))
            })?,
        })),
        Request::TransferLeader(raw) => RequestBody::TransferLeader(TransferLeader {
            vote: needed_vote("transfer_leader.vote", raw.vote.as_ref())?,
            heir: raft::store(raw.heir).ok_or(WireError::Missing("transfer_leader.heir"))?,
            last: raw.last.as_ref().map(log_id),
        }),
        Request::Introduce(_) => RequestBody::Introduce,
        Request::Propose(raw) => {
            for command in &raw.commands {
                field::within("propose.commands", command.len(), limits::EXPRESS_FRAME_BYTES)?;
            }
            RequestBody::Propose(raw.commands)
        }
        Request::Change(raw) => RequestBody::Change(change(raw)?),
        Request::Archive(raw) => RequestBody::Archive { after: raw.after, limit: raw.limit },
        Request::Presence(raw) => RequestBody::Presence(presence::ask(&raw)?),
    };
    Ok(PeerRequest {
        record: record(&raw.record)?,
        group: raw.group,
        from: raft::store(raw.from).ok_or(WireError::Missing("request.from"))?,
        to: raft::store(raw.to),
        minor: raw.minor,
        body,
    })
}

/// An answer's bytes.
#[must_use]
pub fn encode_answer(answer: &PeerAnswer) -> Vec<u8> {
    let body = match &answer.body {
        AnswerBody::Append(outcome) => Answer::Append(proto::AppendAnswer {
            outcome: Some(match outcome {
                AppendAnswer::Success => Outcome::Success(proto::Done {}),
                AppendAnswer::Partial(last) => {
                    Outcome::Partial(proto::PartialAppend { last: last.as_ref().map(raw_log_id) })
                }
                AppendAnswer::Conflict => Outcome::Conflict(proto::Done {}),
                AppendAnswer::Higher(vote) => Outcome::Higher(raw_vote(vote)),
            }),
        }),
        AnswerBody::Vote(answer) => Answer::Vote(proto::VoteAnswer {
            vote: Some(raw_vote(&answer.vote)),
            granted: answer.granted,
            last: answer.last.as_ref().map(raw_log_id),
        }),
        AnswerBody::Snapshot(vote) => Answer::Snapshot(proto::SnapshotAnswer { vote: Some(raw_vote(vote)) }),
        AnswerBody::TransferLeader => Answer::TransferLeader(proto::TransferLeaderAnswer {}),
        AnswerBody::Introduce(node) => Answer::Introduce(proto::Introduction {
            name: node.name.to_string(),
            record: raw_record(node.record),
            pristine: node.pristine,
            peers: node.peers.iter().map(ToString::to_string).collect(),
            software: words(&node.software, limits::NAME_BYTES),
            applied: node.applied.as_ref().map(raw_log_id),
            leader: node.leader.map_or(0, |store| store.0),
        }),
        AnswerBody::Propose(id) => Answer::Propose(proto::Proposed { id: Some(raw_log_id(id)) }),
        AnswerBody::Change(text) => Answer::Change(proto::Changed { words: words(text, limits::NOTE_BYTES) }),
        AnswerBody::Archive(part) => {
            let row = |(number, entry): &(u64, Bytes)| proto::ArchiveRow { number: *number, entry: entry.clone() };
            Answer::Archive(proto::ArchivePart { rows: part.rows.iter().map(row).collect(), end: part.end })
        }
        AnswerBody::Presence(part) => Answer::Presence(presence::raw_part(part)),
        AnswerBody::Fault(fault) => Answer::Fault(proto::Fault {
            kind: fault_number(fault.kind),
            words: words(&fault.words, limits::NOTE_BYTES),
            leader: fault.leader.as_ref().map(|(id, member)| raw_member(*id, member)),
        }),
    };
    proto::PeerAnswer { from: answer.from.0, minor: answer.minor, body: Some(body) }.encode_to_vec()
}

/// The answer in `bytes`, whose memory it shares.
///
/// # Errors
/// As [`decode_request`].
pub fn decode_answer(bytes: Bytes) -> Result<PeerAnswer, WireError> {
    bounded(&bytes)?;
    count::answer(&bytes)?;
    let raw = proto::PeerAnswer::decode(bytes)?;
    let body = match raw.body.ok_or(WireError::UnknownBody)? {
        Answer::Append(raw) => AnswerBody::Append(match raw.outcome.ok_or(WireError::Missing("append.outcome"))? {
            Outcome::Success(_) => AppendAnswer::Success,
            Outcome::Partial(raw) => AppendAnswer::Partial(raw.last.as_ref().map(log_id)),
            Outcome::Conflict(_) => AppendAnswer::Conflict,
            Outcome::Higher(raw) => AppendAnswer::Higher(vote(&raw)),
        }),
        Answer::Vote(raw) => AnswerBody::Vote(VoteAnswer {
            vote: needed_vote("vote.vote", raw.vote.as_ref())?,
            granted: raw.granted,
            last: raw.last.as_ref().map(log_id),
        }),
        Answer::Snapshot(raw) => AnswerBody::Snapshot(needed_vote("snapshot.vote", raw.vote.as_ref())?),
        Answer::TransferLeader(_) => AnswerBody::TransferLeader,
        Answer::Introduce(raw) => AnswerBody::Introduce(Box::new(introduction(raw)?)),
        Answer::Propose(raw) => {
            AnswerBody::Propose(raw.id.as_ref().map(log_id).ok_or(WireError::Missing("propose.id"))?)
        }
        Answer::Change(raw) => AnswerBody::Change(readable("change.words", raw.words, limits::NOTE_BYTES)?),
        Answer::Archive(raw) => AnswerBody::Archive(archive(raw)?),
        Answer::Presence(raw) => AnswerBody::Presence(presence::part(&raw)?),
        Answer::Fault(raw) => AnswerBody::Fault(Fault {
            kind: fault_kind(raw.kind)?,
            words: readable("fault.words", raw.words, limits::NOTE_BYTES)?,
            leader: raw.leader.as_ref().map(raft::member).transpose()?,
        }),
    };
    let from = raft::store(raw.from).ok_or(WireError::Missing("answer.from"))?;
    Ok(PeerAnswer { from, minor: raw.minor, body })
}

/// A log entry's bytes, for whoever keeps logs.
#[must_use]
pub fn encode_entry(entry: &RaftEntry) -> Vec<u8> {
    raw_entry(entry).encode_to_vec()
}

/// The log entry in `bytes`, whose memory its command shares.
///
/// # Errors
/// Any [`WireError`] but `UnknownBody`. An entry that only a newer version knows is an error too: to skip it would make another
/// log.
pub fn decode_entry(bytes: Bytes) -> Result<RaftEntry, WireError> {
    bounded(&bytes)?;
    count::entry(&bytes)?;
    entry(proto::RaftEntry::decode(bytes)?)
}

/// A vote's bytes.
#[must_use]
pub fn encode_vote(vote: &RaftVote) -> Vec<u8> {
    raw_vote(vote).encode_to_vec()
}

/// The vote in `bytes`.
///
/// # Errors
/// [`WireError::Protobuf`].
pub fn decode_vote(bytes: &[u8]) -> Result<RaftVote, WireError> {
    Ok(vote(&proto::RaftVote::decode(bytes)?))
}

/// An entry's name in bytes.
#[must_use]
pub fn encode_log_id(id: &RaftLogId) -> Vec<u8> {
    raw_log_id(id).encode_to_vec()
}

/// The entry's name in `bytes`.
///
/// # Errors
/// [`WireError::Protobuf`].
pub fn decode_log_id(bytes: &[u8]) -> Result<RaftLogId, WireError> {
    Ok(log_id(&proto::RaftLogId::decode(bytes)?))
}

/// A membership's bytes.
#[must_use]
pub fn encode_membership(membership: &RaftMembership) -> Vec<u8> {
    raw_membership(membership).encode_to_vec()
}

/// The membership in `bytes`.
///
/// # Errors
/// Any [`WireError`] but `UnknownBody`.
pub fn decode_membership(bytes: &[u8]) -> Result<RaftMembership, WireError> {
    if bytes.len() > limits::EXPRESS_FRAME_BYTES {
        return Err(WireError::Oversized { len: bytes.len(), limit: limits::EXPRESS_FRAME_BYTES });
    }
    membership(&proto::RaftMembership::decode(bytes)?)
}

fn bounded(bytes: &[u8]) -> Result<(), WireError> {
    let (len, limit) = (bytes.len(), limits::PEER_FRAME_BYTES);
    if len > limit { Err(WireError::Oversized { len, limit }) } else { Ok(()) }
}

fn raw_record(record: Option<RecordId>) -> Vec<u8> {
    record.map_or_else(Vec::new, |record| record.0.to_vec())
}

fn record(raw: &[u8]) -> Result<Option<RecordId>, WireError> {
    if raw.is_empty() { Ok(None) } else { field::record_id("record", raw).map(Some) }
}

fn raw_change(change: &Change) -> Order {
    let member = |member: &Member| proto::Member { name: member.name.to_string(), addr: member.addr.clone() };
    match change {
        Change::Init => Order::Init(proto::Init {}),
        Change::Add(node) => Order::Add(member(node)),
        Change::Remove(name) => Order::Remove(name.to_string()),
        Change::Replace(node) => Order::Replace(member(node)),
        Change::TransferLeader(name) => Order::TransferLeader(name.to_string()),
    }
}

fn change(raw: proto::Change) -> Result<Change, WireError> {
    Ok(match raw.order.ok_or(WireError::UnknownBody)? {
        Order::Init(_) => Change::Init,
        Order::Add(raw) => Change::Add(raft::named("change.add.name", &raw.name, &raw.addr)?),
        Order::Remove(name) => Change::Remove(field::name("change.remove", &name)?),
        Order::Replace(raw) => Change::Replace(raft::named("change.replace.name", &raw.name, &raw.addr)?),
        Order::TransferLeader(name) => Change::TransferLeader(field::name("change.transfer_leader", &name)?),
    })
}

fn introduction(raw: proto::Introduction) -> Result<Introduction, WireError> {
    field::at_most("introduction.peers", raw.peers.len(), limits::REGION_MEMBERS)?;
    Ok(Introduction {
        name: field::name("introduction.name", &raw.name)?,
        record: record(&raw.record)?,
        pristine: raw.pristine,
        peers: raw.peers.iter().map(|name| field::name("introduction.peers", name)).collect::<Result<_, _>>()?,
        software: readable("introduction.software", raw.software, limits::NAME_BYTES)?,
        applied: raw.applied.as_ref().map(log_id),
        leader: raft::store(raw.leader),
    })
}

fn archive(raw: proto::ArchivePart) -> Result<ArchivePart, WireError> {
    let mut rows: Vec<(u64, Bytes)> = Vec::with_capacity(raw.rows.len());
    for row in raw.rows {
        field::within("archive.rows.entry", row.entry.len(), limits::ARCHIVE_ROW_BYTES)?;
        if rows.last().is_some_and(|(last, _)| *last >= row.number) {
            return Err(field::bad("archive.rows.number", "numbers must rise"));
        }
        rows.push((row.number, row.entry));
    }
    Ok(ArchivePart { rows, end: raw.end })
}

fn fault_number(kind: FaultKind) -> i32 {
    i32::from(match kind {
        FaultKind::OtherRecord => proto::FaultKind::OtherRecord,
        FaultKind::OtherStore => proto::FaultKind::OtherStore,
        FaultKind::NotMember => proto::FaultKind::NotMember,
        FaultKind::NotLeader => proto::FaultKind::NotLeader,
        FaultKind::NotNow => proto::FaultKind::NotNow,
        FaultKind::Unknown => proto::FaultKind::Unknown,
        FaultKind::Failed => proto::FaultKind::Failed,
    })
}

/// A kind. One that this version does not know is still a fault.
fn fault_kind(number: i32) -> Result<FaultKind, WireError> {
    match proto::FaultKind::try_from(number) {
        Ok(proto::FaultKind::Unspecified) => Err(WireError::Missing("fault.kind")),
        Ok(proto::FaultKind::OtherRecord) => Ok(FaultKind::OtherRecord),
        Ok(proto::FaultKind::OtherStore) => Ok(FaultKind::OtherStore),
        Ok(proto::FaultKind::NotMember) => Ok(FaultKind::NotMember),
        Ok(proto::FaultKind::NotLeader) => Ok(FaultKind::NotLeader),
        Ok(proto::FaultKind::NotNow) => Ok(FaultKind::NotNow),
        Ok(proto::FaultKind::Unknown) | Err(_) => Ok(FaultKind::Unknown),
        Ok(proto::FaultKind::Failed) => Ok(FaultKind::Failed),
    }
}

/// Words for people, as a reader takes them.
fn words(text: &str, limit: usize) -> String {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut clean: String = text.chars().map(line).collect();
    clean.truncate(clean.floor_char_boundary(limit));
    clean
}

/// Words that a peer sent. A line break in them would let it write lines of its own into logs.
fn readable(field: &'static str, text: String, limit: usize) -> Result<String, WireError> {
    field::within(field, text.len(), limit)?;
    match text.chars().find(|c| c.is_control()) {
        Some(found) => Err(field::bad(field, format_args!("no control characters; found {found:?}"))),
        None => Ok(text),
    }
}
