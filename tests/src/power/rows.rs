//! Events and receipts like those of real nodes, made from a seed.
//!
//! Invariant: the same dice give the same rows in the victim and in whoever judges it.

use huxiao_core::{
    Class, Event, EventId, Kind, Mode, Name, NodeName, Receipt, RelayId, Rng, SchoolId, Sealed, Stage, Standing,
    StationId, Step, Text, Trail, WallTime, limits,
};

use super::script::Profile;

/// 2026-01-01, when all of it happens.
const DAY: i64 = 1_767_225_600_000_000;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn school() -> SchoolId {
    SchoolId(name("3301060007"))
}

pub(super) fn station() -> StationId {
    StationId(name("pcs-0042"))
}

pub(super) fn broker(number: u64) -> NodeName {
    NodeName::Broker { region: name("hangzhou"), node: name(&format!("b{number}")) }
}

pub(super) fn time(rng: &mut Rng) -> WallTime {
    WallTime(DAY + i64::try_from(rng.below(86_400_000_000)).unwrap())
}

/// A text of up to the limit in a large profile, else a short one.
pub(super) fn text(rng: &mut Rng, profile: Profile) -> Text {
    let most = if profile.is_large() { limits::NOTE_BYTES } else { 120 };
    let length = rng.below(most as u64 + 1);
    let letters: String = (0..length).map(|_| char::from(b'a' + u8::try_from(rng.below(26)).unwrap())).collect();
    Text::new(&letters).unwrap()
}

/// An event of this number. Half are alarms; in a tight profile all are.
pub(super) fn event(rng: &mut Rng, profile: Profile, seq: u64) -> Sealed {
    let alarms_only = profile == Profile::Tight || rng.below(2) == 0;
    let kinds: Vec<&Kind> = Kind::ALL.iter().filter(|kind| !alarms_only || kind.class() == Some(Class::P0)).collect();
    let kind = kinds[usize::try_from(rng.below(kinds.len() as u64)).unwrap()].clone();
    let raised_at = time(rng);
    let class = kind.class().unwrap();
    huxiao_wire::seal(&Event {
        id: EventId::generate(raised_at, rng),
        count: 1,
        details: huxiao_core::Details::default(),
        relay: RelayId { school: school(), device: name("gate-1") },
        epoch: 7,
        seq,
        kind,
        class,
        mode: Mode::Live,
        device: Some(name("button-1")),
        zone: (rng.below(2) == 0).then(|| name("north-gate")),
        note: text(rng, profile),
        raised_at,
    })
}

/// The statement that `event` reached `stage`.
pub(super) fn receipt(rng: &mut Rng, profile: Profile, event: EventId, stage: Stage) -> Receipt {
    let officer = (stage == Stage::Acknowledged).then(|| name("014"));
    let note = if stage >= Stage::Displayed { text(rng, profile) } else { Text::default() };
    Receipt { event, stage, at: time(rng), by: broker(1), officer, note, skew: None, standing: Standing::Settled }
}

/// Where a copy had been before it came here.
pub(super) fn trail(rng: &mut Rng) -> Trail {
    let (arrived, left) = (time(rng), Some(time(rng)));
    let relay = NodeName::Relay(RelayId { school: school(), device: name("gate-1") });
    Trail::new(vec![Step { node: relay, arrived, left, skew: None }]).arrived(&broker(1), time(rng), None)
}
