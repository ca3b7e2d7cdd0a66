//! Which schools were silent, how often and for how long, by what the region raised: an event when it told of a silent relay, one more where that
//! became more urgent, and one when the relay was back.
//!
//! A silence is told of some time after the last sign of life, and counts from then. What ended within the time asked for, or after it, without having
//! begun within it began before. Relays that fell silent with many others are an outage's and raise nothing of their own.
//!
//! Invariants: the same words give the same account, in whatever order they come; no silence counts outside of the time asked for, and of relays of
//! one school that were silent at once the time counts once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::id::{RelayId, SchoolId};
use crate::time::{Span, WallTime};

/// What one event of the region says of a relay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SilenceWord {
    /// When it was raised.
    pub at: WallTime,
    /// Whose silence it is.
    pub relay: RelayId,
    /// Whether it says that the relay is back; otherwise that it is silent.
    pub back: bool,
    /// When that silence was over, if the record knows.
    pub over: Option<WallTime>,
}

/// A school of which a relay was silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentSchool {
    /// The school.
    pub school: SchoolId,
    /// How often a relay of it was.
    pub times: usize,
    /// For how long in all, within the time asked for.
    pub total: Span,
    /// Silences whose end nobody knows, which are in no time.
    pub unclear: usize,
    /// Whether a relay of it is silent still.
    pub still: bool,
}

/// The silences of one relay.
#[derive(Default)]
struct Silences {
    ended: Vec<Range<WallTime>>,
    /// Since when those were of which nobody knows the end.
    unclear: Vec<WallTime>,
    still: Option<WallTime>,
    /// That of which it was told last: since when, and until when if that is known.
    told: Option<(WallTime, Option<WallTime>)>,
}

impl Silences {
    fn take(&mut self, word: &SilenceWord, since: WallTime) {
        if word.back {
            let (from, over) = self.told.take().unwrap_or((since, None));
            return self.ended.push(from..over.unwrap_or(word.at));
        }
        self.told = match self.told.take() {
            // It had been back, and no event said so.
            Some((from, Some(over))) if over <= word.at => {
                self.ended.push(from..over);
                Some((word.at, word.over))
            }
            Some((from, over)) => Some((from, over.or(word.over))),
            None => Some((word.at, word.over)),
        };
    }

    fn finish(&mut self, open: bool, since: WallTime) {
        match self.told.take() {
            Some((from, Some(over))) => self.ended.push(from..over),
            Some((from, None)) if open => self.still = Some(from),
            Some((from, None)) => self.unclear.push(from),
            // It was told of before the time asked for. One that has ended since the open ones were asked for has a word of that.
            None if open && self.ended.is_empty() => self.still = Some(since),
            None => {}
        }
    }
}

/// The schools that were silent within `asked`, the longest first. `words` are all that was raised from its beginning until now, `open` the relays
/// that were silent a moment before `words` were asked for.
#[must_use]
pub fn silent_schools(words: &[SilenceWord], open: &BTreeSet<RelayId>, asked: &Range<WallTime>) -> Vec<SilentSchool> {
    let mut sorted: Vec<&SilenceWord> = words.iter().collect();
    sorted.sort_unstable();
    let mut relays: BTreeMap<&RelayId, Silences> = open.iter().map(|relay| (relay, Silences::default())).collect();
    for word in sorted {
        relays.entry(&word.relay).or_default().take(word, asked.start);
    }
    let mut schools: BTreeMap<&SchoolId, (Vec<Range<WallTime>>, SilentSchool)> = BTreeMap::new();
    for (relay, mut silences) in relays {
        silences.finish(open.contains(relay), asked.start);
        let new = || {
            let school = relay.school.clone();
            (Vec::new(), SilentSchool { school, times: 0, total: Span::ZERO, unclear: 0, still: false })
        };
        let (spans, school) = schools.entry(&relay.school).or_insert_with(new);
        let lasting = silences.still.map(|from| from..asked.end);
        for span in silences.ended.into_iter().chain(lasting) {
            let within = span.start.max(asked.start)..span.end.min(asked.end);
            if within.start < asked.end && within.end >= asked.start {
                school.times += 1;
                spans.push(within);
            }
        }
        let unclear = silences.unclear.iter().filter(|from| **from < asked.end).count();
        school.times += unclear;
        school.unclear += unclear;
        school.still |= silences.still.is_some_and(|from| from < asked.end);
    }
    let mut silent: Vec<SilentSchool> = schools
        .into_values()
        .map(|(spans, school)| SilentSchool { total: covered(spans), ..school })
        .filter(|school| school.times > 0)
        .collect();
    silent.sort_by_key(|school| std::cmp::Reverse(school.total));
    silent
}

