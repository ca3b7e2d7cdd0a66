//! The machine itself: inputs, outputs, and what happens in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::courier::{Courier, Transmit};
use crate::event::{Class, Event, Sealed, Text};
use crate::id::{EventId, NodeName, PathId, PersistSeq, RelayId};
use crate::lamp::Lamp;
use crate::lane::Lane;
use crate::limits;
use crate::message::{EventCopy, Hello, Message, Refusal, WIRE_MINOR};
use crate::receipt::{Receipt, Stage, Trail};
use crate::relay::raise::{Press, RaiseError, Raised, Ticket};
use crate::relay::row::RelayRow;
use crate::relay::view::EventView;
use crate::rng::Rng;
use crate::time::{Now, Span, Timestamp};
use crate::Machine;

/// How often the region is asked about events that it has but no officer.
const INQUIRE_EVERY: Span = Span::from_secs(10);
/// How long after a failed write an event is written again.
const KEEP_AGAIN_AFTER: Span = Span::from_secs(5);
/// How long after a refusal an event is offered again: the plan or a certificate may have been mended.
const OFFER_AGAIN_AFTER: Span = Span::from_secs(60);

/// What a relay is told once.
pub struct RelayConfig {
    /// Who it is.
    pub relay: RelayId,
    /// The number of this start; higher than that of any earlier one.
    pub epoch: u64,
    /// The first slot that no event has used.
    pub next_slot: u64,
    /// Seed of all that is random.
    pub seed: u64,
    /// Encodes an event, the same bytes for the same event.
    pub seal: fn(&Event) -> Sealed,
    /// What it calls itself in greetings.
    pub software: String,
}

/// What the world tells a relay.
#[derive(Debug)]
pub enum Input {
    /// A press.
    Raise {
        /// For the answer.
        ticket: Ticket,
        /// What was pressed.
        press: Press,
        /// The presser's key, at most [`limits::IDEMPOTENCY_KEY_BYTES`] bytes.
        idempotency_key: Option<String>,
    },
    /// What was asked to be persisted under this number is on stable storage.
    Persisted(PersistSeq),
    /// It is not, and will not be.
    PersistFailed(PersistSeq, String),
    /// A session with a broker node is there.
    PathUp(PathId, Lane),
    /// It is gone.
    PathDown(PathId),
    /// A broker node said something.
    Message(PathId, Message),
}

/// A change of what is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Put this row in place of what was in its slot.
    Put(RelayRow),
    /// Forget the row of this class and slot.
    Forget(Class, u64),
}

/// What a relay wants done.
#[derive(Debug)]
pub enum Output {
    /// Bring this to stable storage and say so with [`Input::Persisted`].
    Persist(PersistSeq, Write),
    /// Send this.
    Send(PathId, Class, Message),
    /// Answer the presser.
    Answer(Ticket, Result<Raised, RaiseError>),
    /// Something that people and metrics want to know.
    Report(Report),
}

/// What people and metrics want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A new event.
    Raised(Sealed),
    /// An event reached a stage for the first time.
    Stage(Sealed, Receipt, Lamp),
    /// Its lamp changed by time alone.
    Lamp(Sealed, Lamp),
    /// The region does not take it.
    Refused(Sealed, Refusal),
    /// The disk does not take it.
    NotKept(Sealed, String),
}

/// The relay's machine.
pub struct Relay {
    config: RelayConfig,
    me: NodeName,
    rng: Rng,
    next_seq: u64,
    next_persist: u64,
    events: BTreeMap<EventId, EventView>,
    open: usize,
    finished: BTreeSet<(u64, EventId)>,
    by_key: BTreeMap<String, EventId>,
    courier: Courier<EventId>,
    express: BTreeSet<PathId>,
    writing: BTreeMap<PersistSeq, EventId>,
    lamps_due: BTreeSet<(Timestamp, EventId)>,
    retries_due: BTreeSet<(Timestamp, EventId)>,
    inquire_at: Option<Timestamp>,
    out: VecDeque<Output>,
}

impl Relay {
    /// A relay with what its outbox held when it stopped.
    #[must_use]
    pub fn new(now: Now, config: RelayConfig, rows: Vec<RelayRow>) -> Self {
        let me = NodeName::Relay(config.relay.clone());
        let mut rng = Rng::new(config.seed);
        let mut relay = Self {
            me,
            courier: Courier::new(rng.next_u64()),
            rng,
            next_seq: 1,
            next_persist: 1,
            events: BTreeMap::new(),
            open: 0,
            finished: BTreeSet::new(),
            by_key: BTreeMap::new(),
            express: BTreeSet::new(),
            writing: BTreeMap::new(),
            lamps_due: BTreeSet::new(),
            retries_due: BTreeSet::new(),
            inquire_at: None,
            out: VecDeque::new(),
            config,
        };
        rows.into_iter().for_each(|row| relay.restore(now, row));
        relay
    }

