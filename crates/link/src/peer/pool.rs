//! The one connection that all calls to a target share: dialled when the first call needs it, kept, dialled anew when it is gone.
//!
//! Invariants:
//!
//! * One dial is under way at most, and goes on when the call for which it began has been given up.
//! * Dials that come to nothing are 20 ms to a second apart, counted from their beginning, so that a peer of which nothing is heard is
//!   dialled without a pause. A connection on which nothing was ever answered is one that came to nothing.
//! * The connection ends with the last handle or with the link, whichever is first.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use huxiao_core::{Span, limits};
use huxiao_pki::Validity;
use quinn::{Connection, ConnectionError};
use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::backoff::Backoff;
use crate::codes;
use crate::dial::stopping;
use crate::event::{DownReason, LinkError};
use crate::peer::call::{self, Failed};
use crate::peer::dial::{Dialled, dial};
use crate::peer::{PeerError, PeerStats, PeerTarget};
use crate::registry::Shared;

/// Around this long between a dial that came to nothing and the next, at first.
const FIRST: Span = Span::from_millis(20);
/// The same in the end.
const LAST: Span = Span::from_secs(1);
/// How long the end of a connection may take to reach the peer.
const FAREWELL: Span = Span::from_millis(500);

/// Calls a peer, see [`Link::peer`](crate::Link::peer). Cheap to clone.
#[derive(Clone)]
pub struct PeerHandle(Arc<Pool>);

/// See the module.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    pub(super) target: PeerTarget,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    stop: watch::Sender<()>,
}

struct State {
    line: Line,
    backoff: Backoff,
    /// No dial begins before.
    not_before: Instant,
    /// How many have begun.
    dials: usize,
    problem: Option<String>,
}

enum Line {
    Down,
    Dialling,
    Up(Up),
}

#[derive(Clone)]
struct Up {
    connection: Connection,
    began: Instant,
    since: Instant,
    /// A call was answered on it.
    proven: bool,
}

impl PeerHandle {
    pub(super) fn new(shared: &Arc<Shared>, target: &PeerTarget) -> Self {
        Self(shared.peers.pool(target, || {
            let seed = RandomState::new().hash_one(target);
            let state = State {
                line: Line::Down,
                backoff: Backoff::between(FIRST, LAST, seed),
                not_before: Instant::now(),
                dials: 0,
                problem: None,
            };
            Arc::new(Pool {
                shared: Arc::clone(shared),
                target: target.clone(),
                state: Mutex::new(state),
                changed: watch::channel(()).0,
                stop: watch::channel(()).0,
            })
        }))
    }

    /// Sends `request` and waits for its answer, `timeout` at most in all. Of two calls on one connection, what the one with the higher
    /// `priority` has to send leaves first.
    ///
    /// # Errors
    /// Any [`PeerError`] but `Body`.
    pub async fn call(&self, request: impl Into<Bytes>, timeout: Span, priority: i32) -> Result<Bytes, PeerError> {
        let request = request.into();
        let deadline = Instant::now() + timeout;
        let answer = async {
            let request = self.checked(request)?;
            loop {
                let connection = self.0.connection(deadline).await?;
                match call::plain(&connection, request.clone(), priority, deadline.into()).await {
                    Err(Failed::NotSent) => self.0.gone(&connection),
                    Err(Failed::Sent(error)) => return self.0.failed(&connection, error),
                    Ok(answer) => return self.0.answered(&connection, answer),
                }
            }
        };
        self.counted(answer.await)
    }

    /// Sends `request` and, behind it, everything that `body` gives, and waits for the answer. There is no end to how long that takes as
    /// a whole: it is given up when nothing moves for `patience`, which is also how long the peer has for its answer when the body is out.
    ///
    /// # Errors
    /// Any [`PeerError`].
    pub async fn call_with_body(
        &self,
        request: impl Into<Bytes>,
        mut body: impl AsyncRead + Unpin + Send,
        patience: Span,
    ) -> Result<Bytes, PeerError> {
        let request = request.into();
        let answer = async {
            let request = self.checked(request)?;
            loop {
                let connection = self.0.connection(Instant::now() + patience).await?;
                match call::with_body(&connection, request.clone(), &mut body, patience).await {
                    Err(Failed::NotSent) => self.0.gone(&connection),
                    Err(Failed::Sent(error)) => return self.0.failed(&connection, error),
                    Ok(answer) => return self.0.answered(&connection, answer),
                }
            }
        };
        self.counted(answer.await)
    }

