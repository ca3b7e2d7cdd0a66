//! The commands as a shell sees them: arguments, output, exit codes. Where a node is needed, a small server plays it, or a real relay
//! runs alone; the whole way with real processes is in the workspace's `tests`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a harness fails by panicking")]

#[path = "cli/alarm.rs"]
mod alarm;
#[path = "cli/config.rs"]
mod config;
#[path = "cli/daemon.rs"]
mod daemon;
#[path = "cli/general.rs"]
mod general;
#[path = "cli/plan.rs"]
mod plan;
#[path = "cli/relay.rs"]
mod relay;
#[path = "cli/report.rs"]
mod report;
#[path = "cli/server.rs"]
mod server;
#[path = "cli/supervision.rs"]
mod supervision;
#[path = "cli/watch.rs"]
mod watch;

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// What a command came to.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{why} in {self:?}"))
    }
}

/// The program with these arguments, without anything of ours in its environment.
fn program<I>(args: I) -> Command
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut command = Command::new(env!("CARGO_BIN_EXE_huxiao"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HUXIAO_") {
            command.env_remove(name);
        }
    }
    command.env_remove("NOTIFY_SOCKET").args(args).stdin(Stdio::null());
    command
}

fn run<I>(args: I) -> Ended
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    ended(&mut program(args))
}

fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
