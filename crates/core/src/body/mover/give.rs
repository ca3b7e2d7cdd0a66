//! What goes out: who asked, what is to be given to whom, and whose turn it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::body::message::{BodyMessage, BodyRefusal, Offer};
use crate::body::mover::{Active, BUSY_PAUSES, GIVE_FOR, Gift, Mover, SECOND_COPY};
use crate::body::outgoing::Outgoing;
use crate::body::port::{Content, Output, Report, Towards};
use crate::body::{BodyId, Chunks, Media};
use crate::id::NodeName;
use crate::limits;
use crate::time::Now;

impl Mover {
    pub(super) fn asked(&mut self, now: Now, node: &NodeName, id: BodyId) {
        if self.shelf.has(&id) {
            return self.enqueue(node, id);
        }
        let until = now.mono + limits::BODY_AWAITED;
        if self.awaited.len() >= limits::BODIES_AWAITED {
            self.awaited.retain(|_, (_, until)| *until > now.mono);
        }
        if self.awaited.len() < limits::BODIES_AWAITED || self.awaited.contains_key(&id) {
            let (nodes, at) = self.awaited.entry(id).or_insert_with(|| (BTreeSet::new(), until));
            *at = until;
            if nodes.len() < limits::BODIES_QUEUED {
                nodes.insert(node.clone());
            }
        }
        self.send(node, BodyMessage::Absent(id));
    }

