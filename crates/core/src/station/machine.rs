//! The machine itself: inputs, outputs, and what happens in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Machine;
use crate::courier::{Courier, Transmit};
use crate::event::{Class, Text};
use crate::id::{EventId, Name, NodeName, PathId, PersistSeq, SeatId};
use crate::lane::Lane;
use crate::limits;
use crate::message::{EventCopy, Hello, Message, Resume, WIRE_MINOR};
use crate::receipt::{Receipt, Stage};
use crate::station::row::InboxRow;
use crate::time::{Now, Span, Timestamp, WallTime};

/// How long after a failed write a row is written again.
const KEEP_AGAIN_AFTER: Span = Span::from_secs(5);
/// How often a region may say that it does not know an event before the station stops telling it about that event.
const UNKNOWN_LIMIT: u32 = 720;

/// What a station is told once.
pub struct StationConfig {
    /// Who it is.
    pub seat: SeatId,
    /// The first inbox number that no event has had.
    pub next_seq: u64,
    /// Up to where it has everything, by the broker node that said so.
    pub marks: BTreeMap<NodeName, Resume>,
    /// Seed of all that is random.
    pub seed: u64,
    /// What it calls itself in greetings.
    pub software: String,
}

/// By which an answer finds its asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckTicket(pub u64);

/// What the world tells a station.
#[derive(Debug)]
pub enum Input {
    /// A session with this broker node is there.
    PathUp(PathId, NodeName, Lane),
    /// It is gone.
    PathDown(PathId),
    /// The node said something.
    Message(PathId, Message),
    /// What was asked to be persisted under this number is on stable storage.
    Persisted(PersistSeq),
    /// It is not, and will not be.
    PersistFailed(PersistSeq, String),
    /// A screen shows these.
    Displayed(Vec<EventId>),
    /// An officer takes an alarm.
    Acknowledge {
        /// For the answer.
        ticket: AckTicket,
        /// The alarm.
        event: EventId,
        /// Who.
        officer: Name,
        /// What the officer notes; may be empty.
        note: Text,
    },
}

/// A change of what is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Put this row in place of the one of its number.
    Put(InboxRow),
    /// Forget the row of this class and number.
    Forget(Class, u64),
    /// Everything up to here is in the inbox, by this broker node.
    Mark(NodeName, Resume),
}

/// What a station wants done.
#[derive(Debug)]
pub enum Output {
    /// Bring this to stable storage and say so with [`Input::Persisted`].
    Persist(PersistSeq, Write),
    /// Send this.
    Send(PathId, Class, Message),
    /// Show this event. `durable` is false where the disk is slow or full: the same number may be given again after a crash.
    Show {
        /// The row.
        row: InboxRow,
        /// Whether it is on disk.
        durable: bool,
    },
    /// An event that was shown without being on disk is there now.
    NowDurable(u64),
    /// Answer the officer.
    Answer(AckTicket, Result<Acknowledged, AckError>),
    /// Something that people and metrics want to know.
    Report(Report),
}

/// The officer has the alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The officer's own receipt.
    pub receipt: Receipt,
    /// Whose was first, as far as this station knows.
    pub owner: Receipt,
    /// Whether this request found it done already.
    pub repeated: bool,
}

/// Why an alarm cannot be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// It never came here, or left the inbox long ago.
    #[error("event {0} is not in this station's inbox")]
    Unknown(EventId),
    /// Somebody was first; the alarm is in good hands.
    #[error("event {} was already taken by {}", .0.event, .0.officer.as_ref().map_or("another officer", Name::as_str))]
    Taken(Receipt),
    /// It is on its way to the school all the same; only this station's disk does not hold it.
    #[error("the acknowledgement of {event} is being sent, but could not be kept here: {why}")]
    NotKept {
        /// The alarm.
        event: EventId,
        /// What the disk said.
        why: String,
    },
}

/// What people and metrics want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A repeat of what the inbox has.
    Duplicate(EventId),
    /// An event reached a stage.
    Stage(InboxRow, Receipt),
    /// The disk does not take it.
    NotKept(EventId, String),
    /// The region has confirmed what this station said.
    Confirmed(EventId, Stage),
    /// The region does not know an event that this station told it about again and again; it is told no longer.
    Orphan(EventId),
}

struct Held {
    row: InboxRow,
    durable: bool,
    shown: bool,
    unknown: u32,
}

