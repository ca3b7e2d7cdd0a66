//! Whatever is within the limits comes back as it was, and thousands of entries cost no copy.

use std::collections::BTreeMap;

use bytes::Bytes;
use huxiao_core::supervision::{PresenceAsk, PresencePart};
use huxiao_core::{Name, NodeName, RecordId, limits};
use huxiao_wire::cluster::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{log_id, requests};

fn name() -> impl Strategy<Value = Name> {
    "[a-zA-Z0-9._-]{1,64}".prop_map(|text| Name::new(&text).unwrap())
}

fn node() -> impl Strategy<Value = NodeName> {
    let relay = (name(), name()).prop_map(|(school, device)| format!("relay/{school}/{device}"));
    let seat = (name(), name()).prop_map(|(station, seat)| format!("station/{station}/{seat}"));
    prop_oneof![relay, seat].prop_map(|text| text.parse().unwrap())
}

fn store() -> impl Strategy<Value = StoreId> {
    (1..=u64::MAX).prop_map(StoreId)
}

fn vote() -> impl Strategy<Value = RaftVote> {
    (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(term, node, committed)| RaftVote {
        term,
        node: StoreId(node),
        committed,
    })
}

fn id() -> impl Strategy<Value = RaftLogId> {
    (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(term, leader, index)| RaftLogId {
        term,
        leader: StoreId(leader),
        index,
    })
}

fn member() -> impl Strategy<Value = Member> {
    (name(), "[!-~]{1,40}").prop_map(|(name, addr)| Member { name, addr })
}

fn membership() -> impl Strategy<Value = RaftMembership> {
    btree_map(store(), member(), 0..6).prop_flat_map(|nodes: BTreeMap<_, _>| {
        let ids: Vec<_> = nodes.keys().copied().collect();
        let most = ids.len();
        vec(subsequence(ids, 0..=most), 0..=CONFIGS).prop_map(move |configs| RaftMembership {
            configs: configs.into_iter().map(|set| set.into_iter().collect()).collect(),
            nodes: nodes.clone(),
        })
    })
}

fn command() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn entry() -> impl Strategy<Value = RaftEntry> {
    let payload = prop_oneof![
        1 => Just(RaftPayload::Blank),
        4 => command().prop_map(RaftPayload::Command),
        1 => membership().prop_map(RaftPayload::Membership),
    ];
    (id(), payload).prop_map(|(id, payload)| RaftEntry { id, payload })
}

