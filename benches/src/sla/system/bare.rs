//! The line itself: each alarm is one UDP packet, sent once.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use super::Carrier;
use crate::error::{BenchError, Trying};
use crate::sla::line::Line;
use crate::sla::presses::{ALARM_BYTES, alarm, number};
use crate::sla::tally::Arrival;

const PORT: u16 = 4_000;
/// How often the receiver looks whether its bench still listens.
const LOOK: Duration = Duration::from_secs(1);

/// A sender of packets.
pub(super) struct Bare(UdpSocket);

impl Bare {
    pub(super) fn start(line: &Line, arrivals: Sender<Arrival>) -> Result<Self, BenchError> {
        let to = SocketAddr::new(line.far_ip(), PORT);
        let receiver = line.far().enter(|| UdpSocket::bind(to))?.trying(format!("listen on {to}"))?;
        receiver.set_read_timeout(Some(LOOK)).trying("set a socket up")?;
        let sender = line.near().enter(|| {
            let socket = UdpSocket::bind((line.near_ip(), 0))?;
            socket.connect(to)?;
            Ok(socket)
        })?;
        let sender = sender.trying(format!("send to {to}"))?;
        thread::Builder::new()
            .name("packets".into())
            .spawn(move || receive(&receiver, &arrivals))
            .trying("start a thread")?;
        Ok(Self(sender))
    }
}

/// Until nobody listens any more: the bench looks away when it lets go of the channel.
fn receive(socket: &UdpSocket, arrivals: &Sender<Arrival>) {
    let mut buffer = [0; ALARM_BYTES];
    loop {
        let received = socket.recv(&mut buffer);
        let at = Instant::now();
        let told = match received {
            Ok(size) => number(&String::from_utf8_lossy(&buffer[..size])).map(|number| Arrival { number, at }),
            // Nothing came for a while. Number 0 is no alarm.
            Err(_) => Some(Arrival { number: 0, at }),
        };
        if told.is_some_and(|arrival| arrivals.send(arrival).is_err()) {
            return;
        }
    }
}

impl Carrier for Bare {
    fn press(&mut self, number: u32) {
        // A packet that the system does not take is one that the line lost.
        let _ = self.0.send(alarm(number).as_bytes());
    }
}
