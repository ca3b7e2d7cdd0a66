//! What a link does, as metrics and lines of the status page.

use std::collections::{BTreeMap, BTreeSet};

use huxiao_core::{Carrier, Health, Lane, PathHealth, Role, Span};
use huxiao_link::peer::{PeerLane, PeerStats};
use huxiao_link::{Counters, Link, PathStats};
use serde::Serialize;

use crate::event_json::Words;
use crate::metric::{self, Counter, Gauge, Histogram};
use crate::shutdown::Shutdown;

/// How often the link's figures are read.
const EVERY: Span = Span::from_secs(2);

/// Keeps the link's metrics true until the node stops.
pub async fn watch(link: Link, own_role: Role, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(EVERY);
    let mut before = Counters::default();
    let mut called = BTreeSet::new();
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        let now = link.counters();
        count(&before, &now);
        before = now;
        show(&link.stats(), own_role);
        if own_role == Role::Broker {
            show_peers(&link.peers(), &mut called);
        }
    }
}

/// Several nodes may share one process, so counters are raised by what is new and not set.
fn count(before: &Counters, now: &Counters) {
    let outcomes = [
        ("failed", before.handshakes_failed, now.handshakes_failed),
        ("retried", before.handshakes_retried, now.handshakes_retried),
        ("evicted", before.handshakes_evicted, now.handshakes_evicted),
        ("refused", before.peers_refused, now.peers_refused),
        ("up", before.sessions_up, now.sessions_up),
        ("dial_failed", before.dials_failed, now.dials_failed),
        ("tcp_dial_failed", before.tcp_dials_failed, now.tcp_dials_failed),
        ("early_accepted", before.early_accepted, now.early_accepted),
        ("early_rejected", before.early_rejected, now.early_rejected),
    ];
    for (outcome, before, now) in outcomes {
        metric::add(Counter::Handshakes, &[outcome], now.saturating_sub(before));
    }
    let outcomes = [
        ("up", before.peers_up, now.peers_up),
        ("down", before.peers_down, now.peers_down),
        ("dial_failed", before.peer_dials_failed, now.peer_dials_failed),
    ];
    for (outcome, before, now) in outcomes {
        metric::add(Counter::PeerConnections, &[outcome], now.saturating_sub(before));
    }
    count_by_name(Counter::BadFrames, &before.bad_frames, &now.bad_frames);
    count_by_name(Counter::PeerCalls, &before.peer_calls, &now.peer_calls);
    count_by_name(Counter::PeerAnswers, &before.peer_answers, &now.peer_answers);
}

fn count_by_name(counter: Counter, before: &BTreeMap<&'static str, u64>, now: &BTreeMap<&'static str, u64>) {
    for (name, total) in now {
        let new = total.saturating_sub(before.get(name).copied().unwrap_or(0));
        metric::add(counter, &[name], new);
    }
}

/// The connections by which this node calls the others of its region. `called` are all that there were: one that has left the region
/// is down, not as it was when it left.
fn show_peers(stats: &[PeerStats], called: &mut BTreeSet<(String, PeerLane)>) {
    let now: BTreeMap<_, _> =
        stats.iter().filter_map(|peer| Some(((peer.node.to_string(), peer.lane?), peer.rtt))).collect();
    called.extend(now.keys().cloned());
    for (node, lane) in &*called {
        let rtt = now.get(&(node.clone(), *lane)).copied().flatten();
        let labels = [node.as_str(), lane.as_str()];
        metric::set(Gauge::PeerUp, &labels, f64::from(u8::from(rtt.is_some())));
        metric::set(Gauge::PeerRoundTrip, &labels, rtt.map_or(f64::NAN, |rtt| rtt.as_secs_f64()));
    }
}

fn show(stats: &[PathStats], own_role: Role) {
    let mut open: BTreeMap<(Role, Lane, Carrier), u32> = BTreeMap::new();
    // Roles that this one never meets would only be noise at zero.
    let peers: &[Role] = if own_role == Role::Broker { &[Role::Relay, Role::Station] } else { &[Role::Broker] };
    for role in peers {
        for carrier in [Carrier::Quic, Carrier::Tcp] {
            open.extend([Lane::Express, Lane::Bulk].map(|lane| ((*role, lane, carrier), 0)));
        }
    }
    for path in stats {
        *open.entry((path.peer.identity.node.role(), path.info.lane, path.info.carrier)).or_default() += 1;
        if let Some(rtt) = path.rtt {
            metric::observe(Histogram::PathRtt, &[], rtt.as_secs_f64());
        }
    }
    for ((role, lane, carrier), count) in open {
        metric::set(Gauge::Sessions, &[role.as_str(), lane.as_str(), carrier.as_str()], f64::from(count));
    }
}

