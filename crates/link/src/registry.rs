//! What all tasks of a link share: its sessions, its counters, and its driver's ear.
//!
//! Invariant: a path is in the table exactly while it may be sent on; it is announced before and mourned after that.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use huxiao_core::{Cost, Identity, Lane, PathId, Span, WallTime};
use huxiao_pki::{Credentials, Peer, Validity};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tracing::{debug, info, warn};

use crate::config::LinkConfig;
use crate::counters::Tally;
use crate::event::{DownReason, LinkError, LinkEvent};
use crate::lanes::{EventSender, Offer};
use crate::path::Path;
use crate::peer::Peers;
use crate::tcp::tls;
use crate::transport::{self, Clients};

/// Paths of a process are numbered together, so that drivers of several links cannot confuse them.
static NEXT_PATH: AtomicU64 = AtomicU64::new(1);

/// Between two warnings about what others do wrong. The rest is counted, and logged for debugging.
const COMPLAIN_EVERY: Span = Span::from_secs(1);

/// The common ground of a link's tasks.
pub(crate) struct Shared {
    pub(crate) credentials: Credentials,
    pub(crate) config: LinkConfig,
    pub(crate) tally: Tally,
    pub(crate) peers: Peers,
    /// Turns true once: everything is to end.
    pub(crate) closing: watch::Sender<bool>,
    events: EventSender,
    clients: Clients,
    tcp_clients: [TlsConnector; 2],
    peer_client: Mutex<Option<ClientConfig>>,
    server: Mutex<Option<ServerConfig>>,
    endpoints: Mutex<Vec<Endpoint>>,
    table: Mutex<Table>,
    complained: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Table {
    paths: HashMap<PathId, Arc<Path>>,
    /// The accepted paths of each peer, oldest first.
    accepted: HashMap<(Identity, Lane), VecDeque<PathId>>,
}

/// Now, on the wall clock.
pub(crate) fn wall_now() -> WallTime {
    let micros = |span: Span| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => WallTime(micros(after)),
        Err(before) => WallTime(-micros(before.duration())),
    }
}

/// A number that no path of this process has had.
pub(crate) fn next_path() -> PathId {
    PathId(NEXT_PATH.fetch_add(1, Ordering::Relaxed))
}

impl Shared {
    pub(crate) fn new(
        credentials: Credentials,
        config: LinkConfig,
        events: EventSender,
    ) -> Result<Arc<Self>, LinkError> {
        let clients = Clients::new(&credentials)?;
        let tcp_clients = [tls::connector(&credentials, Lane::Express)?, tls::connector(&credentials, Lane::Bulk)?];
        Ok(Arc::new(Self {
            credentials,
            config,
            tally: Tally::default(),
            peers: Peers::default(),
            closing: watch::channel(false).0,
            events,
            clients,
            tcp_clients,
            peer_client: Mutex::default(),
            server: Mutex::default(),
            endpoints: Mutex::default(),
            table: Mutex::default(),
            complained: Mutex::default(),
        }))
    }

    /// The configuration to dial a lane with over a line of this cost, always the same one. With `ticket` it spends a session ticket.
    pub(crate) fn client(&self, lane: Lane, cost: Cost, ticket: bool) -> ClientConfig {
        self.clients.get(lane, cost, ticket)
    }

    /// What to dial a lane over TCP with.
    pub(crate) fn tcp_client(&self, lane: Lane) -> &TlsConnector {
        let [express, bulk] = &self.tcp_clients;
        if lane == Lane::Bulk { bulk } else { express }
    }

    /// The configuration to dial peers with, made at its first use, then always the same one.
    pub(crate) fn peer_client(&self) -> Result<ClientConfig, LinkError> {
        let mut client = lock(&self.peer_client);
        if let Some(config) = &*client {
            return Ok(config.clone());
        }
        Ok(client.insert(transport::peer_client(&self.credentials)?).clone())
    }

    /// The configuration to listen with, made at its first use, then always the same one.
    pub(crate) fn server(&self) -> Result<ServerConfig, LinkError> {
        let mut server = lock(&self.server);
        if let Some(config) = &*server {
            return Ok(config.clone());
        }
        Ok(server.insert(transport::server_config(&self.credentials)?).clone())
    }

    /// Whether this node may have a session with `peer` at all.
    pub(crate) fn welcome(&self, peer: &Peer) -> bool {
        peer.identity != *self.credentials.identity() && (self.config.accept)(&peer.identity)
    }

