//! What a link really does, measured from outside: numbered UDP packets from one side to the other.
//!
//! Invariant: the figures come from two sockets in the namespaces, not from the emulator's own books.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::profile::Rate;
use super::{Emulator, EmulatorError, Namespace};

/// The bytes of an IPv4 and a UDP header.
const HEADERS: usize = 28;
/// The bytes of a packet's number.
const NUMBER: usize = 4;
/// What the receiving socket holds while its thread waits for the processor, in bytes.
const RECEIVE_BUFFER: usize = 16 << 20;

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Near to far.
    Up,
    /// Far to near.
    Down,
}

/// Packets to send, evenly in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// How many.
    pub packets: u32,
    /// How many a second.
    pub per_second: u32,
    /// The bytes of each IP packet: 32 at the least.
    pub length: u16,
}

/// What became of a flow.
#[derive(Debug, Clone)]
pub struct Found {
    /// Each packet in the order of sending.
    pub packets: Vec<Seen>,
    /// Bits of IP packets a second that arrived, from the first arrival to the last.
    pub bits_per_second: f64,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// When it was sent.
    pub sent: Instant,
    /// How long its first copy was on the way, if any arrived.
    pub took: Option<Duration>,
    /// How many copies arrived.
    pub copies: u32,
    /// Whether a packet that was sent later had arrived before it.
    pub overtaken: bool,
}

impl Found {
    /// The share of packets of which this is true.
    #[must_use]
    pub fn share(&self, of: impl Fn(&Seen) -> bool) -> f64 {
        count(self.packets.iter().filter(|seen| of(seen))) / count(self.packets.iter())
    }

    /// The share of packets that never arrived.
    #[must_use]
    pub fn lost(&self) -> f64 {
        self.share(|seen| seen.copies == 0)
    }

    /// How many packets in a row were lost on average, once one was; zero if none was.
    #[must_use]
    pub fn mean_burst(&self) -> f64 {
        let runs = self.packets.chunk_by(|a, b| (a.copies == 0) == (b.copies == 0)).filter(|run| run[0].copies == 0);
        // Without a run there is nothing lost: zero of one is zero.
        count(self.packets.iter().filter(|seen| seen.copies == 0)) / count(runs).max(1.0)
    }

