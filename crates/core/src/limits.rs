//! Every bound of Huxiao in one place, with what it protects. Relations between them are checked when this crate is compiled.

use crate::time::Span;

/// Bytes of a [`Name`](crate::Name).
pub const NAME_BYTES: usize = 64;
/// Bytes of a free text in an event or a receipt (a note; 341 Chinese characters).
pub const NOTE_BYTES: usize = 1_024;
/// Details of one event.
pub const DETAILS: usize = 16;
/// Bytes of an event's details, names and texts together.
pub const DETAILS_BYTES: usize = 448;
/// Bytes of an officer's number or name.
pub const OFFICER_BYTES: usize = 64;
/// Bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES: usize = 128;
/// Bytes of one encoded event. Small enough for one black-box block with its trail.
pub const EVENT_BYTES: usize = 2_048;
/// Steps of a trail; later ones are dropped, since the early ones tell where the time went.
pub const TRAIL_STEPS: usize = 16;
/// Receipts kept for one event; the first of each stage and seat is kept, repeats are not.
pub const RECEIPTS_PER_EVENT: usize = 32;
/// Bytes of one frame on an express connection, header included.
pub const EXPRESS_FRAME_BYTES: usize = 64 * 1_024;
/// Bytes of one frame on a bulk connection, header included.
pub const BULK_FRAME_BYTES: usize = 1_024 * 1_024;
/// Bytes of one request to a peer of the region, or of its answer, without the body that may follow a request.
pub const PEER_FRAME_BYTES: usize = 8 * 1_024 * 1_024;
/// Log entries in one request to a peer.
pub const PEER_ENTRIES: usize = 16_384;
/// Members of a region, learners included. Three to five vote; more would only make each commit slower.
pub const REGION_MEMBERS: usize = 64;
/// Events in one page of a region's events: what a client reads at once has 32 MiB at the most, and an event at its limits 150 KiB.
pub const EVENTS_PER_PAGE: usize = 200;
/// Archived events in one answer of a peer.
pub const ARCHIVE_ROWS: usize = 4_096;
/// Bytes of one archived event on its way to a peer.
pub const ARCHIVE_ROW_BYTES: usize = 128 * 1_024;
/// Bytes of an address that is dialled: a DNS name, a colon and a port.
pub const ADDR_BYTES: usize = 261;
/// Ids or receipts in one message.
pub const LIST_ITEMS: usize = 256;
/// Bytes of one value in a store: sled never syncs the files into which it would put larger ones.
pub const STORE_VALUE_BYTES: usize = 8 * 1_024;
/// Bytes of one block of the black box: one P0 event each.
pub const BLACK_BOX_BLOCK_BYTES: usize = 4 * 1_024;

