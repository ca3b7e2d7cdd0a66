//! Following a station: first what is in the inbox, then what comes, with no gap and no repeat in between.
//!
//! Invariants:
//! * The change-over is one step of the loop: at [`Reader::open`] the subscription is made and the rows that are not shown yet
//!   are noted. History is exactly the rows shown before; those not shown yet, and all later ones, come as changes.
//! * A [`Item::Event`] has a `position` only if every row up to it was given: whoever resumes after it misses nothing.
//! * History is read in pages, so a long one never holds the loop up; and a reader that does not read keeps nothing but its
//!   place in the bus, whose size is fixed.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use huxiao_core::drill::Drill;
use huxiao_core::station::{InboxRow, Station};
use huxiao_core::video::Pictures;
use huxiao_core::{CommandState, Degraded, Ownership, Receipt};
use huxiao_runtime::drive::Stopped;
use tokio::sync::broadcast;

use crate::pictures::Gallery;
use crate::seat::{PAGE, Seat};
use crate::shell::Change;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With what comes from now on.
    New,
    /// With the row of number `from` or the next that there is. Before it, the receipts of the `before` latest earlier rows,
    /// since they may have changed unseen.
    At { from: u64, before: usize },
}

/// What a reader is given.
#[derive(Debug)]
pub(crate) enum Item {
    /// An event.
    Event { row: Box<InboxRow>, durable: bool, position: Option<u64> },
    /// An event that was given without being on disk is there now.
    Durable { seq: u64, position: Option<u64> },
    /// An event that is shown reached a stage.
    Stage { seq: u64, receipt: Receipt },
    /// Nobody has taken an event that is shown, and its ownership went up.
    Ownership { seq: u64, ownership: Ownership },
    /// The case of an event that is shown stands otherwise.
    Case(Box<InboxRow>),
    /// A drill that touches this station, as it stands: announced, or ended before its time.
    Drill(Arc<Drill>),
    /// A command to schools stands so now.
    Command(Box<CommandState>),
    /// Words about pictures that were not known.
    Pictures(Pictures),
    /// The history is over.
    Live,
    /// No node that can be reached has a quorum; or one has again (`None`).
    Condition(Option<Degraded>),
}

/// Why there is nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The station stops.
    Stopped,
    /// The reader was too slow: changes were dropped. It begins anew after its last position.
    Behind,
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Self {
        Ended::Stopped
    }
}

/// Follows a station.
pub(crate) struct Reader {
    seat: Seat,
    changes: broadcast::Receiver<Arc<Change>>,
    phase: Phase,
    queue: VecDeque<Item>,
    /// Where the history begins.
    from: u64,
    /// Where it ends.
    head: u64,
    /// Rows before `head` that were not shown when it began.
    hidden: BTreeSet<u64>,
    position: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Receipts of rows from this number on, up to the history.
    Before(u64),
    /// Rows from this number on.
    History(u64),
    Live,
}

impl Reader {
    /// Begins. A `from` beyond all numbers is of another inbox than this one, and gives everything: a gap cannot hide an alarm.
    pub(crate) async fn open(seat: Seat, start: Start) -> Result<Self, Stopped> {
        let (board, bus) = (seat.board.clone(), seat.bus.clone());
        let begin = move |station: &Station| {
            let board = board.read();
            let (from, phase) = match start {
                Start::New => (board.next_seq, Phase::History(board.next_seq)),
                Start::At { from, before } => {
                    let from = if from > board.next_seq { 1 } else { from.max(1) };
                    (from, Phase::Before(first_of_latest(station, from, before)))
                }
            };
            (bus.subscribe(), from, phase, board.next_seq, board.hidden.clone())
        };
        let (changes, from, phase, head, hidden) = seat.handle.inspect(begin).await?;
        let position = hidden.first().copied().unwrap_or(from).min(from) - 1;
        Ok(Self { seat, changes, phase, queue: VecDeque::new(), from, head, hidden, position })
    }

    /// The pictures of the seat that is followed.
    pub(crate) fn gallery(&self) -> &Gallery {
        &self.seat.gallery
    }

