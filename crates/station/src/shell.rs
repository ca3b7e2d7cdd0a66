//! Carries out what the machine decides: writes, sends, shows, answers, and tells people.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use huxiao_core::case::Step;
use huxiao_core::drill::Drill;
use huxiao_core::station::{
    AckError, AckTicket, Acknowledged, CaseDone, CaseError, DrillError, EscalateError, HistoryError, InboxRow, Input,
    Output, Report, Station, Write,
};
use huxiao_core::video::Pictures;
use huxiao_core::{Class, CommandState, Degraded, Escalate, Message, NodeName, Ownership, PersistSeq, Receipt, Stage};
use huxiao_link::{DialHandle, Link};
use huxiao_runtime::drive::{Handle, Shell, WeakHandle};
use huxiao_runtime::event_json::seconds_since_press;
use huxiao_runtime::metric::{self, Counter, Histogram};
use huxiao_store::Store;
use tokio::sync::{broadcast, oneshot};

use crate::board::Board;
use crate::commands::{Commanded, Schools};
use crate::inbox::{self, Marks};

/// Changes that a slow reader may fall behind before it is cut.
const CHANGES: usize = 1_024;

/// One change, for whoever follows.
#[derive(Debug)]
pub(crate) enum Change {
    /// An event is shown for the first time.
    Shown(InboxRow, bool),
    /// What was shown without being on disk is there now.
    Durable(u64),
    /// An event that is shown reached a stage.
    Stage(u64, Receipt),
    /// Nobody has taken an event that is shown, and its ownership went up.
    Ownership(u64, Ownership),
    /// The case of an event that is shown stands otherwise.
    Case(InboxRow),
    /// A drill that touches this station is announced, or was ended.
    Drill(Arc<Drill>),
    /// A command to schools stands so now.
    Command(Box<CommandState>),
    /// Words about pictures that were not known.
    Pictures(Pictures),
    /// No node that can be reached has a quorum; or one has again (`None`).
    Condition(Option<Degraded>),
}

/// The changes as they happen. Cheap to clone.
pub(crate) type Bus = broadcast::Sender<Arc<Change>>;

/// The answer to an officer.
pub(crate) type Answer = Result<Acknowledged, AckError>;
/// The answer to an officer who wants more stations to see an event.
pub(crate) type Escalated = Result<Escalate, EscalateError>;
/// The answer to whoever ordered something about a drill.
pub(crate) type Drilled = Result<Arc<Drill>, DrillError>;
/// The answer to an officer who did something about an alarm.
pub(crate) type Cased = Result<CaseDone, CaseError>;
/// A page of a case's steps, and how many there are in all.
pub(crate) type History = Result<(Vec<Step>, u64), HistoryError>;

/// Those who wait for an answer of one kind.
pub(crate) struct Answers<T> {
    waiting: Arc<Mutex<HashMap<AckTicket, oneshot::Sender<T>>>>,
    next: Arc<AtomicU64>,
}

// Not derived: an answer need not be cloned for those who wait for it to be shared.
impl<T> Clone for Answers<T> {
    fn clone(&self) -> Self {
        Self { waiting: Arc::clone(&self.waiting), next: Arc::clone(&self.next) }
    }
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self { waiting: Arc::default(), next: Arc::default() }
    }
}

impl<T> Answers<T> {
    /// A ticket and where its answer will come.
    pub(crate) fn ask(&self) -> (AckTicket, oneshot::Receiver<T>) {
        let ticket = AckTicket(self.next.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, answer);
        (ticket, answered)
    }

    fn give(&self, ticket: AckTicket, answer: T) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
        if let Some(waiting) = waiting {
            // Whoever asked may have hung up; what was asked for is done all the same.
            let _ = waiting.send(answer);
        }
    }
}