/// Lines of a relay. A broker node takes eight sessions of one relay on a lane, and each line may have a fresh one beside a silent one.
pub const RELAY_UPLINKS: usize = 4;
/// Unfinished events that a relay holds.
pub const RELAY_OPEN_EVENTS: usize = 20_000;
/// Slots of [`RELAY_OPEN_EVENTS`] that only P0 may use.
pub const RELAY_RESERVED_FOR_P0: usize = 2_000;
/// Finished events that a relay can still show.
pub const RELAY_FINISHED_EVENTS: usize = 1_000;
/// Stations that answer for one school: they stand in the record with each of its events.
pub const STATIONS_PER_SCHOOL: usize = 16;
/// Stations that an event may be given in all, those of escalations included.
pub const STATIONS_PER_EVENT: usize = 32;
/// Times that stations are added to one event.
pub const ESCALATIONS_PER_EVENT: usize = 8;
/// The longest time after which an alarm that nobody takes goes up to its last owner. What clocks say of its age beyond that says no more.
pub const ESCALATION_LONGEST: Span = Span::from_secs(3_600);
/// Stations that an alarm which nobody takes is given at one rung, the new owners and those who are only told. They have a place beside
/// [`STATIONS_PER_EVENT`].
pub const OVERDUE_STATIONS: usize = 16;
/// Events that a region's record holds. What no station has finished stays, and when nothing else is left, only P0 is taken. Same for
/// all nodes of a region, as the two that follow: it may grow with a version, and never shrinks.
pub const RECORD_EVENTS: usize = 100_000;
/// Finished events whose case is closed (or that have none) that a region's record holds; beyond it the oldest leave for the archive.
pub const RECORD_FINISHED: usize = 20_000;
/// Events that have left the record and whose repeats are known for it; beyond it the oldest are forgotten.
pub const ARCHIVED_IDS: usize = 1_000_000;
/// Wishes that more stations see an event, that wait for the record at one broker node; others are said again by whoever has them.
pub const BROKER_ORDERS: usize = 1_024;
/// What waits at one broker node that is under way to the record at once, news not counted.
pub const BROKER_PROPOSALS: usize = 1_024;
/// Questions about archived events that a broker node's archive is asked at once; others are asked again by whoever asked.
pub const BROKER_RECALLS: usize = 256;
/// Events that a broker node holds while its record's engine is at work on them, before it takes P0 only.
pub const BROKER_PENDING: usize = 20_000;
/// Events of [`BROKER_PENDING`]'s kind that a node holds at all.
pub const BROKER_PENDING_P0: usize = 40_000;
/// Events that a station's inbox holds; the oldest that nobody need act on leave first.
pub const INBOX_EVENTS: usize = 50_000;
/// Alarms (P0, P1) that a station takes though its inbox is full of alarms that no officer has taken.
pub const INBOX_RESERVED_FOR_ALARMS: usize = 50_000;
/// Items of one class or of higher ones, P0 not counted, that a courier has under way at once. P0 is never held back.
pub const COURIER_WINDOW: usize = 64;
/// Events whose receipts are carried to one relay at once; those of more are said once, and asked for by the relay itself.
pub const RECEIPTS_CARRIED: usize = 256;
/// Events of one rank and of those above it that are on their way to the province at once.
pub const PROVINCE_WINDOW: usize = 256;
/// Bytes a second of copies between a broker node and a seat: 2 Mbit/s. One node may have to carry a whole town's alarms to a duty room, whose
/// line is a good one; where it is not, late answers halve it.
pub const SEAT_COPY_BYTES_PER_SECOND: u32 = 250_000;
/// Bytes a second of copies to the province over each session: machine rooms are joined by good lines.
pub const PROVINCE_COPY_BYTES_PER_SECOND: u32 = 1_000_000;
/// Sessions that a broker node takes: a region's schools, each over two uplinks and two lanes, and room to spare.
pub const BROKER_SESSIONS: usize = 65_536;
/// Inputs that may wait before one machine; a producer beyond it waits in turn.
pub const INPUT_QUEUE: usize = 4_096;
/// SSE streams that one node serves at once.
pub const SSE_STREAMS: usize = 64;
/// Equal presses of one button, without keys, within [`STUCK_WINDOW`] that are events of their own. Those beyond join the last of
/// them and are counted: nobody presses that fast, but a button that sticks does.
pub const PRESSES_APART: usize = 5;
/// See [`PRESSES_APART`]. Once in as long an event says how many presses have joined; a button that was quiet for as long no longer
/// sticks.
pub const STUCK_WINDOW: Span = Span::from_secs(1);
/// After this long a button that sticks is no news: its count is told every [`STUCK_COUNT_RARELY`], so that it does not fill the
/// outbox, and the screens of a station, by itself.
pub const STUCK_FOR_LONG: Span = Span::from_secs(600);
/// See [`STUCK_FOR_LONG`].
pub const STUCK_COUNT_RARELY: Span = Span::from_secs(60);
/// Buttons of which a relay remembers when they were pressed.
pub const BUTTONS_WATCHED: usize = 256;

/// Guard posts of a school that are watched.
pub const DUTY_POSTS: usize = 16;
/// A person of whom a warning was raised is the news of the next one only after this long.
pub const PERSON_APART: Span = Span::from_secs(10);
/// Person warnings that are raised one after the other, before there is one each [`PERSON_EVERY`].
pub const PERSON_BURST: u32 = 10;
/// See [`PERSON_BURST`].
pub const PERSON_EVERY: Span = Span::from_secs(1);
/// People of whom a relay remembers when it warned of them.
pub const PERSONS_WATCHED: usize = 256;

