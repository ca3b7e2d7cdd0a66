//! A relay's cameras through presses, failures, lost words and restarts; and the album of a seat.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::Machine;
use crate::id::PathId;
use crate::rng::Rng;
use crate::time::{Now, Timestamp};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn camera(at: usize) -> Camera {
    let zone = Some(name(if at < 2 { "gate" } else { "yard" }));
    Camera { name: name(&format!("c{at}")), zone, has_snapshots: at != 4, address: Text::new("rtsp://c").unwrap() }
}

fn now(millis: u64) -> Now {
    Now {
        mono: Timestamp(millis * 1_000),
        wall: WallTime(1_764_000_000_000_000 + i64::try_from(millis).unwrap() * 1_000),
    }
}

fn id(number: u64) -> EventId {
    EventId::generate(WallTime(1_764_000_000_000_000), &mut Rng::new(number))
}

fn node() -> NodeName {
    "broker/nanchang/n1".parse().unwrap()
}

/// Cameras with a disk, and a region that remembers what it was told.
struct Bench {
    cameras: Cameras,
    millis: u64,
    shoots: Vec<(Ticket, usize, bool)>,
    rows: BTreeMap<(EventId, Name), Row>,
    said: Vec<Pictures>,
    given: BTreeSet<BodyId>,
    live: Vec<BodyId>,
}

impl Bench {
    fn new() -> Self {
        let cameras = Cameras::new(now(1), (0..5).map(camera).collect(), Vec::new());
        let (rows, given) = (BTreeMap::new(), BTreeSet::new());
        Self { cameras, millis: 1, shoots: Vec::new(), rows, said: Vec::new(), given, live: Vec::new() }
    }

    fn restart(&mut self) {
        let rows = self.rows.values().cloned().collect();
        self.cameras = Cameras::new(now(self.millis), (0..5).map(camera).collect(), rows);
        self.shoots.clear();
        self.drain();
    }

    fn input(&mut self, input: Input) {
        self.cameras.handle(now(self.millis), input);
        self.drain();
    }

    fn sleep(&mut self, millis: u64) {
        self.millis += millis;
        self.cameras.handle_timeout(now(self.millis));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.cameras.poll_output() {
            match output {
                Output::Shoot { ticket, camera, live } => self.shoots.push((ticket, camera, live)),
                Output::Keep(row) => drop(self.rows.insert((row.event, row.picture.camera.clone()), row)),
                Output::Forget(event, (camera, _)) => drop(self.rows.remove(&(event, camera))),
                Output::Give(body) => drop(self.given.insert(body)),
                Output::GiveLive(body, _) => self.live.push(body),
                Output::Say(_, said) => self.said.push(said),
                Output::Looked(_) => {}
            }
        }
        self.cameras.check().unwrap();
    }

    fn alarm(&mut self, number: u64, zone: Option<&str>, sent: bool) {
        self.input(Input::Alarm { event: id(number), zone: zone.map(name), sent });
    }

    /// The oldest camera that was asked answers.
    fn answer(&mut self, good: bool) -> bool {
        if self.shoots.is_empty() {
            return false;
        }
        let (ticket, at, _) = self.shoots.remove(0);
        let body = BodyId::of(format!("{at} {}", self.millis).as_bytes());
        self.input(Input::Shot(ticket, if good { Ok((body, 7)) } else { Err(Text::new("off").unwrap()) }));
        true
    }

    fn asked(&self) -> Vec<usize> {
        self.shoots.iter().map(|(_, camera, _)| *camera).collect()
    }

    fn look(&mut self, number: u64, path: u64) {
        let look = Look { event: id(number), camera: None, by: "station/p1/a".parse().unwrap(), officer: name("014") };
        self.input(Input::Look(PathId(path), look));
    }
}

#[test]
fn no_camera_is_asked_before_the_alarm_has_left_or_has_found_no_line() {
    let mut bench = Bench::new();
    bench.alarm(1, Some("gate"), false);
    assert!(bench.asked().is_empty());
    bench.alarm(1, Some("gate"), true);
    assert_eq!(bench.asked(), [0, 1]);
    bench.alarm(1, Some("gate"), true);
    assert_eq!(bench.asked(), [0, 1], "once is enough");
    bench.alarm(2, Some("yard"), false);
    bench.sleep(1_999);
    assert_eq!(bench.asked(), [0, 1]);
    bench.sleep(1);
    assert_eq!(bench.asked(), [0, 1, 2, 3], "a line that is down is no reason to see nothing");
    assert!(
        bench
            .rows
            .values()
            .any(|row| matches!(&row.picture.shot, Shot::Failed(why) if why.as_str().contains("no snapshot")))
    );
}

