//! The bytes of every request and answer, frozen: nodes of two versions are peers during every upgrade, and logs are kept.

use std::collections::BTreeSet;

use bytes::Bytes;
use huxiao_wire::cluster::*;

use super::{answers, entries, log_id, membership, requests, vote};
use crate::golden::{frozen, none};

#[test]
fn requests_and_answers_keep_their_bytes() {
    let mut wrong = String::new();
    for (name, request) in requests() {
        frozen(name, &encode_request(&request), &mut wrong, |bytes| {
            assert_eq!(decode_request(Bytes::copy_from_slice(bytes)).as_ref(), Ok(&request), "{name}");
        });
    }
    for (name, answer) in answers() {
        frozen(name, &encode_answer(&answer), &mut wrong, |bytes| {
            assert_eq!(decode_answer(Bytes::copy_from_slice(bytes)).as_ref(), Ok(&answer), "{name}");
        });
    }
    none(&wrong);
}

#[test]
fn what_logs_hold_keeps_its_bytes() {
    let mut wrong = String::new();
    for (name, entry) in ["raft_blank", "raft_membership_entry", "raft_command"].into_iter().zip(entries()) {
        frozen(name, &encode_entry(&entry), &mut wrong, |bytes| {
            assert_eq!(decode_entry(Bytes::copy_from_slice(bytes)).as_ref(), Ok(&entry), "{name}");
        });
    }
    frozen("raft_vote", &encode_vote(&vote()), &mut wrong, |bytes| assert_eq!(decode_vote(bytes), Ok(vote())));
    frozen("raft_log_id", &encode_log_id(&log_id(3)), &mut wrong, |bytes| {
        assert_eq!(decode_log_id(bytes), Ok(log_id(3)));
    });
    frozen("raft_membership", &encode_membership(&membership()), &mut wrong, |bytes| {
        assert_eq!(decode_membership(bytes), Ok(membership()));
    });
    none(&wrong);
}

#[test]
fn no_request_or_answer_is_without_a_golden_file() {
    // A new variant does not compile here until it is added, with a sample.
    let request = |body: &RequestBody| match body {
        RequestBody::Append(_) => 16,
        RequestBody::Vote(_) => 17,
        RequestBody::Snapshot(_) => 18,
        RequestBody::TransferLeader(_) => 19,
        RequestBody::Introduce => 20,
        RequestBody::Propose(_) => 21,
        RequestBody::Change(
            Change::Init | Change::Add(_) | Change::Remove(_) | Change::Replace(_) | Change::TransferLeader(_),
        ) => 22,
        RequestBody::Archive { .. } => 23,
        RequestBody::Presence(_) => 24,
    };
    let answer = |body: &AnswerBody| match body {
        AnswerBody::Append(
            AppendAnswer::Success | AppendAnswer::Partial(_) | AppendAnswer::Conflict | AppendAnswer::Higher(_),
        ) => 16,
        AnswerBody::Vote(_) => 17,
        AnswerBody::Snapshot(_) => 18,
        AnswerBody::TransferLeader => 19,
        AnswerBody::Introduce(_) => 20,
        AnswerBody::Propose(_) => 21,
        AnswerBody::Change(_) => 22,
        AnswerBody::Archive(_) => 23,
        AnswerBody::Presence(_) => 24,
        AnswerBody::Fault(_) => 31,
    };
    let asked: BTreeSet<u32> = requests().iter().map(|(_, one)| request(&one.body)).collect();
    assert_eq!(asked, (16..=24).collect());
    let answered: BTreeSet<u32> = answers().iter().map(|(_, one)| answer(&one.body)).collect();
    assert_eq!(answered, (16..=24).chain([31]).collect());
    let changes = requests().iter().filter(|(_, one)| matches!(one.body, RequestBody::Change(_))).count();
    assert_eq!(changes, 5);
}
