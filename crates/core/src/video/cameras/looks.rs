//! Officers who look: a picture now, and one every [`limits::LOOK_EVERY`] as long as they go on.
//!
//! Invariant: of one event there is one picture on its way at a time: what a line does not carry is not taken. Whoever no longer says that he looks is
//! forgotten after [`limits::LOOK_LEASE`].

use std::collections::BTreeMap;

use crate::body::BodyId;
use crate::id::{EventId, Name, PathId};
use crate::limits;
use crate::time::{Now, Span, Timestamp};
use crate::video::cameras::{Cameras, For, Output};
use crate::video::{Look, Picture, Pictures};

/// A picture that has not come to its node by then is forgotten.
const STUCK: Span = Span::from_secs(60);

#[derive(Debug)]
struct Lease {
    camera: Option<Name>,
    via: PathId,
    until: Timestamp,
    /// When the next picture is due; `None` while one is taken or on its way.
    next: Option<Timestamp>,
    /// The one that is on its way, and since when.
    sent: Option<(BodyId, Timestamp)>,
    shot_at: Timestamp,
    /// Which camera is next, where there are several.
    turn: usize,
}

#[derive(Debug, Default)]
pub(super) struct Looks {
    leases: BTreeMap<EventId, Lease>,
}

impl Looks {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let times = |lease: &Lease| {
            let stuck = lease.sent.map(|(_, at)| at + STUCK);
            [Some(lease.until), lease.next, stuck].into_iter().flatten().min()
        };
        self.leases.values().filter_map(times).min()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.leases.len() > limits::LOOKS {
            return Err(format!("{} events are looked at", self.leases.len()));
        }
        Ok(())
    }
}

impl Cameras {
    pub(super) fn look(&mut self, now: Now, path: PathId, look: Look) {
        if !self.paths.contains_key(&path) || self.cameras.is_empty() {
            return;
        }
        let until = now.mono + limits::LOOK_LEASE;
        if let Some(lease) = self.looks.leases.get_mut(&look.event) {
            // The same word comes through several nodes; the first one stays as long as it is there.
            if lease.via == path || !self.paths.contains_key(&lease.via) {
                (lease.via, lease.camera) = (path, look.camera);
            }
            lease.until = until;
        } else if self.looks.leases.len() < limits::LOOKS {
            let (event, camera) = (look.event, look.camera.clone());
            let (next, shot_at) = (Some(now.mono), now.mono);
            self.looks.leases.insert(event, Lease { camera, via: path, until, next, sent: None, shot_at, turn: 0 });
            self.out.push_back(Output::Looked(look));
        }
        self.look_on(now);
    }

    /// Takes the pictures that are due.
    pub(super) fn look_on(&mut self, now: Now) {
        self.looks.leases.retain(|_, lease| lease.until > now.mono);
        let mut due = Vec::new();
        for (event, lease) in &mut self.looks.leases {
            if lease.sent.is_some_and(|(_, at)| at + STUCK <= now.mono) {
                (lease.sent, lease.next) = (None, Some(now.mono));
            }
            if lease.next.is_some_and(|at| at <= now.mono) {
                let cameras = self.cameras.iter().enumerate();
                let named = cameras.filter(|(_, camera)| lease.camera.as_ref().is_none_or(|name| *name == camera.name));
                let able: Vec<usize> = named.filter(|(_, camera)| camera.has_snapshots).map(|(at, _)| at).collect();
                let able = &able[..able.len().min(limits::CAMERAS_PER_ALARM)];
                lease.next = None;
                if let Some(camera) = able.get(lease.turn % able.len().max(1)) {
                    lease.turn += 1;
                    lease.shot_at = now.mono;
                    due.push((*event, *camera));
                }
            }
        }
        due.into_iter().for_each(|(event, camera)| self.order(now, camera, For::Look(event)));
    }

    /// A camera has answered to whoever looks.
    pub(super) fn looked(&mut self, now: Now, event: EventId, picture: Picture) {
        let Some(lease) = self.looks.leases.get_mut(&event) else { return };
        let Some(node) = self.paths.get(&lease.via).cloned() else {
            lease.next = Some(lease.shot_at + limits::LOOK_EVERY);
            return;
        };
        match picture.body() {
            Some(body) => {
                lease.sent = Some((body, now.mono));
                self.out.push_back(Output::GiveLive(body, node));
            }
            None => lease.next = Some(lease.shot_at + limits::LOOK_EVERY),
        }
        self.out.push_back(Output::Say(lease.via, Pictures { event, live: true, pictures: vec![picture] }));
    }

    /// A picture of the moment has come, or will not: the next may be taken.
    pub(super) fn gone(&mut self, now: Now, body: &BodyId) {
        for lease in self.looks.leases.values_mut() {
            if lease.sent.is_some_and(|(sent, _)| sent == *body) {
                lease.sent = None;
                lease.next = Some((lease.shot_at + limits::LOOK_EVERY).max(now.mono));
            }
        }
    }
}
