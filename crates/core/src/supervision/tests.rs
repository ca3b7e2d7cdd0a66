//! Who is told to be silent and back, and that it is told in turns.

use proptest::prelude::*;

use super::*;
use crate::Machine;
use crate::broker::{Broker, BrokerConfig, Input};
use crate::id::{Name, PathId, SeatId};
use crate::lane::Lane;
use crate::path::PathInfo;
use crate::plan::Plan;
use crate::record::RecordState;
use crate::time::{Span, Timestamp};

fn at(seconds: u64) -> Now {
    Now { mono: Timestamp(seconds * 1_000_000), wall: WallTime(i64::try_from(seconds).unwrap() * 1_000_000) }
}

fn relay(number: usize) -> NodeName {
    format!("relay/s{number}/gate").parse().unwrap()
}

fn relay_id(number: usize) -> RelayId {
    let NodeName::Relay(relay) = relay(number) else { panic!("a relay") };
    relay
}

fn seat(station: &str, seat: &str) -> NodeName {
    NodeName::Station(SeatId { station: station.parse().unwrap(), seat: Name::new(seat).unwrap() })
}

/// All that is told up to and including that second, looking once a second.
fn until(supervisor: &mut Supervisor, from: u64, to: u64) -> Vec<(u64, Finding)> {
    (from..=to).flat_map(|second| supervisor.tick(at(second)).into_iter().map(move |told| (second, told))).collect()
}

fn silent(number: usize, since: u64) -> Finding {
    Finding::Silent { relay: relay_id(number), since: at(since).wall, outage: None }
}

fn back(number: usize, since: u64) -> Finding {
    Finding::Back { relay: relay_id(number), since: at(since).wall, outage: None }
}

#[test]
fn a_relay_is_silent_after_half_a_minute_and_back_after_three_good_looks() {
    let mut supervisor = Supervisor::new();
    supervisor.see(at(0), &relay(1));
    supervisor.lose(at(10), &relay(1));
    assert_eq!(until(&mut supervisor, 10, 40), [(40, silent(1, 10))]);
    assert_eq!(supervisor.silent_relays().count(), 1);
    supervisor.see(at(50), &relay(1));
    assert_eq!(until(&mut supervisor, 41, 70), [(70, back(1, 10))], "there at 50, 60 and 70");
    assert_eq!(supervisor.silent_relays().count(), 0);
}

#[test]
fn what_comes_and_goes_is_told_of_neither_way() {
    let mut supervisor = Supervisor::new();
    supervisor.see(at(0), &relay(1));
    for minute in 0..10 {
        supervisor.lose(at(minute * 60 + 1), &relay(1));
        supervisor.see(at(minute * 60 + 25), &relay(1));
        assert!(until(&mut supervisor, minute * 60, minute * 60 + 59).is_empty());
    }
    // And one that is silent, and there for a moment now and then, is silent.
    supervisor.lose(at(600), &relay(1));
    assert_eq!(until(&mut supervisor, 600, 640), [(630, silent(1, 600))]);
    for minute in 11..20 {
        supervisor.see(at(minute * 60), &relay(1));
        supervisor.lose(at(minute * 60 + 19), &relay(1));
        assert!(until(&mut supervisor, minute * 60, minute * 60 + 59).is_empty());
    }
    let (_, since, ..) = supervisor.silent_relays().next().unwrap();
    assert_eq!(since, at(600).wall, "since it fell silent, not since it was last there for a moment");
}

