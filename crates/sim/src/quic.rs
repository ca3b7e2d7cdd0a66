//! One end of a session: what quinn does with streams and datagrams, as far as it matters when packets are lost.
//!
//! Packets are numbered and acknowledged; what was on a stream and is lost goes again, after three later packets were acknowledged, after 9/8 of
//! a round trip, or after a probe timeout that doubles (RFC 9002 §6). An express session sends with a fixed window, a bulk
//! session with one that halves at each loss (§7). A session dies when nothing came for its idle time (RFC 9000 §10.1).
//!
//! Invariant: what is on a stream is either queued, in a packet whose fate is unknown, or at the receiver, which hands it on once.

use std::collections::{BTreeMap, BTreeSet};

use crate::packet::{Ack, CHUNK, Frame, Load, PAYLOAD, Packet};

/// What a round trip is taken for before one was measured, and the grain of timers (RFC 9002 §6.2.2, §6.1.2).
const INITIAL_RTT: u64 = 333_000;
const GRAIN: u64 = 1_000;
/// How long an acknowledgement may wait for a second packet.
const ACK_DELAY: u64 = 25_000;
const REORDERED: u64 = 3;
/// What may be under way on express, always (`link`'s own figure), and on bulk at first and at the least.
const EXPRESS_WINDOW: u32 = 32 * 1_024;
const FIRST_WINDOW: u32 = 12_000;
const LEAST_WINDOW: u32 = 2_400;
/// Datagrams that wait for a window are few: the courier's budget is smaller than the window.
const NEVER: u64 = u64::MAX;

#[derive(Debug, Clone)]
struct Sent {
    at: u64,
    bytes: u32,
    frames: Vec<Frame>,
}

/// How an end behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Dies after so long without anything heard, in microseconds.
    pub idle: u64,
    /// Sends something after so long, if it is the end that does.
    pub keep_alive: Option<u64>,
    /// Whether its window is fixed.
    pub express: bool,
}

/// One end of a session.
#[derive(Debug, Clone)]
pub struct End {
    manner: Manner,
    next_number: u64,
    next_frame: u64,
    next_stream: u64,
    queue: BTreeMap<(u8, u64), Frame>,
    sent: BTreeMap<u64, Sent>,
    in_flight: u32,
    window: u32,
    grew_at: u64,
    largest_acked: Option<u64>,
    rtt: Option<(u64, u64)>,
    probes_in_row: u32,
    probes: u32,
    last_eliciting: u64,
    loss_at: u64,
    came: Option<Ack>,
    ack_at: u64,
    unacked: u32,
    done: BTreeSet<u64>,
    done_below: u64,
    parts: BTreeMap<u64, BTreeSet<u16>>,
    idle_at: u64,
    may_extend: bool,
    keep_at: u64,
    /// When the driver has said that it will call; kept here so that it need not look it up.
    pub called_at: u64,
    /// How many packets have come.
    pub heard: u64,
}

/// What a call brought about.
#[derive(Debug, Default)]
pub struct Step {
    /// What came, in order.
    pub frames: Vec<Frame>,
    /// The session is over at this end.
    pub dead: bool,
}

impl End {
    /// An end that has said and heard nothing.
    #[must_use]
    pub fn new(now: u64, manner: Manner) -> Self {
        Self {
            manner,
            next_number: 0,
            next_frame: 0,
            next_stream: 0,
            queue: BTreeMap::new(),
            sent: BTreeMap::new(),
            in_flight: 0,
            window: if manner.express { EXPRESS_WINDOW } else { FIRST_WINDOW },
            grew_at: now,
            largest_acked: None,
            rtt: None,
            probes_in_row: 0,
            probes: 0,
            last_eliciting: now,
            loss_at: NEVER,
            came: None,
            ack_at: NEVER,
            unacked: 0,
            done: BTreeSet::new(),
            done_below: 0,
            parts: BTreeMap::new(),
            idle_at: now + manner.idle,
            may_extend: true,
            keep_at: manner.keep_alive.map_or(NEVER, |every| now + every),
            called_at: NEVER,
            heard: 0,
        }
    }

