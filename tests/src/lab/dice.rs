//! Chance that can be had again: every random test prints its seed, and `HUXIAO_SEED` replays it.

use std::time::Duration;

use huxiao_core::Rng;

/// The seed of this run: `HUXIAO_SEED` if set, else from the clock. Printed with `test`'s name, so that a failure can be replayed.
#[must_use]
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("HUXIAO_SEED").ok().map(|text| text.parse().expect("HUXIAO_SEED is a number"));
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let seed = given.unwrap_or_else(|| u64::try_from(clock()).unwrap());
    println!("{test}: HUXIAO_SEED={seed}");
    seed
}

/// Dice with the throws that tests need.
pub struct Dice(Rng);

impl Dice {
    /// Dice of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end.max(1)
    }

    /// One of `list`.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        let at = self.below(list.len() as u64);
        &list[usize::try_from(at).unwrap()]
    }

    /// A time below `end`.
    pub fn time(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(end.as_micros()).unwrap()))
    }
}
