//! The commands to schools that the record holds, and how far each has come.
//!
//! Of a command to one school every relay's receipts are kept. Of a notice, which may be for thirty thousand schools, a byte a school is: its
//! last stage; and counts. What is kept is the history of the latest [`limits::RECORD_COMMANDS`] commands and [`limits::RECORD_NOTICES`]
//! notices: those that have come to an end leave first, the oldest of them, and for good.
//!
//! Invariants:
//! * No receipt is kept that [`CommandStage::may_follow`] does not allow after the last one of the same node.
//! * A command is in one of the lists of open ones as long as it has not come to an end, and in none afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::command::{
    CommandId, CommandReceipt, CommandRefusal, CommandStage, CommandState, Progress, SchoolStage, SealedCommand, Target,
};
use crate::event::Class;
use crate::id::{NodeName, SchoolId, StationId};
use crate::limits;
use crate::receipt::Standing;
use crate::record::state::{Effect, RecordState};
use crate::time::WallTime;

/// One command in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandEntry {
    /// The index of its admission.
    pub index: u64,
    /// The command.
    pub sealed: SealedCommand,
    /// When the region heard of it, by the clock of `by`: from then on its time to live counts.
    pub heard: WallTime,
    /// The broker node that heard it.
    pub by: NodeName,
    /// What was said of it, in the record's order; at most [`limits::COMMAND_RECEIPTS`]. Of a notice only what broker nodes say.
    pub receipts: Vec<CommandReceipt>,
    /// The schools of a notice, in the order of their codes, frozen at its admission.
    pub schools: Arc<[SchoolId]>,
    /// How far each of them is.
    pub stages: Vec<Option<CommandStage>>,
    /// The same, counted.
    pub progress: Progress,
    /// How many statements about it the record took.
    pub steps: u64,
}

impl CommandEntry {
    fn new(index: u64, sealed: SealedCommand, heard: WallTime, by: NodeName, schools: Vec<SchoolId>) -> Self {
        let progress = Progress { schools: u32::try_from(schools.len()).unwrap_or(u32::MAX), ..Progress::default() };
        let (stages, schools) = (vec![None; schools.len()], schools.into());
        Self { index, sealed, heard, by, receipts: Vec::new(), schools, stages, progress, steps: 0 }
    }

    /// Whether it is for an area.
    #[must_use]
    pub fn is_notice(&self) -> bool {
        matches!(self.sealed.command.target, Target::Area(_))
    }

