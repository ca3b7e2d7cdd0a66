//! Commands at a school, in the trouble that they are there for.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::Machine;
use crate::command::{Content, Priority};
use crate::lane::Lane;
use crate::message::{Hello, WIRE_MINOR};
use crate::relay::tests_support::{Lead, command, relay_id, seal};
use crate::relay::{Input, RelayConfig};

const PATH: PathId = PathId(1);

struct Bench {
    relay: Relay,
    now: u64,
    wall: i64,
    kept: BTreeMap<u64, CommandRow>,
    plays: Vec<CommandId>,
    silenced: Vec<CommandId>,
    said: Vec<CommandReceipt>,
    forged: usize,
    /// Whether the disk answers.
    disk: bool,
}

fn says(priority: Priority) -> Instruction {
    Instruction::Broadcast { content: Content::Text(Text::new("请离开").unwrap()), priority, volume: None }
}

fn broadcast(number: u8, priority: Priority) -> SealedCommand {
    command(number, ("p1", "a"), Target::School(relay_id().school), says(priority), 60)
}

fn stop(number: u8, which: Option<u8>) -> SealedCommand {
    let which = which.map(|number| CommandId::from_bytes([number; 16]));
    command(number, ("p1", "a"), Target::School(relay_id().school), Instruction::Stop(which), 60)
}

fn id(number: u8) -> CommandId {
    CommandId::from_bytes([number; 16])
}

impl Bench {
    fn new() -> Self {
        let (kept, plays, silenced, said) = (BTreeMap::new(), vec![], vec![], vec![]);
        let relay = Self::machine(0, 0, vec![]);
        let mut bench = Self { relay, now: 0, wall: 0, kept, plays, silenced, said, forged: 0, disk: true };
        bench.connect();
        bench
    }

    fn machine(now: u64, wall: i64, rows: Vec<CommandRow>) -> Relay {
        let config = RelayConfig {
            relay: relay_id(),
            epoch: 1,
            next_slot: 1,
            copy_rate: limits::COPY_BYTES_PER_SECOND,
            plan: None,
            spare_nodes: false,
            self_test: None,
            seed: 1,
            seal,
            software: String::new(),
        };
        let now = Now { mono: Timestamp(now), wall: WallTime(wall) };
        Relay::new(now, config, vec![]).commanded(now, Arc::new(Lead), rows)
    }

    fn connect(&mut self) {
        let node: NodeName = "broker/r1/n1".parse().unwrap();
        self.step(Input::PathUp(PATH, node, PathInfo::plain(Lane::Express)));
        let hello = Hello { software: String::new(), wire_minor: WIRE_MINOR, resume: None };
        self.step(Input::Message(PATH, Message::Hello(hello)));
    }

    fn restart(&mut self, wall: i64) {
        let rows = self.kept.values().cloned().collect();
        (self.now, self.wall) = (0, wall);
        self.relay = Self::machine(0, wall, rows);
        self.plays.clear();
        self.drain();
        self.connect();
    }

    fn clock(&self) -> Now {
        Now { mono: Timestamp(self.now), wall: WallTime(self.wall + i64::try_from(self.now).unwrap()) }
    }

    fn step(&mut self, input: Input) {
        self.relay.handle(self.clock(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Persist(seq, Write::PutCommand(row)) if self.disk => {
                    self.kept.insert(row.slot, *row);
                    self.relay.handle(self.clock(), Input::Persisted(seq));
                }
                Output::Persist(_, Write::ForgetCommand(slot)) => drop(self.kept.remove(&slot)),
                Output::Play(play) => self.plays.push(play.id),
                Output::Silence(id) => self.silenced.push(id),
                Output::Send(_, _, _, Message::CommandReceipts(said)) => {
                    for receipt in said {
                        if !self.said.contains(&receipt) {
                            self.said.push(receipt);
                        }
                    }
                }
                Output::Report(Report::Forged(..)) => self.forged += 1,
                _ => {}
            }
        }
        self.relay.check().unwrap();
    }

    fn wait(&mut self, millis: u64) {
        let until = self.now + millis * 1_000;
        while let Some(due) = self.relay.poll_timeout().filter(|due| due.0 <= until) {
            self.now = self.now.max(due.0);
            self.relay.handle_timeout(self.clock());
            self.drain();
        }
        self.now = until;
    }

    fn hear(&mut self, sealed: &SealedCommand, left: u64) {
        self.step(Input::Message(PATH, Message::Command(Box::new(sealed.clone()), Span::from_secs(left))));
    }

    fn done(&mut self, number: u8) {
        self.step(Input::Ended(id(number), Ended::Done(Span::from_secs(1), Text::default())));
    }

    fn stages(&self, number: u8) -> Vec<CommandStage> {
        self.relay
            .command_of(&id(number))
            .map_or(vec![], |view| view.row.receipts.iter().map(|said| said.stage).collect())
    }
}

use CommandStage::{Accepted, Expired, Failed, Finished, Playing, Queued, Stopped};

