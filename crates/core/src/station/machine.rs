//! The machine itself: its state, the region's side, and the disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::Machine;
use crate::condition::Conditions;
use crate::courier::{Courier, Transmit};
use crate::event::{Class, Text};
use crate::id::{EventId, NodeName, PathId, PersistSeq};
use crate::inquiry::Inquiry;
use crate::keeping::Unkept;
use crate::lane::Lane;
use crate::limits;
use crate::message::{Degraded, Hello, Message, Resume, STANDING_SINCE, WIRE_MINOR};
use crate::path::{Form, PathInfo};
use crate::probe::{PathHealth, Prober};
use crate::receipt::{RECEIPT_WIRE_BYTES, Receipt, Stage, Standing};
use crate::signature::{Verdict, Verifier};
use crate::station::case::CaseOrders;
use crate::station::commands::Commands;
use crate::station::drills::Drills;
use crate::station::escalate::Escalations;
use crate::station::hearing::Hearing;
use crate::station::history::Questions;
use crate::station::officer::carried_as;
use crate::station::port::{AckTicket, Acknowledged, Input, Output, Report, StationConfig, Write};
use crate::station::row::InboxRow;
use crate::time::{Now, Timestamp, WallTime};

/// One event of the inbox in memory.
pub(super) struct Held {
    pub(super) row: InboxRow,
    /// Whether it is on disk, in whatever state.
    pub(super) durable: bool,
    /// `None` once it is on a screen; until then, when it goes there without waiting for the disk any longer.
    pub(super) show_at: Option<Timestamp>,
    /// How often the region has said that it does not know it.
    pub(super) unknown: u32,
}

/// A station's machine.
pub struct Station {
    pub(super) config: StationConfig,
    pub(super) me: NodeName,
    pub(super) rows: BTreeMap<u64, Held>,
    pub(super) by_id: BTreeMap<EventId, u64>,
    /// Rows that may leave when room is needed.
    pub(super) removable: BTreeSet<u64>,
    /// Alarms that no officer has taken, and those of which the record has not said who has.
    pub(super) inquiry: Inquiry,
    pub(super) courier: Courier<(EventId, Stage)>,
    pub(super) paths: BTreeMap<PathId, (NodeName, PathInfo)>,
    /// Those of them whose node speaks a minor of the wire without [`Standing`].
    pub(super) older: BTreeSet<PathId>,
    pub(super) prober: Prober,
    conditions: Conditions,
    pub(super) escalations: Escalations,
    pub(super) cases: CaseOrders,
    pub(super) drills: Drills,
    pub(super) questions: Questions,
    pub(super) commands: Commands,
    pub(super) hearing: Hearing,
    pub(super) unkept: Unkept<u64>,
    pub(super) answers: BTreeMap<PersistSeq, Vec<(AckTicket, Acknowledged)>>,
    pub(super) show_by: BTreeSet<(Timestamp, u64)>,
    /// By which signatures of alarms are checked; without it they are not.
    pub(super) verifier: Option<Arc<dyn Verifier>>,
    pub(super) out: VecDeque<Output>,
    next_persist: u64,
    /// Rows by the write that is under way.
    writing: BTreeMap<PersistSeq, u64>,
}

impl Station {
    /// A station with what its inbox held when it stopped.
    #[must_use]
    pub fn new(now: Now, config: StationConfig, rows: Vec<InboxRow>) -> Self {
        let mut station = Self {
            me: NodeName::Station(config.seat.clone()),
            courier: Courier::new(config.seed).of_statements().with_rate(limits::SEAT_COPY_BYTES_PER_SECOND),
            rows: BTreeMap::new(),
            by_id: BTreeMap::new(),
            removable: BTreeSet::new(),
            inquiry: Inquiry::default(),
            paths: BTreeMap::new(),
            older: BTreeSet::new(),
            prober: Prober::default(),
            conditions: Conditions::default(),
            escalations: Escalations::default(),
            cases: CaseOrders::default(),
            drills: Drills::default(),
            questions: Questions::default(),
            commands: Commands::default(),
            hearing: Hearing::default(),
            unkept: Unkept::new(),
            next_persist: 1,
            writing: BTreeMap::new(),
            answers: BTreeMap::new(),
            show_by: BTreeSet::new(),
            verifier: None,
            out: VecDeque::new(),
            config,
        };
        rows.into_iter().for_each(|row| station.restore(now, row));
        station
    }

    /// The same, checking the signatures of alarms by `verifier` as they come.
    #[must_use]
    pub fn verifying(mut self, verifier: Arc<dyn Verifier>) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// The rows from number `seq` on that may be shown, in order.
    pub fn rows_from(&self, seq: u64) -> impl DoubleEndedIterator<Item = &InboxRow> {
        self.rows.range(seq..).map(|(_, held)| held).filter(|held| held.show_at.is_none()).map(|held| &held.row)
    }

