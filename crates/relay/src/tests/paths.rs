//! Lines that come and go, and broker nodes that do, with real sessions: what is dialled, and what is shown of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use huxiao_core::{Class, Echo, Form, Message, Role, Span};
use huxiao_link::{Link, LinkConfig, LinkEvent};
use huxiao_pki::Credentials;
use huxiao_runtime::clock::Clock;
use huxiao_runtime::metric;
use serde_json::Value;

use super::Node;
use crate::uplink::interfaces::Reader;
use crate::uplink::presence::Interface;

/// What is waited for is there within this time, however slow the computer is.
const PATIENCE: Duration = Duration::from_secs(40);

/// A broker node that answers probes and does nothing else.
struct Broker {
    link: Link,
    addr: SocketAddr,
}

impl Broker {
    async fn start(dir: &Path, name: &str, addr: &str) -> Self {
        let file = |kind: &str| dir.join(format!("{name}-{kind}.pem"));
        let credentials =
            Credentials::load(&dir.join("ca.pem"), &file("cert"), &file("key"), Some(Role::Broker)).unwrap();
        let (events, mut received) = huxiao_link::events();
        let link = Link::new(credentials, LinkConfig::accepting(&[Role::Relay]), events).unwrap();
        let addr = link.listen(addr.parse().unwrap()).await.unwrap();
        let answering = link.clone();
        tokio::spawn(async move {
            let clock = Clock::system();
            loop {
                if let LinkEvent::Message { path, message: Message::Probe(number) } = received.recv().await {
                    let echo = Echo { number, received: clock.wall(), sent: clock.wall() };
                    // A session that is over asks again on its next.
                    let _ = answering.send(path, Class::P1, Form::Datagram, &Message::Echo(echo));
                }
            }
        });
        Self { link, addr }
    }
}

/// The interfaces of a computer that is played.
#[derive(Clone, Default)]
struct Ports(Arc<Mutex<Vec<Interface>>>);

impl Ports {
    /// The loopback under two names, of which the second may be pulled out.
    fn set(&self, second: bool) {
        let port = |name: &str, running, address: &str| Interface {
            name: name.to_owned(),
            running,
            addresses: [address.parse().unwrap()].into(),
        };
        *self.0.lock().unwrap() = vec![port("first", true, "127.0.0.1"), port("lo", second, "127.0.0.1")];
    }

    fn reader(&self) -> Reader {
        let ports = self.0.clone();
        Arc::new(move || Ok(ports.lock().unwrap().clone()))
    }
}

/// A relay with a free and a metered line, and three broker nodes.
struct World {
    dir: tempfile::TempDir,
    ports: Ports,
    brokers: Vec<Broker>,
    relay: Node,
}

const LINES: [(&str, &str); 5] = [
    ("relay.uplinks.free_one.address", "127.0.0.2"),
    ("relay.uplinks.paid_one.address", "127.0.0.3"),
    ("relay.uplinks.paid_one.interface", "lo"),
    ("relay.uplinks.paid_one.cost", "metered"),
    ("relay.uplinks.paid_one.daily_budget", "1KiB"),
];

