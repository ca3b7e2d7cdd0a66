//! Events to bytes, once, and back with every limit checked.

use huxiao_core::{Class, Details, Event, Kind, Mode, RelayId, SchoolId, Sealed, WallTime, limits};
use prost::Message as _;

use crate::error::WireError;
use crate::field;
use crate::proto;

/// Encodes an event. Done once, by its raiser; everyone after it forwards the bytes.
#[must_use]
pub fn seal(event: &Event) -> Sealed {
    let raw = proto::Event {
        id: event.id.as_bytes().to_vec(),
        school: event.relay.school.0.as_str().to_owned(),
        relay: event.relay.device.as_str().to_owned(),
        epoch: event.epoch,
        seq: event.seq,
        kind: event.kind.as_str().to_owned(),
        class: class_number(event.class),
        mode: mode_number(event.mode),
        device: event.device.as_ref().map(ToString::to_string).unwrap_or_default(),
        zone: event.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
        note: event.note.as_str().to_owned(),
        raised_at_us: event.raised_at.0,
        // What nearly every event is, costs nothing.
        count: if event.count == 1 { 0 } else { event.count },
        details: event.details.iter().map(raw_detail).collect(),
    };
    Sealed { event: event.clone().into(), bytes: raw.encode_to_vec().into(), signature: None }
}

/// Decodes an event and keeps its bytes as they are, fields unknown to this version included.
///
/// # Errors
/// [`WireError::Oversized`] beyond [`limits::EVENT_BYTES`]; [`WireError::Protobuf`]; [`WireError::Missing`] and
/// [`WireError::BadField`] for a field that is not within the limits or a class that the kind does not have.
pub fn unseal(bytes: &[u8]) -> Result<Sealed, WireError> {
    if bytes.len() > limits::EVENT_BYTES {
        return Err(WireError::Oversized { len: bytes.len(), limit: limits::EVENT_BYTES });
    }
    let raw = proto::Event::decode(bytes)?;
    let event = Event {
        id: field::event_id("event.id", &raw.id)?,
        relay: RelayId {
            school: SchoolId(field::name("event.school", &raw.school)?),
            device: field::name("event.relay", &raw.relay)?,
        },
        epoch: raw.epoch,
        seq: raw.seq,
        kind: kind(&raw.kind)?,
        class: class(raw.class)?,
        mode: mode(raw.mode)?,
        device: field::optional_name("event.device", &raw.device)?,
        zone: field::optional_name("event.zone", &raw.zone)?,
        note: field::text("event.note", &raw.note)?,
        raised_at: WallTime(raw.raised_at_us),
        count: raw.count.max(1),
        details: details(&raw.details)?,
    };
    let event = event.checked().map_err(|why| field::bad("event", why))?;
    Ok(Sealed { event: event.into(), bytes: bytes.into(), signature: None })
}

fn raw_detail((name, text): (&str, &str)) -> proto::Detail {
    proto::Detail { name: name.to_owned(), text: text.to_owned() }
}

fn details(raw: &[proto::Detail]) -> Result<Details, WireError> {
    let named = raw.iter().map(|detail| (detail.name.as_str(), detail.text.as_str()));
    Details::new(named).map_err(|why| field::bad("event.details", why))
}

/// A kind by its name; one that this version does not know is carried as it is.
fn kind(text: &str) -> Result<Kind, WireError> {
    let name = field::name("event.kind", text)?;
    Ok(Kind::known(name.as_str()).unwrap_or(Kind::Other(name)))
}

fn class(number: i32) -> Result<Class, WireError> {
    match proto::Class::try_from(number) {
        Ok(proto::Class::Unspecified) => Err(WireError::Missing("event.class")),
        Ok(proto::Class::P0) => Ok(Class::P0),
        Ok(proto::Class::P1) => Ok(Class::P1),
        Ok(proto::Class::P2) => Ok(Class::P2),
        Ok(proto::Class::P3) => Ok(Class::P3),
        Ok(proto::Class::P4) => Ok(Class::P4),
        Err(_) => Err(field::bad("event.class", format_args!("class {number} is not known to this version"))),
    }
}

fn class_number(class: Class) -> i32 {
    i32::from(match class {
        Class::P0 => proto::Class::P0,
        Class::P1 => proto::Class::P1,
        Class::P2 => proto::Class::P2,
        Class::P3 => proto::Class::P3,
        Class::P4 => proto::Class::P4,
    })
}

fn mode(number: i32) -> Result<Mode, WireError> {
    match proto::Mode::try_from(number) {
        Ok(proto::Mode::Unspecified) => Err(WireError::Missing("event.mode")),
        Ok(proto::Mode::Live) => Ok(Mode::Live),
        Ok(proto::Mode::Drill) => Ok(Mode::Drill),
        Ok(proto::Mode::Test) => Ok(Mode::Test),
        Err(_) => Err(field::bad("event.mode", format_args!("mode {number} is not known to this version"))),
    }
}

fn mode_number(mode: Mode) -> i32 {
    i32::from(match mode {
        Mode::Live => proto::Mode::Live,
        Mode::Drill => proto::Mode::Drill,
        Mode::Test => proto::Mode::Test,
    })
}
