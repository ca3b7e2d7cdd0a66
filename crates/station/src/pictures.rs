//! The pictures of a seat: what was said of them, on the disk; getting them; and officers who look.
//!
//! Invariant: a picture is served only as one of an event that this seat was told of, and only under the name of its content.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use huxiao_core::body::{BodyId, Content};
use huxiao_core::video::{Album, Look, Picture, PictureKey, Pictures};
use huxiao_core::{Class, EventId, Form, Lane, Message, Name, NodeName, PathId, Span, limits};
use huxiao_link::{Link, LinkEvent};
use huxiao_runtime::bodies::Bodies;
use huxiao_runtime::drive::Stopped;
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::video_json::{KeptPicture, PictureJson};
use huxiao_store::durable_file;
use tokio::sync::{broadcast, mpsc};

use crate::shell::{Bus, Change};

/// How long a picture of an alarm is asked for by itself. After that, whoever wants it asks anew.
const PATIENCE: Span = Span::from_secs(1_800);
/// The same for one of the moment.
const LIVE_PATIENCE: Span = Span::from_secs(20);
/// How long whoever asks for a picture that is not here waits for it.
const SERVE_WITHIN: Span = Span::from_secs(10);
/// How long whoever looks waits for a picture.
const LOOK_WITHIN: Span = Span::from_secs(12);
/// Words about pictures that may wait; broker nodes say them again to a seat that comes.
const QUEUE: usize = 1_024;

/// The pictures. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Gallery(Arc<State>);

#[derive(Default)]
struct State {
    album: Mutex<Album>,
    express: Mutex<BTreeSet<PathId>>,
    /// What the daemon has, and a seat inside another program does not.
    whole: Option<Whole>,
}

struct Whole {
    bodies: Bodies,
    link: Link,
    dir: PathBuf,
    said: mpsc::Sender<Pictures>,
}

