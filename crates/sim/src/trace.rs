//! What is told of a run: nothing while thousands of seeds run, everything of the one that is run again.
//!
//! Invariant: a trace changes nothing in the world.

use std::collections::VecDeque;

use huxiao_core::EventId;

/// Lines that are kept for the end of a run that failed.
const KEPT: usize = 20_000;

/// Where the story of a world goes.
#[derive(Debug, Default)]
pub struct Trace {
    /// Whether anything is noted.
    pub on: bool,
    lines: VecDeque<(Option<EventId>, String)>,
}

impl Trace {
    /// Notes what `words` says, of an event or of the world.
    pub fn note(&mut self, now: u64, event: Option<EventId>, words: impl FnOnce() -> String) {
        if !self.on {
            return;
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        let minutes = format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
        let event_words = event.map_or(String::new(), |id| format!(" {}", short(&id)));
        self.lines.push_back((event, format!("{minutes}{event_words} {}", words())));
    }

    /// The whole story.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|(_, line)| line.as_str())
    }

    /// What concerns an event or befell the world: the last so many lines.
    #[must_use]
    pub fn about(&self, event: Option<EventId>, last: usize) -> Vec<&str> {
        let about = self.lines.iter().filter(|(of, _)| of.is_none() || event.is_none() || *of == event);
        let mut lines: Vec<&str> = about.rev().take(last).map(|(_, line)| line.as_str()).collect();
        lines.reverse();
        lines
    }
}

/// An id's last eight digits: enough to tell events of one run apart.
#[must_use]
pub fn short(id: &EventId) -> String {
    let text = id.to_string();
    text.get(text.len().saturating_sub(8)..).unwrap_or_default().to_owned()
}
