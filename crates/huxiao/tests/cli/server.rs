//! A small HTTP server that plays a node: answers by a closure, one thread a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// `METHOD /path`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What to answer.
pub enum Answer {
    /// Status and body.
    Json(u16, String),
    /// An event stream: each piece is sent, with the pause after it. At the end the connection is closed.
    Stream(Vec<(String, Duration)>),
    /// The beginning of an answer, and then the connection breaks.
    Broken,
}

/// The server; it answers until the test process ends.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (requests.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, answer) = (log.clone(), answer.clone());
                // A client that goes away in the middle is what many of these tests are about.
                thread::spawn(move || drop(serve(stream, &log, &*answer)));
            }
        });
        Self { url, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The request lines that begin so.
    pub fn lines(&self, start: &str) -> Vec<String> {
        self.requests().iter().map(Request::line).filter(|line| line.starts_with(start)).collect()
    }
}

fn serve(
    stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    while let Some(request) = read(&mut lines)? {
        log.lock().unwrap().push(request.clone());
        match answer(&request) {
            Answer::Json(status, body) => {
                let length = body.len();
                write!(
                    out,
                    "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                )?;
            }
            Answer::Broken => {
                write!(out, "HTTP/1.1 202 x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{{")?;
                return out.shutdown(std::net::Shutdown::Both);
            }
            Answer::Stream(pieces) => {
                write!(out, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
                for (piece, pause) in pieces {
                    out.write_all(piece.as_bytes())?;
                    out.flush()?;
                    thread::sleep(pause);
                }
                return out.shutdown(std::net::Shutdown::Both);
            }
        }
    }
    Ok(())
}

fn read(lines: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if lines.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    lines.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() }))
}
