//! One session: a peer that is known, what waits to be sent to it, and what carries it.
//!
//! Invariants:
//!
//! * What is received is delivered only after the peer was proven; on a dialled path taken up early, that is when the
//!   handshake is over and the same identity answered as before.
//! * Nothing here depends on what carries the session. Each carrier has a file of its own, which gives the session its
//!   [`Carry`] and the future that lives it.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use huxiao_core::{Class, Form, Lane, Message, PathId, PathInfo, Span};
use huxiao_pki::Peer;
use tokio::sync::Notify;

use crate::event::{DownReason, LinkEvent, PathStats};
use crate::outgoing::{Frame, Outgoing, Push};
use crate::registry::{Shared, next_path};

pub(crate) mod quic;

/// What a session is carried by, as far as the rest of the link must know.
pub(crate) trait Carry: fmt::Debug + Send + Sync {
    /// The other end's address, as it is now.
    fn remote(&self) -> SocketAddr;

    /// Ends it at once; the peer is told why, where the carrier can. The session's life then comes to its end.
    fn close(&self, why: &DownReason);

    /// What it has done so far.
    fn figures(&self) -> Figures;

    /// Sends a frame as one datagram, at once and once, if the carrier has those and it fits. `false`: it did not.
    fn datagram(&self, frame: &Bytes) -> bool {
        let _ = frame;
        false
    }

    /// What it is if it is a QUIC connection.
    fn quic(&self) -> Option<&quic::Quic> {
        None
    }
}

/// What a carrier can say of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// The round-trip time, if it knows one.
    pub(crate) rtt: Option<Span>,
    /// Bytes sent, as far down as the carrier can count them.
    pub(crate) sent_bytes: u64,
    /// Bytes received, likewise.
    pub(crate) received_bytes: u64,
    /// UDP datagrams sent; none on TCP.
    pub(crate) sent_datagrams: u64,
    /// UDP datagrams received; none on TCP.
    pub(crate) received_datagrams: u64,
    /// Packets sent; none where the system keeps count and not the link.
    pub(crate) sent_packets: u64,
    /// Of those, lost.
    pub(crate) lost: u64,
    /// Rises with everything that the peer has proven to have sent.
    pub(crate) heard: u64,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) id: PathId,
    pub(crate) peer: Peer,
    pub(crate) lane: Lane,
    pub(crate) info: PathInfo,
    pub(crate) dialled: bool,
    pub(crate) carrier: Box<dyn Carry>,
    pub(crate) outgoing: Outgoing,
    early: AtomicBool,
    confirmed: Notify,
    bad_frames: AtomicU32,
    why: Mutex<Option<DownReason>>,
    since: Instant,
    heard: Mutex<(u64, Instant)>,
}

/// A session that is entered and not yet announced: its path, and the future that lives it and ends with the carrier, saying why.
pub(crate) struct Session {
    pub(crate) path: Arc<Path>,
    pub(crate) life: Pin<Box<dyn Future<Output = DownReason> + Send>>,
}

impl Path {
    /// A session over `carrier` with `peer`, not yet known to anybody.
    pub(crate) fn new(
        shared: &Shared,
        carrier: Box<dyn Carry>,
        peer: Peer,
        info: PathInfo,
        dialled: bool,
        early: bool,
    ) -> Arc<Self> {
        let lane = info.lane;
        let now = Instant::now();
        Arc::new(Self {
            id: next_path(),
            peer,
            lane,
            info,
            dialled,
            outgoing: Outgoing::new(lane, shared.config.queue),
            early: AtomicBool::new(early),
            confirmed: Notify::new(),
            bad_frames: AtomicU32::new(0),
            why: Mutex::new(None),
            since: now,
            heard: Mutex::new((carrier.figures().heard, now)),
            carrier,
        })
    }

    /// Whether the handshake is still under way.
    pub(crate) fn is_early(&self) -> bool {
        self.early.load(Ordering::Acquire)
    }

    /// The handshake is over and the peer is who it was taken for.
    pub(crate) fn confirm(&self) {
        self.early.store(false, Ordering::Release);
        self.outgoing.ready.notify_one();
        self.confirmed.notify_one();
    }

