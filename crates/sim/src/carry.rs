//! The driver of each machine, which carries out what it says and holds it to its word.

use huxiao_core::relay::{Raised, Relay, Ticket};
use huxiao_core::station::Station;
use huxiao_core::{Class, EventId, Machine, Message, PersistSeq, Stage, broker, relay, station};

use crate::check::{Check, Failure, Outcome};
use crate::ledger;
use crate::net::Side;
use crate::node::Node;
use crate::world::{Action, SECOND, World};

/// How long a sync takes at most, on a disk that is well and on one that is not.
const SYNC: u64 = 5_000;
const SLOW_SYNC: u64 = 2 * SECOND;

impl World {
    pub(crate) fn tell_relay(&mut self, at: usize, input: relay::Input) -> Outcome {
        let now = self.clock();
        if let Some(relay) = &mut self.relays[at].machine {
            relay.handle(now, input);
        }
        self.settle(Node::Relay(at))
    }

    pub(crate) fn tell_broker(&mut self, at: usize, input: broker::Input) -> Outcome {
        let now = self.clock();
        if let Some(broker) = &mut self.brokers[at].machine {
            broker.handle(now, input);
        }
        self.settle(Node::Broker(at))
    }

    pub(crate) fn tell_seat(&mut self, at: usize, input: station::Input) -> Outcome {
        let now = self.clock();
        if let Some(seat) = &mut self.seats[at].machine {
            seat.handle(now, input);
        }
        self.settle(Node::Seat(at))
    }

    /// Carries a machine's outputs out and holds it against its invariants.
    pub(crate) fn settle(&mut self, node: Node) -> Outcome {
        self.steps = self.steps.wrapping_add(1);
        let checks = self.steps.is_multiple_of(self.check_every);
        let broken = |why: String| Failure::new(Check::Invariant, format!("{node:?}: {why}"));
        let wake = match node {
            Node::Relay(at) => {
                while let Some(output) = self.relays[at].machine.as_mut().and_then(Relay::poll_output) {
                    self.relay_says(at, output)?;
                }
                let Some(machine) = &self.relays[at].machine else { return Ok(()) };
                if checks {
                    machine.check().map_err(broken)?;
                }
                machine.poll_timeout()
            }
            Node::Broker(at) => {
                while let Some(output) = self.brokers[at].machine.as_mut().and_then(broker::Broker::poll_output) {
                    self.broker_says(at, output)?;
                }
                let Some(machine) = &self.brokers[at].machine else { return Ok(()) };
                if checks {
                    machine.check().map_err(broken)?;
                }
                machine.poll_timeout()
            }
            Node::Seat(at) => {
                while let Some(output) = self.seats[at].machine.as_mut().and_then(Station::poll_output) {
                    self.seat_says(at, output)?;
                }
                let Some(machine) = &self.seats[at].machine else { return Ok(()) };
                if checks {
                    machine.check().map_err(broken)?;
                }
                machine.poll_timeout()
            }
        };
        self.life_mut(node).wake = wake.map(|at| at.0);
        self.flush();
        Ok(())
    }

    fn relay_says(&mut self, at: usize, output: relay::Output) -> Outcome {
        let now = self.now;
        match output {
            relay::Output::Hurry => {
                self.trace.note(now, None, || format!("school {at}: an alarm waits and no path is there"));
                self.hurry(Node::Relay(at));
            }
            relay::Output::Race => {
                self.trace.note(now, None, || format!("school {at}: alarms under way and nothing comes back"));
                self.race(Node::Relay(at));
            }
            relay::Output::DialOthers => {}
            // A school that comes back is told it again.
            relay::Output::KeepPlan(part) => {
                let clock = self.clock();
                if let Some(relay) = &mut self.relays[at].machine {
                    relay.handle(clock, relay::Input::PlanKept(part.mark));
                }
            }
            relay::Output::Persist(seq, write) => {
                if self.relays[at].disk.write(seq, write) {
                    self.sync(Node::Relay(at));
                }
                let clock = self.clock();
                if self.nature.lying_disks
                    && let Some(relay) = &mut self.relays[at].machine
                {
                    relay.handle(clock, relay::Input::Persisted(seq));
                }
            }
            relay::Output::Send(path, class, form, message) => self.send(Side::Client, path, class, form, message),
            relay::Output::Answer(ticket, Ok(Raised { id, .. })) => self.is_kept(at, ticket, id)?,
            relay::Output::Answer(_, Err(relay::RaiseError::NotKept { .. })) => {}
            relay::Output::Answer(_, Err(error)) => {
                return Err(Failure::new(Check::Kept, format!("a press was not taken: {error}")));
            }
            relay::Output::Report(relay::Report::Raised(sealed)) => {
                let event = &sealed.event;
                let raised =
                    ledger::Raised { at: now, school: at, class: event.class, stations: self.routes[at].clone() };
                self.trace
                    .note(now, Some(event.id), || format!("raised at school {at}: {} {}", event.class, event.kind));
                self.ledger.raised.entry(event.id).or_insert(raised);
            }
            relay::Output::Report(relay::Report::Stage(sealed, receipt, _)) => {
                let id = sealed.event.id;
                self.ledger.told.entry((id, receipt.stage)).or_insert(now);
                self.trace.note(now, Some(id), || {
                    format!("school {at} hears: {} by {}, {}", receipt.stage, receipt.by, receipt.standing)
                });
            }
            relay::Output::Report(relay::Report::Refused(sealed, why)) => {
                self.trace.note(now, Some(sealed.event.id), || format!("refused: {why}"));
            }
            // Nobody commands schools here.
            relay::Output::Play(_) | relay::Output::Silence(_) | relay::Output::View(..) => {}
            relay::Output::Report(_) => {}
        }
        Ok(())
    }

