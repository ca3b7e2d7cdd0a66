//! One fixed value of everything that has bytes: the messages and rows of one alarm's way.

#[path = "samples_video.rs"]
pub(crate) mod video;

use std::collections::BTreeSet;
use std::sync::Arc;

use huxiao_core::case::{
    Action, ActionId, Case, CaseNumber, CaseOrder, CaseRefusal, History, LastStep, Owner, Reason, State,
    Step as CaseStep, Summary, Verb,
};
use huxiao_core::drill::{CloseDrill, Drill, DrillId, DrillOrder, DrillRefusal, OpenDrill, Scope};
use huxiao_core::plan::{Label, PlanMark, School, SchoolPart};
use huxiao_core::record::{Admission, Bond, Command, Entry, Escalation, Part};
use huxiao_core::relay::RelayRow;
use huxiao_core::signature::{Algorithm, Signature};
use huxiao_core::station::InboxRow;
use huxiao_core::{
    About, Class, Degraded, Details, Echo, Escalate, Event, EventCopy, EventId, Hello, Kind, Message, Mode, Name,
    NodeName, Overdue, Ownership, Receipt, RecordId, Refusal, RelayId, Resume, Rung, SchoolId, Sealed, Span, Stage,
    Standing, StationId, Step, Text, Trail, Trouble, WallTime,
};
use huxiao_wire::seal;

pub(crate) const RAISED: WallTime = WallTime(1_764_000_000_000_000);

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn node(text: &str) -> NodeName {
    text.parse().unwrap()
}

pub(crate) fn after(millis: i64) -> WallTime {
    WallTime(RAISED.0 + millis * 1_000)
}

pub(crate) fn alarm() -> Event {
    Event {
        id: "019ab5f0-1c00-7aaa-8bbb-0123456789ab".parse().unwrap(),
        relay: RelayId { school: SchoolId(name("4501020001")), device: name("gate-1") },
        epoch: 7,
        seq: 300,
        kind: Kind::Panic,
        class: Class::P0,
        mode: Mode::Live,
        device: Some(name("button-1")),
        zone: Some(name("gatehouse")),
        note: Text::new("南门有人持械").unwrap(),
        raised_at: RAISED,
        count: 1,
        details: Details::default(),
    }
}

/// An event that states only what it must.
pub(crate) fn bare() -> Event {
    Event {
        epoch: 0,
        seq: 0,
        kind: Kind::Mains,
        class: Class::P2,
        mode: Mode::Test,
        device: None,
        zone: None,
        note: Text::default(),
        raised_at: WallTime(0),
        ..alarm()
    }
}

/// An event with details.
pub(crate) fn person() -> Event {
    let details = [("person", "p-17"), ("list", "wanted"), ("score", "0.93"), ("camera", "cam-2")];
    Event { kind: Kind::Person, class: Class::P1, details: Details::new(details).unwrap(), ..alarm() }
}

pub(crate) fn sealed() -> Sealed {
    seal(&alarm())
}

/// The same alarm, signed.
pub(crate) fn signed() -> Sealed {
    let (certificate, bytes) = (b"a certificate".as_slice().into(), [7; 64].as_slice().into());
    Sealed { signature: Some(Signature { algorithm: Algorithm::ED25519, certificate, bytes }), ..sealed() }
}

pub(crate) fn other_id() -> EventId {
    "019ab5f0-1c00-7aaa-8bbb-fedcba987654".parse().unwrap()
}

pub(crate) fn trail() -> Trail {
    Trail::new(vec![
        Step { node: node("relay/4501020001/gate-1"), arrived: RAISED, left: Some(after(1)), skew: None },
        Step { node: node("broker/nanning/n1"), arrived: after(21), left: None, skew: None },
    ])
}

pub(crate) fn stored() -> Receipt {
    Receipt {
        event: alarm().id,
        stage: Stage::Stored,
        at: after(25),
        by: node("broker/nanning/n1"),
        officer: None,
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    }
}

pub(crate) fn acknowledged() -> Receipt {
    Receipt {
        event: alarm().id,
        stage: Stage::Acknowledged,
        at: after(4_200),
        by: node("station/xixiangtang/seat-2"),
        officer: Some(name("045123")),
        note: Text::new("已派两车").unwrap(),
        skew: None,
        standing: Standing::Settled,
    }
}