    /// The smoothed round trip, once one was measured.
    #[must_use]
    pub fn rtt(&self) -> Option<u64> {
        self.rtt.map(|(smooth, _)| smooth)
    }

    /// Puts a message on a stream of its own.
    pub fn stream(&mut self, load: &Load) {
        let id = self.next_stream;
        self.next_stream += 1;
        let parts = u16::try_from(load.bytes.div_ceil(CHUNK).max(1)).unwrap_or(u16::MAX);
        for part in 0..parts {
            self.push(Frame::Stream { id, part: (part, parts), load: load.clone() });
        }
    }

    /// Queues a frame.
    pub fn push(&mut self, frame: Frame) {
        self.next_frame += 1;
        self.queue.insert((frame.rank(), self.next_frame), frame);
    }

    /// The packets that go now.
    pub fn flush(&mut self, now: u64) -> Vec<Packet> {
        let mut packets = Vec::new();
        while !self.queue.is_empty() && (self.in_flight < self.window || self.probes > 0) {
            self.probes = self.probes.saturating_sub(1);
            let (mut frames, mut room) = (Vec::new(), PAYLOAD - 6);
            while let Some(entry) = self.queue.first_entry() {
                let len = entry.get().bytes();
                if len > room && !frames.is_empty() {
                    break;
                }
                room = room.saturating_sub(len);
                frames.push(entry.remove());
            }
            packets.push(self.packet(now, frames));
        }
        if packets.is_empty() && self.ack_at <= now {
            packets.push(self.packet(now, Vec::new()));
        }
        packets
    }

    fn packet(&mut self, now: u64, frames: Vec<Frame>) -> Packet {
        let ack = self.came;
        (self.ack_at, self.unacked) = (NEVER, 0);
        let packet = Packet::new(self.next_number, frames, ack);
        self.next_number += 1;
        if packet.elicits() {
            self.in_flight += packet.bytes;
            self.last_eliciting = now;
            if std::mem::take(&mut self.may_extend) {
                self.idle_at = now + self.manner.idle;
            }
            let frames = packet.frames.iter().filter(|frame| frame.is_reliable()).cloned().collect();
            self.sent.insert(packet.number, Sent { at: now, bytes: packet.bytes, frames });
        }
        packet
    }

    /// A packet has come. A doubled one says nothing.
    pub fn receive(&mut self, now: u64, packet: Packet) -> Step {
        let mut step = Step::default();
        if packet.reset {
            step.dead = true;
            return step;
        }
        let elicits = packet.elicits();
        if !self.note(packet.number) {
            return step;
        }
        self.heard += 1;
        (self.idle_at, self.may_extend) = (now + self.manner.idle, true);
        self.keep_at = self.manner.keep_alive.map_or(NEVER, |every| now + every);
        if let Some(ack) = packet.ack {
            self.acked(now, ack);
        }
        for frame in packet.frames {
            match frame {
                Frame::Stream { id, part, load } => {
                    if self.complete(id, part) {
                        step.frames.push(Frame::Stream { id, part, load });
                    }
                }
                Frame::Close => step.dead = true,
                other => step.frames.push(other),
            }
        }
        if elicits {
            self.unacked += 1;
            self.ack_at = if self.unacked > 1 { now } else { self.ack_at.min(now + ACK_DELAY) };
        }
        step
    }

    /// Notes a number. False if it had come before, or is too old to tell.
    fn note(&mut self, number: u64) -> bool {
        let Some(came) = &mut self.came else {
            self.came = Some(Ack { largest: number, mask: 1 });
            return true;
        };
        if number > came.largest {
            let by = number - came.largest;
            came.mask = if by < 64 { came.mask << by | 1 } else { 1 };
            came.largest = number;
            return true;
        }
        let below = came.largest - number;
        let new = below < 64 && came.mask & (1 << below) == 0;
        came.mask |= if new { 1 << below } else { 0 };
        new
    }

