//! Carries out what the machine decides: writes, sends, answers, and tells people.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use huxiao_core::relay::{EventView, Input, Output, RaiseError, Raised, Relay, Report, Ticket};
use huxiao_core::{Class, CommandId, EventId, Receipt, Sealed, Stage, Trail};
use huxiao_link::Link;
use huxiao_runtime::drive::{Handle, Shell, WeakHandle};
use huxiao_runtime::event_json::seconds_since_press;
use huxiao_runtime::metric::{self, Counter, Histogram};
use huxiao_store::Store;
use tokio::sync::{broadcast, oneshot};

use crate::command_api::CommandView;
use crate::dials::Dials;
use crate::outbox;
use crate::output::Player;
use crate::school::SchoolFile;
use crate::view::{Change, EventJson};

/// Changes that a slow reader of the stream may fall behind before it is cut.
const CHANGES: usize = 1_024;

type Answer = oneshot::Sender<Result<Raised, RaiseError>>;

/// Those who wait for an answer.
#[derive(Clone, Default)]
pub(crate) struct Answers {
    waiting: Arc<Mutex<HashMap<Ticket, Answer>>>,
    next: Arc<AtomicU64>,
}

impl Answers {
    /// A ticket and where its answer will come.
    pub(crate) fn ask(&self) -> (Ticket, oneshot::Receiver<Result<Raised, RaiseError>>) {
        let ticket = Ticket(self.next.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(ticket, answer);
        (ticket, answered)
    }

    fn give(&self, ticket: Ticket, answer: Result<Raised, RaiseError>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
        if let Some(waiting) = waiting {
            // Whoever asked may have hung up; the event is raised all the same.
            let _ = waiting.send(answer);
        }
    }
}

/// The relay's shell.
pub(crate) struct RelayShell {
    link: Link,
    dials: Dials,
    store: Store,
    handle: WeakHandle<Relay>,
    player: Player,
    answers: Answers,
    changes: broadcast::Sender<Arc<Change>>,
    /// Changes of this step; their events are looked up once the machine is at rest.
    told: Vec<(&'static str, EventId, Option<Receipt>)>,
    /// Where the plan's part is kept.
    school: SchoolFile,
    /// Commands that reached a stage in this step.
    commands: Vec<CommandId>,
}

impl RelayShell {
    pub(crate) fn new(
        link: Link,
        dials: Dials,
        store: Store,
        school: SchoolFile,
        handle: &Handle<Relay>,
        player: Player,
    ) -> (Self, broadcast::Sender<Arc<Change>>, Answers) {
        let (changes, _) = broadcast::channel(CHANGES);
        let answers = Answers::default();
        let shell = Self {
            link,
            dials,
            store,
            handle: handle.downgrade(),
            player,
            answers: answers.clone(),
            changes: changes.clone(),
            told: Vec::new(),
            school,
            commands: Vec::new(),
        };
        (shell, changes, answers)
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Raised(sealed) => {
                count(&sealed);
                tracing::info!(alarm_id = %sealed.event.id, kind = %sealed.event.kind, class = %sealed.event.class, count = sealed.event.count, "raised");
                self.told.push(("raised", sealed.event.id, None));
            }
            Report::Stage(sealed, receipt, lamp) => {
                let id = sealed.event.id;
                tracing::info!(alarm_id = %id, stage = %receipt.stage, by = %receipt.by, lamp = lamp.as_str(), "stage");
                if receipt.stage == Stage::Acknowledged {
                    let officer = receipt.officer.as_ref().map_or("", huxiao_core::Name::as_str);
                    tracing::info!(alarm_id = %id, officer, "an officer has it");
                }
                self.told.push(("stage", id, Some(receipt)));
            }
            Report::Lamp(sealed, lamp) => {
                tracing::warn!(alarm_id = %sealed.event.id, lamp = lamp.as_str(), "no screen has it: {}", lamp.words().1);
                self.told.push(("lamp", sealed.event.id, None));
            }
            Report::Refused(sealed, refusal) => {
                metric::increment(Counter::Refused, &[refusal.as_str()]);
                tracing::error!(alarm_id = %sealed.event.id, %refusal, "the region does not take it; it is kept and offered again");
                self.told.push(("refused", sealed.event.id, None));
            }
            Report::Condition(node, Some(degraded)) => {
                tracing::warn!(%node, why = %degraded.why, "this broker node is without a quorum: alarms arrive, and are kept here until the region's record has them");
            }
            Report::Mode(view) => {
                let drill = view.drill.as_ref().map(|(window, ..)| window.id.to_string());
                tracing::warn!(
                    mode = view.mode.as_str(),
                    drill = drill.as_deref().unwrap_or(""),
                    "presses are this from now on"
                );
            }
            Report::Condition(node, None) => tracing::info!(%node, "this broker node has its quorum again"),
            Report::Plan(mark) => {
                tracing::info!(version = mark.version, "the region told what its plan says of this school");
            }
            Report::CheckedIn(post) => tracing::debug!(%post, "a guard checked in"),
            Report::Withheld(why) => {
                metric::increment(Counter::PersonWithheld, &[why.as_str()]);
                tracing::debug!(why = %why, "a person warning is held back");
            }
            Report::Command(id, receipt) => {
                tracing::info!(command = %id, stage = %receipt.stage, detail = receipt.detail.as_str(), "command");
                self.commands.push(id);
            }
            Report::Forged(id, flaw) => {
                metric::increment(Counter::CommandsRefused, &["relay", flaw.as_str()]);
                tracing::error!(command = %id, %flaw, "a command whose signature does not hold is not carried out");
            }
            Report::NotSigned(id, why) => {
                tracing::error!(alarm_id = %id, why, "it could not be signed, and goes unsigned");
            }
            Report::NotKept(sealed, why) => {
                tracing::error!(alarm_id = %sealed.event.id, why, "it is being sent but could not be kept here");
                self.told.push(("not_kept", sealed.event.id, None));
            }
        }
    }
}

impl Shell<Relay> for RelayShell {
    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Persist(seq, write) => {
                // Held until the write is done, so that the loop does not end before it.
                let handle = self.handle.upgrade();
                self.store.commit(outbox::batch(&write), move |done| {
                    let input = match done {
                        Ok(()) => Input::Persisted(seq),
                        Err(error) => Input::PersistFailed(seq, error.to_string()),
                    };
                    // A loop that has ended needs no answer.
                    let _ = handle.map(|handle| handle.urgent(input));
                });
            }
            Output::Send(path, class, form, message) => {
                if matches!(message, huxiao_core::Message::Event(_)) {
                    metric::increment(Counter::CourierTransmissions, &[class.as_str()]);
                }
                if !self.link.send(path, class, form, &message) {
                    // The path is gone or choked; the courier sends again.
                    tracing::debug!(?path, %class, "not sent");
                }
            }
            Output::KeepPlan(part) => self.school.keep(*part, self.handle.upgrade()),
            Output::Hurry => self.dials.hurry(),
            Output::Race => self.dials.race(),
            Output::DialOthers => self.dials.others(),
            Output::Play(play) => self.player.play(*play),
            Output::Silence(id) => self.player.silence(id),
            Output::View(id, camera) => self.player.view(id, camera),
            Output::Answer(ticket, answer) => self.answers.give(ticket, answer),
            Output::Report(report) => self.report(report),
        }
    }

    fn after_step(&mut self, machine: &Relay) {
        for id in self.commands.drain(..) {
            let Some(view) = machine.command_of(&id) else { continue };
            if let Some(stage) = view.row().stage() {
                let kind = view.row().sealed.command.instruction.kind();
                metric::increment(Counter::CommandStages, &["relay", kind.as_str(), stage.as_str()]);
            }
            if self.changes.receiver_count() > 0 {
                // Nobody listens any more: then nobody misses it.
                let _ = self.changes.send(Arc::new(Change::Command(Box::new(CommandView::new(view)))));
            }
        }
        for (name, id, receipt) in self.told.drain(..) {
            if let Some((receipt, view)) = receipt.as_ref().zip(machine.get(&id)) {
                observe(view, receipt);
            }
            if self.changes.receiver_count() == 0 {
                continue;
            }
            if let Some(view) = machine.get(&id) {
                // Nobody listens any more: then nobody misses it.
                let event = Box::new(EventJson::new(view));
                let _ = self.changes.send(Arc::new(Change::Event { name, id, event, receipt }));
            }
        }
    }
}

fn observe(view: &EventView, receipt: &Receipt) {
    let event = &view.sealed().event;
    if event.class <= Class::P1 {
        let took = seconds_since_press(event, &Trail::default(), view.receipts(), receipt);
        metric::observe(Histogram::AlarmStage, &[receipt.stage.as_str()], took);
    }
}

fn count(sealed: &Sealed) {
    if sealed.event.class <= Class::P1 {
        let mode = sealed.event.mode.as_str();
        metric::increment(Counter::AlarmsReceived, &[sealed.event.kind.as_str(), mode]);
    }
}
