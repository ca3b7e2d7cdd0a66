//! How the relay's paths are: each line towards each node, for the API, the metrics and the health in words.
//!
//! Invariant: every figure is of one look; what is not known is not there, rather than zero.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use huxiao_core::relay::Roster;
use huxiao_core::{Health, PathHealth, PathId};
use huxiao_runtime::event_json::Words;
use huxiao_runtime::health::State as Verdict;
use huxiao_runtime::link_hooks::HealthJson;
use huxiao_runtime::metric::{self, Gauge};
use huxiao_runtime::time_format::Rfc3339;
use serde::Serialize;

use crate::dials::Pair;
use crate::traffic::{Bytes, Level, Traffic};
use crate::uplink::Uplink;
use crate::uplink::presence::State;

/// What one look has found; the answer of `GET /v1/paths`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Paths {
    today_began: Rfc3339,
    uplinks: Vec<UplinkJson>,
    nodes: Vec<NodeJson>,
    paths: Vec<PathJson>,
}

/// One line.
#[derive(Debug, Clone, Serialize)]
struct UplinkJson {
    name: String,
    interface: Option<String>,
    address: Option<IpAddr>,
    cost: &'static str,
    present: bool,
    absent_because: Option<String>,
    addresses: BTreeSet<IpAddr>,
    #[serde(flatten)]
    today: Today,
    daily_budget_bytes: Option<u64>,
    warnings: Vec<Words>,
    #[serde(skip)]
    level: Level,
}

/// One broker node.
#[derive(Debug, Clone, Serialize)]
struct NodeJson {
    node: String,
    name: Option<String>,
    home: bool,
    dialled: bool,
}

/// One line towards one node.
#[derive(Debug, Clone, Serialize)]
struct PathJson {
    uplink: String,
    node: String,
    name: Option<String>,
    #[serde(flatten)]
    health: HealthJson,
    sessions: usize,
    #[serde(flatten)]
    today: Today,
    problem: Option<String>,
    dialled: bool,
    #[serde(skip)]
    found: Option<Health>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Today {
    today_sent_bytes: u64,
    today_received_bytes: u64,
}

impl From<Bytes> for Today {
    fn from(bytes: Bytes) -> Self {
        Self { today_sent_bytes: bytes.sent, today_received_bytes: bytes.received }
    }
}

/// Everything that one look takes in.
pub(crate) struct Look<'a> {
    pub(crate) uplinks: &'a [Uplink],
    pub(crate) states: &'a [State],
    /// The nodes' addresses, as configured, and their names, as far as they have been met.
    pub(crate) nodes: &'a [String],
    pub(crate) names: &'a [Option<String>],
    pub(crate) roster: &'a Roster,
    pub(crate) sessions: &'a BTreeMap<PathId, Pair>,
    pub(crate) health: &'a [PathHealth],
    pub(crate) problems: &'a BTreeMap<Pair, String>,
    pub(crate) traffic: &'a Traffic,
}

impl Look<'_> {
    /// The best of a pair's express sessions: where a fresh one has been dialled beside one that is silent, the fresh one counts, and
    /// where QUIC carries again, TCP does not count any longer.
    pub(crate) fn best(&self, pair: Pair) -> Option<&PathHealth> {
        let own = self.health.iter().filter(|path| self.sessions.get(&path.path) == Some(&pair));
        own.min_by_key(|path| (rank(path.health), path.info.carrier, path.rtt.is_none(), path.rtt))
    }

    fn uplink(&self, place: usize, uplink: &Uplink) -> UplinkJson {
        let (present, absent_because, addresses) = match self.states.get(place) {
            Some(State::There { addresses, .. }) => (true, None, addresses.clone()),
            Some(State::Absent(why)) => (false, Some(why.clone()), BTreeSet::new()),
            None => (false, None, BTreeSet::new()),
        };
        let today = self.traffic.line(&uplink.name);
        let level = Level::of(today.total(), uplink.budget);
        UplinkJson {
            name: uplink.name.clone(),
            interface: uplink.interface.clone(),
            address: uplink.address,
            cost: uplink.cost.as_str(),
            present,
            absent_because,
            addresses,
            today: today.into(),
            daily_budget_bytes: uplink.budget,
            warnings: level.words().map(Words::from).into_iter().collect(),
            level,
        }
    }

    fn path(&self, pair: Pair) -> PathJson {
        let best = self.best(pair);
        let found = best.map(|path| path.health);
        let (uplink, node) = (&self.uplinks[pair.uplink].name, &self.nodes[pair.node]);
        PathJson {
            health: HealthJson::new(best),
            sessions: self.sessions.values().filter(|of| **of == pair).count(),
            today: self.traffic.pair(uplink, node).into(),
            problem: self.problems.get(&pair).cloned(),
            name: self.names[pair.node].clone(),
            dialled: self.roster.is_dialled(pair.node) && matches!(self.states[pair.uplink], State::There { .. }),
            uplink: uplink.clone(),
            node: node.clone(),
            found,
        }
    }

    /// What people and machines are shown.
    pub(crate) fn show(&self) -> Paths {
        let node = |(place, node): (usize, &String)| NodeJson {
            node: node.clone(),
            name: self.names[place].clone(),
            home: self.roster.is_home(place),
            dialled: self.roster.is_dialled(place),
        };
        let pairs =
            (0..self.uplinks.len()).flat_map(|uplink| (0..self.nodes.len()).map(move |node| Pair { uplink, node }));
        Paths {
            today_began: Rfc3339(self.traffic.began()),
            uplinks: self.uplinks.iter().enumerate().map(|(place, uplink)| self.uplink(place, uplink)).collect(),
            nodes: self.nodes.iter().enumerate().map(node).collect(),
            paths: pairs.map(|pair| self.path(pair)).collect(),
        }
    }
}

