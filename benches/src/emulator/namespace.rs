//! A network namespace: a machine of its own, as far as its network goes.
//!
//! Invariants: the process's own network stays as it is; a namespace is on the list of the living from before it is made until it is
//! gone, so that an interrupted program can remove it; what a killed program left behind is known by its name and removed later.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::EmulatorError;

/// Where `ip netns` keeps its namespaces.
const FOLDER: &str = "/var/run/netns";
/// How the names of ours begin. Then come the process, when it started, and a number.
const PREFIX: &str = "huxiao-emu-";

static LIVING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn living() -> MutexGuard<'static, BTreeSet<String>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A network namespace with its loopback up and without IPv6. It is removed when it is dropped; processes that still run in it keep what
/// is left of it alive, without a link to anywhere.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes the namespace `number`-`side` of this process.
    pub(super) fn new(number: u32, side: &str) -> Result<Self, EmulatorError> {
        let pid = std::process::id();
        let started = start_of(pid).ok_or_else(|| EmulatorError::Io {
            what: "read when this process started".into(),
            source: io::Error::other("nothing of use in /proc"),
        })?;
        let name = format!("{PREFIX}{pid}-{started}-{number}-{side}");
        living().insert(name.clone());
        let made = ip(&["netns", "add", &name]).and_then(|()| {
            let path = Path::new(FOLDER).join(&name);
            File::open(&path).map_err(|source| EmulatorError::Io { what: format!("open {}", path.display()), source })
        });
        match made {
            Ok(handle) => {
                let namespace = Self { name, handle };
                namespace.prepare()?;
                Ok(namespace)
            }
            Err(error) => {
                remove(&name);
                Err(error)
            }
        }
    }

    fn prepare(&self) -> Result<(), EmulatorError> {
        let settings = [
            // No neighbour discovery, so that only what somebody sends is on the links.
            ("ipv6/conf/all/disable_ipv6", "1"),
            ("ipv6/conf/default/disable_ipv6", "1"),
            // With several uplinks an answer may come by another way than the route to its sender.
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
        ];
        let set = |(setting, value): (&str, &str)| {
            let path = PathBuf::from("/proc/sys/net").join(setting);
            match fs::write(&path, value) {
                // A kernel without IPv6 has none to turn off.
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err((path, error)),
                _ => Ok(()),
            }
        };
        self.enter(|| settings.into_iter().try_for_each(set))?
            .map_err(|(path, source)| EmulatorError::Io { what: format!("write {}", path.display()), source })?;
        self.ip("link set lo up\n")
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that runs `program` inside. Its process is `ip netns exec` at first and then the program itself, under the same id; a
    /// program that is not there is said by `ip`, and by exit status 255.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `f` on a new thread inside, and waits for it. Sockets that it makes stay inside wherever they are used afterwards, and so
    /// does every thread that it starts.
    ///
    /// # Errors
    /// The thread could not be started or not be moved. A panic of `f` goes on here.
    pub fn enter<R: Send>(&self, f: impl FnOnce() -> R + Send) -> Result<R, EmulatorError> {
        let inside = || {
            move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(f())
        };
        let failed = |source| EmulatorError::Io { what: format!("enter the network namespace {}", self.name), source };
        thread::scope(|scope| {
            let thread =
                thread::Builder::new().name("in-namespace".into()).spawn_scoped(scope, inside).map_err(failed)?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(failed)
        })
    }

    /// Carries out commands of `ip`, one a line.
    pub(super) fn ip(&self, batch: &str) -> Result<(), EmulatorError> {
        run(Command::new("ip").args(["-netns", &self.name, "-batch", "-"]), batch)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes every namespace that this process made and still has: for a program that is about to end without dropping its emulators.
pub fn remove_all() {
    let names: Vec<String> = living().iter().cloned().collect();
    for name in names {
        remove(&name);
    }
}

/// Removes namespaces of processes that have ended.
pub(super) fn remove_leftovers() {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        if owner(&name).is_some_and(|(pid, started)| start_of(pid) != Some(started)) {
            remove(&name);
        }
    }
}

/// Whoever made it, and when that process started: a number alone may belong to another process by now.
fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// When the living process `pid` started, in the kernel's ticks.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc_pid_stat(5): field 22. Field 2 is a name in parentheses that may hold anything, so count from its end.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn remove(name: &str) {
    // Somebody else may have removed it; if it cannot be removed now, the next start tries again.
    let _ = ip(&["netns", "del", name]);
    living().remove(name);
}

fn ip(args: &[&str]) -> Result<(), EmulatorError> {
    run(Command::new("ip").args(args), "")
}

pub(super) fn run(command: &mut Command, input: &str) -> Result<(), EmulatorError> {
    let words = format!("{command:?}").replace('"', "");
    let failed = |source| EmulatorError::Io { what: format!("run {words} (of the package iproute2)"), source };
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ended early says why on its standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(EmulatorError::Command { command: words, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_name_is_the_process_that_made_it() {
        let pid = std::process::id();
        let started = start_of(pid).unwrap();
        assert_eq!(owner(&format!("{PREFIX}{pid}-{started}-3-near")), Some((pid, started)));
        assert_eq!(owner("somebody-elses"), None);
        assert_eq!(owner(&format!("{PREFIX}x-1-3-near")), None);
        // No process has this number: pid_max is 2^22 at the most.
        assert_eq!(start_of(u32::MAX), None);
    }
}
