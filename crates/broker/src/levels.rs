//! The levels above and below a region: the province that it forwards to, and the regions that forward to it.
//!
//! Invariant: what is configured here is checked before anything is dialled, so that a mistake is a sentence at start and not a link that never
//! comes up.

use std::collections::BTreeSet;
use std::sync::Arc;

use huxiao_core::broker::{Broker, ProvinceConfig, ProvinceView};
use huxiao_core::{Class, Identity, Lane, Name, NodeName, Span, WallTime};
use huxiao_link::{DialHandle, Expect, Link, Target, Uplink};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::config::{Address, Config, Key, Kind};
use huxiao_runtime::drive::Handle;
use huxiao_runtime::health::Check;
use huxiao_runtime::metric::{self, Gauge};
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::time_format::seconds;
use serde::Serialize;

/// How often gauges and health are brought up to date.
const EVERY: Span = Span::from_secs(1);
/// An event that the province lacks for longer than this is said.
const LATE: f64 = 10.0;

/// The keys of the levels above and below.
pub(crate) const KEYS: [Key; 4] = [
    Key {
        path: "province.region",
        kind: Kind::Text,
        default: Some(""),
        reloadable: false,
        help: "The region one level up, as the certificates of its broker nodes name it; empty for none.",
    },
    Key {
        path: "province.nodes",
        kind: Kind::List(&Kind::Address),
        default: Some(""),
        reloadable: false,
        help: "Its broker nodes, host:port; each node of this region keeps sessions to all of them.",
    },
    Key {
        path: "province.classes",
        kind: Kind::Choice(&["P1", "P2", "P3", "P4"]),
        default: Some("P1"),
        reloadable: false,
        help: "The lowest class of events that it must have too; all above go with it. The same on all nodes of the region.",
    },
    Key {
        path: "regions.accepted",
        kind: Kind::List(&Kind::Name),
        default: Some(""),
        reloadable: false,
        help: "The regions one level down that may forward to this one; the plan names who watches for each.",
    },
];

/// What is configured of the levels above and below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Levels {
    pub(crate) province: Option<ProvinceConfig>,
    pub(crate) nodes: Vec<String>,
    pub(crate) accepted: BTreeSet<Name>,
}

impl Levels {
    /// Reads them.
    ///
    /// # Errors
    /// The first of [`level_mistakes`], in a sentence.
    pub(crate) fn read(config: &Config, me: &Name) -> Result<Self, String> {
        if let Some((key, why)) = level_mistakes(config, Some(me)).into_iter().next() {
            return Err(format!("{key}: {why}"));
        }
        let region = Name::new(config.text("province.region")).ok();
        let lowest = Class::ALL.into_iter().find(|class| class.as_str() == config.text("province.classes"));
        Ok(Self {
            province: region.map(|region| ProvinceConfig { region, lowest: lowest.unwrap_or(Class::P1) }),
            nodes: config.addresses("province.nodes").iter().map(ToString::to_string).collect(),
            accepted: config.names("regions.accepted").into_iter().collect(),
        })
    }

    /// Whom this node has sessions with: relays, stations, the nodes of the province above it and of the regions below it.
    pub(crate) fn acceptance(&self) -> impl Fn(&Identity) -> bool + Send + Sync + use<> {
        let mut brokers = self.accepted.clone();
        brokers.extend(self.province.as_ref().map(|province| province.region.clone()));
        move |identity| match &identity.node {
            NodeName::Relay(_) | NodeName::Station(_) => true,
            NodeName::Broker { region, .. } => brokers.contains(region),
        }
    }

    /// Keeps sessions to all nodes of the province, for as long as the handles live.
    pub(crate) fn dial(&self, link: &Link) -> Arc<Vec<DialHandle>> {
        let region = self.province.as_ref().map(|province| province.region.clone());
        let target = |addr: &String| Target {
            addr: addr.clone(),
            uplink: Uplink::default(),
            expect: Expect::broker(region.clone()),
            lanes: vec![Lane::Express, Lane::Bulk],
        };
        Arc::new(self.nodes.iter().map(|addr| link.dial(&target(addr))).collect())
    }
}

