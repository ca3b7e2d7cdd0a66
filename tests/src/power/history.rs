//! The history of one store: it is made, written to and opened again, and each of its lives ends with a power cut.
//!
//! Invariant: a cut counts as survived only when an opening after it was judged and nothing was wrong; and no cut is forgotten:
//! each either counts so or is in a failure.

use std::path::PathBuf;
use std::time::Duration;

use huxiao_core::Rng;

use super::child::{Child, Line};
use super::disk::{Disk, Fuse};
use super::ledger::{Found, Ledger};
use super::mount::{Mounted, Remote};
use super::script::{Profile, Role};
use super::victim::{Engine, Order};

/// Silence of a victim after which it is taken to hang.
const PATIENCE: Duration = Duration::from_secs(45);
/// The same for plain sled, which does hang on some of what a cut leaves.
const SLED_PATIENCE: Duration = Duration::from_secs(8);
/// Barriers in making a database smaller, roughly.
const COMPACTION: u64 = 45;
/// Commits in one life after which the power goes soon, whatever was waited for.
const LONG_LIFE: u64 = 12_000;

/// How many barriers there are in making a store and in opening one again, when nothing goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Usual {
    /// In making one.
    pub making: u64,
    /// In opening one.
    pub opening: u64,
}

/// What became of the cuts on our stores.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Cuts.
    pub cuts: u64,
    /// Those after which everything was as it must be.
    pub kept: u64,
    /// Those during the very first opening.
    pub making: u64,
    /// Those during a later opening.
    pub opening: u64,
    /// Those while a database was made smaller, or just after.
    pub compacting: u64,
    /// Those after a process had been killed on the same disk.
    pub after_a_kill: u64,
    /// Commits acknowledged.
    pub acknowledged: u64,
    /// Victims that had to be killed because they said nothing any more.
    pub hung: u64,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl Tally {
    /// Adds those of another store.
    pub fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.kept += other.kept;
        self.making += other.making;
        self.opening += other.opening;
        self.compacting += other.compacting;
        self.after_a_kill += other.after_a_kill;
        self.acknowledged += other.acknowledged;
        self.hung += other.hung;
        self.failures.extend_from_slice(&other.failures);
    }
}

/// One store of ours.
pub struct History {
    role: Role,
    profile: Profile,
    seed: u64,
    rng: Rng,
    usual: Usual,
    disk: Disk,
    ledger: Ledger,
    unjudged: u64,
    tally: Tally,
}

impl History {
    /// A store that is not made yet; `seed` decides all that is left to chance here.
    #[must_use]
    pub fn new(role: Role, profile: Profile, seed: u64, usual: Usual) -> Self {
        Self {
            role,
            profile,
            seed,
            rng: Rng::new(seed),
            usual,
            disk: Disk::default(),
            ledger: Ledger::new(role, profile, seed),
            unjudged: 0,
            tally: Tally::default(),
        }
    }

    /// Lets it live through so many cuts, and looks at it a last time.
    #[must_use]
    pub fn run(mut self, cuts: u64) -> Tally {
        for life in 0..=cuts {
            if let Err(why) = self.live(life, life == cuts) {
                let place = self.keep_evidence();
                let (role, profile) = (self.role.as_str(), self.profile.as_str());
                self.tally.failures.push(format!(
                    "{role}, {profile} rows, store {}, after cut {life}: {why}; the disk is in {}",
                    self.seed,
                    place.display()
                ));
                break;
            }
        }
        self.tally
    }

