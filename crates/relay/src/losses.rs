//! A store that came back with less than it had is told to the region, as an event of the relay itself.
//!
//! Invariant: once for each start that finds something lost, and never about a press: what was lost of those is known to the region or to nobody.

use std::fmt::Write as _;

use huxiao_core::relay::{Input, Press, Relay};
use huxiao_core::{Details, Kind, Mode, Text, limits};
use huxiao_runtime::drive::Handle;
use huxiao_store::Loss;

use crate::shell::Answers;

/// Raises it.
pub(crate) async fn tell(handle: Handle<Relay>, answers: Answers, losses: Vec<Loss>) {
    let press = Press {
        kind: Kind::StoreLoss,
        mode: Mode::Live,
        device: None,
        zone: None,
        note: note(&losses),
        details: Details::default(),
    };
    let (ticket, answer) = answers.ask();
    // Whoever waits here must keep neither the loop nor its answers alive.
    drop(answers);
    let asked = handle.input(Input::Raise { ticket, press, idempotency_key: None, live: false }).await;
    drop(handle);
    if asked.is_err() {
        return;
    }
    match answer.await {
        Ok(Ok(raised)) => {
            tracing::warn!(alarm_id = %raised.id, "the region is told that the store came back with less");
        }
        Ok(Err(why)) => tracing::error!(%why, "the region is not told that the store came back with less"),
        Err(_) => {}
    }
}

/// What was lost, Chinese first, as far as a note holds it.
fn note(losses: &[Loss]) -> Text {
    let rows: u64 = losses.iter().map(|loss| loss.count).sum();
    let mut words = format!("存储丢失，至少 {rows} 条  the store came back with less, at least {rows} rows:");
    for loss in losses {
        // Writing to a String does not fail.
        let _ = write!(words, " {}: commits {} to {};", loss.kind.as_str(), loss.from_commit, loss.to_commit);
    }
    let mut end = words.len().min(limits::NOTE_BYTES);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    Text::new(&words[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use huxiao_store::LossKind;

    use super::*;

    #[test]
    fn what_was_lost_fits_a_note_however_much_it_is() {
        let detail = "the database is gone".to_owned();
        let loss = Loss {
            kind: LossKind::Missing,
            from_commit: 7,
            to_commit: 1_000_000,
            count: 12,
            refilled: 3,
            quarantined: None,
            detail,
        };
        let one = note(std::slice::from_ref(&loss));
        assert!(
            one.as_str().starts_with("存储丢失，至少 12 条") && one.as_str().contains("missing: commits 7 to 1000000")
        );
        let many = note(&vec![loss; 100]);
        assert!(many.as_str().len() > 900 && many.as_str().len() <= limits::NOTE_BYTES);
    }
}
