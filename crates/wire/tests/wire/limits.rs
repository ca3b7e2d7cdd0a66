//! What is at every limit at once still fits where it must go.

use std::collections::BTreeSet;

use huxiao_core::case::{
    Action, ActionId, Case, CaseNumber, CaseRefusal, History, LastStep, Owner, Reason, State, Step as CaseStep,
    Summary, Verb,
};
use huxiao_core::record::{Admission, Entry, Escalation, Part};
use huxiao_core::relay::RelayRow;
use huxiao_core::signature::{Algorithm, Signature, Verdict};
use huxiao_core::station::InboxRow;
use huxiao_core::video::{Picture, Shot};
use huxiao_core::{
    Class, Event, EventCopy, EventId, Kind, Message, Mode, Name, NodeName, Overdue, Ownership, Receipt, RelayId, Rung,
    SchoolId, Sealed, SeatId, Stage, Standing, StationId, Step, Text, Trail, WallTime, limits,
};
use huxiao_wire::{
    decode_entry, decode_frame, decode_inbox_row, decode_relay_row, encode, encode_entry, encode_inbox_row,
    encode_relay_row, encode_within, seal, unseal,
};

fn name(letter: &str) -> Name {
    Name::new(&letter.repeat(limits::NAME_BYTES)).unwrap()
}

/// A time that takes the most bytes.
const LATE: WallTime = WallTime(i64::MIN);

fn event() -> Event {
    Event {
        id: EventId::from_bytes([255; 16]),
        relay: RelayId { school: SchoolId(name("s")), device: name("r") },
        epoch: u64::MAX,
        seq: u64::MAX,
        kind: Kind::Other(name("k")),
        class: Class::P4,
        mode: Mode::Test,
        device: Some(name("d")),
        zone: Some(name("z")),
        note: note(),
        raised_at: LATE,
        count: u32::MAX,
        details: huxiao_core::Details::default(),
    }
}

/// The event with the largest signature that an alarm may have.
fn signed() -> Sealed {
    let certificate = vec![255; limits::EVENT_CERTIFICATE_BYTES].into();
    let bytes = vec![255; limits::SIGNATURE_BYTES].into();
    let signature = Signature { algorithm: Algorithm(u32::MAX), certificate, bytes };
    Sealed { signature: Some(signature), ..seal(&event()) }
}

fn note() -> Text {
    Text::new(&"n".repeat(limits::NOTE_BYTES)).unwrap()
}

fn seat(letter: &str) -> NodeName {
    NodeName::Station(SeatId { station: StationId(name("p")), seat: name(letter) })
}

fn ownership() -> Ownership {
    let owners = (0..limits::OVERDUE_STATIONS).map(|_| StationId(name("p"))).collect();
    Ownership { event: event().id, rung: Rung::Province, owners, at: LATE }
}

fn receipt(stage: Stage, letter: &str) -> Receipt {
    let officer = Some(name("o"));
    Receipt {
        event: event().id,
        stage,
        at: LATE,
        by: seat(letter),
        officer,
        note: note(),
        skew: Some(i64::MIN),
        standing: Standing::Assisting,
    }
}

/// As many receipts as an event may have, `extra` more, with every stage among them, late stages last.
fn receipts(extra: usize) -> Vec<Receipt> {
    let count = limits::RECEIPTS_PER_EVENT + extra;
    (0..count)
        .map(|at| receipt(Stage::ALL[at * Stage::ALL.len() / count], "abcdefg"[at % 7..].get(..1).unwrap()))
        .collect()
}

fn trail() -> Trail {
    Trail::new(vec![
        Step { node: seat("t"), arrived: LATE, left: Some(LATE), skew: Some(i64::MIN) };
        limits::TRAIL_STEPS
    ])
}

/// A case with the longest of everything.
fn case() -> Summary {
    Summary {
        event: event().id,
        state: State::Closed,
        level: limits::CASE_LEVEL,
        owner: Some(Owner { by: seat("c"), officer: Some(name("o")) }),
        cancel_requested: true,
        number_110: Some(CaseNumber::new(&"9".repeat(limits::CASE_NUMBER_BYTES)).unwrap()),
        reason: Some(Reason::Other),
        steps: u64::MAX,
        last: Some(LastStep { verb: Verb::Number, by: seat("c"), officer: Some(name("o")), at: LATE }),
        bond: huxiao_core::record::Bond::Follows(event().id),
        presses: u32::MAX,
        live: true,
    }
}

/// A step with the longest of everything.
fn step(number: u64) -> CaseStep {
    CaseStep {
        number,
        index: u64::MAX,
        id: ActionId([255; 16]),
        action: Action::Transfer(StationId(name("t"))),
        state: State::Closed,
        level: limits::CASE_LEVEL,
        by: seat("c"),
        officer: Some(name("o")),
        at: LATE,
        heard: WallTime(i64::MAX),
        note: note(),
        digest: [255; 32],
    }
}

