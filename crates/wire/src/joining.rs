//! What events have to do with each other, from and to its Protocol Buffers form.

use huxiao_core::record::Bond;

use crate::error::WireError;
use crate::field;
use crate::proto;

/// Nothing for an event that stands alone.
pub(crate) fn raw(bond: Bond) -> Option<proto::Bond> {
    let kind = match bond {
        Bond::Alone => return None,
        Bond::Repeat(_) => proto::BondKind::Repeat,
        Bond::Child(_) => proto::BondKind::Child,
        Bond::Follows(_) => proto::BondKind::Follows,
    };
    Some(proto::Bond { kind: kind.into(), event: bond.to().map(|id| id.as_bytes().to_vec()).unwrap_or_default() })
}

pub(crate) fn bond(field: &'static str, raw: Option<&proto::Bond>) -> Result<Bond, WireError> {
    let Some(raw) = raw else { return Ok(Bond::Alone) };
    let id = field::event_id(field, &raw.event)?;
    match proto::BondKind::try_from(raw.kind) {
        Ok(proto::BondKind::Repeat) => Ok(Bond::Repeat(id)),
        Ok(proto::BondKind::Child) => Ok(Bond::Child(id)),
        Ok(proto::BondKind::Follows) => Ok(Bond::Follows(id)),
        Ok(proto::BondKind::Unspecified) => Err(WireError::Missing(field)),
        Err(_) => Err(field::bad(field, format_args!("kind {} is not known to this version", raw.kind))),
    }
}
