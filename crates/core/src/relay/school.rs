//! What the plan says of the relay's own school, and what follows from it: guard posts and person warnings.
//!
//! Invariant: the region hears that a part is here only after it is on the disk; it is gone by at once.

use crate::duty::{self, Duty, Reason, Sensor, Told};
use crate::event::taxonomy::permille;
use crate::event::{Class, Details, Kind, Mode, Text};
use crate::id::{Name, PathId};
use crate::message::Message;
use crate::path::Form;
use crate::plan::{PlanMark, SchoolPart, Withheld};
use crate::relay::machine::Relay;
use crate::relay::port::{Output, Report};
use crate::relay::raise::Press;
use crate::time::{Now, Span, WallTime};

/// How long after its start a relay that does not know how wrong its clock is leaves open whether it is time for duty.
const TRUST_CLOCK_AFTER: Span = Span::from_secs(30);

impl Relay {
    /// The plan's part for this school; `None` before any region told it.
    #[must_use]
    pub fn school_part(&self) -> Option<&SchoolPart> {
        self.part.as_ref()
    }

    /// The guard posts.
    #[must_use]
    pub fn duty(&self) -> &Duty {
        &self.duty
    }

    /// How many person warnings were held back by the plan: muted, below the threshold.
    #[must_use]
    pub fn withheld(&self) -> [u64; 2] {
        self.withheld
    }

    /// What the disk held of the plan, and of absences that were told and are not over.
    pub(super) fn restore_school(&mut self, now: Now) {
        let mut posts = Vec::new();
        for view in self.events.values() {
            let event = &view.row.sealed.event;
            let post = event.details.get("post").and_then(|post| Name::new(post).ok());
            let (Some(post), Mode::Live) = (post, event.mode) else { continue };
            match event.kind {
                Kind::Absent => posts.push((view.row.slot, post, Some((event.id, event.raised_at)))),
                Kind::Return => posts.push((view.row.slot, post, None)),
                _ => {}
            }
        }
        posts.sort();
        let last: std::collections::BTreeMap<_, _> =
            posts.into_iter().map(|(_, post, absent)| (post, absent)).collect();
        for (post, absent) in last {
            if let Some((event, since)) = absent {
                self.duty.restore(post, event, since);
            }
        }
        if let Some(part) = &self.part {
            self.duty.set_plan(now, part.school.as_deref());
        }
        self.trust_clock_at = now.mono + TRUST_CLOCK_AFTER;
    }

    /// The region tells what the plan says of this school.
    pub(super) fn plan_told(&mut self, now: Now, path: PathId, part: SchoolPart) {
        if part.school.as_ref().is_some_and(|school| school.id != self.config.relay.school) {
            return;
        }
        if part.replaces(self.part.as_ref()) {
            self.duty.set_plan(now, part.school.as_deref());
            self.part = Some(part.clone());
            self.part_kept = None;
            self.report(Report::Plan(part.mark));
            self.out.push_back(Output::KeepPlan(Box::new(part)));
        } else if let Some(mark) = self.part_kept {
            self.send(path, Class::P3, Form::Stream, Message::PlanKept(mark));
        } else if let Some(part) = self.part.clone() {
            // The disk did not take it before.
            self.out.push_back(Output::KeepPlan(Box::new(part)));
        }
    }

    /// The part with this mark is on the disk.
    pub(super) fn plan_is_kept(&mut self, mark: PlanMark) {
        if self.part.as_ref().is_none_or(|part| part.mark != mark) {
            return;
        }
        self.part_kept = Some(mark);
        let paths: Vec<PathId> = self.express.iter().copied().collect();
        for path in paths {
            self.send(path, Class::P3, Form::Stream, Message::PlanKept(mark));
        }
    }

    /// A guard is at a post.
    pub(super) fn check_in(&mut self, now: Now, post: &Name, sensor: Sensor, person: Text) {
        if self.duty.check_in(now, post, sensor, person) {
            self.report(Report::CheckedIn(post.clone()));
            self.tell_duty(now);
        }
    }

    /// Looks at the guard posts, if it is time.
    pub(super) fn look_at_duty(&mut self, now: Now) {
        if self.duty.poll_timeout().is_some_and(|at| at <= now.mono) {
            if self.prober.skew().is_some() || now.mono >= self.trust_clock_at {
                self.duty.look(now, self.true_wall(now));
            } else {
                self.duty.look_later(self.trust_clock_at.min(now.mono + Span::from_secs(1)));
            }
        }
        self.tell_duty(now);
    }

    /// What a clock that is right shows, as far as the region has said how wrong this one is.
    pub(super) fn true_wall(&self, now: Now) -> WallTime {
        WallTime(now.wall.0.saturating_sub(self.prober.skew().unwrap_or(0)))
    }

    fn tell_duty(&mut self, now: Now) {
        while let Some(told) = self.duty.due(now.mono) {
            let press = press_of(&told);
            let Some(class) = press.kind.class().filter(|class| self.has_room(*class)) else { return };
            let id = self.new_event(now, press, class, None, 1, None);
            self.duty.told(&told, id);
        }
    }

    /// Why the plan holds a person warning back, if it does.
    pub(super) fn withholds(&mut self, now: Now, press: &Press) -> Option<Withheld> {
        if press.kind != Kind::Person {
            return None;
        }
        let rules = &self.part.as_ref()?.school.as_ref()?.persons;
        let detail = |name| press.details.get(name).unwrap_or_default();
        let score = permille(detail("score")).unwrap_or(1_000);
        let why = rules.judge(detail("list"), detail("person"), score, self.true_wall(now))?;
        let count = match why {
            Withheld::Muted { .. } => &mut self.withheld[0],
            Withheld::BelowThreshold { .. } => &mut self.withheld[1],
        };
        *count = count.saturating_add(1);
        self.report(Report::Withheld(why));
        Some(why)
    }

    /// Raises the person warnings whose turn it is, with those that joined them.
    pub(super) fn tell_persons(&mut self, now: Now) {
        while let Some((press, count)) = self.persons.due(now.mono) {
            let Some(class) = press.kind.class().filter(|class| self.has_room(*class)) else {
                return self.persons.not_raised(now.mono, &press, count);
            };
            let id = self.new_event(now, press.clone(), class, None, count, None);
            self.persons.raised(now.mono, &press, id);
        }
    }
}

/// The event that tells of it.
fn press_of(told: &Told) -> Press {
    let (kind, post, since) = match told {
        Told::Absent { post, since, .. } => (Kind::Absent, post, since),
        Told::Return { post, since, .. } => (Kind::Return, post, since),
    };
    let (since, mut details) = (duty::rfc3339(*since), vec![("post", post.as_str())]);
    let limit = match told {
        Told::Absent { limit, .. } => limit.to_string(),
        Told::Return { .. } => String::new(),
    };
    if let Some(since) = &since {
        details.push(("since", since));
    }
    match told {
        Told::Absent { .. } => details.push(("limit", &limit)),
        Told::Return { reason, .. } => {
            details.push(("reason", reason.as_str()));
            if let Reason::CheckIn(sensor) = reason {
                details.push(("sensor", sensor.as_str()));
            }
        }
    }
    let device = Some(post.clone());
    // A few short texts.
    let details = Details::new(details).unwrap_or_default();
    Press { kind, mode: Mode::Live, device, zone: None, note: Text::default(), details }
}
