//! The container engine of this computer, asked by the commands that people use.
//!
//! Invariant: no command waits for ever.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use huxiao_tests::lab::{Lab, Output, say};

/// How long a command of the engine may take. Nothing takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
/// How long the image may take: a release build on a small machine that is shared.
const BUILD_PATIENCE: Duration = Duration::from_secs(3_600);

/// The engine and the tool that reads compose files.
pub(crate) struct Engine {
    compose: &'static [&'static str],
}

impl Engine {
    /// `None`, said in a line, where there is none, or no right to what these tests do.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let answers = |command: &[&str]| {
            let done = Command::new(command[0]).args(&command[1..]).output();
            done.is_ok_and(|done| done.status.success())
        };
        let tools: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
        let compose = tools.into_iter().find(|tool| answers(&[tool, &["version"][..]].concat()));
        let why = match compose {
            _ if !rustix::process::geteuid().is_root() => "not root",
            _ if !answers(&["docker", "info"]) => "no container engine answers (docker info)",
            None => "there is neither docker compose nor docker-compose",
            Some(compose) => return Some(Self { compose }),
        };
        say(&format!("SKIPPED {test}: {why}"));
        None
    }

    /// `docker` with `args`, to its end; it must succeed. What it printed.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        let mut command = Command::new("docker");
        command.args(args);
        succeeded(command, PATIENCE)
    }

    /// The command of the compose tool.
    pub(crate) fn compose(&self) -> Command {
        let mut command = Command::new(self.compose[0]);
        command.args(&self.compose[1..]);
        command
    }

    /// The program in the image, on this computer's network as any program of it; it must succeed. What it printed.
    pub(crate) fn huxiao(&self, args: &[&str]) -> String {
        self.docker(&[&["run", "--rm", "--network", "host", image()], args].concat())
    }
}

/// Runs a command to its end, which must be a good one.
pub(crate) fn succeeded(command: Command, within: Duration) -> String {
    let shown = format!("{command:?}");
    let done: Output = Lab::finish_within(command, within);
    assert_eq!(done.code, Some(0), "{shown}: {done:?}");
    done.stdout
}

/// The image under test: of the sources as they are, or the one that `HUXIAO_IMAGE` names.
pub(crate) fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| std::env::var("HUXIAO_IMAGE").unwrap_or_else(|_| build()))
}

fn build() -> String {
    // target/<profile>/deps/<test>
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().nth(3).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--package", "xtask", "--", "image"]).env("CARGO_TARGET_DIR", target);
    succeeded(at_root(cargo), BUILD_PATIENCE);
    "huxiao:latest".to_owned()
}

fn at_root(mut command: Command) -> Command {
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command
}
