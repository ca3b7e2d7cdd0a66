//! Those who press, and those before the screens.

use huxiao_core::relay::{Press, Ticket};
use huxiao_core::station::AckTicket;
use huxiao_core::{Class, Details, EventId, Kind, Mode, Text, relay, station};

use crate::check::Outcome;
use crate::province::officer;
use crate::world::{Action, SECOND, World};

/// A press of a kind.
#[must_use]
pub fn press_of(kind: Kind) -> Press {
    Press { kind, mode: Mode::Live, device: None, zone: None, note: Text::default(), details: Details::default() }
}

impl World {
    /// Has somebody press at `when`. Gives the press's place.
    pub fn press_at(&mut self, when: u64, school: usize, press: Press, key: Option<String>) -> usize {
        self.presses.push((school, press, key));
        let number = self.presses.len() - 1;
        self.at(when, Action::Press(number));
        number
    }

    pub(crate) fn press(&mut self, number: usize) -> Outcome {
        let Some((school, press, idempotency_key)) = self.presses.get(number).cloned() else { return Ok(()) };
        if self.relays[school].machine.is_none() {
            return Ok(());
        }
        self.ledger.presses += 1;
        if self.sessions_meet(school) {
            self.ledger.settled_presses.insert((school, self.now));
        }
        self.tell_relay(
            school,
            relay::Input::Raise { ticket: Ticket(number as u64), press, idempotency_key, live: false },
        )
    }

    pub(crate) fn screen(&mut self, at: usize, id: EventId) -> Outcome {
        let row = self.seats[at].machine.as_ref().and_then(|seat| seat.get(&id));
        let alarm = row.is_some_and(|row| row.sealed.event.class <= Class::P1);
        if alarm && self.rng.below(100) < self.officers {
            self.soon(20 * SECOND, Action::Officer(at, id));
            if self.rng.below(3) == 0 {
                self.soon(20 * SECOND, Action::Officer(at, id));
            }
        }
        self.tell_seat(at, station::Input::Displayed(vec![id]))
    }

    pub(crate) fn officer(&mut self, at: usize, event: EventId) -> Outcome {
        self.numbers += 1;
        let ticket = AckTicket(self.numbers);
        let note = Text::default();
        self.tell_seat(at, station::Input::Acknowledge { ticket, event, officer: officer(at), note })
    }

    /// Officers reach for whatever nobody has taken, as far as each seat knows.
    pub(crate) fn sweep(&mut self) {
        for at in 0..self.seats.len() {
            let seat = self.seats[at].machine.iter();
            let open: Vec<EventId> =
                seat.flat_map(station::Station::unacknowledged).map(|row| row.sealed.event.id).collect();
            for id in open {
                // Several may reach for the same alarm at once.
                let who = self.pick(self.seats.len());
                self.soon(SECOND, Action::Officer(who, id));
                self.soon(SECOND, Action::Officer(at, id));
            }
        }
    }
}
