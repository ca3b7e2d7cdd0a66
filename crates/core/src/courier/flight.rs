//! What leaves, on which path, and when it goes again.
//!
//! Invariant: an item under way stands in exactly one of two lists: that of the copies that are due, or that of those which wait for
//! their line's budget.

use super::*;

impl<K: Ord + Copy> Courier<K> {
    pub(super) fn flights(&self) -> impl Iterator<Item = (&K, &Item)> {
        self.due
            .iter()
            .map(|(_, key)| key)
            .chain(self.starved.iter().map(|(_, _, key)| key))
            .filter_map(|key| self.items.get_key_value(key))
    }

    /// Alarms under way, in the order in which they are flushed.
    pub(super) fn urgent_flights(&self, which: impl Fn(&Flight) -> bool) -> Vec<K> {
        if self.flying[..=Class::P1 as usize].iter().all(|count| *count == 0) {
            return Vec::new();
        }
        let urgent = self.flights().filter(|(_, item)| urgent(item.class) && item.flight.as_ref().is_some_and(&which));
        let mut keys: Vec<(Class, u64, K)> = urgent.map(|(key, item)| (item.class, item.order, *key)).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, _, key)| key).collect()
    }

    pub(super) fn refill(&mut self, now: Timestamp) {
        self.lines.values_mut().for_each(|line| line.refill(now));
    }

    pub(super) fn fill(&mut self, now: Timestamp) {
        if self.waiting.is_empty() {
            return;
        }
        self.refill(now);
        while let Some(&(class, order, key)) = self.waiting.first() {
            // What is behind in the queue has no more room than what is before it, and no other paths either.
            if !self.may_fly(class) || !self.has_room(class) {
                break;
            }
            self.waiting.remove(&(class, order, key));
            self.flying[class as usize] += 1;
            self.begin(now, key);
        }
        self.watch(now);
    }

    pub(super) fn may_fly(&self, class: Class) -> bool {
        self.paths.values().any(|path| may_carry(path.info, class))
    }

    pub(super) fn has_room(&self, class: Class) -> bool {
        if urgent(class) {
            let ahead: usize = self.flying[..=class as usize].iter().sum();
            return ahead < limits::COURIER_WINDOW || self.lines.values().any(|line| line.allows(Purpose::First, 0));
        }
        self.flying[1..=class as usize].iter().sum::<usize>() < limits::COURIER_WINDOW
    }

    /// The paths for an item: those of its lane or, without any, all that may carry it.
    pub(super) fn paths_for(&self, class: Class, lane: Lane) -> Vec<(PathId, Path)> {
        let all = self.paths.iter().filter(|(_, path)| may_carry(path.info, class)).map(|(id, path)| (*id, *path));
        let all: Vec<_> = all.collect();
        let own: Vec<_> = all.iter().copied().filter(|(_, path)| path.info.lane == lane).collect();
        if own.is_empty() { all } else { own }
    }

    /// Sends an item for the first time since it waited.
    pub(super) fn begin(&mut self, now: Timestamp, key: K) {
        let Some(item) = self.items.get_mut(&key) else { return };
        let (class, lane, bytes) = (item.class, item.lane, item.bytes);
        self.owed_first &= !urgent(class);
        let purpose = if item.first.is_none() { Purpose::First } else { Purpose::Flush };
        item.first.get_or_insert(now);
        let paths = self.paths_for(class, lane);
        if !urgent(class) {
            let turn = usize::try_from(self.next_order).unwrap_or(0) % paths.len().max(1);
            let path = paths.get(turn).map(|(id, _)| *id);
            self.launch(now, key, Pace::patient());
            self.out.extend(path.map(|path| Transmit { key, path, class, form: Form::Stream, attempt: 0 }));
            return;
        }
        let quick = paths.iter().any(|(_, path)| path.info.carrier == Carrier::Quic);
        for (path, Path { info, .. }) in paths {
            let within = self.lines.get(&info.uplink).is_some_and(|line| line.allows(purpose, bytes));
            // Beyond the budget a stream is what the session's own congestion control can hold back.
            let form = if info.carrier == Carrier::Quic && within { Form::Datagram } else { Form::Stream };
            if within && let Some(line) = self.lines.get_mut(&info.uplink) {
                line.spend(bytes);
            }
            self.out.push_back(Transmit { key, path, class, form, attempt: 0 });
        }
        let pace = match (quick, self.statements) {
            (true, false) => Pace::quick(),
            (true, true) => Pace::statement(self.answer()),
            (false, _) => Pace::patient(),
        };
        self.launch(now, key, pace);
    }

    pub(super) fn launch(&mut self, now: Timestamp, key: K, pace: Pace) {
        if let Some(item) = self.items.get_mut(&key) {
            item.flight = Some(Flight { attempt: 0, sent: now, gap: pace.gap, due: None });
            self.list(now + pace.first, key);
        }
    }

    /// What is due goes out: the stream copies after the first datagram, then one copy at a time.
    pub(super) fn repeat(&mut self, now: Timestamp, key: K) {
        let Some(item) = self.items.get(&key) else { return };
        let Some(flight) = item.flight else { return };
        let (class, lane, bytes) = (item.class, item.lane, item.bytes);
        let attempt = flight.attempt.saturating_add(1);
        let paths = self.paths_for(class, lane);
        let quick = urgent(class) && paths.iter().any(|(_, path)| path.info.carrier == Carrier::Quic);
        if quick && attempt == 1 && !self.statements {
            for (path, Path { info, .. }) in paths.into_iter().filter(|(_, p)| p.info.carrier == Carrier::Quic) {
                if let Some(line) = self.lines.get_mut(&info.uplink).filter(|line| line.allows(Purpose::First, bytes)) {
                    line.spend(bytes);
                    self.out.push_back(Transmit { key, path, class, form: Form::Stream, attempt });
                }
            }
            self.schedule(now, key, attempt);
        } else if quick {
            match self.turn(key, Purpose::Repeat) {
                Some(path) => self.copy(now, key, path),
                None => self.starve(key),
            }
        } else {
            let turn = usize::try_from(attempt).unwrap_or(0) % paths.len().max(1);
            if let Some((path, _)) = paths.get(turn).copied() {
                self.out.push_back(Transmit { key, path, class, form: Form::Stream, attempt });
            }
            self.schedule(now, key, attempt);
        }
    }

    /// What the way there and back takes: as quickly as receipts came at best of late, or as the probes of the farthest path say, whichever
    /// is less, for receipts may never have come but through a queue. Zero where nothing is known.
    pub(super) fn answer(&self) -> Span {
        let rtt = self.paths.values().map(|path| path.rtt).max().unwrap_or_default();
        match (self.answers.best(), rtt) {
            (Span::ZERO, known) | (known, Span::ZERO) => known,
            (best, rtt) => best.min(rtt),
        }
    }

    /// Whether nothing has been heard for so long that the next thing heard is a sign of life.
    pub(super) fn is_silent(&self, now: Timestamp) -> bool {
        now.since(self.heard) >= SILENCE.max(self.answer() * 2)
    }

    /// Takes from the time that an alarm waited for its receipt how the lines do. A wait through a silence says nothing of them.
    pub(super) fn learn(&mut self, now: Timestamp, item: &Item) {
        let (Some(first), Some(flight)) = (item.first, item.flight) else { return };
        if !urgent(item.class) || self.revived >= first {
            return;
        }
        match self.answers.take(now, now.since(first), self.answer()) {
            Answer::Slow if flight.attempt >= 2 => self.lines.values_mut().for_each(Line::congested),
            Answer::Slow | Answer::Late => {}
            Answer::Quick => self.lines.values_mut().for_each(Line::flowing),
        }
    }

    /// The path whose turn it is for the next copy of an alarm, among those whose line has the budget for it.
    pub(super) fn turn(&self, key: K, purpose: Purpose) -> Option<PathId> {
        let item = self.items.get(&key)?;
        let allows = |line: &Line| line.allows(purpose, item.bytes);
        let mut paths = self.paths_for(item.class, item.lane);
        paths.retain(|(_, path)| {
            path.info.carrier == Carrier::Quic && self.lines.get(&path.info.uplink).is_some_and(allows)
        });
        let attempt = usize::try_from(item.flight?.attempt).unwrap_or(0);
        let liveliest = self.paths.values().map(|path| path.heard).max()?;
        // Copies on a session that was taken up early are lost with its first packet, however many follow.
        let proven = self.is_answered();
        let lively = |path: &Path| path.answered == proven && liveliest.since(path.heard) <= STALE;
        let lively: Vec<_> = paths.iter().filter(|(_, path)| lively(path)).copied().collect();
        let turn = if attempt % 4 == 3 || lively.is_empty() {
            (attempt / 4).checked_rem(paths.len())?
        } else {
            paths = lively;
            attempt.checked_rem(paths.len())?
        };
        paths.get(turn).map(|(id, _)| *id)
    }

    /// One more copy of an item under way that stands in no list, on `path`.
    pub(super) fn copy(&mut self, now: Timestamp, key: K, path: PathId) {
        let Some(item) = self.items.get(&key) else { return };
        let attempt = item.flight.map_or(0, |flight| flight.attempt.saturating_add(1)).max(2);
        let (class, bytes) = (item.class, item.bytes);
        if let Some(line) = self.paths.get(&path).and_then(|p| self.lines.get_mut(&p.info.uplink)) {
            line.spend(bytes);
        }
        self.out.push_back(Transmit { key, path, class, form: Form::Datagram, attempt });
        self.schedule(now, key, attempt);
    }

    pub(super) fn schedule(&mut self, now: Timestamp, key: K, attempt: u32) {
        let under_way = self.due.len() + self.starved.len();
        let losses = self.paths.values().map(|path| path.losses).max().unwrap_or(Losses::Unknown);
        let answer = self.answer();
        let Some(item) = self.items.get_mut(&key) else { return };
        let (class, age) = (item.class, now.since(item.first.unwrap_or(now)));
        let Some(flight) = &mut item.flight else { return };
        flight.attempt = attempt;
        flight.sent = now;
        let gap = schedule::next_gap(Circumstances {
            class,
            attempt,
            gap: flight.gap,
            age,
            losses,
            answer,
            statement: self.statements,
            under_way,
        });
        flight.gap = gap;
        let gap = if attempt < 2 && urgent(class) { gap } else { self.rng.jitter(gap, schedule::JITTER_PERCENT) };
        self.list(now + gap, key);
        self.watch(now);
    }

    /// Has an item under way that stands in no list be repeated at `due`.
    pub(super) fn list(&mut self, due: Timestamp, key: K) {
        if let Some(flight) = self.items.get_mut(&key).and_then(|item| item.flight.as_mut()) {
            flight.due = Some(due);
            self.due.insert((due, key));
        }
    }

    pub(super) fn starve(&mut self, key: K) {
        let Some(item) = self.items.get_mut(&key) else { return };
        let Some(flight) = &mut item.flight else { return };
        flight.due = None;
        self.starved.insert((item.class, flight.sent, key));
    }

    /// Something was heard just now: alarms whose last copy is older than the longest gap stand behind first copies no more. Under a steady load
    /// those alone use the budget up, and what was lost with a session's end would never be sent again.
    pub(super) fn send_overdue(&mut self, now: Timestamp) {
        let overdue = |starved: &BTreeSet<(Class, Timestamp, K)>| {
            starved.first().copied().filter(|(_, sent, _)| now.since(*sent) >= LONGEST_GAP)
        };
        if overdue(&self.starved).is_none() {
            return;
        }
        self.refill(now);
        while let Some((class, sent, key)) = overdue(&self.starved) {
            let others = self.waiting.first().is_some_and(|(class, ..)| urgent(*class));
            let Some(path) = self.turn(key, Purpose::Overdue).filter(|_| !(others && self.owed_first)) else { break };
            self.owed_first = others;
            self.starved.remove(&(class, sent, key));
            self.copy(now, key, path);
        }
        // What the budget holds by now is for those that have not been sent at all.
        self.fill(now);
    }

    /// Sends an alarm that is under way on a path that has shown life, if the line has the budget.
    pub(super) fn flush(&mut self, now: Timestamp, key: K, path: PathId, purpose: Purpose) {
        let (Some(item), Some(to)) = (self.items.get(&key), self.paths.get(&path)) else { return };
        let Some(flight) = item.flight else { return };
        let (class, bytes, carrier) = (item.class, item.bytes, to.info.carrier);
        let Some(line) = self.lines.get_mut(&to.info.uplink) else { return };
        line.refill(now);
        if carrier == Carrier::Quic && line.allows(purpose, bytes) {
            self.unlist(key, class, flight);
            self.copy(now, key, path);
        }
    }

    /// Puts an alarm that is under way on a stream of a new session too, so that it arrives there however long its copies are lost.
    pub(super) fn onto(&mut self, key: K, path: PathId) {
        let (Some(item), Some(to)) = (self.items.get(&key), self.paths.get(&path)) else { return };
        let Some(line) = self.lines.get_mut(&to.info.uplink) else { return };
        if to.info.carrier == Carrier::Tcp || line.allows(Purpose::First, item.bytes) {
            line.spend(item.bytes);
            let (class, attempt) = (item.class, item.flight.map_or(1, |flight| flight.attempt.max(1)));
            self.out.push_back(Transmit { key, path, class, form: Form::Stream, attempt });
        }
    }

    pub(super) fn unlist(&mut self, key: K, class: Class, flight: Flight) {
        match flight.due {
            Some(due) => self.due.remove(&(due, key)),
            None => self.starved.remove(&(class, flight.sent, key)),
        };
    }

    /// Takes an item that is under way back into waiting.
    pub(super) fn ground(&mut self, key: K) {
        let Some(item) = self.items.get_mut(&key) else { return };
        let Some(flight) = item.flight.take() else { return };
        let (class, order) = (item.class, item.order);
        self.unlist(key, class, flight);
        self.flying[class as usize] -= 1;
        self.waiting.insert((class, order, key));
    }

    /// Watches for silence while alarms are under way.
    pub(super) fn watch(&mut self, now: Timestamp) {
        let alarms = self.flying[..=Class::P1 as usize].iter().any(|count| *count > 0);
        if !alarms || self.paths.is_empty() {
            self.race_at = None;
            self.race_gap = RACE_AFTER;
            (self.deserted, self.deserted_at) = (false, None);
        } else if self.race_at.is_none() {
            // Nobody was expected to say anything before.
            self.heard = self.heard.max(now);
            let answer = self.answer();
            self.race_at = Some(now + self.race_gap.max(answer * 3));
            let counts = self.others && !self.deserted && !answer.is_zero();
            self.deserted_at = counts.then(|| now + DESERTED_AFTER.max(answer * 3));
        }
    }

    /// When a line has the budget for the next copy of an alarm.
    pub(super) fn budget_at(&self, item: &Item) -> Option<Timestamp> {
        let paths = self.paths_for(item.class, item.lane).into_iter().filter(|(_, p)| p.info.carrier == Carrier::Quic);
        let lines = paths.filter_map(|(_, path)| self.lines.get(&path.info.uplink));
        lines.map(|line| line.ready_at(Purpose::Repeat, item.bytes)).min()
    }
}