/// Wrong PINs that a relay judges without a pause.
pub const PIN_TRIES: u32 = 5;
/// The first pause after that; it doubles with each wrong one.
pub const PIN_PAUSE: Span = Span::from_secs(60);
/// The longest of these pauses.
pub const PIN_PAUSE_LONGEST: Span = Span::from_secs(900);

/// Escalations that one seat has under way at once.
pub const ESCALATIONS_OPEN: usize = 64;
/// How long a seat says an escalation again before it tells its officer that nobody has confirmed it.
pub const ESCALATION_TIMEOUT: Span = Span::from_secs(10);

/// Steps of one case's history: ten thousand notes and more.
pub const CASE_STEPS: usize = 16_384;
/// Steps of [`CASE_STEPS`] that only the way to a case's end may use: one that was closed is never too long to be.
pub const CASE_STEPS_TO_END: usize = 16;
/// Bytes that the histories of all cases in a region's record take, about. Beyond it only the way to a case's end is taken. Same for all
/// nodes of a region, as the limits of cases above and below.
pub const RECORD_CASE_BYTES: usize = 256 * 1_024 * 1_024;
/// Bytes of a case's history in one row of a snapshot or of the archive; a longer one takes more rows.
pub const CASE_PART_BYTES: usize = 40 * 1_024;
/// Rows of one event in a snapshot or in the archive.
pub const CASE_PARTS: usize = 1_024;
/// Orders about one case that were refused, and are remembered.
pub const CASE_REFUSED: usize = 16;
/// The highest level of a case: station, county, city, province.
pub const CASE_LEVEL: u8 = 4;
/// How long after its closing a case may be reopened.
pub const CASE_REOPEN: Span = Span::from_secs(600);
/// Bytes of the number that the 110 centre gives a case.
pub const CASE_NUMBER_BYTES: usize = 64;
/// Cases of a school that are looked at for what a new alarm has to do with them, the newest.
pub const JOIN_LOOKS: usize = 256;
/// Warnings of one person at one school are one case as long as no more than this passes between two.
pub const JOIN_PERSON_WITHIN: Span = Span::from_secs(300);
/// How long after its closing a case has followers.
pub const JOIN_LINK_WITHIN: Span = Span::from_secs(24 * 3_600);
/// Orders about cases that one seat has under way at once.
pub const CASE_ORDERS_OPEN: usize = 64;
/// How long a seat says an order about a case again before it tells its officer that nobody has confirmed it.
pub const CASE_ORDER_TIMEOUT: Span = Span::from_secs(10);
/// Orders about cases that wait for the record at one broker node; others are said again by whoever has them.
pub const BROKER_CASE_ORDERS: usize = 1_024;
/// Cases of which a seat is told when it comes; the rest it is told of when something happens.
pub const CASES_TOLD: usize = 1_024;

