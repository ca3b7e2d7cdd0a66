//! Probes: how each session of a dialler does, and how its clock stands to that of the node at the other end.
//!
//! A QUIC connection that is up says little: some carriers' NATs forget a mapping whatever is sent, and a line may go on in one direction
//! only. So a path is healthy only while its probes come back. The same exchange tells the two clocks apart: of the last samples the
//! one with the shortest round trip is the best, for whatever made the others longer was not the same both ways (RFC 5905 §10).
//!
//! Invariant: a path has at most [`PROBES_HELD`] probes unanswered and the next one due; no answer, whatever it says, moves another path's figures.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{NodeName, PathId};
use crate::limits;
use crate::message::Echo;
use crate::path::{Cost, PathInfo};
use crate::time::{Now, Span, Timestamp};

/// After its beginning a path is probed at once and soon again, so that there are figures before they are needed.
const FIRST_GAPS: [Span; 5] = [
    Span::from_millis(100),
    Span::from_millis(200),
    Span::from_millis(400),
    Span::from_millis(800),
    Span::from_millis(1_600),
];
/// How long an answer may take at least before a probe counts as lost.
const PATIENCE: Span = Span::from_secs(2);
/// Unanswered probes that are remembered of one path.
const PROBES_HELD: usize = 8;
/// Outcomes of probes from which the loss of a path is estimated.
const OUTCOMES: usize = 32;
/// After so many probes it can be told whether a path loses any.
const PROVEN: usize = 5;
/// Samples of which the best tells the difference of the clocks.
const SAMPLES: usize = 8;

/// What a path has lost of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Losses {
    /// Enough probes came back, and none was lost.
    None,
    /// Too few have been sent to tell.
    Unknown,
    /// Some were lost.
    Some,
}

/// How a path does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// No probe has come back yet, and none is late.
    Unproven,
    /// Probes come back.
    Healthy,
    /// The last probe did not come back in time.
    Silent,
}

impl Health {
    /// Its word in APIs, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unproven => "unproven",
            Health::Healthy => "healthy",
            Health::Silent => "silent",
        }
    }

    /// What is said of a way on which there is no session, in Chinese and in English.
    pub const ABSENT_WORDS: (&'static str, &'static str) = ("未连接", "no session");

    /// In Chinese and in English, for people.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Health::Unproven => ("尚未证实", "not proven yet"),
            Health::Healthy => ("畅通", "answers"),
            Health::Silent => ("无应答", "does not answer"),
        }
    }
}

/// The figures of one path.
#[derive(Debug, Clone, PartialEq)]
pub struct PathHealth {
    /// The session.
    pub path: PathId,
    /// The node at the other end.
    pub node: NodeName,
    /// What kind of session.
    pub info: PathInfo,
    /// Whether its probes come back.
    pub health: Health,
    /// The last round trip, smoothed over some probes; `None` before the first.
    pub rtt: Option<Span>,
    /// The share of the last probes that was lost, 0 to 1, both directions together; `None` before the first outcome.
    pub loss: Option<f64>,
    /// How long ago anything was heard on it.
    pub silence: Span,
    /// By how many microseconds this node's clock is ahead of the other's (negative: behind).
    pub skew: Option<i64>,
}

#[derive(Debug, Clone)]
struct Probed {
    node: NodeName,
    info: PathInfo,
    heard: Timestamp,
    due: Timestamp,
    asked: u32,
    /// Probes that were not answered, and how many of them, the oldest, count as lost already. They may yet come back and say how long the
    /// queue is.
    open: VecDeque<(u64, Now)>,
    given_up: usize,
    outcomes: VecDeque<bool>,
    late: bool,
    rtt: Option<Span>,
    samples: VecDeque<(Span, i64)>,
}

/// Probes the sessions of one dialler.
#[derive(Debug, Clone, Default)]
pub struct Prober {
    paths: BTreeMap<PathId, Probed>,
    next_number: u64,
    out: VecDeque<(PathId, u64)>,
}

impl Prober {
    /// A session has begun.
    pub fn path_up(&mut self, now: Timestamp, path: PathId, node: NodeName, info: PathInfo) {
        let probed = Probed {
            node,
            info,
            heard: now,
            due: now,
            asked: 0,
            open: VecDeque::new(),
            given_up: 0,
            outcomes: VecDeque::new(),
            late: false,
            rtt: None,
            samples: VecDeque::new(),
        };
        self.paths.insert(path, probed);
    }

    /// It is over.
    pub fn path_down(&mut self, path: PathId) {
        self.paths.remove(&path);
        self.out.retain(|(of, _)| *of != path);
    }

    /// Something came on it.
    pub fn heard(&mut self, now: Timestamp, path: PathId) {
        if let Some(probed) = self.paths.get_mut(&path) {
            probed.heard = now;
        }
    }

