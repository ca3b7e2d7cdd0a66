//! `huxiao audit verify`: every chain of an export computed anew, offline.
//!
//! Invariant: a file that passes was written by an export, or by somebody who computed every digest of it anew.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use clap::Args;
use huxiao_core::EventId;
use huxiao_core::case::{Digest, genesis, verify};
use huxiao_runtime::case_json::{digest, hex, unhex};
use serde_json::json;

use super::lines::{CaseLine, EndLine, Line, Tally};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, Format};

/// Bytes of one line at most: a step with the longest note takes a few thousand.
const LINE_BYTES: u64 = 64 * 1_024;

/// Arguments of `audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The file that `audit export` printed
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How the verdict is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// The file cannot be read, or a line does not fit.
pub(super) fn run(args: &VerifyArgs) -> Outcome {
    let place = args.file.display();
    let file = File::open(&args.file).map_err(|error| Failure::failed(format!("{place}: {error}")))?;
    let end = match check(BufReader::new(file)) {
        Ok(end) => end,
        Err(Wrong::Io(error)) => return Err(Failure::failed(format!("{place}: {error}"))),
        Err(Wrong::Line(line, why)) => return Err(Failure::new(Code::Unhealthy, format!("{place}:{line}: {why}"))),
    };
    match args.output {
        Format::Json => {
            let verdict = json!({ "cases": end.cases, "lines": end.lines, "sha256": end.sha256 });
            output::finish_json(Code::Ok, &verdict)
        }
        Format::Table => {
            let EndLine { cases, lines, sha256 } = end;
            let words = format!("完整无误  whole: {cases} cases, {lines} lines, SHA-256 {sha256}\n");
            output::finish(Code::Ok, &words)
        }
    }
}

/// What is wrong with a file.
#[derive(Debug)]
enum Wrong {
    /// It cannot be read.
    Io(std::io::Error),
    /// The first line that does not fit, and why.
    Line(u64, String),
}

/// Looks through all lines.
fn check(mut file: impl BufRead) -> Result<EndLine, Wrong> {
    let (mut number, mut walk) = (0, Walk::default());
    loop {
        number += 1;
        let mut bytes = Vec::new();
        (&mut file).take(LINE_BYTES).read_until(b'\n', &mut bytes).map_err(Wrong::Io)?;
        let wrong = |why: String| Wrong::Line(number, why);
        if bytes.is_empty() {
            return Err(wrong("the file ends before its `end` line: lines are missing".to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is no UTF-8".to_owned()))?;
        if let Some(end) = walk.take(&text).map_err(wrong)? {
            let mut more = [0];
            return match file.read(&mut more).map_err(Wrong::Io)? {
                0 => Ok(end),
                _ => Err(Wrong::Line(number + 1, "nothing should stand behind the `end` line".to_owned())),
            };
        }
    }
}

/// Where the look through the lines stands.
#[derive(Default)]
struct Walk {
    tally: Tally,
    case: Option<Open>,
}

/// A case whose steps are coming.
struct Open {
    line: CaseLine,
    last: (u64, Digest),
}

impl Walk {
    /// Takes one line; the `end` line if it is that.
    fn take(&mut self, text: &str) -> Result<Option<EndLine>, String> {
        let line: Line = serde_json::from_str(text).map_err(|error| format!("it is no line of an export: {error}"))?;
        if line.text() != text {
            return Err("it is spelled otherwise than an export spells it".to_owned());
        }
        match &line {
            Line::Case(case) => {
                self.close()?;
                self.case = Some(open(case)?);
            }
            Line::Step(json) => {
                let case = self.case.as_mut().ok_or("a step stands before its case")?;
                let step = json.step()?;
                verify(case.last.0, &case.last.1, &step).map_err(|why| format!("case {}: {why}", case.line.id))?;
                case.last = (step.number, step.digest);
            }
            Line::End(end) => {
                self.close()?;
                let expected = self.tally.end();
                if *end != expected {
                    let why = "the lines before are not those that were exported: they are";
                    return Err(format!(
                        "{why} {} cases, {} lines, SHA-256 {}",
                        expected.cases, expected.lines, expected.sha256
                    ));
                }
                return Ok(Some(expected));
            }
        }
        self.tally.take(&line, text);
        Ok(None)
    }

    /// The case that was open is over: all of its steps must have come.
    fn close(&mut self) -> Result<(), String> {
        let Some(Open { line, last }) = self.case.take() else { return Ok(()) };
        if last.0 != line.steps {
            return Err(format!(
                "case {} has {} steps here and had {}: lines before are missing",
                line.id, last.0, line.steps
            ));
        }
        if hex(&last.1) != line.digest {
            return Err(format!("case {} ends with another digest than it should", line.id));
        }
        Ok(())
    }
}

fn open(line: &CaseLine) -> Result<Open, String> {
    let event = unhex(&line.event).ok_or("the event's bytes are no hexadecimal digits")?;
    let sealed = huxiao_wire::unseal(&event).map_err(|why| format!("the event cannot be read: {why}"))?;
    let id: EventId = line.id.parse().map_err(|_| "the case's id is none")?;
    if sealed.event.id != id {
        return Err(format!("the event's bytes are those of {}", sealed.event.id));
    }
    if digest(&line.digest).is_none() {
        return Err("the digest is not 64 hexadecimal digits".to_owned());
    }
    Ok(Open { line: line.clone(), last: (0, genesis(&event)) })
}

#[cfg(test)]
mod tests;
