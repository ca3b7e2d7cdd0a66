//! A broker node that takes everything and says nothing of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use huxiao_benches::emulator::{Emulator, Profile};
use huxiao_core::{Class, Echo, EventId, Form, Message, Role, limits};
use huxiao_link::{Link, LinkConfig, LinkEvent};
use huxiao_pki::{Credentials, Period};
use huxiao_tests::lab::{Lab, wall_now};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::site::{BROKER_PORT, SCHOOL, Site, figure, network, until};

/// How long the relay's traffic is counted.
const WINDOW: Duration = Duration::from_secs(20);
/// What an IP packet of the smallest copies costs beside the event itself, at most: headers, tags and what QUIC says of packets. Bounds
/// the traffic that a budget of event bytes stands for.
const OVERHEAD: u64 = 3;

/// A link that listens at the far side, answers probes, and is otherwise mute.
struct Mute {
    // In this order: the runtime ends before what its tasks use.
    _runtime: Runtime,
    link: Link,
    seen: Arc<Mutex<BTreeSet<EventId>>>,
}

impl Mute {
    /// With a certificate of the lab's own authority: an insider.
    fn start(lab: &Lab, emulator: &Emulator) -> Self {
        let (cert, key) = lab.issue("broker/r1/node-1", Period::days(wall_now(), 1));
        let credentials = Credentials::load(&lab.ca_file(), &cert, &key, None).unwrap();
        let seen: Arc<Mutex<BTreeSet<EventId>>> = Arc::default();
        let addr = SocketAddr::from((emulator.far_ip(), BROKER_PORT));
        let noted = Arc::clone(&seen);
        let start = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let inside = runtime.enter();
            let (sender, mut events) = tokio::sync::mpsc::channel(256);
            let link = Link::new(credentials, LinkConfig::accepting(&[Role::Relay]), sender).unwrap();
            runtime.block_on(link.listen(addr)).unwrap();
            let answering = link.clone();
            runtime.spawn(async move {
                while let Some(event) = events.recv().await {
                    let LinkEvent::Message { path, message, .. } = event else { continue };
                    match message {
                        Message::Event(copy) => drop(noted.lock().unwrap().insert(copy.sealed.event.id)),
                        Message::Probe(number) => {
                            let echo = Message::Echo(Echo { number, received: wall_now(), sent: wall_now() });
                            // A path that is gone needs no answer.
                            let _ = answering.send(path, Class::P1, Form::Datagram, &echo);
                        }
                        _ => {}
                    }
                }
            });
            drop(inside);
            (runtime, link)
        };
        let (runtime, link) = emulator.far().enter(start).unwrap();
        Self { _runtime: runtime, link, seen }
    }

    /// How many have begun so far.
    fn sessions(&self) -> u64 {
        self.link.counters().sessions_up
    }

    fn has(&self, count: usize) -> bool {
        self.seen.lock().unwrap().len() >= count
    }
}

#[test]
fn a_broker_that_never_says_received_gets_a_bounded_number_of_copies() {
    let test = "mute broker";
    let Some(emulator) = network(test, &[Profile::town()]) else { return };
    let mut site = Site::new(&emulator, 1);
    let mute = Mute::start(&site.lab, &emulator);
    let relay = site.relay().to_owned();
    site.lab.start(&relay);
    site.lab.wait_connected(&relay);
    // One alarm, while it is young and when it is not any more; then a school's worst day.
    let (first, _) = site.press();
    until("the first alarm", || mute.has(1));
    let mut pressed = 1;
    for (alarms, reports) in [(0, 0), (39, 200)] {
        for _ in 0..alarms {
            site.press();
        }
        for number in 0..reports {
            let note = format!("report {number}");
            site.lab.raise(SCHOOL, &json!({ "kind": "status", "device": "panel", "note": note }));
        }
        pressed += alarms;
        for age in ["at first", "later"] {
            let (sessions, before, began) = (mute.sessions(), emulator.link(0).counters(), Instant::now());
            thread::sleep(WINDOW);
            let (time, [up, down]) = (began.elapsed().as_secs_f64(), site.since(0, before));
            let budget = u64::from(limits::COPY_BYTES_PER_SECOND) * WINDOW.as_secs();
            let allowed = OVERHEAD * (budget + u64::from(limits::COPY_BURST_BYTES));
            assert!(up.1 < allowed, "{} bytes up in {time:.1} s", up.1);
            let hourly = |bytes: u64| bytes as f64 / time * 3_600.0 / 1e6;
            let (up, down, sessions) = (hourly(up.1), hourly(down.1), mute.sessions() - sessions);
            let words = format!("{pressed} alarms open, {age}: {up:.1} MB/h up, {down:.1} MB/h down");
            figure(test, &format!("{words}, {sessions} new sessions in {WINDOW:?}"));
        }
    }
    until("every alarm", || mute.has(pressed));
    assert_ne!(site.lab.lamp(SCHOOL, &first), "on_screen", "nobody said so");
    site.lab.assert_calm();
}
