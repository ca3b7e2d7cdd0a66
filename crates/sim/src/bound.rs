//! How long an alarm may take, from what its lines are like and from the schedules of courier and diallers.
//!
//! Three bounds, of which the first that applies counts. `K` is the number of copies of which all are lost once in a thousand million
//! times: the smallest `k` with `run^k ≤ 10⁻⁹`, where `run` is the profile's [`crate::profile::Loss::run`]. A copy takes at most
//! [`Profile::slow`], the queue of a slow line, and a dark spell.
//!
//! * **Settled** ([`settled`]): all around the alarm was well at the press and is so still, with sessions on the way. While an alarm is
//!   young, copies are [`YOUNG_GAP`] apart or half a round trip, or what a slow line's budget takes, and a fifth more with jitter. So each of the two lines takes at most `K` such gaps.
//! * **Healed** ([`healed`]): the region is well and settled, and all of the school's lines are well again. The relay hears nothing, so
//!   it races, after a race gap of [`LONGEST_GAP`] at most: a fresh session is begun every second at the least, and given up after three.
//!   `A` such handshakes fail all once in a thousand million times: each of five packets has two tries in that time, so
//!   one fails with `5·run²` at most, and is taken to fail half of the time at the least where that is more than half. Then the
//!   courier puts the alarm on it, and repeats it [`LONGEST_GAP`] apart at most.
//! * **Any** ([`any`]): one way exists, over one uplink, one node and one seat; everything else may be down, deaf, or lie in wait. A dead session is
//!   noticed after its idle time at the latest, and dialled anew with pauses of up to one and a half [`LAST_PAUSE`], at both ends
//!   of the way, by handshakes that have ten seconds and so four tries (`5·run⁴`). The relay's turn for the one good path comes after that for all others, and a node that has lost the alarm again is
//!   found out by the next question, at the beginning of each session. What was refused is offered again after a minute.

use huxiao_core::courier::{LONGEST_GAP, YOUNG_GAP};
use huxiao_core::{Span, limits};

use crate::dial::{LAST_PAUSE, PAUSE_JITTER, STAGGER};
use crate::profile::Profile;
use crate::world::{MINUTE, SECOND};

/// How often it is counted how often nodes woke and sent.
pub const COUNT_EVERY: u64 = 10 * MINUTE;
/// What may be later by bad luck alone.
const LUCK: f64 = 1e-9;
/// Copies are moved at random by a fifth.
const JITTER: (u64, u64) = (6, 5);
/// For how long an alarm is young: beyond that, gaps grow to the longest.
const YOUNG: u64 = 15 * SECOND;
/// Between copies on a line that is slower than its budget: that shrinks to a thousand bytes a second, and a copy takes some six hundred.
const SLOW_COPY: u64 = 600_000;
/// The screen does not wait for its disk longer than this; and a refused event is offered again after that.
const REFUSED: u64 = MINUTE;
/// For how long all must have been well before a press that is to count as settled: dead sessions have ended by then.
pub const SETTLED_FOR: u64 = 40 * SECOND;

fn micros(span: Span) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The smallest number of tries of which all fail once in a thousand million times at most, when one does with `share`.
#[must_use]
pub fn tries(share: f64) -> u64 {
    let (mut all, mut tries) = (share.min(0.95), 1);
    while all > LUCK {
        all *= share.min(0.95);
        tries += 1;
    }
    tries
}

/// What one copy takes at most: the way, the queue, and a dark spell.
#[must_use]
pub fn one_copy(profile: &Profile) -> u64 {
    let queue = profile.rate.map_or(0, |rate| rate.queue * 8 * SECOND / rate.bits);
    profile.slow() + queue + profile.dark.map_or(0, |(length, _)| length)
}

/// So many copies of a young alarm.
fn young(profile: &Profile, copies: u64) -> u64 {
    let slowly = if profile.rate.is_some() { SLOW_COPY } else { 0 };
    let gap = micros(YOUNG_GAP).max(profile.slow()).max(slowly) * JITTER.0 / JITTER.1;
    let quick = copies.min(YOUNG / gap);
    quick * gap + (copies - quick) * old_gap()
}

fn old_gap() -> u64 {
    micros(LONGEST_GAP) * JITTER.0 / JITTER.1
}

