//! At a terminal, Enter raises an alarm, and the line of its stages appears as they come.
//!
//! Invariant: without a terminal nothing is read, and nothing ends because standard input did.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use huxiao_runtime::clock::Clock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::press::{Gate, officer};
use super::province::Province;
use crate::exit::{Failure, Outcome};

/// A person needs a moment to see that the alarm is on the screen before it is taken.
const OFFICER_THINKS: Duration = Duration::from_millis(800);

/// Raises an alarm at each Enter, at one school after the other, for ever.
pub(super) async fn enter(province: &Province) -> Outcome {
    if !std::io::stdin().is_terminal() {
        return std::future::pending().await;
    }
    let mut keys = lines();
    let mut officers = JoinSet::new();
    for (_, endpoint) in &province.stations {
        officers.spawn(officer(endpoint.clone(), OFFICER_THINKS));
    }
    let mut gates = Vec::new();
    for (school, endpoint) in &province.relays {
        gates.push(Gate::open(school, endpoint, Clock::system()).await?);
    }
    for turn in (0..gates.len()).cycle() {
        if keys.recv().await.is_none() {
            return std::future::pending().await;
        }
        let Some(gate) = gates.get_mut(turn) else { continue };
        show(&format!("{}: ", gate.school()))?;
        gate.press(|stage, ms| drop(show(&format!("{stage} {ms:.1} ms → ")))).await?;
        show("done\n")?;
    }
    std::future::pending().await
}

fn show(words: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(words.as_bytes()).and_then(|()| out.flush()).map_err(Failure::failed)
}

/// Standard input, line by line, from a thread of its own: it cannot be read without blocking.
fn lines() -> mpsc::Receiver<String> {
    let (line, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for text in std::io::stdin().lock().lines() {
            let Ok(text) = text else { return };
            if line.blocking_send(text).is_err() {
                return;
            }
        }
    });
    lines
}
