//! What was handed to the record's engine and is not in the record yet, and which of it stands in this node's journal.
//!
//! Invariants:
//! * Each row of the journal belongs to one claim that waits, and a claim has at most one row. A claim leaves when the record (or the
//!   archive) has it, and its row with it.
//! * What is news is proposed at once; what has waited is proposed a window at a time ([`limits::BROKER_PROPOSALS`]), the next as the record
//!   takes those before. All of a long outage at once would take the record longer than a node waits before it proposes again, and from
//!   then on the log would fill with repeats.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::broker::port::JournalId;
use crate::escalate::Escalate;
use crate::id::{EventId, NodeName, StationId};
use crate::limits;
use crate::receipt::{Receipt, Stage, Standing};
use crate::record::Command;
use crate::time::{Span, Timestamp};

/// How often what waits is proposed again.
pub(super) const AGAIN_AFTER: Span = Span::from_secs(2);
/// How soon what nobody took, for want of a leader, is proposed again.
pub(super) const AGAIN_SOON: Span = Span::from_millis(100);
/// How soon what a leader may or may not have taken is proposed again: a leader that goes on leaves repeats out, a new one needs it.
pub(super) const AGAIN_IN_DOUBT: Span = Span::from_millis(500);

/// What a command wants to be true of the record. Commands with the same claim are repeats of each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// The event is in it.
    Admit(EventId),
    /// This node's statement is.
    Note(EventId, Stage, NodeName),
    /// These stations have the event.
    Escalate(EventId, Vec<StationId>),
}

impl Claim {
    /// The claim of a command; `None` for those that nobody waits for here.
    pub(super) fn of(command: &Command) -> Option<Self> {
        match command {
            Command::Admit(admission) => Some(Claim::Admit(admission.sealed.event.id)),
            Command::Note(receipt) => Some(Claim::of_statement(receipt)),
            Command::Escalate { event, stations, .. } => Some(Claim::Escalate(*event, stations.clone())),
            // Whoever gives an order, or has pictures, says it again until it is answered.
            Command::Case { .. } | Command::Pictures { .. } => None,
            // Whoever leads proposes a rung, or a trouble, again while it is due.
            Command::Found { .. }
            | Command::Route { .. }
            | Command::Overdue { .. }
            | Command::Forwarded { .. }
            | Command::TroubleBegan { .. }
            | Command::TroubleOver { .. }
            | Command::StagePlan(_)
            | Command::ApplyPlan(_)
            | Command::AdmitCommand { .. }
            | Command::NoteCommand(_)
            // Whoever opens or ends a drill says it again until it is answered; whoever leads says again what the plan registers, and what is over.
            | Command::OpenDrill(_)
            | Command::CloseDrill(_)
            | Command::EndCase { .. } => None,
        }
    }

    pub(super) fn of_statement(receipt: &Receipt) -> Self {
        Claim::Note(receipt.event, receipt.stage, receipt.by.clone())
    }

    pub(super) fn of_order(order: &Escalate) -> Self {
        Claim::Escalate(order.event, order.stations.clone())
    }

    /// The event that it is about.
    pub(super) fn event(&self) -> EventId {
        let (Claim::Admit(event) | Claim::Note(event, ..) | Claim::Escalate(event, _)) = self;
        *event
    }
}

/// How one claim waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wait {
    /// When it was proposed last; `None` if that is known to have come to nothing.
    pub(super) proposed: Option<Timestamp>,
    /// Its row in the journal, and whether that is on stable storage.
    pub(super) row: Option<(JournalId, bool)>,
}

impl Wait {
    /// Whether it would survive a loss of power here.
    pub(super) fn is_durable(&self) -> bool {
        matches!(self.row, Some((_, true)))
    }
}

/// A statement that waits.
#[derive(Debug, Clone)]
pub(super) struct Noting {
    pub(super) receipt: Receipt,
    pub(super) wait: Wait,
}

/// The wish that more stations see an event, which waits.
#[derive(Debug, Clone)]
pub(super) struct Ordering {
    pub(super) order: Escalate,
    pub(super) wait: Wait,
}

/// The statements and orders that wait, and the journal's rows of all that does.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    notes: BTreeMap<EventId, Vec<Noting>>,
    len: usize,
    orders: Vec<Ordering>,
    /// What was proposed and is neither in the record nor known to have come to nothing.
    in_flight: BTreeSet<Claim>,
    /// What is to be proposed when there is room, in order, and the same again to look it up.
    backlog: VecDeque<Claim>,
    listed: BTreeSet<Claim>,
    rows: BTreeMap<JournalId, Claim>,
    last_row: u64,
    /// When what waits is looked at again; `None` while nothing does.
    pub(super) again_at: Option<Timestamp>,
}

impl Waiting {
    /// How many statements and orders wait.
    pub(super) fn len(&self) -> usize {
        self.len + self.orders.len()
    }

    /// Whether another order may wait.
    pub(super) fn has_room_for_order(&self) -> bool {
        self.orders.len() < limits::BROKER_ORDERS
    }

    pub(super) fn order(&self, event: &EventId, stations: &[StationId]) -> Option<&Ordering> {
        self.orders.iter().find(|waits| waits.order.event == *event && waits.order.stations == stations)
    }

    pub(super) fn order_mut(&mut self, event: &EventId, stations: &[StationId]) -> Option<&mut Ordering> {
        self.orders.iter_mut().find(|waits| waits.order.event == *event && waits.order.stations == stations)
    }

