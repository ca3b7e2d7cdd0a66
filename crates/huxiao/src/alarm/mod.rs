//! `huxiao alarm`: press, look, watch, answer, over the local APIs of relays and stations.

mod ack;
mod escalate;
mod reporter;
mod send;
mod show;
mod view;
mod watch;
mod waterfall;

use std::time::Duration;

use clap::Subcommand;

use crate::args::Global;
use crate::exit::Outcome;

/// What can be done with alarms.
#[derive(Debug, Subcommand)]
pub enum AlarmCommand {
    /// Press: raise an event at a relay, and wait until it has come as far as asked
    ///
    /// Exits 0 when it has, 3 when the time is up before, 1 when it cannot be raised. What was raised goes on its way
    /// whatever becomes of this command.
    Send(send::SendArgs),
    /// Print every alarm that comes to a station, one a line
    ///
    /// Connects again by itself and misses nothing meanwhile. Tells the station that what was printed is on a screen.
    Watch(watch::WatchArgs),
    /// Show one event as a node knows it, and how long each stage of its way took
    Show(show::ShowArgs),
    /// Take an alarm as an officer
    ///
    /// Exits 1 and says who, if another officer has it.
    Ack(ack::AckArgs),
    /// Have more stations see an alarm
    ///
    /// Adds them to those that have it; none loses it. Exits 0 when the record has it, 3 when no broker node has confirmed
    /// it in time, 1 when it is refused.
    Escalate(escalate::EscalateArgs),
}

/// Runs one of them.
///
/// # Errors
/// [`crate::exit::Failure`]
pub async fn run(command: AlarmCommand, global: &Global) -> Outcome {
    match command {
        AlarmCommand::Send(args) => send::run(args, global).await,
        AlarmCommand::Watch(args) => watch::run(args, global).await,
        AlarmCommand::Show(args) => show::run(args).await,
        AlarmCommand::Ack(args) => ack::run(args, global).await,
        AlarmCommand::Escalate(args) => escalate::run(args).await,
    }
}

/// Growing pauses between attempts: 100 ms, doubled up to 2 s.
#[derive(Debug)]
struct Pauses(Duration);

impl Pauses {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(2);

    fn new() -> Self {
        Self(Self::FIRST)
    }

    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Self::LONGEST);
    }
}
