//! What a reader of an older minor knows: the fields of each message, by their numbers.

/// A message's name, and its fields with the message in each (empty for what is none).
type Known = &'static [(&'static str, &'static [(u64, &'static str)])];

/// `huxiao/v1/session.proto` as of minor 2.
pub(super) const MINOR_2: Known = &[
    (
        "Frame",
        &[
            (1, "Hello"),
            (2, "EventCopy"),
            (3, "ReceiptList"),
            (4, "ConfirmedList"),
            (5, "Ids"),
            (6, "Ids"),
            (7, "Refused"),
            (8, "Resume"),
            (9, "Probe"),
            (10, "Echo"),
        ],
    ),
    ("Hello", &[(1, ""), (2, ""), (3, "Resume")]),
    ("Resume", &[(1, ""), (2, "")]),
    ("EventCopy", &[(1, "Event"), (2, "Step"), (3, "Receipt")]),
    (
        "Event",
        &[
            (1, ""),
            (2, ""),
            (3, ""),
            (4, ""),
            (5, ""),
            (6, ""),
            (7, ""),
            (8, ""),
            (9, ""),
            (10, ""),
            (11, ""),
            (12, ""),
            (13, ""),
        ],
    ),
    ("Step", &[(1, ""), (2, ""), (3, ""), (4, "")]),
    ("Receipt", &[(1, ""), (2, ""), (3, ""), (4, ""), (5, ""), (6, ""), (7, "")]),
    ("ReceiptList", &[(1, "Receipt")]),
    ("ConfirmedList", &[(1, "EventStage")]),
    ("EventStage", &[(1, ""), (2, "")]),
    ("Ids", &[(1, "")]),
    ("Refused", &[(1, ""), (2, "")]),
    ("Probe", &[(1, "")]),
    ("Echo", &[(1, ""), (2, ""), (3, "")]),
];

/// The same as of minor 3.
pub(super) const MINOR_3: Known = &[
    (
        "Frame",
        &[
            (1, "Hello"),
            (2, "EventCopy"),
            (3, "ReceiptList"),
            (4, "ConfirmedList"),
            (5, "Ids"),
            (6, "Ids"),
            (7, "Refused"),
            (8, "Resume"),
            (9, "Probe"),
            (10, "Echo"),
            (11, "Condition"),
            (12, "EscalateOrder"),
            (13, "Escalated"),
        ],
    ),
    ("Hello", &[(1, ""), (2, ""), (3, "Resume")]),
    ("Resume", &[(1, ""), (2, "")]),
    ("EventCopy", &[(1, "Event"), (2, "Step"), (3, "Receipt")]),
    (
        "Event",
        &[
            (1, ""),
            (2, ""),
            (3, ""),
            (4, ""),
            (5, ""),
            (6, ""),
            (7, ""),
            (8, ""),
            (9, ""),
            (10, ""),
            (11, ""),
            (12, ""),
            (13, ""),
        ],
    ),
    ("Step", &[(1, ""), (2, ""), (3, ""), (4, "")]),
    ("Receipt", &[(1, ""), (2, ""), (3, ""), (4, ""), (5, ""), (6, ""), (7, ""), (8, "")]),
    ("ReceiptList", &[(1, "Receipt")]),
    ("ConfirmedList", &[(1, "EventStage")]),
    ("EventStage", &[(1, ""), (2, "")]),
    ("Ids", &[(1, "")]),
    ("Refused", &[(1, ""), (2, "")]),
    ("Probe", &[(1, "")]),
    ("Echo", &[(1, ""), (2, ""), (3, "")]),
    ("Condition", &[(1, "Degraded")]),
    ("Degraded", &[(1, ""), (2, "")]),
    ("EscalateOrder", &[(1, ""), (2, ""), (3, ""), (4, ""), (5, ""), (6, "")]),
    ("Escalated", &[(1, ""), (2, "")]),
];

