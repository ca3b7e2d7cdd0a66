//! Server-sent events, read by blocking.

use std::io::{self, BufReader, Write};

use serde_json::Value;

use super::http::{self, Chunked};
use super::socket::Socket;

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub name: String,
    /// Its id, if it has one of its own.
    pub id: Option<u64>,
    /// Its content.
    pub data: String,
}

impl Message {
    /// The content as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|why| panic!("{why} in {self:?}"))
    }
}

/// An open stream.
pub struct Stream {
    reader: BufReader<Chunked<BufReader<Socket>>>,
    socket: Socket,
}

impl Stream {
    /// Opens the stream at `path`, after `last_event_id` if given.
    ///
    /// # Errors
    /// When nobody answers, or with anything but 200.
    pub fn open(base: &str, path: &str, last_event_id: Option<u64>) -> io::Result<Self> {
        let mut socket = Socket::connect(base)?;
        let id = last_event_id.map(|id| id.to_string());
        let mut headers = vec![("Accept", "text/event-stream")];
        headers.extend(id.as_deref().map(|id| ("Last-Event-ID", id)));
        socket.write_all(http::head(base, "GET", path, headers.iter()).as_bytes())?;
        let mut reader = BufReader::new(socket.try_clone()?);
        let (status, _) = http::read_head(&mut reader)?;
        if status != 200 {
            return Err(io::Error::other(format!("{base}{path} answered {status}")));
        }
        Ok(Self { reader: BufReader::new(Chunked::new(reader)), socket })
    }

    /// The next message; heartbeats and comments are passed over.
    ///
    /// # Errors
    /// When the stream has ended, or nothing has come for half a minute.
    pub fn next_message(&mut self) -> io::Result<Message> {
        let (mut name, mut id, mut data) = (String::from("message"), None, Vec::new());
        loop {
            let line = http::line(&mut self.reader)?;
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "event" => name = value,
                "id" => id = value.parse().ok(),
                "data" => data.push(value),
                "" if line.is_empty() => {
                    if !data.is_empty() && name != "heartbeat" {
                        return Ok(Message { name, id, data: data.join("\n") });
                    }
                    (name, id) = (String::from("message"), None);
                    data.clear();
                }
                _ => {}
            }
        }
    }

    /// A way to end the stream from another thread.
    #[must_use]
    pub fn closer(&self) -> Closer {
        Closer(self.socket.try_clone().unwrap())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.socket.close();
    }
}

/// Ends a stream.
pub struct Closer(Socket);

impl Closer {
    /// Now.
    pub fn close(&self) {
        self.0.close();
    }
}
