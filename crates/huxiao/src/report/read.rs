//! One alarm of a broker node's JSON, or one word about a silent school, as far as an account needs it.
//!
//! Invariant: a time that was read on no common clock is [`Reach::Unclear`], never a figure.

use std::collections::BTreeSet;

use huxiao_core::report::{Alarm, Measure, Reach, SilenceWord};
use huxiao_core::trouble::About;
use huxiao_core::{Class, Kind, Mode, NodeName, RelayId, SchoolId, Span, Stage, StationId};
use huxiao_runtime::time_format::parse_rfc3339;
use serde_json::Value;

/// What of a case's close reasons means that nobody was in need.
const FALSE_REASONS: [&str; 2] = ["false", "accidental"];

/// A point of the way of an alarm.
struct Lap {
    stage: String,
    by: String,
    at: Span,
    exact: bool,
}

/// The alarm that `event` tells of.
///
/// # Errors
/// What of it cannot be read.
pub(super) fn alarm(event: &Value) -> Result<Alarm, String> {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let wrong = |name: &str, why: String| format!("event {:?} of the node's answer: {name}: {why}", text("id"));
    let class = Class::ALL.into_iter().find(|class| class.as_str() == text("class"));
    let flag = |name: &str| event[name].as_bool().unwrap_or_default();
    // What an officer made of a rehearsal is meant.
    let made_live = event["case"]["live"].as_bool().unwrap_or_default();
    let mode = if made_live {
        Mode::Live
    } else if flag("test") {
        Mode::Test
    } else if flag("drill") {
        Mode::Drill
    } else {
        Mode::Live
    };
    let laps = laps(event);
    let stations: Result<Vec<StationId>, _> = event["stations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|name| name.as_str().unwrap_or_default().parse())
        .collect();
    let stations = stations.map_err(|error: huxiao_core::NameError| wrong("stations", error.to_string()))?;
    let owner = event["acknowledged_by"]["by"].as_str();
    Ok(Alarm {
        id: text("id").parse().map_err(|_| wrong("id", "it is no event's".to_owned()))?,
        kind: text("kind").parse().map_err(|error: huxiao_core::NameError| wrong("kind", error.to_string()))?,
        class: class.ok_or_else(|| wrong("class", format!("{:?} is none", text("class"))))?,
        mode,
        school: text("school").parse().map_err(|error: huxiao_core::NameError| wrong("school", error.to_string()))?,
        raised_at: parse_rfc3339(text("raised_at")).map_err(|error| wrong("raised_at", error.to_string()))?,
        reached: reached(&laps, owner),
        stations: stations.into_iter().map(|station| shown_at(&laps, station)).collect(),
        answered_by: owner.and_then(station_of),
        false_press: event["case"]
            .is_object()
            .then(|| event["case"]["close_reason"].as_str().is_some_and(|reason| FALSE_REASONS.contains(&reason))),
    })
}

/// What `event` says of a relay's silence.
///
/// # Errors
/// What of it cannot be read.
pub(super) fn silence(event: &Value) -> Result<SilenceWord, String> {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let wrong = |name: &str, why: String| format!("event {:?} of the node's answer: {name}: {why}", text("id"));
    let name =
        |member: &str| text(member).parse().map_err(|error: huxiao_core::NameError| wrong(member, error.to_string()));
    let over = event["trouble"]["over"].as_str().map(parse_rfc3339).transpose();
    Ok(SilenceWord {
        at: parse_rfc3339(text("raised_at")).map_err(|error| wrong("raised_at", error.to_string()))?,
        relay: RelayId { school: SchoolId(name("school")?), device: name("relay")? },
        back: text("kind") == Kind::Back.as_str(),
        over: over.map_err(|error| wrong("trouble.over", error.to_string()))?,
    })
}

/// The relays that are silent by what a node says of supervision.
///
/// # Errors
/// It is no such answer.
pub(super) fn silent_now(supervision: &Value) -> Result<BTreeSet<RelayId>, String> {
    let troubles = supervision["troubles"].as_array();
    let troubles = troubles.ok_or("the node's answer says nothing of troubles: is it a broker node?")?;
    let relay = |trouble: &Value| {
        // What a newer node tells of beside it is not asked for.
        let mut parts = trouble["about"].as_str()?.split('/');
        let parts = [parts.next()?, parts.next()?, parts.next()?];
        match About::from_parts(parts[0], parts[1], parts[2]) {
            Ok(About::Silent(relay)) => Some(relay),
            _ => None,
        }
    };
    Ok(troubles.iter().filter_map(relay).collect())
}

fn laps(event: &Value) -> Vec<Lap> {
    let lap = |lap: &Value| {
        let at = lap["at_ms"].as_f64().and_then(|millis| Span::try_from_secs_f64(millis / 1e3).ok())?;
        Some(Lap {
            stage: lap["stage"].as_str()?.to_owned(),
            by: lap["by"].as_str()?.to_owned(),
            // To the microsecond, as the node knows it.
            at: Span::from_micros(u64::try_from((at.as_nanos() + 500) / 1_000).unwrap_or(u64::MAX)),
            exact: lap["exact"].as_bool().unwrap_or_default(),
        })
    };
    event["timeline"].as_array().into_iter().flatten().filter_map(lap).collect()
}

fn reached(laps: &[Lap], owner: Option<&str>) -> [Reach; Measure::ALL.len()] {
    let first = |stage: Stage| first(laps.iter().filter(|lap| lap.stage == stage.as_str()));
    let acknowledged = match owner {
        Some(owner) => of_owner(laps, owner),
        None => first(Stage::Acknowledged),
    };
    Measure::ALL.map(|measure| match measure {
        Measure::Stored => stored(laps),
        Measure::Delivered => first(Stage::Delivered),
        Measure::Displayed => first(Stage::Displayed),
        Measure::Acknowledged => acknowledged,
        Measure::Answer => answer(laps, owner, acknowledged),
    })
}

/// The earliest of these points whose time is known; unclear if there are some, and none is known.
fn first<'a>(laps: impl Iterator<Item = &'a Lap>) -> Reach {
    let mut reach = Reach::Never;
    for lap in laps {
        reach = match reach {
            Reach::After(span) if lap.exact => Reach::After(span.min(lap.at)),
            Reach::Never | Reach::Unclear if lap.exact => Reach::After(lap.at),
            Reach::Never => Reach::Unclear,
            known => known,
        };
    }
    reach
}

