//! One event in the record, and what can be said of it.

use crate::case::{Case, State};
use crate::event::{Class, Text};
use crate::id::{Name, NodeName, StationId};
use crate::limits;
use crate::overdue::{Overdue, Ownership, Rung};
use crate::receipt::{Receipt, Stage, Standing, add_receipt};
use crate::record::command::Admission;
use crate::record::joining::Bond;
use crate::time::WallTime;
use crate::trouble::Trouble;
use crate::video::Picture;

/// One event in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The index of its admission.
    pub index: u64,
    /// The index from which on it is for the stations that it had first: of its admission, or of its route.
    pub routed_at: u64,
    /// How it came in. Its stations include those of escalations.
    pub admission: Admission,
    /// What stations said of it, in the record's order; the first statement of a kind by a seat counts. The first of each stage
    /// always has a place, of repeats by other seats as many as [`limits::RECEIPTS_PER_EVENT`] leaves room for.
    pub notes: Vec<Receipt>,
    /// How stations were added to it, in the record's order; at most [`limits::ESCALATIONS_PER_EVENT`].
    pub escalations: Vec<Escalation>,
    /// The rungs that it reached because nobody took it, or nobody was sent or came, in ascending order: each at most once.
    pub overdue: Vec<Overdue>,
    /// The stages that the province knows of, in ascending order; [`Stage::Stored`] is the event itself.
    pub forwarded: Vec<Stage>,
    /// What it has to do with an earlier one.
    pub bond: Bond,
    /// How many presses have joined it as repeats.
    pub presses: u32,
    /// When the last of them came, by the clock of the node that it came to.
    pub pressed_at: Option<WallTime>,
    /// What the police do about it.
    pub case: Case,
    /// What cameras showed, in the record's order; at most [`limits::PICTURES_PER_EVENT`].
    pub pictures: Vec<Picture>,
    /// That it says that a trouble began, if it does.
    pub trouble: Option<Trouble>,
    /// Which part of it this is: a history that is too long for one row of a snapshot or of the archive takes several.
    pub part: Part,
}

/// Which of the rows of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// From 0.
    pub at: u32,
    /// How many there are.
    pub of: u32,
}

impl Part {
    /// The one of one.
    pub const WHOLE: Part = Part { at: 0, of: 1 };
}

/// Stations were added to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// The index from which on it is for them.
    pub index: u64,
    /// Those that did not have it before.
    pub stations: Vec<StationId>,
    /// Who wanted it.
    pub by: NodeName,
    /// The officer there, if it was one.
    pub officer: Option<Name>,
    /// When, by the clock of `by`.
    pub at: WallTime,
    /// Why; may be empty.
    pub note: Text,
}

impl Entry {
    pub(super) fn new(index: u64, admission: Admission) -> Self {
        let (notes, escalations, overdue, forwarded) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (case, part) = (Case::default(), Part::WHOLE);
        let (bond, presses, pressed_at) = (Bond::Alone, 0, None);
        let routed_at = index;
        Self {
            index,
            routed_at,
            admission,
            notes,
            escalations,
            overdue,
            forwarded,
            bond,
            presses,
            pressed_at,
            case,
            pictures: Vec::new(),
            trouble: None,
            part,
        }
    }

    /// The officer who has it: whose acknowledgement came first in the record's order.
    #[must_use]
    pub fn owner(&self) -> Option<&Receipt> {
        self.notes.iter().find(|note| note.stage == Stage::Acknowledged)
    }

    /// What `by` is on record with for `stage`.
    #[must_use]
    pub fn said(&self, stage: Stage, by: &NodeName) -> Option<&Receipt> {
        self.notes.iter().find(|note| note.stage == stage && note.by == *by)
    }

    /// Whether `by` is on record with `stage`.
    #[must_use]
    pub fn has(&self, stage: Stage, by: &NodeName) -> bool {
        self.said(stage, by).is_some()
    }