/// What the keys' own kinds cannot tell to be wrong: the key, and why. `me` is the node's own region, if it is known.
#[must_use]
pub fn level_mistakes(config: &Config, me: Option<&Name>) -> Vec<(String, String)> {
    let mut mistakes = Vec::new();
    let mut wrong = |key: &str, why: &str| mistakes.push((key.to_owned(), why.to_owned()));
    let (region, nodes) = (config.text("province.region"), config.addresses("province.nodes"));
    let accepted = config.names("regions.accepted");
    if region.is_empty() && !nodes.is_empty() {
        wrong("province.region", "say which region must answer at province.nodes: their certificates name it");
    }
    if !region.is_empty() {
        if let Err(why) = Name::new(region) {
            wrong("province.region", &why.to_string());
        }
        if nodes.is_empty() {
            wrong("province.nodes", "name at least one broker node of the province: without one, nothing is forwarded");
        }
        if me.is_some_and(|me| me.as_str() == region) {
            wrong("province.region", "this is the node's own region; a region does not forward to itself");
        }
        if accepted.iter().any(|name| name.as_str() == region) {
            wrong("regions.accepted", "it names the province: events would go round between the two");
        }
    }
    for address in nodes.iter().filter(|address| matches!(address, Address::Unix(_))) {
        wrong("province.nodes", &format!("{address}: sessions need a UDP address: host:port"));
    }
    if me.is_some_and(|me| accepted.contains(me)) {
        wrong("regions.accepted", "it names the node's own region, whose nodes share one record and forward nothing");
    }
    mistakes
}

/// The province in `GET /v1/status`.
#[derive(Debug, Serialize)]
pub(crate) struct ProvinceJson {
    region: String,
    connected: Vec<String>,
    forwards: bool,
    pending: std::collections::BTreeMap<&'static str, usize>,
    oldest_seconds: Option<f64>,
}

/// A region below in `GET /v1/status`.
#[derive(Debug, Serialize)]
pub(crate) struct RegionJson {
    region: String,
    sessions: usize,
}

impl ProvinceJson {
    pub(crate) fn read(broker: &Broker, now: WallTime) -> Option<Self> {
        let figures = Figures::of(broker)?;
        Some(Self {
            region: figures.view.region.to_string(),
            connected: figures.view.nodes.iter().map(ToString::to_string).collect(),
            forwards: figures.view.forwards,
            pending: Class::ALL.iter().map(|class| (class.as_str(), figures.view.pending[*class as usize])).collect(),
            oldest_seconds: figures.oldest.map(|raised| seconds(now, raised).max(0.0)),
        })
    }
}

impl RegionJson {
    pub(crate) fn read(broker: &Broker) -> Vec<Self> {
        broker.regions().map(|(region, sessions)| Self { region: region.to_string(), sessions }).collect()
    }
}

struct Figures {
    view: ProvinceView,
    oldest: Option<WallTime>,
}

impl Figures {
    fn of(broker: &Broker) -> Option<Self> {
        let view = broker.province()?;
        let raised = |id: &huxiao_core::EventId| broker.admission(id).map(|admission| admission.at);
        let oldest = view.oldest.as_ref().and_then(raised);
        Some(Self { view, oldest })
    }
}

/// Keeps the province's gauges and the `province` check true until the node stops.
pub(crate) async fn watch(
    handle: Handle<Broker>,
    province: Check,
    dials: Arc<Vec<DialHandle>>,
    clock: Clock,
    shutdown: Shutdown,
) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        let Ok(figures) = handle.inspect(Figures::of).await else { return };
        let Some(figures) = figures else { return };
        let age = figures.oldest.map_or(0.0, |raised| seconds(clock.wall(), raised).max(0.0));
        for class in Class::ALL {
            let pending = u32::try_from(figures.view.pending[class as usize]).unwrap_or(u32::MAX);
            metric::set(Gauge::ProvincePending, &[class.as_str()], f64::from(pending));
        }
        metric::set(Gauge::ProvinceOldestAge, &[], age);
        let reached = u32::try_from(figures.view.nodes.len()).unwrap_or(u32::MAX);
        metric::set(Gauge::ProvinceConnected, &[], f64::from(reached));
        tell(&province, &figures.view, age, &dials);
    }
}

