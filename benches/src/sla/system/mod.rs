//! The systems that carry alarms over an emulated line: Huxiao and what else one would take, each behind one [`Carrier`].
//!
//! Invariant: a carrier takes a press without waiting for what becomes of it, and tells every alarm that reaches the police side as
//! often as it does. Whatever a good client of its protocol does after a failure, it does by itself.

mod bare;
mod huxiao;
mod kept;
mod mqtt;
mod nats;
mod quic;

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use super::line::Line;
use super::tally::Arrival;
use crate::error::BenchError;
use crate::place::Place;
use crate::process::{Process, find};
pub(crate) use huxiao::{Huxiao, Presser};

/// What can carry alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum System {
    /// Single UDP packets on the line without its loss: what the line itself takes
    Clean,
    /// Single UDP packets on the line as it is
    Bare,
    /// The program of this workspace: relay, broker, station
    Huxiao,
    /// Mosquitto at the police side, a publisher with QoS 1 at the school
    Mosquitto,
    /// Mosquitto at the school, bridged to Mosquitto at the police side
    Bridge,
    /// NATS with JetStream at the police side, a publisher at the school
    Nats,
    /// QUIC, one stream for each alarm, and nothing else
    Quic,
}

impl System {
    /// What it is called in tables and plots.
    pub(crate) fn title(self) -> &'static str {
        match self {
            System::Clean => "the line, no loss",
            System::Bare => "the line",
            System::Huxiao => "Huxiao",
            System::Mosquitto => "Mosquitto QoS 1",
            System::Bridge => "Mosquitto bridge",
            System::Nats => "NATS JetStream",
            System::Quic => "QUIC stream",
        }
    }

    /// Whether it promises that no alarm is lost.
    pub(crate) fn promises(self) -> bool {
        !matches!(self, System::Clean | System::Bare)
    }

    /// Whether the line keeps its loss under it.
    pub(crate) fn meets_loss(self) -> bool {
        self != System::Clean
    }

    /// The program that it needs, if it is not our own.
    fn program(self) -> Option<&'static str> {
        match self {
            System::Mosquitto | System::Bridge => Some("mosquitto"),
            System::Nats => Some("nats-server"),
            System::Clean | System::Bare | System::Huxiao | System::Quic => None,
        }
    }

    /// Why it cannot be measured here, if so.
    pub(crate) fn missing(self) -> Option<String> {
        let program = self.program()?;
        find(program).is_none().then(|| format!("{}: {program} is not installed", self.title()))
    }

    /// How it is set up, for those who read the figures.
    pub(crate) fn settings(self) -> Option<String> {
        let words = match self {
            System::Clean | System::Bare => return None,
            System::Huxiao => {
                "one broker node, one uplink; every alarm is taken by an officer as soon as it is there".into()
            }
            System::Mosquitto => format!("{}; {}", mqtt::version(), mqtt::SETTINGS),
            System::Bridge => format!("{}; {}", mqtt::version(), mqtt::BRIDGE_SETTINGS),
            System::Nats => format!("{}; {}", nats::version(), nats::SETTINGS),
            System::Quic => quic::SETTINGS.into(),
        };
        Some(format!("{}: {words}", self.title()))
    }

    /// Starts it at both ends of `line` and waits until it is connected. Whatever reaches the police side is told to `arrivals`.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn start(
        self,
        line: &Line,
        program: &Path,
        scratch: &Path,
        arrivals: Sender<Arrival>,
    ) -> Result<Box<dyn Carrier>, BenchError> {
        Ok(match self {
            System::Clean | System::Bare => Box::new(bare::Bare::start(line, arrivals)?),
            System::Huxiao => Box::new(Huxiao::start(line, program, scratch, arrivals)?),
            System::Mosquitto => Box::new(mqtt::Mqtt::start(line, scratch, arrivals)?),
            System::Bridge => Box::new(mqtt::Mqtt::bridged(line, scratch, arrivals)?),
            System::Nats => Box::new(nats::Nats::start(line, scratch, arrivals)?),
            System::Quic => Box::new(quic::Quic::start(line, arrivals)?),
        })
    }
}

/// A system that runs.
pub(crate) trait Carrier: Send {
    /// Makes ready after a rest: the next press is not to pay for it. Called inside the school's namespace.
    fn wake(&mut self) {}

    /// Takes the alarm of this number. Called inside the school's namespace.
    fn press(&mut self, number: u32);

    /// Looks whether what has been told of the alarms up to `pressed` holds; anything else in words. Called when no more is awaited.
    fn audit(&mut self, _line: &Line, _pressed: u32) -> Vec<String> {
        Vec::new()
    }
}

/// Waits until a server that was started at `place` listens.
fn listens(
    name: &str,
    address: SocketAddr,
    place: Place<'_>,
    process: &mut Process,
    patience: Duration,
) -> Result<(), BenchError> {
    let began = Instant::now();
    while place.enter(|| TcpStream::connect_timeout(&address, patience).is_err())? {
        if let Some(status) = process.ended()? {
            let output = "nothing (its log is off)".to_owned();
            return Err(BenchError::Program { program: name.to_owned(), status: status.to_string(), output });
        }
        if began.elapsed() > patience {
            return Err(BenchError::Late { what: format!("{name} listens"), seconds: patience.as_secs() });
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
