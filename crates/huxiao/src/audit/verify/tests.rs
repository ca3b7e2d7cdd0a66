//! Whatever is done to a file, its first line that does not fit is named.

use huxiao_core::case::{Action, ActionId, Reason, State, Step, digest_of};
use huxiao_core::{Class, Event, Kind, Mode, Name, RelayId, Rng, SchoolId, Text, WallTime};
use huxiao_runtime::case_json::StepJson;

use super::*;

/// An export of some cases, each with some steps.
fn export(cases: &[u64]) -> Vec<String> {
    let mut tally = Tally::default();
    let mut texts = Vec::new();
    for (number, steps) in cases.iter().enumerate() {
        let event = Event {
            id: EventId::generate(WallTime(1_000_000), &mut Rng::new(number as u64)),
            relay: RelayId { school: SchoolId(Name::new("s1").unwrap()), device: Name::new("gate").unwrap() },
            epoch: 1,
            seq: 1,
            kind: Kind::Panic,
            class: Class::P0,
            mode: Mode::Live,
            device: None,
            zone: None,
            note: Text::default(),
            raised_at: WallTime(1),
            count: 1,
            details: huxiao_core::Details::default(),
        };
        let bytes = huxiao_wire::seal(&event).bytes;
        let mut last = genesis(&bytes);
        let mut lines = Vec::new();
        for number in 1..=*steps {
            let mut step = Step {
                number,
                index: 10 + number,
                id: ActionId([7; 16]),
                action: if number == 1 { Action::Acknowledge } else { Action::Close(Reason::False) },
                state: State::Closed,
                level: 0,
                by: "station/p1/a".parse().unwrap(),
                officer: Some(Name::new("014").unwrap()),
                at: WallTime(5),
                heard: WallTime(6),
                note: Text::new("说明 \"a\"").unwrap(),
                digest: [0; 32],
            };
            step.digest = digest_of(&last, &step);
            last = step.digest;
            lines.push(Line::Step(StepJson::new(&step)));
        }
        let (id, event) = (event.id.to_string(), hex(&bytes));
        lines.insert(0, Line::Case(CaseLine { id, event, steps: *steps, digest: hex(&last) }));
        for line in lines {
            let text = line.text();
            tally.take(&line, &text);
            texts.push(text);
        }
    }
    texts.push(Line::End(tally.end()).text());
    texts
}

fn verdict(lines: &[String]) -> Result<(u64, u64), (u64, String)> {
    match check(lines.concat().as_bytes()) {
        Ok(end) => Ok((end.cases, end.lines)),
        Err(Wrong::Line(line, why)) => Err((line, why)),
        Err(Wrong::Io(error)) => panic!("{error}"),
    }
}

#[test]
fn what_was_exported_is_whole() {
    assert_eq!(verdict(&export(&[3, 1, 2])), Ok((3, 9)));
    assert_eq!(verdict(&export(&[])), Ok((0, 0)), "a region without cases");
}

#[test]
fn a_changed_line_is_named() {
    let lines = export(&[3, 1, 2]);
    for (at, from, to) in [
        (1, "014", "015"),
        (2, "close", "note"),
        (2, "1970-01-01T00:00:00.000005Z", "1970-01-01T00:00:00.000007Z"),
        (2, "\"level\":0", "\"level\":1"),
        (3, "说明", "说法"),
        (4, "\"steps\":1", "\"steps\":2"),
        (6, "\"steps\":2", "\"steps\": 2"),
        (9, "\"cases\":3", "\"cases\":2"),
    ] {
        let mut bad = lines.clone();
        assert!(bad[at].contains(from), "{from} in {}", bad[at]);
        bad[at] = bad[at].replace(from, to);
        let (line, why) = verdict(&bad).unwrap_err();
        // How many steps a case has shows when the next begins.
        let named = if at == 4 { 7 } else { at as u64 + 1 };
        assert_eq!(line, named, "{from} → {to}: {why}");
    }
}

#[test]
fn a_missing_or_exchanged_line_is_named() {
    let lines = export(&[3, 1, 2]);
    for at in 0..lines.len() {
        let mut missing = lines.clone();
        missing.remove(at);
        assert!(verdict(&missing).is_err(), "without line {}", at + 1);
        if at + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            let (line, _) = verdict(&swapped).unwrap_err();
            assert!(line <= at as u64 + 2, "lines {} and {} exchanged, {line} named", at + 1, at + 2);
        }
    }
    // A whole case less, and two cases in another order: the end tells.
    let without: Vec<String> = [&lines[..4], &lines[6..]].concat();
    assert_eq!(verdict(&without).unwrap_err().0, 8);
    let moved: Vec<String> = [&lines[4..6], &lines[..4], &lines[6..]].concat();
    assert_eq!(verdict(&moved).unwrap_err().0, 10);
}

#[test]
fn what_is_no_export_is_refused_in_words() {
    let lines = export(&[2]);
    let (line, why) = verdict(&lines[..2]).unwrap_err();
    assert_eq!(line, 3);
    assert!(why.contains("ends before"), "{why}");
    let behind = [lines, vec!["\n".to_owned()]].concat();
    assert_eq!(verdict(&behind).unwrap_err().0, 5);
    for bad in ["x\n", "{}\n", "{\"step\":{}}\n", &"9".repeat(70_000)] {
        assert_eq!(verdict(&[bad.to_owned()]).unwrap_err().0, 1);
    }
    assert!(check(&b"\xff\n"[..]).is_err());
    // The event's bytes are another event's.
    let other = export(&[1, 1]);
    let bytes = |line: &str| line.split("\"event\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mut bad = other.clone();
    bad[0] = bad[0].replace(&bytes(&other[0]), &bytes(&other[2]));
    let (line, why) = verdict(&bad).unwrap_err();
    assert!(line == 1 && why.contains("event's bytes are those of"), "{why}");
}
