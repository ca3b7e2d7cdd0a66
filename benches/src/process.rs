//! Processes that a bench starts, and their certain end.
//!
//! Invariant: a process is on the list from its birth until it has ended, and whatever is on the list is killed, with all that it
//! started itself, when its owner lets go of it or when the bench is interrupted. (Only `kill -9` of the bench leaves them behind.)

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{BenchError, Trying};

static LIVING: Mutex<List> = Mutex::new(List { groups: BTreeSet::new(), folders: BTreeSet::new() });

/// What an interrupted bench must clear away.
struct List {
    groups: BTreeSet<i32>,
    folders: BTreeSet<PathBuf>,
}

fn living() -> MutexGuard<'static, List> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes `folder` if the bench is interrupted.
pub(crate) fn clear_on_signals(folder: PathBuf) {
    living().folders.insert(folder);
}

/// From now on ctrl-c, SIGTERM and SIGHUP end every process of this module, remove the scratch folders and the emulated networks, and
/// end the bench with 130.
///
/// # Errors
/// The system gave no thread or no signal handler.
pub(crate) fn end_all_on_signals() -> Result<(), BenchError> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let caught = runtime.and_then(|runtime| {
            runtime.block_on(async {
                let mut interrupt = signal(SignalKind::interrupt())?;
                let mut terminate = signal(SignalKind::terminate())?;
                let mut hangup = signal(SignalKind::hangup())?;
                // Nobody waits for it any more: the bench is at its end.
                let _ = ready.send(Ok(()));
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
                Ok(())
            })
        });
        match caught {
            Ok(()) => end_all(),
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).trying("start the thread that waits for signals")?;
    is_ready.recv().unwrap_or(Ok(())).trying("wait for signals")
}

/// Holds the list to the end, so that nothing new is started.
fn end_all() {
    let list = living();
    list.groups.iter().for_each(|group| kill(*group));
    huxiao_benches::emulator::remove_all();
    for folder in &list.folders {
        // Processes that are just dying may still write: the system's cleaner of temporary files gets the rest.
        let _ = std::fs::remove_dir_all(folder);
    }
    std::process::exit(130);
}

fn kill(group: i32) {
    if let Some(pid) = Pid::from_raw(group) {
        // It may have ended already.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// A running process in a group of its own; dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    group: i32,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// The system could not.
    pub(crate) fn spawn(name: &str, command: &mut Command) -> Result<Self, BenchError> {
        let mut list = living();
        let child = command.process_group(0).spawn().trying(format!("start {name}"))?;
        let group = Pid::from_child(&child).as_raw_nonzero().get();
        list.groups.insert(group);
        Ok(Self { name: name.to_owned(), child, group })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system does not know.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, BenchError> {
        // Under the lock: a number that has been waited for may belong to somebody else.
        let mut list = living();
        let status = self.child.try_wait().trying(format!("ask after {}", self.name))?;
        if status.is_some() {
            list.groups.remove(&self.group);
        }
        Ok(status)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`BenchError::Late`]; it is killed when it is dropped.
    pub(crate) fn wait(&mut self, within: Duration) -> Result<ExitStatus, BenchError> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if began.elapsed() > within {
                return Err(BenchError::Late { what: format!("the end of {}", self.name), seconds: within.as_secs() });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Process {
    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// [`BenchError::Late`].
    pub(crate) fn stop(&mut self, within: Duration) -> Result<ExitStatus, BenchError> {
        // It may have ended already.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        self.wait(within)
    }

    /// Kills it, and all that it started, as dropping it does.
    pub(crate) fn end(&mut self) {
        let mut list = living();
        if list.groups.remove(&self.group) {
            kill(self.group);
            // Killed: it ends now.
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A program that is installed. Debian puts servers where ordinary users do not look.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    places.map(|place| place.join(program)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_a_process_started_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let process = Process::spawn("a shell", Command::new("sh").args(["-c", &script])).unwrap();
        let began = Instant::now();
        let grandchild = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.ends_with('\n') {
                break text.trim().to_owned();
            }
            assert!(began.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(5));
        };
        let status = Path::new("/proc").join(&grandchild).join("stat");
        assert!(status.exists());
        drop(process);
        let gone = || std::fs::read_to_string(&status).map_or(true, |text| text.contains(") Z "));
        while !gone() {
            assert!(began.elapsed() < Duration::from_secs(20), "{grandchild} lives on");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn an_end_is_seen_and_a_late_one_is_said() {
        let mut quick = Process::spawn("false", &mut Command::new("false")).unwrap();
        assert_eq!(quick.wait(Duration::from_secs(20)).unwrap().code(), Some(1));
        let mut slow = Process::spawn("sleep", Command::new("sleep").arg("600")).unwrap();
        let late = slow.wait(Duration::from_millis(20)).unwrap_err();
        assert!(late.to_string().contains("the end of sleep"), "{late}");
    }
}
