//! A region and its province, over a line that is cut for a day, with leaders that change and a province that loses its quorum.

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use self::world::{MILLIS, SECONDS, Side, World, alarm, id, name, receipt, seat, station};
use crate::Machine;
use crate::broker::Report;
use crate::escalate::Escalate;
use crate::event::{Class, Kind, Text};
use crate::id::{EventId, NodeName, PathId, SeatId};
use crate::message::{EventCopy, Message, Refusal};
use crate::receipt::{Stage, Trail};
use crate::record::Command;
use crate::relay::tests_support::{relay_id, seal};
use crate::time::WallTime;

const REGION: Side = Side::Region;
const PROVINCE: Side = Side::Province;
const MINUTES: u64 = 60 * SECONDS;
const HOURS: u64 = 60 * MINUTES;

fn relay() -> NodeName {
    NodeName::Relay(relay_id())
}

/// The stages that stations have said in each node's record, by event.
fn stages(world: &mut World, side: Side, node: usize) -> BTreeMap<EventId, BTreeSet<Stage>> {
    let record = world.group(side).nodes[node].record();
    let stages = |notes: &[crate::Receipt]| notes.iter().map(|note| note.stage).collect();
    record.entries().map(|entry| (entry.admission.sealed.event.id, stages(&entry.notes))).collect()
}

/// Everything that the region's record has is in the province's, once, and the region knows that it is.
fn hold_both_against_each_other(world: &mut World) {
    let wanted = stages(world, REGION, 0);
    for (side, nodes) in [(REGION, world.region.nodes.len()), (PROVINCE, world.province.nodes.len())] {
        for node in 0..nodes {
            assert_eq!(stages(world, side, node), wanted, "{side:?} {node}");
            world.group(side).nodes[node].check().unwrap();
        }
    }
    for node in &world.region.nodes {
        let owed: Vec<_> = node.record().entries().filter(|entry| !entry.owed().is_empty()).collect();
        assert!(owed.is_empty(), "{} events are owed still, such as {:?}", owed.len(), owed.first());
        assert_eq!(node.province().unwrap().pending, [0; Class::ALL.len()]);
    }
    let admitted = world.province.log.iter().filter_map(|c| if let Command::Admit(a) = c { Some(a) } else { None });
    let admitted: BTreeSet<EventId> = admitted.map(|admission| admission.sealed.event.id).collect();
    assert_eq!(admitted.len(), wanted.len());
}

/// What the region's stations say of an alarm, straight into the region's log.
fn say(world: &mut World, number: usize, stage: Stage) {
    world.commit(REGION, Command::Note(receipt(id(number), stage, &seat("p1"))));
}

#[test]
fn a_press_is_at_the_province_at_once_and_its_answers_follow() {
    let mut world = World::new(1, 3, 3);
    let gate = world.watch((REGION, 1), relay());
    world.press(1, gate, 0, Kind::Panic);
    world.run(200 * MILLIS);
    assert!(world.province.nodes[2].record().get(&id(0)).is_some());
    for stage in [Stage::Delivered, Stage::Displayed, Stage::Acknowledged] {
        say(&mut world, 0, stage);
        world.run(SECONDS);
    }
    hold_both_against_each_other(&mut world);
    let quiet = world.forwarded.len();
    world.run(10 * MINUTES);
    assert_eq!(world.forwarded.len(), quiet, "what the province has is not sent again");
}

#[test]
fn below_the_classes_that_the_province_wants_nothing_goes_up() {
    let mut world = World::new(1, 1, 1);
    let gate = world.watch((REGION, 0), relay());
    world.press(0, gate, 0, Kind::Fault);
    world.run(MINUTES);
    assert_eq!(world.forwarded, []);
}

