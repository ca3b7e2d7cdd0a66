//! A node that is without a quorum, and one that has it again.

use super::*;
use crate::escalate::Escalate;

/// The node is without a quorum, and says so when it is asked for anything.
fn degraded() -> Degraded {
    Degraded { since: WallTime(7), why: Text::new("only 1 of 3 nodes answers").unwrap() }
}

impl Bench {
    /// What was proposed comes to nothing, and what is to be journalled is. What was sent meanwhile is there to be looked at.
    fn journal(&mut self) {
        let mut sent = Vec::new();
        for command in std::mem::take(&mut self.proposals) {
            self.step(Input::NotCommitted { command, why: NotCommitted::NoQuorum });
            sent.append(&mut self.sent);
        }
        for (id, _) in self.journal.clone() {
            self.step(Input::Journalled(id));
            sent.append(&mut self.sent);
        }
        self.sent = sent;
    }

    fn receipts_to(&self, path: PathId) -> Vec<Receipt> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        to.flat_map(|(.., m)| if let Message::Receipts(all) = m { all.clone() } else { vec![] }).collect()
    }

    fn standings_to(&self, path: PathId, stage: Stage) -> Vec<Standing> {
        self.receipts_to(path).iter().filter(|receipt| receipt.stage == stage).map(|receipt| receipt.standing).collect()
    }
}

#[test]
fn without_a_quorum_an_alarm_reaches_its_officer_and_both_hear_that_it_is_not_in_the_record() {
    let mut bench = Bench::started();
    bench.greet_relay(WIRE_MINOR);
    let (one, two) = (seat("p1", "a"), seat("p2", "a"));
    bench.greet(PathId(2), &one, None);
    bench.greet(PathId(3), &two, None);
    bench.step(Input::Quorum(Some(degraded())));
    for path in [RELAY, PathId(2), PathId(3)] {
        assert!(bench.was_sent(path, &Message::Condition(Some(degraded()))));
    }
    let event = bench.raise(1, Kind::Panic);
    assert_eq!(bench.events_to(PathId(2)), [event], "the express lane waits for no quorum");
    bench.journal();
    assert_eq!(bench.standings_to(RELAY, Stage::Received), [Standing::Provisional]);
    assert!(bench.stages_to(RELAY).iter().all(|stage| *stage < Stage::Stored), "nothing is stored");
    bench.say(PathId(2), &one, event, Stage::Acknowledged);
    assert!(bench.stages_to(RELAY).is_empty(), "it is on no disk yet");
    bench.journal();
    for path in [RELAY, PathId(2), PathId(3)] {
        assert_eq!(bench.standings_to(path, Stage::Acknowledged), [Standing::Provisional], "{path:?}");
    }
    assert!(!bench.was_sent(PathId(2), &Message::Confirmed(vec![(event, Stage::Acknowledged)])));
    // The quorum is back: the journal enters the record, and is empty.
    bench.step(Input::Quorum(None));
    assert!(bench.was_sent(RELAY, &Message::Condition(None)));
    assert_eq!(bench.proposals.len(), 2);
    bench.commit();
    assert_eq!(bench.standings_to(RELAY, Stage::Acknowledged), [Standing::Settled]);
    assert!(bench.stages_to(RELAY).contains(&Stage::Stored));
    assert!(bench.was_sent(PathId(2), &Message::Confirmed(vec![(event, Stage::Acknowledged)])));
    assert!(bench.journal.is_empty() && bench.broker.waiting() == 0);
}

#[test]
fn what_a_node_without_quorum_journalled_is_there_after_it_started_anew() {
    let mut bench = Bench::started();
    bench.step(Input::Quorum(Some(degraded())));
    let event = bench.raise(1, Kind::Panic);
    bench.journal();
    let (journal, record) = (bench.journal.clone(), bench.broker.record().clone());
    let config =
        BrokerConfig { region: name("r1"), node: name("n1"), province: None, seed: 2, software: "test".to_owned() };
    let index = bench.index;
    let mut bench = Bench { broker: Broker::new(config, plan(), record, journal.clone()), index, ..Bench::started() };
    bench.journal = journal;
    bench.drain();
    assert!(matches!(bench.proposals[..], [Command::Admit(_)]));
    bench.up(RELAY, NodeName::Relay(relay_id()));
    bench.greet_relay(WIRE_MINOR);
    bench.hear(RELAY, Message::Inquire(vec![event]));
    assert_eq!(bench.standings_to(RELAY, Stage::Received), [Standing::Provisional]);
    bench.greet(PathId(2), &seat("p1", "a"), None);
    assert_eq!(bench.events_to(PathId(2)), [event]);
    bench.commit();
    assert!(bench.stages_to(RELAY).contains(&Stage::Stored) && bench.journal.is_empty());
}

