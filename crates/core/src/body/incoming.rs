//! Bodies that are coming in.
//!
//! Invariants: at most [`limits::BODIES_INCOMING`] at once, and [`limits::BODIES_INCOMING_OF_ONE`] of one sender; memory is taken for one when its offer is
//! accepted, and given back when it is whole, refused, or stands still for [`limits::BODY_STALLED`]. All chunks of one body come from one node.

use std::collections::BTreeMap;

use crate::body::message::{BodyRefusal, Offer};
use crate::body::{BodyId, Chunks, Media, place};
use crate::id::NodeName;
use crate::limits;
use crate::time::Timestamp;

#[derive(Debug)]
struct Partial {
    offer: Offer,
    from: NodeName,
    content: Vec<u8>,
    have: Chunks,
    touched: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Incoming {
    partial: BTreeMap<BodyId, Partial>,
}

/// What a chunk brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Go on.
    Have(Chunks),
    /// The body is whole, and is what its name says.
    Whole(Offer, Vec<u8>),
    /// The body is whole, and is not.
    Mismatch,
    /// No such body is coming in from there.
    Stray,
}

impl Incoming {
    /// Begins to take a body in, or goes on with one. `is_there` says whether a node holds a session: what one that does not has begun, another
    /// may give.
    pub(super) fn offer(
        &mut self,
        now: Timestamp,
        from: &NodeName,
        offer: Offer,
        is_there: impl Fn(&NodeName) -> bool,
    ) -> Result<Chunks, BodyRefusal> {
        if offer.size == 0 || offer.size > offer.media.limit() {
            return Err(BodyRefusal::Size);
        }
        if let Some(partial) = self.partial.get_mut(&offer.id) {
            if partial.from == *from && partial.offer == offer {
                partial.touched = now;
                return Ok(partial.have);
            }
            // This one says something else now than before, or another node has begun.
            if partial.from != *from && is_there(&partial.from) {
                return Err(BodyRefusal::Busy);
            }
            self.partial.remove(&offer.id);
        }
        let of_one = self.partial.values().filter(|partial| partial.from == *from).count();
        if self.partial.len() >= limits::BODIES_INCOMING || of_one >= limits::BODIES_INCOMING_OF_ONE {
            return Err(BodyRefusal::Busy);
        }
        let (content, have) = (vec![0; offer.size], Chunks::default());
        self.partial.insert(offer.id, Partial { offer, from: from.clone(), content, have, touched: now });
        Ok(have)
    }

    pub(super) fn chunk(&mut self, now: Timestamp, from: &NodeName, id: BodyId, at: u8, data: &[u8]) -> Step {
        let Some(partial) = self.partial.get_mut(&id).filter(|partial| partial.from == *from) else {
            return Step::Stray;
        };
        let slot = place(partial.offer.size, at).and_then(|place| partial.content.get_mut(place));
        let Some(slot) = slot.filter(|slot| slot.len() == data.len()) else {
            self.partial.remove(&id);
            return Step::Mismatch;
        };
        partial.touched = now;
        slot.copy_from_slice(data);
        partial.have.add(at);
        if partial.have != Chunks::all(partial.offer.size) {
            return Step::Have(partial.have);
        }
        let Some(Partial { offer, content, .. }) = self.partial.remove(&id) else { return Step::Stray };
        if BodyId::of(&content) == id && Media::of(&content) == Some(offer.media) {
            Step::Whole(offer, content)
        } else {
            Step::Mismatch
        }
    }

    pub(super) fn drop_stalled(&mut self, now: Timestamp) {
        self.partial.retain(|_, partial| now.since(partial.touched) < limits::BODY_STALLED);
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.partial.values().map(|partial| partial.touched + limits::BODY_STALLED).min()
    }

    pub(super) fn has(&self, id: &BodyId) -> bool {
        self.partial.contains_key(id)
    }

    pub(super) fn len(&self) -> usize {
        self.partial.len()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.partial.len() > limits::BODIES_INCOMING {
            return Err(format!("{} bodies come in at once", self.partial.len()));
        }
        let bad = self.partial.values().find(|partial| partial.content.len() != partial.offer.size);
        bad.map_or(Ok(()), |partial| Err(format!("{} has another size than was said", partial.offer.id)))
    }
}
