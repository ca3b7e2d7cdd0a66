//! The one way in which crates may depend on each other, held against what cargo says.
//!
//! Invariant: the table below is the picture in docs/ARCHITECTURE.md; a new arrow is drawn in both.

use std::process::Command;

use serde_json::Value;

/// Each crate of ours and those of ours that it may use (dev-dependencies are free).
const ARROWS: &[(&str, &[&str])] = &[
    ("huxiao-core", &[]),
    ("huxiao-wire", &["huxiao-core"]),
    ("huxiao-pki", &["huxiao-core"]),
    ("huxiao-store", &["huxiao-core"]),
    ("huxiao-sim", &["huxiao-core", "huxiao-wire"]),
    ("huxiao-link", &["huxiao-core", "huxiao-wire", "huxiao-pki"]),
    ("huxiao-runtime", &["huxiao-core", "huxiao-wire", "huxiao-pki", "huxiao-store", "huxiao-link"]),
    ("huxiao-relay", NODE),
    ("huxiao-broker", NODE),
    ("huxiao-station", NODE),
];
const NODE: &[&str] = &["huxiao-core", "huxiao-wire", "huxiao-pki", "huxiao-store", "huxiao-link", "huxiao-runtime"];

/// What stands outside the picture, and who may use it all the same: the tests use the link emulator of the benches.
const OUTSIDE: &[(&str, &[&str])] = &[("huxiao-benches", &["huxiao-tests"]), ("huxiao-tests", &[])];

/// What a pure crate may use from outside: none of it reads a clock, opens anything or starts a task.
const PURE: &[(&str, &[&str])] =
    &[("huxiao-core", &["sha2", "thiserror", "uuid"]), ("huxiao-wire", &["bytes", "prost", "thiserror"])];

/// Holds the dependencies of the workspace against [`ARROWS`], [`OUTSIDE`] and [`PURE`].
pub(crate) fn check() -> Result<(), String> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .map_err(|why| format!("cargo metadata: {why}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|why| format!("cargo metadata: {why}"))?;
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let normal = package["dependencies"].as_array().into_iter().flatten().filter(|dep| dep["kind"].is_null());
        for dependency in normal.filter_map(|dep| dep["name"].as_str()) {
            wrong.extend(judge(name, dependency));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn judge(name: &str, dependency: &str) -> Option<String> {
    let ours = dependency.starts_with("huxiao");
    if let Some((_, allowed)) = ARROWS.iter().find(|(of, _)| *of == name)
        && ours
        && !allowed.contains(&dependency)
    {
        return Some(format!("{name} must not depend on {dependency}: see the arrows in docs/ARCHITECTURE.md"));
    }
    if let Some((_, users)) = OUTSIDE.iter().find(|(of, _)| *of == dependency)
        && !users.contains(&name)
    {
        return Some(format!("{name} must not depend on {dependency}, which stands outside: see docs/ARCHITECTURE.md"));
    }
    match PURE.iter().find(|(of, _)| *of == name) {
        Some((_, allowed)) if !ours && !allowed.contains(&dependency) => {
            Some(format!("{name} is pure and may use only {}; not {dependency}", allowed.join(", ")))
        }
        _ => None,
    }
}
