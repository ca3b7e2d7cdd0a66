//! Two hundred power cuts on the stores of the three roles, eighty on write-ahead logs, and forty on plain sled for comparison.
//!
//! What must hold after each cut: every commit that was acknowledged is there with its value, whatever was removed stays away, no
//! loss is reported, the epoch rose and the highest number did not go back. The power goes at a random sync, rename or write: while a
//! store is made, while it is opened again, while it writes. Plain sled must lose acknowledged records, or the file system
//! forgets nothing and the rest of this proves nothing.
//!
//! Needs /dev/fuse and the right to mount. `HUXIAO_SEED` replays the dice; the threads of a victim run as they like.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests; clippy takes only functions marked as such for tests"
)]

use std::fs::{self, File};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use huxiao_core::Rng;
use huxiao_tests::lab::seed;
use huxiao_tests::power::{
    Disk, History, LogHistory, LogTally, Mounted, Profile, Role, SledFate, Tally, available, cut_plain_sled, usual,
    victim,
};

/// Cuts on each role's stores.
const CUTS: [(Role, u64); 3] = [(Role::Relay, 70), (Role::Broker, 65), (Role::Station, 65)];
/// Cuts that one store lives through.
const LIVES: u64 = 5;
/// Write-ahead logs, each with a file beside it that is replaced whole.
const LOGS: usize = 16;
/// The name of what is tried on them; alone with the argument `logs`.
const LOGS_KEEP: &str = "no_cut_costs_a_log_or_a_file_what_it_acknowledged";
/// Cuts on plain sled.
const SLED_CUTS: usize = 40;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    victim::run_if_asked(&arguments);
    if let Err(why) = available() {
        println!("SKIPPED: power cuts need /dev/fuse and the right to mount ({why})");
        return;
    }
    let seed = seed("power_cut");
    let begun = Instant::now();
    let mut results = vec![
        ("the_mount_forgets_what_was_not_synced", the_mount_forgets_what_was_not_synced()),
        ("a_slow_mount_syncs_late_and_reads_at_once", a_slow_mount_syncs_late_and_reads_at_once()),
    ];
    if arguments.iter().any(|argument| argument == "logs") {
        let logs = logs(seed);
        results.push((LOGS_KEEP, log_verdict(&logs)));
        return conclude(&results, seed);
    }
    let ours = every_role(seed);
    for (name, role) in [
        ("no_cut_costs_a_relay_what_it_acknowledged", Role::Relay),
        ("no_cut_costs_a_broker_what_it_acknowledged", Role::Broker),
        ("no_cut_costs_a_station_what_it_acknowledged", Role::Station),
    ] {
        let tally = ours.as_ref().map_err(Clone::clone).map(|tallies| &tallies[role as usize]);
        results.push((name, tally.and_then(verdict)));
    }
    let logs = logs(seed);
    results.push((LOGS_KEEP, log_verdict(&logs)));
    let sled = plain_sled(seed);
    let lost = sled.as_ref().map_or(0, |fates| fates.iter().filter(|fate| **fate != SledFate::Kept).count());
    results.push(("the_flush_of_plain_sled_loses_records", sled.and_then(|fates| shown(&fates))));
    let mut sum = Tally::default();
    ours.iter().flatten().for_each(|tally| sum.add(tally));
    println!("power cuts on logs: {}/{} kept everything", logs.kept, logs.cuts);
    println!(
        "power cuts: ours {}/{} kept everything; sled flush lost acknowledged records in {lost}/{SLED_CUTS} ({:.0} s)",
        sum.kept,
        sum.cuts,
        begun.elapsed().as_secs_f64()
    );
    conclude(&results, seed);
}

/// Says how each ended, and fails if one failed.
fn conclude(results: &[(&str, Result<String, String>)], seed: u64) {
    for (name, result) in results {
        match result {
            Ok(words) => println!("ok      {name}: {words}"),
            Err(why) => println!("FAILED  {name}: {why}\n        replay with HUXIAO_SEED={seed}"),
        }
    }
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    println!("{} passed, {failed} failed", results.len() - failed);
    if failed > 0 {
        std::process::exit(1);
    }
}

/// The file system itself, through the kernel: what is synced and how, and what is left of it.
fn the_mount_forgets_what_was_not_synced() -> Result<String, String> {
    let stage = || -> io::Result<Vec<String>> {
        let mounted = Mounted::new(Disk::default())?;
        let at = |name: &str| mounted.dir().join(name);
        let write = |name: &str, synced: bool| -> io::Result<()> {
            fs::write(at(name), name)?;
            if synced { File::open(at(name))?.sync_data() } else { Ok(()) }
        };
        write("data-and-name", true)?;
        write("name-only", false)?;
        write("removed", true)?;
        write("before", true)?;
        fs::create_dir(at("folder"))?;
        File::open(mounted.dir())?.sync_all()?;
        write("data-only", true)?;
        write("folder/lost", true)?;
        fs::remove_file(at("removed"))?;
        fs::rename(at("before"), at("after"))?;
        mounted.remote().disk().forget();
        assert!(fs::read_dir(mounted.dir()).is_err(), "nothing works after the cut");
        assert!(fs::write(at("late"), "late").is_err(), "nothing works after the cut");

        let again = Mounted::new(mounted.remote().disk().survivor())?;
        let mut found = Vec::new();
        for folder in [again.dir().to_path_buf(), again.dir().join("folder")] {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let text = if entry.path().is_dir() { "/".into() } else { fs::read_to_string(entry.path())? };
                found.push(format!("{}={text}", entry.file_name().display()));
            }
        }
        found.sort();
        Ok(found)
    };
    let found = stage().map_err(|error| error.to_string())?;
    let right = ["before=before", "data-and-name=data-and-name", "folder=/", "name-only=", "removed=removed"];
    if found == right { Ok(found.join(" ")) } else { Err(format!("found {found:?}, should be {right:?}")) }
}