/// The station's shell.
pub(crate) struct StationShell {
    pub(crate) me: NodeName,
    pub(crate) link: Link,
    pub(crate) dials: Arc<Vec<DialHandle>>,
    pub(crate) store: Store,
    pub(crate) handle: WeakHandle<Station>,
    pub(crate) answers: Answers<Answer>,
    pub(crate) escalated: Answers<Escalated>,
    pub(crate) cased: Answers<Cased>,
    pub(crate) histories: Answers<History>,
    pub(crate) drilled: Answers<Drilled>,
    pub(crate) commanded: Answers<Commanded>,
    pub(crate) schools: Answers<Schools>,
    pub(crate) board: Board,
    pub(crate) bus: Bus,
    pub(crate) marks: Marks,
    /// What followers were told last of how the region is.
    pub(crate) degraded: Option<Degraded>,
}

/// Room for the changes that followers have not read.
pub(crate) fn bus() -> Bus {
    broadcast::channel(CHANGES).0
}

impl StationShell {
    fn persist(&mut self, seq: PersistSeq, write: &Write) {
        let first = match write {
            Write::Put(row) => self.board.read().writing(row),
            Write::Forget(_, row) => {
                self.board.read().forgotten(*row);
                false
            }
            Write::Mark(..) => false,
        };
        // Held until the write is done, so that the loop does not end before it.
        let handle: Option<Handle<Station>> = self.handle.upgrade();
        self.store.commit(inbox::batch(write, first, &mut self.marks), move |done| {
            let input = match done {
                Ok(()) => Input::Persisted(seq),
                Err(error) => Input::PersistFailed(seq, error.to_string()),
            };
            // A loop that has ended needs no answer.
            let _ = handle.map(|handle| handle.urgent(input));
        });
    }

    fn show(&self, row: InboxRow, durable: bool) {
        self.board.read().shown(row.seq, durable);
        let event = &row.sealed.event;
        if event.class <= Class::P1 {
            metric::increment(Counter::AlarmsReceived, &[event.kind.as_str(), event.mode.as_str()]);
        }
        tracing::info!(alarm_id = %event.id, seq = row.seq, school = %event.school(), kind = %event.kind, class = %event.class, durable, "shown");
        self.tell(Change::Shown(row, durable));
    }

    fn tell(&self, change: Change) {
        // Nobody follows: then nobody misses it.
        let _ = self.bus.send(Arc::new(change));
    }

    fn report(&self, report: Report) {
        match report {
            Report::Duplicate(id) => {
                metric::increment(Counter::Duplicates, &["station"]);
                tracing::debug!(alarm_id = %id, "a repeat");
            }
            Report::Signature(id, verdict, flaw) => {
                metric::increment(Counter::EventSignatures, &[verdict.as_str()]);
                if let Some(flaw) = flaw {
                    tracing::warn!(alarm_id = %id, %flaw, "the signature of this alarm does not hold; it is shown all the same");
                } else {
                    tracing::debug!(alarm_id = %id, signature = verdict.as_str(), "signature");
                }
            }
            Report::Stage(row, receipt) => self.stage(&row, receipt),
            Report::Ownership(row, ownership) => self.ownership(&row, ownership),
            Report::Case(row) => self.case(row),
            Report::Drill(drill) => {
                let (id, approver, ended) = (drill.id(), &drill.order.approver, drill.closed.is_some());
                metric::increment(Counter::Drills, &[if ended { "ended" } else { "announced" }]);
                tracing::warn!(drill = %id, scope = %drill.order.scope, %approver, ended, "a drill touches this station");
                self.tell(Change::Drill(drill));
            }
            Report::Command(state) => self.command(state),
            Report::NotKept(id, why) => {
                tracing::error!(alarm_id = %id, why, "it is shown but could not be kept here; it is written again");
            }
            Report::Confirmed(id, stage) => tracing::debug!(alarm_id = %id, %stage, "the region has it"),
            Report::Condition(node, Some(degraded)) => {
                tracing::warn!(%node, why = %degraded.why, "this broker node is without a quorum: alarms arrive, what officers take is provisional");
            }
            Report::Condition(node, None) => tracing::info!(%node, "this broker node has its quorum again"),
            Report::Full(id) => {
                tracing::error!(alarm_id = %id, "the inbox is full of alarms that no officer has taken; this event stays with the region");
            }
            Report::Orphan(id) => {
                tracing::error!(alarm_id = %id, "the region does not know this event; what was said of it here is not sent any longer");
            }
        }
    }

