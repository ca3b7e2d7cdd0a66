//! Opening a node's part of its region's record, and setting its engine going.
//!
//! Invariant: nothing is voted, appended or answered before the machine's loop, the other nodes' requests and the watch have their places: the
//! engine runs last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use huxiao_core::broker::Broker;
use huxiao_core::record::{RecordLimits, RecordState};
use huxiao_core::{Name, NodeName, Rng, Span};
use huxiao_link::Link;
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drive::WeakHandle;
use huxiao_runtime::health::Check;
use huxiao_runtime::metric::{self, Gauge, Histogram};
use huxiao_runtime::shutdown::Shutdown;
use huxiao_store::wal::{Wal, WalConfig, WalHealth, WalObservation};
use huxiao_store::{Store, StoreError};
use huxiao_wire::cluster::StoreId;
use openraft::{Config, Raft, SnapshotPolicy};

use super::desk::{LoopReplica, SnapshotDesk};
use super::folder::{FolderConfig, FolderError, RecordFolder};
use super::log::LogStore;
use super::network::Factory;
use super::node::{Fixed, Node};
use super::peers::Peers;
use super::propose::{self, Proposals};
use super::service::Service;
use super::snapshots::Snapshots;
use super::status::WalJson;
use super::{Region, founding, import, stop, watch};
use crate::archive::Archive;

/// Entries after which a snapshot is made.
const SNAPSHOT_EVERY: u64 = 20_000;
/// Entries that stay in the log behind a snapshot: for nodes that were away for a while, and more than lie between two snapshots, so that the one
/// before a damaged newest one can still be built on.
const KEEP: u64 = 25_000;
/// Entries that leave the log at once.
const PURGE_BATCH: u64 = 256;
/// How many a node may lack before it gets a snapshot in place of entries. More than what is kept, since what is in the log is cheaper.
const LAG: u64 = SNAPSHOT_EVERY + KEEP;
/// How long a snapshot may take to be sent and installed, in milliseconds.
const SNAPSHOT_MILLIS: u64 = 30_000;
/// Entries in one call to a follower.
const CALL_ENTRIES: u64 = 1_024;
/// How many of the latest syncs are looked at for the status.
const SYNCS: usize = 100;
/// How often facts that wait for the log's next write are brought to disk.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// What a node is told of its record.
#[derive(Debug, Clone)]
pub struct RegionConfig {
    /// The record's folder.
    pub dir: PathBuf,
    /// The node's name in its region.
    pub name: Name,
    /// The region.
    pub region: Name,
    /// All nodes that the configuration names, this one among them, and where they are reached.
    pub configured: BTreeMap<Name, String>,
    /// For disks whose sync takes more than 20 ms: later elections.
    pub slow_disk: bool,
    /// Space held back for the log.
    pub ballast_bytes: u64,
    /// Below this free space only P0 is taken.
    pub low_space_bytes: u64,
    /// What it calls itself.
    pub software: String,
    /// Seed of what is random.
    pub seed: u64,
}

/// What a node's record needs around it.
pub(crate) struct Surroundings {
    pub(crate) link: Link,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) archive: Archive,
    pub(crate) handle: WeakHandle<Broker>,
    pub(crate) snapshots: SnapshotDesk,
}

/// Why a node's record cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The folder.
    #[error(transparent)]
    Folder(Box<FolderError>),
    /// The engine does not take what the folder holds.
    #[error("the record's engine cannot start: {0}")]
    Engine(String),
    /// A row of the former record.
    #[error(transparent)]
    Former(#[from] StoreError),
    /// A defect.
    #[error("opening the record came to no end: {0}")]
    Lost(String),
}

/// An opened record, whose engine does not run yet.
pub(crate) struct Opened {
    /// The region.
    pub(crate) region: Region,
    /// The record as of its newest snapshot; the machine begins with it, and hears of what came after.
    state: RecordState,
    proposals: Proposals,
    former: import::Former,
    seed: u64,
    handle: WeakHandle<Broker>,
}

/// The record's disk.
pub(crate) struct Disk {
    dir: PathBuf,
    wal: Mutex<Option<Wal>>,
    log: LogStore,
    pub(super) snapshots: Snapshots,
    latest: Mutex<WalHealth>,
    syncs: Arc<Mutex<Vec<Span>>>,
    needed: u64,
}

