//! Ports that nobody else takes: each caller gets a block of its own below the range from which the system gives ports out.

use std::net::{TcpListener, UdpSocket};
use std::sync::Mutex;

const FIRST: u16 = 10_000;
const LAST: u16 = 28_000;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// The first of `count` successive ports on which nobody listens now, and which no other caller in this process was given.
#[must_use]
pub fn free_block(count: u16) -> u16 {
    let mut next = NEXT.lock().unwrap();
    // Processes that run at the same time begin far apart.
    let begin = u16::try_from(std::process::id() % 180).unwrap() * 100 + FIRST;
    for _ in 0..1_000 {
        let at = next.filter(|at| *at < LAST).unwrap_or(if next.is_none() { begin } else { FIRST });
        *next = Some(at + count);
        if (at..at + count).all(is_free) {
            return at;
        }
    }
    panic!("no {count} free ports between {FIRST} and {LAST}");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
}
