//! What people and the gate run on the repository itself: `cargo xtask check` reads only, `cargo xtask fix` writes, `cargo xtask image`
//! makes what is delivered.
//!
//! Invariant: a check prints what is wrong and where, and exits 1; it changes nothing.

mod direction;
mod image;
mod tidy;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask check       everything below, in this order; nothing is changed
cargo xtask fmt         formatting
cargo xtask clippy      lints, warnings refused
cargo xtask docs        documentation builds without warnings
cargo xtask direction   crates depend on each other only as docs/ARCHITECTURE.md says
cargo xtask tidy        module docs, file lengths, words that do not belong here
cargo xtask fix         formats, and writes docs/METRICS.md anew
cargo xtask image       builds the container image; with --save FOLDER also a file for docker load, and its checksum";

#[expect(clippy::print_stderr, reason = "a tool for people at a terminal")]
fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let outcome = match task.as_str() {
        "check" => check(),
        "fmt" => cargo(&["fmt", "--all", "--check"]),
        "clippy" => cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]),
        "docs" => docs(),
        "direction" => direction::check(),
        "tidy" => tidy::check(&root()),
        "fix" => fix(),
        "image" => image::make(&std::env::args().skip(2).collect::<Vec<_>>()).map(|said| eprintln!("{said}")),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"])?;
    tidy::check(&root())?;
    direction::check()?;
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    docs()
}

fn docs() -> Result<(), String> {
    run(Command::new("cargo").args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn fix() -> Result<(), String> {
    cargo(&["fmt", "--all"])?;
    run(Command::new("cargo")
        .args(["test", "--package", "huxiao-runtime", "--quiet", "metrics_page"])
        .env("HUXIAO_WRITE_DOCS", "1"))
}

fn cargo(args: &[&str]) -> Result<(), String> {
    run(Command::new("cargo").args(args))
}

/// Runs `command` in the root of the repository; its own output is its report.
fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let status = command.current_dir(root()).status().map_err(|why| format!("{shown}: {why}"))?;
    if status.success() { Ok(()) } else { Err(format!("failed: {shown}")) }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}
