//! The judgement: what a history breaks of what was promised.
//!
//! First the cheap questions, each by itself; then, for every alarm that officers took, whether its story can be told in one order
//! at all ([`super::ownership`]). Pure: the same history gives the same findings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::history::{Answer, History, Observer, Recorded, Verdicts};
use super::ownership;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Two presses have one id, so one of them is lost.
    SameId(String),
    /// A relay took the press, and a seat of its station never showed it.
    NeverShown {
        /// The event.
        id: String,
        /// The seat.
        seat: String,
    },
    /// A seat was shown the alarm twice.
    ShownTwice {
        /// The event.
        id: String,
        /// The seat.
        seat: String,
    },
    /// A screen shows what nobody pressed.
    NeverPressed(String),
    /// A node's record does not have what its relay took; the worst if the relay had been told that it is stored.
    NotInRecord {
        /// The event.
        id: String,
        /// The node, counted from zero.
        node: usize,
        /// Whether somebody had been told that it is stored.
        stored: bool,
    },
    /// Two nodes hold different things of one event.
    RecordsDiffer {
        /// The event.
        id: String,
        /// What each says.
        said: Vec<String>,
    },
    /// Somebody was told of one owner and somebody of another, both for good.
    TwoOwners {
        /// The event.
        id: String,
        /// Who said whom.
        said: BTreeSet<String>,
    },
    /// An owner that was told for good is not the one in the record.
    OwnerUndone {
        /// The event.
        id: String,
        /// Who was told.
        told: String,
        /// Whom the record names.
        recorded: Option<String>,
    },
    /// An officer was told that the key press is noted, and it left no trace.
    TakingLost {
        /// The event.
        id: String,
        /// The seat.
        seat: String,
    },
    /// An officer was told that a step of a case is done, and the record does not have it in its place.
    StepLost {
        /// The event.
        id: String,
        /// The seat.
        seat: String,
        /// What was done.
        action: &'static str,
        /// The number that the step was said to have.
        step: u64,
    },
    /// A seat that acknowledged does not know in the end who owns the alarm.
    SeatWrong {
        /// The event.
        id: String,
        /// The seat.
        seat: String,
        /// Whom it names.
        names: Option<String>,
        /// Whom the record names.
        recorded: Option<String>,
    },
    /// No order explains who was told what.
    NoOrder(String),
    /// A lamp shows what is not so.
    LampWrong {
        /// The event.
        id: String,
        /// What it shows.
        shows: String,
        /// What it should.
        should: &'static str,
    },
    /// A node did what none may: it panicked, or ended by itself.
    Node(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nobody = |name: &Option<String>| name.clone().unwrap_or_else(|| "nobody".into());
        match self {
            Finding::SameId(id) => write!(f, "LOST: two presses are the one event {id}"),
            Finding::NeverShown { id, seat } => {
                write!(f, "LOST: {id} was taken by its relay and never shown at {seat}")
            }
            Finding::ShownTwice { id, seat } => write!(f, "TWICE: {id} was shown again at {seat}"),
            Finding::NeverPressed(id) => write!(f, "INVENTED: {id} was shown and never pressed"),
            Finding::NotInRecord { id, node, stored: true } => {
                write!(f, "LOST: {id} was called stored and is not in the record of broker {}", node + 1)
            }
            Finding::NotInRecord { id, node, stored: false } => {
                write!(f, "MISSING: {id} is not in the record of broker {} after all was healed", node + 1)
            }
            Finding::RecordsDiffer { id, said } => write!(f, "DIFFER: the records of {id}: {}", said.join(" | ")),
            Finding::TwoOwners { id, said } => {
                write!(f, "TWO OWNERS of {id}: {}", said.iter().cloned().collect::<Vec<_>>().join("; "))
            }
            Finding::OwnerUndone { id, told, recorded } => {
                write!(f, "UNDONE: {told} was told to own {id}, and the record names {}", nobody(recorded))
            }
            Finding::TakingLost { id, seat } => write!(f, "LOST: {seat} acknowledged {id}, and no record knows"),
            Finding::StepLost { id, seat, action, step } => {
                write!(
                    f,
                    "LOST: {seat} was told that {action} is step {step} of the case of {id}, and a record says otherwise"
                )
            }
            Finding::SeatWrong { id, seat, names, recorded } => {
                let (names, recorded) = (nobody(names), nobody(recorded));
                write!(f, "NOT TOLD: of {id}, {seat} names {names} as the owner, the record {recorded}")
            }
            Finding::NoOrder(story) => write!(f, "NO ORDER: {story}"),
            Finding::LampWrong { id, shows, should } => write!(f, "LAMP: {id} shows {shows} instead of {should}"),
            Finding::Node(words) => write!(f, "NODE: {words}"),
        }
    }
}

