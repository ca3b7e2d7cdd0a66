//! Bodies between two movers over a line that loses sessions, repeats and mixes up messages, and between one and a peer that lies.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::Machine;
use crate::id::{NodeName, PathId};
use crate::rng::Rng;
use crate::time::{Now, Span, Timestamp, WallTime};

fn relay() -> NodeName {
    "relay/s1/gate".parse().unwrap()
}

fn broker(name: &str) -> NodeName {
    format!("broker/nanchang/{name}").parse().unwrap()
}

fn seat() -> NodeName {
    "station/p1/seat-1".parse().unwrap()
}

fn jpeg(size: usize, fill: u8) -> Vec<u8> {
    let mut content = vec![0xFF, 0xD8, 0xFF];
    content.extend((3..size).map(|at| fill ^ u8::try_from(at % 251).unwrap()));
    content
}

fn now(millis: u64) -> Now {
    Now {
        mono: Timestamp(millis * 1_000),
        wall: WallTime(1_764_000_000_000_000 + i64::try_from(millis).unwrap() * 1_000),
    }
}

/// A mover with a disk.
struct Node {
    name: NodeName,
    mover: Mover,
    disk: BTreeMap<BodyId, Content>,
    reports: Vec<Report>,
    sent: VecDeque<(PathId, BodyMessage)>,
    accepts: Accepts,
}

impl Node {
    fn new(name: NodeName, accepts: Accepts) -> Self {
        let (disk, reports, sent) = (BTreeMap::new(), Vec::new(), VecDeque::new());
        Self { name, mover: mover(now(0), accepts, &disk), disk, reports, sent, accepts }
    }

    /// Begins anew with what the disk holds.
    fn restart(&mut self, at: Now) {
        self.mover = mover(at, self.accepts, &self.disk);
        self.sent.clear();
    }

    fn put(&mut self, at: Now, content: &[u8]) -> BodyId {
        let id = BodyId::of(content);
        self.disk.insert(id, content.into());
        self.input(at, Input::Added(id, content.len()));
        id
    }

    fn has_given(&self, id: BodyId, to: &NodeName) -> bool {
        self.reports.iter().any(|report| matches!(report, Report::Given(offer, node) if offer.id == id && node == to))
    }

    fn input(&mut self, at: Now, input: Input) {
        self.mover.handle(at, input);
        self.drain(at);
    }

    fn tick(&mut self, at: Now) {
        self.mover.handle_timeout(at);
        self.drain(at);
    }

    fn drain(&mut self, at: Now) {
        while let Some(output) = self.mover.poll_output() {
            match output {
                Output::Send(path, message) => self.sent.push_back((path, message)),
                Output::Load(id) => {
                    let found = self.disk.get(&id).cloned();
                    let found = found.and_then(|content| Some((Media::of(&content)?, content)));
                    self.mover.handle(at, Input::Loaded(id, found));
                }
                Output::Store(id, content) => {
                    self.disk.insert(id, content);
                    self.mover.handle(at, Input::Stored(id));
                }
                Output::Remove(id) => drop(self.disk.remove(&id)),
                Output::Report(report) => self.reports.push(report),
            }
        }
        self.mover.check().unwrap();
    }
}

fn mover(at: Now, accepts: Accepts, disk: &BTreeMap<BodyId, Content>) -> Mover {
    let held = disk.iter().map(|(id, content)| (*id, content.len(), at.wall)).collect();
    Mover::new(at, MoverConfig { accepts, max_bytes: 8 << 20, max_age: Span::from_secs(90 * 24 * 3_600), held })
}

/// Two nodes and what is under way between them.
struct World {
    nodes: [Node; 2],
    wire: Vec<(usize, PathId, BodyMessage)>,
    path: Option<PathId>,
    next_path: u64,
    millis: u64,
    dice: Rng,
}

impl World {
    fn new(seed: u64, nodes: [Node; 2]) -> Self {
        Self { nodes, wire: Vec::new(), path: None, next_path: 1, millis: 1, dice: Rng::new(seed) }
    }

    fn now(&self) -> Now {
        now(self.millis)
    }

