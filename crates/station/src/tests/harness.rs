//! A province of one school, one broker node that says what the test tells it to, and one station.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::StatusCode;
use huxiao_core::{
    Class, Event, EventCopy, EventId, Form, Hello, Identity, Kind, Lane, Message, Mode, NodeName, PathId, Receipt,
    RelayId, Rng, Span, Stage, Step, Text, Trail, WallTime,
};
use huxiao_link::{Link, LinkConfig, LinkEvent};
use huxiao_pki::{Authority, Credentials, Period};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::config::{Address, Loader};
use huxiao_runtime::host::{Host, Running};
use huxiao_runtime::metric;
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::systemd::Notifier;
use huxiao_store::Trial;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Nothing in these tests takes this long unless it hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A certificate authority and a folder.
pub(super) struct World {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let period = Period::days(Clock::system().wall(), 2);
        let authority = Authority::create(&"test".parse().unwrap(), period).unwrap();
        authority.save(&dir.path().join("ca.pem"), &dir.path().join("ca.key")).unwrap();
        Self { dir, authority }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The certificate and key files of a node.
    pub(super) fn issue(&self, node: &str) -> (PathBuf, PathBuf) {
        let file = |end: &str| self.path(&format!("{}.{end}", node.replace('/', "-")));
        if !file("pem").exists() {
            let identity: Identity = format!("spiffe://test/{node}").parse().unwrap();
            let issued = self.authority.issue(&identity, Period::days(Clock::system().wall(), 1), &[]).unwrap();
            issued.save(&file("pem"), &file("key")).unwrap();
        }
        (file("pem"), file("key"))
    }

    /// A broker node that listens.
    pub(super) async fn broker(&self) -> Broker {
        let (cert, key) = self.issue("broker/r1/b1");
        let credentials = Credentials::load(&self.path("ca.pem"), &cert, &key, None).unwrap();
        let (sender, events) = mpsc::channel(64);
        let link = Link::new(credentials, LinkConfig::new(|_| true), sender).unwrap();
        let addr = link.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Broker { link, events, addr, express: None, sessions: 0 }
    }