enum Writing {
    Row(u64),
    Mark,
}

/// A station's machine.
pub struct Station {
    config: StationConfig,
    me: NodeName,
    rows: BTreeMap<u64, Held>,
    by_id: BTreeMap<EventId, u64>,
    finished: BTreeSet<u64>,
    courier: Courier<(EventId, Stage)>,
    paths: BTreeMap<PathId, NodeName>,
    next_persist: u64,
    writing: BTreeMap<PersistSeq, Writing>,
    answers: BTreeMap<PersistSeq, (AckTicket, Acknowledged)>,
    show_by: BTreeSet<(Timestamp, u64)>,
    keep_again: BTreeSet<(Timestamp, u64)>,
    out: VecDeque<Output>,
}

impl Station {
    /// A station with what its inbox held when it stopped.
    #[must_use]
    pub fn new(now: Now, config: StationConfig, rows: Vec<InboxRow>) -> Self {
        let mut station = Self {
            me: NodeName::Station(config.seat.clone()),
            courier: Courier::new(config.seed),
            rows: BTreeMap::new(),
            by_id: BTreeMap::new(),
            finished: BTreeSet::new(),
            paths: BTreeMap::new(),
            next_persist: 1,
            writing: BTreeMap::new(),
            answers: BTreeMap::new(),
            show_by: BTreeSet::new(),
            keep_again: BTreeSet::new(),
            out: VecDeque::new(),
            config,
        };
        for row in rows {
            let (seq, event) = (row.seq, row.sealed.event.clone());
            station.config.next_seq = station.config.next_seq.max(seq + 1);
            for stage in &row.unconfirmed {
                station.courier.offer(now.mono, (event.id, *stage), carried_as(event.class, *stage), false);
            }
            station.by_id.insert(event.id, seq);
            station.rows.insert(seq, Held { row, durable: true, shown: true, unknown: 0 });
            station.note_finished(seq);
        }
        station
    }

    /// The rows from number `seq` on that may be shown, in order.
    pub fn rows_from(&self, seq: u64) -> impl DoubleEndedIterator<Item = &InboxRow> {
        self.rows.range(seq..).map(|(_, held)| held).filter(|held| held.shown).map(|held| &held.row)
    }

    /// The row of an event.
    #[must_use]
    pub fn get(&self, event: &EventId) -> Option<&InboxRow> {
        self.by_id.get(event).and_then(|seq| self.rows.get(seq)).map(|held| &held.row)
    }