    /// Whether nothing more is to be done about it.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        if self.is_notice() { self.progress.open() == 0 } else { self.receipts.iter().any(|said| said.stage.is_end()) }
    }

    /// Whether any school has it on its disk.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        let by_relay = |said: &CommandReceipt| matches!(said.by, NodeName::Relay(_));
        if self.is_notice() { self.progress.accepted > 0 } else { self.receipts.iter().any(by_relay) }
    }

    /// Whether it is still to be given to this school, whose relay `relay` is.
    #[must_use]
    pub fn is_for(&self, relay: &NodeName) -> bool {
        let NodeName::Relay(id) = relay else { return false };
        match &self.sealed.command.target {
            Target::School(school) => *school == id.school && !self.is_ended() && self.last_of(relay).is_none(),
            Target::Area(_) => self.place(&id.school).is_some_and(|at| self.stages[at].is_none()),
        }
    }

    fn place(&self, school: &SchoolId) -> Option<usize> {
        self.schools.binary_search(school).ok().filter(|at| *at < self.stages.len())
    }

    fn last_of(&self, by: &NodeName) -> Option<CommandStage> {
        self.receipts.iter().rev().find(|said| said.by == *by).map(|said| said.stage)
    }

    /// Whether the record would take this receipt as something new.
    #[must_use]
    pub fn takes(&self, receipt: &CommandReceipt) -> bool {
        match (&receipt.by, &self.sealed.command.target) {
            (NodeName::Relay(relay), Target::School(school)) => {
                let last = self.last_of(&receipt.by).unwrap_or(CommandStage::Stored);
                relay.school == *school
                    && receipt.stage > CommandStage::Stored
                    && last.may_follow(receipt.stage)
                    && self.receipts.len() < limits::COMMAND_RECEIPTS
            }
            (NodeName::Relay(relay), Target::Area(_)) => self.place(&relay.school).is_some_and(|at| {
                let last = self.stages[at].unwrap_or(CommandStage::Stored);
                // What a broker node gave up may have been heard all the same.
                let given_up = last == CommandStage::Expired && receipt.stage.is_end() && receipt.stage != last;
                receipt.stage > CommandStage::Stored && (last.may_follow(receipt.stage) || given_up)
            }),
            (NodeName::Broker { .. }, Target::School(_)) => {
                let room = self.receipts.len() < limits::COMMAND_RECEIPTS;
                let lost = receipt.stage == CommandStage::Failed || !self.is_accepted();
                let end = matches!(receipt.stage, CommandStage::Expired | CommandStage::Failed);
                room && end && lost && !self.is_ended()
            }
            (NodeName::Broker { .. }, Target::Area(_)) => match receipt.stage {
                CommandStage::Expired => self.stages.iter().any(Option::is_none),
                CommandStage::Failed => self.progress.open() > 0,
                _ => false,
            },
            (NodeName::Station(_), _) => false,
        }
    }

    /// Takes a receipt in. False if it says nothing new.
    fn note(&mut self, receipt: CommandReceipt) -> bool {
        if !self.takes(&receipt) {
            return false;
        }
        self.steps += 1;
        match (&receipt.by, self.is_notice()) {
            (NodeName::Relay(relay), true) => {
                if let Some(at) = self.place(&relay.school) {
                    self.move_school(at, receipt.stage);
                }
            }
            (_, true) => {
                // A node gives up what has not come so far: nothing at all, or no end.
                let lost = |stage: Option<CommandStage>| match receipt.stage {
                    CommandStage::Expired => stage.is_none(),
                    _ => stage.is_none_or(|stage| !stage.is_end()),
                };
                let lost: Vec<usize> = (0..self.stages.len()).filter(|at| lost(self.stages[*at])).collect();
                lost.into_iter().for_each(|at| self.move_school(at, receipt.stage));
                if self.receipts.len() < limits::COMMAND_RECEIPTS {
                    self.receipts.push(receipt);
                }
            }
            (_, false) => self.receipts.push(receipt),
        }
        true
    }

    fn move_school(&mut self, at: usize, after: CommandStage) {
        let before = self.stages[at].replace(after);
        if before == Some(CommandStage::Expired) {
            self.progress.expired = self.progress.expired.saturating_sub(1);
        }
        self.progress.moved(before, after);
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self) -> CommandState {
        let stored = CommandReceipt {
            command: self.sealed.id(),
            stage: CommandStage::Stored,
            at: self.heard,
            by: self.by.clone(),
            detail: crate::event::Text::default(),
            took: None,
            skew: None,
        };
        CommandState {
            sealed: self.sealed.clone(),
            receipts: std::iter::once(stored).chain(self.receipts.iter().cloned()).collect(),
            progress: self.is_notice().then_some(self.progress),
            standing: Standing::Settled,
            steps: self.steps + 1,
        }
    }

    /// The schools of a notice behind `after`, each with its stage; at most `limit`.
    #[must_use]
    pub fn page(&self, after: Option<&SchoolId>, limit: usize) -> Vec<SchoolStage> {
        let from = after.map_or(0, |after| self.schools.partition_point(|school| school <= after));
        let rest = self.schools.iter().zip(&self.stages).skip(from).take(limit);
        rest.map(|(school, stage)| SchoolStage { school: school.clone(), stage: *stage }).collect()
    }

    /// Holds it against its invariants.
    fn check(&self) -> Result<(), String> {
        let id = self.sealed.id();
        if self.stages.len() != self.schools.len() || self.schools.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(format!("the schools of notice {id} are not in order, or lack a stage"));
        }
        if self.is_notice() == self.schools.is_empty() || self.receipts.len() > limits::COMMAND_RECEIPTS {
            return Err(format!("command {id} is for no school, or has {} receipts", self.receipts.len()));
        }
        let mut counted =
            Progress { schools: self.progress.schools, accepted: self.progress.accepted, ..Progress::default() };
        for stage in self.stages.iter().flatten() {
            counted.moved(Some(CommandStage::Accepted), *stage);
        }
        if self.is_notice() && counted != self.progress {
            return Err(format!("notice {id} counts {:?}, its schools are {counted:?}", self.progress));
        }
        Ok(())
    }
}

