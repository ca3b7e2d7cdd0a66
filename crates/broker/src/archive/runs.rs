//! Which archive numbers a node has: few runs of many, because events leave the record in the order of their numbers and a gap is
//! filled from its beginning.
//!
//! Invariant: runs are ascending, do not touch and are not empty.

use std::collections::BTreeMap;

/// Runs that one row can tell. Each gap between them is a time in which this node took the record over from another.
const RUNS: usize = 500;

/// Numbers, as runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Runs(BTreeMap<u64, u64>);

impl Runs {
    /// The runs in `bytes`.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (pairs, rest) = bytes.as_chunks::<16>();
        let mut runs = Self::default();
        for pair in pairs {
            let (from, to) = pair.split_first_chunk::<8>()?;
            let (from, to) = (u64::from_be_bytes(*from), u64::from_be_bytes(to.try_into().ok()?));
            let before = runs.last();
            if from > to || before.is_some_and(|before| from <= before.saturating_add(1)) {
                return None;
            }
            runs.0.insert(from, to);
        }
        rest.is_empty().then_some(runs)
    }

    /// Their bytes. Of too many runs the oldest are left out: they are then fetched once more.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let skipped = self.0.len().saturating_sub(RUNS);
        self.0.iter().skip(skipped).flat_map(|(from, to)| [from.to_be_bytes(), to.to_be_bytes()].concat()).collect()
    }

    /// From and to of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(from, to)| (*from, *to))
    }

    /// The highest number.
    pub(crate) fn last(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, to)| *to)
    }

    /// Whether the number is in one of them.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, to)| *to >= number)
    }

    /// Adds a number.
    pub(crate) fn insert(&mut self, number: u64) {
        self.insert_all(number, number);
    }

    /// Adds all numbers from `from` to `to`.
    pub(crate) fn insert_all(&mut self, mut from: u64, mut to: u64) {
        self.remove_all(from, to);
        if let Some(after) = to.checked_add(1).and_then(|next| self.0.remove(&next)) {
            to = after;
        }
        let before = self.0.range(..from).next_back().map(|(begin, end)| (*begin, *end));
        if let Some((begin, end)) = before
            && end.checked_add(1) == Some(from)
        {
            self.0.remove(&begin);
            from = begin;
        }
        self.0.insert(from, to);
    }

    /// Takes away all numbers from `from` to `to`.
    pub(crate) fn remove_all(&mut self, from: u64, to: u64) {
        let touched: Vec<_> = self.iter().filter(|(begin, end)| *begin <= to && *end >= from).collect();
        for (begin, end) in touched {
            self.0.remove(&begin);
            if begin < from {
                self.0.insert(begin, from - 1);
            }
            if end > to {
                self.0.insert(to + 1, end);
            }
        }
    }

    /// The first number of a row of `length` that are all there and begin at one more than a multiple of `length`.
    pub(crate) fn first_chunk(&self, length: u64) -> Option<u64> {
        self.iter().find_map(|(from, to)| {
            let first = from.saturating_sub(1).div_ceil(length).checked_mul(length)?.checked_add(1)?;
            (first.checked_add(length - 1)? <= to).then_some(first)
        })
    }

    /// Takes away all numbers below `first`.
    pub(crate) fn cut_below(&mut self, first: u64) {
        let mut kept = self.0.split_off(&first);
        if let Some((_, to)) = self.0.last_key_value().filter(|(_, to)| **to >= first) {
            kept.insert(first, *to);
        }
        self.0 = kept;
    }

    /// The first numbers within `from..=to` that are in none of them.
    pub(crate) fn first_gap(&self, from: u64, to: u64) -> Option<(u64, u64)> {
        let begin = match self.0.range(..=from).next_back() {
            Some((_, end)) if *end >= from => end.checked_add(1)?,
            _ => from,
        };
        let end = self.0.range(begin..).next().map_or(to, |(next, _)| to.min(next - 1));
        (begin <= to).then_some((begin, end))
    }

    /// Numbers above `after`, ascending.
    pub(crate) fn above(&self, after: u64) -> impl Iterator<Item = u64> {
        self.0.iter().filter(move |(_, to)| **to > after).flat_map(move |(from, to)| (*from).max(after + 1)..=*to)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_a_set_of_numbers(numbers in proptest::collection::vec(0..60_u64, 0..60), first in 0..60_u64, from in 0..70_u64, to in 0..70_u64) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for number in numbers {
                runs.insert(number);
                set.insert(number);
            }
            runs.remove_all(from.min(to), to);
            set.retain(|number| !(from.min(to)..=to).contains(number));
            runs.insert_all(first, first + 3);
            set.extend(first..=first + 3);
            for cut in [0, first] {
                runs.cut_below(cut);
                set = set.split_off(&cut);
                prop_assert_eq!(runs.iter().flat_map(|(from, to)| from..=to).collect::<BTreeSet<_>>(), set.clone());
                prop_assert_eq!(Runs::decode(&runs.encode()), Some(runs.clone()));
                prop_assert_eq!(runs.last(), set.last().copied());
                prop_assert_eq!(runs.above(from).collect::<Vec<_>>(), set.range(from + 1..).copied().collect::<Vec<_>>());
                let chunk = (1..70).step_by(5).find(|first| (*first..first + 5).all(|number| set.contains(&number)));
                prop_assert_eq!(runs.first_chunk(5), chunk);
                prop_assert!((0..70).all(|number| runs.contains(number) == set.contains(&number)));
                let gap: Vec<u64> = (from..=to).skip_while(|number| set.contains(number)).take_while(|number| !set.contains(number)).collect();
                prop_assert_eq!(runs.first_gap(from, to), gap.first().copied().zip(gap.last().copied()));
            }
        }

        #[test]
        fn rubbish_is_no_runs_or_well_formed_ones(bytes in proptest::collection::vec(0..3_u8, 0..70)) {
            if let Some(runs) = Runs::decode(&bytes) {
                prop_assert_eq!(runs.encode(), bytes);
            }
        }
    }
}
