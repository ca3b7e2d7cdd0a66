//! Video (视频监控): what the cameras of a school showed at an alarm, and what they show while an officer looks.
//!
//! A picture is taken after its alarm is on the wire, never before. What travels with the alarms is a few words about it (which camera, when, what
//! its content is named, or why there is none); the content follows as a [body](crate::body). The words become part of the event's entry in the
//! record; pictures of the moment, which only whoever looks is given, do not.
//!
//! Invariant: nothing here delays an alarm, and a camera that is dead, slow or lies costs the pictures of that camera.

mod album;
mod cameras;
#[cfg(test)]
mod tests;

use crate::body::BodyId;
use crate::event::Text;
use crate::id::{EventId, Name, NodeName};
use crate::limits;
use crate::time::WallTime;

pub use album::{Album, News};
pub use cameras::{Camera, Cameras, Input, Output, Row, Ticket};

/// What one camera showed at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The camera.
    pub camera: Name,
    /// When it was asked, by the relay's clock. With the camera it says which picture of the event this is.
    pub at: WallTime,
    /// What it answered.
    pub shot: Shot,
    /// Where it can be seen at work: an RTSP address, or its id by GB/T 28181; may be empty. At most [`limits::PICTURE_TEXT_BYTES`].
    pub address: Text,
}

/// What a camera answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shot {
    /// A JPEG of this name and of so many bytes.
    Taken(BodyId, u32),
    /// Nothing that could be used; why, for people. At most [`limits::PICTURE_TEXT_BYTES`].
    Failed(Text),
}

impl Picture {
    /// Which picture of its event it is.
    #[must_use]
    pub fn key(&self) -> PictureKey {
        (self.camera.clone(), self.at)
    }

    /// The body that it is, if it was taken.
    #[must_use]
    pub fn body(&self) -> Option<BodyId> {
        match self.shot {
            Shot::Taken(body, _) => Some(body),
            Shot::Failed(_) => None,
        }
    }

    /// Whether its texts are short enough to be kept.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let why = match &self.shot {
            Shot::Taken(_, size) => return self.fits(&self.address) && *size as usize <= limits::PICTURE_BYTES,
            Shot::Failed(why) => why,
        };
        self.fits(why) && self.fits(&self.address)
    }

    fn fits(&self, text: &Text) -> bool {
        text.as_str().len() <= limits::PICTURE_TEXT_BYTES
    }
}

/// Which picture of an event.
pub type PictureKey = (Name, WallTime);

/// The pictures of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pictures {
    /// The event.
    pub event: EventId,
    /// Whether they are of the moment: for whoever looks now, and not for the record.
    pub live: bool,
    /// At most [`limits::PICTURES_PER_EVENT`].
    pub pictures: Vec<Picture>,
}

/// An officer looks: for [`limits::LOOK_LEASE`], unless it is said again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The event at whose school.
    pub event: EventId,
    /// Through which camera; all that belong to the event for `None`.
    pub camera: Option<Name>,
    /// The seat at which the officer sits.
    pub by: NodeName,
    /// The officer.
    pub officer: Name,
}
