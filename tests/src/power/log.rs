//! The history of one write-ahead log, and of a file beside it that is replaced whole: each of their lives ends with a power cut.
//!
//! They are used from this process, as their owner would: many appends under way, entries, votes and purges mixed, and nobody closes
//! anything before the cut.
//!
//! Invariant: a cut counts as survived only when an opening after it was judged: every acknowledged entry is there with its bytes,
//! nothing is there that was not written last under its index, no vote went back, and only what was purged is gone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use huxiao_core::Rng;
use huxiao_store::durable_file;
use huxiao_store::wal::{Record, Recovered, Wal, WalConfig, WalError};

use super::disk::{Disk, Fuse};
use super::mount::Mounted;

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
/// Appends under way at once.
const WINDOW: u64 = 24;
/// Entries that a purge leaves.
const LEFT: u64 = 150;
/// Appends in one life after which something is wrong with the fuse.
const LONG_LIFE: u64 = 50_000;

/// What became of the cuts.
#[derive(Debug, Default, Clone)]
pub struct LogTally {
    /// Cuts.
    pub cuts: u64,
    /// Those after which everything was as it must be.
    pub kept: u64,
    /// Those while the log was opened.
    pub opening: u64,
    /// Openings that cut off a torn tail.
    pub torn: u64,
    /// Appends acknowledged.
    pub acknowledged: u64,
    /// Replacements of the file that succeeded.
    pub files: u64,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl LogTally {
    /// Adds those of another log.
    pub fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.kept += other.kept;
        self.opening += other.opening;
        self.torn += other.torn;
        self.acknowledged += other.acknowledged;
        self.files += other.files;
        self.failures.extend_from_slice(&other.failures);
    }
}

/// A number that only rises: how far it was promised, and how far it was asked for.
#[derive(Debug, Clone, Default)]
struct Reach {
    acked: Arc<AtomicU64>,
    asked: u64,
}

impl Reach {
    fn acked(&self) -> u64 {
        self.acked.load(Ordering::Acquire)
    }

    /// Goes on from what was found, if that is possible.
    fn judge(&mut self, what: &str, found: u64) -> Result<(), String> {
        let (acked, asked) = (self.acked(), self.asked);
        if !(acked..=asked).contains(&found) {
            return Err(format!("{what} {found} was found; {acked} was promised, {asked} asked for"));
        }
        self.acked.store(found, Ordering::Release);
        self.asked = found;
        Ok(())
    }
}

/// One log.
pub struct LogHistory {
    seed: u64,
    rng: Rng,
    disk: Disk,
    life: u64,
    entries: Reach,
    votes: Reach,
    file: Reach,
    /// In which life each index was last written.
    lives: BTreeMap<u64, u64>,
    /// Up to where purging was asked for.
    purged: u64,
    unjudged: u64,
    tally: LogTally,
}