    /// Whom it calls.
    #[must_use]
    pub fn target(&self) -> &PeerTarget {
        &self.0.target
    }

    /// The figures of its connection.
    #[must_use]
    pub fn stats(&self) -> PeerStats {
        self.0.stats()
    }

    fn checked(&self, request: Bytes) -> Result<Bytes, PeerError> {
        let (len, limit) = (request.len(), limits::PEER_FRAME_BYTES);
        if len > limit {
            return Err(PeerError::Refused(format!("a request has at most {limit} bytes, this one has {len}")));
        }
        Ok(request)
    }

    fn counted(&self, answer: Result<Bytes, PeerError>) -> Result<Bytes, PeerError> {
        let outcome = answer.as_ref().err().map_or("answered", PeerError::as_str);
        self.0.shared.tally.peer_call(outcome);
        answer
    }
}

impl Pool {
    /// A connection, dialled if need be. Waits for one until `deadline`.
    async fn connection(self: &Arc<Self>, deadline: Instant) -> Result<Connection, PeerError> {
        let mut changed = self.changed.subscribe();
        let mut closing = self.shared.closing.subscribe();
        loop {
            if *closing.borrow_and_update() {
                return Err(PeerError::Closed);
            }
            let wake = match self.ready(deadline)? {
                Ok(connection) => return Ok(connection),
                Err(wake) => wake,
            };
            tokio::select! {
                // Both live as long as this does.
                _ = changed.changed() => {}
                _ = closing.changed() => {}
                () = sleep_until(wake.into()) => if wake >= deadline {
                    return Err(self.unreachable());
                }
            }
        }
    }

    /// The connection that there is, or until when to wait for one. Begins a dial if it is time for one.
    fn ready(self: &Arc<Self>, deadline: Instant) -> Result<Result<Connection, Instant>, PeerError> {
        let mut state = self.lock();
        if let Line::Up(up) = &state.line {
            let connection = up.connection.clone();
            match connection.close_reason() {
                None => return Ok(Ok(connection)),
                Some(why) => self.went_down(&mut state, &connection, &why),
            }
        }
        match state.line {
            Line::Up(_) | Line::Dialling => Ok(Err(deadline)),
            Line::Down if state.not_before >= deadline => {
                drop(state);
                Err(self.unreachable())
            }
            Line::Down if state.not_before > Instant::now() => Ok(Err(state.not_before)),
            Line::Down => {
                state.line = Line::Dialling;
                state.dials = state.dials.wrapping_add(1);
                tokio::spawn(keep(Arc::downgrade(self), Arc::clone(&self.shared), state.dials, self.stop.subscribe()));
                Ok(Err(deadline))
            }
        }
    }

    /// A dial came to a connection.
    fn went_up(&self, connection: &Connection, began: Instant) {
        let mut state = self.lock();
        state.problem = None;
        let up = Up { connection: connection.clone(), began, since: Instant::now(), proven: false };
        state.line = Line::Up(up);
        drop(state);
        self.changed.send_replace(());
    }

    /// A dial that began then came to nothing.
    fn dial_failed(&self, began: Instant, error: &LinkError) {
        let mut state = self.lock();
        let text = error.to_string();
        let news = state.problem.as_ref() != Some(&text);
        state.line = Line::Down;
        state.not_before = began + state.backoff.delay();
        state.problem = Some(text.clone());
        drop(state);
        self.changed.send_replace(());
        let (node, lane) = (&self.target.expect, self.target.lane.as_str());
        if news {
            warn!(%node, lane, "cannot reach a peer: {text}");
        } else {
            debug!(%node, lane, "cannot reach a peer: {text}");
        }
    }

