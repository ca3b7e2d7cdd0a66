//! One relay or station: here, away, silent, on its way back.
//!
//! ```text
//!           lose           silent_after            see             looks good looks
//!  Here ───────────► Away ─────────────► Silent ─────────► Returning ─────────────► Here
//!    ▲                 │   told: silent     ▲                  │        told: back
//!    └───── see ───────┘                    └────── lose ──────┘
//! ```

use crate::limits;
use crate::time::{Now, Span, Timestamp, WallTime};

/// When somebody counts as silent, and when as back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Silent after so long without any session.
    pub silent_after: Span,
    /// Back after so many looks at which it has one.
    pub looks: u32,
    /// From one look to the next.
    pub look_every: Span,
}

impl Rule {
    /// For a relay.
    pub const RELAY: Rule = Rule {
        silent_after: limits::RELAY_SILENT_AFTER,
        looks: limits::BACK_LOOKS,
        look_every: limits::BACK_LOOK_EVERY,
    };
    /// For a station.
    pub const STATION: Rule = Rule { silent_after: limits::STATION_UNWATCHED_AFTER, ..Rule::RELAY };
}

/// What is to be told, and since when there was silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Silent(WallTime),
    Back(WallTime),
}

/// Where one of them stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Track {
    /// It has a session.
    Here,
    /// It has none, and that is no news yet.
    Away { since: Now },
    /// It has none, and people know.
    Silent { since: WallTime },
    /// It has one again, and that is no news yet.
    Returning { since: WallTime, looks: u32, next: Timestamp },
}

impl Track {
    /// It has a session.
    pub(super) fn see(&mut self, now: Now, rule: Rule) {
        match *self {
            Track::Away { .. } => *self = Track::Here,
            // The first of the looks.
            Track::Silent { since } => {
                *self = Track::Returning { since, looks: 1, next: now.mono + rule.look_every };
            }
            Track::Here | Track::Returning { .. } => {}
        }
    }

    /// It has none any more.
    pub(super) fn lose(&mut self, now: Now) {
        match *self {
            Track::Here => *self = Track::Away { since: now },
            Track::Returning { since, .. } => *self = Track::Silent { since },
            Track::Away { .. } | Track::Silent { .. } => {}
        }
    }

    /// What has become of it by now.
    pub(super) fn tick(&mut self, now: Now, rule: Rule) -> Option<Turn> {
        match *self {
            Track::Away { since } if now.mono.since(since.mono) >= rule.silent_after => {
                *self = Track::Silent { since: since.wall };
                Some(Turn::Silent(since.wall))
            }
            Track::Returning { since, looks, next } if next <= now.mono => {
                if looks + 1 >= rule.looks {
                    *self = Track::Here;
                    return Some(Turn::Back(since));
                }
                *self = Track::Returning { since, looks: looks + 1, next: now.mono + rule.look_every };
                None
            }
            _ => None,
        }
    }

    /// Since when it is silent, and whether it is on its way back; `None` if it is not silent as far as people know.
    pub(super) fn silent(&self) -> Option<(WallTime, bool)> {
        match *self {
            Track::Silent { since } => Some((since, false)),
            Track::Returning { since, .. } => Some((since, true)),
            Track::Here | Track::Away { .. } => None,
        }
    }
}
