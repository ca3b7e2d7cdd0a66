//! Whatever is within the limits comes back as it was.

use std::collections::BTreeSet;

use huxiao_core::case::{
    Action, ActionId, Case, CaseNumber, CaseOrder, CaseRefusal, LastStep, Owner, Reason, State, Summary, Verb,
};
use huxiao_core::plan::AreaCode;
use huxiao_core::record::{Admission, Bond, Command, Entry, Escalation, Part};
use huxiao_core::relay::RelayRow;
use huxiao_core::signature::{Algorithm, Signature, Verdict};
use huxiao_core::station::InboxRow;
use huxiao_core::trouble::Scope;
use huxiao_core::{
    About, Class, Degraded, Details, Echo, Escalate, Event, EventCopy, EventId, Hello, Kind, Message, Mode, Name,
    NodeName, Overdue, Ownership, Receipt, RecordId, Refusal, RelayId, Resume, Rung, SchoolId, Sealed, SeatId, Stage,
    Standing, StationId, Step, Text, Trail, Trouble, WallTime, limits,
};
use huxiao_wire::{
    decode_command, decode_entry, decode_frame, decode_inbox_row, decode_relay_row, encode, encode_command,
    encode_entry, encode_inbox_row, encode_relay_row, encode_within, frame_len, seal, unseal,
};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn name() -> impl Strategy<Value = Name> {
    "[a-zA-Z0-9._-]{1,64}".prop_map(|text| Name::new(&text).unwrap())
}

fn text() -> impl Strategy<Value = Text> {
    "[\\PC\n\t]{0,60}".prop_map(|text| Text::new(&text).unwrap())
}

fn id() -> impl Strategy<Value = EventId> {
    any::<[u8; 16]>().prop_map(EventId::from_bytes)
}

fn node() -> impl Strategy<Value = NodeName> {
    (0..3, name(), name()).prop_map(|(role, first, second)| match role {
        0 => NodeName::Relay(RelayId { school: SchoolId(first), device: second }),
        1 => NodeName::Broker { region: first, node: second },
        _ => NodeName::Station(SeatId { station: StationId(first), seat: second }),
    })
}

fn wall() -> impl Strategy<Value = WallTime> {
    any::<i64>().prop_map(WallTime)
}

fn stage() -> impl Strategy<Value = Stage> {
    select(&Stage::ALL[..])
}

fn kind() -> impl Strategy<Value = (Kind, Class)> {
    let known = select(Kind::ALL).prop_map(|kind| {
        let class = kind.class().unwrap();
        (kind, class)
    });
    let newer = (name(), select(&Class::ALL[..]))
        .prop_filter("a name that this version knows", |(name, _)| Kind::known(name.as_str()).is_none())
        .prop_map(|(name, class)| (Kind::Other(name), class));
    prop_oneof![3 => known, 1 => newer]
}

fn event() -> impl Strategy<Value = Event> {
    let mode = select(&[Mode::Live, Mode::Drill, Mode::Test][..]);
    let detail = ("[a-z_]{1,12}", "[a-zA-Z0-9.我]{1,12}");
    let details = vec(detail, 0..5).prop_map(|details| {
        let named: std::collections::BTreeMap<String, String> = details.into_iter().collect();
        Details::new(named.iter().map(|(name, text)| (name.as_str(), text.as_str()))).unwrap()
    });
    let place = (option::of(name()), option::of(name()), text(), details);
    (id(), name(), name(), (any::<(u64, u64)>(), 1..=u32::MAX), kind(), mode, place, wall()).prop_map(
        |(id, school, relay, ((epoch, seq), count), (kind, class), mode, (device, zone, note, details), raised_at)| {
            Event {
                id,
                relay: RelayId { school: SchoolId(school), device: relay },
                epoch,
                seq,
                kind,
                class,
                mode,
                device,
                zone,
                note,
                raised_at,
                count,
                details,
            }
        },
    )
}

fn signature() -> impl Strategy<Value = Signature> {
    let (certificate, bytes) = (vec(any::<u8>(), 0..60), vec(any::<u8>(), 0..=limits::SIGNATURE_BYTES));
    (any::<u32>(), certificate, bytes).prop_map(|(algorithm, certificate, bytes)| Signature {
        algorithm: Algorithm(algorithm),
        certificate: certificate.into(),
        bytes: bytes.into(),
    })
}

