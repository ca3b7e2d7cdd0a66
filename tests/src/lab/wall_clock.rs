//! A wall clock of its own for one process, wrong by as much as a file says, through libfaketime.
//!
//! Invariant: timers and files keep the real time, as on a machine whose clock is set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian has the library that fakes a process's wall clock (package `faketime`).
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A wall clock.
#[derive(Debug, Clone)]
pub struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// Whether there can be one on this machine.
    #[must_use]
    pub fn is_available() -> bool {
        Path::new(LIBRARY).exists()
    }

    /// A clock that is wrong by so many seconds, which stand in `file`.
    #[must_use]
    pub fn new(file: PathBuf, seconds: i64) -> Self {
        let clock = Self { file };
        clock.set(seconds);
        clock
    }

    /// Sets it wrong by so many seconds. Whoever has it notices within a second.
    pub fn set(&self, seconds: i64) {
        // Renamed into place, so that nobody reads half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}")).unwrap();
        fs::rename(&new, &self.file).unwrap();
    }

    /// The command that runs `program` with this clock. `env` is a command that runs the program of that name, wherever that is to be: it sets the
    /// library for `program` alone and becomes it.
    #[must_use]
    pub fn run(&self, mut env: Command, program: &Path) -> Command {
        env.arg(format!("LD_PRELOAD={LIBRARY}")).arg(format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()));
        env.args(["FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"]).arg(program);
        env
    }
}
