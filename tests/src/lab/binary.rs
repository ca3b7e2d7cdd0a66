//! The program under test, built once for a test process in the profile that the tests themselves have; or the one that
//! `HUXIAO_PROGRAM` names, such as a release build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// The path of the `huxiao` program.
pub fn program() -> &'static Path {
    PROGRAM.get_or_init(|| std::env::var_os("HUXIAO_PROGRAM").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let own = std::env::current_exe().unwrap();
    let profile_dir =
        own.ancestors().skip(1).find(|folder| folder.file_name().is_some_and(|name| name != "deps")).unwrap();
    let target = profile_dir.parent().unwrap();
    let profile = match profile_dir.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "huxiao", "--bin", "huxiao", "--profile", profile, "--target-dir"]);
    let done = cargo.arg(target).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(done.status.success(), "huxiao does not build:\n{}", String::from_utf8_lossy(&done.stderr));
    profile_dir.join("huxiao")
}
