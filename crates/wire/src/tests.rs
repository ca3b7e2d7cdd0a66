//! What peers may put into a field, and what must come of it. Here rather than in `tests/`, since it needs the raw types.

use huxiao_core::{Class, EventCopy, Kind, Message, Refusal, limits};
use prost::Message as _;

use crate::proto::frame::Body;
use crate::{WireError, decode_frame, encode, proto, unseal};

fn event() -> proto::Event {
    proto::Event {
        id: vec![7; 16],
        school: "4501020001".into(),
        relay: "gate-1".into(),
        epoch: 3,
        seq: 9,
        kind: "panic".into(),
        class: proto::Class::P0 as i32,
        mode: proto::Mode::Live as i32,
        device: "button-1".into(),
        zone: "gatehouse".into(),
        note: String::new(),
        raised_at_us: 1_764_000_000_000_000,
        count: 0,
        details: Vec::new(),
    }
}

fn receipt() -> proto::Receipt {
    proto::Receipt {
        event: vec![7; 16],
        stage: proto::Stage::Acknowledged as i32,
        at_us: 1,
        by: "station/xixiangtang/seat-1".into(),
        officer: "045123".into(),
        note: String::new(),
        skew_us: None,
        standing: 0,
    }
}

/// Decodes a frame that holds `body`.
fn decode(body: Body) -> Result<Message, WireError> {
    let body = proto::Frame { body: Some(body) }.encode_to_vec();
    let mut bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    bytes[0] = crate::VERSION;
    bytes.extend(body);
    decode_frame(&bytes, limits::BULK_FRAME_BYTES)
}

#[track_caller]
fn refused_event(change: impl FnOnce(&mut proto::Event)) -> WireError {
    let mut raw = event();
    change(&mut raw);
    unseal(&raw.encode_to_vec()).expect_err("this event must not be taken")
}

#[track_caller]
fn refused_receipt(change: impl FnOnce(&mut proto::Receipt)) -> WireError {
    let mut raw = receipt();
    change(&mut raw);
    decode(Body::Receipts(proto::ReceiptList { receipts: vec![raw] })).expect_err("this receipt must not be taken")
}

fn field_of(error: &WireError) -> &'static str {
    match error {
        WireError::BadField { field, .. } | WireError::Missing(field) | WireError::TooMany { field, .. } => field,
        other => panic!("{other:?} names no field"),
    }
}

#[test]
fn an_event_without_a_needed_field_is_refused_and_the_field_is_named() {
    let missing = [
        ("event.id", refused_event(|raw| raw.id.clear())),
        ("event.school", refused_event(|raw| raw.school.clear())),
        ("event.relay", refused_event(|raw| raw.relay.clear())),
        ("event.kind", refused_event(|raw| raw.kind.clear())),
        ("event.class", refused_event(|raw| raw.class = 0)),
        ("event.mode", refused_event(|raw| raw.mode = 0)),
    ];
    for (field, error) in missing {
        assert_eq!(error, WireError::Missing(field));
    }
}

#[test]
fn an_event_with_a_field_beyond_its_limit_is_refused_and_the_field_is_named() {
    let long = "a".repeat(limits::NAME_BYTES + 1);
    let bad = [
        ("event.id", refused_event(|raw| raw.id = vec![7; 15])),
        ("event.id", refused_event(|raw| raw.id = vec![7; 17])),
        ("event.school", refused_event(|raw| raw.school.clone_from(&long))),
        ("event.relay", refused_event(|raw| raw.relay = "gate 1".into())),
        ("event.kind", refused_event(|raw| raw.kind = "pan/ic".into())),
        ("event.class", refused_event(|raw| raw.class = 6)),
        ("event.class", refused_event(|raw| raw.class = -1)),
        ("event.mode", refused_event(|raw| raw.mode = 4)),
        ("event.device", refused_event(|raw| raw.device.clone_from(&long))),
        ("event.zone", refused_event(|raw| raw.zone = "门".into())),
        ("event.note", refused_event(|raw| raw.note = "n".repeat(limits::NOTE_BYTES + 1))),
        ("event.note", refused_event(|raw| raw.note = "\u{1b}[2J".into())),
        // A warning that calls itself P0 would get the alarm lane.
        ("event", refused_event(|raw| raw.kind = "mains".into())),
    ];
    for (field, error) in bad {
        assert!(matches!(&error, WireError::BadField { field: found, .. } if *found == field), "{field}: {error:?}");
    }
}

