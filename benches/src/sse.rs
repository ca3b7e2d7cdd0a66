//! A node's event stream, read by blocking: each message with the instant at which its last byte was read.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::time::Instant;

use crate::error::{BenchError, Trying};
use crate::http::{Chunked, Connection};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Its type.
    pub(crate) name: String,
    /// Its content.
    pub(crate) data: String,
    /// When it was here.
    pub(crate) at: Instant,
}

/// An open stream. Nodes send a heartbeat every five seconds, so one that is silent for longer than the connection's patience is broken.
#[derive(Debug)]
pub(crate) struct Stream<R = BufReader<Chunked<BufReader<TcpStream>>>> {
    path: String,
    reader: R,
}

impl Stream {
    /// Opens the stream at `path` of `base`.
    ///
    /// # Errors
    /// The node does not answer with a stream.
    pub(crate) fn open(base: &str, path: &str) -> Result<Self, BenchError> {
        let mut connection = Connection::open(base)?;
        let head = connection.send("GET", path, "text/event-stream", "")?;
        if head.status != 200 || !head.chunked {
            return Err(BenchError::answer(format!("{base}{path}"), format!("{}, no stream", head.status)));
        }
        let reader = BufReader::new(Chunked::new(connection.into_reader()));
        Ok(Self { path: format!("{base}{path}"), reader })
    }
}

impl<R: BufRead> Stream<R> {
    /// The next message that is no heartbeat.
    ///
    /// # Errors
    /// The stream broke or ended.
    pub(crate) fn next(&mut self) -> Result<Message, BenchError> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line).trying(format!("read the stream {}", self.path))?;
            let at = Instant::now();
            if read == 0 {
                return Err(BenchError::answer(self.path.as_str(), "the end of the stream"));
            }
            let line = line.trim_end_matches(['\r', '\n']);
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut name),
                "data" => data.push_str(value),
                "" if line.is_empty() => {
                    if !data.is_empty() && name != "heartbeat" {
                        return Ok(Message { name, data, at });
                    }
                    (name, data) = (String::new(), String::new());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_without_heartbeats_and_comments() {
        let text = "retry: 1000\n\n: hello\n\nevent: heartbeat\ndata: {}\n\nevent: alarm\nid: 7\ndata: {\"a\":1}\n\n\
            event: stage\ndata: x\n\nevent: cut\ndata: y\n";
        let mut stream = Stream { path: "test".into(), reader: text.as_bytes() };
        let mut next = || stream.next().map(|message| (message.name, message.data));
        assert_eq!(next().unwrap(), ("alarm".into(), "{\"a\":1}".into()));
        assert_eq!(next().unwrap(), ("stage".into(), "x".into()));
        assert!(next().unwrap_err().to_string().contains("the end of the stream"));
    }
}
