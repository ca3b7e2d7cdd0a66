//! Where a process or a socket of a bench lives: on this machine's own network, or at one end of an emulated line.

use std::ffi::OsStr;
use std::process::Command;

use huxiao_benches::emulator::Namespace;

use crate::error::BenchError;

/// See the variants.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// This machine's own network.
    Here,
    /// A network namespace.
    Inside(&'a Namespace),
}

impl Place<'_> {
    /// A command that will run there.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Place::Here => Command::new(program),
            Place::Inside(namespace) => namespace.command(program),
        }
    }

    /// Runs `work` there and waits for it. Sockets that it makes, and threads that it starts, stay there.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub(crate) fn enter<R: Send>(self, work: impl FnOnce() -> R + Send) -> Result<R, BenchError> {
        match self {
            Place::Here => Ok(work()),
            Place::Inside(namespace) => Ok(namespace.enter(work)?),
        }
    }
}
