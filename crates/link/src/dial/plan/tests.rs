use huxiao_core::Rng;

use super::*;

const PATIENCE: Span = Span::from_secs(10);

/// A plan, its clock, and what its sessions have heard.
struct Lane {
    plan: Plan,
    now: Instant,
    heard: BTreeMap<PathId, u64>,
}

impl Lane {
    fn new() -> Self {
        let now = Instant::now();
        Self { plan: Plan::new(now, PATIENCE, 1), now, heard: BTreeMap::new() }
    }

    /// What is to be done now.
    fn steps(&mut self) -> Vec<Step> {
        let Self { plan, now, heard } = self;
        let heard = |path| heard.get(&path).copied().unwrap_or(0);
        std::iter::from_fn(|| plan.poll(*now, &heard)).collect()
    }

    /// What is to be done in the coming time, and after how long each.
    fn until(&mut self, span: Span) -> Vec<(Span, Step)> {
        let (began, end) = (self.now, self.now + span);
        let mut steps = Vec::new();
        loop {
            let at = self.now - began;
            steps.extend(self.steps().into_iter().map(|step| (at, step)));
            match self.plan.wake() {
                Some(wake) if wake <= end => {
                    assert!(wake > self.now, "it wants to be asked again at once");
                    self.now = wake;
                }
                _ => break,
            }
        }
        self.now = end;
        steps
    }

    fn dial(&mut self) -> Dial {
        match self.steps()[..] {
            [Step::Dial(dial)] => dial,
            ref other => panic!("expected one dial, got {other:?}"),
        }
    }

    /// A proven session.
    fn up(&mut self, path: u64) {
        let dial = self.dial();
        self.plan.established(self.now, dial.attempt, PathId(path), false);
        assert_eq!(self.steps(), []);
    }
}

fn dials(steps: &[(Span, Step)]) -> Vec<(Span, Dial)> {
    let dial = |(at, step): &(Span, Step)| match step {
        Step::Dial(dial) => Some((*at, *dial)),
        _ => None,
    };
    steps.iter().filter_map(dial).collect()
}

#[test]
fn in_no_hurry_one_dial_follows_the_other_at_a_distance() {
    let mut lane = Lane::new();
    let first = lane.dial();
    assert_eq!((first.life, first.race), (PATIENCE, false));
    assert_eq!(lane.until(Span::from_secs(60)), [], "one is under way");
    lane.plan.failed(lane.now, first.attempt);
    assert_eq!(lane.steps(), [], "not at once");
    let next = dials(&lane.until(Span::from_secs(1)));
    assert_eq!(next.len(), 1);
    assert!(next[0].0 >= Span::from_millis(50), "{next:?}");
}

#[test]
fn in_a_hurry_dials_are_staggered_and_bounded_and_one_is_patient() {
    for (rtt, apart) in [(None, 500), (Some(20), 250), (Some(200), 400), (Some(900), 1_000)] {
        let mut lane = Lane::new();
        lane.plan.measured(rtt.map(Span::from_millis));
        let patient = lane.dial();
        lane.plan.hurry(lane.now);
        let begun = dials(&lane.until(HURRY_LASTS));
        let expected = (5_999 / apart).min(7);
        assert_eq!(u64::try_from(begun.len()).unwrap(), expected, "{begun:?}");
        for (number, (at, dial)) in (1_u32..).zip(&begun) {
            assert_eq!(*at, Span::from_millis(apart) * number);
            assert_eq!(dial.life, HURRIED_LIFE, "{:?} is the patient one", patient.attempt);
        }
        // A failure makes room for one more, but the hurry is over.
        lane.plan.failed(lane.now, begun[0].1.attempt);
        assert_eq!(lane.until(Span::from_secs(60)), []);
    }
}

#[test]
fn a_hurried_dial_has_three_round_trips() {
    let mut lane = Lane::new();
    lane.plan.measured(Some(Span::from_secs(2)));
    lane.dial();
    lane.plan.hurry(lane.now);
    assert_eq!(dials(&lane.until(Span::from_secs(1)))[0].1.life, Span::from_secs(6));
}

