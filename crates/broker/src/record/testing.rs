//! Several nodes of a region in one process, without the broker's loop and without sockets: the engine, the real log and snapshots
//! on disk, and between the nodes lines that can be cut and slowed.
//!
//! Invariant: what a line does not deliver is an error to the sender, as it is on a real one; nothing is delivered twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use huxiao_core::case::{Action, ActionId, CaseOrder};
use huxiao_core::record::{Admission, Command, Image, RecordLimits, RecordState};
use huxiao_core::{
    Event, EventId, Kind, Mode, Name, NodeName, Receipt, RecordId, RelayId, SeatId, Stage, Standing, Text, Trail,
    WallTime,
};
use huxiao_store::wal::{WalConfig, WalError, WalObservation};
use huxiao_wire::cluster::StoreId;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use openraft::{Config, Raft, SnapshotPolicy};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::folder::{FolderConfig, FolderError, RecordFolder};
use super::log::LogStore;
use super::machine::{Machine, Progress, Replica};
use super::snapshots::{SnapshotFile, Snapshots};
use super::types::{Member, Proposal, TypeConfig};

/// How long anything may take here, on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Finished events that a record holds here.
pub(crate) const FINISHED: usize = 50;

impl Default for Member {
    /// For the engine's own suite, which makes members of nothing.
    fn default() -> Self {
        Self { name: "b1".to_owned(), addr: "127.0.0.1:7443".to_owned() }
    }
}

fn wall(number: u64) -> WallTime {
    WallTime(number.try_into().unwrap())
}

/// The event with this number.
pub(crate) fn event_id(number: u64) -> EventId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    EventId::from_bytes(bytes)
}

/// Its admission.
pub(crate) fn admit(number: u64) -> Command {
    let event = Event {
        id: event_id(number),
        relay: RelayId { school: format!("s{}", number % 7).parse().unwrap(), device: "gate".parse().unwrap() },
        epoch: 1,
        seq: number,
        kind: Kind::Panic,
        class: Kind::Panic.class().unwrap(),
        mode: Mode::Live,
        device: None,
        zone: None,
        note: Text::default(),
        raised_at: wall(number),
        count: 1,
        details: huxiao_core::Details::default(),
    };
    Command::Admit(Admission {
        sealed: huxiao_wire::seal(&event),
        trail: Trail::default(),
        at: wall(number),
        by: "broker/r1/b1".parse().unwrap(),
        stations: vec!["p1".parse().unwrap()],
        owed: false,
        joins: false,
    })
}

/// What a seat says of it.
pub(crate) fn note(number: u64, stage: Stage, seat: &str) -> Command {
    Command::Note(Receipt {
        event: event_id(number),
        stage,
        at: wall(number + 1),
        by: NodeName::Station(SeatId { station: "p1".parse().unwrap(), seat: Name::new(seat).unwrap() }),
        officer: None,
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    })
}

/// A long note about its case.
pub(crate) fn case_note(number: u64, note: u32) -> Command {
    let mut id = [9; 16];
    id[..4].copy_from_slice(&note.to_be_bytes());
    let order = CaseOrder {
        id: ActionId(id),
        event: event_id(number),
        action: Action::Note,
        by: NodeName::Station(SeatId { station: "p1".parse().unwrap(), seat: Name::new("d1").unwrap() }),
        officer: Name::new("014").unwrap(),
        at: wall(number + 2),
        note: Text::new(&"记".repeat(100)).unwrap(),
    };
    Command::Case { order: Box::new(order), heard: wall(number + 3) }
}

/// The first command of a record.
pub(crate) fn found() -> Command {
    Command::Found { record: RecordId([7; 16]) }
}

/// What the engine orders.
pub(crate) fn proposal(command: &Command) -> Proposal {
    Proposal(huxiao_wire::encode_command(command).into())
}

/// A record that hides nothing behind a loop.
pub(crate) struct Held {
    state: Mutex<RecordState>,
    pub(crate) replayed: AtomicU64,
    pub(crate) restored: AtomicU64,
}

impl Held {
    pub(crate) fn new(state: RecordState) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(state), replayed: AtomicU64::new(0), restored: AtomicU64::new(0) })
    }

    pub(crate) fn image(&self) -> Image {
        self.state.lock().unwrap().image()
    }
}

impl Replica for Arc<Held> {
    fn committed(&self, index: u64, command: Command, replayed: bool) -> io::Result<()> {
        self.replayed.fetch_add(u64::from(replayed), Ordering::Relaxed);
        let mut state = self.state.lock().unwrap();
        assert!(index > state.last_index(), "entry {index} again, or too late");
        state.apply(index, command);
        Ok(())
    }

