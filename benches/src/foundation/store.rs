//! The store beside what it stands on: a plain file with a sync, and plain sled, in one folder on one disk.
//!
//! Invariant: the subjects take turns in every round, so that what else happens on the disk meets all of them.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use huxiao_core::{Class, WallTime};
use huxiao_store::{Batch, Config, Key, Put, Space, Store, Trial};

use super::Extent;
use super::probe::{self, ROW_BYTES};
use crate::error::{BenchError, Trying};
use crate::figures::{Latency, Rate, Ratio, Samples};
use crate::report::Report;
use crate::scratch::Scratch;

const PART: &str = "store";
/// Writers whose commits are under way together.
const WRITERS: u32 = 64;
/// How long one commit may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(30);

const OURS: &str = "fdatasync of the database and its mark";
const OURS_BOXED: &str = "the same, and of the black box";
const PLAIN: &str = "fdatasync of the file";
const SLED: &str = "nothing surely: sled's flush is sync_file_range";

/// The rounds of each subject.
#[derive(Default)]
struct Rounds {
    append: Vec<Samples>,
    sled: Vec<Samples>,
    ours: Vec<Samples>,
    boxed: Vec<Samples>,
    append_rate: Vec<(u32, Duration)>,
    sled_rate: Vec<(u32, Duration)>,
    ours_rate: Vec<(u32, Duration)>,
    boxed_rate: Vec<(u32, Duration)>,
}

/// Measures the store and its neighbours.
///
/// # Errors
/// The disk, or one of the subjects.
pub(crate) fn measure(extent: &Extent, scratch: &Scratch, report: &mut Report) -> Result<(), BenchError> {
    let dir = scratch.folder("store")?;
    let mut ours = Ours::open(&dir)?;
    let mut sled = Sled::open(&dir)?;
    let mut rounds = Rounds::default();
    for round in 0..extent.rounds {
        if round > 0 && Instant::now() > extent.store_until {
            report.notes.push(format!("store: time was up after {round} of {} rounds", extent.rounds));
            break;
        }
        let limit = extent.commit_limit;
        rounds.append.push(probe::appends(&dir, extent.commits, limit)?);
        rounds.ours.push(ours.one_by_one(extent.commits, limit, false)?);
        rounds.sled.push(sled.one_by_one(extent.commits, limit)?);
        rounds.boxed.push(ours.one_by_one(extent.commits, limit, true)?);
        rounds.append_rate.push(probe::grouped_appends(&dir, extent.in_flight, WRITERS, limit)?);
        rounds.ours_rate.push(ours.together(extent.in_flight, limit, false)?);
        rounds.sled_rate.push(sled.together(extent.in_flight, limit)?);
        rounds.boxed_rate.push(ours.together(extent.in_flight / 4, limit, true)?);
    }
    ours.store.close();
    tell(&rounds, report);
    Ok(())
}

fn tell(rounds: &Rounds, report: &mut Report) {
    let time = |name: &str, synced, rounds: &[Samples]| Latency::new(PART, name, synced, rounds);
    let ours = time("one commit, one writer", OURS, &rounds.ours);
    let boxed = time("one commit, one writer, P0 into the black box too", OURS_BOXED, &rounds.boxed);
    let append = time("append to a file + fdatasync", PLAIN, &rounds.append);
    let sled = time("plain sled 0.34.7: insert + flush", SLED, &rounds.sled);
    let ratio = |name, below: &Option<Latency>, above: &Option<Latency>| {
        Ratio::of_times(name, None, above.as_ref(), below.as_ref(), |round| round.p50_ms)
    };
    report.ratios.extend(ratio("one commit over append + fdatasync, p50", &append, &ours));
    report.ratios.extend(ratio("one commit with black box over append + fdatasync, p50", &append, &boxed));
    report.ratios.extend(ratio("one commit over plain sled's flush, p50", &sled, &ours));
    let rate = |name: &str, synced, rounds: &[(u32, Duration)]| Rate::new(PART, name, synced, rounds);
    let ours_rate = rate("commits, 64 in flight", OURS, &rounds.ours_rate);
    let boxed_rate = rate("commits, 64 in flight, P0 into the black box too", OURS_BOXED, &rounds.boxed_rate);
    let append_rate = rate("rows, 64 with one write and one fdatasync", PLAIN, &rounds.append_rate);
    let sled_rate = rate("plain sled 0.34.7: 64 inserts, then flush_async", SLED, &rounds.sled_rate);
    let over = |name, below: &Option<Rate>| Ratio::of_rates(name, ours_rate.as_ref(), below.as_ref());
    report.ratios.extend(over("64 in flight, rows/s over ideally grouped appends", &append_rate));
    report.ratios.extend(over("64 in flight, rows/s over plain sled's flush_async", &sled_rate));
    report.latencies.extend([ours, boxed, append, sled].into_iter().flatten());
    report.rates.extend([ours_rate, boxed_rate, append_rate, sled_rate].into_iter().flatten());
}

/// The store under test.
struct Ours {
    store: Store,
    next: u64,
}

impl Ours {
    fn open(dir: &Path) -> Result<Self, BenchError> {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let now = WallTime(i64::try_from(micros).unwrap_or(i64::MAX));
        let config = Config::new(dir.join("ours"), Trial::InProcess);
        let opened = huxiao_store::open(&config, now).map_err(|error| BenchError::Store(error.to_string()))?;
        Ok(Self { store: opened.store, next: 1 })
    }

