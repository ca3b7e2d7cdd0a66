//! Tells the program what it was built from: the commit, the compiler and the target. Outside a git work tree, or without git, the
//! commit is `unknown`; the build never fails for it.

#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

use std::process::Command;

fn main() {
    // Whoever builds from an archive says the commit himself.
    println!("cargo::rerun-if-env-changed=HUXIAO_COMMIT");
    let given = std::env::var("HUXIAO_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let commit = given.map(|commit| commit.trim().to_owned()).or_else(|| {
        let folder = output("git", &["rev-parse", "--absolute-git-dir"])?;
        // `logs/HEAD` grows with each commit, whichever branch is checked out.
        println!("cargo::rerun-if-changed={folder}/HEAD");
        println!("cargo::rerun-if-changed={folder}/logs/HEAD");
        output("git", &["rev-parse", "--short=12", "HEAD"])
    });
    // The image's program relocates itself at start; packed, its hundred thousand addresses take a fiftieth. The C library that it carries can
    // (glibc 2.36 and later); that of somebody else's machine may not, so what is linked to that is left as it is.
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let (os, abi) = (std::env::var("CARGO_CFG_TARGET_OS"), std::env::var("CARGO_CFG_TARGET_ENV"));
    if features.split(',').any(|feature| feature == "crt-static")
        && os.as_deref() == Ok("linux")
        && abi.as_deref() == Ok("gnu")
    {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = output(&rustc, &["--version"]);
    let target = std::env::var("TARGET").ok();
    for (name, value) in [("COMMIT", commit), ("RUSTC", rustc), ("TARGET", target)] {
        println!("cargo::rustc-env=HUXIAO_BUILD_{name}={}", value.unwrap_or_else(|| "unknown".to_owned()));
    }
}

/// The first line that the program prints, if it ends well.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