fn rank(health: Health) -> u8 {
    match health {
        Health::Healthy => 0,
        Health::Unproven => 1,
        Health::Silent => 2,
    }
}

impl Paths {
    /// Brings the metrics up to date. A figure that is not known is not a number, so that no old one is taken for true.
    pub(crate) fn measure(&self) {
        for path in &self.paths {
            let labels = [path.uplink.as_str(), path.node.as_str()];
            metric::set(Gauge::PathRoundTrip, &labels, path.health.rtt_seconds.unwrap_or(f64::NAN));
            metric::set(Gauge::PathLoss, &labels, path.health.loss_ratio.unwrap_or(f64::NAN));
            metric::set(Gauge::PathSilence, &labels, path.health.silence_seconds.unwrap_or(f64::NAN));
            metric::set(Gauge::PathHealthy, &labels, f64::from(u8::from(path.found == Some(Health::Healthy))));
        }
        for uplink in &self.uplinks {
            metric::set(Gauge::UplinkUp, &[&uplink.name], f64::from(u8::from(uplink.present)));
            if let Some(budget) = uplink.daily_budget_bytes {
                metric::set(Gauge::UplinkBudget, &[&uplink.name], bytes(budget));
            }
        }
    }

    /// What of the ways to the region is less than it should be, in words; nothing while all is well. A path that is not proven yet is
    /// given the benefit of the doubt: it is one for two seconds at most.
    pub(crate) fn lacks(&self) -> Option<String> {
        let lives = |path: &&PathJson| matches!(path.found, Some(Health::Healthy | Health::Unproven));
        let uplinks: BTreeSet<&str> = self.paths.iter().filter(lives).map(|path| path.uplink.as_str()).collect();
        let nodes: BTreeSet<&str> = self.paths.iter().filter(lives).map(|path| path.node.as_str()).collect();
        let mut lacks = Vec::new();
        if uplinks.is_empty() {
            lacks.push("no path answers".to_owned());
        }
        for (what, alive, all) in [("uplink", uplinks, self.uplinks.len()), ("broker node", nodes, self.nodes.len())] {
            if let (Some(only), 1, true) = (alive.first(), alive.len(), all > 1) {
                lacks.push(format!("of {all} {what}s only {only} answers"));
            }
        }
        (!lacks.is_empty()).then(|| lacks.join("; "))
    }

    /// How the lines are, in words: whether they are there, and what of their budgets is left.
    pub(crate) fn lines(&self) -> Verdict {
        let mut words = Vec::new();
        let mut well = true;
        for uplink in &self.uplinks {
            let name = &uplink.name;
            if let Some(why) = &uplink.absent_because {
                well = false;
                words.push(format!("{name} is not there: {why}"));
            } else if let Some((_, en)) = uplink.level.words() {
                well = false;
                words.push(format!("{name}: {en}"));
            } else {
                words.push(format!("{name} is there"));
            }
        }
        let words = words.join("; ");
        if well { Verdict::Ok(words) } else { Verdict::Degraded(words) }
    }

    /// How far the budget of each line is used up.
    pub(crate) fn levels(&self) -> impl Iterator<Item = Level> {
        self.uplinks.iter().map(|uplink| uplink.level)
    }
}