#[test]
fn the_first_that_is_proven_ends_the_others() {
    let mut lane = Lane::new();
    let first = lane.dial();
    lane.plan.hurry(lane.now);
    let others = dials(&lane.until(Span::from_millis(1_600)));
    assert_eq!(others.len(), 3);
    lane.plan.established(lane.now, first.attempt, PathId(1), true);
    lane.plan.established(lane.now, others[0].1.attempt, PathId(2), true);
    assert_eq!(lane.steps(), []);
    lane.plan.proven(lane.now, PathId(2));
    assert_eq!(lane.steps(), [Step::GiveUpDials, Step::Close(PathId(1), Reason::Slower)]);
    // One of those given up was done already.
    lane.plan.established(lane.now, others[1].1.attempt, PathId(3), false);
    assert_eq!(lane.steps(), [Step::Close(PathId(3), Reason::Slower)]);
    lane.plan.proven(lane.now, PathId(1));
    for path in [1, 3] {
        lane.plan.ended(lane.now, PathId(path));
    }
    assert_eq!(lane.until(Span::from_secs(60)), [], "one session is what is wanted");
}

#[test]
fn an_early_session_that_nobody_answers_is_ended_in_its_time() {
    let mut lane = Lane::new();
    let first = lane.dial();
    assert!(first.ticket);
    lane.plan.established(lane.now, first.attempt, PathId(1), true);
    let steps = lane.until(PATIENCE);
    assert_eq!(steps, [(PATIENCE, Step::Close(PathId(1), Reason::NoAnswer))]);
    lane.plan.ended(lane.now, PathId(1));
    let next = dials(&lane.until(Span::from_secs(1)));
    assert!(!next[0].1.ticket, "the next one asks first");
}

#[test]
fn tickets_are_spent_on_a_few_of_many_hurried_dials() {
    let mut lane = Lane::new();
    lane.dial();
    lane.plan.hurry(lane.now);
    let mut spent = Vec::new();
    for _ in 0..20 {
        let begun = dials(&lane.until(Span::from_millis(500)));
        for (_, dial) in begun {
            spent.push(dial.ticket);
            lane.plan.failed(lane.now, dial.attempt);
        }
        lane.plan.hurry(lane.now);
    }
    let which: Vec<_> = (1..).zip(&spent).filter(|(_, ticket)| **ticket).map(|(number, _)| number).collect();
    assert_eq!(which, [1, 2, 4, 8, 16]);
}

#[test]
fn a_race_keeps_the_older_session_if_it_is_heard_again() {
    for (old_hears, closed) in [(false, (1, Reason::Silent)), (true, (2, Reason::NotNeeded))] {
        let mut lane = Lane::new();
        lane.up(1);
        assert_eq!(lane.until(Span::from_secs(20)), []);
        lane.plan.hurry(lane.now);
        assert_eq!(lane.steps(), [], "there is a session, and nobody says that it is silent");
        lane.plan.race(lane.now);
        let fresh = lane.dial();
        assert!(fresh.race);
        assert_eq!(lane.until(Span::from_secs(2)), [], "each call is one dial");
        lane.heard.extend([(PathId(1), 10), (PathId(2), 3)]);
        lane.plan.established(lane.now, fresh.attempt, PathId(2), false);
        assert_eq!(lane.steps(), []);
        lane.heard.insert(PathId(2), 9);
        lane.heard.insert(PathId(1), if old_hears { 11 } else { 10 });
        let (path, reason) = closed;
        assert_eq!(lane.until(BOTH_LIVE), [(BOTH_LIVE, Step::Close(PathId(path), reason))]);
        lane.plan.ended(lane.now, PathId(path));
        assert_eq!(lane.until(Span::from_secs(60)), []);
    }
}