#[test]
fn a_journal_that_does_not_take_it_says_nothing_and_is_asked_again() {
    let mut bench = Bench::started();
    bench.step(Input::Quorum(Some(degraded())));
    bench.raise(1, Kind::Panic);
    let (row, _) = bench.journal.remove(0);
    bench.step(Input::JournalFailed(row, "no space".to_owned()));
    assert!(bench.sent.is_empty());
    assert!(matches!(bench.reports.last(), Some(Report::NotStored(..))));
    bench.wait(2_500);
    assert_eq!(bench.journal.len(), 1);
    assert_ne!(bench.journal[0].0, row, "a row's number is not used twice");
}

#[test]
fn a_condition_that_was_overtaken_is_told_again_with_the_next_probe() {
    let mut bench = Bench::started();
    bench.greet_relay(WIRE_MINOR);
    bench.step(Input::Quorum(Some(degraded())));
    bench.step(Input::Quorum(None));
    bench.hear(RELAY, Message::Probe(1));
    assert!(bench.was_sent(RELAY, &Message::Condition(None)));
    bench.hear(RELAY, Message::Probe(2));
    assert!(!bench.was_sent(RELAY, &Message::Condition(None)), "once is enough");
    bench.step(Input::Quorum(Some(degraded())));
    bench.greet(PathId(9), &seat("p1", "a"), None);
    assert!(bench.was_sent(PathId(9), &Message::Condition(Some(degraded()))));
}

#[test]
fn who_takes_what_the_record_has_given_away_hears_whose_it_is_and_the_school_nothing() {
    let mut bench = Bench::started();
    let (one, two) = (seat("p1", "a"), seat("p2", "a"));
    bench.greet_relay(WIRE_MINOR);
    bench.greet(PathId(2), &one, None);
    bench.greet(PathId(3), &two, None);
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.say(PathId(2), &one, event, Stage::Acknowledged);
    bench.commit();
    bench.step(Input::Quorum(Some(degraded())));
    bench.say(PathId(3), &two, event, Stage::Acknowledged);
    bench.journal();
    let owners = |bench: &Bench, path| -> Vec<_> {
        bench.receipts_to(path).into_iter().map(|receipt| (receipt.by, receipt.standing)).collect()
    };
    let (one, two) = (NodeName::Station(one), NodeName::Station(two));
    let told = [(one, Standing::Settled), (two.clone(), Standing::Provisional)];
    assert_eq!(owners(&bench, PathId(3)), told);
    assert!(owners(&bench, RELAY).iter().all(|(by, _)| *by != two), "{:?}", owners(&bench, RELAY));
}

#[test]
fn a_provisional_answer_is_carried_to_the_school_no_longer_when_the_record_names_another() {
    let mut bench = Bench::started();
    let (one, two) = (seat("p1", "a"), seat("p2", "a"));
    bench.greet_relay(WIRE_MINOR);
    bench.greet(PathId(2), &one, None);
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.step(Input::Quorum(Some(degraded())));
    bench.say(PathId(2), &one, event, Stage::Acknowledged);
    bench.journal();
    bench.wait(1_000);
    assert!(bench.standings_to(RELAY, Stage::Acknowledged).contains(&Standing::Provisional), "until the relay has it");
    // On the other side of the cut somebody else was first, by the log.
    bench.proposals = vec![
        Command::Note(receipt(event, Stage::Acknowledged, &two)),
        Command::Note(receipt(event, Stage::Acknowledged, &one)),
    ];
    bench.commit();
    let mut told = bench.standings_to(RELAY, Stage::Acknowledged);
    told.dedup();
    assert_eq!(told, [Standing::Settled, Standing::Assisting]);
    bench.wait(5_000);
    let mut told = bench.receipts_to(RELAY);
    told.retain(|receipt| receipt.stage == Stage::Acknowledged);
    assert!(!told.is_empty() && told.iter().all(|receipt| receipt.is_final()), "{told:?}");
}