    /// A probe has come back. What was never asked, or was answered before, says nothing.
    pub fn echo(&mut self, now: Now, path: PathId, echo: Echo) {
        let Some(probed) = self.paths.get_mut(&path) else { return };
        let Some(at) = probed.open.iter().position(|(number, _)| *number == echo.number) else { return };
        let Some((_, sent)) = probed.open.remove(at) else { return };
        if at < probed.given_up {
            probed.given_up -= 1;
        } else {
            probed.outcome(true);
        }
        // However long it took: it came back, and the path lives.
        probed.late = false;
        let round = now.mono.since(sent.mono);
        let held = Span::from_micros(u64::try_from(echo.sent - echo.received).unwrap_or(0));
        let rtt = round.saturating_sub(held);
        probed.rtt = Some(probed.rtt.map_or(rtt, |old| (old * 3 + rtt) / 4));
        // Half of the sum of both differences: what the ways there and back add to each cancels as far as they are alike.
        let (there, back) = (i128::from(sent.wall - echo.received), i128::from(now.wall - echo.sent));
        if let Ok(skew) = i64::try_from((there + back) / 2) {
            probed.samples.push_back((rtt, skew));
            if probed.samples.len() > SAMPLES {
                probed.samples.pop_front();
            }
        }
    }

    /// Asks where it is time.
    pub fn handle_timeout(&mut self, now: Now) {
        for (path, probed) in &mut self.paths {
            probed.expire(now.mono);
            if probed.due > now.mono {
                continue;
            }
            self.next_number += 1;
            probed.open.push_back((self.next_number, now));
            if probed.open.len() > PROBES_HELD {
                probed.open.pop_front();
                match probed.given_up {
                    0 => probed.outcome(false),
                    _ => probed.given_up -= 1,
                }
            }
            probed.due = now.mono + probed.gap();
            probed.asked = probed.asked.saturating_add(1);
            self.out.push_back((*path, self.next_number));
        }
    }

    /// When [`Prober::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.paths.values().map(|probed| probed.late_at().map_or(probed.due, |late| late.min(probed.due))).min()
    }

    /// The next probe to send: on which session, and its number.
    pub fn poll_output(&mut self) -> Option<(PathId, u64)> {
        self.out.pop_front()
    }

    /// The figures of every session.
    pub fn health(&self, now: Timestamp) -> impl Iterator<Item = PathHealth> {
        self.paths.iter().map(move |(path, probed)| PathHealth {
            path: *path,
            node: probed.node.clone(),
            info: probed.info,
            health: probed.health(),
            rtt: probed.rtt,
            loss: probed.loss(),
            silence: now.since(probed.heard),
            skew: probed.best().map(|(_, skew)| skew),
        })
    }

    /// By how many microseconds this node's clock is ahead of that of the node at the other end of `path`.
    #[must_use]
    pub fn skew_of(&self, path: PathId) -> Option<i64> {
        self.paths.get(&path).and_then(Probed::best).map(|(_, skew)| skew)
    }

    /// The same towards the broker nodes as a whole: by the shortest round trip of all. They keep each other's time.
    #[must_use]
    pub fn skew(&self) -> Option<i64> {
        self.paths.values().filter_map(Probed::best).min().map(|(_, skew)| skew)
    }

    /// What each session loses, and its shortest round trip of late.
    pub fn probed(&self) -> impl Iterator<Item = (PathId, Losses, Option<Span>)> {
        self.paths.iter().map(|(path, probed)| (*path, probed.losses(), probed.best().map(|(rtt, _)| rtt)))
    }

    /// Holds the prober against its invariants.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), String> {
        let bounded =
            |p: &Probed| p.open.len() <= PROBES_HELD && p.outcomes.len() <= OUTCOMES && p.samples.len() <= SAMPLES;
        match self.paths.iter().find(|(_, probed)| !bounded(probed)) {
            Some((path, _)) => Err(format!("{path:?} remembers more probes than it may")),
            None => Ok(()),
        }
    }
}

impl Probed {
    fn gap(&self) -> Span {
        let first = usize::try_from(self.asked).ok().and_then(|asked| FIRST_GAPS.get(asked)).copied();
        first.unwrap_or(match self.info.cost {
            Cost::Free => limits::PROBE_EVERY,
            Cost::Metered => limits::METERED_PROBE_EVERY,
        })
    }

    /// When the oldest open probe counts as lost.
    fn late_at(&self) -> Option<Timestamp> {
        let patience = PATIENCE.max(self.rtt.unwrap_or_default() * 3);
        self.open.get(self.given_up).map(|(_, sent)| sent.mono + patience)
    }

    fn expire(&mut self, now: Timestamp) {
        while self.late_at().is_some_and(|late| late <= now) {
            self.given_up += 1;
            self.late = true;
            self.outcome(false);
        }
    }

    fn outcome(&mut self, answered: bool) {
        self.outcomes.push_back(answered);
        if self.outcomes.len() > OUTCOMES {
            self.outcomes.pop_front();
        }
    }

