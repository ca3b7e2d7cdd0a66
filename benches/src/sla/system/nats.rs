//! NATS with JetStream on the line: the server at the police side, a publisher at the school that waits for the stream's
//! acknowledgements, a durable push consumer at the police side.
//!
//! Invariant: the client speaks as the reference clients do: one kept connection, a reply subject for each acknowledgement, a message id
//! by which the stream removes repeats.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Carrier;
use super::kept::{Protocol, Publisher, Said};
use crate::error::{BenchError, Trying};
use crate::place::Place;
use crate::process::{Process, find};
use crate::sla::line::Line;
use crate::sla::presses::{alarm, number};
use crate::sla::tally::Arrival;

pub(super) const SETTINGS: &str = "TCP_NODELAY, pings after 10 s of silence on both sides, reconnects after 250 ms, sends again what the \
    stream has not acknowledged, with message ids; file storage as by default, which syncs every two minutes";
const PORT: u16 = 4_222;
const STREAM: &str = "ALARMS";
const SUBJECT: &str = "school-001.alarm";
const ACKS: &str = "_INBOX.bench-publisher";
const DELIVER: &str = "_deliver.police";
const REPLIES: &str = "_INBOX.bench-police";
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of one message: more than anything here sends or asks for.
const MESSAGE_BYTES: usize = 1 << 20;
/// Bytes of one line of the protocol.
const LINE_BYTES: u64 = 64 << 10;

/// What the program calls itself.
pub(super) fn version() -> String {
    let output = find("nats-server").and_then(|program| Command::new(program).arg("--version").output().ok());
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// See the module.
pub(super) struct Nats {
    publisher: Publisher<Session>,
    _server: Process,
}

impl Nats {
    pub(super) fn start(line: &Line, scratch: &Path, arrivals: Sender<Arrival>) -> Result<Self, BenchError> {
        let address = SocketAddr::new(line.far_ip(), PORT);
        let server = server(address, Place::Inside(line.far()), scratch)?;
        line.far().enter(|| subscribe(address, arrivals))??;
        let publisher = line.near().enter(|| Publisher::connect(Session, address))??;
        Ok(Self { publisher, _server: server })
    }
}

impl Carrier for Nats {
    fn press(&mut self, number: u32) {
        self.publisher.publish(number);
    }
}

fn server(address: SocketAddr, place: Place<'_>, scratch: &Path) -> Result<Process, BenchError> {
    let program = find("nats-server").ok_or_else(|| BenchError::answer("the search for nats-server", "nothing"))?;
    let dir = scratch.join("nats");
    std::fs::create_dir_all(&dir).trying_on("make", &dir)?;
    let config = dir.join("nats.conf");
    let text = format!(
        "host: \"{}\"\nport: {}\nping_interval: \"10s\"\njetstream {{ store_dir: \"{}\" }}\n",
        address.ip(),
        address.port(),
        dir.display()
    );
    std::fs::write(&config, text).trying_on("write", &config)?;
    let mut command = place.command(program);
    command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::spawn("nats-server", &mut command)?;
    super::listens("nats-server", address, place, &mut process, PATIENCE)?;
    Ok(process)
}

/// One operation of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operation {
    Ping,
    Message { subject: String, reply: Option<String>, payload: Vec<u8> },
    Other(String),
}