    /// The row of an event.
    #[must_use]
    pub fn get(&self, event: &EventId) -> Option<&InboxRow> {
        self.by_id.get(event).and_then(|seq| self.rows.get(seq)).map(|held| &held.row)
    }

    /// Broker nodes that hold a session.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<&NodeName> {
        self.paths.values().map(|(node, _)| node).collect()
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

    /// How each express session does.
    pub fn path_health(&self, now: Timestamp) -> impl Iterator<Item = PathHealth> {
        self.prober.health(now)
    }

    /// Statements that the region has not confirmed.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.courier.pending().iter().sum()
    }

    /// Alarms (P0, P1) that no officer has taken, oldest first.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &InboxRow> {
        let open = self.inquiry.numbers().filter_map(|seq| self.rows.get(&seq)).map(|held| &held.row);
        open.filter(|row| !row.is_finished())
    }

    fn restore(&mut self, now: Now, mut row: InboxRow) {
        let (seq, event) = (row.seq, row.sealed.event.clone());
        self.config.next_seq = self.config.next_seq.max(seq.saturating_add(1));
        if self.by_id.contains_key(&event.id) {
            // A mended store may hold an event twice: it is still one alarm.
            return self.forget_row(event.class, seq);
        }
        if row.said(Stage::Delivered, &self.me).is_none() {
            row.receipts.push(self.own_receipt(event.id, Stage::Delivered, row.received_at));
            row.unconfirmed.insert(Stage::Delivered);
        }
        if event.class == Class::P0 {
            // An older version wrote nothing of it.
            row.signature.get_or_insert(Verdict::Unchecked);
        }
        // What is not there cannot be said: a row written short has lost it.
        let lost: Vec<Stage> = row.unconfirmed.iter().copied().filter(|s| row.said(*s, &self.me).is_none()).collect();
        row.unconfirmed.retain(|stage| !lost.contains(stage));
        for stage in &row.unconfirmed {
            self.courier.offer(
                now.mono,
                (event.id, *stage),
                carried_as(event.class, *stage),
                false,
                RECEIPT_WIRE_BYTES,
            );
        }
        self.by_id.insert(event.id, seq);
        self.rows.insert(seq, Held { row, durable: true, show_at: None, unknown: 0 });
        self.file(now, seq);
    }

    /// Files a row under what is still to be done for it.
    pub(super) fn file(&mut self, now: Now, seq: u64) {
        let Some(held) = self.rows.get(&seq) else { return };
        if held.row.is_open() {
            self.inquiry.add(now.mono, seq, held.row.sealed.event.id);
        } else {
            self.inquiry.remove(seq);
        }
        if held.row.is_finished() && held.durable && held.row.unconfirmed.is_empty() {
            self.removable.insert(seq);
        } else {
            self.removable.remove(&seq);
        }
    }

    fn path_up(&mut self, now: Now, path: PathId, node: NodeName, info: PathInfo) {
        if info.lane == Lane::Express {
            let resume = self.config.marks.get(&node).copied();
            let hello = Hello { software: self.config.software.clone(), wire_minor: WIRE_MINOR, resume };
            self.send(path, Class::P1, Form::Stream, Message::Hello(hello));
            self.courier.path_up(now.mono, path, info);
            self.conditions.path_up(path, node.clone());
            self.prober.path_up(now.mono, path, node.clone(), info);
            let open = self.inquiry.newest();
            if !open.is_empty() {
                self.send(path, Class::P2, Form::Stream, Message::Inquire(open));
            }
            self.escalate_on(path);
        }
        self.paths.insert(path, (node, info));
        self.probe(now);
    }

    /// Sends the probes that are due.
    fn probe(&mut self, now: Now) {
        self.prober.handle_timeout(now);
        for (path, losses, rtt) in self.prober.probed() {
            self.courier.set_probed(path, losses, rtt);
        }
        while let Some((path, number)) = self.prober.poll_output() {
            self.send(path, Class::P1, Form::Datagram, Message::Probe(number));
        }
    }

    fn inquire(&mut self, now: Now) {
        let express = self.paths.iter().filter(|(_, (_, info))| info.lane == Lane::Express);
        let paths: Vec<PathId> = express.map(|(path, _)| *path).collect();
        if let Some((path, ids)) = self.inquiry.due(now.mono, &paths) {
            self.send(path, Class::P2, Form::Stream, Message::Inquire(ids));
        }
    }

    fn message(&mut self, now: Now, path: PathId, message: Message) {
        self.courier.heard(now.mono, path);
        self.prober.heard(now.mono, path);
        match message {
            Message::Event(copy) => self.event(now, path, copy),
            Message::Receipts(receipts) => self.heard(now, path, receipts),
            Message::Confirmed(stages) => self.confirmed(now, stages),
            Message::Unknown(ids) => ids.into_iter().for_each(|id| {
                self.escalations.unknown(id);
                self.unknown(now, id);
            }),
            Message::Ownership(ownership) => self.owned(&ownership),
            Message::Escalated(event, stations) => self.escalated(event, &stations),
            Message::Refused(event, why) => self.not_escalated(event, why),
            Message::Mark(resume) => self.mark(path, resume),
            Message::Echo(echo) => self.prober.echo(now, path, echo),
            Message::Condition(degraded) => {
                if let Some(node) = self.conditions.told(path, degraded.as_ref()) {
                    self.out.push_back(Output::Report(Report::Condition(node, degraded)));
                }
            }
            Message::Drills(drills) => self.drills_heard(now, drills),
            Message::DrillAnswer(id, answer) => self.drill_answered(now, path, id, &answer),
            Message::Cases(cases) => cases.iter().for_each(|case| self.case_heard(now, case)),
            Message::CaseSteps(event, steps, total) => self.history_heard(event, &steps, total),
            Message::CaseTaken(id, step, case) => self.case_taken(now, id, step, &case),
            Message::CaseRefused(id, why, case) => self.case_refused(now, path, (id, why), case.as_deref()),
            Message::CommandState(state) => self.command_heard(*state),
            Message::CommandRefused(id, why) => self.command_refused(path, id, why),
            Message::NoticeSchools(id, after, schools, total) => self.schools_heard(id, after.as_ref(), schools, total),
            Message::Hello(hello) => {
                self.cases_on(path, hello.wire_minor);
                self.drills_on(path, hello.wire_minor);
                self.commands_on(path, hello.wire_minor);
                self.hearing_on(path, hello.wire_minor);
                if hello.wire_minor < STANDING_SINCE {
                    self.older.insert(path);
                } else {
                    self.older.remove(&path);
                }
            }
            Message::Inquire(_)
            | Message::SeatState { .. }
            | Message::Probe(_)
            | Message::Escalate(_)
            | Message::Case(_)
            | Message::CaseAsk(..)
            | Message::SchoolPlan(_)
            | Message::PlanKept(_)
            | Message::CommandOrder(_)
            | Message::Command(..)
            | Message::CommandReceipts(_)
            | Message::CommandConfirmed(_)
            | Message::NoticeAsk(..)
            | Message::Body(_)
            | Message::Pictures(_)
            | Message::PicturesKept(..)
            | Message::Look(_)
            | Message::DrillMode(_)
            | Message::DrillHeard(_)
            | Message::DrillOrder(_) => {}
        }
    }

    fn mark(&mut self, path: PathId, resume: Resume) {
        let Some((node, _)) = self.paths.get(&path).cloned() else { return };
        let known = self.config.marks.get(&node);
        // What was had once is had for ever; an older word that was overtaken by a newer one takes nothing back.
        if known.is_some_and(|known| known.record == resume.record && known.index >= resume.index) {
            return;
        }
        self.config.marks.insert(node.clone(), resume);
        let seq = self.next_seq();
        self.out.push_back(Output::Persist(seq, Write::Mark(node, resume)));
    }

    fn next_seq(&mut self) -> PersistSeq {
        self.next_persist += 1;
        PersistSeq(self.next_persist - 1)
    }

    /// Asks for the row to be on disk as it is now.
    pub(super) fn keep(&mut self, seq: u64) -> Option<PersistSeq> {
        let row = self.rows.get(&seq)?.row.clone();
        let persist = self.next_seq();
        self.unkept.remove(row.sealed.event.class, seq);
        self.writing.insert(persist, seq);
        self.out.push_back(Output::Persist(persist, Write::Put(row)));
        Some(persist)
    }

    pub(super) fn forget_row(&mut self, class: Class, seq: u64) {
        let persist = self.next_seq();
        self.out.push_back(Output::Persist(persist, Write::Forget(class, seq)));
    }

    fn persisted(&mut self, now: Now, persist: PersistSeq) {
        for (ticket, done) in self.answers.remove(&persist).unwrap_or_default() {
            self.out.push_back(Output::Answer(ticket, Ok(done)));
        }
        let Some(seq) = self.writing.remove(&persist) else { return };
        self.unkept.works(now.mono);
        let Some(held) = self.rows.get_mut(&seq).filter(|held| !held.durable) else { return };
        held.durable = true;
        let delivered = held.row.receipts.iter_mut().find(|r| r.stage == Stage::Delivered && r.by == self.me);
        if let Some(receipt) = delivered {
            // The row went to disk with the time of its arrival; now it is known when it was there.
            receipt.at = now.wall;
        }
        let row = held.row.clone();
        match held.show_at.take() {
            None => self.out.push_back(Output::NowDurable(seq)),
            Some(at) => {
                self.show_by.remove(&(at, seq));
                self.out.push_back(Output::Show { row: row.clone(), durable: true });
            }
        }
        let event = row.sealed.event.clone();
        for stage in row.unconfirmed.iter().copied() {
            self.courier.offer(now.mono, (event.id, stage), carried_as(event.class, stage), false, RECEIPT_WIRE_BYTES);
        }
        self.file(now, seq);
        let delivered = row.said(Stage::Delivered, &self.me).cloned();
        self.out.extend(delivered.map(|receipt| Output::Report(Report::Stage(row, receipt))));
        self.shown_by_itself(now, event.id);
    }

    /// Sends what the courier has decided to send.
    pub(super) fn dispatch(&mut self, now: Now) {
        while let Some(Transmit { key: (id, stage), path, class, form, .. }) = self.courier.poll_output() {
            match self.get(&id).and_then(|row| row.said(stage, &self.me)).cloned() {
                Some(receipt) => self.send(path, class, form, Message::Receipts(vec![receipt])),
                None => drop(self.courier.settle(now.mono, &(id, stage))),
            }
        }
        if self.courier.poll_race() {
            self.out.push_back(Output::Race);
        }
    }

    pub(super) fn send(&mut self, path: PathId, class: Class, form: Form, message: Message) {
        self.out.push_back(Output::Send(path, class, form, message));
    }

    pub(super) fn own_receipt(&self, event: EventId, stage: Stage, at: WallTime) -> Receipt {
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

    /// The write that a row waits for, if one is under way.
    pub(super) fn write_of(&self, seq: u64) -> Option<PersistSeq> {
        self.writing.iter().rev().find(|(_, row)| **row == seq).map(|(persist, _)| *persist)
    }

    pub(super) fn written(&mut self, persist: PersistSeq) -> Option<u64> {
        self.writing.remove(&persist)
    }
}