/// What is said to an old peer: the acknowledgements, whatever stands in them.
fn acknowledgements(bench: &Bench, path: PathId) -> Vec<(NodeName, Standing)> {
    let copies = bench.sent.iter().filter(|(to, ..)| *to == path);
    let in_copies =
        copies.filter_map(|(.., m)| if let Message::Event(copy) = m { Some(copy.receipts.clone()) } else { None });
    let all = bench.receipts_to(path).into_iter().chain(in_copies.flatten());
    all.filter(|receipt| receipt.stage == Stage::Acknowledged).map(|receipt| (receipt.by, receipt.standing)).collect()
}

/// A reader of minor 2 knows no standing: to it an acknowledgement is the owner's, and final.
#[test]
fn peers_of_an_older_minor_hear_of_no_officer_whom_the_record_has_not_named() {
    let mut bench = Bench::started();
    let (one, two) = (seat("p1", "a"), seat("p2", "a"));
    bench.greet_relay(2);
    for (path, seat) in [(PathId(2), &one), (PathId(3), &two)] {
        bench.up(path, NodeName::Station(seat.clone()));
        bench.hear(path, Message::Hello(Hello { software: String::new(), wire_minor: 2, resume: None }));
    }
    bench.step(Input::Quorum(Some(degraded())));
    assert!(bench.sent.is_empty(), "they know of no quorum: {:?}", bench.sent);
    let event = bench.raise(1, Kind::Panic);
    assert_eq!(bench.events_to(PathId(2)), [event], "the alarm is at the seat all the same");
    bench.journal();
    assert_eq!(bench.stages_to(RELAY), [Stage::Received], "a node has it, and no record");
    bench.say(PathId(2), &one, event, Stage::Displayed);
    assert_eq!(bench.stages_to(RELAY), [Stage::Displayed], "a screen is a fact");
    for (path, seat) in [(PathId(2), &one), (PathId(3), &two)] {
        bench.say(path, seat, event, Stage::Acknowledged);
        bench.journal();
        for path in [RELAY, PathId(2), PathId(3)] {
            assert_eq!(acknowledgements(&bench, path), [], "{path:?}");
        }
    }
    for path in [RELAY, PathId(3)] {
        bench.hear(path, Message::Inquire(vec![event]));
        assert_eq!(acknowledgements(&bench, path), [], "nor if they ask");
    }
    bench.wait(3_000);
    assert_eq!(acknowledgements(&bench, RELAY), [], "nor again and again");
    // A seat that comes now is given the alarm, and no more.
    bench.up(PathId(4), NodeName::Station(seat("p2", "b")));
    bench.hear(PathId(4), Message::Hello(Hello { software: String::new(), wire_minor: 2, resume: None }));
    assert_eq!((bench.events_to(PathId(4)), acknowledgements(&bench, PathId(4))), (vec![event], vec![]));
    // With the quorum comes the owner, to everybody; and the second officer's seat need not say it again.
    bench.step(Input::Quorum(None));
    bench.commit();
    let owner = (NodeName::Station(one), Standing::Settled);
    for path in [RELAY, PathId(3), PathId(4)] {
        assert!(!acknowledgements(&bench, path).is_empty(), "{path:?}");
        assert!(acknowledgements(&bench, path).iter().all(|told| *told == owner), "{path:?}");
    }
    assert!(bench.was_sent(PathId(2), &Message::Confirmed(vec![(event, Stage::Acknowledged)])));
    assert!(bench.was_sent(PathId(3), &Message::Confirmed(vec![(event, Stage::Acknowledged)])));
    for message in bench.sent.iter().map(|(.., message)| message) {
        assert!(!matches!(message, Message::Condition(_)), "{message:?}");
    }
}

#[test]
fn a_peer_is_told_what_it_understands_by_its_newest_greeting() {
    let mut bench = Bench::started();
    bench.step(Input::Quorum(Some(degraded())));
    for (minor, hears) in [(0, false), (2, false), (WIRE_MINOR, true), (2, false), (WIRE_MINOR + 1, true)] {
        bench.greet_relay(minor);
        assert_eq!(bench.was_sent(RELAY, &Message::Condition(Some(degraded()))), hears, "minor {minor}");
    }
}