#[test]
fn a_session_anywhere_is_enough_for_a_station_and_the_plan_says_which_are_watched() {
    let mut supervisor = Supervisor::new();
    supervisor.watch(at(0), &["p1", "p2"].map(|name| name.parse().unwrap()).into());
    supervisor.see(at(5), &seat("p1", "a"));
    supervisor.see(at(5), &seat("p1", "b"));
    supervisor.see(at(5), &seat("elsewhere", "a"));
    supervisor.lose(at(6), &seat("p1", "a"));
    supervisor.lose(at(6), &seat("elsewhere", "a"));
    let p2 = Finding::Unwatched { station: "p2".parse().unwrap(), since: at(0).wall };
    assert_eq!(until(&mut supervisor, 5, 200), [(60, p2)], "nobody ever came");
    supervisor.lose(at(201), &seat("p1", "b"));
    let p1 = Finding::Unwatched { station: "p1".parse().unwrap(), since: at(201).wall };
    assert_eq!(until(&mut supervisor, 201, 300), [(261, p1)]);
    assert_eq!((supervisor.stations(), supervisor.unwatched_stations().count()), (2, 2));
    supervisor.see(at(300), &seat("p1", "b"));
    let told = until(&mut supervisor, 300, 320);
    assert!(matches!(told.as_slice(), [(320, Finding::Watched { .. })]), "{told:?}");
    supervisor.watch(at(400), &["p1"].map(|name| name.parse().unwrap()).into());
    assert_eq!((supervisor.stations(), supervisor.unwatched_stations().count()), (1, 0));
}

#[test]
fn ten_that_fall_silent_together_are_one_outage_that_names_them() {
    let mut supervisor = Supervisor::new();
    (0..100).for_each(|number| supervisor.see(at(0), &relay(number)));
    // One by itself, then nine, then two more of the same.
    supervisor.lose(at(0), &relay(0));
    (1..10).for_each(|number| supervisor.lose(at(20), &relay(number)));
    [10, 11].into_iter().for_each(|number| supervisor.lose(at(60), &relay(number)));
    let told = until(&mut supervisor, 0, 100);
    let began: Vec<_> = told.iter().filter(|(_, told)| matches!(told, Finding::OutageBegan { .. })).collect();
    let [(50, Finding::OutageBegan { outage, members, scope: Scope::Region, known: 100 })] = began.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(*members, (0..10).map(relay_id).collect::<Vec<_>>());
    assert_eq!(told[0], (30, silent(0, 0)));
    let singles = told.iter().filter(|(_, told)| matches!(told, Finding::Silent { outage: None, .. })).count();
    let listed = told.iter().filter(|(_, told)| matches!(told, Finding::Silent { outage: Some(_), .. })).count();
    assert_eq!((singles, listed, supervisor.silent_relays().count()), (1, 11, 12));
    assert_eq!(supervisor.outages().map(|outage| outage.ever).collect::<Vec<_>>(), [12]);
    (0..12).for_each(|number| supervisor.see(at(200 + number as u64), &relay(number)));
    let told = until(&mut supervisor, 200, 300);
    let over = Finding::OutageOver { outage: *outage, still: vec![relay_id(11)] };
    assert_eq!(told.iter().filter(|(_, told)| *told == over).count(), 1);
    assert!(told.contains(&(230, over)), "one of twelve that is still away is silent by itself");
    assert_eq!(told.last(), Some(&(231, back(11, 60))));
    assert_eq!(supervisor.outages().count(), 0);
}

