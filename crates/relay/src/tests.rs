//! The relay's API over a real socket, with a region that cannot be reached: what a press is promised here does not hang on it.

mod paths;
mod stuck;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use huxiao_core::{Identity, Span};
use huxiao_pki::{Authority, Period};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::config::{Address, Loader};
use huxiao_runtime::host::{Host, Running};
use huxiao_runtime::metric;
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::systemd::Notifier;
use huxiao_store::Trial;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::uplink::interfaces::{self, Reader};

struct Node {
    running: Running,
    shutdown: Shutdown,
}

impl Node {
    async fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[("relay.brokers", "127.0.0.1:9")], Arc::new(interfaces::read)).await
    }

    /// With these keys set besides, and these eyes on the network interfaces.
    async fn start_with(dir: &Path, keys: &[(&str, &str)], reader: Reader) -> Self {
        let clock = Clock::system();
        if !dir.join("ca.pem").exists() {
            let authority = Authority::create(&"test".parse().unwrap(), Period::days(clock.wall(), 2)).unwrap();
            authority.save(&dir.join("ca.pem"), &dir.join("ca-key.pem")).unwrap();
            for (name, files) in
                [("relay/s1/gate", ""), ("broker/r1/n1", "n1-"), ("broker/r1/n2", "n2-"), ("broker/r1/n3", "n3-")]
            {
                let identity: Identity = format!("spiffe://test/{name}").parse().unwrap();
                let issued = authority.issue(&identity, Period::days(clock.wall(), 1), &[]).unwrap();
                let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.join(format!("{files}{name}")));
                issued.save(&cert, &key).unwrap();
            }
        }
        let path = |name: &str| dir.join(name).display().to_string();
        let flags = [
            ("tls.ca", path("ca.pem")),
            ("tls.cert", path("cert.pem")),
            ("tls.key", path("key.pem")),
            ("data.dir", path("data")),
            ("store.ballast", "1MiB".to_owned()),
        ];
        let config = Loader::new(crate::KEYS).flags(flags).flags(keys.iter().copied()).load().unwrap();
        let shutdown = Shutdown::new();
        let host = Host {
            clock,
            shutdown: shutdown.clone(),
            exposition: metric::install(),
            notifier: Notifier::new(None, None),
            version: "0",
            commit: "test",
            trial: Trial::InProcess,
            seed: 7,
        };
        Self { running: crate::start_with(config, host, reader).await.unwrap(), shutdown }
    }

    async fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> (StatusCode, Value) {
        let (status, body) = self.exchange(method, path, headers, body).await;
        let body = body
            .find('{')
            .map_or(Value::Null, |at| serde_json::from_str(&body[at..=body.rfind('}').unwrap()]).unwrap());
        (status, body)
    }

    async fn text(&self, path: &str) -> (StatusCode, String) {
        self.exchange("GET", path, "", "").await
    }

    async fn exchange(&self, method: &str, path: &str, headers: &str, body: &str) -> (StatusCode, String) {
        let Address::Socket(address) = self.running.http() else { panic!("a TCP address") };
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    async fn press(&self, headers: &str, body: &Value) -> (StatusCode, Value) {
        let headers = format!("Content-Type: application/json\r\n{headers}");
        self.call("POST", "/v1/events", &headers, &body.to_string()).await
    }

    async fn stop(self) {
        self.shutdown.request(Span::from_secs(5));
        self.running.finished().await.unwrap();
    }
}

#[tokio::test]
async fn a_press_is_kept_without_a_region_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let (status, answer) = node.press("", &json!({"kind": "panic", "device": "button-1", "note": "门口"})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let id = answer["id"].as_str().unwrap().to_owned();
    let (status, before) = node.call("GET", &format!("/v1/events/{id}"), "", "").await;
    assert_eq!((status, &before["kept"], &before["lamp"]), (StatusCode::OK, &json!(true), &json!("kept")));
    node.stop().await;

    let node = Node::start(dir.path()).await;
    let (status, after) = node.call("GET", &format!("/v1/events/{id}"), "", "").await;
    assert_eq!(status, StatusCode::OK);
    for member in ["id", "kind", "device", "note", "raised_at", "epoch", "relay_seq"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    let (_, second) = node.press("", &json!({"kind": "panic"})).await;
    let (_, second) = node.call("GET", &format!("/v1/events/{}", second["id"].as_str().unwrap()), "", "").await;
    assert!(second["epoch"].as_u64() > before["epoch"].as_u64(), "a start is a new epoch");
    let (_, open) = node.call("GET", "/v1/events?open=true", "", "").await;
    assert_eq!(open["events"].as_array().unwrap().len(), 2);
    node.stop().await;
}

#[tokio::test]
async fn the_same_key_twice_is_one_event_even_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let body = json!({"kind": "panic", "zone": "gate"});
    let (_, first) = node.press("Idempotency-Key: a1\r\n", &body).await;
    let (status, again) = node.press("Idempotency-Key: a1\r\n", &body).await;
    assert_eq!((status, &again["id"], &again["repeated"]), (StatusCode::ACCEPTED, &first["id"], &json!(true)));
    let (status, other) = node.press("Idempotency-Key: a1\r\n", &json!({"kind": "fire"})).await;
    assert_eq!((status, &other["error"]["code"]), (StatusCode::CONFLICT, &json!("key_reused")));
    node.stop().await;
    let node = Node::start(dir.path()).await;
    let (status, again) = node.press("Idempotency-Key: a1\r\n", &body).await;
    assert_eq!((status, &again["id"]), (StatusCode::ACCEPTED, &first["id"]));
    node.stop().await;
}

#[tokio::test]
async fn a_bad_body_costs_its_sender_only() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let long = "x".repeat(2_000);
    let bad = [
        (json!({"kind": "pannic"}), "unknown_kind"),
        (json!({"kind": "panic", "device": "no spaces"}), "bad_field"),
        (json!({"kind": "panic", "note": long}), "bad_field"),
        (json!({"kind": "panic", "note": "bell\u{7}"}), "bad_field"),
        (json!({"kind": "panic", "test": true, "drill": true}), "bad_field"),
        (json!({"kind": "panic", "colour": "red"}), "invalid_json"),
        (json!({"note": "no kind"}), "invalid_json"),
    ];
    for (body, code) in bad {
        let (status, answer) = node.press("", &body).await;
        assert!(status.is_client_error(), "{body}: {status}");
        assert_eq!(answer["error"]["code"], json!(code), "{body}");
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
    }
    let (status, _) = node.call("POST", "/v1/events", "Content-Type: application/json\r\n", "{\"kind\":").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = node.press("Idempotency-Key: \r\n", &json!({"kind": "panic"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, _) = node.call("GET", "/v1/events/nonsense", "", "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, list) = node.call("GET", "/v1/events", "", "").await;
    assert_eq!((status, list["events"].as_array().unwrap().len()), (StatusCode::OK, 0));
    node.stop().await;
}

#[tokio::test]
async fn health_says_in_words_that_no_broker_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    node.press("", &json!({"kind": "status"})).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let (status, answer) = node.call("GET", "/v1/status", "", "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&answer["connected"], &answer["pending"]["P3"]), (&json!(false), &json!(1)));
    assert_eq!(answer["armed"], json!(true), "a record can be written, synced and read back");
    let (status, _) = node.call("GET", "/readyz", "", "").await;
    assert_eq!(status, StatusCode::OK, "a relay that keeps presses is ready, whatever its lines do");
    node.stop().await;
}
