//! The application error codes of a closed connection (RFC 9000 §20.2). Streams carry the codes of `huxiao_wire::WireError`.
//!
//! Invariant: a code never changes its meaning; the other side may be years older.

use quinn::VarInt;

/// The node is stopping; another one, or this one a little later, will take the session.
pub(crate) const SHUTDOWN: VarInt = VarInt::from_u32(0x01);
/// The certificate is fine and its identity is not welcome here: wrong role, revoked, our own, or not the one dialled.
pub(crate) const NOT_ACCEPTED: VarInt = VarInt::from_u32(0x02);
/// The same identity has opened newer sessions than it may have at once.
pub(crate) const SUPERSEDED: VarInt = VarInt::from_u32(0x03);
/// More bad frames than an honest peer sends.
pub(crate) const BAD_FRAMES: VarInt = VarInt::from_u32(0x04);
/// The handshake took too long.
pub(crate) const HANDSHAKE_TIMEOUT: VarInt = VarInt::from_u32(0x05);
/// The driver closed the session for a reason of its own.
pub(crate) const CLOSED: VarInt = VarInt::from_u32(0x06);
/// The node has as many sessions as it takes.
pub(crate) const FULL: VarInt = VarInt::from_u32(0x07);

/// Whoever asked does not wait for the answer any more, or whoever was asked will not read on: a stream between peers.
pub(crate) const GIVEN_UP: VarInt = VarInt::from_u32(0x121);

/// Never sent: over TCP there is no place for a code, and this stands for whatever it would have been.
pub(crate) const UNSAID: VarInt = VarInt::from_u32(0x00);

/// A stream whose frame did not come in time. Beside the codes of `WireError`, which begin at 0x101.
pub(crate) const FRAME_TIMEOUT: VarInt = VarInt::from_u32(0x120);

/// A code's words for logs.
pub(crate) fn words(code: u64) -> &'static str {
    match u32::try_from(code) {
        Ok(0x00) => "it did not say why, as over TCP nobody can",
        Ok(0x01) => "it is stopping",
        Ok(0x02) => "it does not accept this node's identity",
        Ok(0x03) => "this node has opened newer sessions than it may have at once",
        Ok(0x04) => "it could not read many of this node's frames",
        Ok(0x05) => "the handshake took too long",
        Ok(0x06) => "its own decision",
        Ok(0x07) => "it has as many sessions as it takes",
        _ => "a reason that this version does not know",
    }
}