#[test]
fn an_event_of_too_many_bytes_is_refused_even_if_only_unknown_fields_make_it_so() {
    let mut bytes = event().encode_to_vec();
    let room = limits::EVENT_BYTES - bytes.len();
    // Field 100, length-delimited: two bytes of key, two of length.
    let fill = room - 4;
    bytes.extend_from_slice(&[0xA2, 0x06, u8::try_from(fill & 0x7F).unwrap() | 0x80, u8::try_from(fill >> 7).unwrap()]);
    bytes.resize(limits::EVENT_BYTES, 0xEE);
    assert_eq!(unseal(&bytes).unwrap().bytes.len(), limits::EVENT_BYTES);
    bytes.extend_from_slice(&[0xA0, 0x06, 0x01]);
    assert_eq!(unseal(&bytes), Err(WireError::Oversized { len: limits::EVENT_BYTES + 3, limit: limits::EVENT_BYTES }));
}

#[test]
fn a_kind_of_a_newer_relay_is_carried_with_the_class_that_it_states() {
    let raw = proto::Event { kind: "drone".into(), class: proto::Class::P1 as i32, ..event() };
    let sealed = unseal(&raw.encode_to_vec()).unwrap();
    assert_eq!(sealed.event.class, Class::P1);
    assert!(matches!(&sealed.event.kind, Kind::Other(name) if name.as_str() == "drone"));
}

#[test]
fn fields_of_a_newer_relay_pass_through_to_the_next_node() {
    let mut original = event().encode_to_vec();
    original.extend_from_slice(&[0xA2, 0x06, 0x03, b'n', b'e', b'w', 0xA8, 0x06, 0x2A]);
    let received = decode(Body::Event(proto::EventCopy {
        event: original.clone(),
        trail: vec![],
        receipts: vec![],
        signature: None,
    }))
    .unwrap();
    let Message::Event(copy) = &received else { panic!("{received:?}") };
    assert_eq!(copy.sealed.bytes[..], original[..]);

    let forwarded = decode_frame(&encode(&received), limits::EXPRESS_FRAME_BYTES).unwrap();
    let Message::Event(EventCopy { sealed, .. }) = forwarded else { panic!("no event came out") };
    assert_eq!(sealed.bytes[..], original[..]);
}

#[test]
fn a_receipt_with_a_bad_field_is_refused_and_the_field_is_named() {
    let cases = [
        ("receipt.event", refused_receipt(|raw| raw.event.clear())),
        ("receipt.event", refused_receipt(|raw| raw.event = vec![7; 20])),
        ("receipt.stage", refused_receipt(|raw| raw.stage = 0)),
        ("receipt.stage", refused_receipt(|raw| raw.stage = 71)),
        ("receipt.by", refused_receipt(|raw| raw.by.clear())),
        ("receipt.by", refused_receipt(|raw| raw.by = "mayor/a/b".into())),
        ("receipt.by", refused_receipt(|raw| raw.by = "/".repeat(60_000))),
        ("receipt.officer", refused_receipt(|raw| raw.officer = "王".into())),
        ("receipt.note", refused_receipt(|raw| raw.note = "\0".into())),
    ];
    for (field, error) in cases {
        assert_eq!(field_of(&error), field);
        assert!(error.to_string().len() < 400, "an error repeats what the peer sent: {error}");
    }
}

#[test]
fn lists_beyond_their_limit_are_refused_and_full_ones_are_taken() {
    let full = limits::LIST_ITEMS;
    let ids = |count| vec![vec![7; 16]; count];
    let receipts = |count| vec![receipt(); count];
    let statements =
        |count| vec![proto::EventStage { event: vec![7; 16], stage: proto::Stage::Displayed as i32 }; count];
    let step = proto::Step { node: "broker/gx/n1".into(), arrived_us: 1, left_us: None, skew_us: None };
    let copy = |steps, count| {
        Body::Event(proto::EventCopy {
            event: event().encode_to_vec(),
            trail: vec![step.clone(); steps],
            receipts: receipts(count),
            signature: None,
        })
    };
    let bodies = |extra: usize| {
        [
            ("receipts", Body::Receipts(proto::ReceiptList { receipts: receipts(full + extra) })),
            ("confirmed", Body::Confirmed(proto::ConfirmedList { confirmed: statements(full + extra) })),
            ("inquire.events", Body::Inquire(proto::Inquire { events: ids(full + extra) })),
            ("unknown.events", Body::Unknown(proto::UnknownList { events: ids(full + extra) })),
            ("event.trail", copy(limits::TRAIL_STEPS + extra, limits::RECEIPTS_PER_EVENT)),
            ("event.receipts", copy(limits::TRAIL_STEPS, limits::RECEIPTS_PER_EVENT + extra)),
        ]
    };
    for (field, body) in bodies(0) {
        assert!(decode(body).is_ok(), "a full {field} must be taken");
    }
    for (field, body) in bodies(1) {
        let error = decode(body).unwrap_err();
        assert!(matches!(error, WireError::TooMany { .. }), "{error:?}");
        assert_eq!(field_of(&error), field);
    }
}

