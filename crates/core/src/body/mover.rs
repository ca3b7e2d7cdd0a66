//! The machine itself: who is there, what is to be given, and what is wanted.
//!
//! It stands beside a node's own machine, with a loop of its own: a megabyte of pictures takes no step of the loop that alarms pass through.
//!
//! Invariants: a body is given to one node at a time, one body to a node at a time; a node that is not there is given nothing, and begins anew when
//! it is back, with the chunks that it has. Every table has a bound of [`limits`].

mod give;
mod receive;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Machine;
use crate::body::BodyId;
use crate::body::incoming::Incoming;
use crate::body::message::{BodyMessage, BodyRefusal, Offer};
use crate::body::outgoing::{Outgoing, Overdue};
use crate::body::port::{Content, Input, MoverConfig, Output, Report, Towards};
use crate::body::shelf::Shelf;
use crate::id::{NodeName, PathId};
use crate::limits;
use crate::time::{Now, Span, Timestamp};

/// How long an asked node has until the next is asked.
const ASK_NEXT: Span = Span::from_secs(2);
/// The longest pause between two rounds of asking.
const ASK_RARELY: Span = Span::from_secs(30);
/// The first pause after a node had no room, and the longest.
const BUSY_PAUSES: (Span, Span) = (Span::from_secs(1), Span::from_secs(60));
/// How long a body is to be given that no node has taken.
const GIVE_FOR: Span = Span::from_secs(7 * 24 * 3_600);
/// The same once one node has it: a second copy is a wish.
const SECOND_COPY: Span = Span::from_secs(600);
/// How often what is too old is looked for, and how much of it leaves at once: a clock that jumps must not empty a disk.
const AGE_LOOK: (Span, usize) = (Span::from_secs(600), 64);

#[derive(Debug)]
enum Active {
    Loading(BodyId),
    Sending(Outgoing),
}

impl Active {
    fn id(&self) -> BodyId {
        match self {
            Active::Loading(id) => *id,
            Active::Sending(outgoing) => outgoing.offer.id,
        }
    }
}

#[derive(Debug, Default)]
struct Peer {
    paths: BTreeSet<PathId>,
    queue: VecDeque<BodyId>,
    active: Option<Active>,
}

#[derive(Debug)]
struct Gift {
    towards: Towards,
    given: BTreeSet<NodeName>,
    /// Who does not take it at all.
    refused: BTreeSet<NodeName>,
    under_way: BTreeSet<NodeName>,
    /// Who has no room until then.
    busy: BTreeMap<NodeName, Timestamp>,
    pause: Span,
    until: Timestamp,
}

#[derive(Debug)]
struct Want {
    asked: BTreeSet<NodeName>,
    next: Timestamp,
    pause: Span,
    until: Timestamp,
}

/// Moves bodies between a node and its peers.
pub struct Mover {
    config: MoverConfig,
    paths: BTreeMap<PathId, NodeName>,
    peers: BTreeMap<NodeName, Peer>,
    /// Peers to whom something is being given.
    giving: BTreeSet<NodeName>,
    /// Peers that wait to be given something, and are given nothing.
    idle: BTreeSet<NodeName>,
    /// Whose turn was last.
    turn: Option<NodeName>,
    shelf: Shelf,
    incoming: Incoming,
    /// On their way to the disk, and who is to be told.
    storing: BTreeMap<BodyId, (Offer, BTreeSet<NodeName>)>,
    gifts: BTreeMap<BodyId, Gift>,
    wants: BTreeMap<BodyId, Want>,
    /// Who asked for what is not there.
    awaited: BTreeMap<BodyId, (BTreeSet<NodeName>, Timestamp)>,
    shunned: BTreeMap<NodeName, Timestamp>,
    /// Bytes to be kept that came from a sender since then.
    sent: BTreeMap<NodeName, (Timestamp, u64)>,
    age_look: Timestamp,
    out: VecDeque<Output>,
}

