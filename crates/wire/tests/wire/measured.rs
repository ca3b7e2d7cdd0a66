//! What was measured, of clocks and of buttons that stick, is still there after a restart.

use huxiao_core::Event;
use huxiao_core::record::{Admission, Command};
use huxiao_core::relay::RelayRow;
use huxiao_core::station::InboxRow;
use huxiao_wire::{
    decode_command, decode_inbox_row, decode_relay_row, encode_command, encode_inbox_row, encode_relay_row, seal,
    unseal,
};

use crate::golden::{frozen, none};
use crate::samples;

/// The alarm of a button that sticks, for a thousand presses.
fn counted() -> Event {
    Event { count: 1_000, ..samples::alarm() }
}

#[test]
fn rows_keep_the_skews_that_stood_in_receipts_and_trails() {
    let mut wrong = String::new();
    let relay = RelayRow { receipts: vec![samples::stored(), samples::ahead()], ..samples::relay_row() };
    frozen("relay_row_skewed", &encode_relay_row(&relay), &mut wrong, |bytes| {
        let back = decode_relay_row(bytes).unwrap();
        assert_eq!((back.receipts[0].skew, back.receipts[1].skew), (None, Some(1_500)));
        assert_eq!(back, relay);
    });
    let inbox = InboxRow { trail: samples::skewed(), receipts: vec![samples::ahead()], ..samples::inbox_row() };
    frozen("inbox_row_skewed", &encode_inbox_row(&inbox), &mut wrong, |bytes| {
        let back = decode_inbox_row(bytes).unwrap();
        assert_eq!(back.trail.steps()[0].skew, Some(-61_000_000));
        assert_eq!(back, inbox);
    });
    none(&wrong);
}

#[test]
fn the_record_keeps_the_skews_too() {
    let mut wrong = String::new();
    let Some(Command::Admit(admission)) = samples::commands().into_iter().map(|(_, command)| command).next() else {
        panic!("an admission comes first")
    };
    let admit = Command::Admit(Admission { trail: samples::skewed(), ..admission });
    let note = Command::Note(samples::ahead());
    for (name, command) in [("command_admit_skewed", admit), ("command_note_skewed", note)] {
        frozen(name, &encode_command(&command), &mut wrong, |bytes| {
            assert_eq!(decode_command(bytes).as_ref(), Ok(&command), "{name}");
        });
    }
    none(&wrong);
}

#[test]
fn an_event_keeps_its_count_and_one_press_costs_no_byte() {
    let mut wrong = String::new();
    let sealed = seal(&counted());
    frozen("sealed_counted", &sealed.bytes, &mut wrong, |bytes| assert_eq!(unseal(bytes).as_ref(), Ok(&sealed)));
    none(&wrong);
    let once = seal(&Event { count: 1, ..counted() });
    assert_eq!(once.bytes, samples::sealed().bytes);
    assert_eq!(unseal(&once.bytes).unwrap().event.count, 1, "what an older relay raised is one press");
    // Nobody raises an event for no press; one that claims so is one.
    let none = seal(&Event { count: 0, ..counted() });
    assert_eq!(unseal(&none.bytes).unwrap().event.count, 1);
}