    pub(super) fn enqueue(&mut self, node: &NodeName, id: BodyId) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        let known = peer.queue.contains(&id) || peer.active.as_ref().is_some_and(|active| active.id() == id);
        if !known && peer.queue.len() < limits::BODIES_QUEUED {
            peer.queue.push_back(id);
        }
        if peer.active.is_none() && !peer.queue.is_empty() {
            self.idle.insert(node.clone());
        }
    }

    pub(super) fn give(&mut self, now: Now, id: BodyId, towards: Towards) {
        if self.gifts.len() >= limits::BODIES_UNDER_WAY && !self.gifts.contains_key(&id) {
            return self.report(Report::Lost(id));
        }
        self.gifts.entry(id).or_insert_with(|| Gift {
            towards,
            given: BTreeSet::new(),
            refused: BTreeSet::new(),
            under_way: BTreeSet::new(),
            busy: BTreeMap::new(),
            pause: BUSY_PAUSES.0,
            until: now.mono + GIVE_FOR,
        });
    }

    pub(super) fn give_live(&mut self, id: BodyId, content: Content, node: &NodeName) {
        let media = Media::of(&content).filter(|media| !content.is_empty() && content.len() <= media.limit());
        let Some(media) = media.filter(|_| self.peers.contains_key(node)) else {
            return self.report(Report::NotGiven(id, node.clone(), BodyRefusal::Busy));
        };
        self.shelf.add_live(id, media, content);
        self.enqueue(node, id);
    }

    /// Finds receivers for what is to be given.
    pub(super) fn place_gifts(&mut self, now: Now) {
        let mut placed = Vec::new();
        self.gifts.retain(|_, gift| gift.until > now.mono);
        for (id, gift) in &mut self.gifts {
            gift.busy.retain(|_, until| *until > now.mono);
            let free = |node: &NodeName, gift: &Gift| {
                let lists = [&gift.given, &gift.refused, &gift.under_way];
                !lists.iter().any(|list| list.contains(node)) && !gift.busy.contains_key(node)
            };
            let count = match &gift.towards {
                Towards::Some(count) => *count,
                Towards::Node(_) => 1,
            };
            // One after the other: a second copy does not stand before the first of the next body.
            while gift.given.len() < count && gift.under_way.is_empty() {
                let next = match &gift.towards {
                    Towards::Some(_) => self.peers.keys().find(|node| free(node, gift)),
                    Towards::Node(node) => Some(node).filter(|node| self.peers.contains_key(*node) && free(node, gift)),
                };
                let Some(node) = next.cloned() else { break };
                gift.under_way.insert(node.clone());
                placed.push((node, *id));
            }
        }
        placed.into_iter().for_each(|(node, id)| self.enqueue(&node, id));
    }

    /// Begins what there is room for, node by node in turn.
    pub(super) fn begin(&mut self, now: Now) {
        while self.giving.len() < limits::BODIES_OUTGOING && !self.idle.is_empty() {
            let after = self.turn.as_ref().and_then(|last| self.idle.iter().find(|node| *node > last));
            let Some(node) = after.or_else(|| self.idle.first()).cloned() else { return };
            self.idle.remove(&node);
            self.turn = Some(node.clone());
            let Some(peer) = self.peers.get_mut(&node) else { continue };
            let Some(id) = peer.queue.pop_front() else { continue };
            if let Some((media, content)) = self.shelf.live(&id).cloned() {
                self.start(now, &node, Offer { id, size: content.len(), media, live: true }, content);
            } else if self.shelf.has(&id) {
                peer.active = Some(Active::Loading(id));
                let first = !self.giving.iter().any(|other| self.loads(other, id));
                self.giving.insert(node);
                if first {
                    self.out.push_back(Output::Load(id));
                }
            } else {
                // It has left meanwhile.
                self.over(&node, id, BodyRefusal::Other);
            }
        }
    }

    pub(super) fn loads(&self, node: &NodeName, id: BodyId) -> bool {
        let active = self.peers.get(node).and_then(|peer| peer.active.as_ref());
        matches!(active, Some(Active::Loading(loading)) if *loading == id)
    }

    pub(super) fn start(&mut self, now: Now, node: &NodeName, offer: Offer, content: Content) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.active = Some(Active::Sending(Outgoing::new(now.mono, offer, content)));
        self.giving.insert(node.clone());
        self.send(node, BodyMessage::Offer(offer));
    }

    pub(super) fn loaded(&mut self, now: Now, id: BodyId, found: Option<&(Media, Content)>) {
        let waiting: Vec<NodeName> = self.giving.iter().filter(|node| self.loads(node, id)).cloned().collect();
        if found.is_none() {
            self.shelf.remove(&id);
        }
        for node in waiting {
            match found {
                Some((media, content)) => {
                    let offer = Offer { id, size: content.len(), media: *media, live: false };
                    self.start(now, &node, offer, content.clone());
                }
                None => self.over(&node, id, BodyRefusal::Other),
            }
        }
    }

    pub(super) fn sending(&mut self, node: &NodeName, id: BodyId) -> Option<&mut Outgoing> {
        match self.peers.get_mut(node).and_then(|peer| peer.active.as_mut()) {
            Some(Active::Sending(outgoing)) if outgoing.offer.id == id => Some(outgoing),
            _ => None,
        }
    }

    pub(super) fn have(&mut self, now: Now, node: &NodeName, id: BodyId, have: Chunks) {
        let Some(outgoing) = self.sending(node, id) else { return };
        let chunks = outgoing.have(now.mono, have);
        chunks.into_iter().for_each(|chunk| self.send(node, chunk));
    }

    pub(super) fn taken(&mut self, now: Now, node: &NodeName, id: BodyId) {
        let Some(offer) = self.sending(node, id).map(|outgoing| outgoing.offer) else { return };
        self.end(node);
        if let Some(gift) = self.gifts.get_mut(&id) {
            gift.under_way.remove(node);
            gift.given.insert(node.clone());
            gift.until = gift.until.min(now.mono + SECOND_COPY);
            let enough = match gift.towards {
                Towards::Some(count) => gift.given.len() >= count,
                Towards::Node(_) => true,
            };
            if enough {
                self.gifts.remove(&id);
            }
        }
        self.report(Report::Given(offer, node.clone()));
    }

    pub(super) fn refused(&mut self, now: Now, node: &NodeName, id: BodyId, why: BodyRefusal) {
        if self.sending(node, id).is_none() {
            return;
        }
        if let Some(gift) = self.gifts.get_mut(&id).filter(|_| why.passes()) {
            gift.busy.insert(node.clone(), now.mono + gift.pause);
            gift.pause = (gift.pause * 2).min(BUSY_PAUSES.1);
        }
        self.over(node, id, why);
    }

    /// A body is not given to a node, at least not now.
    pub(super) fn over(&mut self, node: &NodeName, id: BodyId, why: BodyRefusal) {
        self.end(node);
        if let Some(gift) = self.gifts.get_mut(&id) {
            gift.under_way.remove(node);
            if !why.passes() {
                gift.refused.insert(node.clone());
            }
        }
        self.report(Report::NotGiven(id, node.clone(), why));
    }

    /// Nothing is given to a node any longer: it is the next one's turn.
    pub(super) fn end(&mut self, node: &NodeName) {
        self.giving.remove(node);
        if let Some(peer) = self.peers.get_mut(node) {
            peer.active = None;
            if !peer.queue.is_empty() {
                self.idle.insert(node.clone());
            }
        }
    }
}
