//! How a node stops: asked once, everybody sees it, and there is an end to the waiting.
//!
//! Invariant: the phases only go forward, running → draining → over. A deadline once set is never moved later.

use std::sync::Arc;

use huxiao_core::Span;
use tokio::sync::watch;
use tokio::time::Instant;

/// The token that every long-lived task holds. Clones see and move the same state.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: Arc<watch::Sender<Phase>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Draining { deadline: Instant },
    Over,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A token that nobody has used yet.
    #[must_use]
    pub fn new() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Running)) }
    }

    /// Asks everybody to finish what they hold, for at most `within`. A second call can only shorten the time.
    pub fn request(&self, within: Span) {
        let wanted = Instant::now() + within;
        self.phase.send_if_modified(|phase| match phase {
            Phase::Running => {
                *phase = Phase::Draining { deadline: wanted };
                true
            }
            Phase::Draining { deadline } if wanted < *deadline => {
                *deadline = wanted;
                true
            }
            Phase::Draining { .. } | Phase::Over => false,
        });
    }

    /// Ends the draining now, finished or not.
    pub fn force(&self) {
        self.phase.send_if_modified(|phase| std::mem::replace(phase, Phase::Over) != Phase::Over);
    }

    /// Whether somebody has asked to stop.
    #[must_use]
    pub fn requested(&self) -> bool {
        *self.phase.borrow() != Phase::Running
    }

    /// Whether the time for draining is used up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match *self.phase.borrow() {
            Phase::Running => false,
            Phase::Draining { deadline } => deadline <= Instant::now(),
            Phase::Over => true,
        }
    }

    /// When the draining ends at the latest; `None` while nobody has asked to stop.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match *self.phase.borrow() {
            Phase::Running => None,
            Phase::Draining { deadline } => Some(deadline),
            Phase::Over => Some(Instant::now()),
        }
    }

    /// Waits until somebody asks to stop. At once if that has been.
    pub async fn wait(&self) {
        let mut phase = self.phase.subscribe();
        // An error means that the sender is gone, which `self` rules out.
        let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
    }

    /// Waits until the time for draining is used up: the moment to let go of whatever is still open.
    pub async fn over(&self) {
        let mut phase = self.phase.subscribe();
        loop {
            let now = *phase.borrow_and_update();
            match now {
                Phase::Over => return,
                Phase::Running => {
                    let _ = phase.changed().await;
                }
                Phase::Draining { deadline } => tokio::select! {
                    () = tokio::time::sleep_until(deadline) => return,
                    _ = phase.changed() => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_deadline_only_comes_nearer_and_ends_the_wait() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.requested() && shutdown.deadline().is_none());
        let start = Instant::now();
        shutdown.request(Span::from_secs(10));
        shutdown.request(Span::from_secs(60));
        assert_eq!(shutdown.deadline(), Some(start + Span::from_secs(10)));
        shutdown.request(Span::from_secs(4));
        shutdown.wait().await;
        assert!(!shutdown.is_over());
        shutdown.over().await;
        assert_eq!(Instant::now() - start, Span::from_secs(4));
        assert!(shutdown.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn force_ends_a_wait_that_is_under_way() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.over().await }
        });
        tokio::task::yield_now().await;
        shutdown.request(Span::from_secs(3_600));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let before = Instant::now();
        shutdown.force();
        waiting.await.unwrap();
        assert_eq!(Instant::now(), before);
        shutdown.request(Span::from_secs(60));
        assert!(shutdown.is_over(), "a request after force does not bring the node back");
    }
}
