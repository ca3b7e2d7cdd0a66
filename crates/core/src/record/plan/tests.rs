//! A change of the plan is taken over as a whole or not at all, and the same on every node.

use proptest::prelude::*;

use super::*;
use crate::plan::{School, Subject};
use crate::record::{Command, RecordLimits, RecordState};

fn school(number: u64, station: &str) -> Change {
    Change::School(Arc::new(School::bare(format!("s{number}").parse().unwrap(), vec![station.parse().unwrap()])))
}

fn alone(number: u64) -> Change {
    Change::School(Arc::new(School::bare(format!("s{number}").parse().unwrap(), vec![])))
}

fn id(stage: u8) -> StageId {
    StageId([stage; 16])
}

fn part(stage: u8, part: u32, parts: u32, changes: Vec<Change>) -> Command {
    Command::StagePlan(StagePlan { stage: id(stage), part, parts, changes: changes.into() })
}

fn order(stage: u8, base: u64) -> Command {
    Command::ApplyPlan(ApplyPlan {
        stage: id(stage),
        base,
        digest: [stage; 32],
        by: "broker/r1/n1".parse().unwrap(),
        who: Label::new("王").unwrap(),
        at: WallTime(5),
        note: Text::default(),
    })
}

#[derive(Default)]
struct Bench {
    state: RecordState,
    index: u64,
}

impl Bench {
    fn commit(&mut self, command: Command) -> Effect {
        self.index += 1;
        let applied = self.state.apply(self.index, command);
        self.state.check().unwrap();
        // Whoever gets the record as a whole has the same.
        let again = RecordState::from_image(self.state.image(), RecordLimits::default()).unwrap();
        assert_eq!(again, self.state);
        applied.effect
    }

    fn route(&self, number: u64) -> Vec<String> {
        let plan = self.state.plan().plan();
        plan.route(&format!("s{number}").parse().unwrap()).iter().map(ToString::to_string).collect()
    }
}

#[test]
fn parts_change_nothing_until_the_order_takes_them_over() {
    let mut bench = Bench::default();
    assert_eq!(bench.commit(part(1, 0, 2, vec![school(1, "a")])), Effect::PlanStaged(id(1)));
    assert_eq!(bench.commit(part(1, 0, 2, vec![school(1, "b")])), Effect::Nothing, "a repeat");
    assert!(bench.route(1).is_empty());
    assert_eq!(bench.commit(part(1, 1, 2, vec![school(2, "a")])), Effect::PlanStaged(id(1)));
    assert_eq!(bench.commit(order(1, 0)), Effect::PlanApplied(1));
    assert_eq!((bench.route(1), bench.route(2)), (vec!["a".to_owned()], vec!["a".to_owned()]));
    assert_eq!(bench.commit(order(1, 0)), Effect::Nothing, "a repeat");
    assert_eq!(bench.commit(part(1, 0, 2, vec![school(1, "b")])), Effect::Nothing, "a late repeat");
    let last = bench.state.plan().history().next_back().unwrap().clone();
    assert_eq!((last.version, last.counts.schools.added, last.digest), (1, 2, [1; 32]));
    assert_eq!(bench.state.plan().outcome(&id(1)), Some(&Ok(1)));
}

#[test]
fn a_change_of_another_version_is_refused() {
    let mut bench = Bench::default();
    bench.commit(part(1, 0, 1, vec![school(1, "a")]));
    bench.commit(order(1, 0));
    bench.commit(part(2, 0, 1, vec![school(1, "b")]));
    assert_eq!(bench.commit(order(2, 0)), Effect::PlanRefused(id(2)));
    assert_eq!(bench.state.plan().outcome(&id(2)), Some(&Err(PlanRefusal::OtherBase { base: 0, now: 1 })));
    assert_eq!((bench.route(1), bench.state.plan().version()), (vec!["a".to_owned()], 1));
    assert!(bench.state.plan().staged().is_none());
}

