//! A lab across an emulated network: schools near, region and police far.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use huxiao_benches::emulator::{Counters, Emulator, Profile};
use huxiao_tests::lab::{Lab, http, say, seed, wait_until};
use serde_json::{Value, json};

/// Nothing in these tests takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// The port of the first broker node; the others follow.
pub(crate) const BROKER_PORT: u16 = 4_433;
/// The school of all of these tests.
pub(crate) const SCHOOL: &str = "school-001";
/// Its station.
pub(crate) const STATION: &str = "station-001";

/// The nodes, and the network that they stand in. Fields in this order: processes end before their network.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) emulator: Arc<Emulator>,
    relay: String,
    pressed: AtomicU32,
}

/// An emulated network with one link for each of `links`, the same both ways; nothing, and a line that says so, where there can be none.
pub(crate) fn network(test: &str, links: &[Profile]) -> Option<Arc<Emulator>> {
    if let Err(why) = Emulator::available() {
        say(&format!("SKIPPED {test}: {why}"));
        return None;
    }
    let links: Vec<_> = links.iter().map(|profile| (*profile, *profile)).collect();
    Some(Arc::new(Emulator::start(&links, seed(test)).unwrap()))
}

impl Site {
    /// One relay, one station and so many broker nodes on `emulator`, configured and not running.
    pub(crate) fn new(emulator: &Arc<Emulator>, brokers: u16) -> Self {
        let far = emulator.far_ip();
        let brokers: Vec<_> = (BROKER_PORT..BROKER_PORT + brokers).map(|port| SocketAddr::from((far, port))).collect();
        let mut lab = Lab::elsewhere(&brokers, 1, 1);
        let mut relay = String::new();
        for name in lab.names() {
            let node = lab.node(&name);
            let near = node.role() == "relay";
            if near {
                relay.clone_from(&name);
            }
            let emulator = Arc::clone(emulator);
            node.launch_by(move |program: &Path| {
                let namespace = if near { emulator.near() } else { emulator.far() };
                namespace.command(program)
            });
        }
        Self { lab, emulator: Arc::clone(emulator), relay, pressed: AtomicU32::new(0) }
    }

    /// The same with one broker node, all of it running and connected.
    pub(crate) fn running(emulator: &Arc<Emulator>) -> Self {
        let mut site = Self::new(emulator, 1);
        site.lab.start_all();
        site
    }

    /// The relay's name.
    pub(crate) fn relay(&self) -> &str {
        &self.relay
    }

    /// Has both directions of link `at` be as `profile` from now on.
    pub(crate) fn line(&self, at: usize, profile: Profile) {
        self.emulator.link(at).set(profile, profile);
    }

    /// Presses a panic button that was never pressed before, and gives the event's id and the time of the press.
    pub(crate) fn press(&self) -> (String, Instant) {
        self.press_with("")
    }

    /// The same with a note.
    pub(crate) fn press_with(&self, note: &str) -> (String, Instant) {
        let device = format!("button-{}", self.pressed.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        let id = self.lab.raise(SCHOOL, &json!({ "kind": "panic", "device": device, "note": note }));
        (id, began)
    }

    /// Waits until the station's inbox has the event, once. Gives the time since `pressed`.
    pub(crate) fn arrives(&self, (id, pressed): &(String, Instant)) -> Duration {
        self.lab.wait_inbox(STATION, std::slice::from_ref(id), PATIENCE);
        pressed.elapsed()
    }

    /// Whether the station's inbox has the event.
    pub(crate) fn has_arrived(&self, id: &str) -> bool {
        self.lab.inbox(STATION).values().any(|row| row["id"] == id)
    }

    /// An officer takes it, and the answer comes back to the button.
    pub(crate) fn answered(&self, id: &str) {
        self.lab.displayed(STATION, id);
        self.lab.ack(STATION, id, "014");
        self.lab.wait_lamp(SCHOOL, id, "acknowledged", PATIENCE);
    }

    /// The relay's sessions, as its status page shows them.
    pub(crate) fn sessions(&self) -> Vec<Value> {
        self.lab.status(&self.relay)["paths"].as_array().unwrap().clone()
    }

    /// What `huxiao relay paths` prints.
    pub(crate) fn printed_paths(&self) -> String {
        let output = self.lab.run(&["relay", "paths", "--url", &self.lab.base(&self.relay)]);
        assert_eq!(output.code, Some(0), "{output:?}");
        output.stdout
    }

    /// Everything that must hold after any of these tests: each of `ids` is in the inbox once, none was refused, no frame was
    /// misunderstood, nobody panicked, and the emulator was what it was asked to be.
    pub(crate) fn end(&self, ids: &[String]) {
        let rows = self.lab.inbox(STATION);
        for id in ids {
            assert!(rows.values().any(|row| row["id"] == *id), "{id} is not in the inbox");
            assert_eq!(self.lab.at_relay(SCHOOL, id)["refused"], false, "{id}");
        }
        for name in self.lab.names() {
            let Ok(metrics) = http::get(&self.lab.base(&name), "/metrics") else { continue };
            // A frame that a line does not let through in time is nobody's mistake.
            let is_bad = |line: &&str| line.starts_with("huxiao_bad_frames_total") && !line.contains("\"timeout\"");
            let is_refusal = |line: &&str| line.starts_with("huxiao_refused_total");
            let mut bad = metrics.body.lines().filter(|line| is_bad(line) || is_refusal(line));
            assert_eq!(bad.find(|line| !line.ends_with(" 0")), None, "{name} did not understand, or did not take");
        }
        self.lab.assert_calm();
        for link in self.emulator.links() {
            let [up, down] = link.counters();
            assert_eq!((up.overflowed, down.overflowed), (0, 0), "the emulator had no room");
        }
    }

    /// What went over link `at` since `before`, both ways: packets and bytes near to far, and far to near.
    pub(crate) fn since(&self, at: usize, before: [Counters; 2]) -> [(u64, u64); 2] {
        let now = self.emulator.link(at).counters();
        [0, 1].map(|way| (now[way].packets - before[way].packets, now[way].bytes - before[way].bytes))
    }
}

/// The ids alone.
pub(crate) fn ids(presses: &[(String, Instant)]) -> Vec<String> {
    presses.iter().map(|(id, _)| id.clone()).collect()
}

/// Waits for `is`, and gives how long it took.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    wait_until(what, PATIENCE, || is().then_some(()));
    began.elapsed()
}

/// A time as these tests print it.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

/// A figure of this run, to be read whether the test passes or not.
pub(crate) fn figure(test: &str, words: &str) {
    say(&format!("lines: {test}: {words}"));
}
