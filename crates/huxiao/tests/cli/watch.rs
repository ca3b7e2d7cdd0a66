//! `alarm watch` against a server that plays the station.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Answer, Server};
use crate::{program, run};

fn id(number: u64) -> String {
    format!("0193a5c0-0000-7000-8000-{number:012}")
}

/// The message of event `number`; without an id while it is not on the station's disk.
fn alarm(number: u64, durable: bool) -> (String, Duration) {
    let data = json!({
        "id": id(number), "seq": number, "school": "school-001", "kind": "panic", "class": "P0", "durable": durable,
        "raised_at": "2026-03-01T08:30:00.000000Z", "stages": {},
    });
    let line = if durable { format!("id: {number}\n") } else { String::new() };
    (format!("event: alarm\n{line}data: {data}\n\n"), Duration::from_millis(5))
}

fn silence(seconds: u64) -> (String, Duration) {
    (": nothing\n\n".to_owned(), Duration::from_secs(seconds))
}

/// A station whose streams are these, one after the other; the last one again and again.
fn station(streams: Vec<Vec<(String, Duration)>>) -> Server {
    let opened = AtomicUsize::new(0);
    Server::start(move |request| match request.path.as_str() {
        "/v1/status" => Answer::Json(200, json!({ "next_seq": 5 }).to_string()),
        path if path.ends_with("/displayed") => Answer::Json(204, String::new()),
        _ => {
            let at = opened.fetch_add(1, Ordering::Relaxed).min(streams.len() - 1);
            Answer::Stream(streams[at].clone())
        }
    })
}

fn seqs(stdout: &str) -> Vec<u64> {
    stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect()
}

fn streams_of(server: &Server) -> Vec<(String, Option<String>)> {
    let is_stream = |path: &str| path.starts_with("/v1/events") && !path.ends_with("displayed");
    let requests = server.requests().into_iter().filter(|request| is_stream(&request.path));
    requests.map(|request| (request.path.clone(), request.header("last-event-id").map(str::to_owned))).collect()
}

#[test]
fn a_broken_stream_is_resumed_and_repeats_are_dropped() {
    let server = station(vec![
        vec![alarm(1, true), alarm(2, true), alarm(3, false)],
        vec![alarm(2, true), alarm(3, true), alarm(4, true), silence(30)],
    ]);
    let watched =
        run(["alarm", "watch", "--station", &server.url, "--from-seq", "1", "--count", "4", "--output", "ndjson"]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert_eq!(seqs(&watched.stdout), [1, 2, 3, 4]);
    assert_eq!(
        streams_of(&server),
        [("/v1/events?from_seq=1".to_owned(), None), ("/v1/events".to_owned(), Some("2".to_owned()))],
        "what was not on the station's disk is no place to resume at"
    );
    let mut told = server.lines("POST");
    told.sort();
    let expected: Vec<_> = (1..=4).map(|number| format!("POST /v1/events/{}/displayed", id(number))).collect();
    assert_eq!(told, expected, "each line is told as displayed, once");
}

#[test]
fn from_now_on_is_a_number_so_that_nothing_is_missed_while_away() {
    let server = station(vec![vec![], vec![alarm(5, true), silence(30)]]);
    let watched = run(["alarm", "watch", "--station", &server.url, "--count", "1", "--passive", "--output", "table"]);
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert!(watched.stdout.contains("一键报警") && watched.stdout.contains("school-001"), "{watched:?}");
    assert!(streams_of(&server).iter().all(|(path, last)| path == "/v1/events?from_seq=5" && last.is_none()));
    assert_eq!(server.lines("POST"), Vec::<String>::new(), "who only looks says nothing");
}

#[test]
fn too_few_in_time_exits_3_and_no_count_is_no_complaint() {
    let server = station(vec![vec![alarm(1, true), silence(30)]]);
    let args = ["alarm", "watch", "--station", &server.url, "--timeout", "700ms"];
    let few = run(args.iter().chain(&["--count", "2"]));
    assert_eq!((few.code, seqs(&few.stdout)), (Some(3), vec![1]), "{few:?}");
    assert!(few.stderr.contains("1 of 2 events came in time"), "{few:?}");
    assert_eq!(run(args).code, Some(0));
    let nobody = run(["alarm", "watch", "--station", "http://127.0.0.1:1", "--timeout", "400ms", "--count", "1"]);
    assert_eq!(nobody.code, Some(3), "{nobody:?}");
    assert!(nobody.stderr.contains("cannot reach"), "{nobody:?}");
}

#[test]
fn another_node_than_a_station_is_told_apart() {
    let server = Server::start(|_| Answer::Json(200, json!({ "relay": "relay/s/gate" }).to_string()));
    let wrong = run(["alarm", "watch", "--station", &server.url]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("is it a station's address?"), "{wrong:?}");
}

fn watching(server: &Server) -> Child {
    let mut command = program(["alarm", "watch", "--station", &server.url, "--from-seq", "1", "--output", "ndjson"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end. A program that does not come to it is killed and fails the test.
fn ends_within(mut child: Child, limit: Duration) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begun.elapsed() > limit {
            child.kill().unwrap();
            panic!("it had not ended after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_line_is_out_at_once_and_a_closed_pipe_ends_it_quietly() {
    let server = station(vec![vec![alarm(1, true), silence(60)]]);
    let mut child = watching(&server);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(seqs(&line), [1], "the line came while the stream goes on");
    drop(stdout);
    // Nothing more is printed: the program must see by itself that nobody reads.
    assert_eq!(ends_within(child, Duration::from_secs(20)), Some(0));
}

#[test]
fn ctrl_c_ends_it_with_130() {
    let server = station(vec![vec![alarm(1, true), silence(60)]]);
    let mut child = watching(&server);
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(ends_within(child, Duration::from_secs(20)), Some(130));
}
