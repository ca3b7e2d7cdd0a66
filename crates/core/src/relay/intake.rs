//! Where presses come in: what is an event of its own, what repeats one, and what joins one.
//!
//! Invariant: whoever is told of an event, is told after its row is on disk, or that it could not be kept.

use crate::event::{Class, Event, Kind, Mode, Sealed};
use crate::id::{EventId, Name};
use crate::limits;
use crate::relay::machine::Relay;
use crate::relay::port::Report;
use crate::relay::raise::{Press, RaiseError, Raised, Ticket};
use crate::relay::row::RelayRow;
use crate::relay::view::EventView;
use crate::signature::Purpose;
use crate::time::Now;

impl Relay {
    pub(super) fn raise(&mut self, now: Now, ticket: Ticket, press: Press, key: Option<String>, live: bool) {
        let Some(class) = press.kind.class().filter(|_| !press.kind.is_of_region()) else {
            return self.answer(ticket, Err(RaiseError::UnknownKind(press.kind)));
        };
        if let Some(len) = key.as_ref().map(String::len).filter(|len| *len > limits::IDEMPOTENCY_KEY_BYTES) {
            return self.answer(ticket, Err(RaiseError::KeyTooLong { len }));
        }
        if let Some(id) = key.as_ref().and_then(|key| self.by_key.get(key)).copied() {
            return self.raise_again(ticket, id, &press);
        }
        if let Some(why) = self.withholds(now, &press) {
            return self.answer(ticket, Err(RaiseError::Withheld(why)));
        }
        let person = press.kind == Kind::Person;
        if let Some(id) = person.then(|| self.persons.seen(now.mono, &press)).flatten() {
            return self.join(ticket, id);
        }
        // What is meant whatever else is on joins nothing.
        let joins = if key.is_none() && !live && !person { self.buttons.pressed(now.mono, &press) } else { None };
        if let Some(id) = joins {
            return self.join(ticket, id);
        }
        if !self.has_room(class) {
            return self.answer(ticket, Err(RaiseError::Full { open: self.open }));
        }
        let apart = (key.is_none() && !live || person).then(|| press.clone());
        let press = Press { mode: self.mode_of(now, &press, live), ..press };
        let id = self.new_event(now, press, class, key, 1, Some(ticket));
        match apart {
            Some(press) if person => self.persons.raised(now.mono, &press, id),
            Some(press) => self.buttons.raised(now.mono, press, id),
            None => {}
        }
    }

    /// Raises what no presser waits for.
    pub(super) fn raise_by_itself(&mut self, now: Now, press: Press, key: String) {
        let Some(class) = press.kind.class().filter(|class| self.has_room(*class)) else { return };
        if !self.by_key.contains_key(&key) {
            self.new_event(now, press, class, Some(key), 1, None);
        }
    }

    pub(super) fn has_room(&self, class: Class) -> bool {
        let reserve = if class == Class::P0 { 0 } else { limits::RELAY_RESERVED_FOR_P0 };
        self.open + reserve < limits::RELAY_OPEN_EVENTS
    }

    /// Raises an event that stands for `count` presses, whoever waits for it.
    pub(super) fn new_event(
        &mut self,
        now: Now,
        press: Press,
        class: Class,
        key: Option<String>,
        count: u32,
        ticket: Option<Ticket>,
    ) -> EventId {
        let id = self.new_id(now, &press, key.as_deref());
        let event = Event {
            id,
            relay: self.config.relay.clone(),
            epoch: self.config.epoch,
            seq: self.next_seq,
            kind: press.kind,
            class,
            mode: press.mode,
            device: press.device,
            zone: press.zone,
            note: press.note,
            raised_at: now.wall,
            count,
            details: press.details,
        };
        self.next_seq += 1;
        let slot = self.config.next_slot;
        self.config.next_slot += 1;
        let row = RelayRow { slot, sealed: self.seal(&event), idempotency_key: key.clone(), receipts: Vec::new() };
        let mut view = EventView::new(now.mono, row, false);
        view.waiting.extend(ticket.map(|ticket| (ticket, Raised { id, repeated: false, joined: false })));
        self.report(Report::Raised(view.row.sealed.clone()));
        self.watch_lamp(id, &view);
        self.open += 1;
        if let Some(key) = key {
            self.by_key.insert(key, id);
        }
        let bytes = view.row.sealed.wire_bytes();
        self.events.insert(id, view);
        self.file(now, id);
        self.keep(id);
        self.courier.offer(now.mono, id, class, false, bytes);
        id
    }