    /// Ends when the handshake is over, for one who waits; never if it comes to nothing.
    pub(crate) async fn proven(&self) {
        if self.is_early() {
            self.confirmed.notified().await;
        }
    }

    /// The other end's address.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.carrier.remote()
    }

    /// Sends a frame, or lets it wait for its turn.
    ///
    /// An alarm, a receipt or a probe that is to go as a datagram leaves at once, beside whatever waits for a stream. Of the classes
    /// below P1 none does, since it would pass what is higher; nor does, before the handshake is over, what must not be repeated.
    pub(crate) fn send(&self, shared: &Shared, form: Form, frame: Frame) -> Push {
        let at_once = form == Form::Datagram && frame.class <= Class::P1 && (frame.early || !self.holds_back());
        if at_once {
            if self.outgoing.is_closed() {
                return Push::Closed;
            }
            if self.carrier.datagram(&frame.bytes) {
                shared.tally.datagrams_sent.add();
                return Push::Taken;
            }
        }
        self.outgoing.push(frame)
    }

    /// Whether only events may leave yet. A server knows its peer from the ticket, and what it sends can be read by nobody
    /// else: it need not wait.
    pub(crate) fn holds_back(&self) -> bool {
        self.dialled && self.is_early()
    }

    /// Ends the session for the reason given first.
    pub(crate) fn close(&self, why: DownReason) {
        // Held until the reason is there: whoever sees the carrier's end asks for it.
        let mut ours = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        self.outgoing.close();
        self.carrier.close(&why);
        ours.get_or_insert(why);
    }

    /// Its figures.
    pub(crate) fn stats(&self) -> PathStats {
        let figures = self.carrier.figures();
        let heard = {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.0 != figures.heard {
                *heard = (figures.heard, Instant::now());
            }
            heard.1.elapsed()
        };
        PathStats {
            path: self.id,
            peer: self.peer.clone(),
            info: self.info,
            remote: self.remote(),
            dialled: self.dialled,
            early: self.is_early(),
            rtt: figures.rtt,
            sent_bytes: figures.sent_bytes,
            received_bytes: figures.received_bytes,
            sent_datagrams: figures.sent_datagrams,
            received_datagrams: figures.received_datagrams,
            sent_packets: figures.sent_packets,
            lost: figures.lost,
            since: self.since.elapsed(),
            heard,
        }
    }

    /// Delivers a message that came whole.
    pub(crate) async fn deliver(&self, shared: &Shared, message: Message) {
        shared.tally.messages_received.add();
        shared.tell(LinkEvent::Message { path: self.id, message }).await;
    }

    /// Delivers a message that came as a datagram, if the driver has room for it now.
    pub(crate) fn offer(&self, shared: &Shared, message: Message) {
        if shared.offer(LinkEvent::Message { path: self.id, message }) {
            shared.tally.messages_received.add();
            shared.tally.datagrams_received.add();
        } else {
            shared.tally.datagrams_dropped.add();
        }
    }

    /// Counts a frame that could not be taken, and ends the session if that is one too many. What a newer version may send is
    /// counted and not held against the peer.
    pub(crate) fn bad_frame(&self, shared: &Shared, name: &'static str, counts: bool) {
        shared.tally.bad_frame(name);
        if !counts {
            return;
        }
        let count = self.bad_frames.fetch_add(1, Ordering::Relaxed) + 1;
        shared.complain(|| {
            format!("bad frame ({name}) from {} at {}, {count} by now", self.peer.identity, self.remote())
        });
        if count > shared.config.bad_frames {
            self.close(DownReason::BadFrames);
        }
    }
}

/// Lives a session to its end, from [`LinkEvent::Up`] to [`LinkEvent::Down`].
pub(crate) async fn run(shared: Arc<Shared>, session: Session) -> DownReason {
    let Session { path, life } = session;
    shared.up(&path).await;
    let end = life.await;
    path.outgoing.close();
    shared.tally.messages_lost.more(path.outgoing.clear());
    let ours = path.why.lock().unwrap_or_else(PoisonError::into_inner).take();
    let why = ours.unwrap_or(end);
    shared.down(&path, &why).await;
    why
}
