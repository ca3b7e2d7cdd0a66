//! Names and identities: what is printed is read back, and nothing else is read.

use proptest::prelude::*;

use super::*;

fn name() -> impl Strategy<Value = Name> {
    "[a-zA-Z0-9._-]{1,64}".prop_map(|text| Name::new(&text).unwrap())
}

fn node() -> impl Strategy<Value = NodeName> {
    (0..3, name(), name()).prop_map(|(role, first, second)| match role {
        0 => NodeName::Relay(RelayId { school: SchoolId(first), device: second }),
        1 => NodeName::Broker { region: first, node: second },
        _ => NodeName::Station(SeatId { station: StationId(first), seat: second }),
    })
}

proptest! {
    #[test]
    fn a_name_is_read_back(name in name()) {
        prop_assert_eq!(name.to_string().parse::<Name>(), Ok(name));
    }

    #[test]
    fn an_identity_is_read_back(domain in name(), node in node()) {
        prop_assert_eq!(node.to_string().parse::<NodeName>(), Ok(node.clone()));
        let identity = Identity { domain, node };
        prop_assert_eq!(identity.to_string().parse::<Identity>(), Ok(identity));
    }

    #[test]
    fn an_event_id_is_read_back_and_keeps_its_order(one in any::<[u8; 16]>(), other in any::<[u8; 16]>()) {
        let (one, other) = (EventId::from_bytes(one), EventId::from_bytes(other));
        prop_assert_eq!(one.to_string().parse::<EventId>(), Ok(one));
        prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
    }

    #[test]
    fn any_text_is_read_or_refused_and_never_worse(text in ".{0,200}") {
        if let Ok(name) = Name::new(&text) {
            prop_assert_eq!(name.as_str(), text.as_str());
        }
        if let Ok(identity) = text.parse::<Identity>() {
            prop_assert_eq!(identity.to_string(), text);
        }
    }

    #[test]
    fn a_later_clock_gives_a_greater_id(first in 0..4_000_000_000_i64, gap in 1..1_000_i64, seed in any::<u64>()) {
        let mut rng = crate::rng::Rng::new(seed);
        let (early, late) = (WallTime(first * 1_000_000), WallTime(first * 1_000_000 + gap * 1_000));
        prop_assert!(EventId::generate(early, &mut rng) < EventId::generate(late, &mut rng));
    }
}

#[test]
fn what_is_no_name_is_told_why() {
    assert_eq!(Name::new(""), Err(NameError::Empty));
    assert_eq!(Name::new(&"x".repeat(65)), Err(NameError::TooLong(65)));
    assert_eq!(Name::new("a/b"), Err(NameError::BadCharacter('/')));
    assert!(matches!("https://x/relay/a/b".parse::<Identity>(), Err(IdentityError::Scheme(_))));
    assert!(matches!("spiffe://x/relay/a".parse::<Identity>(), Err(IdentityError::Shape(_))));
    assert!(matches!("spiffe://x/admin/a/b".parse::<Identity>(), Err(IdentityError::Role(_))));
}

#[test]
fn the_seats_of_a_station_stand_together() {
    let seat = |station: &str, seat: &str| SeatId { station: station.parse().unwrap(), seat: seat.parse().unwrap() };
    let first = SeatId::first_of(&"p1".parse().unwrap());
    assert!(first < seat("p1", "-") && first > seat("p0", "zzz"));
}

#[test]
fn the_same_press_has_the_same_id_for_a_while_and_no_other_has_it() {
    let at = |millis: i64| WallTime(millis * 1_000);
    let id = EventId::for_press(at(1_700_000_400_000), &["s1", "gate", "a1", "panic"]);
    assert_eq!(id, EventId::for_press(at(1_700_000_999_999), &["s1", "gate", "a1", "panic"]));
    assert_ne!(
        id,
        EventId::for_press(at(1_700_001_000_000), &["s1", "gate", "a1", "panic"]),
        "a key used anew is a new alarm"
    );
    for other in [["s1", "gate", "a2", "panic"], ["s1", "gate", "a1", "fire"], ["s1", "gat", "ea1", "panic"]] {
        assert_ne!(id, EventId::for_press(at(1_700_000_400_000), &other));
    }
    assert_eq!(id.to_string().as_bytes()[14], b'7', "a UUID of version 7");
}
