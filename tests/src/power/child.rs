//! A victim as its parent sees it: a process, and what it says.
//!
//! Invariant: the process ends with its [`Child`], and what it had said by then is still heard.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use huxiao_core::Class;
use huxiao_store::{Key, Space};
use serde_json::Value;

use super::victim::Order;

/// What a victim says.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// The store is open; what the opening gave.
    Opened(Value),
    /// A row and the hash of its value.
    Row(Key, u64),
    /// So many rows there were.
    Rows(usize),
    /// This step of this producer is acknowledged.
    Ack(u64, u64),
    /// It ends, and why.
    End(String),
    /// Anything else, such as a panic somewhere in it.
    Note(String),
}

impl Line {
    fn parse(line: &str) -> Self {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let numbers: Vec<u64> = rest.split(' ').filter_map(|number| number.parse().ok()).collect();
        let note = || Self::Note(line.to_owned());
        match (word, numbers.as_slice()) {
            ("opened", _) => serde_json::from_str(rest).map_or_else(|_| note(), Self::Opened),
            ("row", [space, class, seq, hash]) => {
                let space = usize::try_from(*space).ok().and_then(|at| Space::ALL.get(at));
                let class = u8::try_from(*class).ok().and_then(Class::from_number);
                let key = space.zip(class).map(|(space, class)| Key { space: *space, class, seq: *seq });
                key.map_or_else(note, |key| Self::Row(key, *hash))
            }
            ("rows", [count]) => Self::Rows(usize::try_from(*count).unwrap_or(usize::MAX)),
            ("ack", [producer, step]) => Self::Ack(*producer, *step),
            ("end", _) => Self::End(rest.to_owned()),
            _ => note(),
        }
    }
}

/// A running victim.
pub struct Child {
    process: std::process::Child,
    lines: Receiver<Line>,
    killed: bool,
}

impl Child {
    /// Starts this program once more, as a victim.
    ///
    /// # Errors
    /// Those of starting a process.
    pub fn start(order: &Order) -> std::io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(order.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let stdout = process.stdout.take();
        let (heard, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout.into_iter().next().expect("it is piped"));
            let mut line = String::new();
            // A last line without its end was cut off in the middle: it counts as not said.
            while reader.read_line(&mut line).is_ok_and(|length| length > 0) && line.ends_with('\n') {
                if heard.send(Line::parse(line.trim_end())).is_err() {
                    break;
                }
                line.clear();
            }
        });
        Ok(Self { process, lines, killed: false })
    }

    /// Tells it after which step each producer goes on. If it has ended by then, the lack of lines will tell.
    pub fn go_on(&mut self, from: &[u64]) {
        let steps: Vec<String> = from.iter().map(u64::to_string).collect();
        let line = format!("{}\n", steps.join(" "));
        let _ = self.process.stdin.take().map(|mut stdin| stdin.write_all(line.as_bytes()));
    }

    /// The next thing it says; `None` when it has ended, or had to be killed because it said nothing for so long.
    pub fn next(&mut self, within: Duration) -> Option<Line> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.killed = true;
                self.kill();
                // What was said in the meantime counts.
                self.lines.recv().ok()
            }
        }
    }

    /// Whether it said nothing for so long that it was killed.
    pub fn was_killed(&self) -> bool {
        self.killed
    }

    /// Kills it. What it had said is still in the queue.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        let _ = self.process.wait();
    }
}
