//! Answering the calls of one connection.
//!
//! Invariant: what one call does, or does not do, another does not feel: each is a task, requests are read beside each other, and the
//! large ones of a connection share a bounded room in which the small ones have no part.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use huxiao_core::{Span, limits};
use huxiao_pki::{Peer, Validity};
use quinn::{Connection, RecvStream, SendStream, VarInt, ZeroRttAccepted};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use crate::codes;
use crate::event::DownReason;
use crate::peer::frame::{self, Fault, Status};
use crate::peer::table::Accepted;
use crate::peer::{Answering, Body, PeerFault};
use crate::registry::Shared;

/// Bytes of requests of one connection that are being read or answered at once, those apart that are no longer than [`SMALL_BYTES`].
pub(super) const REQUEST_BYTES: usize = 4 * limits::PEER_FRAME_BYTES;
/// A request that never waits for room.
const SMALL_BYTES: usize = 64 * 1_024;
/// How long a request may take from its stream's beginning to its end, without what follows it.
const REQUEST_TIMEOUT: Span = Span::from_secs(10);
/// How long calls may take to end once the link is closing.
const LAST_CALLS: Span = Span::from_secs(2);

/// Enters a connection that was taken in, if its peer is welcome; `None` if it is not, or nobody answers here.
pub(crate) fn begin(shared: &Arc<Shared>, connection: &Connection, peer: Peer) -> Option<Arc<Accepted>> {
    if peer.identity == *shared.credentials.identity() || *shared.closing.borrow() {
        return None;
    }
    let serving = shared.peers.serving(&peer)?;
    Some(shared.peers.enter(peer, connection.clone(), serving))
}

/// Answers calls until the connection or the link ends.
pub(crate) async fn run(shared: Arc<Shared>, accepted: Arc<Accepted>, confirm: Option<ZeroRttAccepted>) {
    let (node, remote) = (&accepted.peer.identity.node, accepted.connection.remote_address());
    shared.tally.peers_up.add();
    info!(%node, %remote, "peer connected");
    if accepted.peer.validity != Validity::Valid {
        warn!(%node, validity = %accepted.peer.validity, "the peer's certificate is not valid now");
    }
    // A dialler of ours shows no ticket. What comes with one may be a recording until the handshake is over.
    let proven = match confirm {
        Some(confirm) => timeout(shared.config.handshake_timeout, confirm).await.is_ok(),
        None => true,
    };
    if proven {
        answer_all(&shared, &accepted).await;
    } else {
        accepted.connection.close(codes::HANDSHAKE_TIMEOUT, &[]);
    }
    shared.peers.leave(&accepted);
    shared.tally.peers_down.add();
    let why = accepted.connection.close_reason().map_or(DownReason::Shutdown, DownReason::from);
    info!(%node, %remote, %why, "peer disconnected");
}

async fn answer_all(shared: &Arc<Shared>, accepted: &Arc<Accepted>) {
    let connection = &accepted.connection;
    let mut closing = shared.closing.subscribe();
    let room = Arc::new(Semaphore::new(REQUEST_BYTES));
    let mut calls = JoinSet::new();
    let mut bad = 0_u32;
    loop {
        tokio::select! {
            stream = connection.accept_bi() => match stream {
                Ok((send, recv)) => {
                    calls.spawn(answer(Arc::clone(shared), Arc::clone(accepted), Arc::clone(&room), send, recv));
                }
                Err(_) => break,
            },
            Some(done) = calls.join_next() => {
                bad = bad.saturating_add(u32::from(matches!(done, Ok(Ended::Bad))));
                if bad > shared.config.bad_frames {
                    connection.close(codes::BAD_FRAMES, &[]);
                }
            }
            () = async { drop(closing.wait_for(|closing| *closing).await) } => {
                // Nothing new; what was begun has a little time.
                let _ = timeout(LAST_CALLS, async { while calls.join_next().await.is_some() {} }).await;
                connection.close(codes::SHUTDOWN, &[]);
                break;
            }
        }
    }
    // The rest is dropped: nobody is there to hear it.
}

/// How a call ended, as far as the connection must know.
enum Ended {
    Well,
    Bad,
}

