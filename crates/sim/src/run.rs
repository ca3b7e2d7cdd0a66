//! Many seeds on many threads, and one seed with its story.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::check::Failure;
use crate::day::{self, Day, Tally};
use crate::province::Nature;
use crate::world::World;

/// Lines of the story of a failure that are shown.
const STORY: usize = 40;
/// After so many failures the rest is not worth the time.
const ENOUGH: usize = 8;

/// A seed that failed.
#[derive(Debug)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// What sort of world it was.
    pub nature: Nature,
    /// When, in seconds of the day.
    pub at: u64,
    /// Which promise was broken.
    pub failure: Failure,
    /// The last of what led there.
    pub story: Vec<String>,
}

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct Sum {
    /// Seeds that were run.
    pub seeds: u64,
    /// What was counted in all of them.
    pub tally: Tally,
    /// Those that failed, by seed.
    pub failed: Vec<Failed>,
}

/// Runs one seed.
///
/// # Errors
/// The first promise that was broken, with the world as it was then.
pub fn one(seed: u64, day: Day, nature: Nature, traced: bool) -> (World, Result<Tally, Failure>) {
    let mut world = day::world(seed, day, nature);
    world.trace.on = traced;
    let outcome = day::run(&mut world, day);
    (world, outcome)
}

/// Runs the seeds `from .. from + count` on so many threads. A seed that fails is run once more, for its story.
#[must_use]
pub fn many(from: u64, count: u64, day: Day, jobs: usize) -> Sum {
    let (next, failures) = (AtomicU64::new(0), AtomicUsize::new(0));
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count || failures.load(Ordering::Relaxed) >= ENOUGH {
                        return;
                    }
                    let seed = from.wrapping_add(at);
                    let nature = Nature::of(seed);
                    let outcome = one(seed, day, nature, false).1;
                    let failed = outcome.as_ref().err().map(|failure| {
                        failures.fetch_add(1, Ordering::Relaxed);
                        again(seed, day, nature, failure.clone())
                    });
                    // A thread that panicked has left a sum of whole seeds behind.
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    sum.seeds += 1;
                    sum.failed.extend(failed);
                    if let Ok(tally) = outcome {
                        sum.tally = sum.tally.and(tally);
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.failed.sort_by_key(|failed| failed.seed);
    sum
}

fn again(seed: u64, day: Day, nature: Nature, failure: Failure) -> Failed {
    let (world, _) = one(seed, day, nature, true);
    let story = world.trace.about(failure.event, STORY).into_iter().map(str::to_owned).collect();
    Failed { seed, nature, at: world.now / crate::world::SECOND, failure, story }
}
