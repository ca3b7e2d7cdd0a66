//! The short ones of the scenarios; the gate runs all of them in release.

use huxiao_sim::scenario;

fn figures(name: &str) -> Vec<(String, String)> {
    let found = scenario::ALL.iter().find(|scenario| scenario.name == name);
    let outcome = found.map(|scenario| (scenario.run)(1).map_err(|failure| failure.to_string()));
    let figures = outcome.map(|outcome| outcome.map(|report| report.figures));
    assert!(matches!(&figures, Some(Ok(figures)) if !figures.is_empty()), "{name}: {figures:?}");
    figures.and_then(Result::ok).unwrap_or_default()
}

#[test]
fn an_alarm_on_a_clean_link_takes_four_kibibytes_of_each_path_at_most() {
    assert_eq!(figures("clean"), figures("clean"), "the same seed prints the same figures");
}

#[test]
fn lost_receipts_cost_copies_and_no_alarm() {
    figures("lost-receipts");
}

#[test]
fn a_line_that_swallows_everything_delays_nothing_that_goes_over_a_good_one() {
    figures("black-hole");
}

#[test]
fn officers_on_two_sides_learn_whose_the_alarm_is() {
    figures("two-sides");
}

#[test]
fn names_are_told_apart() {
    let mut names: Vec<_> = scenario::ALL.iter().map(|scenario| scenario.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), scenario::ALL.len());
}
