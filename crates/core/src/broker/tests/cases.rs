//! Officers act on cases: what they are told, and who else is.

use super::*;
use crate::case::{Action, ActionId, CaseOrder, CaseRefusal, Reason, State, Summary};
use crate::message::CASES_SINCE;

const FIRST: PathId = PathId(2);
const SECOND: PathId = PathId(3);

fn order(number: u8, action: Action, by: &SeatId) -> CaseOrder {
    CaseOrder {
        id: ActionId([number; 16]),
        event: id(1),
        action,
        by: NodeName::Station(by.clone()),
        officer: by.seat.clone(),
        at: WallTime(4),
        note: Text::default(),
    }
}

impl Bench {
    /// Two seats of two stations; the first has taken alarm 1.
    fn with_case() -> Self {
        let mut bench = Bench::started();
        bench.greet(FIRST, &seat("p1", "a"), None);
        bench.greet(SECOND, &seat("p2", "b"), None);
        let event = bench.raise(1, Kind::Panic);
        bench.commit();
        bench.say(FIRST, &seat("p1", "a"), event, Stage::Acknowledged);
        bench.commit();
        bench
    }

    fn orders(&mut self, path: PathId, order: &CaseOrder) {
        self.hear(path, Message::Case(Box::new(order.clone())));
    }

    fn cases_to(&self, path: PathId) -> Vec<Summary> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        to.flat_map(|(.., m)| if let Message::Cases(all) = m { all.clone() } else { vec![] }).collect()
    }

    fn taken_to(&self, path: PathId) -> Vec<(ActionId, u64)> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        to.filter_map(|(.., m)| if let Message::CaseTaken(id, step, _) = m { Some((*id, *step)) } else { None })
            .collect()
    }

    fn refused_to(&self, path: PathId) -> Vec<CaseRefusal> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        to.filter_map(|(.., m)| if let Message::CaseRefused(_, why, _) = m { Some(*why) } else { None }).collect()
    }
}

#[test]
fn an_order_is_answered_when_the_record_has_it_and_every_seat_is_told() {
    let mut bench = Bench::with_case();
    assert_eq!(bench.cases_to(SECOND), [], "the receipt says all of an acknowledgement");
    let dispatch = order(1, Action::Dispatch, &seat("p1", "a"));
    bench.orders(FIRST, &dispatch);
    assert_eq!(bench.taken_to(FIRST), [], "not before it is in the record");
    bench.orders(FIRST, &dispatch);
    assert_eq!(bench.proposals.len(), 1, "it waits already");
    bench.commit();
    assert_eq!(bench.taken_to(FIRST), [(dispatch.id, 2)]);
    for path in [FIRST, SECOND] {
        let [case] = &bench.cases_to(path)[..] else { panic!("one case") };
        assert_eq!((case.state, case.steps), (State::Dispatched, 2));
    }
    assert_eq!(bench.cases_to(RELAY), [], "the school is told nothing new");
    bench.orders(FIRST, &dispatch);
    assert_eq!((bench.taken_to(FIRST), bench.proposals.len()), (vec![(dispatch.id, 2)], 0), "known");
}

#[test]
fn what_is_refused_is_said_with_its_reason_and_with_whose_it_is() {
    let mut bench = Bench::with_case();
    bench.orders(SECOND, &order(1, Action::Dispatch, &seat("p2", "b")));
    bench.commit();
    let refused = bench.sent.iter().find_map(|(to, _, message)| match message {
        Message::CaseRefused(_, why, Some(case)) if *to == SECOND => Some((*why, case.owner.clone())),
        _ => None,
    });
    let (why, owner) = refused.unwrap();
    assert_eq!((why, owner.unwrap().by), (CaseRefusal::NotOwner, NodeName::Station(seat("p1", "a"))));
    // In somebody else's name, and of an event that the station does not have.
    bench.orders(SECOND, &order(2, Action::Note, &seat("p1", "a")));
    assert!(matches!(bench.reports.last(), Some(Report::Improper(..))), "{:?}", bench.reports);
    let reports = bench.reports.len();
    bench.orders(SECOND, &order(0, Action::Note, &seat("p2", "b")));
    assert_eq!((bench.reports.len(), bench.proposals.len()), (reports + 1, 0), "an order without an id");
    bench.greet(PathId(9), &seat("p9", "x"), None);
    bench.orders(PathId(9), &order(3, Action::Note, &seat("p9", "x")));
    assert_eq!((bench.refused_to(PathId(9)), bench.proposals.len()), (vec![CaseRefusal::Unknown], 0));
}