#[test]
fn an_event_with_a_case_at_all_its_limits_fits_the_rows_of_the_archive() {
    let admission = Admission {
        sealed: signed(),
        trail: trail(),
        at: LATE,
        by: seat("b"),
        stations: vec![StationId(name("p")); limits::STATIONS_PER_EVENT],
        owed: true,
        joins: false,
    };
    let escalation = |stations: usize| Escalation {
        index: u64::MAX,
        stations: vec![StationId(name("e")); stations],
        by: seat("b"),
        officer: Some(name("o")),
        at: LATE,
        note: note(),
    };
    let overdue = |rung: Rung| Overdue {
        index: u64::MAX,
        rung,
        owners: vec![StationId(name("w")); limits::OVERDUE_STATIONS],
        stations: vec![StationId(name("w")); limits::OVERDUE_STATIONS],
        by: seat("b"),
        at: LATE,
    };
    let mut history = History::default();
    (1..=100).for_each(|number| assert!(history.push(step(number))));
    let refused = CaseRefusal::NotNow { verb: Verb::Number, state: State::Closed };
    let trouble = None;
    let entry = Entry {
        trouble,
        index: u64::MAX - 1,
        routed_at: u64::MAX,
        admission,
        notes: receipts(0),
        // Together they add at most as many stations as there is room for.
        escalations: (0..limits::ESCALATIONS_PER_EVENT).map(|at| escalation(if at == 0 { 31 } else { 0 })).collect(),
        overdue: Rung::ALL.map(overdue).into(),
        forwarded: Stage::ALL.to_vec(),
        bond: huxiao_core::record::Bond::Child(event().id),
        presses: u32::MAX,
        pressed_at: Some(LATE),
        case: Case {
            state: State::Closed,
            level: limits::CASE_LEVEL,
            owner: case().owner,
            cancel_requested: true,
            number_110: case().number_110,
            closed: Some((Reason::Other, LATE)),
            live: true,
            history,
            refused: vec![(ActionId([255; 16]), refused); limits::CASE_REFUSED].into(),
        },
        pictures: vec![pictured(); limits::PICTURES_PER_EVENT],
        part: Part::WHOLE,
    };
    let rows: Vec<Vec<u8>> = entry.parts().iter().map(encode_entry).collect();
    assert!(rows.len() > 2 && rows.iter().all(|row| row.len() <= limits::ARCHIVE_ROW_BYTES));
    let mut parts = rows.iter().map(|row| decode_entry(row).unwrap());
    let mut again = parts.next().unwrap();
    assert!(parts.all(|part| again.join(&part)));
    assert_eq!(again, entry);
}

fn first_of_each_stage(receipts: &[Receipt]) -> Vec<(Stage, NodeName)> {
    let mut seen = BTreeSet::new();
    receipts.iter().filter(|one| seen.insert(one.stage)).map(|one| (one.stage, one.by.clone())).collect()
}

#[test]
fn an_event_at_all_its_limits_is_within_the_bytes_of_an_event() {
    let sealed = seal(&event());
    assert!(sealed.bytes.len() <= limits::EVENT_BYTES, "{} bytes", sealed.bytes.len());
    assert!(sealed.bytes.len() > 1_024 + 5 * 64, "it is not at its limits");
    assert_eq!(*unseal(&sealed.bytes).unwrap().event, event());
}

#[test]
fn a_copy_at_all_its_limits_fits_an_express_frame() {
    let copy = EventCopy { sealed: signed(), trail: trail(), receipts: receipts(0) };
    let bytes = encode(&Message::Event(copy.clone()));
    assert_eq!(decode_frame(&bytes, limits::EXPRESS_FRAME_BYTES).unwrap(), Message::Event(copy));
}

#[test]
fn a_copy_with_too_many_receipts_is_sent_with_the_first_of_each_stage_rather_than_refused() {
    let all = receipts(2);
    let copy = EventCopy { sealed: signed(), trail: trail(), receipts: all.clone() };
    let bytes = encode(&Message::Event(copy));
    let Message::Event(back) = decode_frame(&bytes, limits::EXPRESS_FRAME_BYTES).unwrap() else {
        panic!("no event came out")
    };
    assert_eq!(back.receipts.len(), limits::RECEIPTS_PER_EVENT);
    assert_eq!(first_of_each_stage(&back.receipts), first_of_each_stage(&all));
}

