//! What a relay does with its cameras: pictures at a press, and while an officer looks.
//!
//! It stands beside the relay's own machine, with a loop of its own.
//!
//! Invariants:
//! * No camera is asked before its alarm is on the wire (or has found no line for [`NO_LINE`]).
//! * One camera is asked for one picture at a time; alarms that come within [`SHARED`] share a picture.
//! * What was said of a picture is said again until the region's record has it. An alarm that a relay still knows after a start, and of which it
//!   took no pictures, gets them late or is said to have none: nothing is lost unsaid.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Machine;
use crate::body::BodyId;
use crate::event::Text;
use crate::id::{EventId, Name, NodeName, PathId};
use crate::limits;
use crate::time::{Now, Span, Timestamp, WallTime};
use crate::video::{Look, Picture, PictureKey, Pictures, Shot};

mod looks;

use looks::Looks;

/// How long an alarm may wait for a line before its pictures are taken without one.
pub const NO_LINE: Span = Span::from_secs(2);
/// How old a picture may be to be that of another alarm too.
pub const SHARED: Span = Span::from_secs(2);
/// The first pause before a word about a picture is said again, and the longest.
const AGAIN: (Span, Span) = (Span::from_secs(3), Span::from_secs(60));
/// An alarm older than this at a start gets no pictures: they would show another time.
const LATE: i64 = 600_000_000;

/// A camera of the school.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Camera {
    /// Its name.
    pub name: Name,
    /// The part of the school that it sees.
    pub zone: Option<Name>,
    /// Whether there is a place to get its pictures from.
    pub has_snapshots: bool,
    /// Where it can be seen at work, see [`Picture::address`].
    pub address: Text,
}

/// By which a picture finds who wanted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the world tells.
#[derive(Debug)]
pub enum Input {
    /// An alarm was raised (P0, P1); its zone, if it is known, and whether it is on the wire.
    Alarm {
        /// The event.
        event: EventId,
        /// Where.
        zone: Option<Name>,
        /// Whether it has been sent over any line.
        sent: bool,
    },
    /// An alarm that was there when the relay started; when it was raised.
    Restored(EventId, Option<Name>, WallTime),
    /// A camera has answered: the JPEG, which is on the disk if it is no picture of the moment, or why there is none.
    Shot(Ticket, Result<(BodyId, u32), Text>),
    /// An express session is there.
    PathUp(PathId, NodeName),
    /// It is gone.
    PathDown(PathId),
    /// These are in the record.
    Kept(EventId, Vec<PictureKey>),
    /// An officer looks.
    Look(PathId, Look),
    /// A picture of the moment has come to its node, or will not.
    Gone(BodyId),
}

/// What was said of one picture, as the relay keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The event.
    pub event: EventId,
    /// The picture.
    pub picture: Picture,
    /// Whether the region's record has it.
    pub in_record: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask camera number so for a picture, and answer with [`Input::Shot`]. A picture to be kept is to be on the disk before.
    Shoot {
        /// For the answer.
        ticket: Ticket,
        /// Which camera, by its place.
        camera: usize,
        /// Whether it is of the moment.
        live: bool,
    },
    /// Keep this row, in the place of the one before of the same picture.
    Keep(Row),
    /// Forget the row of this picture.
    Forget(EventId, PictureKey),
    /// Give this body, which is on the disk, to the region.
    Give(BodyId),
    /// Give this picture of the moment to this node.
    GiveLive(BodyId, NodeName),
    /// Say this.
    Say(PathId, Pictures),
    /// An officer has begun to look.
    Looked(Look),
}

#[derive(Debug)]
enum For {
    /// For these alarms.
    Alarms(BTreeSet<EventId>),
    /// For whoever looks at this event.
    Look(EventId),
}

#[derive(Debug)]
struct Order {
    camera: usize,
    why: For,
    begun: Option<Timestamp>,
    at: WallTime,
}

#[derive(Debug)]
struct Kept {
    row: Row,
    again_at: Timestamp,
    pause: Span,
}

