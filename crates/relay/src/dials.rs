//! The sessions that the relay keeps up: one dialler for each line and node that is dialled.
//!
//! Invariant: a dialler that is dropped ends its sessions, so one is here exactly while its line is there and its node is wanted. They are
//! still here when the node drains: what was given to them has to leave.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use huxiao_core::PathId;
use huxiao_link::DialHandle;
use tokio::sync::Notify;

/// A line and a node, each by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    pub(crate) uplink: usize,
    pub(crate) node: usize,
}

/// The diallers. Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dials {
    dials: Arc<Mutex<BTreeMap<Pair, DialHandle>>>,
    silent: Arc<Notify>,
}

impl Dials {
    /// An alarm waits: dial now.
    pub(crate) fn hurry(&self) {
        self.lock().values().for_each(DialHandle::hurry);
    }

    /// Nothing comes back: dial afresh beside what there is.
    pub(crate) fn race(&self) {
        self.lock().values().for_each(DialHandle::race);
        self.others();
    }

    /// Nothing comes back from any node that is dialled: whoever else there is.
    pub(crate) fn others(&self) {
        self.silent.notify_one();
    }

    /// Waits until nothing comes back from any node that is dialled.
    pub(crate) async fn silence(&self) {
        self.silent.notified().await;
    }

    /// Drops the diallers that are not `wanted`, and has `dial` make those that are missing. Gives back what it dropped and made.
    pub(crate) fn settle(&self, wanted: &[Pair], dial: impl Fn(Pair) -> DialHandle) -> (Vec<Pair>, Vec<Pair>) {
        let mut dials = self.lock();
        let dropped: Vec<Pair> = dials.keys().copied().filter(|pair| !wanted.contains(pair)).collect();
        dials.retain(|pair, _| wanted.contains(pair));
        let made: Vec<Pair> = wanted.iter().copied().filter(|pair| !dials.contains_key(pair)).collect();
        dials.extend(made.iter().map(|pair| (*pair, dial(*pair))));
        (dropped, made)
    }

    /// Moves the sessions of a line to new sockets.
    pub(crate) fn rebind(&self, uplink: usize, local: Option<IpAddr>) {
        let dials = self.lock();
        let own = dials.iter().filter(|(pair, _)| pair.uplink == uplink);
        own.for_each(|(_, dial)| dial.rebind(local));
    }

    /// To which line and node each session belongs.
    pub(crate) fn sessions(&self) -> BTreeMap<PathId, Pair> {
        let dials = self.lock();
        let of = |(pair, dial): (&Pair, &DialHandle)| {
            dial.sessions().into_iter().map(|path| (path, *pair)).collect::<Vec<_>>()
        };
        dials.iter().flat_map(of).collect()
    }

    /// Why dialling comes to nothing, where it does.
    pub(crate) fn problems(&self) -> BTreeMap<Pair, String> {
        let dials = self.lock();
        let of = |(pair, dial): (&Pair, &DialHandle)| Some((*pair, dial.problems().into_iter().next()?.1));
        dials.iter().filter_map(of).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Pair, DialHandle>> {
        self.dials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
