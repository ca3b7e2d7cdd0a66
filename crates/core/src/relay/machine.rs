//! The machine itself: the outbox, the disk, the presser's side, and the lamps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::Machine;
use crate::condition::Conditions;
use crate::courier::Courier;
use crate::duty::Duty;
use crate::event::{Class, Kind, Text};
use crate::id::{EventId, NodeName, PathId, PersistSeq};
use crate::inquiry::Inquiry;
use crate::keeping::Unkept;
use crate::limits;
use crate::message::{Degraded, Message};
use crate::path::Form;
use crate::plan::{PlanMark, SchoolPart};
use crate::probe::{PathHealth, Prober};
use crate::receipt::{Receipt, Stage, Standing};
use crate::relay::buttons::Buttons;
use crate::relay::commands::{CommandRow, Commands};
use crate::relay::modes::Modes;
use crate::relay::persons::Persons;
use crate::relay::port::{Input, Output, RelayConfig, Report, Write};
use crate::relay::raise::{RaiseError, Raised, Ticket};
use crate::relay::row::RelayRow;
use crate::relay::self_test::SelfTests;
use crate::relay::view::EventView;
use crate::rng::Rng;
use crate::signature::{Nobody, Signer, Verifier};
use crate::time::{Now, Span, Timestamp};

/// How often the driver is told to hurry while an alarm waits without a path.
const HURRY_EVERY: Span = Span::from_millis(500);

/// The relay's machine.
pub struct Relay {
    pub(super) config: RelayConfig,
    pub(super) me: NodeName,
    pub(super) rng: Rng,
    pub(super) next_seq: u64,
    next_persist: u64,
    pub(super) events: BTreeMap<EventId, EventView>,
    pub(super) open: usize,
    /// In the order in which they were finished: whoever looks at the lamp of one that was finished late must find it.
    finished: BTreeMap<u64, EventId>,
    next_finished: u64,
    pub(super) by_key: BTreeMap<String, EventId>,
    pub(super) buttons: Buttons,
    /// Drills that it was told of, and whether tests are on.
    pub(super) modes: Modes,
    pub(super) self_tests: SelfTests,
    pub(super) courier: Courier<EventId>,
    pub(super) express: BTreeSet<PathId>,
    pub(super) prober: Prober,
    pub(super) conditions: Conditions,
    writing: BTreeMap<PersistSeq, EventId>,
    pub(super) unkept: Unkept<EventId>,
    lamps_due: BTreeSet<(Timestamp, EventId)>,
    pub(super) refused_until: BTreeSet<(Timestamp, EventId)>,
    /// By slot: what the region does not have, and what it has but no officer.
    unstored: BTreeMap<u64, EventId>,
    pub(super) inquiry: Inquiry,
    /// The plan's part for the school, and its mark once it is on the disk.
    pub(super) part: Option<SchoolPart>,
    pub(super) part_kept: Option<PlanMark>,
    pub(super) duty: Duty,
    pub(super) trust_clock_at: Timestamp,
    pub(super) persons: Persons,
    pub(super) withheld: [u64; 2],
    /// When the driver is told again to hurry.
    hurry_at: Option<Timestamp>,
    pub(super) commands: Commands,
    pub(super) verifier: Arc<dyn Verifier>,
    /// By which alarms are signed; without it they go unsigned.
    pub(super) signer: Option<Arc<dyn Signer>>,
    pub(super) out: VecDeque<Output>,
}

impl Relay {
    /// A relay with what its outbox held when it stopped.
    #[must_use]
    pub fn new(now: Now, config: RelayConfig, rows: Vec<RelayRow>) -> Self {
        let me = NodeName::Relay(config.relay.clone());
        let mut rng = Rng::new(config.seed);
        // Another one than the events', which stays what it was.
        let command_seed = Rng::new(config.seed.rotate_left(17)).next_u64();
        let mut relay = Self {
            me,
            courier: Courier::new(rng.next_u64()).with_rate(config.copy_rate).with_others(config.spare_nodes),
            rng,
            next_seq: 1,
            next_persist: 1,
            events: BTreeMap::new(),
            open: 0,
            finished: BTreeMap::new(),
            next_finished: 1,
            by_key: BTreeMap::new(),
            buttons: Buttons::default(),
            modes: Modes::default(),
            self_tests: SelfTests::new(now, config.self_test),
            express: BTreeSet::new(),
            prober: Prober::default(),
            conditions: Conditions::default(),
            writing: BTreeMap::new(),
            unkept: Unkept::new(),
            lamps_due: BTreeSet::new(),
            refused_until: BTreeSet::new(),
            unstored: BTreeMap::new(),
            inquiry: Inquiry::default(),
            part_kept: config.plan.as_ref().map(|part| part.mark),
            part: config.plan.clone(),
            duty: Duty::default(),
            trust_clock_at: now.mono,
            persons: Persons::default(),
            withheld: [0; 2],
            hurry_at: None,
            commands: Commands::new(command_seed),
            verifier: Arc::new(Nobody),
            signer: None,
            out: VecDeque::new(),
            config,
        };
        rows.into_iter().for_each(|row| relay.restore(now, row));
        relay.restore_school(now);
        relay.forget_old();
        relay.hurry(now);
        relay
    }

