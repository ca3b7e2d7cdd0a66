//! The wall clock of each role is set back an hour, while it works and across a restart.
//!
//! Nodes of this process, so that each can have a clock of its own.

use std::collections::BTreeMap;

use huxiao_core::Span;
use huxiao_runtime::clock::Clock;
use huxiao_runtime::config::Loader;
use huxiao_runtime::host::{Host, Running};
use huxiao_runtime::metric;
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::systemd::Notifier;
use huxiao_store::Trial;
use huxiao_tests::lab::{Lab, Manner, Watch, http, wait_until};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::PATIENCE;
use crate::rogue::runtime;

const HOUR_BACK: i64 = -3_600_000_000;

/// The nodes of a lab, as tasks of this process.
struct InProcess {
    lab: Lab,
    runtime: Runtime,
    nodes: BTreeMap<String, (Running, Shutdown, Clock)>,
}

impl InProcess {
    fn start_all(lab: Lab) -> Self {
        Self::start_at(lab, [("broker-1", 0), ("station-001", 0), ("relay-001", 0)])
    }

    /// Each node with a clock that is so many microseconds ahead.
    fn start_at(lab: Lab, nodes: [(&str, i64); 3]) -> Self {
        let mut all = Self { lab, runtime: runtime(), nodes: BTreeMap::new() };
        for (name, ahead) in nodes {
            all.start(name, ahead);
        }
        all.wait_connected();
        all
    }

    fn start(&mut self, name: &str, offset: i64) {
        let (clock, shutdown) = (Clock::with_wall_offset(offset), Shutdown::new());
        let host = Host {
            clock: clock.clone(),
            shutdown: shutdown.clone(),
            exposition: metric::install(),
            notifier: Notifier::new(None, None),
            version: "0",
            commit: "test",
            trial: Trial::InProcess,
            seed: u64::try_from(huxiao_tests::lab::wall_now().0).unwrap(),
        };
        let role = self.lab.node(name).role().to_owned();
        let path = self.lab.node(name).config().to_owned();
        let load = |keys| Loader::new(keys).file(&path).load().unwrap();
        let running = self.runtime.block_on(async {
            match role.as_str() {
                "relay" => huxiao_relay::start(load(huxiao_relay::KEYS), host).await,
                "broker" => huxiao_broker::start(load(huxiao_broker::KEYS), host).await,
                _ => huxiao_station::start(load(huxiao_station::KEYS), host).await,
            }
        });
        self.nodes.insert(name.to_owned(), (running.unwrap(), shutdown, clock));
    }

    fn wait_connected(&self) {
        for name in ["station-001", "relay-001"] {
            self.lab.wait_connected(name);
        }
    }

    fn stop(&mut self, name: &str) {
        let (running, shutdown, _) = self.nodes.remove(name).unwrap();
        shutdown.request(Span::from_secs(5));
        self.runtime.block_on(running.finished()).unwrap();
    }
}

/// Everything that numbers events: (relay epoch, relay number) and the station's number.
fn numbers(lab: &Lab) -> Vec<(u64, u64, u64)> {
    let number = |row: &Value, member: &str| row[member].as_u64().unwrap();
    let rows = lab.inbox("station-001");
    rows.values().map(|row| (number(row, "epoch"), number(row, "relay_seq"), number(row, "seq"))).collect()
}

