//! How a node's part of the record comes to its end, when it is asked to and when its disk gives out.
//!
//! Invariants: a leader that is asked to stop hands its office over first, so that nobody waits for an election. The log is closed after the
//! engine, and the engine stopped after the machine's last proposal. A node whose record cannot go on ends with a status that its
//! supervisor sees; with a full disk it stays as long as the disk is full, since alarms still pass through it.

use std::sync::Arc;
use std::time::Duration;

use huxiao_core::Timestamp;
use huxiao_runtime::shutdown::Shutdown;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::node::Node;
use super::open::Disk;

/// How often the disk is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long handing over the lead may take at a stop.
const HAND_OVER: Duration = Duration::from_millis(500);
/// How long the engine may take to stop.
const ENGINE: Duration = Duration::from_secs(3);

/// Watches over the engine and its disk until the node stops, and ends them.
///
/// # Errors
/// The record cannot go on, and why: the node must be started again.
pub(crate) async fn run(node: Arc<Node>, disk: Arc<Disk>, shutdown: Shutdown) -> Result<(), String> {
    let broken = tokio::select! {
        () = shutdown.wait() => None,
        why = broken(&node, &disk) => Some(why),
    };
    if broken.is_none() {
        if let Some(heir) = heir(&node) {
            hand_over(&node, heir).await;
        }
        shutdown.over().await;
    }
    if timeout(ENGINE, node.raft().shutdown()).await.is_err() {
        tracing::warn!("the record's engine did not stop in time");
    }
    disk.close().await;
    broken.map_or(Ok(()), Err)
}

/// Waits until the record cannot go on here; gives why.
async fn broken(node: &Node, disk: &Disk) -> String {
    let mut tick = interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let health = disk.look();
        if let Some(why) = health.poisoned {
            node.stop(&format!("the record's disk failed: {why}"));
            return format!("the record's disk failed: {why}");
        }
        if health.full {
            return full(node, disk).await;
        }
        if let Some(why) = node.stopped() {
            return format!("the record's engine stopped: {why}");
        }
    }
}

/// The disk is full: the node carries alarms without the record until there is room, and is started again then.
async fn full(node: &Node, disk: &Disk) -> String {
    node.stop("the disk of the record is full: free some space, the node then starts again by itself");
    tracing::error!(dir = %disk.dir().display(), "the disk of the record is full: alarms still pass, nothing is stored here; free some space");
    if timeout(ENGINE, node.raft().shutdown()).await.is_err() {
        tracing::warn!("the record's engine did not stop in time");
    }
    while !disk.has_room() {
        sleep(LOOK * 4).await;
    }
    "there is room on the record's disk again".to_owned()
}

/// Who should lead after this node: the voter that has most of those that answer.
fn heir(node: &Node) -> Option<u64> {
    if !node.leads() {
        return None;
    }
    let figures = node.figures();
    let replication = figures.replication.as_ref()?;
    let others = figures.membership_config.voter_ids().filter(|id| *id != figures.id && node.answers(&figures, *id));
    others.max_by_key(|id| replication.get(id).copied().flatten().map(|matched| matched.index))
}

async fn hand_over(node: &Node, heir: u64) {
    let began: Timestamp = node.fixed.clock.timestamp();
    if let Err(error) = node.raft().trigger().transfer_leader(heir).await {
        tracing::debug!(%error, "the lead could not be handed over");
        return;
    }
    let until = Instant::now() + HAND_OVER;
    while node.figures().current_leader == Some(node.id()) {
        if Instant::now() > until {
            tracing::warn!(to = node.name_of(heir), "the lead was not taken over in time; the others elect");
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    let took = node.fixed.clock.timestamp().since(began);
    tracing::info!(to = node.name_of(heir), ?took, "the lead is handed over");
}
