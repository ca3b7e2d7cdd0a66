//! What the region has to say now: what stands otherwise than its record says.
//!
//! Invariant: nothing is said of what the record says already, and nothing that was proposed is proposed again within [`AGAIN_AFTER`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::event::{Class, Details, Event, Kind, Mode, Sealed, Text};
use crate::id::{EventId, Name, RelayId, SchoolId, StationId};
use crate::limits;
use crate::plan::{AreaLevel, Day, Plan, on_the_wall};
use crate::rng::Rng;
use crate::supervision::{Outage, Supervisor};
use crate::time::{Now, Span, Timestamp, WallTime};
use crate::trouble::{About, Gap, Open, Scope, Subject, Troubles, silence_class};

/// How soon what was proposed is proposed again, should the record not have it.
pub const AGAIN_AFTER: Span = Span::from_secs(2);
/// Changes in one look: the log is not filled by five thousand troubles at once.
const MOST: usize = 64;

/// What is to be proposed to the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub about: About,
    /// Whether it is over; otherwise it begins, or is more urgent than before.
    pub over: bool,
    /// The event that says so, not sealed yet.
    pub event: Option<Event>,
    /// Who must see it.
    pub stations: Vec<StationId>,
}

/// The same with the event sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it is about.
    pub about: About,
    /// Whether it is over.
    pub over: bool,
    /// The event that says so.
    pub sealed: Option<Sealed>,
    /// Who must see it.
    pub stations: Vec<StationId>,
}

impl Change {
    /// It, with its event sealed by `seal`.
    #[must_use]
    pub fn sealed(self, seal: fn(&Event) -> Sealed) -> Told {
        let Change { about, over, event, stations } = self;
        Told { about, over, sealed: event.map(|event| seal(&event)), stations }
    }
}

/// What is seen of the region at one moment, besides who is silent.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What the record has.
    pub open: Arc<Troubles>,
    /// Numbers that did not come.
    pub gaps: Vec<Gap>,
    /// Relays whose gaps are filled or given up.
    pub filled: BTreeSet<RelayId>,
    /// Numbers that two events have: relay, epoch, number.
    pub reused: Vec<(RelayId, u64, u64)>,
    /// Schools whose test is overdue, and when they were tested last. Looked at now and then.
    pub overdue: Vec<(SchoolId, WallTime)>,
    /// Schools with an open trouble about that, whose test has come or need not.
    pub tested: BTreeSet<SchoolId>,
}

/// Who raises events for the region at one node.
#[derive(Debug)]
pub struct Raiser {
    region: Name,
    rng: Rng,
    began: Now,
    asked: BTreeMap<About, Timestamp>,
}

impl Raiser {
    /// That of a node of `region`, with random numbers for the events' ids.
    #[must_use]
    pub fn new(now: Now, region: Name, seed: u64) -> Self {
        Self { region, rng: Rng::new(seed), began: now, asked: BTreeMap::new() }
    }

    /// What is to be proposed now. To be called about once a second at the node that leads, while it has a quorum and no node is blind.
    pub fn look(&mut self, now: Now, plan: &Plan, supervisor: &Supervisor, seen: &Seen) -> Vec<Change> {
        self.asked.retain(|_, at| now.mono.since(*at) < AGAIN_AFTER);
        let mut changes = Vec::new();
        self.over(now, supervisor, seen, &mut changes);
        self.outages(now, plan, supervisor, &seen.open, &mut changes);
        self.unwatched(now, plan, supervisor, &seen.open, &mut changes);
        self.silent(now, plan, supervisor, &seen.open, &mut changes);
        self.numbers(now, plan, seen, &mut changes);
        self.untested(now, plan, seen, &mut changes);
        changes
    }

    /// Whether there is room for a change about this, which counts as proposed then.
    fn ask(&mut self, now: Now, about: &About, changes: &[Change]) -> bool {
        let room = changes.len() < MOST && !self.asked.contains_key(about);
        if room {
            self.asked.insert(about.clone(), now.mono);
        }
        room
    }