#[test]
fn a_fifth_of_a_small_region_is_an_outage_and_one_of_two_is_not() {
    let mut supervisor = Supervisor::new();
    [0, 1].into_iter().for_each(|number| supervisor.see(at(0), &relay(number)));
    supervisor.lose(at(1), &relay(0));
    assert_eq!(until(&mut supervisor, 1, 40), [(31, silent(0, 1))]);
    (2..15).for_each(|number| supervisor.see(at(40), &relay(number)));
    // 3 of 15, but the first was long ago.
    [1, 2].into_iter().for_each(|number| supervisor.lose(at(200), &relay(number)));
    assert_eq!(until(&mut supervisor, 200, 240).len(), 2);
    [3, 4, 5].into_iter().for_each(|number| supervisor.lose(at(400), &relay(number)));
    assert!(matches!(until(&mut supervisor, 400, 440)[0].1, Finding::OutageBegan { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever comes and goes: of each relay silence and return are told in turns and at the right time, none is lost, and outages know their
    /// members.
    #[test]
    fn silence_and_return_are_told_in_turns(
        steps in prop::collection::vec((0..14_usize, any::<bool>(), 0..25_u64), 1..120),
    ) {
        let mut supervisor = Supervisor::new();
        (0..14).for_each(|number| supervisor.see(at(0), &relay(number)));
        // By a slow and simple reckoning: since when each is there or away, and what is told of it.
        let mut here = [(true, 0_u64); 14];
        let mut told = [false; 14];
        let mut second = 0;
        let all = steps.into_iter().map(Some).chain([None]);
        for step in all {
            let pause = step.map_or(100, |(_, _, pause)| pause);
            if let Some((number, there, _)) = step
                && here[number].0 != there
            {
                here[number] = (there, second);
                if there { supervisor.see(at(second), &relay(number)) } else { supervisor.lose(at(second), &relay(number)) }
            }
            for now in second + 1..=second + pause {
                for finding in supervisor.tick(at(now)) {
                    let (relay, silent) = match finding {
                        Finding::Silent { relay, .. } => (relay, true),
                        Finding::Back { relay, .. } => (relay, false),
                        _ => continue,
                    };
                    let number = (0..14).find(|number| relay_id(*number) == relay).unwrap();
                    prop_assert!(told[number] != silent, "told twice: {relay:?}");
                    let (there, since) = here[number];
                    prop_assert_eq!(there, !silent);
                    prop_assert_eq!(now - since, if silent { 30 } else { 20 });
                    told[number] = silent;
                }
                for number in 0..14 {
                    let (there, since) = here[number];
                    prop_assert!(there != told[number] || now - since < 30, "nobody is told of {number} at {now}");
                }
                let members: usize = supervisor.outages().map(|outage| outage.members.len()).sum();
                let listed = supervisor.silent_relays().filter(|(_, _, outage, _)| outage.is_some()).count();
                prop_assert_eq!(members, listed);
            }
            second += pause;
        }
        prop_assert_eq!(supervisor.silent_relays().count(), told.iter().filter(|told| **told).count());
    }
}

/// A node that others ask, with answers of three names and a memory of six changes.
struct Node {
    presence: Presence,
    here: BTreeSet<NodeName>,
}

impl Node {
    fn new(epoch: u64) -> Self {
        Self { presence: Presence::small(epoch, 3, 6), here: BTreeSet::new() }
    }

    fn set(&mut self, who: NodeName, there: bool) {
        let changed = if there { self.here.insert(who.clone()) } else { self.here.remove(&who) };
        if changed {
            self.presence.note(who, there);
        }
    }

    fn answer(&self, ask: &PresenceAsk) -> PresencePart {
        let after = ask.after.clone().filter(|_| self.presence.goes_on(ask));
        let names = self.here.iter().filter(|who| after.as_ref().is_none_or(|after| *who > after)).cloned();
        self.presence.answer(ask, names)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever comes and goes at two nodes that are asked now and then and start anew now and then: in the end whoever asks knows who is
    /// there, and has been told each coming and going once.
    #[test]
    fn whoever_asks_knows_in_the_end_who_is_there(
        steps in prop::collection::vec((0..6_u8, 0..2_usize, 0..9_usize, any::<bool>()), 1..150),
    ) {
        let names: Vec<Name> = ["b1", "b2"].map(|name| name.parse().unwrap()).to_vec();
        let mut nodes = [Node::new(1), Node::new(1)];
        let mut roll = Roll::default();
        let mut known = BTreeSet::new();
        let take = |known: &mut BTreeSet<NodeName>, changes: Changes| {
            for who in changes.lost {
                assert!(known.remove(&who), "{who} is lost, and was not there");
            }
            for who in changes.seen {
                assert!(known.insert(who.clone()), "{who} is seen twice");
            }
        };
        let mut epochs = 2;
        for (what, at, number, there) in steps {
            match what {
                0..=2 => nodes[at].set(relay(number), there),
                3 | 4 => {
                    let part = nodes[at].answer(&roll.ask(&names[at]));
                    take(&mut known, roll.answer(Timestamp(1), &names[at], part));
                }
                _ => {
                    epochs += 1;
                    if number == 0 {
                        nodes[at] = Node::new(epochs);
                    }
                }
            }
        }
        for (node, name) in nodes.iter().zip(&names) {
            for turn in 0.. {
                prop_assert!(turn < 20, "it never ends");
                let part = node.answer(&roll.ask(name));
                let more = part.more;
                take(&mut known, roll.answer(Timestamp(1), name, part));
                if !more && !node.answer(&roll.ask(name)).more {
                    break;
                }
            }
            // The list is as old as its first part: once more for what has changed since.
            let part = node.answer(&roll.ask(name));
            take(&mut known, roll.answer(Timestamp(1), name, part));
        }
        let there: BTreeSet<NodeName> = nodes.iter().flat_map(|node| node.here.clone()).collect();
        prop_assert_eq!(&known, &there);
        prop_assert!(roll.blind().next().is_none());
        // One of them is gone, and then both.
        let late = Timestamp(0) + Span::from_secs(20);
        let part = nodes[0].answer(&roll.ask(&names[0]));
        take(&mut known, roll.answer(late, &names[0], part));
        take(&mut known, roll.look(late, &names.iter().cloned().collect()));
        prop_assert_eq!(&known, &nodes[0].here);
        prop_assert!(roll.blind().next().is_none(), "who is gone hides nobody");
        take(&mut known, roll.look(late, &BTreeSet::new()));
        prop_assert!(known.is_empty());
    }
}

#[test]
fn a_node_that_does_not_say_who_is_there_hides_them_until_it_is_gone() {
    let name: Name = "b1".parse().unwrap();
    let members = BTreeSet::from([name.clone()]);
    let mut roll = Roll::default();
    roll.look(at(0).mono, &members);
    assert_eq!(roll.blind().collect::<Vec<_>>(), [&name], "it has not been asked yet");
    for second in 1..30 {
        roll.refused(at(second).mono, &name);
        roll.look(at(second).mono, &members);
        assert_eq!(roll.blind().count(), 1, "an older version");
    }
    roll.look(at(39).mono, &members);
    assert_eq!(roll.blind().count(), 0, "it has not been heard for ten seconds");
    roll.look(at(40).mono, &members);
    assert_eq!(roll.blind().count(), 0);
    roll.answer(at(41).mono, &name, Node::new(1).answer(&PresenceAsk::default()));
    assert_eq!(roll.blind().count(), 0);
}

/// Reads the whole list and what changed since, as another node does.
fn read(roll: &mut Roll, broker: &Broker) -> Changes {
    let name: Name = "n1".parse().unwrap();
    let mut all = Changes::default();
    loop {
        let part = broker.presence(&roll.ask(&name));
        let more = part.more;
        let changes = roll.answer(Timestamp(1), &name, part);
        all.seen.extend(changes.seen);
        all.lost.extend(changes.lost);
        if !more {
            return all;
        }
    }
}

#[test]
fn a_broker_node_tells_who_holds_sessions_with_it_and_who_no_longer_does() {
    let config = BrokerConfig {
        region: "r1".parse().unwrap(),
        node: "n1".parse().unwrap(),
        province: None,
        seed: 0,
        software: String::new(),
    };
    let mut broker = Broker::new(config, Plan::default(), RecordState::default(), Vec::new());
    let up = |broker: &mut Broker, path: u64, peer: NodeName| {
        let info = PathInfo::plain(Lane::Express);
        broker.handle(at(1), Input::SessionUp { path: PathId(path), peer, info, expired: false });
    };
    // More than go into one answer, and a relay with two sessions.
    let relays = limits::PRESENCE_NAMES + 10;
    (0..relays).for_each(|number| up(&mut broker, number as u64, relay(number)));
    up(&mut broker, 1_000_000, relay(7));
    up(&mut broker, 1_000_001, seat("p1", "a"));
    up(&mut broker, 1_000_002, seat("p1", "b"));
    let mut roll = Roll::default();
    let changes = read(&mut roll, &broker);
    assert_eq!((changes.seen.len(), changes.lost.len()), (relays + 2, 0));
    broker.handle(at(2), Input::SessionDown(PathId(7)));
    assert_eq!(read(&mut roll, &broker), Changes::default(), "it has another one");
    broker.handle(at(2), Input::SessionDown(PathId(1_000_000)));
    broker.handle(at(2), Input::SessionDown(PathId(1_000_001)));
    let changes = read(&mut roll, &broker);
    assert_eq!((changes.seen, changes.lost), (vec![], vec![relay(7), seat("p1", "a")]));
    // Only what has changed is told.
    let part = broker.presence(&roll.ask(&"n1".parse().unwrap()));
    assert_eq!((part.whole, part.more, part.up.len() + part.down.len()), (false, false, 0));
}