/// A record knows of its admission only when it was received, and says of that alone that it is exact.
fn stored(laps: &[Lap]) -> Reach {
    let stored = |lap: &&Lap| lap.stage == Stage::Stored.as_str();
    let received =
        |at: &Lap| laps.iter().any(|lap| lap.stage == Stage::Received.as_str() && lap.by == at.by && lap.exact);
    match laps.iter().find(stored) {
        None => Reach::Never,
        Some(lap) if lap.exact || received(lap) => Reach::After(lap.at),
        Some(_) => Reach::Unclear,
    }
}

fn of_owner(laps: &[Lap], owner: &str) -> Reach {
    match first(laps.iter().filter(|lap| lap.stage == Stage::Acknowledged.as_str() && lap.by == owner)) {
        // Nobody's timeline tells of it, and the record has its owner.
        Reach::Never => Reach::Unclear,
        known => known,
    }
}

/// From the owner's own screen, or the first, to the owner's answer.
fn answer(laps: &[Lap], owner: Option<&str>, acknowledged: Reach) -> Reach {
    let Reach::After(acknowledged) = acknowledged else { return acknowledged };
    let shown = |lap: &&Lap| lap.stage == Stage::Displayed.as_str();
    let own = first(laps.iter().filter(shown).filter(|lap| Some(lap.by.as_str()) == owner));
    let screen = if own == Reach::Never { first(laps.iter().filter(shown)) } else { own };
    // An officer may answer before a screen says that it shows it.
    screen.span().map_or(Reach::Unclear, |shown| Reach::After(acknowledged.saturating_sub(shown)))
}

/// When it was on a screen of this station.
fn shown_at(laps: &[Lap], station: StationId) -> (StationId, Reach) {
    let there = |lap: &&Lap| lap.stage == Stage::Displayed.as_str() && station_of(&lap.by).as_ref() == Some(&station);
    let reach = first(laps.iter().filter(there));
    (station, reach)
}