#[test]
fn what_is_to_be_heard_is_kept_first_heard_once_and_told_until_the_record_has_it() {
    let mut bench = Bench::new();
    bench.disk = false;
    let words = broadcast(1, Priority::Live);
    bench.hear(&words, 60);
    assert_eq!((bench.plays.len(), bench.said.len()), (0, 0), "not before it is on the disk");
    bench.disk = true;
    bench.restart(0);
    assert_eq!(bench.relay.commands().count(), 0, "it was lost with the power, and nobody was told otherwise");
    bench.hear(&words, 60);
    bench.hear(&words, 60);
    assert_eq!(bench.plays, [id(1)], "once");
    bench.done(1);
    bench.wait(1_000);
    assert_eq!(bench.stages(1), [Accepted, Playing, Finished]);
    bench.said.clear();
    bench.wait(10_000);
    assert!(bench.said.iter().any(|said| said.stage == Finished), "said again");
    let all = [Accepted, Playing, Finished].map(|stage| (id(1), stage)).to_vec();
    bench.step(Input::Message(PATH, Message::CommandConfirmed(all)));
    bench.said.clear();
    bench.wait(60_000);
    assert_eq!(bench.said, [], "the record has it");
    bench.restart(0);
    bench.hear(&words, 60);
    assert_eq!(bench.plays, [], "remembered across restarts");
}

#[test]
fn what_is_not_signed_by_its_seat_is_refused_and_does_not_stand_in_the_way_of_what_is() {
    let mut bench = Bench::new();
    let words = broadcast(1, Priority::Live);
    let forged = SealedCommand { bytes: Arc::from([9; 8].as_slice()), ..words.clone() };
    bench.hear(&forged, 60);
    assert_eq!((bench.plays.len(), bench.forged, bench.said[0].stage), (0, 1, CommandStage::Refused));
    bench.hear(&words, 60);
    assert_eq!(bench.plays, [id(1)]);
    bench.hear(&forged, 60);
    assert_eq!((bench.plays.len(), bench.forged), (1, 2));
    let elsewhere = command(2, ("p1", "a"), Target::School("s2".parse().unwrap()), says(Priority::Live), 60);
    bench.hear(&elsewhere, 60);
    assert!(bench.relay.command_of(&id(2)).is_none() && bench.plays.len() == 1);
}

#[test]
fn what_goes_before_interrupts_and_what_was_interrupted_is_heard_afterwards() {
    let mut bench = Bench::new();
    bench.hear(&broadcast(1, Priority::Routine), 60);
    bench.hear(&broadcast(2, Priority::Drill), 60);
    assert_eq!((bench.plays.clone(), bench.silenced.clone()), (vec![id(1)], vec![id(1)]));
    bench.hear(&broadcast(3, Priority::Prompt), 60);
    assert_eq!(bench.silenced, [id(1)], "once is enough");
    bench.step(Input::Ended(id(1), Ended::Silenced(Span::from_secs(2))));
    assert_eq!(bench.plays, [id(1), id(3)], "the highest first");
    bench.done(3);
    bench.done(2);
    bench.done(1);
    assert_eq!(bench.plays, [id(1), id(3), id(2), id(1)]);
    for number in 1..=3 {
        assert_eq!(bench.stages(number).last(), Some(&Finished), "{number}");
    }
    assert!(bench.stages(2).contains(&Queued));
}

#[test]
fn a_stop_ends_what_is_heard_and_what_waits_even_if_it_overtakes() {
    let mut bench = Bench::new();
    bench.hear(&broadcast(1, Priority::Live), 60);
    bench.hear(&broadcast(2, Priority::Live), 60);
    bench.disk = false;
    bench.hear(&stop(3, None), 60);
    assert_eq!(
        (bench.stages(2), bench.silenced.clone()),
        (vec![Accepted, Queued, Stopped], vec![id(1)]),
        "no disk is waited for"
    );
    bench.disk = true;
    bench.step(Input::Ended(id(1), Ended::Silenced(Span::from_millis(300))));
    assert_eq!(bench.stages(1), [Accepted, Playing, Stopped]);
    assert_eq!(bench.relay.command_of(&id(1)).unwrap().row.receipts[2].took, Some(Span::from_millis(300)));
    assert_eq!(bench.stages(3).last(), Some(&Finished));
    bench.hear(&stop(5, Some(4)), 60);
    bench.hear(&broadcast(4, Priority::Live), 60);
    assert_eq!((bench.stages(4), bench.plays.len()), (vec![Accepted, Stopped], 1));
}

