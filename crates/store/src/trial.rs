//! The trial opening: somebody else opens the database first.
//!
//! sled's own opening panics on much damage, hangs on some and may ask for absurd amounts of memory, which aborts the process.
//! So a child process with a time limit opens and reads the whole database before the node does.
//!
//! **On a copy.** The engine truncates and overwrites in place whatever it does not understand, while opening. A database up to
//! [`Config::trial_copy_bytes`](crate::Config) is therefore tried on a copy: what fails goes to quarantine as it was found,
//! for salvage to read. A relay's database has a few MiB and its copy takes milliseconds. A larger one, or one on a disk
//! without space for a copy, is tried in place: then the evidence is what the engine left of it.
//!
//! Invariant: only a child that was heard to find damage, died by a signal or ran out of its time condemns a database. A child that
//! could not be started, or ended without a report, condemns nobody: the trial is made again on a thread of this process.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::check::{CheckReport, check};
use crate::config::{Config, Observation, Trial};

/// Bytes of a child's output that are looked at.
const OUTPUT_BYTES: u64 = 256 * 1_024;
/// How often a child is looked after.
const POLL: Duration = Duration::from_millis(2);

/// How a trial ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was read to the end; this is what was found.
    Read(CheckReport),
    /// It cannot be read.
    Unreadable(String),
    /// The machine is at fault, not the database.
    Circumstance(String),
}

/// Tries the database in `dir`, which is `bytes` long.
pub(crate) fn run(config: &Config, dir: &Path, bytes: u64) -> Outcome {
    let limit = config.trial_timeout + Duration::from_secs(bytes >> 20);
    match &config.trial {
        Trial::InProcess => in_process(dir, limit),
        Trial::Child { program, args } => match in_child(program, args, dir, limit) {
            Ok(outcome) => outcome,
            Err(why) => {
                config.tell(Observation::TrialUnavailable { why });
                in_process(dir, limit)
            }
        },
    }
}

fn of_report(report: CheckReport) -> Outcome {
    let problem = || report.problem.clone().unwrap_or_else(|| "no reason given".into());
    if report.circumstance {
        Outcome::Circumstance(problem())
    } else if report.readable {
        Outcome::Read(report)
    } else {
        Outcome::Unreadable(problem())
    }
}

/// A thread that hangs is left behind with the copy that it holds.
fn in_process(dir: &Path, limit: Duration) -> Outcome {
    let (answer, answered) = mpsc::channel();
    let folder = dir.to_path_buf();
    let spawned = thread::Builder::new().name("store-trial".into()).spawn(move || {
        // Nobody may be waiting any more.
        let _ = answer.send(check(&folder));
    });
    if let Err(error) = spawned {
        return Outcome::Circumstance(format!("no thread for the trial: {error}"));
    }
    match answered.recv_timeout(limit) {
        Ok(report) => of_report(report),
        Err(mpsc::RecvTimeoutError::Timeout) => Outcome::Unreadable(timed_out(limit)),
        Err(mpsc::RecvTimeoutError::Disconnected) => Outcome::Unreadable("the trial's thread panicked".into()),
    }
}

fn timed_out(limit: Duration) -> String {
    format!("reading it took longer than {} s and was ended", limit.as_secs())
}

/// Runs the child to its end, or to the end of its time. An error says that it cannot be used.
fn in_child(program: &Path, args: &[OsString], dir: &Path, limit: Duration) -> Result<Outcome, String> {
    let mut command = Command::new(program);
    command.args(args).arg(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    // Its output is read beside it, so that it never waits for us.
    let reader = child.stdout.take().map(|stdout| thread::spawn(move || find_report(stdout)));
    let status = wait(&mut child, limit).map_err(|error| format!("cannot wait for the trial: {error}"))?;
    let Some(status) = status else {
        return Ok(Outcome::Unreadable(timed_out(limit)));
    };
    let report = reader.and_then(|reader| reader.join().ok()).flatten();
    match (report, status.signal()) {
        (Some(report), _) => Ok(of_report(report)),
        (None, Some(signal)) => {
            Ok(Outcome::Unreadable(format!("reading it ended the trial process by signal {signal}")))
        }
        (None, None) => Err(format!("{} ended with {status} and without a report", program.display())),
    }
}

/// The child's status, or `None` after it had to be killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(POLL);
    }
}

/// The last line that is a report.
fn find_report(output: impl Read) -> Option<CheckReport> {
    let lines = BufReader::new(output.take(OUTPUT_BYTES)).lines();
    lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(line.trim()).ok()).last()
}