#[test]
fn without_a_zone_all_cameras_are_asked_as_many_as_may_be() {
    let mut bench = Bench::new();
    bench.alarm(1, None, true);
    assert_eq!(bench.asked(), [0, 1, 2, 3]);
    let mut other = Bench::new();
    other.alarm(1, Some("a-zone-without-cameras"), true);
    assert_eq!(other.asked(), [0, 1, 2, 3]);
}

#[test]
fn alarms_that_come_together_share_their_pictures() {
    let mut bench = Bench::new();
    (1..=5).for_each(|number| bench.alarm(number, Some("gate"), true));
    assert_eq!(bench.asked(), [0, 1]);
    while bench.answer(true) {}
    assert_eq!(bench.rows.len(), 10);
    assert_eq!(bench.given.len(), 2);
    bench.alarm(6, Some("gate"), true);
    assert_eq!((bench.asked().len(), bench.rows.len()), (0, 12), "what was taken just now is its picture too");
    bench.sleep(3_000);
    bench.alarm(7, Some("gate"), true);
    assert_eq!(bench.asked(), [0, 1]);
}

#[test]
fn what_was_said_is_said_again_until_the_record_has_it() {
    let mut bench = Bench::new();
    bench.alarm(1, Some("gate"), true);
    while bench.answer(true) {}
    assert!(bench.said.is_empty(), "there is nobody to say it to");
    bench.input(Input::PathUp(PathId(1), node()));
    assert_eq!(bench.said.len(), 2);
    bench.sleep(3_000);
    assert_eq!(bench.said.len(), 4);
    let keys = bench.said[..2].iter().map(|said| said.pictures[0].key()).collect();
    bench.input(Input::Kept(id(1), keys));
    bench.sleep(600_000);
    assert_eq!((bench.said.len(), bench.cameras.unconfirmed()), (4, 0));
    bench.restart();
    bench.input(Input::PathUp(PathId(2), node()));
    assert_eq!(bench.said.len(), 4, "and after a start neither");
}

#[test]
fn after_a_start_an_alarm_without_pictures_gets_them_late_or_is_said_to_have_none() {
    let mut bench = Bench::new();
    bench.alarm(1, Some("gate"), true);
    bench.restart();
    bench.input(Input::Restored(id(1), Some(name("gate")), now(1).wall));
    assert_eq!(bench.asked(), [0, 1]);
    bench.sleep(3_600_000);
    bench.input(Input::Restored(id(2), Some(name("yard")), now(1).wall));
    assert_eq!(bench.asked(), [0, 1]);
    assert!(bench.rows.values().filter(|row| row.event == id(2)).all(|row| row.picture.body().is_none()));
    assert_eq!(bench.rows.values().filter(|row| row.event == id(2)).count(), 3);
}

#[test]
fn while_an_officer_looks_there_is_one_picture_on_its_way_at_a_time() {
    let mut bench = Bench::new();
    bench.input(Input::PathUp(PathId(1), node()));
    bench.look(1, 1);
    assert_eq!(bench.asked(), [0]);
    bench.answer(true);
    assert_eq!((bench.live.len(), bench.said.len()), (1, 1));
    assert!(bench.said[0].live && bench.rows.is_empty(), "it is for whoever looks, and for nobody else");
    for _ in 0..3 {
        bench.sleep(3_000);
        bench.look(1, 1);
    }
    assert!(bench.asked().is_empty(), "the line has not carried the last one yet");
    bench.input(Input::Gone(bench.live[0]));
    bench.sleep(1);
    assert_eq!(bench.asked(), [1], "then the next camera's turn has come");
    bench.answer(false);
    bench.sleep(limits::LOOK_EVERY.as_millis().try_into().unwrap());
    assert_eq!(bench.asked(), [2]);
    bench.answer(true);
    bench.input(Input::Gone(bench.live[1]));
    bench.sleep(60_000);
    assert!(bench.asked().is_empty(), "nobody looks any longer");
}