/// The nodes with a healthy path over any line.
pub(crate) fn healthy_nodes(sessions: &BTreeMap<PathId, Pair>, health: &[PathHealth]) -> BTreeSet<usize> {
    let healthy = health.iter().filter(|path| path.health == Health::Healthy);
    healthy.filter_map(|path| sessions.get(&path.path)).map(|pair| pair.node).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a figure of a budget; nobody counts its last bytes")]
fn bytes(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use huxiao_core::{Carrier, Cost, Lane, NodeName, PathInfo, Span, Timestamp, UplinkId, WallTime};

    use super::*;

    fn uplink(id: u16, name: &str, budget: Option<u64>) -> Uplink {
        let cost = if budget.is_some() { Cost::Metered } else { Cost::Free };
        Uplink { id: UplinkId(id), name: name.to_owned(), interface: None, address: None, cost, budget }
    }

    fn session(path: u64, health: Health, millis: Option<u64>) -> PathHealth {
        PathHealth {
            path: PathId(path),
            node: "broker/r1/n1".parse::<NodeName>().unwrap(),
            info: PathInfo::plain(Lane::Express),
            health,
            rtt: millis.map(Span::from_millis),
            loss: Some(0.25),
            silence: Span::from_secs(3),
            skew: Some(-1_500_000),
        }
    }

    struct World {
        uplinks: Vec<Uplink>,
        states: Vec<State>,
        sessions: BTreeMap<PathId, Pair>,
        health: Vec<PathHealth>,
        traffic: Traffic,
    }

    impl World {
        fn new() -> Self {
            let there = State::There { local: None, addresses: BTreeSet::new() };
            Self {
                uplinks: vec![uplink(0, "fibre", None), uplink(1, "lte", Some(1_000))],
                states: vec![there.clone(), there],
                sessions: BTreeMap::new(),
                health: Vec::new(),
                traffic: Traffic::new(WallTime(0), None),
            }
        }

        fn add(&mut self, uplink: usize, node: usize, session: PathHealth) {
            self.sessions.insert(session.path, Pair { uplink, node });
            self.health.push(session);
        }

        fn show(&self) -> Paths {
            let nodes = ["a:1".to_owned(), "b:1".to_owned()];
            Look {
                uplinks: &self.uplinks,
                states: &self.states,
                nodes: &nodes,
                names: &[Some("broker/r1/n1".to_owned()), None],
                roster: &Roster::new(Timestamp(0), "relay/s1/gate", &nodes),
                sessions: &self.sessions,
                health: &self.health,
                problems: &BTreeMap::from([(Pair { uplink: 1, node: 1 }, "no answer".to_owned())]),
                traffic: &self.traffic,
            }
            .show()
        }
    }

    #[test]
    fn the_best_session_stands_for_its_path() {
        let mut world = World::new();
        world.add(0, 0, session(1, Health::Silent, Some(10)));
        world.add(0, 0, session(2, Health::Healthy, Some(40)));
        world.add(0, 0, session(3, Health::Healthy, Some(30)));
        let mut over_tcp = session(4, Health::Healthy, Some(5));
        over_tcp.info.carrier = Carrier::Tcp;
        world.add(0, 0, over_tcp);
        let json = serde_json::to_value(world.show()).unwrap();
        let path = &json["paths"][0];
        assert_eq!(
            (&path["uplink"], &path["node"], &path["health"]),
            (&"fibre".into(), &"a:1".into(), &"healthy".into())
        );
        assert_eq!(
            (&path["rtt_seconds"], &path["sessions"], &path["carrier"]),
            (&0.03.into(), &4.into(), &"quic".into())
        );
        assert_eq!((&path["skew_seconds"], &path["loss_ratio"]), (&(-1.5).into(), &0.25.into()));
        let absent = &json["paths"][3];
        assert_eq!(
            (&absent["uplink"], &absent["node"], &absent["health"]),
            (&"lte".into(), &"b:1".into(), &"absent".into())
        );
        assert_eq!((&absent["rtt_seconds"], &absent["problem"]), (&serde_json::Value::Null, &"no answer".into()));
        assert_eq!(absent["health_text"]["zh"], "未连接");
    }

    #[test]
    fn what_is_lacking_is_said_in_words() {
        let mut world = World::new();
        assert_eq!(world.show().lacks().unwrap(), "no path answers");
        world.add(0, 0, session(1, Health::Healthy, Some(10)));
        let lacks = world.show().lacks().unwrap();
        assert_eq!(lacks, "of 2 uplinks only fibre answers; of 2 broker nodes only a:1 answers");
        world.add(0, 1, session(2, Health::Unproven, None));
        assert_eq!(world.show().lacks().unwrap(), "of 2 uplinks only fibre answers");
        world.add(1, 0, session(3, Health::Silent, Some(10)));
        assert!(world.show().lacks().is_some());
        world.add(1, 0, session(4, Health::Healthy, Some(10)));
        assert_eq!(world.show().lacks(), None);
    }

    #[test]
    fn lines_that_are_gone_or_dear_are_told() {
        let mut world = World::new();
        assert_eq!(world.show().lines(), Verdict::Ok("fibre is there; lte is there".to_owned()));
        world.states[0] = State::Absent("there is no interface eth0".to_owned());
        world.traffic.count(PathId(1), "lte", "a:1", Bytes { sent: 700, received: 200 });
        let Verdict::Degraded(words) = world.show().lines() else { panic!("it is not well") };
        assert_eq!(
            words,
            "fibre is not there: there is no interface eth0; lte: More than four fifths of today's data are used"
        );
        let json = serde_json::to_value(world.show()).unwrap();
        let lte = &json["uplinks"][1];
        assert_eq!((&lte["today_sent_bytes"], &lte["daily_budget_bytes"]), (&700.into(), &1_000.into()));
        assert_eq!(lte["warnings"][0]["zh"], "今日流量已用八成以上");
        assert_eq!(json["uplinks"][0]["present"], false);
    }

    #[test]
    fn a_node_is_healthy_over_any_line() {
        let mut world = World::new();
        world.add(1, 1, session(1, Health::Healthy, Some(10)));
        world.add(0, 0, session(2, Health::Unproven, None));
        assert_eq!(healthy_nodes(&world.sessions, &world.health), BTreeSet::from([1]));
    }
}