/// An event as it travels, with a signature or without.
fn sealed() -> impl Strategy<Value = Sealed> {
    (event(), option::of(signature())).prop_map(|(event, signature)| Sealed { signature, ..seal(&event) })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let standing = select(&Standing::ALL[..]);
    (id(), stage(), wall(), node(), option::of(name()), text(), option::of(any::<i64>()), standing).prop_map(
        |(event, stage, at, by, officer, note, skew, standing)| Receipt {
            event,
            stage,
            at,
            by,
            officer,
            note,
            skew,
            standing,
        },
    )
}

fn trail() -> impl Strategy<Value = Trail> {
    let step = (node(), wall(), option::of(wall()), option::of(any::<i64>()))
        .prop_map(|(node, arrived, left, skew)| Step { node, arrived, left, skew });
    vec(step, 0..=4).prop_map(Trail::new)
}

fn resume() -> impl Strategy<Value = Resume> {
    (any::<[u8; 16]>(), any::<u64>()).prop_map(|(record, index)| Resume { record: RecordId(record), index })
}

fn hello() -> impl Strategy<Value = Message> {
    ("[ -~]{0,64}", any::<u32>(), option::of(resume()))
        .prop_map(|(software, wire_minor, resume)| Message::Hello(Hello { software, wire_minor, resume }))
}

fn copy() -> impl Strategy<Value = Message> {
    (sealed(), trail(), vec(receipt(), 0..6))
        .prop_map(|(sealed, trail, receipts)| Message::Event(EventCopy { sealed, trail, receipts }))
}

fn some_stations(least: usize) -> impl Strategy<Value = Vec<StationId>> {
    vec(name().prop_map(StationId), least..=limits::STATIONS_PER_SCHOOL)
}

fn escalate() -> impl Strategy<Value = Message> {
    (id(), some_stations(1), node(), option::of(name()), wall(), text()).prop_map(
        |(event, stations, by, officer, at, note)| {
            Message::Escalate(Escalate { event, stations, by, officer, at, note })
        },
    )
}

fn rung() -> impl Strategy<Value = Rung> {
    select(&Rung::ALL[..])
}

fn ownership() -> impl Strategy<Value = Ownership> {
    (id(), rung(), stations(), wall()).prop_map(|(event, rung, owners, at)| Ownership { event, rung, owners, at })
}

fn case_action() -> impl Strategy<Value = Action> {
    let plain = [Action::TakeOver, Action::Dispatch, Action::Enroute, Action::Onscene, Action::NeedHelp, Action::Note];
    prop_oneof![
        select(plain.to_vec()),
        select(Reason::ALL).prop_map(Action::Close),
        name().prop_map(|name| Action::Transfer(StationId(name))),
        "[!-~]{1,64}".prop_map(|text| Action::Number(CaseNumber::new(&text).unwrap())),
    ]
}

fn case_order() -> impl Strategy<Value = CaseOrder> {
    (any::<[u8; 16]>(), id(), case_action(), node(), name(), wall(), text()).prop_map(
        |(id, event, action, by, officer, at, note)| CaseOrder {
            id: ActionId(id),
            event,
            action,
            by,
            officer,
            at,
            note,
        },
    )
}

fn case_refusal() -> impl Strategy<Value = CaseRefusal> {
    (1..=15_i32, select(Verb::ALL), select(&State::ALL[..]))
        .prop_map(|(number, verb, state)| CaseRefusal::from_number(number, Some((verb, state))))
}

fn bond() -> impl Strategy<Value = Bond> {
    (0..4, id()).prop_map(|(kind, id)| match kind {
        0 => Bond::Alone,
        1 => Bond::Repeat(id),
        2 => Bond::Child(id),
        _ => Bond::Follows(id),
    })
}

