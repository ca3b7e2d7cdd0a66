//! A story in which all is well, and the same story with one fault planted in it: each must be found, and nothing else.

use std::time::Duration;

use super::super::history::{Acting, At, Press, Show, Taking, Word};
use super::*;

const DESKS: [&str; 3] = ["station/s1/desk-1", "station/s1/desk-2", "station/s2/desk-1"];

fn ms(ms: u64) -> At {
    Duration::from_millis(ms)
}

fn press(id: &str, school: usize, at: u64) -> Press {
    Press { id: id.into(), school, at: ms(at), kept: ms(at + 5) }
}

fn show(id: &str, seat: usize, at: u64) -> Show {
    Show { id: id.into(), seat, at: ms(at), again: false }
}

fn taking(id: &str, seat: usize, at: u64) -> Taking {
    Taking { id: id.into(), seat, at: ms(at), answer: Answer::Noted }
}

fn word(id: &str, by: Observer, owner: usize, at: u64) -> Word {
    Word { id: id.into(), at: ms(at), by, owner: DESKS[owner].into() }
}

fn recorded(index: u64, owner: Option<usize>, acknowledged: &[usize]) -> Recorded {
    let name = |seat: &usize| DESKS[*seat].to_owned();
    Recorded {
        index,
        owner: owner.as_ref().map(name),
        acknowledged: acknowledged.iter().map(name).collect(),
        steps: acknowledged.iter().map(|seat| ("acknowledge".to_owned(), name(seat))).collect(),
        content: format!("content {index}"),
    }
}

/// Alarm `a` is taken by both desks of the first station at once, and the second desk is first; `b` is taken at the other station;
/// `c` by nobody.
fn good() -> History {
    let record: BTreeMap<String, Recorded> =
        [("a", recorded(1, Some(1), &[0, 1])), ("b", recorded(2, Some(2), &[2])), ("c", recorded(3, None, &[]))]
            .map(|(id, entry)| (id.to_owned(), entry))
            .into();
    let owner = |seat: usize| Some(DESKS[seat].to_owned());
    History {
        seats: DESKS.map(str::to_owned).into(),
        answering: vec![vec![0, 1], vec![2]],
        presses: vec![press("a", 0, 0), press("b", 1, 10), press("c", 0, 20)],
        shows: vec![show("a", 0, 30), show("a", 1, 31), show("b", 2, 32), show("c", 0, 33), show("c", 1, 34)],
        takings: vec![taking("a", 0, 100), taking("a", 1, 101), taking("b", 2, 102)],
        words: vec![
            word("a", Observer::Seat(1), 1, 110),
            word("a", Observer::Seat(0), 1, 112),
            word("a", Observer::Relay(0), 1, 115),
            word("b", Observer::Seat(2), 2, 116),
        ],
        actings: Vec::new(),
        stored: ["a", "b"].map(|id| (id.to_owned(), ms(50))).into(),
        spells: Vec::new(),
        end: Verdicts {
            records: vec![record.clone(), record.clone(), record],
            lamps: [("a", "acknowledged"), ("b", "acknowledged"), ("c", "on_screen")]
                .map(|(id, lamp)| (id.to_owned(), lamp.to_owned()))
                .into(),
            owners: vec![
                [("a".to_owned(), owner(1))].into(),
                [("a".to_owned(), owner(1))].into(),
                [("b".to_owned(), owner(2))].into(),
            ],
        },
    }
}

/// What is found after `plant`.
fn found(plant: impl FnOnce(&mut History)) -> Vec<Finding> {
    let mut history = good();
    plant(&mut history);
    judge(&history)
}

#[test]
fn a_good_story_breaks_nothing() {
    assert_eq!(judge(&good()), []);
}

#[test]
fn what_was_stored_and_is_gone_is_found_and_worse_than_what_was_not() {
    let gone = |id: &str| found(|history| drop(history.end.records[2].remove(id)));
    assert_eq!(gone("b"), [Finding::NotInRecord { id: "b".into(), node: 2, stored: true }]);
    assert_eq!(gone("c"), [Finding::NotInRecord { id: "c".into(), node: 2, stored: false }]);
}

#[test]
fn a_screen_that_stays_dark_shows_twice_or_invents_is_found() {
    let dark = found(|history| history.shows.retain(|show| (show.id.as_str(), show.seat) != ("c", 1)));
    assert_eq!(dark, [Finding::NeverShown { id: "c".into(), seat: DESKS[1].into() }]);
    let twice = found(|history| history.shows.push(Show { again: true, ..show("b", 2, 900) }));
    assert_eq!(twice, [Finding::ShownTwice { id: "b".into(), seat: DESKS[2].into() }]);
    let invented = found(|history| history.shows.push(show("x", 0, 900)));
    assert_eq!(invented, [Finding::NeverPressed("x".into())]);
}

#[test]
fn two_presses_of_one_id_are_found() {
    assert_eq!(found(|history| history.presses.push(press("a", 0, 500))), [Finding::SameId("a".into())]);
}

#[test]
fn records_that_differ_in_anything_are_found() {
    let differ = |plant: fn(&mut Recorded)| {
        let found = found(|history| plant(history.end.records[1].get_mut("b").unwrap()));
        assert!(
            matches!(&found[..], [Finding::RecordsDiffer { id, said }] if id == "b" && said.len() == 3),
            "{found:?}"
        );
    };
    differ(|entry| entry.index = 7);
    differ(|entry| entry.content.push_str(" and more"));
    differ(|entry| entry.owner = Some(DESKS[0].into()));
    differ(|entry| assert!(entry.acknowledged.insert(DESKS[0].into())));
}