#[test]
fn without_a_quorum_an_order_is_refused_unless_it_may_be_on_its_way() {
    let mut bench = Bench::with_case();
    let early = order(1, Action::Dispatch, &seat("p1", "a"));
    bench.orders(FIRST, &early);
    let why = Text::new("alone").unwrap();
    bench.step(Input::Quorum(Some(Degraded { since: WallTime(1), why })));
    bench.orders(FIRST, &early);
    assert_eq!(bench.refused_to(FIRST), [], "nobody knows what became of it");
    bench.orders(FIRST, &order(2, Action::Note, &seat("p1", "a")));
    assert_eq!(bench.refused_to(FIRST), [CaseRefusal::NoQuorum]);
    assert!(bench.journal.is_empty(), "a step is never provisional");
    bench.wait(5_000);
    assert_eq!(bench.proposals.len(), 1, "nothing is proposed meanwhile");
    bench.step(Input::Quorum(None));
    bench.commit();
    assert_eq!(bench.taken_to(FIRST), [(early.id, 2)]);
}

#[test]
fn an_order_is_proposed_again_until_its_seat_has_given_it_up() {
    let mut bench = Bench::with_case();
    bench.orders(FIRST, &order(1, Action::Dispatch, &seat("p1", "a")));
    let command = bench.proposals.pop().unwrap();
    bench.step(Input::NotCommitted { command: command.clone(), why: NotCommitted::NoQuorum });
    bench.wait(200);
    assert_eq!(bench.proposals, [command], "an election is over soon");
    bench.proposals.clear();
    bench.wait(12_000);
    assert!((3..8).contains(&bench.proposals.len()), "{} times", bench.proposals.len());
    bench.proposals.clear();
    bench.wait(20_000);
    assert_eq!(bench.proposals.len(), 0, "its officer was told that nobody confirmed it");
}

#[test]
fn a_transfer_gives_the_alarm_to_the_other_station() {
    let mut bench = Bench::with_case();
    bench.greet(PathId(7), &seat("p7", "c"), None);
    bench.orders(FIRST, &order(1, Action::Transfer("p7".parse().unwrap()), &seat("p1", "a")));
    bench.commit();
    assert_eq!(bench.events_to(PathId(7)), [id(1)]);
    let [case] = &bench.cases_to(PathId(7))[..] else { panic!("one case") };
    assert_eq!((case.state, case.owner.as_ref()), (State::Raised, None));
    bench.orders(PathId(7), &order(2, Action::TakeOver, &seat("p7", "c")));
    bench.commit();
    assert_eq!(bench.taken_to(PathId(7)).len(), 1);
    assert_eq!(bench.cases_to(FIRST).len(), 1, "whoever had it is told who has it");
}

#[test]
fn a_seat_that_comes_is_told_of_what_is_open_and_of_what_was_closed_meanwhile() {
    let mut bench = Bench::with_case();
    bench.orders(FIRST, &order(1, Action::Dispatch, &seat("p1", "a")));
    bench.commit();
    let resume = |index| Some(Resume { record: RECORD, index });
    bench.greet(PathId(8), &seat("p2", "c"), resume(bench.index));
    assert_eq!(bench.cases_to(PathId(8)).len(), 1, "it is open");
    let before = bench.index;
    bench.orders(FIRST, &order(2, Action::Close(Reason::False), &seat("p1", "a")));
    bench.commit();
    for (path, index, told) in [(PathId(10), before, 1), (PathId(11), bench.index, 0)] {
        bench.greet(path, &seat("p2", &format!("d{}", path.0)), resume(index));
        assert_eq!(bench.cases_to(path).len(), told, "up to {index}");
    }
    // One of an older minor knows no cases.
    bench.up(PathId(12), NodeName::Station(seat("p2", "old")));
    let hello = Hello { software: String::new(), wire_minor: CASES_SINCE - 1, resume: None };
    bench.hear(PathId(12), Message::Hello(hello));
    assert_eq!(bench.cases_to(PathId(12)), []);
    bench.orders(FIRST, &order(3, Action::Reopen, &seat("p1", "a")));
    bench.commit();
    assert_eq!((bench.cases_to(PathId(12)), bench.cases_to(SECOND).len()), (vec![], 1));
}

