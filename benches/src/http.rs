//! A small blocking HTTP/1.1 client over one connection that is kept: what a panel at a gate would do.
//!
//! Invariant: what it holds of an answer is bounded by [`BODY_BYTES`], and no wait is longer than [`PATIENCE`].

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::{BenchError, Trying};

/// Longer than any answer takes unless the node hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one answer: a page of events is far below it.
const BODY_BYTES: u64 = 16 << 20;
/// Bytes of one header line.
const LINE_BYTES: u64 = 16 << 10;

/// What a node answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn json(&self, from: &str) -> Result<serde_json::Value, BenchError> {
        serde_json::from_slice(&self.body).map_err(|error| BenchError::answer(from, error.to_string()))
    }
}

/// What stands before a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) chunked: bool,
    length: u64,
}

/// A connection to one node.
#[derive(Debug)]
pub(crate) struct Connection {
    base: String,
    socket: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to `base`, which is `http://ip:port`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(crate) fn open(base: &str) -> Result<Self, BenchError> {
        let address = base.trim_start_matches("http://").parse::<SocketAddr>();
        let address = address.map_err(|_| BenchError::answer("lab.json", format!("{base:?}, not http://ip:port")))?;
        let socket = TcpStream::connect_timeout(&address, PATIENCE).trying(format!("connect to {base}"))?;
        let set = socket.set_nodelay(true).and_then(|()| socket.set_read_timeout(Some(PATIENCE)));
        set.and_then(|()| socket.set_write_timeout(Some(PATIENCE))).trying("set a socket up")?;
        let reader = BufReader::new(socket.try_clone().trying("share a socket")?);
        Ok(Self { base: base.to_owned(), socket, reader })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The connection broke, or what came is no HTTP.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<Answer, BenchError> {
        self.begin(method, path, "application/json", body)?;
        self.finish(path)
    }

    /// Reads the answer to the last [`begin`](Self::begin), which went to `path`.
    ///
    /// # Errors
    /// The connection broke, or what came is no HTTP.
    pub(crate) fn finish(&mut self, path: &str) -> Result<Answer, BenchError> {
        let head = read_head(&mut self.reader, &format!("{}{path}", self.base))?;
        let mut content = Vec::new();
        let read = if head.chunked {
            Chunked::new(&mut self.reader).take(BODY_BYTES).read_to_end(&mut content)
        } else {
            (&mut self.reader).take(head.length.min(BODY_BYTES)).read_to_end(&mut content)
        };
        read.trying(format!("read the answer of {}{path}", self.base))?;
        Ok(Answer { status: head.status, body: content })
    }

    /// As [`ask`](Self::ask), and JSON is expected with status 200.
    ///
    /// # Errors
    /// Anything else.
    pub(crate) fn get(&mut self, path: &str) -> Result<serde_json::Value, BenchError> {
        let answer = self.ask("GET", path, "")?;
        if answer.status != 200 {
            return Err(BenchError::answer(format!("{}{path}", self.base), answer.status.to_string()));
        }
        answer.json(path)
    }

    /// Sends a request and reads the head of the answer.
    pub(crate) fn send(&mut self, method: &str, path: &str, accept: &str, body: &str) -> Result<Head, BenchError> {
        self.begin(method, path, accept, body)?;
        read_head(&mut self.reader, &format!("{}{path}", self.base))
    }

    /// Sends a request, whose answer [`finish`](Self::finish) reads.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn begin(&mut self, method: &str, path: &str, accept: &str, body: &str) -> Result<(), BenchError> {
        let host = self.base.trim_start_matches("http://");
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let length = body.len();
        // One write: one packet, as a careful client sends it.
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
        );
        self.socket.write_all(request.as_bytes()).trying(format!("ask {}{path}", self.base))
    }

    /// The part that reads, for an answer without end.
    pub(crate) fn into_reader(self) -> BufReader<TcpStream> {
        self.reader
    }
}

