//! Whether the guard post is manned (离岗预警): a pure machine for one school.
//!
//! ```text
//!            duty begins, or the guard checks in
//!  off ────────► manned ──(half the limit)──► due ──(the plan's limit)──► absent ─┐  one `absent` event
//!   ▲               ▲                                                             │
//!   └── duty ends ──┴──────────────── the guard checks in, or duty ends ──────────┘  one `return` event
//! ```
//!
//! How long a post is empty is measured by the steady clock, whether it is time for duty by the clock on the wall. So a clock that is set does not make
//! an absence: duty that begins by it begins to be counted then.
//!
//! Invariant: of each post, absences and returns alternate, beginning with an absence, in whatever order guards, clocks and plans change.

use std::collections::BTreeMap;

use crate::event::Text;
use crate::id::{EventId, Name};
use crate::limits;
use crate::plan::{self, Day, DeviceKind, School, on_the_wall};
use crate::time::{Now, Span, Timestamp, WallTime};

/// How often it is looked whether duty has begun or ended.
const LOOK_EVERY: Span = Span::from_secs(5);
/// The post of a school whose plan asks for duty and lists no post.
const THE_POST: &str = "post";

/// What saw a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensor {
    /// A card at a reader.
    Card,
    /// A key or a button at the post.
    Key,
    /// A camera's agent.
    Camera,
}

impl Sensor {
    /// All of them.
    pub const ALL: [Sensor; 3] = [Sensor::Card, Sensor::Key, Sensor::Camera];

    /// Its word in the API and in details.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Sensor::Card => "card",
            Sensor::Key => "key",
            Sensor::Camera => "camera",
        }
    }

    /// The sensor of this word.
    #[must_use]
    pub fn known(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sensor| sensor.as_str() == word)
    }
}

/// A guard was at the post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckIn {
    /// When, by the relay's clock.
    pub at: WallTime,
    /// What saw it.
    pub sensor: Sensor,
    /// Who; may be empty.
    pub person: Text,
}

/// Why an absence is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The guard is back.
    CheckIn(Sensor),
    /// The hours of duty are over.
    HoursEnd,
    /// The plan asks for no guard at this post any longer.
    Plan,
}

impl Reason {
    /// Its word in details.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::CheckIn(_) => "check_in",
            Reason::HoursEnd => "hours_end",
            Reason::Plan => "plan",
        }
    }
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The post is empty.
    Absent {
        /// Which.
        post: Name,
        /// Since when, by the relay's clock.
        since: WallTime,
        /// The plan's limit in seconds.
        limit: u16,
    },
    /// It no longer is.
    Return {
        /// Which.
        post: Name,
        /// Since when it was, by the relay's clock.
        since: WallTime,
        /// Why it no longer is.
        reason: Reason,
    },
}

/// How a post is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostState {
    /// No guard need be there.
    Off,
    /// A guard was there lately.
    Manned,
    /// More than half of the limit has passed: a voice at the post may say so.
    Due,
    /// Nobody was there for longer than the limit, and that was told.
    Absent,
}

impl PostState {
    /// Its word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PostState::Off => "off",
            PostState::Manned => "manned",
            PostState::Due => "due",
            PostState::Absent => "absent",
        }
    }

    /// What the guard reads: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            PostState::Off => ("非勤务时段", "Off duty"),
            PostState::Manned => ("在岗", "Manned"),
            PostState::Due => ("请签到", "Please check in"),
            PostState::Absent => ("离岗", "Unattended"),
        }
    }
}

#[derive(Debug, Clone)]
struct Post {
    /// Whether the plan asks for it.
    planned: bool,
    /// From when on its emptiness is counted.
    seen: Timestamp,
    /// The same by the relay's clock.
    seen_wall: WallTime,
    last: Option<CheckIn>,
    absent: Option<Absence>,
    /// A guard came back, and that was not told yet.
    back: Option<Sensor>,
}

#[derive(Debug, Clone, Copy)]
struct Absence {
    event: EventId,
    since: WallTime,
}