fn request() -> impl Strategy<Value = RequestBody> {
    let append = (vote(), option::of(id()), option::of(id()), vec(entry(), 0..20))
        .prop_map(|(vote, prev, commit, entries)| RequestBody::Append(Append { vote, prev, commit, entries }));
    let ask = (vote(), option::of(id()), any::<(bool, bool)>())
        .prop_map(|(vote, last, (pre, transfer))| RequestBody::Vote(VoteRequest { vote, last, pre, transfer }));
    let snapshot = (vote(), option::of(id()), option::of(id()), membership(), any::<u64>(), any::<[u8; 32]>())
        .prop_map(|(vote, last, membership_id, membership, bytes, sha256)| {
            RequestBody::Snapshot(Box::new(SnapshotHead { vote, last, membership_id, membership, bytes, sha256 }))
        });
    let transfer = (vote(), store(), option::of(id()))
        .prop_map(|(vote, heir, last)| RequestBody::TransferLeader(TransferLeader { vote, heir, last }));
    let change = prop_oneof![
        Just(Change::Init),
        member().prop_map(Change::Add),
        name().prop_map(Change::Remove),
        member().prop_map(Change::Replace),
        name().prop_map(Change::TransferLeader),
    ];
    prop_oneof![
        append,
        ask,
        snapshot,
        transfer,
        Just(RequestBody::Introduce),
        vec(command(), 0..20).prop_map(RequestBody::Propose),
        change.prop_map(RequestBody::Change),
        any::<(u64, u32)>().prop_map(|(after, limit)| RequestBody::Archive { after, limit }),
        (any::<(u64, u64)>(), option::of(node()))
            .prop_map(|((epoch, version), after)| { RequestBody::Presence(PresenceAsk { epoch, version, after }) }),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    use FaultKind::{Failed, NotLeader, NotMember, NotNow, OtherRecord, OtherStore, Unknown};
    let kind = select(&[OtherRecord, OtherStore, NotMember, NotLeader, NotNow, Unknown, Failed][..]);
    (kind, "\\PC{0,60}", option::of((store(), member()))).prop_map(|(kind, words, leader)| Fault {
        kind,
        words,
        leader,
    })
}

fn answer() -> impl Strategy<Value = AnswerBody> {
    let append = prop_oneof![
        Just(AppendAnswer::Success),
        option::of(id()).prop_map(AppendAnswer::Partial),
        Just(AppendAnswer::Conflict),
        vote().prop_map(AppendAnswer::Higher),
    ];
    let voted = (vote(), any::<bool>(), option::of(id()))
        .prop_map(|(vote, granted, last)| AnswerBody::Vote(VoteAnswer { vote, granted, last }));
    let record = option::of(any::<[u8; 16]>().prop_map(RecordId));
    let introduction =
        (name(), record, any::<bool>(), vec(name(), 0..8), "[ -~]{0,64}", option::of(id()), option::of(store()))
            .prop_map(|(name, record, pristine, peers, software, applied, leader)| {
                let node = Introduction { name, record, pristine, peers, software, applied, leader };
                AnswerBody::Introduce(Box::new(node))
            });
    let archive = (btree_map(any::<u64>(), command(), 0..10), any::<u64>())
        .prop_map(|(rows, end)| AnswerBody::Archive(ArchivePart { rows: rows.into_iter().collect(), end }));
    let presence = (1..=u64::MAX, any::<(u64, bool, bool)>(), vec(node(), 0..6), vec(node(), 0..6)).prop_map(
        |(epoch, (version, whole, more), up, down)| {
            AnswerBody::Presence(PresencePart { epoch, version, whole, up, down, more })
        },
    );
    prop_oneof![
        presence,
        append.prop_map(AnswerBody::Append),
        voted,
        vote().prop_map(AnswerBody::Snapshot),
        Just(AnswerBody::TransferLeader),
        introduction,
        id().prop_map(AnswerBody::Propose),
        "\\PC{0,60}".prop_map(AnswerBody::Change),
        archive,
        fault().prop_map(AnswerBody::Fault),
    ]
}

proptest! {
    #[test]
    fn a_request_comes_back(
        record in option::of(any::<[u8; 16]>().prop_map(RecordId)),
        (group, minor) in any::<(u32, u32)>(),
        (from, to) in (store(), option::of(store())),
        body in request(),
    ) {
        let request = PeerRequest { record, group, from, to, minor, body };
        let bytes = encode_request(&request);
        let back = decode_request(bytes.clone().into()).unwrap();
        prop_assert_eq!(encode_request(&back), bytes, "encoding is deterministic");
        prop_assert_eq!(back, request);
    }

    #[test]
    fn an_answer_comes_back(from in store(), minor in any::<u32>(), body in answer()) {
        let answer = PeerAnswer { from, minor, body };
        prop_assert_eq!(decode_answer(encode_answer(&answer).into()).unwrap(), answer);
    }

    #[test]
    fn what_logs_hold_comes_back(entry in entry(), vote in vote(), id in id(), membership in membership()) {
        prop_assert_eq!(decode_entry(encode_entry(&entry).into()).unwrap(), entry);
        prop_assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        prop_assert_eq!(decode_log_id(&encode_log_id(&id)).unwrap(), id);
        prop_assert_eq!(decode_membership(&encode_membership(&membership)).unwrap(), membership);
    }

    #[test]
    fn words_are_made_readable(text in "[\\PC\n\r\t\u{1b}]{0,2000}") {
        let body = AnswerBody::Change(text.clone());
        let bytes = encode_answer(&PeerAnswer { from: StoreId(1), minor: 0, body });
        let AnswerBody::Change(words) = decode_answer(bytes.into()).unwrap().body else { panic!("a change") };
        prop_assert!(words.len() <= limits::NOTE_BYTES && !words.contains(char::is_control));
        prop_assert_eq!(words.chars().count(), text.chars().count().min(words.chars().count()), "cut, and nothing more");
    }
}

fn append(entries: Vec<RaftEntry>) -> PeerRequest {
    let append = Append { vote: super::vote(), prev: Some(log_id(9)), commit: Some(log_id(9)), entries };
    let (_, request) = requests().remove(0);
    PeerRequest { body: RequestBody::Append(append), ..request }
}

#[test]
fn commands_share_the_memory_of_their_request() {
    let entries: Vec<_> = (0..10_000)
        .map(|index| RaftEntry { id: log_id(index), payload: RaftPayload::Command(vec![7; 400].into()) })
        .collect();
    let bytes = Bytes::from(encode_request(&append(entries)));
    let memory = bytes.as_ptr_range();
    let RequestBody::Append(append) = decode_request(bytes).unwrap().body else { panic!("an append") };
    assert_eq!(append.entries.len(), 10_000);
    for entry in append.entries {
        let RaftPayload::Command(command) = entry.payload else { panic!("a command") };
        assert!(command.len() == 400 && memory.contains(&command.as_ptr()));
    }
}

#[test]
fn what_fits_a_frame_is_sent_and_no_less() {
    for len in [1_000, limits::EXPRESS_FRAME_BYTES] {
        let payload = RaftPayload::Command(vec![7; len].into());
        let entries: Vec<_> = (0..12_000_000 / u64::try_from(len).unwrap())
            .map(|index| RaftEntry { id: RaftLogId { index, ..log_id(0) }, payload: payload.clone() })
            .collect();
        let fits = fitting(&entries);
        let bytes = encode_request(&append(entries[..fits].to_vec()));
        assert!(bytes.len() <= limits::PEER_FRAME_BYTES, "{} bytes", bytes.len());
        assert!(decode_request(bytes.into()).is_ok());
        let more = encode_request(&append(entries[..=fits].to_vec()));
        assert!(more.len() > limits::PEER_FRAME_BYTES - 2_048, "one more had fit: {} bytes", more.len());
    }
    let blank = RaftEntry { id: log_id(0), payload: RaftPayload::Blank };
    assert_eq!(fitting(&vec![blank.clone(); limits::PEER_ENTRIES + 1]), limits::PEER_ENTRIES);
    assert_eq!((fitting(&[]), fitting(&[blank])), (0, 1));
}