/// A trail from clocks that are known to differ.
pub(crate) fn skewed() -> Trail {
    let known = trail();
    let steps = known.steps().iter().cloned();
    Trail::new(steps.map(|step| Step { skew: step.left.map(|_| -61_000_000), ..step }).collect())
}

/// A receipt from a clock that is known to be ahead.
pub(crate) fn ahead() -> Receipt {
    Receipt { skew: Some(1_500), ..acknowledged() }
}

pub(crate) fn resume() -> Resume {
    Resume { record: RecordId(*b"record-of-region"), index: 70_000 }
}

pub(crate) fn escalate() -> Escalate {
    Escalate {
        event: alarm().id,
        stations: vec![StationId(name("nanning-110")), StationId(name("guangxi-duty"))],
        by: node("station/xixiangtang/seat-1"),
        officer: Some(name("045123")),
        at: after(41),
        note: Text::new("两人持刀").unwrap(),
    }
}

/// An officer closes a case.
pub(crate) fn case_order() -> CaseOrder {
    CaseOrder {
        id: ActionId(*b"order-of-officer"),
        event: alarm().id,
        action: Action::Close(Reason::Accidental),
        by: node("station/xixiangtang/seat-2"),
        officer: name("045123"),
        at: after(600_000),
        note: Text::new("门卫误碰").unwrap(),
    }
}

fn not_now() -> CaseRefusal {
    CaseRefusal::NotNow { verb: Verb::Onscene, state: State::Acknowledged }
}

/// A case of which there is all to say.
pub(crate) fn case_summary() -> Summary {
    Summary {
        event: alarm().id,
        state: State::Closed,
        level: 1,
        owner: Some(Owner { by: node("station/xixiangtang/seat-2"), officer: Some(name("045123")) }),
        cancel_requested: true,
        number_110: Some(CaseNumber::new("110-2025-0077").unwrap()),
        reason: Some(Reason::Accidental),
        steps: 3,
        last: Some(LastStep {
            verb: Verb::Close,
            by: node("station/xixiangtang/seat-2"),
            officer: Some(name("045123")),
            at: after(600_000),
        }),
        bond: Bond::Alone,
        presses: 0,
        live: false,
    }
}

/// A case of which there is nothing to say.
fn case_plain() -> Summary {
    Summary {
        event: other_id(),
        state: State::Raised,
        level: 0,
        owner: None,
        cancel_requested: false,
        number_110: None,
        reason: None,
        steps: 0,
        last: None,
        bond: Bond::Alone,
        presses: 0,
        live: false,
    }
}

/// A case with a history, as the record has it.
fn case() -> Case {
    let mut history = History::default();
    let taken = CaseStep {
        number: 1,
        index: 70_000,
        id: ActionId([0; 16]),
        action: Action::Acknowledge,
        state: State::Acknowledged,
        level: 0,
        by: acknowledged().by,
        officer: acknowledged().officer,
        at: acknowledged().at,
        heard: acknowledged().at,
        note: acknowledged().note,
        digest: [0x11; 32],
    };
    let order = case_order();
    let closed = CaseStep {
        number: 2,
        index: 70_009,
        id: order.id,
        action: order.action,
        state: State::Closed,
        by: order.by,
        officer: Some(order.officer),
        at: order.at,
        heard: after(600_004),
        note: order.note,
        digest: [0x22; 32],
        ..taken
    };
    assert!(history.push(taken) && history.push(closed));
    let Summary { state, level: _, owner, cancel_requested, number_110, reason, .. } = case_summary();
    let closed = reason.map(|reason| (reason, after(600_004)));
    let refused = [(ActionId(*b"order-of-another"), not_now())].into();
    Case { state, level: 0, owner, cancel_requested, number_110, closed, live: false, history, refused }
}

