//! Who and what: newtypes for every identifier, so that one cannot stand where another belongs.
//!
//! Invariant: a [`Name`] holds 1 to [`limits::NAME_BYTES`] characters of `a-z A-Z 0-9 . _ -`, so it can stand in a path, a
//! metric label, a file name and a SPIFFE URI without escaping.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits;
use crate::rng::Rng;
use crate::time::WallTime;

/// A short identifier given by people: a school's code, a station's, a device's, a region's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Give it at least one character.
    #[error("a name cannot be empty")]
    Empty,
    /// Shorten it.
    #[error("a name has at most {limit} bytes, this one has {0}", limit = limits::NAME_BYTES)]
    TooLong(usize),
    /// Replace the character.
    #[error("a name is made of letters a-z A-Z, digits and . _ - only; {0:?} is not one of them")]
    BadCharacter(char),
}

impl Name {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > limits::NAME_BYTES {
            return Err(NameError::TooLong(text.len()));
        }
        match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
            Some(bad) => Err(NameError::BadCharacter(bad)),
            None => Ok(Self(text.into())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A school, by its code (opaque to us; often the ten-digit code of the education ministry).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchoolId(pub Name);

/// A police station, by its code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StationId(pub Name);

/// One desk of a station.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatId {
    /// The station it belongs to.
    pub station: StationId,
    /// The desk.
    pub seat: Name,
}

impl SeatId {
    /// Sorts before every seat of `station`, and after every seat of the stations before it.
    pub(crate) fn first_of(station: &StationId) -> Self {
        Self { station: station.clone(), seat: Name(Arc::from("")) }
    }
}

/// One relay of a school.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId {
    /// The school it stands in: the only one for which it may raise events.
    pub school: SchoolId,
    /// The device.
    pub device: Name,
}

impl RelayId {
    /// Sorts before every relay of `school`, and after every relay of the schools before it.
    pub(crate) fn first_of(school: &SchoolId) -> Self {
        Self { school: school.clone(), device: Name(Arc::from("")) }
    }
}

macro_rules! display_inner {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Name::new(text).map(Self)
            }
        }
    )*};
}
display_inner!(SchoolId, StationId);

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// At a school.
    Relay,
    /// In a region's machine room.
    Broker,
    /// In a duty room.
    Station,
}

impl Role {
    /// The role's word in URIs, files and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Relay => "relay",
            Role::Broker => "broker",
            Role::Station => "station",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who a peer is, as its certificate says: the path of a SPIFFE URI.
///
/// Printed and parsed as `spiffe://<trust-domain>/relay/<school>/<device>`, `/broker/<region>/<node>` or
/// `/station/<station>/<seat>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The trust domain: one a province.
    pub domain: Name,
    /// What the peer is and which one.
    pub node: NodeName,
}

/// A node's name: unique in its trust domain, and what receipts and trails call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeName {
    /// `relay/<school>/<device>`.
    Relay(RelayId),
    /// `broker/<region>/<node>`.
    Broker {
        /// The region.
        region: Name,
        /// The node in it.
        node: Name,
    },
    /// `station/<station>/<seat>`.
    Station(SeatId),
}

impl NodeName {
    /// What the node is.
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            NodeName::Relay(_) => Role::Relay,
            NodeName::Broker { .. } => Role::Broker,
            NodeName::Station(_) => Role::Station,
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = match self {
            NodeName::Relay(id) => (&id.school.0, &id.device),
            NodeName::Broker { region, node } => (region, node),
            NodeName::Station(id) => (&id.station.0, &id.seat),
        };
        write!(f, "{}/{first}/{second}", self.role())
    }
}

impl FromStr for NodeName {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let mut parts = text.split('/');
        let (Some(role), Some(first), Some(second), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdentityError::Shape(text.to_owned()));
        };
        let (first, second) = (Name::new(first)?, Name::new(second)?);
        match role {
            "relay" => Ok(NodeName::Relay(RelayId { school: SchoolId(first), device: second })),
            "broker" => Ok(NodeName::Broker { region: first, node: second }),
            "station" => Ok(NodeName::Station(SeatId { station: StationId(first), seat: second })),
            other => Err(IdentityError::Role(other.to_owned())),
        }
    }
}

/// Why a text is no [`Identity`] or [`NodeName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The certificate was made for something else.
    #[error("{0:?} is not a spiffe:// URI")]
    Scheme(String),
    /// Three parts are needed after the trust domain.
    #[error("{0:?} is not <role>/<name>/<name>")]
    Shape(String),
    /// Only relay, broker and station exist.
    #[error("{0:?} is not a role; roles are relay, broker, station")]
    Role(String),
    /// A part is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}", self.domain, self.node)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let rest = text.strip_prefix("spiffe://").ok_or_else(|| IdentityError::Scheme(text.to_owned()))?;
        let (domain, node) = rest.split_once('/').ok_or_else(|| IdentityError::Shape(text.to_owned()))?;
        Ok(Identity { domain: Name::new(domain)?, node: node.parse()? })
    }
}

/// For how long the same key makes the same id, counted in windows of the raiser's clock.
pub const KEY_WINDOW_MILLIS: u64 = 600_000;

/// An event's identity everywhere and for ever: a UUID of version 7 (RFC 9562), so ids sort by the raiser's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// A new id from the raiser's clock and its generator.
    #[must_use]
    pub fn generate(at: WallTime, rng: &mut Rng) -> Self {
        let random = rng.bytes16();
        let mut tail = [0; 10];
        tail.copy_from_slice(&random[..10]);
        Self(uuid::Builder::from_unix_timestamp_millis(at.as_millis(), &tail).into_uuid().into_bytes())
    }

    /// The id of an event that its presser has given a key: the same for the same `press` (relay, key and everything that was pressed, as
    /// texts) within one [`KEY_WINDOW_MILLIS`].
    ///
    /// A relay may die after it has sent an event and before its disk holds it. The presser then tries again with the same key,
    /// and every node downstream must see the same event. So the id is made of the press; RFC 9562 §6.1 leaves it to the
    /// maker how exact the timestamp is. The window bounds the other danger: a key that is used anew much later is a new alarm, and
    /// must not be taken for the old one.
    #[must_use]
    pub fn for_press(at: WallTime, press: &[&str]) -> Self {
        // FNV-1a, 128 bits (draft-eastlake-fnv): spread is all that is needed, nobody is kept out by it. The zero byte
        // after each text, which none of them can hold, keeps "ab","c" apart from "a","bc".
        let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
        for byte in press.iter().flat_map(|text| text.bytes().chain([0])) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        let mut tail = [0; 10];
        tail.copy_from_slice(&hash.to_be_bytes()[6..]);
        let millis = at.as_millis() / KEY_WINDOW_MILLIS * KEY_WINDOW_MILLIS;
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid().into_bytes())
    }

    /// Takes sixteen bytes as they came over the wire.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        uuid::Uuid::try_parse(text).map(|id| Self(id.into_bytes()))
    }
}

/// One life of a region's record. A record that had to start anew has a new one, so that nobody resumes at an index of the old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub [u8; 16]);

/// One session with one peer, for as long as it lives. Given by the driver, never reused in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u64);

/// The number by which a machine recognises that what it wanted on disk is there. Rises by one with each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PersistSeq(pub u64);

#[cfg(test)]
mod tests;
