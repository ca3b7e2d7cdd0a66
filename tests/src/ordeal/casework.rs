//! Officers who carry cases on: from the car that is sent to the closing, while nodes die around them.
//!
//! Invariant: an order is said again under its own id only, so whatever came of it comes of it once.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::json;

use super::chronicle::Chronicle;
use super::history::Acting;
use crate::lab::{Dice, http};

/// What is done about a case, in order.
const WAY: [&str; 5] = ["dispatch", "enroute", "onscene", "handled", "close"];
/// One alarm in so many has its case carried on.
const ONE_IN: u64 = 6;
/// An alarm that was taken longer ago than this is left as it is: who waits out a lost quorum must not fall ever further behind.
const STALE: Duration = Duration::from_secs(5);
/// How often an order is said that nobody confirms.
const TRIES: usize = 2;

/// Carries cases on until nobody hands in any more.
pub(super) fn work(chronicle: &Chronicle, seat: usize, base: &str, cases: &Receiver<(String, Instant)>) {
    while let Ok((id, taken)) = cases.recv() {
        let mut dice = Dice::new(super::load::sum_of(&id) ^ 1);
        if dice.below(ONE_IN) > 0 || taken.elapsed() > STALE {
            continue;
        }
        // Of two officers who have it, each gives orders of his own: what is said under one id is one order.
        let mut draws = Dice::new(super::load::sum_of(&format!("{id} at {seat}")));
        // Some are left half way.
        let steps = 1 + usize::try_from(dice.below(WAY.len() as u64)).unwrap();
        for action in WAY.into_iter().take(steps) {
            let step = order(base, seat, &id, action, &mut draws);
            chronicle.open().actings.push(Acting { id: id.clone(), seat, action, step });
            if step.is_none() {
                break;
            }
        }
    }
}

/// Says an order; gives the number of its step if it was carried out.
fn order(base: &str, seat: usize, id: &str, action: &str, draws: &mut Dice) -> Option<u64> {
    let draw = format!("{:016x}{:016x}", draws.below(u64::MAX), draws.below(u64::MAX) | 1);
    let [a, b, c, d, e] = [&draw[..8], &draw[8..12], &draw[12..16], &draw[16..20], &draw[20..]];
    let mut body = json!({ "action": action, "officer": format!("0{seat}4"), "note": "", "action_id": format!("{a}-{b}-{c}-{d}-{e}") });
    if action == "close" {
        body["reason"] = "real".into();
    }
    for _ in 0..TRIES {
        match http::post(base, &format!("/v1/events/{id}/case"), &[], &body) {
            Ok(answer) if answer.status == 200 => return answer.json()["step"].as_u64(),
            // It may yet come into the record, and is said again under the same id.
            Ok(answer) if answer.error() == "not_confirmed" => {}
            // Refused, as where another officer was first, or while there is no quorum.
            Ok(_) => return None,
            // The seat is being restarted.
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
    None
}
