//! Dialling TCP beside QUIC: carries out what [`Fallback`] decides, for one lane of one target.
//!
//! Invariant: everything goes over the uplink that QUIC goes over, and to whom QUIC goes; the two differ in nothing but what carries.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use huxiao_core::{Carrier, Cost, Lane, PathId, PathInfo};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, warn};

use crate::config::{Target, Uplink};
use crate::dial::{resolve_in_time, stopping};
use crate::event::{DownReason, LinkError};
use crate::path::{self, Path, Session};
use crate::registry::Shared;
use crate::tcp::fallback::{Fallback, Step};
use crate::tcp::session::{begin, broken, refuse};
use crate::tcp::socket;
use crate::tcp::tls::{peer_of, server_name};
use crate::tcp::traffic::Counted;

/// Why a session ends that is needed no more.
const GIVEN_BACK: &str = "QUIC carries again";
/// Why a session ends that cannot follow its line.
const MOVED: &str = "TCP: the line's address has changed";
/// So many failures of a series are news; the rest is for debugging.
const NEWS: u32 = 3;

/// What the diallers of one lane know of each other.
#[derive(Debug)]
pub(crate) struct Beside {
    /// The line that both dial over, as it is now.
    uplink: Arc<Mutex<Uplink>>,
    quic: Mutex<Vec<Arc<Path>>>,
    hurried: AtomicBool,
    moved: AtomicBool,
    /// Told when one of the two has changed.
    changed: Notify,
    /// The session over TCP, and who is told when there is another one or none.
    tcp: Mutex<Option<PathId>>,
    tcp_changed: Notify,
    problem: Mutex<Option<String>>,
}

/// Stands for a QUIC session of the lane, as long as that lives.
#[derive(Debug)]
pub(crate) struct QuicUp {
    beside: Arc<Beside>,
    path: PathId,
}

impl Beside {
    /// Neither has a session yet.
    pub(crate) fn new(uplink: Arc<Mutex<Uplink>>) -> Self {
        Self {
            uplink,
            quic: Mutex::default(),
            hurried: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            changed: Notify::new(),
            tcp: Mutex::default(),
            tcp_changed: Notify::new(),
            problem: Mutex::default(),
        }
    }

    /// QUIC has a session.
    pub(crate) fn quic_up(self: &Arc<Self>, path: &Arc<Path>) -> QuicUp {
        lock(&self.quic).push(Arc::clone(path));
        self.changed.notify_one();
        QuicUp { beside: Arc::clone(self), path: path.id }
    }