impl Disk {
    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// How it is now. Asks the file system.
    pub(crate) fn look(&self) -> WalHealth {
        let open = self.wal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wal) = open {
            *latest = wal.health();
        }
        latest.clone()
    }

    /// How it was at the last look.
    pub(crate) fn latest(&self) -> WalHealth {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is so much room that the log can be opened again.
    pub(crate) fn has_room(&self) -> bool {
        self.look().free > self.needed
    }

    /// Brings to disk what waits there for a better occasion.
    pub(crate) fn tend(&self) {
        self.log.tend();
    }

    /// Closes the log; waits for what is under way.
    pub(crate) async fn close(&self) {
        let wal = self.wal.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(wal) = wal {
            // A thread that does not end is the system's to end.
            let _ = tokio::task::spawn_blocking(move || wal.close()).await;
        }
    }

    pub(crate) fn json(&self) -> WalJson {
        let health = self.latest();
        let mut syncs = self.syncs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        syncs.sort_unstable();
        let held = self.log.size();
        let p99 = syncs.len().checked_sub(1 + syncs.len() / SYNCS).and_then(|at| syncs.get(at));
        WalJson {
            bytes: health.bytes,
            segments: health.segments,
            entries: held.entries,
            entry_bytes: held.bytes,
            free: health.free,
            low: health.low,
            sync_p99_ms: p99.map(|span| span.as_secs_f64() * 1e3),
        }
    }
}

/// How the engine is set up.
///
/// # Errors
/// The engine's words; a defect.
pub(crate) fn engine_config(region: &Name, slow_disk: bool) -> Result<Config, RegionError> {
    let (heartbeat, election) = if slow_disk { (100, (400, 700)) } else { (50, (200, 400)) };
    let config = Config {
        cluster_name: region.to_string(),
        heartbeat_interval: heartbeat,
        election_timeout_min: election.0,
        election_timeout_max: election.1,
        // Without it a node that was cut off deposes a sound leader when it comes back.
        enable_pre_vote: Some(true),
        // A restarted leader must not go on under its old vote: what it had applied is not durable by itself.
        enable_leader_restore: Some(false),
        install_snapshot_timeout: SNAPSHOT_MILLIS,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        max_in_snapshot_log_to_keep: KEEP,
        replication_lag_threshold: LAG,
        purge_batch_size: PURGE_BATCH,
        max_payload_entries: CALL_ENTRIES,
        backoff: "20ms 50ms 100ms 200ms 500ms".to_owned(),
        ..Config::default()
    };
    config.validate().map_err(|error| RegionError::Engine(error.to_string()))
}

impl Region {
    /// Opens a node's record, makes a new one in an empty folder, and gets ready to answer the other nodes.
    ///
    /// # Errors
    /// [`RegionError`]
    pub(crate) async fn open(config: RegionConfig, around: Surroundings) -> Result<Opened, RegionError> {
        let mut rng = Rng::new(by_the_system(config.seed));
        let syncs = Arc::new(Mutex::new(Vec::new()));
        let folder = open_folder(&config, fresh_store(&mut rng), syncs.clone()).await?;
        let engine = Arc::new(engine_config(&config.region, config.slow_disk)?);
        let former = import::read(&around.store)?;
        let (proposer, proposals) = propose::channel();
        let machine = folder.machine(LoopReplica::new(around.handle.clone(), around.snapshots));
        let RecordFolder { store, wal, log, snapshots, progress, state } = folder;
        let peers = Peers::new(around.link.clone(), config.region.clone(), store, progress.clone());
        let network = Factory::new(peers.clone(), store.0);
        let raft = Raft::build(store.0, engine, network, log.clone(), machine).await;
        let raft = raft.map_err(|fatal| RegionError::Engine(progress.fault().unwrap_or_else(|| fatal.to_string())))?;
        let disk = Arc::new(Disk {
            dir: config.dir,
            latest: Mutex::new(wal.health()),
            wal: Mutex::new(Some(wal)),
            log: log.clone(),
            snapshots: snapshots.clone(),
            syncs,
            needed: config.ballast_bytes.saturating_mul(2).max(8 << 20),
        });
        let low = disk.clone();
        let node = Node::new(Fixed {
            raft,
            name: config.name,
            region: config.region.clone(),
            store,
            configured: config.configured,
            software: config.software,
            clock: around.clock,
            peers,
            proposer,
            progress,
            log,
            low: Box::new(move || low.latest().low),
        });
        let service = Service::new(node.clone(), snapshots, around.archive, around.handle.clone());
        let region = config.region;
        let accept = move |identity: &huxiao_core::Identity| matches!(&identity.node, NodeName::Broker { region: theirs, .. } if *theirs == region);
        around.link.serve_peers(Arc::new(accept), Arc::new(service));
        let region = Region { node, disk };
        Ok(Opened { region, state, proposals, former, seed: rng.next_u64(), handle: around.handle })
    }
}

