//! What is said of an alarm's signature, and that nothing but that hangs on it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::broker::{Broker, BrokerConfig};
use crate::event::{Details, Kind, Mode, Text};
use crate::id::{Name, PathId, SchoolId, StationId};
use crate::lane::Lane;
use crate::message::{EventCopy, Hello, Message, WIRE_MINOR};
use crate::path::PathInfo;
use crate::plan::Plan;
use crate::receipt::{Step, Trail};
use crate::record::{Command, RecordState};
use crate::relay::tests_support::{event, relay_id, seal};
use crate::relay::{Press, Relay, RelayConfig, Ticket};
use crate::station::{InboxRow, Station, StationConfig};
use crate::time::{Now, Timestamp};
use crate::{Machine, RecordId, broker, relay, station};

/// Keys that are digests: the certificate is the signer's name and the last second in which it is valid.
struct Toy(String);

fn digest(purpose: Purpose, message: &[u8], certificate: &[u8]) -> Arc<[u8]> {
    let hash = Sha256::new().chain_update(purpose.prefix()).chain_update(certificate).chain_update(message);
    Arc::from(hash.finalize().as_slice())
}

impl Signer for Toy {
    fn sign(&self, purpose: Purpose, message: &[u8]) -> Result<Signature, String> {
        let certificate: Arc<[u8]> = Arc::from(self.0.as_bytes());
        Ok(Signature { algorithm: Algorithm::ED25519, bytes: digest(purpose, message, &certificate), certificate })
    }
}

impl Verifier for Toy {
    fn verify(&self, purpose: Purpose, message: &[u8], signature: &Signature, by: &NodeName) -> Result<(), Flaw> {
        let certificate = std::str::from_utf8(&signature.certificate).map_err(|_| Flaw::Certificate)?;
        let (name, _) = certificate.split_once(' ').ok_or(Flaw::Certificate)?;
        if name != by.to_string() {
            return Err(Flaw::Signer);
        }
        let fits = signature.bytes == digest(purpose, message, &signature.certificate);
        if fits { Ok(()) } else { Err(Flaw::Bytes) }
    }

    fn was_valid(&self, signature: &Signature, at: WallTime) -> bool {
        let text = std::str::from_utf8(&signature.certificate).unwrap_or_default();
        text.split_once(' ').and_then(|(_, last)| last.parse().ok()).is_some_and(|last: i64| at.0 <= last)
    }
}

fn own() -> Toy {
    Toy(format!("{} 100", NodeName::Relay(relay_id())))
}

fn signed_by(signer: &Toy, kind: Kind) -> Sealed {
    let sealed = seal(&event(kind));
    let signature = signer.sign(Purpose::Event, &sealed.bytes).ok();
    Sealed { signature, ..sealed }
}

fn said(sealed: &Sealed, at: i64) -> (Verdict, Option<Flaw>) {
    judge(Some(&own()), sealed, WallTime(at)).unwrap()
}

#[test]
fn an_alarm_is_its_relays_or_unsigned_or_in_doubt() {
    let sealed = signed_by(&own(), Kind::Panic);
    assert_eq!(said(&sealed, 100), (Verdict::Valid, None));
    assert_eq!(said(&sealed, 101), (Verdict::Invalid, Some(Flaw::Expired)));
    assert_eq!(judge(None, &sealed, WallTime(1)), Some((Verdict::Unchecked, None)));
    assert_eq!(said(&seal(&event(Kind::Panic)), 1), (Verdict::Missing, None));
    let other = signed_by(&Toy("relay/s1/other 100".to_owned()), Kind::Panic);
    assert_eq!(said(&other, 1), (Verdict::Invalid, Some(Flaw::Signer)));
    let command = Sealed { signature: own().sign(Purpose::Command, &sealed.bytes).ok(), ..sealed.clone() };
    assert_eq!(said(&command, 1), (Verdict::Invalid, Some(Flaw::Bytes)), "made for something else");
    for kind in [Kind::Assist, Kind::Test, Kind::Status] {
        assert_eq!(judge(Some(&own()), &signed_by(&own(), kind), WallTime(1)), None, "nobody signs these");
    }
    assert_eq!(Verdict::ALL.map(Verdict::as_str), ["valid", "none", "invalid", "unchecked"]);
}