/// Every message, each under the name of its golden file.
pub(crate) fn messages() -> Vec<(&'static str, Message)> {
    let copy = EventCopy { sealed: sealed(), trail: trail(), receipts: vec![stored(), acknowledged()] };
    let hello = Hello { software: "huxiao 0.1.0".to_owned(), wire_minor: 2, resume: Some(resume()) };
    let bare_copy = EventCopy { sealed: seal(&bare()), trail: Trail::default(), receipts: vec![] };
    let mut all = vec![
        ("hello", Message::Hello(hello)),
        ("hello_bare", Message::Hello(Hello { software: String::new(), wire_minor: 0, resume: None })),
        ("event", Message::Event(copy)),
        ("event_bare", Message::Event(bare_copy)),
        ("receipts", Message::Receipts(vec![stored(), acknowledged()])),
        ("receipts_empty", Message::Receipts(vec![])),
        ("confirmed", Message::Confirmed(vec![(alarm().id, Stage::Delivered), (alarm().id, Stage::Displayed)])),
        ("inquire", Message::Inquire(vec![alarm().id, other_id()])),
        ("unknown", Message::Unknown(vec![other_id()])),
        ("refused_other_school", Message::Refused(alarm().id, Refusal::OtherSchool)),
        ("refused_other_relay", Message::Refused(alarm().id, Refusal::OtherRelay)),
        ("refused_expired", Message::Refused(alarm().id, Refusal::Expired)),
        ("refused_no_room", Message::Refused(alarm().id, Refusal::NoRoom)),
        ("refused_other", Message::Refused(alarm().id, Refusal::Other)),
        ("mark", Message::Mark(resume())),
        ("probe", Message::Probe(70_000)),
        ("echo", Message::Echo(Echo { number: 70_000, received: after(7), sent: after(8) })),
        ("condition", Message::Condition(Some(degraded()))),
        ("condition_well", Message::Condition(None)),
        ("receipts_standing", Message::Receipts(vec![provisional(), assisting()])),
        ("escalate", Message::Escalate(escalate())),
        ("escalated", Message::Escalated(alarm().id, vec![StationId(name("nanning-110"))])),
        ("ownership", Message::Ownership(ownership())),
        ("case_order", Message::Case(Box::new(case_order()))),
        ("cases", Message::Cases(vec![case_summary(), case_plain()])),
        ("case_taken", Message::CaseTaken(case_order().id, 3, Box::new(case_summary()))),
        ("case_refused", Message::CaseRefused(case_order().id, CaseRefusal::NotOwner, Some(Box::new(case_summary())))),
        ("case_refused_not_now", Message::CaseRefused(case_order().id, not_now(), None)),
        ("case_ask", Message::CaseAsk(alarm().id, 300)),
        ("case_steps", Message::CaseSteps(alarm().id, case().history.steps().cloned().collect(), 2)),
        ("cases_bonded", Message::Cases(bonded())),
        ("school_plan", Message::SchoolPlan(Box::new(school_part()))),
        ("school_plan_none", Message::SchoolPlan(Box::new(SchoolPart { school: None, ..school_part() }))),
        ("plan_kept", Message::PlanKept(school_part().mark)),
        ("refused_other_region", Message::Refused(alarm().id, Refusal::OtherRegion)),
        ("drills", Message::Drills(vec![drill().into(), drill_closed().into()])),
        ("drill_mode", Message::DrillMode(Box::new(drill().mode_at(after(90_000))))),
        ("drill_heard", Message::DrillHeard(drill().id())),
        ("drill_order_open", Message::DrillOrder(Box::new(DrillOrder::Open(open_drill())))),
        ("drill_order_close", Message::DrillOrder(Box::new(DrillOrder::Close(close_drill())))),
        ("drill_answer", Message::DrillAnswer(drill().id(), Ok(drill().into()))),
        ("drill_answer_refused", Message::DrillAnswer(drill().id(), Err(DrillRefusal::NotYours))),
        ("receipts_closed", Message::Receipts(vec![closed()])),
        ("cases_live", Message::Cases(vec![Summary { live: true, ..case_summary() }])),
        ("event_skewed", Message::Event(EventCopy { sealed: sealed(), trail: skewed(), receipts: vec![ahead()] })),
        ("event_signed", Message::Event(EventCopy { sealed: signed(), trail: trail(), receipts: vec![] })),
        ("seat_state", Message::SeatState { audible: true }),
        ("seat_state_deaf", Message::SeatState { audible: false }),
    ];
    all.extend(video::messages());
    all.extend(crate::samples_command::messages());
    all
}

/// Cases that have something to do with others.
fn bonded() -> Vec<Summary> {
    let bonds = [Bond::Repeat(alarm().id), Bond::Child(alarm().id), Bond::Follows(alarm().id)];
    bonds.into_iter().map(|bond| Summary { bond, presses: 3, ..case_plain() }).collect()
}

/// A school's part of the plan.
fn school_part() -> SchoolPart {
    let school = School::bare(alarm().relay.school, vec![StationId(name("xixiangtang"))]);
    SchoolPart { mark: PlanMark { record: Some(resume().record), version: 7 }, school: Some(Arc::new(school)) }
}