/// Bytes of one encoded command to schools.
pub const COMMAND_BYTES: usize = 4_096;
/// Bytes of a signing certificate, X.509 in DER.
pub const SIGNING_CERTIFICATE_BYTES: usize = 1_536;
/// Bytes of a signature. Ed25519 makes 64.
pub const SIGNATURE_BYTES: usize = 128;
/// Bytes of the signing certificate that an alarm carries: each of its copies does, and one with the longest names has less.
pub const EVENT_CERTIFICATE_BYTES: usize = 768;
/// The shortest and the longest time to live of a command.
pub const COMMAND_TTL: (Span, Span) = (Span::from_secs(5), Span::from_secs(86_400));
/// Zones that one command names.
pub const COMMAND_ZONES: usize = 16;
/// Bytes of what a receipt of a command says in words.
pub const COMMAND_DETAIL_BYTES: usize = 256;
/// Receipts of one command that the record keeps: of some relays of one school.
pub const COMMAND_RECEIPTS: usize = 24;
/// Receipts of commands in one message, or in one command of the record.
pub const COMMAND_RECEIPTS_AT_ONCE: usize = 64;
/// Commands to one school each that a region's record holds; the oldest that have come to an end leave. Same for all nodes of a region, as the
/// three that follow.
pub const RECORD_COMMANDS: usize = 4_096;
/// Notices to areas that it holds. Each takes some bytes for each of its schools.
pub const RECORD_NOTICES: usize = 32;
/// Commands to one school that have not come to an end.
pub const COMMANDS_OF_SCHOOL: usize = 64;
/// The same beyond it, of class P0: a broadcast can always be stopped.
pub const COMMANDS_RESERVED: usize = 64;
/// Commands that wait for the record at one broker node; others are said again by their seats.
pub const BROKER_COMMANDS: usize = 256;
/// Receipts of commands that are under way to the record at one broker node; others are said again by their relays.
pub const BROKER_COMMAND_RECEIPTS: usize = 4_096;
/// Schools to which one broker node carries notices at once.
pub const NOTICE_WINDOW: usize = 512;
/// How long after a command's time to live is over a school that had accepted it may still say what came of it, before it is given up.
pub const COMMAND_GIVE_UP: Span = Span::from_secs(3_600);
/// Commands that one seat has under way to its region at once.
pub const COMMANDS_OPEN: usize = 64;
/// How long a seat says a command again before it tells its officer that nobody has confirmed it.
pub const COMMAND_TIMEOUT: Span = Span::from_secs(10);
/// Commands of which a seat knows how they stand; the oldest are forgotten first.
pub const COMMANDS_KNOWN: usize = 512;
/// Commands of which a seat is told when it comes: the latest of its station.
pub const COMMANDS_TOLD: usize = 64;
/// Commands that a relay remembers, so that none is carried out twice. Of those that are forgotten none older than the youngest is taken again.
pub const RELAY_COMMANDS: usize = 256;
/// Commands that wait at a relay to be heard; of more, those that go last are refused.
pub const RELAY_COMMANDS_WAITING: usize = 32;
/// Schools in one answer about a notice.
pub const NOTICE_PAGE: usize = 250;
/// However late an alarm is taken, its officer has this long before the limits of dispatch and arrival are looked at.
pub const DISPATCH_LEAST: Span = Span::from_secs(15);
/// Schools that one drill lists; more are named by their area.
pub const DRILL_SCHOOLS: usize = 512;
/// The shortest drill.
pub const DRILL_SHORTEST: Span = Span::from_secs(60);
/// How long before it begins a drill is in the record and told to the stations that it touches, at the least.
pub const DRILL_LEAD: Span = Span::from_secs(5);
/// How long before its beginning a drill that the plan registers is announced.
pub const DRILL_ANNOUNCED_BEFORE: Span = Span::from_secs(600);
/// How far ahead a drill may be announced.
pub const DRILL_AHEAD: Span = Span::from_secs(14 * 86_400);
/// How long before its beginning relays are told of a drill: their steady clocks need not run exactly for days.
pub const DRILL_RELAYS_TOLD_BEFORE: Span = Span::from_secs(60);
/// How long after its end a drill's cases are left to the officers who have them, before they close by themselves.
pub const DRILL_GRACE: Span = Span::from_secs(60);
/// How long after it came in the case of a test closes by itself.
pub const TEST_CASE: Span = Span::from_secs(300);
/// Drills that are announced or on, of one region.
pub const DRILLS_OPEN: usize = 256;
/// Drills that a region's record remembers; beyond it those that were over first are forgotten. Same for all nodes of a region.
pub const DRILLS_KEPT: usize = 512;
/// Orders about drills that were refused, and are remembered.
pub const DRILLS_REFUSED: usize = 64;
/// Drills of which one relay is told at once; of more, those that end last.
pub const DRILLS_OF_RELAY: usize = 8;
/// Relays that a broker node tells of a drill in one step.
pub const DRILL_RELAYS_IN_STEP: usize = 256;
/// Orders about drills that one seat has under way at once, and that wait for the record at one broker node.
pub const DRILL_ORDERS_OPEN: usize = 64;
/// How long an order about a drill is said again before whoever gave it is told that nobody has confirmed it.
pub const DRILL_ORDER_TIMEOUT: Span = Span::from_secs(10);
/// Cases that are being closed by themselves at once.
pub const ENDINGS_UNDER_WAY: usize = 256;
/// Schools of which the record knows when they were tested last.
pub const SCHOOLS_TESTED: usize = 65_536;
/// The days after which a test is overdue where the plan says nothing.
pub const TEST_EVERY_DAYS: u16 = 31;
/// The most minutes for which a relay is switched to tests by hand.
pub const TEST_MODE_MINUTES: u16 = 30;

