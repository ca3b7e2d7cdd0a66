//! Keeping sessions up towards one target: dial, live, wait, dial again.
//!
//! Invariants:
//!
//! * Every dial has a new socket, so a new local port. What held the last one back (a NAT mapping, a conntrack entry that
//!   points at a pod that is gone) does not hold back the next.
//! * Nothing depends on 0-RTT: a session is taken up early only towards a node whose last session was proven, and after
//!   one that came to nothing the next is dialled in full.

use std::collections::hash_map::{DefaultHasher, RandomState};
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use huxiao_core::{Lane, PathInfo, Span};
use huxiao_pki::Peer;
use quinn::{Connection, ZeroRttAccepted};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::backoff::{Backoff, PROVEN_AFTER};
use crate::codes;
use crate::config::Target;
use crate::event::{DownReason, LinkError};
use crate::path::quic::{self, peer_of};
use crate::path::{self, Session};
use crate::registry::Shared;
use crate::tcp::dial::Beside;
use crate::{tcp, transport};

/// A dial that has had no answer for this long is begun anew, from a new port, if somebody is in a hurry. Each one in a row is
/// given twice the time of the one before: on a slow line a handshake takes longer, and giving every one up would reach nobody.
const HURRY_AFTER: Span = Span::from_secs(1);
/// After so many doublings a dial outlasts the time for a handshake, and is given up no more.
const DOUBLINGS: u32 = 4;

/// Keeps dialling one target until it is dropped, which also ends the sessions.
#[derive(Debug)]
#[must_use = "dropping it ends the sessions"]
pub struct DialHandle {
    lanes: Vec<Arc<Lifeline>>,
    _stop: watch::Sender<()>,
}

/// One lane's dialler, seen from outside.
#[derive(Debug)]
struct Lifeline {
    lane: Lane,
    hurry: Notify,
    problem: Mutex<Option<String>>,
    beside: Arc<Beside>,
}

impl DialHandle {
    /// An alarm is waiting: dial now instead of at the end of a delay, and give up a dial that has had no answer for a second (the
    /// next for two, and so on).
    pub fn hurry(&self) {
        for lane in &self.lanes {
            lane.hurry.notify_one();
            lane.beside.hurry();
        }
    }

    /// Alarms are under way and nothing comes back: dial afresh beside the sessions that there are, and keep those.
    pub fn race(&self) {
        self.hurry();
    }

