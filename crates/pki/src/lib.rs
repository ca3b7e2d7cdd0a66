//! Who is who: the province's certificate authority, a node's own credentials, and what a peer's certificate says.
//!
//! Invariants:
//!
//! * A peer is nobody until its certificate is signed by our authority itself (no intermediates), names exactly one
//!   SPIFFE identity of our trust domain, and is meant for the side of the handshake on which it was shown.
//! * The calendar is not part of that. An expired or not yet valid certificate passes the handshake and is *flagged*
//!   ([`Validity`]), because an expired certificate must never silence an alarm and a relay whose clock battery died
//!   must still reach its broker. What a flagged peer may do is decided by whoever takes its messages.
//! * Only TLS 1.3, only mutual authentication, only the `ring` provider: there is no configuration that turns one of them off.

mod authority;
mod credentials;
mod files;
mod leaf;
mod period;
pub mod pin;
mod signing;
mod tickets;
mod verify;

#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityError, Issued};
pub use credentials::{Credentials, CredentialsError};
pub use files::FileError;
pub use leaf::{Peer, PeerError, peer_identity};
pub use period::{Period, Validity};
pub use signing::{Signatures, SigningError, SigningKey};