#[test]
fn what_an_election_kept_out_is_proposed_again_as_soon_as_it_may_be_over() {
    let mut bench = Bench::started();
    bench.raise(1, Kind::Panic);
    for (why, waits) in [(NotCommitted::NoQuorum, 150), (NotCommitted::Unknown, 550)] {
        let admit = bench.proposals.remove(0);
        assert!(bench.proposals.is_empty());
        bench.step(Input::NotCommitted { command: admit, why });
        bench.wait(waits);
        assert!(matches!(bench.proposals[..], [Command::Admit(_)]), "{:?}", bench.proposals);
    }
}

#[test]
fn an_escalation_without_a_quorum_outlives_its_node_and_is_one_in_the_record() {
    let mut bench = Bench::started();
    let (one, helper) = (seat("p1", "a"), seat("p9", "a"));
    bench.greet(PathId(2), &one, None);
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.step(Input::Quorum(Some(degraded())));
    let order = Escalate {
        event,
        stations: vec![helper.station.clone()],
        by: NodeName::Station(one),
        officer: Some(name("li")),
        at: WallTime(4),
        note: Text::default(),
    };
    for _ in 0..5 {
        bench.hear(PathId(2), Message::Escalate(order.clone()));
        bench.journal();
        assert!(bench.sent.is_empty(), "the officer is answered when the record has it: {:?}", bench.sent);
    }
    let command = Command::from(order);
    assert!(matches!(&bench.journal[..], [(_, journalled)] if *journalled == command), "{:?}", bench.journal);
    let (journal, record, index) = (bench.journal.clone(), bench.broker.record().clone(), bench.index);
    let config =
        BrokerConfig { region: name("r1"), node: name("n1"), province: None, seed: 2, software: "test".to_owned() };
    let mut bench = Bench { broker: Broker::new(config, plan(), record, journal.clone()), index, ..Bench::started() };
    bench.journal = journal;
    bench.drain();
    bench.greet(PathId(3), &helper, None);
    assert!(bench.events_to(PathId(3)).is_empty());
    assert_eq!(bench.proposals, [command]);
    // It is proposed until it is there, however often it comes to nothing.
    let lost = std::mem::take(&mut bench.proposals);
    lost.into_iter().for_each(|command| bench.step(Input::NotCommitted { command, why: NotCommitted::Unknown }));
    bench.wait(5_000);
    assert!(!bench.proposals.is_empty());
    bench.commit();
    let entry = bench.broker.record().get(&event).unwrap();
    assert_eq!((entry.escalations.len(), bench.broker.waiting(), bench.journal.len()), (1, 0, 0));
    assert!(bench.events_to(PathId(3)).contains(&event));
}

#[test]
fn what_a_long_outage_left_enters_the_record_a_window_at_a_time_and_news_at_once() {
    let mut bench = Bench::started();
    bench.step(Input::Quorum(Some(degraded())));
    let total = limits::BROKER_PROPOSALS + 300;
    for number in 0..total {
        let mut event = event(Kind::Panic);
        event.id = EventId::from_bytes((number as u128 + 1_000).to_be_bytes());
        let copy = EventCopy { sealed: seal(&event), trail: Trail::default(), receipts: vec![] };
        bench.broker.handle(bench.clock(), Input::Message(RELAY, Message::Event(copy)));
    }
    bench.drain();
    bench.proposals.clear();
    bench.step(Input::Quorum(None));
    assert_eq!(bench.proposals.len(), limits::BROKER_PROPOSALS);
    let fresh = bench.raise(1, Kind::Fire);
    assert_eq!(
        bench.proposals.last().and_then(Command::event),
        Some(fresh),
        "an alarm does not stand behind what is old"
    );
    // A record that is slow is not buried under repeats.
    bench.wait(9_000);
    assert_eq!(bench.proposals.len(), limits::BROKER_PROPOSALS + 1);
    let rest = bench.proposals.split_off(200);
    bench.commit();
    assert_eq!(bench.proposals.len(), 199, "as many as the record has taken, but for the one beyond the window");
    bench.proposals.extend(rest);
    bench.commit();
    bench.commit();
    assert_eq!((bench.broker.waiting(), bench.broker.record().len()), (0, total + 1));
    assert!(bench.proposals.is_empty() && bench.journal.is_empty());
}