    /// Broker nodes that hold a session.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<&NodeName> {
        self.paths.values().collect()
    }

    /// Statements that the region has not confirmed.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.courier.pending().iter().sum()
    }

    /// Alarms (P0, P1) that no officer has taken, oldest first.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &InboxRow> {
        self.rows.values().map(|held| &held.row).filter(|row| row.sealed.event.class <= Class::P1 && !row.is_finished())
    }

    fn path_up(&mut self, now: Now, path: PathId, node: NodeName, lane: Lane) {
        if lane == Lane::Express {
            let resume = self.config.marks.get(&node).copied();
            let hello = Hello { software: self.config.software.clone(), wire_minor: WIRE_MINOR, resume };
            self.out.push_back(Output::Send(path, Class::P1, Message::Hello(hello)));
            self.courier.path_up(now.mono, path, lane);
        }
        self.paths.insert(path, node);
    }

    fn message(&mut self, now: Now, path: PathId, message: Message) {
        match message {
            Message::Event(copy) => self.event(now, path, copy),
            Message::Receipts(receipts) => receipts.into_iter().for_each(|receipt| self.heard(now, receipt)),
            Message::Confirmed(stages) => {
                stages.into_iter().for_each(|(id, stage)| self.confirmed(now, id, stage));
            }
            Message::Unknown(ids) => ids.into_iter().for_each(|id| self.unknown(now, id)),
            Message::Mark(resume) => self.mark(path, resume),
            Message::Hello(_) | Message::Inquire(_) | Message::Refused(..) => {}
        }
    }

    fn event(&mut self, now: Now, path: PathId, copy: EventCopy) {
        let id = copy.sealed.event.id;
        if let Some(seq) = self.by_id.get(&id).copied() {
            self.out.push_back(Output::Report(Report::Duplicate(id)));
            copy.receipts.into_iter().for_each(|receipt| self.heard(now, receipt));
            return self.say_delivered_again(path, seq);
        }
        let seq = self.config.next_seq;
        self.config.next_seq += 1;
        let delivered = self.own_receipt(id, Stage::Delivered, now.wall);
        let mut receipts = copy.receipts;
        receipts.retain(|receipt| receipt.event == id);
        receipts.truncate(limits::RECEIPTS_PER_EVENT - 3);
        // After the loss of an inbox the region still knows what this seat said: it is not said a second time.
        let mut unconfirmed = BTreeSet::new();
        if !receipts.iter().any(|have| same(have, &delivered)) {
            receipts.push(delivered);
            unconfirmed.insert(Stage::Delivered);
        }
        let trail = copy.trail.arrived(&self.me, now.wall);
        let row = InboxRow { seq, sealed: copy.sealed, trail, received_at: now.wall, receipts, unconfirmed };
        self.by_id.insert(id, seq);
        self.rows.insert(seq, Held { row, durable: false, shown: false, unknown: 0 });
        self.show_by.insert((now.mono + limits::SHOW_WITHOUT_DISK_AFTER, seq));
        self.keep(seq);
        self.make_room();
    }

    fn say_delivered_again(&mut self, path: PathId, seq: u64) {
        let Some(held) = self.rows.get(&seq).filter(|held| held.durable) else { return };
        let own = held.row.receipts.iter().find(|r| r.stage == Stage::Delivered && r.by == self.me);
        if let Some(receipt) = own.cloned() {
            self.out.push_back(Output::Send(path, Class::P1, Message::Receipts(vec![receipt])));
        }
    }

    /// Asks for the row to be on disk as it is now.
    fn keep(&mut self, seq: u64) -> Option<PersistSeq> {
        let write = Write::Put(self.rows.get(&seq)?.row.clone());
        Some(self.persist(Writing::Row(seq), write))
    }

    fn persist(&mut self, what: Writing, write: Write) -> PersistSeq {
        let seq = PersistSeq(self.next_persist);
        self.next_persist += 1;
        self.writing.insert(seq, what);
        self.out.push_back(Output::Persist(seq, write));
        seq
    }

    fn persisted(&mut self, now: Now, seq: PersistSeq) {
        if let Some((ticket, done)) = self.answers.remove(&seq) {
            self.out.push_back(Output::Answer(ticket, Ok(done)));
        }
        let Some(Writing::Row(seq)) = self.writing.remove(&seq) else { return };
        let Some(held) = self.rows.get_mut(&seq).filter(|held| !held.durable) else { return };
        held.durable = true;
        let shown = std::mem::replace(&mut held.shown, true);
        let row = held.row.clone();
        let event = row.sealed.event.clone();
        let unconfirmed: Vec<Stage> = row.unconfirmed.iter().copied().collect();
        if shown {
            self.out.push_back(Output::NowDurable(seq));
        } else {
            self.show_by.retain(|(_, waiting)| *waiting != seq);
            self.out.push_back(Output::Show { row: row.clone(), durable: true });
        }
        for stage in unconfirmed {
            self.courier.offer(now.mono, (event.id, stage), carried_as(event.class, stage), false);
        }
        let delivered = row.receipts.iter().find(|r| r.stage == Stage::Delivered && r.by == self.me).cloned();
        self.out.extend(delivered.map(|receipt| Output::Report(Report::Stage(row, receipt))));
    }

    fn persist_failed(&mut self, now: Now, seq: PersistSeq, why: String) {
        let answer = self.answers.remove(&seq);
        let Some(Writing::Row(seq)) = self.writing.remove(&seq) else { return };
        let Some(held) = self.rows.get_mut(&seq) else { return };
        let id = held.row.sealed.event.id;
        if let Some((ticket, _)) = answer {
            self.out.push_back(Output::Answer(ticket, Err(AckError::NotKept { event: id, why: why.clone() })));
        }
        if !std::mem::replace(&mut held.shown, true) {
            let row = held.row.clone();
            self.out.push_back(Output::Show { row, durable: false });
        }
        self.show_by.retain(|(_, waiting)| *waiting != seq);
        self.keep_again.insert((now.mono + KEEP_AGAIN_AFTER, seq));
        self.out.push_back(Output::Report(Report::NotKept(id, why)));
    }

    /// Somebody else's receipt, as the region passes it on.
    fn heard(&mut self, now: Now, receipt: Receipt) {
        let Some(seq) = self.by_id.get(&receipt.event).copied() else { return };
        if self.add(seq, receipt) {
            self.note_finished(seq);
            self.keep(seq);
            self.dispatch(now);
        }
    }

    fn confirmed(&mut self, now: Now, id: EventId, stage: Stage) {
        self.courier.settle(now.mono, &(id, stage));
        let Some(seq) = self.by_id.get(&id).copied() else { return };
        let Some(held) = self.rows.get_mut(&seq) else { return };
        if held.row.unconfirmed.remove(&stage) {
            self.out.push_back(Output::Report(Report::Confirmed(id, stage)));
            self.keep(seq);
        }
    }

    fn unknown(&mut self, now: Now, id: EventId) {
        let Some(held) = self.by_id.get(&id).and_then(|seq| self.rows.get_mut(seq)) else { return };
        held.unknown += 1;
        if held.unknown < UNKNOWN_LIMIT {
            return;
        }
        let seq = held.row.seq;
        for stage in std::mem::take(&mut held.row.unconfirmed) {
            self.courier.settle(now.mono, &(id, stage));
        }
        self.out.push_back(Output::Report(Report::Orphan(id)));
        self.keep(seq);
    }

    fn mark(&mut self, path: PathId, resume: Resume) {
        let Some(node) = self.paths.get(&path).cloned() else { return };
        self.config.marks.insert(node.clone(), resume);
        self.persist(Writing::Mark, Write::Mark(node, resume));
    }

    fn displayed(&mut self, now: Now, ids: Vec<EventId>) {
        for id in ids {
            let receipt = self.own_receipt(id, Stage::Displayed, now.wall);
            self.say(now, receipt);
        }
    }

    fn acknowledge(&mut self, now: Now, ticket: AckTicket, event: EventId, officer: Name, note: Text) {
        let mut receipt = self.own_receipt(event, Stage::Acknowledged, now.wall);
        receipt.officer = Some(officer);
        receipt.note = note;
        let answer = match self.get(&event) {
            None => Err(AckError::Unknown(event)),
            Some(row) => match row.owner().cloned() {
                Some(owner) if owner.by == self.me && owner.officer == receipt.officer => {
                    Ok(Acknowledged { receipt: owner.clone(), owner, repeated: true })
                }
                Some(owner) => Err(AckError::Taken(owner)),
                None => {
                    let done = Acknowledged { owner: receipt.clone(), receipt: receipt.clone(), repeated: false };
                    match self.say(now, receipt) {
                        Some(seq) => drop(self.answers.insert(seq, (ticket, done))),
                        None => {
                            let why = "its row is full of receipts".to_owned();
                            self.out.push_back(Output::Answer(ticket, Err(AckError::NotKept { event, why })));
                        }
                    }
                    return;
                }
            },
        };
        self.out.push_back(Output::Answer(ticket, answer));
    }

    /// Says something to the region, and keeps saying it until the record has it. It is a fact about people, not about this
    /// disk, so it goes out while the disk is still syncing.
    fn say(&mut self, now: Now, receipt: Receipt) -> Option<PersistSeq> {
        let seq = self.by_id.get(&receipt.event).copied()?;
        let (id, stage) = (receipt.event, receipt.stage);
        self.add(seq, receipt).then_some(())?;
        self.note_finished(seq);
        let held = self.rows.get_mut(&seq)?;
        held.row.unconfirmed.insert(stage);
        let class = held.row.sealed.event.class;
        self.courier.offer(now.mono, (id, stage), carried_as(class, stage), false);
        self.dispatch(now);
        self.keep(seq)
    }

    /// Adds a receipt to a row. False if it says nothing new.
    fn add(&mut self, seq: u64, receipt: Receipt) -> bool {
        let Some(held) = self.rows.get_mut(&seq) else { return false };
        let known = held.row.receipts.iter().any(|have| same(have, &receipt));
        if known || held.row.receipts.len() >= limits::RECEIPTS_PER_EVENT {
            return false;
        }
        held.row.receipts.push(receipt.clone());
        let row = held.row.clone();
        self.out.push_back(Output::Report(Report::Stage(row, receipt)));
        true
    }

    fn note_finished(&mut self, seq: u64) {
        if self.rows.get(&seq).is_some_and(|held| held.row.is_finished()) {
            self.finished.insert(seq);
        }
    }

    /// Forgets the oldest finished rows beyond the inbox's size.
    fn make_room(&mut self) {
        while self.rows.len() > limits::INBOX_EVENTS {
            let Some(seq) = self.finished.pop_first() else { return };
            let Some(held) = self.rows.remove(&seq) else { continue };
            let event = &held.row.sealed.event;
            self.by_id.remove(&event.id);
            let write = Write::Forget(event.class, seq);
            self.persist(Writing::Row(seq), write);
        }
    }

    fn dispatch(&mut self, now: Now) {
        while let Some(Transmit { key: (id, stage), path, class, .. }) = self.courier.poll_output() {
            let row = self.by_id.get(&id).and_then(|seq| self.rows.get(seq)).map(|held| &held.row);
            let own = row.and_then(|row| row.receipts.iter().find(|r| r.stage == stage && r.by == self.me));
            match own.cloned() {
                Some(receipt) => self.out.push_back(Output::Send(path, class, Message::Receipts(vec![receipt]))),
                None => drop(self.courier.settle(now.mono, &(id, stage))),
            }
        }
    }

    fn own_receipt(&self, event: EventId, stage: Stage, at: WallTime) -> Receipt {
        Receipt { event, stage, at, by: self.me.clone(), officer: None, note: Text::default() }
    }
}

