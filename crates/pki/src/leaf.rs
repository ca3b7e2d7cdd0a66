//! What one node's certificate says: identity, period, and for which side of a handshake it is meant.
//!
//! Invariant: a [`Peer`] has exactly one identity. A certificate with two URIs is refused, not read halfway
//! (SPIFFE X.509-SVID §2: "exactly one URI SAN").

use huxiao_core::{Identity, IdentityError, Name, WallTime};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::period::{Period, Validity};

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The one SPIFFE identity of its certificate.
    pub identity: Identity,
    /// When its certificate ends or ended.
    pub not_after: WallTime,
    /// Where the session's beginning stood in the certificate's period, by this node's clock.
    pub validity: Validity,
}

/// Why a certificate is not a node's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The session has not come far enough, or TLS was configured by somebody else.
    #[error("the peer showed no certificate")]
    NoCertificate,
    /// The bytes are damaged or of another kind.
    #[error("the certificate is not valid X.509 DER")]
    NotX509,
    /// Issue node certificates with `huxiao`'s authority, which writes the identity.
    #[error("the certificate has no URI in its subject alternative names, so it names no node")]
    NoIdentity,
    /// One certificate, one node.
    #[error("the certificate has {0} URIs in its subject alternative names; exactly one is allowed")]
    ManyIdentities(usize),
    /// The URI was made for another system.
    #[error("the certificate's identity is not one of ours: {0}")]
    BadIdentity(#[from] IdentityError),
    /// Nodes of different provinces do not speak to each other with these certificates.
    #[error("the certificate is of trust domain {found}, ours is {ours}")]
    OtherDomain {
        /// The peer's.
        found: Name,
        /// Our own.
        ours: Name,
    },
    /// An authority's certificate signs others and is nobody's own.
    #[error("the certificate is an authority's and cannot be a node's own")]
    Authority,
    /// The extended key usage does not list this use.
    #[error("the certificate is not meant for a TLS {0} (extended key usage)")]
    WrongUse(&'static str),
    /// It is meant for sessions.
    #[error("the certificate is meant for sessions, not for signatures (extended key usage)")]
    NotForSigning,
}

/// The side of a handshake on which a certificate is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// A certificate, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) identity: Identity,
    pub(crate) period: Period,
    client: bool,
    server: bool,
}

/// Who a chain of certificates, as TLS has already verified it, belongs to. `now` only decides [`Peer::validity`].
///
/// # Errors
/// See [`PeerError`].
pub fn peer_identity(chain: &[CertificateDer<'_>], now: WallTime) -> Result<Peer, PeerError> {
    let leaf = Leaf::read(chain.first().ok_or(PeerError::NoCertificate)?)?;
    Ok(Peer { identity: leaf.identity, not_after: leaf.period.not_after, validity: leaf.period.at(now) })
}

impl Leaf {
    /// Reads a node's certificate; trusts nothing but that it is bytes.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| PeerError::NotX509)?;
        if !rest.is_empty() {
            return Err(PeerError::NotX509);
        }
        if parsed.is_ca() {
            return Err(PeerError::Authority);
        }
        let identity = match uris(&parsed)?.as_slice() {
            [] => return Err(PeerError::NoIdentity),
            [uri] => uri.parse()?,
            more => return Err(PeerError::ManyIdentities(more.len())),
        };
        let usage = parsed.extended_key_usage().map_err(|_| PeerError::NotX509)?;
        let (client, server) = usage.map_or((false, false), |usage| (usage.value.client_auth, usage.value.server_auth));
        Ok(Self { identity, period: period(&parsed), client, server })
    }

    /// Holds the certificate against its use on `side` by a node of trust domain `ours`.
    pub(crate) fn check(&self, side: Side, ours: &Name) -> Result<(), PeerError> {
        if self.identity.domain != *ours {
            return Err(PeerError::OtherDomain { found: self.identity.domain.clone(), ours: ours.clone() });
        }
        match side {
            Side::Client if !self.client => Err(PeerError::WrongUse("client")),
            Side::Server if !self.server => Err(PeerError::WrongUse("server")),
            Side::Client | Side::Server => Ok(()),
        }
    }
}

impl Leaf {
    /// Holds the certificate against its use for signatures by a node of trust domain `ours`.
    pub(crate) fn check_signing(&self, ours: &Name) -> Result<(), PeerError> {
        if self.identity.domain != *ours {
            return Err(PeerError::OtherDomain { found: self.identity.domain.clone(), ours: ours.clone() });
        }
        if self.client || self.server { Err(PeerError::NotForSigning) } else { Ok(()) }
    }
}

/// The URIs among a certificate's alternative names.
pub(crate) fn uris<'a>(certificate: &X509Certificate<'a>) -> Result<Vec<&'a str>, PeerError> {
    let names = certificate.subject_alternative_name().map_err(|_| PeerError::NotX509)?;
    let uri = |name: &GeneralName<'a>| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    };
    Ok(names.map_or_else(Vec::new, |names| names.value.general_names.iter().filter_map(uri).collect()))
}

/// A certificate's validity period.
pub(crate) fn period(certificate: &X509Certificate<'_>) -> Period {
    let wall = |at: x509_parser::time::ASN1Time| WallTime(at.timestamp().saturating_mul(1_000_000));
    let validity = certificate.validity();
    Period { not_before: wall(validity.not_before), not_after: wall(validity.not_after) }
}
