//! `huxiao relay`: the daemon, and how its paths are.

mod mode;
mod paths;

use clap::Subcommand;

use crate::node::RunArgs;

/// What can be done with a relay.
#[derive(Debug, Subcommand)]
pub enum RelayCommand {
    /// Run the node until it is told to stop
    ///
    /// TERM or INT drains and ends with 0, a second one ends at once; HUP reads the configuration again. Exits 78 if the
    /// configuration is wrong, 1 if the node cannot start or its store failed: a supervisor should start it again then.
    Run(RunArgs),
    /// Show each line of a running relay and how it gets to each broker node
    ///
    /// Times are round trips of small probes; the loss is that of the latest probes, both directions together. Days are China's.
    Paths(PathsArgs),
    /// Show whether presses are meant, drills or tests now; or switch tests on for some minutes, or off
    ///
    /// Tests end by themselves. Drills are announced by the police; duress is always meant.
    Mode(ModeArgs),
}

pub use mode::{ModeArgs, run as mode};
pub use paths::{PathsArgs, run as paths};
