//! Keeping sessions up towards one target: carries out what [`Plan`] decides, for each lane.
//!
//! Invariants:
//!
//! * Every dial has a new socket, so a new local port. What held the last one back (a NAT mapping, a conntrack entry that
//!   points at a pod that is gone) does not hold back the next.
//! * Nothing depends on 0-RTT: a session is taken up early only towards a node that was once proven to be there. If it comes to
//!   nothing, the next is dialled in full; in a hurry, others are dialled in full beside it.
//! * Only express is ever in a hurry.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use huxiao_core::{Lane, PathId};
use huxiao_pki::Peer;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep_until;
use tracing::{debug, warn};

use crate::config::{Target, Uplink};
use crate::dial::attempt::Attempt;
use crate::dial::plan::{Dial, Plan, Reason, Step};
use crate::event::{DownReason, LinkError};
use crate::path::{self, Path, Session};
use crate::registry::Shared;
use crate::tcp;
use crate::tcp::dial::{Beside, QuicUp};

mod attempt;
mod plan;

pub(crate) use attempt::resolve_in_time;

/// So many failures of a series are news, the rest is noise.
const NEWS: u32 = 3;

/// Keeps dialling one target until it is dropped, which also ends the sessions.
#[derive(Debug)]
#[must_use = "dropping it ends the sessions"]
pub struct DialHandle {
    lanes: Vec<Arc<Lifeline>>,
    uplink: Arc<Mutex<Uplink>>,
    _stop: watch::Sender<()>,
}

/// One lane's dialler, seen from outside.
#[derive(Debug)]
struct Lifeline {
    lane: Lane,
    /// Told when one of the next three is true.
    called: Notify,
    hurry: AtomicBool,
    race: AtomicBool,
    moved: AtomicBool,
    problem: Mutex<Option<String>>,
    beside: Arc<Beside>,
}

impl DialHandle {
    /// An alarm waits and no session is there. For the next six seconds the express lane is dialled again and again, two round trips
    /// apart and several at once, until one of these dials is answered; the others are then dropped.
    pub fn hurry(&self) {
        self.express(|lane| {
            lane.hurry.store(true, Ordering::Release);
            lane.beside.hurry();
        });
    }

    /// Alarms are under way and nothing comes back: dials express afresh, from a new port, beside the session that there is. Once
    /// the fresh one is up both live for five seconds; then the older one is closed if it has heard nothing meanwhile, else the fresh one is.
    /// While there is no session it is the same as [`DialHandle::hurry`].
    pub fn race(&self) {
        self.express(|lane| {
            lane.race.store(true, Ordering::Release);
            lane.beside.hurry();
        });
    }

    /// The uplink's local address has changed: moves the living sessions to sockets on the new one, and dials from there from now
    /// on. `None` leaves the address to the system. QUIC sessions survive it (RFC 9000 §9); one that cannot be moved stays where it is. One over TCP is dialled anew.
    pub fn rebind(&self, local: Option<IpAddr>) {
        self.uplink.lock().unwrap_or_else(PoisonError::into_inner).local = local;
        for lane in &self.lanes {
            lane.moved.store(true, Ordering::Release);
            lane.called.notify_one();
            lane.beside.rebind();
        }
    }

    /// The sessions that it has now, on whatever lane and whatever carries them.
    #[must_use]
    pub fn sessions(&self) -> Vec<PathId> {
        self.lanes.iter().flat_map(|lane| lane.beside.sessions()).collect()
    }

    /// Why the last dial of each lane came to nothing, for those lanes that have no QUIC session now, and whether TCP carries what
    /// QUIC does not. For people.
    #[must_use]
    pub fn problems(&self) -> Vec<(Lane, String)> {
        self.lanes.iter().filter_map(|lane| Some((lane.lane, lane.words()?))).collect()
    }

    fn express(&self, call: impl Fn(&Lifeline)) {
        for lane in self.lanes.iter().filter(|lane| lane.lane == Lane::Express) {
            call(lane);
            lane.called.notify_one();
        }
    }
}

impl Lifeline {
    fn words(&self) -> Option<String> {
        let quic = self.problem()?;
        Some(self.beside.words().map_or_else(|| quic.clone(), |tcp| format!("{quic}; {tcp}")))
    }

    fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// Starts one dialler a lane.
pub(crate) fn start(shared: &Arc<Shared>, target: &Target) -> DialHandle {
    let (stop, stopped) = watch::channel(());
    let uplink = Arc::new(Mutex::new(target.uplink.clone()));
    let mut lanes = Vec::new();
    for lane in &target.lanes {
        let beside = Arc::new(Beside::new(Arc::clone(&uplink)));
        tokio::spawn(tcp::dial::keep(Arc::clone(shared), target.clone(), *lane, Arc::clone(&beside), stopped.clone()));
        let life = Arc::new(Lifeline {
            lane: *lane,
            called: Notify::new(),
            hurry: AtomicBool::new(false),
            race: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            problem: Mutex::default(),
            beside,
        });
        lanes.push(Arc::clone(&life));
        let keeper = Keeper::new(Arc::clone(shared), target.clone(), Arc::clone(&uplink), life);
        tokio::spawn(keeper.keep(stopped.clone()));
    }
    DialHandle { lanes, uplink, _stop: stop }
}

/// Ends when the handle is dropped or the link closes.
pub(crate) async fn stopping(shared: &Shared, mut stopped: watch::Receiver<()>) {
    let mut closing = shared.closing.subscribe();
    tokio::select! {
        // Nothing is ever sent; the handle's end is what ends the wait.
        _ = stopped.wait_for(|()| false) => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

/// What a dial came to.
type Dialled = (usize, Result<Session, LinkError>);

/// One lane of one target.
struct Keeper {
    shared: Arc<Shared>,
    target: Target,
    uplink: Arc<Mutex<Uplink>>,
    life: Arc<Lifeline>,
    plan: Plan,
    /// Who was proven to be there last.
    known: Option<Peer>,
    failures: u32,
    dials: JoinSet<Dialled>,
    lives: JoinSet<(PathId, DownReason)>,
    sessions: HashMap<PathId, (Arc<Path>, QuicUp)>,
    proofs: (mpsc::UnboundedSender<PathId>, mpsc::UnboundedReceiver<PathId>),
}

impl Keeper {
    fn new(shared: Arc<Shared>, target: Target, uplink: Arc<Mutex<Uplink>>, life: Arc<Lifeline>) -> Self {
        let seed = RandomState::new().hash_one(&target.addr);
        Self {
            plan: Plan::new(Instant::now(), shared.config.handshake_timeout, seed),
            shared,
            target,
            uplink,
            life,
            known: None,
            failures: 0,
            dials: JoinSet::new(),
            lives: JoinSet::new(),
            sessions: HashMap::new(),
            proofs: mpsc::unbounded_channel(),
        }
    }

    /// Until the handle is dropped or the link closes.
    async fn keep(mut self, stopped: watch::Receiver<()>) {
        let shared = Arc::clone(&self.shared);
        let life = Arc::clone(&self.life);
        let mut stop = std::pin::pin!(stopping(&shared, stopped));
        loop {
            let wake = self.decide(Instant::now());
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(path) = self.proofs.1.recv() => self.proven(path),
                Some(ended) = self.lives.join_next() => self.ended(ended),
                Some(dialled) = self.dials.join_next() => self.dialled(dialled),
                () = life.called.notified() => self.called(),
                () = life.beside.tcp_changed() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now).into()), if wake.is_some() => {}
            }
        }
        self.end().await;
    }

    /// Does what is to be done now, and says when to look again.
    fn decide(&mut self, now: Instant) -> Option<Instant> {
        let Self { plan, sessions, .. } = self;
        plan.carried_dearly(self.life.beside.carries_dearly());
        let heard = |path| sessions.get(&path).map_or(0, |(path, _)| path.carrier.figures().heard);
        let steps: Vec<_> = std::iter::from_fn(|| plan.poll(now, &heard)).collect();
        for step in steps {
            match step {
                Step::Dial(dial) => self.dial(dial),
                Step::GiveUpDials => self.dials.abort_all(),
                Step::Close(path, reason) => {
                    if let Some((path, _)) = self.sessions.get(&path) {
                        path.close(words(reason));
                    }
                }
            }
        }
        self.plan.wake()
    }

    fn dial(&mut self, Dial { attempt, life, ticket, race }: Dial) {
        if race {
            self.shared.tally.races.add();
            debug!(target = self.target.addr, "nothing comes back: dialling beside the session that there is");
        }
        let known = self.known.clone().filter(|_| ticket);
        let uplink = self.uplink.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let target = Target { uplink, ..self.target.clone() };
        let attempt = Attempt { number: attempt, life, ticket, known };
        let (shared, lane) = (Arc::clone(&self.shared), self.life.lane);
        self.dials.spawn(async move {
            let number = attempt.number;
            (number, Box::pin(attempt::establish(shared, target, lane, attempt)).await)
        });
    }

