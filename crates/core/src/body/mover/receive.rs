//! What comes in: offers, chunks, and what is wanted.

use std::collections::BTreeSet;

use crate::body::BodyId;
use crate::body::incoming::Step;
use crate::body::message::{BodyMessage, BodyRefusal, Offer};
use crate::body::mover::{ASK_NEXT, ASK_RARELY, Mover, Want};
use crate::body::port::{Accepts, Content, Output, Report};
use crate::id::{NodeName, Role};
use crate::limits;
use crate::time::{Now, Span};

impl Mover {
    pub(super) fn offered(&mut self, now: Now, node: &NodeName, offer: Offer) {
        if self.shelf.has(&offer.id) {
            return self.send(node, BodyMessage::Taken(offer.id));
        }
        if let Some((_, told)) = self.storing.get_mut(&offer.id) {
            told.insert(node.clone());
            return;
        }
        let given = self.config.accepts == Accepts::Given && node.role() != Role::Broker;
        let refusal = if offer.size == 0 || offer.size > offer.media.limit() {
            Some(BodyRefusal::Size)
        } else if !given && !self.wants.contains_key(&offer.id) {
            Some(BodyRefusal::Unwanted)
        } else if self.is_shunned(now, node) || (given && !offer.live && self.has_sent_enough(now, node, offer.size)) {
            Some(BodyRefusal::Sender)
        } else {
            None
        };
        let peers = &self.peers;
        let taken = match refusal {
            Some(why) => Err(why),
            None => self.incoming.offer(now.mono, node, offer, |other| peers.contains_key(other)),
        };
        match taken {
            Ok(have) => self.send(node, BodyMessage::Have(offer.id, have)),
            Err(why) => {
                self.send(node, BodyMessage::Refused(offer.id, why));
                self.report(Report::Refused(offer.id, node.clone(), why));
            }
        }
    }

    pub(super) fn is_shunned(&mut self, now: Now, node: &NodeName) -> bool {
        self.shunned.retain(|_, until| *until > now.mono);
        self.shunned.contains_key(node)
    }

    pub(super) fn has_sent_enough(&mut self, now: Now, node: &NodeName, size: usize) -> bool {
        let day = Span::from_secs(24 * 3_600);
        let begun = self.sent.get(node).filter(|(since, _)| now.mono.since(*since) < day);
        match begun {
            Some((_, bytes)) => bytes + size as u64 > limits::BODY_BYTES_A_DAY,
            None => {
                if self.sent.len() >= limits::BODY_SENDERS {
                    self.sent.retain(|_, (since, _)| now.mono.since(*since) < day);
                }
                if self.sent.len() >= limits::BODY_SENDERS {
                    return true;
                }
                self.sent.insert(node.clone(), (now.mono, 0));
                false
            }
        }
    }

    pub(super) fn chunk(&mut self, now: Now, node: &NodeName, id: BodyId, at: u8, data: &[u8]) {
        match self.incoming.chunk(now.mono, node, id, at, data) {
            Step::Have(have) => self.send(node, BodyMessage::Have(id, have)),
            Step::Whole(offer, content) => {
                if let Some((_, bytes)) = self.sent.get_mut(node).filter(|_| !offer.live) {
                    *bytes += offer.size as u64;
                }
                let content: Content = content.into();
                if offer.live {
                    self.shelf.add_live(id, offer.media, content);
                    self.send(node, BodyMessage::Taken(id));
                    self.arrived(offer, node);
                } else {
                    self.storing.insert(id, (offer, BTreeSet::from([node.clone()])));
                    self.out.push_back(Output::Store(id, content));
                }
            }
            Step::Mismatch => {
                if self.shunned.len() < limits::BODIES_AWAITED {
                    self.shunned.insert(node.clone(), now.mono + limits::BODY_SHUNNED);
                }
                self.send(node, BodyMessage::Refused(id, BodyRefusal::Mismatch));
                self.report(Report::Refused(id, node.clone(), BodyRefusal::Mismatch));
            }
            Step::Stray if self.shelf.has(&id) => self.send(node, BodyMessage::Taken(id)),
            // This node was started anew meanwhile, or has let it go: it is to be offered again.
            Step::Stray if !self.storing.contains_key(&id) => {
                self.send(node, BodyMessage::Refused(id, BodyRefusal::Busy));
            }
            Step::Stray => {}
        }
    }

    pub(super) fn stored(&mut self, now: Now, id: BodyId) {
        let Some((offer, told)) = self.storing.remove(&id) else { return };
        self.add(now, id, offer.size);
        told.iter().for_each(|node| self.send(node, BodyMessage::Taken(id)));
        let from = told.first().cloned();
        from.iter().for_each(|node| self.arrived(offer, node));
    }

    pub(super) fn not_stored(&mut self, id: BodyId, why: String) {
        let Some((_, told)) = self.storing.remove(&id) else { return };
        told.iter().for_each(|node| self.send(node, BodyMessage::Refused(id, BodyRefusal::Disk)));
        self.report(Report::NotStored(id, why));
    }

    pub(super) fn arrived(&mut self, offer: Offer, from: &NodeName) {
        self.report(Report::Arrived(offer, from.clone()));
        self.is_here(offer.id);
    }

    /// A body is here: those who waited for it get it.
    pub(super) fn is_here(&mut self, id: BodyId) {
        if self.wants.remove(&id).is_some() {
            self.report(Report::Here(id));
        }
        if let Some((nodes, _)) = self.awaited.remove(&id) {
            nodes.iter().for_each(|node| self.enqueue(node, id));
        }
    }

    pub(super) fn add(&mut self, now: Now, id: BodyId, size: usize) {
        let left = self.shelf.add(id, size, now.wall, self.config.max_bytes);
        self.out.extend(left.into_iter().map(Output::Remove));
    }

    pub(super) fn want(&mut self, now: Now, id: BodyId, patience: Span) {
        if self.shelf.has(&id) {
            return self.report(Report::Here(id));
        }
        let until = now.mono + patience;
        if let Some(want) = self.wants.get_mut(&id) {
            want.until = want.until.max(until);
        } else if self.wants.len() < limits::BODIES_UNDER_WAY {
            let want = Want { asked: BTreeSet::new(), next: now.mono, pause: ASK_NEXT, until };
            self.wants.insert(id, want);
        } else {
            self.report(Report::Lost(id));
        }
    }

    pub(super) fn ask(&mut self, now: Now) {
        let due: Vec<BodyId> = self.wants.iter().filter(|(_, w)| w.next <= now.mono).map(|(id, _)| *id).collect();
        for id in due {
            let Some(want) = self.wants.get_mut(&id) else { continue };
            if want.until <= now.mono {
                self.wants.remove(&id);
                self.report(Report::Lost(id));
                continue;
            }
            let next = self.peers.keys().find(|node| !want.asked.contains(*node)).cloned();
            if self.incoming.has(&id) || self.storing.contains_key(&id) {
                want.next = now.mono + ASK_NEXT;
            } else if let Some(node) = next {
                want.asked.insert(node.clone());
                want.next = now.mono + ASK_NEXT;
                self.send(&node, BodyMessage::Ask(id));
            } else {
                want.asked.clear();
                want.next = now.mono + want.pause;
                want.pause = (want.pause * 2).min(ASK_RARELY);
            }
            if let Some(want) = self.wants.get_mut(&id) {
                want.next = want.next.min(want.until);
            }
        }
    }
}