/// The relay's cameras.
pub struct Cameras {
    cameras: Vec<Camera>,
    next_ticket: u64,
    /// Alarms that wait for a line, and until when.
    waiting: BTreeMap<EventId, (Option<Name>, Timestamp)>,
    orders: BTreeMap<Ticket, Order>,
    queue: VecDeque<Ticket>,
    rows: BTreeMap<(EventId, Name), Kept>,
    /// In the order in which they came.
    order: VecDeque<(EventId, Name)>,
    /// The last picture of each camera that was kept.
    last: BTreeMap<usize, (Timestamp, Picture)>,
    paths: BTreeMap<PathId, NodeName>,
    looks: Looks,
    out: VecDeque<Output>,
}

impl Cameras {
    /// The cameras, with what the relay kept of their pictures.
    #[must_use]
    pub fn new(now: Now, cameras: Vec<Camera>, rows: Vec<Row>) -> Self {
        let mut own = Self {
            cameras,
            next_ticket: 1,
            waiting: BTreeMap::new(),
            orders: BTreeMap::new(),
            queue: VecDeque::new(),
            rows: BTreeMap::new(),
            order: VecDeque::new(),
            last: BTreeMap::new(),
            paths: BTreeMap::new(),
            looks: Looks::default(),
            out: VecDeque::new(),
        };
        for row in rows {
            // Whether the region got the body is known by the region: it says so at once.
            own.out.extend(row.picture.body().map(Output::Give));
            own.remember(now, row);
        }
        own
    }

    /// The cameras.
    #[must_use]
    pub fn cameras(&self) -> &[Camera] {
        &self.cameras
    }

    /// Pictures that were said and are not in the record yet.
    #[must_use]
    pub fn unconfirmed(&self) -> usize {
        self.rows.values().filter(|kept| !kept.row.in_record).count()
    }

    /// The cameras that belong to a zone; without one, or where it has none, all.
    fn of_zone(&self, zone: Option<&Name>) -> Vec<usize> {
        let places = || self.cameras.iter().enumerate();
        let own = places().filter(|(_, camera)| zone.is_some() && camera.zone.as_ref() == zone).map(|(at, _)| at);
        let own: Vec<usize> = own.take(limits::CAMERAS_PER_ALARM).collect();
        if own.is_empty() { places().map(|(at, _)| at).take(limits::CAMERAS_PER_ALARM).collect() } else { own }
    }

    fn alarm(&mut self, now: Now, event: EventId, zone: Option<Name>, sent: bool) {
        if sent {
            let zone = self.waiting.remove(&event).map_or(zone, |(known, _)| known);
            self.take(now, event, zone.as_ref());
        } else if !self.is_known(&event) && self.waiting.len() < limits::PICTURES_WAITING {
            self.waiting.entry(event).or_insert((zone, now.mono + NO_LINE));
        }
    }

    fn is_known(&self, event: &EventId) -> bool {
        let ordered = |order: &Order| matches!(&order.why, For::Alarms(events) if events.contains(event));
        self.waiting.contains_key(event)
            || self.rows.keys().any(|(other, _)| other == event)
            || self.orders.values().any(ordered)
    }

    /// Whether a picture of this camera was taken at this alarm, or is about to be.
    fn has(&self, event: &EventId, camera: usize) -> bool {
        let ordered = |order: &Order| {
            order.camera == camera && matches!(&order.why, For::Alarms(events) if events.contains(event))
        };
        let name = &self.cameras[camera].name;
        self.rows.contains_key(&(*event, name.clone())) || self.orders.values().any(ordered)
    }