    /// A dial is over.
    fn dialled(&mut self, dialled: Result<Dialled, JoinError>) {
        // The others were dropped.
        let Ok((attempt, established)) = dialled else { return };
        let now = Instant::now();
        match established {
            Ok(session) => {
                let (path, early) = (Arc::clone(&session.path), session.path.is_early());
                let carries = self.life.beside.quic_up(&path);
                let proofs = early.then(|| self.proofs.0.clone());
                self.lives.spawn(live(Arc::clone(&self.shared), session, proofs));
                self.sessions.insert(path.id, (Arc::clone(&path), carries));
                self.plan.established(now, attempt, path.id, early);
                if !early {
                    self.learned(&path);
                }
            }
            Err(error) => {
                self.shared.tally.dials_failed.add();
                self.plan.failed(now, attempt);
                self.failures = self.failures.saturating_add(1);
                let text = error.to_string();
                if self.failures <= NEWS || self.life.problem().as_ref() != Some(&text) {
                    warn!(target = self.target.addr, lane = self.life.lane.as_str(), "cannot dial: {text}");
                }
                if self.sessions.is_empty() {
                    self.life.note(Some(text));
                }
            }
        }
    }

    /// The handshake of an early session is over.
    fn proven(&mut self, path: PathId) {
        if let Some((path, _)) = self.sessions.get(&path) {
            let path = Arc::clone(path);
            self.plan.proven(Instant::now(), path.id);
            self.learned(&path);
        }
    }

    /// Somebody is there, and this far away.
    fn learned(&mut self, path: &Path) {
        self.failures = 0;
        self.known = Some(path.peer.clone());
        self.plan.measured(path.carrier.figures().rtt);
        self.life.note(None);
    }

    /// A session is over.
    fn ended(&mut self, ended: Result<(PathId, DownReason), JoinError>) {
        // An error would be a panic in there, which is reported where it happens.
        let Ok((id, why)) = ended else { return };
        let Some((path, _)) = self.sessions.remove(&id) else { return };
        if !path.is_early() {
            self.plan.measured(path.carrier.figures().rtt);
        }
        if why == DownReason::PeerChanged {
            self.known = None;
        }
        self.plan.ended(Instant::now(), id);
        if self.sessions.is_empty() {
            self.life.note(Some(why.to_string()));
        }
    }

    /// The handle was used.
    fn called(&mut self) {
        let now = Instant::now();
        if self.life.hurry.swap(false, Ordering::AcqRel) {
            self.plan.hurry(now);
        }
        if self.life.race.swap(false, Ordering::AcqRel) {
            self.plan.race(now);
        }
        if self.life.moved.swap(false, Ordering::AcqRel) {
            let uplink = self.uplink.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for (path, _) in self.sessions.values() {
                match path.carrier.quic().map(|quic| quic.rebind(&uplink)) {
                    Some(Ok(())) => {
                        self.shared.tally.migrations.add();
                        debug!(path = path.id.0, local = ?uplink.local, "moved to a new socket");
                    }
                    Some(Err(error)) => warn!(path = path.id.0, "cannot move a session to a new socket: {error}"),
                    None => {}
                }
            }
        }
    }

    /// Ends everything that this lane has.
    async fn end(mut self) {
        self.dials.abort_all();
        while let Some(dialled) = self.dials.join_next().await {
            // Done before it heard of it: it is in the table, and has to leave it by the usual way.
            if let Ok((_, Ok(session))) = dialled {
                session.path.close(DownReason::Shutdown);
                self.lives.spawn(live(Arc::clone(&self.shared), session, None));
            }
        }
        if !*self.shared.closing.borrow() {
            self.sessions.values().for_each(|(path, _)| path.close(DownReason::Shutdown));
        }
        while self.lives.join_next().await.is_some() {}
    }
}

/// A session's life. Tells `proofs` when its handshake is over, if it is not yet.
async fn live(
    shared: Arc<Shared>,
    session: Session,
    proofs: Option<mpsc::UnboundedSender<PathId>>,
) -> (PathId, DownReason) {
    let path = Arc::clone(&session.path);
    let mut life = std::pin::pin!(path::run(shared, session));
    if let Some(proofs) = proofs {
        tokio::select! {
            why = &mut life => return (path.id, why),
            // The keeper that is gone need not know.
            () = path.proven() => drop(proofs.send(path.id)),
        }
    }
    (path.id, life.await)
}

fn words(reason: Reason) -> DownReason {
    match reason {
        Reason::NoAnswer => DownReason::HandshakeTimeout,
        Reason::Slower => DownReason::Closed("another dial was answered first".to_owned()),
        Reason::Silent => DownReason::Closed("it heard nothing, and a fresh session did".to_owned()),
        Reason::NotNeeded => DownReason::Closed("the session that it was dialled beside is heard again".to_owned()),
    }
}