#[test]
fn what_is_too_late_is_never_heard_whatever_the_clock_says() {
    let mut bench = Bench::new();
    bench.hear(&broadcast(1, Priority::Live), 60);
    bench.hear(&broadcast(2, Priority::Live), 10);
    bench.wait(10_001);
    assert_eq!(bench.stages(2), [Accepted, Queued, Expired]);
    bench.done(1);
    assert_eq!(bench.plays, [id(1)]);
    bench.hear(&broadcast(3, Priority::Live), 0);
    assert_eq!(bench.stages(3), [Accepted, Expired]);
    // The power goes while one waits, and the clock comes back a year ahead: only the region knows what is left.
    bench.hear(&broadcast(4, Priority::Live), 60);
    bench.hear(&broadcast(5, Priority::Live), 60);
    bench.restart(31_000_000_000_000);
    assert_eq!(bench.plays, []);
    bench.hear(&broadcast(5, Priority::Live), 20);
    assert_eq!(bench.plays, [id(5)]);
    bench.wait(61_000);
    assert_eq!(
        bench.stages(4).last(),
        Some(&Failed),
        "it was being heard when the power went, and nobody says that it may go on"
    );
    // A clock that went back makes nothing live longer than it was given.
    bench.done(5);
    bench.hear(&broadcast(6, Priority::Live), 60);
    bench.hear(&broadcast(7, Priority::Live), 60);
    bench.restart(-31_000_000_000_000);
    assert_eq!(bench.plays, [id(6)], "interrupted by the restart, heard again");
    bench.wait(61_000);
    assert_eq!(bench.stages(7).last(), Some(&Expired));
}

#[test]
fn an_all_clear_is_shown_until_the_next_alarm() {
    let mut bench = Bench::new();
    let instruction = Instruction::AllClear(Text::default());
    bench.wall = 1_000_000;
    bench.hear(&command(1, ("p1", "a"), Target::School(relay_id().school), instruction, 60), 60);
    assert!(bench.relay.all_clear().is_some() && bench.plays.is_empty());
    bench.restart(2_000_000);
    assert!(bench.relay.all_clear().is_some());
    let press = crate::relay::Press {
        kind: crate::event::Kind::Panic,
        mode: crate::event::Mode::Live,
        device: None,
        zone: None,
        note: Text::default(),
        details: crate::event::Details::default(),
    };
    bench.step(Input::Raise { ticket: crate::relay::Ticket(1), press, idempotency_key: None, live: false });
    assert!(bench.relay.all_clear().is_none());
}

#[derive(Debug, Clone)]
enum Op {
    Hear(u8, Priority, u64),
    Stop(u8, Option<u8>),
    End(bool),
    Fail,
    Wait(u64),
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let priority = prop::sample::select(Priority::ALL.to_vec());
    prop_oneof![
        4 => (1..60_u8, priority, 0..30_u64).prop_map(|(number, priority, left)| Op::Hear(number, priority, left)),
        1 => (100..120_u8, prop::option::of(1..60_u8)).prop_map(|(number, which)| Op::Stop(number, which)),
        4 => any::<bool>().prop_map(Op::End),
        1 => Just(Op::Fail),
        2 => (1..20_000_u64).prop_map(Op::Wait),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_one_thing_is_heard_at_a_time_and_each_ends_once(ops in prop::collection::vec(op(), 1..80)) {
        let mut bench = Bench::new();
        let mut hearing: Option<CommandId> = None;
        for op in ops {
            let before = bench.plays.len();
            match op {
                Op::Hear(number, priority, left) => bench.hear(&broadcast(number, priority), left),
                Op::Stop(number, which) => bench.hear(&stop(number, which), 60),
                Op::End(whole) => {
                    if let Some(id) = hearing.take() {
                        let ended = if bench.silenced.contains(&id) && !whole {
                            Ended::Silenced(Span::from_secs(1))
                        } else {
                            Ended::Done(Span::from_secs(1), Text::default())
                        };
                        bench.silenced.retain(|other| *other != id);
                        bench.step(Input::Ended(id, ended));
                    }
                }
                Op::Fail => {
                    if let Some(id) = hearing.take() {
                        bench.silenced.retain(|other| *other != id);
                        bench.step(Input::Ended(id, Ended::Failed(Text::new("no sound").unwrap())));
                    }
                }
                Op::Wait(millis) => bench.wait(millis),
                Op::Restart => {
                    let wall = bench.clock().wall.0;
                    hearing = None;
                    bench.silenced.clear();
                    bench.restart(wall);
                }
            }
            let new = &bench.plays[before.min(bench.plays.len())..];
            prop_assert!(new.len() <= 1, "{new:?} begin at once");
            if let Some(id) = new.first() {
                prop_assert_eq!(hearing.replace(*id), None, "something else is heard");
            }
            for view in bench.relay.commands() {
                let stages: Vec<_> = view.row.receipts.iter().map(|said| said.stage).collect();
                let legal = stages.windows(2).all(|pair| pair[0].may_follow(pair[1]));
                prop_assert!(legal && stages.first().is_none_or(|first| CommandStage::Stored.may_follow(*first)), "{stages:?}");
            }
        }
        // In the end everything comes to its end, and whoever waits for the record is told so.
        for _ in 0..200 {
            if let Some(id) = bench.plays.last().copied().filter(|id| hearing == Some(*id)) {
                let count = bench.plays.len();
                bench.step(Input::Ended(id, Ended::Done(Span::from_secs(1), Text::default())));
                hearing = bench.plays.get(count).copied();
            }
            bench.wait(1_000);
            hearing = hearing.or_else(|| bench.plays.last().copied().filter(|id| bench.stages(id.as_bytes()[0]).last() == Some(&Playing)));
        }
        for view in bench.relay.commands() {
            prop_assert!(view.row.is_ended(), "{:?}", view.row);
        }
    }
}