    /// How long first copies took on average; zero if nothing arrived.
    #[must_use]
    pub fn mean_delay(&self) -> Duration {
        let took: Vec<Duration> = self.packets.iter().filter_map(|seen| seen.took).collect();
        let total: Duration = took.iter().sum();
        total.checked_div(u32::try_from(took.len()).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    /// The delay of the first copies that `part` of them did not exceed; zero if nothing arrived.
    #[must_use]
    pub fn delay_at(&self, part: f64) -> Duration {
        let mut took: Vec<Duration> = self.packets.iter().filter_map(|seen| seen.took).collect();
        took.sort_unstable();
        // The least one at or above which `part` of all lie, by counting: no index is computed from a fraction.
        let wanted = part * count(took.iter());
        took.iter().zip(1_u32..).find(|(_, rank)| f64::from(*rank) >= wanted).map_or(Duration::ZERO, |(took, _)| *took)
    }
}

fn count(of: impl Iterator) -> f64 {
    f64::from(u32::try_from(of.count()).unwrap_or(u32::MAX))
}

/// Sends a flow over the link `link` of `emulator` and waits until whatever arrives has arrived.
///
/// # Errors
/// The sockets cannot be had, or the system refused to send.
pub fn flow(emulator: &Emulator, link: usize, way: Way, flow: Flow) -> Result<Found, EmulatorError> {
    let ends = emulator.link(link);
    let [up, down] = ends.profiles();
    let near = (emulator.near(), ends.near_ip());
    let far = (emulator.far(), ends.far_ip());
    let (from, to, profile) = if way == Way::Up { (near, far, up) } else { (far, near, down) };
    let receiver = socket(to.0, (to.1, 0).into())?;
    let sender = socket(from.0, (from.1, 0).into())?;
    let failed = |source| EmulatorError::Io { what: "measure a link".into(), source };
    sender.connect(receiver.local_addr().map_err(failed)?).map_err(failed)?;
    set_socket_recv_buffer_size_force(&receiver, RECEIVE_BUFFER).map_err(io::Error::from).map_err(failed)?;
    let queue = profile.rate.map_or(Duration::ZERO, |Rate { bits_per_second, queue_bytes }| {
        Duration::try_from_secs_f64(queue_bytes as f64 * 8.0 / bits_per_second as f64).unwrap_or_default()
    });
    // Eight standard deviations: nobody is later.
    let patience = queue + profile.delay * 2 + profile.jitter * 8 + Duration::from_millis(300);
    let began = Instant::now();
    let sent_all = AtomicBool::new(false);
    let (sent, arrived) = thread::scope(|scope| {
        let listen = scope.spawn(|| receive(&receiver, began, patience, &sent_all));
        let sent = send(&sender, began, flow);
        sent_all.store(true, Ordering::SeqCst);
        (sent, listen.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    sent.and_then(|sent| Ok(join(began, &sent, &arrived?, flow.length))).map_err(failed)
}

fn socket(inside: &Namespace, at: SocketAddr) -> Result<UdpSocket, EmulatorError> {
    let made = inside.enter(|| UdpSocket::bind(at))?;
    made.map_err(|source| EmulatorError::Io { what: format!("bind {at} in {}", inside.name()), source })
}

/// Sends, and says when each packet was sent.
fn send(socket: &UdpSocket, began: Instant, flow: Flow) -> io::Result<Vec<Duration>> {
    let mut packet = vec![0; usize::from(flow.length).saturating_sub(HEADERS).max(NUMBER)];
    let gap = Duration::from_secs(1) / flow.per_second.max(1);
    let mut sent = Vec::new();
    for number in 0..flow.packets {
        let due = gap * number;
        let early = due.saturating_sub(began.elapsed());
        // What is due within a moment goes along now: a sleep would take longer.
        if early > Duration::from_micros(100) {
            thread::sleep(early);
        }
        let now = began.elapsed();
        packet[..NUMBER].copy_from_slice(&number.to_be_bytes());
        socket.send(&packet)?;
        sent.push(now);
    }
    Ok(sent)
}

/// The number and arrival of every packet that arrives until nothing has for `patience` after the last was sent.
fn receive(
    socket: &UdpSocket,
    began: Instant,
    patience: Duration,
    sent_all: &AtomicBool,
) -> io::Result<Vec<(u32, Duration)>> {
    let mut buffer = [0; 2_048];
    let mut arrived = Vec::new();
    let mut quiet_since = Instant::now();
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    while !(sent_all.load(Ordering::SeqCst) && quiet_since.elapsed() > patience) {
        match socket.recv(&mut buffer) {
            Ok(_) => {
                let now = began.elapsed();
                let [a, b, c, d, ..] = buffer;
                arrived.push((u32::from_be_bytes([a, b, c, d]), now));
                quiet_since = Instant::now();
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if !sent_all.load(Ordering::SeqCst) {
                    quiet_since = Instant::now();
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(arrived)
}

fn join(began: Instant, sent: &[Duration], arrived: &[(u32, Duration)], length: u16) -> Found {
    let fresh = |sent: &Duration| Seen { sent: began + *sent, took: None, copies: 0, overtaken: false };
    let mut packets: Vec<Seen> = sent.iter().map(fresh).collect();
    let mut highest = 0;
    for (number, at) in arrived {
        let place = usize::try_from(*number).ok();
        let Some(seen) = place.and_then(|place| packets.get_mut(place)) else { continue };
        if seen.copies == 0 {
            seen.took = Some((began + *at).saturating_duration_since(seen.sent));
            seen.overtaken = *number < highest;
        }
        seen.copies += 1;
        highest = highest.max(*number);
    }
    let span = match arrived {
        [(_, first), .., (_, last)] => (*last - *first).as_secs_f64(),
        _ => 0.0,
    };
    let bits = (count(arrived.iter()) - 1.0).max(0.0) * f64::from(length) * 8.0;
    Found { packets, bits_per_second: if span > 0.0 { bits / span } else { 0.0 } }
}
