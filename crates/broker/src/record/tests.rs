//! The engine on the real log and real snapshots: its own suite, and regions of three nodes that are cut, slowed, stopped and left
//! behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use huxiao_core::Stage;
use huxiao_core::record::{Command, Image, RecordLimits};
use huxiao_store::wal::{WalConfig, WalError};
use huxiao_wire::cluster::StoreId;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::folder::{FolderConfig, FolderError, RecordFolder};
use super::log::LogStore;
use super::machine::Machine;
use super::testing::{FINISHED, Held, Nodes, admit, event_id, note, proposal, until};
use super::types::{Proposal, TypeConfig};

/// Makes the real stores, each in a folder of its own.
struct Real;

impl StoreBuilder<TypeConfig, LogStore, Machine<Arc<Held>>, TempDir> for Real {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine<Arc<Held>>), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let config = FolderConfig {
            node: "b1".parse().unwrap(),
            fresh: StoreId(1),
            wal: WalConfig { ballast_bytes: 0, segment_bytes: 4_096, ..WalConfig::default() },
            limits: RecordLimits::default(),
        };
        let folder = RecordFolder::open(dir.path(), config).unwrap();
        let machine = folder.machine(Held::new(folder.state.clone()));
        Ok((dir, folder.log, machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_own_suite_passes_on_the_real_stores() {
    Suite::<TypeConfig, LogStore, Machine<Arc<Held>>, Real, TempDir>::test_all(Real).await.unwrap();
}

/// An event, and an officer who has it.
fn event(number: u64) -> [Command; 2] {
    [admit(number), note(number, Stage::Acknowledged, "d1")]
}

async fn write(nodes: &Nodes, numbers: impl Iterator<Item = u64>) {
    for command in numbers.flat_map(event) {
        nodes.write(&command).await;
    }
}

/// Whether the record has had all these events.
fn has(image: &Image, numbers: impl Iterator<Item = u64>) -> bool {
    let held = |id| image.entries.iter().any(|entry| entry.admission.sealed.event.id == id);
    numbers.map(event_id).all(|id| held(id) || image.archived_ids.contains(&id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_have_one_record_and_have_it_again_after_a_restart_of_all() {
    let mut nodes = Nodes::found(3).await;
    write(&nodes, 1..=40).await;
    let before = nodes.agree().await;
    assert!(has(&before, 1..=40) && before.record.is_some());
    for id in 1..=3 {
        nodes.running[&id].log.tend();
        nodes.stop(id).await;
    }
    for id in 1..=3 {
        nodes.start(id).await;
        let node = &nodes.running[&id];
        assert_eq!(node.held.image(), before, "a node knows what was committed before it asks anybody");
        assert_eq!(node.held.replayed.load(Ordering::Relaxed), 81);
        assert_eq!(node.progress.record(), before.record);
    }
    write(&nodes, 41..=45).await;
    let after = nodes.agree().await;
    assert!(has(&after, 1..=45));
    assert!(nodes.running.values().all(|node| node.held.replayed.load(Ordering::Relaxed) == 81), "news is no repeat");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_commits_nothing_and_the_others_go_on() {
    let nodes = Nodes::found(3).await;
    nodes.router.delay(Duration::from_millis(2));
    write(&nodes, 1..=5).await;
    let old = nodes.leader(&[1, 2, 3]).await;
    nodes.router.isolate(old, true);
    // Handed to the old leader at the moment of the cut: nobody knows what becomes of it.
    let raft = nodes.running[&old].raft.clone();
    let doubtful = tokio::spawn(async move { raft.client_write(proposal(&admit(100))).await });
    let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
    nodes.leader(&others).await;
    for command in (6..=15).flat_map(event) {
        nodes.write_among(&command, &others).await;
    }
    let cut_off = nodes.running[&old].held.image();
    assert!(!has(&cut_off, 6..=6) && !has(&cut_off, 100..=100), "without a quorum nothing is committed");
    nodes.router.isolate(old, false);
    let after = nodes.agree().await;
    assert!(has(&after, 1..=15));
    // What the new leader's entries took the place of is said to be so.
    if let Ok(answer) = tokio::time::timeout(Duration::from_secs(10), doubtful).await {
        assert_eq!(answer.unwrap().is_ok(), has(&after, 100..=100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_left_far_behind_gets_a_snapshot_and_goes_on_from_it() {
    let mut nodes = Nodes::found(3).await;
    write(&nodes, 1..=5).await;
    nodes.agree().await;
    nodes.stop(3).await;
    write(&nodes, 6..=90).await;
    let end = nodes.open(3, &Arc::default()).log.last();
    // A snapshot comes first, and what a call to the stopped node holds on to stays until that has failed.
    let gone = || [1, 2].iter().all(|id| nodes.running[id].log.purged() > end).then_some(());
    until("logs that begin behind the end of the stopped node's", gone).await;
    nodes.start(3).await;
    let image = nodes.agree().await;
    assert!(has(&image, 1..=90) && image.archived == 90 - FINISHED as u64);
    assert!(nodes.running[&3].held.restored.load(Ordering::Relaxed) > 0);
    // What came by snapshot is as durable as what came by the log.
    nodes.running[&3].log.tend();
    nodes.stop(3).await;
    nodes.start(3).await;
    assert_eq!(nodes.running[&3].held.image(), image);
    write(&nodes, 91..=92).await;
    nodes.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_between_the_installing_and_the_purging_goes_on_from_the_snapshot() {
    let mut nodes = Nodes::found(3).await;
    write(&nodes, 1..=5).await;
    nodes.agree().await;
    nodes.stop(3).await;
    write(&nodes, 6..=70).await;
    let leader = nodes.leader(&[1, 2]).await;
    let (meta, file) = until("a snapshot", || nodes.running[&leader].snapshots.current()).await;
    {
        let folder = nodes.open(3, &Arc::default());
        // Half of it comes, and the line breaks.
        let half = file.read().await.unwrap().take(file.bytes() / 2);
        folder.snapshots.receive(half, file.bytes(), file.sha256()).await.unwrap_err();
        assert!(folder.snapshots.current().is_none());
        // All of it comes, and the power goes before anything else happens.
        let whole = folder.snapshots.receive(file.read().await.unwrap(), file.bytes(), file.sha256()).await.unwrap();
        folder.snapshots.install(&meta, &whole).unwrap();
        assert!(folder.log.last() < meta.last_log_id);
    }
    nodes.start(3).await;
    assert!(nodes.running[&3].progress.applied() >= meta.last_log_id);
    assert_eq!(nodes.running[&3].log.purged(), meta.last_log_id, "the log has no hole");
    write(&nodes, 71..=72).await;
    assert!(has(&nodes.agree().await, 1..=72));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slow_disk_of_three_holds_up_nobody() {
    let nodes = Nodes::found(3).await;
    let leader = nodes.leader(&[1, 2, 3]).await;
    nodes.running[&leader].slow.store(300, Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    write(&nodes, 1..=50).await;
    // Were each of the hundred to wait for that disk, it would take twice as long.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(has(&nodes.agree().await, 1..=50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_this_version_does_not_know_stops_the_record_and_is_never_skipped() {
    let mut nodes = Nodes::found(1).await;
    write(&nodes, 1..=3).await;
    let before = nodes.agree().await;
    let unknown = Proposal(vec![1, 0xFA, 0x7F, 0].into());
    nodes.running[&1].raft.client_write(unknown).await.unwrap_err();
    let fault = until("words", || nodes.running[&1].progress.fault()).await;
    assert!(fault.contains("entry") && fault.contains("cannot be applied by this version"), "{fault}");
    nodes.running[&1].raft.client_write(proposal(&admit(9))).await.unwrap_err();
    assert_eq!(nodes.running[&1].held.image(), before);
    let _ = nodes.running[&1].raft.shutdown().await;
    nodes.running.remove(&1);
    let folder = nodes.open(1, &Arc::default());
    assert!(folder.log.last().unwrap().index > before.last_index, "it is in the log, for the version that knows it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_newest_snapshot_is_fallen_back_behind_only_while_the_log_reaches() {
    let mut nodes = Nodes::found(1).await;
    write(&nodes, 1..=110).await;
    let before = nodes.agree().await;
    let purged = || nodes.running[&1].log.purged().map_or(0, |purged| purged.index);
    until("a log that begins behind the first snapshot", || (purged() > 130).then_some(())).await;
    let last = nodes.running[&1].snapshots.current().unwrap().0.last_log_id;
    nodes.stop(1).await;
    let snapshots = nodes.folder(1).join("snapshots");
    let newest = std::fs::read_dir(&snapshots).unwrap().map(|file| file.unwrap().path()).max().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    // Here fewer entries are kept than lie between two snapshots.
    let config = || FolderConfig {
        node: "b1".parse().unwrap(),
        fresh: StoreId(9),
        wal: WalConfig { ballast_bytes: 0, ..WalConfig::default() },
        limits: RecordLimits { finished: FINISHED, open_cases: FINISHED, ..RecordLimits::default() },
    };
    let error = until("a folder that is let go of", || match RecordFolder::open(&nodes.folder(1), config()) {
        Err(FolderError::Wal(WalError::InUse(_))) => None,
        opened => opened.err(),
    })
    .await;
    assert!(matches!(error, FolderError::NotWhole { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("its log begins behind entry") && words.contains("huxiao cluster replace"), "{words}");
    // The file is kept for whoever can read it; put back whole, all is as it was.
    let mut bytes = std::fs::read(newest.with_extension("broken")).unwrap();
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    nodes.start(1).await;
    assert!(nodes.running[&1].progress.applied() >= last);
    assert_eq!(nodes.agree().await, before);
}
