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
    Sealed { event: Arc::new(event.clone()), bytes: Arc::from(event.id.as_bytes().as_slice()), signature: None }
}

/// A command that this seat signs with a lead that only [`Lead`] takes.
pub(crate) fn command(
    number: u8,
    by: (&str, &str),
    target: crate::command::Target,
    instruction: crate::command::Instruction,
    ttl_secs: u64,
) -> crate::command::SealedCommand {
    use crate::command::{CommandId, SchoolCommand, SealedCommand};
    use crate::id::{SeatId, StationId};
    use crate::signature::{Algorithm, Signature};
    let name = |text: &str| Name::new(text).unwrap();
    let command = SchoolCommand {
        id: CommandId::from_bytes([number; 16]),
        target,
        instruction,
        by: SeatId { station: StationId(name(by.0)), seat: name(by.1) },
        officer: name("014"),
        reason: Text::default(),
        issued_at: WallTime(i64::from(number)),
        ttl: crate::time::Span::from_secs(ttl_secs),
        case: None,
        zones: Vec::new(),
        device: None,
    };
    let (certificate, bytes) = (Arc::from(&b"certificate"[..]), Arc::from([number].as_slice()));
    let signature = Signature { algorithm: Algorithm::ED25519, certificate, bytes };
    SealedCommand { command: Arc::new(command), bytes: Arc::from([number; 8].as_slice()), signature }
}

/// Takes for a signature what [`command`] makes: the first byte of the message.
#[derive(Debug)]
pub(crate) struct Lead;

impl crate::signature::Verifier for Lead {
    fn verify(
        &self,
        _: crate::signature::Purpose,
        message: &[u8],
        signature: &crate::signature::Signature,
        _: &crate::id::NodeName,
    ) -> Result<(), crate::signature::Flaw> {
        let fits = message.first() == signature.bytes.first();
        if fits { Ok(()) } else { Err(crate::signature::Flaw::Bytes) }
    }

    fn was_valid(&self, _: &crate::signature::Signature, _: WallTime) -> bool {
        true
    }
}
