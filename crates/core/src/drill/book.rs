//! The drills of a region's record.
//!
//! Invariant: a function of the commands alone. What time it is enters with each of them, so all nodes forget the same drills.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::drill::{CloseDrill, Drill, DrillId, DrillPhase, DrillRefusal, OpenDrill};
use crate::limits;
use crate::time::WallTime;

/// The drills that are to come, are on, or were, as far as there is room for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrillBook {
    drills: BTreeMap<DrillId, Arc<Drill>>,
    /// Orders that were refused lately, oldest first.
    refused: VecDeque<(DrillId, DrillRefusal)>,
}

/// The same in plain parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrillImage {
    /// The drills, in the order of their ids.
    pub drills: Vec<Arc<Drill>>,
    /// Orders that were refused lately, oldest first; at most [`limits::DRILLS_REFUSED`].
    pub refused: Vec<(DrillId, DrillRefusal)>,
}

impl DrillBook {
    /// The drill.
    #[must_use]
    pub fn get(&self, id: &DrillId) -> Option<&Arc<Drill>> {
        self.drills.get(id)
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Drill>> {
        self.drills.values()
    }

    /// Whether there is none, and none was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drills.is_empty() && self.refused.is_empty()
    }

    /// Why an order to open a drill was refused, if it was, lately.
    #[must_use]
    pub fn refusal(&self, id: &DrillId) -> Option<DrillRefusal> {
        self.refused.iter().rev().find(|(have, _)| have == id).map(|(_, why)| *why)
    }

    /// Opens a drill, announced from now on. `None` if it is known already, an error if it is refused.
    ///
    /// # Errors
    /// [`DrillRefusal`]
    pub(crate) fn open(&mut self, order: OpenDrill) -> Option<Result<Arc<Drill>, DrillRefusal>> {
        if self.drills.contains_key(&order.id) || self.refusal(&order.id).is_some() {
            return None;
        }
        let (id, at) = (order.id, order.at);
        if let Err(why) = order.checked().and_then(|()| self.make_room(at)) {
            self.refused.push_back((id, why));
            if self.refused.len() > limits::DRILLS_REFUSED {
                self.refused.pop_front();
            }
            return Some(Err(why));
        }
        let from = WallTime(order.from.0.max(later(at, limits::DRILL_LEAD).0));
        let until = later(from, order.length);
        let drill = Arc::new(Drill { order, from, until, closed: None });
        self.drills.insert(id, Arc::clone(&drill));
        Some(Ok(drill))
    }

    /// Ends a drill. `None` if there is none of this id, or it is over.
    pub(crate) fn close(&mut self, order: CloseDrill) -> Option<Arc<Drill>> {
        let drill = self.drills.get_mut(&order.id)?;
        if drill.closed.is_some() || drill.phase(order.at) == DrillPhase::Over {
            return None;
        }
        Arc::make_mut(drill).closed = Some(order);
        Some(Arc::clone(drill))
    }

    /// Forgets the oldest drill that is over if there are too many.
    fn make_room(&mut self, at: WallTime) -> Result<(), DrillRefusal> {
        let open = self.drills.values().filter(|drill| drill.phase(at) != DrillPhase::Over).count();
        if open >= limits::DRILLS_OPEN {
            return Err(DrillRefusal::TooMany);
        }
        while self.drills.len() >= limits::DRILLS_KEPT {
            let over = self.drills.values().filter(|drill| drill.phase(at) == DrillPhase::Over);
            let Some(id) = over.min_by_key(|drill| drill.end()).map(|drill| drill.id()) else {
                return Err(DrillRefusal::TooMany);
            };
            self.drills.remove(&id);
        }
        Ok(())
    }

    pub(crate) fn image(&self) -> DrillImage {
        DrillImage { drills: self.drills.values().cloned().collect(), refused: self.refused.iter().copied().collect() }
    }

    /// The book that these parts make.
    ///
    /// # Errors
    /// What keeps them from being one.
    pub(crate) fn from_image(image: DrillImage) -> Result<Self, String> {
        let mut drills = BTreeMap::new();
        for drill in image.drills {
            if let Some(twice) = drills.insert(drill.id(), drill) {
                return Err(format!("drill {} is there twice", twice.id()));
            }
        }
        let book = Self { drills, refused: image.refused.into() };
        book.check()?;
        Ok(book)
    }

    /// Holds it against its invariants.
    ///
    /// # Errors
    /// The first that does not hold.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.drills.len() > limits::DRILLS_KEPT || self.refused.len() > limits::DRILLS_REFUSED {
            return Err(format!("{} drills are held, {} were refused", self.drills.len(), self.refused.len()));
        }
        for (id, drill) in &self.drills {
            drill.order.checked().map_err(|why| format!("drill {id}: {why}"))?;
            let announced = drill.from >= later(drill.order.at, limits::DRILL_LEAD);
            if *id != drill.id() || !announced || drill.until != later(drill.from, drill.order.length) {
                return Err(format!("drill {id} is on before it is announced, or not as long as it was ordered"));
            }
        }
        Ok(())
    }
}

/// `span` after `at`.
fn later(at: WallTime, span: crate::time::Span) -> WallTime {
    WallTime(at.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
}
