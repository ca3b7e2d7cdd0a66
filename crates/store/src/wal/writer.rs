//! The one thread that writes: it takes what waits, makes one batch of it, writes and syncs it, and tells everybody.
//!
//! Invariant: write, sync, callbacks, in the order of the appends. A sync that fails is final, because nobody knows then what is on
//! the disk; and so is a full disk, because a record behind a missing one would make a hole.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::disk::{Disk, DiskFile};
use super::error::{WalError, is_full};
use super::segment::{Head, encode_batch};
use super::{APPEND_BYTES, Record, Shared, WalObservation};

/// A batch that has this many bytes waits for no more.
const BATCH_BYTES: usize = 4 << 20;
/// How often at most the ballast is put back.
const BALLAST_PAUSE: Duration = Duration::from_secs(5);

/// How the end of an append or a purge is told.
pub(super) type Done = Box<dyn FnOnce(Result<(), WalError>) + Send>;

/// What the writer is asked to do.
pub(super) enum Job {
    /// Make records durable.
    Append { records: Vec<Record>, bytes: usize, done: Done },
    /// Remove segments from the front.
    Purge { upto: u64, done: Done },
    /// Put the ballast back if there is space.
    Tend,
    /// Stop after what came before.
    Close,
}

impl Job {
    /// Tells whoever waits for it that it will not be done.
    pub(super) fn refuse(self, error: WalError) {
        match self {
            Self::Append { done, .. } | Self::Purge { done, .. } => done(Err(error)),
            Self::Tend | Self::Close => {}
        }
    }
}

/// A segment, as much as purging needs to know of it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// The highest index of its records, sticky ones apart.
    pub(super) highest: Option<u64>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) salt: u64,
    /// Bytes with which it began: until there are more, beginning another would gain nothing.
    pub(super) began_with: u64,
}

/// The state of the writer's thread.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) jobs: Receiver<Job>,
    /// Oldest first; the last is the active one.
    pub(super) segments: VecDeque<Stored>,
    pub(super) active: Active,
    /// The number of the batch that comes next.
    pub(super) next_batch: u64,
    /// The newest record of each sticky kind.
    pub(super) sticky: BTreeMap<u8, Record>,
    /// Held for as long as the log is open.
    pub(super) _lock: File,
    pub(super) ballast_tried: Option<Instant>,
}

/// Appends that become one batch.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    bytes: usize,
    waiting: Vec<Done>,
}

/// Why something could not be written.
enum Failure {
    /// No space; what was there before is unharmed.
    Full,
    /// Anything else, in words.
    Broken(String),
}

impl Failure {
    fn of(what: &str, error: &io::Error) -> Self {
        if is_full(error) { Self::Full } else { Self::Broken(format!("{what} failed: {error}")) }
    }
}

impl Writer {
    /// Serves until it is told to close or the last handle is gone.
    pub(super) fn run(mut self) {
        let mut carried = None;
        while let Some(job) = carried.take().or_else(|| self.jobs.recv().ok()) {
            match job {
                Job::Append { .. } => carried = self.append(job),
                Job::Purge { upto, done } => {
                    let result = self.purge(upto);
                    call(|| done(result));
                }
                Job::Tend => self.tend_ballast(),
                Job::Close => break,
            }
        }
    }

    /// Writes `first` and the appends that wait behind it as one batch. Gives back the job that is none of them.
    fn append(&mut self, first: Job) -> Option<Job> {
        let mut batch = Batch::default();
        let (mut next, mut other) = (Some(first), None);
        while let Some(job) = next {
            match job {
                Job::Append { bytes, done, .. } if bytes > APPEND_BYTES => {
                    call(|| done(Err(WalError::TooLarge { bytes, limit: APPEND_BYTES })));
                }
                Job::Append { bytes, .. } if bytes + batch.bytes > BATCH_BYTES && !batch.waiting.is_empty() => {
                    other = Some(job);
                    break;
                }
                Job::Append { records, bytes, done } => {
                    batch.records.extend(records);
                    batch.bytes += bytes;
                    batch.waiting.push(done);
                }
                Job::Purge { .. } | Job::Tend | Job::Close => {
                    other = Some(job);
                    break;
                }
            }
            next = self.jobs.try_recv().ok();
        }
        let Batch { records, waiting, .. } = batch;
        let result = self.refusal().map_or_else(|| self.write(records, waiting.len()), Err);
        for done in waiting {
            let result = result.clone();
            call(|| done(result));
        }
        other
    }