/// The station of a seat's name.
fn station_of(name: &str) -> Option<StationId> {
    match name.parse() {
        Ok(NodeName::Station(seat)) => Some(seat.station),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lap(stage: &str, by: &str, at_ms: f64, exact: bool) -> Value {
        json!({ "stage": stage, "by": by, "at_ms": at_ms, "took_ms": 1.0, "exact": exact })
    }

    fn event(timeline: &[Value]) -> Value {
        json!({
            "id": "0193a5c0-0000-7000-8000-000000000001", "kind": "panic", "class": "P0", "school": "s1",
            "test": false, "drill": false, "raised_at": "2026-03-01T08:30:00.000000Z", "stations": ["p1", "p2"],
            "timeline": timeline, "acknowledged_by": { "by": "station/p1/d2", "officer": "014" },
        })
    }

    fn millis(millis: u64) -> Reach {
        Reach::After(Span::from_millis(millis))
    }

    #[test]
    fn times_are_of_the_first_that_is_known() {
        let alarm = alarm(&event(&[
            lap("received", "broker/r1/b1", 12.0, true),
            lap("stored", "broker/r1/b1", 12.0, false),
            lap("delivered", "station/p1/d1", 20.0, true),
            lap("displayed", "station/p1/d1", 30.0, true),
            lap("displayed", "station/p1/d2", 40.0, true),
            lap("displayed", "station/p2/d1", 0.0, false),
            lap("acknowledged", "station/p1/d1", 2_000.0, true),
            lap("acknowledged", "station/p1/d2", 3_040.001, true),
        ]))
        .unwrap();
        assert_eq!(alarm.reached[..3], [millis(12), millis(20), millis(30)]);
        assert_eq!(alarm.reach(Measure::Acknowledged), Reach::After(Span::from_micros(3_040_001)), "the owner's");
        assert_eq!(alarm.reach(Measure::Answer), Reach::After(Span::from_micros(3_000_001)), "from the owner's screen");
        let at: Vec<Reach> = alarm.stations.iter().map(|(_, reach)| *reach).collect();
        assert_eq!(at, [millis(30), Reach::Unclear]);
        assert_eq!((alarm.answered_by, alarm.mode, alarm.false_press), (Some("p1".parse().unwrap()), Mode::Live, None));
    }

    #[test]
    fn what_no_clock_tells_is_no_figure() {
        let alarm = alarm(&event(&[
            lap("received", "broker/r1/b1", 0.0, false),
            lap("stored", "broker/r1/b1", 0.0, false),
            lap("displayed", "station/p1/d1", 0.0, false),
        ]))
        .unwrap();
        let unclear = Reach::Unclear;
        assert_eq!(alarm.reached, [unclear, Reach::Never, unclear, unclear, unclear]);
        assert!(alarm.is_answered());
    }

    #[test]
    fn what_became_of_a_case_is_read_where_it_is_told() {
        let of = |case: Value| {
            let mut event = event(&[]);
            event["case"] = case;
            alarm(&event).unwrap().false_press
        };
        assert_eq!(of(Value::Null), None);
        assert_eq!(of(json!({ "state": "raised" })), Some(false));
        assert_eq!(of(json!({ "close_reason": "real" })), Some(false));
        assert_eq!(of(json!({ "close_reason": "accidental" })), Some(true));
    }

    #[test]
    fn what_the_region_raised_about_a_silent_school_is_read() {
        let event = json!({
            "id": "x", "kind": "silent", "school": "s1", "relay": "gate", "raised_at": "2026-03-01T08:30:00.000000Z",
            "trouble": { "about": "silent/s1/gate", "over": "2026-03-01T08:40:00.000000Z" },
        });
        let word = silence(&event).unwrap();
        assert_eq!(
            (word.relay.school.to_string(), word.relay.device.to_string(), word.back),
            ("s1".into(), "gate".into(), false)
        );
        assert_eq!(word.over.map(|over| over - word.at), Some(600_000_000));
        let mut back = event.clone();
        (back["kind"], back["trouble"]) = ("back".into(), Value::Null);
        assert!(silence(&back).is_ok_and(|word| word.back && word.over.is_none()));
        for name in ["school", "relay", "raised_at"] {
            let mut event = event.clone();
            event[name] = "no such".into();
            assert!(silence(&event).unwrap_err().contains(name), "{name}");
        }
    }

    #[test]
    fn of_all_troubles_only_silent_relays_are_asked_for() {
        let abouts = ["silent/s1/gate", "outage/361100", "gap/s2/gate", "flood/s3/gate"];
        let troubles: Vec<Value> = abouts.iter().map(|about| json!({ "about": about })).collect();
        let silent = silent_now(&json!({ "troubles": troubles })).unwrap();
        assert_eq!(silent.iter().map(|relay| relay.school.to_string()).collect::<Vec<_>>(), ["s1"]);
        assert!(silent_now(&json!({})).is_err());
    }

    #[test]
    fn what_is_no_alarm_is_said_with_its_id() {
        for (name, value) in
            [("id", json!("x")), ("class", json!("P7")), ("school", json!("s 1")), ("stations", json!([3]))]
        {
            let mut event = event(&[]);
            event[name] = value;
            assert!(alarm(&event).unwrap_err().contains(name), "{name}");
        }
        assert!(alarm(&Value::Null).is_err());
    }
}