/// What people want to know of a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostView {
    /// Its name.
    pub post: Name,
    /// How it is.
    pub state: PostState,
    /// The last check-in since the relay's start.
    pub last: Option<CheckIn>,
    /// The event that told of its absence, and since when it is empty, while it is.
    pub absent: Option<(EventId, WallTime)>,
}

/// The guard posts of one school. At most [`limits::DUTY_POSTS`].
#[derive(Debug, Default)]
pub struct Duty {
    posts: BTreeMap<Name, Post>,
    hours: Vec<plan::Duty>,
    /// Whether any plan is known: without one, nothing is said of posts.
    known: bool,
    /// Whether it was looked whether it is time for duty.
    looked: bool,
    /// The limit in seconds of the hours of duty that are running.
    on: Option<u16>,
    look_at: Option<Timestamp>,
}

impl Duty {
    /// What an event of an earlier start said of a post: it is empty since `since`.
    pub fn restore(&mut self, post: Name, event: EventId, since: WallTime) {
        if self.posts.len() < limits::DUTY_POSTS || self.posts.contains_key(&post) {
            let absent = Some(Absence { event, since });
            let new =
                Post { planned: false, seen: Timestamp(0), seen_wall: since, last: None, absent: None, back: None };
            self.posts.entry(post).or_insert(new).absent = absent;
        }
    }

    /// The plan says this of the school now; `None` if it does not name it.
    pub fn set_plan(&mut self, now: Now, school: Option<&School>) {
        self.known = true;
        self.hours = school.map(|school| school.duty.clone()).unwrap_or_default();
        let devices = school.map(|school| school.devices.as_slice()).unwrap_or_default();
        let listed = devices.iter().filter(|device| device.kind == DeviceKind::GuardPost);
        let mut posts: Vec<Name> = listed.map(|device| device.id.clone()).take(limits::DUTY_POSTS).collect();
        if posts.is_empty() && !self.hours.is_empty() {
            posts.extend(Name::new(THE_POST).ok());
        }
        for (name, post) in &mut self.posts {
            post.planned = posts.contains(name);
        }
        self.posts.retain(|_, post| post.planned || post.absent.is_some());
        for name in posts {
            if self.posts.len() >= limits::DUTY_POSTS {
                break;
            }
            let (seen, seen_wall) = (now.mono, now.wall);
            let new = Post { planned: true, seen, seen_wall, last: None, absent: None, back: None };
            self.posts.entry(name).or_insert(new);
        }
        self.look_at = Some(now.mono);
    }

    /// Whether a guard can check in there.
    #[must_use]
    pub fn has(&self, post: &Name) -> bool {
        self.posts.get(post).is_some_and(|post| post.planned)
    }

    /// A guard is at a post. False if the plan has no such post.
    pub fn check_in(&mut self, now: Now, post: &Name, sensor: Sensor, person: Text) -> bool {
        let Some(post) = self.posts.get_mut(post).filter(|post| post.planned) else { return false };
        (post.seen, post.seen_wall) = (now.mono, now.wall);
        post.last = Some(CheckIn { at: now.wall, sensor, person });
        if post.absent.is_some() {
            post.back = Some(sensor);
        }
        self.look_at = Some(now.mono);
        true
    }

    /// Time has come to `now`; `wall` is what a clock that is right shows. Afterwards [`Duty::due`] has what is to be told.
    pub fn look(&mut self, now: Now, wall: WallTime) {
        if !self.known {
            return;
        }
        self.looked = true;
        let (_, day, minute) = on_the_wall(wall);
        let running = self.hours.iter().find(|duty| duty.days.contains(day) && duty.hours.contains(minute));
        let running = running.map(|duty| duty.absent_secs);
        if self.on.is_none() && running.is_some() {
            for post in self.posts.values_mut() {
                (post.seen, post.seen_wall) = (now.mono, now.wall);
            }
        }
        self.on = running;
        let watched = !self.hours.is_empty() || self.posts.values().any(|post| post.absent.is_some());
        let limit = running.map(|secs| Span::from_secs(secs.into()));
        let next = limit.and_then(|limit| {
            let waiting = self.posts.values().filter(|post| post.planned && post.absent.is_none());
            waiting.map(|post| post.seen + limit).filter(|at| *at > now.mono).min()
        });
        let look = now.mono + LOOK_EVERY;
        self.look_at = watched.then(|| next.map_or(look, |at| at.min(look)));
    }