    /// The station `s1/desk-1` with its inbox in `data`, whose broker node is at `broker`.
    pub(super) async fn station(&self, broker: SocketAddr) -> Node {
        let (cert, key) = self.issue("station/s1/desk-1");
        let text = |path: &Path| path.display().to_string();
        let flags = [
            ("tls.ca", text(&self.path("ca.pem"))),
            ("tls.cert", text(&cert)),
            ("tls.key", text(&key)),
            ("data.dir", text(&self.path("data"))),
            ("station.brokers", broker.to_string()),
            ("station.region", "r1".to_owned()),
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
        Node { running: crate::start(config, host).await.unwrap(), shutdown }
    }
}

/// The broker node's side of the sessions with the station.
pub(super) struct Broker {
    pub(super) link: Link,
    pub(super) events: mpsc::Receiver<LinkEvent>,
    pub(super) addr: SocketAddr,
    express: Option<PathId>,
    pub(super) sessions: usize,
}

impl Broker {
    /// Waits for the first thing said of which `pick` makes something.
    pub(super) async fn hear<T>(&mut self, what: &str, pick: impl Fn(Message) -> Option<T>) -> T {
        let wait = async {
            loop {
                match self.events.recv().await.expect("a link that lives") {
                    LinkEvent::Up { path, info, .. } => {
                        self.sessions += 1;
                        if info.lane == Lane::Express {
                            self.express = Some(path);
                        }
                    }
                    LinkEvent::Down { path, .. } => {
                        self.sessions -= 1;
                        if self.express == Some(path) {
                            self.express = None;
                        }
                    }
                    LinkEvent::Message { message, .. } => {
                        if let Some(picked) = pick(message) {
                            return picked;
                        }
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never heard: {what}"))
    }

    /// Waits for the station's greeting.
    pub(super) async fn hello(&mut self) -> Hello {
        self.hear("hello", |message| match message {
            Message::Hello(hello) => Some(hello),
            _ => None,
        })
        .await
    }

    /// Waits for the station's statement that `event` reached `stage`.
    pub(super) async fn receipt(&mut self, event: EventId, stage: Stage) -> Receipt {
        let find = move |message| match message {
            Message::Receipts(receipts) => receipts.into_iter().find(|r| r.event == event && r.stage == stage),
            _ => None,
        };
        self.hear(&format!("{stage} of {event}"), find).await
    }

    /// Says something, once there is room for it.
    pub(super) async fn say(&self, class: Class, message: &Message) {
        let path = self.express.expect("a session");
        let wait = async {
            while !self.link.send(path, class, Form::Stream, message) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("room on the path");
    }

    pub(super) async fn give(&self, event: &Event) {
        let node: NodeName = "broker/r1/b1".parse().unwrap();
        let now = Clock::system().wall();
        let trail = Trail::new(vec![Step { node, arrived: now, left: Some(now), skew: None }]);
        let copy = EventCopy { sealed: huxiao_wire::seal(event), trail, receipts: Vec::new() };
        self.say(event.class, &Message::Event(copy)).await;
    }

    pub(super) async fn confirm(&self, statements: &[(EventId, Stage)]) {
        self.say(Class::P1, &Message::Confirmed(statements.to_vec())).await;
    }
}

/// The `number`th event of the school: the same number is the same event.
pub(super) fn event(kind: Kind, number: u64) -> Event {
    let now = Clock::system().wall();
    Event {
        id: EventId::generate(WallTime(1_700_000_000_000_000), &mut Rng::new(number)),
        relay: RelayId { school: "school-1".parse().unwrap(), device: "gate".parse().unwrap() },
        epoch: 1,
        seq: number,
        class: kind.class().unwrap(),
        kind,
        mode: Mode::Live,
        device: Some("button-1".parse().unwrap()),
        zone: Some("gatehouse".parse().unwrap()),
        note: Text::new("门口有人").unwrap(),
        raised_at: now,
        count: 1,
        details: huxiao_core::Details::default(),
    }
}

/// A running station.
pub(super) struct Node {
    running: Running,
    shutdown: Shutdown,
}

impl Node {
    pub(super) fn http(&self) -> SocketAddr {
        let Address::Socket(address) = self.running.http() else { panic!("a TCP address") };
        *address
    }

    pub(super) async fn stop(self) {
        let begun = std::time::Instant::now();
        self.shutdown.request(Span::from_secs(5));
        self.running.finished().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(4), "a stop ends when its work is done, not at its deadline");
    }

    pub(super) async fn text(&self, method: &str, path: &str, headers: &str, body: &str) -> (StatusCode, String) {
        let mut stream = TcpStream::connect(self.http()).await.unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    pub(super) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, body) = self.text("GET", path, "", "").await;
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let (status, body) = self.text("POST", path, "Content-Type: application/json\r\n", body).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    pub(super) async fn ack(&self, event: EventId, officer: &str) -> (StatusCode, Value) {
        self.post(&format!("/v1/events/{event}/ack"), &serde_json::json!({ "officer": officer }).to_string()).await
    }

    /// Opens a stream.
    pub(super) async fn follow(&self, path: &str, headers: &str) -> Sse {
        let mut stream = TcpStream::connect(self.http()).await.unwrap();
        let head = format!("GET {path} HTTP/1.0\r\nHost: x\r\nAccept: text/event-stream\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut sse = Sse { lines: BufReader::new(stream) };
        let status = sse.line().await.unwrap();
        assert!(status.contains(" 200 "), "{status}");
        while !sse.line().await.unwrap().is_empty() {}
        sse
    }
}

/// A stream of server-sent events.
pub(super) struct Sse {
    lines: BufReader<TcpStream>,
}

/// One message of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) id: Option<u64>,
    pub(super) data: Value,
}

impl Sse {
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.lines.read_line(&mut line)).await.expect("a line in time");
        (read.unwrap() > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The next message that is no heartbeat; `None` at the stream's end.
    pub(super) async fn next(&mut self) -> Option<Told> {
        let mut told = Told { name: String::new(), id: None, data: Value::Null };
        loop {
            let line = self.line().await?;
            match line.split_once(':').map(|(field, value)| (field, value.trim_start())) {
                Some(("event", name)) => told.name = name.to_owned(),
                Some(("id", id)) => told.id = Some(id.parse().unwrap()),
                Some(("data", data)) => told.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && !told.name.is_empty() && told.name != "heartbeat" => return Some(told),
                _ if line.is_empty() => told = Told { name: String::new(), id: None, data: Value::Null },
                _ => {}
            }
        }
    }

    /// The next message of this type; others are passed over.
    pub(super) async fn until(&mut self, name: &str) -> Told {
        let wait = async {
            loop {
                let told = self.next().await.expect("the stream goes on");
                if told.name == name {
                    return told;
                }
            }
        };
        // Heartbeats alone would keep a stream going for ever.
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never told: {name}"))
    }
}
