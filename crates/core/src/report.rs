//! An account of a region's alarms: how many, who answered them, how long each stage took, and whether that was quick enough.
//!
//! Counts are of what was meant: drills and tests are counted apart. Latencies are of all alarms, since an exercise goes the same way as
//! what is meant. A stage whose time nobody can tell, because a clock on the way was not compared with the others, is in no latency and
//! counts as unclear; one that an alarm never reached counts as missed.
//!
//! Invariants: the same alarms give the same account, in whatever order they come; quantiles are exact, values that were measured and none
//! between them.

mod quantile;
mod silence;
mod standard;

use std::collections::BTreeMap;

use crate::event::{Class, Kind, Mode};
use crate::id::{EventId, SchoolId, StationId};
use crate::time::{Span, WallTime};

pub use quantile::{Quantiles, quantile};
pub use silence::{SilenceWord, SilentSchool, silent_schools};
pub use standard::{Judgement, Limit, Standard};

/// Alarms that are named as the slowest.
const SLOWEST: usize = 10;

/// What is measured of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// From the press until the region had it.
    Stored,
    /// From the press until it was on a station's disk.
    Delivered,
    /// From the press until it was on a screen.
    Displayed,
    /// From the press until an officer had it.
    Acknowledged,
    /// From the screen of the officer until the officer had it: what people take of [`Measure::Acknowledged`].
    Answer,
}

impl Measure {
    /// All of them, in order.
    pub const ALL: [Measure; 5] =
        [Measure::Stored, Measure::Delivered, Measure::Displayed, Measure::Acknowledged, Measure::Answer];

    /// Its name in JSON and CSV.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["stored", "delivered", "displayed", "acknowledged", "answer"][self as usize]
    }

    /// What it is called for people: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Measure::Stored => ("按下到区域中心存盘", "Press to stored by the region"),
            Measure::Delivered => ("按下到派出所存盘", "Press to a station's disk"),
            Measure::Displayed => ("按下到派出所显示", "Press to a police screen"),
            Measure::Acknowledged => ("按下到接警", "Press to an officer's answer"),
            Measure::Answer => ("显示到接警", "Screen to an officer's answer"),
        }
    }

    /// Whether an officer must do something for it: nobody need answer a drill or a test.
    fn is_human(self) -> bool {
        self >= Measure::Acknowledged
    }
}

/// When an alarm came so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// It has not.
    #[default]
    Never,
    /// It has, and no two clocks say after how long.
    Unclear,
    /// After so long.
    After(Span),
}

impl Reach {
    /// How long it took, if that is known.
    #[must_use]
    pub fn span(self) -> Option<Span> {
        match self {
            Reach::After(span) => Some(span),
            Reach::Never | Reach::Unclear => None,
        }
    }
}

/// What an account needs to know of one alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The event.
    pub id: EventId,
    /// Its kind.
    pub kind: Kind,
    /// Its class.
    pub class: Class,
    /// Whether it was meant.
    pub mode: Mode,
    /// Where it was raised.
    pub school: SchoolId,
    /// Who was to see it, and when it was on a screen there.
    pub stations: Vec<(StationId, Reach)>,
    /// When it was raised, by the relay's clock.
    pub raised_at: WallTime,
    /// When it came how far: by [`Measure`].
    pub reached: [Reach; Measure::ALL.len()],
    /// The station whose officer has it.
    pub answered_by: Option<StationId>,
    /// Whether its case was closed as a false or accidental press; `None` if nothing is said of cases.
    pub false_press: Option<bool>,
}

impl Alarm {
    /// Whether an officer has it.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.reached[Measure::Acknowledged as usize] != Reach::Never
    }

    /// When it came so far.
    #[must_use]
    pub fn reach(&self, measure: Measure) -> Reach {
        self.reached[measure as usize]
    }
}

/// How many alarms, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Alarms.
    pub raised: usize,
    /// Those that an officer has.
    pub answered: usize,
    /// Those closed as false or accidental presses; `None` where nothing is said of cases.
    pub false_presses: Option<usize>,
}

impl Counts {
    /// Those that no officer has.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.raised - self.answered
    }

    fn add(&mut self, alarm: &Alarm) {
        self.raised += 1;
        self.answered += usize::from(alarm.is_answered());
        if let Some(false_press) = alarm.false_press {
            *self.false_presses.get_or_insert(0) += usize::from(false_press);
        }
    }
}

/// A school or a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<N> {
    /// Its name.
    pub name: N,
    /// Its alarms that were meant.
    pub live: Counts,
    /// Drills and tests.
    pub rehearsed: usize,
    /// Of a station: alarms that were meant and that an officer of its own has.
    pub taken: usize,
    /// From the press to a screen: any for a school, one of its own for a station.
    pub displayed: Quantiles,
}

/// The account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// By kind and mode.
    pub kinds: BTreeMap<(Class, Kind, Mode), Counts>,
    /// By mode.
    pub modes: BTreeMap<Mode, Counts>,
    /// How long each stage took.
    pub latencies: Vec<(Measure, Quantiles)>,
    /// What was to be met, and whether it was.
    pub judgements: Vec<Judgement>,
    /// By school, in the order of their names.
    pub schools: Vec<Place<SchoolId>>,
    /// By station; an alarm counts at each station that was to see it.
    pub stations: Vec<Place<StationId>>,
    /// Those that took longest to a screen, the slowest first; those that never came to one before all.
    pub slowest: Vec<Alarm>,
}