    /// One event.
    #[must_use]
    pub fn get(&self, id: &EventId) -> Option<&EventView> {
        self.events.get(id)
    }

    /// All events that it still knows, newest last.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &EventView> {
        self.events.values()
    }

    /// Unfinished events of each class that the region does not have yet, highest first.
    #[must_use]
    pub fn pending(&self) -> [usize; Class::ALL.len()] {
        self.courier.pending()
    }

    /// The oldest event that the region does not have: the figure that health is judged by.
    #[must_use]
    pub fn oldest_unstored(&self) -> Option<&EventView> {
        self.events.values().find(|view| !view.is_stored())
    }

    /// Whether any broker node can be reached.
    #[must_use]
    pub fn has_path(&self) -> bool {
        self.courier.has_path()
    }

    fn restore(&mut self, now: Now, row: RelayRow) {
        let mut view = EventView::new(now.mono, row, true);
        let id = view.row.sealed.event.id;
        if view.receipt(Stage::Kept).is_none() {
            // The row is on disk, so it is kept; when exactly was not written down.
            view.add(self.own_receipt(id, Stage::Kept, view.row.sealed.event.raised_at));
            view.lamp.reached(Stage::Kept);
        }
        if let Some(key) = &view.row.idempotency_key {
            self.by_key.insert(key.clone(), id);
        }
        self.config.next_slot = self.config.next_slot.max(view.row.slot + 1);
        if view.is_finished() {
            self.finished.insert((view.row.slot, id));
        } else {
            self.open += 1;
            if !view.is_stored() {
                self.courier.offer(now.mono, id, view.row.sealed.event.class, true);
            }
        }
        self.watch_lamp(id, &view);
        self.events.insert(id, view);
    }

    fn raise(&mut self, now: Now, ticket: Ticket, press: Press, key: Option<String>) {
        let Some(class) = press.kind.class() else {
            return self.answer(ticket, Err(RaiseError::UnknownKind(press.kind)));
        };
        if let Some(id) = key.as_ref().and_then(|key| self.by_key.get(key)).copied() {
            return self.raise_again(ticket, id, &press);
        }
        let room = if class == Class::P0 { 0 } else { limits::RELAY_RESERVED_FOR_P0 };
        if self.open + room >= limits::RELAY_OPEN_EVENTS {
            return self.answer(ticket, Err(RaiseError::Full { open: self.open }));
        }
        let id = EventId::generate(now.wall, &mut self.rng);
        let event = Event {
            id,
            relay: self.config.relay.clone(),
            epoch: self.config.epoch,
            seq: self.next_seq,
            kind: press.kind,
            class,
            mode: press.mode,
            device: press.device,
            zone: press.zone,
            note: press.note,
            raised_at: now.wall,
        };
        self.next_seq += 1;
        let slot = self.config.next_slot;
        self.config.next_slot += 1;
        let row = RelayRow {
            slot,
            sealed: (self.config.seal)(&event),
            idempotency_key: key.clone(),
            receipts: Vec::new(),
        };
        let mut view = EventView::new(now.mono, row, false);
        view.waiting.push((ticket, false));
        self.report(Report::Raised(view.row.sealed.clone()));
        self.watch_lamp(id, &view);
        self.open += 1;
        if let Some(key) = key {
            self.by_key.insert(key, id);
        }
        self.events.insert(id, view);
        self.keep(id);
        self.courier.offer(now.mono, id, class, false);
    }

    fn raise_again(&mut self, ticket: Ticket, id: EventId, press: &Press) {
        let Some(view) = self.events.get_mut(&id) else { return };
        let event = &view.row.sealed.event;
        let same = event.kind == press.kind
            && event.mode == press.mode
            && event.device == press.device
            && event.zone == press.zone
            && event.note == press.note;
        if !same {
            self.answer(ticket, Err(RaiseError::KeyReused { id }));
        } else if view.kept {
            self.answer(ticket, Ok(Raised { id, repeated: true }));
        } else {
            view.waiting.push((ticket, true));
        }
    }

    /// Asks for the row of `id` to be on disk as it is now.
    fn keep(&mut self, id: EventId) {
        let Some(view) = self.events.get_mut(&id) else { return };
        let seq = PersistSeq(self.next_persist);
        self.next_persist += 1;
        view.retry_keeping_at = None;
        self.out.push_back(Output::Persist(seq, Write::Put(view.row.clone())));
        self.writing.insert(seq, id);
    }

    fn persisted(&mut self, now: Now, seq: PersistSeq) {
        let Some(id) = self.writing.remove(&seq) else { return };
        let Some(view) = self.events.get_mut(&id).filter(|view| !view.kept) else { return };
        view.kept = true;
        let waiting = std::mem::take(&mut view.waiting);
        for (ticket, repeated) in waiting {
            self.answer(ticket, Ok(Raised { id, repeated }));
        }
        let receipt = self.own_receipt(id, Stage::Kept, now.wall);
        self.reached(now, id, receipt);
    }

    fn persist_failed(&mut self, now: Now, seq: PersistSeq, why: String) {
        let Some(id) = self.writing.remove(&seq) else { return };
        let Some(view) = self.events.get_mut(&id) else { return };
        let again = now.mono + KEEP_AGAIN_AFTER;
        view.retry_keeping_at = Some(again);
        let waiting = std::mem::take(&mut view.waiting);
        let sealed = view.row.sealed.clone();
        self.retries_due.insert((again, id));
        for (ticket, _) in waiting {
            self.answer(ticket, Err(RaiseError::NotKept { id, why: why.clone() }));
        }
        self.report(Report::NotKept(sealed, why));
    }

    fn path_up(&mut self, now: Now, path: PathId, lane: Lane) {
        if lane == Lane::Express {
            self.express.insert(path);
            let hello = Hello { software: self.config.software.clone(), wire_minor: WIRE_MINOR, resume: None };
            self.send(path, Class::P1, Message::Hello(hello));
            self.inquire(now, &[path], usize::MAX);
        }
        self.courier.path_up(now.mono, path, lane);
    }

    fn path_down(&mut self, path: PathId) {
        self.express.remove(&path);
        self.courier.path_down(path);
    }

    /// Asks how far the events have come that the region has: the `most` newest of them.
    fn inquire(&mut self, now: Now, paths: &[PathId], most: usize) {
        let open = self.events.values().rev().filter(|view| !view.is_finished() && view.is_stored());
        let ids: Vec<EventId> = open.map(|view| view.row.sealed.event.id).take(most).collect();
        for path in paths {
            for chunk in ids.chunks(limits::LIST_ITEMS) {
                self.send(*path, Class::P2, Message::Inquire(chunk.to_vec()));
            }
        }
        self.inquire_at = (!ids.is_empty()).then(|| now.mono + INQUIRE_EVERY);
    }

    fn message(&mut self, now: Now, message: Message) {
        match message {
            Message::Receipts(receipts) => receipts.into_iter().for_each(|receipt| self.receipt(now, receipt)),
            Message::Unknown(ids) => ids.into_iter().for_each(|id| self.offer_again(now, id)),
            Message::Refused(id, refusal) => self.refused(now, id, refusal),
            // A region has nothing else to say to a relay; a newer one's words are not held against it.
            Message::Hello(_) | Message::Event(_) | Message::Confirmed(_) | Message::Inquire(_) | Message::Mark(_) => {}
        }
    }

    fn receipt(&mut self, now: Now, receipt: Receipt) {
        let (id, stage) = (receipt.event, receipt.stage);
        let from_outside = !matches!(stage, Stage::Kept | Stage::Sent);
        if !from_outside || !self.events.contains_key(&id) {
            return;
        }
        if stage >= Stage::Stored {
            self.courier.settle(now.mono, &id);
        }
        if self.reached(now, id, receipt) {
            self.keep(id);
            self.inquire_at = self.inquire_at.or(Some(now.mono + INQUIRE_EVERY));
        }
    }

    /// Notes a receipt. True if it was news.
    fn reached(&mut self, now: Now, id: EventId, receipt: Receipt) -> bool {
        let Some(view) = self.events.get_mut(&id) else { return false };
        let was_finished = view.is_finished();
        if !view.add(receipt.clone()) {
            return false;
        }
        view.lamp.reached(receipt.stage);
        let (slot, lamp, sealed) = (view.row.slot, view.lamp.show(), view.row.sealed.clone());
        if view.is_finished() && !was_finished {
            self.open -= 1;
            self.finished.insert((slot, id));
            self.courier.settle(now.mono, &id);
        }
        self.report(Report::Stage(sealed, receipt, lamp));
        self.forget_old();
        true
    }

    fn offer_again(&mut self, now: Now, id: EventId) {
        if let Some(view) = self.events.get(&id).filter(|view| !view.is_finished()) {
            let class = view.row.sealed.event.class;
            self.courier.offer(now.mono, id, class, true);
        }
    }

    fn refused(&mut self, now: Now, id: EventId, refusal: Refusal) {
        let Some(view) = self.events.get_mut(&id).filter(|view| !view.is_stored()) else { return };
        view.refused = true;
        let sealed = view.row.sealed.clone();
        self.courier.settle(now.mono, &id);
        self.retries_due.insert((now.mono + OFFER_AGAIN_AFTER, id));
        self.report(Report::Refused(sealed, refusal));
    }

    fn retry(&mut self, now: Now, id: EventId) {
        let Some(view) = self.events.get_mut(&id) else { return };
        if view.retry_keeping_at.is_some_and(|at| at <= now.mono) {
            self.keep(id);
        } else if view.refused && !view.is_stored() {
            view.refused = false;
            let class = view.row.sealed.event.class;
            self.courier.offer(now.mono, id, class, true);
        }
    }

    /// Sends what the courier has decided to send.
    fn dispatch(&mut self, now: Now) {
        while let Some(Transmit { key: id, path, class, .. }) = self.courier.poll_output() {
            let Some(view) = self.events.get(&id) else { continue };
            let sealed = view.row.sealed.clone();
            let trail = Trail::default().arrived(&self.me, sealed.event.raised_at).leaving(now.wall);
            self.send(path, class, Message::Event(EventCopy { sealed, trail, receipts: Vec::new() }));
            let receipt = self.own_receipt(id, Stage::Sent, now.wall);
            self.reached(now, id, receipt);
        }
    }

    fn forget_old(&mut self) {
        while self.finished.len() > limits::RELAY_FINISHED_EVENTS {
            let Some((slot, id)) = self.finished.pop_first() else { return };
            let Some(view) = self.events.remove(&id) else { continue };
            if let Some(key) = &view.row.idempotency_key {
                self.by_key.remove(key);
            }
            let seq = PersistSeq(self.next_persist);
            self.next_persist += 1;
            self.out.push_back(Output::Persist(seq, Write::Forget(view.row.sealed.event.class, slot)));
        }
    }

    fn watch_lamp(&mut self, id: EventId, view: &EventView) {
        if let Some(deadline) = view.lamp.deadline() {
            self.lamps_due.insert((deadline, id));
        }
    }

    fn own_receipt(&self, event: EventId, stage: Stage, at: crate::time::WallTime) -> Receipt {
        Receipt { event, stage, at, by: self.me.clone(), officer: None, note: Text::default() }
    }

    fn send(&mut self, path: PathId, class: Class, message: Message) {
        self.out.push_back(Output::Send(path, class, message));
    }

    fn answer(&mut self, ticket: Ticket, answer: Result<Raised, RaiseError>) {
        self.out.push_back(Output::Answer(ticket, answer));
    }

    fn report(&mut self, report: Report) {
        self.out.push_back(Output::Report(report));
    }
}