impl Mover {
    /// A mover with what the disk holds.
    #[must_use]
    pub fn new(now: Now, mut config: MoverConfig) -> Self {
        let mut shelf = Shelf::default();
        let mut out = VecDeque::new();
        for (id, size, since) in std::mem::take(&mut config.held) {
            out.extend(shelf.add(id, size, since, config.max_bytes).into_iter().map(Output::Remove));
        }
        Self {
            config,
            paths: BTreeMap::new(),
            peers: BTreeMap::new(),
            giving: BTreeSet::new(),
            idle: BTreeSet::new(),
            turn: None,
            shelf,
            incoming: Incoming::default(),
            storing: BTreeMap::new(),
            gifts: BTreeMap::new(),
            wants: BTreeMap::new(),
            awaited: BTreeMap::new(),
            shunned: BTreeMap::new(),
            sent: BTreeMap::new(),
            age_look: now.mono,
            out,
        }
    }

    /// Whether a body is here.
    #[must_use]
    pub fn has(&self, id: &BodyId) -> bool {
        self.shelf.has(id)
    }

    /// A body of the moment, which is in memory only.
    #[must_use]
    pub fn live(&self, id: &BodyId) -> Option<Content> {
        self.shelf.live(id).map(|(_, content)| content.clone())
    }

    /// How many bodies are on the disk, and how many bytes they have.
    #[must_use]
    pub fn held(&self) -> (usize, u64) {
        (self.shelf.len(), self.shelf.bytes())
    }

    /// How many bodies are coming in, and how many are being given.
    #[must_use]
    pub fn under_way(&self) -> (usize, usize) {
        (self.incoming.len(), self.giving.len())
    }

    fn path_up(&mut self, now: Now, path: PathId, node: NodeName) {
        self.paths.insert(path, node.clone());
        self.peers.entry(node).or_default().paths.insert(path);
        for want in self.wants.values_mut() {
            want.next = want.next.min(now.mono);
        }
    }

    fn path_down(&mut self, now: Now, path: PathId) {
        let Some(node) = self.paths.remove(&path) else { return };
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.paths.remove(&path);
        if !peer.paths.is_empty() {
            // What was under way there may be lost: the body is offered on another session.
            if let Some(Active::Sending(outgoing)) = &mut peer.active {
                let (offer, content) = (outgoing.offer, outgoing.content());
                *outgoing = Outgoing::new(now.mono, offer, content);
                self.send(&node, BodyMessage::Offer(offer));
            }
            return;
        }
        let Some(peer) = self.peers.remove(&node) else { return };
        self.giving.remove(&node);
        self.idle.remove(&node);
        let active = peer.active.iter().map(Active::id);
        for id in active.chain(peer.queue.iter().copied()) {
            if self.shelf.live(&id).is_some() {
                self.report(Report::NotGiven(id, node.clone(), BodyRefusal::Busy));
            }
        }
        for gift in self.gifts.values_mut() {
            gift.under_way.remove(&node);
        }
    }

    fn send(&mut self, node: &NodeName, message: BodyMessage) {
        // The youngest session: an older one may be dead, and its end not noticed yet.
        let path = self.peers.get(node).and_then(|peer| peer.paths.last().copied());
        self.out.extend(path.map(|path| Output::Send(path, message)));
    }

    fn report(&mut self, report: Report) {
        self.out.push_back(Output::Report(report));
    }

    fn message(&mut self, now: Now, path: PathId, message: BodyMessage) {
        let Some(node) = self.paths.get(&path).cloned() else { return };
        match message {
            BodyMessage::Offer(offer) => self.offered(now, &node, offer),
            BodyMessage::Chunk { id, at, data } => self.chunk(now, &node, id, at, &data),
            BodyMessage::Have(id, have) => self.have(now, &node, id, have),
            BodyMessage::Taken(id) => self.taken(now, &node, id),
            BodyMessage::Refused(id, why) => self.refused(now, &node, id, why),
            BodyMessage::Ask(id) => self.asked(now, &node, id),
            BodyMessage::Absent(id) => {
                if let Some(want) = self.wants.get_mut(&id).filter(|want| want.asked.contains(&node)) {
                    want.next = want.next.min(now.mono);
                }
            }
        }
    }