    /// A batch of one row, as a press makes it.
    fn batch(&mut self, black_box: bool) -> Batch {
        let seq = self.next;
        self.next += 1;
        let key = Key { space: Space::Outbox, class: Class::P0, seq };
        let put = Put { key, value: row(seq), black_box };
        Batch { puts: vec![put], deletes: Vec::new(), high: seq, class: Class::P0 }
    }

    fn one_by_one(&mut self, count: u32, limit: Duration, black_box: bool) -> Result<Samples, BenchError> {
        let (done, finished) = mpsc::channel();
        let (until, mut samples) = (Instant::now() + limit, Samples::new());
        for _ in (0..count).take_while(|_| Instant::now() <= until) {
            let (batch, done) = (self.batch(black_box), done.clone());
            let began = Instant::now();
            // The receiver lives as long as this function.
            self.store.commit(batch, move |result| drop(done.send(result)));
            await_commit(&finished)?;
            samples.record(began.elapsed());
        }
        Ok(samples)
    }

    /// Keeps [`WRITERS`] commits in flight: each that is done is followed by the next.
    fn together(&mut self, count: u32, limit: Duration, black_box: bool) -> Result<(u32, Duration), BenchError> {
        let (done, finished) = mpsc::channel();
        let (began, mut sent, mut received) = (Instant::now(), 0, 0);
        loop {
            while sent < count && sent - received < WRITERS && began.elapsed() <= limit {
                let (batch, done) = (self.batch(black_box), done.clone());
                self.store.commit(batch, move |result| drop(done.send(result)));
                sent += 1;
            }
            if received == sent {
                return Ok((sent, began.elapsed()));
            }
            await_commit(&finished)?;
            received += 1;
        }
    }
}

fn await_commit(finished: &mpsc::Receiver<Result<(), huxiao_store::CommitError>>) -> Result<(), BenchError> {
    let late = |_| BenchError::Late { what: "a commit of the store".into(), seconds: PATIENCE.as_secs() };
    finished.recv_timeout(PATIENCE).map_err(late)?.map_err(|error| BenchError::Store(error.to_string()))
}

/// Content that does not compress to nothing.
fn row(seq: u64) -> Vec<u8> {
    seq.to_be_bytes().into_iter().cycle().take(ROW_BYTES).collect()
}

/// sled as its manual shows it, but for the timer that would flush in between.
struct Sled {
    db: sled::Db,
    runtime: tokio::runtime::Runtime,
    next: u64,
}

impl Sled {
    fn open(dir: &Path) -> Result<Self, BenchError> {
        let path: PathBuf = dir.join("sled");
        let db = sled::Config::new().path(path).flush_every_ms(None).open()?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().trying("make a runtime")?;
        Ok(Self { db, runtime, next: 1 })
    }

    fn one_by_one(&mut self, count: u32, limit: Duration) -> Result<Samples, BenchError> {
        let (until, mut samples) = (Instant::now() + limit, Samples::new());
        for _ in (0..count).take_while(|_| Instant::now() <= until) {
            let (key, value) = (self.next.to_be_bytes(), row(self.next));
            self.next += 1;
            let began = Instant::now();
            self.db.insert(key, value)?;
            self.db.flush()?;
            samples.record(began.elapsed());
        }
        Ok(samples)
    }

    /// [`WRITERS`] rows, then one `flush_async`, again and again. Not one for each row: sled runs each on one of its few threads, where
    /// it waits for a write that needs such a thread too, so that with dozens at once none may ever end (seen).
    fn together(&mut self, count: u32, limit: Duration) -> Result<(u32, Duration), BenchError> {
        let (began, mut written) = (Instant::now(), 0);
        while written + WRITERS <= count && began.elapsed() <= limit {
            for _ in 0..WRITERS {
                self.db.insert(self.next.to_be_bytes(), row(self.next))?;
                self.next += 1;
            }
            self.runtime.block_on(self.db.flush_async())?;
            written += WRITERS;
        }
        Ok((written, began.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    #[test]
    fn what_is_counted_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut ours = Ours::open(dir.path()).unwrap();
        assert_eq!(ours.one_by_one(5, PATIENCE, true).unwrap().round().unwrap().samples, 5);
        assert_eq!(ours.one_by_one(5, PATIENCE, false).unwrap().round().unwrap().samples, 5);
        assert_eq!(ours.together(200, PATIENCE, false).unwrap().0, 200);
        assert_eq!(ours.together(70, PATIENCE, true).unwrap().0, 70);
        ours.store.close();
        let again = Ours::open(dir.path()).unwrap();
        let mut rows = 0;
        let count = |key: Key, value: &[u8]| {
            assert_eq!(value, row(key.seq));
            rows += 1;
            ControlFlow::Continue(())
        };
        again.store.scan(Space::Outbox, count).unwrap();
        assert_eq!(rows, 280);
        again.store.close();
    }

    #[test]
    fn plain_sled_does_what_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut sled = Sled::open(dir.path()).unwrap();
        assert_eq!(sled.one_by_one(4, PATIENCE).unwrap().round().unwrap().samples, 4);
        assert_eq!(sled.together(130, PATIENCE).unwrap().0, 128);
        assert_eq!(sled.db.len(), 132);
    }
}
