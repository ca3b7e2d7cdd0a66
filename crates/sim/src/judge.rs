//! What must hold while a world runs and when it ends.

use huxiao_core::lamp::Lamp;
use huxiao_core::{Class, Cost, EventId, Machine, Stage, Standing, limits};

use crate::bound;
use crate::check::{Check, Failure, Outcome};
use crate::node::Node;
use crate::world::{Action, SECOND, World};

/// How often it is looked whether a way exists, while none does.
const LOOK_AGAIN: u64 = 10 * SECOND;

impl World {
    /// Has it judged whether an alarm reaches its stations in time.
    pub(crate) fn watch_in_time(&mut self, id: EventId, raised: u64) {
        let class = self.ledger.raised.get(&id).map(|raised| raised.class);
        if !self.judges || (self.nature.small_record && class > Some(Class::P0)) {
            // A small record that is full refuses it until officers have made room, which may be long.
            return;
        }
        for station in 0..self.province.stations.len() {
            self.at(raised + SECOND, Action::Judge(id, station));
        }
    }

    pub(crate) fn judge_in_time(&mut self, id: EventId, station: usize) -> Outcome {
        let Some(raised) = self.ledger.raised.get(&id) else { return Ok(()) };
        let (school, at, planned) = (raised.school, raised.at, raised.stations.clone());
        let is_routed = self.routes[school].contains(&station);
        if !(planned.is_empty() || planned.contains(&station) && is_routed) {
            return Ok(());
        }
        if self.ledger.arrived.contains_key(&(id, station)) || self.ledger.taken.contains(&id) {
            return Ok(());
        }
        let deadline = if is_routed { self.deadline(school, station, at) } else { None };
        let Some((deadline, why)) = deadline else {
            self.at(self.now + LOOK_AGAIN, Action::Judge(id, station));
            return Ok(());
        };
        if deadline > self.now {
            self.at(deadline.max(self.now + 1), Action::Judge(id, station));
            return Ok(());
        }
        let (after, allowed) = ((self.now - at) / 1_000, (deadline - at) / 1_000);
        let station = self.province.stations[station];
        let what =
            format!("{id} of school {school}, {after} ms old, is not at {station}; {allowed} ms were allowed ({why})");
        Err(Failure::of(Check::InTime, id, what))
    }

    /// By when an alarm raised `at` must have reached a station, as things stand; `None` while no way is well.
    fn deadline(&self, school: usize, station: usize, at: u64) -> Option<(u64, &'static str)> {
        let relay = self.relays[school].life.up_since?.max(self.routes_since);
        let seats: Vec<usize> =
            (0..self.seats.len()).filter(|seat| self.province.seats[*seat].station == station).collect();
        let whole = self.deadline_of_all(school, &seats, relay, at);
        whole.into_iter().chain(self.deadline_of_one(school, &seats, relay, at)).min()
    }

    /// The deadline where everything around the alarm is well.
    fn deadline_of_all(&self, school: usize, seats: &[usize], relay: u64, at: u64) -> Option<(u64, &'static str)> {
        let lines = self.school_lines(school).map(|line| &self.lines[line]);
        let own = last(lines.clone().map(|line| line.well_since))?.max(relay);
        let nodes = last(self.brokers.iter().map(|broker| broker.life.well_since()))?;
        let up = last(seats.iter().map(|seat| self.seats[*seat].life.up_since))?;
        let wired = last(seats.iter().map(|seat| self.lines[self.seat_line(*seat)].well_since))?;
        let region = nodes.max(up).max(wired);
        let seat = seats.iter().map(|seat| self.province.seats[*seat].profile);
        let seat = seat.max_by_key(|profile| bound::settled(profile, profile))?;
        if region.max(own) + bound::SETTLED_FOR <= at && self.ledger.settled_presses.contains(&(school, at)) {
            let span = lines.map(|line| bound::settled(&line.profile, &seat)).max()?;
            return Some((at + span, "all was well at the press, and still is"));
        }
        let span = lines.map(|line| bound::healed(&line.profile, &seat)).max()?;
        let from = at.max(own).max(region + bound::any(&seat, &seat, false, 1));
        Some((from + span, "all of the school's lines are well in a region that is well"))
    }

