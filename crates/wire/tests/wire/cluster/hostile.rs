//! Bytes that no node of ours sent. They give an error or a value within the limits, never a panic, and memory only for what they
//! hold.

use bytes::Bytes;
use huxiao_core::limits;
use huxiao_wire::WireError;
use huxiao_wire::cluster::*;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{answers, entries, membership, requests};

fn valid() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = requests().iter().map(|(_, request)| encode_request(request)).collect();
    all.extend(answers().iter().map(|(_, answer)| encode_answer(answer)));
    all.extend(entries().iter().map(encode_entry));
    all.push(encode_membership(&membership()));
    all
}

/// Feeds `bytes` to every decoder; what one takes must be within the limits and come back.
fn feed(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(request) = decode_request(bytes.clone()) {
        if let RequestBody::Append(append) = &request.body {
            assert!(append.entries.len() <= limits::PEER_ENTRIES);
        }
        assert_eq!(decode_request(encode_request(&request).into()), Ok(request));
    }
    if let Ok(answer) = decode_answer(bytes.clone()) {
        assert_eq!(decode_answer(encode_answer(&answer).into()), Ok(answer));
    }
    if let Ok(entry) = decode_entry(bytes.clone()) {
        assert_eq!(decode_entry(encode_entry(&entry).into()), Ok(entry));
    }
    if let Ok(membership) = decode_membership(&bytes) {
        assert!(membership.configs.len() <= CONFIGS && membership.nodes.len() <= limits::REGION_MEMBERS);
        assert_eq!(decode_membership(&encode_membership(&membership)), Ok(membership));
    }
    // Any bytes may be these, or not.
    let _ = (decode_vote(&bytes), decode_log_id(&bytes));
}

#[test]
fn every_cut_and_every_flipped_bit_harms_nobody() {
    for bytes in valid() {
        for have in 0..bytes.len() {
            feed(&bytes[..have]);
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            feed(&flipped);
        }
    }
}

/// A field of a length: its key, its length in four bytes of varint, and what it holds.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut key = number << 3 | 2;
    while key > 0x7F {
        bytes.push(u8::try_from(key & 0x7F).unwrap() | 0x80);
        key >>= 7;
    }
    bytes.push(u8::try_from(key).unwrap());
    let len = u32::try_from(content.len()).unwrap();
    let septet = |shift: u32| u8::try_from(len >> shift & 0x7F).unwrap();
    bytes.extend([septet(0) | 0x80, septet(7) | 0x80, septet(14) | 0x80, septet(21)]);
    bytes.extend_from_slice(content);
    bytes
}

/// Almost as many bytes as a request may have, of one pattern.
fn many(pattern: &[u8]) -> Vec<u8> {
    pattern.repeat((limits::PEER_FRAME_BYTES - 1_024) / pattern.len())
}

#[test]
fn very_many_small_items_are_refused_before_memory_is_spent_on_them() {
    let entry = field(4, &[]);
    let append = decode_request(field(16, &many(&entry)).into());
    assert!(matches!(append, Err(WireError::TooMany { field: "append.entries", .. })), "{append:?}");
    // In as many parts as one likes: Protocol Buffers puts them together.
    let parts = many(&field(16, &entry.repeat(100)));
    assert!(matches!(decode_request(parts.into()), Err(WireError::TooMany { .. })));
    let propose = decode_request(field(21, &many(&[0x0A, 0x00])).into());
    assert!(matches!(propose, Err(WireError::TooMany { field: "propose.commands", .. })), "{propose:?}");
    let archive = decode_answer(field(23, &many(&[0x0A, 0x00])).into());
    assert!(matches!(archive, Err(WireError::TooMany { field: "archive.rows", .. })), "{archive:?}");
    for pattern in [[0x22, 0x00], [0x2A, 0x00]] {
        let presence = decode_answer(field(24, &many(&pattern)).into());
        assert!(matches!(presence, Err(WireError::TooMany { field: "presence.names", .. })), "{presence:?}");
    }

    // A membership of empty nodes, in an entry and in a snapshot's head; and an introduction of empty names.
    let nodes = many(&[0x12, 0x00]);
    let entry = field(3, &nodes);
    assert!(matches!(decode_entry(entry.clone().into()), Err(WireError::BadField { .. })));
    let append = decode_request(field(16, &field(4, &entry)).into());
    assert!(matches!(append, Err(WireError::BadField { field: "entry.membership", .. })), "{append:?}");
    assert!(matches!(decode_request(field(18, &field(4, &nodes)).into()), Err(WireError::BadField { .. })));
    assert!(matches!(decode_answer(field(20, &many(&[0x22, 0x00])).into()), Err(WireError::BadField { .. })));
    assert!(matches!(decode_membership(&nodes), Err(WireError::Oversized { .. })));
    let oversized = vec![0; limits::PEER_FRAME_BYTES + 1];
    assert!(matches!(decode_request(oversized.clone().into()), Err(WireError::Oversized { .. })));
    assert!(matches!(decode_answer(oversized.into()), Err(WireError::Oversized { .. })));
}

#[test]
fn what_a_newer_version_adds_is_ignored_refused_or_stops_the_reader() {
    let (_, request) = requests().remove(0);
    let bytes = encode_request(&request);
    // A field beside the others is ignored.
    let beside = [bytes.clone(), field(100, b"news")].concat();
    assert_eq!(decode_request(beside.into()), Ok(request.clone()));
    // A body instead of the others is told as one.
    let bare = PeerRequest { body: RequestBody::Introduce, ..request };
    let head = encode_request(&bare);
    let head = &head[..head.len() - 3];
    assert_eq!(decode_request([head, &field(30, b"news")[..]].concat().into()), Err(WireError::UnknownBody));
    assert_eq!(decode_answer(field(30, b"news").into()), Err(WireError::UnknownBody));
    // An entry of a kind that is not known is no blank one.
    let blank = encode_entry(&entries()[0]);
    let newer = [blank.clone(), field(4, b"a payload")].concat();
    assert!(matches!(decode_entry(newer.clone().into()), Err(WireError::BadField { field: "entry.payload", .. })));
    let number = [blank, vec![0x28, 0x01]].concat();
    assert!(decode_entry(number.into()).is_err());
    let append = [bytes, field(16, &field(4, &newer))].concat();
    assert!(matches!(decode_request(append.into()), Err(WireError::BadField { field: "entry.payload", .. })));
}

#[test]
fn a_membership_that_contradicts_itself_is_refused() {
    let mut strangers = membership();
    strangers.nodes.pop_first();
    assert!(matches!(decode_membership(&encode_membership(&strangers)), Err(WireError::BadField { .. })));
    let mut twice = encode_membership(&membership());
    twice.extend(twice.clone());
    assert!(decode_membership(&twice).is_err());
    let mut nameless = membership();
    nameless.nodes.values_mut().for_each(|member| member.addr = "10.0.0.1:7443\n".to_owned());
    assert!(matches!(decode_membership(&encode_membership(&nameless)), Err(WireError::BadField { .. })));
    nameless.nodes.values_mut().for_each(|member| member.addr.clear());
    assert_eq!(decode_membership(&encode_membership(&nameless)), Err(WireError::Missing("member.addr")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_harm_nobody(bytes in vec(any::<u8>(), 0..400)) {
        feed(&bytes);
        for number in 16..=31 {
            feed(&field(number, &bytes));
        }
    }

    #[test]
    fn several_changes_at_once_harm_nobody(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let all = valid();
        let mut bytes = all[which.index(all.len())].clone();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        feed(&bytes);
    }
}