/// Everything that `history` breaks, in the order in which it is asked.
#[must_use]
pub fn judge(history: &History) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(same_ids(history));
    found.extend(screens(history));
    found.extend(records(history));
    found.extend(owners(history));
    found.extend(officers(history));
    found.extend(steps(history));
    found.extend(lamps(history));
    let taken: BTreeSet<&str> = history.takings.iter().map(|taking| taking.id.as_str()).collect();
    found.extend(taken.into_iter().filter_map(|id| ownership::explain(history, id).err()).map(Finding::NoOrder));
    found
}

fn same_ids(history: &History) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let again = history.presses.iter().filter(|press| !seen.insert(press.id.as_str()));
    again.map(|press| Finding::SameId(press.id.clone())).collect()
}

/// Every alarm at every seat that answers for it, once, and nothing else.
fn screens(history: &History) -> Vec<Finding> {
    let mut found = Vec::new();
    let shown: BTreeSet<(&str, usize)> = history.shows.iter().map(|show| (show.id.as_str(), show.seat)).collect();
    let seat_name = |seat: usize| history.seats.get(seat).cloned().unwrap_or_default();
    for press in &history.presses {
        for &seat in history.answering.get(press.school).into_iter().flatten() {
            if !shown.contains(&(press.id.as_str(), seat)) {
                found.push(Finding::NeverShown { id: press.id.clone(), seat: seat_name(seat) });
            }
        }
    }
    for show in history.shows.iter().filter(|show| show.again) {
        found.push(Finding::ShownTwice { id: show.id.clone(), seat: seat_name(show.seat) });
    }
    let pressed: BTreeSet<&str> = history.presses.iter().map(|press| press.id.as_str()).collect();
    let strangers: BTreeSet<&str> = shown.iter().map(|(id, _)| *id).filter(|id| !pressed.contains(id)).collect();
    found.extend(strangers.into_iter().map(|id| Finding::NeverPressed(id.to_owned())));
    found
}

/// Every press in every record, and the same in all.
fn records(history: &History) -> Vec<Finding> {
    let mut found = Vec::new();
    for press in &history.presses {
        let id = press.id.as_str();
        let mut said = Vec::new();
        for (node, record) in history.end.records.iter().enumerate() {
            match record.get(id) {
                Some(entry) => {
                    let owner = entry.owner.as_deref().unwrap_or("nobody");
                    let officers = &entry.acknowledged;
                    said.push(format!("entry {} of {owner}, {officers:?}: {}", entry.index, entry.content));
                }
                None => {
                    let stored = history.stored.contains_key(id);
                    found.push(Finding::NotInRecord { id: id.to_owned(), node, stored });
                }
            }
        }
        if said.windows(2).any(|pair| pair[0] != pair[1]) {
            found.push(Finding::RecordsDiffer { id: id.to_owned(), said });
        }
    }
    found
}

