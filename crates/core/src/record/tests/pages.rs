//! Paging through record and archive: every event once, whatever moves meanwhile.

use super::*;
use crate::event::{Class, Mode};

/// Somebody who pages, a little at a time.
struct Reader {
    cursor: Cursor,
    filter: EventFilter,
    seen: Vec<EventId>,
}

impl Reader {
    fn new(filter: EventFilter) -> Self {
        Self { cursor: Cursor::default(), filter, seen: Vec::new() }
    }

    /// Turns one page of at most `limit` looks; false when there is nothing behind it.
    fn turn(&mut self, bench: &Bench, limit: usize) -> bool {
        match bench.state.page(self.cursor, &self.filter, limit, limit).unwrap() {
            Page::Archive { mut from, upto } => {
                let before = from;
                for (number, entry) in bench.archive.range(from.archived + 1..=upto).take(limit) {
                    from.archived = *number;
                    if !before.is_past(entry) && self.filter.matches(entry) {
                        self.seen.push(entry.admission.sealed.event.id);
                    }
                }
                self.cursor = from;
                true
            }
            Page::Record(slice) => {
                self.seen.extend(slice.entries.iter().map(|entry| entry.admission.sealed.event.id));
                // As it goes to whoever pages and comes back.
                self.cursor = slice.next.to_string().parse().unwrap();
                slice.more
            }
        }
    }
}

#[test]
fn an_event_that_leaves_the_record_between_two_pages_is_not_passed_over() {
    let mut bench = Bench::new(finished(0));
    for number in 1..=4 {
        bench.commit(admit(number, Kind::Panic, true));
    }
    let mut reader = Reader::new(EventFilter::default());
    assert!(reader.turn(&bench, 2));
    assert_eq!(reader.seen, [id(1), id(2)]);
    // One that was seen and one that was not.
    bench.commit(note(3, Stage::Acknowledged, 1));
    bench.commit(note(1, Stage::Acknowledged, 1));
    while reader.turn(&bench, 2) {}
    assert_eq!(reader.seen, [id(1), id(2), id(3), id(4)]);
    // What comes in later is behind the last page.
    bench.commit(admit(5, Kind::Panic, true));
    while reader.turn(&bench, 2) {}
    assert_eq!(reader.seen.last(), Some(&id(5)));
    assert_eq!(reader.seen.len(), 5);
}

#[test]
fn only_what_is_wanted_is_given() {
    let mut bench = Bench::new(finished(10));
    let mut raise = |number: u8, kind: Kind, at: i64, mode: Mode, school: &str| {
        let Command::Admit(mut admission) = admit(number, kind.clone(), true) else { panic!("an admission") };
        let mut event = event(kind);
        (event.id, event.mode, event.relay.school) = (id(number), mode, school.parse().unwrap());
        (admission.sealed, admission.at) = (seal(&event), WallTime(at));
        bench.commit(Command::Admit(admission));
    };
    raise(1, Kind::Panic, 10, Mode::Live, "s1");
    raise(2, Kind::Fire, 20, Mode::Drill, "s2");
    raise(3, Kind::Assist, 30, Mode::Test, "s1");
    raise(4, Kind::Status, 40, Mode::Live, "s2");
    let all = EventFilter::default;
    for (filter, wanted) in [
        (all(), vec![1, 2, 3, 4]),
        (EventFilter { since: Some(WallTime(20)), ..all() }, vec![2, 3, 4]),
        (EventFilter { until: Some(WallTime(20)), ..all() }, vec![1]),
        (EventFilter { since: Some(WallTime(20)), until: Some(WallTime(40)), ..all() }, vec![2, 3]),
        (EventFilter { classes: vec![Class::P0, Class::P1], ..all() }, vec![1, 2, 3]),
        (EventFilter { kinds: vec![Kind::Fire], ..all() }, vec![2]),
        (EventFilter { modes: vec![Mode::Live], ..all() }, vec![1, 4]),
        (EventFilter { schools: vec!["s1".parse().unwrap()], modes: vec![Mode::Test], ..all() }, vec![3]),
    ] {
        let mut reader = Reader::new(filter.clone());
        while reader.turn(&bench, 1) {}
        assert_eq!(reader.seen, wanted.into_iter().map(id).collect::<Vec<_>>(), "{filter:?}");
    }
}

#[test]
fn a_place_that_is_not_of_this_record_is_refused() {
    let mut bench = Bench::new(finished(10));
    bench.commit(Command::Found { record: RecordId([0xab; 16]) });
    bench.commit(admit(1, Kind::Panic, true));
    let page = |cursor: &str| bench.state.page(cursor.parse().unwrap(), &EventFilter::default(), 9, 9);
    let own = "ab".repeat(16);
    assert!(matches!(page(&format!("0-0-{own}")), Ok(Page::Record(slice)) if slice.entries.len() == 1 && !slice.more));
    assert!(matches!(page("0-0-"), Ok(Page::Record(slice)) if slice.next.record.is_some()));
    assert_eq!(page("0-1-"), Err(CursorError::OtherRecord));
    assert_eq!(page(&format!("0-0-{}", "cd".repeat(16))), Err(CursorError::OtherRecord));
    assert_eq!(page(&format!("1-0-{own}")), Err(CursorError::Behind));
    assert_eq!(page(&format!("0-{}-{own}", u64::MAX)), Err(CursorError::Behind));
    for text in
        ["", "1", "1-2", "1-2-zz", "1-2-ab", "+1-2-", "1-2--", "-1-2-", "99999999999999999999-0-", &"9".repeat(500)]
    {
        let Err(CursorError::Shape(said)) = text.parse::<Cursor>() else { panic!("{text}") };
        assert!(said.len() <= 80);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Pages of any size, turned at any time while events come in, are answered and leave: each event once.
    #[test]
    fn every_event_is_seen_once(
        steps in prop::collection::vec(prop_oneof![3 => command().prop_map(Some), 2 => Just(None)], 1..200),
        keep in 0..12_usize,
        limit in 1..7_usize,
    ) {
        let mut bench = Bench::new(finished(keep));
        let mut admitted = BTreeSet::new();
        let mut reader = Reader::new(EventFilter::default());
        for step in steps {
            match step {
                Some(command) => {
                    if let Effect::Admitted(id) = bench.commit(command) {
                        admitted.insert(id);
                    }
                }
                None => {
                    reader.turn(&bench, limit);
                }
            }
        }
        while reader.turn(&bench, limit) {}
        let seen: BTreeSet<EventId> = reader.seen.iter().copied().collect();
        prop_assert_eq!(seen.len(), reader.seen.len(), "one was seen twice");
        prop_assert_eq!(seen, admitted);
    }
}
