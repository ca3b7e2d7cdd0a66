//! What stands where: schools and their uplinks, broker nodes, stations and their seats; and what sort of world it is.

use std::sync::Arc;

use huxiao_core::{Cost, Name, NodeName, RelayId, SchoolId, SeatId, StationId};

use crate::profile::{BAD, LAN, OUTAGE, Profile, RURAL, THIN, TOWN};

/// One way from a school to the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uplink {
    /// What its line is like.
    pub profile: Profile,
    /// Whether each byte costs.
    pub cost: Cost,
}

/// One school with its relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct School {
    /// Its uplinks.
    pub uplinks: Vec<Uplink>,
    /// The stations that answer for it, by their place in [`Province::stations`].
    pub stations: Vec<usize>,
}

/// One seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// Its station, by its place in [`Province::stations`].
    pub station: usize,
    /// Its letter.
    pub letter: &'static str,
    /// What its line is like.
    pub profile: Profile,
}

/// All that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Province {
    /// Schools.
    pub schools: Vec<School>,
    /// Broker nodes, with one record among them: one or three, and two where nothing hangs on a quorum.
    pub brokers: usize,
    /// Names of stations.
    pub stations: Vec<&'static str>,
    /// Seats.
    pub seats: Vec<Seat>,
}

fn wired(profile: Profile) -> Uplink {
    Uplink { profile, cost: Cost::Free }
}

fn metered(profile: Profile) -> Uplink {
    Uplink { profile, cost: Cost::Metered }
}

impl Province {
    /// `schools` schools on lines of all kinds, some with a metered one beside; three broker nodes; three seats at two stations.
    #[must_use]
    pub fn small(schools: usize) -> Self {
        let kinds = [
            vec![wired(TOWN)],
            vec![wired(RURAL), metered(BAD)],
            vec![wired(BAD)],
            vec![wired(TOWN), metered(RURAL)],
            vec![wired(OUTAGE)],
            vec![wired(THIN)],
            vec![wired(LAN), wired(TOWN)],
        ];
        let routes = [vec![0, 1], vec![0], vec![1, 0], vec![1], vec![0, 1]];
        let schools = (0..schools)
            .map(|at| School { uplinks: kinds[at % kinds.len()].clone(), stations: routes[at % routes.len()].clone() })
            .collect();
        let seat = |station, letter, profile| Seat { station, letter, profile };
        Self {
            schools,
            brokers: 3,
            stations: vec!["p1", "p2"],
            seats: vec![seat(0, "a", LAN), seat(0, "b", TOWN), seat(1, "a", TOWN)],
        }
    }

    /// One school with these uplinks, so many broker nodes, one seat on a wire of the machine room.
    #[must_use]
    pub fn one(uplinks: Vec<Uplink>, brokers: usize) -> Self {
        Self {
            schools: vec![School { uplinks, stations: vec![0] }],
            brokers,
            stations: vec!["p1"],
            seats: vec![Seat { station: 0, letter: "a", profile: LAN }],
        }
    }

    /// The same with one free line of this profile.
    #[must_use]
    pub fn on(profile: Profile, brokers: usize) -> Self {
        Self::one(vec![wired(profile)], brokers)
    }

    /// The broker nodes to which a school's relay holds sessions: two, where there are so many.
    #[must_use]
    pub fn homes(&self, school: usize) -> Vec<usize> {
        (0..self.brokers.min(2)).map(|at| (school + at) % self.brokers).collect()
    }

    /// The school's code.
    #[must_use]
    pub fn school(&self, at: usize) -> SchoolId {
        SchoolId(name(&format!("s{at}")))
    }

    /// The relay of a school.
    #[must_use]
    pub fn relay(&self, at: usize) -> RelayId {
        RelayId { school: self.school(at), device: name("gate") }
    }

    /// A station.
    #[must_use]
    pub fn station(&self, at: usize) -> StationId {
        StationId(name(self.stations[at]))
    }

    /// A seat.
    #[must_use]
    pub fn seat(&self, at: usize) -> SeatId {
        SeatId { station: self.station(self.seats[at].station), seat: name(self.seats[at].letter) }
    }

    /// A broker node.
    #[must_use]
    pub fn broker(&self, at: usize) -> NodeName {
        NodeName::Broker { region: region(), node: node(at) }
    }
}

/// The region of all broker nodes.
#[must_use]
pub fn region() -> Name {
    name("r1")
}

/// The name of a broker node.
#[must_use]
pub fn node(at: usize) -> Name {
    name(&format!("n{at}"))
}

/// A name that this crate has made up.
///
/// # Panics
/// If it is none, which would be a mistake of this crate.
#[must_use]
#[expect(clippy::expect_used, reason = "all names here are literals and numbers")]
pub fn name(text: &str) -> Name {
    Name::new(text).expect("letters and digits")
}

/// What sort of world it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Nature {
    /// Disks answer before they have written: a lie that the checks must find out.
    pub lying_disks: bool,
    /// A node's disk may be lost as a whole, once.
    pub loses_record: bool,
    /// Inboxes may be lost as a whole.
    pub loses_inboxes: bool,
    /// The records hold few events.
    pub small_record: bool,
    /// The plan does not know the schools until late.
    pub late_plan: bool,
}

impl Nature {
    /// The nature of a seed's world, so that a run of seeds meets all of them. No world has disks that lie.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let plain = Self::default();
        match seed % 10 {
            6 => Self { loses_inboxes: true, ..plain },
            7 => Self { loses_record: true, ..plain },
            8 => Self { small_record: true, ..plain },
            9 => Self { late_plan: true, ..plain },
            _ => plain,
        }
    }

    /// Its word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self { lying_disks: true, .. } => "lying disks",
            Self { loses_inboxes: true, .. } => "loses inboxes",
            Self { loses_record: true, .. } => "loses a record",
            Self { small_record: true, .. } => "small records",
            Self { late_plan: true, .. } => "late plan",
            _ => "plain",
        }
    }
}

/// The name of an officer at a seat.
#[must_use]
pub fn officer(seat: usize) -> Name {
    name(&format!("officer-{seat}"))
}

/// Bytes that a key of a press is made of.
#[must_use]
pub fn key(number: usize) -> Arc<str> {
    format!("key-{number}").into()
}