/// After this long without a screen, the presser is told to dial 110.
pub const DIAL_110_AFTER: Span = Span::from_secs(10);
/// How long a station waits for its disk before it shows an event without it.
pub const SHOW_WITHOUT_DISK_AFTER: Span = Span::from_millis(150);
/// QUIC keep-alive.
pub const KEEP_ALIVE: Span = Span::from_secs(10);
/// The same from a station. It has nothing to say while it waits for alarms, so only its keep-alive finds out that a broker node died
/// and came back (which answers with a reset); an alarm waits there for as long. Stations are few and stand on good lines.
pub const STATION_KEEP_ALIVE: Span = Span::from_secs(1);
/// The same over a metered line.
pub const METERED_KEEP_ALIVE: Span = Span::from_secs(45);
/// How often a path is probed.
pub const PROBE_EVERY: Span = Span::from_secs(10);
/// The same over a metered line.
pub const METERED_PROBE_EVERY: Span = Span::from_secs(60);
/// QUIC idle time-out. The shorter of what both ends ask for holds, so a listener asks for [`METERED_IDLE_TIMEOUT`].
pub const IDLE_TIMEOUT: Span = Span::from_secs(30);
/// The same over a metered line.
pub const METERED_IDLE_TIMEOUT: Span = Span::from_secs(150);
/// Bytes a second of alarm copies beyond the first that go over one line by default: 64 kbit/s.
pub const COPY_BYTES_PER_SECOND: u32 = 8_000;
/// Bytes of copies that may go in one burst: what an alarm needs in its first second, for some alarms at once.
pub const COPY_BURST_BYTES: u32 = 12_000;
/// How long a handshake may take before its connection is given up.
pub const HANDSHAKE_TIMEOUT: Span = Span::from_secs(10);
/// The same between the nodes of one region, which are a few milliseconds apart. A node that is not there must not hold its peers up.
pub const PEER_HANDSHAKE_TIMEOUT: Span = Span::from_secs(1);
/// QUIC keep-alive between the nodes of one region.
pub const PEER_KEEP_ALIVE: Span = Span::from_millis(500);
/// QUIC idle time-out between them.
pub const PEER_IDLE_TIMEOUT: Span = Span::from_secs(3);
/// Bytes of the body that may follow a request to a peer: a snapshot of a region's record is a few hundred megabytes.
pub const PEER_BODY_BYTES: u64 = 4 * 1_024 * 1_024 * 1_024;