    fn overdue(&mut self, now: Now) {
        let giving: Vec<NodeName> = self.giving.iter().cloned().collect();
        for node in giving {
            let Some(Active::Sending(outgoing)) = self.peers.get_mut(&node).and_then(|peer| peer.active.as_mut())
            else {
                continue;
            };
            let id = outgoing.offer.id;
            match outgoing.handle_timeout(now.mono) {
                Some(Overdue::Offer(offer)) => self.send(&node, BodyMessage::Offer(offer)),
                Some(Overdue::GiveUp) => self.refused(now, &node, id, BodyRefusal::Busy),
                None => {}
            }
        }
    }

    fn forget_old(&mut self, now: Now) {
        if self.age_look > now.mono {
            return;
        }
        self.age_look = now.mono + AGE_LOOK.0;
        let old = self.shelf.outdated(now.wall, self.config.max_age, AGE_LOOK.1);
        self.out.extend(old.into_iter().map(Output::Remove));
    }

    fn go_on(&mut self, now: Now) {
        self.ask(now);
        self.place_gifts(now);
        self.begin(now);
    }
}

impl Machine for Mover {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::PathUp(path, node) => self.path_up(now, path, node),
            Input::PathDown(path) => self.path_down(now, path),
            Input::Message(path, message) => self.message(now, path, message),
            Input::Added(id, size) => {
                self.add(now, id, size);
                self.is_here(id);
            }
            Input::Give(id, towards) => self.give(now, id, towards),
            Input::GiveLive(id, content, node) => self.give_live(id, content, &node),
            Input::Want(id, patience) => self.want(now, id, patience),
            Input::Loaded(id, found) => self.loaded(now, id, found.as_ref()),
            Input::Stored(id) => self.stored(now, id),
            Input::StoreFailed(id, why) => self.not_stored(id, why),
        }
        self.go_on(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.incoming.drop_stalled(now.mono);
        self.overdue(now);
        self.forget_old(now);
        self.go_on(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let sending = self.giving.iter().filter_map(|node| match self.peers.get(node)?.active.as_ref()? {
            Active::Sending(outgoing) => Some(outgoing.deadline()),
            Active::Loading(_) => None,
        });
        let wants = self.wants.values().map(|want| want.next);
        let gifts = self.gifts.values().flat_map(|gift| gift.busy.values().copied().chain([gift.until]));
        sending.chain(wants).chain(gifts).chain(self.incoming.poll_timeout()).chain([self.age_look]).min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn check(&self) -> Result<(), String> {
        self.shelf.check()?;
        self.incoming.check()?;
        let active: BTreeSet<&NodeName> =
            self.peers.iter().filter(|(_, peer)| peer.active.is_some()).map(|(node, _)| node).collect();
        if !active.iter().copied().eq(self.giving.iter()) || active.len() > limits::BODIES_OUTGOING {
            return Err(format!("{} nodes are given bodies, {} are counted", active.len(), self.giving.len()));
        }
        for (node, peer) in &self.peers {
            if peer.paths.is_empty() || peer.queue.len() > limits::BODIES_QUEUED {
                return Err(format!("{node} has no session, or too much waits for it"));
            }
            if self.idle.contains(node) != (peer.active.is_none() && !peer.queue.is_empty()) {
                return Err(format!("{node} waits for its turn and does not get it, or the reverse"));
            }
            if let Some(Active::Sending(outgoing)) = &peer.active {
                outgoing.check()?;
            }
        }
        let tables = [self.gifts.len(), self.wants.len()];
        if tables.iter().any(|len| *len > limits::BODIES_UNDER_WAY) || self.awaited.len() > limits::BODIES_AWAITED {
            return Err(format!("{tables:?} bodies are to be given and wanted, {} awaited", self.awaited.len()));
        }
        if let Some(id) = self.wants.keys().find(|id| self.shelf.has(id)) {
            return Err(format!("{id} is wanted and here"));
        }
        Ok(())
    }
}