fn an_hour_back(name: &str) {
    let mut all = InProcess::start_all(Lab::init(1, 1));
    let screen = Watch::start(&all.lab.base("station-001"), Manner::Shows);
    let press = |all: &InProcess| (0..2).for_each(|_| all.lab.honest_alarm("school-001", "station-001"));
    press(&all);
    all.nodes[name].2.step_wall(HOUR_BACK);
    press(&all);
    // Something that is on its way while the node is away.
    all.stop(name);
    if name != "relay-001" {
        let id = all.lab.press("school-001");
        assert_eq!(all.lab.at_relay("school-001", &id)["kept"], true);
    }
    all.start(name, HOUR_BACK);
    all.wait_connected();
    press(&all);
    // Set right again.
    all.nodes[name].2.step_wall(-HOUR_BACK);
    press(&all);

    let raised = http::get(&all.lab.relay_of("school-001"), "/v1/events?limit=100").unwrap().json();
    let ids: Vec<String> =
        raised["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), if name == "relay-001" { 8 } else { 9 });
    all.lab.wait_inbox("station-001", &ids, PATIENCE);
    screen.wait_shown(&ids, PATIENCE);
    screen.assert_clean();
    assert_eq!(screen.shown().len(), ids.len(), "nothing was shown twice");
    let numbers = numbers(&all.lab);
    assert!(numbers.is_sorted_by(|a, b| a.2 < b.2), "{numbers:?}");
    let mut by_relay: Vec<_> = numbers.iter().map(|(epoch, number, _)| (*epoch, *number)).collect();
    by_relay.sort_unstable();
    by_relay.dedup();
    assert_eq!(by_relay.len(), numbers.len(), "no pair of epoch and number is used twice: {numbers:?}");
    if name == "relay-001" {
        let epochs: Vec<u64> = numbers.iter().map(|(epoch, ..)| *epoch).collect();
        assert!(epochs[0] < *epochs.last().unwrap(), "a later start has a higher epoch: {epochs:?}");
        assert!(epochs.is_sorted(), "and none goes back: {epochs:?}");
    }
    drop(screen);
    for name in ["relay-001", "station-001", "broker-1"] {
        all.stop(name);
    }
}

#[test]
fn a_relay_whose_clock_goes_back_numbers_on() {
    an_hour_back("relay-001");
}

#[test]
fn a_broker_whose_clock_goes_back_carries_on() {
    an_hour_back("broker-1");
}

#[test]
fn a_station_whose_clock_goes_back_shows_each_alarm_once() {
    an_hour_back("station-001");
}

#[test]
fn the_way_of_an_alarm_is_told_on_one_clock_whatever_the_clocks_show() {
    let clocks = [("broker-1", 0), ("station-001", 600_000_000), ("relay-001", HOUR_BACK)];
    let mut all = InProcess::start_at(Lab::init(1, 1), clocks);
    let lab = &all.lab;
    let way = |base: &str, id: &str| {
        let event = http::get(base, &format!("/v1/events/{id}")).unwrap().json();
        event["timeline"].as_array().unwrap().clone()
    };
    let points =
        |way: &[Value]| -> Vec<String> { way.iter().map(|lap| lap["stage"].as_str().unwrap().to_owned()).collect() };
    // Clocks are compared when sessions begin, but an alarm waits for nothing: the first may have been too early.
    let (id, at_station) = wait_until("an alarm whose whole way is known", PATIENCE, || {
        let id = lab.press("school-001");
        lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
        lab.displayed("station-001", &id);
        lab.ack("station-001", &id, "014");
        lab.wait_lamp("school-001", &id, "acknowledged", PATIENCE);
        let way = way(&lab.base("station-001"), &id);
        way.iter().all(|lap| lap["exact"] == true).then_some((id, way))
    });
    for point in ["raised", "sent", "received", "left", "arrived", "delivered", "displayed", "acknowledged"] {
        assert!(points(&at_station).contains(&point.to_owned()), "{point} in {at_station:?}");
    }
    let at_relay = way(&lab.relay_of("school-001"), &id);
    assert_eq!(points(&at_relay)[..3], ["raised", "kept", "sent"], "{at_relay:?}");
    for point in ["stored", "delivered", "displayed", "acknowledged"] {
        assert!(points(&at_relay).contains(&point.to_owned()), "{point} in {at_relay:?}");
    }
    let at_broker = way(&lab.base("broker-1"), &id);
    assert!(points(&at_broker).contains(&"acknowledged".to_owned()), "{at_broker:?}");
    // Their clocks are ten minutes and an hour apart.
    for lap in [&at_station[..], &at_relay[..], &at_broker[..]].concat() {
        assert!(lap["at_ms"].as_f64() < Some(300_000.0), "{lap}");
        assert!(lap["exact"] == true || lap["stage"] == "stored", "{lap}");
    }
    // And the command draws it from any of the three.
    for (node, base) in [
        ("--relay", lab.relay_of("school-001")),
        ("--station", lab.base("station-001")),
        ("--broker", lab.base("broker-1")),
    ] {
        let shown = lab.run(&["alarm", "show", &id, node, &base]).stdout;
        assert!(shown.contains("派出所已显示  On a police screen") && shown.contains('█'), "{shown}");
    }
    for name in ["relay-001", "station-001", "broker-1"] {
        all.stop(name);
    }
}
