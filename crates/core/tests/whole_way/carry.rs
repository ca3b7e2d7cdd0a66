//! The driver of each machine, which carries out what it says and holds it to its word; and the people before the screens.

use huxiao_core::relay::{Raised, Relay, Ticket};
use huxiao_core::station::{AckTicket, Station};
use huxiao_core::{
    Class, Command, EventId, Machine, Message, Now, PersistSeq, Stage, Text, Timestamp, WallTime, broker, relay,
    station,
};

use crate::world::{Action, Node, SEATS, SECOND, World, name};

impl World {
    pub(crate) fn press(&mut self, number: usize) -> Result<(), String> {
        let (press, idempotency_key) = self.presses[number].clone();
        if self.relay.is_none() {
            return Ok(());
        }
        self.tell_relay(relay::Input::Raise { ticket: Ticket(number as u64), press, idempotency_key })
    }

    pub(crate) fn screen(&mut self, at: usize, id: EventId) -> Result<(), String> {
        let alarm =
            self.seats[at].as_ref().and_then(|seat| seat.get(&id)).map(|row| row.sealed.event.class <= Class::P1);
        if alarm == Some(true) && self.rng.below(10) < 4 {
            self.soon(20 * SECOND, Action::Officer(at, id));
            if self.rng.below(3) == 0 {
                self.soon(20 * SECOND, Action::Officer(at, id));
            }
        }
        self.tell_seat(at, station::Input::Displayed(vec![id]))
    }

    pub(crate) fn officer(&mut self, at: usize, event: EventId) -> Result<(), String> {
        self.tickets += 1;
        let ticket = AckTicket(self.tickets);
        let officer = name(&format!("officer-{at}"));
        self.tell_seat(at, station::Input::Acknowledge { ticket, event, officer, note: Text::default() })
    }

    pub(crate) fn sweep(&mut self) -> Result<(), String> {
        for at in 0..SEATS.len() {
            let open: Vec<EventId> =
                self.seats[at].iter().flat_map(Station::unacknowledged).map(|row| row.sealed.event.id).collect();
            for id in open {
                // Several may reach for the same alarm at once.
                let at = usize::try_from(self.rng.below(3)).unwrap();
                self.soon(SECOND, Action::Officer(at, id));
            }
        }
        Ok(())
    }

    pub(crate) fn tell_relay(&mut self, input: relay::Input) -> Result<(), String> {
        let now = self.clock();
        if let Some(relay) = &mut self.relay {
            relay.handle(now, input);
        }
        self.settle(Node::Relay)
    }

    pub(crate) fn tell_broker(&mut self, input: broker::Input) -> Result<(), String> {
        let now = self.clock();
        if let Some(broker) = &mut self.broker {
            broker.handle(now, input);
        }
        self.settle(Node::Broker)
    }

    pub(crate) fn tell_seat(&mut self, at: usize, input: station::Input) -> Result<(), String> {
        let now = self.clock();
        if let Some(seat) = &mut self.seats[at] {
            seat.handle(now, input);
        }
        self.settle(Node::Seat(at))
    }

    /// Carries a machine's outputs out and holds it against its invariants.
    pub(crate) fn settle(&mut self, node: Node) -> Result<(), String> {
        match node {
            Node::Relay => {
                while let Some(output) = self.relay.as_mut().and_then(Relay::poll_output) {
                    self.relay_says(output)?;
                }
                self.relay.as_ref().map_or(Ok(()), Machine::check)?;
            }
            Node::Broker => {
                while let Some(output) = self.broker.as_mut().and_then(broker::Broker::poll_output) {
                    self.broker_says(output)?;
                }
                self.broker.as_ref().map_or(Ok(()), Machine::check)?;
            }
            Node::Seat(at) => {
                while let Some(output) = self.seats[at].as_mut().and_then(Station::poll_output) {
                    self.seat_says(at, output)?;
                }
                self.seats[at].as_ref().map_or(Ok(()), Machine::check)?;
            }
        }
        Ok(())
    }

    pub(crate) fn relay_says(&mut self, output: relay::Output) -> Result<(), String> {
        match output {
            // The world brings sessions back in its own time.
            relay::Output::Hurry | relay::Output::Race => {}
            relay::Output::Persist(seq, write) => {
                if self.relay_disk.write(seq, write) {
                    self.sync(Node::Relay);
                }
                if self.nature.lying_disks
                    && let Some(relay) = &mut self.relay
                {
                    let now = Now { mono: Timestamp(self.now), wall: WallTime(0) };
                    relay.handle(now, relay::Input::Persisted(seq));
                }
            }
            relay::Output::Send(path, _, _, message) => self.send(path, true, &message),
            relay::Output::Answer(ticket, Ok(Raised { id, .. })) => self.is_kept(ticket, id)?,
            relay::Output::Answer(_, Err(relay::RaiseError::NotKept { .. })) | relay::Output::Report(_) => {}
            relay::Output::Answer(_, Err(error)) => return Err(format!("a press was not taken: {error}")),
        }
        Ok(())
    }

    pub(crate) fn is_kept(&mut self, ticket: Ticket, id: EventId) -> Result<(), String> {
        let row = self.relay_disk.content.0.values().find(|row| row.sealed.event.id == id);
        let Some(row) = row else { return Err(format!("{id} was said to be kept before the disk had it")) };
        self.kept.insert(id, row.sealed.event.class);
        let number = usize::try_from(ticket.0).unwrap();
        if let Some(key) = self.presses[number].1.clone() {
            let first = *self.by_key.entry(key.clone()).or_insert(id);
            if first != id {
                return Err(format!("{key} raised {first}, and then {id}"));
            }
        }
        Ok(())
    }

