//! The record's side: what its engine has made durable takes effect, and those whom it concerns are told.

use std::sync::Arc;

use crate::broker::climbs::age;
use crate::broker::commands::command_told;
use crate::broker::machine::{Broker, seats_of};
use crate::broker::port::{Output, Report};
use crate::broker::recall;
use crate::broker::waiting::Claim;
use crate::case::{Action, CaseOrder};
use crate::event::{Class, Text};
use crate::id::{EventId, NodeName, StationId};
use crate::message::Message;
use crate::path::Form;
use crate::plan::Plan;
use crate::receipt::{Receipt, Stage, Standing};
use crate::record::{Acted, Command, Effect, Entry, StageId};
use crate::time::{Now, Span};

/// How long after the engine could not take a route it is handed to it again.
pub(super) const ROUTE_AGAIN_AFTER: Span = Span::from_secs(5);

impl Broker {
    /// A command takes effect. One that was `replayed` is no news to people, but may well be to those who are here.
    #[expect(clippy::too_many_lines, reason = "one arm for each effect")]
    pub(super) fn committed(&mut self, now: Now, index: u64, command: Command, replayed: bool) {
        let claim = Claim::of(&command);
        let statement = match &command {
            Command::Note(receipt) => Some(receipt.clone()),
            _ => None,
        };
        let ordered = match &command {
            Command::Case { order, .. } => Some(order.clone()),
            _ => None,
        };
        let told = command_told(&command);
        let applied = self.record.apply(index, command);
        match applied.effect {
            Effect::Admitted(id) => {
                self.drill_admitted(&id);
                self.mind(now, id);
                self.is_admitted(now, index, id, replayed);
                self.count_number(now.mono, &id);
            }
            Effect::Noted(receipt) => {
                self.is_noted(now, &receipt, replayed);
                for receipt in &applied.also {
                    self.is_noted(now, receipt, replayed);
                    self.claim_committed(&Claim::of_statement(receipt));
                    self.confirm(receipt);
                }
            }
            Effect::TroubleBegan(id) => self.is_admitted(now, index, id, replayed),
            Effect::TroubleOver(noted, said) => {
                noted.iter().for_each(|receipt| self.is_noted(now, receipt, replayed));
                said.into_iter().for_each(|id| self.is_admitted(now, index, id, replayed));
            }
            Effect::Overdue(id, stations) => {
                self.routed(now, index, id, &stations);
                self.climbed(now, id, replayed);
            }
            Effect::Escalated(id, stations) => {
                self.routed(now, index, id, &stations);
                self.escalation_committed(now, id);
            }
            Effect::Routed(id, stations) => {
                self.routed(now, index, id, &stations);
                self.follow(now, id, None);
            }
            Effect::Forwarded(id) => self.track(now, id),
            Effect::Pictured(id) => self.pictures_committed(id),
            Effect::PlanApplied(version) => self.plan_in_force(now, version, replayed),
            Effect::PlanRefused(stage) if !replayed => self.plan_refused(&stage),
            Effect::PlanRefused(_) | Effect::PlanStaged(_) => {}
            Effect::Acted(order, acted) => {
                if let Some(entry) = self.entry_after(&applied.archived, &order.event) {
                    self.case_acted(now, index, &order, &acted, &entry);
                    self.made_live(now, &order, &acted);
                    if !replayed && (acted.changed || acted.outcome.is_err()) {
                        self.report(Report::Acted(order.event, order.action.verb(), acted.outcome));
                    }
                }
            }
            Effect::CommandAdmitted(id) => self.command_admitted(now, id, replayed),
            Effect::CommandRefused(sealed, why) => self.command_refused(&sealed, why),
            Effect::CommandNoted(receipts) => self.command_noted(now, &receipts, replayed),
            Effect::Founded(_) => {}
            Effect::DrillOpened(drill) | Effect::DrillClosed(drill) => {
                self.drill_changed(now, drill.clone(), replayed);
                self.drill_decided(drill.id(), &Ok(drill));
                self.mind_all(now);
            }
            Effect::DrillRefused(id, why) => self.drill_decided(id, &Err(why)),
            Effect::Ended(id, receipt) => {
                if let Some(entry) = self.entry_after(&applied.archived, &id) {
                    self.ended(now, &entry, receipt.as_ref(), replayed);
                }
            }
            Effect::Nothing => ordered.iter().for_each(|order| self.case_of_nothing(order)),
        }
        for id in &applied.cases {
            if let Some(entry) = self.entry_after(&applied.archived, id) {
                self.tell_case(&entry);
            }
            self.follow_case(now, *id);
        }
        let left = applied.archived.iter().filter(|(_, entry)| entry.part.at == 0);
        left.for_each(|(_, entry)| self.left_record(now, entry));
        self.archive(applied.archived);
        if let Some(claim) = &claim {
            self.claim_committed(claim);
        }
        if let Some(receipt) = statement {
            self.confirm(&receipt);
        }
        self.command_told(now, told);
        self.propose_next(now);
    }

