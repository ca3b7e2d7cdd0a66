//! What the plan of a whole province costs a node: a look at a route, which every alarm takes, and a change, which takes the loop's time.
//!
//! Invariant: everything is done on the pure state, in one thread, as the loop does it; no disk and no other node is waited for.

use std::hint::black_box;
use std::time::Instant;

use huxiao_core::plan::{Change, Plan, Province, School, province};
use huxiao_core::record::{ApplyPlan, Command, RecordState, StageId, StagePlan};
use huxiao_core::{Class, NodeName, Rng, SchoolId, Text, WallTime};

use crate::error::{BenchError, Trying};
use crate::figures::Quantity;
use crate::machine::Machine;
use crate::report::{Format, Report};
use crate::scratch::Scratch;

const PART: &str = "plan";
/// Routes looked up in one round.
const LOOKUPS: u32 = 1_000_000;
/// Changes of one school in one round.
const CHANGES: u32 = 200;

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Schools of the province
    #[arg(long, default_value_t = 30_000)]
    schools: usize,
    /// Its stations, duty desks not counted
    #[arg(long, default_value_t = 1_800)]
    stations: usize,
    /// Rounds, of which the median is told
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How the figures are shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Measures and prints.
///
/// # Errors
/// The province cannot be made, or the output not be written.
pub(crate) fn run(args: &Args) -> Result<bool, BenchError> {
    let scratch = Scratch::new(None)?;
    let began = Instant::now();
    let mut report = Report::new("plan", false, Machine::here(scratch.path()));
    if cfg!(debug_assertions) {
        report.notes.push("this is a debug build: the figures are not those of the product".into());
    }
    let size = Province { schools: args.schools, stations: args.stations, seed: 1 };
    let plan = province(&size).map_err(|found| words(&found));
    let plan = plan.trying("make a province")?;
    let mut figures = Figures::default();
    for _ in 0..args.rounds.max(1) {
        lookups(&plan, &mut figures);
        changes(&plan, &mut figures)?;
    }
    let schools = plan.schools();
    for (name, unit, mut values) in [
        (format!("a route among {schools} schools"), "ns", figures.route),
        ("its stations and desks, as an alarm takes them".to_owned(), "ns", figures.desks),
        (format!("a whole province taken over ({schools} schools)"), "ms", figures.whole),
        ("one school changed in it".to_owned(), "ms", figures.one),
    ] {
        values.sort_by(f64::total_cmp);
        let value = values[values.len() / 2];
        report.quantities.push(Quantity { part: PART, name, value, unit, target: None });
    }
    report.took_seconds = began.elapsed().as_secs_f64();
    report.print(args.output)?;
    Ok(true)
}

#[derive(Default)]
struct Figures {
    route: Vec<f64>,
    desks: Vec<f64>,
    whole: Vec<f64>,
    one: Vec<f64>,
}

fn words(found: &[huxiao_core::plan::PlanError]) -> std::io::Error {
    std::io::Error::other(found.first().map(ToString::to_string).unwrap_or_default())
}

fn lookups(plan: &Plan, figures: &mut Figures) {
    // Schools as alarms come: in no order, and each from memory of its own.
    let mut ids: Vec<SchoolId> = plan.school_ids().map(|id| SchoolId(id.0.clone())).collect();
    let mut rng = Rng::new(7);
    for at in (1..ids.len()).rev() {
        let other = usize::try_from(rng.below(at as u64 + 1)).unwrap_or(0);
        ids.swap(at, other);
    }
    let per = |began: Instant| began.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKUPS);
    let began = Instant::now();
    for id in ids.iter().cycle().take(LOOKUPS as usize) {
        black_box(plan.route(black_box(id)));
    }
    figures.route.push(per(began));
    let began = Instant::now();
    for id in ids.iter().cycle().take(LOOKUPS as usize) {
        black_box(plan.route(black_box(id)).len() + plan.desks(id).count());
    }
    figures.desks.push(per(began));
    black_box(plan.explain(&ids[0], Class::P0, WallTime(0)));
}

/// Applies a change to a state as the loop does, and gives the milliseconds of the order that takes it over.
fn apply(state: &mut RecordState, number: u64, changes: Vec<Change>) -> Result<f64, BenchError> {
    let by: NodeName = "broker/r1/n1".parse().map_err(std::io::Error::other).trying("name a node")?;
    let stage = StageId(u128::from(number + 1).to_be_bytes());
    let pieces = huxiao_wire::cut_plan_changes(changes);
    let parts = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
    for (part, changes) in (0..).zip(pieces) {
        let index = state.last_index() + 1;
        state.apply(index, Command::StagePlan(StagePlan { stage, part, parts, changes: changes.into() }));
    }
    let base = state.plan().version();
    let (who, note) = (huxiao_core::plan::Label::default(), Text::default());
    let order = ApplyPlan { stage, base, digest: [0; 32], by, who, at: WallTime(0), note };
    let index = state.last_index() + 1;
    let began = Instant::now();
    black_box(state.apply(index, Command::ApplyPlan(order)));
    let took = began.elapsed();
    if state.plan().version() == base {
        return Err(std::io::Error::other("the change was not taken over")).trying("change the plan");
    }
    Ok(took.as_secs_f64() * 1e3)
}

fn changes(plan: &Plan, figures: &mut Figures) -> Result<(), BenchError> {
    let mut state = RecordState::default();
    figures.whole.push(apply(&mut state, 0, plan.parts().collect())?);
    let schools: Vec<_> = plan.school_ids().filter_map(|id| plan.school(id)).collect();
    let mut total = 0.0;
    for number in 0..CHANGES {
        let school = schools[number as usize % schools.len()];
        let changed = School { silent: !school.silent, ..(**school).clone() };
        total += apply(&mut state, u64::from(number) + 1, vec![Change::School(changed.into())])?;
    }
    figures.one.push(total / f64::from(CHANGES));
    Ok(())
}
