//! A node between a relay that never stops talking and one that has an alarm.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use huxiao_core::{
    Class, Event, EventCopy, EventId, Form, Identity, Kind, Lane, Message, Mode, NodeName, Now, PathId, RelayId, Rng,
    Role, Span, Stage, Text, Trail, WallTime,
};
use huxiao_link::{DialHandle, Expect, Link, LinkConfig, LinkEvent, Target, Uplink};
use huxiao_pki::{Authority, Credentials, Period};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::config::Loader;
use huxiao_runtime::host::{Host, Running};
use huxiao_runtime::metric;
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::systemd::Notifier;
use huxiao_store::Trial;
use tokio::sync::mpsc;

/// Alarms that are timed.
const ALARMS: u64 = 50;

fn credentials(dir: &Path, authority: &Authority, node: &str, role: Role) -> Credentials {
    let identity: Identity = format!("spiffe://test/{node}").parse().unwrap();
    let issued = authority.issue(&identity, Period::days(Clock::system().wall(), 1), &[]).unwrap();
    let [cert, key] = ["pem", "key"].map(|end| dir.join(format!("{}.{end}", node.replace('/', "-"))));
    issued.save(&cert, &key).unwrap();
    Credentials::load(&dir.join("ca.pem"), &cert, &key, Some(role)).unwrap()
}

async fn broker(dir: &Path) -> (Running, Shutdown) {
    std::fs::write(dir.join("plan.toml"), "[[school]]\nid = \"s1\"\nstations = [\"p1\"]\n").unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    let flags = [
        ("tls.ca", path("ca.pem")),
        ("tls.cert", path("broker-r1-b1.pem")),
        ("tls.key", path("broker-r1-b1.key")),
        ("data.dir", path("data")),
        ("broker.plan", path("plan.toml")),
        ("broker.listen", "127.0.0.1:0".to_owned()),
        ("store.ballast", "1MiB".to_owned()),
    ];
    let config = Loader::new(crate::KEYS).flags(flags).load().unwrap();
    let shutdown = Shutdown::new();
    let host = Host {
        clock: Clock::system(),
        shutdown: shutdown.clone(),
        exposition: metric::install(),
        notifier: Notifier::new(None, None),
        version: "0",
        commit: "test",
        trial: Trial::InProcess,
        seed: 7,
    };
    (crate::start(config, host).await.unwrap(), shutdown)
}

/// A relay's sessions without a relay.
struct Relay {
    link: Link,
    events: mpsc::Receiver<LinkEvent>,
    path: PathId,
    me: RelayId,
    rng: Rng,
    _dial: DialHandle,
}

impl Relay {
    async fn connect(credentials: Credentials, to: std::net::SocketAddr) -> Self {
        let NodeName::Relay(me) = credentials.identity().node.clone() else { panic!("a relay") };
        let (sender, mut events) = mpsc::channel(4_096);
        let link = Link::new(credentials, LinkConfig::new(|_| true), sender).unwrap();
        let expect = Expect::broker(None);
        let dial =
            link.dial(&Target { addr: to.to_string(), uplink: Uplink::default(), expect, lanes: vec![Lane::Express] });
        let Some(LinkEvent::Up { path, .. }) = events.recv().await else { panic!("a session") };
        let rng = Rng::new(path.0);
        Self { link, events, path, me, rng, _dial: dial }
    }

    fn event(&mut self, seq: u64, kind: Kind) -> (EventId, Class, Message) {
        let Now { wall, .. } = Clock::system().now();
        let class = kind.class().unwrap();
        let event = Event {
            id: EventId::generate(wall, &mut self.rng),
            relay: self.me.clone(),
            epoch: 1,
            seq,
            kind,
            class,
            mode: Mode::Live,
            device: None,
            zone: None,
            note: Text::default(),
            raised_at: WallTime(wall.0),
            count: 1,
            details: huxiao_core::Details::default(),
        };
        let copy = EventCopy { sealed: huxiao_wire::seal(&event), trail: Trail::default(), receipts: Vec::new() };
        (event.id, class, Message::Event(copy))
    }

    /// From an alarm to the region's word that it is stored.
    async fn alarm(&mut self, seq: u64) -> Duration {
        let (id, class, message) = self.event(seq, Kind::Panic);
        let began = Instant::now();
        assert!(self.link.send(self.path, class, Form::Stream, &message));
        loop {
            match self.events.recv().await.expect("a link that lives") {
                LinkEvent::Message { message: Message::Receipts(receipts), .. }
                    if receipts.iter().any(|r| r.event == id && r.stage == Stage::Stored) =>
                {
                    return began.elapsed();
                }
                LinkEvent::Down { why, .. } => panic!("{why}"),
                _ => {}
            }
        }
    }
}

fn flood(mut relay: Relay, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        for seq in 1.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let (_, class, message) = relay.event(seq, Kind::Status);
            while !relay.link.send(relay.path, class, Form::Stream, &message) && !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            sent.fetch_add(1, Ordering::Relaxed);
            // What comes back is not looked at, but makes room.
            while relay.events.try_recv().is_ok() {}
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_never_stops_talking_does_not_delay_the_alarm_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(&"test".parse().unwrap(), Period::days(Clock::system().wall(), 2)).unwrap();
    authority.save(&dir.path().join("ca.pem"), &dir.path().join("ca-key.pem")).unwrap();
    credentials(dir.path(), &authority, "broker/r1/b1", Role::Broker);
    let (running, shutdown) = broker(dir.path()).await;
    let to = running.quic().unwrap();
    let of = |node: &str| credentials(dir.path(), &authority, node, Role::Relay);
    let mut alarmed = Relay::connect(of("relay/s1/gate"), to).await;
    let loud = Relay::connect(of("relay/s1/loud"), to).await;

    let mut quiet = Vec::new();
    for seq in 1..=ALARMS {
        quiet.push(alarmed.alarm(seq).await);
    }
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let flooding = flood(loud, stop.clone(), sent.clone());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (before, began) = (sent.load(Ordering::Relaxed), Instant::now());
    let mut flooded = Vec::new();
    for seq in 1..=ALARMS {
        flooded.push(alarmed.alarm(ALARMS + seq).await);
    }
    let rate = (sent.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    flooding.await.unwrap();
    quiet.sort();
    flooded.sort();
    let show = |took: &[Duration]| format!("p50 {:?} max {:?}", took[took.len() / 2], took[took.len() - 1]);
    println!("alarm to stored: quiet {}; beside {rate:.0} P3 a second {}", show(&quiet), show(&flooded));
    assert!(rate > 200.0, "that was no flood: {rate}");
    assert!(flooded[flooded.len() / 2] < Duration::from_millis(100), "{}", show(&flooded));
    shutdown.request(Span::from_secs(5));
    running.finished().await.unwrap();
}