/// Answers one call.
async fn answer(
    shared: Arc<Shared>,
    accepted: Arc<Accepted>,
    room: Arc<Semaphore>,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Ended {
    let _under_way = shared.peers.call();
    let read = timeout(REQUEST_TIMEOUT, read_request(&mut recv, &room)).await;
    let (request, head, _held) = match read {
        Ok(Ok(request)) => request,
        Ok(Err(Fault::Lost)) => return Ended::Well,
        Ok(Err(Fault::Reset)) => {
            shared.tally.streams_reset.add();
            let _ = send.reset(codes::GIVEN_UP);
            return Ended::Well;
        }
        Ok(Err(Fault::Frame(error))) => {
            let code = VarInt::from_u32(error.code());
            return unreadable(&shared, &accepted, send, recv, (error.name(), code, &error.to_string())).await;
        }
        Err(_) => {
            let words = "it did not come in time";
            return unreadable(&shared, &accepted, send, recv, ("timeout", codes::FRAME_TIMEOUT, words)).await;
        }
    };
    let given_up = send.stopped();
    let service = async {
        match guarded(|| accepted.serving.service.call(&accepted.peer, request, Body::new(head, recv))).await {
            Some(Ok(answer)) if answer.len() <= limits::PEER_FRAME_BYTES => (Status::Answered, answer),
            Some(Ok(answer)) => {
                let (len, limit) = (answer.len(), limits::PEER_FRAME_BYTES);
                error!(node = %accepted.peer.identity.node, len, "the answer to a peer is longer than any may be");
                (Status::Failed, format!("its answer has {len} bytes, more than the {limit} allowed").into_bytes())
            }
            Some(Err(PeerFault(words))) => (Status::Refused, words.into_bytes()),
            None => {
                error!(node = %accepted.peer.identity.node, "the service panicked over a peer's call");
                (Status::Failed, b"a fault of its own; its log says more".to_vec())
            }
        }
    };
    tokio::select! {
        (status, bytes) = service => {
            shared.tally.peer_answer(match status {
                Status::Answered => "answered",
                Status::Refused => "refused",
                Status::Failed => "failed",
            });
            // A caller that is gone by now does not need it.
            let _ = frame::write_answer(&mut send, status, bytes).await;
        }
        _ = given_up => {
            shared.tally.peer_answer("given_up");
            let _ = send.reset(codes::GIVEN_UP);
        }
    }
    Ended::Well
}

/// Reads a request and, if it has come with it, the beginning of what follows. Large ones wait for room before they are read.
async fn read_request(
    recv: &mut RecvStream,
    room: &Arc<Semaphore>,
) -> Result<(Bytes, Bytes, Option<OwnedSemaphorePermit>), Fault> {
    let len = frame::read_length(recv).await?;
    let held = if len > SMALL_BYTES {
        let bytes = u32::try_from(len).unwrap_or(u32::MAX);
        // Never closed.
        Arc::clone(room).acquire_many_owned(bytes).await.ok()
    } else {
        None
    };
    let request = frame::read_bytes(recv, len).await?;
    // Mostly nothing follows, and the stream's end has come with the request. Once it is read, the peer need not be told that
    // nobody reads on.
    let head = tokio::select! {
        biased;
        chunk = recv.read_chunk(SMALL_BYTES, true) => chunk?.map(|chunk| chunk.bytes).unwrap_or_default(),
        () = std::future::ready(()) => Bytes::new(),
    };
    Ok((request, head, held))
}

/// Tells the caller that its request cannot be read.
async fn unreadable(
    shared: &Shared,
    accepted: &Accepted,
    mut send: SendStream,
    mut recv: RecvStream,
    (name, code, words): (&'static str, VarInt, &str),
) -> Ended {
    let node = &accepted.peer.identity.node;
    debug!(%node, "bad request of a peer: {words}");
    shared.complain(|| format!("a request of {node} cannot be read: {words}"));
    shared.tally.bad_frame(name);
    let _ = recv.stop(code);
    let _ = frame::write_answer(&mut send, Status::Failed, format!("it cannot read the request: {words}").into()).await;
    Ended::Bad
}

/// What a service says, or `None` if it panics, in making its future or in that.
async fn guarded(call: impl FnOnce() -> Answering) -> Option<Result<Vec<u8>, PeerFault>> {
    // What it leaves behind broken is its own, and it is told of no other's.
    let mut answering = catch_unwind(AssertUnwindSafe(call)).ok()?;
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx))) {
        Ok(Poll::Ready(answer)) => Poll::Ready(Some(answer)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}