/// A drill of a city.
pub(crate) fn open_drill() -> OpenDrill {
    OpenDrill {
        id: DrillId(*b"a-drill-of-a-day"),
        scope: Scope::area("4501").unwrap(),
        devices: [name("button-1"), name("button-2")].into(),
        from: after(60_000),
        length: Span::from_secs(1_200),
        by: node("station/nanning-110/seat-1"),
        approver: Label::new("韦所长").unwrap(),
        note: Text::new("开学第一课").unwrap(),
        planned: false,
        at: after(10),
    }
}

pub(crate) fn close_drill() -> CloseDrill {
    CloseDrill {
        id: open_drill().id,
        by: node("broker/nanning/n1"),
        who: Label::new("值班员").unwrap(),
        note: Text::default(),
        at: after(300_000),
    }
}

fn drill() -> Drill {
    Drill { from: after(60_000), until: after(1_260_000), closed: None, order: open_drill() }
}

/// A drill of two schools that was ended.
fn drill_closed() -> Drill {
    let scope = Scope::Schools([SchoolId(name("450107001")), SchoolId(name("450107002"))].into());
    let order = OpenDrill { scope, devices: [].into(), planned: true, ..open_drill() };
    Drill { order, closed: Some(close_drill()), ..drill() }
}

/// The receipt of an alarm that was closed by itself.
fn closed() -> Receipt {
    Receipt {
        stage: Stage::Closed,
        by: node("broker/nanning/n1"),
        officer: None,
        note: Text::default(),
        ..acknowledged()
    }
}

pub(crate) fn relay_row() -> RelayRow {
    RelayRow {
        slot: 12,
        sealed: sealed(),
        idempotency_key: Some("press-20251124-001".to_owned()),
        receipts: vec![stored(), acknowledged()],
    }
}

pub(crate) fn inbox_row() -> InboxRow {
    InboxRow {
        seq: 4,
        sealed: sealed(),
        trail: trail(),
        received_at: after(30),
        receipts: vec![stored(), acknowledged()],
        unconfirmed: BTreeSet::from([Stage::Displayed, Stage::Acknowledged]),
        ownership: None,
        case: None,
        signature: None,
    }
}

pub(crate) fn degraded() -> Degraded {
    Degraded { since: after(900), why: Text::new("only 1 of 3 nodes answers: n2, n3 silent").unwrap() }
}

/// A receipt of a node without a quorum.
pub(crate) fn provisional() -> Receipt {
    Receipt { standing: Standing::Provisional, ..acknowledged() }
}

/// The receipt of the officer who came second.
pub(crate) fn assisting() -> Receipt {
    Receipt { standing: Standing::Assisting, by: node("station/nanning-110/seat-1"), ..acknowledged() }
}

/// An event of the record as it is admitted, and one with all that can become of it; each under the name of its golden file.
pub(crate) fn entries() -> Vec<(&'static str, Entry)> {
    let admission = || match commands().swap_remove(0) {
        (_, Command::Admit(admission)) => admission,
        (name, _) => panic!("{name} comes first"),
    };
    let escalation = Escalation {
        index: 70_002,
        stations: vec![StationId(name("province-110"))],
        by: node("broker/guangxi/p1"),
        officer: Some(name("450017")),
        at: after(60_000),
        note: Text::new("一分钟无人接警").unwrap(),
    };
    let plain = Entry {
        index: 70_000,
        routed_at: 70_000,
        admission: admission(),
        notes: vec![],
        escalations: vec![],
        overdue: vec![],
        forwarded: vec![],
        bond: Bond::Alone,
        presses: 0,
        pressed_at: None,
        case: Case::default(),
        pictures: vec![],
        trouble: None,
        part: Part::WHOLE,
    };
    let signed = Entry { admission: Admission { sealed: signed(), ..admission() }, ..plain.clone() };
    let mut full = Entry {
        routed_at: 70_001,
        notes: vec![acknowledged(), assisting()],
        forwarded: vec![Stage::Stored, Stage::Acknowledged],
        ..plain.clone()
    };
    full.admission.stations.extend(escalation.stations.iter().cloned());
    full.admission.owed = true;
    full.escalations.push(escalation);
    let mut overdue = full.clone();
    overdue.admission.stations.push(StationId(name("xixiangtang-county")));
    overdue.overdue = vec![reached(Rung::Louder, &[]), reached(Rung::County, &["xixiangtang-county"])];
    let kept = Entry { notes: vec![acknowledged()], case: case(), ..plain.clone() };
    let pictured = Entry { pictures: video::pictures().pictures, ..plain.clone() };
    let part = Entry { part: Part { at: 1, of: 3 }, ..kept.clone() };
    let mut joined =
        Entry { bond: Bond::Child(other_id()), presses: 2, pressed_at: Some(after(4_000)), ..plain.clone() };
    joined.admission.joins = true;
    let about = About::Silent(alarm().relay);
    let trouble = Entry { trouble: Some(Trouble { about, over: Some(after(90_000)) }), ..plain.clone() };
    vec![
        ("entry_trouble", trouble),
        ("entry", plain),
        ("entry_full", full),
        ("entry_overdue", overdue),
        ("entry_case", kept),
        ("entry_case_part", part),
        ("entry_joined", joined),
        ("entry_pictures", pictured),
        ("entry_signed", signed),
    ]
}

