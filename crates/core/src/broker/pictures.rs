//! What cameras showed, on its way from the relay through the record to the seats, and officers who look, the other way.
//!
//! A picture's words are told to the seats in the step in which they come, whatever becomes of the record; the relay says them again until the record
//! has them. The picture itself goes another way, beside this machine: see [`body`](crate::body).
//!
//! Invariants:
//! * Of one event at most [`limits::PICTURES_PER_EVENT`] pictures are proposed, each at most once in [`PROPOSE_AGAIN`], however often a relay says them.
//! * Pictures of the moment enter no record, and go to nobody but the seats that look.
//! * Whoever looks is forgotten after [`limits::LOOK_LEASE`]; only seats of stations that have the event may look.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::machine::{Broker, seats_of};
use crate::broker::port::{Output, Report};
use crate::event::Class;
use crate::id::{EventId, Name, NodeName, PathId, RelayId, SeatId, StationId};
use crate::limits;
use crate::message::{Message, PICTURES_SINCE};
use crate::path::Form;
use crate::record::{Command, Entry};
use crate::time::{Now, Span, Timestamp, WallTime};
use crate::video::{Look, Picture, Pictures};

/// A picture is not proposed again sooner.
const PROPOSE_AGAIN: Span = Span::from_secs(2);
/// Events whose pictures a seat is told of when it comes: what one session's queue holds beside all else.
const TOLD: usize = 128;

/// What the node remembers of pictures and of those who look.
#[derive(Debug, Default)]
pub(super) struct Watching {
    proposed: BTreeMap<(EventId, Name, WallTime), Timestamp>,
    looks: BTreeMap<EventId, BTreeMap<SeatId, Timestamp>>,
}

impl Watching {
    /// Whether a picture is to be proposed now, and whether this is the first time.
    fn turn(&mut self, now: Timestamp, key: (EventId, Name, WallTime)) -> Option<bool> {
        if let Some(at) = self.proposed.get_mut(&key) {
            let due = now.since(*at) >= PROPOSE_AGAIN;
            *at = if due { now } else { *at };
            return due.then_some(false);
        }
        if self.proposed.len() >= limits::PICTURES_PROPOSED {
            // A relay says again what is not in the record, so what was said long ago is.
            self.proposed.retain(|_, at| now.since(*at) < PROPOSE_AGAIN * 30);
        }
        let of_one = self.proposed.keys().filter(|(event, ..)| *event == key.0).count();
        if self.proposed.len() >= limits::PICTURES_PROPOSED || of_one >= limits::PICTURES_PER_EVENT {
            return None;
        }
        self.proposed.insert(key, now);
        Some(true)
    }

    fn look(&mut self, now: Timestamp, event: EventId, seat: &SeatId) -> Option<bool> {
        self.looks.retain(|_, seats| {
            seats.retain(|_, until| *until > now);
            !seats.is_empty()
        });
        if !self.looks.contains_key(&event) && self.looks.len() >= limits::LOOKS {
            return None;
        }
        let until = now + limits::LOOK_LEASE;
        Some(self.looks.entry(event).or_default().insert(seat.clone(), until).is_none())
    }

    fn looking(&self, now: Timestamp, event: &EventId) -> BTreeSet<SeatId> {
        let seats = self.looks.get(event).into_iter().flatten();
        seats.filter(|(_, until)| **until > now).map(|(seat, _)| seat.clone()).collect()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.proposed.len() > limits::PICTURES_PROPOSED || self.looks.len() > limits::LOOKS {
            return Err(format!("{} pictures and {} looks are remembered", self.proposed.len(), self.looks.len()));
        }
        Ok(())
    }
}

