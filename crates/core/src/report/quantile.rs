//! Exact quantiles of what was measured, by the nearest-rank method: each is one of the values.

use crate::time::Span;

/// The smallest value that at least `per_mille` thousandths of all values do not exceed. `ascending` must be; `None` if it is empty.
#[must_use]
pub fn quantile(ascending: &[Span], per_mille: usize) -> Option<Span> {
    let rank = ascending.len().saturating_mul(per_mille).div_ceil(1_000).max(1);
    ascending.get(rank - 1).copied()
}

/// How long something took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quantiles {
    /// How often it was measured.
    pub measured: usize,
    /// How often it happened and nobody can tell after how long.
    pub unclear: usize,
    /// How often it did not happen.
    pub never: usize,
    /// Half of the values do not exceed it.
    pub p50: Option<Span>,
    /// Nine of ten do not exceed it.
    pub p90: Option<Span>,
    /// 99 of a hundred do not exceed it.
    pub p99: Option<Span>,
    /// The largest.
    pub max: Option<Span>,
}

impl Quantiles {
    /// The quantiles of these values, which must be in ascending order.
    #[must_use]
    pub(super) fn of(ascending: &[Span], unclear: usize, never: usize) -> Self {
        let at = |per_mille| quantile(ascending, per_mille);
        let [p50, p90, p99, max] = [500, 900, 990, 1_000].map(at);
        Self { measured: ascending.len(), unclear, never, p50, p90, p99, max }
    }
}