    /// Why the last dial of each lane came to nothing, for those lanes that have no QUIC session now, and whether TCP carries what
    /// QUIC does not. For people.
    #[must_use]
    pub fn problems(&self) -> Vec<(Lane, String)> {
        self.lanes.iter().filter_map(|lane| Some((lane.lane, lane.words()?))).collect()
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
    let mut lanes = Vec::new();
    for lane in &target.lanes {
        let beside = Arc::new(Beside::default());
        tokio::spawn(tcp::dial::keep(Arc::clone(shared), target.clone(), *lane, Arc::clone(&beside), stopped.clone()));
        let life = Arc::new(Lifeline { lane: *lane, hurry: Notify::new(), problem: Mutex::default(), beside });
        lanes.push(Arc::clone(&life));
        tokio::spawn(keep(Arc::clone(shared), target.clone(), life, stopped.clone()));
    }
    DialHandle { lanes, _stop: stop }
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

async fn keep(shared: Arc<Shared>, target: Target, life: Arc<Lifeline>, stopped: watch::Receiver<()>) {
    let mut stop = std::pin::pin!(stopping(&shared, stopped));
    let mut backoff = Backoff::new(RandomState::new().hash_one(&target.addr));
    let mut known = None;
    let mut given_up = 0;
    for attempt in 0_usize.. {
        let began = Instant::now();
        let established = tokio::select! {
            biased;
            () = &mut stop => return,
            () = impatience(&life, given_up) => None,
            established = establish(&shared, &target, life.lane, attempt, known.take()) => Some(established),
        };
        given_up = if established.is_none() { DOUBLINGS.min(given_up + 1) } else { 0 };
        match established {
            Some(Ok(session)) => {
                life.note(None);
                let path = Arc::clone(&session.path);
                let _carries = life.beside.quic_up(&path);
                let mut session = std::pin::pin!(path::run(Arc::clone(&shared), session));
                let why = tokio::select! {
                    why = &mut session => why,
                    () = &mut stop => {
                        if !*shared.closing.borrow() {
                            path.close(DownReason::Shutdown);
                        }
                        session.await;
                        return;
                    }
                };
                life.note(Some(why.to_string()));
                known = (!path.is_early()).then(|| path.peer.clone());
                if known.is_some() && began.elapsed() >= PROVEN_AFTER {
                    backoff.reset();
                }
            }
            Some(Err(error)) => {
                shared.tally.dials_failed.add();
                // The first failures of a series are news, the rest is noise.
                if attempt < 3 || life.problem() != Some(error.to_string()) {
                    warn!(target = target.addr, lane = life.lane.as_str(), "cannot dial: {error}");
                }
                life.note(Some(error.to_string()));
            }
            None => {
                shared.tally.dials_failed.add();
                debug!(target = target.addr, "no answer yet and no time to wait: dialling anew");
                continue;
            }
        }
        tokio::select! {
            () = &mut stop => return,
            () = life.hurry.notified() => {}
            () = sleep(life.beside.stretch(backoff.delay(), target.uplink.cost)) => {}
        }
    }
}

/// Ends once a dial has had its time and somebody is in a hurry, when `given_up` of them were given up in a row.
async fn impatience(life: &Lifeline, given_up: u32) {
    sleep(HURRY_AFTER * 2_u32.pow(given_up)).await;
    life.hurry.notified().await;
}

/// One dial. `known` is who answered there last, if that session was proven.
async fn establish(
    shared: &Arc<Shared>,
    target: &Target,
    lane: Lane,
    attempt: usize,
    known: Option<Peer>,
) -> Result<Session, LinkError> {
    shared.tally.dials.add();
    let patience = shared.config.handshake_timeout;
    let addr = resolve_in_time(target, attempt, patience).await?;
    let endpoint = transport::dialler(target.uplink.local, addr)?;
    let connecting = endpoint.connect_with(shared.client(lane), addr, &server_name(&target.addr))?;
    let (connection, confirm) = match connecting.into_0rtt() {
        Ok((connection, confirm)) => match known {
            Some(peer) if target.expect.admits(&peer.identity) && shared.welcome(&peer) => {
                return early(shared, connection, confirm, peer, target.uplink.info(lane));
            }
            _ => (connection, Some(confirm)),
        },
        Err(connecting) => {
            let connection = timeout(patience, connecting).await.map_err(|_| LinkError::NoAnswer(addr))?;
            (connection.map_err(|error| handshake_error(addr, error))?, None)
        }
    };
    if let Some(confirm) = confirm {
        timeout(patience, confirm).await.map_err(|_| LinkError::NoAnswer(addr))?;
    }
    if let Some(error) = connection.close_reason() {
        return Err(handshake_error(addr, error));
    }
    let peer = peer_of(&connection);
    let Some(peer) = peer.as_ref().ok().filter(|peer| target.expect.admits(&peer.identity) && shared.welcome(peer))
    else {
        connection.close(codes::NOT_ACCEPTED, &[]);
        shared.tally.peers_refused.add();
        let found = peer.map_or_else(|error| error.to_string(), |peer| peer.identity.to_string());
        return Err(LinkError::Unexpected { addr, found });
    };
    transport::set_lane(&connection, lane);
    quic::begin(shared, connection, peer.clone(), target.uplink.info(lane), true, None)
}

/// A session that begins on the ticket of the last one.
fn early(
    shared: &Arc<Shared>,
    connection: Connection,
    confirm: ZeroRttAccepted,
    mut peer: Peer,
    info: PathInfo,
) -> Result<Session, LinkError> {
    shared.tally.early_offered.add();
    transport::set_lane(&connection, info.lane);
    let now = crate::registry::wall_now();
    if now > peer.not_after {
        peer.validity = huxiao_pki::Validity::Expired;
    }
    quic::begin(shared, connection, peer, info, true, Some(confirm))
}

fn handshake_error(addr: SocketAddr, error: quinn::ConnectionError) -> LinkError {
    match error {
        quinn::ConnectionError::TimedOut => LinkError::NoAnswer(addr),
        error => LinkError::Handshake { addr, why: error.into() },
    }
}

/// The target's address of this attempt, if it is found within `patience`.
pub(crate) async fn resolve_in_time(target: &Target, attempt: usize, patience: Span) -> Result<SocketAddr, LinkError> {
    timeout(patience, resolve(target, attempt)).await.unwrap_or_else(|_| {
        Err(LinkError::Resolve { addr: target.addr.clone(), why: "the resolver does not answer".to_owned() })
    })
}

/// The target's address of this attempt: each of a name's addresses has its turn.
async fn resolve(target: &Target, attempt: usize) -> Result<SocketAddr, LinkError> {
    let fail = |why: String| LinkError::Resolve { addr: target.addr.clone(), why };
    let found = tokio::net::lookup_host(&target.addr).await.map_err(|error| fail(error.to_string()))?;
    let usable = |addr: &SocketAddr| target.uplink.local.is_none_or(|local| local.is_ipv4() == addr.is_ipv4());
    let addrs: Vec<_> = found.filter(usable).collect();
    let turn = attempt.checked_rem(addrs.len()).and_then(|turn| addrs.get(turn));
    turn.copied().ok_or_else(|| fail("it has no address that can be reached from the local one".to_owned()))
}

/// The name under which TLS keeps the tickets of a target. Identities are what is verified; a name only has to tell
/// targets apart, also two ports of one address, because a ticket is good only for the process that gave it.
fn server_name(addr: &str) -> String {
    let mut hasher = DefaultHasher::new();
    addr.hash(&mut hasher);
    format!("t{:016x}.huxiao.invalid", hasher.finish())
}