impl Machine for Relay {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Raise { ticket, press, idempotency_key } => self.raise(now, ticket, press, idempotency_key),
            Input::Persisted(seq) => self.persisted(now, seq),
            Input::PersistFailed(seq, why) => self.persist_failed(now, seq, why),
            Input::PathUp(path, lane) => self.path_up(now, path, lane),
            Input::PathDown(path) => self.path_down(path),
            Input::Message(_, message) => self.message(now, message),
        }
        self.dispatch(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some((at, id)) = self.lamps_due.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.lamps_due.remove(&(at, id));
            if let Some(view) = self.events.get_mut(&id).filter(|view| !view.is_finished())
                && view.lamp.tick(now.mono)
            {
                let report = Report::Lamp(view.row.sealed.clone(), view.lamp.show());
                self.report(report);
            }
        }
        while let Some((at, id)) = self.retries_due.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.retries_due.remove(&(at, id));
            self.retry(now, id);
        }
        if self.inquire_at.is_some_and(|at| at <= now.mono) {
            let paths: Vec<PathId> = self.express.iter().copied().collect();
            self.inquire(now, &paths, limits::LIST_ITEMS);
        }
        self.courier.handle_timeout(now.mono);
        self.dispatch(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let lamp = self.lamps_due.first().map(|(at, _)| *at);
        let retry = self.retries_due.first().map(|(at, _)| *at);
        [lamp, retry, self.inquire_at, self.courier.poll_timeout()].into_iter().flatten().min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn check(&self) -> Result<(), String> {
        self.courier.check()?;
        let open = self.events.values().filter(|view| !view.is_finished()).count();
        if open != self.open || self.events.len() - open != self.finished.len() {
            return Err(format!("{open} events are open, {} counted", self.open));
        }
        for (id, view) in &self.events {
            let carried = self.courier.carries(id);
            if view.is_finished() && carried {
                return Err(format!("{id} is finished but still carried"));
            }
            if !view.is_stored() && !view.refused && !carried {
                return Err(format!("{id} is not stored, and nobody carries it"));
            }
            if view.kept && !view.waiting.is_empty() {
                return Err(format!("{id} is kept, but somebody still waits for that"));
            }
        }
        Ok(())
    }
}