    /// The event's bytes, made once; of an alarm with their signature. What cannot be signed goes unsigned: no alarm waits for a key.
    fn seal(&mut self, event: &Event) -> Sealed {
        let mut sealed = (self.config.seal)(event);
        let Some(signer) = self.signer.as_ref().filter(|_| event.class == Class::P0) else { return sealed };
        match signer.sign(Purpose::Event, &sealed.bytes) {
            Ok(signature) if signature.fits_an_event() => sealed.signature = Some(signature),
            Ok(_) => self.report(Report::NotSigned(event.id, "its certificate is too large".to_owned())),
            Err(why) => self.report(Report::NotSigned(event.id, why)),
        }
        sealed
    }

    /// The id of a new event; with a key it is that of the press, so that a press repeated to a relay that has lost its memory is still one event.
    fn new_id(&mut self, now: Now, press: &Press, key: Option<&str>) -> EventId {
        let relay = &self.config.relay;
        let text = |name: &Option<Name>| name.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default();
        let (device, zone) = (text(&press.device), text(&press.zone));
        let keyed = key.map(|key| {
            let (school, gate) = (relay.school.0.as_str(), relay.device.as_str());
            let what = [press.kind.as_str(), press.mode.as_str(), &device, &zone, press.note.as_str()];
            let details: Vec<&str> = press.details.iter().flat_map(|(name, text)| [name, text]).collect();
            EventId::for_press(now.wall, &[&[school, gate, key], &what[..], &details[..]].concat())
        });
        // One that is here already belongs to a key that has been forgotten: this is another event.
        keyed.filter(|id| !self.events.contains_key(id)).unwrap_or_else(|| EventId::generate(now.wall, &mut self.rng))
    }

    fn raise_again(&mut self, ticket: Ticket, id: EventId, press: &Press) {
        let Some(view) = self.events.get_mut(&id) else { return };
        let event = view.row.sealed.event.clone();
        let event_class = event.class;
        // What it was when it came is what it is: a drill may be over by now.
        let same = event.kind == press.kind
            && (press.mode != Mode::Test || event.mode == Mode::Test)
            && event.device == press.device
            && event.zone == press.zone
            && event.note == press.note
            && event.details == press.details;
        if !same {
            self.answer(ticket, Err(RaiseError::KeyReused { id }));
        } else if view.kept {
            self.answer(ticket, Ok(Raised { id, repeated: true, joined: false }));
        } else {
            view.waiting.push((ticket, Raised { id, repeated: true, joined: false }));
            if self.unkept.contains(event_class, id) {
                self.keep(id);
            }
        }
    }

    /// A press of a button that sticks has joined its last event, and is counted. It is answered as that event is.
    fn join(&mut self, ticket: Ticket, id: EventId) {
        let raised = Raised { id, repeated: true, joined: true };
        // An event that is forgotten was finished.
        let Some(view) = self.events.get_mut(&id).filter(|view| !view.kept) else {
            return self.answer(ticket, Ok(raised));
        };
        let class = view.row.sealed.event.class;
        // However many join, a disk that does not take it is asked once at a time.
        let first = view.waiting.is_empty();
        view.waiting.push((ticket, raised));
        if first && self.unkept.contains(class, id) {
            self.keep(id);
        }
    }

    /// Raises what tells how many presses have joined, where it is time.
    pub(super) fn count_joined(&mut self, now: Now) {
        for (press, count) in self.buttons.due(now.mono) {
            match press.kind.class().filter(|class| self.has_room(*class)) {
                Some(class) => {
                    // What is told now is what it is now: a drill may be over.
                    let told = Press { mode: self.mode_of(now, &press, false), ..press.clone() };
                    let id = self.new_event(now, told, class, None, count, None);
                    self.buttons.counted(&press, id);
                }
                // They are told when there is room.
                None => self.buttons.uncounted(&press, count),
            }
        }
    }
}
