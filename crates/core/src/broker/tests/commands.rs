//! Commands to schools: who may give them, whom they reach, and what their officers hear.

use super::*;
use crate::command::{
    CommandId, CommandReceipt, CommandRefusal, CommandStage, CommandState, Content, Instruction, NoticeAction,
    Priority, SealedCommand, Target,
};
use crate::message::COMMANDS_SINCE;
use crate::plan::{Area, Change, Label, School, Times};
use crate::record::{ApplyPlan, StageId, StagePlan};
use crate::relay::tests_support::{Lead, command};
use crate::time::Span;

const SEAT: PathId = PathId(2);
const OTHER: PathId = PathId(3);

fn says(text: &str) -> Instruction {
    let content = Content::Text(Text::new(text).unwrap());
    Instruction::Broadcast { content, priority: Priority::Live, volume: None }
}

fn to_school(number: u8, station: &str) -> SealedCommand {
    command(number, (station, "a"), Target::School(SchoolId(name("s1"))), says("离开大门"), 60)
}

fn said(sealed: &SealedCommand, stage: CommandStage) -> CommandReceipt {
    CommandReceipt {
        command: sealed.id(),
        stage,
        at: WallTime(5),
        by: NodeName::Relay(relay_id()),
        detail: Text::default(),
        took: None,
        skew: None,
    }
}

impl Bench {
    fn orders_command(&mut self, path: PathId, sealed: &SealedCommand) {
        self.hear(path, Message::CommandOrder(Box::new(sealed.clone())));
    }

    fn commands_to(&self, path: PathId) -> Vec<(CommandId, Span)> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        to.filter_map(|(.., m)| if let Message::Command(sealed, left) = m { Some((sealed.id(), *left)) } else { None })
            .collect()
    }

    fn states_to(&self, path: PathId) -> Vec<CommandState> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        to.filter_map(|(.., m)| if let Message::CommandState(state) = m { Some(*state.clone()) } else { None })
            .collect()
    }

    fn command_refused_to(&self, path: PathId) -> Vec<CommandRefusal> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        to.filter_map(|(.., m)| if let Message::CommandRefused(_, why) = m { Some(*why) } else { None }).collect()
    }

    fn confirmed_commands(&self) -> Vec<(CommandId, CommandStage)> {
        let to = self.sent.iter().filter(|(to, ..)| *to == RELAY);
        to.flat_map(|(.., m)| if let Message::CommandConfirmed(all) = m { all.clone() } else { vec![] }).collect()
    }

    fn stage_of(&self, id: &CommandId) -> Option<CommandStage> {
        self.broker.record().commands().get(id).and_then(|entry| entry.state().stage())
    }

    /// A plan in the record: schools `s1` … of county 361102, whose desk is `p1`.
    fn apply_plan(&mut self, schools: usize) {
        let area = |code: &str, desk: Option<&str>| Area {
            code: code.parse().unwrap(),
            name: Label::default(),
            desk: desk.map(|desk| StationId(name(desk))),
            times: Times::default(),
            holidays: Vec::default(),
            school_hours: Vec::default(),
        };
        let mut changes: Vec<Change> = [("360000", None), ("361100", None), ("361102", Some("p1"))]
            .into_iter()
            .map(|(code, desk)| Change::Area(area(code, desk).into()))
            .collect();
        for number in 1..=schools {
            let mut school = School::bare(SchoolId(name(&format!("s{number}"))), vec![StationId(name("p2"))]);
            school.area = Some("361102".parse().unwrap());
            changes.push(Change::School(school.into()));
        }
        let stage = StageId([7; 16]);
        self.proposals.push(Command::StagePlan(StagePlan { stage, part: 0, parts: 1, changes: changes.into() }));
        self.proposals.push(Command::ApplyPlan(ApplyPlan {
            stage,
            base: 0,
            digest: [0; 32],
            by: "broker/r1/n1".parse().unwrap(),
            who: Label::new("王").unwrap(),
            at: WallTime(1),
            note: Text::default(),
        }));
        self.commit();
        assert_eq!(self.broker.record().plan().version(), 1);
    }
}