    /// Alarms wait, and nothing comes back.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// The uplink's local address has changed.
    pub(crate) fn rebind(&self) {
        self.moved.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Whether TCP has a session, over a line that is paid for by what goes over it.
    pub(crate) fn carries_dearly(&self) -> bool {
        lock(&self.tcp).is_some() && lock(&self.uplink).cost == Cost::Metered
    }

    /// Ends when TCP has got or lost its session.
    pub(crate) async fn tcp_changed(&self) {
        self.tcp_changed.notified().await;
    }

    fn carried_by(&self, path: Option<PathId>) {
        *lock(&self.tcp) = path;
        self.tcp_changed.notify_one();
    }

    /// The lane's sessions, over QUIC and over TCP.
    pub(crate) fn sessions(&self) -> Vec<PathId> {
        let tcp = *lock(&self.tcp);
        lock(&self.quic).iter().map(|path| path.id).chain(tcp).collect()
    }

    /// What is to be said of the lane's TCP where QUIC has no session.
    pub(crate) fn words(&self) -> Option<String> {
        if lock(&self.tcp).is_some() {
            return Some("carried over TCP".to_owned());
        }
        lock(&self.problem).as_ref().map(|problem| format!("over TCP: {problem}"))
    }

    /// When QUIC was heard last, on a session whose handshake is over.
    fn heard(&self, now: Instant) -> Option<Instant> {
        let heard = |path: &Arc<Path>| now.checked_sub(path.stats().heard);
        lock(&self.quic).iter().filter(|path| !path.is_early()).filter_map(heard).max()
    }
}

impl Drop for QuicUp {
    fn drop(&mut self) {
        lock(&self.beside.quic).retain(|path| path.id != self.path);
        self.beside.changed.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Dial = Pin<Box<dyn Future<Output = Result<Session, LinkError>> + Send>>;
type Live = (Arc<Path>, JoinHandle<DownReason>);

/// One lane of one target.
struct Keeper {
    shared: Arc<Shared>,
    target: Arc<Target>,
    lane: Lane,
    beside: Arc<Beside>,
    fallback: Fallback,
    dial: Option<Dial>,
    live: Option<Live>,
    attempts: usize,
    failures: u32,
}

/// Keeps a session over TCP while QUIC is missing, until the handle is dropped or the link closes.
pub(crate) async fn keep(
    shared: Arc<Shared>,
    target: Target,
    lane: Lane,
    beside: Arc<Beside>,
    stopped: watch::Receiver<()>,
) {
    let seed = RandomState::new().hash_one(&target.addr);
    let fallback = Fallback::new(Instant::now(), shared.config.fallback_after, shared.config.fallback_until, seed);
    let target = Arc::new(target);
    let mut keeper = Keeper {
        shared: Arc::clone(&shared),
        target,
        lane,
        beside: Arc::clone(&beside),
        fallback,
        dial: None,
        live: None,
        attempts: 0,
        failures: 0,
    };
    let mut stop = std::pin::pin!(stopping(&shared, stopped));
    loop {
        let now = Instant::now();
        let wake = keeper.decide(now);
        tokio::select! {
            biased;
            () = &mut stop => break,
            established = ended(&mut keeper.dial) => keeper.dialled(established),
            why = over(&mut keeper.live) => keeper.lost(why),
            () = beside.changed.notified() => {}
            () = sleep_until(wake.unwrap_or(now).into()), if wake.is_some() => {}
        }
    }
    if let Some((path, life)) = keeper.live {
        if !*shared.closing.borrow() {
            path.close(DownReason::Shutdown);
        }
        // An error would be a panic in there, which is reported where it happens.
        let _ = life.await;
    }
}

impl Keeper {
    /// Does what is to be done now, and says when to look again.
    fn decide(&mut self, now: Instant) -> Option<Instant> {
        self.fallback.quic(now, self.beside.heard(now));
        if self.beside.hurried.swap(false, Ordering::AcqRel) {
            self.fallback.hurry();
        }
        if self.beside.moved.swap(false, Ordering::AcqRel)
            && let Some((path, _)) = &self.live
        {
            // TCP cannot move: nothing comes back to the old address any more, and the kernel would wait long for it.
            path.close(DownReason::Transport(MOVED.to_owned()));
        }
        while let Some(step) = self.fallback.poll(now) {
            match step {
                Step::Dial => {
                    let uplink = lock(&self.beside.uplink).clone();
                    let target = Arc::new(Target { uplink, ..Target::clone(&self.target) });
                    let shared = Arc::clone(&self.shared);
                    self.dial = Some(Box::pin(establish(shared, target, self.lane, self.attempts)));
                    self.attempts = self.attempts.wrapping_add(1);
                }
                Step::GiveUp => self.dial = None,
                Step::GiveBack => {
                    self.shared.tally.tcp_given_back.add();
                    if let Some((path, _)) = &self.live {
                        path.close(DownReason::Closed(GIVEN_BACK.to_owned()));
                    }
                }
            }
        }
        self.fallback.timeout(now)
    }

    /// A dial is over.
    fn dialled(&mut self, established: Result<Session, LinkError>) {
        self.dial = None;
        match established {
            Ok(session) => {
                self.fallback.up(Instant::now());
                self.failures = 0;
                *lock(&self.beside.problem) = None;
                let path = Arc::clone(&session.path);
                self.beside.carried_by(Some(path.id));
                self.live = Some((path, tokio::spawn(path::run(Arc::clone(&self.shared), session))));
            }
            Err(error) => {
                self.shared.tally.tcp_dials_failed.add();
                self.fallback.down(Instant::now());
                self.failures = self.failures.saturating_add(1);
                let text = error.to_string();
                let (target, lane) = (&self.target.addr, self.lane.as_str());
                if self.failures <= NEWS {
                    warn!(target, lane, "cannot dial over TCP: {text}");
                } else {
                    debug!(target, lane, "cannot dial over TCP: {text}");
                }
                *lock(&self.beside.problem) = Some(text);
            }
        }
    }

    /// The session is over.
    fn lost(&mut self, why: String) {
        self.live = None;
        self.beside.carried_by(None);
        *lock(&self.beside.problem) = Some(why);
        self.fallback.down(Instant::now());
    }
}

/// The end of the dial that is under way, if one is.
async fn ended(dial: &mut Option<Dial>) -> Result<Session, LinkError> {
    match dial {
        Some(dial) => dial.await,
        None => std::future::pending().await,
    }
}

/// The end of the session that there is, if there is one.
async fn over(live: &mut Option<Live>) -> String {
    match live {
        Some((_, life)) => life.await.map_or_else(|error| error.to_string(), |why| why.to_string()),
        None => std::future::pending().await,
    }
}

/// One dial.
async fn establish(shared: Arc<Shared>, target: Arc<Target>, lane: Lane, attempt: usize) -> Result<Session, LinkError> {
    shared.tally.tcp_dials.add();
    let patience = shared.config.handshake_timeout;
    let addr = resolve_in_time(&target.addr, target.uplink.local, attempt, patience).await?;
    let connecting = connect(&shared, &target, lane, addr);
    timeout(patience, connecting).await.map_err(|_| LinkError::NoAnswer(addr))?
}

async fn connect(shared: &Arc<Shared>, target: &Target, lane: Lane, addr: SocketAddr) -> Result<Session, LinkError> {
    let failed = |error| LinkError::Handshake { addr, why: broken(&error) };
    let stream = socket::connect(&target.uplink, addr).await?;
    stream.set_nodelay(true).map_err(failed)?;
    let connector = shared.tcp_client(lane);
    let stream = connector.connect(server_name()?, Counted::new(stream)).await.map_err(failed)?;
    let peer = peer_of(stream.get_ref().1);
    let Some(peer) = peer.as_ref().ok().filter(|peer| target.expect.admits(&peer.identity) && shared.welcome(peer))
    else {
        shared.tally.peers_refused.add();
        refuse(stream).await;
        let found = peer.map_or_else(|error| error.to_string(), |peer| peer.identity.to_string());
        return Err(LinkError::Unexpected { addr, found });
    };
    let info = PathInfo { carrier: Carrier::Tcp, ..target.uplink.info(lane) };
    begin(shared, stream, peer.clone(), info, Some(target.uplink.cost))
}