    /// Why nothing is written any more, if that is so.
    fn refusal(&self) -> Option<WalError> {
        let full = self.shared.full.load(Ordering::Acquire);
        self.shared.poison().map(WalError::Poisoned).or(full.then_some(WalError::Full))
    }

    fn write(&mut self, records: Vec<Record>, appends: usize) -> Result<(), WalError> {
        if records.is_empty() {
            // What was appended before is on stable storage already.
            return Ok(());
        }
        let written = self.roll_if_full().and_then(|()| self.write_batch(&records, appends));
        match written {
            Ok(()) => {
                self.note(records);
                self.count();
                Ok(())
            }
            Err(Failure::Full) => {
                self.shared.full.store(true, Ordering::Release);
                self.shared.observe(WalObservation::Full);
                Err(WalError::Full)
            }
            Err(Failure::Broken(why)) => Err(self.shared.set_poisoned(why)),
        }
    }

    /// Remembers what is now on stable storage.
    fn note(&mut self, records: Vec<Record>) {
        for record in records {
            if self.shared.config.sticky.contains(&record.kind) {
                self.sticky.insert(record.kind, record);
            } else if let Some(segment) = self.segments.back_mut() {
                segment.highest = segment.highest.max(Some(record.index));
            }
        }
    }

    fn write_batch(&mut self, records: &[Record], appends: usize) -> Result<(), Failure> {
        let begun = Instant::now();
        let bytes = encode_batch(self.active.salt, self.next_batch, records);
        let at = self.segments.back().map_or(0, |segment| segment.bytes);
        let mut wrote = self.active.file.write_at(&bytes, at);
        if wrote.as_ref().is_err_and(is_full) && self.release_ballast() {
            wrote = self.active.file.write_at(&bytes, at);
        }
        if let Err(error) = wrote {
            if is_full(&error) {
                // Synced, so that nothing of it can come back below what is written after the next opening.
                let undone = self.active.file.set_len(at).and_then(|()| self.active.file.sync());
                undone
                    .map_err(|error| Failure::Broken(format!("cutting the log after a full disk failed: {error}")))?;
            }
            return Err(Failure::of("writing the log", &error));
        }
        // No space at a sync leaves it unknown what is on the disk, as any other failure does.
        self.active.file.sync().map_err(|error| Failure::Broken(format!("syncing the log failed: {error}")))?;
        let took = begun.elapsed();
        self.next_batch += 1;
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes += bytes.len() as u64;
        }
        self.shared.last_sync_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Release);
        let (records, bytes) = (records.len() as u64, bytes.len() as u64);
        self.shared.observe(WalObservation::Synced { took, appends: appends as u64, records, bytes });
        Ok(())
    }

    /// Begins another segment if the active one has its size.
    fn roll_if_full(&mut self) -> Result<(), Failure> {
        let Some(last) = self.segments.back() else { return Ok(()) };
        if last.bytes < self.shared.config.segment_bytes || last.bytes <= self.active.began_with {
            return Ok(());
        }
        let number = last.number + 1;
        let mut made = self.make_segment(number);
        if matches!(made, Err(Failure::Full)) && self.release_ballast() {
            made = self.make_segment(number);
        }
        let (active, stored) = made?;
        self.next_batch += u64::from(!self.sticky.is_empty());
        self.active = active;
        self.segments.push_back(stored);
        Ok(())
    }

    fn make_segment(&self, number: u64) -> Result<(Active, Stored), Failure> {
        make_segment(&*self.disk, &self.shared.dir, number, self.next_batch, self.sticky.values())
            .map_err(|(what, error)| Failure::of(what, &error))
    }

    /// Gives up the ballast; `false` if there was none.
    fn release_ballast(&self) -> bool {
        let released = self.shared.ballast.release();
        if released {
            self.shared.low.store(true, Ordering::Release);
            self.shared.observe(WalObservation::Ballast(false));
        }
        released
    }

    fn purge(&mut self, upto: u64) -> Result<(), WalError> {
        if let Some(why) = self.shared.poison() {
            return Err(WalError::Poisoned(why));
        }
        let whole = |segment: &Stored| segment.highest.is_none_or(|highest| highest <= upto);
        while self.segments.len() > 1 && self.segments.front().is_some_and(whole) {
            let Some(segment) = self.segments.pop_front() else { break };
            // Each by itself: names may become durable in any order, and one missing in the middle would be damage.
            let removed = self.disk.remove(&segment_path(&self.shared.dir, segment.number));
            let removed = removed.and_then(|()| self.disk.sync_dir(&self.shared.dir));
            removed
                .map_err(|error| self.shared.set_poisoned(format!("removing a segment of the log failed: {error}")))?;
            self.count();
        }
        Ok(())
    }

    /// Puts the ballast back if there is space for it.
    pub(super) fn tend_ballast(&mut self) {
        let (ballast, low_bytes) = (&self.shared.ballast, self.shared.config.low_space_bytes);
        if !ballast.missing() || self.ballast_tried.is_some_and(|at| at.elapsed() < BALLAST_PAUSE) {
            return;
        }
        self.ballast_tried = Some(Instant::now());
        match ballast.restore(self.shared.usage(), low_bytes) {
            Ok(true) => self.shared.observe(WalObservation::Ballast(true)),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the log's ballast could not be put back; it is tried again later"),
        }
    }

    /// Tells the handles how large the log is.
    pub(super) fn count(&self) {
        let bytes = self.segments.iter().map(|segment| segment.bytes).sum();
        self.shared.bytes.store(bytes, Ordering::Release);
        self.shared.segments.store(self.segments.len() as u64, Ordering::Release);
    }
}