fn case_summary() -> impl Strategy<Value = Summary> {
    let owner = option::of((node(), option::of(name())).prop_map(|(by, officer)| Owner { by, officer }));
    let last = (select(Verb::ALL), node(), option::of(name()), wall()).prop_map(|(verb, by, officer, at)| LastStep {
        verb,
        by,
        officer,
        at,
    });
    let marks = (0..=limits::CASE_LEVEL, any::<bool>(), any::<u64>(), bond(), any::<u32>());
    (id(), select(&State::ALL[..]), marks, owner, option::of(select(Reason::ALL)), option::of(last)).prop_map(
        |(event, state, (level, cancel_requested, steps, bond, presses), owner, reason, last)| {
            let number_110 = (steps % 2 == 0).then(|| CaseNumber::new("110-7").unwrap());
            let live = steps % 3 == 0;
            Summary {
                event,
                state,
                level,
                owner,
                cancel_requested,
                number_110,
                reason,
                steps,
                last,
                bond,
                presses,
                live,
            }
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    use Refusal::{Expired, Kind, NoRoom, Other, OtherRegion, OtherRelay, OtherSchool};
    let refusal = select(&[OtherSchool, OtherRelay, Expired, NoRoom, OtherRegion, Kind, Other][..]);
    prop_oneof![
        hello(),
        copy(),
        vec(receipt(), 0..12).prop_map(Message::Receipts),
        vec((id(), stage()), 0..40).prop_map(Message::Confirmed),
        vec(id(), 0..=limits::LIST_ITEMS).prop_map(Message::Inquire),
        vec(id(), 0..40).prop_map(Message::Unknown),
        (id(), refusal).prop_map(|(id, refusal)| Message::Refused(id, refusal)),
        resume().prop_map(Message::Mark),
        option::of((wall(), text()).prop_map(|(since, why)| Degraded { since, why })).prop_map(Message::Condition),
        escalate(),
        case_order().prop_map(|order| Message::Case(Box::new(order))),
        vec(case_summary(), 0..4).prop_map(Message::Cases),
        (any::<[u8; 16]>(), any::<u64>(), case_summary()).prop_map(|(id, step, case)| Message::CaseTaken(
            ActionId(id),
            step,
            Box::new(case)
        )),
        (any::<[u8; 16]>(), case_refusal(), option::of(case_summary()))
            .prop_map(|(id, why, case)| Message::CaseRefused(ActionId(id), why, case.map(Box::new))),
        (id(), some_stations(0)).prop_map(|(id, stations)| Message::Escalated(id, stations)),
        ownership().prop_map(Message::Ownership),
        any::<bool>().prop_map(|audible| Message::SeatState { audible }),
        any::<u64>().prop_map(Message::Probe),
        (any::<u64>(), wall(), wall()).prop_map(|(number, received, sent)| Message::Echo(Echo {
            number,
            received,
            sent
        })),
    ]
}

fn relay_row() -> impl Strategy<Value = RelayRow> {
    (any::<u64>(), sealed(), option::of("[!-~]{0,128}"), vec(receipt(), 0..6))
        .prop_map(|(slot, sealed, idempotency_key, receipts)| RelayRow { slot, sealed, idempotency_key, receipts })
}

fn inbox_row() -> impl Strategy<Value = InboxRow> {
    let unconfirmed = btree_set(stage(), 0..5);
    let ownership = option::of(ownership());
    let signed = (sealed(), option::of(select(&Verdict::ALL[..])));
    (any::<u64>(), signed, trail(), wall(), vec(receipt(), 0..6), unconfirmed, ownership).prop_map(
        |(seq, (sealed, signature), trail, received_at, receipts, unconfirmed, ownership): (
            _,
            _,
            _,
            _,
            _,
            BTreeSet<Stage>,
            _,
        )| {
            InboxRow { case: None, signature, ownership, seq, sealed, trail, received_at, receipts, unconfirmed }
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let found = any::<[u8; 16]>().prop_map(|record| Command::Found { record: RecordId(record) });
    let route = (id(), stations()).prop_map(|(event, stations)| Command::Route { event, stations });
    let escalate = (id(), stations(), (node(), option::of(name())), wall(), text()).prop_map(
        |(event, stations, (by, officer), at, note)| Command::Escalate { event, stations, by, officer, at, note },
    );
    let forwarded = (id(), stages()).prop_map(|(event, stages)| Command::Forwarded { event, stages });
    let admit = admission().prop_map(Command::Admit);
    let overdue = (id(), rung(), stations(), stations(), node(), wall())
        .prop_map(|(event, rung, owners, told, by, at)| Command::Overdue { event, rung, owners, told, by, at });
    let case = (case_order(), wall()).prop_map(|(order, heard)| Command::Case { order: Box::new(order), heard });
    let began = (about(), admission())
        .prop_map(|(about, admission)| Command::TroubleBegan { about, admission: Box::new(admission) });
    let over = (about(), option::of(admission()), node(), wall()).prop_map(|(about, admission, by, at)| {
        Command::TroubleOver { about, admission: admission.map(Box::new), by, at }
    });
    let others = prop_oneof![overdue, forwarded, case, began, over];
    prop_oneof![found, admit, receipt().prop_map(Command::Note), route, escalate, others]
}

fn about() -> impl Strategy<Value = About> {
    let relay = || (name(), name()).prop_map(|(school, device)| RelayId { school: SchoolId(school), device });
    prop_oneof![
        relay().prop_map(About::Silent),
        name().prop_map(|station| About::Unwatched(StationId(station))),
        Just(About::Outage(Scope::Region)),
        (110_000..829_999_u32).prop_map(|code| About::Outage(Scope::Area(AreaCode::new(code).unwrap()))),
        relay().prop_map(About::Gap),
        relay().prop_map(About::StoreLoss),
        name().prop_map(|school| About::Untested(SchoolId(school))),
    ]
}

fn stations() -> impl Strategy<Value = Vec<StationId>> {
    vec(name().prop_map(StationId), 0..5)
}

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    btree_set(stage(), 0..4).prop_map(|stages| stages.into_iter().collect())
}

fn admission() -> impl Strategy<Value = Admission> {
    (sealed(), trail(), wall(), node(), stations(), any::<[bool; 2]>()).prop_map(
        |(sealed, trail, at, by, stations, [owed, joins])| Admission { sealed, trail, at, by, stations, owed, joins },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let escalation = (any::<u64>(), stations(), (node(), option::of(name())), wall(), text())
        .prop_map(|(index, stations, (by, officer), at, note)| Escalation { index, stations, by, officer, at, note });
    let indexes = (any::<u64>(), option::of(1..u64::MAX));
    let joined = (bond(), any::<u32>(), option::of(wall()));
    let overdue = (any::<u64>(), rung(), stations(), stations(), node(), wall())
        .prop_map(|(index, rung, owners, stations, by, at)| Overdue { index, rung, owners, stations, by, at });
    let overdue = vec(overdue, 0..=Rung::ALL.len());
    let trouble = (about(), option::of(wall())).prop_map(|(about, over)| Trouble { about, over });
    (indexes, admission(), vec(receipt(), 0..6), vec(escalation, 0..4), overdue, stages(), joined, option::of(trouble))
        .prop_map(
            |(
                (index, routed),
                admission,
                notes,
                escalations,
                overdue,
                forwarded,
                (bond, presses, pressed_at),
                trouble,
            )| {
                let mut entry = Entry {
                    index,
                    routed_at: routed.unwrap_or(index),
                    admission,
                    notes,
                    escalations,
                    overdue,
                    forwarded,
                    bond,
                    presses,
                    pressed_at,
                    case: Case::default(),
                    pictures: crate::samples::video::pictures().pictures,
                    trouble,
                    part: Part::WHOLE,
                };
                entry.derive_case();
                entry
            },
        )
}

proptest! {
    #[test]
    fn an_event_comes_back(event in event()) {
        let sealed = seal(&event);
        prop_assert_eq!(&*sealed.event, &event);
        prop_assert_eq!(unseal(&sealed.bytes).unwrap(), sealed);
    }

    #[test]
    fn a_message_comes_back(message in message()) {
        let bytes = encode(&message);
        prop_assert_eq!(frame_len(bytes.first_chunk().unwrap(), bytes.len()).unwrap(), bytes.len());
        let back = decode_frame(&bytes, bytes.len()).unwrap();
        prop_assert_eq!(encode(&back), bytes, "encoding is deterministic");
        prop_assert_eq!(back, message);
    }

    #[test]
    fn a_list_comes_back_whole_from_frames_of_any_limit(list in vec(receipt(), 0..40), limit in 1_500_usize..6_000) {
        let frames = encode_within(&Message::Receipts(list.clone()), limit);
        let mut back = Vec::new();
        for frame in &frames {
            match decode_frame(frame, limit).unwrap() {
                Message::Receipts(part) => back.extend(part),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(back, list);
    }

    #[test]
    fn a_relay_row_comes_back(row in relay_row()) {
        prop_assert_eq!(decode_relay_row(&encode_relay_row(&row)).unwrap(), row);
    }

    #[test]
    fn an_inbox_row_comes_back(row in inbox_row()) {
        prop_assert_eq!(decode_inbox_row(&encode_inbox_row(&row)).unwrap(), row);
    }

    #[test]
    fn an_entry_comes_back(entry in entry()) {
        prop_assert_eq!(decode_entry(&encode_entry(&entry)).unwrap(), entry);
    }

    #[test]
    fn a_command_comes_back(command in command()) {
        prop_assert_eq!(decode_command(&encode_command(&command)).unwrap(), command);
    }
}
