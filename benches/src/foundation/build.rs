//! Builds of the program that is measured.
//!
//! Invariant: what is measured was built in the release profile of this workspace, and a build leaves nothing outside cargo's target
//! folder and the scratch folder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{BenchError, Trying};
use crate::process::Process;
use crate::scratch::{Scratch, target_dir};

/// How long a build may take: an hour on a slow machine that is shared.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Builds the program in cargo's own target folder, which takes no time if it is built already.
///
/// # Errors
/// It does not build.
pub(crate) fn release() -> Result<PathBuf, BenchError> {
    crate::say("building huxiao in the release profile …");
    let target = target_dir();
    run("cargo build", cargo("build").arg("--target-dir").arg(&target))?;
    Ok(target.join("release/huxiao"))
}

/// Builds it with the C library inside.
///
/// # Errors
/// It does not build; the static C library may be missing.
pub(crate) fn fully_static(scratch: &Scratch) -> Result<PathBuf, BenchError> {
    let host = host()?;
    let target = scratch.folder("static")?;
    let mut cargo = cargo("build");
    // With the target named, build scripts and macros are not linked statically: they could not be.
    cargo.args(["--target", &host, "--target-dir"]).arg(&target);
    run("cargo build (crt-static)", cargo.env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(target.join(host).join("release/huxiao"))
}

/// Builds it from nothing and tells how long that took, downloads not counted.
///
/// # Errors
/// It does not build.
pub(crate) fn from_nothing(scratch: &Scratch) -> Result<Duration, BenchError> {
    let mut fetch = Command::new(cargo_program());
    run("cargo fetch", fetch.args(["fetch", "--quiet"]).current_dir(env!("CARGO_MANIFEST_DIR")))?;
    let target = scratch.folder("clean")?;
    let began = Instant::now();
    run("cargo build (from nothing)", cargo("build").arg("--offline").arg("--target-dir").arg(&target))?;
    Ok(began.elapsed())
}

/// What the program says of itself, on one line.
///
/// # Errors
/// It does not run.
pub(crate) fn version(program: &Path) -> Result<String, BenchError> {
    let output = Command::new(program).arg("version").output().trying_on("run", program)?;
    let words = String::from_utf8_lossy(&output.stdout);
    let pairs = words.lines().take(2).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    Ok(pairs.collect::<Vec<_>>().join(", "))
}

fn cargo_program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(cargo_program());
    cargo.args([command, "--release", "--quiet", "--package", "huxiao", "--bin", "huxiao"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

fn host() -> Result<String, BenchError> {
    let output = Command::new("rustc").arg("-vV").output().trying("run rustc")?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    crate::machine::member(&words, "host").ok_or_else(|| BenchError::answer("rustc -vV", "no host"))
}

/// Runs a command to its end. Its words go to a file, since nobody reads a pipe meanwhile.
fn run(name: &str, command: &mut Command) -> Result<(), BenchError> {
    let mut log = tempfile::NamedTempFile::new().trying("make a temporary file")?;
    let handle = |log: &tempfile::NamedTempFile| log.as_file().try_clone().map(Stdio::from);
    let (out, err) = (handle(&log).trying("share a file")?, handle(&log).trying("share a file")?);
    let mut process = Process::spawn(name, command.stdin(Stdio::null()).stdout(out).stderr(err))?;
    let status = process.wait(PATIENCE)?;
    if status.success() {
        return Ok(());
    }
    let output = tail(log.as_file_mut());
    Err(BenchError::Program { program: name.to_owned(), status: status.to_string(), output })
}

/// The last lines of what a command said.
fn tail(log: &mut File) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let mut text = Vec::new();
    // What cannot be read is not shown; the status says enough.
    let _ = log.seek(SeekFrom::Start(0)).and_then(|_| log.read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_says_what_it_said() {
        let failed = run("a test", Command::new("sh").args(["-c", "echo the reason >&2; exit 7"])).unwrap_err();
        assert!(failed.to_string().contains("the reason") && failed.to_string().contains('7'), "{failed}");
        run("a test", &mut Command::new("true")).unwrap();
    }
}
