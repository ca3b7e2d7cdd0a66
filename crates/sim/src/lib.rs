//! The whole province in one thread on virtual time, from one seed: relays, broker nodes and stations are the machines of `huxiao-core`, the
//! same code as in production; lines, disks, sessions and people are modelled.
//!
//! ```text
//!  seed ─► day (presses, faults) ─► world ─► machines ─► packets ─► lines ─► packets ─► machines ─► checks
//! ```
//!
//! * [`mod@line`], [`profile`]: what a packet meets: delay, bursts of loss, a queue, doubling, overtaking, cuts one way or both, NATs that forget.
//! * [`packet`], [`quic`], [`net`], [`dial`]: sessions as quinn keeps them: streams that are repeated until acknowledged, datagrams that are not,
//!   windows, keep-alives, idle times, handshakes, tickets, redials, races.
//! * [`disk`], [`node`]: disks that are slow, fail, and forget at a power cut what they had not synced.
//! * [`region`]: the engine of the record: a log, a majority, leaders that die or are cut off; the nodes' journals and snapshots.
//! * [`world`], [`day`]: time, and what happens in it. [`faced`]: how often it did.
//! * [`check`], [`judge`], [`oracle`], [`bound`]: what must hold, and how long an alarm may take.
//! * [`scenario`]: single situations with their figures.
//!
//! Invariant: a seed decides everything. What a failing seed prints runs it again, step for step.

mod carry;
mod journal;
mod people;
mod power;
mod reign;

pub mod bound;
pub mod check;
pub mod day;
pub mod dial;
pub mod disk;
pub mod faced;
pub mod fault;
pub mod judge;
pub mod ledger;
pub mod line;
pub mod net;
pub mod node;
pub mod oracle;
pub mod packet;
pub mod profile;
pub mod province;
pub mod quic;
pub mod region;
pub mod run;
pub mod scenario;
pub mod trace;
pub mod world;
