//! The order of stages.

use proptest::prelude::*;

use super::*;

fn stage() -> impl Strategy<Value = CommandStage> {
    prop::sample::select(CommandStage::ALL.to_vec())
}

proptest! {
    #[test]
    fn whatever_is_said_a_command_ends_once_and_never_goes_back(said in prop::collection::vec(stage(), 0..40)) {
        let mut taken = vec![CommandStage::Stored];
        for next in said {
            if taken.last().is_some_and(|last| last.may_follow(next)) {
                taken.push(next);
            }
        }
        prop_assert!(taken.len() <= 5, "{taken:?}");
        prop_assert!(taken.windows(2).all(|pair| pair[0] < pair[1]), "{taken:?}");
        prop_assert!(taken.iter().filter(|stage| stage.is_end()).count() <= 1, "{taken:?}");
        // Expired is said of what was not begun, refused of what was not accepted.
        if taken.contains(&CommandStage::Playing) {
            prop_assert!(!taken.contains(&CommandStage::Expired));
        }
        if taken.contains(&CommandStage::Accepted) {
            prop_assert!(!taken.contains(&CommandStage::Refused));
        }
    }
}

#[test]
fn an_area_is_named_by_its_first_digits() {
    for (text, inside, outside) in
        [("36", "361102", "350100"), ("3611", "361102", "360102"), ("361102", "361102", "361103")]
    {
        let area: AreaPrefix = text.parse().unwrap();
        assert_eq!(area.to_string(), text);
        assert!(area.holds(inside.parse().unwrap()) && !area.holds(outside.parse().unwrap()), "{text}");
    }
    for wrong in ["", "3", "361", "36110", "3611022", "3a", "00", "３６"] {
        assert!(wrong.parse::<AreaPrefix>().is_err(), "{wrong}");
    }
}

#[test]
fn a_clip_leads_nowhere_else() {
    let clip = |name: &str| Instruction::Broadcast {
        content: Content::Clip(name.parse().unwrap()),
        priority: Priority::Live,
        volume: None,
    };
    assert!(clip("evacuate.wav").checked().is_ok());
    assert_eq!(clip("..").checked(), Err(InstructionError::ClipDot));
    assert!("../x.wav".parse::<crate::Name>().is_err() && "a/b".parse::<crate::Name>().is_err());
}