/// So many handshakes fail all, where each packet has so many tries.
fn handshakes(profile: &Profile, each: i32) -> u64 {
    tries((5.0 * profile.loss.run().powi(each)).min(0.5))
}

fn show() -> u64 {
    micros(limits::SHOW_WITHOUT_DISK_AFTER)
}

/// From press to screen over lines of which the worst are these, where all is well and stays so.
#[must_use]
pub fn settled(school: &Profile, seat: &Profile) -> u64 {
    let one = |profile: &Profile| young(profile, tries(profile.loss.run())) + one_copy(profile);
    one(school) + one(seat) + show()
}

/// From the instant at which all of a school's lines are well again, of which this is the worst, in a region that is settled.
#[must_use]
pub fn healed(school: &Profile, seat: &Profile) -> u64 {
    let handshake = micros(limits::HANDSHAKE_TIMEOUT);
    let dials = handshakes(school, 2) * STAGGER.1 + handshake + one_copy(school) + micros(LONGEST_GAP);
    let copies = tries(school.loss.run()) * old_gap() + one_copy(school);
    dials + copies + settled(&crate::profile::LAN, seat) + REFUSED
}

/// From the instant at which one way is well, whatever else is not.
#[must_use]
pub fn any(school: &Profile, seat: &Profile, metered: bool, paths: u64) -> u64 {
    let idle = micros(if metered { limits::METERED_IDLE_TIMEOUT } else { limits::IDLE_TIMEOUT });
    let pause = LAST_PAUSE * u64::from(100 + PAUSE_JITTER) / 100;
    let session = |profile: &Profile, idle: u64| {
        idle + handshakes(profile, 4) * (pause + micros(limits::HANDSHAKE_TIMEOUT) + one_copy(profile))
    };
    let copies = |profile: &Profile, ways: u64| tries(profile.loss.run()) * ways * old_gap() + one_copy(profile);
    session(school, idle)
        + session(seat, micros(limits::IDLE_TIMEOUT))
        + copies(school, paths)
        + copies(seat, 1)
        + REFUSED
        + show()
}

/// How often a node may wake in one [`COUNT_EVERY`], with so many express sessions and so many events that were raised or open meanwhile.
///
/// A session is probed every ten seconds and each probe may be late; questions come as often. An event is carried by one courier at a
/// time at each of relay, desk and gate, and a seat carries three statements on it: each is repeated some 75 times while young, and then
/// four seconds apart at the least. A fault may strand each of them, so an allowance is made for two beginnings.
#[must_use]
pub fn wakes(paths: u64, events: u64) -> u64 {
    let probes = COUNT_EVERY / micros(limits::PROBE_EVERY);
    let repeats = 2 * 75 + COUNT_EVERY / (4 * SECOND);
    500 + paths * probes * 3 + probes + events * 3 * repeats
}

/// How many packets a node may send meanwhile: one for each of its own wakes and of its peers', keep-alives and their answers, and
/// acknowledgements for each.
#[must_use]
pub fn packets(sessions: u64, keep_alive: u64, events: u64) -> u64 {
    let probes = COUNT_EVERY / micros(limits::PROBE_EVERY);
    let repeats = 2 * 75 + COUNT_EVERY / (4 * SECOND);
    1_000 + sessions * (3 * COUNT_EVERY / keep_alive + 4 * probes) + events * 3 * 2 * repeats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{BAD, LAN, OUTAGE, RURAL, TOWN};

    #[test]
    fn bounds_grow_with_what_a_line_loses() {
        assert_eq!(tries(0.0), 1);
        assert_eq!(tries(0.001), 3);
        assert!((30..40).contains(&tries(BAD.loss.run())));
        let of = |school| settled(school, &TOWN) / 1_000;
        let figures = [&LAN, &TOWN, &RURAL, &BAD, &OUTAGE].map(of);
        assert!(figures.is_sorted_by(|a, b| a <= b) || figures[4] > figures[2], "{figures:?}");
        assert!(of(&LAN) < 2_500 && of(&BAD) < 30_000, "{figures:?}");
        assert!(settled(&RURAL, &LAN) < healed(&RURAL, &LAN));
        assert!(healed(&RURAL, &LAN) < any(&RURAL, &LAN, false, 2));
    }
}
