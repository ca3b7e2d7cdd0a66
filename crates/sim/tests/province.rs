//! Days of a small province from a few seeds of each kind. The command `huxiao-sim` runs thousands, and longer ones.

use huxiao_sim::day::Day;
use huxiao_sim::province::Nature;
use huxiao_sim::run;
use huxiao_sim::world::MINUTE;

const SHORT: Day = Day { length: 4 * MINUTE, schools: 5 };

fn hold(seeds: std::ops::Range<u64>, nature: Nature) {
    let (mut kept, mut stored, mut failures) = (0, 0, Vec::new());
    for seed in seeds {
        let (world, outcome) = run::one(seed, SHORT, nature, false);
        match outcome {
            Ok(tally) => (kept, stored) = (kept + tally.kept, stored + tally.stored),
            Err(failure) => failures.push(format!("seed {seed} after {} s: {failure}", world.now / 1_000_000)),
        }
    }
    assert!(failures.is_empty(), "{} seeds failed:\n{}", failures.len(), failures.join("\n"));
    assert!(kept > 0 && stored > 0, "a world in which nothing happens shows nothing");
}

#[test]
fn what_was_promised_holds_after_crashes_cuts_and_failing_disks() {
    hold(0..16, Nature::default());
}

#[test]
fn a_lost_inbox_is_filled_again() {
    hold(10_000..10_006, Nature { loses_inboxes: true, ..Nature::default() });
}

#[test]
fn a_lost_record_loses_no_alarm() {
    hold(20_000..20_006, Nature { loses_record: true, ..Nature::default() });
}

#[test]
fn a_record_that_forgets_finished_events_keeps_what_is_open() {
    hold(30_000..30_006, Nature { small_record: true, ..Nature::default() });
}

#[test]
fn a_school_that_no_plan_knew_at_first_is_routed_in_the_end() {
    hold(40_000..40_006, Nature { late_plan: true, ..Nature::default() });
}

/// The checks themselves, checked: a driver that says "on disk" too early is found out.
#[test]
fn a_disk_that_lies_is_found_out() {
    let lying = Nature { lying_disks: true, ..Nature::default() };
    let liars = (0..8).filter(|seed| run::one(*seed, SHORT, lying, false).1.is_err()).count();
    assert!(liars > 4, "{liars} of 8 were found");
}

#[test]
fn a_seed_is_one_run_for_ever_whether_it_is_watched_or_not() {
    let of = |traced| {
        let (world, outcome) = run::one(3, SHORT, Nature::default(), traced);
        (outcome.map_err(|failure| failure.to_string()), world.lines.iter().map(|line| line.bytes).collect::<Vec<_>>())
    };
    assert_eq!(of(false), of(true));
    let (world, _) = run::one(3, SHORT, Nature::default(), true);
    assert!(world.trace.all().count() > 20, "a watched run tells its story");
}

#[test]
fn many_threads_come_to_the_same_sum_as_one() {
    let day = Day { length: MINUTE, schools: 5 };
    let (one, two) = (run::many(100, 4, day, 1), run::many(100, 4, day, 2));
    assert_eq!((one.seeds, one.tally), (4, two.tally));
    assert!(one.failed.is_empty() && two.failed.is_empty());
}
