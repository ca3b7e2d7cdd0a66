//! Without a quorum: what comes in is journalled, what officers do is provisional, and all of it waits for the record.
//!
//! Invariant: an event that came in, every statement about it and every wish that more stations see it wait until the record (or the archive)
//! has them. They are proposed again when there is a quorum, soon after it is known that they came to nothing, and every two seconds; commands
//! change nothing the second time.

use crate::broker::machine::{Broker, Pending, seats_of};
use crate::broker::port::{JournalId, NotCommitted, Output, Report};
use crate::broker::province::those_of;
use crate::broker::waiting::{AGAIN_AFTER, AGAIN_IN_DOUBT, AGAIN_SOON, Claim, Wait};
use crate::escalate::Escalate;
use crate::event::{Class, Text};
use crate::id::{EventId, NodeName, PathId};
use crate::message::{Degraded, Message, Refusal};
use crate::path::Form;
use crate::receipt::{Receipt, Stage, Standing};
use crate::record::{Command, Entry};
use crate::time::Now;

impl Broker {
    /// The node lost its quorum, or has it (again).
    pub(super) fn quorum(&mut self, now: Now, degraded: Option<Degraded>) {
        if degraded == self.condition {
            return;
        }
        let (was, is) = (self.condition.is_some(), degraded.is_some());
        self.condition = degraded;
        if was != is {
            self.report(Report::Condition(self.condition.clone()));
        }
        let gates = self.relays.values().flat_map(|gate| gate.express());
        let paths: Vec<PathId> = gates.chain(self.desks.values().flat_map(|desk| desk.express())).collect();
        for path in paths {
            self.tell_condition(path, Form::Stream);
        }
        for claim in self.claims() {
            if is {
                self.journal(&claim);
            } else {
                self.came_to_nothing(&claim);
                self.waiting.list(claim);
                self.waiting.again_at = self.waiting.again_at.or(Some(now.mono + AGAIN_AFTER));
            }
        }
        self.propose_next(now);
    }

    /// Tells a peer how this node is, and again with the answer to its next probe.
    pub(super) fn tell_condition(&mut self, path: PathId, form: Form) {
        if let Some(session) = self.sessions.get_mut(&path) {
            session.repeats_condition = form == Form::Stream;
        }
        self.send(path, Class::P1, form, Message::Condition(self.condition.clone()));
    }

    /// A peer has greeted: what it need know of this node's condition, it is told.
    pub(super) fn tell_if_degraded(&mut self, path: PathId) {
        if self.condition.is_some() {
            self.tell_condition(path, Form::Stream);
        }
    }

    /// All that waits, in the order in which it is to be proposed: events before what is said of them, alarms before the rest.
    fn claims(&self) -> Vec<Claim> {
        let mut events: Vec<(Class, EventId)> =
            self.pending.iter().map(|(id, pending)| (pending.admission.sealed.event.class, *id)).collect();
        events.sort_unstable();
        events.into_iter().map(|(_, id)| Claim::Admit(id)).chain(self.waiting.claims()).collect()
    }

    /// How a claim waits, if it does.
    pub(super) fn wait(&self, claim: &Claim) -> Option<Wait> {
        match claim {
            Claim::Admit(id) => self.pending.get(id).map(|pending| pending.wait),
            Claim::Note(id, stage, by) => self.waiting.note(id, *stage, by).map(|noting| noting.wait),
            Claim::Escalate(id, stations) => self.waiting.order(id, stations).map(|waits| waits.wait),
        }
    }

    /// The same, to be changed.
    fn wait_mut(&mut self, claim: &Claim) -> Option<&mut Wait> {
        match claim {
            Claim::Admit(id) => self.pending.get_mut(id).map(|pending| &mut pending.wait),
            Claim::Note(id, stage, by) => self.waiting.note_mut(id, *stage, by).map(|noting| &mut noting.wait),
            Claim::Escalate(id, stations) => self.waiting.order_mut(id, stations).map(|waits| &mut waits.wait),
        }
    }

    /// The command that makes a claim true.
    fn command_of(&self, claim: &Claim) -> Option<Command> {
        match claim {
            Claim::Admit(id) => self.pending.get(id).map(|pending| Command::Admit(pending.admission.clone())),
            Claim::Note(id, stage, by) => {
                self.waiting.note(id, *stage, by).map(|noting| Command::Note(noting.receipt.clone()))
            }
            Claim::Escalate(id, stations) => {
                self.waiting.order(id, stations).map(|waits| Command::from(waits.order.clone()))
            }
        }
    }

