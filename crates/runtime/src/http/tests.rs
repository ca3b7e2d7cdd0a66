//! Over real sockets: what a client sees.

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use huxiao_core::{Span, limits};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;

use super::*;
use crate::clock::Clock;
use crate::config::Address;
use crate::shutdown::Shutdown;

#[derive(Deserialize)]
struct Press {
    button: String,
    times: u32,
}

fn routes(gate: SseGate) -> Router {
    let never_ending = move || {
        let gate = gate.clone();
        async move {
            let first = SseEvent { name: "alarm", id: Some("7\n8".into()), data: "{\"a\":1}\r\nb".into() };
            gate.open(tokio_stream::once(first).chain(tokio_stream::pending()))
        }
    };
    let presses = |Json(press): Json<Press>| async move { format!("{} {}", press.button, press.times) };
    let slow = || async {
        tokio::time::sleep(Span::from_millis(300)).await;
        "done"
    };
    let asked = |Query(press): Query<Press>| async move { format!("{} {}", press.button, press.times) };
    with_fallbacks(
        Router::new()
            .route("/presses", post(presses).get(asked))
            .route("/slow", get(slow))
            .route("/bytes", post(|body: axum::body::Bytes| async move { body.len().to_string() }))
            .route("/events", get(never_ending)),
    )
}

struct Node {
    address: Address,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

async fn start(address: &str) -> Node {
    let shutdown = Shutdown::new();
    let listener = bind(&address.parse().unwrap()).await.unwrap();
    let address = listener.address().clone();
    let router = routes(SseGate::new(shutdown.clone(), Clock::system()));
    let serving = tokio::spawn(serve(listener, router, shutdown.clone()));
    Node { address, shutdown, serving }
}

impl Node {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address.to_string()).await.unwrap()
    }

    async fn ask(&self, request: &str) -> String {
        answer_to(self.connect().await, request).await
    }
}

