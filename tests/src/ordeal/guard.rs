//! Ends what a run started should the run itself be killed: nobody else would, since its nodes are nobody's children then.
//!
//! Invariant: it touches only processes in the run's own network namespaces, whose names no other process ever has.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Waits for the end of its input, which is the end of whoever started it.
const SCRIPT: &str = r#"cat >/dev/null
for name in $NAMESPACES; do
    for pid in $(ip netns pids "$name" 2>/dev/null); do kill -9 "$pid"; done
    ip netns del "$name" 2>/dev/null
done
for folder in "$@"; do umount -l "$folder" 2>/dev/null; done"#;

/// A process that outlives this one by a moment.
pub struct Guard(Child);

impl Guard {
    /// Guards the namespaces of these names, and what is mounted on `folders`.
    #[must_use]
    pub fn start(namespaces: &[&str], folders: &[PathBuf]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh"]).args(folders).env("NAMESPACES", namespaces.join(" "));
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        // A ctrl-c at the terminal is not for it.
        Self(shell.process_group(0).spawn().unwrap())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // By now there is nothing left for it to do, and it ends at once.
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use huxiao_benches::emulator::Switch;

    use super::*;
    use crate::lab::{say, wait_until};

    #[test]
    fn what_runs_in_a_namespace_ends_with_the_guards_input() {
        if let Err(why) = Switch::available() {
            return say(&format!("SKIPPED: {why}"));
        }
        let switch = Switch::start(1).unwrap();
        let mut sleeper = switch.host(0).command("sleep").arg("600").spawn().unwrap();
        // Until it has become the program that it runs, it is not in there.
        let inside = || {
            let pids = Command::new("ip").args(["netns", "pids", switch.host(0).name()]).output().unwrap().stdout;
            String::from_utf8(pids).unwrap().lines().any(|pid| pid == sleeper.id().to_string()).then_some(())
        };
        wait_until("the sleeper is inside", Duration::from_secs(30), inside);
        drop(Guard::start(&[switch.host(0).name()], &[]));
        let status = sleeper.wait().unwrap();
        assert!(!status.success(), "{status}");
    }
}