/// What a seat is told of an alarm that nobody takes.
pub(crate) fn ownership() -> Ownership {
    let owners = ["xixiangtang", "xixiangtang-county"].map(|owner| StationId(name(owner)));
    Ownership { event: alarm().id, rung: Rung::County, owners: owners.into(), at: after(30_000) }
}

fn reached(rung: Rung, owners: &[&str]) -> Overdue {
    let owners: Vec<_> = owners.iter().map(|owner| StationId(name(owner))).collect();
    let stations = owners.clone();
    Overdue { index: 70_003 + rung as u64, rung, owners, stations, by: node("broker/nanning/n1"), at: after(30_000) }
}

/// Every command, each under the name of its golden file.
pub(crate) fn commands() -> Vec<(&'static str, Command)> {
    let stations = vec![StationId(name("xixiangtang")), StationId(name("nanning-110"))];
    let admission = Admission {
        sealed: sealed(),
        trail: trail(),
        at: after(21),
        by: node("broker/nanning/n1"),
        stations: stations.clone(),
        owed: false,
        joins: false,
    };
    let owed = Admission { owed: true, ..admission.clone() };
    let signed = Admission { sealed: signed(), ..admission.clone() };
    let joining = Admission { joins: true, ..admission.clone() };
    let escalate = Command::Escalate {
        event: alarm().id,
        stations: stations.clone(),
        by: node("broker/guangxi/p1"),
        officer: Some(name("450017")),
        at: after(60_000),
        note: Text::new("一分钟无人接警").unwrap(),
    };
    let overdue = Command::Overdue {
        event: alarm().id,
        rung: Rung::City,
        owners: vec![StationId(name("nanning-110"))],
        told: vec![StationId(name("xingning"))],
        by: node("broker/nanning/n1"),
        at: after(60_000),
    };
    let forwarded = Command::Forwarded { event: alarm().id, stages: vec![Stage::Stored, Stage::Displayed] };
    let about = About::Silent(alarm().relay);
    let began = Command::TroubleBegan { about: about.clone(), admission: Box::new(admission.clone()) };
    let (by, at) = (node("broker/nanning/n1"), after(90_000));
    let over = Command::TroubleOver { about, admission: Some(Box::new(admission.clone())), by: by.clone(), at };
    let region = About::Outage(huxiao_core::trouble::Scope::Region);
    vec![
        ("command_admit", Command::Admit(admission)),
        ("command_note", Command::Note(acknowledged())),
        ("command_route", Command::Route { event: alarm().id, stations }),
        ("command_admit_owed", Command::Admit(owed)),
        ("command_admit_signed", Command::Admit(signed)),
        ("command_admit_joining", Command::Admit(joining)),
        ("command_found", Command::Found { record: resume().record }),
        ("command_escalate", escalate),
        ("command_forwarded", forwarded),
        ("command_overdue", overdue),
        ("command_pictures", video::command()),
        ("command_case", Command::Case { order: Box::new(case_order()), heard: after(600_004) }),
        ("command_trouble_began", began),
        ("command_trouble_over", over),
        ("command_trouble_over_bare", Command::TroubleOver { about: region, admission: None, by, at }),
        ("command_open_drill", Command::OpenDrill(Box::new(open_drill()))),
        ("command_close_drill", Command::CloseDrill(Box::new(close_drill()))),
        ("command_end_case", Command::EndCase { event: alarm().id, by: node("broker/nanning/n1"), at: after(300_000) }),
    ]
    .into_iter()
    .chain(crate::samples_command::commands())
    .collect()
}
