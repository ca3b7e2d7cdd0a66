//! What must be there after a cut, and the judgement of what is.
//!
//! Invariant: a judgement passes only if each producer's rows are exactly those after so many of its steps, at least all that were
//! acknowledged, so nothing is missing, nothing came back, and no batch was taken in by half.

use std::collections::BTreeMap;

use huxiao_store::Key;
use serde_json::Value;

use super::script::{PRODUCERS, Profile, Role, Script, WINDOW, owner};

/// What a victim found.
#[derive(Debug, Default)]
pub struct Found {
    /// What the opening gave.
    pub opened: Value,
    /// The rows, each with the hash of its value.
    pub rows: BTreeMap<Key, u64>,
}

/// What is known of a store.
pub struct Ledger {
    scripts: Vec<Script>,
    acked: Vec<u64>,
    epoch: u64,
    high: u64,
}

impl Ledger {
    /// Of a store that holds nothing.
    #[must_use]
    pub fn new(role: Role, profile: Profile, seed: u64) -> Self {
        let scripts: Vec<_> = (0..PRODUCERS).map(|producer| Script::new(role, profile, seed, producer)).collect();
        Self { acked: vec![0; scripts.len()], scripts, epoch: 0, high: 0 }
    }

    /// The step after which each producer goes on.
    #[must_use]
    pub fn from(&self) -> Vec<u64> {
        self.scripts.iter().map(Script::steps).collect()
    }

    /// Notes an acknowledgement.
    ///
    /// # Errors
    /// It is not the one that had to come next.
    pub fn ack(&mut self, producer: u64, step: u64) -> Result<(), String> {
        let slot = usize::try_from(producer).ok().and_then(|at| self.acked.get_mut(at));
        match slot {
            Some(acked) if *acked + 1 == step => *acked = step,
            _ => return Err(format!("producer {producer}: step {step} was acknowledged out of order")),
        }
        Ok(())
    }

    /// Judges the numbers that the opening of our store gave. An epoch that was seen is never given again.
    ///
    /// # Errors
    /// What is wrong.
    pub fn opened(&mut self, opened: &Value) -> Result<(), String> {
        let number = |name: &str| opened[name].as_u64().ok_or_else(|| format!("no {name} in {opened}"));
        let (epoch, high) = (number("epoch")?, number("high")?);
        if opened["losses"].as_array().is_none_or(|losses| !losses.is_empty()) || number("refilled")? != 0 {
            return Err(format!("a mere power cut is reported as a loss: {opened}"));
        }
        if epoch <= self.epoch {
            return Err(format!("the epoch did not rise: {epoch} after {}", self.epoch));
        }
        if high < self.high {
            return Err(format!("the highest number went back: {high} after {}", self.high));
        }
        (self.epoch, self.high) = (epoch, high);
        Ok(())
    }

    /// Judges the rows and goes on from them.
    ///
    /// # Errors
    /// What is missing or too much, in words.
    pub fn judge(&mut self, found: &BTreeMap<Key, u64>) -> Result<(), String> {
        for producer in 0..PRODUCERS {
            let at = usize::try_from(producer).unwrap_or(usize::MAX);
            let rows: BTreeMap<Key, u64> =
                found.iter().filter(|(key, _)| owner(**key) == producer).map(|(key, hash)| (*key, *hash)).collect();
            let acked = self.scripts[at].clone().advanced(self.acked[at]);
            let fits = (acked.steps()..=acked.steps() + WINDOW)
                .map(|steps| acked.clone().advanced(steps))
                .find(|script| *script.rows() == rows);
            match fits {
                Some(script) => (self.acked[at], self.scripts[at]) = (script.steps(), script),
                None => return Err(format!("producer {producer}: {}", difference(&acked, &rows))),
            }
        }
        Ok(())
    }

    /// Judges the highest number against the rows.
    ///
    /// # Errors
    /// It is too low.
    pub fn judge_high(&mut self) -> Result<(), String> {
        let least = self.scripts.iter().map(Script::high).max().unwrap_or(0);
        if self.high < least {
            return Err(format!("the highest number is {} although a row with {least} was committed", self.high));
        }
        Ok(())
    }
}

fn difference(acked: &Script, found: &BTreeMap<Key, u64>) -> String {
    let must = acked.rows();
    let list = |keys: Vec<&Key>| {
        let shown: Vec<String> = keys.iter().take(6).map(ToString::to_string).collect();
        format!("{} ({})", keys.len(), shown.join(" "))
    };
    let missing = list(must.keys().filter(|key| !found.contains_key(key)).collect());
    let other =
        list(must.iter().filter(|(key, hash)| found.get(key).is_some_and(|it| it != *hash)).map(|it| it.0).collect());
    let extra = list(found.keys().filter(|key| !must.contains_key(key)).collect());
    format!(
        "after {} acknowledged steps: missing {missing}, another value {other}, should not be there {extra}",
        acked.steps()
    )
}
