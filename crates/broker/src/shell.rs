//! Carries out what the machine decides: proposes, sends, keeps, and tells people.

use std::sync::Arc;

use huxiao_core::broker::{Broker, Input, JournalId, Output, RecallTicket, Report, SnapshotTicket};
use huxiao_core::record::{Command, RecordState};
use huxiao_core::{Admission, Class, EventId, Message, Receipt, Span};
use huxiao_link::{DialHandle, Link};
use huxiao_runtime::drive::{Shell, WeakHandle};
use huxiao_runtime::event_json::seconds_since_press;
use huxiao_runtime::log::Sparing;
use huxiao_runtime::metric::{self, Counter, Histogram};

use tokio::sync::oneshot;

use crate::archive::Archive;
use crate::journal::Journal;
use crate::record::{Engine, SnapshotDesk};

/// How long after the archive's disk refused it is asked again.
const FLUSH_AGAIN: Span = Span::from_secs(5);

/// What the shell carries things out with.
pub(crate) struct Tools<E> {
    /// Sessions.
    pub(crate) link: Link,
    /// The record.
    pub(crate) engine: E,
    /// Who asked for snapshots.
    pub(crate) snapshots: SnapshotDesk,
    /// What waits for the record.
    pub(crate) journal: Journal,
    /// What left the record's memory.
    pub(crate) archive: Archive,
    /// The machine, for answers.
    pub(crate) handle: WeakHandle<Broker>,
    /// The diallers of the province's nodes.
    pub(crate) province: Arc<Vec<DialHandle>>,
}

/// The broker node's shell.
pub(crate) struct BrokerShell<E> {
    tools: Tools<E>,
    refusals: Sparing,
    improprieties: Sparing,
    /// What was noted of alarms in this step; measured once the record is at rest.
    noted: Vec<Receipt>,
}

impl<E: Engine> BrokerShell<E> {
    pub(crate) fn new(tools: Tools<E>) -> Self {
        Self { tools, refusals: Sparing::default(), improprieties: Sparing::default(), noted: Vec::new() }
    }

    fn journal(&self, id: JournalId, command: &Command) {
        // Held until the write is done, so that the loop does not end before it.
        let handle = self.tools.handle.upgrade();
        self.tools.journal.put(id, command, move |done| {
            let input = match done {
                Ok(()) => Input::Journalled(id),
                Err(error) => Input::JournalFailed(id, error.to_string()),
            };
            // A loop that has ended needs no answer.
            let _ = handle.map(|handle| handle.urgent(input));
        });
    }

    fn recall(&self, ticket: RecallTicket, ids: Vec<EventId>) {
        let (archive, handle) = (self.tools.archive.clone(), self.tools.handle.clone());
        // Reads the disk.
        tokio::task::spawn_blocking(move || {
            let found = archive.recall(&ids).unwrap_or_else(|error| {
                tracing::error!(%error, "the archive cannot be read");
                Vec::new()
            });
            let _ = handle.upgrade().map(|handle| handle.urgent(Input::Recalled(ticket, found)));
        });
    }
}

/// Gives a snapshot to whoever asked once all that left the record is on stable storage in the archive: the log then goes on without it. An
/// archive whose disk takes nothing now is asked again; the log keeps everything meanwhile.
fn hand_over(archive: Archive, snapshots: SnapshotDesk, ticket: SnapshotTicket, state: Box<RecordState>) {
    tokio::spawn(async move {
        loop {
            let (done, flushed) = oneshot::channel();
            // Whoever waits is this task.
            archive.flush(move |result| drop(done.send(result)));
            match flushed.await {
                Ok(Ok(())) => return snapshots.deliver(ticket, state),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the archive is not on disk yet; a snapshot of the record waits for it");
                }
                Err(_) => return snapshots.refuse(ticket),
            }
            tokio::time::sleep(FLUSH_AGAIN).await;
        }
    });
}

