//! The plan in bytes: parts, changes, pieces, and rows of a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use huxiao_core::plan::{
    Area, Change, Contact, Counts, Device, DeviceKind, Drill, Duty, GbCode, Holiday, Hours, Label, Line, PersonRules,
    Phone, Picture, Plan, Position, Province, RtspAddr, School, SchoolHours, Station, Subject, Tally, Times, Watch,
    Weekdays, Zone, province,
};
use huxiao_core::record::{
    ApplyPlan, Command, PlanImage, PlanRefusal, PlanState, PlanVersion, StageId, StagePlan, Staged,
};
use huxiao_core::{Text, WallTime, limits};
use huxiao_wire::{
    PlanRows, WireError, cut_plan_changes, decode_command, decode_plan_page, decode_stage_plan, encode_command,
    encode_plan_change, encode_plan_page, encode_plan_rows, encode_stage_plan,
};
use proptest::prelude::*;

use crate::golden::{frozen, none};
use crate::samples::{name, node};

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

fn hours(from: &str, to: &str) -> Hours {
    Hours { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

/// A school in which every field is set.
fn school() -> School {
    let device = |id: &str, kind, picture| Device {
        id: name(id),
        kind,
        place: label("正门"),
        zone: Some(name("gate")),
        picture,
    };
    School {
        id: "3611020001".parse().unwrap(),
        name: label("信州区第一小学"),
        address: label("带湖路1号"),
        position: Position::from_micros(28_454_863, -117_943_433).ok(),
        area: "361102".parse().ok(),
        silent: true,
        stations: vec!["xinzhou-dongshi".parse().unwrap(), "xinzhou-xishi".parse().unwrap()],
        neighbours: vec!["yugan-yuting".parse().unwrap()],
        times: Times { louder: Some(10), county: Some(20), city: Some(40), province: Some(80), ..Times::default() },
        test_every_days: Some(30),
        zones: vec![Zone { id: name("gate"), name: label("正门"), line: Line::Gate }],
        devices: vec![
            device("button-1", DeviceKind::Button, None),
            device("camera-1", DeviceKind::Camera, GbCode::new("36110200111310000001").ok().map(Picture::Gb28181)),
            device("camera-2", DeviceKind::Camera, RtspAddr::new("rtsp://10.1.2.3/a").ok().map(Picture::Rtsp)),
        ],
        contacts: vec![Contact {
            name: label("王"), role: label("校长"), phone: Phone::new("139-0793-0001").unwrap()
        }],
        duty: vec![Duty { days: Weekdays::from_bits(31).unwrap(), hours: hours("07:00", "08:30"), absent_secs: 60 }],
        drills: vec![Drill { day: "2026-12-04".parse().unwrap(), hours: hours("10:00", "10:30") }],
        persons: PersonRules::default(),
    }
}

/// One change of each kind.
fn changes() -> Vec<Change> {
    let area = Area {
        code: "361102".parse().unwrap(),
        name: label("信州区"),
        desk: "xinzhou-110".parse().ok(),
        times: Times { county: Some(20), ..Times::default() },
        school_hours: vec![],
        holidays: vec![],
    };
    let station = Station {
        id: "xinzhou-110".parse().unwrap(),
        name: label("指挥中心"),
        area: "361102".parse().ok(),
        phone: Phone::new("110").unwrap(),
    };
    let watch = Watch { region: name("east"), stations: vec!["xinzhou-110".parse().unwrap()] };
    vec![
        Change::Area(Arc::new(area)),
        Change::Station(Arc::new(station)),
        Change::School(Arc::new(school())),
        Change::School(Arc::new(School::bare("s2".parse().unwrap(), vec!["a".parse().unwrap()]))),
        Change::Watch(Arc::new(watch)),
        Change::Remove(Subject::Area("361103".parse().unwrap())),
        Change::Remove(Subject::Station("old".parse().unwrap())),
        Change::Remove(Subject::School("s3".parse().unwrap())),
        Change::Remove(Subject::Region(name("west"))),
    ]
}

fn staged() -> StagePlan {
    StagePlan { stage: StageId(*b"stage-of-a-plan!"), part: 1, parts: 3, changes: changes().into() }
}

fn order() -> ApplyPlan {
    ApplyPlan {
        stage: StageId(*b"stage-of-a-plan!"),
        base: 6,
        digest: [0xAB; 32],
        by: node("broker/nanning/n1"),
        who: label("王警官"),
        at: WallTime(1_764_000_000_000_000),
        note: Text::new("新学期").unwrap(),
    }
}

fn image() -> PlanImage {
    let tally = Tally { added: 1, changed: 2, removed: 3 };
    let counts = Counts { areas: tally, stations: tally, schools: tally, regions: Tally::default() };
    let ApplyPlan { digest, by, who, at, note, .. } = order();
    let version = PlanVersion { version: 7, index: 90, digest, by, who, at, note, counts };
    let StagePlan { stage, part, parts, changes } = staged();
    let refusals = [
        PlanRefusal::OtherBase { base: 1, now: 2 },
        PlanRefusal::Incomplete { have: 1, parts: 2 },
        PlanRefusal::Superseded,
        PlanRefusal::Invalid(vec![Text::new("school s1 has no station").unwrap()]),
    ];
    let outcomes = refusals.into_iter().map(Err).chain([Ok(7)]);
    let plain = self::changes().into_iter().filter(|change| !matches!(change, Change::Remove(_)));
    PlanImage {
        parts: plain.collect(),
        history: vec![Arc::new(version)],
        staged: Some(Staged { stage, parts, had: BTreeMap::from([(part, changes)]) }),
        outcomes: (1..).map(|id| StageId([id; 16])).zip(outcomes).collect(),
    }
}

fn read(rows: &[Vec<u8>]) -> Result<PlanImage, WireError> {
    let mut image = PlanRows::default();
    rows.iter().try_for_each(|row| image.take(row))?;
    Ok(image.finish())
}

/// An area that says all that one can say.
fn full_area() -> Change {
    let times = Times { arrival: Some(1_200), dispatch_nudge: Some(45), ..Times::default() };
    Change::Area(Arc::new(Area {
        code: "361102".parse().unwrap(),
        name: label("信州区"),
        desk: None,
        times: Times { dispatch_county: Some(90), dispatch_city: Some(240), ..times },
        school_hours: vec![SchoolHours { days: Weekdays::from_bits(31).unwrap(), hours: hours("06:30", "18:00") }],
        holidays: vec![Holiday { from: "2026-10-01".parse().unwrap(), to: "2026-10-07".parse().unwrap() }],
    }))
}

#[test]
fn an_area_with_all_that_it_can_say_is_read_back() {
    let mut wrong = String::new();
    frozen("plan_change_area", &encode_plan_change(&full_area()), &mut wrong, |_| {});
    none(&wrong);
    let part = StagePlan { changes: vec![full_area()].into(), ..staged() };
    assert_eq!(decode_stage_plan(&encode_stage_plan(&part)).unwrap().changes.as_ref(), [full_area()]);
}

#[test]
fn the_plan_keeps_its_bytes() {
    let mut wrong = String::new();
    for (at, change) in changes().iter().enumerate() {
        frozen(&format!("plan_change_{at}"), &encode_plan_change(change), &mut wrong, |_| {});
    }
    for (at, row) in encode_plan_rows(image()).iter().enumerate() {
        frozen(&format!("plan_row_{at}"), row, &mut wrong, |_| {});
    }
    for (name, command) in
        [("command_stage_plan", Command::StagePlan(staged())), ("command_apply_plan", Command::ApplyPlan(order()))]
    {
        frozen(name, &encode_command(&command), &mut wrong, |bytes| {
            assert_eq!(decode_command(bytes), Ok(command.clone()));
        });
    }
    none(&wrong);
}

#[test]
fn what_was_written_is_read() {
    assert_eq!(decode_stage_plan(&encode_stage_plan(&staged())), Ok(staged()));
    assert_eq!(read(&encode_plan_rows(image())), Ok(image()));
    assert_eq!(read(&[]), Ok(PlanImage::default()));
    let page = decode_plan_page(&encode_plan_page(4, changes().into_iter())).unwrap();
    assert_eq!((page.version, page.parts, page.left), (4, changes(), 0));
}

#[test]
fn a_province_goes_in_pieces_and_comes_out_whole() {
    let plan = province(&Province { schools: 2_000, stations: 200, seed: 3 }).unwrap();
    let mut parts: Vec<Change> = Vec::new();
    loop {
        let page = decode_plan_page(&encode_plan_page(1, plan.parts().skip(parts.len()))).unwrap();
        parts.extend(page.parts);
        assert_eq!(plan.parts().count() - parts.len(), usize::try_from(page.left).unwrap());
        if page.left == 0 {
            break;
        }
    }
    assert_eq!(Plan::of_parts(&parts).as_ref(), Ok(&plan));
    let pieces = cut_plan_changes(parts.clone());
    assert!(pieces.len() > 10);
    let total = u32::try_from(pieces.len()).unwrap();
    for (part, changes) in (0..).zip(pieces.clone()) {
        let part = StagePlan { stage: StageId([1; 16]), part, parts: total, changes: changes.into() };
        let command = Command::StagePlan(part);
        let bytes = encode_command(&command);
        assert!(bytes.len() <= limits::EXPRESS_FRAME_BYTES);
        assert_eq!(decode_command(&bytes), Ok(command));
    }
    assert_eq!(pieces.concat(), parts);
    assert_eq!(cut_plan_changes(vec![]), [vec![]]);
    let state = PlanState::from_image(PlanImage { parts, ..image() }).unwrap();
    assert_eq!(**state.plan(), plan);
}

#[test]
fn the_largest_school_fits_one_part() {
    let (long, words) = ("n".repeat(limits::NAME_BYTES - 2), label(&"字".repeat(64)));
    let named = |at: usize| name(&format!("{long}{at:02}"));
    let stations = |count: usize| (0..count).map(|at| huxiao_core::StationId(named(at))).collect::<Vec<_>>();
    let rtsp = format!("rtsp://{}", "h".repeat(limits::PLAN_LABEL_BYTES - 7));
    let mut largest = school();
    (largest.name, largest.address) = (words.clone(), words.clone());
    (largest.stations, largest.neighbours) = (stations(limits::STATIONS_PER_SCHOOL), stations(limits::PLAN_NEIGHBOURS));
    largest.zones =
        (0..limits::PLAN_ZONES).map(|at| Zone { id: named(at), name: words.clone(), line: Line::Far }).collect();
    let device = |at: usize| Device {
        id: named(at),
        kind: DeviceKind::Camera,
        place: words.clone(),
        zone: Some(named(0)),
        picture: RtspAddr::new(&rtsp).ok().map(Picture::Rtsp),
    };
    largest.devices = (0..limits::PLAN_DEVICES).map(device).collect();
    let contact = Contact { name: words.clone(), role: words.clone(), phone: Phone::new(&"1".repeat(32)).unwrap() };
    largest.contacts = vec![contact; limits::PLAN_CONTACTS];
    largest.duty = vec![largest.duty[0]; limits::PLAN_DUTY_HOURS];
    largest.drills = vec![largest.drills[0]; limits::PLAN_DRILLS];
    let change = Change::School(Arc::new(largest));
    let bytes = encode_plan_change(&change).len();
    assert!(bytes > 40_000 && bytes < limits::PLAN_PART_BYTES, "{bytes}");
    let part = StagePlan { stage: StageId([1; 16]), part: 0, parts: 1, changes: vec![change].into() };
    let command = Command::StagePlan(part);
    assert_eq!(decode_command(&encode_command(&command)), Ok(command));
}

#[test]
fn what_is_beyond_the_limits_is_refused_by_name() {
    let refused = |part: StagePlan| decode_stage_plan(&encode_stage_plan(&part)).unwrap_err().to_string();
    let with = |change: &dyn Fn(&mut School)| {
        let mut school = school();
        change(&mut school);
        refused(StagePlan { changes: vec![Change::School(Arc::new(school))].into(), ..staged() })
    };
    assert!(refused(StagePlan { part: 3, ..staged() }).contains("stage_plan.part"));
    assert!(refused(StagePlan { parts: limits::PLAN_PARTS + 1, ..staged() }).contains("stage_plan.parts"));
    let many = |count: usize| vec![school().stations[0].clone(); count];
    assert!(with(&|school| school.stations = many(17)).contains("plan.school.stations"));
    assert!(with(&|school| school.neighbours = many(9)).contains("plan.school.neighbours"));
    assert!(with(&|school| school.zones = vec![school.zones[0].clone(); 17]).contains("plan.school.zones"));
    assert!(with(&|school| school.devices = vec![school.devices[0].clone(); 65]).contains("plan.school.devices"));
    assert!(with(&|school| school.contacts = vec![school.contacts[0].clone(); 17]).contains("plan.school.contacts"));
    assert!(with(&|school| school.duty = vec![school.duty[0]; 17]).contains("plan.school.duty"));
    assert!(with(&|school| school.drills = vec![school.drills[0]; 33]).contains("plan.school.drills"));
}

proptest! {
    #[test]
    fn nothing_that_is_read_ends_the_reader(at in any::<prop::sample::Index>(), flip in 1..=255_u8, cut in any::<bool>()) {
        let page = encode_plan_page(1, changes().into_iter());
        let mut all = encode_plan_rows(image());
        all.extend([encode_stage_plan(&staged()), page, encode_command(&Command::ApplyPlan(order()))]);
        for mut bytes in all {
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
            let _ = (decode_stage_plan(&bytes), decode_plan_page(&bytes), decode_command(&bytes), PlanRows::default().take(&bytes));
        }
    }
}
