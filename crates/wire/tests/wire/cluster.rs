//! What the nodes of a region say to each other: bytes that never change, values that come back, bad bytes that harm nobody, and
//! commands that are not copied.

mod golden;
mod hostile;
mod roundtrip;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use huxiao_core::RecordId;
use huxiao_core::supervision::{PresenceAsk, PresencePart};
use huxiao_wire::cluster::*;
use huxiao_wire::encode_command;

use crate::samples::{self, name};

/// The commands of one alarm, as a log holds them. Requests with these are frozen, so there are never others here.
fn commands() -> Vec<Bytes> {
    samples::commands().iter().take(3).map(|(_, command)| encode_command(command).into()).collect()
}

fn store(number: u64) -> StoreId {
    StoreId(0x5704_E000_0000_0000 + number)
}

fn vote() -> RaftVote {
    RaftVote { term: 7, node: store(1), committed: true }
}

fn log_id(index: u64) -> RaftLogId {
    RaftLogId { term: 7, leader: store(1), index }
}

fn member(number: u64) -> Member {
    Member { name: name(&format!("b{number}")), addr: format!("10.0.0.{number}:7443") }
}

/// Three voters of which one is about to be replaced, and the one that comes for it.
fn membership() -> RaftMembership {
    let before = BTreeSet::from([store(1), store(2), store(3)]);
    let after = BTreeSet::from([store(1), store(2), store(4)]);
    let nodes: BTreeMap<_, _> = (1..=4).map(|number| (store(number), member(number.min(3)))).collect();
    RaftMembership { configs: vec![before, after], nodes }
}

fn entries() -> Vec<RaftEntry> {
    let mut payloads = vec![RaftPayload::Blank, RaftPayload::Membership(membership())];
    payloads.extend(commands().into_iter().map(RaftPayload::Command));
    (70_000..).zip(payloads).map(|(index, payload)| RaftEntry { id: log_id(index), payload }).collect()
}

/// Every request, each under the name of its golden file.
fn requests() -> Vec<(&'static str, PeerRequest)> {
    let append = Append { vote: vote(), prev: Some(log_id(69_999)), commit: Some(log_id(69_990)), entries: entries() };
    let heartbeat = Append { vote: vote(), prev: None, commit: None, entries: vec![] };
    let ask = VoteRequest {
        vote: RaftVote { committed: false, ..vote() },
        last: Some(log_id(9)),
        pre: true,
        transfer: false,
    };
    let snapshot = SnapshotHead {
        vote: vote(),
        last: Some(log_id(70_000)),
        membership_id: Some(log_id(3)),
        membership: membership(),
        bytes: 123_456_789,
        sha256: *b"the digest of a whole snapshot..",
    };
    let bodies = vec![
        ("peer_append", RequestBody::Append(append)),
        ("peer_heartbeat", RequestBody::Append(heartbeat)),
        ("peer_vote", RequestBody::Vote(ask)),
        ("peer_vote_transfer", RequestBody::Vote(VoteRequest { pre: false, transfer: true, last: None, ..ask })),
        ("peer_snapshot", RequestBody::Snapshot(Box::new(snapshot))),
        (
            "peer_transfer_leader",
            RequestBody::TransferLeader(TransferLeader { vote: vote(), heir: store(2), last: Some(log_id(70_000)) }),
        ),
        ("peer_introduce", RequestBody::Introduce),
        ("peer_propose", RequestBody::Propose(commands())),
        ("peer_change_init", RequestBody::Change(Change::Init)),
        ("peer_change_add", RequestBody::Change(Change::Add(member(4)))),
        ("peer_change_remove", RequestBody::Change(Change::Remove(name("b3")))),
        ("peer_change_replace", RequestBody::Change(Change::Replace(member(3)))),
        ("peer_change_transfer_leader", RequestBody::Change(Change::TransferLeader(name("b2")))),
        ("peer_archive", RequestBody::Archive { after: 20_000, limit: 500 }),
        ("peer_presence_first", RequestBody::Presence(PresenceAsk::default())),
        (
            "peer_presence",
            RequestBody::Presence(PresenceAsk {
                epoch: 7,
                version: 70_000,
                after: Some("relay/s1/gate".parse().unwrap()),
            }),
        ),
    ];
    let wrap = |body| PeerRequest {
        record: Some(RecordId(*b"record-of-region")),
        group: 0,
        from: store(1),
        to: Some(store(2)),
        minor: 0,
        body,
    };
    let mut all: Vec<_> = bodies.into_iter().map(|(name, body)| (name, wrap(body))).collect();
    // Who has no record yet knows no store either.
    all.push(("peer_introduce_bare", PeerRequest { record: None, to: None, ..wrap(RequestBody::Introduce) }));
    all
}

/// Every answer, each under the name of its golden file.
fn answers() -> Vec<(&'static str, PeerAnswer)> {
    let introduction = Introduction {
        name: name("b2"),
        record: Some(RecordId(*b"record-of-region")),
        pristine: false,
        peers: vec![name("b1"), name("b2"), name("b3")],
        software: "huxiao 0.1.0".to_owned(),
        applied: Some(log_id(70_000)),
        leader: Some(store(1)),
    };
    let pristine = Introduction {
        record: None,
        pristine: true,
        peers: vec![],
        software: String::new(),
        applied: None,
        leader: None,
        ..introduction.clone()
    };
    let fault =
        Fault { kind: FaultKind::NotLeader, words: "b1 leads, not b2".to_owned(), leader: Some((store(1), member(1))) };
    let bare = Fault { kind: FaultKind::NotNow, words: String::new(), leader: None };
    let rows = (20_001..).zip(commands()).collect();
    let here = PresencePart {
        epoch: 7,
        version: 70_000,
        whole: true,
        up: ["relay/s1/gate", "station/p1/desk-1"].map(|name| name.parse().unwrap()).to_vec(),
        down: Vec::new(),
        more: true,
    };
    let bodies = vec![
        ("peer_appended", AnswerBody::Append(AppendAnswer::Success)),
        ("peer_appended_partly", AnswerBody::Append(AppendAnswer::Partial(Some(log_id(70_001))))),
        ("peer_appended_nothing", AnswerBody::Append(AppendAnswer::Partial(None))),
        ("peer_append_conflict", AnswerBody::Append(AppendAnswer::Conflict)),
        ("peer_append_higher", AnswerBody::Append(AppendAnswer::Higher(vote()))),
        ("peer_voted", AnswerBody::Vote(VoteAnswer { vote: vote(), granted: true, last: Some(log_id(9)) })),
        ("peer_snapshot_installed", AnswerBody::Snapshot(vote())),
        ("peer_transferred_leader", AnswerBody::TransferLeader),
        ("peer_introduction", AnswerBody::Introduce(Box::new(introduction))),
        ("peer_introduction_pristine", AnswerBody::Introduce(Box::new(pristine))),
        ("peer_proposed", AnswerBody::Propose(log_id(70_002))),
        ("peer_changed", AnswerBody::Change("b3 has a new store and votes again".to_owned())),
        ("peer_archive_part", AnswerBody::Archive(ArchivePart { rows, end: 20_003 })),
        ("peer_presence_whole", AnswerBody::Presence(here.clone())),
        (
            "peer_presence_changes",
            AnswerBody::Presence(PresencePart { whole: false, more: false, down: here.up.clone(), ..here }),
        ),
        ("peer_fault", AnswerBody::Fault(fault)),
        ("peer_fault_bare", AnswerBody::Fault(bare)),
    ];
    bodies.into_iter().map(|(name, body)| (name, PeerAnswer { from: store(2), minor: 0, body })).collect()
}