    pub(super) fn insert_order(&mut self, order: Escalate, wait: Wait) {
        self.orders.push(Ordering { order, wait });
    }

    pub(super) fn remove_order(&mut self, event: &EventId, stations: &[StationId]) -> Option<Ordering> {
        self.landed(&Claim::Escalate(*event, stations.to_vec()));
        let at =
            self.orders.iter().position(|waits| waits.order.event == *event && waits.order.stations == stations)?;
        Some(self.orders.remove(at))
    }

    /// All that waits for the sake of an event that is not to be waited for.
    pub(super) fn claims_about(&self, event: &EventId) -> Vec<Claim> {
        let notes = self.of(event).iter().map(|noting| Claim::of_statement(&noting.receipt));
        let orders = self.orders.iter().filter(|waits| waits.order.event == *event);
        notes.chain(orders.map(|waits| Claim::of_order(&waits.order))).collect()
    }

    pub(super) fn note(&self, event: &EventId, stage: Stage, by: &NodeName) -> Option<&Noting> {
        self.of(event).iter().find(|noting| noting.receipt.stage == stage && noting.receipt.by == *by)
    }

    pub(super) fn note_mut(&mut self, event: &EventId, stage: Stage, by: &NodeName) -> Option<&mut Noting> {
        let notes = self.notes.get_mut(event)?;
        notes.iter_mut().find(|noting| noting.receipt.stage == stage && noting.receipt.by == *by)
    }

    /// The statements about an event that wait, in the order in which they were made.
    pub(super) fn of(&self, event: &EventId) -> &[Noting] {
        self.notes.get(event).map_or(&[], Vec::as_slice)
    }

    /// The claims of all statements and orders that wait.
    pub(super) fn claims(&self) -> impl Iterator<Item = Claim> {
        let notes = self.notes.values().flatten().map(|noting| Claim::of_statement(&noting.receipt));
        notes.chain(self.orders.iter().map(|waits| Claim::of_order(&waits.order)))
    }

    pub(super) fn insert(&mut self, receipt: Receipt, wait: Wait) {
        self.len += 1;
        self.notes.entry(receipt.event).or_default().push(Noting { receipt, wait });
    }

    /// The statement waits no longer.
    pub(super) fn remove(&mut self, event: &EventId, stage: Stage, by: &NodeName) -> Option<Noting> {
        self.landed(&Claim::Note(*event, stage, by.clone()));
        let notes = self.notes.get_mut(event)?;
        let at = notes.iter().position(|noting| noting.receipt.stage == stage && noting.receipt.by == *by)?;
        let noting = notes.remove(at);
        if notes.is_empty() {
            self.notes.remove(event);
        }
        self.len -= 1;
        Some(noting)
    }

    /// What is said of an event here, and on this node's disk, but not in the record.
    pub(super) fn provisional(&self, event: &EventId) -> impl Iterator<Item = Receipt> {
        let durable = self.of(event).iter().filter(|noting| noting.wait.is_durable());
        durable.map(|noting| Receipt { standing: Standing::Provisional, ..noting.receipt.clone() })
    }

    /// It was proposed.
    pub(super) fn flies(&mut self, claim: Claim) {
        self.in_flight.insert(claim);
    }

    /// It is in the record, or known to have come to nothing.
    pub(super) fn landed(&mut self, claim: &Claim) {
        self.in_flight.remove(claim);
    }

    /// What is under way to the record.
    pub(super) fn in_flight(&self) -> &BTreeSet<Claim> {
        &self.in_flight
    }

    /// It is to be proposed when there is room. Nothing changes if it is listed already.
    pub(super) fn list(&mut self, claim: Claim) {
        if self.listed.insert(claim.clone()) {
            self.backlog.push_back(claim);
        }
    }

    /// What is to be proposed next, if there is room.
    pub(super) fn next(&mut self) -> Option<Claim> {
        if self.in_flight.len() >= limits::BROKER_PROPOSALS {
            return None;
        }
        let claim = self.backlog.pop_front()?;
        self.listed.remove(&claim);
        Some(claim)
    }

    /// How long what was proposed is given before it is proposed again: longer the more is under way.
    pub(super) fn patience(&self) -> Span {
        AGAIN_AFTER + AGAIN_AFTER * u32::try_from(self.in_flight.len() / 256).unwrap_or(u32::MAX)
    }

    /// A number for a new row of the journal.
    pub(super) fn new_row(&mut self, claim: Claim) -> JournalId {
        self.last_row += 1;
        let id = JournalId(self.last_row);
        self.rows.insert(id, claim);
        id
    }

    /// A row that the journal held when the node started.
    pub(super) fn known_row(&mut self, id: JournalId, claim: Claim) {
        self.last_row = self.last_row.max(id.0);
        self.rows.insert(id, claim);
    }

    /// Takes note of the numbers that rows had, needed or not.
    pub(super) fn seen_row(&mut self, id: JournalId) {
        self.last_row = self.last_row.max(id.0);
    }

    pub(super) fn claim_of(&self, id: JournalId) -> Option<&Claim> {
        self.rows.get(&id)
    }

    pub(super) fn drop_row(&mut self, id: JournalId) {
        self.rows.remove(&id);
    }

    /// Rows that the journal has or is about to have.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&JournalId, &Claim)> {
        self.rows.iter()
    }
}
