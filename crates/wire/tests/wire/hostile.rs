//! Bytes that nobody of ours sent: cut, flipped, random, from another version. They give an error or a message within the
//! limits, never a panic.

use huxiao_core::body::BodyMessage;
use huxiao_core::drill::DrillOrder;
use huxiao_core::{EventCopy, Message, Receipt, Sealed, limits};
use huxiao_wire::{
    HEADER_BYTES, ROW_VERSION, VERSION, WireError, decode_command, decode_entry, decode_frame, decode_inbox_row,
    decode_relay_row, encode, encode_command, encode_entry, encode_inbox_row, encode_relay_row, frame_len, unseal,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::samples;

const LIMIT: usize = limits::EXPRESS_FRAME_BYTES;

fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    bytes[0] = VERSION;
    bytes.extend_from_slice(body);
    bytes
}

fn check_sealed(sealed: &Sealed) {
    assert!(sealed.bytes.len() <= limits::EVENT_BYTES);
    assert!(sealed.signature.as_ref().is_none_or(huxiao_core::signature::Signature::fits_an_event));
    assert!(sealed.event.note.as_str().len() <= limits::NOTE_BYTES);
    assert!(sealed.event.relay.school.0.as_str().len() <= limits::NAME_BYTES);
    assert!(sealed.event.kind.as_str().len() <= limits::NAME_BYTES);
    assert!(sealed.event.kind.class().is_none_or(|class| class == sealed.event.class));
}

fn check_receipts(receipts: &[Receipt], limit: usize) {
    assert!(receipts.len() <= limit);
    for receipt in receipts {
        assert!(receipt.note.as_str().len() <= limits::NOTE_BYTES);
    }
}

/// Holds a decoded message against the limits, and against a second pass over the wire.
fn check(message: &Message) {
    match message {
        Message::Hello(hello) => assert!(hello.software.len() <= limits::NAME_BYTES),
        Message::Event(EventCopy { sealed, trail, receipts }) => {
            check_sealed(sealed);
            assert!(trail.steps().len() <= limits::TRAIL_STEPS);
            check_receipts(receipts, limits::RECEIPTS_PER_EVENT);
        }
        Message::Receipts(list) => check_receipts(list, limits::LIST_ITEMS),
        Message::Confirmed(list) => assert!(list.len() <= limits::LIST_ITEMS),
        Message::Inquire(list) | Message::Unknown(list) => assert!(list.len() <= limits::LIST_ITEMS),
        Message::Condition(degraded) => {
            assert!(degraded.as_ref().is_none_or(|degraded| degraded.why.as_str().len() <= limits::NOTE_BYTES));
        }
        Message::Escalate(escalate) => {
            assert!((1..=limits::STATIONS_PER_SCHOOL).contains(&escalate.stations.len()));
            assert!(escalate.note.as_str().len() <= limits::NOTE_BYTES);
        }
        Message::Escalated(_, stations) => assert!(stations.len() <= limits::STATIONS_PER_SCHOOL),
        Message::Ownership(ownership) => assert!(ownership.owners.len() <= limits::OVERDUE_STATIONS),
        Message::CommandOrder(sealed) | Message::Command(sealed, _) => {
            assert!(sealed.bytes.len() <= limits::COMMAND_BYTES);
        }
        Message::CommandReceipts(list) => assert!(list.len() <= limits::LIST_ITEMS),
        Message::CommandConfirmed(list) => assert!(list.len() <= limits::LIST_ITEMS),
        Message::CommandState(state) => assert!(state.receipts.len() <= limits::COMMAND_RECEIPTS + 1),
        Message::NoticeSchools(_, _, schools, _) => assert!(schools.len() <= limits::NOTICE_PAGE),
        Message::CommandRefused(..) | Message::NoticeAsk(..) => {}
        Message::CaseAsk(..) | Message::DrillHeard(_) | Message::DrillAnswer(..) => {}
        Message::Drills(list) => assert!(list.len() <= limits::LIST_ITEMS),
        Message::DrillMode(mode) => assert!(mode.devices.len() <= limits::PLAN_DEVICES),
        Message::DrillOrder(order) => {
            if let DrillOrder::Open(order) = &**order {
                assert!(!order.scope.is_too_long() && order.devices.len() <= limits::PLAN_DEVICES);
            }
        }
        Message::CaseSteps(_, steps, _) => assert!(steps.len() <= limits::LIST_ITEMS),
        Message::Case(order) => assert!(order.note.as_str().len() <= limits::NOTE_BYTES),
        Message::Cases(list) => assert!(list.len() <= limits::LIST_ITEMS),
        Message::CaseTaken(_, _, case) => assert!(case.level <= limits::CASE_LEVEL),
        Message::CaseRefused(_, _, case) => assert!(case.as_ref().is_none_or(|case| case.level <= limits::CASE_LEVEL)),
        Message::SchoolPlan(part) => {
            let school = part.school.as_ref();
            assert!(school.is_none_or(|school| school.devices.len() <= limits::PLAN_DEVICES));
        }
        Message::Body(BodyMessage::Chunk { data, .. }) => assert!(data.len() <= limits::BODY_CHUNK_BYTES),
        Message::Pictures(said) => {
            assert!(said.pictures.len() <= limits::PICTURES_PER_EVENT);
        }
        Message::PicturesKept(_, keys) => assert!(keys.len() <= limits::PICTURES_PER_EVENT),
        Message::Body(_) | Message::Look(_) | Message::PlanKept(_) => {}
        Message::SeatState { .. } | Message::Refused(..) | Message::Mark(_) | Message::Probe(_) | Message::Echo(_) => {}
    }
    assert_eq!(decode_frame(&encode(message), LIMIT).as_ref(), Ok(message), "what was taken must be sendable");
}