    /// The number after which one may resume.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next item; waits for it. Loses nothing if it is dropped while it waits.
    pub(crate) async fn next(&mut self) -> Result<Item, Ended> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                return Ok(item);
            }
            match self.phase {
                Phase::Before(next) => self.before(next).await?,
                Phase::History(next) => self.history(next).await?,
                Phase::Live => match self.changes.recv().await {
                    Ok(change) => return Ok(self.change(&change)),
                    Err(broadcast::error::RecvError::Lagged(_)) => return Err(Ended::Behind),
                    Err(broadcast::error::RecvError::Closed) => return Err(Ended::Stopped),
                },
            }
        }
    }

    async fn before(&mut self, next: u64) -> Result<(), Stopped> {
        let from = self.from;
        let read = move |station: &Station| {
            let rows = station.rows_from(next).take_while(|row| row.seq < from).take(PAGE);
            rows.cloned().collect::<Vec<InboxRow>>()
        };
        let rows = self.seat.handle.inspect(read).await?;
        self.phase = match rows.last() {
            Some(last) => Phase::Before(last.seq + 1),
            None => Phase::History(from),
        };
        for row in rows {
            self.queue
                .extend(row.receipts.iter().map(|receipt| Item::Stage { seq: row.seq, receipt: receipt.clone() }));
            if row.case.is_some() {
                self.queue.push_back(Item::Case(Box::new(row)));
            }
        }
        Ok(())
    }

    async fn history(&mut self, next: u64) -> Result<(), Stopped> {
        let (board, head) = (self.seat.board.clone(), self.head);
        let read = move |station: &Station| {
            let board = board.read();
            let rows = station.rows_from(next).take_while(|row| row.seq < head).take(PAGE);
            let rows: Vec<_> = rows.map(|row| (row.clone(), !board.volatile.contains(&row.seq))).collect();
            (rows, station.degraded().cloned(), station.drills().cloned().collect::<Vec<_>>())
        };
        let (rows, degraded, drills) = self.seat.handle.inspect(read).await?;
        let Some((last, _)) = rows.last() else {
            self.phase = Phase::Live;
            // Whoever follows knows what time it is, and which of them are over.
            self.queue.extend(drills.into_iter().map(Item::Drill));
            self.queue.push_back(Item::Live);
            self.queue.extend(degraded.map(|degraded| Item::Condition(Some(degraded))));
            return Ok(());
        };
        self.phase = Phase::History(last.seq + 1);
        let safe = self.hidden.first().copied().unwrap_or(head);
        for (row, durable) in rows {
            // Shown only since: it comes as a change.
            if !self.hidden.contains(&row.seq) {
                let position = if row.seq < safe { self.advance(row.seq, durable) } else { None };
                self.queue.push_back(Item::Event { row: Box::new(row), durable, position });
            }
        }
        Ok(())
    }

    fn change(&mut self, change: &Change) -> Item {
        match change {
            Change::Shown(row, durable) => {
                let position = self.advance(row.seq, *durable);
                Item::Event { row: Box::new(row.clone()), durable: *durable, position }
            }
            Change::Durable(seq) => Item::Durable { seq: *seq, position: self.advance(*seq, true) },
            Change::Stage(seq, receipt) => Item::Stage { seq: *seq, receipt: receipt.clone() },
            Change::Ownership(seq, ownership) => Item::Ownership { seq: *seq, ownership: ownership.clone() },
            Change::Case(row) => Item::Case(Box::new(row.clone())),
            Change::Drill(drill) => Item::Drill(drill.clone()),
            Change::Command(state) => Item::Command(state.clone()),
            Change::Pictures(said) => Item::Pictures(said.clone()),
            Change::Condition(degraded) => Item::Condition(degraded.clone()),
        }
    }

    /// A row that is on disk was shown after all rows before it: the store writes in order.
    fn advance(&mut self, seq: u64, durable: bool) -> Option<u64> {
        (durable && seq > self.position).then(|| {
            self.position = seq;
            seq
        })
    }
}

/// The number of the first of the `count` latest shown rows before `from`.
fn first_of_latest(station: &Station, from: u64, count: usize) -> u64 {
    let earlier = station.rows_from(0).rev().map(|row| row.seq).skip_while(|seq| *seq >= from);
    earlier.take(count).last().unwrap_or(from)
}
