//! Pictures and audio: the mover beside a node's machine, its folder, and who waits for what.
//!
//! The decisions are [`huxiao_core::body::Mover`]'s. It has a loop of its own, so what it does costs the loop of the alarms nothing but the look at
//! whether a message is for it.
//!
//! Invariant: a body is said to be here only when it is on stable storage, or in memory if it is of the moment.

use std::path::Path;
use std::sync::Arc;

use huxiao_core::body::{Accepts, BodyId, Content, Input, Media, Mover, MoverConfig, Output, Report, Towards};
use huxiao_core::{Class, Form, Lane, Message, NodeName, Span};
use huxiao_link::{Link, LinkEvent};
use huxiao_store::{Bodies as Folder, BodyError};
use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::config::Config;
use crate::drive::{self, Handle, Inbox, Shell, Stopped, WeakHandle};
use crate::metric::{self, Counter, Gauge};
use crate::shutdown::Shutdown;

/// Reports that a slow reader may fall behind.
const REPORTS: usize = 1_024;

/// The way to a node's bodies. Cheap to clone.
#[derive(Clone)]
pub struct Bodies {
    handle: Handle<Mover>,
    folder: Arc<Folder>,
    reports: broadcast::Sender<Report>,
}

/// A mover that is ready to be driven.
pub struct Moving {
    mover: Mover,
    shell: MoverShell,
    inbox: Inbox<Mover>,
    clock: Clock,
    shutdown: Shutdown,
}

impl Moving {
    /// Drives it until the node stops.
    pub async fn run(self) {
        drop(drive::drive(self.mover, self.shell, self.inbox, self.clock, self.shutdown).await);
    }
}

impl Bodies {
    /// Opens the folder of bodies in the node's `data.dir`, as its `config` says.
    ///
    /// # Errors
    /// [`BodyError::Io`].
    pub async fn open(
        config: &Config,
        accepts: Accepts,
        link: Link,
        (clock, shutdown): (Clock, Shutdown),
    ) -> Result<(Self, Moving), BodyError> {
        let (dir, low_free) = (config.path("data.dir").join("bodies"), config.bytes("store.low_free"));
        let (max_bytes, max_age) = (config.bytes("bodies.max_bytes"), config.duration("bodies.max_age"));
        let (folder, held) =
            tokio::task::spawn_blocking(move || open_folder(&dir, low_free)).await.unwrap_or_else(|error| {
                Err(BodyError::Io {
                    what: "open",
                    path: config.path("data.dir"),
                    source: std::io::Error::other(error.to_string()),
                })
            })?;
        let folder = Arc::new(folder);
        let (handle, inbox) = drive::channel();
        let (reports, _) = broadcast::channel(REPORTS);
        let mover = Mover::new(clock.now(), MoverConfig { accepts, max_bytes, max_age, held });
        let shell = MoverShell { link, folder: folder.clone(), handle: handle.downgrade(), reports: reports.clone() };
        Ok((Self { handle, folder, reports }, Moving { mover, shell, inbox, clock, shutdown }))
    }

    /// Takes what is the mover's from what happens on a link; `None` if nothing is left for the node's machine.
    #[must_use]
    pub fn tap(&self, event: LinkEvent) -> Option<LinkEvent> {
        match event {
            LinkEvent::Message { path, message: Message::Body(word) } => {
                // Peers say again what is dropped, and a mover that cannot follow is not to be filled with more.
                if !self.handle.offer(Input::Message(path, word)) {
                    tracing::debug!(?path, "a word about a body is dropped: too many wait");
                }
                None
            }
            LinkEvent::Up { path, info, ref peer, .. } if info.lane == Lane::Bulk => {
                // One for each session.
                let _ = self.handle.urgent(Input::PathUp(path, peer.identity.node.clone()));
                Some(event)
            }
            LinkEvent::Down { path, .. } => {
                let _ = self.handle.urgent(Input::PathDown(path));
                Some(event)
            }
            event => Some(event),
        }
    }

    /// Keeps a body, durably, and gives its name.
    ///
    /// # Errors
    /// What the disk said, or that it is no body.
    pub async fn put(&self, content: Vec<u8>) -> Result<(BodyId, Media), String> {
        let media = Media::of(&content).ok_or("it is neither a JPEG picture nor Opus or WAV audio")?;
        if content.len() > media.limit() {
            return Err(format!("it has {} bytes; {} may have {}", content.len(), media.as_str(), media.limit()));
        }
        let (folder, size) = (self.folder.clone(), content.len());
        let put = tokio::task::spawn_blocking(move || folder.put(&content)).await;
        let id = put.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        self.handle.input(Input::Added(id, size)).await.map_err(|error| error.to_string())?;
        Ok((id, media))
    }