/// The class under which a statement travels: an officer's answer to an alarm is as urgent as the alarm.
fn carried_as(event: Class, stage: Stage) -> Class {
    if stage >= Stage::Displayed { event.min(Class::P1) } else { event.max(Class::P1) }
}

fn same(one: &Receipt, other: &Receipt) -> bool {
    one.stage == other.stage && one.by == other.by
}

impl InboxRow {
    /// Whose acknowledgement came first, as far as this station knows.
    #[must_use]
    pub fn owner(&self) -> Option<&Receipt> {
        self.receipts.iter().find(|receipt| receipt.stage == Stage::Acknowledged)
    }

    /// Whether an officer has it, or none need take it.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.sealed.event.class > Class::P1 || self.owner().is_some()
    }
}

impl Machine for Station {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::PathUp(path, node, lane) => self.path_up(now, path, node, lane),
            Input::PathDown(path) => {
                self.paths.remove(&path);
                self.courier.path_down(path);
            }
            Input::Message(path, message) => self.message(now, path, message),
            Input::Persisted(seq) => self.persisted(now, seq),
            Input::PersistFailed(seq, why) => self.persist_failed(now, seq, why),
            Input::Displayed(ids) => self.displayed(now, ids),
            Input::Acknowledge { ticket, event, officer, note } => self.acknowledge(now, ticket, event, officer, note),
        }
        self.dispatch(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some((at, seq)) = self.show_by.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.show_by.remove(&(at, seq));
            if let Some(held) = self.rows.get_mut(&seq).filter(|held| !held.shown) {
                held.shown = true;
                let row = held.row.clone();
                self.out.push_back(Output::Show { row, durable: false });
            }
        }
        while let Some((at, seq)) = self.keep_again.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.keep_again.remove(&(at, seq));
            self.keep(seq);
        }
        self.courier.handle_timeout(now.mono);
        self.dispatch(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let show = self.show_by.first().map(|(at, _)| *at);
        let keep = self.keep_again.first().map(|(at, _)| *at);
        [show, keep, self.courier.poll_timeout()].into_iter().flatten().min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn check(&self) -> Result<(), String> {
        self.courier.check()?;
        if self.by_id.len() != self.rows.len() {
            return Err(format!("{} rows for {} events", self.rows.len(), self.by_id.len()));
        }
        for (seq, held) in &self.rows {
            let id = held.row.sealed.event.id;
            if self.by_id.get(&id) != Some(seq) || *seq >= self.config.next_seq {
                return Err(format!("{id} stands at {seq}, which is not its place"));
            }
            if held.durable && !held.shown {
                return Err(format!("{id} is on disk but was not shown"));
            }
            let carried = held.row.unconfirmed.iter().all(|stage| self.courier.carries(&(id, *stage)));
            if held.durable && !carried {
                return Err(format!("what was said of {id} is unconfirmed, and nobody carries it"));
            }
        }
        Ok(())
    }
}
