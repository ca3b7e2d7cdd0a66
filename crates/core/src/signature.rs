//! Signatures from end to end: what a seat says to a school, and what a school says to a seat, holds whoever carried it.
//!
//! The traits are here, and the mathematics is elsewhere: an algorithm is a number on the wire, so that another one (SM2) can stand beside
//! Ed25519 one day.
//!
//! Invariant: what is signed begins with a [`Purpose`], so that a signature made for one thing never stands for another.

use std::fmt;
use std::sync::Arc;

use crate::id::NodeName;

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
}

/// Knows nobody: refuses every signature.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Verifier for Nobody {
    fn verify(&self, _: Purpose, _: &[u8], _: &Signature, _: &NodeName) -> Result<(), Flaw> {
        Err(Flaw::NoVerifier)
    }
}