    /// A connection is over, if it is still the one here.
    fn went_down(&self, state: &mut State, connection: &Connection, why: &ConnectionError) {
        let Line::Up(up) = &state.line else { return };
        if up.connection.stable_id() != connection.stable_id() {
            return;
        }
        // What was good until now is worth dialling again at once; what never was is not.
        let (proven, began) = (up.proven, up.began);
        state.not_before = if proven { Instant::now() } else { began + state.backoff.delay() };
        state.problem = Some(DownReason::from(why.clone()).to_string());
        state.line = Line::Down;
    }

    /// No call can be made on this connection any more.
    fn gone(&self, connection: &Connection) {
        let why = connection.close_reason().unwrap_or(ConnectionError::LocallyClosed);
        let mut state = self.lock();
        self.went_down(&mut state, connection, &why);
        drop(state);
        self.changed.send_replace(());
    }

    /// A call came to nothing.
    fn failed(&self, connection: &Connection, error: PeerError) -> Result<Bytes, PeerError> {
        // Whoever refuses is there.
        if matches!(error, PeerError::Refused(_)) {
            self.proven(connection);
        }
        Err(error)
    }

    #[expect(clippy::unnecessary_wraps, reason = "the other half of `failed`")]
    fn answered(&self, connection: &Connection, answer: Bytes) -> Result<Bytes, PeerError> {
        self.proven(connection);
        Ok(answer)
    }

    fn proven(&self, connection: &Connection) {
        let mut state = self.lock();
        let State { line, backoff, .. } = &mut *state;
        if let Line::Up(up) = line
            && up.connection.stable_id() == connection.stable_id()
            && !up.proven
        {
            up.proven = true;
            backoff.reset();
        }
    }

    /// The peer has connected by itself: it is there.
    pub(super) fn seen(&self) {
        self.lock().not_before = Instant::now();
        self.changed.send_replace(());
    }

    fn unreachable(&self) -> PeerError {
        let problem = self.lock().problem.clone();
        PeerError::Unreachable(problem.unwrap_or_else(|| "no connection came up in time".to_owned()))
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(&self.lock().line, Line::Up(up) if up.connection.close_reason().is_none())
    }

    pub(super) fn stats(&self) -> PeerStats {
        let state = self.lock();
        let target = &self.target;
        let (node, addr, problem) = (target.expect.clone(), target.addr.clone(), state.problem.clone());
        let down = PeerStats::down(node, Some(target.lane), addr, problem);
        match &state.line {
            Line::Up(up) if up.connection.close_reason().is_none() => down.of(&up.connection, up.since),
            Line::Up(_) | Line::Dialling | Line::Down => down,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dials, and then looks after the connection until it, the pool or the link ends.
async fn keep(pool: Weak<Pool>, shared: Arc<Shared>, attempt: usize, stopped: watch::Receiver<()>) {
    let Some(target) = pool.upgrade().map(|pool| pool.target.clone()) else { return };
    let mut stop = std::pin::pin!(stopping(&shared, stopped));
    let began = Instant::now();
    let dialled = tokio::select! {
        dialled = dial(&shared, &target, attempt) => dialled,
        () = &mut stop => Err(LinkError::ShutDown),
    };
    let Dialled { connection, endpoint, peer } = match dialled {
        Ok(dialled) => dialled,
        Err(error) => {
            shared.tally.peer_dials_failed.add();
            if let Some(pool) = pool.upgrade() {
                pool.dial_failed(began, &error);
            }
            return;
        }
    };
    let (node, lane) = (&target.expect, target.lane.as_str());
    shared.tally.peers_up.add();
    info!(%node, lane, remote = %connection.remote_address(), "peer up");
    if peer.validity != Validity::Valid {
        warn!(%node, lane, validity = %peer.validity, "the peer's certificate is not valid now");
    }
    if let Some(pool) = pool.upgrade() {
        pool.went_up(&connection, began);
    }
    let why = tokio::select! {
        why = connection.closed() => why,
        () = &mut stop => {
            connection.close(codes::SHUTDOWN, &[]);
            ConnectionError::LocallyClosed
        }
    };
    shared.tally.peers_down.add();
    info!(%node, lane, why = %DownReason::from(why.clone()), "peer down");
    if let Some(pool) = pool.upgrade() {
        pool.gone(&connection);
    }
    // The peer finds out by itself if it cannot be told in time.
    let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
}

impl std::fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerHandle").field("target", &self.0.target).finish_non_exhaustive()
    }
}