proptest! {
    #[test]
    fn one_bit_anywhere_makes_it_invalid(content in proptest::collection::vec(any::<u8>(), 1..300), at: prop::sample::Index, bit in 0..8) {
        let bytes: Arc<[u8]> = content.into();
        let signature = own().sign(Purpose::Event, &bytes).unwrap();
        let whole = Sealed { bytes, signature: Some(signature.clone()), ..seal(&event(Kind::Fire)) };
        prop_assert_eq!(said(&whole, 1).0, Verdict::Valid);
        let bent = |bytes: &[u8]| -> Arc<[u8]> {
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            bytes.into()
        };
        let message = Sealed { bytes: bent(&whole.bytes), ..whole.clone() };
        prop_assert_eq!(said(&message, 1).0, Verdict::Invalid);
        let tag = Signature { bytes: bent(&signature.bytes), ..signature.clone() };
        prop_assert_eq!(said(&Sealed { signature: Some(tag), ..whole.clone() }, 1).0, Verdict::Invalid);
        let certificate = Signature { certificate: bent(&signature.certificate), ..signature };
        prop_assert_eq!(said(&Sealed { signature: Some(certificate), ..whole }, 1).0, Verdict::Invalid);
    }
}

fn at(wall: i64) -> Now {
    Now { mono: Timestamp(0), wall: WallTime(wall) }
}

/// Presses once at a relay with this signer: what it sends.
fn pressed(signer: Option<Arc<dyn Signer>>, kind: Kind) -> (Vec<Sealed>, Vec<relay::Report>) {
    let config = RelayConfig {
        relay: relay_id(),
        epoch: 1,
        next_slot: 1,
        copy_rate: limits::COPY_BYTES_PER_SECOND,
        plan: None,
        spare_nodes: false,
        self_test: None,
        seed: 1,
        seal,
        software: String::new(),
    };
    let mut relay = Relay::new(at(1), config, vec![]).signing(signer);
    for (path, node) in [(1, "broker/r1/n1"), (2, "broker/r1/n2")] {
        let info = PathInfo::plain(Lane::Express);
        relay.handle(at(1), relay::Input::PathUp(PathId(path), node.parse().unwrap(), info));
    }
    let (device, zone, note, details) = (None, None, Text::default(), Details::default());
    let press = Press { kind, mode: Mode::Live, device, zone, note, details };
    relay.handle(at(1), relay::Input::Raise { ticket: Ticket(1), press, idempotency_key: None, live: false });
    let (mut sent, mut reports) = (Vec::new(), Vec::new());
    for output in std::iter::from_fn(|| relay.poll_output()) {
        match output {
            relay::Output::Send(.., Message::Event(copy)) => sent.push(copy.sealed),
            relay::Output::Persist(_, relay::Write::Put(row)) => sent.push(row.sealed),
            relay::Output::Report(report) => reports.push(report),
            _ => {}
        }
    }
    (sent, reports)
}

#[test]
fn a_relay_signs_its_alarms_once_and_keeps_and_sends_them_so() {
    let (sent, _) = pressed(Some(Arc::new(own())), Kind::Panic);
    assert!(sent.len() > 1, "the row and a copy");
    assert!(sent.iter().all(|sealed| said(sealed, 1).0 == Verdict::Valid), "{sent:?}");
    let (sent, _) = pressed(Some(Arc::new(own())), Kind::Assist);
    assert!(sent.len() > 1 && sent.iter().all(|sealed| sealed.signature.is_none()), "{sent:?}");
    let (sent, reports) = pressed(None, Kind::Panic);
    assert!(sent.len() > 1 && sent.iter().all(|sealed| sealed.signature.is_none()), "{sent:?}");
    assert!(!reports.iter().any(|report| matches!(report, relay::Report::NotSigned(..))));
}

/// Has no key at hand.
struct Broken;

impl Signer for Broken {
    fn sign(&self, _: Purpose, _: &[u8]) -> Result<Signature, String> {
        Err("the key store is locked".to_owned())
    }
}

#[test]
fn what_cannot_be_signed_goes_unsigned_and_at_once() {
    let large = Toy("x".repeat(limits::EVENT_CERTIFICATE_BYTES + 1));
    for signer in [Arc::new(Broken) as Arc<dyn Signer>, Arc::new(large)] {
        let (sent, reports) = pressed(Some(signer), Kind::Panic);
        assert!(sent.len() > 1 && sent.iter().all(|sealed| sealed.signature.is_none()), "{sent:?}");
        assert_eq!(reports.iter().filter(|report| matches!(report, relay::Report::NotSigned(..))).count(), 1);
    }
}

/// A copy of each kind with what is to be said of it.
fn copies() -> [(Sealed, Verdict); 3] {
    [
        (signed_by(&own(), Kind::Panic), Verdict::Valid),
        (seal(&event(Kind::Panic)), Verdict::Missing),
        (signed_by(&Toy("station/p1/a 100".to_owned()), Kind::Panic), Verdict::Invalid),
    ]
}