/// One session on the status page.
#[derive(Debug, Clone, Serialize)]
pub struct PathJson {
    peer: String,
    lane: &'static str,
    carrier: &'static str,
    uplink: u16,
    cost: &'static str,
    remote: String,
    early: bool,
    certificate: &'static str,
    rtt_seconds: Option<f64>,
    since_seconds: f64,
    sent_bytes: u64,
    received_bytes: u64,
    lost_packets: u64,
}

/// The link's sessions for the status page.
#[must_use]
pub fn paths(link: &Link) -> Vec<PathJson> {
    let json = |path: PathStats| PathJson {
        peer: path.peer.identity.node.to_string(),
        lane: path.info.lane.as_str(),
        carrier: path.info.carrier.as_str(),
        uplink: path.info.uplink.0,
        cost: path.info.cost.as_str(),
        remote: path.remote.to_string(),
        early: path.early,
        certificate: path.peer.validity.as_str(),
        rtt_seconds: path.rtt.map(|rtt| rtt.as_secs_f64()),
        since_seconds: path.since.as_secs_f64(),
        sent_bytes: path.sent_bytes,
        received_bytes: path.received_bytes,
        lost_packets: path.lost,
    };
    link.stats().into_iter().map(json).collect()
}

/// A connection with another node of the region on the status page.
#[derive(Debug, Clone, Serialize)]
pub struct PeerJson {
    node: String,
    /// `quick` or `heavy` for one by which this node calls; `null` for one by which it is called.
    lane: Option<&'static str>,
    addr: String,
    up: bool,
    problem: Option<String>,
    rtt_seconds: Option<f64>,
    since_seconds: Option<f64>,
    sent_bytes: u64,
    received_bytes: u64,
    lost_packets: u64,
}

/// The link's connections with the other nodes of the region for the status page.
#[must_use]
pub fn peers(link: &Link) -> Vec<PeerJson> {
    let json = |peer: PeerStats| PeerJson {
        node: peer.node.to_string(),
        lane: peer.lane.map(PeerLane::as_str),
        addr: peer.addr,
        up: peer.up,
        problem: peer.problem,
        rtt_seconds: peer.rtt.map(|rtt| rtt.as_secs_f64()),
        since_seconds: peer.since.map(|since| since.as_secs_f64()),
        sent_bytes: peer.sent_bytes,
        received_bytes: peer.received_bytes,
        lost_packets: peer.lost,
    };
    link.peers().into_iter().map(json).collect()
}

/// How a way to a broker node is, by its probes. What is not known is `null`.
#[derive(Debug, Clone, Serialize)]
pub struct HealthJson {
    /// `healthy`, `silent`, `unproven`, or `absent` without a session.
    pub health: &'static str,
    /// The same for people.
    pub health_text: Words,
    /// What carries the session.
    pub carrier: Option<&'static str>,
    /// The round trip of the probes.
    pub rtt_seconds: Option<f64>,
    /// The share of the latest probes that did not come back, both directions together.
    pub loss_ratio: Option<f64>,
    /// How long ago anything was heard.
    pub silence_seconds: Option<f64>,
    /// By how much this node's clock is ahead of the other's.
    pub skew_seconds: Option<f64>,
}

impl HealthJson {
    /// The figures of a session, or of none.
    #[must_use]
    pub fn new(path: Option<&PathHealth>) -> Self {
        let seconds = |span: Span| span.as_secs_f64();
        Self {
            health: path.map_or("absent", |path| path.health.as_str()),
            health_text: path.map_or(Health::ABSENT_WORDS, |path| path.health.words()).into(),
            carrier: path.map(|path| path.info.carrier.as_str()),
            rtt_seconds: path.and_then(|path| path.rtt).map(seconds),
            loss_ratio: path.and_then(|path| path.loss),
            silence_seconds: path.map(|path| path.silence).map(seconds),
            skew_seconds: path.and_then(|path| path.skew).map(micros),
        }
    }
}

/// How a session with a broker node is, on the status page of a station.
#[derive(Debug, Clone, Serialize)]
pub struct NodeHealthJson {
    node: String,
    #[serde(flatten)]
    health: HealthJson,
}

impl NodeHealthJson {
    /// The figures of one session.
    #[must_use]
    pub fn new(path: &PathHealth) -> Self {
        Self { node: path.node.to_string(), health: HealthJson::new(Some(path)) }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the difference of two clocks is exact in an f64 for the next 285 years"
)]
fn micros(micros: i64) -> f64 {
    micros as f64 / 1e6
}