fn read(reader: &mut impl BufRead) -> Result<Operation, BenchError> {
    let mut line = String::new();
    let size = reader.take(LINE_BYTES).read_line(&mut line).trying("read from the NATS server")?;
    if size == 0 {
        return Err(BenchError::answer("the NATS server", "nothing: the connection was closed"));
    }
    let strange = || BenchError::answer("the NATS server", format!("{line:?}"));
    let mut words = line.split_whitespace();
    match words.next() {
        Some("PING") => Ok(Operation::Ping),
        // MSG <subject> <subscription> [reply] <bytes>, and HMSG with the bytes of its headers before the bytes of all.
        Some(kind @ ("MSG" | "HMSG")) => {
            let words: Vec<&str> = words.collect();
            let sizes = if kind == "MSG" { 1 } else { 2 };
            let (names, sizes) = words.split_at_checked(words.len().saturating_sub(sizes)).ok_or_else(strange)?;
            let numbers: Option<Vec<usize>> = sizes.iter().map(|size| size.parse().ok()).collect();
            let (Some(numbers), Some(subject)) = (numbers, names.first()) else { return Err(strange()) };
            let (total, headers) = match numbers[..] {
                [total] => (total, 0),
                [headers, total] => (total, headers),
                _ => return Err(strange()),
            };
            if total > MESSAGE_BYTES || headers > total {
                return Err(strange());
            }
            let mut payload = vec![0; total + 2];
            reader.read_exact(&mut payload).trying("read from the NATS server")?;
            payload.truncate(total);
            let reply = names.get(2).map(|reply| (*reply).to_owned());
            Ok(Operation::Message { subject: (*subject).to_owned(), reply, payload: payload.split_off(headers) })
        }
        Some(_) => Ok(Operation::Other(line.trim_end().to_owned())),
        None => Err(strange()),
    }
}

/// The beginning of a connection: the server introduces itself, then we do.
fn greet(socket: &mut TcpStream, reader: &mut BufReader<TcpStream>, subscribe: &str) -> Result<(), BenchError> {
    match read(reader)? {
        Operation::Other(line) if line.starts_with("INFO ") => {}
        other => return Err(BenchError::answer("the NATS server to a connection", format!("{other:?}"))),
    }
    let options = json!({ "verbose": false, "pedantic": false, "headers": true, "lang": "rust", "version": "0.1.0", "protocol": 1 });
    let words = format!("CONNECT {options}\r\n{subscribe}PING\r\n");
    socket.write_all(words.as_bytes()).trying("greet the NATS server")?;
    loop {
        match read(reader)? {
            Operation::Other(line) if line == "PONG" => return Ok(()),
            Operation::Other(line) if line.starts_with("-ERR") => {
                return Err(BenchError::answer("the NATS server", line));
            }
            _ => {}
        }
    }
}

/// Makes stream and consumer, and reads what the consumer is pushed. To be called where the police side is.
fn subscribe(address: SocketAddr, arrivals: Sender<Arrival>) -> Result<(), BenchError> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).trying(format!("connect to {address}"))?;
    socket.set_nodelay(true).trying("set a socket up")?;
    let mut reader = BufReader::new(socket.try_clone().trying("share a socket")?);
    greet(&mut socket, &mut reader, &format!("SUB {DELIVER} 1\r\nSUB {REPLIES} 2\r\n"))?;
    let stream = json!({
        "name": STREAM, "subjects": [SUBJECT], "storage": "file", "retention": "limits", "num_replicas": 1,
        "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "discard": "old",
    });
    ask(&mut socket, &mut reader, &format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream)?;
    let consumer = json!({ "stream_name": STREAM, "config": {
        "durable_name": "police", "deliver_subject": DELIVER, "deliver_policy": "all", "ack_policy": "explicit",
        "replay_policy": "instant", "ack_wait": 30_000_000_000_u64,
    } });
    ask(&mut socket, &mut reader, &format!("$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.police"), &consumer)?;
    let follow = move || {
        while let Ok(operation) = read(&mut reader) {
            let at = Instant::now();
            let answer = match operation {
                Operation::Ping => "PONG\r\n".to_owned(),
                Operation::Message { payload, reply: Some(reply), .. } => {
                    let number = number(&String::from_utf8_lossy(&payload)).unwrap_or(0);
                    if arrivals.send(Arrival { number, at }).is_err() {
                        return;
                    }
                    format!("PUB {reply} 4\r\n+ACK\r\n")
                }
                _ => continue,
            };
            if socket.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("subscriber".into()).spawn(follow).trying("start a thread")?;
    Ok(())
}

/// One question to JetStream's API.
fn ask(
    socket: &mut TcpStream,
    reader: &mut BufReader<TcpStream>,
    subject: &str,
    body: &Value,
) -> Result<(), BenchError> {
    let body = body.to_string();
    let words = format!("PUB {subject} {REPLIES} {}\r\n{body}\r\n", body.len());
    socket.write_all(words.as_bytes()).trying("ask the NATS server")?;
    loop {
        if let Operation::Message { subject: of, payload, .. } = read(reader)?
            && of == REPLIES
        {
            let answer: Value = serde_json::from_slice(&payload).unwrap_or(Value::Null);
            return if answer.is_object() && answer["error"].is_null() {
                Ok(())
            } else {
                Err(BenchError::answer(subject, String::from_utf8_lossy(&payload)))
            };
        }
    }
}

/// The publisher's connection.
struct Session;

impl Protocol for Session {
    fn greet(&self, socket: &mut TcpStream, reader: &mut BufReader<TcpStream>) -> Result<(), BenchError> {
        greet(socket, reader, &format!("SUB {ACKS}.* 1\r\n"))
    }

    fn message(&self, number: u32, _again: bool) -> Vec<u8> {
        let (headers, alarm) = (format!("NATS/1.0\r\nNats-Msg-Id: {number}\r\n\r\n"), alarm(number));
        let (before, total) = (headers.len(), headers.len() + alarm.len());
        format!("HPUB {SUBJECT} {ACKS}.{number} {before} {total}\r\n{headers}{alarm}\r\n").into_bytes()
    }

    fn ping(&self) -> &'static [u8] {
        b"PING\r\n"
    }

    fn pong(&self) -> &'static [u8] {
        b"PONG\r\n"
    }

    fn read(&self, reader: &mut BufReader<TcpStream>) -> Result<Said, BenchError> {
        Ok(match read(reader)? {
            Operation::Ping => Said::Ping,
            Operation::Message { subject, payload, .. } => taken(&subject, &payload).map_or(Said::Other, Said::Taken),
            Operation::Other(_) => Said::Other,
        })
    }
}