    /// Hands a claim that waits to the record's engine and, without a quorum, to the journal.
    pub(super) fn propose(&mut self, now: Now, claim: &Claim) {
        let Some(command) = self.command_of(claim) else { return };
        if let Some(wait) = self.wait_mut(claim) {
            wait.proposed = Some(now.mono);
        }
        self.waiting.flies(claim.clone());
        self.out.push_back(Output::Propose(command));
        if self.condition.is_some() {
            self.journal(claim);
        }
        self.waiting.again_at = self.waiting.again_at.or(Some(now.mono + AGAIN_AFTER));
    }

    /// Hands a claim that waits to the record's engine when those before it leave room. Without a quorum it is journalled at once.
    pub(super) fn propose_in_turn(&mut self, now: Now, claim: &Claim) {
        if self.condition.is_some() {
            return self.propose(now, claim);
        }
        self.waiting.list(claim.clone());
        self.waiting.again_at = self.waiting.again_at.or(Some(now.mono + AGAIN_AFTER));
        self.propose_next(now);
    }

    /// What was proposed is not in the record, and will not come by itself.
    fn came_to_nothing(&mut self, claim: &Claim) {
        if let Some(wait) = self.wait_mut(claim) {
            wait.proposed = None;
        }
        self.waiting.landed(claim);
    }

    /// Proposes what has waited for its turn, as far as there is room.
    pub(super) fn propose_next(&mut self, now: Now) {
        if self.condition.is_some() {
            return;
        }
        while let Some(claim) = self.waiting.next() {
            if self.wait_mut(&claim).is_some_and(|wait| wait.proposed.is_none()) {
                self.propose(now, &claim);
            }
        }
    }

    /// Has a claim that waits written to the journal, unless it stands there.
    pub(super) fn journal(&mut self, claim: &Claim) {
        let Some(command) = self.command_of(claim) else { return };
        if self.wait_mut(claim).is_none_or(|wait| wait.row.is_some()) {
            return;
        }
        let id = self.waiting.new_row(claim.clone());
        if let Some(wait) = self.wait_mut(claim) {
            wait.row = Some((id, false));
        }
        self.out.push_back(Output::Journal(id, command));
    }

    /// Takes up what the journal held when the node started.
    pub(super) fn take_journal(&mut self, rows: Vec<(JournalId, Command)>) {
        let mut stale = Vec::new();
        for (id, command) in rows {
            self.waiting.seen_row(id);
            let claim = Claim::of(&command).filter(|claim| !self.is_settled(claim) && self.wait_mut(claim).is_none());
            let Some(claim) = claim else {
                stale.push(id);
                continue;
            };
            let wait = Wait { proposed: None, row: Some((id, true)) };
            self.waiting.known_row(id, claim.clone());
            match command {
                Command::Admit(admission) => self.insert_pending(Pending::new(admission, wait)),
                Command::Note(receipt) => self.waiting.insert(receipt, wait),
                Command::Escalate { event, stations, by, officer, at, note } => {
                    let order = Escalate { event, stations, by, officer, at, note };
                    self.waiting.insert_order(order, wait);
                }
                Command::Case { .. }
                | Command::AdmitCommand { .. }
                | Command::NoteCommand(_)
                | Command::Found { .. }
                | Command::Route { .. }
                | Command::Overdue { .. }
                | Command::Forwarded { .. }
                | Command::Pictures { .. }
                | Command::TroubleBegan { .. }
                | Command::TroubleOver { .. }
                | Command::StagePlan(_)
                | Command::ApplyPlan(_)
                | Command::OpenDrill(_)
                | Command::CloseDrill(_)
                | Command::EndCase { .. } => {}
            }
        }
        if !stale.is_empty() {
            self.out.push_back(Output::Unjournal(stale));
        }
        for claim in self.claims() {
            self.propose_in_turn(Now::default(), &claim);
        }
    }

    /// Looks at what waits: it is proposed again or, without a quorum, journalled if it could not be.
    pub(super) fn look_at_waiting(&mut self, now: Now) {
        if self.waiting.again_at.is_none_or(|at| at > now.mono) {
            return;
        }
        self.waiting.again_at = None;
        let patience = self.waiting.patience();
        for claim in self.claims() {
            let Some(wait) = self.wait(&claim) else { continue };
            let due = wait.proposed.is_none_or(|at| now.mono.since(at) >= patience);
            if self.condition.is_some() {
                self.journal(&claim);
            } else if due {
                self.came_to_nothing(&claim);
                self.waiting.list(claim);
            }
            self.waiting.again_at = Some(now.mono + AGAIN_AFTER);
        }
        self.propose_next(now);
    }