#[test]
fn a_flood_of_empty_items_is_refused_before_memory_is_spent_on_it() {
    for tag in 2..=6_u8 {
        // One item of field 1 (or 3 for an event's receipts) with nothing in it: two bytes.
        let item = if tag == 2 { [3 << 3 | 2, 0] } else { [1 << 3 | 2, 0] };
        let items = item.repeat(16_000);
        let mut body = vec![tag << 3 | 2];
        prost::encoding::encode_varint(items.len() as u64, &mut body);
        body.extend(items);
        let mut bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        bytes[0] = crate::VERSION;
        bytes.extend(body);
        let error = decode_frame(&bytes, limits::EXPRESS_FRAME_BYTES).unwrap_err();
        assert!(matches!(error, WireError::TooMany { field: "frame", .. }), "body {tag}: {error:?}");
    }
}

#[test]
fn a_hello_with_more_than_a_short_line_is_refused() {
    for software in ["x".repeat(limits::NAME_BYTES + 1), "huxiao 1\nERROR forged".to_owned()] {
        let error = decode(Body::Hello(proto::Hello { software, wire_minor: 0, resume: None })).unwrap_err();
        assert_eq!(field_of(&error), "hello.software");
    }
    let resume = Some(proto::Resume { record: vec![1; 8], index: 1 });
    let error = decode(Body::Hello(proto::Hello { software: "x".into(), wire_minor: 0, resume })).unwrap_err();
    assert_eq!(field_of(&error), "resume.record");
}

#[test]
fn a_refusal_for_a_reason_of_a_newer_broker_is_still_a_refusal() {
    let refused = |reason| decode(Body::Refused(proto::Refused { event: vec![7; 16], reason }));
    assert!(matches!(refused(99), Ok(Message::Refused(_, Refusal::Other))));
    assert_eq!(refused(0), Err(WireError::Missing("refused.reason")));
}

#[test]
fn each_error_has_a_code_and_a_name_of_its_own() {
    let all = [
        WireError::Truncated { have: 0, need: 4 },
        WireError::Oversized { len: 2, limit: 1 },
        WireError::UnknownVersion(9),
        WireError::Trailing(1),
        WireError::Protobuf(String::new()),
        WireError::Missing("x"),
        WireError::BadField { field: "x", why: String::new() },
        WireError::TooMany { field: "x", count: 2, limit: 1 },
        WireError::UnknownBody,
    ];
    let codes: Vec<_> = all.iter().map(WireError::code).collect();
    assert_eq!(codes, (0x101..=0x109).collect::<Vec<_>>(), "a code never changes its meaning");
    let names: std::collections::BTreeSet<_> = all.iter().map(WireError::name).collect();
    assert_eq!(names.len(), all.len());
    assert_eq!(all.iter().filter(|error| error.is_skippable()).count(), 1);
}

#[test]
fn a_signature_that_no_node_makes_costs_no_event() {
    for (certificate, bytes) in [
        (limits::SIGNING_CERTIFICATE_BYTES + 1, 64),
        (limits::EVENT_CERTIFICATE_BYTES + 1, 64),
        (400, limits::SIGNATURE_BYTES + 1),
    ] {
        let signature =
            Some(proto::Signature { algorithm: 1, certificate: vec![1; certificate], bytes: vec![1; bytes] });
        let copy = proto::EventCopy { event: event().encode_to_vec(), trail: vec![], receipts: vec![], signature };
        let Ok(Message::Event(copy)) = decode(Body::Event(copy)) else { panic!("no event came out") };
        let signature = copy.sealed.signature.expect("that there was one is known");
        assert!(signature.certificate.is_empty() && signature.bytes.is_empty(), "{signature:?}");
    }
}
