//! A line between two nodes of a test: a relay of UDP packets that does to them what lines and NATs do.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use huxiao_core::Rng;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// What happens to packets in one direction. Shares are in percent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// How long each takes.
    pub(super) delay: Duration,
    /// How many never come.
    pub(super) lost: u64,
    /// How many come twice.
    pub(super) doubled: u64,
    /// How many come late, past those behind them.
    pub(super) late: u64,
    /// By how much.
    pub(super) late_by: Duration,
    /// How many have a byte changed.
    pub(super) damaged: u64,
    /// Longer ones never come.
    pub(super) longest: usize,
    /// How many bits a second pass, behind a queue without end. None: all that come.
    pub(super) bits_a_second: Option<u64>,
}

impl Weather {
    pub(super) fn fair(delay: Duration) -> Self {
        Self {
            delay,
            lost: 0,
            doubled: 0,
            late: 0,
            late_by: Duration::from_millis(20),
            damaged: 0,
            longest: usize::MAX,
            bits_a_second: None,
        }
    }
}

/// A line with weather of its own in each direction. It keeps fair packets in order, can be laid to another place, and has a NAT
/// at its near end.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    front: UdpSocket,
    inner: Mutex<Inner>,
}

struct Inner {
    to: SocketAddr,
    there: Weather,
    back: Weather,
    /// The NAT's mappings: for each sender, a socket towards the far end.
    mappings: HashMap<SocketAddr, mpsc::UnboundedSender<(Instant, Vec<u8>)>>,
    /// Senders of which nothing comes through, nor anything for them.
    holes: HashSet<SocketAddr>,
    /// When the line is free again, there and back.
    free_at: [Option<Instant>; 2],
    /// The length of every packet that came from the near end.
    sizes: Vec<usize>,
    rng: Rng,
}

impl Line {
    pub(super) async fn new(to: SocketAddr, delay: Duration) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = front.local_addr().unwrap();
        let inner = Inner {
            to,
            there: Weather::fair(delay),
            back: Weather::fair(delay),
            mappings: HashMap::new(),
            holes: HashSet::new(),
            free_at: [None; 2],
            sizes: Vec::new(),
            rng: Rng::new(1),
        };
        let line = Self { addr, state: Arc::new(State { front, inner: Mutex::new(inner) }) };
        tokio::spawn(carry(Arc::clone(&line.state)));
        line
    }

    /// Whoever dials from now on comes out at `to`; those who have dialled stay where they are.
    pub(super) fn lead_to(&self, to: SocketAddr) {
        self.state.lock().to = to;
    }

    /// The weather towards the far end, and back.
    pub(super) fn weather(&self, change: impl FnOnce(&mut Weather, &mut Weather)) {
        let mut inner = self.state.lock();
        let Inner { there, back, .. } = &mut *inner;
        change(there, back);
    }

    /// The NAT forgets its mappings: what its senders send next comes from another port.
    pub(super) fn forget(&self) {
        self.state.lock().mappings.clear();
    }

    /// Whoever has sent anything so far is cut off, and does not notice but by the silence.
    pub(super) fn cut_off(&self) {
        let mut inner = self.state.lock();
        let known: Vec<_> = inner.mappings.keys().copied().collect();
        inner.holes.extend(known);
    }

    /// The length of each packet from the near end since the last time this was asked.
    pub(super) fn sizes(&self) -> Vec<usize> {
        std::mem::take(&mut self.state.lock().sizes)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// What comes of a packet: when it comes out in its turn, and by how much later each of its copies does, with which bytes.
    fn fate(&self, way: Way, packet: &[u8]) -> (Instant, Vec<(Duration, Vec<u8>)>) {
        let mut inner = self.lock();
        let weather = if way == Way::There { inner.there } else { inner.back };
        let mut due = Instant::now();
        if let Some(rate) = weather.bits_a_second {
            // With the headers of UDP and IP.
            let bits = 8 * (u64::try_from(packet.len()).unwrap() + 28);
            let free_at = &mut inner.free_at[way as usize];
            due = free_at.map_or(due, |free_at| free_at.max(due)) + Duration::from_micros(bits * 1_000_000 / rate);
            *free_at = Some(due);
        }
        due += weather.delay;
        let mut happens = |percent: u64| inner.rng.below(100) < percent;
        if happens(weather.lost) || packet.len() > weather.longest {
            return (due, Vec::new());
        }
        let copies = if happens(weather.doubled) { 2 } else { 1 };
        let late = if happens(weather.late) { weather.late_by } else { Duration::ZERO };
        let mut bytes = packet.to_vec();
        if happens(weather.damaged) {
            let len = u64::try_from(bytes.len()).unwrap();
            let at = usize::try_from(inner.rng.below(len)).unwrap();
            bytes[at] ^= 1;
        }
        (due, vec![(late, bytes); copies])
    }
}

async fn carry(state: Arc<State>) {
    let mut buffer = vec![0; 65_536];
    while let Ok((len, from)) = state.front.recv_from(&mut buffer).await {
        let known = {
            let mut inner = state.lock();
            inner.sizes.push(len);
            if inner.holes.contains(&from) {
                continue;
            }
            inner.mappings.get(&from).cloned()
        };
        let out = match known {
            Some(out) => out,
            None => mapping(&state, from).await,
        };
        put(&state, Way::There, &buffer[..len], &out);
    }
}

/// A new socket towards the far end, for what `from` sends.
async fn mapping(state: &Arc<State>, from: SocketAddr) -> mpsc::UnboundedSender<(Instant, Vec<u8>)> {
    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let to = state.lock().to;
    back.connect(to).await.unwrap();
    let (out, mut waiting) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let socket = Arc::clone(&back);
    tokio::spawn(async move {
        while let Some((due, packet)) = waiting.recv().await {
            tokio::time::sleep_until(due.into()).await;
            let _ = socket.send(&packet).await;
        }
    });
    tokio::spawn(answers(Arc::clone(state), back, from));
    state.lock().mappings.insert(from, out.clone());
    out
}

async fn answers(state: Arc<State>, back: Arc<UdpSocket>, from: SocketAddr) {
    let (out, mut waiting) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let front = Arc::clone(&state);
    tokio::spawn(async move {
        while let Some((due, packet)) = waiting.recv().await {
            tokio::time::sleep_until(due.into()).await;
            let _ = front.front.send_to(&packet, from).await;
        }
    });
    let mut buffer = vec![0; 65_536];
    loop {
        // An unreachable port at the far end shows as an error here, and is none of the line's.
        let Ok(len) = back.recv(&mut buffer).await else { continue };
        if !state.lock().holes.contains(&from) {
            put(&state, Way::Back, &buffer[..len], &out);
        }
    }
}

fn put(state: &State, way: Way, packet: &[u8], out: &mpsc::UnboundedSender<(Instant, Vec<u8>)>) {
    let (due, copies) = state.fate(way, packet);
    for (late, bytes) in copies {
        if late.is_zero() {
            let _ = out.send((due, bytes));
        } else {
            let out = out.clone();
            tokio::spawn(async move {
                tokio::time::sleep_until((due + late).into()).await;
                let _ = out.send((due, bytes));
            });
        }
    }
}
