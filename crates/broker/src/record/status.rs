//! How the region is, for people: `GET /v1/cluster`.

use std::collections::BTreeSet;

use huxiao_core::WallTime;
use huxiao_runtime::time_format::rfc3339;
use huxiao_wire::cluster::StoreId;
use openraft::ServerState;
use serde::Serialize;

use super::judge::Verdict;
use super::node::Node;

/// The region as one node sees it.
#[derive(Debug, Clone, Serialize)]
pub struct RegionStatus {
    /// Its name.
    pub region: String,
    /// The record's id, once it has one.
    pub record: Option<String>,
    /// The node that says so.
    pub me: String,
    /// Its store.
    pub store_id: String,
    /// What it is: leader, follower, candidate, learner, pristine or stopped.
    pub state: &'static str,
    /// Who leads, as far as it knows.
    pub leader: Option<String>,
    /// The term.
    pub term: u64,
    /// The last entry of its log.
    pub last_log: u64,
    /// The last entry that a quorum is known to have.
    pub committed: u64,
    /// The last entry that took effect here.
    pub applied: u64,
    /// The last entry of its newest snapshot.
    pub snapshot: Option<u64>,
    /// Entries up to this one are in no log any more.
    pub purged: Option<u64>,
    /// Why the record takes no commands; absent while it does.
    pub degraded: Option<DegradedJson>,
    /// Who belongs to the region.
    pub members: Vec<MemberJson>,
    /// The log on disk.
    pub wal: WalJson,
}

/// Why the record takes no commands.
#[derive(Debug, Clone, Serialize)]
pub struct DegradedJson {
    /// Since when, in RFC 3339.
    pub since: String,
    /// Why.
    pub why: String,
}

/// One node of the region.
#[derive(Debug, Clone, Serialize)]
pub struct MemberJson {
    /// Its name.
    pub name: String,
    /// Where the others reach it.
    pub addr: String,
    /// Its store.
    pub store_id: String,
    /// `voter` or `learner`.
    pub role: &'static str,
    /// Whether it leads.
    pub leads: bool,
    /// Whether it answers the node that says so.
    pub reachable: bool,
    /// Seconds since it was last heard; absent if it never was.
    pub silent_seconds: Option<f64>,
    /// The last entry that it is known to have; only the leader knows.
    pub matched: Option<u64>,
    /// Entries that it lacks; only the leader knows.
    pub lag: Option<u64>,
}

/// The log on disk.
#[derive(Debug, Clone, Serialize)]
pub struct WalJson {
    /// Bytes that it takes.
    pub bytes: u64,
    /// Files that it is in.
    pub segments: u64,
    /// Entries that the log still holds.
    pub entries: usize,
    /// Bytes of their commands, which are in memory too.
    pub entry_bytes: usize,
    /// Bytes free on its file system.
    pub free: u64,
    /// Whether space is so short that only P0 is taken.
    pub low: bool,
    /// Milliseconds that the slowest of the latest hundred syncs but one took.
    pub sync_p99_ms: Option<f64>,
}

/// The region as `node` sees it.
pub(crate) fn read(node: &Node, wal: WalJson) -> RegionStatus {
    let figures = node.figures();
    let now = node.fixed.clock.now();
    let state = match (node.stopped().is_some(), node.is_pristine(), figures.state) {
        (true, _, _) | (_, _, ServerState::Shutdown) => "stopped",
        (_, true, _) => "pristine",
        (_, _, ServerState::Leader) => "leader",
        (_, _, ServerState::Candidate) => "candidate",
        (_, _, ServerState::Follower) => "follower",
        (_, _, ServerState::Learner) => "learner",
    };
    let degraded = match node.verdict() {
        Some(Verdict::Degraded { since, why }) => {
            let ago = i64::try_from(now.mono.since(since).as_micros()).unwrap_or(i64::MAX);
            Some(DegradedJson { since: rfc3339(WallTime(now.wall.0.saturating_sub(ago))), why })
        }
        Some(Verdict::Sound) | None => None,
    };
    let membership = &figures.membership_config;
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let leader = if node.is_degraded() { None } else { figures.current_leader };
    let last = figures.last_log_index.unwrap_or(0);
    let mut members: Vec<_> = membership
        .nodes()
        .map(|(id, member)| {
            let own = *id == figures.id;
            let matched =
                figures.replication.as_ref().and_then(|all| all.get(id)).map(|id| id.map_or(0, |id| id.index));
            let matched = if own && figures.replication.is_some() { Some(last) } else { matched };
            let acked = figures.heartbeat.as_ref().and_then(|all| all.get(id)).and_then(Option::as_ref);
            let acked = acked.map(|acked| openraft::Instant::elapsed(&**acked));
            let silent = [acked, node.silent_for(*id)].into_iter().flatten().min();
            MemberJson {
                name: member.name.clone(),
                addr: member.addr.clone(),
                store_id: StoreId(*id).to_string(),
                role: if voters.contains(id) { "voter" } else { "learner" },
                leads: leader == Some(*id),
                reachable: node.answers(&figures, *id),
                silent_seconds: if own { None } else { silent.map(|silent| silent.as_secs_f64()) },
                matched,
                lag: matched.map(|matched| last.saturating_sub(matched)),
            }
        })
        .collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    RegionStatus {
        region: node.fixed.region.to_string(),
        record: node.record().map(|record| hex(&record.0)),
        me: node.fixed.name.to_string(),
        store_id: node.fixed.store.to_string(),
        state,
        leader: leader.map(|leader| node.name_of(leader)),
        term: figures.current_term,
        last_log: last,
        committed: figures.local_committed.map_or(0, |id| id.index),
        applied: figures.last_applied.map_or(0, |id| id.index),
        snapshot: figures.snapshot.map(|id| id.index),
        purged: figures.purged.map(|id| id.index),
        degraded,
        members,
        wal,
    }
}

/// A record's id as people see it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