impl Opened {
    /// The record as of its newest snapshot, once.
    pub(crate) fn take_state(&mut self) -> RecordState {
        std::mem::replace(&mut self.state, RecordState::new(RecordLimits::default()))
    }

    /// Sets the engine going. Gives what must run as long as the node does; the last of them says why the record cannot go on.
    pub(crate) fn start(
        self,
        check: Check,
        shutdown: &Shutdown,
    ) -> (Vec<Part>, impl Future<Output = Result<(), String>> + use<>) {
        let Opened { region: Region { node, disk }, proposals, former, seed, handle, .. } = self;
        node.raft().run();
        let told = watch::Told { handle: handle.clone(), check, seed };
        let parts: Vec<Part> = vec![
            Box::pin(watch::run(node.clone(), told, shutdown.clone())),
            Box::pin(bring(proposals, node.clone(), handle, shutdown.clone())),
            Box::pin(begin(former, node.clone(), shutdown.clone())),
            Box::pin(tend(disk.clone(), shutdown.clone())),
        ];
        (parts, stop::run(node, disk, shutdown.clone()))
    }
}

/// Something that runs as long as the node does.
pub(crate) type Part = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn bring(proposals: Proposals, node: Arc<Node>, handle: WeakHandle<Broker>, shutdown: Shutdown) {
    tokio::select! {
        () = shutdown.over() => {}
        () = proposals.run(node, handle) => shutdown.over().await,
    }
}

/// Founding, and what was kept before there was a region.
async fn begin(former: import::Former, node: Arc<Node>, shutdown: Shutdown) {
    founding::run(node.clone(), shutdown.clone()).await;
    former.run(node, shutdown.clone()).await;
    shutdown.wait().await;
}

async fn tend(disk: Arc<Disk>, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(TEND_EVERY);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        disk.tend();
        let health = disk.latest();
        metric::set(Gauge::RecordWalBytes, &[], bytes(health.bytes));
        metric::set(Gauge::RecordWalFree, &[], bytes(health.free));
    }
}

async fn open_folder(
    config: &RegionConfig,
    fresh: StoreId,
    syncs: Arc<Mutex<Vec<Span>>>,
) -> Result<RecordFolder, RegionError> {
    let observe = move |observation: WalObservation| {
        if let WalObservation::Synced { took, .. } = observation {
            metric::observe(Histogram::RecordSync, &[], took.as_secs_f64());
            let mut latest = syncs.lock().unwrap_or_else(PoisonError::into_inner);
            if latest.len() == SYNCS {
                latest.remove(0);
            }
            latest.push(took);
        }
    };
    let wal = WalConfig {
        ballast_bytes: config.ballast_bytes,
        low_space_bytes: config.low_space_bytes,
        observe: Some(Arc::new(observe)),
        ..WalConfig::default()
    };
    let folder = FolderConfig { node: config.name.clone(), fresh, wal, limits: RecordLimits::default() };
    let dir = config.dir.clone();
    // Reads all of the log and waits for the disk: not on a thread that others need.
    let opened = tokio::task::spawn_blocking(move || RecordFolder::open(&dir, folder)).await;
    let opened = opened.map_err(|error| RegionError::Lost(error.to_string()))?;
    opened.map_err(|error| RegionError::Folder(Box::new(error)))
}

/// A number that no start has twice, whatever seed it was given: a wiped node must never get its former store's id again.
pub(crate) fn by_the_system(seed: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Keyed by the system's random source, once in a process, and counted up from there.
    RandomState::new().hash_one(seed)
}

/// The id of a new store: never 0, which on the wire means none.
pub(crate) fn fresh_store(rng: &mut Rng) -> StoreId {
    StoreId(rng.next_u64().max(1))
}

#[expect(clippy::cast_precision_loss, reason = "a disk of 2^53 bytes is some years away")]
fn bytes(count: u64) -> f64 {
    count as f64
}
