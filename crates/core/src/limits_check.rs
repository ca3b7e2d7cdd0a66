//! The relations between the bounds of [`limits`](crate::limits), checked at compile time.

use crate::limits::*;

const _: () = assert!(
    EVENT_BYTES + NOTE_BYTES + TRAIL_STEPS * 32 < BLACK_BOX_BLOCK_BYTES,
    "a P0 event with its trail must fit one black-box block"
);
const _: () = assert!(
    EVENT_BYTES + EVENT_CERTIFICATE_BYTES + SIGNATURE_BYTES + IDEMPOTENCY_KEY_BYTES + 128 < BLACK_BOX_BLOCK_BYTES,
    "a signed alarm with its key must fit one black-box block of its relay"
);
const _: () = assert!(EVENT_CERTIFICATE_BYTES <= SIGNING_CERTIFICATE_BYTES);
const _: () = assert!(BLACK_BOX_BLOCK_BYTES <= STORE_VALUE_BYTES, "what fits the black box must fit the store");
const _: () = assert!(
    // Names with their headers, numbers, the note, and each detail with three headers.
    5 * (NAME_BYTES + 2) + 64 + NOTE_BYTES + 3 + DETAILS_BYTES + DETAILS * 8 < EVENT_BYTES,
    "an event at its limits must be encodable"
);
const _: () = assert!(
    EVENT_BYTES
        + EVENT_CERTIFICATE_BYTES
        + SIGNATURE_BYTES
        + TRAIL_STEPS * (2 * NAME_BYTES + 40)
        + STATIONS_PER_SCHOOL * (NAME_BYTES + 4)
        < STORE_VALUE_BYTES,
    "an admission with its trail and stations must fit one value"
);
const _: () = assert!(STATIONS_PER_SCHOOL <= STATIONS_PER_EVENT);
const _: () = assert!(STATIONS_PER_EVENT + 8 * OVERDUE_STATIONS <= LIST_ITEMS, "all that rungs add can be read again");
const _: () = assert!(
    (RECEIPTS_PER_EVENT + ESCALATIONS_PER_EVENT) * (NOTE_BYTES + 8 * NAME_BYTES)
        + 8 * 2 * OVERDUE_STATIONS * (NAME_BYTES + 4)
        + 2 * STORE_VALUE_BYTES
        < BULK_FRAME_BYTES,
    "an entry of the record fits one row of the archive"
);
const _: () = assert!(RECORD_FINISHED < RECORD_EVENTS && RECORD_EVENTS < ARCHIVED_IDS);
const _: () = assert!(
    (RECEIPTS_PER_EVENT * (NOTE_BYTES + 5 * NAME_BYTES))
        + ESCALATIONS_PER_EVENT * NOTE_BYTES
        + 2 * STATIONS_PER_EVENT * (NAME_BYTES + 4)
        + STORE_VALUE_BYTES
        + CASE_PART_BYTES
        + CASE_REFUSED * 32
        + PICTURES_PER_EVENT * (2 * PICTURE_TEXT_BYTES + NAME_BYTES + 64)
        < ARCHIVE_ROW_BYTES,
    "a part of an event with its case fits one row of the archive"
);
const _: () = assert!(CASE_STEPS * (NOTE_BYTES + 8 * NAME_BYTES) < CASE_PARTS * CASE_PART_BYTES);
const _: () = assert!(CASE_STEPS_TO_END > 8, "a case can always be brought to its end");
const _: () = assert!(EXPRESS_FRAME_BYTES < BULK_FRAME_BYTES);
const _: () = assert!(STORE_VALUE_BYTES < EXPRESS_FRAME_BYTES, "what is stored can be sent");
const _: () = assert!(LIST_ITEMS * 48 < EXPRESS_FRAME_BYTES, "a full list of ids fits one frame");
const _: () = assert!(RELAY_RESERVED_FOR_P0 < RELAY_OPEN_EVENTS);
const _: () = assert!(RELAY_OPEN_EVENTS <= BROKER_PENDING_P0, "one school's outbox must not fill a node");
const _: () = assert!(BROKER_PENDING < BROKER_PENDING_P0, "P0 has room of its own at a node");
const _: () = assert!(RECEIPTS_PER_EVENT > 3 * 7, "after the first receipt of each stage there is room for repeats");
const _: () =
    assert!(KEEP_ALIVE.as_millis() * 2 < IDLE_TIMEOUT.as_millis(), "one lost keep-alive must not end a session");
const _: () = assert!(METERED_KEEP_ALIVE.as_millis() * 2 < METERED_IDLE_TIMEOUT.as_millis());
const _: () = assert!(
    COPY_BURST_BYTES as usize > 4 * (EVENT_BYTES + EVENT_CERTIFICATE_BYTES + SIGNATURE_BYTES),
    "an alarm's first copies are never held back"
);
const _: () = assert!(PRESSES_APART > 0, "a press is an event unless there are many");
const _: () = assert!(
    STUCK_FOR_LONG.as_secs() * 10 < (RELAY_OPEN_EVENTS - RELAY_RESERVED_FOR_P0) as u64,
    "ten buttons that stick must leave the outbox to others"
);
const _: () = assert!(STUCK_WINDOW.as_millis() < STUCK_COUNT_RARELY.as_millis());
const _: () = assert!(SHOW_WITHOUT_DISK_AFTER.as_millis() * 10 < DIAL_110_AFTER.as_millis());
const _: () =
    assert!(STATION_KEEP_ALIVE.as_millis() < KEEP_ALIVE.as_millis(), "a station finds out sooner than a relay");