    fn restored(&self, state: RecordState) -> io::Result<()> {
        self.restored.fetch_add(1, Ordering::Relaxed);
        *self.state.lock().unwrap() = state;
        Ok(())
    }

    fn snapshot(&self) -> io::Result<oneshot::Receiver<Box<RecordState>>> {
        let (sender, receiver) = oneshot::channel();
        let _ = sender.send(Box::new(self.state.lock().unwrap().clone()));
        Ok(receiver)
    }
}

/// An engine without a broker around it.
pub(crate) type Engine = Raft<TypeConfig, Machine<Arc<Held>>>;

/// The lines between the nodes.
#[derive(Clone, Default)]
pub(crate) struct Router {
    wires: Arc<Mutex<Wires>>,
}

#[derive(Default)]
struct Wires {
    nodes: BTreeMap<u64, (Engine, Snapshots)>,
    cut: BTreeSet<(u64, u64)>,
    delay: Duration,
}

impl Router {
    /// Cuts a node off from all others, or puts it back.
    pub(crate) fn isolate(&self, node: u64, cut: bool) {
        let mut wires = self.wires.lock().unwrap();
        for other in (1..=5).filter(|other| *other != node) {
            for way in [(node, other), (other, node)] {
                if cut {
                    wires.cut.insert(way)
                } else {
                    wires.cut.remove(&way)
                };
            }
        }
    }

    /// How long each delivery takes, each way.
    pub(crate) fn delay(&self, delay: Duration) {
        self.wires.lock().unwrap().delay = delay;
    }

    /// Something goes one way, if it can; the node at the end.
    async fn pass(&self, from: u64, to: u64, end: u64) -> Result<(Engine, Snapshots), Unreachable<TypeConfig>> {
        let delay = self.wires.lock().unwrap().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let wires = self.wires.lock().unwrap();
        let lost = io::Error::from(io::ErrorKind::HostUnreachable);
        let cut = wires.cut.contains(&(from, to));
        wires.nodes.get(&end).filter(|_| !cut).cloned().ok_or_else(|| Unreachable::new(&lost))
    }
}

/// Where a node's lines begin.
struct Port {
    router: Router,
    me: u64,
}

impl RaftNetworkFactory<TypeConfig> for Port {
    type Network = Line;

    async fn new_client(&mut self, to: u64, _: &Member) -> Line {
        Line { router: self.router.clone(), from: self.me, to }
    }
}

/// The line between two nodes, as one of them sees it.
struct Line {
    router: Router,
    from: u64,
    to: u64,
}

impl Line {
    async fn there(&self) -> Result<(Engine, Snapshots), Unreachable<TypeConfig>> {
        self.router.pass(self.from, self.to, self.to).await
    }

    async fn back<T, E>(&self, answer: Result<T, E>) -> Result<T, RPCError<TypeConfig>>
    where
        E: std::error::Error + 'static,
    {
        self.router.pass(self.to, self.from, self.from).await?;
        answer.map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }
}

impl RaftNetworkV2<TypeConfig> for Line {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let (node, _) = self.there().await?;
        self.back(node.append_entries(rpc).await).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let (node, _) = self.there().await?;
        self.back(node.vote(rpc).await).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let (node, _) = self.there().await?;
        self.back(node.pre_vote(rpc).await).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let (node, snapshots) = self.there().await?;
        let Snapshot { meta, snapshot: file } = snapshot;
        let body = file.read().await.map_err(|error| Unreachable::new(&error))?;
        let received = snapshots.receive(body, file.bytes(), file.sha256()).await;
        let snapshot = Snapshot { meta, snapshot: received.map_err(|error| Unreachable::new(&error))? };
        Ok(self.back(node.install_full_snapshot(vote, snapshot).await).await?)
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let (node, _) = self.there().await?;
        self.back(node.handle_transfer_leader(req).await).await
    }
}

/// One node.
pub(crate) struct Running {
    pub(crate) raft: Engine,
    pub(crate) held: Arc<Held>,
    pub(crate) log: LogStore,
    pub(crate) progress: Progress,
    pub(crate) snapshots: Snapshots,
    /// Milliseconds that each sync of its log takes longer.
    pub(crate) slow: Arc<AtomicU64>,
}

/// A region, each node with a folder of its own.
pub(crate) struct Nodes {
    dir: TempDir,
    pub(crate) router: Router,
    pub(crate) running: BTreeMap<u64, Running>,
}

impl Nodes {
    /// So many nodes that run and are not a region yet.
    pub(crate) async fn start_all(count: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut nodes = Self { dir, router: Router::default(), running: BTreeMap::new() };
        for id in 1..=count {
            nodes.start(id).await;
        }
        nodes
    }

