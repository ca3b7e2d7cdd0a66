//! A station's seat inside another program: for 110 dispatch systems and other integrations.
//!
//! The program holds a seat's certificate and a folder of its own. [`Client::connect`] opens the inbox in that folder and keeps
//! sessions to the region's broker nodes; [`Client::next`] gives what the inbox holds and then what comes;
//! [`Client::acknowledge`] carries an officer's answer to the school. It is the same seat as the daemon's, without HTTP. One
//! folder, and one certificate, serve one process at a time: two of one name would each take the other's word for their own.
//!
//! Invariant: an event counts as delivered once it is in this inbox, not once [`Client::next`] gave it. So a program remembers the
//! number ([`InboxRow::seq`]) up to which it has dealt with everything and gives it back in [`ClientConfig::after`]; after a
//! crash in between it is given those events again, which have the same ids.
//!
//! `examples/subscribe.rs` is a whole program.

mod error;
mod run;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use huxiao_core::drill::Drill;
use huxiao_core::{Degraded, Ownership, Role, Span, limits};
use huxiao_link::{Link, LinkConfig};
use huxiao_pki::Credentials;
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drive::drive;
use huxiao_runtime::host::Feed;
use huxiao_runtime::shutdown::Shutdown;
use tokio::task::JoinHandle;

pub use error::{AcknowledgeError, ClientError, ConnectError, NotActed, NotEscalated};
pub use huxiao_core::case::{Action, ActionId};
pub use huxiao_core::station::{AckError, Acknowledged, CaseDone, CaseError, EscalateError, InboxRow};
pub use huxiao_core::{
    Class, CommandState, Escalate, Event, EventId, Kind, Mode, Name, NodeName, Receipt, Stage, StationId, Text,
};
pub use huxiao_runtime::drive::Stopped;
pub use huxiao_store::{Loss, Trial};

use crate::feed::{Ended, Item, Reader, Start};
use crate::seat::{self, Assembled, Ingredients, Seat};

/// How long a stop may take to write and send what is under way.
const DRAIN: Span = Span::from_secs(5);

/// How a client is set up.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Certificate of the province's authority (PEM).
    pub ca: PathBuf,
    /// The seat's certificate (PEM), of the role station.
    pub cert: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// The region's broker nodes, `host:port`; sessions are kept to all of them at all times.
    pub brokers: Vec<String>,
    /// The region that must answer there; `None` takes any of the province.
    pub region: Option<Name>,
    /// Folder for the inbox; made if it is not there.
    pub data_dir: PathBuf,
    /// The inbox's events after this number are given again at the start: the last one that the program has dealt with. 0 gives
    /// all that the inbox holds, as does a number that this inbox has not given out.
    pub after: u64,
    /// How the inbox is tried before it is opened. [`Trial::Child`] with the `huxiao` program and the arguments `store check`
    /// keeps even a disk damage that aborts its reader away from this process; [`Trial::InProcess`] needs no program.
    pub trial: Trial,
}

/// What a client is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// An event: of the inbox, or just come.
    Event {
        /// The event with its number, its trail and its receipts so far.
        row: Box<InboxRow>,
        /// Whether it is on this disk. If not (a slow or full disk), do not remember its number: after a crash another event may
        /// have it.
        durable: bool,
    },
    /// An event that was given reached a stage: another seat has it on its screen, an officer took it, … May repeat.
    Stage {
        /// The event's number.
        seq: u64,
        /// Who says so, and when.
        receipt: Receipt,
    },
    /// Nobody has taken an event that was given, and its ownership went up: ring louder.
    Ownership {
        /// The event's number.
        seq: u64,
        /// How far, and who owns it now.
        ownership: Ownership,
    },
    /// The case of an event that was given stands otherwise: see [`InboxRow::case`]. May repeat.
    Case(Box<InboxRow>),
    /// A drill that touches this station, as it stands: what comes with `drill` of its schools is no alarm. May repeat.
    Drill(Arc<Drill>),
    /// A command of this station to schools stands so now. May repeat.
    Command(Box<CommandState>),
    /// All that the inbox held was given; what follows has just come.
    Live,
    /// No broker node that can be reached has a quorum: alarms come, and what officers take is provisional. Or one has again (`None`).
    Condition(Option<Degraded>),
}