    /// The earliest deadline of those of single ways.
    fn deadline_of_one(&self, school: usize, seats: &[usize], relay: u64, at: u64) -> Option<(u64, &'static str)> {
        let lines = self.school_lines(school);
        let paths = (lines.len() * self.brokers.len()) as u64;
        let mut deadlines = Vec::new();
        for (uplink, line) in self.province.schools[school].uplinks.iter().zip(lines) {
            let homes = self.province.homes(school).into_iter().map(|home| &self.brokers[home]);
            for (broker, seat) in homes.flat_map(|broker| seats.iter().map(move |seat| (broker, *seat))) {
                let (own, theirs) = (&self.lines[line], &self.lines[self.seat_line(seat)]);
                let up = self.seats[seat].life.up_since;
                let way = [Some(relay), broker.life.well_since(), own.well_since, up, theirs.well_since];
                let span = bound::any(&own.profile, &theirs.profile, uplink.cost == Cost::Metered, paths);
                deadlines.extend(last(way).map(|since| (since.max(at) + span, "one way is well")));
            }
        }
        deadlines.into_iter().min()
    }

    /// Whether a session of the school and one of a seat of each of its stations meet at one node.
    pub(crate) fn sessions_meet(&self, school: usize) -> bool {
        let meets = |station: &usize| {
            (0..self.brokers.len()).any(|broker| {
                self.has_session(Node::Relay(school), broker)
                    && (0..self.seats.len())
                        .filter(|seat| self.province.seats[*seat].station == *station)
                        .any(|seat| self.has_session(Node::Seat(seat), broker))
            })
        };
        self.routes[school].iter().all(meets)
    }

    /// Counts how often each node woke and sent since the last time.
    pub(crate) fn count(&mut self) -> Outcome {
        let since = self.now.saturating_sub(2 * bound::COUNT_EVERY);
        let recent = self.ledger.raised.values().filter(|raised| raised.at >= since).count();
        let open: usize = self
            .relays
            .iter()
            .flat_map(|node| &node.machine)
            .map(|relay| relay.events().filter(|view| !view.is_finished()).count())
            .sum();
        let events = (recent + open) as u64;
        for node in self.nodes() {
            let life = self.life(node);
            let (wakes, packets) = (life.wakes - life.counted.0, life.packets - life.counted.1);
            let diallers = self.diallers.iter().filter(|d| d.client == node || Node::Broker(d.broker) == node);
            let sessions = diallers.count() as u64;
            let keep_alive = match node {
                Node::Relay(_) => limits::KEEP_ALIVE,
                Node::Broker(_) | Node::Seat(_) => limits::STATION_KEEP_ALIVE,
            };
            let keep_alive = u64::try_from(keep_alive.as_micros()).unwrap_or(SECOND);
            let allowed = (bound::wakes(sessions, events), bound::packets(sessions, keep_alive, events));
            self.ledger.busiest = self.ledger.busiest.max((wakes * 100 / allowed.0, packets * 100 / allowed.1));
            if self.judges && (wakes > allowed.0 || packets > allowed.1) {
                let what = format!(
                    "{node:?} woke {wakes} times and sent {packets} packets in ten minutes; {} and {} are allowed with {sessions} sessions and {events} events",
                    allowed.0, allowed.1
                );
                return Err(Failure::new(Check::Storm, what));
            }
            let life = self.life_mut(node);
            life.counted = (life.wakes, life.packets);
        }
        self.at(self.now + bound::COUNT_EVERY, Action::Count);
        Ok(())
    }

