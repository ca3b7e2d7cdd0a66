//! Mosquitto on the line, in the two ways that it is set up: a publisher at the school and the broker at the police side, or a broker at
//! each end with a bridge between them.
//!
//! Invariant: QoS 1 on every hop with sessions that are kept, no limit to what is in flight, and no waiting to collect in any socket.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use super::Carrier;
use super::kept::{KEEP_ALIVE, Protocol, Publisher, Said};
use crate::error::{BenchError, Trying};
use crate::mqtt::{self, Client, Packet};
use crate::place::Place;
use crate::process::{Process, find};
use crate::sla::line::Line;
use crate::sla::presses::{alarm, number};
use crate::sla::tally::Arrival;

pub(super) const SETTINGS: &str = "TCP_NODELAY, keep-alive 10 s, kept sessions, no limit in flight, reconnects after 250 ms, sends again \
    what is not acknowledged; persistence as by default, which syncs nothing";
pub(super) const BRIDGE_SETTINGS: &str = "as above; bridge with QoS 1, keep-alive 10 s, reconnects after 1 s";
const PORT: u16 = 1_883;
const TOPIC: &str = "school-001/alarm";
/// How long a broker may take to listen, and the bridge to be there.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the subscriber may be without a message: longer than any run.
const SUBSCRIBER_PATIENCE: Duration = Duration::from_secs(3_600);

/// What the program calls itself.
pub(super) fn version() -> String {
    find("mosquitto").map(|program| crate::foundation::mosquitto::version(&program)).unwrap_or_default()
}

/// See the module.
pub(super) struct Mqtt {
    publisher: Publisher<Session>,
    _brokers: Vec<Process>,
}

impl Mqtt {
    /// Without a bridge.
    pub(super) fn start(line: &Line, scratch: &Path, arrivals: Sender<Arrival>) -> Result<Self, BenchError> {
        let police = SocketAddr::new(line.far_ip(), PORT);
        let broker = broker("police", police, "", Place::Inside(line.far()), scratch)?;
        line.far().enter(|| subscribe(police, arrivals))??;
        let publisher = line.near().enter(|| Publisher::connect(Session, police))??;
        Ok(Self { publisher, _brokers: vec![broker] })
    }

    /// With one.
    pub(super) fn bridged(line: &Line, scratch: &Path, arrivals: Sender<Arrival>) -> Result<Self, BenchError> {
        let (school, police) = (SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)), SocketAddr::new(line.far_ip(), PORT));
        let theirs = broker("police", police, "", Place::Inside(line.far()), scratch)?;
        let bridge = format!(
            "connection police\naddress {police}\ntopic {TOPIC} out 1\ncleansession false\nkeepalive_interval {}\n\
             restart_timeout 1\nbridge_protocol_version mqttv311\nnotifications true\nnotifications_local_only true\n",
            KEEP_ALIVE.as_secs()
        );
        let ours = broker("school", school, &bridge, Place::Inside(line.near()), scratch)?;
        line.far().enter(|| subscribe(police, arrivals))??;
        line.near().enter(|| bridge_is_up(school))??;
        let publisher = line.near().enter(|| Publisher::connect(Session, school))??;
        Ok(Self { publisher, _brokers: vec![theirs, ours] })
    }
}

impl Carrier for Mqtt {
    fn press(&mut self, number: u32) {
        self.publisher.publish(number);
    }
}

/// Starts a broker and waits until it listens.
fn broker(
    name: &str,
    address: SocketAddr,
    more: &str,
    place: Place<'_>,
    scratch: &Path,
) -> Result<Process, BenchError> {
    let program = find("mosquitto").ok_or_else(|| BenchError::answer("the search for mosquitto", "nothing"))?;
    let dir = scratch.join(format!("mosquitto-{name}"));
    std::fs::create_dir_all(&dir).trying_on("make", &dir)?;
    let config = dir.join("mosquitto.conf");
    // As root it would become another user, who may not write to the folder.
    let text = format!(
        "listener {} {}\nallow_anonymous true\npersistence true\npersistence_location {}/\nset_tcp_nodelay true\n\
         max_inflight_messages 0\nmax_queued_messages 0\nlog_dest none\nuser root\n{more}",
        address.port(),
        address.ip(),
        dir.display()
    );
    std::fs::write(&config, text).trying_on("write", &config)?;
    let mut command = place.command(program);
    command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::spawn("mosquitto", &mut command)?;
    super::listens("mosquitto", address, place, &mut process, PATIENCE)?;
    Ok(process)
}

/// To be called where the police side is.
fn subscribe(address: SocketAddr, arrivals: Sender<Arrival>) -> Result<(), BenchError> {
    let mut client = Client::connect(address, "bench-subscriber", false, SUBSCRIBER_PATIENCE)?;
    client.subscribe(TOPIC)?;
    let read = move || {
        while let Ok(packet) = client.receive() {
            let Packet::Publish { id, payload, .. } = packet else { continue };
            let at = Instant::now();
            let number = number(&String::from_utf8_lossy(&payload)).unwrap_or(0);
            if arrivals.send(Arrival { number, at }).is_err() || client.acknowledge(id).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("subscriber".into()).spawn(read).trying("start a thread")?;
    Ok(())
}

/// Waits until the bridge of the broker at `address` is connected, which it says in a retained message of its own.
fn bridge_is_up(address: SocketAddr) -> Result<(), BenchError> {
    let mut client = Client::connect(address, "bench-looks", true, PATIENCE)?;
    client.subscribe("$SYS/broker/connection/+/state")?;
    loop {
        match client.receive()? {
            Packet::Publish { id, payload, .. } => {
                client.acknowledge(id)?;
                if payload == b"1" {
                    return Ok(());
                }
            }
            other => return Err(BenchError::answer("mosquitto about its bridge", format!("{other:?}"))),
        }
    }
}

/// The publisher's session.
struct Session;

impl Protocol for Session {
    fn greet(&self, socket: &mut TcpStream, reader: &mut BufReader<TcpStream>) -> Result<(), BenchError> {
        socket.write_all(&mqtt::connect("bench-publisher", false, KEEP_ALIVE)).trying("greet the MQTT broker")?;
        match mqtt::read_packet(reader)? {
            Packet::ConnAck(0) => Ok(()),
            other => Err(BenchError::answer("the MQTT broker to CONNECT", format!("{other:?}"))),
        }
    }

    fn message(&self, number: u32, again: bool) -> Vec<u8> {
        // A run has far fewer alarms than MQTT has numbers.
        mqtt::publish(TOPIC, u16::try_from(number).unwrap_or(u16::MAX), alarm(number).as_bytes(), again)
    }

    fn ping(&self) -> &'static [u8] {
        &mqtt::PING
    }

    fn pong(&self) -> &'static [u8] {
        // A broker does not ask.
        &[]
    }

    fn read(&self, reader: &mut BufReader<TcpStream>) -> Result<Said, BenchError> {
        Ok(match mqtt::read_packet(reader)? {
            Packet::PubAck(number) => Said::Taken(number.into()),
            _ => Said::Other,
        })
    }
}