    fn is_kept(&mut self, at: usize, ticket: Ticket, id: EventId) -> Outcome {
        if self.relays[at].disk.content.0.of(&id).is_none() {
            return Err(Failure::of(Check::Durable, id, format!("{id} was said to be kept before the disk had it")));
        }
        let alarm = self.ledger.raised.get(&id).filter(|raised| raised.class <= Class::P1).map(|raised| raised.at);
        if self.ledger.kept.insert(id)
            && let Some(raised) = alarm
        {
            self.watch_in_time(id, raised);
        }
        let number = usize::try_from(ticket.0).unwrap_or(usize::MAX);
        self.ledger.of_press.entry(number).or_insert(id);
        if let Some(key) = self.presses.get(number).and_then(|press| press.2.clone()) {
            let first = *self.ledger.by_key.entry(key.clone()).or_insert(id);
            if first != id {
                return Err(Failure::of(Check::OneEvent, id, format!("{key} raised {first}, and then {id}")));
            }
        }
        Ok(())
    }

    fn broker_says(&mut self, at: usize, output: broker::Output) -> Outcome {
        let now = self.now;
        match output {
            broker::Output::Propose(command) => {
                self.propose(at, command);
            }
            broker::Output::Journal(id, command) => self.journal(at, id, command),
            // No province is simulated here.
            broker::Output::RaceProvince => {}
            broker::Output::Unjournal(ids) => self.unjournal(at, &ids),
            broker::Output::Archive(number, entry) => {
                self.is_archived_once(number, entry.admission.sealed.event.id)?;
                self.region.archive.insert(entry.admission.sealed.event.id, *entry);
            }
            broker::Output::Snapshot(ticket, record) => self.snapshot(at, ticket, *record),
            broker::Output::Recall(ticket, ids) => {
                let life = self.life(Node::Broker(at)).number;
                self.soon(SYNC, Action::Recalled(at, life, ticket, ids));
            }
            broker::Output::Send(path, class, form, message) => {
                self.hold_to_record(at, path, &message)?;
                let receipt = matches!(
                    message,
                    Message::Receipts(_) | Message::Confirmed(_) | Message::Refused(..) | Message::Unknown(_)
                );
                if !(self.brokers[at].mute && receipt) {
                    self.send(Side::Server, path, class, form, message);
                }
            }
            // Two nodes with a record each do not learn of a plan at one instant: a seat may speak to one of what the other gave it.
            broker::Output::Report(broker::Report::Improper(huxiao_core::NodeName::Station(_), _))
                if self.routes_since > 0 => {}
            broker::Output::Report(broker::Report::Improper(who, why)) => {
                return Err(Failure::new(Check::Proper, format!("{who}: {why}")));
            }
            broker::Output::Report(broker::Report::Received(sealed, stations)) => {
                let id = sealed.event.id;
                self.trace.note(now, Some(id), || format!("node {at} takes it, for {} stations", stations.len()));
            }
            broker::Output::Report(broker::Report::Stored(sealed)) => self.entered(at, sealed.event.id, None)?,
            broker::Output::Report(broker::Report::Noted(sealed, receipt)) => {
                let id = sealed.event.id;
                self.trace.note(now, Some(id), || {
                    format!("node {at} has it on record: {} by {}, {}", receipt.stage, receipt.by, receipt.standing)
                });
                self.entered(at, id, Some(&receipt))?;
            }
            broker::Output::Report(broker::Report::NotStored(id, why)) => {
                self.trace.note(now, Some(id), || format!("node {at} could not store it: {why}"));
            }
            broker::Output::Report(_) => {}
        }
        Ok(())
    }

