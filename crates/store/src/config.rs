//! How a store is set up, and how it tells what happens inside.
//!
//! Invariant: everything that a store writes lies below [`Config::dir`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use huxiao_core::{Class, Span};

use crate::error::OpenError;
use crate::key::Key;
use crate::loss::Loss;
use crate::ring::MIN_BLOCKS;
use crate::space::{Ballast, Probe, system_probe};

/// How the database is tried before this process opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// In a process of its own, which may panic, hang or run out of memory. What every node uses.
    /// The program is run as `program args… FOLDER` and must print the JSON of [`check`](crate::check)`(FOLDER)` on a line.
    Child {
        /// The program, usually this one.
        program: PathBuf,
        /// Its arguments before the folder.
        args: Vec<OsString>,
    },
    /// On a thread of this process: for tests and development. An abort in the engine ends the process.
    InProcess,
}

/// How a store is set up.
#[derive(Clone)]
pub struct Config {
    /// The folder that holds all of it; made if it is not there.
    pub dir: PathBuf,
    /// Bytes held back for alarms on a full disk; 0 for none. 16 MiB.
    pub ballast_bytes: u64,
    /// Blocks of 4 KiB in the black box of a store that is made; an existing one keeps its size. 1024, at least 16.
    pub black_box_blocks: u64,
    /// Bytes of the database's cache. 2 MiB; 1 MiB to 1 GiB.
    pub cache_bytes: u64,
    /// With less than this free, and also less than a tenth of the file system, only P0 is written. 1 GiB.
    pub low_space_bytes: u64,
    /// How the database is tried at opening.
    pub trial: Trial,
    /// How long a trial may take, plus one second for each MiB of the database. 20 s.
    pub trial_timeout: Span,
    /// A database up to this size is tried on a copy, if there is space for one. 64 MiB.
    pub trial_copy_bytes: u64,
    /// Where observations go; called on the store's threads, so it must be quick.
    pub observe: Option<Observer>,
    /// How the free space is learned.
    pub probe: Probe,
}

/// Takes observations.
pub type Observer = Arc<dyn Fn(Observation) + Send + Sync>;

/// What happened inside a store, for metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A group of commits is on stable storage.
    Synced {
        /// From the first write to the end of the last sync.
        took: Span,
        /// The part of it that the database took; the rest is the black box and the mark.
        database: Span,
        /// Batches in the group.
        batches: u64,
        /// Rows written or removed.
        rows: u64,
        /// Bytes handed to the database.
        bytes: u64,
    },
    /// A batch of this class was not written for lack of space.
    Shed(Class),
    /// A P0 batch or a removal was not written: the disk is full.
    DiskFull(Class),
    /// The ballast was given up (`false`) or put back (`true`).
    Ballast(bool),
    /// Nothing is written any more.
    Poisoned {
        /// Why.
        why: String,
    },
    /// A row was found damaged while it was read.
    DamagedRow {
        /// The row.
        key: Key,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The opening found a loss.
    Lost(Loss),
    /// The trial process could not be used, so the trial was made in this process.
    TrialUnavailable {
        /// Why.
        why: String,
    },
}

impl Config {
    /// The defaults for a store in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, trial: Trial) -> Self {
        Self {
            dir: dir.into(),
            ballast_bytes: 16 << 20,
            black_box_blocks: 1_024,
            cache_bytes: 2 << 20,
            low_space_bytes: 1 << 30,
            trial,
            trial_timeout: Span::from_secs(20),
            trial_copy_bytes: 64 << 20,
            observe: None,
            probe: system_probe(),
        }
    }

    /// Holds the values against their limits.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let refuse = |field, value, must| Err(OpenError::Config { field, value, must });
        if !(MIN_BLOCKS..=1 << 20).contains(&self.black_box_blocks) {
            return refuse("black_box_blocks", self.black_box_blocks, "16 to 1048576");
        }
        if !(1 << 20..=1 << 30).contains(&self.cache_bytes) {
            return refuse("cache_bytes", self.cache_bytes, "1 MiB to 1 GiB");
        }
        if self.trial_timeout.is_zero() {
            return refuse("trial_timeout", 0, "longer than nothing");
        }
        Ok(())
    }

    pub(crate) fn tell(&self, observation: Observation) {
        if let Some(observe) = &self.observe {
            observe(observation);
        }
    }

    pub(crate) fn ballast(&self) -> Ballast {
        Ballast::new(&self.dir, self.ballast_bytes)
    }
}

/// What an open store keeps of its configuration.
pub(crate) struct Settings {
    pub(crate) dir: PathBuf,
    pub(crate) low_space_bytes: u64,
    pub(crate) ring_blocks: u64,
    pub(crate) ballast: Ballast,
    pub(crate) probe: Probe,
    pub(crate) observe: Option<Observer>,
}

impl Settings {
    pub(crate) fn observe(&self, observation: Observation) {
        if let Some(observe) = &self.observe {
            observe(observation);
        }
    }
}
