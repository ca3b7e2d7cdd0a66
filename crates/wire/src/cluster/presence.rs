//! Who holds sessions with a node, in raw parts and back.

use huxiao_core::supervision::{PresenceAsk, PresencePart};
use huxiao_core::{NodeName, limits};

use crate::error::WireError;
use crate::field;
use crate::proto;

pub(super) fn raw_ask(ask: &PresenceAsk) -> proto::PresenceAsk {
    let after = ask.after.as_ref().map(ToString::to_string).unwrap_or_default();
    proto::PresenceAsk { epoch: ask.epoch, version: ask.version, after }
}

pub(super) fn ask(raw: &proto::PresenceAsk) -> Result<PresenceAsk, WireError> {
    let after = if raw.after.is_empty() { None } else { Some(field::node("presence.after", &raw.after)?) };
    Ok(PresenceAsk { epoch: raw.epoch, version: raw.version, after })
}

pub(super) fn raw_part(part: &PresencePart) -> proto::PresencePart {
    let names = |list: &[NodeName]| list.iter().map(ToString::to_string).collect();
    proto::PresencePart {
        epoch: part.epoch,
        version: part.version,
        whole: part.whole,
        up: names(&part.up),
        down: names(&part.down),
        more: part.more,
    }
}

pub(super) fn part(raw: &proto::PresencePart) -> Result<PresencePart, WireError> {
    field::at_most("presence.names", raw.up.len() + raw.down.len(), limits::PRESENCE_NAMES)?;
    let names = |field: &'static str, list: &[String]| {
        list.iter().map(|name| field::node(field, name)).collect::<Result<Vec<_>, _>>()
    };
    if raw.epoch == 0 {
        return Err(WireError::Missing("presence.epoch"));
    }
    Ok(PresencePart {
        epoch: raw.epoch,
        version: raw.version,
        whole: raw.whole,
        up: names("presence.up", &raw.up)?,
        down: names("presence.down", &raw.down)?,
        more: raw.more,
    })
}