impl LogHistory {
    /// A log that is not made yet; `seed` decides all that is left to chance here.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: Rng::new(seed),
            disk: Disk::default(),
            life: 0,
            entries: Reach::default(),
            votes: Reach::default(),
            file: Reach::default(),
            lives: BTreeMap::new(),
            purged: 0,
            unjudged: 0,
            tally: LogTally::default(),
        }
    }

    /// Lets it live through so many cuts, and looks at it a last time.
    #[must_use]
    pub fn run(mut self, cuts: u64) -> LogTally {
        for life in 0..=cuts {
            self.life = life;
            if let Err(why) = self.live(life == cuts) {
                let place = std::env::temp_dir().join(format!("huxiao-power-evidence-{}", self.seed));
                let kept = self.disk.export(&place).map_or_else(|error| error.to_string(), |()| "kept".into());
                let place = place.display();
                let failure = format!("log {}, after cut {life}: {why}; the disk is in {place} ({kept})", self.seed);
                self.tally.failures.push(failure);
                break;
            }
        }
        self.tally
    }

    /// One life, up to its cut; the last one has none.
    fn live(&mut self, last: bool) -> Result<(), String> {
        let mounted = Mounted::new(self.disk.clone()).map_err(|error| format!("mounting: {error}"))?;
        let remote = mounted.remote();
        let early = !last && self.rng.below(100) < 30;
        if early {
            let fuse = self.fuse(14);
            remote.disk().arm(fuse, self.rng.next_u64());
        }
        let config =
            WalConfig { segment_bytes: 24 << 10, ballast_bytes: 0, sticky: vec![VOTE], ..WalConfig::default() };
        let opened = Wal::open(&mounted.dir().join("log"), config);
        match opened {
            Ok((wal, recovered)) => {
                self.judge(&recovered)?;
                self.judge_file(mounted.dir())?;
                self.tally.kept += std::mem::take(&mut self.unjudged);
                self.tally.torn += u64::from(recovered.torn.is_some());
                if last {
                    wal.close();
                    return Ok(());
                }
                if !early {
                    let fuse = self.fuse(160);
                    remote.disk().arm(fuse, self.rng.next_u64());
                }
                self.write(&wal, mounted.dir())?;
                wal.close();
            }
            Err(_) if remote.disk().is_dead() => self.tally.opening += 1,
            Err(error) => return Err(format!("opening: {error}")),
        }
        if !remote.disk().is_dead() {
            return Err("the log broke by itself".into());
        }
        self.disk = remote.disk().survivor();
        self.unjudged += 1;
        self.tally.cuts += 1;
        Ok(())
    }

    fn fuse(&mut self, barriers: u64) -> Fuse {
        Fuse { barriers: self.rng.below(barriers), then: self.rng.below(4) }
    }

    /// Appends until the power goes.
    fn write(&mut self, wal: &Wal, mount: &Path) -> Result<(), String> {
        let gate = Arc::new(Gate::default());
        for step in 0..LONG_LIFE {
            if !gate.enter() {
                gate.wait_for_all();
                self.tally.acknowledged += gate.acknowledged();
                return Ok(());
            }
            match self.rng.below(20) {
                0 => self.append(wal, &gate, Some(self.votes.asked + 1)),
                1 if self.entries.acked() > LEFT => {
                    self.purged = self.entries.acked() - LEFT;
                    let gate = gate.clone();
                    wal.purge(self.purged, move |result| gate.leave(result.as_ref()));
                }
                _ => self.append(wal, &gate, None),
            }
            if step % 8 == 7 {
                self.file.asked += 1;
                let content = content(self.seed, self.life, self.file.asked, 5_000);
                if durable_file::write_new(&fact(mount), &[&self.file.asked.to_be_bytes()[..], &content].concat())
                    .is_ok()
                {
                    self.file.acked.store(self.file.asked, Ordering::Release);
                    self.tally.files += 1;
                } else {
                    // Nothing is asked for before it is known what became of this.
                    gate.shut();
                }
            }
        }
        Err("the power did not go".into())
    }

    fn append(&mut self, wal: &Wal, gate: &Arc<Gate>, vote: Option<u64>) {
        let mut records = Vec::new();
        for _ in 0..self.rng.below(4) + u64::from(vote.is_none()) {
            let index = self.entries.asked + 1;
            let length = if self.rng.below(4) == 0 { self.rng.below(6_000) } else { self.rng.below(300) };
            records.push(Record { kind: ENTRY, index, bytes: content(self.seed, self.life, index, length) });
            self.lives.insert(index, self.life);
            self.entries.asked = index;
        }
        if let Some(vote) = vote {
            self.votes.asked = vote;
            records.push(Record { kind: VOTE, index: 0, bytes: vote.to_be_bytes().to_vec() });
        }
        let (entries, votes, gate) = (self.entries.clone(), self.votes.clone(), gate.clone());
        wal.append(records, move |result| {
            if result.is_ok() {
                entries.acked.store(entries.asked, Ordering::Release);
                votes.acked.store(votes.asked, Ordering::Release);
            }
            gate.leave(result.as_ref());
        });
    }

    fn judge(&mut self, recovered: &Recovered) -> Result<(), String> {
        let (mut before, mut vote) = (None, 0);
        for (_, record) in &recovered.records {
            if record.kind == VOTE {
                vote = record.bytes.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| "a vote is none")?;
                continue;
            }
            let index = record.index;
            if before.is_some_and(|before| before + 1 != index) || (before.is_none() && index > self.purged + 1) {
                return Err(format!("entry {index} follows {before:?}; {} are purged", self.purged));
            }
            let life = self.lives.get(&index).ok_or_else(|| format!("entry {index} was never written"))?;
            if record.bytes != content(self.seed, *life, index, record.bytes.len() as u64) {
                return Err(format!("entry {index} is not the one of life {life}"));
            }
            before = Some(index);
        }
        // A log may be purged to its last segment, but the last entry stays.
        self.entries.judge("entry", before.unwrap_or(0))?;
        self.votes.judge("vote", vote)
    }

    fn judge_file(&mut self, mount: &Path) -> Result<(), String> {
        let bytes = match std::fs::read(fact(mount)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return self.file.judge("file", 0),
            Err(error) => return Err(format!("reading the file: {error}")),
        };
        let (number, rest) = bytes.split_first_chunk::<8>().ok_or("the file is no file of ours")?;
        let number = u64::from_be_bytes(*number);
        let whole = (0..=self.life).any(|life| rest == content(self.seed, life, number, 5_000));
        if !whole {
            return Err(format!("file {number} is not what was written"));
        }
        self.file.judge("file", number)
    }
}

fn fact(mount: &Path) -> PathBuf {
    mount.join("fact")
}

/// What is written under an index in one life. Long stretches of zeros are among it: they look like sectors that were never written.
fn content(seed: u64, life: u64, index: u64, length: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed ^ life << 48 ^ index);
    let zeros = rng.below(3) == 0;
    let fresh = |at: u64| if zeros && at > 40 { 0 } else { u8::try_from(rng.below(256)).unwrap_or(0) };
    (0..length).map(fresh).collect()
}

/// Lets so many in at a time, and nobody after a failure.
#[derive(Default)]
struct Gate {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    now: u64,
    acknowledged: u64,
    shut: bool,
}

impl Gate {
    fn enter(&self) -> bool {
        let full = |inside: &mut Inside| inside.now >= WINDOW && !inside.shut;
        let mut inside = self.changed.wait_while(self.inside.lock().unwrap(), full).unwrap();
        inside.now += u64::from(!inside.shut);
        !inside.shut
    }

    fn leave(&self, result: Result<&(), &WalError>) {
        let mut inside = self.inside.lock().unwrap();
        inside.now -= 1;
        inside.acknowledged += u64::from(result.is_ok());
        inside.shut |= result.is_err();
        self.changed.notify_all();
    }

    fn shut(&self) {
        self.inside.lock().unwrap().shut = true;
    }

    fn wait_for_all(&self) {
        drop(self.changed.wait_while(self.inside.lock().unwrap(), |inside| inside.now > 0).unwrap());
    }

    fn acknowledged(&self) -> u64 {
        self.inside.lock().unwrap().acknowledged
    }
}