    pub(crate) fn broker_says(&mut self, output: broker::Output) -> Result<(), String> {
        match output {
            broker::Output::Propose(command) => {
                self.proposals.push(command);
                if !std::mem::replace(&mut self.committing, true) {
                    self.sync(Node::Broker);
                }
            }
            broker::Output::Forget(indexes) => self.forgets.extend(indexes),
            broker::Output::Send(path, _, _, message) => {
                if let Message::Receipts(receipts) = &message {
                    for receipt in receipts.iter().filter(|receipt| receipt.stage == Stage::Stored) {
                        let admits = |command: &Command| {
                            matches!(command, Command::Admit(_)) && command.event() == receipt.event
                        };
                        if !self.log.values().any(admits) {
                            return Err(format!(
                                "{} was said to be stored, and the log does not hold it",
                                receipt.event
                            ));
                        }
                        self.stored.insert(receipt.event);
                    }
                }
                self.send(path, false, &message);
            }
            broker::Output::Report(broker::Report::Improper(who, why)) => return Err(format!("{who}: {why}")),
            broker::Output::Report(_) => {}
        }
        Ok(())
    }

    pub(crate) fn seat_says(&mut self, at: usize, output: station::Output) -> Result<(), String> {
        match output {
            // The world brings sessions back in its own time.
            station::Output::Race => {}
            station::Output::Persist(seq, write) => {
                if self.seat_disks[at].write(seq, write) {
                    self.sync(Node::Seat(at));
                }
            }
            station::Output::Send(path, _, _, message) => {
                if let Message::Receipts(receipts) = &message {
                    for receipt in receipts.iter().filter(|receipt| receipt.stage == Stage::Delivered) {
                        let mut rows = self.seat_disks[at].content.rows.values();
                        if !rows.any(|row| row.sealed.event.id == receipt.event) {
                            return Err(format!("{} was said to be delivered before the disk had it", receipt.event));
                        }
                    }
                }
                self.send(path, true, &message);
            }
            station::Output::Show { row, durable } => {
                let id = row.sealed.event.id;
                if !self.shown_now[at].insert(id) || self.shown_for_good[at].contains(&id) {
                    return Err(format!("seat {at} shows {id} twice"));
                }
                if durable {
                    self.shown_for_good[at].insert(id);
                }
                let life = self.life(Node::Seat(at));
                self.soon(2 * SECOND, Action::Screen(at, life, id));
            }
            station::Output::NowDurable(seq) => {
                let row =
                    self.seat_disks[at].content.rows.get(&seq).ok_or("a row is said to be durable, and is not")?;
                self.shown_for_good[at].insert(row.sealed.event.id);
            }
            station::Output::Answer(_, Ok(done)) => {
                let row =
                    self.seat_disks[at].content.rows.values().find(|row| row.sealed.event.id == done.receipt.event);
                if !row.is_some_and(|row| row.receipts.iter().any(|r| r.stage == Stage::Acknowledged)) {
                    return Err(format!("{}: an officer was answered before the disk had it", done.receipt.event));
                }
                self.taken.insert(done.receipt.event);
            }
            station::Output::Answer(_, Err(_)) | station::Output::Report(_) => {}
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self, node: Node) {
        let life = self.life(node);
        let longest = if self.troubled(10) { 2 * SECOND } else { 5_000 };
        self.soon(longest, Action::Synced(node, life));
    }

    pub(crate) fn synced(&mut self, node: Node) -> Result<(), String> {
        let failed = self.troubled(8);
        let why = || "no space left on device".to_owned();
        let outcome = |seq: PersistSeq| if failed { Err(seq) } else { Ok(seq) };
        match node {
            Node::Relay => {
                let (done, more) = self.relay_disk.synced(failed);
                for seq in done {
                    self.tell_relay(match outcome(seq) {
                        Ok(seq) => relay::Input::Persisted(seq),
                        Err(seq) => relay::Input::PersistFailed(seq, why()),
                    })?;
                }
                if more {
                    self.sync(node);
                }
            }
            Node::Seat(at) => {
                let (done, more) = self.seat_disks[at].synced(failed);
                for seq in done {
                    self.tell_seat(
                        at,
                        match outcome(seq) {
                            Ok(seq) => station::Input::Persisted(seq),
                            Err(seq) => station::Input::PersistFailed(seq, why()),
                        },
                    )?;
                }
                if more {
                    self.sync(node);
                }
            }
            Node::Broker => return self.commit(failed),
        }
        Ok(())
    }

    pub(crate) fn commit(&mut self, failed: bool) -> Result<(), String> {
        let life = self.life(Node::Broker);
        let batch = std::mem::take(&mut self.proposals);
        let indexed: Vec<(u64, Command)> = if failed {
            Vec::new()
        } else {
            batch.iter().map(|command| (self.append(command.clone()), command.clone())).collect()
        };
        for index in std::mem::take(&mut self.forgets) {
            self.log.remove(&index);
        }
        self.committing = false;
        for (index, command) in indexed {
            self.tell_broker(broker::Input::Committed(index, command))?;
        }
        for command in batch.into_iter().filter(|_| failed) {
            let p0 = matches!(&command, Command::Admit(admission) if admission.sealed.event.class == Class::P0);
            let shed = !p0 && self.rng.below(4) == 0;
            self.tell_broker(broker::Input::NotCommitted { command, shed, why: "no space".to_owned() })?;
        }
        debug_assert_eq!(life, self.life(Node::Broker));
        Ok(())
    }
}
