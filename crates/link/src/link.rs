//! The handle through which a driver has sessions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use huxiao_core::{Class, Form, Message, PathId, Span};
use huxiao_pki::Credentials;
use huxiao_wire::encode_within;
use tokio::time::{sleep, timeout_at};

use crate::config::{LinkConfig, Target};
use crate::counters::Counters;
use crate::dial::{self, DialHandle};
use crate::event::{DownReason, LinkError, PathStats};
use crate::lanes::EventSender;
use crate::listen;
use crate::outgoing::{Frame, Push};
use crate::registry::Shared;
use crate::tcp::split_bytes;
use crate::transport::frame_bytes;

/// How often a shutdown looks whether everything has left.
const LOOK_EVERY: Span = Span::from_millis(10);

/// Sessions with other nodes. Cheap to clone; needs a tokio runtime. See the crate's documentation.
#[derive(Clone)]
pub struct Link {
    pub(crate) shared: Arc<Shared>,
}

impl Link {
    /// A link with neither listener nor dialler yet. It tells `events` what happens, and waits when that is full. Nodes take the ends
    /// of [`events`](crate::events), by class; a plain tokio channel will do where classes do not matter.
    ///
    /// # Errors
    /// [`LinkError::Setup`].
    pub fn new(
        credentials: Credentials,
        config: LinkConfig,
        events: impl Into<EventSender>,
    ) -> Result<Self, LinkError> {
        Ok(Self { shared: Shared::new(credentials, config, events.into())? })
    }

    /// Takes sessions in on a UDP address and on the TCP port of the same number, until shutdown. Gives back the address with the
    /// port that it got.
    ///
    /// # Errors
    /// [`LinkError::Bind`], [`LinkError::BindTcp`], [`LinkError::Setup`], [`LinkError::ShutDown`].
    #[expect(clippy::unused_async, reason = "it must be called on a runtime, and says so this way")]
    pub async fn listen(&self, addr: SocketAddr) -> Result<SocketAddr, LinkError> {
        if *self.shared.closing.borrow() {
            return Err(LinkError::ShutDown);
        }
        listen::open(&self.shared, addr)
    }

    /// Keeps one session on each of the target's lanes until the handle is dropped or the link shut down.
    ///
    /// A session can go down right after its `Up`: TLS 1.3 lets a client finish before the server has looked at its certificate.
    #[must_use = "dropping the handle ends the sessions"]
    pub fn dial(&self, target: &Target) -> DialHandle {
        dial::start(&self.shared, target)
    }

    /// Gives a message to a path. Never waits. A [`Form::Datagram`] that cannot be one (too large for the path, a class below P1, a
    /// carrier or a moment without them) goes on a stream. `false` if the path is gone, if the queue of that class is full, or if the
    /// message is longer than a frame of its lane: then it will not be sent (of a list that was split, perhaps a part).
    #[must_use = "a message that was not taken is the caller's to send elsewhere"]
    pub fn send(&self, path: PathId, class: Class, form: Form, message: &Message) -> bool {
        let Some(path) = self.shared.path(path) else { return false };
        let limit = frame_bytes(path.lane);
        let early = matches!(message, Message::Event(_));
        encode_within(message, split_bytes(path.info, limit)).into_iter().all(|bytes| {
            let fits = bytes.len() <= limit;
            let pushed = if fits {
                path.send(&self.shared, form, Frame { class, bytes: Bytes::from(bytes), early })
            } else {
                Push::Full
            };
            if pushed == Push::Full {
                self.shared.tally.messages_refused.add();
            }
            pushed == Push::Taken
        })
    }

    /// The figures of every session.
    #[must_use]
    pub fn stats(&self) -> Vec<PathStats> {
        self.shared.paths().iter().map(|path| path.stats()).collect()
    }

    /// What the link has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.tally.snapshot()
    }

    /// Ends one session. `why` is for this side's logs and its `Down`; the peer is told only that it was closed.
    pub fn close(&self, path: PathId, why: &str) {
        if let Some(path) = self.shared.path(path) {
            path.close(DownReason::Closed(why.to_owned()));
        }
    }

    /// Ends everything: takes nothing more in, waits for what is on its way (at most
    /// [`shutdown_timeout`](LinkConfig::shutdown_timeout) in all), closes every session and tells the peers so.
    pub async fn shutdown(&self) {
        let deadline = Instant::now() + self.shared.config.shutdown_timeout;
        self.shared.closing.send_replace(true);
        let paths = self.shared.paths();
        for path in &paths {
            path.outgoing.close();
        }
        let peers = &self.shared.peers;
        while Instant::now() < deadline && !(peers.is_idle() && paths.iter().all(|path| path.outgoing.is_idle())) {
            sleep(LOOK_EVERY).await;
        }
        for path in &paths {
            path.close(DownReason::Shutdown);
        }
        for endpoint in self.shared.endpoints() {
            endpoint.close(crate::codes::SHUTDOWN, &[]);
            // What cannot be told in time finds out by itself.
            let _ = timeout_at(deadline.into(), endpoint.wait_idle()).await;
        }
        while Instant::now() < deadline && !(peers.is_empty() && self.shared.paths().is_empty()) {
            sleep(LOOK_EVERY).await;
        }
        // Close frames leave with the next turn of each endpoint's task.
        sleep(LOOK_EVERY).await;
        // Whoever still holds this link, and be it the service that this link holds, keeps neither its sockets nor itself by that.
        peers.serve_nobody();
        self.shared.forget_endpoints();
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("node", self.shared.credentials.identity()).finish_non_exhaustive()
    }
}
