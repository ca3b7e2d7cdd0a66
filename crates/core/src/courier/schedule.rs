//! When the next copy goes.
//!
//! Invariant: gaps never shrink below the first ones, and no item is repeated more often than [`YOUNG_GAP`] allows once it has had
//! its first half second.

use crate::courier::{LONGEST_GAP, STREAM_AFTER, YOUNG_GAP};
use crate::event::Class;
use crate::time::Span;

/// When the first datagram copy after the first ones goes, counted from the first.
const FIRST_COPY_AT: Span = Span::from_millis(20);
/// The gap after that one; each is half as long again as the one before.
const SECOND_GAP: Span = Span::from_millis(30);
/// How long an alarm is young: longer than the outages that a line mends by itself.
const YOUNG: Span = Span::from_secs(15);
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

    /// Of everything else.
    pub(super) fn patient() -> Self {
        Self { first: PATIENT_GAP, gap: PATIENT_GAP }
    }
}

/// The gap after transmission `attempt` of an item of this class and age, where the last gap was `gap` and so many items are under way.
/// A gap of [`Pace::patient`] stays patient.
pub(super) fn next_gap(class: Class, attempt: u32, gap: Span, age: Span, under_way: usize) -> Span {
    let many = REPEAT_SPACING * u32::try_from(under_way).unwrap_or(u32::MAX);
    let quick = class <= Class::P1 && gap < PATIENT_GAP;
    if !quick {
        return (gap * 3 / 2).min(LONGEST_GAP.max(many));
    }
    match attempt {
        0 | 1 => FIRST_COPY_AT.saturating_sub(STREAM_AFTER),
        2 => SECOND_GAP,
        _ if age < YOUNG => (gap * 3 / 2).min(YOUNG_GAP),
        _ => (gap * 3 / 2).min(LONGEST_GAP.max(many)),
    }
}
