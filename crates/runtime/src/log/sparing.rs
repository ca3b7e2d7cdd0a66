//! Lines about what others do wrong, sparingly: a peer that is never right must not fill the log.
//!
//! Invariant: what is not said is counted, and the next line says how many there were.

use huxiao_core::Span;
use tokio::time::Instant;

/// Between two lines of one kind.
const EVERY: Span = Span::from_secs(1);

/// Says whether a line of one kind may be written now.
#[derive(Debug, Clone, Default)]
pub struct Sparing {
    last: Option<Instant>,
    held_back: u64,
}

impl Sparing {
    /// If a line may be written now: how many were held back since the last one.
    pub fn turn(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last < EVERY) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_a_second_is_written_and_the_others_are_counted() {
        let mut sparing = Sparing::default();
        let said: Vec<_> = (0..100).map(|_| sparing.turn()).collect();
        assert_eq!(said.iter().flatten().copied().collect::<Vec<_>>(), [0]);
        tokio::time::advance(EVERY).await;
        assert_eq!((sparing.turn(), sparing.turn()), (Some(99), None));
    }
}