/// The words that have come, for [`Gallery::run`].
pub(crate) struct Said(mpsc::Receiver<Pictures>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gallery {
    /// The gallery of a daemon, with what its folder holds.
    ///
    /// # Errors
    /// What the disk said.
    pub(crate) fn open(dir: &Path, bodies: Bodies, link: Link) -> std::io::Result<(Self, Said)> {
        std::fs::create_dir_all(dir)?;
        let mut pages = Vec::new();
        for entry in std::fs::read_dir(dir)?.flatten() {
            let path = entry.path();
            let event = path.file_stem().and_then(|stem| stem.to_str()?.parse::<EventId>().ok());
            let Some(event) = event.filter(|_| path.extension().is_some_and(|ending| ending == "json")) else {
                continue;
            };
            match read(&path) {
                Ok(pictures) => pages.push(Pictures { event, live: false, pictures }),
                Err(why) => {
                    tracing::error!(path = %path.display(), why, "what was said of pictures cannot be read; it stays there");
                }
            }
        }
        // Their ids are in the order of their times, roughly.
        pages.sort_by_key(|page| page.event);
        let mut album = Album::default();
        for page in pages {
            if let Some(old) = album.add(page).forgotten {
                forget(dir, old);
            }
        }
        let (said, words) = mpsc::channel(QUEUE);
        let whole = Some(Whole { bodies, link, dir: dir.to_path_buf(), said });
        Ok((Self(Arc::new(State { album: Mutex::new(album), express: Mutex::default(), whole })), Said(words)))
    }

    /// Takes what is the gallery's from what happens on a link; `None` if nothing is left for the seat's machine.
    pub(crate) fn tap(&self, event: LinkEvent) -> Option<LinkEvent> {
        match event {
            LinkEvent::Message { message: Message::Pictures(said), .. } => {
                if let Some(whole) = &self.0.whole
                    && whole.said.try_send(said).is_err()
                {
                    tracing::warn!("words about pictures are dropped: too many wait");
                }
                None
            }
            LinkEvent::Up { path, info, .. } if info.lane == Lane::Express => {
                lock(&self.0.express).insert(path);
                Some(event)
            }
            LinkEvent::Down { path, .. } => {
                lock(&self.0.express).remove(&path);
                Some(event)
            }
            event => Some(event),
        }
    }

    /// Takes words in, keeps them, gets the pictures, and tells whoever follows, until the node stops.
    pub(crate) async fn run(self, mut said: Said, bus: Bus, stop: Shutdown) {
        loop {
            let said = tokio::select! {
                () = stop.wait() => return,
                said = said.0.recv() => said,
            };
            let (Some(said), Some(whole)) = (said, &self.0.whole) else { return stop.wait().await };
            let (event, live) = (said.event, said.live);
            let news = lock(&self.0.album).add(said);
            if news.pictures.is_empty() {
                continue;
            }
            let patience = if live { LIVE_PATIENCE } else { PATIENCE };
            for body in news.pictures.iter().filter_map(Picture::body) {
                if whole.bodies.want(body, patience).await.is_err() {
                    return stop.wait().await;
                }
            }
            if !live {
                self.keep(whole, event, news.forgotten).await;
            }
            // Nobody follows: then nobody misses it.
            let _ = bus.send(Arc::new(Change::Pictures(Pictures { event, live, pictures: news.pictures })));
        }
    }

    async fn keep(&self, whole: &Whole, event: EventId, forgotten: Option<EventId>) {
        let kept: Vec<KeptPicture> = lock(&self.0.album).pictures(&event).iter().map(KeptPicture::from).collect();
        let dir = whole.dir.clone();
        let written = tokio::task::spawn_blocking(move || {
            forgotten.iter().for_each(|old| forget(&dir, *old));
            // Strings, numbers and maps with string keys: nothing that JSON cannot hold.
            durable_file::write_new(&file(&dir, event), &serde_json::to_vec(&kept).unwrap_or_default())
        });
        if let Ok(Err(error)) = written.await {
            tracing::error!(alarm_id = %event, %error, "what was said of pictures is not on the disk; a broker node says it again after a start");
        }
    }

    /// The pictures of an event, and the latest of the moment.
    pub(crate) fn of(&self, event: &EventId) -> (Vec<PictureJson>, Vec<PictureJson>) {
        let album = lock(&self.0.album);
        let kept = album.pictures(event).iter().map(PictureJson::new).collect();
        (kept, album.live(event).map(PictureJson::new).collect())
    }

    /// Whether this body is a picture of this event.
    pub(crate) fn shows(&self, event: &EventId, body: &BodyId) -> bool {
        lock(&self.0.album).shows(event, body)
    }

    /// The content of a picture; waits a while for one that is still on its way.
    pub(crate) async fn content(&self, body: BodyId) -> Result<Option<Content>, Stopped> {
        match &self.0.whole {
            Some(whole) => whole.bodies.fetch(body, SERVE_WITHIN).await,
            None => Ok(None),
        }
    }

    /// Keeps audio that an officer wants to be played, and gives it to the region's nodes.
    pub(crate) async fn put(&self, content: Vec<u8>) -> Result<(BodyId, &'static str), String> {
        let whole = self.0.whole.as_ref().ok_or("this seat keeps no bodies")?;
        let (id, media) = whole.bodies.put(content).await?;
        let towards = huxiao_core::body::Towards::Some(limits::BODY_NODES);
        whole.bodies.give(id, towards).await.map_err(|stopped| stopped.to_string())?;
        Ok((id, media.as_str()))
    }

    /// Says that an officer looks, to every node that is there.
    pub(crate) fn look(&self, look: &Look) {
        let Some(whole) = &self.0.whole else { return };
        let paths: Vec<PathId> = lock(&self.0.express).iter().copied().collect();
        for path in paths {
            // It is said again.
            let _ = whole.link.send(path, Class::P2, Form::Stream, &Message::Look(look.clone()));
        }
    }

    /// Looks until the next picture of the moment has come, or it is clear that none will; what cameras answered.
    pub(crate) async fn view(
        &self,
        bus: &Bus,
        (by, officer): (NodeName, Name),
        event: EventId,
        camera: Option<Name>,
    ) -> Result<Vec<PictureJson>, Stopped> {
        let mut changes = bus.subscribe();
        let known: BTreeSet<PictureKey> = lock(&self.0.album).live(&event).map(Picture::key).collect();
        let look = Look { event, camera: camera.clone(), by, officer };
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < LOOK_WITHIN {
            self.look(&look);
            let again = tokio::time::sleep(limits::LOOK_LEASE / 3);
            tokio::pin!(again);
            loop {
                let change = tokio::select! {
                    () = &mut again => break,
                    change = changes.recv() => change,
                };
                let said = match change.as_deref() {
                    Ok(Change::Pictures(said)) if said.live && said.event == event => said,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return Err(Stopped),
                };
                let fits = |picture: &&Picture| camera.as_ref().is_none_or(|name| *name == picture.camera);
                let fresh = said.pictures.iter().filter(fits).filter(|picture| !known.contains(&picture.key()));
                let fresh: Vec<&Picture> = fresh.collect();
                for body in fresh.iter().filter_map(|picture| picture.body()) {
                    self.content(body).await?;
                }
                if !fresh.is_empty() {
                    return Ok(fresh.into_iter().map(PictureJson::new).collect());
                }
            }
        }
        Ok(Vec::new())
    }
}

fn file(dir: &Path, event: EventId) -> PathBuf {
    dir.join(format!("{event}.json"))
}

fn forget(dir: &Path, event: EventId) {
    if let Err(error) = durable_file::remove(&file(dir, event)) {
        tracing::warn!(alarm_id = %event, %error, "what was said of old pictures cannot be removed");
    }
}

fn read(path: &Path) -> Result<Vec<Picture>, String> {
    let content = std::fs::read(path).map_err(|error| error.to_string())?;
    let kept: Vec<KeptPicture> = serde_json::from_slice(&content).map_err(|error| error.to_string())?;
    kept.into_iter().map(Picture::try_from).collect()
}