#[test]
fn of_an_event_that_has_left_the_record_nothing_more_is_done() {
    let limits = RecordLimits { finished: 0, open_cases: 1, ..RecordLimits::default() };
    let mut bench = Bench::new(plan(), RecordState::new(limits));
    bench.up(RELAY, NodeName::Relay(relay_id()));
    bench.greet(FIRST, &seat("p1", "a"), None);
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.say(FIRST, &seat("p1", "a"), event, Stage::Acknowledged);
    bench.commit();
    let close = order(1, Action::Close(Reason::False), &seat("p1", "a"));
    bench.orders(FIRST, &close);
    bench.commit();
    assert_eq!(bench.archive.len(), 1, "it left by the command that closed it");
    assert_eq!(bench.taken_to(FIRST), [(close.id, 2)], "and its officer is answered all the same");
    assert_eq!(bench.cases_to(FIRST).len(), 1);
    let entries = bench.archive.clone();
    for (asked, taken, refused) in
        [(close, vec![2], vec![]), (order(2, Action::Note, &seat("p1", "a")), vec![], vec![CaseRefusal::Archived])]
    {
        bench.orders(FIRST, &asked);
        let (ticket, _) = bench.recalls.pop().unwrap();
        bench.step(Input::Recalled(ticket, entries.clone()));
        let steps: Vec<u64> = bench.taken_to(FIRST).into_iter().map(|(_, step)| step).collect();
        assert_eq!((steps, bench.refused_to(FIRST)), (taken, refused));
    }
}

#[test]
fn a_record_that_is_brought_over_answers_what_waits_and_tells_what_is_new() {
    let mut bench = Bench::with_case();
    let dispatch = order(1, Action::Dispatch, &seat("p1", "a"));
    bench.orders(FIRST, &dispatch);
    let mut record = bench.broker.record().clone();
    record.apply(99, Command::Case { order: Box::new(dispatch.clone()), heard: WallTime(5) });
    bench.step(Input::Restored(Box::new(record)));
    assert_eq!(bench.taken_to(FIRST), [(dispatch.id, 2)]);
    assert_eq!((bench.cases_to(SECOND).len(), bench.broker.poll_timeout().is_some()), (1, true));
    bench.proposals.clear();
    bench.wait(20_000);
    assert_eq!(bench.proposals.len(), 0, "it waits no longer");
}

#[test]
fn a_history_is_given_page_by_page_from_the_record_and_from_the_archive() {
    let mut bench = Bench::with_case();
    for number in 1..=100 {
        let note =
            CaseOrder { note: Text::new(&"长".repeat(200)).unwrap(), ..order(number, Action::Note, &seat("p2", "b")) };
        bench.orders(SECOND, &note);
        bench.commit();
    }
    let entry = bench.broker.record().get(&id(1)).unwrap().clone();
    let pages = |bench: &mut Bench, archived: bool| {
        let (mut steps, mut pages) = (Vec::new(), 0);
        loop {
            bench.hear(FIRST, Message::CaseAsk(id(1), steps.len() as u64));
            if archived {
                let (ticket, _) = bench.recalls.pop().unwrap();
                bench.step(Input::Recalled(ticket, vec![entry.clone()]));
            }
            let page = bench.sent.iter().find_map(|(to, _, message)| match message {
                Message::CaseSteps(_, steps, total) if *to == FIRST => Some((steps.clone(), *total)),
                _ => None,
            });
            let (page, total) = page.unwrap();
            assert!(
                total == 101 && page.iter().map(crate::case::Step::weight).sum::<usize>() <= limits::CASE_PART_BYTES
            );
            pages += 1;
            if page.is_empty() {
                return (steps, pages);
            }
            steps.extend(page);
        }
    };
    let (steps, count) = pages(&mut bench, false);
    assert!(steps.iter().eq(entry.case.history.steps()) && count > 2, "{count} pages");
    // A station that does not have the event is told nothing.
    bench.greet(PathId(9), &seat("p9", "x"), None);
    bench.hear(PathId(9), Message::CaseAsk(id(1), 0));
    assert!(!bench.sent.iter().any(|(.., message)| matches!(message, Message::CaseSteps(..))));
    let close = order(200, Action::Close(Reason::False), &seat("p1", "a"));
    let limits = RecordLimits { finished: 0, ..RecordLimits::default() };
    let image = bench.broker.record().image();
    let mut record = RecordState::from_image(image, limits).unwrap();
    record.apply(9_999, Command::Case { order: Box::new(close), heard: WallTime(5) });
    bench.step(Input::Restored(Box::new(record)));
    assert!(bench.broker.record().is_archived(&id(1)));
    assert_eq!(pages(&mut bench, true), (steps, count));
}
