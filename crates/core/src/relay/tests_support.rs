//! Events for the tests of this crate.

use std::sync::Arc;

use crate::event::{Class, Event, Kind, Mode, Sealed, Text};
use crate::id::{EventId, Name, RelayId, SchoolId};
use crate::rng::Rng;
use crate::time::WallTime;

/// A relay of school `s1`.
pub(crate) fn relay_id() -> RelayId {
    RelayId { school: SchoolId(Name::new("s1").unwrap()), device: Name::new("gate").unwrap() }
}

/// An event of that relay.
pub(crate) fn event(kind: Kind) -> Event {
    let class = kind.class().unwrap_or(Class::P2);
    Event {
        id: EventId::generate(WallTime(1_700_000_000_000_000), &mut Rng::new(7)),
        relay: relay_id(),
        epoch: 1,
        seq: 1,
        kind,
        class,
        mode: Mode::Live,
        device: None,
        zone: None,
        note: Text::default(),
        raised_at: WallTime(1_700_000_000_000_000),
        count: 1,
        details: crate::event::Details::default(),
    }
}

/// Bytes that stand for an event, where nobody looks into them.
pub(crate) fn seal(event: &Event) -> Sealed {
    Sealed { event: Arc::new(event.clone()), bytes: Arc::from(event.id.as_bytes().as_slice()) }
}