    fn is_admitted(&mut self, now: Now, index: u64, id: EventId, replayed: bool) {
        self.admitted(now, index, id, replayed);
        self.confirm_below(id, Stage::Stored);
        self.track(now, id);
        let age = self.record.get(&id).filter(|_| replayed).map(|entry| age(now, &entry.admission));
        self.follow(now, id, age);
    }

    fn is_noted(&mut self, now: Now, receipt: &Receipt, replayed: bool) {
        self.noted(now, receipt, replayed);
        self.confirm_below(receipt.event, receipt.stage);
        self.track(now, receipt.event);
        if receipt.stage == Stage::Acknowledged {
            self.follow_case(now, receipt.event);
        }
    }

    /// A command that was perhaps waited for is in the log.
    fn claim_committed(&mut self, claim: &Claim) {
        self.let_go(claim);
        if let Claim::Note(id, stage, by) = claim
            && let Some(noting) = self.waiting.note_mut(id, *stage, by)
        {
            // It came before its event did.
            noting.wait.proposed = None;
            self.waiting.landed(claim);
        }
    }

    /// A rehearsal that an officer says is none goes up from now on, if nobody has it.
    fn made_live(&mut self, now: Now, order: &CaseOrder, acted: &Acted) {
        if order.action == Action::MakeLive && acted.changed {
            self.endings_forget(&order.event);
            self.follow(now, order.event, None);
        }
    }

    fn plan_in_force(&mut self, now: Now, version: u64, replayed: bool) {
        self.plan_changed(now);
        if !replayed {
            self.report(Report::PlanInForce(version));
        }
    }

    fn plan_refused(&mut self, stage: &StageId) {
        if let Some(Err(why)) = self.record.plan().outcome(stage).cloned() {
            self.report(Report::PlanRefused(why));
        }
    }

    /// An event as it stands after a command, which may have been the one by which it left the record.
    fn entry_after(&self, archived: &[(u64, Arc<Entry>)], id: &EventId) -> Option<Arc<Entry>> {
        // Of several parts, the last has all steps behind it.
        let left = || archived.iter().rev().find(|(_, entry)| entry.admission.sealed.event.id == *id);
        self.record.shared(id).or_else(|| left().map(|(_, entry)| Arc::clone(entry)))
    }

    fn admitted(&mut self, now: Now, index: u64, id: EventId, replayed: bool) {
        let pending = self.no_longer_pending(&id);
        self.unjournal(pending.as_ref().and_then(|pending| pending.wait.row));
        let offered = pending.map(|pending| pending.offered).unwrap_or_default();
        let Some(entry) = self.record.get(&id) else { return };
        let admission = entry.admission.clone();
        let event = &admission.sealed.event;
        let stored = Receipt {
            event: id,
            stage: Stage::Stored,
            at: now.wall,
            by: self.me.clone(),
            officer: None,
            note: Text::default(),
            skew: None,
            standing: Standing::Settled,
        };
        self.tell_relay(now, &event.relay, event.class, &stored);
        let mut reached = Vec::new();
        for station in &admission.stations {
            for (seat, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.greeted) {
                // What was offered on the express lane and is no longer carried has been delivered meanwhile.
                if !offered.contains(seat) || desk.courier.carries(&id) {
                    desk.offer(now.mono, id, (event.class, admission.sealed.wire_bytes()), Some(index), false);
                    reached.push(seat.clone());
                }
            }
        }
        reached.iter().for_each(|seat| self.drain_desk(now, seat));
        if !replayed {
            self.report(Report::Stored(admission.sealed));
        }
        if admission.stations.is_empty() {
            // A plan that came while the record was at work may know a station by now.
            self.propose_route(id);
        }
        // Statements that came to the log before their event did.
        let early = self.waiting.of(&id).iter().filter(|noting| noting.wait.proposed.is_none());
        let early: Vec<Claim> = early.map(|noting| Claim::of_statement(&noting.receipt)).collect();
        early.iter().for_each(|claim| self.propose_in_turn(now, claim));
    }

