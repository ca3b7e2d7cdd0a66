//! The bytes of every message and row, frozen. What an older version wrote must be read for ever, and a peer of another
//! version must understand what this one sends; so a file in `tests/golden` is added, and never changed.

use std::fmt::Write as _;
use std::path::Path;

use huxiao_core::relay::RelayRow;
use huxiao_core::signature::Verdict;
use huxiao_core::{InboxRow, Message};
use huxiao_wire::{
    decode_command, decode_entry, decode_frame, decode_inbox_row, decode_relay_row, encode, encode_command,
    encode_entry, encode_inbox_row, encode_relay_row, seal, unseal,
};

use crate::samples;

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(out, "{byte:02x}").unwrap();
        }
        out.push('\n');
    }
    out
}

/// Holds `bytes` against `tests/golden/<name>.hex` and hands what the file holds to `check`; if they differ, notes in `wrong`
/// what the file would have to hold.
pub(crate) fn frozen(name: &str, bytes: &[u8], wrong: &mut String, check: impl FnOnce(&[u8])) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let found = hex(bytes);
    if expected == found {
        let digits: Vec<char> = expected.chars().filter(char::is_ascii_hexdigit).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        check(&digits.chunks(2).map(byte).collect::<Vec<_>>());
    } else {
        writeln!(wrong, "---- {name}.hex\n{found}----").unwrap();
    }
}

#[track_caller]
pub(crate) fn none(wrong: &str) {
    assert!(
        wrong.is_empty(),
        "these bytes are not those of tests/golden. If a file is new, let it hold the lines between the rules; if it\n\
         is not, peers and disks in the field would no longer be understood: take the change back.\n{wrong}"
    );
}

#[test]
fn events_keep_their_bytes() {
    let mut wrong = String::new();
    for (name, event) in
        [("sealed", samples::alarm()), ("sealed_bare", samples::bare()), ("sealed_details", samples::person())]
    {
        let sealed = seal(&event);
        frozen(name, &sealed.bytes, &mut wrong, |bytes| assert_eq!(unseal(bytes).as_ref(), Ok(&sealed)));
    }
    none(&wrong);
}

#[test]
fn messages_keep_their_bytes() {
    let mut wrong = String::new();
    for (name, message) in samples::messages() {
        frozen(name, &encode(&message), &mut wrong, |bytes| {
            assert_eq!(decode_frame(bytes, bytes.len()).as_ref(), Ok(&message), "{name}");
        });
    }
    none(&wrong);
}

#[test]
fn no_message_is_without_a_golden_file() {
    // A new variant does not compile here until it is added, with a sample.
    let tag = |message: &Message| match message {
        Message::Hello(_) => 1,
        Message::Event(_) => 2,
        Message::Receipts(_) => 3,
        Message::Confirmed(_) => 4,
        Message::Inquire(_) => 5,
        Message::Unknown(_) => 6,
        Message::Refused(..) => 7,
        Message::Mark(_) => 8,
        Message::Probe(_) => 9,
        Message::Echo(_) => 10,
        Message::Condition(_) => 11,
        Message::Escalate(_) => 12,
        Message::Escalated(..) => 13,
        Message::Case(_) => 14,
        Message::Cases(_) => 15,
        Message::CaseTaken(..) => 16,
        Message::CaseRefused(..) => 17,
        Message::CaseAsk(..) => 18,
        Message::CaseSteps(..) => 19,
        Message::Ownership(_) => 20,
        Message::SchoolPlan(_) => 30,
        Message::PlanKept(_) => 31,
        Message::Body(_) => 45,
        Message::Pictures(_) => 46,
        Message::PicturesKept(..) => 47,
        Message::Look(_) => 48,
        Message::SeatState { .. } => 40,
        Message::Drills(_) => 35,
        Message::DrillMode(_) => 36,
        Message::DrillHeard(_) => 37,
        Message::DrillOrder(_) => 38,
        Message::DrillAnswer(..) => 39,
        Message::CommandOrder(_) => 21,
        Message::Command(..) => 22,
        Message::CommandReceipts(_) => 23,
        Message::CommandConfirmed(_) => 24,
        Message::CommandState(_) => 25,
        Message::CommandRefused(..) => 26,
        Message::NoticeAsk(..) => 27,
        Message::NoticeSchools(..) => 28,
    };
    let mut seen = std::collections::BTreeSet::new();
    for (name, message) in samples::messages() {
        // From 16 on, the number takes two bytes.
        let bytes = encode(&message);
        let number = if bytes[4] < 0x80 { bytes[4] >> 3 } else { (bytes[4] & 0x7f) >> 3 | bytes[5] << 4 };
        assert_eq!(number, tag(&message), "{name} is not at its number in session.proto");
        seen.insert(number);
    }
    assert_eq!(seen, (1..=28).chain(30..=31).chain(35..=40).chain(45..=48).collect());
}