#[test]
fn an_alarms_pictures_go_before_those_of_whoever_looks() {
    let mut bench = Bench::new();
    bench.input(Input::PathUp(PathId(1), node()));
    (1..=6).for_each(|number| bench.look(number, 1));
    assert_eq!(bench.asked(), [0], "one camera, one picture at a time");
    bench.alarm(9, Some("gate"), true);
    assert_eq!(bench.asked(), [0, 1]);
    bench.answer(true);
    assert_eq!(bench.shoots.last().map(|(_, camera, live)| (*camera, *live)), Some((0, false)));
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Alarm(u64, bool),
    Answer(bool),
    Up(u64),
    Down(u64),
    Confirm,
    Look(u64),
    Gone,
    Restart,
    Sleep(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..12_u64, any::<bool>()).prop_map(|(number, sent)| Act::Alarm(number, sent)),
        6 => any::<bool>().prop_map(Act::Answer),
        2 => (0..3_u64).prop_map(Act::Up),
        1 => (0..3_u64).prop_map(Act::Down),
        2 => Just(Act::Confirm),
        2 => (0..4_u64).prop_map(Act::Look),
        2 => Just(Act::Gone),
        1 => Just(Act::Restart),
        4 => (1..5_000_u64).prop_map(Act::Sleep),
    ]
}

proptest! {
    /// Whatever happens: once cameras answer and the region listens, each alarm has a word about each of its cameras in the record.
    #[test]
    fn nothing_is_lost_unsaid(acts in prop::collection::vec(act(), 0..150)) {
        let mut bench = Bench::new();
        let mut alarms = BTreeSet::new();
        for act in acts {
            match act {
                Act::Alarm(number, sent) => {
                    alarms.insert(number);
                    bench.alarm(number, Some("gate"), sent);
                }
                Act::Answer(good) => drop(bench.answer(good)),
                Act::Up(path) => bench.input(Input::PathUp(PathId(path), node())),
                Act::Down(path) => bench.input(Input::PathDown(PathId(path))),
                Act::Confirm => {
                    for said in std::mem::take(&mut bench.said) {
                        let keys = said.pictures.iter().map(Picture::key).collect();
                        bench.input(Input::Kept(said.event, keys));
                    }
                }
                Act::Look(number) => bench.look(number, number % 3),
                Act::Gone => {
                    if let Some(body) = bench.live.pop() {
                        bench.input(Input::Gone(body));
                    }
                }
                Act::Restart => {
                    bench.restart();
                    let at = now(bench.millis).wall;
                    alarms.iter().for_each(|number| bench.input(Input::Restored(id(*number), Some(name("gate")), at)));
                }
                Act::Sleep(millis) => bench.sleep(millis),
            }
        }
        bench.input(Input::PathUp(PathId(9), node()));
        for _ in 0..200 {
            bench.sleep(1_000);
            while bench.answer(true) {}
            for said in std::mem::take(&mut bench.said) {
                let keys = said.pictures.iter().map(Picture::key).collect();
                bench.input(Input::Kept(said.event, keys));
            }
        }
        for number in alarms {
            let known = bench.rows.values().filter(|row| row.event == id(number) && row.in_record).count();
            prop_assert_eq!(known, 2, "alarm {}", number);
        }
        prop_assert!(bench.asked().is_empty());
    }
}

#[test]
fn an_album_takes_each_picture_once_and_forgets_the_oldest_event() {
    let picture = |camera: &str, at: i64| Picture {
        camera: name(camera),
        at: WallTime(at),
        shot: Shot::Taken(BodyId::of(camera.as_bytes()), 9),
        address: Text::default(),
    };
    let mut album = Album::default();
    let said = |event: u64, live: bool, pictures: Vec<Picture>| Pictures { event: id(event), live, pictures };
    assert_eq!(album.add(said(1, false, vec![picture("a", 1), picture("b", 1)])).pictures.len(), 2);
    assert_eq!(album.add(said(1, false, vec![picture("a", 1), picture("a", 2)])).pictures, [picture("a", 2)]);
    assert_eq!(album.add(said(1, true, vec![picture("a", 9)])).pictures.len(), 1);
    assert_eq!(album.add(said(1, true, vec![picture("a", 8)])).pictures.len(), 0, "an older one was overtaken");
    assert_eq!((album.pictures(&id(1)).len(), album.live(&id(1)).count()), (3, 1));
    assert!(album.shows(&id(1), &BodyId::of(b"a")) && !album.shows(&id(2), &BodyId::of(b"a")));
    let forgotten: Vec<_> = (2..3_000 + limits::ALBUM_EVENTS as u64)
        .filter_map(|event| album.add(said(event, false, vec![picture("c", 1)])).forgotten)
        .collect();
    assert_eq!(forgotten.first(), Some(&id(1)));
    assert!(album.pictures(&id(1)).is_empty());
}