    /// A row of the journal is on stable storage: those whom it concerns are told, provisionally.
    pub(super) fn journalled(&mut self, now: Now, id: JournalId) {
        let Some(claim) = self.waiting.claim_of(id).cloned() else { return };
        if let Some(wait) = self.wait_mut(&claim) {
            wait.row = Some((id, true));
        }
        match &claim {
            Claim::Admit(event) => {
                let Some(pending) = self.pending.get(event) else { return };
                let relay = pending.admission.sealed.event.relay.clone();
                let (class, received) = (pending.admission.sealed.event.class, received(pending));
                self.tell_relay(now, &relay, class, &received);
                self.report(Report::Journalled(*event));
            }
            Claim::Note(event, stage, by) => {
                let Some(noting) = self.waiting.note(event, *stage, by) else { return };
                let receipt = Receipt { standing: Standing::Provisional, ..noting.receipt.clone() };
                self.tell_provisional(now, &receipt);
                self.report(Report::Journalled(*event));
            }
            // Whoever wants it is answered when the record has it, or has the telephone.
            Claim::Escalate(event, _) => self.report(Report::Journalled(*event)),
        }
    }

    /// A row of the journal could not be written: it is tried again when what waits is looked at.
    pub(super) fn journal_failed(&mut self, id: JournalId, why: String) {
        let Some(claim) = self.waiting.claim_of(id).cloned() else { return };
        self.waiting.drop_row(id);
        if let Some(wait) = self.wait_mut(&claim) {
            wait.row = None;
        }
        self.report(Report::NotStored(claim.event(), why));
    }

    /// A statement is on this node's disk and in no record: the seat that made it hears that, and of an acknowledgement everybody else too.
    fn tell_provisional(&mut self, now: Now, receipt: &Receipt) {
        let admission = self.admission(&receipt.event);
        let Some(admission) = admission else { return };
        let (relay, class) = (admission.sealed.event.relay.clone(), admission.sealed.event.class);
        let stations = admission.stations.clone();
        if receipt.stage == Stage::Acknowledged {
            let owner = self.record.get(&receipt.event).and_then(|entry| entry.owner()).cloned();
            if owner.is_none() {
                // Where the record has named an officer before it was lost sight of, a second one changes nothing for the school.
                self.tell_relay(now, &relay, class, receipt);
            }
            let others = owner.into_iter().chain(self.provisional(&receipt.event));
            let others = others.filter(|other| other.stage == Stage::Acknowledged && other.by != receipt.by);
            let told: Vec<Receipt> = others.chain([receipt.clone()]).collect();
            self.tell_seat(&receipt.by, &told);
            self.tell_other_seats(&stations, receipt);
        } else {
            self.tell_seat(&receipt.by, std::slice::from_ref(receipt));
        }
    }

    /// Tells the seat `by`, if it holds a session here.
    pub(super) fn tell_seat(&mut self, by: &NodeName, receipts: &[Receipt]) {
        let NodeName::Station(seat) = by else { return };
        if let Some(desk) = self.desks.get(seat) {
            let send = |path| Output::Send(path, Class::P1, Form::Stream, Message::Receipts(receipts.to_vec()));
            self.out.extend(desk.express().map(send));
        }
    }

    /// Tells all seats of these stations but the one that said it.
    pub(super) fn tell_other_seats(&mut self, stations: &[crate::id::StationId], receipt: &Receipt) {
        for station in stations {
            let others = seats_of(&mut self.desks, station);
            for (_, desk) in others.filter(|(seat, _)| !matches!(&receipt.by, NodeName::Station(by) if by == *seat)) {
                let send = |path| Output::Send(path, Class::P1, Form::Stream, Message::Receipts(vec![receipt.clone()]));
                self.out.extend(desk.express().map(send));
            }
        }
    }

    /// What this node, without a quorum, has on its disk of an event and the record has not.
    pub(super) fn provisional(&self, event: &EventId) -> impl Iterator<Item = Receipt> {
        let pending = self.pending.get(event).filter(|pending| pending.wait.is_durable());
        pending.map(received).into_iter().chain(self.waiting.provisional(event))
    }

