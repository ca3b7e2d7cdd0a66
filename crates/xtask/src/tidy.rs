//! Rules that no compiler checks: every file says what it is for, none has grown into two ideas, none says what does not belong.
//!
//! Invariant: reads the files that git knows, and nothing else.

use std::path::Path;
use std::process::Command;

/// Lines of a source file beyond which it is surely more than one idea.
const FILE_LINES: usize = 600;

/// Holds every file of the repository against the rules.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|why| format!("git ls-files: {why}"))?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut wrong = Vec::new();
    for name in listed.lines() {
        let Ok(text) = std::fs::read_to_string(root.join(name)) else { continue };
        if name.ends_with(".rs") {
            source(name, &text, &mut wrong);
        }
        for (at, line) in text.lines().enumerate() {
            if line.ends_with([' ', '\t']) && !name.ends_with(".md") {
                wrong.push(format!("{name}:{}: white space at the end of the line", at + 1));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

fn source(name: &str, text: &str, wrong: &mut Vec<String>) {
    // A file of unit tests belongs to the module above it, which says what both are for.
    let unit_tests = name.contains("/src/") && (name.ends_with("/tests.rs") || name.contains("/tests/"));
    if !unit_tests && !text.starts_with("//!") && !text.starts_with("#![") {
        wrong.push(format!("{name}:1: begin with //! and say what the file is for"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES {
        wrong.push(format!("{name}: {lines} lines; ask what the file is really about ({FILE_LINES} at the most)"));
    }
    for word in ["todo!(", "unimplemented!(", concat!("FIX", "ME"), concat!("dbg", "!(")] {
        for (at, line) in text.lines().enumerate().filter(|(_, line)| line.contains(word)) {
            if !name.starts_with("crates/xtask/") {
                wrong.push(format!("{name}:{}: {} does not belong in the repository", at + 1, line.trim()));
            }
        }
    }
}
