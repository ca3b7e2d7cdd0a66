//! Lines that drop every UDP packet: a box stands between the nodes and their broker and lets TCP alone through.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use huxiao_tests::lab::{Lab, free_block, wait_until};

use crate::PATIENCE;

/// The box. Ends when it is dropped; what goes through it ends with the nodes.
struct Middlebox {
    addr: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Middlebox {
    fn before(broker: SocketAddr) -> Self {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_block(1)));
        let (tcp, udp) = (TcpListener::bind(addr).unwrap(), UdpSocket::bind(addr).unwrap());
        let over = Arc::new(AtomicBool::new(false));
        // Without a socket the system would answer that there is none, which is more than a line that drops packets says.
        udp.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let end = Arc::clone(&over);
        thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let _ = udp.recv(&mut [0; 2_048]);
            }
        });
        let end = Arc::clone(&over);
        thread::spawn(move || {
            for from in tcp.incoming().take_while(|_| !end.load(Ordering::Relaxed)).flatten() {
                if let Ok(to) = TcpStream::connect(broker) {
                    carry(&from, &to);
                    carry(&to, &from);
                }
            }
        });
        Self { addr, over }
    }
}

impl Drop for Middlebox {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // For the listener to look.
        let _ = TcpStream::connect(self.addr);
    }
}

fn carry(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[test]
fn an_alarm_goes_the_whole_way_over_tcp_and_everybody_can_see_that_it_does() {
    let mut lab = Lab::init(1, 1);
    let line = Middlebox::before(lab.quic().parse().unwrap());
    for (name, key) in [("relay-001", "relay.brokers"), ("station-001", "station.brokers")] {
        lab.node(name).set(key, &line.addr.to_string());
    }
    lab.start_all();
    lab.honest_alarm("school-001", "station-001");
    for role in ["relay", "station"] {
        let carried = |carrier: &str| {
            let labels = format!("role=\"{role}\",lane=\"express\",carrier=\"{carrier}\"");
            lab.metric("broker-1", "huxiao_sessions", &labels)
        };
        wait_until("the metrics say so", PATIENCE, || (carried("tcp") > 0.0).then_some(()));
        assert!(carried("quic") < 0.5);
    }
    for node in ["relay-001", "station-001", "broker-1"] {
        let paths = lab.status(node)["paths"].to_string();
        assert!(paths.contains("\"carrier\":\"tcp\"") && !paths.contains("\"carrier\":\"quic\""), "{node}: {paths}");
        assert!(lab.node(node).log().contains("tcp"), "the log of {node} says so");
    }

    // The broker dies and comes back: both find it again, and what was pressed meanwhile arrives.
    lab.node("broker-1").kill9();
    let id = lab.press("school-001");
    lab.start("broker-1");
    lab.wait_inbox("station-001", &[id], PATIENCE);
    lab.assert_calm();
}
