//! A small blocking HTTP/1.1 client, independent of the product's own: one connection a request.

use std::io::{self, BufRead, BufReader, Read, Write};

use serde_json::Value;

use super::socket::Socket;

/// What a node answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON; `Null` if there is none.
    #[must_use]
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why} in {self:?}"))
    }

    /// The code of an error answer; empty if it is none.
    #[must_use]
    pub fn error(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

/// Asks for `path` of `base`, which is `http://ip:port` or `unix:/path`.
///
/// # Errors
/// When nobody answers: the node is down or on its way.
pub fn get(base: &str, path: &str) -> io::Result<Answer> {
    request(base, "GET", path, &[], b"")
}

/// Posts JSON.
///
/// # Errors
/// As [`get`].
pub fn post(base: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> io::Result<Answer> {
    let headers: Vec<_> = headers.iter().copied().chain([("Content-Type", "application/json")]).collect();
    request(base, "POST", path, &headers, body.to_string().as_bytes())
}

/// Any request.
///
/// # Errors
/// As [`get`].
pub fn request(base: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
    let mut stream = Socket::connect(base)?;
    let length = body.len().to_string();
    let own = [("Connection", "close"), ("Content-Length", length.as_str())];
    stream.write_all(head(base, method, path, headers.iter().chain(&own)).as_bytes())?;
    // A node may refuse a body unread and close: its answer is what counts.
    let _ = stream.write_all(body);
    let mut reader = BufReader::new(stream);
    let (status, headers) = read_head(&mut reader)?;
    let mut body = Vec::new();
    let is = |name: &str, value: &str| headers.iter().any(|(have, is)| have == name && is == value);
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    if is("transfer-encoding", "chunked") {
        Chunked::new(reader).read_to_end(&mut body)?;
    } else if let Some(length) = length {
        reader.take(length).read_to_end(&mut body)?;
    } else if status != 204 {
        reader.read_to_end(&mut body)?;
    }
    let body = String::from_utf8(body).map_err(|_| broken("the body is not UTF-8"))?;
    Ok(Answer { status, headers, body })
}

pub(super) fn head<'a>(
    base: &str,
    method: &str,
    path: &str,
    headers: impl Iterator<Item = &'a (&'a str, &'a str)>,
) -> String {
    // A Unix socket has no host: any will do.
    let host = base.strip_prefix("http://").unwrap_or("localhost");
    let lines: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")
}

pub(super) fn read_head(reader: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let first = line(reader)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| broken(&first))?;
    let mut headers = Vec::new();
    loop {
        let line = line(reader)?;
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None if line.is_empty() => return Ok((status, headers)),
            None => return Err(broken(&line)),
        }
    }
}

pub(super) fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The content of a chunked body (RFC 9112 section 7.1).
pub(super) struct Chunked<R> {
    reader: R,
    left: usize,
    begun: bool,
    ended: bool,
}

impl<R: BufRead> Chunked<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, left: 0, begun: false, ended: false }
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        if self.begun && !line(&mut self.reader)?.is_empty() {
            return Err(broken("a chunk does not end where it should"));
        }
        let size = line(&mut self.reader)?;
        self.left = usize::from_str_radix(size.trim(), 16).map_err(|_| broken(&size))?;
        self.begun = true;
        self.ended = self.left == 0;
        Ok(())
    }
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            self.next_chunk()?;
        }
        if self.ended {
            return Ok(0);
        }
        let wanted = buffer.len().min(self.left);
        let read = self.reader.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read;
        Ok(read)
    }
}