    /// The highest rung that it has reached; `None` while it has reached none.
    #[must_use]
    pub fn rung(&self) -> Option<Rung> {
        self.overdue.last().map(|overdue| overdue.rung)
    }

    /// The stations that answer for it: the first of its stations, and those to which its ownership went up.
    #[must_use]
    pub fn owners(&self) -> Vec<StationId> {
        let mut owners: Vec<StationId> = self.admission.stations.first().cloned().into_iter().collect();
        for station in self.overdue.iter().flat_map(|overdue| &overdue.owners) {
            if !owners.contains(station) {
                owners.push(station.clone());
            }
        }
        owners
    }

    /// What its seats are told of who owns it; `None` while it has reached no rung.
    #[must_use]
    pub fn ownership(&self) -> Option<Ownership> {
        let last = self.overdue.last()?;
        Some(Ownership { event: self.admission.sealed.event.id, rung: last.rung, owners: self.owners(), at: last.at })
    }

    /// Whether this statement need not be made again: it is on record, or there is no room for another one of its kind.
    #[must_use]
    pub fn needs_no_more(&self, statement: &Receipt) -> bool {
        self.has(statement.stage, &statement.by) || !add_receipt(&mut self.notes.clone(), statement.clone())
    }

    /// All that can be said of the event, for those who ask.
    #[must_use]
    pub fn receipts(&self) -> Vec<Receipt> {
        let own = |stage| Receipt {
            event: self.admission.sealed.event.id,
            stage,
            at: self.admission.at,
            by: self.admission.by.clone(),
            officer: None,
            note: Text::default(),
            skew: None,
            standing: Standing::Settled,
        };
        let mut all = vec![own(Stage::Received), own(Stage::Stored)];
        all.extend(self.notes.iter().cloned());
        all
    }

    /// Whose acknowledgement came before this one, if it is one and somebody's did.
    #[must_use]
    pub fn earlier_owner(&self, statement: &Receipt) -> Option<&Receipt> {
        self.owner().filter(|owner| statement.stage == Stage::Acknowledged && owner.by != statement.by)
    }

