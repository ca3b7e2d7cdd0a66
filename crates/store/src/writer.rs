//! The one thread that writes: it takes what waits, makes one batch of it, syncs, and tells everybody.
//!
//! Invariant: database (batch, sync), then witness (black box and mark, one sync), then callbacks, in the order of the commits.
//! Two syncs stand between a commit and its callback and cannot be made one: a mark that could reach the disk before the
//! database would turn every power cut into a reported loss, and one synced after the callback would hide the loss of the
//! last commit. A sync that fails is final.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use huxiao_core::{Class, Span};

use crate::block::TOMBSTONES_PER_BLOCK;
use crate::changes::{Rows, footprint};
use crate::config::Observation;
use crate::engine::{Engine, EngineError};
use crate::error::{CommitError, StoreError};
use crate::key::{Batch, Key, Put};
use crate::rebuild;
use crate::space::{self, Admission, Sizes, Usage};
use crate::store::{Done, Shared};
use crate::tally::Tally;
use crate::witness::Witness;

/// Where the database keeps its own tally: a key that no [`Key`] encodes to.
pub(crate) const TALLY_KEY: &[u8] = b"\0tally";
/// A group that has this many bytes waits for no more.
const GROUP_BYTES: u64 = 4 << 20;
/// How often at most the ballast is put back.
const BALLAST_PAUSE: Duration = Duration::from_secs(5);

/// How often at most the database is made smaller.
const COMPACTION_PAUSE: Duration = Duration::from_secs(10);
/// Waste that is left alone, beside the rows and three times their bytes.
const WASTE_BYTES: u64 = 4 << 20;

/// How a canary's end is told.
pub(crate) type CanaryDone = Box<dyn FnOnce(Result<Span, StoreError>) + Send>;

/// What the writer is asked to do.
pub(crate) enum Job {
    /// Make a batch durable.
    Commit {
        /// The batch.
        batch: Batch,
        /// Whom to tell.
        done: Done,
        /// What it counts in the queue.
        bytes: u64,
    },
    /// Write, sync, read back.
    Canary {
        /// Whom to tell.
        done: CanaryDone,
    },
    /// Put the ballast back if there is space.
    Tend,
    /// Stop after what came before.
    Close,
}

/// One batch of a group, and what became of it.
struct Member {
    batch: Batch,
    done: Done,
    bytes: u64,
    result: Result<(), CommitError>,
}

/// What was collected for one round.
#[derive(Default)]
struct Group {
    members: Vec<Member>,
    canaries: Vec<CanaryDone>,
    bytes: u64,
    boxed: u64,
    tend: bool,
    close: bool,
}

/// The state of the writer's thread.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) witness: Witness,
    pub(crate) tally: Tally,
    pub(crate) jobs: Receiver<Job>,
    /// Held for as long as the store is open.
    pub(crate) lock: File,
    pub(crate) ballast_tried: Option<Instant>,
    /// Bytes of all rows.
    pub(crate) live_bytes: u64,
    pub(crate) cache_bytes: u64,
    pub(crate) compaction_tried: Option<Instant>,
}

impl Writer {
    /// The first commit of this opening: the mark is brought up to the database, which a power cut may have left one commit
    /// ahead, and the epoch is made durable. If the cut may have prevented blocks of the black box, their places are filled, the
    /// black-boxed rows of the last commit are written into the box again, and so is that what the database does not hold is gone.
    pub(crate) fn begin(&mut self, epoch: u64, marked: u64, boxed: Vec<(Key, Vec<u8>)>) -> Result<(), EngineError> {
        let ahead = self.tally.commit > marked;
        let fillers = self.witness.ring.mend((self.tally.commit, self.tally.epoch, self.tally.high));
        let torn = ahead || !fillers.is_empty();
        if !fillers.is_empty() {
            self.witness.mend(&fillers).map_err(EngineError::Io)?;
        }
        if ahead {
            self.witness.write(&Vec::new(), &self.tally).map_err(EngineError::Io)?;
        }
        self.tally.epoch = epoch;
        self.tally.rebuilt = false;
        let (boxed, deletes) = if torn { (boxed, self.gone()?) } else { (Vec::new(), Vec::new()) };
        let puts = boxed.into_iter().map(|(key, value)| Put { key, value, black_box: true }).collect();
        let batch = Batch { puts, deletes, high: 0, class: Class::P0 };
        self.write(&[&batch], Instant::now())
    }

