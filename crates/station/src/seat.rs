//! A seat of a station: the machine with its inbox and its sessions, shared by the daemon and the client library.
//!
//! Invariant: what an officer did is answered as done only after the machine says that it is kept, and the machine says so
//! only after the store's sync.

use std::sync::Arc;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use huxiao_core::case::{Action, ActionId, CaseOrder};
use huxiao_core::drill::{Drill, DrillId, DrillOrder};
use huxiao_core::signature::{Signer, Verifier};
use huxiao_core::station::{InboxRow, Input, Station, StationConfig};
use huxiao_core::{EventId, Lane, Name, NodeName, Now, Rng, SeatId, StationId, Text, WallTime};
use huxiao_link::{DialHandle, Expect, Link, LinkEvent, Target, Uplink};
use huxiao_pki::Validity;
use huxiao_runtime::drive::{self, Handle, Inbox, Stopped};
use huxiao_store::{Loss, Store, StoreError};

use crate::board::Board;
use crate::commands::{Commanded, Schools};
use crate::feed::{Reader, Start};
use crate::inbox;
use crate::pictures::Gallery;
use crate::shell::{Answer, Answers, Bus, Cased, Drilled, Escalated, History, StationShell, bus};

/// Rows that are looked at in one go: more would hold the loop up.
pub(crate) const PAGE: usize = 256;

/// The way to a running seat. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) handle: Handle<Station>,
    pub(crate) board: Board,
    pub(crate) bus: Bus,
    answers: Answers<Answer>,
    escalated: Answers<Escalated>,
    cased: Answers<Cased>,
    histories: Answers<History>,
    drilled: Answers<Drilled>,
    pub(crate) commanded: Answers<Commanded>,
    pub(crate) schools: Answers<Schools>,
    /// What commands are signed with.
    pub(crate) signer: Option<Arc<dyn Signer>>,
    pub(crate) me: NodeName,
    pub(crate) gallery: Gallery,
    /// For the ids of orders that come without one.
    pub(crate) ids: Arc<Mutex<Rng>>,
}

/// A seat that is ready to be driven.
pub(crate) struct Assembled {
    pub(crate) seat: Seat,
    pub(crate) machine: Station,
    pub(crate) shell: StationShell,
    pub(crate) inputs: Inbox<Station>,
    /// Rows of the inbox that this version cannot read.
    pub(crate) unreadable: usize,
}

/// What a seat is made of.
pub(crate) struct Ingredients<'a> {
    pub(crate) seat: SeatId,
    pub(crate) store: &'a Store,
    /// The highest number that the store has seen.
    pub(crate) high: u64,
    pub(crate) losses: &'a [Loss],
    pub(crate) link: &'a Link,
    pub(crate) dials: &'a Arc<Vec<DialHandle>>,
    pub(crate) now: Now,
    pub(crate) seed: u64,
    pub(crate) software: String,
    pub(crate) signer: Option<Arc<dyn Signer>>,
    /// What alarms' signatures are checked by.
    pub(crate) verifier: Arc<dyn Verifier>,
}