const _: () = assert!(
    PLAN_DEVICES * (2 * NAME_BYTES + 2 * PLAN_LABEL_BYTES + 24)
        + PLAN_ZONES * (NAME_BYTES + PLAN_LABEL_BYTES + 16)
        + PLAN_CONTACTS * (2 * PLAN_LABEL_BYTES + PLAN_PHONE_BYTES + 16)
        + (STATIONS_PER_SCHOOL + PLAN_NEIGHBOURS) * (NAME_BYTES + 4)
        + (PLAN_DUTY_HOURS + PLAN_DRILLS) * 24
        + PLAN_PERSON_LISTS * (NAME_BYTES + 8)
        + PLAN_PERSON_MUTES * (NAME_BYTES + 16)
        + 2 * PLAN_LABEL_BYTES
        + 256
        < PLAN_PART_BYTES,
    "the largest school fits one part"
);
const _: () = assert!(PLAN_PART_BYTES + 1_024 < EXPRESS_FRAME_BYTES, "a part of a plan fits one command");
const _: () = assert!(
    2 * NOTE_BYTES + (COMMAND_ZONES + 8) * (NAME_BYTES + 4) + 64 < COMMAND_BYTES,
    "a command at its limits must be encodable"
);
const _: () = assert!(
    COMMAND_BYTES + SIGNING_CERTIFICATE_BYTES + SIGNATURE_BYTES + 9 * (COMMAND_DETAIL_BYTES + 48) / 2
        < STORE_VALUE_BYTES,
    "a command with what became of it fits one row of a relay"
);
const _: () = assert!(
    COMMAND_BYTES
        + SIGNING_CERTIFICATE_BYTES
        + SIGNATURE_BYTES
        + (COMMAND_RECEIPTS + 1) * (COMMAND_DETAIL_BYTES + 3 * NAME_BYTES + 48)
        < EXPRESS_FRAME_BYTES,
    "how a command stands fits one frame"
);
const _: () = assert!(
    COMMAND_RECEIPTS_AT_ONCE * (COMMAND_DETAIL_BYTES + 3 * NAME_BYTES + 64) < EXPRESS_FRAME_BYTES,
    "receipts of commands fit one frame"
);
const _: () = assert!(COMMAND_TTL.0.as_secs() < COMMAND_TTL.1.as_secs() && COMMANDS_OF_SCHOOL < RECORD_COMMANDS);
const _: () = assert!(RELAY_COMMANDS_WAITING < RELAY_COMMANDS && COMMANDS_TOLD <= COMMANDS_KNOWN);
const _: () = assert!(NOTICE_PAGE * (NAME_BYTES + 8) < EXPRESS_FRAME_BYTES, "a page of a notice fits one frame");
const _: () = assert!(STATIONS_PER_SCHOOL + 2 <= STATIONS_PER_EVENT, "an alarm has room for its desks");
const _: () = assert!(PLAN_MISTAKES * NOTE_BYTES < PLAN_PART_BYTES);
const _: () = assert!(PRESENCE_NAMES * (2 * NAME_BYTES + 16) < PEER_FRAME_BYTES, "names of sessions fit one answer");
const _: () = assert!(PRESENCE_NAMES <= PRESENCE_CHANGES && PRESENCE_STALE.as_secs() < RELAY_SILENT_AFTER.as_secs());
const _: () = assert!(GAP_AFTER.as_secs() < GAP_KEPT.as_secs() && NUMBERS_HOLES > 1);
const _: () = assert!(
    RELAY_SILENT_AFTER.as_secs() + SILENT_TOLD_AFTER.as_secs() <= 45,
    "a station hears of a silent school within 45 seconds"
);
const _: () = assert!(RECORD_TROUBLES < RECORD_EVENTS);
const _: () = assert!(OUTAGE_LEAST <= OUTAGE_RELAYS && BACK_LOOKS > 0);
const _: () = assert!(BODY_BYTES.div_ceil(BODY_CHUNK_BYTES) <= 64, "the chunks of a body are the bits of a u64");
const _: () = assert!(PICTURE_BYTES <= BODY_BYTES && BODY_LIVE_BYTES > 4 * BODY_BYTES);
const _: () = assert!(BODY_CHUNK_BYTES + 1_024 < EXPRESS_FRAME_BYTES, "a chunk fits one frame of any lane");
const _: () = assert!(BODIES_INCOMING_OF_ONE < BODIES_INCOMING, "one sender leaves room for others");
const _: () = assert!(
    DRILL_SCHOOLS * (NAME_BYTES + 4) + PLAN_DEVICES * (NAME_BYTES + 4) + 4 * PLAN_LABEL_BYTES + 2 * NOTE_BYTES + 1_024
        < EXPRESS_FRAME_BYTES,
    "a drill fits one frame, one command and one row of a snapshot"
);
const _: () = assert!(DRILLS_OPEN < DRILLS_KEPT && DRILL_LEAD.as_secs() < DRILL_RELAYS_TOLD_BEFORE.as_secs());
const _: () = assert!(DRILL_RELAYS_TOLD_BEFORE.as_secs() < DRILL_ANNOUNCED_BEFORE.as_secs(), "stations hear first");
const _: () = assert!(DRILL_SHORTEST.as_secs() <= PLAN_DRILL_MINUTES as u64 * 60);
const _: () = assert!(SCHOOLS_TESTED >= PLAN_SCHOOLS && TEST_EVERY_DAYS <= PLAN_TEST_DAYS);
const _: () = assert!(ENDINGS_UNDER_WAY <= BROKER_PROPOSALS);