impl Broker {
    /// A relay says what its cameras showed.
    pub(super) fn pictured(&mut self, now: Now, path: PathId, relay: &RelayId, said: Pictures) {
        let me = || NodeName::Relay(relay.clone());
        let event = said.event;
        let Some(admission) = self.admission(&event) else {
            if self.record.is_archived(&event) {
                // Nothing can be added to it any longer.
                self.pictures_kept(path, event, &said.pictures);
            }
            return;
        };
        if admission.sealed.event.relay != *relay || !said.pictures.iter().all(Picture::is_sound) {
            return self.report(Report::Improper(me(), "pictures of another relay's event, or with long texts"));
        }
        let stations = admission.stations.clone();
        if said.live {
            let looking = self.watching.looking(now.mono, &event);
            return self.tell_pictures(&stations, said, |seat| looking.contains(seat));
        }
        let entry = self.record.get(&event);
        let on_record = |picture: &Picture| entry.is_some_and(|entry| entry.needs_no_more_of(picture));
        let (known, news): (Vec<_>, Vec<_>) = said.pictures.into_iter().partition(on_record);
        self.pictures_kept(path, event, &known);
        let mut untold = Vec::new();
        for picture in news {
            let (camera, at) = picture.key();
            let Some(first) = self.watching.turn(now.mono, (event, camera, at)) else { continue };
            if first {
                untold.push(picture.clone());
            }
            if self.condition.is_none() && self.record.get(&event).is_some() {
                let command = Command::Pictures { event, pictures: vec![picture] };
                self.out.push_back(Output::Propose(command));
            }
        }
        if !untold.is_empty() {
            self.tell_pictures(&stations, Pictures { event, live: false, pictures: untold }, |_| true);
        }
    }

    fn pictures_kept(&mut self, path: PathId, event: EventId, pictures: &[Picture]) {
        if !pictures.is_empty() {
            let keys = pictures.iter().map(Picture::key).collect();
            self.send(path, Class::P2, Form::Stream, Message::PicturesKept(event, keys));
        }
    }

    fn tell_pictures(&mut self, stations: &[StationId], said: Pictures, to: impl Fn(&SeatId) -> bool) {
        let message = Message::Pictures(said);
        for station in stations {
            let seats = seats_of(&mut self.desks, station).filter(|(seat, _)| to(seat));
            for (_, desk) in seats.filter(|(_, desk)| desk.minor >= PICTURES_SINCE) {
                let send = |path| Output::Send(path, Class::P2, Form::Stream, message.clone());
                self.out.extend(desk.express().map(send));
            }
        }
    }

    /// Pictures are in the record.
    pub(super) fn pictures_committed(&mut self, event: EventId) {
        let Some(entry) = self.record.shared(&event) else { return };
        // Told before by the node to which the relay said them; the others' seats hear of them now.
        self.tell_pictures(&entry.admission.stations, of(&entry), |_| true);
        let Some(gate) = self.relays.get(&entry.admission.sealed.event.relay) else { return };
        let keys: Vec<_> = entry.pictures.iter().map(Picture::key).collect();
        let paths: Vec<PathId> = gate.express().filter(|_| gate.minor >= PICTURES_SINCE).collect();
        for path in paths {
            self.send(path, Class::P2, Form::Stream, Message::PicturesKept(event, keys.clone()));
        }
    }

    /// A seat has come: it is told of the pictures of its events, the latest of them.
    pub(super) fn tell_all_pictures(&mut self, path: PathId, seat: &SeatId) {
        if self.desks.get(seat).is_none_or(|desk| desk.minor < PICTURES_SINCE) {
            return;
        }
        let all = self.record.for_station(&seat.station, 0).filter(|(_, entry)| !entry.pictures.is_empty());
        let mut all: Vec<(u64, Pictures)> = all.map(|(index, entry)| (index, of(entry))).collect();
        let old = all.len().saturating_sub(TOLD);
        all.drain(..old);
        all.into_iter().for_each(|(_, said)| self.send(path, Class::P3, Form::Stream, Message::Pictures(said)));
    }

    /// An officer looks.
    pub(super) fn looked(&mut self, now: Now, seat: &SeatId, look: Look) {
        let me = NodeName::Station(seat.clone());
        if look.by != me {
            return self.report(Report::Improper(me, "a look in somebody else's name"));
        }
        let admission = self.admission(&look.event);
        let Some(admission) = admission.filter(|admission| admission.stations.contains(&seat.station)) else { return };
        let relay = admission.sealed.event.relay.clone();
        let Some(first) = self.watching.look(now.mono, look.event, seat) else { return };
        let Some(gate) = self.relays.get(&relay).filter(|gate| gate.minor >= PICTURES_SINCE) else { return };
        let path = gate.express().max();
        if first {
            self.report(Report::Looked(look.clone()));
        }
        if let Some(path) = path {
            self.send(path, Class::P2, Form::Stream, Message::Look(look));
        }
    }
}

fn of(entry: &Entry) -> Pictures {
    Pictures { event: entry.admission.sealed.event.id, live: false, pictures: entry.pictures.clone() }
}