#[test]
fn lists_of_any_length_go_out_in_frames_that_every_peer_takes() {
    let ids: Vec<_> = (0..1_000_u32)
        .map(|at| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&at.to_be_bytes());
            EventId::from_bytes(id)
        })
        .collect();
    let statements: Vec<_> = ids.iter().map(|id| (*id, Stage::Displayed)).collect();
    let lists = [
        Message::Receipts(vec![receipt(Stage::Acknowledged, "a"); limits::LIST_ITEMS]),
        Message::Confirmed(statements),
        Message::Inquire(ids.clone()),
        Message::Unknown(ids),
    ];
    for list in lists {
        let frames = encode_within(&list, limits::EXPRESS_FRAME_BYTES);
        let mut found = 0;
        for frame in &frames {
            found += match decode_frame(frame, limits::EXPRESS_FRAME_BYTES).unwrap() {
                Message::Receipts(part) => part.len(),
                Message::Confirmed(part) => part.len(),
                Message::Inquire(part) | Message::Unknown(part) => part.len(),
                other => panic!("{other:?}"),
            };
        }
        let wanted = if matches!(list, Message::Receipts(_)) { limits::LIST_ITEMS } else { 1_000 };
        assert_eq!(found, wanted);
        assert!(frames.len() <= 8, "{} frames are more than needed", frames.len());
    }
}

#[test]
fn a_full_list_of_ids_is_one_express_frame() {
    let list = Message::Inquire(vec![event().id; limits::LIST_ITEMS]);
    let frames = encode_within(&list, limits::EXPRESS_FRAME_BYTES);
    assert_eq!(frames, [encode(&list)]);
}

#[test]
fn a_software_text_that_is_too_long_is_cut_between_characters() {
    let software = "护".repeat(40);
    let hello = huxiao_core::Hello { software, wire_minor: 0, resume: None };
    let bytes = encode(&Message::Hello(hello));
    let Message::Hello(back) = decode_frame(&bytes, bytes.len()).unwrap() else { panic!("no hello came out") };
    assert_eq!(back.software, "护".repeat(21));
}

#[test]
fn rows_at_all_limits_fit_the_store_and_keep_the_first_of_each_stage() {
    for extra in [0, 2] {
        let receipts = receipts(extra);
        let key = "k".repeat(limits::IDEMPOTENCY_KEY_BYTES);
        let row = RelayRow {
            slot: u64::MAX,
            sealed: signed(),
            idempotency_key: Some(key.clone()),
            receipts: receipts.clone(),
        };
        let bytes = encode_relay_row(&row);
        assert!(bytes.len() <= limits::STORE_VALUE_BYTES, "{} bytes", bytes.len());
        let back = decode_relay_row(&bytes).unwrap();
        assert_eq!((back.slot, back.sealed, back.idempotency_key), (row.slot, row.sealed, Some(key)));
        assert_eq!(first_of_each_stage(&back.receipts), first_of_each_stage(&receipts));

        let row = InboxRow {
            seq: u64::MAX,
            sealed: signed(),
            trail: trail(),
            received_at: LATE,
            receipts: receipts.clone(),
            unconfirmed: Stage::ALL.into_iter().collect(),
            ownership: Some(ownership()),
            case: Some(Box::new(case())),
            signature: Some(Verdict::Valid),
        };
        let bytes = encode_inbox_row(&row);
        assert!(bytes.len() <= limits::STORE_VALUE_BYTES, "{} bytes", bytes.len());
        let back = decode_inbox_row(&bytes).unwrap();
        assert_eq!((back.trail, back.unconfirmed), (row.trail, row.unconfirmed));
        // The signature is the last to go, and what was found of it stays.
        assert_eq!((back.sealed.bytes, back.signature), (row.sealed.bytes, row.signature));
        if extra == 0 {
            assert!(back.sealed.signature.is_none() || back.sealed.signature == row.sealed.signature);
        }
        assert_eq!(back.case, row.case);
        assert_eq!(first_of_each_stage(&back.receipts), first_of_each_stage(&receipts));
    }
}

#[test]
fn notes_go_from_the_last_receipt_on_and_only_as_far_as_needed() {
    let receipts: Vec<_> = Stage::ALL.into_iter().map(|stage| receipt(stage, "a")).collect();
    let row = RelayRow { slot: 1, sealed: signed(), idempotency_key: None, receipts: receipts.clone() };
    let back = decode_relay_row(&encode_relay_row(&row)).unwrap();
    assert_eq!(back.receipts.len(), receipts.len());
    let kept = back.receipts.iter().take_while(|one| !one.note.is_empty()).count();
    assert!((3..receipts.len()).contains(&kept), "{kept} notes were kept");
    assert!(back.receipts[kept..].iter().all(|one| one.note.is_empty()));
}

#[test]
fn an_idempotency_key_that_is_too_long_does_not_cost_the_alarm() {
    let key = Some("k".repeat(limits::IDEMPOTENCY_KEY_BYTES + 1));
    let row = RelayRow { slot: 1, sealed: signed(), idempotency_key: key, receipts: vec![] };
    assert_eq!(decode_relay_row(&encode_relay_row(&row)).unwrap().idempotency_key, None);
}

/// The longest that can be said of a picture.
fn pictured() -> Picture {
    let text = || Text::new(&"图".repeat(limits::PICTURE_TEXT_BYTES / 3)).unwrap();
    Picture { camera: longest_name(), at: LATE, shot: Shot::Failed(text()), address: text() }
}

fn longest_name() -> Name {
    Name::new(&"c".repeat(limits::NAME_BYTES)).unwrap()
}