/// A seat at work. Dropping it stops the seat too, without waiting for the end.
pub struct Client {
    seat: Seat,
    reader: Reader,
    /// Events after the reader's position that were given already.
    given: BTreeSet<u64>,
    losses: Vec<Loss>,
    shutdown: Shutdown,
    ended: Option<JoinHandle<Result<(), ClientError>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("position", &self.reader.position()).finish_non_exhaustive()
    }
}

impl Client {
    /// Opens the inbox and begins to keep sessions. Does not wait for a broker node: what the inbox holds can be dealt with while
    /// the line is down. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`]: nothing is running then.
    pub async fn connect(config: ClientConfig) -> Result<Self, ConnectError> {
        run::check(&config.brokers)?;
        let credentials = Credentials::load(&config.ca, &config.cert, &config.key, Some(Role::Station))?;
        let NodeName::Station(me) = credentials.identity().node.clone() else { return Err(ConnectError::NotAStation) };
        let clock = Clock::system();
        let opened = run::open_store(&config, &clock).await?;
        let verifier = Arc::new(credentials.signatures());
        let (events, received) = huxiao_link::events();
        let link = Link::new(credentials, LinkConfig::accepting(&[Role::Broker]), events)?;
        let dials = seat::dial(&link, &config.brokers, config.region.as_ref());
        let assembled = seat::assemble(Ingredients {
            seat: me,
            store: &opened.store,
            high: opened.high,
            losses: &opened.losses,
            link: &link,
            dials: &dials,
            now: clock.now(),
            seed: RandomState::new().hash_one(opened.epoch),
            software: concat!("huxiao-station/", env!("CARGO_PKG_VERSION")).to_owned(),
            signer: None,
            verifier,
        })
        .await?;
        let Assembled { seat, machine, shell, inputs, .. } = assembled;
        let shutdown = Shutdown::new();
        let inputs = inputs.fed_by(Feed::new(received, seat::translate));
        let failed = run::watch_store(opened.store.clone(), shutdown.clone());
        let machine = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { drop(drive(machine, shell, inputs, clock, shutdown).await) }
        });
        let ended = tokio::spawn(run::end(machine, link, dials, opened.store, shutdown.clone(), failed));
        let start = Start::At { from: config.after.saturating_add(1), before: usize::MAX };
        let reader = seat.follow(start).await.map_err(|stopped| ConnectError::Aborted(stopped.to_string()))?;
        Ok(Self { seat, reader, given: BTreeSet::new(), losses: opened.losses, shutdown, ended: Some(ended) })
    }

    /// The next event or stage; waits for it. `None` once the client has stopped: [`Client::shutdown`] says why. Loses
    /// nothing if it is dropped while it waits, and nothing if it is called seldom.
    pub async fn next(&mut self) -> Option<Incoming> {
        loop {
            match self.reader.next().await {
                Ok(item) => {
                    if let Some(incoming) = self.take(item) {
                        return Some(incoming);
                    }
                }
                Err(Ended::Stopped) => return None,
                Err(Ended::Behind) => {
                    // All that was dropped is in the inbox.
                    let start = Start::At { from: self.reader.position() + 1, before: usize::MAX };
                    self.reader = self.seat.follow(start).await.ok()?;
                }
            }
        }
    }

    /// An officer takes an alarm. It is on its way to the school at once, and kept until the region has confirmed it; the answer
    /// comes when it is on this disk.
    ///
    /// # Errors
    /// [`AcknowledgeError`]. After [`AckError::NotKept`] it is being sent all the same.
    pub async fn acknowledge(&self, id: EventId, officer: &str, note: &str) -> Result<Acknowledged, AcknowledgeError> {
        let (officer, note) = (Name::new(officer)?, Text::new(note)?);
        Ok(self.seat.acknowledge(id, officer, note).await??)
    }

    /// An officer wants more stations to see an event. The answer comes when the region's record has it.
    ///
    /// # Errors
    /// [`NotEscalated`].
    pub async fn escalate(
        &self,
        id: EventId,
        to: &[StationId],
        officer: &str,
        note: &str,
    ) -> Result<Escalate, NotEscalated> {
        let (officer, note) = (Name::new(officer)?, Text::new(note)?);
        if to.is_empty() || to.len() > limits::STATIONS_PER_SCHOOL {
            return Err(NotEscalated::Stations(to.len()));
        }
        Ok(self.seat.escalate(id, to.to_vec(), officer, note).await??)
    }

    /// An officer does something about an alarm: once, however often it is said with the same `id`; `None` draws one. The answer comes when the
    /// region's record has it.
    ///
    /// # Errors
    /// [`NotActed`].
    pub async fn act(
        &self,
        event: EventId,
        id: Option<ActionId>,
        action: Action,
        officer: &str,
        note: &str,
    ) -> Result<CaseDone, NotActed> {
        let (officer, note) = (Name::new(officer)?, Text::new(note)?);
        if action == Action::Acknowledge {
            return Err(NotActed::Acknowledge);
        }
        Ok(self.seat.act((event, id), action, officer, note).await??)
    }

    /// A screen shows these; unknown ids are passed over. The school's lamp changes with it, so say it only when it is so.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn displayed(&self, ids: &[EventId]) -> Result<(), Stopped> {
        self.seat.displayed(ids.to_vec()).await
    }

    /// What the inbox holds of one event.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn get(&self, id: EventId) -> Result<Option<InboxRow>, Stopped> {
        Ok(self.seat.get(id).await?.map(|(row, _)| row))
    }

    /// The broker nodes that are reached. None for long means that no alarm can come.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn nodes(&self) -> Result<BTreeSet<NodeName>, Stopped> {
        Ok(self.seat.upstream().await?.0)
    }

    /// What the inbox had lost when it was opened (a damaged disk); what the black box still held is back in it already.
    #[must_use]
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// Stops: writes and sends what is under way, for at most five seconds, and closes the inbox.
    ///
    /// # Errors
    /// [`ClientError`] if it had stopped by itself before.
    pub async fn shutdown(mut self) -> Result<(), ClientError> {
        let ended = self.ended.take();
        // Its hold on the loop goes first, so that the loop can end.
        drop(self);
        match ended {
            Some(ended) => ended.await.unwrap_or_else(|error| Err(ClientError::Loop(error.to_string()))),
            None => Ok(()),
        }
    }

    fn take(&mut self, item: Item) -> Option<Incoming> {
        match item {
            Item::Event { row, durable, position } => {
                let fresh = self.given.insert(row.seq);
                self.settled(position);
                fresh.then_some(Incoming::Event { row, durable })
            }
            Item::Durable { position, .. } => {
                self.settled(position);
                None
            }
            Item::Stage { seq, receipt } => Some(Incoming::Stage { seq, receipt }),
            Item::Ownership { seq, ownership } => Some(Incoming::Ownership { seq, ownership }),
            Item::Case(row) => Some(Incoming::Case(row)),
            Item::Drill(drill) => Some(Incoming::Drill(drill)),
            Item::Command(state) => Some(Incoming::Command(state)),
            // Pictures are the daemon's: they take a folder of their own.
            Item::Pictures(_) => None,
            Item::Live => Some(Incoming::Live),
            Item::Condition(degraded) => Some(Incoming::Condition(degraded)),
        }
    }

    /// A reader that begins anew begins after `position`: what lies before cannot be given twice.
    fn settled(&mut self, position: Option<u64>) {
        if let Some(position) = position {
            self.given = self.given.split_off(&(position + 1));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shutdown.request(DRAIN);
    }
}