impl RecordState {
    /// A command came to a node. Who may give it was that node's to say; which schools a notice is for is frozen here, by the record's plan.
    pub(super) fn admit_command(&mut self, index: u64, sealed: SealedCommand, heard: WallTime, by: NodeName) -> Effect {
        let id = sealed.id();
        let schools = match &sealed.command.target {
            Target::School(_) => Ok(Vec::new()),
            Target::Area(_) if self.plan.version() == 0 => Err(CommandRefusal::NoPlan),
            Target::Area(area) => match self.plan.plan().commanded(&sealed.command.by.station, *area) {
                schools if schools.is_empty() => Err(CommandRefusal::NoSchool),
                schools => Ok(schools),
            },
        };
        match schools.and_then(|schools| self.commands.admit(index, sealed.clone(), (heard, by), schools)) {
            Ok(true) => Effect::CommandAdmitted(id),
            Ok(false) => Effect::Nothing,
            Err(why) => Effect::CommandRefused(Box::new(sealed), why),
        }
    }
}

/// The commands that the record holds. Copies share their entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandBook {
    entries: BTreeMap<CommandId, Arc<CommandEntry>>,
    /// Commands to one school that have not come to an end, by school.
    open_of: BTreeMap<SchoolId, BTreeSet<CommandId>>,
    /// Notices that have not.
    open_notices: BTreeSet<CommandId>,
    /// All that have come to an end, in the order of their admission: commands to one school, and notices.
    ended: [BTreeMap<u64, CommandId>; 2],
}

impl CommandBook {
    /// The command, if the record holds it.
    #[must_use]
    pub fn get(&self, id: &CommandId) -> Option<&Arc<CommandEntry>> {
        self.entries.get(id)
    }