    fn connect(&mut self) {
        if self.path.is_none() {
            let path = PathId(self.next_path);
            self.next_path += 1;
            self.path = Some(path);
            let names = [self.nodes[1].name.clone(), self.nodes[0].name.clone()];
            let at = self.now();
            for (node, peer) in self.nodes.iter_mut().zip(names) {
                node.input(at, Input::PathUp(path, peer));
            }
        }
    }

    fn cut(&mut self) {
        if let Some(path) = self.path.take() {
            self.wire.clear();
            let at = self.now();
            self.nodes.iter_mut().for_each(|node| node.input(at, Input::PathDown(path)));
        }
    }

    fn collect(&mut self) {
        for from in 0..2 {
            while let Some((path, message)) = self.nodes[from].sent.pop_front() {
                if Some(path) == self.path {
                    self.wire.push((1 - from, path, message));
                }
            }
        }
    }

    /// Delivers one message, by lot; now and then it stays and comes again.
    fn deliver(&mut self) -> bool {
        self.collect();
        if self.wire.is_empty() {
            return false;
        }
        let at = usize::try_from(self.dice.next_u64() % self.wire.len() as u64).unwrap();
        let again = self.dice.next_u64().is_multiple_of(8);
        let (to, path, message) = if again { self.wire[at].clone() } else { self.wire.swap_remove(at) };
        let now = self.now();
        self.nodes[to].input(now, Input::Message(path, message));
        true
    }

    fn sleep(&mut self, millis: u64) {
        self.millis += millis;
        let at = self.now();
        self.nodes.iter_mut().for_each(|node| node.tick(at));
    }