    fn ownership(&self, row: &InboxRow, ownership: Ownership) {
        metric::increment(Counter::AlarmsOverdue, &[ownership.rung.as_str()]);
        tracing::warn!(alarm_id = %ownership.event, rung = %ownership.rung, owners = ownership.owners.len(), "{}", ownership.rung.words().1);
        // A row that is not shown yet will be shown with its owners.
        if !self.board.read().hidden.contains(&row.seq) {
            self.tell(Change::Ownership(row.seq, ownership));
        }
    }

    fn case(&self, row: InboxRow) {
        if let Some(case) = &row.case {
            tracing::info!(alarm_id = %case.event, state = %case.state, steps = case.steps, "the case stands so");
        }
        // A row that is not shown yet will be shown with its case.
        if !self.board.read().hidden.contains(&row.seq) {
            self.tell(Change::Case(row));
        }
    }

    fn command(&self, state: Box<CommandState>) {
        let kind = state.sealed.command.instruction.kind();
        if let Some(stage) = state.stage() {
            metric::increment(Counter::CommandStages, &["station", kind.as_str(), stage.as_str()]);
            tracing::info!(command = %state.id(), %kind, %stage, "the command stands so");
        }
        self.tell(Change::Command(state));
    }

    fn stage(&self, row: &InboxRow, receipt: Receipt) {
        let event = &row.sealed.event;
        let ours = receipt.by == self.me;
        if ours && event.class <= Class::P1 {
            let took = seconds_since_press(event, &row.trail, &row.receipts, &receipt);
            metric::observe(Histogram::AlarmStage, &[receipt.stage.as_str()], took);
        }
        let officer = receipt.officer.as_ref().map_or("", huxiao_core::Name::as_str);
        if receipt.stage == Stage::Acknowledged {
            tracing::info!(alarm_id = %event.id, by = %receipt.by, officer, "an officer has it");
        } else {
            tracing::debug!(alarm_id = %event.id, stage = %receipt.stage, by = %receipt.by, "stage");
        }
        // A row that is not shown yet will be shown with all its stages.
        if !self.board.read().hidden.contains(&row.seq) {
            self.tell(Change::Stage(row.seq, receipt));
        }
    }
}

impl Shell<Station> for StationShell {
    fn after_step(&mut self, machine: &Station) {
        if machine.degraded() != self.degraded.as_ref() {
            self.degraded = machine.degraded().cloned();
            self.tell(Change::Condition(self.degraded.clone()));
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Persist(seq, write) => self.persist(seq, &write),
            Output::Send(path, class, form, message) => {
                let statement = matches!(message, Message::Receipts(_));
                if !self.link.send(path, class, form, &message) {
                    // The path is gone or choked; the courier says it again.
                    tracing::debug!(?path, %class, statement, "not sent");
                }
            }
            Output::Race => self.dials.iter().for_each(DialHandle::race),
            Output::Show { row, durable } => self.show(row, durable),
            Output::NowDurable(seq) => {
                self.board.read().durable(seq);
                self.tell(Change::Durable(seq));
            }
            Output::Answer(ticket, answer) => self.answers.give(ticket, answer),
            Output::Escalated(ticket, answer) => {
                match &answer {
                    Ok(order) => {
                        tracing::info!(alarm_id = %order.event, stations = order.stations.len(), "escalated");
                    }
                    Err(error) => tracing::warn!(%error, "not escalated"),
                }
                self.escalated.give(ticket, answer);
            }
            Output::Cased(ticket, answer) => {
                if let Err(error) = &answer {
                    tracing::warn!(%error, "an order about a case is not carried out");
                }
                self.cased.give(ticket, answer);
            }
            Output::Drilled(ticket, answer) => {
                if let Err(error) = &answer {
                    tracing::warn!(%error, "an order about a drill is not carried out");
                }
                self.drilled.give(ticket, answer);
            }
            Output::Commanded(ticket, answer) => {
                if let Err(error) = &answer {
                    tracing::warn!(%error, "a command is not taken");
                }
                self.commanded.give(ticket, answer);
            }
            Output::Schools(ticket, answer) => self.schools.give(ticket, answer),
            Output::History(ticket, answer) => self.histories.give(ticket, answer),
            Output::Report(report) => self.report(report),
        }
    }
}
