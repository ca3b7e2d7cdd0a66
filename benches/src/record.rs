//! What one step of a case costs in a full record, and what memory the record of a whole province takes: the pure state alone, without log,
//! disk or network.
//!
//! Invariant: every step that is timed is taken, or the bench fails.

use std::io::Write;
use std::time::Instant;

use huxiao_core::case::{Action, ActionId, CaseOrder, Reason};
use huxiao_core::plan::{Change, Label, PlanError, Province, province};
use huxiao_core::record::{Admission, ApplyPlan, Command, Effect, RecordState, StageId, StagePlan};
use huxiao_core::{
    Class, Event, EventId, Kind, Mode, Name, NameError, NodeName, Receipt, RelayId, Rng, SchoolId, SeatId, Stage,
    Standing, StationId, Text, Trail, WallTime, limits,
};

use crate::error::{BenchError, Trying};
use crate::machine::kib;

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Events in the record
    #[arg(long, default_value_t = limits::RECORD_EVENTS)]
    events: usize,
    /// Notes in one case
    #[arg(long, default_value_t = 10_000)]
    notes: usize,
    /// Cases that have come, been closed and left for the archive
    #[arg(long, default_value_t = 1_000_000)]
    closed: usize,
    /// Schools of the province whose plan the record has
    #[arg(long, default_value_t = 30_000)]
    schools: usize,
    /// Its stations, duty desks not counted
    #[arg(long, default_value_t = 1_800)]
    stations: usize,
}

/// When everything happens here.
const AT: WallTime = WallTime(1_764_000_000_000_000);

/// Runs it. True: all was done.
pub(crate) fn run(args: &Args) -> Result<bool, BenchError> {
    let failed = |error: NameError| BenchError::answer("a name", error.to_string());
    memory(args)?;
    let mut record = Record::full(args.events).map_err(failed)?;
    let mut out = std::io::stdout().lock();
    let mut say = |what: &str, steps: usize, began: Instant| {
        let nanos = began.elapsed().as_nanos() / (steps.max(1) as u128);
        writeln!(out, "{what:>10}  {nanos} ns a step, {steps} steps").trying("print the figures")
    };
    let mut whole = true;
    // Closing lets the oldest leave for the archive: that is in its figure.
    for action in [Action::Dispatch, Action::Enroute, Action::Onscene, Action::Handled, Action::Close(Reason::Real)] {
        let verb = action.verb();
        let (began, mut taken) = (Instant::now(), 0);
        for at in 0..record.events.len() {
            taken += usize::from(record.act(record.events[at], &action));
        }
        say(verb.as_str(), taken, began)?;
        whole &= taken == args.events;
    }
    let mut record = Record::full(1).map_err(failed)?;
    let (began, event) = (Instant::now(), record.events[0]);
    let taken = (0..args.notes).filter(|_| record.act(event, &Action::Note)).count();
    say("note", taken, began)?;
    Ok(whole && taken == args.notes)
}

/// How the memory of this process grows with the record of a whole province.
fn memory(args: &Args) -> Result<(), BenchError> {
    let failed = |error: NameError| BenchError::answer("a name", error.to_string());
    let mut out = std::io::stdout().lock();
    let mut last = resident()?;
    let mut say = |what: &str| {
        let now = resident()?;
        let grown = now.saturating_sub(last) / 1_024;
        last = now;
        writeln!(out, "{:>7} MiB, {grown} of them for {what}", now / 1_024).trying("print the figures")
    };
    say("the bench")?;
    let size = Province { schools: args.schools, stations: args.stations, seed: 1 };
    let mistake = |found: Vec<PlanError>| found.first().map(ToString::to_string).unwrap_or_default();
    let plan = province(&size).map_err(|found| BenchError::answer("the province", mistake(found)))?;
    let mut record = Record::full(0).map_err(failed)?;
    record.adopt(plan.parts().collect());
    drop(plan);
    say(&format!("the plan of {} schools and its history", args.schools))?;
    for number in 0..args.events {
        record.come(number).map_err(failed)?;
    }
    say(&format!("{} open cases", record.state.len()))?;
    record.events = Vec::new();
    for number in 0..args.closed {
        record.come(number).map_err(failed)?;
        let event = record.events.pop();
        let closed = event.is_some_and(|event| record.act(event, &Action::Close(Reason::False)));
        if !closed {
            return Err(BenchError::answer("a case", "it could not be closed"));
        }
    }
    say(&format!("{} closed cases, of which {} entries are held", args.closed, record.state.len() - args.events))
}