/// How much time these spans cover together.
fn covered(mut spans: Vec<Range<WallTime>>) -> Span {
    spans.sort_unstable_by_key(|span| span.start);
    let (mut micros, mut reached) = (0_u64, None::<WallTime>);
    for span in spans {
        let from = reached.map_or(span.start, |reached| reached.max(span.start));
        micros = micros.saturating_add(u64::try_from(span.end - from).unwrap_or(0));
        reached = Some(reached.map_or(span.end, |reached| reached.max(span.end)));
    }
    Span::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASKED: Range<WallTime> = second(1_000)..second(2_000);

    const fn second(second: i64) -> WallTime {
        WallTime(second * 1_000_000)
    }

    fn relay(name: &str) -> RelayId {
        let (school, device) = name.split_once('/').unwrap();
        RelayId { school: school.parse().unwrap(), device: device.parse().unwrap() }
    }

    fn silent(name: &str, at: i64, over: Option<i64>) -> SilenceWord {
        SilenceWord { at: second(at), relay: relay(name), back: false, over: over.map(second) }
    }

    fn back(name: &str, at: i64) -> SilenceWord {
        SilenceWord { at: second(at), relay: relay(name), back: true, over: None }
    }

    /// School, how often, seconds, no end known, still silent.
    fn account(words: &[SilenceWord], open: &[&str]) -> Vec<(String, usize, u64, usize, bool)> {
        let open = open.iter().map(|name| relay(name)).collect();
        let row = |school: SilentSchool| {
            let seconds = school.total.as_micros() / 1_000_000;
            (school.school.to_string(), school.times, u64::try_from(seconds).unwrap(), school.unclear, school.still)
        };
        silent_schools(words, &open, &ASKED).into_iter().map(row).collect()
    }

    fn one(times: usize, seconds: u64, unclear: usize, still: bool) -> Vec<(String, usize, u64, usize, bool)> {
        vec![("s1".to_owned(), times, seconds, unclear, still)]
    }

    #[test]
    fn what_began_and_ended_within_the_time_counts_and_a_second_urgency_is_the_same_silence() {
        let words = [
            silent("s1/gate", 1_100, Some(1_400)),
            silent("s1/gate", 1_250, Some(1_400)),
            back("s1/gate", 1_400),
            silent("s1/gate", 1_500, Some(1_560)),
            back("s1/gate", 1_560),
        ];
        assert_eq!(account(&words, &[]), one(2, 360, 0, false));
    }

    #[test]
    fn what_reaches_over_the_ends_is_cut_there() {
        assert_eq!(account(&[back("s1/gate", 1_200)], &[]), one(1, 200, 0, false), "it began before");
        assert_eq!(account(&[back("s1/gate", 2_500)], &[]), one(1, 1_000, 0, false), "from before until after");
        assert_eq!(
            account(&[silent("s1/gate", 1_900, Some(2_300)), back("s1/gate", 2_300)], &[]),
            one(1, 100, 0, false)
        );
        assert_eq!(account(&[silent("s1/gate", 2_100, Some(2_300)), back("s1/gate", 2_300)], &[]), []);
    }

    #[test]
    fn what_is_not_over_lasts_until_now() {
        assert_eq!(account(&[silent("s1/gate", 1_900, None)], &["s1/gate"]), one(1, 100, 0, true));
        assert_eq!(account(&[], &["s1/gate"]), one(1, 1_000, 0, true), "told of long ago");
        assert_eq!(account(&[silent("s1/gate", 2_100, None)], &["s1/gate"]), [], "only afterwards");
        // It left the record before it was over.
        assert_eq!(account(&[silent("s1/gate", 1_900, None)], &[]), one(1, 0, 1, false));
    }

    #[test]
    fn without_a_word_that_it_is_back_the_record_says_when_it_was() {
        let words = [silent("s1/gate", 1_100, Some(1_200)), silent("s1/gate", 1_300, Some(1_310))];
        assert_eq!(account(&words, &[]), one(2, 110, 0, false));
    }

    #[test]
    fn relays_of_one_school_that_are_silent_at_once_take_no_time_twice_and_the_longest_stands_first() {
        let words = [
            silent("s2/gate", 1_000, Some(1_050)),
            silent("s1/gate", 1_100, Some(1_300)),
            silent("s1/hall", 1_200, Some(1_400)),
        ];
        let rows = account(&words, &[]);
        assert_eq!(rows, [("s1".to_owned(), 2, 300, 0, false), ("s2".to_owned(), 1, 50, 0, false)]);
    }

    proptest! {
        /// In whatever order, no school is silent for longer than was asked for, or silent without once.
        #[test]
        fn no_time_is_counted_that_was_not_asked_for(
            words in prop::collection::vec((0..2_u8, 500..2_500_i64, prop::option::of(1..800_i64), any::<bool>()), 0..30),
            open in prop::collection::btree_set(0..2_u8, 0..3),
            turn in 0..30_usize,
        ) {
            let name = |number: u8| format!("s1/r{number}");
            let mut words: Vec<SilenceWord> = words.into_iter().map(|(number, at, lasted, is_back)| {
                if is_back { back(&name(number), at) } else { silent(&name(number), at, lasted.map(|lasted| at + lasted)) }
            }).collect();
            let open: BTreeSet<RelayId> = open.into_iter().map(|number| relay(&name(number))).collect();
            let rows = silent_schools(&words, &open, &ASKED);
            let turn = turn % words.len().max(1);
            words.rotate_left(turn);
            prop_assert_eq!(&silent_schools(&words, &open, &ASKED), &rows);
            for row in rows {
                prop_assert!(row.times > 0 && row.unclear <= row.times);
                prop_assert!(row.total <= Span::from_secs(1_000));
            }
        }
    }
}