    /// Keys that the black box holds and the database does not.
    fn gone(&self) -> Result<Vec<Key>, EngineError> {
        let mut gone = Vec::new();
        for key in self.witness.ring.keys() {
            if self.engine.get(&key.encode())?.is_none() {
                gone.push(key);
            }
        }
        Ok(gone)
    }

    /// Serves until it is told to close or the last handle is gone.
    pub(crate) fn run(mut self) {
        let mut carried = None;
        while let Some(first) = carried.take().or_else(|| self.jobs.recv().ok()) {
            let (group, rest) = self.collect(first);
            carried = rest;
            let (close, tend) = (group.close, group.tend);
            self.round(group);
            if close {
                break;
            }
            if tend || carried.is_none() {
                let tend = AssertUnwindSafe(|| {
                    self.tend_database();
                    self.tend_ballast();
                });
                if catch_unwind(tend).is_err() {
                    // No batch is under way here. This thread must go on, or those to come would never be answered.
                    self.shared.set_poisoned("looking after the database panicked");
                }
            }
        }
        self.finish();
    }

    /// Takes `first` and whatever else waits, up to the limits of a group. The second part did not fit.
    fn collect(&self, first: Job) -> (Group, Option<Job>) {
        let mut group = Group::default();
        let blocks = self.witness.ring.group_blocks();
        let budget = blocks.saturating_sub(blocks * 4 / TOMBSTONES_PER_BLOCK as u64 + 1);
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Commit { batch, done, bytes } => {
                    let boxed = batch.puts.iter().filter(|put| put.black_box).count() as u64;
                    let full = group.bytes + bytes > GROUP_BYTES || group.boxed + boxed > budget;
                    if full && !group.members.is_empty() {
                        return (group, Some(Job::Commit { batch, done, bytes }));
                    }
                    group.bytes += bytes;
                    group.boxed += boxed;
                    group.members.push(Member { batch, done, bytes, result: Ok(()) });
                }
                Job::Canary { done } => group.canaries.push(done),
                Job::Tend => group.tend = true,
                Job::Close => {
                    group.close = true;
                    return (group, None);
                }
            }
            next = self.jobs.try_recv().ok();
        }
        (group, None)
    }

    /// Writes a group as one, if all of it may be written; else each batch by itself, so that none is refused for the size of
    /// its neighbours.
    fn round(&mut self, group: Group) {
        if group.members.len() < 2 || self.shared.poison().is_some() || self.survey(&group).0 == Admission::All {
            return self.write_and_tell(group);
        }
        for member in group.members {
            self.write_and_tell(Group { members: vec![member], ..Group::default() });
        }
        self.write_and_tell(Group { canaries: group.canaries, ..Group::default() });
    }

    /// Decides who may be written, writes, and tells everybody.
    fn write_and_tell(&mut self, mut group: Group) {
        if group.members.is_empty() && group.canaries.is_empty() {
            return;
        }
        let begun = Instant::now();
        let poisoned = self.shared.poison().map(CommitError::Poisoned);
        let room_for_canary = poisoned.is_some() || self.admit(&mut group);
        let outcome = match poisoned {
            Some(error) => Err(error),
            None => self.commit(&group, room_for_canary, begun),
        };
        let canary = match &outcome {
            Ok(()) if group.canaries.is_empty() => Ok(()),
            Ok(()) if !room_for_canary => Err(CommitError::DiskFull.into()),
            Ok(()) => self.read_back(),
            Err(error) => Err(error.clone().into()),
        };
        for member in group.members {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            self.shared.waiting_bytes.fetch_sub(member.bytes, Ordering::AcqRel);
            let result = member.result.and_then(|()| outcome.clone());
            call(|| (member.done)(result));
        }
        let took = begun.elapsed();
        for done in group.canaries {
            let result = canary.clone().map(|()| took);
            call(|| done(result));
        }
    }

    /// Who may be written at the moment, and whether the disk is low.
    fn survey(&self, group: &Group) -> (Admission, bool) {
        let settings = &self.shared.settings;
        let row = self.live_bytes.checked_div(self.tally.live).unwrap_or(0);
        let mut sizes = Sizes::default();
        for member in &group.members {
            let bytes = footprint(&member.batch, row);
            sizes.all += bytes;
            sizes.vital += if vital(member) { bytes } else { 0 };
            sizes.removals += if member.batch.only_deletes() { bytes } else { 0 };
        }
        // A file system that does not answer is treated as one without space: the ballast is what is left then.
        let usage = (settings.probe)(&settings.dir).unwrap_or(Usage { free: 0, total: 0 });
        let low = self.shared.is_low(usage);
        (space::admit(usage, low, settings.ballast.held(), sizes), low)
    }

    /// Marks the members that there is no room for. Says whether there is room for a canary.
    fn admit(&self, group: &mut Group) -> bool {
        let settings = &self.shared.settings;
        let (mut admission, low) = self.survey(group);
        let needs_room = group.members.iter().any(vital) || !group.canaries.is_empty();
        if admission == Admission::VitalByBallast && needs_room {
            settings.ballast.release();
            settings.observe(Observation::Ballast(false));
            admission = self.survey(group).0;
        }
        self.shared.low.store(admission != Admission::All && low, Ordering::Release);
        for member in &mut group.members {
            let class = member.batch.class;
            let admitted = match admission {
                Admission::All => true,
                Admission::Vital | Admission::VitalByBallast => vital(member),
                Admission::Removals => member.batch.only_deletes(),
                Admission::None => false,
            };
            if !admitted && vital(member) {
                member.result = Err(CommitError::DiskFull);
                settings.observe(Observation::DiskFull(class));
            } else if !admitted {
                member.result = Err(CommitError::Shed(class));
                settings.observe(Observation::Shed(class));
            }
        }
        !matches!(admission, Admission::Removals | Admission::None)
    }

    /// Makes the admitted members of a group durable.
    fn commit(&mut self, group: &Group, canaries: bool, begun: Instant) -> Result<(), CommitError> {
        let batches: Vec<&Batch> =
            group.members.iter().filter(|member| member.result.is_ok()).map(|member| &member.batch).collect();
        if batches.is_empty() && (group.canaries.is_empty() || !canaries) {
            return Ok(());
        }
        let written = self.write(&batches, begun);
        written.map_err(|error| CommitError::Poisoned(self.shared.set_poisoned(&format!("writing failed: {error}"))))
    }

    fn write(&mut self, batches: &[&Batch], begun: Instant) -> Result<(), EngineError> {
        let commit = self.tally.commit + 1;
        let mut rows = Rows::default();
        batches.iter().for_each(|batch| rows.add(commit, batch));
        let (mut tally, live_bytes) = rows.settle(&self.engine, self.tally, self.live_bytes)?;
        tally.commit = commit;
        let bytes = rows.bytes;
        let count = rows.changes.len() as u64;
        let mut changes: Vec<_> =
            rows.changes.into_iter().map(|(key, row)| (key.encode().to_vec(), row.map(|(frame, _)| frame))).collect();
        let puts = batches.iter().flat_map(|batch| &batch.puts).filter(|put| put.black_box);
        let numbers = (commit, tally.epoch, tally.high);
        let blocks = self.witness.ring.write(numbers, puts.map(|put| (put.key, put.value.as_slice())), &rows.removed);
        tally.ring_next = self.witness.ring.next();
        changes.push((TALLY_KEY.to_vec(), Some(tally.encode().to_vec())));
        self.engine.apply(changes)?;
        self.engine.sync(rows.largest)?;
        let database = begun.elapsed();
        self.witness.write(&blocks, &tally).map_err(EngineError::Io)?;
        let took = begun.elapsed();
        (self.tally, self.live_bytes) = (tally, live_bytes);
        self.shared.commit.store(commit, Ordering::Release);
        self.shared.last_sync_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Release);
        self.shared.settings.observe(Observation::Synced {
            took,
            database,
            batches: batches.len() as u64,
            rows: count,
            bytes,
        });
        Ok(())
    }

    /// Whether what was just written can be read: the mark from the device, the tally from the database.
    fn read_back(&self) -> Result<(), StoreError> {
        let mark = self.witness.read_back().map_err(|error| self.unreadable(&format!("{error}")))?;
        let row = self.engine.get(TALLY_KEY).map_err(|error| self.unreadable(&format!("{error}")))?;
        if mark != Some(self.tally) || row.as_deref() != Some(&self.tally.encode()[..]) {
            return Err(self.unreadable("it is not what was written"));
        }
        Ok(())
    }

    fn unreadable(&self, why: &str) -> StoreError {
        StoreError::Poisoned(self.shared.set_poisoned(&format!("the canary cannot be read back: {why}")))
    }

    /// On a disk that is low, takes the waste out of the database: commits wait for as long as its rows take to be copied.
    fn tend_database(&mut self) {
        let settings = &self.shared.settings;
        let pause = self.compaction_tried.is_some_and(|at| at.elapsed() < COMPACTION_PAUSE);
        let wasteful = self.engine.bytes() > WASTE_BYTES + 4 * self.live_bytes;
        if pause || !wasteful || self.shared.poison().is_some() {
            return;
        }
        let usage = (settings.probe)(&settings.dir).ok();
        let usage = usage.filter(|usage| self.shared.is_low(*usage) || usage.free < space::needed(0));
        if usage.is_none_or(|usage| usage.free < space::needed_to_copy(self.live_bytes)) {
            return;
        }
        self.compaction_tried = Some(Instant::now());
        match rebuild::compact(&settings.dir, self.cache_bytes, &self.engine, &self.tally) {
            Ok(engine) => {
                self.engine = Arc::new(engine);
                let mut slot = self.shared.engine.write().unwrap_or_else(PoisonError::into_inner);
                *slot = Some(self.engine.clone());
            }
            Err((error, false)) => {
                tracing::warn!(%error, "the database could not be made smaller; it is tried again later");
            }
            Err((error, true)) => {
                self.shared.set_poisoned(&format!(
                    "the database could not be opened again after it was made smaller: {error}"
                ));
            }
        }
    }

    /// Puts the ballast back if there is space for it.
    pub(crate) fn tend_ballast(&mut self) {
        let settings = &self.shared.settings;
        if !settings.ballast.missing() || self.ballast_tried.is_some_and(|at| at.elapsed() < BALLAST_PAUSE) {
            return;
        }
        self.ballast_tried = Some(Instant::now());
        let Ok(usage) = (settings.probe)(&settings.dir) else {
            return;
        };
        match settings.ballast.restore(usage, settings.low_space_bytes) {
            Ok(true) => settings.observe(Observation::Ballast(true)),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the ballast could not be put back; it is tried again later"),
        }
    }

    /// Takes the database from the handles and closes it.
    fn finish(self) {
        self.shared.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        // A reader that is just scanning keeps the database open until it is done.
        if let Some(engine) = Arc::into_inner(self.engine)
            && let Err(error) = engine.close()
        {
            tracing::warn!(%error, "closing the database failed; what was committed is on the disk all the same");
        }
        drop(self.lock);
    }
}

/// Whether a batch is P0 or only removes.
fn vital(member: &Member) -> bool {
    space::is_vital(member.batch.class, member.batch.only_deletes())
}

/// Calls a caller's closure; its panic must not cost the others their answers.
fn call(run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        tracing::error!("a callback of a commit panicked; report this as a defect of the caller");
    }
}
