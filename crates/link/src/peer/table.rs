//! What a link knows of its peers: the service that answers them, the pools that call them, and who is connected.
//!
//! Invariant: a connection that was taken in stands here exactly while its calls are answered.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use huxiao_core::{NodeName, Role};
use huxiao_pki::Peer;
use quinn::Connection;

use crate::codes;
use crate::config::Accept;
use crate::peer::pool::Pool;
use crate::peer::{PeerService, PeerStats, PeerTarget};

/// Connections that are taken in from one peer: two, and those of its former life whose end is not known here yet. One more closes
/// the oldest.
const OF_ONE_PEER: usize = 8;

/// See the module.
#[derive(Default)]
pub(crate) struct Peers {
    serving: Mutex<Option<Arc<Serving>>>,
    pools: Mutex<HashMap<PeerTarget, Weak<Pool>>>,
    accepted: Mutex<HashMap<NodeName, VecDeque<Arc<Accepted>>>>,
    next: AtomicU64,
    calls: AtomicUsize,
}

/// Who answers, and whom.
pub(super) struct Serving {
    pub(super) accept: Accept,
    pub(super) service: Arc<dyn PeerService>,
}

/// A connection that was taken in.
pub(crate) struct Accepted {
    number: u64,
    pub(super) peer: Peer,
    pub(super) connection: Connection,
    pub(super) serving: Arc<Serving>,
    since: Instant,
}

/// Counts a call that is being answered for as long as it lives.
pub(super) struct UnderWay<'a>(&'a AtomicUsize);

impl Peers {
    pub(super) fn serve(&self, accept: Accept, service: Arc<dyn PeerService>) {
        *lock(&self.serving) = Some(Arc::new(Serving { accept, service }));
    }

    /// Lets go of the service: from now on no peer is taken in.
    pub(crate) fn serve_nobody(&self) {
        *lock(&self.serving) = None;
    }

    /// Who answers `peer`, if anybody does.
    pub(super) fn serving(&self, peer: &Peer) -> Option<Arc<Serving>> {
        let serving = lock(&self.serving).clone()?;
        let welcome = peer.identity.node.role() == Role::Broker && (serving.accept)(&peer.identity);
        welcome.then_some(serving)
    }

    /// The pool of a target; `make` makes one if there is none.
    pub(super) fn pool(&self, target: &PeerTarget, make: impl FnOnce() -> Arc<Pool>) -> Arc<Pool> {
        let mut pools = lock(&self.pools);
        if let Some(pool) = pools.get(target).and_then(Weak::upgrade) {
            return pool;
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let pool = make();
        pools.insert(target.clone(), Arc::downgrade(&pool));
        pool
    }

    fn pools(&self) -> Vec<Arc<Pool>> {
        lock(&self.pools).values().filter_map(Weak::upgrade).collect()
    }

    /// Enters a connection, and closes the peer's oldest if these are too many.
    pub(super) fn enter(&self, peer: Peer, connection: Connection, serving: Arc<Serving>) -> Arc<Accepted> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let accepted = Arc::new(Accepted { number, peer, connection, serving, since: Instant::now() });
        let node = accepted.peer.identity.node.clone();
        {
            let mut all = lock(&self.accepted);
            let own = all.entry(node.clone()).or_default();
            own.push_back(Arc::clone(&accepted));
            if own.len() > OF_ONE_PEER
                && let Some(oldest) = own.pop_front()
            {
                oldest.connection.close(codes::SUPERSEDED, &[]);
            }
        }
        // It is there again: whoever waits before dialling it need not.
        for pool in self.pools().iter().filter(|pool| pool.target.expect == node) {
            pool.seen();
        }
        accepted
    }

    /// Takes a connection out.
    pub(super) fn leave(&self, accepted: &Accepted) {
        let mut all = lock(&self.accepted);
        let node = &accepted.peer.identity.node;
        if let Some(own) = all.get_mut(node) {
            own.retain(|one| one.number != accepted.number);
            if own.is_empty() {
                all.remove(node);
            }
        }
    }

    /// A call begins to be answered.
    pub(super) fn call(&self) -> UnderWay<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        UnderWay(&self.calls)
    }

    /// Whether no call is being answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.calls.load(Ordering::Relaxed) == 0
    }

    /// Whether no connection is there any more.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.accepted).is_empty() && self.pools().iter().all(|pool| !pool.is_up())
    }

    pub(super) fn stats(&self) -> Vec<PeerStats> {
        let mut stats: Vec<_> = self.pools().iter().map(|pool| pool.stats()).collect();
        stats.extend(lock(&self.accepted).values().flatten().map(|accepted| accepted.stats()));
        stats.sort_by(|a, b| (&a.node, a.lane, &a.addr).cmp(&(&b.node, b.lane, &b.addr)));
        stats
    }
}

impl Accepted {
    fn stats(&self) -> PeerStats {
        let remote = self.connection.remote_address();
        let blank = PeerStats::down(self.peer.identity.node.clone(), None, remote.to_string(), None);
        blank.of(&self.connection, self.since)
    }
}

impl PeerStats {
    /// The figures of no connection.
    pub(super) fn down(
        node: NodeName,
        lane: Option<crate::peer::PeerLane>,
        addr: String,
        problem: Option<String>,
    ) -> Self {
        Self {
            node,
            lane,
            addr,
            up: false,
            problem,
            remote: None,
            rtt: None,
            since: None,
            sent_bytes: 0,
            received_bytes: 0,
            lost: 0,
        }
    }

    /// The same with the figures of a connection that is up.
    pub(super) fn of(self, connection: &Connection, since: Instant) -> Self {
        let stats = connection.stats();
        Self {
            up: true,
            problem: None,
            remote: Some(connection.remote_address()),
            rtt: Some(stats.path.rtt),
            since: Some(since.elapsed()),
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            lost: stats.path.lost_packets,
            ..self
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