    fn over(&mut self, now: Now, supervisor: &Supervisor, seen: &Seen, changes: &mut Vec<Change>) {
        let fresh = now.mono.since(self.began.mono) < limits::OUTAGE_RECALLED;
        for (about, open) in seen.open.iter() {
            let over = match about {
                About::Silent(relay) => supervisor.is_silent(relay) == Some(false),
                About::Unwatched(station) => supervisor.is_unwatched(station) != Some(true),
                About::Outage(scope) => {
                    // A node that has just started does not know who was part of one from before.
                    let unseen = fresh && open.since < self.began.wall;
                    let goes_on = supervisor.outages().any(|outage| outage.scope == *scope);
                    !(unseen || goes_on)
                }
                About::Gap(relay) => seen.filled.contains(relay),
                About::StoreLoss(_) => told_long_since(now.wall, open),
                About::Untested(school) => seen.tested.contains(school),
            };
            if over && self.ask(now, about, changes) {
                let event = about.over_kind().map(|kind| {
                    let note = format!("自 {} 起，现已恢复  since {}, over now", china(open.since), china(open.since));
                    let (class, relay) = (Class::P3, self.named(about));
                    self.event(now, kind, class, relay, &note)
                });
                let stations = if event.is_some() { open.stations.clone() } else { Vec::new() };
                changes.push(Change { about: about.clone(), over: true, event, stations });
            }
        }
    }

    fn outages(&mut self, now: Now, plan: &Plan, supervisor: &Supervisor, open: &Troubles, changes: &mut Vec<Change>) {
        for outage in supervisor.outages() {
            let about = About::Outage(outage.scope);
            if open.contains_key(&about) {
                continue;
            }
            let stations = outage_stations(plan, supervisor, outage);
            if stations.is_empty() || !self.ask(now, &about, changes) {
                continue;
            }
            let name = match outage.scope {
                Scope::Area(code) => plan.area(code).map(|area| area.name.to_string()).unwrap_or_default(),
                Scope::Region => String::new(),
            };
            let share = outage.ever * 100 / outage.known.max(1);
            let mut note = format!(
                "{name} {} 所学校同时失联，占 {} 所的 {share}%  {} of {} schools fell silent together ({share}%): ",
                outage.ever, outage.known, outage.ever, outage.known
            );
            list(&mut note, outage.members.iter().map(|relay| relay.school.to_string()));
            let relay = self.named(&about);
            let event = self.event(now, Kind::Outage, Class::P1, relay, note.trim());
            changes.push(Change { about, over: false, event: Some(event), stations });
        }
    }

    fn unwatched(
        &mut self,
        now: Now,
        plan: &Plan,
        supervisor: &Supervisor,
        open: &Troubles,
        changes: &mut Vec<Change>,
    ) {
        for (station, since, returning) in supervisor.unwatched_stations() {
            let about = About::Unwatched(station.clone());
            if returning || open.contains_key(&about) {
                continue;
            }
            let Some(desk) = desk_above(plan, station) else { continue };
            if !self.ask(now, &about, changes) {
                continue;
            }
            let name = plan.station(station).map(|known| (known.name.to_string(), known.phone.to_string()));
            let (name, phone) = name.unwrap_or_default();
            let note = format!(
                "{name} 自 {} 起无人值守，请电话联系 {phone}  nobody watches there since {}: call them",
                china(since),
                china(since)
            );
            let relay = self.named(&about);
            let event = self.event(now, Kind::Unwatched, Class::P1, relay, note.trim());
            changes.push(Change { about, over: false, event: Some(event), stations: vec![desk.clone()] });
        }
    }