/// The same as of minor 4.
pub(super) const MINOR_4: Known = &[
    (
        "Frame",
        &[
            (1, "Hello"),
            (2, "EventCopy"),
            (3, "ReceiptList"),
            (4, "ConfirmedList"),
            (5, "Ids"),
            (6, "Ids"),
            (7, "Refused"),
            (8, "Resume"),
            (9, "Probe"),
            (10, "Echo"),
            (11, "Condition"),
            (12, "EscalateOrder"),
            (13, "Escalated"),
            (14, "CaseOrder"),
            (15, "CaseStates"),
            (16, "CaseTaken"),
            (17, "CaseRefused"),
            (18, "CaseAsk"),
            (19, "CaseSteps"),
            (20, "Ownership"),
        ],
    ),
    ("Hello", &[(1, ""), (2, ""), (3, "Resume")]),
    ("Resume", &[(1, ""), (2, "")]),
    ("EventCopy", &[(1, "Event"), (2, "Step"), (3, "Receipt")]),
    (
        "Event",
        &[
            (1, ""),
            (2, ""),
            (3, ""),
            (4, ""),
            (5, ""),
            (6, ""),
            (7, ""),
            (8, ""),
            (9, ""),
            (10, ""),
            (11, ""),
            (12, ""),
            (13, ""),
        ],
    ),
    ("Step", &[(1, ""), (2, ""), (3, ""), (4, "")]),
    ("Receipt", &[(1, ""), (2, ""), (3, ""), (4, ""), (5, ""), (6, ""), (7, ""), (8, "")]),
    ("ReceiptList", &[(1, "Receipt")]),
    ("ConfirmedList", &[(1, "EventStage")]),
    ("EventStage", &[(1, ""), (2, "")]),
    ("Ids", &[(1, "")]),
    ("Refused", &[(1, ""), (2, "")]),
    ("Probe", &[(1, "")]),
    ("Echo", &[(1, ""), (2, ""), (3, "")]),
    ("Condition", &[(1, "Degraded")]),
    ("Degraded", &[(1, ""), (2, "")]),
    ("EscalateOrder", &[(1, ""), (2, ""), (3, ""), (4, ""), (5, ""), (6, "")]),
    ("Escalated", &[(1, ""), (2, "")]),
    ("Ownership", &[(1, ""), (2, ""), (3, ""), (4, "")]),
    ("CaseOrder", &[(1, ""), (2, ""), (3, ""), (4, ""), (5, ""), (6, ""), (7, ""), (8, "")]),
    ("CaseStates", &[(1, "CaseState")]),
    ("CaseState", &[(1, ""), (2, ""), (3, ""), (4, "CaseOwner"), (5, ""), (6, ""), (7, ""), (8, ""), (9, "CaseLast")]),
    ("CaseOwner", &[(1, ""), (2, "")]),
    ("CaseLast", &[(1, ""), (2, ""), (3, ""), (4, "")]),
    ("CaseTaken", &[(1, ""), (2, ""), (3, "CaseState")]),
    ("CaseRefused", &[(1, ""), (2, "CaseDenial"), (3, "CaseState")]),
    ("CaseDenial", &[(1, ""), (2, ""), (3, "")]),
    ("CaseAsk", &[(1, ""), (2, "")]),
    ("CaseSteps", &[(1, ""), (2, ""), (3, "CaseStep"), (4, "")]),
    (
        "CaseStep",
        &[
            (1, ""),
            (2, ""),
            (3, ""),
            (4, ""),
            (5, ""),
            (6, ""),
            (7, ""),
            (8, ""),
            (9, ""),
            (10, ""),
            (11, ""),
            (12, ""),
        ],
    ),
];

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The first field of `message` in `bytes` that `known` does not know.
pub(super) fn unknown(known: Known, message: &str, mut bytes: &[u8]) -> Option<String> {
    let (_, fields) = known.iter().find(|(name, _)| *name == message)?;
    while !bytes.is_empty() {
        let tag = varint(&mut bytes).unwrap();
        let Some((_, inner)) = fields.iter().find(|(number, _)| *number == tag >> 3) else {
            return Some(format!("{message}.{}", tag >> 3));
        };
        match tag & 7 {
            0 => drop(varint(&mut bytes).unwrap()),
            2 => {
                let length = usize::try_from(varint(&mut bytes).unwrap()).unwrap();
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                if let Some(field) =
                    Some(inner).filter(|inner| !inner.is_empty()).and_then(|m| unknown(known, m, value))
                {
                    return Some(format!("{message} > {field}"));
                }
            }
            wire_type => panic!("{message} has a field of wire type {wire_type}"),
        }
    }
    None
}

#[test]
fn what_began_later_is_found_out() {
    use crate::samples;
    use huxiao_wire::{HEADER_BYTES, encode};
    let later = |known| {
        let samples = samples::messages().into_iter();
        let later = samples.filter(|(_, message)| unknown(known, "Frame", &encode(message)[HEADER_BYTES..]).is_some());
        later.map(|(name, _)| name).collect::<Vec<_>>()
    };
    let minor_3 = ["condition", "condition_well", "receipts_standing", "escalate", "escalated"];
    let minor_4 = [
        "ownership",
        "case_order",
        "cases",
        "case_taken",
        "case_refused",
        "case_refused_not_now",
        "case_ask",
        "case_steps",
    ];
    let minor_5 = [
        "cases_bonded",
        "school_plan",
        "school_plan_none",
        "plan_kept",
        "drills",
        "drill_mode",
        "drill_heard",
        "drill_order_open",
        "drill_order_close",
        "drill_answer",
        "drill_answer_refused",
        "cases_live",
        "event_signed",
        "seat_state",
        "seat_state_deaf",
    ];
    let video = samples::video::messages().into_iter().map(|(name, _)| name);
    let commands = crate::samples_command::messages().into_iter().map(|(name, _)| name);
    let minor_5: Vec<&str> = minor_5.into_iter().chain(video).chain(commands).collect();
    // A list of cases began with minor 4, whatever is in it.
    assert_eq!(later(MINOR_2), [&minor_3[..], &minor_4[..], &minor_5[..]].concat());
    assert_eq!(later(MINOR_3), [&minor_4[..], &minor_5[..]].concat());
    assert_eq!(later(MINOR_4), minor_5);
}
