//! The two kinds of connection between a pair of nodes.

use crate::event::Class;

/// Express and bulk never share a connection, so a photo never stands before an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Alarms, receipts, commands, faults: small, at once.
    Express,
    /// Supervision (P3), P4, and what is caught up after an absence: it fills a line, and leaves its queue to express.
    Bulk,
}

impl Lane {
    /// The lane for an event of `class`; `backlog` is what waited while its receiver was away.
    #[must_use]
    pub fn of(class: Class, backlog: bool) -> Self {
        match class {
            Class::P0 | Class::P1 => Lane::Express,
            Class::P2 if !backlog => Lane::Express,
            Class::P2 | Class::P3 | Class::P4 => Lane::Bulk,
        }
    }

    /// Its word in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Express => "express",
            Lane::Bulk => "bulk",
        }
    }
}