    /// The same, with the commands that its disk held, and with what signatures of commands are checked by. Without it every command is
    /// refused.
    #[must_use]
    pub fn commanded(mut self, now: Now, verifier: Arc<dyn Verifier>, rows: Vec<CommandRow>) -> Self {
        self.verifier = verifier;
        self.restore_commands(now, rows);
        self
    }

    /// The same, signing alarms of class P0 by `signer` from now on.
    #[must_use]
    pub fn signing(mut self, signer: Option<Arc<dyn Signer>>) -> Self {
        self.signer = signer;
        self
    }

    /// One event.
    #[must_use]
    pub fn get(&self, id: &EventId) -> Option<&EventView> {
        self.events.get(id)
    }

    /// All events that it still knows, in the order of their ids: roughly that of their times.
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
        self.unstored.values().next().and_then(|id| self.events.get(id))
    }

    /// Whether any broker node can be reached.
    #[must_use]
    pub fn has_path(&self) -> bool {
        self.courier.has_path()
    }

    /// How each express session does.
    pub fn paths(&self, now: Timestamp) -> impl Iterator<Item = PathHealth> {
        self.prober.health(now)
    }

    /// The broker nodes that are without a quorum, and what they say of it.
    #[must_use]
    pub fn degraded_nodes(&self) -> BTreeMap<&NodeName, &Degraded> {
        self.conditions.degraded()
    }

    /// Since when and why the region takes nothing into its record, if that is so of every node that can be reached.
    #[must_use]
    pub fn degraded(&self) -> Option<&Degraded> {
        self.conditions.worst()
    }

    /// By how many microseconds this relay's clock is ahead of the region's, if that is known.
    #[must_use]
    pub fn skew(&self) -> Option<i64> {
        self.prober.skew()
    }

    /// Has the driver dial at once while an alarm waits and no broker node answers. A session that was taken up early, before its
    /// handshake is over, may lead nowhere: until something has come on it, dialling goes on.
    fn hurry(&mut self, now: Now) {
        let alarms: usize = self.courier.pending()[..=Class::P1 as usize].iter().sum();
        if alarms == 0 || self.courier.is_answered() {
            self.hurry_at = None;
        } else if self.hurry_at.is_none_or(|at| at <= now.mono) {
            self.hurry_at = Some(now.mono + HURRY_EVERY);
            self.out.push_back(Output::Hurry);
        }
    }

    fn restore(&mut self, now: Now, row: RelayRow) {
        self.config.next_slot = self.config.next_slot.max(row.slot.saturating_add(1));
        let id = row.sealed.event.id;
        if row.sealed.event.kind == Kind::SelfTest {
            self.self_tests.found(row.sealed.event.raised_at);
        }
        if let Some(view) = self.events.get_mut(&id) {
            // A store mended from the black box may hold an event twice. One row is enough.
            for receipt in row.receipts {
                view.lamp.reached(receipt.stage);
                view.add(receipt);
            }
            if view.is_stored() {
                self.courier.settle(now.mono, &id);
            }
            self.forget_row(row.sealed.event.class, row.slot);
            self.file(now, id);
            return self.keep(id);
        }
        let mut view = EventView::new(now.mono, row, true);
        if view.receipt(Stage::Kept).is_none() {
            // The row is on disk, so it is kept; when exactly was not written down.
            view.add(self.own_receipt(id, Stage::Kept, view.row.sealed.event.raised_at));
            view.lamp.reached(Stage::Kept);
        }
        if let Some(key) = &view.row.idempotency_key {
            self.by_key.insert(key.clone(), id);
        }
        if !view.is_stored() {
            self.courier.offer(now.mono, id, view.row.sealed.event.class, true, view.row.sealed.wire_bytes());
        }
        self.open += 1;
        self.watch_lamp(id, &view);
        self.events.insert(id, view);
        self.file(now, id);
    }

    /// Files the event under what is still to be done for it.
    pub(super) fn file(&mut self, now: Now, id: EventId) {
        let Some(view) = self.events.get_mut(&id) else { return };
        let slot = view.row.slot;
        if view.is_stored() {
            self.unstored.remove(&slot);
        } else {
            self.unstored.insert(slot, id);
        }
        if view.is_finished() {
            self.inquiry.remove(slot);
            self.courier.settle(now.mono, &id);
            if !std::mem::replace(&mut view.filed_as_finished, true) {
                self.open -= 1;
                self.finished.insert(self.next_finished, id);
                self.next_finished += 1;
            }
        } else if view.is_stored() || view.rests() {
            self.inquiry.add(now.mono, slot, id);
        }
    }

    /// Asks for the row of `id` to be on disk as it is now.
    pub(super) fn keep(&mut self, id: EventId) {
        let Some(view) = self.events.get(&id) else { return };
        let seq = PersistSeq(self.next_persist);
        self.next_persist += 1;
        self.unkept.remove(view.row.sealed.event.class, id);
        self.out.push_back(Output::Persist(seq, Write::Put(view.row.clone())));
        self.writing.insert(seq, id);
    }

    fn persisted(&mut self, now: Now, seq: PersistSeq) {
        if self.command_kept(now, seq, None) {
            return;
        }
        let Some(id) = self.writing.remove(&seq) else { return };
        self.unkept.works(now.mono);
        let Some(view) = self.events.get_mut(&id).filter(|view| !view.kept) else { return };
        view.kept = true;
        let waiting = std::mem::take(&mut view.waiting);
        for (ticket, raised) in waiting {
            self.answer(ticket, Ok(raised));
        }
        let receipt = self.own_receipt(id, Stage::Kept, now.wall);
        self.reached(now, id, receipt);
    }

    fn persist_failed(&mut self, now: Now, seq: PersistSeq, why: String) {
        if self.command_kept(now, seq, Some(&why)) {
            return;
        }
        let Some(id) = self.writing.remove(&seq) else { return };
        let Some(view) = self.events.get_mut(&id) else { return };
        let waiting = std::mem::take(&mut view.waiting);
        let sealed = view.row.sealed.clone();
        self.unkept.failed(now.mono, sealed.event.class, id);
        for (ticket, _) in waiting {
            self.answer(ticket, Err(RaiseError::NotKept { id, why: why.clone() }));
        }
        self.report(Report::NotKept(sealed, why));
    }

    /// Notes a receipt. True if it was news.
    pub(super) fn reached(&mut self, now: Now, id: EventId, receipt: Receipt) -> bool {
        let Some(view) = self.events.get_mut(&id) else { return false };
        if !view.add(receipt.clone()) {
            return false;
        }
        view.lamp.reached(receipt.stage);
        let (lamp, sealed) = (view.lamp.show(), view.row.sealed.clone());
        self.file(now, id);
        self.report(Report::Stage(sealed, receipt, lamp));
        self.forget_old();
        true
    }

    fn forget_old(&mut self) {
        while self.finished.len() > limits::RELAY_FINISHED_EVENTS {
            let Some((_, id)) = self.finished.pop_first() else { return };
            if self.duty.holds(&id) {
                // At most one for each guard post.
                self.finished.insert(self.next_finished, id);
                self.next_finished += 1;
                continue;
            }
            let Some(view) = self.events.remove(&id) else { continue };
            let (class, slot) = (view.row.sealed.event.class, view.row.slot);
            self.unkept.remove(class, id);
            if let Some(key) = view.row.idempotency_key.filter(|key| self.by_key.get(key) == Some(&id)) {
                self.by_key.remove(&key);
            }
            self.forget_row(class, slot);
        }
    }

    fn forget_row(&mut self, class: Class, slot: u64) {
        let seq = PersistSeq(self.next_persist);
        self.next_persist += 1;
        self.out.push_back(Output::Persist(seq, Write::Forget(class, slot)));
    }

    pub(super) fn next_persist(&mut self) -> PersistSeq {
        self.next_persist += 1;
        PersistSeq(self.next_persist - 1)
    }

    fn tick_lamps(&mut self, now: Now) {
        while let Some((at, id)) = self.lamps_due.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.lamps_due.remove(&(at, id));
            if let Some(view) = self.events.get_mut(&id).filter(|view| !view.is_finished())
                && view.lamp.tick(now.mono)
            {
                let report = Report::Lamp(view.row.sealed.clone(), view.lamp.show());
                self.report(report);
            }
        }
    }

    pub(super) fn watch_lamp(&mut self, id: EventId, view: &EventView) {
        if let Some(deadline) = view.lamp.deadline() {
            self.lamps_due.insert((deadline, id));
        }
    }

    pub(super) fn own_receipt(&self, event: EventId, stage: Stage, at: crate::time::WallTime) -> Receipt {
        Receipt {
            event,
            stage,
            at,
            by: self.me.clone(),
            officer: None,
            note: Text::default(),
            skew: self.prober.skew(),
            standing: Standing::Settled,
        }
    }

    pub(super) fn send(&mut self, path: PathId, class: Class, form: Form, message: Message) {
        self.out.push_back(Output::Send(path, class, form, message));
    }

    pub(super) fn race(&mut self) {
        self.out.push_back(Output::Race);
    }

    pub(super) fn dial_others(&mut self) {
        self.out.push_back(Output::DialOthers);
    }

    pub(super) fn answer(&mut self, ticket: Ticket, answer: Result<Raised, RaiseError>) {
        self.out.push_back(Output::Answer(ticket, answer));
    }

    pub(super) fn report(&mut self, report: Report) {
        self.out.push_back(Output::Report(report));
    }
}