    /// So many nodes that are a region, with the record's first command in it.
    pub(crate) async fn found(count: u64) -> Self {
        let nodes = Self::start_all(count).await;
        let member = |id| (id, Member { name: format!("b{id}"), addr: format!("127.0.0.{id}:7443") });
        let members: BTreeMap<u64, Member> = (1..=count).map(member).collect();
        nodes.running[&1].raft.initialize(members).await.unwrap();
        nodes.write(&found()).await;
        nodes
    }

    /// The folder of a node.
    pub(crate) fn folder(&self, id: u64) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    /// Opens a node's folder as its start does, once its last run has let go of it.
    pub(crate) fn open(&self, id: u64, slow: &Arc<AtomicU64>) -> RecordFolder {
        let slow = slow.clone();
        let observe = move |observation| {
            if matches!(observation, WalObservation::Synced { .. }) {
                std::thread::sleep(Duration::from_millis(slow.load(Ordering::Relaxed)));
            }
        };
        let wal = WalConfig {
            segment_bytes: 16 * 1_024,
            ballast_bytes: 0,
            low_space_bytes: 0,
            observe: Some(Arc::new(observe)),
            ..WalConfig::default()
        };
        let began = std::time::Instant::now();
        loop {
            let limits = RecordLimits { finished: FINISHED, open_cases: FINISHED, ..RecordLimits::default() };
            let node = format!("b{id}").parse().unwrap();
            let config = FolderConfig { node, fresh: StoreId(id), wal: wal.clone(), limits };
            match RecordFolder::open(&self.folder(id), config) {
                Ok(folder) => return folder,
                Err(FolderError::Wal(WalError::InUse(_))) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Starts a node.
    pub(crate) async fn start(&mut self, id: u64) {
        let slow = Arc::new(AtomicU64::new(0));
        let folder = self.open(id, &slow);
        let config = Config {
            heartbeat_interval: 60,
            election_timeout_min: 400,
            election_timeout_max: 800,
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false),
            install_snapshot_timeout: 30_000,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(100),
            max_in_snapshot_log_to_keep: 30,
            replication_lag_threshold: 50,
            purge_batch_size: 16,
            ..Config::default()
        };
        let held = Held::new(folder.state.clone());
        let machine = folder.machine(held.clone());
        let port = Port { router: self.router.clone(), me: id };
        let config = Arc::new(config.validate().unwrap());
        let raft = Raft::new(id, config, port, folder.log.clone(), machine).await.unwrap();
        let RecordFolder { log, progress, snapshots, .. } = folder;
        self.router.wires.lock().unwrap().nodes.insert(id, (raft.clone(), snapshots.clone()));
        self.running.insert(id, Running { raft, held, log, progress, snapshots, slow });
    }

    /// Stops a node. Its folder stays.
    pub(crate) async fn stop(&mut self, id: u64) {
        self.router.wires.lock().unwrap().nodes.remove(&id);
        let node = self.running.remove(&id).unwrap();
        node.raft.shutdown().await.unwrap();
    }

    /// Waits for a leader that others of `among` follow too, and gives it.
    pub(crate) async fn leader(&self, among: &[u64]) -> u64 {
        let wanted = among.len() / 2 + 1;
        until("a leader", || {
            let mut follow: BTreeMap<u64, usize> = BTreeMap::new();
            for id in among {
                let leader = self.running[id].raft.metrics().borrow_watched().current_leader;
                if let Some(leader) = leader.filter(|leader| among.contains(leader)) {
                    *follow.entry(leader).or_default() += 1;
                }
            }
            follow.into_iter().find(|(_, count)| *count >= wanted).map(|(leader, _)| leader)
        })
        .await
    }

    /// Brings a command into the record by whoever leads.
    pub(crate) async fn write(&self, command: &Command) {
        self.write_among(command, &self.running.keys().copied().collect::<Vec<_>>()).await;
    }

    /// The same, by one of these.
    pub(crate) async fn write_among(&self, command: &Command, among: &[u64]) {
        let began = tokio::time::Instant::now();
        loop {
            let leader = self.leader(among).await;
            let write = self.running[&leader].raft.client_write(proposal(command));
            if matches!(tokio::time::timeout(Duration::from_secs(3), write).await, Ok(Ok(_))) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{command:?} does not get into the record");
        }
    }

    /// Waits until all running nodes have the same record and the same log's end, and gives the record.
    pub(crate) async fn agree(&self) -> Image {
        until("one record on all nodes", || {
            let mut images =
                self.running.values().map(|node| (node.held.image(), node.log.last(), node.progress.applied()));
            let first = images.next()?;
            (images.all(|image| image == first) && first.1 == first.2).then_some(first.0)
        })
        .await
    }
}

/// Waits for something.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = tokio::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "still no {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
