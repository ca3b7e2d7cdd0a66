//! A snapshot is what was written, or nothing.

use huxiao_core::drill::{CloseDrill, DrillId, OpenDrill, Scope};
use huxiao_core::plan::{Change, Label, School};
use huxiao_core::record::{ApplyPlan, Command, StageId, StagePlan};
use huxiao_core::{Span, Stage, Text, WallTime};
use proptest::prelude::*;

use super::*;
use crate::record::testing::{admit, case_note, event_id, found, note};
use crate::record::types::{Member, Membership, log_id};

const LIMITS: RecordLimits =
    RecordLimits { finished: 4, open_cases: 4, events: 100, archived_ids: 8, test_case: limits::TEST_CASE };

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let stage = prop::sample::select(vec![Stage::Delivered, Stage::Displayed, Stage::Acknowledged]);
    let seat = prop::sample::select(vec!["d1", "d2", "d3"]);
    let note = (0..20_u64, stage, seat).prop_map(|(number, stage, seat)| note(number, stage, seat));
    let plan = (1..4_u8, 0..2_u32, 0..4_u64, any::<bool>())
        .prop_map(|(stage, part, base, ordered)| if ordered { order(stage, base) } else { staged(stage, part) });
    let drill = (0..9_u8, any::<bool>()).prop_map(|(id, closes)| if closes { close_drill(id) } else { open_drill(id) });
    let command = prop_oneof![
        (0..20_u64).prop_map(admit),
        (20..24_u64).prop_map(tested),
        note.clone(),
        note,
        Just(found()),
        plan,
        drill
    ];
    prop::collection::vec(command, 0..60)
}

/// A test of a school, which the record remembers.
fn tested(number: u64) -> Command {
    let Command::Admit(mut admission) = admit(number) else { panic!("admitted") };
    let event = (*admission.sealed.event).clone();
    admission.sealed = huxiao_wire::seal(&huxiao_core::Event { mode: huxiao_core::Mode::Test, ..event });
    Command::Admit(admission)
}

/// A drill; every third one is refused, being none.
fn open_drill(id: u8) -> Command {
    Command::OpenDrill(Box::new(OpenDrill {
        id: DrillId([id; 16]),
        scope: if id.is_multiple_of(2) {
            Scope::area("3611").unwrap()
        } else {
            Scope::Schools(["s1".parse().unwrap()].into())
        },
        devices: ["gate".parse().unwrap()].into(),
        from: WallTime(i64::from(id)),
        length: Span::from_secs(if id.is_multiple_of(3) { 1 } else { 600 }),
        by: "broker/r1/b1".parse().unwrap(),
        approver: Label::new("王").unwrap(),
        note: Text::default(),
        planned: false,
        at: WallTime(3),
    }))
}

fn close_drill(id: u8) -> Command {
    Command::CloseDrill(Box::new(CloseDrill {
        id: DrillId([id; 16]),
        by: "broker/r1/b1".parse().unwrap(),
        who: Label::new("王").unwrap(),
        note: Text::default(),
        at: WallTime(70_000),
    }))
}

fn staged(stage: u8, part: u32) -> Command {
    let school = School::bare(format!("s{part}").parse().unwrap(), vec!["p1".parse().unwrap()]);
    let changes = vec![Change::School(school.into())].into();
    Command::StagePlan(StagePlan { stage: StageId([stage; 16]), part, parts: 2, changes })
}

fn order(stage: u8, base: u64) -> Command {
    Command::ApplyPlan(ApplyPlan {
        stage: StageId([stage; 16]),
        base,
        digest: [stage; 32],
        by: "broker/r1/b1".parse().unwrap(),
        who: Label::new("王").unwrap(),
        at: WallTime(7),
        note: Text::default(),
    })
}

fn state(commands: Vec<Command>) -> RecordState {
    let mut state = RecordState::new(LIMITS);
    for (index, command) in (1..).zip(commands) {
        state.apply(index, command);
    }
    state
}

fn meta(index: u64) -> SnapshotMeta {
    let member = |id: u64| (id, Member { name: format!("b{id}"), addr: format!("10.0.0.{id}:7443") });
    let members =
        Membership::new(vec![[1, 2].into(), [2, 3].into()], std::collections::BTreeMap::from([1, 2, 3, 4].map(member)))
            .unwrap();
    let last_membership = StoredMembership::new(Some(log_id(0, 0, 0)), members);
    SnapshotMeta { last_log_id: Some(log_id(3, 2, index)), last_membership }
}

fn written(meta: &SnapshotMeta, state: &RecordState) -> (tempfile::NamedTempFile, u64, Sha256Bytes) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let (bytes, sha256) = encode(&mut file, meta, state).unwrap();
    (file, bytes, sha256)
}

