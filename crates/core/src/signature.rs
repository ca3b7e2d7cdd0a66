//! Signatures from end to end: what a seat says to a school, and what a school says to a seat, holds whoever carried it.
//!
//! The traits are here, and the mathematics is elsewhere: an algorithm is a number on the wire, so that another one (SM2) can stand beside
//! Ed25519 one day.
//!
//! Invariant: what is signed begins with a [`Purpose`], so that a signature made for one thing never stands for another.

use std::fmt;
use std::sync::Arc;

use crate::event::{Class, Sealed};
use crate::id::NodeName;
use crate::limits;
use crate::time::WallTime;

/// How a signature was made. Numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Algorithm(pub u32);

impl Algorithm {
    /// Ed25519 (RFC 8032).
    pub const ED25519: Algorithm = Algorithm(1);

    /// Its name in answers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::ED25519 => "ed25519",
            _ => "unknown",
        }
    }
}

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A seat's command to a school.
    Command,
    /// An alarm of a relay.
    Event,
}

impl Purpose {
    /// The bytes before what is signed.
    #[must_use]
    pub fn prefix(self) -> &'static [u8] {
        match self {
            Purpose::Command => b"huxiao.v1 command\0",
            Purpose::Event => b"huxiao.v1 event\0",
        }
    }
}

/// A signature with the certificate of whoever made it.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    /// How it was made.
    pub algorithm: Algorithm,
    /// The signing certificate, X.509 in DER; at most [`SIGNING_CERTIFICATE_BYTES`](crate::limits::SIGNING_CERTIFICATE_BYTES).
    pub certificate: Arc<[u8]>,
    /// The signature itself; at most [`SIGNATURE_BYTES`](crate::limits::SIGNATURE_BYTES).
    pub bytes: Arc<[u8]>,
}

impl Signature {
    /// About how many bytes it is on the wire.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.certificate.len() + self.bytes.len() + 16
    }

    /// Whether it is small enough for an alarm.
    #[must_use]
    pub fn fits_an_event(&self) -> bool {
        self.certificate.len() <= limits::EVENT_CERTIFICATE_BYTES && self.bytes.len() <= limits::SIGNATURE_BYTES
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({} bytes)", self.algorithm.as_str(), self.bytes.len())
    }
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Flaw {
    /// Whoever made it is of a newer version.
    #[error("its algorithm is not known to this version")]
    Algorithm,
    /// The certificate is not one of our authority for signing.
    #[error("its certificate was not issued for signing by the authority of this trust domain")]
    Certificate,
    /// The certificate is another node's.
    #[error("its certificate is another node's")]
    Signer,
    /// It was not made over these bytes by that key.
    #[error("it does not fit what it was made for")]
    Bytes,
    /// The certificate was not valid then.
    #[error("its certificate was not valid at that time")]
    Expired,
    /// This node can check none.
    #[error("this node has no authority to check signatures by")]
    NoVerifier,
}

impl Flaw {
    /// Its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Flaw::Algorithm => "algorithm",
            Flaw::Certificate => "certificate",
            Flaw::Signer => "signer",
            Flaw::Bytes => "bytes",
            Flaw::Expired => "expired",
            Flaw::NoVerifier => "no_verifier",
        }
    }
}

/// Makes signatures in one node's name.
pub trait Signer: Send + Sync {
    /// The signature over `message`.
    ///
    /// # Errors
    /// What the key store says, in words.
    fn sign(&self, purpose: Purpose, message: &[u8]) -> Result<Signature, String>;
}

/// Checks signatures. Pure: the same question always has the same answer, so machines may ask it.
pub trait Verifier: Send + Sync {
    /// Whether `signature` is `by`'s over `message`. Dates play no part: a wrong calendar must not silence anything.
    ///
    /// # Errors
    /// [`Flaw`]
    fn verify(&self, purpose: Purpose, message: &[u8], signature: &Signature, by: &NodeName) -> Result<(), Flaw>;

    /// Whether the certificate of `signature` was valid `at` that time. Only for what is said of a signature, never for whether something is done.
    fn was_valid(&self, signature: &Signature, at: WallTime) -> bool;
}

/// Knows nobody: refuses every signature.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Verifier for Nobody {
    fn verify(&self, _: Purpose, _: &[u8], _: &Signature, _: &NodeName) -> Result<(), Flaw> {
        Err(Flaw::NoVerifier)
    }

    fn was_valid(&self, _: &Signature, _: WallTime) -> bool {
        false
    }
}

/// What is said of an alarm's signature. It is told, and changes nothing else: an alarm without a signature, or with a wrong one, goes the same
/// way at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The relay that it names made it over exactly these bytes.
    Valid,
    /// It has none: its relay has no signing certificate, or a node of an older version did not pass it on.
    Missing,
    /// It does not hold.
    Invalid,
    /// It was not looked at.
    Unchecked,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Verdict; 4] = [Verdict::Valid, Verdict::Missing, Verdict::Invalid, Verdict::Unchecked];

    /// Its name in the API and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Missing => "none",
            Verdict::Invalid => "invalid",
            Verdict::Unchecked => "unchecked",
        }
    }

    /// What it is called on a screen: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Verdict::Valid => ("签名有效", "Signature valid"),
            Verdict::Missing => ("未签名", "Not signed"),
            Verdict::Invalid => (
                "签名无效，来源存疑，仍按真实警情处置",
                "Signature invalid: its origin is in doubt; treat it as real all the same",
            ),
            Verdict::Unchecked => ("签名未核验", "Signature not checked"),
        }
    }
}

/// Looks at the signature of an event that came `at` that time, by a clock that is not its school's: what is to be said of it and, of one that
/// does not hold, why. Nothing is said of classes that nobody signs.
#[must_use]
pub fn judge(verifier: Option<&dyn Verifier>, sealed: &Sealed, at: WallTime) -> Option<(Verdict, Option<Flaw>)> {
    if sealed.event.class != Class::P0 {
        return None;
    }
    let Some(verifier) = verifier else { return Some((Verdict::Unchecked, None)) };
    let Some(signature) = &sealed.signature else { return Some((Verdict::Missing, None)) };
    let by = NodeName::Relay(sealed.event.relay.clone());
    Some(match verifier.verify(Purpose::Event, &sealed.bytes, signature, &by) {
        Ok(()) if verifier.was_valid(signature, at) => (Verdict::Valid, None),
        Ok(()) => (Verdict::Invalid, Some(Flaw::Expired)),
        Err(flaw) => (Verdict::Invalid, Some(flaw)),
    })
}

#[cfg(test)]
mod tests;
