//! One run from the first press to the judgement.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::chronicle::Chronicle;
use super::figures;
use super::history::{Answer, History, Spell};
use super::judge::{Finding, judge};
use super::load::Load;
use super::nemesis::{Trouble, strike};
use super::schedule::{Fault, schedule};
use super::site::Site;
use super::survey::survey;
use crate::lab::say;

/// An alarm that takes longer to its first screen than this in any fault is a finding. A region whose nodes are all dead shows nothing for some
/// seconds, the more the slower the machine is; what takes longer than this was forgotten by somebody and found again by chance.
const BOUND: Duration = Duration::from_secs(20);
/// How long people work before the first fault.
const WARM_UP: Duration = Duration::from_secs(3);
/// Findings that are printed of each kind.
const PRINTED: usize = 40;

/// Lines of each node's log that are printed when a region does not get well.
const LOG_LINES: usize = 8;

/// What a run is asked to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// About how long.
    pub length: Duration,
    /// What decides the faults and the people.
    pub seed: u64,
    /// Which faults; all if empty.
    pub only: Vec<Fault>,
    /// Presses a second.
    pub rate: f64,
    /// Broker nodes: one or three.
    pub brokers: usize,
    /// How long two nodes are dead, if it is not to be what suits the length.
    pub loss: Option<Duration>,
    /// Whether the folder stays also when all went well.
    pub keep: bool,
}

/// Runs it, prints what came of it, and says whether nothing was found.
///
/// # Errors
/// This machine has not what it takes.
pub fn run(options: &Options) -> Result<bool, String> {
    let steps = schedule(options.seed, options.length, &options.only, options.loss);
    say(&format!("ordeal: seed {}, {} faults, {} presses a second", options.seed, steps.len(), options.rate));
    let mut site = match Site::start(options.brokers) {
        Ok(site) => site,
        Err(Trouble::Skipped(why)) => return Err(why),
        Err(Trouble::Broken(why)) => {
            say(&format!("ordeal: FAILED before it began: {why}"));
            return Ok(false);
        }
    };
    site.wait_connected();
    let (seats, answering) = Site::seats();
    let chronicle = Chronicle::begin(seats, answering);
    let mut load = Load::start(&chronicle, &site.posts, options.rate, options.seed);
    std::thread::sleep(WARM_UP);
    let mut broken = Vec::new();
    let kinds = steps.iter().map(|step| step.fault).collect::<BTreeSet<_>>().len();
    for (at, step) in steps.iter().enumerate() {
        // Each has had its turn by then, and healing took longer than was thought.
        if at >= kinds && chronicle.now() > options.length {
            break;
        }
        let (fault, from) = (step.fault.name(), chronicle.now());
        let outcome = strike(&site, step);
        let number = format!("{:>3}/{} at {:>6.1} s {fault}", at + 1, steps.len(), from.as_secs_f64());
        match outcome {
            Ok(did) => {
                say(&format!("{number}: {did}"));
                chronicle.open().spells.push(Spell { fault, from, to: chronicle.now() });
            }
            Err(Trouble::Skipped(why)) => say(&format!("{number}: SKIPPED: {why}")),
            Err(Trouble::Broken(why)) => {
                say(&format!("{number}: BROKEN: {why}"));
                for broker in &site.brokers {
                    say(&format!(
                        "---- the end of the log of {}\n{}",
                        broker.name,
                        site.keeper.tail(&broker.name, LOG_LINES)
                    ));
                }
                chronicle.open().spells.push(Spell { fault, from, to: chronicle.now() });
                broken.push(Finding::Node(format!("{fault}: {why}")));
            }
        }
        std::thread::sleep(step.rest);
    }
    load.stop_pressing();
    survey(&site, &chronicle);
    let mut found = judge(&chronicle.open());
    found.extend(broken);
    found.extend(site.keeper.misdeeds().into_iter().chain(load.complaints()).map(Finding::Node));
    drop(load);
    let history = chronicle.open().clone();
    report(&history, &mut found);
    if options.keep || !found.is_empty() {
        say(&format!("its folder stays: {}", site.keep().display()));
    }
    if !found.is_empty() {
        say(&format!("ordeal: FAILED; again: --seed {} with the same options", options.seed));
    }
    Ok(found.is_empty())
}

fn report(history: &History, found: &mut Vec<Finding>) {
    let rows = figures::rows(history);
    let slowest = figures::slowest(&rows);
    if slowest > BOUND {
        found.push(Finding::Node(format!("an alarm took {slowest:?} to its first screen")));
    }
    say(&figures::table(&rows));
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for taking in &history.takings {
        let kind = match taking.answer {
            Answer::Noted => "noted",
            Answer::Taken => "taken by another",
            Answer::Unknown(_) => "unanswered",
        };
        *answers.entry(kind).or_default() += 1;
    }
    let contested = history
        .end
        .records
        .first()
        .map_or(0, |record| record.values().filter(|entry| entry.acknowledged.len() > 1).count());
    say(&format!(
        "{} presses kept, {} stored, {} shows, acknowledgements {answers:?}, {contested} alarms with two officers, {} words of owners; \
         slowest press to first screen {} ms",
        history.presses.len(),
        history.stored.len(),
        history.shows.len(),
        history.words.len(),
        slowest.as_millis(),
    ));
    for finding in found.iter().take(PRINTED) {
        say(&format!("  {finding}"));
    }
    say(&format!("{} findings", found.len()));
}