proptest! {
    #[test]
    fn a_snapshot_is_read_back_as_it_was(commands in commands(), empty in any::<bool>()) {
        let state = state(commands);
        let meta = if empty { SnapshotMeta::default() } else { meta(state.last_index() + 5) };
        let (file, bytes, sha256) = written(&meta, &state);
        let found = read(file.path(), LIMITS).unwrap();
        prop_assert_eq!(&found.meta, &meta);
        prop_assert_eq!(found.state.image(), state.image());
        prop_assert_eq!(found.bytes, bytes);
        prop_assert_eq!(found.sha256, sha256);
        let content = std::fs::read(file.path()).unwrap();
        prop_assert_eq!(Sha256Bytes::from(Sha256::digest(&content)), sha256);
        // The same record makes the same file, on whichever node.
        let (again, ..) = written(&meta, &found.state);
        prop_assert_eq!(std::fs::read(again.path()).unwrap(), content);
    }

    #[test]
    fn a_snapshot_with_a_changed_or_missing_byte_is_refused(commands in commands(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let state = state(commands);
        let (file, ..) = written(&meta(99), &state);
        let content = std::fs::read(file.path()).unwrap();
        let at = at.index(content.len());
        let mut changed = content.clone();
        changed[at] ^= flip;
        std::fs::write(file.path(), &changed).unwrap();
        prop_assert!(read(file.path(), LIMITS).is_err());
        std::fs::write(file.path(), &content[..at]).unwrap();
        prop_assert!(read(file.path(), LIMITS).is_err());
    }
}

#[test]
fn a_long_case_takes_several_rows_and_is_read_back_as_it_was() {
    let mut commands = vec![found(), admit(1), note(1, Stage::Acknowledged, "d1"), admit(2)];
    commands.extend((0..400).map(|number| case_note(1, number)));
    let state = state(commands);
    let entry = state.shared(&event_id(1)).unwrap();
    assert!(entry.case.steps() == 401 && entry.part_count() > 2, "{} rows", entry.part_count());
    let (file, ..) = written(&meta(500), &state);
    assert_eq!(read(file.path(), LIMITS).unwrap().state.image(), state.image());
    // A row of it that is missing is told.
    let mut rows: Vec<Arc<Entry>> = Vec::new();
    let parts = entry.parts();
    assert!(take_entry(&mut rows, parts[1].clone()).is_err(), "not the first");
    take_entry(&mut rows, parts[0].clone()).unwrap();
    assert!(take_entry(&mut rows, parts[2].clone()).is_err(), "not the next");
}

/// Puts a right digest behind bytes that nobody wrote.
fn sealed(mut content: Vec<u8>) -> tempfile::NamedTempFile {
    let digest = Sha256::digest(&content);
    content.extend_from_slice(&digest);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[test]
fn one_of_another_version_is_no_damage_and_says_so() {
    let (file, ..) = written(&meta(9), &state(vec![found(), admit(1)]));
    let mut content = std::fs::read(file.path()).unwrap();
    content[7] = u8::MAX;
    std::fs::write(file.path(), content).unwrap();
    let error = read(file.path(), LIMITS).unwrap_err();
    assert!(!error.is_damage() && error.to_string().contains("start the version that wrote it"), "{error}");
}

#[test]
fn counts_and_lengths_from_elsewhere_reserve_no_memory() {
    let (file, ..) = written(&meta(9), &state(vec![found(), admit(1)]));
    let content = std::fs::read(file.path()).unwrap();
    let content = &content[..content.len() - 32];
    let mut long = content[..8].to_vec();
    long.extend_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(read(sealed(long).path(), LIMITS), Err(SnapshotError::Nonsense { what: "the head", .. })));
    let head = u32::from_be_bytes(content[8..12].try_into().unwrap()) as usize;
    for number in 1..=4 {
        let mut many = content.to_vec();
        many[12 + head - 8 * number..][..8].copy_from_slice(&u64::MAX.to_be_bytes());
        assert!(number > 2 || read(sealed(many).path(), LIMITS).is_err(), "number {number} from the end");
    }
}

#[test]
fn what_follows_the_last_entry_is_refused() {
    let (file, ..) = written(&meta(9), &state(vec![found(), admit(1)]));
    let content = std::fs::read(file.path()).unwrap();
    let mut more = content[..content.len() - 32].to_vec();
    more.push(0);
    assert!(matches!(read(sealed(more).path(), LIMITS), Err(SnapshotError::Nonsense { .. })));
}

#[test]
fn a_record_without_a_plan_is_written_as_before_there_were_plans() {
    let format = |commands: Vec<Command>| {
        let (file, ..) = written(&meta(9), &state(commands));
        std::fs::read(file.path()).unwrap()[7]
    };
    assert_eq!(format(vec![found(), admit(1)]), 1);
    assert_eq!(format(vec![found(), staged(1, 0)]), 2);
}

#[test]
fn a_plan_is_in_the_snapshot_with_its_history_and_what_waits() {
    let commands = vec![found(), staged(1, 0), staged(1, 1), order(1, 0), order(9, 0), staged(2, 0)];
    let state = state(commands);
    let (file, ..) = written(&meta(9), &state);
    let found = read(file.path(), LIMITS).unwrap().state;
    let plan = found.plan();
    assert_eq!((plan.version(), plan.plan().schools(), plan.history().count()), (1, 2, 1));
    assert_eq!(plan.staged().map(|staged| staged.had.len()), Some(1));
    assert!(plan.outcome(&StageId([9; 16])).is_some_and(Result::is_err));
}