fn tell(check: &Check, view: &ProvinceView, age: f64, dials: &[DialHandle]) {
    let waiting: usize = view.pending.iter().sum();
    let waits = || match waiting {
        0 => "nothing waits for it".to_owned(),
        1 => format!("one event waits for it, for {age:.0} s"),
        some => format!("{some} events wait for it, the oldest for {age:.0} s"),
    };
    let problems = || {
        let problems: BTreeSet<String> = dials.iter().flat_map(DialHandle::problems).map(|(_, why)| why).collect();
        problems.into_iter().collect::<Vec<_>>().join("; ")
    };
    let reached = view.nodes.len();
    if reached == 0 {
        check.failed(format!("no node of {} is reached; {}: {}", view.region, waits(), problems()));
    } else if reached < dials.len() {
        check.degraded(format!(
            "{reached} of {} nodes of {} are reached; {}: {}",
            dials.len(),
            view.region,
            waits(),
            problems()
        ));
    } else if view.forwards && age > LATE {
        check.degraded(format!("{} is reached; {}", view.region, waits()));
    } else {
        let names: Vec<String> = view.nodes.iter().map(NodeName::to_string).collect();
        check.ok(format!("reached: {}; {}", names.join(", "), waits()));
    }
}

#[cfg(test)]
mod tests {
    use huxiao_runtime::config::Loader;

    use super::*;

    const REQUIRED: [(&str, &str); 5] =
        [("tls.ca", "a"), ("tls.cert", "b"), ("tls.key", "c"), ("data.dir", "d"), ("broker.plan", "e")];

    fn config(flags: &[(&str, &str)]) -> Config {
        Loader::new(crate::KEYS).flags(REQUIRED).flags(flags.iter().copied()).load().unwrap()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_region_may_stand_alone() {
        let levels = Levels::read(&config(&[]), &name("east")).unwrap();
        assert_eq!(levels, Levels { province: None, nodes: vec![], accepted: BTreeSet::new() });
    }

    #[test]
    fn both_levels_are_read() {
        let config = config(&[
            ("province.region", "gx"),
            ("province.nodes", "p1.example:7443,p2.example:7443"),
            ("province.classes", "P2"),
            ("regions.accepted", "east-1,east-2"),
        ]);
        let levels = Levels::read(&config, &name("east")).unwrap();
        assert_eq!(levels.province, Some(ProvinceConfig { region: name("gx"), lowest: Class::P2 }));
        assert_eq!((levels.nodes.len(), levels.accepted.len()), (2, 2));
    }

    #[test]
    fn what_cannot_work_is_told_under_its_key() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
        let cases: [Case<'_>; 6] = [
            (&[("province.nodes", "p1.example:7443")], "province.region", "certificates name it"),
            (&[("province.region", "gx")], "province.nodes", "at least one"),
            (&[("province.region", "g x"), ("province.nodes", "p1:1")], "province.region", "letters"),
            (&[("province.region", "east"), ("province.nodes", "p1:1")], "province.region", "own region"),
            (&[("province.region", "gx"), ("province.nodes", "unix:/a")], "province.nodes", "UDP"),
            (&[("regions.accepted", "east")], "regions.accepted", "own region"),
        ];
        for (flags, key, why) in cases {
            let mistakes = level_mistakes(&config(flags), Some(&name("east")));
            let [(found, words)] = &mistakes[..] else { panic!("{flags:?}: {mistakes:?}") };
            assert_eq!(found, key);
            assert!(words.contains(why), "{words}");
        }
        let round = config(&[("province.region", "gx"), ("province.nodes", "p1:1"), ("regions.accepted", "gx")]);
        assert!(Levels::read(&round, &name("east")).unwrap_err().contains("go round"));
    }
}