impl Report {
    /// The account of these alarms by this standard.
    #[must_use]
    pub fn of(alarms: &[Alarm], standard: Standard) -> Self {
        let (mut kinds, mut modes) = (BTreeMap::<_, Counts>::new(), BTreeMap::<_, Counts>::new());
        for alarm in alarms {
            kinds.entry((alarm.class, alarm.kind.clone(), alarm.mode)).or_default().add(alarm);
            modes.entry(alarm.mode).or_default().add(alarm);
        }
        let sorted: Vec<(Measure, Sample)> =
            Measure::ALL.into_iter().map(|measure| (measure, Sample::of(alarms, measure))).collect();
        let judgements = standard.limits().iter().filter_map(|limit| {
            let (_, sample) = sorted.iter().find(|(measure, _)| *measure == limit.measure)?;
            Some(Judgement::of(*limit, &sample.spans, sample.never))
        });
        Self {
            judgements: judgements.collect(),
            latencies: sorted.iter().map(|(measure, sample)| (*measure, sample.quantiles())).collect(),
            schools: schools(alarms),
            stations: stations(alarms),
            slowest: slowest(alarms),
            kinds,
            modes,
        }
    }

    /// The counts of what was meant.
    #[must_use]
    pub fn live(&self) -> Counts {
        self.modes.get(&Mode::Live).copied().unwrap_or_default()
    }

    /// Whether every limit that could be judged was met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.judgements.iter().all(|judgement| judgement.met() != Some(false))
    }
}

/// What was measured of some alarms, in ascending order.
#[derive(Debug, Default)]
struct Sample {
    spans: Vec<Span>,
    unclear: usize,
    never: usize,
}

impl Sample {
    fn of(alarms: &[Alarm], measure: Measure) -> Self {
        let mut sample = Self::default();
        for alarm in alarms {
            let reach = alarm.reach(measure);
            if reach != Reach::Never || alarm.mode == Mode::Live || !measure.is_human() {
                sample.add(reach);
            }
        }
        sample.spans.sort_unstable();
        sample
    }

    fn add(&mut self, reach: Reach) {
        match reach {
            Reach::After(span) => self.spans.push(span),
            Reach::Unclear => self.unclear += 1,
            Reach::Never => self.never += 1,
        }
    }

    fn quantiles(&self) -> Quantiles {
        Quantiles::of(&self.spans, self.unclear, self.never)
    }
}

/// A place whose account is being made.
#[derive(Default)]
struct Tally {
    live: Counts,
    rehearsed: usize,
    taken: usize,
    sample: Sample,
}

impl Tally {
    fn add(&mut self, alarm: &Alarm, displayed: Reach, taken: bool) {
        if alarm.mode == Mode::Live {
            self.live.add(alarm);
            self.taken += usize::from(taken);
        } else {
            self.rehearsed += 1;
        }
        self.sample.add(displayed);
    }

    fn place<N>(mut self, name: N) -> Place<N> {
        self.sample.spans.sort_unstable();
        let displayed = self.sample.quantiles();
        Place { name, live: self.live, rehearsed: self.rehearsed, taken: self.taken, displayed }
    }
}

fn schools(alarms: &[Alarm]) -> Vec<Place<SchoolId>> {
    let mut tallies = BTreeMap::<&SchoolId, Tally>::new();
    for alarm in alarms {
        tallies.entry(&alarm.school).or_default().add(alarm, alarm.reach(Measure::Displayed), false);
    }
    tallies.into_iter().map(|(name, tally)| tally.place(name.clone())).collect()
}

/// The alarms by whatever their schools belong to; those of schools that belong to nothing are left out.
#[must_use]
pub fn by_group(alarms: &[Alarm], group: &BTreeMap<SchoolId, String>) -> Vec<Place<String>> {
    let mut tallies = BTreeMap::<&String, Tally>::new();
    for alarm in alarms {
        if let Some(name) = group.get(&alarm.school) {
            tallies.entry(name).or_default().add(alarm, alarm.reach(Measure::Displayed), false);
        }
    }
    tallies.into_iter().map(|(name, tally)| tally.place(name.clone())).collect()
}

fn stations(alarms: &[Alarm]) -> Vec<Place<StationId>> {
    let mut tallies = BTreeMap::<&StationId, Tally>::new();
    for alarm in alarms {
        for (station, displayed) in &alarm.stations {
            let taken = alarm.answered_by.as_ref() == Some(station);
            tallies.entry(station).or_default().add(alarm, *displayed, taken);
        }
    }
    tallies.into_iter().map(|(name, tally)| tally.place(name.clone())).collect()
}

fn slowest(alarms: &[Alarm]) -> Vec<Alarm> {
    let wait = |alarm: &Alarm| match alarm.reach(Measure::Displayed) {
        Reach::Never => Some(Span::MAX),
        reach => reach.span(),
    };
    let mut known: Vec<(Span, &Alarm)> = alarms.iter().filter_map(|alarm| Some((wait(alarm)?, alarm))).collect();
    known.sort_unstable_by_key(|(wait, alarm)| (std::cmp::Reverse(*wait), alarm.id));
    known.into_iter().take(SLOWEST).map(|(_, alarm)| alarm.clone()).collect()
}

#[cfg(test)]
mod tests;