    /// Takes the pictures of an alarm, each once.
    fn take(&mut self, now: Now, event: EventId, zone: Option<&Name>) {
        for camera in self.of_zone(zone) {
            if self.has(&event, camera) {
                continue;
            }
            let last = self.last.get(&camera).filter(|(at, _)| now.mono.since(*at) <= SHARED);
            if let Some((_, picture)) = last {
                let picture = picture.clone();
                self.say(now, event, picture);
                continue;
            }
            let under_way = self.orders.values_mut().find_map(|order| match &mut order.why {
                For::Alarms(events) if order.camera == camera && events.len() < limits::PICTURES_WAITING => {
                    Some(events)
                }
                _ => None,
            });
            if let Some(events) = under_way {
                events.insert(event);
            } else if !self.cameras[camera].has_snapshots {
                let picture = self.picture(
                    camera,
                    now.wall,
                    Shot::Failed(words("摄像机未配置抓拍地址 | it has no snapshot address")),
                );
                self.say(now, event, picture);
            } else if self.queue.len() < limits::PICTURES_WAITING {
                self.order(now, camera, For::Alarms(BTreeSet::from([event])));
            } else {
                let picture = self.picture(
                    camera,
                    now.wall,
                    Shot::Failed(words("同时报警过多，未抓拍 | too many alarms at once")),
                );
                self.say(now, event, picture);
            }
        }
    }

    fn order(&mut self, now: Now, camera: usize, why: For) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.orders.insert(ticket, Order { camera, why, begun: None, at: now.wall });
        // Alarms go before whoever looks.
        match self.orders[&ticket].why {
            For::Alarms(_) => {
                let looks = |other: &Ticket| matches!(self.orders[other].why, For::Look(_));
                let at = self.queue.iter().position(looks).unwrap_or(self.queue.len());
                self.queue.insert(at, ticket);
            }
            For::Look(_) => self.queue.push_back(ticket),
        }
        self.begin(now);
    }

    /// Asks as many cameras as may be asked at once, each for one picture at a time.
    fn begin(&mut self, now: Now) {
        loop {
            let busy: BTreeSet<usize> =
                self.orders.values().filter(|order| order.begun.is_some()).map(|order| order.camera).collect();
            if busy.len() >= limits::CAMERAS_AT_WORK {
                return;
            }
            let free = |ticket: &Ticket| self.orders.get(ticket).is_some_and(|order| !busy.contains(&order.camera));
            let Some(ticket) = self.queue.iter().position(free).and_then(|at| self.queue.remove(at)) else { return };
            let Some(order) = self.orders.get_mut(&ticket) else { continue };
            (order.begun, order.at) = (Some(now.mono), now.wall);
            let live = matches!(order.why, For::Look(_));
            self.out.push_back(Output::Shoot { ticket, camera: order.camera, live });
        }
    }

    fn shot(&mut self, now: Now, ticket: Ticket, answer: Result<(BodyId, u32), Text>) {
        let Some(order) = self.orders.remove(&ticket) else { return };
        let shot = match answer {
            Ok((body, size)) => Shot::Taken(body, size),
            Err(why) => Shot::Failed(why),
        };
        let picture = self.picture(order.camera, order.at, shot);
        match order.why {
            For::Alarms(events) => {
                self.last.insert(order.camera, (order.begun.unwrap_or(now.mono), picture.clone()));
                events.into_iter().for_each(|event| self.say(now, event, picture.clone()));
                self.out.extend(picture.body().map(Output::Give));
            }
            For::Look(event) => self.looked(now, event, picture),
        }
        self.begin(now);
    }

    fn picture(&self, camera: usize, at: WallTime, shot: Shot) -> Picture {
        let Camera { name, address, .. } = &self.cameras[camera];
        Picture { camera: name.clone(), at, shot, address: address.clone() }
    }

    /// Says what became of a picture: keeps it, and tells the region until its record has it.
    fn say(&mut self, now: Now, event: EventId, picture: Picture) {
        let row = Row { event, picture, in_record: false };
        self.out.push_back(Output::Keep(row.clone()));
        self.remember(now, row);
    }

    fn remember(&mut self, now: Now, row: Row) {
        let key = (row.event, row.picture.camera.clone());
        if self.rows.insert(key.clone(), Kept { row, again_at: now.mono, pause: AGAIN.0 }).is_none() {
            self.order.push_back(key);
        }
        while self.rows.len() > limits::PICTURES_REMEMBERED {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(kept) = self.rows.remove(&oldest) {
                self.out.push_back(Output::Forget(kept.row.event, kept.row.picture.key()));
            }
        }
        self.tell(now);
    }

    /// Says again what is due.
    fn tell(&mut self, now: Now) {
        // The youngest session: an older one may be dead, and its end not noticed yet.
        let Some(path) = self.paths.keys().last().copied() else { return };
        for kept in self.rows.values_mut().filter(|kept| !kept.row.in_record && kept.again_at <= now.mono) {
            kept.again_at = now.mono + kept.pause;
            kept.pause = (kept.pause * 2).min(AGAIN.1);
            let pictures = vec![kept.row.picture.clone()];
            self.out.push_back(Output::Say(path, Pictures { event: kept.row.event, live: false, pictures }));
        }
    }

    fn kept(&mut self, event: EventId, keys: &[PictureKey]) {
        for (camera, at) in keys {
            let kept = self.rows.get_mut(&(event, camera.clone()));
            if let Some(kept) = kept.filter(|kept| kept.row.picture.at == *at && !kept.row.in_record) {
                kept.row.in_record = true;
                self.out.push_back(Output::Keep(kept.row.clone()));
            }
        }
    }

    /// An alarm that was there at the start: whoever stopped the relay may have stopped its pictures.
    fn restored(&mut self, now: Now, event: EventId, zone: Option<&Name>, raised_at: WallTime) {
        if (0..LATE).contains(&(now.wall - raised_at)) {
            return self.take(now, event, zone);
        }
        for camera in self.of_zone(zone) {
            if self.has(&event, camera) {
                continue;
            }
            let why = words("设备重启，当时未能抓拍 | the relay was started anew before it was taken");
            let picture = self.picture(camera, now.wall, Shot::Failed(why));
            self.say(now, event, picture);
        }
    }
}