    fn health(&self) -> Health {
        match (self.late, self.rtt) {
            (true, _) => Health::Silent,
            (false, Some(_)) => Health::Healthy,
            (false, None) => Health::Unproven,
        }
    }

    fn losses(&self) -> Losses {
        if self.outcomes.contains(&false) {
            Losses::Some
        } else if self.outcomes.len() < PROVEN {
            Losses::Unknown
        } else {
            Losses::None
        }
    }

    fn loss(&self) -> Option<f64> {
        let lost = self.outcomes.iter().filter(|answered| !**answered).count();
        let [lost, all] = [lost, self.outcomes.len()].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        (all > 0).then(|| f64::from(lost) / f64::from(all))
    }

    fn best(&self) -> Option<(Span, i64)> {
        self.samples.iter().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Lane;
    use crate::time::WallTime;

    const PATH: PathId = PathId(1);

    fn now(micros: u64, ahead: i64) -> Now {
        Now { mono: Timestamp(micros), wall: WallTime(i64::try_from(micros).unwrap() + ahead) }
    }

    fn prober(cost: Cost) -> Prober {
        let mut prober = Prober::default();
        let info = PathInfo { cost, ..PathInfo::plain(Lane::Express) };
        prober.path_up(Timestamp(0), PATH, "broker/nanchang/n1".parse().unwrap(), info);
        prober
    }

    /// Asks, and answers after the given ways there and back.
    fn round(prober: &mut Prober, at: u64, ahead: i64, there: u64, back: u64) {
        prober.handle_timeout(now(at, ahead));
        let (path, number) = prober.poll_output().unwrap();
        let true_time = |micros: u64| WallTime(i64::try_from(micros).unwrap());
        let echo = Echo { number, received: true_time(at + there), sent: true_time(at + there + 1_000) };
        prober.echo(now(at + there + 1_000 + back, ahead), path, echo);
        prober.check().unwrap();
    }

    #[test]
    fn the_shortest_round_trip_tells_the_clocks_apart() {
        let mut prober = prober(Cost::Free);
        round(&mut prober, 0, 7_000_000, 200_000, 20_000);
        assert_eq!(prober.skew(), Some(7_000_000 - 90_000), "a lopsided way misleads by half of what is lopsided");
        round(&mut prober, 600_000, 7_000_000, 30_000, 30_000);
        round(&mut prober, 3_000_000, 7_000_000, 20_000, 400_000);
        assert_eq!((prober.skew(), prober.skew_of(PATH)), (Some(7_000_000), Some(7_000_000)));
        let health = prober.health(Timestamp(3_500_000)).next().unwrap();
        assert_eq!((health.health, health.loss), (Health::Healthy, Some(0.0)));
    }

    #[test]
    fn a_path_is_silent_once_a_probe_is_late_and_healthy_when_one_comes_back() {
        let mut prober = prober(Cost::Free);
        prober.handle_timeout(now(0, 0));
        let state = |prober: &Prober, at| prober.health(Timestamp(at)).next().unwrap().health;
        assert_eq!(state(&prober, 0), Health::Unproven);
        let mut at = 0;
        while state(&prober, at) != Health::Silent {
            at = prober.poll_timeout().unwrap().0;
            assert!(at <= 2_500_000, "it is noticed within seconds");
            prober.handle_timeout(now(at, 0));
        }
        while prober.poll_output().is_some() {}
        let at = prober.poll_timeout().unwrap().0;
        let due = prober.paths[&PATH].due.0.max(at);
        round(&mut prober, due, 0, 10_000, 10_000);
        assert_eq!(state(&prober, due), Health::Healthy);
        assert!(prober.health(Timestamp(due)).next().unwrap().loss.unwrap() > 0.0);
    }

    #[test]
    fn a_metered_path_is_probed_rarely_and_none_is_probed_in_a_storm() {
        let count = |cost| {
            let mut prober = prober(cost);
            let (mut asked, mut at) = (0, 0);
            while at < 3_600_000_000 {
                prober.handle_timeout(now(at, 0));
                asked += std::iter::from_fn(|| prober.poll_output()).count();
                let next = prober.poll_timeout().unwrap().0;
                assert!(next > at, "it would spin");
                at = next;
            }
            asked
        };
        let (free, metered) = (count(Cost::Free), count(Cost::Metered));
        assert!((355..=375).contains(&free) && (58..=70).contains(&metered), "{free} and {metered} in an hour");
    }

    #[test]
    fn made_up_answers_say_nothing() {
        let mut prober = prober(Cost::Free);
        prober.handle_timeout(now(0, 0));
        let echo = Echo { number: 99, received: WallTime(i64::MIN), sent: WallTime(i64::MAX) };
        prober.echo(now(5, 0), PATH, echo);
        prober.echo(now(5, 0), PathId(9), Echo { number: 1, ..echo });
        assert_eq!(prober.health(Timestamp(5)).next().unwrap().rtt, None);
        prober.echo(now(5, 0), PATH, Echo { number: 1, ..echo });
        assert!(prober.check().is_ok());
    }
}
