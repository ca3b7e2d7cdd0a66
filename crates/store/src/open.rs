//! Opening: lock, room, witness, trial, verdict, and only then the database itself.
//!
//! Invariant: a store opens on whatever is on the disk, or says why the *machine* does not let it; and what is missing of what
//! was acknowledged is in [`Opened::losses`].

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::thread;
use std::time::Instant;

use huxiao_core::{Class, WallTime};

use crate::check::{CheckReport, DATABASE, Scan, copy_database, database_bytes, lock};
use crate::config::{Config, Observation, Settings};
use crate::engine::{Engine, EngineError};
use crate::error::OpenError;
use crate::key::{Batch, Put};
use crate::loss::{Loss, LossKind};
use crate::rebuild::{self, Sources};
use crate::space;
use crate::store::{Shared, Store};
use crate::tally::{Tally, Verdict, judge};
use crate::trial::{self, Outcome};
use crate::witness::{self, Witness, WitnessFound, make_dir};
use crate::writer::Writer;

/// An open store, and what the opening found.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Which opening this is. Rises with each and is never used twice, even if all but the clock was lost.
    pub epoch: u64,
    /// The highest sequence number that the caller had committed, as far as it can be known.
    pub high: u64,
    /// What is missing. Each must be raised as a fault.
    pub losses: Vec<Loss>,
    /// Rows put back from the black box.
    pub refilled: u64,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Opened");
        out.field("epoch", &self.epoch).field("high", &self.high);
        out.field("losses", &self.losses).field("refilled", &self.refilled).finish_non_exhaustive()
    }
}

/// Opens the store of `config`, or makes it.
///
/// # Errors
/// Only what the machine is to blame for: the lock, rights, space, a wrong configuration. See [`OpenError`].
pub fn open(config: Config, now: WallTime) -> Result<Opened, OpenError> {
    config.check()?;
    let dir = config.dir.clone();
    make_dir(&dir).map_err(|error| OpenError::io("make", &dir, error))?;
    let locked = lock(&dir).map_err(|error| OpenError::io("lock", &dir, error))?;
    let lock = locked.ok_or_else(|| OpenError::InUse(dir.clone()))?;
    rebuild::sweep(&dir);
    let ballast = config.ballast();
    let usage = (config.probe)(&dir).map_err(|error| OpenError::io("learn the free space of", &dir, error))?;
    if usage.free < space::needed(0) && ballast.release() {
        config.tell(Observation::Ballast(false));
    }
    let ready = match prepare(&config, now) {
        Err(OpenError::NoSpace(_)) if ballast.release() => {
            config.tell(Observation::Ballast(false));
            prepare(&config, now)?
        }
        other => other?,
    };
    start(config, ready, lock, now)
}

/// A database that passed, and all that is known of it.
struct Ready {
    engine: Engine,
    scan: Scan,
    witness: Witness,
    found: WitnessFound,
    losses: Vec<Loss>,
    refilled: u64,
}

fn prepare(config: &Config, now: WallTime) -> Result<Ready, OpenError> {
    let dir = &config.dir;
    if !dir.join(witness::FILE).is_file() {
        Witness::create(dir, config.black_box_blocks).map_err(|error| OpenError::io("make the witness in", dir, error))?;
    }
    let opened = Witness::open(dir, config.black_box_blocks);
    let (witness, found) = opened.map_err(|error| OpenError::io("open the witness in", dir, error))?;
    let interrupted = rebuild::install(dir, now).map_err(|error| OpenError::io("move a database in", dir, error))?;
    let mut finding = assess(config, &found)?;
    let mut losses = Vec::new();
    let mut refilled = 0;
    // Once for the database as it was found, once for the one that takes its place.
    for _ in 0..2 {
        if let Some(build) = finding.build.take() {
            let done = replace(config, &found, &build, now)?;
            refilled += done.refilled;
            losses.extend(build.loss.map(|loss| Loss {
                count: loss.count.saturating_sub(done.live),
                refilled: done.refilled,
                quarantined: done.quarantined,
                ..loss
            }));
        }
        match enter(config, &found, finding.build_was_fresh) {
            Ok((engine, scan, kept)) => {
                losses.extend(kept.map(|loss| Loss { quarantined: interrupted.clone(), ..loss }));
                losses.extend(black_box_loss(&found));
                losses.iter().for_each(rebuild::label);
                return Ok(Ready { engine, scan, witness, found, losses, refilled });
            }
            Err(next) => finding = next?,
        }
    }
    Err(OpenError::Fresh { path: dir.clone(), why: "it is damaged as soon as it is made".into() })
}
