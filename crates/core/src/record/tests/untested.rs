//! Who is listed as untested.

use super::*;
use crate::event::Mode;
use crate::plan::{Change, Plan, School};

const DAY: i64 = 86_400_000_000;

fn test(number: u8, school: &str, kind: Kind, at: i64) -> Command {
    let mut event = event(kind);
    (event.id, event.mode) = (id(number), Mode::Test);
    event.relay.school = school.parse().unwrap();
    let Command::Admit(admission) = admit(number, Kind::Panic, true) else { panic!("admitted") };
    Command::Admit(Admission { sealed: seal(&event), at: WallTime(at), ..admission })
}

#[test]
fn a_school_is_untested_when_nobody_pressed_there_for_as_long_as_its_plan_says() {
    let school = |code: &str, every: Option<u16>| {
        let mut school = School::bare(code.parse().unwrap(), vec!["p1".parse().unwrap()]);
        school.test_every_days = every;
        Change::School(school.into())
    };
    let plan =
        Plan::of_parts(&[school("s1", None), school("s2", Some(7)), school("s3", None), school("s4", None)]).unwrap();
    let mut bench = Bench::new(RecordLimits::default());
    let now = 100 * DAY;
    bench.commit(test(1, "s1", Kind::Panic, now - 31 * DAY));
    bench.commit(test(2, "s2", Kind::Test, now - 8 * DAY));
    bench.commit(test(3, "s3", Kind::SelfTest, now));
    bench.commit(test(4, "s1", Kind::Panic, now - 40 * DAY));
    let listed = |days| {
        let found = untested(&plan, bench.state.tests(), WallTime(now), days);
        found.map(|one| (one.school.id.to_string(), one.every_days, one.tested.by_itself.is_some())).collect::<Vec<_>>()
    };
    let expected = [("s2", 7, false), ("s3", 31, true), ("s4", 31, false)];
    assert_eq!(
        listed(None),
        expected.map(|(code, days, by_itself)| (code.to_owned(), days, by_itself)),
        "a relay's own test is not one by hand, and an older test takes nothing back"
    );
    assert_eq!(listed(Some(30)).len(), 3);
    assert_eq!(listed(Some(8)).iter().map(|(code, ..)| code.as_str()).collect::<Vec<_>>(), ["s1", "s3", "s4"]);
}