#[test]
fn what_would_be_no_plan_or_is_not_all_there_is_refused() {
    let mut bench = Bench::default();
    bench.commit(part(1, 0, 1, vec![school(1, "a"), alone(2), Change::Remove(Subject::School("s9".parse().unwrap()))]));
    bench.commit(order(1, 0));
    let refusal = bench.state.plan().outcome(&id(1)).unwrap().clone().unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the result would be no plan: school s9 is not in the plan, so it cannot be removed; \
         school s2 has no station: give it at least one"
    );
    bench.commit(part(2, 0, 3, vec![school(1, "a")]));
    bench.commit(order(2, 0));
    assert_eq!(bench.state.plan().outcome(&id(2)), Some(&Err(PlanRefusal::Incomplete { have: 1, parts: 3 })));
    assert_eq!((bench.state.plan().version(), bench.route(1)), (0, vec![]));
}

#[test]
fn a_newer_change_drops_an_older_one_that_waits_and_the_older_one_stays_dropped() {
    let mut bench = Bench::default();
    bench.commit(part(1, 0, 2, vec![school(1, "a")]));
    bench.commit(part(2, 0, 1, vec![school(1, "b")]));
    assert_eq!(bench.state.plan().outcome(&id(1)), Some(&Err(PlanRefusal::Superseded)));
    assert_eq!(bench.commit(part(1, 1, 2, vec![])), Effect::Nothing);
    assert_eq!(bench.commit(part(1, 0, 2, vec![])), Effect::Nothing, "a late repeat must not drop the newer one");
    assert_eq!(bench.commit(order(1, 0)), Effect::Nothing);
    assert_eq!(bench.commit(order(2, 0)), Effect::PlanApplied(1));
    assert_eq!(bench.route(1), ["b"]);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut bench = Bench::default();
    for round in 0..300_u64 {
        let stage = StageId(u128::from(round + 1).to_be_bytes());
        let changes = vec![school(1, if round % 2 == 0 { "a" } else { "b" })].into();
        bench.index += 1;
        bench.state.apply(bench.index, Command::StagePlan(StagePlan { stage, part: 0, parts: 1, changes }));
        let Command::ApplyPlan(order) = order(1, round) else { unreachable!() };
        bench.index += 1;
        let effect = bench.state.apply(bench.index, Command::ApplyPlan(ApplyPlan { stage, ..order })).effect;
        assert_eq!(effect, Effect::PlanApplied(round + 1));
    }
    bench.state.check().unwrap();
    assert_eq!(bench.state.plan().history().count(), limits::PLAN_HISTORY);
    assert_eq!(bench.state.plan().version(), 300);
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let changes = prop::collection::vec(
        prop_oneof![
            (0..6_u64, prop::sample::select(vec!["a", "b"])).prop_map(|(number, station)| school(number, station)),
            (0..6_u64).prop_map(alone),
            (0..6_u64).prop_map(|number| Change::Remove(Subject::School(format!("s{number}").parse().unwrap()))),
        ],
        0..3,
    );
    let part =
        (0..5_u8, 0..3_u32, 1..3_u32, changes).prop_map(|(stage, at, parts, changes)| part(stage, at, parts, changes));
    let command = prop_oneof![3 => part, 1 => (0..5_u8, 0..4_u64).prop_map(|(stage, base)| order(stage, base))];
    prop::collection::vec(command, 0..40)
}

proptest! {
    #[test]
    fn in_any_order_and_number_the_plan_is_one_and_repeats_change_nothing(commands in commands()) {
        let mut bench = Bench::default();
        for command in &commands {
            let before = bench.state.plan().clone();
            let effect = bench.commit(command.clone());
            let after = bench.state.plan().clone();
            prop_assert_eq!(effect == Effect::Nothing, before == after);
            prop_assert_eq!(after.version() - before.version(), u64::from(matches!(effect, Effect::PlanApplied(_))));
            prop_assert!(after.version() > before.version() || after.plan() == before.plan());
            prop_assert_eq!(bench.commit(command.clone()), Effect::Nothing);
        }
    }
}