/// Reads the inbox and builds the machine around it.
pub(crate) async fn assemble(from: Ingredients<'_>) -> Result<Assembled, StoreError> {
    let store = from.store.clone();
    let mut kept = inbox::read(&store)?;
    if inbox::has_gaps(&kept, from.losses) {
        tracing::warn!("rows of the inbox may be missing: the broker nodes are asked for everything again");
        if let Err(error) = kept.marks.forget(&store).await {
            // This start does without them all the same; only a further one would believe them.
            tracing::error!(%error, "the marks of the broker nodes could not be removed");
        }
    }
    let next_seq = kept.high.max(from.high) + 1;
    let me = NodeName::Station(from.seat.clone());
    let config = StationConfig {
        seat: from.seat,
        next_seq,
        marks: kept.marks.resumes(),
        seed: from.seed,
        software: from.software,
    };
    let board = Board::new(&kept.rows, next_seq);
    let machine = Station::new(from.now, config, kept.rows).verifying(from.verifier);
    let (handle, inputs) = drive::channel();
    let seat = Seat {
        handle,
        board,
        bus: bus(),
        answers: Answers::default(),
        escalated: Answers::default(),
        cased: Answers::default(),
        histories: Answers::default(),
        drilled: Answers::default(),
        commanded: Answers::default(),
        schools: Answers::default(),
        signer: from.signer,
        me: me.clone(),
        gallery: Gallery::default(),
        // Another one than the machine's, which draws from the same seed.
        ids: Arc::new(Mutex::new(Rng::new(from.seed.rotate_left(32)))),
    };
    let shell = StationShell {
        me,
        link: from.link.clone(),
        dials: from.dials.clone(),
        store,
        handle: seat.handle.downgrade(),
        answers: seat.answers.clone(),
        escalated: seat.escalated.clone(),
        cased: seat.cased.clone(),
        histories: seat.histories.clone(),
        drilled: seat.drilled.clone(),
        commanded: seat.commanded.clone(),
        schools: seat.schools.clone(),
        board: seat.board.clone(),
        bus: seat.bus.clone(),
        marks: kept.marks,
        degraded: None,
    };
    Ok(Assembled { seat, machine, shell, inputs, unreadable: kept.unreadable })
}

/// Keeps sessions to all `brokers`, on both lanes, for as long as the handles live.
pub(crate) fn dial(link: &Link, brokers: &[String], region: Option<&Name>) -> Arc<Vec<DialHandle>> {
    let target = |addr: &String| Target {
        addr: addr.clone(),
        uplink: Uplink::default(),
        expect: Expect::broker(region.cloned()),
        lanes: vec![Lane::Express, Lane::Bulk],
    };
    Arc::new(brokers.iter().map(|addr| link.dial(&target(addr))).collect())
}

/// What the machine need know of the link.
pub(crate) fn translate(event: LinkEvent) -> Option<Input> {
    Some(match event {
        LinkEvent::Up { path, peer, info, .. } => {
            if peer.validity != Validity::Valid {
                // Either clock may be the wrong one, and an alarm must not be lost to a date: it is said, not refused.
                tracing::warn!(node = %peer.identity.node, certificate = peer.validity.as_str(), "a broker node's certificate is out of its dates");
            }
            Input::PathUp(path, peer.identity.node, info)
        }
        LinkEvent::Down { path, why } => {
            tracing::debug!(?path, %why, "a session is over");
            Input::PathDown(path)
        }
        LinkEvent::Message { path, message } => Input::Message(path, message),
    })
}

impl Seat {
    /// The same, with these pictures.
    pub(crate) fn with(self, gallery: Gallery) -> Self {
        Self { gallery, ..self }
    }

    /// An officer takes an alarm.
    pub(crate) async fn acknowledge(&self, event: EventId, officer: Name, note: Text) -> Result<Answer, Stopped> {
        let (ticket, answer) = self.answers.ask();
        // As urgent as the alarm itself. At most one for each caller that waits here.
        self.handle.urgent(Input::Acknowledge { ticket, event, officer, note })?;
        // The ticket's other end is dropped only with the loop.
        answer.await.map_err(|_| Stopped)
    }

    /// An officer wants more stations to see an event. Answered when the record has it, or after
    /// [`ESCALATION_TIMEOUT`](huxiao_core::limits::ESCALATION_TIMEOUT).
    pub(crate) async fn escalate(
        &self,
        event: EventId,
        stations: Vec<StationId>,
        officer: Name,
        note: Text,
    ) -> Result<Escalated, Stopped> {
        let (ticket, answer) = self.escalated.ask();
        self.handle.urgent(Input::Escalate { ticket, event, stations, officer, note })?;
        // The ticket's other end is dropped only with the loop.
        answer.await.map_err(|_| Stopped)
    }