    /// Whether the record has what is claimed, or needs it no more.
    pub(super) fn is_settled(&self, claim: &Claim) -> bool {
        match claim {
            Claim::Admit(id) => self.record.get(id).is_some() || self.record.is_archived(id),
            Claim::Note(id, stage, by) => {
                let known = self.record.get(id).zip(self.waiting.note(id, *stage, by));
                let on_record = self.record.get(id).is_some_and(|entry| entry.has(*stage, by));
                on_record
                    || self.record.is_archived(id)
                    || known.is_some_and(|(entry, noting)| entry.needs_no_more(&noting.receipt))
            }
            Claim::Escalate(id, stations) => {
                let done =
                    |entry: &Entry| those_of(entry, stations).len() == stations.len() || !entry.has_room_for(stations);
                self.record.get(id).is_some_and(done) || self.record.is_archived(id)
            }
        }
    }

    /// Lets go of a claim if the record has it.
    pub(super) fn let_go(&mut self, claim: &Claim) {
        if self.is_settled(claim) {
            self.withdraw(claim);
        }
    }

    /// A claim waits no longer, and its row in the journal is not needed.
    fn withdraw(&mut self, claim: &Claim) {
        let wait = match claim {
            Claim::Admit(id) => {
                let pending = self.no_longer_pending(id);
                if self.record.get(id).is_none() {
                    self.unfollow(id);
                }
                pending.map(|pending| pending.wait)
            }
            Claim::Note(id, stage, by) => self.waiting.remove(id, *stage, by).map(|noting| noting.wait),
            Claim::Escalate(id, stations) => self.waiting.remove_order(id, stations).map(|waits| waits.wait),
        };
        self.unjournal(wait.and_then(|wait| wait.row));
    }

    /// A row of the journal is needed no longer.
    pub(super) fn unjournal(&mut self, row: Option<(JournalId, bool)>) {
        if let Some((id, _)) = row {
            self.waiting.drop_row(id);
            self.out.push_back(Output::Unjournal(vec![id]));
        }
        if self.pending.is_empty() && self.waiting.len() == 0 {
            self.waiting.again_at = None;
        }
    }

    /// What was proposed is not in the record yet. It waits, on this node's disk if that can be had.
    pub(super) fn not_committed(&mut self, now: Now, command: &Command, why: &NotCommitted) {
        if let Command::Route { .. } = command {
            self.route_again_at = Some(now.mono + super::commit::ROUTE_AGAIN_AFTER);
        }
        if let Command::Case { order, .. } = command {
            return self.case_not_committed(now, order, why);
        }
        if self.command_not_committed(now, command, why) {
            return;
        }
        let Some(claim) = Claim::of(command) else { return };
        if let (Command::Admit(admission), NotCommitted::Shed) = (command, why)
            && admission.sealed.event.class != Class::P0
        {
            return self.shed(admission.sealed.event.id);
        }
        if self.wait(&claim).is_none() {
            return;
        }
        self.came_to_nothing(&claim);
        self.journal(&claim);
        let soon = match why {
            NotCommitted::NoQuorum => Some(AGAIN_SOON),
            NotCommitted::Unknown => Some(AGAIN_IN_DOUBT),
            NotCommitted::Shed | NotCommitted::Failed(_) => None,
        };
        // An election, most often: as soon as it is over, the record can have it.
        if let Some(soon) = soon.filter(|_| self.condition.is_none()) {
            let soon = now.mono + soon;
            self.waiting.again_at = Some(self.waiting.again_at.map_or(soon, |at| at.min(soon)));
        }
        if let (Some(id), NotCommitted::Failed(_) | NotCommitted::Shed) = (command.event(), why) {
            self.report(Report::NotStored(id, why.to_string()));
        }
    }

    /// The disk is nearly full: an event that is no alarm is given back to its relay, which keeps it.
    fn shed(&mut self, id: EventId) {
        let Some(pending) = self.pending.get(&id) else { return };
        let relay = pending.admission.sealed.event.relay.clone();
        self.withdraw(&Claim::Admit(id));
        self.waiting.claims_about(&id).iter().for_each(|claim| self.withdraw(claim));
        let gate = self.relays.get(&relay);
        let paths: Vec<_> = gate.into_iter().flat_map(|gate| gate.paths.keys().copied()).collect();
        for path in paths {
            self.refuse(path, NodeName::Relay(relay.clone()), id, Refusal::NoRoom);
        }
    }
}

/// That this node has an event on its disk, and no record has it yet.
fn received(pending: &Pending) -> Receipt {
    Receipt {
        event: pending.admission.sealed.event.id,
        stage: Stage::Received,
        at: pending.admission.at,
        by: pending.admission.by.clone(),
        officer: None,
        note: Text::default(),
        skew: None,
        standing: Standing::Provisional,
    }
}
