//! The recorder behind the metrics and its text for Prometheus.
//!
//! Invariant: there is one recorder in a process, whoever asks for it and however often.

use std::sync::OnceLock;
use std::time::Instant;

use huxiao_core::Span;
use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::table::{Type, all};
use super::{Counter, Metric, count_to, process};
use crate::shutdown::Shutdown;

/// Upper bounds in seconds. Close around the targets: syncs of 0.5 ms, hops of some ms, 500 ms to the
/// screen, 2 s as the limit, 10 s to "dial 110", 30 s for an officer.
const BUCKETS: [f64; 18] =
    [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
/// How often buffered measurements are folded in and the process's own figures are read.
const UPKEEP: Span = Span::from_secs(5);

static RECORDER: OnceLock<Exposition> = OnceLock::new();

/// The way to the text of all metrics. Cheap to clone.
#[derive(Clone)]
pub struct Exposition {
    handle: PrometheusHandle,
    since: Instant,
}

impl std::fmt::Debug for Exposition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}

impl Exposition {
    /// The `Content-Type` of [`Exposition::render`].
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// All metrics in Prometheus' text format 0.0.4, the process's own figures being fresh.
    #[must_use]
    pub fn render(&self) -> String {
        process::measure(self.since);
        self.handle.render()
    }
}

/// Sets the recorder of this process up. The first call does it, later ones give the same.
pub fn install() -> Exposition {
    RECORDER.get_or_init(build).clone()
}

fn build() -> Exposition {
    let builder = all().filter(|metric| metric.kind == Type::Histogram).fold(PrometheusBuilder::new(), with_buckets);
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder is set in this process; /metrics will be empty");
    }
    describe_all();
    Exposition { handle, since: Instant::now() }
}

#[expect(clippy::expect_used, reason = "the builder refuses nothing but an empty list, and this one is a constant")]
fn with_buckets(builder: PrometheusBuilder, metric: &Metric) -> PrometheusBuilder {
    builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), &BUCKETS).expect("the buckets are not empty")
}

/// Tells the recorder what every metric means, and lets counters without labels begin at zero: a counter that appears only with its first
/// event hides that event from `rate()`.
fn describe_all() {
    for metric in all() {
        describe(metric);
    }
    for counter in [Counter::StoreLost, Counter::MachineViolations] {
        count_to(counter, &[], 0);
    }
}

fn describe(metric: &'static Metric) {
    let unit = match metric.unit() {
        "seconds" => Unit::Seconds,
        "bytes" => Unit::Bytes,
        _ => Unit::Count,
    };
    match metric.kind {
        Type::Counter => metrics::describe_counter!(metric.name, unit, metric.help),
        Type::Gauge => metrics::describe_gauge!(metric.name, unit, metric.help),
        Type::Histogram => metrics::describe_histogram!(metric.name, unit, metric.help),
    }
}

/// Folds buffered measurements in every five seconds until a shutdown is over; without it a node that nobody scrapes would keep every
/// single measurement. Every node spawns it once.
pub async fn upkeep(exposition: Exposition, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(UPKEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.over() => return,
            _ = tick.tick() => exposition.handle.run_upkeep(),
        }
    }
}