    /// An officer does something about an alarm: once, however often it is said with the same id. Answered when the record has it, or after
    /// [`CASE_ORDER_TIMEOUT`](huxiao_core::limits::CASE_ORDER_TIMEOUT).
    pub(crate) async fn act(
        &self,
        (event, id): (EventId, Option<ActionId>),
        action: Action,
        officer: Name,
        note: Text,
    ) -> Result<Cased, Stopped> {
        let draw = || ActionId(self.ids.lock().unwrap_or_else(PoisonError::into_inner).bytes16());
        let id = id.unwrap_or_else(draw);
        let (ticket, answer) = self.cased.ask();
        // The machine says where and when.
        let order = CaseOrder { id, event, action, by: self.me.clone(), officer, at: WallTime(0), note };
        self.handle.urgent(Input::Case(ticket, Box::new(order)))?;
        // The ticket's other end is dropped only with the loop.
        answer.await.map_err(|_| Stopped)
    }

    /// The steps of a case after number `after`, as a broker node has them.
    pub(crate) async fn history(&self, event: EventId, after: u64) -> Result<History, Stopped> {
        let (ticket, answer) = self.histories.ask();
        self.handle.urgent(Input::History(ticket, event, after))?;
        // The ticket's other end is dropped only with the loop.
        answer.await.map_err(|_| Stopped)
    }

    /// Somebody wants a drill announced or ended. Answered when the record has it, or after
    /// [`DRILL_ORDER_TIMEOUT`](huxiao_core::limits::DRILL_ORDER_TIMEOUT).
    pub(crate) async fn drill(&self, order: DrillOrder) -> Result<Drilled, Stopped> {
        let (ticket, answer) = self.drilled.ask();
        self.handle.urgent(Input::Drill(ticket, Box::new(order)))?;
        // The ticket's other end is dropped only with the loop.
        answer.await.map_err(|_| Stopped)
    }

    /// The drills that the region has announced to this station, in the order of their beginnings.
    pub(crate) async fn drills(&self) -> Result<Vec<Arc<Drill>>, Stopped> {
        let mut drills = self.handle.inspect(|station| station.drills().cloned().collect::<Vec<_>>()).await?;
        drills.sort_by_key(|drill| (drill.from, drill.id()));
        Ok(drills)
    }

    /// An id for a drill whose order comes without one, and whose order it is.
    pub(crate) fn drawn(&self) -> (DrillId, NodeName) {
        (DrillId(self.ids.lock().unwrap_or_else(PoisonError::into_inner).bytes16()), self.me.clone())
    }

    /// A screen shows these. Comes back when the machine has heard it.
    pub(crate) async fn displayed(&self, events: Vec<EventId>) -> Result<(), Stopped> {
        // A lamp waits for it. Whoever says it waits for the reading, which comes after: so there is one for each caller.
        self.handle.urgent(Input::Displayed(events))?;
        self.handle.inspect(|_| ()).await
    }

    /// The row of an event, and whether it is on disk.
    pub(crate) async fn get(&self, event: EventId) -> Result<Option<(InboxRow, bool)>, Stopped> {
        let board = self.board.clone();
        self.handle
            .inspect(move |station| {
                let row = station.get(&event)?.clone();
                let durable = !board.read().volatile.contains(&row.seq);
                Some((row, durable))
            })
            .await
    }

    /// Up to `limit` rows from number `from` on, and where to go on. Stops before the first row that is not shown yet, so that
    /// whoever pages on misses none.
    pub(crate) async fn page(&self, from: u64, limit: usize) -> Result<(Vec<(InboxRow, bool)>, u64), Stopped> {
        let board = self.board.clone();
        let read = move |station: &Station| {
            let board = board.read();
            let end = board.first_hidden();
            let shown = station.rows_from(from).take_while(|row| row.seq < end).take(limit);
            shown.map(|row| (row.clone(), !board.volatile.contains(&row.seq))).collect::<Vec<_>>()
        };
        let rows = self.handle.inspect(read).await?;
        let next = rows.last().map_or(from, |(row, _)| row.seq + 1);
        Ok((rows, next))
    }

    /// Follows what comes; see [`Reader`].
    pub(crate) async fn follow(&self, start: Start) -> Result<Reader, Stopped> {
        Reader::open(self.clone(), start).await
    }

    /// The broker nodes that hold a session, and how many statements the region has not confirmed.
    pub(crate) async fn upstream(&self) -> Result<(BTreeSet<NodeName>, usize), Stopped> {
        self.handle.inspect(|station| (station.nodes().into_iter().cloned().collect(), station.unconfirmed())).await
    }
}
