//! The switch held against what was asked of it, over real sockets. Needs root; without, the test says so and passes.

// Test code outside of test functions: helpers fail the test that calls them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use huxiao_benches::emulator::{Deaf, Switch};

/// What crosses a switch does so in far less.
const A_WHILE: Duration = Duration::from_millis(500);

/// Whether what host `from` sends to host `to` arrives there.
fn hears(sockets: &[UdpSocket], from: usize, to: usize) -> bool {
    let mut buffer = [0; 64];
    // Of an earlier attempt nothing is left: each is waited for.
    let word = format!("{from} to {to}");
    sockets[from].send_to(word.as_bytes(), sockets[to].local_addr().unwrap()).unwrap();
    match sockets[to].recv(&mut buffer) {
        Ok(length) => {
            assert_eq!(&buffer[..length], word.as_bytes());
            true
        }
        Err(_) => false,
    }
}

#[test]
fn hosts_hear_each_other_but_for_what_is_cut() {
    if let Err(why) = Switch::available() {
        println!("skipped: {why}");
        return;
    }
    let switch = Switch::start(3).unwrap();
    let bind = |host: usize| {
        let addr = SocketAddr::from((switch.ip(host), 7_000));
        let socket = switch.host(host).enter(|| UdpSocket::bind(addr)).unwrap().unwrap();
        socket.set_read_timeout(Some(A_WHILE)).unwrap();
        socket
    };
    let sockets: Vec<UdpSocket> = (0..3).map(bind).collect();
    let pairs = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)];
    let all = |cuts: &Deaf| {
        switch.cut(cuts).unwrap();
        for (from, to) in pairs {
            assert_eq!(hears(&sockets, from, to), !cuts.contains(&(from, to)), "{from} to {to} with {cuts:?} cut");
        }
    };
    all(&Deaf::new());
    all(&Deaf::from([(0, 1)]));
    all(&Deaf::from([(1, 0), (1, 2), (2, 0)]));
    all(&Deaf::new());
}