    fn noted(&mut self, now: Now, receipt: &Receipt, replayed: bool) {
        let Some(entry) = self.record.get(&receipt.event).cloned() else { return };
        if !replayed {
            self.report(Report::Noted(entry.admission.sealed.clone(), receipt.clone()));
        }
        self.tell_noted(now, &entry, receipt);
        self.count_receipt(&entry, receipt);
    }

    /// Tells those whom it concerns of a statement that is on record. Of an acknowledgement that came second, both officers learn who owns
    /// the alarm and who assists, and so does the school.
    pub(super) fn tell_noted(&mut self, now: Now, entry: &Entry, receipt: &Receipt) {
        let (event, stations) = (&entry.admission.sealed.event, &entry.admission.stations);
        // Said before, as far as this node heard it from the seat itself; another node may have, and the relay not.
        self.tell_relay(now, &event.relay, event.class, receipt);
        if receipt.stage >= Stage::Displayed {
            self.tell_other_seats(stations, receipt);
        }
    }

    /// What a seat is told of a statement that it need not make again. `None` while the record does not hold the event: it may yet come, and
    /// then the statement is needed.
    pub(super) fn settled(&self, statement: &Receipt) -> Option<Vec<Message>> {
        let entry = self.record.get(&statement.event).filter(|entry| entry.needs_no_more(statement))?;
        Some(recall::answer(entry, statement))
    }

    fn confirm(&mut self, receipt: &Receipt) {
        let NodeName::Station(seat) = &receipt.by else { return };
        if let Some(answers) = self.settled(receipt)
            && let Some(desk) = self.desks.get(seat)
        {
            for answer in answers {
                let send = |path| Output::Send(path, Class::P1, Form::Datagram, answer.clone());
                self.out.extend(desk.express().map(send));
            }
        }
    }

    pub(super) fn routed(&mut self, now: Now, index: u64, id: EventId, stations: &[StationId]) {
        let Some(entry) = self.record.get(&id) else { return };
        let sealed = &entry.admission.sealed;
        let (class, bytes) = (sealed.event.class, sealed.wire_bytes());
        let mut reached = Vec::new();
        for station in stations {
            for (seat, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.greeted) {
                desk.offer(now.mono, id, (class, bytes), Some(index), false);
                reached.push(seat.clone());
            }
        }
        reached.iter().for_each(|seat| self.drain_desk(now, seat));
    }

    /// The node's own file says something else now. In force only as long as the record has no plan.
    pub(super) fn take_plan(&mut self, now: Now, plan: Plan) {
        self.file_plan = Arc::new(plan);
        self.plan_changed(now);
    }

    /// A plan comes into force. What has a station keeps it; what has none gets one, if the plan knows any.
    pub(super) fn plan_changed(&mut self, now: Now) {
        self.propose_routes();
        self.drills_anew(now);
        self.mind_all(now);
        let unrouted = self.pending.iter().filter(|(_, pending)| pending.admission.stations.is_empty());
        let found = unrouted.map(|(id, pending)| (*id, self.stations_for(&pending.admission)));
        let found: Vec<(EventId, Vec<StationId>)> = found.collect();
        let mut routed = Vec::new();
        for (id, stations) in found {
            if let Some(pending) = self.pending.get_mut(&id) {
                pending.admission.stations = stations;
                routed.push((pending.admission.sealed.event.class, id));
            }
        }
        routed.sort_unstable();
        routed.into_iter().for_each(|(_, id)| self.express(now, id));
        self.plan_swept(now);
    }

    pub(super) fn propose_routes(&mut self) {
        let unrouted: Vec<EventId> = self.record.unrouted().map(|entry| entry.admission.sealed.event.id).collect();
        unrouted.into_iter().for_each(|id| self.propose_route(id));
    }

    fn propose_route(&mut self, id: EventId) {
        let Some(entry) = self.record.get(&id) else { return };
        let stations = self.stations_for(&entry.admission);
        if !stations.is_empty() {
            self.out.push_back(Output::Propose(Command::Route { event: id, stations }));
        }
    }
}