impl<E: Engine> Shell<Broker> for BrokerShell<E> {
    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Propose(command) => self.tools.engine.propose(command),
            Output::Journal(id, command) => self.journal(id, &command),
            Output::Unjournal(ids) => self.tools.journal.remove(ids),
            Output::Archive(number, entry) => self.tools.archive.put(number, &entry),
            Output::Snapshot(ticket, state) => {
                hand_over(self.tools.archive.clone(), self.tools.snapshots.clone(), ticket, state);
            }
            Output::Recall(ticket, ids) => self.recall(ticket, ids),
            Output::Send(path, class, form, message) => {
                if matches!(message, Message::Event(_)) {
                    metric::increment(Counter::CourierTransmissions, &[class.as_str()]);
                }
                if !self.tools.link.send(path, class, form, &message) {
                    // The path is gone or choked; couriers send again, and relays ask.
                    tracing::debug!(?path, %class, "not sent");
                }
            }
            Output::RaceProvince => self.tools.province.iter().for_each(DialHandle::race),
            Output::Report(Report::Refused(peer, id, refusal)) => {
                metric::increment(Counter::Refused, &[refusal.as_str()]);
                if let Some(held_back) = self.refusals.turn() {
                    tracing::warn!(alarm_id = %id, %peer, %refusal, held_back, "refused; its relay keeps it and offers it again");
                }
            }
            Output::Report(Report::Improper(peer, what)) => {
                metric::increment(Counter::Refused, &["improper"]);
                if let Some(held_back) = self.improprieties.turn() {
                    tracing::warn!(%peer, what, held_back, "ignored");
                }
            }
            Output::Report(Report::Noted(sealed, receipt)) => {
                tracing::info!(alarm_id = %sealed.event.id, stage = %receipt.stage, by = %receipt.by, "noted");
                if sealed.event.class <= Class::P1 {
                    self.noted.push(receipt);
                }
            }
            Output::Report(report) => tell(report),
        }
    }

    fn after_step(&mut self, machine: &Broker) {
        for receipt in self.noted.drain(..) {
            let Some(entry) = machine.record().get(&receipt.event) else { continue };
            let Admission { sealed, trail, .. } = &entry.admission;
            let took = seconds_since_press(&sealed.event, trail, &entry.receipts(), &receipt);
            metric::observe(Histogram::AlarmStage, &[receipt.stage.as_str()], took);
        }
    }
}