    /// Enters a path into the table. Closes the oldest of an accepted peer's sessions if these are too many.
    pub(crate) fn enter(&self, path: &Arc<Path>) -> Result<(), LinkError> {
        let mut table = lock(&self.table);
        if *self.closing.borrow() {
            return Err(LinkError::ShutDown);
        }
        if table.paths.len() >= self.config.sessions {
            self.tally.sessions_refused.add();
            return Err(LinkError::Full);
        }
        table.paths.insert(path.id, Arc::clone(path));
        if path.dialled {
            return Ok(());
        }
        let own = table.accepted.entry((path.peer.identity.clone(), path.lane)).or_default();
        own.push_back(path.id);
        let surplus = if own.len() > self.config.sessions_per_identity { own.pop_front() } else { None };
        if let Some(oldest) = surplus.and_then(|id| table.paths.get(&id).cloned()) {
            self.tally.sessions_superseded.add();
            oldest.close(DownReason::Superseded);
        }
        Ok(())
    }

    /// Announces a path.
    pub(crate) async fn up(&self, path: &Path) {
        self.tally.sessions_up.add();
        let (peer, remote, early) = (path.peer.clone(), path.remote(), path.is_early());
        let (lane, carrier) = (path.lane.as_str(), path.info.carrier.as_str());
        if early && path.dialled {
            // Nobody has answered yet. That somebody did is worth a line, see `path::quic`.
            debug!(path = path.id.0, peer = %peer.identity, lane, carrier, %remote, "session begun early");
        } else {
            info!(path = path.id.0, peer = %peer.identity, lane, carrier, %remote, early, "session up");
        }
        if peer.validity != Validity::Valid {
            warn!(path = path.id.0, peer = %peer.identity, validity = %peer.validity, "the peer's certificate is not valid now");
        }
        self.tell(LinkEvent::Up { path: path.id, peer, info: path.info, remote, early }).await;
    }

    /// Removes a path from the table and says so.
    pub(crate) async fn down(&self, path: &Path, why: &DownReason) {
        {
            let mut table = lock(&self.table);
            table.paths.remove(&path.id);
            let key = (path.peer.identity.clone(), path.lane);
            if let Some(own) = table.accepted.get_mut(&key) {
                own.retain(|id| *id != path.id);
                if own.is_empty() {
                    table.accepted.remove(&key);
                }
            }
        }
        self.tally.sessions_down.add();
        let (peer, lane, carrier) = (&path.peer.identity, path.lane.as_str(), path.info.carrier.as_str());
        if path.dialled && path.is_early() {
            debug!(path = path.id.0, %peer, lane, carrier, %why, "early session came to nothing");
        } else {
            info!(path = path.id.0, %peer, lane, carrier, %why, "session down");
        }
        self.tell(LinkEvent::Down { path: path.id, why: why.clone() }).await;
    }

    /// Tells the driver, when it has room. A driver that is gone hears nothing.
    pub(crate) async fn tell(&self, event: LinkEvent) {
        if !self.events.send(event).await {
            self.driver_is_gone();
        }
    }

    /// Tells the driver if it has room now. `false` if it has none.
    pub(crate) fn offer(&self, event: LinkEvent) -> bool {
        let offer = self.events.offer(event);
        if offer == Offer::Gone {
            self.driver_is_gone();
        }
        offer == Offer::Taken
    }

    fn driver_is_gone(&self) {
        self.closing.send_replace(true);
        for path in self.paths() {
            path.close(DownReason::Shutdown);
        }
    }

    /// Warns of what somebody else does wrong, once a second at most.
    pub(crate) fn complain(&self, text: impl FnOnce() -> String) {
        let mut last = lock(&self.complained);
        if last.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY) {
            debug!("{}", text());
        } else {
            *last = Some(Instant::now());
            warn!("{}", text());
        }
    }

    /// The path of this number, while it lives.
    pub(crate) fn path(&self, id: PathId) -> Option<Arc<Path>> {
        lock(&self.table).paths.get(&id).cloned()
    }

    /// All paths.
    pub(crate) fn paths(&self) -> Vec<Arc<Path>> {
        lock(&self.table).paths.values().cloned().collect()
    }

    /// Whether there is room for one more session.
    pub(crate) fn has_room(&self) -> bool {
        lock(&self.table).paths.len() < self.config.sessions
    }

    /// Keeps a listening endpoint for the end.
    pub(crate) fn keep(&self, endpoint: Endpoint) {
        lock(&self.endpoints).push(endpoint);
    }

    /// The listening endpoints.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        lock(&self.endpoints).clone()
    }

    /// Lets go of the listening endpoints: their addresses are free once nobody else holds them.
    pub(crate) fn forget_endpoints(&self) {
        lock(&self.endpoints).clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