    /// All of them, in the order of their ids.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Arc<CommandEntry>> {
        self.entries.values()
    }

    /// How many it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Those that have not come to an end, to a school of this code or to areas.
    pub fn open_for(&self, school: &SchoolId) -> impl Iterator<Item = &Arc<CommandEntry>> {
        let own = self.open_of.get(school).into_iter().flatten();
        own.chain(&self.open_notices).filter_map(|id| self.entries.get(id))
    }

    /// All that have not come to an end.
    pub fn open(&self) -> impl Iterator<Item = &Arc<CommandEntry>> {
        self.open_of.values().flatten().chain(&self.open_notices).filter_map(|id| self.entries.get(id))
    }

    /// The latest `limit` that seats of `station` gave, the latest first.
    pub fn of_station(&self, station: &StationId, limit: usize) -> impl Iterator<Item = &Arc<CommandEntry>> {
        self.entries.values().rev().filter(|entry| entry.sealed.command.by.station == *station).take(limit)
    }

    /// What keeps a command out of the record, if anything does.
    ///
    /// # Errors
    /// [`CommandRefusal::NoRoom`]
    pub fn has_room_for(&self, sealed: &SealedCommand) -> Result<(), CommandRefusal> {
        let spare = if sealed.command.instruction.class() == Class::P0 { limits::COMMANDS_RESERVED } else { 0 };
        let full = match &sealed.command.target {
            Target::School(school) => {
                let open = self.open_of.values().map(BTreeSet::len).sum::<usize>();
                let own = self.open_of.get(school).map_or(0, BTreeSet::len);
                own >= limits::COMMANDS_OF_SCHOOL + spare || open >= limits::RECORD_COMMANDS + spare
            }
            Target::Area(_) => self.open_notices.len() >= limits::RECORD_NOTICES,
        };
        if full { Err(CommandRefusal::NoRoom) } else { Ok(()) }
    }

    /// Takes a command in. False if it was here.
    pub(super) fn admit(
        &mut self,
        index: u64,
        sealed: SealedCommand,
        (heard, by): (WallTime, NodeName),
        schools: Vec<SchoolId>,
    ) -> Result<bool, CommandRefusal> {
        if self.entries.contains_key(&sealed.id()) {
            return Ok(false);
        }
        self.has_room_for(&sealed)?;
        self.insert(Arc::new(CommandEntry::new(index, sealed, heard, by, schools)));
        for (list, limit) in [(0, limits::RECORD_COMMANDS), (1, limits::RECORD_NOTICES)] {
            while self.ended[list].len() > limit.saturating_sub(self.open_in(list)) {
                let Some((_, id)) = self.ended[list].pop_first() else { break };
                self.entries.remove(&id);
            }
        }
        Ok(true)
    }

    fn open_in(&self, list: usize) -> usize {
        if list == 0 { self.open_of.values().map(BTreeSet::len).sum() } else { self.open_notices.len() }
    }

    /// Lists an entry and keeps it. For one that was not here.
    pub(super) fn insert(&mut self, entry: Arc<CommandEntry>) {
        let id = entry.sealed.id();
        if entry.is_ended() {
            self.ended[usize::from(entry.is_notice())].insert(entry.index, id);
        } else {
            match &entry.sealed.command.target {
                Target::School(school) => drop(self.open_of.entry(school.clone()).or_default().insert(id)),
                Target::Area(_) => drop(self.open_notices.insert(id)),
            }
        }
        self.entries.insert(id, entry);
    }

    /// Takes receipts in, and gives those that were news.
    pub(super) fn note(&mut self, receipts: Vec<CommandReceipt>) -> Vec<CommandReceipt> {
        let mut news = Vec::new();
        for receipt in receipts {
            let Some(entry) = self.entries.get_mut(&receipt.command).filter(|entry| entry.takes(&receipt)) else {
                continue;
            };
            let entry = Arc::make_mut(entry);
            let open = !entry.is_ended();
            entry.note(receipt.clone());
            if open && entry.is_ended() {
                let (index, id, list) = (entry.index, receipt.command, usize::from(entry.is_notice()));
                if let Target::School(school) = &entry.sealed.command.target
                    && let Some(open) = self.open_of.get_mut(school)
                {
                    open.remove(&id);
                    if open.is_empty() {
                        self.open_of.remove(school);
                    }
                }
                self.open_notices.remove(&id);
                self.ended[list].insert(index, id);
            }
            news.push(receipt);
        }
        news
    }

    /// Holds the book against its invariants.
    pub(super) fn check(&self) -> Result<(), String> {
        let listed = self.open_of.values().map(BTreeSet::len).sum::<usize>() + self.open_notices.len();
        if listed + self.ended[0].len() + self.ended[1].len() != self.entries.len() {
            return Err(format!("{} commands are held, {listed} of them listed as open", self.entries.len()));
        }
        for (id, entry) in &self.entries {
            entry.check()?;
            let ended = self.ended[usize::from(entry.is_notice())].get(&entry.index) == Some(id);
            if entry.is_ended() != ended {
                return Err(format!("command {id} is wrongly listed as open or ended"));
            }
        }
        Ok(())
    }
}