/// What this process has in memory, in KiB.
fn resident() -> Result<u64, BenchError> {
    let status = std::fs::read_to_string("/proc/self/status").trying("read /proc/self/status")?;
    kib(&status, "VmRSS").ok_or_else(|| BenchError::answer("/proc/self/status", "no VmRSS"))
}

/// A record whose every alarm an officer has.
struct Record {
    state: RecordState,
    events: Vec<EventId>,
    index: u64,
    rng: Rng,
    by: NodeName,
    officer: Name,
}

impl Record {
    fn full(events: usize) -> Result<Self, NameError> {
        let station = StationId(Name::new("station")?);
        let by = NodeName::Station(SeatId { station, seat: Name::new("desk")? });
        let officer = Name::new("014")?;
        let (state, rng) = (RecordState::default(), Rng::new(7));
        let mut record = Self { state, events: Vec::with_capacity(events), index: 0, rng, by, officer };
        for number in 0..events {
            record.come(number)?;
        }
        Ok(record)
    }

    /// One more alarm comes, of one school after another, and the officer takes it.
    fn come(&mut self, number: usize) -> Result<(), NameError> {
        let NodeName::Station(SeatId { station, .. }) = &self.by else { return Ok(()) };
        let station = station.clone();
        let school = SchoolId(Name::new(&format!("school-{}", number % 5_000))?);
        self.take(RelayId { school, device: Name::new("gate")? }, &station);
        Ok(())
    }

    /// The plan is taken over.
    fn adopt(&mut self, changes: Vec<Change>) {
        let stage = StageId([1; 16]);
        let pieces = huxiao_wire::cut_plan_changes(changes);
        let parts = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        for (part, changes) in (0..).zip(pieces) {
            self.commit(Command::StagePlan(StagePlan { stage, part, parts, changes: changes.into() }));
        }
        let (base, by) = (self.state.plan().version(), self.by.clone());
        let (who, at, note) = (Label::default(), AT, Text::default());
        self.commit(Command::ApplyPlan(ApplyPlan { stage, base, digest: [0; 32], by, who, at, note }));
    }

    fn commit(&mut self, command: Command) -> Effect {
        self.index += 1;
        self.state.apply(self.index, command).effect
    }

    /// An alarm comes, and the officer takes it.
    fn take(&mut self, relay: RelayId, station: &StationId) {
        let event = Event {
            id: EventId::generate(AT, &mut self.rng),
            relay,
            epoch: 1,
            seq: 1,
            kind: Kind::Panic,
            class: Class::P0,
            mode: Mode::Live,
            device: None,
            zone: None,
            note: Text::default(),
            raised_at: AT,
            count: 1,
            details: huxiao_core::Details::default(),
        };
        let (by, stations, sealed) = (self.by.clone(), vec![station.clone()], huxiao_wire::seal(&event));
        self.events.push(event.id);
        self.commit(Command::Admit(Admission {
            sealed,
            trail: Trail::default(),
            at: AT,
            by,
            stations,
            owed: false,
            joins: false,
        }));
        self.commit(Command::Note(Receipt {
            event: event.id,
            stage: Stage::Acknowledged,
            at: AT,
            by: self.by.clone(),
            officer: Some(self.officer.clone()),
            note: Text::default(),
            skew: None,
            standing: Standing::Settled,
        }));
    }

    /// The officer does something. True if it is a step.
    fn act(&mut self, event: EventId, action: &Action) -> bool {
        let order = CaseOrder {
            id: ActionId(self.rng.bytes16()),
            event,
            action: action.clone(),
            by: self.by.clone(),
            officer: self.officer.clone(),
            at: AT,
            note: Text::default(),
        };
        let effect = self.commit(Command::Case { order: Box::new(order), heard: AT });
        matches!(effect, Effect::Acted(_, acted) if acted.outcome.is_ok())
    }
}