    fn silent(&mut self, now: Now, plan: &Plan, supervisor: &Supervisor, open: &Troubles, changes: &mut Vec<Change>) {
        for (relay, since, told) in supervisor.silent_alone() {
            // Long enough to see whether it is one of many.
            if now.mono.since(told) < limits::SILENT_TOLD_AFTER {
                continue;
            }
            let about = About::Silent(relay.clone());
            let silent = now.mono.since(told) + limits::RELAY_SILENT_AFTER;
            let class = silence_class(plan, &relay.school, silent, now.wall);
            let known = open.get(&about);
            let stations = plan.route(&relay.school);
            if known.is_some_and(|open| open.class <= class) || stations.is_empty() {
                continue;
            }
            if !self.ask(now, &about, changes) {
                continue;
            }
            let name = plan.school(&relay.school).map(|school| school.name.to_string()).unwrap_or_default();
            let note = format!("{name} 自 {} 起失联  silent since {}", china(since), china(since));
            let event = self.event(now, Kind::Silent, class, relay.clone(), note.trim());
            changes.push(Change { about, over: false, event: Some(event), stations: stations.to_vec() });
        }
    }

    fn numbers(&mut self, now: Now, plan: &Plan, seen: &Seen, changes: &mut Vec<Change>) {
        for gap in &seen.gaps {
            let missing: Vec<String> = gap.missing.iter().map(|(from, to)| format!("{from}–{to}")).collect();
            let missing = missing.join(", ");
            let epoch = gap.epoch;
            let note = format!("第 {epoch} 次启动缺号 {missing}  of boot {epoch} these numbers never came: {missing}");
            self.of_relay(now, plan, seen, About::Gap(gap.relay.clone()), &note, changes);
        }
        for (relay, epoch, seq) in &seen.reused {
            let note = format!(
                "第 {epoch} 次启动的序号 {seq} 出现两次，存储可能丢失  number {seq} of boot {epoch} came twice: its store has forgotten"
            );
            self.of_relay(now, plan, seen, About::StoreLoss(relay.clone()), &note, changes);
        }
    }

    fn untested(&mut self, now: Now, plan: &Plan, seen: &Seen, changes: &mut Vec<Change>) {
        for (school, last) in &seen.overdue {
            let (about, stations) = (About::Untested(school.clone()), plan.route(school).to_vec());
            if stations.is_empty() || seen.open.contains_key(&about) || !self.ask(now, &about, changes) {
                continue;
            }
            let name = plan.school(school).map(|school| school.name.to_string()).unwrap_or_default();
            let last = china(*last);
            let note =
                format!("{name} 自 {last} 起未做按键测试，已逾期  nobody has pressed a test since {last}: overdue");
            let relay = self.named(&about);
            let event = self.event(now, Kind::Untested, Class::P2, relay, note.trim());
            changes.push(Change { about, over: false, event: Some(event), stations });
        }
    }

    fn of_relay(&mut self, now: Now, plan: &Plan, seen: &Seen, about: About, note: &str, changes: &mut Vec<Change>) {
        let (About::Gap(relay) | About::StoreLoss(relay)) = &about else { return };
        let (relay, stations) = (relay.clone(), plan.route(&relay.school).to_vec());
        if stations.is_empty() || seen.open.contains_key(&about) || !self.ask(now, &about, changes) {
            return;
        }
        let event = self.event(now, about.kind(), Class::P2, relay, note);
        changes.push(Change { about, over: false, event: Some(event), stations });
    }

    /// What an event about this has in the place of a relay.
    fn named(&self, about: &About) -> RelayId {
        let word = |subject: Subject| Name::new(subject.as_str()).unwrap_or_else(|_| self.region.clone());
        let of = |code: Name, subject| RelayId { school: SchoolId(code), device: word(subject) };
        match about {
            About::Silent(relay) | About::Gap(relay) | About::StoreLoss(relay) => relay.clone(),
            About::Untested(school) => of(school.0.clone(), Subject::School),
            About::Unwatched(station) => of(station.0.clone(), Subject::Station),
            About::Outage(Scope::Area(code)) => {
                of(Name::new(&code.to_string()).unwrap_or_else(|_| self.region.clone()), Subject::Area)
            }
            About::Outage(Scope::Region) => of(self.region.clone(), Subject::Region),
        }
    }