    /// Whether this part makes its message whole.
    fn complete(&mut self, id: u64, (part, parts): (u16, u16)) -> bool {
        if id < self.done_below || self.done.contains(&id) {
            return false;
        }
        if parts > 1 {
            let have = self.parts.entry(id).or_default();
            have.insert(part);
            if have.len() < usize::from(parts) {
                return false;
            }
            self.parts.remove(&id);
        }
        self.done.insert(id);
        while self.done.remove(&self.done_below) {
            self.done_below += 1;
        }
        true
    }

    fn acked(&mut self, now: u64, ack: Ack) {
        let lowest = ack.largest.saturating_sub(63);
        let told: Vec<u64> = self.sent.range(lowest..=ack.largest).map(|(number, _)| *number).collect();
        let told: Vec<u64> = told.into_iter().filter(|number| ack.mask >> (ack.largest - number) & 1 == 1).collect();
        if told.is_empty() {
            return;
        }
        for number in told {
            let Some(sent) = self.sent.remove(&number) else { continue };
            self.in_flight -= sent.bytes;
            if number == ack.largest {
                self.measured(now - sent.at);
            }
            if !self.manner.express {
                self.window = self.window.saturating_add(sent.bytes / 2).min(1 << 20);
            }
        }
        self.probes_in_row = 0;
        self.largest_acked = self.largest_acked.max(Some(ack.largest));
        self.find_lost(now);
    }

    fn measured(&mut self, rtt: u64) {
        self.rtt = Some(match self.rtt {
            None => (rtt, rtt / 2),
            Some((smooth, var)) => ((7 * smooth + rtt) / 8, (3 * var + smooth.abs_diff(rtt)) / 4),
        });
    }

    fn find_lost(&mut self, now: u64) {
        self.loss_at = NEVER;
        let Some(largest) = self.largest_acked else { return };
        let patience = (self.rtt.map_or(INITIAL_RTT, |(smooth, _)| smooth) * 9 / 8).max(GRAIN);
        let mut lost = Vec::new();
        for (number, sent) in self.sent.range(..largest) {
            if largest - number >= REORDERED || sent.at + patience <= now {
                lost.push(*number);
            } else {
                self.loss_at = self.loss_at.min(sent.at + patience);
            }
        }
        if !lost.is_empty() && !self.manner.express && now >= self.grew_at + patience {
            (self.window, self.grew_at) = ((self.window / 2).max(LEAST_WINDOW), now);
        }
        for number in lost {
            let Some(sent) = self.sent.remove(&number) else { continue };
            self.in_flight -= sent.bytes;
            sent.frames.into_iter().for_each(|frame| self.push(frame));
        }
    }

    fn probe_at(&self) -> u64 {
        if self.sent.is_empty() {
            return NEVER;
        }
        let (smooth, var) = self.rtt.unwrap_or((INITIAL_RTT, INITIAL_RTT / 2));
        let wait = smooth + (4 * var).max(GRAIN) + ACK_DELAY;
        self.last_eliciting.saturating_add(wait << self.probes_in_row.min(16))
    }

    /// When [`End::timeout`] has something to do.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.ack_at.min(self.loss_at).min(self.probe_at()).min(self.keep_at).min(self.idle_at)
    }

    /// Does what is due. True if the session has died at this end.
    pub fn timeout(&mut self, now: u64) -> bool {
        if self.idle_at <= now {
            return true;
        }
        if self.loss_at <= now {
            self.find_lost(now);
        }
        if self.probe_at() <= now {
            self.probes_in_row += 1;
            self.probe();
        }
        if self.keep_at <= now {
            self.keep_at = self.manner.keep_alive.map_or(NEVER, |every| now + every);
            self.push(Frame::Ping);
        }
        false
    }

    /// Two packets beyond the window: with what was queued or, without that, the oldest that is unacknowledged.
    fn probe(&mut self) {
        self.probes = 2;
        let with_streams: Vec<u64> =
            self.sent.iter().filter(|(_, sent)| !sent.frames.is_empty()).map(|(number, _)| *number).take(2).collect();
        for number in with_streams {
            let frames = self.sent.get_mut(&number).map(|sent| std::mem::take(&mut sent.frames)).unwrap_or_default();
            frames.into_iter().for_each(|frame| self.push(frame));
        }
        if self.queue.is_empty() {
            self.push(Frame::Ping);
        }
    }
}
