//! An account for programs.

use huxiao_core::report::{Alarm, Counts, Judgement, Measure, Place, Quantiles, SilentSchool};
use huxiao_core::{Class, Kind, Mode, Span, StationId};
use huxiao_runtime::time_format::rfc3339;
use serde_json::{Value, json};

use super::{Account, By};

/// The account as JSON. Times in milliseconds; what is not known is null.
pub(super) fn account(account: &Account) -> Value {
    let report = &account.report;
    let of = |mode| counts(&report.modes.get(&mode).copied().unwrap_or_default());
    let kind = |((class, kind, mode), sum): (&(Class, Kind, Mode), &Counts)| {
        let mut json = counts(sum);
        json["class"] = class.as_str().into();
        json["kind"] = kind.as_str().into();
        json["mode"] = mode.as_str().into();
        json
    };
    let latency = |(measure, of): &(Measure, Quantiles)| {
        let mut json = quantiles(of);
        json["stage"] = measure.as_str().into();
        json
    };
    let mut json = json!({
        "since": rfc3339(account.since),
        "until": rfc3339(account.until),
        "made_at": rfc3339(account.made_at),
        "node": account.node,
        "missing": account.missing,
        "live": of(Mode::Live),
        "drill": of(Mode::Drill),
        "test": of(Mode::Test),
        "kinds": report.kinds.iter().map(kind).collect::<Vec<_>>(),
        "latencies": report.latencies.iter().map(latency).collect::<Vec<_>>(),
        "sla": account.standard.as_str(),
        "met": report.is_met(),
        "limits": report.judgements.iter().map(judgement).collect::<Vec<_>>(),
        "slowest": report.slowest.iter().map(slow).collect::<Vec<_>>(),
    });
    if account.has(By::School) {
        json["schools"] = report.schools.iter().map(place).collect();
    }
    if account.by == Some(By::City) {
        json["cities"] = account.cities.iter().map(place).collect();
    }
    if account.has(By::Silence) {
        json["silent_schools"] = account.silent.iter().map(silence).collect();
    }
    if account.has(By::Station) {
        let station = |station: &Place<StationId>| {
            let mut json = place(station);
            json["taken"] = station.taken.into();
            json
        };
        json["stations"] = report.stations.iter().map(station).collect();
    }
    json
}

fn counts(counts: &Counts) -> Value {
    let mut json = json!({ "raised": counts.raised, "answered": counts.answered, "unanswered": counts.unanswered() });
    if let Some(false_presses) = counts.false_presses {
        json["false_presses"] = false_presses.into();
    }
    json
}

/// To the microsecond, and without the digits that a multiplication would add.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a human span are exact in an f64")]
fn millis(span: Option<Span>) -> Value {
    span.map_or(Value::Null, |span| (span.as_micros() as f64 / 1e3).into())
}

fn quantiles(of: &Quantiles) -> Value {
    json!({
        "measured": of.measured, "unclear": of.unclear, "never": of.never,
        "p50_ms": millis(of.p50), "p90_ms": millis(of.p90), "p99_ms": millis(of.p99), "max_ms": millis(of.max),
    })
}

fn judgement(judgement: &Judgement) -> Value {
    let limit = judgement.limit;
    json!({
        "stage": limit.measure.as_str(), "within_ms": millis(Some(limit.within)), "wanted_per_mille": limit.per_mille,
        "hard": limit.hard, "within": judgement.within, "of": judgement.of, "share": judgement.share(), "met": judgement.met(),
    })
}

fn place<N: ToString>(place: &Place<N>) -> Value {
    let mut json = counts(&place.live);
    json["name"] = place.name.to_string().into();
    json["rehearsed"] = place.rehearsed.into();
    json["displayed"] = quantiles(&place.displayed);
    json
}

fn silence(silent: &SilentSchool) -> Value {
    json!({
        "name": silent.school.to_string(), "times": silent.times, "total_ms": millis(Some(silent.total)),
        "unclear": silent.unclear, "still": silent.still,
    })
}

fn slow(alarm: &Alarm) -> Value {
    let time = |measure| millis(alarm.reach(measure).span());
    json!({
        "id": alarm.id.to_string(), "raised_at": rfc3339(alarm.raised_at), "school": alarm.school.to_string(),
        "kind": alarm.kind.as_str(), "class": alarm.class.as_str(), "mode": alarm.mode.as_str(),
        "displayed_ms": time(Measure::Displayed), "acknowledged_ms": time(Measure::Acknowledged),
    })
}
