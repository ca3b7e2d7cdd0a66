//! Mosquitto beside us: the Debian package's program, with one publisher and one subscriber at QoS 1.
//!
//! Invariant: it gets what helps it: its own thread for the subscriber, no waiting to collect in any socket, no log, and persistence as
//! its manual has it, which syncs nothing while messages pass.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::loopback::Pace;
use super::probe::ROW_BYTES;
use crate::error::{BenchError, Trying};
use crate::figures::Samples;
use crate::lab::free_port;
use crate::mqtt::{Client, Packet};
use crate::process::{Process, find};
use crate::scratch::Scratch;

/// How long one message may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the subscriber may wait without a message: other rounds run meanwhile.
const SUBSCRIBER_PATIENCE: Duration = Duration::from_secs(600);
const TOPIC: &str = "region/school-001/alarm";

/// A running broker with its two clients.
pub(crate) struct Mosquitto {
    /// What it calls itself.
    pub(crate) version: String,
    publisher: Client,
    messages: Receiver<Heard>,
    /// Number of the last message sent.
    last: u64,
    seen: HashSet<u64>,
    /// Messages that came twice, which QoS 1 allows.
    pub(crate) repeats: u64,
    _process: Process,
}

/// What the subscriber has heard: the message's number and when, or why there will be nothing more.
type Heard = Result<(u64, Instant), String>;

/// The times of one round.
pub(crate) struct Round {
    /// From before the write to the subscriber's hands.
    pub(crate) received: Samples,
    /// From before the write to the publisher's acknowledgement.
    pub(crate) acknowledged: Samples,
}

impl Mosquitto {
    /// Starts it in a folder of its own. Nothing if it is not installed.
    ///
    /// # Errors
    /// It is there and does not run.
    pub(crate) fn start(scratch: &Scratch) -> Result<Option<Self>, BenchError> {
        let Some(program) = find("mosquitto") else { return Ok(None) };
        let dir = scratch.folder("mosquitto")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let config = dir.join("mosquitto.conf");
        std::fs::write(&config, configuration(address.port(), &dir)).trying_on("write", &config)?;
        let mut command = Command::new(&program);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process::spawn("mosquitto", &mut command)?;
        wait_for(address, &mut process)?;
        let mut subscriber = Client::connect(address, "bench-subscriber", false, SUBSCRIBER_PATIENCE)?;
        subscriber.subscribe(TOPIC)?;
        let publisher = Client::connect(address, "bench-publisher", true, PATIENCE)?;
        let messages = listen(subscriber)?;
        let (version, seen) = (version(&program), HashSet::new());
        Ok(Some(Self { version, publisher, messages, last: 0, seen, repeats: 0, _process: process }))
    }

    /// Publishes up to `count` messages within `limit`, at the pace of the bench, one at a time.
    ///
    /// # Errors
    /// One was lost, or the broker is gone.
    pub(crate) fn round(&mut self, count: u32, limit: Duration) -> Result<Round, BenchError> {
        let mut round = Round { received: Samples::new(), acknowledged: Samples::new() };
        let mut pace = Pace::begin(count, limit);
        while pace.wait() {
            self.one(&mut round)?;
        }
        Ok(round)
    }

    fn one(&mut self, round: &mut Round) -> Result<(), BenchError> {
        self.last += 1;
        let mut payload = self.last.to_be_bytes().to_vec();
        payload.resize(ROW_BYTES, b'x');
        let began = Instant::now();
        let id = self.publisher.publish(TOPIC, &payload)?;
        match self.publisher.receive()? {
            Packet::PubAck(of) if of == id => round.acknowledged.record(began.elapsed()),
            other => return Err(BenchError::answer("mosquitto to PUBLISH", format!("{other:?}"))),
        }
        loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let late = |_| BenchError::Late { what: "a message through mosquitto".into(), seconds: PATIENCE.as_secs() };
            let heard = self.messages.recv_timeout(left).map_err(late)?;
            let (number, at) = heard.map_err(|why| BenchError::answer("mosquitto to its subscriber", why))?;
            if !self.seen.insert(number) {
                self.repeats += 1;
            } else if number == self.last {
                round.received.record(at.saturating_duration_since(began));
                return Ok(());
            }
        }
    }
}

/// The subscriber on a thread of its own, which ends with the broker.
fn listen(mut subscriber: Client) -> Result<Receiver<Heard>, BenchError> {
    let (tell, messages) = mpsc::channel();
    let listen = move || {
        loop {
            let heard = match subscriber.receive() {
                Ok(Packet::Publish { id, payload, .. }) => {
                    let at = Instant::now();
                    let number = payload.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                    subscriber.acknowledge(id).map(|()| (number, at)).map_err(|error| error.to_string())
                }
                Ok(other) => Err(format!("{other:?}")),
                Err(error) => Err(error.to_string()),
            };
            let over = heard.is_err();
            if tell.send(heard).is_err() || over {
                return;
            }
        }
    };
    thread::Builder::new().name("subscriber".into()).spawn(listen).trying("start a thread")?;
    Ok(messages)
}

fn configuration(port: u16, dir: &Path) -> String {
    // As root it would become another user, who may not write to the folder.
    format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
         set_tcp_nodelay true\nlog_dest none\nuser root\n",
        dir.display()
    )
}

/// What it calls itself.
pub(crate) fn version(program: &Path) -> String {
    let output = Command::new(program).arg("-h").output();
    let words = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    words.lines().next().unwrap_or("mosquitto, version unknown").to_owned()
}

fn wait_for(address: SocketAddr, process: &mut Process) -> Result<(), BenchError> {
    let began = Instant::now();
    while TcpStream::connect_timeout(&address, PATIENCE).is_err() {
        if let Some(status) = process.ended()? {
            let output = "nothing (its log is off)".to_owned();
            return Err(BenchError::Program { program: "mosquitto".into(), status: status.to_string(), output });
        }
        if began.elapsed() > PATIENCE {
            return Err(BenchError::Late { what: "mosquitto listens".into(), seconds: PATIENCE.as_secs() });
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_through_and_are_counted_where_it_is_installed() {
        let scratch = Scratch::new(None).unwrap();
        let Some(mut mosquitto) = Mosquitto::start(&scratch).unwrap() else {
            return println!("skipped: mosquitto is not installed");
        };
        assert!(mosquitto.version.contains("version"), "{}", mosquitto.version);
        let round = mosquitto.round(5, PATIENCE).unwrap();
        assert_eq!(round.received.round().unwrap().samples, 5);
        assert_eq!(round.acknowledged.round().unwrap().samples, 5);
        assert_eq!(mosquitto.repeats, 0);
    }
}