    /// What must hold at the end.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn judge(&self) -> Outcome {
        let nature = self.nature;
        // With a record that was lost, or that forgets what is finished, a seat that was away may miss what others have dealt with.
        let all_seats = !nature.loses_record && !nature.small_record;
        if let Some(node) = self.nodes().into_iter().find(|node| !self.is_up(*node)) {
            return Err(Failure::new(Check::Drains, format!("{node:?} is down")));
        }
        for id in &self.ledger.kept {
            self.judge_kept(*id, all_seats)?;
        }
        let keeps_record = !nature.loses_record || self.brokers.len() > 1;
        self.judge_region()?;
        for (node, id) in self.ledger.stored.iter().filter(|_| keeps_record) {
            let mut record = self.brokers[*node].machine.iter().map(huxiao_core::broker::Broker::record);
            if !record.any(|record| record.get(id).is_some() || record.is_archived(id)) {
                return Err(Failure::of(
                    Check::Stored,
                    *id,
                    format!("{id} was stored at node {node}, and its record has lost it"),
                ));
            }
        }
        // What neither a relay nor the region had on disk when both lost their power is known to the seats alone.
        for id in self.ledger.taken.iter().filter(|id| all_seats && self.ledger.kept.contains(*id)) {
            let machines = self.brokers.iter().flat_map(|node| &node.machine);
            if !machines.flat_map(|broker| broker.record().get(id)).any(|entry| entry.owner().is_some()) {
                return Err(Failure::of(
                    Check::Owner,
                    *id,
                    format!("{id}: an officer was told to have it, and no record knows of one"),
                ));
            }
        }
        if all_seats {
            self.judge_owners()?;
        }
        self.judge_queues(all_seats)?;
        for node in self.nodes() {
            let held = match node {
                Node::Relay(at) => self.relays[at].machine.iter().try_for_each(Machine::check),
                Node::Broker(at) => self.brokers[at].machine.iter().try_for_each(Machine::check),
                Node::Seat(at) => self.seats[at].machine.iter().try_for_each(Machine::check),
            };
            held.map_err(|why| Failure::new(Check::Invariant, format!("{node:?}: {why}")))?;
        }
        Ok(())
    }

    fn judge_kept(&self, id: EventId, all_seats: bool) -> Outcome {
        let Some(raised) = self.ledger.raised.get(&id) else { return Ok(()) };
        let lost = || {
            Failure::of(
                Check::Kept,
                id,
                format!("{id} was kept, and the relay of school {} has lost it", raised.school),
            )
        };
        let relay = self.relays[raised.school].machine.as_ref().ok_or_else(lost)?;
        let view = relay.get(&id).ok_or_else(lost)?;
        if !view.is_finished() {
            let stages: Vec<_> = view.receipts().iter().map(|receipt| receipt.stage.as_str()).collect();
            return Err(Failure::of(
                Check::Kept,
                id,
                format!(
                    "{id} ({}) of school {} never came to an end: {}",
                    raised.class,
                    raised.school,
                    stages.join(", ")
                ),
            ));
        }
        let lamp = view.lamp();
        let owned = view.receipt(Stage::Acknowledged).is_some();
        if raised.class <= Class::P1 && (!owned || (lamp != Lamp::Acknowledged && lamp != Lamp::Dark)) {
            return Err(Failure::of(Check::Kept, id, format!("{id}: the lamp says {lamp:?}")));
        }
        let keeps_record = !self.nature.loses_record || self.brokers.len() > 1;
        if raised.class <= Class::P1 && keeps_record {
            // Whatever sides it was taken on, the school is told in the end whose it is.
            let named = view.acknowledgements().first().map(|first| (first.by.clone(), first.standing));
            let owner = self.region.oracle.owner(&id).map(|owner| (owner.clone(), Standing::Settled));
            if named != owner {
                let what = format!("{id}: {named:?} for the school, {owner:?} by the log");
                return Err(Failure::of(Check::Owner, id, what));
            }
        }
        let now = &self.routes[raised.school];
        let wanted = |seat: &usize| {
            let station = self.province.seats[*seat].station;
            now.contains(&station) && (raised.stations.is_empty() || raised.stations.contains(&station))
        };
        let wanted: Vec<usize> = (0..self.seats.len()).filter(wanted).collect();
        let has = |seat: &&usize| self.seats[**seat].machine.as_ref().is_some_and(|seat| seat.get(&id).is_some());
        let have = wanted.iter().filter(has).count();
        if have < if all_seats { wanted.len() } else { 1 } {
            return Err(Failure::of(
                Check::Kept,
                id,
                format!("{id} ({}) is in {have} of {} inboxes", raised.class, wanted.len()),
            ));
        }
        Ok(())
    }

    /// With one record, all seats name the owner whom it names.
    fn judge_owners(&self) -> Outcome {
        let record = self.brokers.iter().flat_map(|node| &node.machine).map(huxiao_core::broker::Broker::record);
        for (record, (_, id)) in record.flat_map(|record| self.ledger.stored.iter().map(move |stored| (record, stored)))
        {
            let owner = record.get(id).and_then(|entry| entry.owner()).map(|owner| &owner.by);
            for seat in self.seats.iter().flat_map(|node| &node.machine) {
                let named = seat.get(id).map(|row| row.owner().map(|owner| &owner.by));
                if named.is_some_and(|named| named != owner) {
                    let what = format!("{id}: {owner:?} for the record, {named:?} for a seat");
                    return Err(Failure::of(Check::Owner, *id, what));
                }
                // Whoever took it knows whether they own it or assist.
                let acknowledged = |receipt: &&huxiao_core::Receipt| receipt.stage == Stage::Acknowledged;
                for own in seat.get(id).into_iter().flat_map(|row| row.receipts.iter().filter(acknowledged)) {
                    let told =
                        record.get(id).and_then(|entry| entry.said(own.stage, &own.by)).map(|said| said.standing);
                    if told.is_some_and(|told| told != own.standing) {
                        let what = format!("{id}: {} of {} for a seat, {told:?} for the record", own.standing, own.by);
                        return Err(Failure::of(Check::Owner, *id, what));
                    }
                }
            }
        }
        Ok(())
    }

    fn judge_queues(&self, all_seats: bool) -> Outcome {
        let undrained = |what: String| Err(Failure::new(Check::Drains, what));
        for (at, relay) in self.relays.iter().enumerate().filter_map(|(at, node)| Some((at, node.machine.as_ref()?))) {
            if relay.pending() != [0; 5] {
                return undrained(format!("the relay of school {at} still carries {:?}", relay.pending()));
            }
        }
        for (at, broker) in self.brokers.iter().enumerate().filter_map(|(at, node)| Some((at, node.machine.as_ref()?)))
        {
            for (seat, view) in broker.desks() {
                if view.pending != [0; 5] || (all_seats && view.mark != broker.record().last_index()) {
                    return undrained(format!("node {at} still carries to {seat:?}: {view:?}"));
                }
            }
        }
        for (at, seat) in self.seats.iter().enumerate().filter_map(|(at, node)| Some((at, node.machine.as_ref()?))) {
            // What the record has forgotten, or what its relay lost unsaid with the power, nobody can confirm; nor what stands there for
            // other stations, by a plan that came between a first copy that was shown and the one that was stored.
            let station = self.province.seat(at).station;
            let elsewhere = |id: &EventId| {
                let nodes = self.brokers.iter().filter_map(|node| node.machine.as_ref());
                let mut entries = nodes.filter_map(|node| node.record().get(id)).peekable();
                entries.peek().is_some() && entries.all(|entry| !entry.admission.stations.contains(&station))
            };
            let open = seat.rows_from(0).find(|row| {
                let id = &row.sealed.event.id;
                !row.unconfirmed.is_empty() && self.ledger.kept.contains(id) && !elsewhere(id)
            });
            if let Some(row) = open.filter(|_| all_seats) {
                return undrained(format!("what seat {at} said of {} is unconfirmed", row.sealed.event.id));
            }
            if seat.nodes().len() < self.brokers.len() {
                return undrained(format!("seat {at} has sessions with {} nodes", seat.nodes().len()));
            }
        }
        if all_seats && self.ledger.copies_after_quiet > 0 {
            return undrained(format!(
                "{} copies were sent when all was said, or to a seat that had all",
                self.ledger.copies_after_quiet
            ));
        }
        Ok(())
    }

    /// Writes so far.
    #[must_use]
    pub fn writes(&self) -> usize {
        let relays = self.relays.iter().map(|node| node.disk.writes);
        relays.chain(self.seats.iter().map(|node| node.disk.writes)).sum()
    }

    pub(crate) fn count_copy(&mut self, side: crate::net::Side, message: &huxiao_core::Message) {
        if let huxiao_core::Message::Event(copy) = message {
            if side == crate::net::Side::Client {
                *self.ledger.copies.entry(copy.sealed.event.id).or_default() += 1;
            }
            self.ledger.copies_after_quiet += u64::from(self.now > self.quiet_from);
        }
    }
}

/// The last of some instants, if all are there.
fn last(times: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    times.into_iter().try_fold(0, |last, time| Some(time?.max(last)))
}
