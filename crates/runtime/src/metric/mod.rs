//! Every metric of Huxiao, in one table: code, documentation and dashboards take the names from here.
//!
//! Invariants: no metric has a label whose values grow with the number of schools. A name has its unit as a suffix, a counter
//! ends in `_total` (<https://prometheus.io/docs/practices/naming/>).

mod process;
mod recorder;
mod table;

pub use recorder::{Exposition, install, upkeep};
pub use table::{Counter, Gauge, Histogram, Metric, Type, all, table_markdown};

use metrics::Label;

fn labels(metric: &'static Metric, values: &[&str]) -> Vec<Label> {
    debug_assert_eq!(
        metric.labels.len(),
        values.len(),
        "{} needs a value for each of {:?}",
        metric.name,
        metric.labels
    );
    let value = |index: usize| values.get(index).copied().unwrap_or("unknown").to_owned();
    metric.labels.iter().enumerate().map(|(index, name)| Label::new(*name, value(index))).collect()
}

/// Adds one. `values` are those of the metric's labels, in the order of the table.
pub fn increment(counter: Counter, values: &[&str]) {
    add(counter, values, 1);
}

/// Adds `amount`.
#[expect(clippy::disallowed_macros, reason = "this is the place that the lint sends everybody to")]
pub fn add(counter: Counter, values: &[&str], amount: u64) {
    let metric = counter.metric();
    metrics::counter!(metric.name, labels(metric, values)).increment(amount);
}

/// Brings a counter that something else counts to `total`; never lowers it.
#[expect(clippy::disallowed_macros, reason = "this is the place that the lint sends everybody to")]
pub fn count_to(counter: Counter, values: &[&str], total: u64) {
    let metric = counter.metric();
    metrics::counter!(metric.name, labels(metric, values)).absolute(total);
}

/// Sets a gauge.
#[expect(clippy::disallowed_macros, reason = "this is the place that the lint sends everybody to")]
pub fn set(gauge: Gauge, values: &[&str], value: f64) {
    let metric = gauge.metric();
    metrics::gauge!(metric.name, labels(metric, values)).set(value);
}

/// Takes one measurement, in the unit of the metric's name.
#[expect(clippy::disallowed_macros, reason = "this is the place that the lint sends everybody to")]
pub fn observe(histogram: Histogram, values: &[&str], value: f64) {
    let metric = histogram.metric();
    metrics::histogram!(metric.name, labels(metric, values)).record(value);
}

#[cfg(test)]
mod tests;