    /// One life, up to its cut; the last one has none.
    fn live(&mut self, life: u64, last: bool) -> Result<(), String> {
        let mounted = Mounted::new(self.disk.clone()).map_err(|error| format!("mounting: {error}"))?;
        let remote = mounted.remote();
        // A killed process leaves what it wrote visible and not synced.
        let killed = life > 0 && !last && self.rng.below(100) < 15;
        if killed {
            self.write_and_be_killed(&mounted)?;
        }
        let early = !last && self.rng.below(100) < if killed { 80 } else { 35 };
        if early {
            self.arm(&remote, if life == 0 { self.usual.making } else { self.usual.opening });
        }
        let mut watch = Watch::default();
        let mut child = self.start(&mounted, !last)?;
        while let Some(line) = child.next(PATIENCE) {
            let looked = self.take(line, &mut watch)?;
            if watch.acknowledged == LONG_LIFE && !remote.disk().is_armed() {
                self.arm(&remote, 240);
            }
            if looked && !last {
                if !early {
                    self.arm_for_writing(&remote);
                }
                child.go_on(&self.ledger.from());
            }
        }
        self.tally.hung += u64::from(child.was_killed());
        drop(child);
        let dead = remote.disk().is_dead();
        if dead == last || (last && !watch.judged) {
            return Err(format!("the victim ended by itself: {}", watch.said.join("; ")));
        }
        if dead {
            self.disk = remote.disk().survivor();
            self.unjudged += 1;
            self.tally.cuts += 1;
            let opened = watch.found.opened.is_object();
            self.tally.making += u64::from(!opened && life == 0);
            self.tally.opening += u64::from(!opened && life > 0);
            self.tally.compacting += u64::from(remote.disk().is_sprung());
            self.tally.after_a_kill += u64::from(killed);
        }
        Ok(())
    }

    /// A process writes and is killed, with the power on.
    fn write_and_be_killed(&mut self, mounted: &Mounted) -> Result<(), String> {
        let mut watch = Watch::default();
        let mut child = self.start(mounted, true)?;
        let enough = 1 + self.rng.below(300);
        while let Some(line) = child.next(PATIENCE) {
            if self.take(line, &mut watch)? {
                child.go_on(&self.ledger.from());
            }
            if watch.acknowledged == enough {
                child.kill();
            }
        }
        if watch.acknowledged < enough {
            return Err(format!("the victim ended before it was killed: {}", watch.said.join("; ")));
        }
        Ok(())
    }

    fn start(&self, mounted: &Mounted, write: bool) -> Result<Child, String> {
        let (mount, role, profile, seed) = (mounted.dir().to_path_buf(), self.role, self.profile, self.seed);
        let order = Order { engine: Engine::Ours, write, mount, role, profile, seed };
        Child::start(&order).map_err(|error| format!("starting a victim: {error}"))
    }

    /// Takes one line in. `true` when all that the opening found was judged.
    fn take(&mut self, line: Line, watch: &mut Watch) -> Result<bool, String> {
        match line {
            Line::Opened(opened) => {
                self.ledger.opened(&opened)?;
                watch.found.opened = opened;
            }
            Line::Row(key, hash) => {
                if watch.found.rows.insert(key, hash).is_some() {
                    return Err(format!("row {key} was found twice"));
                }
            }
            Line::Rows(count) => {
                if count != watch.found.rows.len() {
                    return Err(format!("{count} rows were found and {} told", watch.found.rows.len()));
                }
                self.ledger.judge(&watch.found.rows)?;
                self.ledger.judge_high()?;
                self.tally.kept += std::mem::take(&mut self.unjudged);
                watch.judged = true;
                return Ok(true);
            }
            Line::Ack(producer, step) => {
                self.ledger.ack(producer, step)?;
                self.tally.acknowledged += 1;
                watch.acknowledged += 1;
            }
            Line::End(why) | Line::Note(why) => watch.said.push(why),
        }
        Ok(false)
    }

    /// Lets the power go at a random point within so many barriers and a few writes.
    fn arm(&mut self, remote: &Remote, barriers: u64) {
        let fuse = self.fuse(barriers);
        remote.disk().arm(fuse, self.rng.next_u64());
    }

    /// Lets the power go while the victim writes; in a tight profile mostly while it makes its database smaller.
    fn arm_for_writing(&mut self, remote: &Remote) {
        if self.profile == Profile::Tight && self.rng.below(4) > 0 {
            let fuse = self.fuse(COMPACTION);
            remote.disk().arm_at(GROWING, fuse, self.rng.next_u64());
        } else {
            self.arm(remote, 240);
        }
    }

    fn fuse(&mut self, barriers: u64) -> Fuse {
        // Making the witness is one long row of writes: some cuts should fall into it.
        let then = if self.rng.below(4) == 0 { self.rng.below(70) } else { self.rng.below(5) };
        Fuse { barriers: self.rng.below(barriers + 2), then }
    }