#[test]
fn a_command_is_on_its_way_at_once_and_answered_when_the_record_has_it() {
    let mut bench = Bench::started();
    bench.greet_relay(WIRE_MINOR);
    bench.greet(SEAT, &seat("p1", "a"), None);
    let sealed = to_school(1, "p1");
    bench.orders_command(SEAT, &sealed);
    assert_eq!(
        bench.commands_to(RELAY),
        [(sealed.id(), Span::from_secs(60))],
        "the school need not wait for the record"
    );
    assert_eq!(bench.states_to(SEAT), [], "the officer must");
    bench.orders_command(SEAT, &sealed);
    assert_eq!(bench.proposals.len(), 1, "it waits already");
    bench.commit();
    assert_eq!(bench.states_to(SEAT)[0].stage(), Some(CommandStage::Stored));
    bench.hear(RELAY, Message::CommandReceipts(vec![said(&sealed, CommandStage::Accepted)]));
    assert_eq!(bench.confirmed_commands(), [], "not before the record has it");
    bench.commit();
    assert_eq!(bench.confirmed_commands(), [(sealed.id(), CommandStage::Accepted)]);
    assert_eq!(bench.states_to(SEAT)[0].stage(), Some(CommandStage::Accepted));
    bench.hear(RELAY, Message::CommandReceipts(vec![said(&sealed, CommandStage::Finished)]));
    bench.commit();
    assert_eq!(bench.stage_of(&sealed.id()), Some(CommandStage::Finished));
    // What comes late changes nothing, and its relay need not say it again.
    bench.hear(RELAY, Message::CommandReceipts(vec![said(&sealed, CommandStage::Playing)]));
    assert_eq!(bench.confirmed_commands(), [(sealed.id(), CommandStage::Playing)]);
    bench.orders_command(SEAT, &sealed);
    assert_eq!(bench.states_to(SEAT)[0].stage(), Some(CommandStage::Finished), "a repeat hears how it stands");
}

#[test]
fn only_who_answers_for_a_school_commands_it() {
    let mut bench = Bench::started();
    bench.broker = std::mem::replace(&mut bench.broker, Bench::started().broker).verifying(std::sync::Arc::new(Lead));
    bench.greet(SEAT, &seat("p9", "a"), None);
    bench.orders_command(SEAT, &to_school(1, "p9"));
    assert_eq!(bench.command_refused_to(SEAT), [CommandRefusal::NotYours]);
    bench.orders_command(SEAT, &to_school(2, "p1"));
    assert!(matches!(bench.reports.last(), Some(Report::Improper(..))), "in another seat's name");
    bench.greet(OTHER, &seat("p1", "a"), None);
    let mut forged = to_school(3, "p1");
    forged.bytes = std::sync::Arc::from([9; 8].as_slice());
    bench.orders_command(OTHER, &forged);
    assert_eq!(bench.command_refused_to(OTHER), [CommandRefusal::BadSignature]);
    let nowhere = command(4, ("p1", "a"), Target::School(SchoolId(name("s9"))), says("x"), 60);
    bench.orders_command(OTHER, &nowhere);
    assert_eq!(bench.command_refused_to(OTHER), [CommandRefusal::NoSchool]);
    assert!(bench.proposals.is_empty());
    // Whoever was given an alarm of the school may speak to it while its case is open.
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.proposals.push(Command::Escalate {
        event,
        stations: vec![StationId(name("p9"))],
        by: NodeName::Station(seat("p1", "a")),
        officer: None,
        at: WallTime(1),
        note: Text::default(),
    });
    bench.commit();
    bench.orders_command(SEAT, &to_school(5, "p9"));
    assert_eq!(bench.proposals.len(), 1);
}

