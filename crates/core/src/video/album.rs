//! The pictures that a seat knows of, by event.
//!
//! Invariant: at most [`limits::ALBUM_EVENTS`] events, the latest; of each at most [`limits::PICTURES_PER_EVENT`] pictures and the last one of the moment of each
//! camera, of at most as many cameras.

use std::collections::{BTreeMap, VecDeque};

use crate::body::BodyId;
use crate::id::{EventId, Name};
use crate::limits;
use crate::video::{Picture, Pictures};

/// The pictures of one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Page {
    pictures: Vec<Picture>,
    live: BTreeMap<Name, Picture>,
}

/// The pictures that a seat knows of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Album {
    pages: BTreeMap<EventId, Page>,
    order: VecDeque<EventId>,
}

/// What was new.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// The pictures that were not known.
    pub pictures: Vec<Picture>,
    /// The event that was forgotten to make room.
    pub forgotten: Option<EventId>,
}

impl Album {
    /// Takes in what a broker node says.
    pub fn add(&mut self, said: Pictures) -> News {
        let mut news = News::default();
        if !self.pages.contains_key(&said.event) {
            if self.pages.len() >= limits::ALBUM_EVENTS {
                news.forgotten = self.order.pop_front();
                news.forgotten.iter().for_each(|event| drop(self.pages.remove(event)));
            }
            self.order.push_back(said.event);
        }
        let page = self.pages.entry(said.event).or_default();
        for picture in said.pictures {
            if said.live {
                let known = page.live.get(&picture.camera);
                let room = known.is_some() || page.live.len() < limits::PICTURES_PER_EVENT;
                // They may overtake each other.
                if room && known.is_none_or(|known| known.at < picture.at) {
                    page.live.insert(picture.camera.clone(), picture.clone());
                    news.pictures.push(picture);
                }
            } else if page.pictures.len() < limits::PICTURES_PER_EVENT
                && page.pictures.iter().all(|known| known.key() != picture.key())
            {
                page.pictures.push(picture.clone());
                news.pictures.push(picture);
            }
        }
        news
    }

    /// The pictures of an event that are kept, in the order in which they became known.
    #[must_use]
    pub fn pictures(&self, event: &EventId) -> &[Picture] {
        self.pages.get(event).map_or(&[], |page| &page.pictures)
    }

    /// The last picture of the moment of each camera.
    pub fn live(&self, event: &EventId) -> impl Iterator<Item = &Picture> {
        self.pages.get(event).into_iter().flat_map(|page| page.live.values())
    }

    /// Whether this body is a picture of this event.
    #[must_use]
    pub fn shows(&self, event: &EventId, body: &BodyId) -> bool {
        let kept = self.pictures(event).iter().chain(self.live(event));
        kept.into_iter().any(|picture| picture.body() == Some(*body))
    }
}