impl Machine for Station {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::PathUp(path, node, info) => self.path_up(now, path, node, info),
            Input::PathDown(path) => {
                self.paths.remove(&path);
                self.older.remove(&path);
                self.prober.path_down(path);
                self.conditions.path_down(path);
                self.cases.path_down(path);
                self.drills.path_down(path);
                self.commands.path_down(path);
                self.hearing.path_down(path);
                self.courier.path_down(now.mono, path);
            }
            Input::Message(path, message) => self.message(now, path, message),
            Input::Persisted(seq) => self.persisted(now, seq),
            Input::PersistFailed(seq, why) => self.persist_failed(now, seq, &why),
            Input::Displayed(ids) => self.displayed(now, &ids),
            Input::Acknowledge { ticket, event, officer, note } => self.acknowledge(now, ticket, event, officer, note),
            Input::Escalate { ticket, event, stations, officer, note } => {
                self.escalate(now, ticket, event, stations, (officer, note));
            }
            Input::Case(ticket, order) => self.case_order(now, ticket, *order),
            Input::Drill(ticket, order) => self.drill_order(now, ticket, *order),
            Input::Command(ticket, sealed) => self.command(now, ticket, *sealed),
            Input::Schools(ticket, id, after) => self.ask_schools(now, ticket, id, after),
            Input::Audible { on, lasts } => self.audible(now, on, lasts),
            Input::History(ticket, event, after) => self.ask_history(now, ticket, event, after),
        }
        self.dispatch(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.show_overdue(now);
        for seq in self.unkept.due(now.mono) {
            self.keep(seq);
        }
        self.inquire(now);
        self.escalate_again(now);
        self.cases_again(now);
        self.drills_again(now);
        self.ask_again(now);
        self.commands_again(now);
        self.hearing_due(now);
        self.probe(now);
        self.courier.handle_timeout(now.mono);
        self.dispatch(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let show = self.show_by.first().map(|(at, _)| *at);
        let timers = [
            show,
            self.unkept.poll_timeout(),
            self.inquiry.poll_timeout(),
            self.courier.poll_timeout(),
            self.prober.poll_timeout(),
            self.escalations.poll_timeout(),
            self.hearing.poll_timeout(),
            self.cases.poll_timeout(),
            self.drills.poll_timeout(),
            self.questions.poll_timeout(),
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
        self.check_rows()
    }
}