#[test]
fn a_race_whose_older_session_ends_by_itself_keeps_the_fresh_one() {
    let mut lane = Lane::new();
    lane.up(1);
    lane.plan.race(lane.now);
    lane.until(Span::from_secs(1));
    lane.plan.established(lane.now, 1, PathId(2), false);
    lane.steps();
    lane.plan.ended(lane.now, PathId(1));
    assert_eq!(lane.until(Span::from_secs(60)), []);
    lane.plan.ended(lane.now, PathId(2));
    assert_eq!(dials(&lane.until(Span::from_secs(6))).len(), 1);
}

#[test]
fn without_a_session_a_race_is_a_hurry() {
    let mut lane = Lane::new();
    lane.dial();
    lane.plan.race(lane.now);
    let begun = dials(&lane.until(Span::from_secs(2)));
    assert_eq!(begun.len(), 4);
    assert!(begun.iter().all(|(_, dial)| !dial.race));
}

#[test]
fn whatever_happens_dials_stay_bounded_and_a_lane_never_gives_up() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut lane = Lane::new();
        let (mut under_way, mut early, mut proven) = (Vec::new(), Vec::new(), Vec::new());
        let mut next_path = 1;
        for _ in 0..300 {
            for (_, step) in lane.until(Span::from_millis(rng.below(700))) {
                match step {
                    Step::Dial(dial) => under_way.push(dial.attempt),
                    Step::GiveUpDials => under_way.clear(),
                    Step::Close(path, _) => {
                        early.retain(|other| *other != path);
                        proven.retain(|other| *other != path);
                        lane.plan.ended(lane.now, path);
                    }
                }
                assert!(under_way.len() + early.len() <= MOST, "seed {seed}");
            }
            match rng.below(8) {
                0 => lane.plan.hurry(lane.now),
                1 => lane.plan.race(lane.now),
                2 => {
                    if let Some(attempt) = under_way.pop() {
                        lane.plan.failed(lane.now, attempt);
                    }
                }
                3 | 4 => {
                    if let Some(attempt) = under_way.pop() {
                        let path = PathId(next_path);
                        next_path += 1;
                        let is_early = rng.below(2) == 0;
                        lane.plan.established(lane.now, attempt, path, is_early);
                        if is_early { &mut early } else { &mut proven }.push(path);
                    }
                }
                5 => {
                    if let Some(path) = early.pop() {
                        lane.plan.proven(lane.now, path);
                        proven.push(path);
                    }
                }
                6 => {
                    if let Some(path) = proven.pop() {
                        lane.plan.ended(lane.now, path);
                    }
                }
                _ => {
                    proven.iter().filter(|_| rng.below(2) == 0).for_each(|path| {
                        *lane.heard.entry(*path).or_default() += 1;
                    });
                }
            }
        }
        let steps = lane.until(Span::from_secs(30));
        let dialled = steps.iter().any(|(_, step)| matches!(step, Step::Dial(_)));
        assert!(!proven.is_empty() || !under_way.is_empty() || !early.is_empty() || dialled, "seed {seed} gave up");
    }
}

#[test]
fn a_metered_line_that_tcp_carries_is_spared() {
    let mut lane = Lane::new();
    let dials = |steps: &[(Span, Step)]| steps.iter().filter(|(_, step)| matches!(step, Step::Dial(_))).count();
    let count = |lane: &mut Lane, dearly: bool| {
        lane.plan.carried_dearly(dearly);
        let mut count = 0;
        for _ in 0..600 {
            let steps = lane.until(Span::from_secs(1));
            count += dials(&steps);
            for (_, step) in steps {
                if let Step::Dial(dial) = step {
                    lane.plan.failed(lane.now, dial.attempt);
                }
            }
        }
        count
    };
    assert!(count(&mut lane, false) > 50, "nobody carries, within ten minutes");
    assert!(count(&mut lane, true) <= 5, "TCP does");
    assert!(count(&mut lane, false) > 50, "and as soon as TCP is gone, as ever");
    lane.plan.carried_dearly(true);
    lane.plan.hurry(lane.now);
    assert!(dials(&lane.until(Span::from_secs(6))) > 3, "whoever is in a hurry is");
}