/// Areas of a plan: a province has some 110 by the codes of GB/T 2260, and the whole country some 3,200.
pub const PLAN_AREAS: usize = 4_096;
/// Stations that a plan lists, duty desks among them.
pub const PLAN_STATIONS: usize = 8_192;
/// Schools of a plan: every node of the region holds all of them in memory.
pub const PLAN_SCHOOLS: usize = 65_536;
/// Regions of a plan.
pub const PLAN_REGIONS: usize = 256;
/// Bytes of a name, an address or a place in a plan (64 Chinese characters).
pub const PLAN_LABEL_BYTES: usize = 192;
/// Bytes of a phone number.
pub const PLAN_PHONE_BYTES: usize = 32;
/// Neighbours of one school.
pub const PLAN_NEIGHBOURS: usize = 8;
/// Zones of one school.
pub const PLAN_ZONES: usize = 16;
/// Devices of one school.
pub const PLAN_DEVICES: usize = 64;
/// People of one school whom others call.
pub const PLAN_CONTACTS: usize = 16;
/// Duty hours of one school.
pub const PLAN_DUTY_HOURS: usize = 16;
/// Registered drills of one school.
pub const PLAN_DRILLS: usize = 32;
/// Minutes of one drill.
pub const PLAN_DRILL_MINUTES: u16 = 30;
/// Thresholds for person warnings of one school.
pub const PLAN_PERSON_LISTS: usize = 16;
/// People of whom one school does not tell.
pub const PLAN_PERSON_MUTES: usize = 32;
/// The least and the most seconds after which an empty guard post is told.
pub const PLAN_ABSENT_SECS: (u16, u16) = (10, 900);
/// The most days between two tests of a school.
pub const PLAN_TEST_DAYS: u16 = 92;
/// Bytes of one part of a plan's change on its way into the record: a command's frame, with room for what stands around it. The largest
/// school fits.
pub const PLAN_PART_BYTES: usize = 56 * 1_024;
/// Parts of one change of the plan.
pub const PLAN_PARTS: u32 = 2_048;
/// Changes of the plan that the record remembers; beyond it the oldest are forgotten.
pub const PLAN_HISTORY: usize = 256;
/// Ends of changes that the record remembers, for whoever asks what became of one.
pub const PLAN_OUTCOMES: usize = 32;
/// Relays that one broker node tells of the plan at once.
pub const PLANS_UNDER_WAY: usize = 64;
/// Mistakes that the record tells of a change that is no plan. A change that was checked before has none.
pub const PLAN_MISTAKES: usize = 16;
/// Bytes of one answer to whoever reads the plan, about.
pub const PLAN_PAGE_BYTES: usize = 1_024 * 1_024;
/// A relay without a session at any node of its region is silent after this long.
pub const RELAY_SILENT_AFTER: Span = Span::from_secs(30);
/// A station without a client at any node is unwatched after this long.
pub const STATION_UNWATCHED_AFTER: Span = Span::from_secs(60);
/// Looks at which one that was silent must be there before it is called back.
pub const BACK_LOOKS: u32 = 3;
/// From one of [`BACK_LOOKS`] to the next.
pub const BACK_LOOK_EVERY: Span = Span::from_secs(10);
/// Relays that fall silent within this time may be one outage.
pub const OUTAGE_WINDOW: Span = Span::from_secs(60);
/// So many of them are one.
pub const OUTAGE_RELAYS: usize = 10;
/// So many of a hundred of all relays are one too, if they are at least [`OUTAGE_LEAST`].
pub const OUTAGE_PERCENT: usize = 20;
/// See [`OUTAGE_PERCENT`]: one of four schools is no mass of them.
pub const OUTAGE_LEAST: usize = 3;
/// An outage that left so many of a hundred of its relays silent is over; those are silent by themselves then.
pub const OUTAGE_REST_PERCENT: usize = 10;
/// A silent relay is told of so long after it fell silent: long enough to see whether many did.
pub const SILENT_TOLD_AFTER: Span = Span::from_secs(10);
/// After this long the silence of a school in its school hours is urgent.
pub const SILENT_URGENT_AFTER: Span = Span::from_secs(180);
/// A node that has watched for less does not call an outage over that it has not seen begin.
pub const OUTAGE_RECALLED: Span = Span::from_secs(600);
/// Numbers of a relay that did not come are told of when for this long none of them has come.
pub const GAP_AFTER: Span = Span::from_secs(300);
/// After this long nobody waits for them any more.
pub const GAP_KEPT: Span = Span::from_secs(24 * 3_600);
/// That a relay's store forgot is shown as a trouble for this long.
pub const STORE_LOSS_TOLD: Span = Span::from_secs(3_600);
/// Boot epochs of one relay whose numbers are followed.
pub const NUMBERS_EPOCHS: usize = 4;
/// Stretches of missing numbers of one epoch that are told apart.
pub const NUMBERS_HOLES: usize = 8;
/// Troubles of a region that are open at once; beyond it further ones are seen in its supervision alone.
pub const RECORD_TROUBLES: usize = 16_384;
/// Stretches of school hours of one area.
pub const PLAN_SCHOOL_HOURS: usize = 16;
/// Holidays of one area.
pub const PLAN_HOLIDAYS: usize = 64;
/// Names in one answer about who holds sessions with a node.
pub const PRESENCE_NAMES: usize = 4_096;
/// Changes that a node remembers for those who ask; whoever knows less is given the whole list.
pub const PRESENCE_CHANGES: usize = 16_384;
/// What a node of the region said of its sessions counts for this long after its last word.
pub const PRESENCE_STALE: Span = Span::from_secs(10);
/// Bytes of a body: a picture, or a minute of speech.
pub const BODY_BYTES: usize = 1_024 * 1_024;
/// Bytes of a picture.
pub const PICTURE_BYTES: usize = 512 * 1_024;
/// Bytes of one chunk of a body; all but the last are full. A body has at most 64.
pub const BODY_CHUNK_BYTES: usize = 16 * 1_024;
/// Chunks of one body that are under way at once: enough for a good line, and little to stand in the queue of a bad one.
pub const BODY_WINDOW: u32 = 4;
/// Bodies that one node takes in at once; their bytes are in memory until they are whole.
pub const BODIES_INCOMING: usize = 32;
/// The same from one sender.
pub const BODIES_INCOMING_OF_ONE: usize = 2;
/// Bodies that one node gives at once; to one receiver one at a time.
pub const BODIES_OUTGOING: usize = 64;
/// Bodies that wait to be given to one receiver.
pub const BODIES_QUEUED: usize = 64;
/// Bodies that a node is to give, or wants, at once.
pub const BODIES_UNDER_WAY: usize = 256;
/// Bodies that were asked for and are not there, of which a node remembers by whom.
pub const BODIES_AWAITED: usize = 1_024;
/// Broker nodes that audio is given to: a region has no more that vote.
pub const BODY_NODES: usize = 5;
/// Bodies on one node's disk.
pub const BODIES_HELD: usize = 262_144;
/// Bytes of bodies of the moment that one node holds in memory.
pub const BODY_LIVE_BYTES: usize = 16 * 1_024 * 1_024;
/// Bytes of bodies to be kept that a node takes from one sender within a day.
pub const BODY_BYTES_A_DAY: u64 = 256 * 1_024 * 1_024;
/// Senders of which a node remembers how much they sent.
pub const BODY_SENDERS: usize = 65_536;
/// Nothing is taken for so long from whoever sent what did not match.
pub const BODY_SHUNNED: Span = Span::from_secs(60);
/// How long a body that is coming in may stand still before what came of it is dropped.
pub const BODY_STALLED: Span = Span::from_secs(120);
/// How long a node remembers who asked for a body that is not there.
pub const BODY_AWAITED: Span = Span::from_secs(600);
/// Pictures of one event that are kept.
pub const PICTURES_PER_EVENT: usize = 16;
/// Bytes of a camera's live address, and of what is said of a picture that could not be taken.
pub const PICTURE_TEXT_BYTES: usize = 256;
/// Cameras of a relay.
pub const RELAY_CAMERAS: usize = 64;
/// Cameras of which pictures are taken at one alarm.
pub const CAMERAS_PER_ALARM: usize = 4;
/// Pictures that a relay takes at once.
pub const CAMERAS_AT_WORK: usize = 4;
/// Pictures that a relay still has to take; those of more alarms are said not to be taken.
pub const PICTURES_WAITING: usize = 64;
/// Pictures of which a relay remembers what became of them.
pub const PICTURES_REMEMBERED: usize = 512;
/// How long a word that an officer looks counts; who goes on looking says it again.
pub const LOOK_LEASE: Span = Span::from_secs(8);
/// From one picture to the next while an officer looks.
pub const LOOK_EVERY: Span = Span::from_secs(2);
/// Alarms that officers look at through one node at once.
pub const LOOKS: usize = 256;
/// Events of which a seat knows the pictures.
pub const ALBUM_EVENTS: usize = 4_096;
/// Pictures of which one broker node remembers when it proposed and told them last.
pub const PICTURES_PROPOSED: usize = 4_096;