#[test]
fn rows_keep_their_bytes() {
    let mut wrong = String::new();
    let (relay, inbox) = (samples::relay_row(), samples::inbox_row());
    frozen("relay_row", &encode_relay_row(&relay), &mut wrong, |bytes| {
        assert_eq!(decode_relay_row(bytes).as_ref(), Ok(&relay));
    });
    let with_case = InboxRow { case: Some(Box::new(samples::case_summary())), ..inbox.clone() };
    frozen("inbox_row_case", &encode_inbox_row(&with_case), &mut wrong, |bytes| {
        assert_eq!(decode_inbox_row(bytes).as_ref(), Ok(&with_case));
    });
    frozen("inbox_row", &encode_inbox_row(&inbox), &mut wrong, |bytes| {
        assert_eq!(decode_inbox_row(bytes).as_ref(), Ok(&inbox));
    });
    let signed = RelayRow { sealed: samples::signed(), ..relay };
    frozen("relay_row_signed", &encode_relay_row(&signed), &mut wrong, |bytes| {
        assert_eq!(decode_relay_row(bytes).as_ref(), Ok(&signed));
    });
    let signed = InboxRow { sealed: samples::signed(), signature: Some(Verdict::Valid), ..inbox };
    frozen("inbox_row_signed", &encode_inbox_row(&signed), &mut wrong, |bytes| {
        assert_eq!(decode_inbox_row(bytes).as_ref(), Ok(&signed));
    });
    let row = crate::samples_command::row();
    frozen("command_row", &huxiao_wire::encode_command_row(&row), &mut wrong, |bytes| {
        assert_eq!(huxiao_wire::decode_command_row(bytes).as_ref(), Ok(&row));
    });
    for sealed in crate::samples_command::all() {
        let (number, signature) = (sealed.id().as_bytes()[0], sealed.signature.clone());
        frozen(&format!("school_command_{number}"), &sealed.bytes, &mut wrong, |bytes| {
            assert_eq!(huxiao_wire::unseal_command(bytes, signature).as_ref(), Ok(&sealed));
        });
    }
    none(&wrong);
}

#[test]
fn commands_keep_their_bytes() {
    let mut wrong = String::new();
    for (name, command) in samples::commands() {
        frozen(name, &encode_command(&command), &mut wrong, |bytes| {
            assert_eq!(decode_command(bytes).as_ref(), Ok(&command), "{name}");
        });
    }
    none(&wrong);
}

#[test]
fn entries_of_the_record_keep_their_bytes() {
    let mut wrong = String::new();
    for (name, entry) in samples::entries() {
        frozen(name, &encode_entry(&entry), &mut wrong, |bytes| {
            // What was written without a case has the one that its statements tell of.
            let mut read = entry.clone();
            read.derive_case();
            assert_eq!(decode_entry(bytes).as_ref(), Ok(&read), "{name}");
        });
    }
    none(&wrong);
}