    /// It is left open until `at` whether it is time for duty.
    pub fn look_later(&mut self, at: Timestamp) {
        self.look_at = Some(at);
    }

    /// What is to be told at `now`, if anything is. The caller tells it and says so by [`Duty::told`]; what it cannot tell is due again.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Told> {
        if !self.looked {
            return None;
        }
        self.posts.iter().find_map(|(name, post)| {
            let post_name = || name.clone();
            match (post.absent, self.on) {
                (Some(Absence { since, .. }), on) => {
                    let reason = match (post.back, post.planned, on) {
                        (Some(sensor), ..) => Reason::CheckIn(sensor),
                        (None, false, _) => Reason::Plan,
                        (None, true, None) => Reason::HoursEnd,
                        (None, true, Some(_)) => return None,
                    };
                    Some(Told::Return { post: post_name(), since, reason })
                }
                (None, Some(limit)) if post.planned && now.since(post.seen) >= Span::from_secs(limit.into()) => {
                    Some(Told::Absent { post: post_name(), since: post.seen_wall, limit })
                }
                (None, _) => None,
            }
        })
    }

    /// What was due has been told, by this event.
    pub fn told(&mut self, told: &Told, event: EventId) {
        match told {
            Told::Absent { post, since, .. } => {
                if let Some(post) = self.posts.get_mut(post) {
                    post.absent = Some(Absence { event, since: *since });
                    post.back = None;
                }
            }
            Told::Return { post, .. } => {
                if let Some(post) = self.posts.get_mut(post) {
                    (post.absent, post.back) = (None, None);
                }
                self.posts.retain(|_, post| post.planned || post.absent.is_some());
            }
        }
    }

    /// Whether this event told of an absence that is not over: it must not be forgotten, since a relay that starts reads from it what it
    /// has told.
    #[must_use]
    pub fn holds(&self, event: &EventId) -> bool {
        self.posts.values().any(|post| post.absent.is_some_and(|absent| absent.event == *event))
    }

    /// When [`Duty::look`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.look_at
    }

    /// The limit in seconds of the hours of duty that are running; `None` while none are.
    #[must_use]
    pub fn running(&self) -> Option<u16> {
        self.on
    }

    /// How the posts are.
    pub fn posts(&self, now: Timestamp) -> impl Iterator<Item = PostView> {
        self.posts.iter().map(move |(name, post)| {
            let state = match (post.absent, self.on) {
                (Some(_), _) => PostState::Absent,
                (None, Some(limit)) if post.planned => {
                    let half = Span::from_secs(limit.into()) / 2;
                    if now.since(post.seen) >= half { PostState::Due } else { PostState::Manned }
                }
                (None, _) => PostState::Off,
            };
            let absent = post.absent.map(|absent| (absent.event, absent.since));
            PostView { post: name.clone(), state, last: post.last.clone(), absent }
        })
    }

    /// Holds it against its invariants.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), String> {
        if self.posts.len() > limits::DUTY_POSTS {
            return Err(format!("{} guard posts are watched", self.posts.len()));
        }
        match self.posts.iter().find(|(_, post)| post.back.is_some() && post.absent.is_none()) {
            Some((name, _)) => Err(format!("a guard came back to {name}, which was not empty")),
            None => Ok(()),
        }
    }
}

/// A time as details hold it: RFC 3339 in UTC, to the second. `None` outside the years 2000 to 2199, which no clock at a school means.
#[must_use]
pub fn rfc3339(at: WallTime) -> Option<String> {
    let seconds = at.0.div_euclid(1_000_000);
    let day = Day::from_number(i32::try_from(seconds.div_euclid(86_400)).ok()?).ok()?;
    let of_day = seconds.rem_euclid(86_400);
    Some(format!("{day}T{:02}:{:02}:{:02}Z", of_day / 3_600, of_day / 60 % 60, of_day % 60))
}

#[cfg(test)]
mod tests;