impl World {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = Ports::default();
        ports.set(true);
        // The first start makes the certificates.
        Node::start(dir.path()).await.stop().await;
        let mut brokers = Vec::new();
        for name in ["n1", "n2", "n3"] {
            brokers.push(Broker::start(dir.path(), name, "127.0.0.1:0").await);
        }
        let relay = Self::relay(dir.path(), &brokers, &ports).await;
        Self { dir, ports, brokers, relay }
    }

    async fn relay(dir: &Path, brokers: &[Broker], ports: &Ports) -> Node {
        let nodes = brokers.iter().map(|broker| broker.addr.to_string()).collect::<Vec<_>>().join(",");
        let mut keys = vec![("relay.brokers", nodes.as_str())];
        keys.extend(LINES);
        Node::start_with(dir, &keys, ports.reader()).await
    }

    async fn paths(&self) -> Value {
        self.relay.call("GET", "/v1/paths", "", "").await.1
    }

    /// Waits until the paths are as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let paths = self.paths().await;
            if wanted(&paths) {
                return paths;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {paths:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a check says these words.
    async fn hears(&self, check: &str, words: &str) {
        let begun = Instant::now();
        loop {
            let (_, text) = self.relay.text("/readyz?verbose").await;
            let line = text.lines().find(|line| line.contains(&format!(" {check} ")));
            if line.is_some_and(|line| line.contains(words)) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{words} in {text}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Waits until the metrics have this line. Other tests in this process write to them too.
async fn measured(line: &str) {
    let begun = Instant::now();
    loop {
        let text = metric::install().render();
        if text.lines().any(|found| found.starts_with(line)) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{line} in\n{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The paths over a line that have this health, or all of them.
fn over<'a>(paths: &'a Value, uplink: &str, health: &str) -> Vec<&'a Value> {
    let all = paths["paths"].as_array().unwrap().iter();
    all.filter(|path| path["uplink"] == uplink && (health.is_empty() || path["health"] == health)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_is_kept_warm_towards_two_nodes_and_a_metered_one_without_bulk() {
    let world = World::start().await;
    let warm = |paths: &Value| {
        let sessions = |uplink: &str, count: u64| {
            let healthy = over(paths, uplink, "healthy");
            healthy.len() == 2 && healthy.iter().all(|path| path["sessions"] == count)
        };
        sessions("free_one", 2) && sessions("paid_one", 1)
    };
    let paths = world.until("both lines are warm towards two nodes", warm).await;
    let nodes = paths["nodes"].as_array().unwrap();
    assert_eq!(nodes.iter().filter(|node| node["home"] == true && node["dialled"] == true).count(), 2, "{paths:#}");
    let healthy = &over(&paths, "free_one", "healthy")[0];
    assert!(healthy["rtt_seconds"].as_f64().unwrap() < 5.0 && healthy["carrier"] == "quic", "{healthy:#}");
    assert!(healthy["name"].as_str().unwrap().starts_with("broker/r1/n"), "{healthy:#}");
    assert!(over(&paths, "free_one", "absent")[0]["rtt_seconds"].is_null());

    let spent = |paths: &Value| !paths["uplinks"][1]["warnings"].as_array().unwrap().is_empty();
    let paths = world.until("a budget of a kibibyte is over with the handshakes", spent).await;
    let metered = &paths["uplinks"][1];
    assert!(metered["today_sent_bytes"].as_u64().unwrap() > 1_024 && metered["cost"] == "metered", "{metered:#}");
    world.hears("uplinks", "paid_one: Today's data budget is used up").await;
    world.hears("upstream", "every way to the region is open").await;
    let (_, status) = world.relay.call("GET", "/v1/status", "", "").await;
    assert_eq!(status["upstream"]["uplinks"][1]["name"], "paid_one");
    let node = healthy["node"].as_str().unwrap();
    measured("huxiao_uplink_up{uplink=\"paid_one\"} 1").await;
    measured("huxiao_uplink_budget_bytes{uplink=\"paid_one\"} 1024").await;
    measured(&format!("huxiao_path_healthy{{uplink=\"free_one\",node=\"{node}\"}} 1")).await;
    measured(&format!("huxiao_path_rtt_seconds{{uplink=\"free_one\",node=\"{node}\"}} 0.")).await;
    measured("huxiao_uplink_bytes_total{uplink=\"paid_one\",direction=\"received\"} ").await;

    let before = metered["today_sent_bytes"].as_u64().unwrap();
    world.relay.stop().await;
    let relay = World::relay(world.dir.path(), &world.brokers, &world.ports).await;
    let (_, after) = relay.call("GET", "/v1/paths", "", "").await;
    assert!(after["uplinks"][1]["today_sent_bytes"].as_u64().unwrap() >= before, "the day's count survives: {after:#}");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_goes_and_comes_is_noticed_and_the_other_is_left_alone() {
    let world = World::start().await;
    let both = |paths: &Value| over(paths, "free_one", "healthy").len() + over(paths, "paid_one", "healthy").len() == 4;
    world.until("both lines are warm", both).await;
    world.ports.set(false);
    let gone = |paths: &Value| over(paths, "paid_one", "absent").len() == 3;
    let paths = world.until("the line that was pulled out is not dialled", gone).await;
    assert_eq!(paths["uplinks"][1]["present"], false);
    assert_eq!(paths["uplinks"][1]["absent_because"], "lo is switched off, or has no carrier");
    assert_eq!(over(&paths, "free_one", "healthy").len(), 2, "{paths:#}");
    world.hears("uplinks", "paid_one is not there").await;
    world.hears("upstream", "of 2 uplinks only free_one answers").await;
    let (_, status) = world.relay.call("GET", "/v1/status", "", "").await;
    let ids = |status: &Value| status["paths"].as_array().unwrap().len();
    assert_eq!(ids(&status), 4, "two nodes on two lanes each: {status:#}");
    world.ports.set(true);
    world.until("it is warm again", both).await;
    world.relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_node_stands_in_for_one_that_is_away() {
    let world = World::start().await;
    let warm = |paths: &Value| over(paths, "free_one", "healthy").len() == 2;
    let paths = world.until("two nodes are reached", warm).await;
    let home = over(&paths, "free_one", "healthy")[0]["node"].as_str().unwrap().to_owned();
    let away = world.brokers.iter().find(|broker| broker.addr.to_string() == home).unwrap();
    away.link.shutdown().await;
    let three = |paths: &Value| paths["nodes"].as_array().unwrap().iter().all(|node| node["dialled"] == true);
    world.until("the third is dialled as well", three).await;
    let two = |paths: &Value| {
        let healthy = over(paths, "free_one", "healthy");
        healthy.len() == 2 && healthy.iter().all(|path| path["node"] != home.as_str())
    };
    let paths = world.until("and reached", two).await;
    let stand_in = paths["nodes"].as_array().unwrap().iter().find(|node| node["home"] == false).unwrap();
    assert_eq!(stand_in["dialled"], true);
    world.relay.shutdown.request(Span::from_secs(1));
    world.relay.running.finished().await.unwrap();
}
