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
//! * [`world`], [`day`]: time, and what happens in it.
//! * [`check`], [`judge`], [`bound`]: what must hold, and how long an alarm may take.
//! * [`scenario`]: single situations with their figures.
//!
//! Invariant: a seed decides everything. What a failing seed prints runs it again, step for step.

mod carry;
mod people;
mod power;

pub mod bound;
pub mod check;
pub mod day;
pub mod dial;
pub mod disk;
pub mod fault;
pub mod judge;
pub mod ledger;
pub mod line;
pub mod net;
pub mod node;
pub mod packet;
pub mod profile;
pub mod province;
pub mod quic;
pub mod region;
pub mod run;
pub mod scenario;
pub mod trace;
pub mod world;