async fn answer_to<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Span::from_secs(15), stream.read_to_end(&mut answer)).await;
    let _ = reading.expect("the connection must end");
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn every_refusal_is_json_of_one_shape() {
    let node = start("127.0.0.1:0").await;
    let good = r#"{"button":"gate","times":2}"#;
    let answer = node.ask(&request("POST", "/presses", JSON, good)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("gate 2"), "{answer}");
    let answer = node.ask(&request("GET", "/presses?button=gate&times=3", "", "")).await;
    assert!(answer.ends_with("gate 3"), "{answer}");
    for (request, status, code) in [
        (request("GET", "/nothing", "", ""), "404 Not Found", "unknown_path"),
        (request("DELETE", "/presses", "", ""), "405 Method Not Allowed", "method_not_allowed"),
        (request("POST", "/presses", JSON, "{"), "400 Bad Request", "malformed_json"),
        (request("POST", "/presses", JSON, r#"{"button":1}"#), "422 Unprocessable Entity", "invalid_json"),
        (request("POST", "/presses", "", good), "415 Unsupported Media Type", "content_type"),
        (request("GET", "/presses?times=x", "", ""), "400 Bad Request", "invalid_query"),
    ] {
        let answer = node.ask(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], code);
        assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let node = start("127.0.0.1:0").await;
    let fits = node.ask(&request("POST", "/bytes", "", &"x".repeat(BODY_BYTES))).await;
    assert!(fits.ends_with("\r\n\r\n65536"), "{fits}");
    let told = node.ask("POST /bytes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 65537\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 413 ") && told.contains("too_large"), "before a byte of it came: {told}");
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let untold = format!(
        "POST /bytes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{}1\r\nx\r\n",
        chunk.repeat(4)
    );
    let untold = node.ask(&untold).await;
    assert!(untold.starts_with("HTTP/1.1 413 ") && untold.contains("too_large"), "{untold}");
}

#[tokio::test]
async fn what_is_no_request_costs_its_sender_only() {
    let node = start("127.0.0.1:0").await;
    let hello = String::from_utf8_lossy(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").into_owned();
    let long_head = format!("GET /slow HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(17_000));
    let many_heads = format!("GET /slow HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    let two_lengths =
        "POST /bytes HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".to_owned();
    for garbage in
        [hello, long_head, many_heads, two_lengths, "\0".repeat(100_000), "GET http://[ HTTP/1.1\r\n\r\n".into()]
    {
        let mut stream = node.connect().await;
        // The server may close before it has read all of it.
        let _ = stream.write_all(garbage.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Span::from_secs(15), stream.read_to_end(&mut answer)).await.expect("it must end");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let answer = node.ask(&request("GET", "/slow", "", "")).await;
    assert!(answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_ended() {
    let node = start("127.0.0.1:0").await;
    let began = std::time::Instant::now();
    let head = answer_to(node.connect().await, "GET /slow HTTP/1.1\r\nHost:");
    let body = answer_to(node.connect().await, "POST /bytes HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
    let idle = answer_to(node.connect().await, "");
    let (head, body, idle) = tokio::join!(head, body, idle);
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408") && body.contains("slow_body"), "{body}");
    assert!(idle.is_empty() || idle.starts_with("HTTP/1.1 408"), "{idle}");
    assert!((9..14).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_event_stream_begins_with_a_hint_and_ends_on_shutdown() {
    let node = start("127.0.0.1:0").await;
    let mut stream = node.connect().await;
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut text = String::new();
    while !text.contains("heartbeat") {
        let mut buffer = [0; 1_024];
        let read = tokio::time::timeout(Span::from_secs(8), stream.read(&mut buffer)).await;
        let length = read.expect("a heartbeat each five seconds").unwrap();
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    assert!(text.contains("content-type: text/event-stream") && text.contains("cache-control: no-store"), "{text}");
    assert!(text.contains("retry: 1000") || text.contains("retry:1000"), "{text}");
    assert!(text.contains("event: alarm\ndata: {\"a\":1} \ndata: b\nid: 78\n"), "{text}");
    assert!(text.contains("event: heartbeat\ndata: {\"at\":\"20"), "{text}");

    let asked = std::time::Instant::now();
    node.shutdown.request(Span::from_secs(60));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    node.serving.await.unwrap();
    assert!(asked.elapsed() < Span::from_secs(2), "an open stream held the end up for {:?}", asked.elapsed());
    assert!(String::from_utf8_lossy(&rest).contains("the node is stopping"));
    assert!(TcpStream::connect(node.address.to_string()).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn streams_beyond_the_limit_are_turned_away_and_a_closed_one_makes_room() {
    let shutdown = Shutdown::new();
    let gate = SseGate::new(shutdown.clone(), Clock::system());
    let open = || gate.open(tokio_stream::pending());
    let mut streams: Vec<Response> = (0..limits::SSE_STREAMS).map(|_| open().unwrap()).collect();
    let refused = open().unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.code), (503, "too_many_streams"));
    streams.pop();
    streams.push(open().unwrap());
    streams.clear();
    shutdown.request(Span::from_secs(1));
    assert_eq!(open().unwrap_err().code, "stopping");
}

#[tokio::test]
async fn an_answer_under_way_is_finished_and_an_idle_connection_does_not_wait() {
    let node = start("127.0.0.1:0").await;
    let mut idle = node.connect().await;
    idle.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let length = idle.read(&mut [0; 1_024]).await.unwrap();
    assert!(length > 0, "answered, and kept open");
    let mut busy = node.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Span::from_millis(100)).await;
    let asked = std::time::Instant::now();
    node.shutdown.request(Span::from_secs(60));
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    node.serving.await.unwrap();
    assert!(asked.elapsed() < Span::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn whatever_is_left_at_the_deadline_is_dropped() {
    let shutdown = Shutdown::new();
    let listener = bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.address().to_string();
    let router = Router::new().route("/", get(std::future::pending::<()>));
    let serving = tokio::spawn(serve(listener, router, shutdown.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Span::from_millis(50)).await;
    let asked = std::time::Instant::now();
    shutdown.request(Span::from_millis(200));
    serving.await.unwrap();
    assert!((200..1_000).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let node = start("127.0.0.1:0").await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = node.connect().await;
        stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 1_024]).await.unwrap() > 0);
        held.push(stream);
    }
    let mut waiting = node.connect().await;
    waiting.write_all(&request("GET", "/nothing", "", "").into_bytes()).await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Span::from_millis(200), waiting.read(&mut byte)).await;
    assert!(early.is_err(), "served beyond the limit");
    held.pop();
    let served = tokio::time::timeout(Span::from_secs(5), waiting.read(&mut byte)).await;
    assert_eq!(served.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_unix_socket_is_served_replaced_when_dead_and_removed_at_the_end() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let address = format!("unix:{}", path.display());
    // What a killed process leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let node = start(&address).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let answer = answer_to(UnixStream::connect(&path).await.unwrap(), &request("GET", "/slow", "", "")).await;
    assert!(answer.ends_with("done"), "{answer}");

    let second = bind(&address.parse().unwrap()).await.unwrap_err();
    assert!(second.to_string().starts_with(&format!("cannot listen on {address}: ")), "{second}");
    node.shutdown.request(Span::from_secs(5));
    node.serving.await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn an_address_in_use_is_said_with_its_name() {
    let node = start("127.0.0.1:0").await;
    let error = bind(&node.address).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}: Address already in use (os error 98)", node.address));
}
