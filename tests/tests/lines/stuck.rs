//! A button that sticks, on a line that could not carry what it says.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use huxiao_benches::emulator::{Profile, Rate};
use huxiao_tests::lab::wait_until;
use serde_json::Value;

use crate::site::{PATIENCE, STATION, Site, figure, ids, ms, network};

/// Presses a second, for so many seconds, over so many connections.
const PRESSES: u64 = 1_000;
const SECONDS: u64 = 5;
const CONNECTIONS: u64 = 4;
const BODY: &str = r#"{"kind":"panic","device":"stuck"}"#;

/// Presses the stuck button over one kept connection, as fast as its share of the flood, and counts the answers that took it.
fn flood(socket: &str) -> u64 {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let presses = PRESSES * SECONDS / CONNECTIONS;
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let reader = thread::spawn(move || (0..presses).filter(|_| is_taken(&mut answers)).count() as u64);
    let (began, gap) = (Instant::now(), Duration::from_micros(1_000_000 * CONNECTIONS / PRESSES));
    for number in 0..presses {
        // By the clock, so that a machine that was late for a moment catches up.
        let due = gap * u32::try_from(number).unwrap();
        thread::sleep(due.saturating_sub(began.elapsed()));
        stream.write_all(request.as_bytes()).unwrap();
    }
    reader.join().unwrap()
}

/// Reads one answer: whether the press was taken.
fn is_taken(answers: &mut impl BufRead) -> bool {
    let (mut taken, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        assert!(answers.read_line(&mut line).unwrap() > 0, "the relay closed the connection");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if taken.is_none() {
            taken = Some(line.contains(" 202"));
        } else if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    answers.read_exact(&mut vec![0; length]).unwrap();
    taken == Some(true)
}

/// The station's rows of the stuck button: how many there are, and for how many presses they stand.
fn counted(site: &Site) -> (usize, u64) {
    let rows = site.lab.inbox(STATION);
    let stuck: Vec<&Value> = rows.values().filter(|row| row["device"] == "stuck").collect();
    (stuck.len(), stuck.iter().map(|row| row["count"].as_u64().unwrap_or(1)).sum())
}

#[test]
fn a_button_that_sticks_delays_no_other_and_chokes_no_line() {
    let test = "stuck button";
    let thin = Profile { rate: Some(Rate { bits_per_second: 256_000, queue_bytes: 64 * 1_024 }), ..Profile::rural() };
    let Some(emulator) = network(test, &[thin]) else { return };
    let site = Site::running(&emulator);
    let quiet = site.press();
    let alone = site.arrives(&quiet);
    let socket = site.lab.base(site.relay()).trim_start_matches("unix:").to_owned();
    let before = emulator.link(0).counters();
    let began = Instant::now();
    let floods: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let socket = socket.clone();
            thread::spawn(move || flood(&socket))
        })
        .collect();
    let (mut others, mut beside) = (Vec::new(), Vec::new());
    while began.elapsed() < Duration::from_secs(SECONDS) {
        thread::sleep(Duration::from_millis(500));
        let press = site.press();
        beside.push(site.arrives(&press));
        others.push(press);
    }
    let taken: u64 = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
    let flooded = began.elapsed().as_secs_f64();
    assert_eq!(taken, PRESSES * SECONDS, "every press is answered");
    let what = format!("{taken} presses are told to the station");
    wait_until(&what, PATIENCE, || (counted(&site).1 == taken).then_some(()));
    let told = began.elapsed();
    let (rows, presses) = counted(&site);
    let counters = emulator.link(0).counters();
    let dropped = counters.map(|way| way.queue_full);
    assert!(dropped[0] + dropped[1] < 10, "the line was choked: {dropped:?} packets found no room");
    assert!(rows < 50, "{rows} events of one button");
    site.end(&ids(&others));
    let [up, _] = site.since(0, before);
    let kbits = up.1 as f64 * 8.0 / told.as_secs_f64() / 1e3;
    figure(
        test,
        &format!("{presses} presses in {flooded:.1} s are {rows} events, told after {:.1} s", told.as_secs_f64()),
    );
    let (most, count) = (ms(*beside.iter().max().unwrap()), beside.len());
    figure(test, &format!("another button: {} alone, {count} times beside the flood at most {most}", ms(alone)));
    figure(test, &format!("{kbits:.0} kbit/s up, {} packets dropped by the line's queue", dropped[0] + dropped[1]));
}