impl Machine for Relay {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::CheckIn { post, sensor, person } => self.check_in(now, &post, sensor, person),
            Input::PlanKept(mark) => self.plan_is_kept(mark),
            Input::Raise { ticket, press, idempotency_key, live } => {
                self.raise(now, ticket, press, idempotency_key, live);
            }
            Input::TestMode(span) => self.test_mode(now, span),
            Input::Persisted(seq) => self.persisted(now, seq),
            Input::PersistFailed(seq, why) => self.persist_failed(now, seq, why),
            Input::PathUp(path, node, info) => self.path_up(now, path, node, info),
            Input::PathDown(path) => self.path_down(now, path),
            Input::Message(path, message) => self.message(now, path, message),
            Input::Ended(id, ended) => self.command_ended(now, id, ended),
        }
        self.dispatch(now);
        self.hurry(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.tick_lamps(now);
        self.modes_due(now);
        self.self_test(now);
        for id in self.unkept.due(now.mono) {
            self.keep(id);
        }
        self.offer_refused(now);
        self.count_joined(now);
        self.tell_persons(now);
        self.look_at_duty(now);
        self.look_at_commands(now);
        self.inquire(now);
        self.probe(now);
        self.courier.handle_timeout(now.mono);
        self.dispatch(now);
        self.hurry(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let lamp = self.lamps_due.first().map(|(at, _)| *at);
        let refused = self.refused_until.first().map(|(at, _)| *at);
        let timers = [
            lamp,
            refused,
            self.hurry_at,
            self.buttons.poll_timeout(),
            self.persons.poll_timeout(),
            self.duty.poll_timeout(),
            self.modes.poll_timeout(),
            self.self_tests.poll_timeout(),
            self.unkept.poll_timeout(),
            self.inquiry.poll_timeout(),
            self.courier.poll_timeout(),
            self.prober.poll_timeout(),
            self.commands.poll_timeout(),
        ];
        timers.into_iter().flatten().min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn check(&self) -> Result<(), String> {
        self.courier.check()?;
        self.prober.check()?;
        self.buttons.check()?;
        self.persons.check()?;
        self.duty.check()?;
        self.modes.check()?;
        self.commands.check()?;
        let open = self.events.values().filter(|view| !view.is_finished()).count();
        if open != self.open || self.events.len() - open != self.finished.len() {
            return Err(format!("{open} events are open, {} counted", self.open));
        }
        if open > limits::RELAY_OPEN_EVENTS || self.finished.len() > limits::RELAY_FINISHED_EVENTS {
            return Err(format!("{open} open and {} finished events are held", self.finished.len()));
        }
        if self.by_key.len() > self.events.len() || self.refused_until.len() > self.events.len() {
            return Err("keys or refusals outlive their events".to_owned());
        }
        for (id, view) in &self.events {
            let carried = self.courier.carries(id);
            if view.is_finished() && carried {
                return Err(format!("{id} is finished but still carried"));
            }
            if !view.is_stored() && !view.refused && !carried && !view.rests() {
                return Err(format!("{id} is not stored, and nobody carries it"));
            }
            if self.unstored.contains_key(&view.row.slot) == view.is_stored() {
                return Err(format!("{id} is wrongly listed as what the region has or has not"));
            }
            let asked = !view.is_finished() && (view.is_stored() || view.rests());
            if self.inquiry.contains(view.row.slot) != asked {
                return Err(format!("{id} waits for the record's word and nobody asks, or the reverse"));
            }
            if view.kept && !view.waiting.is_empty() {
                return Err(format!("{id} is kept, but somebody still waits for that"));
            }
        }
        Ok(())
    }
}