/// Feeds `bytes` to every decoder.
fn feed(bytes: &[u8]) {
    if let Ok(message) = decode_frame(bytes, LIMIT) {
        check(&message);
    }
    if let Ok(sealed) = unseal(bytes) {
        check_sealed(&sealed);
    }
    if let Ok(row) = decode_relay_row(bytes) {
        check_sealed(&row.sealed);
        check_receipts(&row.receipts, limits::RECEIPTS_PER_EVENT);
        assert!(row.idempotency_key.is_none_or(|key| key.len() <= limits::IDEMPOTENCY_KEY_BYTES));
    }
    if let Ok(row) = decode_inbox_row(bytes) {
        check_sealed(&row.sealed);
        check_receipts(&row.receipts, limits::RECEIPTS_PER_EVENT);
    }
    if let Ok(command) = decode_command(bytes) {
        assert_eq!(decode_command(&encode_command(&command)).as_ref(), Ok(&command));
    }
    if let Ok(entry) = decode_entry(bytes) {
        check_receipts(&entry.notes, limits::RECEIPTS_PER_EVENT);
        assert!(entry.escalations.len() <= limits::ESCALATIONS_PER_EVENT);
        assert!(entry.overdue.iter().all(|reached| reached.stations.len() <= limits::OVERDUE_STATIONS));
        assert!(entry.case.history.len() <= limits::CASE_STEPS && entry.case.refused.len() <= limits::CASE_REFUSED);
        assert_eq!(decode_entry(&encode_entry(&entry)).as_ref(), Ok(&entry));
    }
}

/// Everything valid that there is a sample of.
fn valid() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = samples::messages().iter().map(|(_, message)| encode(message)).collect();
    all.extend(samples::commands().iter().map(|(_, command)| encode_command(command)));
    all.extend(samples::entries().iter().map(|(_, entry)| encode_entry(entry)));
    all.push(encode_relay_row(&samples::relay_row()));
    all.push(encode_inbox_row(&samples::inbox_row()));
    all.push(samples::sealed().bytes.to_vec());
    all
}

#[test]
fn every_cut_of_a_frame_is_told_as_a_cut() {
    for (name, message) in samples::messages() {
        let bytes = encode(&message);
        for have in 0..bytes.len() {
            let need = if have < HEADER_BYTES { HEADER_BYTES } else { bytes.len() };
            assert_eq!(decode_frame(&bytes[..have], LIMIT), Err(WireError::Truncated { have, need }), "{name}");
        }
    }
}

#[test]
fn every_cut_whose_length_was_put_right_harms_nobody() {
    for bytes in valid() {
        for have in 0..bytes.len() {
            feed(&bytes[..have]);
            if have >= HEADER_BYTES {
                feed(&framed(&bytes[HEADER_BYTES..have]));
            }
        }
    }
}

#[test]
fn every_flipped_bit_harms_nobody() {
    for bytes in valid() {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            feed(&flipped);
        }
    }
}

#[test]
fn what_follows_a_frame_is_told() {
    let mut bytes = encode(&Message::Inquire(vec![samples::other_id()]));
    bytes.extend_from_slice(&[1, 2, 3]);
    assert_eq!(decode_frame(&bytes, LIMIT), Err(WireError::Trailing(3)));
}

