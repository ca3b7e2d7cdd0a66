//! Asks cameras, keeps what came of it, and says it.

use std::sync::Arc;

use huxiao_core::body::{BodyId, Content, Media, Report, Towards};
use huxiao_core::relay::HOMES;
use huxiao_core::video::{Cameras, Input, Output, Ticket};
use huxiao_core::{Class, Form, Message, Span, Text, limits};
use huxiao_link::Link;
use huxiao_runtime::bodies::Bodies;
use huxiao_runtime::drive::{Shell, WeakHandle};
use huxiao_runtime::http::{HttpUrl, fetch};
use huxiao_runtime::metric::{self, Counter};
use huxiao_runtime::shutdown::Shutdown;
use tokio::sync::{broadcast, mpsc};

use super::rows::Rows;

/// How long a camera may take.
const PATIENCE: Span = Span::from_secs(5);

/// A change of what is on the disk.
enum Change {
    Keep(huxiao_core::video::Row),
    Forget(huxiao_core::EventId, huxiao_core::video::PictureKey),
}

/// The shell of a relay's cameras.
pub(super) struct CameraShell {
    link: Link,
    bodies: Bodies,
    urls: Arc<Vec<Option<HttpUrl>>>,
    handle: WeakHandle<Cameras>,
    /// Pictures of the moment that were taken and are about to be given.
    live: Arc<std::sync::Mutex<Vec<(BodyId, Content)>>>,
    /// Written in order, by one thread. At most one for each word of the machine, which remembers a bounded number.
    disk: mpsc::UnboundedSender<Change>,
}

impl CameraShell {
    pub(super) fn new(
        link: Link,
        bodies: Bodies,
        urls: Vec<Option<HttpUrl>>,
        rows: Rows,
        handle: WeakHandle<Cameras>,
    ) -> Self {
        let (disk, mut changes) = mpsc::unbounded_channel();
        // Ends with the shell.
        tokio::task::spawn_blocking(move || {
            while let Some(change) = changes.blocking_recv() {
                let done = match &change {
                    Change::Keep(row) => rows.keep(row),
                    Change::Forget(event, key) => rows.forget(*event, key),
                };
                if let Err(error) = done {
                    tracing::error!(%error, "what was said of a picture is not on the disk; after a start it would be said anew");
                }
            }
        });
        Self { link, bodies, urls: Arc::new(urls), handle, live: Arc::default(), disk }
    }

    fn shoot(&self, ticket: Ticket, camera: usize, live: bool) {
        let (bodies, urls, handle) = (self.bodies.clone(), self.urls.clone(), self.handle.clone());
        let kept = self.live.clone();
        tokio::spawn(async move {
            let url = urls.get(camera).and_then(Option::as_ref);
            let answer = match url {
                Some(url) => picture(url).await,
                None => Err("摄像机未配置抓拍地址 | it has no snapshot address".to_owned()),
            };
            let answer = match answer {
                Ok(content) if live => {
                    let (id, size) = (BodyId::of(&content), content.len());
                    remember(&kept, id, content.into());
                    Ok((id, size))
                }
                Ok(content) => {
                    let size = content.len();
                    let put = bodies.put(content).await;
                    put.map(|(id, _)| (id, size)).map_err(|why| format!("本机存储失败 | it could not be kept: {why}"))
                }
                Err(why) => Err(why),
            };
            metric::increment(Counter::Snapshots, &[if answer.is_ok() { "taken" } else { "failed" }]);
            if let Err(why) = &answer {
                let url = url.map(ToString::to_string).unwrap_or_default();
                tracing::warn!(url, why, "a camera gives no picture");
            }
            let answer =
                answer.map(|(id, size)| (id, u32::try_from(size).unwrap_or(u32::MAX))).map_err(|why| said(&why));
            if let Some(handle) = handle.upgrade() {
                // One for each picture that the machine wanted.
                let _ = handle.urgent(Input::Shot(ticket, answer));
            }
        });
    }

    fn give_live(&self, id: BodyId, node: huxiao_core::NodeName) {
        let found = {
            let mut live = self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            live.iter().position(|(known, _)| *known == id).map(|at| live.swap_remove(at).1)
        };
        let (bodies, handle) = (self.bodies.clone(), self.handle.clone());
        tokio::spawn(async move {
            let given = match found {
                Some(content) => bodies.give_live(id, content, node).await.is_ok(),
                None => false,
            };
            if let Some(handle) = handle.upgrade().filter(|_| !given) {
                let _ = handle.urgent(Input::Gone(id));
            }
        });
    }
}

fn remember(live: &std::sync::Mutex<Vec<(BodyId, Content)>>, id: BodyId, content: Content) {
    let mut live = live.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if live.len() >= limits::CAMERAS_AT_WORK {
        live.remove(0);
    }
    live.push((id, content));
}

/// The picture that a camera gives, if it is one.
pub(super) async fn picture(url: &HttpUrl) -> Result<Vec<u8>, String> {
    let content = fetch(url, limits::PICTURE_BYTES, PATIENCE).await;
    let content = content.map_err(|why| format!("摄像机抓拍失败 | the camera gives no picture: {why}"))?;
    if Media::of(&content) != Some(Media::Jpeg) {
        return Err("摄像机返回的不是 JPEG 图片 | what the camera gives is no JPEG".to_owned());
    }
    Ok(content)
}

/// A reason, as long as it may be.
fn said(why: &str) -> Text {
    let clean: String = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Text::new(&clean[..clean.floor_char_boundary(limits::PICTURE_TEXT_BYTES)]).unwrap_or_default()
}

impl Shell<Cameras> for CameraShell {
    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Shoot { ticket, camera, live } => self.shoot(ticket, camera, live),
            // Its end is the shell's.
            Output::Keep(row) => drop(self.disk.send(Change::Keep(row))),
            Output::Forget(event, key) => drop(self.disk.send(Change::Forget(event, key))),
            Output::Give(id) => {
                let bodies = self.bodies.clone();
                tokio::spawn(async move { bodies.give(id, Towards::Some(HOMES)).await });
            }
            Output::GiveLive(id, node) => self.give_live(id, node),
            Output::Say(path, said) => {
                if !self.link.send(path, Class::P2, Form::Stream, &Message::Pictures(said)) {
                    tracing::debug!(?path, "a word about pictures is not sent; it is said again");
                }
            }
            Output::Looked(look) => {
                let camera = look.camera.as_ref().map_or("", huxiao_core::Name::as_str);
                tracing::info!(alarm_id = %look.event, by = %look.by, officer = %look.officer, camera, "an officer looks through the cameras");
            }
        }
    }
}

/// Tells the cameras which pictures of the moment have come to their node, or will not.
pub(super) async fn follow_bodies(
    mut reports: broadcast::Receiver<Report>,
    cameras: WeakHandle<Cameras>,
    stop: Shutdown,
) {
    loop {
        let report = tokio::select! {
            () = stop.wait() => return,
            report = reports.recv() => report,
        };
        let id = match report {
            Ok(Report::Given(offer, _)) => offer.id,
            Ok(Report::NotGiven(id, ..)) => id,
            // What was missed is forgotten by the cameras in time.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return stop.wait().await,
        };
        let Some(cameras) = cameras.upgrade() else { return stop.wait().await };
        let _ = cameras.urgent(Input::Gone(id));
    }
}
