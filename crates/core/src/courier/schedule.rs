//! When the next copy goes.
//!
//! Invariant: gaps never shrink below the first ones, and no item is repeated more often than [`YOUNG_GAP`] allows once it has had
//! its first half second.

use crate::courier::{LONGEST_GAP, STREAM_AFTER, YOUNG_GAP};
use crate::event::Class;
use crate::probe::Losses;
use crate::time::Span;

/// The gaps before the first datagram copies of an alarm, counted from its stream copy, where little is known of the paths: they go
/// at 20 and 50 ms. Later gaps are half as long again as the one before.
const FIRST_GAPS: [Span; 2] = [Span::from_millis(18), Span::from_millis(30)];
/// The same where none of them has lost anything of late: at 20 and 95 ms.
const CLEAN_GAPS: [Span; 2] = [Span::from_millis(18), Span::from_millis(75)];
/// The same where one has: at 6, 12, 20 and 35 ms. Losses come in bursts that end with packets, not with time, so more packets
/// early bring the first good one early.
const LOSSY_GAPS: [Span; 4] = [Span::from_millis(4), Span::from_millis(6), Span::from_millis(8), Span::from_millis(15)];
/// How long an alarm is young: longer than the outages that a line mends by itself.
const YOUNG: Span = Span::from_secs(15);
/// The gap before the first repeat of a statement: its receiver has been told of the alarm long since, and a few round trips more delay a lamp.
const STATEMENT_GAP: Span = Span::from_millis(200);
/// The gap before the first repeat of what is no alarm, or has only sessions that lose nothing.
const PATIENT_GAP: Span = Span::from_secs(1);
/// The share of time that each item under way has in the longest gap, where there are many: 200 repeats a second in all.
const REPEAT_SPACING: Span = Span::from_millis(5);
/// How far a gap is moved at random, so that many senders do not repeat in step.
pub(super) const JITTER_PERCENT: u32 = 20;

/// How an item's schedule begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Until the second transmission.
    pub(super) first: Span,
    /// The gap that the next one grows from.
    pub(super) gap: Span,
}

impl Pace {
    /// Of an alarm on paths that have datagrams.
    pub(super) fn quick() -> Self {
        Self { first: STREAM_AFTER, gap: Span::ZERO }
    }

    /// Of a statement, whose receiver answered in `answer` at best.
    pub(super) fn statement(answer: Span) -> Self {
        let gap = STATEMENT_GAP.max(answer * 3 / 2);
        Self { first: gap, gap }
    }

    /// Of everything else.
    pub(super) fn patient() -> Self {
        Self { first: PATIENT_GAP, gap: PATIENT_GAP }
    }
}

/// What the next gap follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// The item's class.
    pub(super) class: Class,
    /// The transmission after which the gap is.
    pub(super) attempt: u32,
    /// The last gap. One of [`Pace::patient`] stays patient.
    pub(super) gap: Span,
    /// Since the item was first sent.
    pub(super) age: Span,
    /// What the paths lose.
    pub(super) losses: Losses,
    /// How quickly answers came at best of late.
    pub(super) answer: Span,
    /// Whether it is a statement.
    pub(super) statement: bool,
    /// How many items are under way in all.
    pub(super) under_way: usize,
}

/// The gap before the next transmission.
pub(super) fn next_gap(of: Circumstances) -> Span {
    let Circumstances { class, attempt, gap, age, losses, answer, statement, under_way } = of;
    let many = REPEAT_SPACING * u32::try_from(under_way).unwrap_or(u32::MAX);
    let quick = class <= Class::P1 && gap < PATIENT_GAP;
    if !quick {
        return (gap * 3 / 2).min(LONGEST_GAP.max(many));
    }
    let first: &[Span] = match losses {
        Losses::Some => &LOSSY_GAPS,
        Losses::Unknown => &FIRST_GAPS,
        Losses::None => &CLEAN_GAPS,
    };
    let longest_young = YOUNG_GAP.max(answer / 2);
    let early = usize::try_from(attempt.saturating_sub(1)).ok().and_then(|at| first.get(at)).filter(|_| !statement);
    match early {
        Some(early) => *early,
        _ if age < YOUNG => (gap * 3 / 2).min(longest_young),
        _ => (gap * 3 / 2).min(LONGEST_GAP.max(many)),
    }
}