    /// Whether an officer has it or, where none need take it (below P1), a station.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let class = self.admission.sealed.event.class;
        let enough = if class <= Class::P1 { Stage::Acknowledged } else { Stage::Delivered };
        self.notes.iter().any(|note| note.stage >= enough)
    }

    /// Whether the police keep a case of it: of alarms, which an officer must take, unless they repeat another one.
    #[must_use]
    pub fn has_case(&self) -> bool {
        self.admission.sealed.event.class <= Class::P1 && self.bond.root().is_none()
    }

    /// Whether it says that a trouble began that is not over.
    #[must_use]
    pub fn is_open_trouble(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.over.is_none())
    }

    /// Whether nothing more is to be done about it, neither to take it nor about its case, nor is it an open trouble.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_finished() && !self.is_open_trouble() && (!self.has_case() || self.case.state == State::Closed)
    }

    /// The stages that the province must have and does not know of; the event itself is [`Stage::Stored`].
    #[must_use]
    pub fn owed(&self) -> Vec<Stage> {
        if !self.admission.owed {
            return Vec::new();
        }
        // That the region cleared a trouble of its own is no business of the province: it has the event that says so.
        let said = self.notes.iter().filter(|note| matches!(note.by, NodeName::Station(_)));
        let mut stages: Vec<Stage> = said.map(|note| note.stage).chain([Stage::Stored]).collect();
        stages.retain(|stage| !self.forwarded.contains(stage));
        stages.sort_unstable();
        stages.dedup();
        stages
    }

    /// Whether these stations can be added to it, as far as it does not have them.
    #[must_use]
    pub fn has_room_for(&self, stations: &[StationId]) -> bool {
        let new = stations.iter().filter(|station| !self.admission.stations.contains(station)).count();
        new == 0
            || self.escalations.len() < limits::ESCALATIONS_PER_EVENT
                && self.admission.stations.len() + new <= limits::STATIONS_PER_EVENT
    }

    /// From which index on it is for `station`; `None` if it is not.
    #[must_use]
    pub fn since(&self, station: &StationId) -> Option<u64> {
        let by_officer = self.escalations.iter().map(|escalation| (escalation.index, &escalation.stations));
        let by_time = self.overdue.iter().map(|overdue| (overdue.index, &overdue.stations));
        match by_officer.chain(by_time).find(|(_, stations)| stations.contains(station)) {
            Some((index, _)) => Some(index),
            None => self.admission.stations.contains(station).then_some(self.routed_at),
        }
    }

    /// Takes a statement in, with the standing that its place in the record gives it. `None` if it says nothing new.
    pub(super) fn note(&mut self, mut receipt: Receipt) -> Option<Receipt> {
        receipt.standing = if self.earlier_owner(&receipt).is_some() { Standing::Assisting } else { Standing::Settled };
        add_receipt(&mut self.notes, receipt.clone()).then_some(receipt)
    }

    /// Adds stations. `None` if it has them all, or has no room for them.
    pub(super) fn escalate(&mut self, mut escalation: Escalation) -> Option<Vec<StationId>> {
        let mut new: Vec<StationId> = Vec::new();
        for station in std::mem::take(&mut escalation.stations) {
            let room = self.admission.stations.len() + new.len() < limits::STATIONS_PER_EVENT;
            if room && !self.admission.stations.contains(&station) && !new.contains(&station) {
                new.push(station);
            }
        }
        if new.is_empty() || self.escalations.len() >= limits::ESCALATIONS_PER_EVENT {
            return None;
        }
        self.admission.stations.extend(new.iter().cloned());
        escalation.stations.clone_from(&new);
        self.escalations.push(escalation);
        Some(new)
    }

    /// Reaches a rung; gives the stations that did not have it. `None` if that comes too late, what it waits for being done or the rung being
    /// reached, or too early: what has no station yet gets its first ones by a route, and what nobody has waits for nobody to be sent.
    pub(super) fn reach(&mut self, mut overdue: Overdue, told: &[StationId]) -> Option<Vec<StationId>> {
        if self.admission.stations.is_empty()
            || !overdue.rung.fits(self.owner().is_some(), self.case.state)
            || self.rung().is_some_and(|rung| rung >= overdue.rung)
        {
            return None;
        }
        // Officers may have filled the list of its stations; who must answer for it has a place all the same.
        overdue.owners.truncate(limits::OVERDUE_STATIONS);
        let mut new: Vec<StationId> = Vec::new();
        for station in overdue.owners.iter().chain(told).take(limits::OVERDUE_STATIONS) {
            if !self.admission.stations.contains(station) && !new.contains(station) {
                new.push(station.clone());
            }
        }
        self.admission.stations.extend(new.iter().cloned());
        overdue.stations.clone_from(&new);
        self.overdue.push(overdue);
        Some(new)
    }

    /// Takes in what cameras showed. False if nothing of it is new, or there is no room.
    pub(super) fn add_pictures(&mut self, pictures: Vec<Picture>) -> bool {
        let before = self.pictures.len();
        for picture in pictures {
            if !self.needs_no_more_of(&picture) {
                self.pictures.push(picture);
            }
        }
        self.pictures.len() > before
    }

    /// Whether this picture need not be told again: it is on record, or there is no room for more.
    #[must_use]
    pub fn needs_no_more_of(&self, picture: &Picture) -> bool {
        self.pictures.len() >= limits::PICTURES_PER_EVENT
            || self.pictures.iter().any(|known| known.camera == picture.camera && known.at == picture.at)
    }

    /// Notes what the province has. False if that was known.
    pub(super) fn forwarded(&mut self, stages: &[Stage]) -> bool {
        let before = self.forwarded.len();
        self.forwarded.extend(stages);
        self.forwarded.sort_unstable();
        self.forwarded.dedup();
        self.forwarded.len() > before
    }
}