/// One owner of each alarm, for everybody and for ever.
fn owners(history: &History) -> Vec<Finding> {
    let mut told: BTreeMap<&str, BTreeMap<&str, BTreeSet<Observer>>> = BTreeMap::new();
    for word in &history.words {
        told.entry(&word.id).or_default().entry(&word.owner).or_default().insert(word.by);
    }
    let mut found = Vec::new();
    for (id, said) in told {
        if said.len() > 1 {
            let line = |(owner, by): (&&str, &BTreeSet<Observer>)| format!("{owner}, says {by:?}");
            found.push(Finding::TwoOwners { id: id.to_owned(), said: said.iter().map(line).collect() });
        }
        let Some(recorded) = recorded_owner(&history.end, id) else { continue };
        for owner in said.keys().filter(|owner| recorded.as_deref() != Some(**owner)) {
            let (id, told) = (id.to_owned(), (*owner).to_owned());
            found.push(Finding::OwnerUndone { id, told, recorded: recorded.clone() });
        }
    }
    found
}

/// Whom the first record that has the alarm names; nothing if none has it.
fn recorded_owner(end: &Verdicts, id: &str) -> Option<Option<String>> {
    end.records.iter().find_map(|record| record.get(id)).map(|entry| entry.owner.clone())
}

/// Whoever acknowledged is in the record, and knows in the end who owns the alarm.
fn officers(history: &History) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut asked = BTreeSet::new();
    for taking in history.takings.iter().filter(|taking| taking.answer == Answer::Noted) {
        let Some(recorded) = recorded_owner(&history.end, &taking.id) else { continue };
        let (id, seat) = (taking.id.clone(), history.seats.get(taking.seat).cloned().unwrap_or_default());
        if !asked.insert((id.clone(), taking.seat)) {
            continue;
        }
        let traced = |record: &BTreeMap<String, Recorded>| {
            record.get(&id).is_some_and(|entry| entry.acknowledged.contains(&seat))
        };
        if !history.end.records.iter().any(traced) {
            found.push(Finding::TakingLost { id: id.clone(), seat: seat.clone() });
        }
        let names = history.end.owners.get(taking.seat).and_then(|owners| owners.get(&id)).cloned().flatten();
        if names != recorded {
            found.push(Finding::SeatWrong { id, seat, names, recorded });
        }
    }
    found
}

/// What an officer was told is done stands in every record, in the place that it was said to have.
fn steps(history: &History) -> Vec<Finding> {
    let mut found = Vec::new();
    for acting in &history.actings {
        let Some(step) = acting.step else { continue };
        let seat = history.seats.get(acting.seat).cloned().unwrap_or_default();
        let place = usize::try_from(step).ok().and_then(|step| step.checked_sub(1));
        let stands = |entry: &Recorded| {
            let recorded = place.and_then(|place| entry.steps.get(place));
            recorded.is_some_and(|(action, by)| action == acting.action && *by == seat)
        };
        // A record without the alarm is a finding of its own.
        let mut entries = history.end.records.iter().filter_map(|record| record.get(&acting.id));
        if !entries.all(stands) {
            found.push(Finding::StepLost { id: acting.id.clone(), seat, action: acting.action, step });
        }
    }
    found
}

/// Every lamp ends where its alarm is.
fn lamps(history: &History) -> Vec<Finding> {
    let shown: BTreeSet<&str> = history.shows.iter().map(|show| show.id.as_str()).collect();
    let mut found = Vec::new();
    for press in &history.presses {
        let owned = recorded_owner(&history.end, &press.id).flatten().is_some();
        let should = match (owned, shown.contains(press.id.as_str())) {
            (true, _) => "acknowledged",
            (false, true) => "on_screen",
            // Said elsewhere, and worse than any lamp.
            (false, false) => continue,
        };
        let shows = history.end.lamps.get(&press.id).map_or("nothing", String::as_str);
        if shows != should {
            found.push(Finding::LampWrong { id: press.id.clone(), shows: shows.to_owned(), should });
        }
    }
    found
}

#[cfg(test)]
mod tests;