    fn event(&mut self, now: Now, kind: Kind, class: Class, relay: RelayId, note: &str) -> Event {
        Event {
            id: EventId::generate(now.wall, &mut self.rng),
            relay,
            epoch: 0,
            seq: 0,
            kind,
            class,
            mode: Mode::Live,
            device: None,
            zone: None,
            note: fitting(note),
            raised_at: now.wall,
            count: 1,
            details: Details::default(),
        }
    }
}

/// Who is told of an outage: the desk of its area and, where several counties of the city have one, the city's; without a desk, the stations of its
/// schools.
fn outage_stations(plan: &Plan, supervisor: &Supervisor, outage: &Outage) -> Vec<StationId> {
    let mut stations: Vec<StationId> = Vec::new();
    let mut add = |station: Option<&StationId>| {
        if let Some(station) = station.filter(|station| !stations.contains(station)) {
            stations.push(station.clone());
        }
    };
    if let Scope::Area(code) = outage.scope {
        let desk = code.upwards().find_map(|code| plan.area(code)?.desk.as_ref());
        add(desk);
        let city = |code: crate::plan::AreaCode| code.upwards().find(|code| code.level() == AreaLevel::City);
        let of_city = |other: &Outage| matches!(other.scope, Scope::Area(other) if city(other) == city(code));
        if supervisor.outages().filter(|other| of_city(other)).count() > 1 {
            add(plan.desk(Some(code), AreaLevel::City));
        }
    } else {
        let areas: BTreeSet<_> = outage
            .members
            .iter()
            .filter_map(|relay| plan.school(&relay.school).and_then(|school| plan.area_of(school)))
            .collect();
        areas.into_iter().for_each(|area| add(plan.desk(Some(area), AreaLevel::City)));
    }
    if stations.is_empty() {
        for relay in &outage.members {
            if let Some(first) = plan.route(&relay.school).first().filter(|first| !stations.contains(first)) {
                stations.push(first.clone());
            }
        }
    }
    stations.truncate(limits::OVERDUE_STATIONS);
    stations
}

/// The next desk above a station: its county's, or of a desk the one above.
fn desk_above<'a>(plan: &'a Plan, station: &StationId) -> Option<&'a StationId> {
    let area = plan.station(station)?.area?;
    let desks: Vec<&StationId> = area.upwards().filter_map(|code| plan.area(code)?.desk.as_ref()).collect();
    let own = desks.iter().rposition(|desk| *desk == station).map_or(0, |own| own + 1);
    desks.get(own).copied()
}

fn told_long_since(now: WallTime, open: &Open) -> bool {
    let limit = i64::try_from(limits::STORE_LOSS_TOLD.as_micros()).unwrap_or(i64::MAX);
    now - open.since > limit
}

/// A moment as clocks on Chinese walls show it.
fn china(at: WallTime) -> String {
    let (day, _, minute) = on_the_wall(at);
    let second = at.0.div_euclid(1_000_000).rem_euclid(60);
    let day = i32::try_from(day).ok().and_then(|day| Day::from_number(day).ok());
    day.map_or_else(|| format!("{minute}:{second:02}"), |day| format!("{day} {minute}:{second:02}"))
}

/// As many of them as fit, and how many there are besides.
fn list(note: &mut String, names: impl ExactSizeIterator<Item = String>) {
    let mut left = names.len();
    for name in names {
        if note.len() + name.len() + 32 > limits::NOTE_BYTES {
            // Writing to a String does not fail.
            let _ = write!(note, "… (+{left})");
            return;
        }
        note.push_str(&name);
        note.push(' ');
        left -= 1;
    }
}

/// A note of these words, cut where it would be too long.
fn fitting(words: &str) -> Text {
    let mut end = words.len().min(limits::NOTE_BYTES);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    // Names of a plan hold no control characters.
    Text::new(&words[..end]).unwrap_or_default()
}