/// The delay of syncs, through the kernel.
fn a_slow_mount_syncs_late_and_reads_at_once() -> Result<String, String> {
    const DELAY: Duration = Duration::from_millis(300);
    let stage = || -> io::Result<[Duration; 3]> {
        let mounted = Mounted::new(Disk::default())?;
        let path = mounted.dir().join("file");
        let timed = |run: &dyn Fn() -> io::Result<()>| {
            let begun = Instant::now();
            run().map(|()| begun.elapsed())
        };
        mounted.remote().delay_syncs(DELAY);
        fs::write(&path, "x")?;
        let file = File::open(&path)?;
        let synced = timed(&|| file.sync_data())?;
        let beside = thread::scope(|scope| {
            let syncing = scope.spawn(|| file.sync_data());
            thread::sleep(DELAY / 10);
            let read = timed(&|| fs::read(&path).map(drop));
            syncing.join().unwrap().and(read)
        })?;
        mounted.remote().delay_syncs(Duration::ZERO);
        Ok([synced, beside, timed(&|| file.sync_data())?])
    };
    let [synced, beside, after] = stage().map_err(|error| error.to_string())?;
    let words = format!("a sync took {synced:?}, a read beside one {beside:?}, a sync without the delay {after:?}");
    if synced >= DELAY && beside < DELAY && after < DELAY { Ok(words) } else { Err(words) }
}

/// All write-ahead logs.
fn logs(seed: u64) -> LogTally {
    let tallies = in_parallel(LOGS, |at| {
        let seed = Rng::new(seed ^ ((at as u64 + 1) << 45)).next_u64();
        LogHistory::new(seed).run(LIVES)
    });
    let mut sum = LogTally::default();
    tallies.iter().for_each(|tally| sum.add(tally));
    sum
}

fn log_verdict(tally: &LogTally) -> Result<String, String> {
    let LogTally { cuts, kept, opening, torn, acknowledged, files, failures } = tally;
    if !failures.is_empty() || kept != cuts {
        return Err(format!("{kept} of {cuts} kept everything\n        {}", failures.join("\n        ")));
    }
    Ok(format!(
        "{cuts} cuts, of them {opening} while opening; {torn} torn tails cut off; {acknowledged} appends and {files} files acknowledged"
    ))
}

/// All stores of all roles.
fn every_role(seed: u64) -> Result<Vec<Tally>, String> {
    let usual = usual()?;
    let stores: Vec<(Role, u64)> =
        CUTS.iter().flat_map(|(role, cuts)| (0..*cuts / LIVES).map(move |number| (*role, number))).collect();
    let tallies = in_parallel(stores.len(), |at| {
        let (role, number) = stores[at];
        let profile = Profile::ALL[usize::try_from(number).unwrap() % Profile::ALL.len()];
        let seed = Rng::new(seed ^ ((at as u64 + 1) << 40)).next_u64();
        (role, History::new(role, profile, seed, usual).run(LIVES))
    });
    let mut sums = vec![Tally::default(); CUTS.len()];
    tallies.iter().for_each(|(role, tally)| sums[*role as usize].add(tally));
    Ok(sums)
}

fn verdict(tally: &Tally) -> Result<String, String> {
    if !tally.failures.is_empty() || tally.kept != tally.cuts {
        return Err(format!(
            "{} of {} kept everything\n        {}",
            tally.kept,
            tally.cuts,
            tally.failures.join("\n        ")
        ));
    }
    if tally.hung > 0 {
        return Err(format!("{} victims hung after the cut: they told nobody that the disk had failed", tally.hung));
    }
    Ok(format!(
        "{} cuts, of them {} while making a store, {} while opening one, {} while making one smaller or just after, {} after a kill -9; \
         {} commits acknowledged",
        tally.cuts, tally.making, tally.opening, tally.compacting, tally.after_a_kill, tally.acknowledged
    ))
}

/// The same on plain sled.
fn plain_sled(seed: u64) -> Result<Vec<SledFate>, String> {
    let fates = in_parallel(SLED_CUTS, |at| {
        let profile = [Profile::Small, Profile::Large][at % 2];
        let seed = Rng::new(seed ^ ((at as u64 + 1) << 50)).next_u64();
        cut_plain_sled(Role::ALL[at % 3], profile, seed)
    });
    fates.into_iter().collect()
}

/// Plain sled must have lost something, or the comparison shows nothing.
fn shown(fates: &[SledFate]) -> Result<String, String> {
    let count = |of: fn(&SledFate) -> bool| fates.iter().filter(|fate| of(fate)).count();
    let (kept, lost) = (count(|fate| *fate == SledFate::Kept), count(|fate| matches!(fate, SledFate::Lost(_))));
    let unreadable = fates.len() - kept - lost;
    let first = |of: fn(&SledFate) -> bool| fates.iter().find(|fate| of(fate)).map(|fate| format!("; e.g. {fate:?}"));
    let examples =
        [first(|fate| matches!(fate, SledFate::Lost(_))), first(|fate| matches!(fate, SledFate::Unreadable(_)))];
    let examples: String = examples.into_iter().flatten().collect();
    if lost == 0 {
        return Err(format!("{unreadable} unreadable, {kept} kept, and not one lost acknowledged records{examples}"));
    }
    Ok(format!("{lost} lost acknowledged records, {unreadable} could not be read at all, {kept} kept all{examples}"))
}

/// Runs so many jobs, as many at a time as there are processors, and gives what came of each.
fn in_parallel<T: Send>(jobs: usize, run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from).min(8) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= jobs {
                        break;
                    }
                    let result = run(at);
                    done.lock().unwrap().push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