/// A text of this file, all of which are short enough.
fn words(text: &str) -> Text {
    Text::new(text).unwrap_or_default()
}

impl Machine for Cameras {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Alarm { event, zone, sent } => self.alarm(now, event, zone, sent),
            Input::Restored(event, zone, raised_at) => self.restored(now, event, zone.as_ref(), raised_at),
            Input::Shot(ticket, answer) => self.shot(now, ticket, answer),
            Input::PathUp(path, node) => {
                if self.paths.is_empty() {
                    // What was said before was said to nobody.
                    self.rows.values_mut().for_each(|kept| kept.again_at = now.mono);
                }
                self.paths.insert(path, node);
                self.tell(now);
            }
            Input::PathDown(path) => drop(self.paths.remove(&path)),
            Input::Kept(event, keys) => self.kept(event, &keys),
            Input::Look(path, look) => self.look(now, path, look),
            Input::Gone(body) => self.gone(now, &body),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        let late: Vec<EventId> =
            self.waiting.iter().filter(|(_, (_, at))| *at <= now.mono).map(|(id, _)| *id).collect();
        for event in late {
            let zone = self.waiting.remove(&event).and_then(|(zone, _)| zone);
            self.take(now, event, zone.as_ref());
        }
        self.tell(now);
        self.look_on(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let waiting = self.waiting.values().map(|(_, at)| *at);
        let there = !self.paths.is_empty();
        let again = self.rows.values().filter(|kept| there && !kept.row.in_record).map(|kept| kept.again_at);
        waiting.chain(again).chain(self.looks.poll_timeout()).min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn check(&self) -> Result<(), String> {
        if self.rows.len() > limits::PICTURES_REMEMBERED || self.order.len() != self.rows.len() {
            return Err(format!("{} pictures are remembered, {} listed", self.rows.len(), self.order.len()));
        }
        let begun: Vec<usize> = self.orders.values().filter(|o| o.begun.is_some()).map(|o| o.camera).collect();
        let cameras: BTreeSet<&usize> = begun.iter().collect();
        if cameras.len() != begun.len() || begun.len() > limits::CAMERAS_AT_WORK {
            return Err("a camera is asked for two pictures at once, or too many are asked".to_owned());
        }
        if self.orders.len() != begun.len() + self.queue.len() {
            return Err("a picture is wanted, and nobody takes it".to_owned());
        }
        if let Some(event) = self.waiting.keys().find(|event| self.rows.keys().any(|(other, _)| other == *event)) {
            return Err(format!("{event} waits for a line, and has pictures"));
        }
        self.looks.check()
    }
}