#[test]
fn a_frame_beyond_its_lane_is_refused_by_its_header_alone() {
    let most = u32::try_from(LIMIT - HEADER_BYTES).unwrap().to_be_bytes();
    assert_eq!(frame_len(&[VERSION, most[1], most[2], most[3]], LIMIT), Ok(LIMIT));
    let more = u32::try_from(LIMIT - HEADER_BYTES + 1).unwrap().to_be_bytes();
    let oversized = WireError::Oversized { len: LIMIT + 1, limit: LIMIT };
    assert_eq!(frame_len(&[VERSION, more[1], more[2], more[3]], LIMIT), Err(oversized.clone()));
    assert_eq!(decode_frame(&[VERSION, more[1], more[2], more[3]], LIMIT), Err(oversized));
    assert!(matches!(frame_len(&[VERSION, 255, 255, 255], LIMIT), Err(WireError::Oversized { .. })));
}

#[test]
fn another_format_version_is_told_before_anything_else() {
    for version in (0..=255).filter(|version| *version != VERSION) {
        assert_eq!(frame_len(&[version, 255, 255, 255], LIMIT), Err(WireError::UnknownVersion(version)));
    }
    for version in (0..=255).filter(|version| *version != ROW_VERSION) {
        let mut bytes = encode_relay_row(&samples::relay_row());
        bytes[0] = version;
        assert_eq!(decode_relay_row(&bytes), Err(WireError::UnknownVersion(version)));
    }
    assert_eq!(decode_inbox_row(&[]), Err(WireError::Truncated { have: 0, need: 1 }));
}

#[test]
fn a_message_of_a_newer_minor_is_told_apart_from_a_broken_one() {
    // Body 60, length-delimited, whatever it holds; and body 100 as a number.
    let newer: [&[u8]; 3] = [&[0xE2, 0x03, 0x00], &[0xE2, 0x03, 0x03, 0xFF, 0xFF, 0xFF], &[0xA0, 0x06, 0x01]];
    for body in newer {
        let error = decode_frame(&framed(body), LIMIT).unwrap_err();
        assert_eq!(error, WireError::UnknownBody);
        assert!(error.is_skippable());
    }
    assert_eq!(decode_frame(&framed(&[]), LIMIT), Err(WireError::Missing("frame.body")));
    assert!(matches!(decode_frame(&framed(&[0xE2, 0x03, 0x05, 0x00]), LIMIT), Err(WireError::Protobuf(_))));
}

#[test]
fn a_field_of_a_newer_minor_inside_a_known_message_is_ignored() {
    let mark = encode(&Message::Mark(samples::resume()));
    let mut body = mark[HEADER_BYTES..].to_vec();
    body[1] += 3;
    body.extend_from_slice(&[0xA0, 0x06, 0x01]);
    assert_eq!(decode_frame(&framed(&body), LIMIT), Ok(Message::Mark(samples::resume())));
}

#[test]
fn a_command_of_a_newer_version_stops_the_reader() {
    let error = decode_command(&[ROW_VERSION, 0x7A, 0x00]).unwrap_err();
    assert!(!error.is_skippable(), "{error:?}");
    assert_eq!(decode_command(&[ROW_VERSION]), Err(WireError::Missing("command")));
}

/// Bytes that look like protobuf: keys and lengths that often fit together, so that decoding goes deep.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let field = (1_u8..10, 0_u8..6, vec(any::<u8>(), 0..20)).prop_map(|(number, wire_type, content)| {
        let mut bytes = vec![number << 3 | wire_type];
        if wire_type == 2 {
            bytes.push(u8::try_from(content.len()).unwrap());
        }
        bytes.extend(content);
        bytes
    });
    (1_u8..10, vec(field, 0..6)).prop_map(|(body, fields)| {
        let content = fields.concat();
        let mut bytes = vec![body << 3 | 2];
        prop_varint(content.len(), &mut bytes);
        bytes.extend(content);
        bytes
    })
}

fn prop_varint(mut value: usize, out: &mut Vec<u8>) {
    while value > 0x7F {
        out.push(u8::try_from(value & 0x7F).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_harm_nobody(bytes in vec(any::<u8>(), 0..600)) {
        feed(&bytes);
        feed(&framed(&bytes));
        let mut row = bytes;
        row.insert(0, ROW_VERSION);
        feed(&row);
    }

    #[test]
    fn plausible_bytes_harm_nobody(bytes in plausible()) {
        feed(&framed(&bytes));
        let mut row = bytes;
        row.insert(0, ROW_VERSION);
        feed(&row);
    }

    #[test]
    fn several_changes_at_once_harm_nobody(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let all = valid();
        let mut bytes = all[which.index(all.len())].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        feed(&bytes);
    }
}