/// The name of a segment's file.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.wal"))
}

/// Makes a segment that begins with `carried` as batch `first_batch`, and gives it its name only when all of it is on the disk.
pub(super) fn make_segment<'a>(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    first_batch: u64,
    carried: impl ExactSizeIterator<Item = &'a Record>,
) -> Result<(Active, Stored), (&'static str, io::Error)> {
    let path = segment_path(dir, number);
    let temporary = path.with_extension("new");
    // Random, but no secret: it only has to be unknown to whoever wrote the commands before this segment was made.
    let salt = RandomState::new().build_hasher().finish();
    let mut bytes = Head { number, first_batch, salt }.encode().to_vec();
    if carried.len() > 0 {
        bytes.extend(encode_batch(salt, first_batch, carried));
    }
    let made = disk.create(&temporary).and_then(|file| {
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(&temporary, &path)?;
        Ok(file)
    });
    let file = made.map_err(|error| {
        // What cannot be removed is removed by the next opening.
        let _ = disk.remove(&temporary);
        ("beginning a segment of the log", error)
    })?;
    // Not to be undone: nobody knows whether the name is durable, so "no space" is no excuse here.
    disk.sync_dir(dir).map_err(|error| ("syncing the log's folder", io::Error::other(error.to_string())))?;
    let began_with = bytes.len() as u64;
    Ok((Active { file, salt, began_with }, Stored { number, bytes: began_with, highest: None }))
}

/// Calls a caller's closure; its panic must not cost the others their answers.
fn call(run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        tracing::error!("a callback of the log panicked; report this as a defect of the caller");
    }
}