/// The number of the message that the stream acknowledges; an error in its place acknowledges nothing.
fn taken(subject: &str, payload: &[u8]) -> Option<u32> {
    let answer: Value = serde_json::from_slice(payload).ok()?;
    let number = subject.strip_prefix(ACKS)?.strip_prefix('.')?.parse().ok()?;
    answer["error"].is_null().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Result<Operation, BenchError> {
        read(&mut &bytes[..])
    }

    #[test]
    fn what_a_server_says() {
        assert_eq!(of(b"PING\r\n").unwrap(), Operation::Ping);
        assert_eq!(of(b"+OK\r\n").unwrap(), Operation::Other("+OK".into()));
        let message = |reply: Option<&str>, payload: &[u8]| Operation::Message {
            subject: "a.b".into(),
            reply: reply.map(str::to_owned),
            payload: payload.to_vec(),
        };
        assert_eq!(of(b"MSG a.b 1 5\r\nhello\r\n").unwrap(), message(None, b"hello"));
        assert_eq!(of(b"MSG a.b 1 r.1 0\r\n\r\n").unwrap(), message(Some("r.1"), b""));
        assert_eq!(of(b"HMSG a.b 1 r.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n").unwrap(), message(Some("r.1"), b"hi"));
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic() {
        for bytes in [
            &b""[..],
            b"\r\n",
            b"MSG\r\n",
            b"MSG 5\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 99999999\r\n",
            b"MSG a 1 5\r\nhel",
            b"HMSG a 1 9 5\r\nhello\r\n",
            b"HMSG a\r\n",
        ] {
            assert!(of(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_a_publisher_sends_and_what_it_takes_as_an_answer() {
        let text = String::from_utf8(Session.message(7, false)).unwrap();
        assert!(text.starts_with(
            "HPUB school-001.alarm _INBOX.bench-publisher.7 28 328\r\nNATS/1.0\r\nNats-Msg-Id: 7\r\n\r\n{"
        ));
        assert_eq!(taken("_INBOX.bench-publisher.7", br#"{"stream":"ALARMS","seq":1}"#), Some(7));
        assert_eq!(taken("_INBOX.bench-publisher.7", br#"{"error":{"code":503}}"#), None);
        assert_eq!(taken("_INBOX.other.7", br#"{"stream":"ALARMS"}"#), None);
        assert_eq!(taken("_INBOX.bench-publisher.7", b""), None);
    }
}