    fn seat_says(&mut self, at: usize, output: station::Output) -> Outcome {
        let now = self.now;
        match output {
            station::Output::Persist(seq, write) => {
                if self.seats[at].disk.write(seq, write) {
                    self.sync(Node::Seat(at));
                }
            }
            station::Output::Send(path, class, form, message) => {
                if let Message::Receipts(receipts) = &message {
                    for receipt in receipts.iter().filter(|receipt| receipt.stage == Stage::Delivered) {
                        let id = receipt.event;
                        if self.seats[at].disk.content.rows.of(&id).is_none() {
                            let what = format!("{id} was said to be delivered before the disk of seat {at} had it");
                            return Err(Failure::of(Check::Durable, id, what));
                        }
                    }
                }
                self.send(Side::Client, path, class, form, message);
            }
            station::Output::Show { row, durable } => {
                let (id, station) = (row.sealed.event.id, self.province.seats[at].station);
                self.trace.note(now, Some(id), || format!("seat {at} shows it"));
                if !self.ledger.shown_now[at].insert(id) || self.ledger.shown_for_good[at].contains(&id) {
                    return Err(Failure::of(Check::ShownTwice, id, format!("seat {at} shows {id} twice")));
                }
                if durable {
                    self.ledger.shown_for_good[at].insert(id);
                }
                self.ledger.arrived.entry((id, station)).or_insert(now);
                let life = self.seats[at].life.number;
                self.soon(2 * SECOND, Action::Screen(at, life, id));
            }
            station::Output::NowDurable(seq) => {
                let row = self.seats[at].disk.content.rows.at(seq);
                let Some(row) = row else {
                    return Err(Failure::new(Check::Durable, "a row is said to be durable, and is not"));
                };
                self.ledger.shown_for_good[at].insert(row.sealed.event.id);
            }
            station::Output::Answer(_, Ok(done)) => {
                let id = done.receipt.event;
                let row = self.seats[at].disk.content.rows.of(&id);
                if !row.is_some_and(|row| row.receipts.iter().any(|r| r.stage == Stage::Acknowledged)) {
                    let what = format!("{id}: an officer was answered before the disk had it");
                    return Err(Failure::of(Check::Durable, id, what));
                }
                self.trace.note(now, Some(id), || format!("an officer at seat {at} has it"));
                self.ledger.taken.insert(id);
            }
            station::Output::Race => {
                self.trace.note(now, None, || format!("seat {at}: statements under way and nothing comes back"));
                self.race(Node::Seat(at));
            }
            // No officer escalates here, acts on a case, or has a drill announced.
            station::Output::Escalated(..)
            | station::Output::Cased(..)
            | station::Output::Drilled(..)
            | station::Output::History(..) => {}
            station::Output::Commanded(..) | station::Output::Schools(..) => {}
            station::Output::Answer(_, Err(_)) | station::Output::Report(_) => {}
        }
        Ok(())
    }

    fn sync(&mut self, node: Node) {
        let number = self.life(node).number;
        let when = self.now + self.sync_time(node);
        self.at(when, Action::Synced(node, number));
    }

    /// How long the next sync of a node's disk takes.
    pub(crate) fn sync_time(&mut self, node: Node) -> u64 {
        let slow = self.life(node).disk_slow > 0;
        let longest = if slow && self.rng.below(3) == 0 { SLOW_SYNC } else { SYNC };
        1 + self.rng.below(longest)
    }

    pub(crate) fn synced(&mut self, node: Node) -> Outcome {
        let failed = self.life(node).disk_failing > 0 && self.rng.below(100) < 60;
        let why = || "no space left on device".to_owned();
        let outcome = |seq: PersistSeq| if failed { Err(seq) } else { Ok(seq) };
        match node {
            Node::Relay(at) => {
                let (done, more) = self.relays[at].disk.synced(failed);
                for seq in done {
                    let input = match outcome(seq) {
                        Ok(seq) => relay::Input::Persisted(seq),
                        Err(seq) => relay::Input::PersistFailed(seq, why()),
                    };
                    self.tell_relay(at, input)?;
                }
                if more {
                    self.sync(node);
                }
            }
            Node::Seat(at) => {
                let (done, more) = self.seats[at].disk.synced(failed);
                for seq in done {
                    let input = match outcome(seq) {
                        Ok(seq) => station::Input::Persisted(seq),
                        Err(seq) => station::Input::PersistFailed(seq, why()),
                    };
                    self.tell_seat(at, input)?;
                }
                if more {
                    self.sync(node);
                }
            }
            Node::Broker(_) => {}
        }
        Ok(())
    }
}