#[test]
fn a_school_that_is_away_gets_it_later_with_what_is_left() {
    let mut bench = Bench::new(plan(), RecordState::default());
    bench.step(Input::Leads(true));
    bench.greet(SEAT, &seat("p1", "a"), None);
    let sealed = to_school(1, "p1");
    bench.orders_command(SEAT, &sealed);
    bench.commit();
    bench.wait(20_000);
    bench.up(RELAY, NodeName::Relay(relay_id()));
    bench.greet_relay(COMMANDS_SINCE - 1);
    bench.wait(1_000);
    assert_eq!(bench.commands_to(RELAY), [], "an older relay knows no commands");
    bench.greet_relay(WIRE_MINOR);
    assert_eq!(bench.commands_to(RELAY), [(sealed.id(), Span::from_secs(39))]);
    bench.wait(2_000);
    assert!(!bench.commands_to(RELAY).is_empty(), "said again until the relay answers");
    bench.hear(RELAY, Message::CommandReceipts(vec![said(&sealed, CommandStage::Accepted)]));
    bench.commit();
    bench.wait(30_000);
    assert_eq!(bench.commands_to(RELAY), []);
    bench.wait(30_000);
    assert_eq!(bench.stage_of(&sealed.id()), Some(CommandStage::Accepted), "it has it, and will say what came of it");
    bench.wait(3_700_000);
    bench.commit();
    assert_eq!(bench.stage_of(&sealed.id()), Some(CommandStage::Failed), "it never did");
}

#[test]
fn one_that_reached_nobody_expires_by_the_leaders_word_and_once() {
    let mut bench = Bench::new(plan(), RecordState::default());
    bench.greet(SEAT, &seat("p1", "a"), None);
    let sealed = to_school(1, "p1");
    bench.orders_command(SEAT, &sealed);
    bench.commit();
    bench.wait(61_000);
    assert!(bench.proposals.is_empty(), "who does not lead proposes nothing");
    // The leader died; this node leads now, and counts from when it saw the command.
    bench.step(Input::Leads(true));
    bench.wait(1);
    assert_eq!(bench.proposals.len(), 1);
    bench.commit();
    assert_eq!(bench.states_to(SEAT).last().and_then(CommandState::stage), Some(CommandStage::Expired));
    bench.up(RELAY, NodeName::Relay(relay_id()));
    bench.greet_relay(WIRE_MINOR);
    assert_eq!(bench.commands_to(RELAY), [], "it is never carried out");
    bench.wait(600_000);
    assert!(bench.proposals.is_empty());
}

#[test]
fn without_a_quorum_it_is_carried_out_and_said_to_be_provisional() {
    let mut bench = Bench::started();
    bench.greet_relay(WIRE_MINOR);
    bench.greet(SEAT, &seat("p1", "a"), None);
    bench.step(Input::Quorum(Some(Degraded { since: WallTime(1), why: Text::default() })));
    let sealed = to_school(1, "p1");
    bench.orders_command(SEAT, &sealed);
    assert_eq!(bench.commands_to(RELAY).len(), 1);
    assert_eq!(bench.states_to(SEAT)[0].standing, Standing::Provisional);
    bench.hear(RELAY, Message::CommandReceipts(vec![said(&sealed, CommandStage::Finished)]));
    assert_eq!(bench.states_to(SEAT)[0].stage(), Some(CommandStage::Finished));
    assert_eq!(bench.confirmed_commands(), [], "no record has it");
    bench.proposals.clear();
    bench.step(Input::Quorum(None));
    bench.wait(3_000);
    bench.commit();
    assert_eq!(bench.stage_of(&sealed.id()), Some(CommandStage::Stored));
    bench.hear(RELAY, Message::CommandReceipts(vec![said(&sealed, CommandStage::Finished)]));
    bench.commit();
    assert_eq!(bench.stage_of(&sealed.id()), Some(CommandStage::Finished));
}