fn read_head(reader: &mut impl BufRead, from: &str) -> Result<Head, BenchError> {
    let first = line(reader, from)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut head = Head {
        status: status.ok_or_else(|| BenchError::answer(from, format!("{first:?}, which is no HTTP")))?,
        chunked: false,
        length: 0,
    };
    loop {
        let line = line(reader, from)?;
        let Some((name, value)) = line.split_once(':') else { return Ok(head) };
        match name.to_ascii_lowercase().as_str() {
            "transfer-encoding" => head.chunked = value.trim().eq_ignore_ascii_case("chunked"),
            "content-length" => head.length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
}

fn line(reader: &mut impl BufRead, from: &str) -> Result<String, BenchError> {
    let mut line = String::new();
    let read = reader.take(LINE_BYTES).read_line(&mut line).trying(format!("read the answer of {from}"))?;
    if read == 0 {
        return Err(BenchError::answer(from, "nothing: the connection was closed"));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The content of a chunked body (RFC 9112, section 7.1).
#[derive(Debug)]
pub(crate) struct Chunked<R> {
    reader: R,
    /// Bytes of the current chunk that are still to come.
    left: u64,
    /// A chunk has been read, whose line break stands before the next size.
    between: bool,
    ended: bool,
}

impl<R: BufRead> Chunked<R> {
    /// The body that begins at `reader`.
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, left: 0, between: false, ended: false }
    }

    fn next_chunk(&mut self) -> std::io::Result<()> {
        let broken = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
        let mut next = || -> std::io::Result<String> {
            let mut text = String::new();
            (&mut self.reader).take(LINE_BYTES).read_line(&mut text)?;
            if text.ends_with('\n') {
                Ok(text.trim().to_owned())
            } else {
                Err(std::io::ErrorKind::UnexpectedEof.into())
            }
        };
        if self.between && !next()?.is_empty() {
            return Err(broken("a chunk is longer than it says"));
        }
        let size = next()?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(digits, 16).map_err(|_| broken("a chunk without a size"))?;
        self.between = true;
        if self.left == 0 {
            while !next()?.is_empty() {}
            self.ended = true;
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.ended && !buffer.is_empty() {
            self.next_chunk()?;
        }
        if self.ended {
            return Ok(0);
        }
        let read = (&mut self.reader).take(self.left).read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn chunks_come_together_however_they_are_cut() {
        let body: &[u8] = b"4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\nTrailer: x\r\n\r\nnext";
        for capacity in 1..20 {
            let mut reader = BufReader::with_capacity(capacity, body);
            let mut text = String::new();
            Chunked::new(&mut reader).read_to_string(&mut text).unwrap();
            assert_eq!(text, "abcdefg", "{capacity}");
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "next", "{capacity}");
        }
    }

    #[test]
    fn a_cut_or_false_body_is_an_error() {
        for body in [&b"4\r\nab"[..], b"4\r\nabcd\r\n", b"zz\r\n", b"2\r\nabcd\r\n0\r\n\r\n", b""] {
            let read = Chunked::new(body).read_to_end(&mut Vec::new());
            assert!(read.is_err(), "{body:?}");
        }
    }

    #[test]
    fn several_answers_on_one_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut socket = listener.accept().unwrap().0;
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let mut bodies = Vec::new();
            for answer in [
                "HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n",
                "HTTP/1.1 204 No Content\r\n\r\n",
            ] {
                let mut length = 0;
                loop {
                    let line = line(&mut reader, "client").unwrap();
                    if line.is_empty() {
                        break;
                    }
                    if let Some(value) = line.strip_prefix("Content-Length: ") {
                        length = value.parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                bodies.push(String::from_utf8(body).unwrap());
                socket.write_all(answer.as_bytes()).unwrap();
            }
            bodies
        });
        let mut connection = Connection::open(&base).unwrap();
        assert_eq!(connection.ask("POST", "/a", "{\"kind\":1}").unwrap(), Answer { status: 202, body: b"{}".to_vec() });
        assert_eq!(connection.get("/b").unwrap(), serde_json::json!([1]));
        assert_eq!(connection.ask("POST", "/c", "x").unwrap().status, 204);
        assert_eq!(server.join().unwrap(), ["{\"kind\":1}", "", "x"]);
        assert!(connection.ask("GET", "/d", "").is_err());
    }
}