    /// Gives a body that is here to peers.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn give(&self, id: BodyId, towards: Towards) -> Result<(), Stopped> {
        self.handle.input(Input::Give(id, towards)).await
    }

    /// Gives a picture of the moment to a peer.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn give_live(&self, id: BodyId, content: Content, to: NodeName) -> Result<(), Stopped> {
        self.handle.input(Input::GiveLive(id, content, to)).await
    }

    /// Gets a body from whichever peer has it, if need be for so long.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn want(&self, id: BodyId, patience: Span) -> Result<(), Stopped> {
        self.handle.input(Input::Want(id, patience)).await
    }

    /// What becomes of bodies, from now on.
    #[must_use]
    pub fn reports(&self) -> broadcast::Receiver<Report> {
        self.reports.subscribe()
    }

    /// A body that is here.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn get(&self, id: BodyId) -> Result<Option<Content>, Stopped> {
        if let Some(live) = self.handle.inspect(move |mover| mover.live(&id)).await? {
            return Ok(Some(live));
        }
        let folder = self.folder.clone();
        let read = tokio::task::spawn_blocking(move || folder.get(id)).await;
        match read {
            Ok(Ok(content)) => Ok(Some(content.into())),
            Ok(Err(BodyError::Absent(_))) => Ok(None),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a body cannot be read");
                Ok(None)
            }
            Err(_) => Err(Stopped),
        }
    }

    /// A body, from a peer if it is not here; `None` if none has it within `patience`.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn fetch(&self, id: BodyId, patience: Span) -> Result<Option<Content>, Stopped> {
        let mut reports = self.reports();
        if let Some(content) = self.get(id).await? {
            return Ok(Some(content));
        }
        self.want(id, patience).await?;
        let here = async {
            loop {
                match reports.recv().await {
                    Ok(Report::Here(other)) if other == id => return,
                    Ok(Report::Lost(other)) if other == id => return,
                    // What was missed may have been this one.
                    Err(broadcast::error::RecvError::Lagged(_))
                        if self.handle.inspect(move |m| m.has(&id)).await == Ok(true) =>
                    {
                        return;
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                    _ => {}
                }
            }
        };
        // That it did not come in time is an answer too.
        let _ = tokio::time::timeout(patience, here).await;
        self.get(id).await
    }
}

/// What a folder holds: each body with its size and when it came.
type Held = Vec<(BodyId, usize, huxiao_core::WallTime)>;

fn open_folder(dir: &Path, low_free: u64) -> Result<(Folder, Held), BodyError> {
    let folder = Folder::open(dir)?.leaving(low_free);
    let held = folder.list()?;
    Ok((folder, held))
}

struct MoverShell {
    link: Link,
    folder: Arc<Folder>,
    handle: WeakHandle<Mover>,
    reports: broadcast::Sender<Report>,
}

impl MoverShell {
    /// Does what waits for the disk elsewhere, and brings what came of it back. The mover asks for a bounded number at once.
    fn on_disk(&self, work: impl FnOnce(&Folder) -> Option<Input> + Send + 'static) {
        let (folder, handle) = (self.folder.clone(), self.handle.clone());
        tokio::task::spawn_blocking(move || {
            let input = work(&folder);
            if let (Some(input), Some(handle)) = (input, handle.upgrade()) {
                // A loop that has ended needs no answer.
                let _ = handle.urgent(input);
            }
        });
    }

    fn report(&self, report: Report) {
        match &report {
            Report::Arrived(offer, from) => {
                metric::increment(Counter::Bodies, &["arrived"]);
                metric::add(Counter::BodyBytes, &["received"], offer.size as u64);
                tracing::debug!(body = %offer.id, %from, bytes = offer.size, live = offer.live, "a body has come");
            }
            Report::Given(offer, to) => {
                metric::increment(Counter::Bodies, &["given"]);
                metric::add(Counter::BodyBytes, &["sent"], offer.size as u64);
                tracing::debug!(body = %offer.id, %to, "a body is there");
            }
            Report::NotGiven(id, to, why) => {
                metric::increment(Counter::Bodies, &["not_given"]);
                tracing::debug!(body = %id, %to, %why, "a body is not given");
            }
            Report::Refused(id, from, why) => {
                metric::increment(Counter::Bodies, &["refused"]);
                tracing::debug!(body = %id, %from, %why, "a body is not taken");
            }
            Report::Lost(id) => {
                metric::increment(Counter::Bodies, &["lost"]);
                tracing::warn!(body = %id, "a body that was wanted has not come");
            }
            Report::NotStored(id, why) => {
                metric::increment(Counter::Bodies, &["not_stored"]);
                tracing::error!(body = %id, why, "a body could not be stored");
            }
            Report::Here(_) => {}
        }
        // Nobody waits: then nobody misses it.
        let _ = self.reports.send(report);
    }
}

impl Shell<Mover> for MoverShell {
    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send(path, word) => {
                if !self.link.send(path, Class::P4, Form::Stream, &Message::Body(word)) {
                    // The session is gone or choked; it is said again.
                    tracing::debug!(?path, "a word about a body is not sent");
                }
            }
            Output::Load(id) => self.on_disk(move |folder| {
                let read = folder.get(id).inspect_err(|error| tracing::warn!(%error, "a body cannot be read"));
                let found = read.ok().and_then(|content| Some((Media::of(&content)?, Content::from(content))));
                Some(Input::Loaded(id, found))
            }),
            Output::Store(id, content) => self.on_disk(move |folder| {
                Some(match folder.put(&content) {
                    Ok(_) => Input::Stored(id),
                    Err(error) => Input::StoreFailed(id, error.to_string()),
                })
            }),
            Output::Remove(id) => self.on_disk(move |folder| {
                if let Err(error) = folder.remove(id) {
                    tracing::warn!(%error, "an old body cannot be removed");
                }
                None
            }),
            Output::Report(report) => self.report(report),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of a disk are exact enough in an f64")]
    fn after_step(&mut self, machine: &Mover) {
        let (count, bytes) = machine.held();
        metric::set(Gauge::BodiesHeld, &[], count as f64);
        metric::set(Gauge::BodiesHeldBytes, &[], bytes as f64);
    }
}