#[test]
fn a_notice_goes_to_all_of_an_area_in_windows_and_is_counted() {
    let schools = limits::NOTICE_WINDOW + 40;
    let mut bench = Bench::new(Plan::default(), RecordState::default());
    bench.step(Input::Leads(true));
    bench.greet(SEAT, &seat("p1", "a"), None);
    let text = Text::new("就地避险").unwrap();
    let notice = |number| {
        let instruction = Instruction::Notice(NoticeAction::Shelter, text.clone());
        command(number, ("p1", "a"), Target::Area("3611".parse().unwrap()), instruction, 60)
    };
    bench.orders_command(SEAT, &notice(1));
    assert_eq!(bench.command_refused_to(SEAT), [CommandRefusal::NoPlan]);
    bench.apply_plan(schools);
    let relay = |number: usize| RelayId { school: SchoolId(name(&format!("s{number}"))), device: name("gate") };
    let path = |number: usize| PathId(100 + number as u64);
    for number in 2..=schools {
        bench.up(path(number), NodeName::Relay(relay(number)));
        let hello = Hello { software: String::new(), wire_minor: WIRE_MINOR, resume: None };
        bench.hear(path(number), Message::Hello(hello));
    }
    let sealed = notice(2);
    bench.orders_command(SEAT, &sealed);
    assert!(bench.sent.iter().all(|(.., m)| !matches!(m, Message::Command(..))), "the record says whom it is for");
    bench.commit();
    let reached = |bench: &Bench| {
        let to = bench.sent.iter().filter(|(.., m)| matches!(m, Message::Command(..))).map(|(path, ..)| *path);
        to.collect::<std::collections::BTreeSet<PathId>>()
    };
    let mut all = reached(&bench);
    assert_eq!(all.len(), limits::NOTICE_WINDOW);
    let mut open: Vec<usize> = (2..=schools).collect();
    while let Some(at) = open.iter().position(|number| all.contains(&path(*number))) {
        let number = open.remove(at);
        let by = NodeName::Relay(relay(number));
        let receipt = |stage| CommandReceipt { by: by.clone(), ..said(&sealed, stage) };
        bench.hear(path(number), Message::CommandReceipts(vec![receipt(CommandStage::Accepted)]));
        all.extend(reached(&bench));
        let done = if number.is_multiple_of(2) { CommandStage::Finished } else { CommandStage::Failed };
        bench.hear(path(number), Message::CommandReceipts(vec![receipt(done)]));
        all.extend(reached(&bench));
        if number.is_multiple_of(64) {
            bench.wait(100);
            bench.commit();
        }
    }
    for _ in 0..8 {
        bench.wait(2_100);
        bench.commit();
    }
    assert_eq!((open.len(), all.len()), (0, schools - 1));
    let progress = bench.broker.record().commands().get(&sealed.id()).unwrap().progress;
    let half = u32::try_from(schools / 2).unwrap();
    assert_eq!((progress.schools, progress.accepted), (2 * half, 2 * half - 1));
    assert_eq!((progress.finished, progress.failed, progress.open()), (half, half - 1, 1));
    bench.wait(60_000);
    bench.commit();
    let state = bench.states_to(SEAT).pop().unwrap();
    assert_eq!(state.progress.map(|progress| (progress.expired, progress.open())), Some((1, 0)));
    // School by school, for whoever asks.
    bench.hear(SEAT, Message::NoticeAsk(sealed.id(), None));
    let page = bench.sent.iter().find_map(|(.., m)| {
        if let Message::NoticeSchools(_, _, page, total) = m { Some((page.clone(), *total)) } else { None }
    });
    let (page, total) = page.unwrap();
    assert_eq!((page.len(), total), (limits::NOTICE_PAGE, 2 * half));
    assert_eq!(page[0].stage, Some(CommandStage::Expired), "s1 was away");
    let image = bench.broker.record().image();
    assert_eq!(RecordState::from_image(image.clone(), RecordLimits::default()).unwrap().image(), image);
}
