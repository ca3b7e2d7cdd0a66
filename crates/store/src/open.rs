//! Opening: lock, room, witness, trial, verdict, and only then the database itself.
//!
//! Invariant: a store opens on whatever is on the disk, or says why the *machine* does not let it; and what is missing of what
//! was acknowledged is in [`Opened::losses`].

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::thread;

use huxiao_core::WallTime;

use crate::check::{CheckReport, DATABASE, Scan, copy_database, database_bytes, lock};
use crate::config::{Config, Observation, Settings};
use crate::engine::{Engine, EngineError};
use crate::error::OpenError;
use crate::loss::{Loss, LossKind};
use crate::rebuild::{self, Sources};
use crate::space;
use crate::store::{Shared, Store};
use crate::tally::{Tally, Verdict, judge};
use crate::trial::{self, Outcome};
use crate::witness::{self, Witness, WitnessFound, make_dir, sync_names};
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
pub fn open(config: &Config, now: WallTime) -> Result<Opened, OpenError> {
    config.check()?;
    let dir = config.dir.clone();
    make_dir(&dir).map_err(|error| OpenError::io("make", &dir, error))?;
    let locked = lock(&dir).map_err(|error| OpenError::io("lock", &dir, error))?;
    let lock = locked.ok_or_else(|| OpenError::InUse(dir.clone()))?;
    rebuild::sweep(&dir);
    rebuild::settle_compaction(&dir).map_err(|error| OpenError::io("move the database of", &dir, error))?;
    sync_names(&dir).map_err(|error| OpenError::io("sync", &dir, error))?;
    let ballast = config.ballast();
    let usage = (config.probe)(&dir).map_err(|error| OpenError::io("learn the free space of", &dir, error))?;
    if usage.free < space::needed(0) && ballast.release() {
        config.tell(Observation::Ballast(false));
    }
    let ready = match prepare(config, now) {
        Err(OpenError::NoSpace(_)) if ballast.release() => {
            config.tell(Observation::Ballast(false));
            prepare(config, now)?
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

/// A new database that must be made.
struct Plan {
    /// What is to be reported; its `count` is the number of rows that there should be.
    loss: Option<Loss>,
    /// What can still be read.
    source: Option<PathBuf>,
    /// Up to which commit `source` is whole.
    whole_to: u64,
    /// The last commit that is known of.
    last: Tally,
}

fn prepare(config: &Config, now: WallTime) -> Result<Ready, OpenError> {
    let dir = &config.dir;
    if !dir.join(witness::FILE).is_file() {
        let made = Witness::create(dir, config.black_box_blocks);
        made.map_err(|error| OpenError::io("make the witness in", dir, error))?;
    }
    let opened = Witness::open(dir, config.black_box_blocks);
    let (witness, found) = opened.map_err(|error| OpenError::io("open the witness in", dir, error))?;
    let install = || rebuild::install(dir, now).map_err(|error| OpenError::io("move the database of", dir, error));
    let interrupted = install()?;
    let mut plan = assess(config, &found)?;
    let (mut losses, mut refilled) = (Vec::new(), 0);
    // Once for the database as it was found, once for the one that takes its place.
    for _ in 0..2 {
        if let Some(plan) = plan.take() {
            let built = build(config, &found, &plan)?;
            let quarantined = install()?;
            refilled += built.refilled;
            losses.extend(plan.loss.map(|loss| {
                let count = loss.count.saturating_sub(built.live);
                Loss { count, refilled: built.refilled, quarantined, ..loss }
            }));
        }
        match enter(config, &found)? {
            Ok((engine, scan, doubt)) => {
                // After a rebuild the mark is behind by design, and the loss is already in the list.
                if losses.is_empty() {
                    losses.extend(doubt.map(|loss| Loss { quarantined: interrupted, ..loss }));
                }
                losses.extend(black_box_loss(&found));
                rebuild::sweep(dir);
                return Ok(Ready { engine, scan, witness, found, losses, refilled });
            }
            Err(next) => plan = Some(next),
        }
    }
    Err(OpenError::Fresh { path: dir.clone(), why: "it is damaged as soon as it is made".into() })
}

/// Decides from the witness and a trial whether the database can be entered (`None`) or must be replaced.
fn assess(config: &Config, found: &WitnessFound) -> Result<Option<Plan>, OpenError> {
    let database = config.dir.join(DATABASE);
    if !database.is_dir() {
        let untouched = found.marks.newest.is_some_and(|mark| mark.commit == 0) && !found.marks.torn;
        let never_used = untouched && found.ring.seen.0 == 0;
        let loss = || loss(found, LossKind::Missing, 1, 0, "the database is gone".into());
        return Ok(Some(plan(found, None, None, (!never_used).then(loss))));
    }
    let bytes = database_bytes(&database);
    let usage = (config.probe)(&config.dir).ok();
    let room = usage.is_some_and(|usage| usage.free > 2 * bytes + space::needed(0));
    let copy = config.dir.join(rebuild::TRIAL);
    let copied = bytes <= config.trial_copy_bytes && room && copy_database(&database, &copy).is_ok();
    let tried = if copied { copy } else { database };
    match trial::run(config, &tried, bytes) {
        Outcome::Circumstance(why) => Err(OpenError::Trial { path: config.dir.clone(), why }),
        Outcome::Unreadable(why) => {
            let loss = loss(found, LossKind::Unreadable, 1, 0, why);
            Ok(Some(plan(found, None, None, Some(loss))))
        }
        Outcome::Read(report) => {
            let plan = weigh(found, &tried, &report);
            if copied && plan.is_none() {
                rebuild::adopt(&config.dir)
                    .map_err(|error| OpenError::io("move the database of", &config.dir, error))?;
            }
            Ok(plan)
        }
    }
}

/// The verdict on a database that could be read.
fn weigh(found: &WitnessFound, source: &Path, report: &CheckReport) -> Option<Plan> {
    let (commit, high) = (report.commit, report.high);
    let tally = Tally { commit, high, live: report.rows, sum: report.sum, ..Tally::default() };
    let verdict = verdict(found, report.consistent.then_some(tally), report.rows, report.sum);
    let detail = || report.problem.clone().unwrap_or_else(|| "its rows are not those that the mark says".into());
    let loss = match verdict {
        Verdict::Whole | Verdict::MarkLost => return None,
        Verdict::Shorter { from, to } => {
            loss(found, LossKind::Shorter, from, to, format!("it ends with commit {commit}"))
        }
        Verdict::Rows => loss(found, LossKind::Rows, 1, commit, detail()),
    };
    Some(plan(found, Some(source.to_path_buf()), Some(tally), Some(loss)))
}

/// The tally's verdict, with what the black box has seen.
fn verdict(found: &WitnessFound, tally: Option<Tally>, live: u64, sum: u64) -> Verdict {
    let seen = found.ring.seen.0;
    match (judge(found.marks, tally, live, sum), tally) {
        (Verdict::MarkLost, Some(tally)) if seen > tally.commit => {
            Verdict::Shorter { from: tally.commit + 1, to: seen }
        }
        (verdict, _) => verdict,
    }
}

/// Opens the database for good and reads all of it once more. The inner error is what to do instead.
#[expect(clippy::type_complexity, reason = "one caller, two lines away")]
fn enter(config: &Config, found: &WitnessFound) -> Result<Result<(Engine, Scan, Option<Loss>), Plan>, OpenError> {
    let database = config.dir.join(DATABASE);
    let read = Engine::open(&database, config.cache_bytes).and_then(|engine| match Scan::run(&engine, |_, _| {}) {
        Ok(scan) => Ok((engine, scan)),
        Err(error) => {
            engine.abandon();
            Err(error)
        }
    });
    let (engine, scan) = match read {
        Ok(read) => read,
        Err(error) if error.is_circumstance() => return Err(circumstance(config, error)),
        Err(error) => {
            let loss = loss(found, LossKind::Unreadable, 1, 0, error.to_string());
            return Ok(Err(plan(found, None, None, Some(loss))));
        }
    };
    let tally = scan.tally.filter(|_| scan.damaged == 0);
    match verdict(found, tally, scan.live, scan.sum) {
        Verdict::Whole => Ok(Ok((engine, scan, None))),
        Verdict::MarkLost => {
            let commit = scan.tally.map_or(0, |tally| tally.commit);
            let detail = "the mark beside it is lost or behind; its rows agree with its own tally".into();
            let doubt = loss(found, LossKind::Mark, commit + 1, 0, detail);
            Ok(Ok((engine, scan, Some(Loss { count: 0, ..doubt }))))
        }
        Verdict::Shorter { .. } | Verdict::Rows => {
            engine.close().map_err(|error| circumstance(config, error))?;
            let detail = "it changed between its trial and its opening".into();
            let loss = loss(found, LossKind::Rows, 1, 0, detail);
            Ok(Err(plan(found, Some(database), None, Some(loss))))
        }
    }
}

/// `source` and `tally` are what can be read, and the tally up to which that is whole.
fn plan(found: &WitnessFound, source: Option<PathBuf>, tally: Option<Tally>, loss: Option<Loss>) -> Plan {
    let shorter = loss.as_ref().is_some_and(|loss| loss.kind == LossKind::Shorter);
    let read = tally.unwrap_or_default();
    let mark = found.marks.newest.unwrap_or_default();
    let (commit, epoch, high) = found.ring.seen;
    let last = Tally {
        commit: read.commit.max(mark.commit + u64::from(found.marks.torn)).max(commit),
        high: read.high.max(mark.high).max(high),
        epoch: mark.epoch.max(epoch),
        ring_next: mark.ring_next,
        ring_blocks: found.blocks,
        ..Tally::default()
    };
    Plan { loss, source, whole_to: if shorter { read.commit } else { 0 }, last }
}

fn loss(found: &WitnessFound, kind: LossKind, from_commit: u64, to: u64, detail: String) -> Loss {
    let mark = found.marks.newest.unwrap_or_default();
    let to_commit = to.max(mark.commit + u64::from(found.marks.torn)).max(found.ring.seen.0).max(from_commit);
    Loss { kind, from_commit, to_commit, count: mark.live, refilled: 0, quarantined: None, detail }
}

fn black_box_loss(found: &WitnessFound) -> Option<Loss> {
    let known = found.marks.newest.map_or(0, |mark| mark.ring_bad);
    let fresh = found.ring.bad.saturating_sub(known);
    let detail = format!("{fresh} blocks of the black box are damaged");
    let loss = Loss { count: u64::from(fresh), ..loss(found, LossKind::BlackBox, 1, 0, detail) };
    (fresh > 0).then_some(loss)
}

fn build(config: &Config, found: &WitnessFound, plan: &Plan) -> Result<rebuild::Rebuilt, OpenError> {
    let tally = Tally { commit: plan.last.commit + 1, rebuilt: plan.loss.is_some(), ..plan.last };
    let sources = Sources { database: plan.source.as_deref(), ring: &found.ring, whole_to: plan.whole_to };
    rebuild::build(&config.dir, config.cache_bytes, tally, &sources).map_err(|error| circumstance(config, error))
}

fn circumstance(config: &Config, error: EngineError) -> OpenError {
    let path = config.dir.clone();
    match error {
        error if error.no_space() => OpenError::NoSpace(path),
        EngineError::Io(error) => OpenError::io("open the database of", &path, error),
        EngineError::Locked => OpenError::InUse(path),
        error => OpenError::Fresh { path, why: error.to_string() },
    }
}

/// Counts the opening as a commit of its own, so that its epoch is never used again, and starts the writer.
fn start(config: &Config, ready: Ready, lock: File, now: WallTime) -> Result<Opened, OpenError> {
    let Ready { engine, scan, witness, found, losses, refilled } = ready;
    losses.iter().for_each(|loss| {
        rebuild::label(loss);
        config.tell(Observation::Lost(loss.clone()));
    });
    let mark = found.marks.newest.unwrap_or_default();
    let tally = scan.tally.unwrap_or_default();
    let last_epoch = tally.epoch.max(mark.epoch).max(found.ring.seen.1);
    let epoch = (last_epoch + 1).max(now.as_millis() / 1_000);
    let high = tally.high.max(mark.high).max(found.ring.seen.2);
    let settings = Settings {
        dir: config.dir.clone(),
        low_space_bytes: config.low_space_bytes,
        ring_blocks: found.blocks,
        ballast: config.ballast(),
        probe: config.probe.clone(),
        observe: config.observe.clone(),
    };
    let engine = Arc::new(engine);
    let shared = Arc::new(Shared {
        settings,
        engine: RwLock::new(Some(engine.clone())),
        poisoned: Mutex::new(None),
        waiting: AtomicU64::new(0),
        waiting_bytes: AtomicU64::new(0),
        commit: AtomicU64::new(0),
        last_sync_us: AtomicU64::new(0),
        low: AtomicBool::new(false),
    });
    let (jobs, receiver) = mpsc::channel();
    let ring_bad = found.ring.bad;
    let base = Tally { ring_next: witness.ring.next(), ring_blocks: found.blocks, ring_bad, high, ..tally };
    let mut writer = Writer {
        shared: shared.clone(),
        engine,
        witness,
        tally: base,
        jobs: receiver,
        lock,
        ballast_tried: None,
        live_bytes: scan.bytes,
        cache_bytes: config.cache_bytes,
        compaction_tried: None,
    };
    let first = writer.begin(epoch, mark.commit, scan.newest_boxed);
    first.map_err(|error| circumstance(config, error))?;
    // Before the first commit: as long as the ballast is missing, only alarms are written.
    writer.tend_ballast();
    let spawned = thread::Builder::new().name("store-writer".into()).spawn(move || writer.run());
    let thread = spawned.map_err(|error| OpenError::io("start the writer of", &config.dir, error))?;
    let store = Store::new(shared, jobs, thread);
    Ok(Opened { store, epoch, high, losses, refilled })
}