#[expect(clippy::too_many_lines, reason = "one short arm for each kind")]
fn tell(report: Report) {
    match report {
        Report::Received(sealed, stations) => {
            let event = &sealed.event;
            if event.class <= Class::P1 {
                metric::increment(Counter::AlarmsReceived, &[event.kind.as_str(), event.mode.as_str()]);
            }
            let stations: Vec<String> = stations.iter().map(ToString::to_string).collect();
            let to = stations.join(",");
            if event.class <= Class::P2 {
                tracing::info!(alarm_id = %event.id, school = %event.school(), kind = %event.kind, class = %event.class, to, "received");
            } else {
                // A region's supervision: many a second, and none of them news.
                tracing::debug!(alarm_id = %event.id, school = %event.school(), kind = %event.kind, class = %event.class, to, "received");
            }
        }
        Report::Signature(sealed, verdict, flaw) => {
            metric::increment(Counter::EventSignatures, &[verdict.as_str()]);
            let (id, school, relay) = (&sealed.event.id, sealed.event.school(), &sealed.event.relay.device);
            if let Some(flaw) = flaw {
                tracing::warn!(alarm_id = %id, %school, %relay, %flaw, "the signature of this alarm does not hold; it goes to its stations all the same");
            } else {
                tracing::debug!(alarm_id = %id, %school, %relay, signature = verdict.as_str(), "signature");
            }
        }
        Report::NoRoute(sealed) => {
            metric::increment(Counter::Refused, &["no_route"]);
            let event = &sealed.event;
            tracing::error!(alarm_id = %event.id, school = %event.school(), "no plan names a station for this school: add one; the event is kept");
        }
        Report::Overdue(id, rung, owners) => {
            metric::increment(Counter::AlarmsOverdue, &[rung.as_str()]);
            let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
            let owners = owners.join(",");
            tracing::warn!(alarm_id = %id, %rung, owners, "its ownership goes up: {}", rung.words().1);
        }
        Report::Looked(look) => {
            // Who looked when is to be found again.
            let camera = look.camera.as_ref().map_or("", huxiao_core::Name::as_str);
            tracing::info!(alarm_id = %look.event, by = %look.by, officer = %look.officer, camera, "an officer looks through the school's cameras");
        }
        Report::Acted(id, verb, outcome) => {
            let outcome = outcome.as_ref().map_or_else(|why| why.as_str(), |_| "taken");
            metric::increment(Counter::CaseOrders, &[verb.as_str(), outcome]);
            tracing::info!(alarm_id = %id, %verb, outcome, "an order about the case");
        }
        Report::Drill(drill) => {
            let (id, scope, by) = (drill.id(), &drill.order.scope, &drill.order.by);
            metric::increment(Counter::Drills, &[if drill.closed.is_some() { "ended" } else { "announced" }]);
            if let Some(closed) = &drill.closed {
                tracing::warn!(drill = %id, by = %closed.by, who = %closed.who, "a drill was ended before its time");
            } else {
                tracing::warn!(drill = %id, %scope, %by, approver = %drill.order.approver, "a drill is announced");
            }
        }
        Report::Ended(sealed) => {
            metric::increment(Counter::CasesEnded, &[sealed.event.mode.as_str()]);
            tracing::info!(alarm_id = %sealed.event.id, mode = sealed.event.mode.as_str(), "its case was closed by itself");
        }
        Report::Stored(sealed) => tracing::debug!(alarm_id = %sealed.event.id, "stored"),
        Report::Duplicate(id) => {
            metric::increment(Counter::Duplicates, &["broker"]);
            tracing::debug!(alarm_id = %id, "a repeat");
        }
        // What peers do wrong is told sparingly, what stations say with its measure: by the shell itself.
        Report::Refused(..) | Report::Improper(..) | Report::Noted(..) => {}
        Report::NotStored(id, why) => {
            tracing::error!(alarm_id = %id, why, "it goes to its stations, but could not be stored here");
        }
        Report::NotForwarded(id, refusal) => {
            tracing::warn!(alarm_id = %id, %refusal, "the province does not take it; it is offered again in a minute");
        }
        Report::LeftUnforwarded(id) => {
            tracing::error!(alarm_id = %id, "the record was too full to keep it for the province, which does not have all of it; it is in the archive");
        }
        Report::Journalled(id) => tracing::info!(alarm_id = %id, "kept in the journal until the record takes it"),
        // The region's watch has said it.
        Report::Condition(_) => {}
        Report::Commanded(sealed) => {
            let command = &sealed.command;
            let kind = command.instruction.kind();
            tracing::info!(command = %command.id, %kind, by = %huxiao_core::NodeName::Station(command.by.clone()), officer = %command.officer, "commanded");
        }
        Report::CommandRefused(sealed, why) => {
            metric::increment(Counter::CommandsRefused, &["broker", why.as_str()]);
            let by = huxiao_core::NodeName::Station(sealed.command.by.clone());
            tracing::warn!(command = %sealed.id(), %by, %why, "a command is not taken");
        }
        Report::CommandStage(kind, receipt) => {
            metric::increment(Counter::CommandStages, &["broker", kind.as_str(), receipt.stage.as_str()]);
            tracing::debug!(command = %receipt.command, %kind, stage = %receipt.stage, by = %receipt.by, "command");
        }
        Report::PlanInForce(version) => tracing::info!(version, "another plan is in force"),
        Report::PlanRefused(why) => tracing::warn!(%why, "a change of the plan was not taken over"),
    }
}