#[test]
fn after_a_day_without_the_line_all_is_there_once_and_what_nobody_has_taken_goes_first() {
    let mut world = World::new(3, 1, 1);
    let gate = world.watch((REGION, 0), relay());
    world.cut();
    let alarms = 2_000;
    let mut rank = BTreeMap::new();
    for number in 0..alarms {
        let kind = if number % 5 == 0 { Kind::Panic } else { Kind::Assist };
        world.press(0, gate, number, kind.clone());
        world.run(24 * HOURS / alarms as u64);
        say(&mut world, number, Stage::Delivered);
        let taken = number % 3 != 0;
        if taken {
            say(&mut world, number, Stage::Acknowledged);
        }
        rank.insert(id(number), (taken, kind.class().unwrap()));
    }
    world.run(SECONDS);
    let view = world.region.nodes[0].province().unwrap();
    assert_eq!((view.pending.iter().sum::<usize>(), view.oldest), (alarms, Some(id(0))));
    assert_eq!(world.forwarded, []);
    world.join();
    world.run(5 * MINUTES);
    hold_both_against_each_other(&mut world);
    let mut seen = BTreeSet::new();
    let order: Vec<_> = world.forwarded.iter().filter(|id| seen.insert(**id)).map(|id| rank[id]).collect();
    // What fits the window at once goes at once, whatever its rank; beyond that nothing overtakes.
    let late = order.windows(crate::limits::PROVINCE_WINDOW).filter(|some| some[0] > some[some.len() - 1]).count();
    assert_eq!((order.len(), late), (alarms, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_breaks_in_between_nothing_is_lost_and_nothing_is_there_twice(
        seed in any::<u64>(),
        alarms in 1_usize..150,
        troubles in prop::collection::vec((0_u8..7, 0_u64..3_000), 0..30),
    ) {
        let mut world = World::new(seed, 3, 3);
        let gates: Vec<PathId> = (0..3).map(|node| world.watch((REGION, node), relay())).collect();
        let mut connected = true;
        let mut troubles = troubles.into_iter().cycle().take(if alarms > 1 { 40 } else { 0 });
        for number in 0..alarms {
            let node = usize::try_from(world.rng.below(3)).unwrap();
            let kind = if world.rng.below(2) == 0 { Kind::Panic } else { Kind::Assist };
            world.press(node, gates[node], number, kind.clone());
            let pause = world.rng.below(200) * MILLIS;
            world.run(pause);
            // A relay sends again until its region has it.
            world.press(node, gates[node], number, kind);
            if let Some((what, millis)) = troubles.next() {
                match what {
                    0 | 1 if connected => world.cut(),
                    0 | 1 => world.join(),
                    2 => {
                        let leader = (world.region.leader + 1) % 3;
                        world.elect(REGION, leader);
                    }
                    3 => {
                        let leader = (world.province.leader + 1) % 3;
                        world.elect(PROVINCE, leader);
                    }
                    4 => {
                        let quorum = world.province.quorum;
                        world.set_quorum(PROVINCE, !quorum);
                    }
                    _ => {
                        let told = usize::try_from(world.rng.below(number as u64 + 1)).unwrap();
                        for stage in [Stage::Delivered, Stage::Displayed, Stage::Acknowledged] {
                            say(&mut world, told, stage);
                        }
                    }
                }
                connected ^= what < 2;
                world.run(millis * MILLIS);
            }
        }
        world.set_quorum(PROVINCE, true);
        if !connected {
            world.join();
        }
        for number in 0..alarms {
            world.press(0, gates[0], number, Kind::Assist);
            say(&mut world, number, Stage::Acknowledged);
        }
        world.run(5 * MINUTES);
        hold_both_against_each_other(&mut world);
    }
}

/// A seat of the province that has the alarm, and the school's gate in the region.
fn with_an_alarm_in_both(nodes: usize) -> (World, PathId, SeatId) {
    let mut world = World::new(5, nodes, nodes);
    let gate = world.watch((REGION, 0), relay());
    let duty = seat("duty");
    let desk = world.watch((PROVINCE, nodes - 1), NodeName::Station(duty.clone()));
    world.press(0, gate, 0, Kind::Panic);
    world.run(SECONDS);
    let shown = world.seen.iter().any(|(peer, message)| {
        *peer == NodeName::Station(duty.clone())
            && matches!(message, Message::Event(copy) if copy.sealed.event.id == id(0))
    });
    assert!(shown, "the province's screen has the alarm");
    (world, desk, duty)
}

fn stages_told(world: &World, peer: &NodeName) -> BTreeSet<Stage> {
    let to = world.seen.iter().filter(|(to, _)| to == peer);
    let receipts = to.filter_map(|(_, message)| if let Message::Receipts(list) = message { Some(list) } else { None });
    receipts.flatten().map(|receipt| receipt.stage).collect()
}

#[test]
fn what_the_provinces_officer_says_is_on_the_schools_lamp() {
    let (mut world, desk, duty) = with_an_alarm_in_both(3);
    for stage in [Stage::Delivered, Stage::Displayed, Stage::Acknowledged] {
        world.hear((PROVINCE, 2), desk, Message::Receipts(vec![receipt(id(0), stage, &duty)]));
    }
    world.run(SECONDS);
    assert!(stages_told(&world, &relay()).contains(&Stage::Acknowledged));
    let owner = world.region.nodes[1].record().get(&id(0)).and_then(|entry| entry.owner().cloned()).unwrap();
    assert_eq!(owner.by, NodeName::Station(duty));
    world.run(MINUTES);
    hold_both_against_each_other(&mut world);
}

#[test]
fn what_was_said_while_the_line_was_cut_is_heard_when_it_is_back() {
    let (mut world, desk, duty) = with_an_alarm_in_both(1);
    world.cut();
    world.hear((PROVINCE, 0), desk, Message::Receipts(vec![receipt(id(0), Stage::Acknowledged, &duty)]));
    world.run(10 * MINUTES);
    assert!(!stages_told(&world, &relay()).contains(&Stage::Acknowledged));
    world.join();
    world.run(20 * SECONDS);
    assert!(stages_told(&world, &relay()).contains(&Stage::Acknowledged), "the region asks about its open alarms");
}

fn order(by: &SeatId, to: &[&str]) -> Escalate {
    Escalate {
        event: id(0),
        stations: to.iter().map(|code| station(code)).collect(),
        by: NodeName::Station(by.clone()),
        officer: Some(name("014")),
        at: WallTime(4),
        note: Text::new("两人持刀").unwrap(),
    }
}

fn has_event(world: &World, peer: &SeatId) -> bool {
    let mut to = world.seen.iter().filter(|(to, _)| *to == NodeName::Station(peer.clone()));
    to.any(|(_, message)| matches!(message, Message::Event(copy) if copy.sealed.event.id == id(0)))
}

#[test]
fn an_escalation_adds_a_station_on_both_levels_whoever_says_it() {
    // Said at the province, to a station of the region; the other way round; and with the line cut meanwhile.
    for (from, cut) in [(PROVINCE, false), (REGION, false), (PROVINCE, true), (REGION, true)] {
        let (mut world, desk, duty) = with_an_alarm_in_both(3);
        let other = if from == PROVINCE { REGION } else { PROVINCE };
        let helper = seat("helper");
        world.watch((other, 1), NodeName::Station(helper.clone()));
        let (said_by, at, path) = match from {
            PROVINCE => (duty, (PROVINCE, 2), desk),
            REGION => {
                let officer = seat("p1");
                let path = world.watch((REGION, 2), NodeName::Station(officer.clone()));
                (officer, (REGION, 2), path)
            }
        };
        if cut {
            world.cut();
        }
        world.hear(at, path, Message::Escalate(order(&said_by, &["helper"])));
        world.run(SECONDS);
        let answered = world.seen.iter().any(|(peer, message)| {
            *peer == NodeName::Station(said_by.clone())
                && *message == Message::Escalated(id(0), vec![station("helper")])
        });
        assert!(answered, "{from:?} {cut}");
        if cut {
            assert!(!has_event(&world, &helper));
            world.join();
        }
        world.run(30 * SECONDS);
        assert!(has_event(&world, &helper), "{from:?} {cut}");
        for node in world.region.nodes.iter().chain(&world.province.nodes) {
            let entry = node.record().get(&id(0)).unwrap();
            assert_eq!(entry.escalations.len(), 1);
            assert_eq!(entry.escalations[0].officer, Some(name("014")));
        }
    }
}

#[test]
fn an_escalation_that_comes_while_the_region_has_no_quorum_enters_its_record_on_heal() {
    let (mut world, desk, duty) = with_an_alarm_in_both(3);
    let helper = seat("helper");
    world.watch((REGION, 1), NodeName::Station(helper.clone()));
    world.set_quorum(REGION, false);
    world.hear((PROVINCE, 2), desk, Message::Escalate(order(&duty, &["helper"])));
    world.run(5 * SECONDS);
    assert!(!has_event(&world, &helper), "the record has not taken it");
    assert!(world.reports.contains(&((REGION, 0), Report::Journalled(id(0)))));
    // Nobody says it again: the line to the province is gone before the quorum is back.
    world.cut();
    world.run(5 * SECONDS);
    world.set_quorum(REGION, true);
    world.run(10 * SECONDS);
    assert!(has_event(&world, &helper));
    for node in &world.region.nodes {
        let entry = node.record().get(&id(0)).unwrap();
        assert_eq!((entry.escalations.len(), node.waiting()), (1, 0), "once, and nothing waits");
    }
}

#[test]
fn nobody_escalates_what_is_not_his() {
    let (mut world, ..) = with_an_alarm_in_both(1);
    let stranger = seat("p9");
    let path = world.watch((REGION, 0), NodeName::Station(stranger.clone()));
    world.hear((REGION, 0), path, Message::Escalate(order(&stranger, &["p9"])));
    world.run(SECONDS);
    assert!(!has_event(&world, &stranger));
    assert!(world.seen.contains(&(NodeName::Station(stranger), Message::Unknown(vec![id(0)]))));
}

#[test]
fn a_region_brings_only_what_is_its_own() {
    let mut world = World::new(1, 1, 1);
    let west = NodeName::Broker { region: name("west"), node: name("n0") };
    let path = world.watch((PROVINCE, 0), west);
    let improper = world.reports.iter().filter(|(_, report)| matches!(report, Report::Improper(..))).count();
    assert_eq!(improper, 1, "a region that the configuration does not name has no session");
    let east = NodeName::Broker { region: name("east"), node: name("n7") };
    let mine = world.watch((PROVINCE, 0), east.clone());
    let sealed = seal(&alarm(0, Kind::Panic));
    // Its trail says that it never was in the region that brings it.
    for trail in [
        Trail::default().arrived(&relay(), WallTime(1), None),
        Trail::default().arrived(&NodeName::Broker { region: name("west"), node: name("n0") }, WallTime(1), None),
    ] {
        let copy = EventCopy { sealed: sealed.clone(), trail, receipts: vec![] };
        world.hear((PROVINCE, 0), path, Message::Event(copy.clone()));
        world.hear((PROVINCE, 0), mine, Message::Event(copy));
        world.run(SECONDS);
        assert_eq!(world.seen.last(), Some(&(east.clone(), Message::Refused(id(0), Refusal::OtherRegion))));
    }
    assert!(world.province.nodes[0].record().is_empty());
}

#[test]
fn without_a_quorum_every_node_forwards_what_it_holds() {
    let mut world = World::new(9, 3, 1);
    let gates: Vec<PathId> = (0..3).map(|node| world.watch((REGION, node), relay())).collect();
    world.set_quorum(REGION, false);
    for (node, gate) in gates.iter().enumerate() {
        world.press(node, *gate, node, Kind::Panic);
    }
    world.run(300 * MILLIS);
    assert_eq!(world.province.nodes[0].record().len(), 3);
    world.set_quorum(REGION, true);
    world.run(SECONDS);
    for (node, gate) in gates.iter().enumerate() {
        world.press(node, *gate, node, Kind::Panic);
    }
    world.run(MINUTES);
    hold_both_against_each_other(&mut world);
}
