//! What only a region finds out is believed of nobody else; and a seat that cannot be heard watches for nobody.

use super::*;
use crate::supervision::PresenceAsk;
use crate::trouble::{About, Told};

fn raised(kind: Kind) -> crate::event::Event {
    crate::event::Event { id: id(9), epoch: 0, seq: 0, ..event(kind) }
}

#[test]
fn a_relay_that_raises_what_only_a_region_finds_out_is_refused() {
    for kind in Kind::ALL.iter().filter(|kind| kind.is_of_region()).chain([&Kind::StoreLoss]) {
        let mut bench = Bench::started();
        let copy = EventCopy { sealed: seal(&raised(kind.clone())), trail: Trail::default(), receipts: vec![] };
        bench.hear(RELAY, Message::Event(copy));
        assert!(bench.proposals.is_empty(), "{kind}");
        assert!(bench.sent.iter().any(|(.., message)| *message == Message::Refused(id(9), Refusal::Kind)), "{kind}");
    }
    // That its own store lost something, it may say.
    let mut bench = Bench::started();
    let own = crate::event::Event { id: id(9), ..event(Kind::StoreLoss) };
    let copy = EventCopy { sealed: seal(&own), trail: Trail::default(), receipts: vec![] };
    bench.hear(RELAY, Message::Event(copy));
    assert_eq!(bench.proposals.len(), 1);
}

#[test]
fn what_the_region_says_goes_to_its_stations_and_never_to_the_relay_that_it_names() {
    let mut bench = Bench::started();
    bench.greet_relay(WIRE_MINOR);
    bench.greet(PathId(2), &seat("p1", "a"), None);
    let told = || Told {
        about: About::Silent(relay_id()),
        over: false,
        sealed: Some(seal(&raised(Kind::Silent))),
        stations: vec![StationId(name("p1"))],
    };
    bench.step(Input::Troubles(vec![told()]));
    assert!(bench.proposals.is_empty(), "only who leads proposes");
    bench.step(Input::Leads(true));
    bench.step(Input::Troubles(vec![told(), told()]));
    assert_eq!(bench.proposals.len(), 2);
    bench.commit();
    assert_eq!(bench.events_to(PathId(2)), [id(9)]);
    assert!(bench.sent.iter().all(|(path, ..)| *path != RELAY), "{:?}", bench.sent);
    let over = Told { about: About::Silent(relay_id()), over: true, sealed: None, stations: vec![] };
    bench.step(Input::Troubles(vec![over]));
    bench.commit();
    let closed = |message: &Message| matches!(message, Message::Receipts(list) if list.iter().any(|one| one.stage == Stage::Closed));
    assert!(bench.sent.iter().any(|(path, _, message)| *path == PathId(2) && closed(message)), "{:?}", bench.sent);
    assert!(bench.sent.iter().all(|(path, ..)| *path != RELAY), "{:?}", bench.sent);
    assert!(bench.broker.record().get(&id(9)).unwrap().is_closed());
    let degraded = Degraded { since: WallTime(7), why: Text::new("alone").unwrap() };
    bench.step(Input::Quorum(Some(degraded)));
    bench.step(Input::Troubles(vec![told()]));
    assert!(bench.proposals.is_empty(), "without a quorum nothing of it can be said once");
}

#[test]
fn a_seat_that_cannot_be_heard_is_with_nobody_until_it_can() {
    let mut bench = Bench::started();
    bench.greet(PathId(2), &seat("p1", "a"), None);
    let here = |bench: &Bench| {
        let part = bench.broker.presence(&PresenceAsk::default());
        part.up.iter().filter(|who| matches!(who, NodeName::Station(_))).count()
    };
    assert_eq!(here(&bench), 1);
    bench.hear(PathId(2), Message::SeatState { audible: false });
    bench.hear(PathId(2), Message::SeatState { audible: false });
    assert_eq!(here(&bench), 0);
    let known = bench.broker.presence(&PresenceAsk::default());
    bench.hear(PathId(2), Message::SeatState { audible: true });
    let ask = PresenceAsk { epoch: known.epoch, version: known.version, after: None };
    assert_eq!(bench.broker.presence(&ask).up, [NodeName::Station(seat("p1", "a"))]);
    bench.hear(PathId(2), Message::SeatState { audible: false });
    bench.step(Input::SessionDown(PathId(2)));
    let known = bench.broker.presence(&PresenceAsk { epoch: known.epoch, version: known.version, after: None });
    assert_eq!(known.down, [NodeName::Station(seat("p1", "a"))], "its end is no news beside its silence");
    bench.greet(PathId(3), &seat("p1", "a"), None);
    assert_eq!(here(&bench), 1, "who comes anew can be heard until it says otherwise");
}
