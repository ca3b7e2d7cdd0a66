//! How quickly receipts come, and so what the way there and back takes when nothing stands in a queue.
//!
//! Invariant: the best is the quickest receipt of the last one to two [`PERIOD`]s, so that a queue that stays cannot become what is
//! taken for normal, and a line that was laid anew is known after some minutes.

use crate::time::{Span, Timestamp};

/// For how long a receipt counts at least.
const PERIOD: Span = Span::from_secs(300);
/// So many receipts must have come before one can be called slow.
const KNOWN: u32 = 3;
/// So many slow ones in a row are no chance: losses do not come to one alarm after another, a queue does.
const IN_A_ROW: u32 = 3;
/// A receipt that takes this much longer than five quarters of the best stood in a queue, or many copies were lost.
const SLOW_BEYOND: Span = Span::from_millis(150);

/// What a receipt says of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing stands in a queue.
    Quick,
    /// It was late; its copies may have been lost.
    Late,
    /// Something does.
    Slow,
}

/// The receipts of late.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    this: Option<Span>,
    last: Option<Span>,
    since: Timestamp,
    known: u32,
    slow: u32,
}

impl Answers {
    /// The quickest receipt of late; zero before the first.
    pub(super) fn best(&self) -> Span {
        self.this.into_iter().chain(self.last).min().unwrap_or_default()
    }

    /// A receipt came after `waited`; `best` is what the way there and back takes, as far as anybody knows.
    pub(super) fn take(&mut self, now: Timestamp, waited: Span, best: Span) -> Answer {
        let slow = self.known >= KNOWN && waited > best * 5 / 4 + SLOW_BEYOND;
        self.slow = if slow { self.slow.saturating_add(1) } else { 0 };
        self.known = self.known.saturating_add(1);
        if now.since(self.since) >= PERIOD {
            self.since = now;
            self.last = self.this.take();
        }
        self.this = Some(self.this.map_or(waited, |this| this.min(waited)));
        match self.slow {
            0 => Answer::Quick,
            some if some < IN_A_ROW => Answer::Late,
            _ => Answer::Slow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_stays_is_not_taken_for_normal_and_a_new_line_is_known_in_the_end() {
        let mut answers = Answers::default();
        let millis = Span::from_millis;
        let at = |secs: u64| Timestamp(secs * 1_000_000);
        let take = |answers: &mut Answers, n, waited| {
            let best = answers.best();
            answers.take(at(n), waited, best)
        };
        (0..10).for_each(|n| assert_eq!(take(&mut answers, n, millis(100)), Answer::Quick));
        assert_eq!((answers.best(), take(&mut answers, 10, millis(200))), (millis(100), Answer::Quick));
        (11..13).for_each(|n| assert_eq!(take(&mut answers, n, millis(4_000)), Answer::Late));
        (13..290).for_each(|n| assert_eq!(take(&mut answers, n, millis(4_000)), Answer::Slow));
        assert_eq!(answers.best(), millis(100));
        let new_line = (290..2_000).map(|n| take(&mut answers, n, millis(600)));
        assert_eq!(new_line.last(), Some(Answer::Quick));
        assert_eq!(answers.best(), millis(600));
    }
}