#[test]
fn two_owners_of_one_alarm_are_found_whoever_says_so() {
    for observer in [Observer::Relay(0), Observer::Seat(0), Observer::Broker(2)] {
        let found = found(|history| history.words.push(word("a", observer, 0, 700)));
        assert!(found.iter().any(|finding| matches!(finding, Finding::TwoOwners { id, .. } if id == "a")), "{found:?}");
        let undone = |finding: &Finding| matches!(finding, Finding::OwnerUndone { told, .. } if told == DESKS[0]);
        assert!(found.iter().any(undone), "{found:?}");
        assert!(found.iter().any(|finding| matches!(finding, Finding::NoOrder(_))), "{found:?}");
    }
}

#[test]
fn an_owner_that_the_record_forgot_is_found() {
    let found = found(|history| {
        for record in &mut history.end.records {
            *record.get_mut("b").unwrap() = recorded(2, None, &[2]);
        }
        history.end.lamps.insert("b".into(), "on_screen".into());
        history.end.owners[2].insert("b".into(), None);
    });
    let undone = Finding::OwnerUndone { id: "b".into(), told: DESKS[2].into(), recorded: None };
    assert_eq!(found, [undone]);
}

#[test]
fn an_acknowledgement_without_a_trace_is_found() {
    let found = found(|history| {
        for record in &mut history.end.records {
            record.get_mut("a").unwrap().acknowledged.remove(DESKS[0]);
        }
    });
    assert_eq!(found, [Finding::TakingLost { id: "a".into(), seat: DESKS[0].into() }]);
}

#[test]
fn a_step_of_a_case_that_was_said_to_be_done_and_is_not_where_it_should_be_is_found() {
    let acting = |step| Acting { id: "b".into(), seat: 2, action: "dispatch", step };
    let done = |history: &mut History| {
        for record in &mut history.end.records {
            record.get_mut("b").unwrap().steps.push(("dispatch".into(), DESKS[2].into()));
        }
    };
    let well = found(|history| {
        done(history);
        history.actings = vec![acting(Some(2)), acting(None)];
    });
    assert_eq!(well, []);
    let lost = Finding::StepLost { id: "b".into(), seat: DESKS[2].into(), action: "dispatch", step: 2 };
    assert_eq!(found(|history| history.actings = vec![acting(Some(2))]), [lost]);
    let moved = found(|history| {
        done(history);
        history.actings = vec![acting(Some(1))];
    });
    assert!(matches!(&moved[..], [Finding::StepLost { step: 1, .. }]), "{moved:?}");
}

#[test]
fn an_officer_who_was_not_told_is_found() {
    let found = found(|history| drop(history.end.owners[0].insert("a".into(), Some(DESKS[0].into()))));
    let (names, recorded) = (Some(DESKS[0].to_owned()), Some(DESKS[1].to_owned()));
    assert_eq!(found, [Finding::SeatWrong { id: "a".into(), seat: DESKS[0].into(), names, recorded }]);
}

#[test]
fn an_owner_who_came_after_it_was_settled_is_found_though_everybody_agrees() {
    // Desk 1 was told that nobody was before it, and only then desk 2 pressed the key; the record has it the other way round.
    let found = found(|history| {
        history.takings = vec![taking("a", 1, 300), taking("a", 0, 100), taking("b", 2, 102)];
        history.words = vec![word("a", Observer::Seat(0), 1, 150), word("b", Observer::Seat(2), 2, 116)];
    });
    assert!(matches!(&found[..], [Finding::NoOrder(story)] if story.contains(DESKS[1])), "{found:?}");
}

#[test]
fn an_acknowledgement_that_was_never_answered_may_or_may_not_have_happened() {
    let open = |owner: usize| {
        found(|history| {
            history.takings = vec![taking("b", 2, 102)];
            history.takings.extend([Taking { answer: Answer::Unknown("no answer".into()), ..taking("a", 0, 100) }]);
            history.takings.extend([taking("a", 1, 101)]);
            history.words = vec![word("a", Observer::Seat(1), owner, 150)];
            for record in &mut history.end.records {
                record.insert("a".into(), recorded(1, Some(owner), &[owner, 1]));
            }
            history.end.owners[1].insert("a".into(), Some(DESKS[owner].into()));
        })
    };
    assert_eq!(open(0), [], "it happened");
    assert_eq!(open(1), [], "it did not");
}

#[test]
fn lamps_that_lie_either_way_are_found() {
    let lies = |id: &str, shows: &str, should: &'static str| {
        let found = found(|history| drop(history.end.lamps.insert(id.into(), shows.into())));
        assert_eq!(found, [Finding::LampWrong { id: id.into(), shows: shows.into(), should }]);
    };
    lies("b", "on_screen", "acknowledged");
    lies("c", "acknowledged", "on_screen");
    lies("c", "dial_110", "on_screen");
}

#[test]
fn every_finding_says_what_it_is_about() {
    let all = found(|history| {
        history.end.records[0].remove("b");
        history.shows.clear();
        history.words.push(word("a", Observer::Relay(0), 0, 700));
    });
    assert!(all.len() > 3);
    for finding in all {
        let words = finding.to_string();
        assert!(["a", "b", "c"].iter().any(|id| words.contains(id)), "{words}");
    }
}