    /// Goes on until nothing is under way, and a good while after.
    fn settle(&mut self) {
        self.connect();
        for _ in 0..400 {
            let mut steps = 0;
            while self.deliver() {
                steps += 1;
                assert!(steps < 20_000, "they never stop");
            }
            self.sleep(1_000);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Deliver,
    /// Messages of the session vanish without its end: one that is choked drops what does not fit.
    Lose,
    Cut,
    Restart(usize),
    Sleep(u64),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        12 => Just(Trouble::Deliver),
        1 => Just(Trouble::Lose),
        1 => Just(Trouble::Cut),
        1 => (0..2_usize).prop_map(Trouble::Restart),
        2 => (1..30_000_u64).prop_map(Trouble::Sleep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the line and the nodes go through, each picture comes as it was.
    #[test]
    fn a_gift_comes_whole(seed in any::<u64>(), sizes in prop::collection::vec(4..200_000_usize, 1..4), story in prop::collection::vec(trouble(), 0..120)) {
        let nodes = [Node::new(relay(), Accepts::Wanted), Node::new(broker("n1"), Accepts::Given)];
        let mut world = World::new(seed, nodes);
        let mut ids = Vec::new();
        for (fill, size) in (1..).zip(sizes) {
            ids.push(world.nodes[0].put(now(0), &jpeg(size, fill)));
        }
        let give = |world: &mut World| {
            let at = world.now();
            ids.iter().for_each(|id| world.nodes[0].input(at, Input::Give(*id, Towards::Some(2))));
        };
        give(&mut world);
        world.connect();
        for step in story {
            match step {
                Trouble::Deliver => drop(world.deliver()),
                Trouble::Lose => {
                    world.collect();
                    world.wire.clear();
                }
                Trouble::Cut => world.cut(),
                Trouble::Restart(which) => {
                    world.cut();
                    let at = world.now();
                    world.nodes[which].restart(at);
                    if which == 0 {
                        give(&mut world);
                    }
                }
                Trouble::Sleep(millis) => world.sleep(millis),
            }
            if world.dice.next_u64().is_multiple_of(4) {
                world.connect();
            }
        }
        world.settle();
        for id in ids {
            let [from, to] = &world.nodes;
            prop_assert_eq!(to.disk.get(&id), from.disk.get(&id));
            prop_assert!(from.has_given(id, &broker("n1")));
        }
        prop_assert_eq!(world.nodes[1].mover.under_way(), (0, 0));
    }

    /// What a seat wants it gets, though the node has it only later.
    #[test]
    fn what_is_wanted_comes(seed in any::<u64>(), size in 4..300_000_usize, late in 0..500_000_u64) {
        let nodes = [Node::new(broker("n1"), Accepts::Given), Node::new(seat(), Accepts::Wanted)];
        let mut world = World::new(seed, nodes);
        let content = jpeg(size, 9);
        let id = BodyId::of(&content);
        world.nodes[1].input(now(1), Input::Want(id, Span::from_secs(900)));
        world.connect();
        while world.deliver() {}
        world.sleep(late);
        let at = world.now();
        world.nodes[0].put(at, &content);
        world.settle();
        prop_assert_eq!(world.nodes[1].disk.get(&id).map(|found| &found[..]), Some(&content[..]));
        prop_assert_eq!(world.nodes[1].reports.iter().filter(|report| **report == Report::Here(id)).count(), 1);
    }

    /// A peer that says anything in any order costs a node no more than its bounds, and puts nothing under a wrong name.
    #[test]
    fn a_liar_puts_nothing_under_a_wrong_name(words in prop::collection::vec((0..7_u8, 0..4_u8, 0..70_u8, 0..40_000_usize), 0..200)) {
        let mut node = Node::new(broker("n1"), Accepts::Given);
        node.input(now(1), Input::PathUp(PathId(1), relay()));
        for (step, (word, body, at, size)) in (2..).zip(words) {
            let content = jpeg(32_768, body);
            let id = BodyId::of(&content);
            let message = match word {
                0 => BodyMessage::Offer(Offer { id, size: size.max(3), media: Media::Jpeg, live: at % 2 == 0 }),
                1 => BodyMessage::Chunk { id, at, data: vec![body; size.min(limits::BODY_CHUNK_BYTES)] },
                2 => BodyMessage::Have(id, Chunks(u64::from(at))),
                3 => BodyMessage::Taken(id),
                4 => BodyMessage::Refused(id, BodyRefusal::Busy),
                5 => BodyMessage::Ask(id),
                _ => BodyMessage::Absent(id),
            };
            node.input(now(step), Input::Message(PathId(1), message));
        }
        prop_assert!(node.disk.iter().all(|(id, content)| BodyId::of(content) == *id));
        prop_assert!(node.mover.under_way().0 <= limits::BODIES_INCOMING_OF_ONE);
    }
}

/// What a node answers to one word of a peer.
fn answer(node: &mut Node, at: u64, message: BodyMessage) -> Option<BodyMessage> {
    node.sent.clear();
    node.input(now(at), Input::Message(PathId(1), message));
    node.sent.pop_back().map(|(_, message)| message)
}

fn offer(content: &[u8], size: usize) -> BodyMessage {
    BodyMessage::Offer(Offer { id: BodyId::of(content), size, media: Media::Jpeg, live: false })
}

#[test]
fn what_does_not_match_its_name_is_dropped_and_its_sender_not_listened_to_for_a_while() {
    let mut node = Node::new(broker("n1"), Accepts::Given);
    node.input(now(1), Input::PathUp(PathId(1), relay()));
    let (content, other) = (jpeg(1_000, 1), jpeg(1_000, 2));
    let id = BodyId::of(&content);
    assert_eq!(answer(&mut node, 2, offer(&content, 1_000)), Some(BodyMessage::Have(id, Chunks(0))));
    let wrong = BodyMessage::Chunk { id, at: 0, data: other };
    assert_eq!(answer(&mut node, 3, wrong), Some(BodyMessage::Refused(id, BodyRefusal::Mismatch)));
    assert_eq!(answer(&mut node, 4, offer(&content, 1_000)), Some(BodyMessage::Refused(id, BodyRefusal::Sender)));
    assert!(node.disk.is_empty());
    // Another sender is, meanwhile; and this one later.
    node.input(now(5), Input::PathUp(PathId(2), "relay/s2/gate".parse().unwrap()));
    node.sent.clear();
    node.input(now(6), Input::Message(PathId(2), offer(&content, 1_000)));
    assert_eq!(node.sent.pop_back(), Some((PathId(2), BodyMessage::Have(id, Chunks(0)))));
    node.input(now(7), Input::PathDown(PathId(2)));
    assert_eq!(answer(&mut node, 61_000, offer(&content, 1_000)), Some(BodyMessage::Have(id, Chunks(0))));
    let right = BodyMessage::Chunk { id, at: 0, data: content };
    assert_eq!(answer(&mut node, 61_001, right), Some(BodyMessage::Taken(id)));
}

#[test]
fn what_is_too_large_or_unwanted_is_refused_before_a_byte_of_it_comes() {
    let content = jpeg(100, 1);
    let id = BodyId::of(&content);
    let mut node = Node::new(broker("n1"), Accepts::Given);
    node.input(now(1), Input::PathUp(PathId(1), relay()));
    for size in [0, limits::PICTURE_BYTES + 1, usize::MAX] {
        assert_eq!(answer(&mut node, 2, offer(&content, size)), Some(BodyMessage::Refused(id, BodyRefusal::Size)));
    }
    let mut station = Node::new(seat(), Accepts::Wanted);
    station.input(now(1), Input::PathUp(PathId(1), broker("n1")));
    assert_eq!(answer(&mut station, 2, offer(&content, 100)), Some(BodyMessage::Refused(id, BodyRefusal::Unwanted)));
    let mut other = Node::new(broker("n1"), Accepts::Given);
    other.input(now(1), Input::PathUp(PathId(1), broker("n2")));
    assert_eq!(answer(&mut other, 2, offer(&content, 100)), Some(BodyMessage::Refused(id, BodyRefusal::Unwanted)));
}

#[test]
fn no_more_than_a_window_is_under_way_and_nothing_is_sent_twice_unasked() {
    let mut node = Node::new(relay(), Accepts::Wanted);
    let content = jpeg(limits::PICTURE_BYTES, 1);
    let id = node.put(now(0), &content);
    node.input(now(1), Input::PathUp(PathId(1), broker("n1")));
    node.input(now(1), Input::Give(id, Towards::Some(1)));
    let mut have = Chunks(0);
    let mut sent = Vec::new();
    node.sent.clear();
    node.input(now(2), Input::Message(PathId(1), BodyMessage::Have(id, have)));
    while sent.len() < 32 {
        assert!(node.sent.len() <= limits::BODY_WINDOW as usize);
        let Some((_, BodyMessage::Chunk { at, .. })) = node.sent.pop_front() else { panic!("{:?}", sent.len()) };
        sent.push(at);
        have.add(at);
        node.input(now(3), Input::Message(PathId(1), BodyMessage::Have(id, have)));
    }
    assert_eq!(sent, (0..32).collect::<Vec<_>>());
    assert!(node.sent.is_empty());
}

#[test]
fn pictures_beyond_the_room_push_the_oldest_out_and_one_relay_has_a_share_of_a_day() {
    let mut node = Node::new(broker("n1"), Accepts::Given);
    let ids: Vec<BodyId> =
        (0..40_u8).map(|fill| node.put(now(u64::from(fill)), &jpeg(limits::PICTURE_BYTES, fill))).collect();
    assert_eq!(node.mover.held(), (16, 8 << 20));
    assert!(ids.iter().rev().take(16).all(|id| node.disk.contains_key(id)) && node.disk.len() == 16);
    node.tick(now(91 * 24 * 3_600_000));
    assert_eq!(node.mover.held(), (0, 0));
}

#[test]
fn what_is_of_the_moment_reaches_no_disk() {
    let mut world = World::new(3, [Node::new(relay(), Accepts::Wanted), Node::new(broker("n1"), Accepts::Given)]);
    world.connect();
    let content = jpeg(50_000, 7);
    let id = BodyId::of(&content);
    let at = world.now();
    world.nodes[0].input(at, Input::GiveLive(id, content.clone().into(), broker("n1")));
    while world.deliver() {}
    assert_eq!(world.nodes[1].mover.live(&id).as_deref(), Some(&content[..]));
    assert!(world.nodes[1].disk.is_empty());
    assert!(world.nodes[0].has_given(id, &broker("n1")));
    // To a node that is not there, it is said at once that it does not go.
    world.nodes[0].input(at, Input::GiveLive(id, content.into(), broker("n2")));
    assert!(world.nodes[0].reports.contains(&Report::NotGiven(id, broker("n2"), BodyRefusal::Busy)));
}