    /// Writes the disk as the victim found it to where it can be looked at.
    fn keep_evidence(&self) -> PathBuf {
        let place = std::env::temp_dir().join(format!("huxiao-power-evidence-{}", self.seed));
        if let Err(error) = self.disk.export(&place) {
            println!("the evidence could not be kept: {error}");
        }
        place
    }
}

/// What was heard of one victim.
#[derive(Default)]
struct Watch {
    found: Found,
    judged: bool,
    acknowledged: u64,
    said: Vec<String>,
}

/// The folder in which a database grows that is to take another's place.
const GROWING: &str = "database.new";

/// Makes a store and opens it again without any cut, and counts.
///
/// # Errors
/// What does not work even so.
pub fn usual() -> Result<Usual, String> {
    let profile = Profile::Small;
    let mut disk = Disk::default();
    let mut count = || {
        let mounted = Mounted::new(std::mem::take(&mut disk)).map_err(|error| format!("mounting: {error}"))?;
        let mount = mounted.dir().to_path_buf();
        let order = Order { engine: Engine::Ours, write: false, mount, role: Role::Relay, profile, seed: 0 };
        let mut child = Child::start(&order).map_err(|error| format!("starting a victim: {error}"))?;
        let (mut barriers, mut said) = (0, Vec::new());
        while let Some(line) = child.next(PATIENCE) {
            match line {
                Line::Opened(_) => barriers = mounted.remote().disk().barriers(),
                line => said.push(format!("{line:?}")),
            }
        }
        drop(child);
        mounted.remote().disk().forget();
        disk = mounted.remote().disk().survivor();
        if barriers == 0 { Err(format!("a store cannot be opened: {}", said.join("; "))) } else { Ok(barriers) }
    };
    Ok(Usual { making: count()?, opening: count()? })
}

/// What a cut did to plain sled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SledFate {
    /// All is there.
    Kept,
    /// It opens, and something that was acknowledged is not as it was.
    Lost(String),
    /// It cannot be opened or read any more.
    Unreadable(String),
}

/// Cuts the power of a plain sled that was made in peace.
///
/// # Errors
/// What does not work even before the cut.
pub fn cut_plain_sled(role: Role, profile: Profile, seed: u64) -> Result<SledFate, String> {
    let mut rng = Rng::new(seed);
    let mut ledger = Ledger::new(role, profile, seed);
    let start = |disk: Disk, write: bool| -> Result<(Mounted, Child), String> {
        let mounted = Mounted::new(disk).map_err(|error| format!("mounting: {error}"))?;
        let mount = mounted.dir().to_path_buf();
        let order = Order { engine: Engine::Sled, write, mount, role, profile, seed };
        let child = Child::start(&order).map_err(|error| format!("starting a victim: {error}"))?;
        Ok((mounted, child))
    };
    let (mounted, mut child) = start(Disk::default(), true)?;
    let mut said = Vec::new();
    while let Some(line) = child.next(SLED_PATIENCE) {
        match line {
            // Its flush makes no barrier at all.
            Line::Rows(_) => {
                mounted.remote().disk().arm(Fuse { barriers: 0, then: 20 + rng.below(400) }, rng.next_u64());
                child.go_on(&ledger.from());
            }
            Line::Ack(producer, step) => ledger.ack(producer, step)?,
            line => said.push(format!("{line:?}")),
        }
    }
    drop(child);
    let survivor = {
        let remote = mounted.remote();
        let disk = remote.disk();
        if !disk.is_dead() {
            return Err(format!("the victim ended by itself: {}", said.join("; ")));
        }
        disk.survivor()
    };
    drop(mounted);
    let (_mounted, mut child) = start(survivor, false)?;
    let (mut found, mut said) = (Found::default(), Vec::new());
    while let Some(line) = child.next(SLED_PATIENCE) {
        match line {
            Line::Row(key, hash) => drop(found.rows.insert(key, hash)),
            Line::Rows(_) => return Ok(ledger.judge(&found.rows).map_or_else(SledFate::Lost, |()| SledFate::Kept)),
            Line::End(why) | Line::Note(why) => said.push(why),
            Line::Opened(_) | Line::Ack(..) => {}
        }
    }
    if said.is_empty() {
        said.push("it hangs".into());
    }
    Ok(SledFate::Unreadable(said.join("; ")))
}