#[test]
fn a_broker_node_sends_an_alarm_on_whatever_its_signature_is_and_says_what_it_is() {
    for (sealed, verdict) in copies() {
        let (region, node) = (Name::new("r1").unwrap(), Name::new("n1").unwrap());
        let config = BrokerConfig { region, node, province: None, seed: 1, software: String::new() };
        let mut plan = Plan::default();
        let station = StationId(Name::new("p1").unwrap());
        plan.add(SchoolId(Name::new("s1").unwrap()), vec![station]).unwrap();
        let mut record = RecordState::default();
        record.apply(1, Command::Found { record: RecordId([1; 16]) });
        let mut node = Broker::new(config, plan, record, vec![]).verifying(Arc::new(own()));
        for (path, peer) in [(1, NodeName::Relay(relay_id())), (2, "station/p1/a".parse().unwrap())] {
            let (path, info) = (PathId(path), PathInfo::plain(Lane::Express));
            node.handle(at(1), broker::Input::SessionUp { path, peer, info, expired: false });
            let hello = Hello { software: String::new(), wire_minor: WIRE_MINOR, resume: None };
            node.handle(at(1), broker::Input::Message(path, Message::Hello(hello)));
        }
        let copy = EventCopy { sealed: sealed.clone(), trail: Trail::default(), receipts: vec![] };
        node.handle(at(1), broker::Input::Message(PathId(1), Message::Event(copy)));
        let outputs: Vec<_> = std::iter::from_fn(|| node.poll_output()).collect();
        let found = outputs.iter().position(
            |output| matches!(output, broker::Output::Report(broker::Report::Signature(_, found, _)) if *found == verdict),
        );
        let carries = |copy: &EventCopy| copy.sealed == sealed;
        let sent = outputs.iter().position(
            |output| matches!(output, broker::Output::Send(PathId(2), .., Message::Event(copy)) if carries(copy)),
        );
        assert!(sent.is_some() && sent < found, "{verdict:?}: sent first, as it came: {outputs:?}");
    }
}

fn seat(rows: Vec<InboxRow>) -> Station {
    let seat = "station/p1/a".parse().unwrap();
    let NodeName::Station(seat) = seat else { panic!("no seat") };
    let config = StationConfig { seat, next_seq: 1, marks: BTreeMap::new(), seed: 1, software: String::new() };
    Station::new(at(1), config, rows)
}

/// What the seat shows of a copy, and what it keeps.
fn shown(station: &mut Station, now: Now, sealed: Sealed, trail: Trail) -> Vec<InboxRow> {
    let copy = EventCopy { sealed, trail, receipts: vec![] };
    station.handle(now, station::Input::Message(PathId(1), Message::Event(copy)));
    let mut rows = Vec::new();
    while let Some(output) = station.poll_output() {
        match output {
            station::Output::Persist(seq, station::Write::Put(row)) => {
                rows.push(row);
                station.handle(now, station::Input::Persisted(seq));
            }
            station::Output::Show { row, .. } => rows.push(row),
            _ => {}
        }
    }
    rows
}

#[test]
fn a_seat_shows_and_keeps_an_alarm_whatever_its_signature_is_and_says_what_it_is() {
    for (sealed, verdict) in copies() {
        let mut station = seat(vec![]).verifying(Arc::new(own()));
        let rows = shown(&mut station, at(1), sealed.clone(), Trail::default());
        assert!(rows.len() >= 2, "kept and shown: {rows:?}");
        assert!(rows.iter().all(|row| row.signature == Some(verdict) && row.sealed == sealed), "{rows:?}");
        let blind = shown(&mut seat(vec![]), at(1), sealed, Trail::default());
        assert!(blind.len() >= 2 && blind.iter().all(|row| row.signature == Some(Verdict::Unchecked)), "{blind:?}");
    }
    let mut station = seat(vec![]).verifying(Arc::new(own()));
    let rows = shown(&mut station, at(1), seal(&event(Kind::Assist)), Trail::default());
    assert!(rows.iter().all(|row| row.signature.is_none()), "{rows:?}");
}

#[test]
fn the_certificate_counts_as_it_stood_when_a_broker_node_had_the_alarm() {
    let way = |arrived| {
        let step = |node: &str, arrived| Step { node: node.parse().unwrap(), arrived, left: None, skew: None };
        Trail::new(vec![step("relay/s1/gate", WallTime(i64::MAX)), step("broker/r1/n1", WallTime(arrived))])
    };
    for (arrived, now, verdict) in [(100, 500, Verdict::Valid), (101, 1, Verdict::Invalid)] {
        let mut station = seat(vec![]).verifying(Arc::new(own()));
        let rows = shown(&mut station, at(now), signed_by(&own(), Kind::Panic), way(arrived));
        assert!(rows.iter().all(|row| row.signature == Some(verdict)), "{rows:?}");
    }
}

#[test]
fn what_an_older_version_kept_was_not_checked() {
    let mut station = seat(vec![]).verifying(Arc::new(own()));
    let mut row = shown(&mut station, at(1), signed_by(&own(), Kind::Panic), Trail::default()).remove(0);
    row.signature = None;
    let id = row.sealed.event.id;
    assert_eq!(seat(vec![row]).get(&id).unwrap().signature, Some(Verdict::Unchecked));
}
