//! The relay's cameras: their configuration, and what stands around their machine.
//!
//! All decisions are [`huxiao_core::video::Cameras`]'s, in a loop of its own beside that of the alarms. It hears of an alarm as everybody else who
//! follows the relay's API does: after the machine has sent it.

mod rows;
mod shell;
mod viewer;

use std::sync::Arc;

use huxiao_core::relay::Relay;
use huxiao_core::video::{Camera, Cameras, Input};
use huxiao_core::{Class, EventId, Kind as EventKind, Lane, Message, Name, Stage, Text, limits};
use huxiao_link::{Link, LinkEvent};
use huxiao_runtime::bodies::Bodies;
use huxiao_runtime::config::{Config, Key, Kind};
use huxiao_runtime::drive::{self, Handle, Stopped};
use huxiao_runtime::host::Base;
use huxiao_runtime::http::HttpUrl;
use tokio::sync::broadcast;

use crate::view::Change;
use rows::Rows;
pub(crate) use viewer::Viewer;

/// Under what the cameras stand in the configuration.
const TABLES: &str = "relay.cameras";

const fn key(path: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { path, kind: Kind::Text, default: Some(default), reloadable: false, help }
}

/// The keys of one camera.
pub(crate) const KEYS: [Key; 3] = [
    key(
        "relay.cameras.*.snapshot_url",
        "",
        "Where the camera gives a JPEG of what it sees: http://[name:password@]host[:port]/path on the school's own network. Asked after an alarm has left.",
    ),
    key("relay.cameras.*.zone", "", "Part of the school that it sees, as buttons have it; empty for all of it."),
    key(
        "relay.cameras.*.address",
        "",
        "Where it can be seen at work: an rtsp:// address, or its 20-digit id by GB/T 28181. Told to officers who look.",
    ),
];

/// One camera as people configure it, for the file to start from.
pub const EXAMPLE: &str = "
# For example, a camera that is asked for a picture at each alarm of its zone.
#[relay.cameras.gate]
#snapshot_url = \"http://192.168.1.64/ISAPI/Streaming/channels/101/picture\"
#zone = \"gate\"
#address = \"34020000001320000001\"
";

/// The cameras, with where each is asked.
fn configured(config: &Config) -> Vec<(Camera, Option<HttpUrl>)> {
    let camera = |name: &str| {
        let text = |key: &str| config.text(&format!("{TABLES}.{name}.{key}"));
        // Whatever is no name or address is a mistake, and told before.
        let url: Option<HttpUrl> = text("snapshot_url").parse().ok();
        let address = Text::new(text("address")).unwrap_or_default();
        let camera = Camera {
            name: Name::new(name).ok()?,
            zone: text("zone").parse().ok(),
            has_snapshots: url.is_some(),
            address,
        };
        Some((camera, url))
    };
    config.tables(TABLES).into_iter().filter_map(camera).collect()
}

/// What the keys' own kinds cannot tell to be wrong: the key, and why.
#[must_use]
pub fn camera_mistakes(config: &Config) -> Vec<(String, String)> {
    let mut mistakes = Vec::new();
    for (index, name) in config.tables(TABLES).into_iter().enumerate() {
        let path = |key: &str| format!("{TABLES}.{name}.{key}");
        let mut wrong = |key: &str, why: String| mistakes.push((path(key), why));
        let [url, zone, address] = ["snapshot_url", "zone", "address"].map(|key| config.text(&path(key)));
        if let Err(why) = url.parse::<HttpUrl>()
            && !url.is_empty()
        {
            wrong("snapshot_url", why);
        }
        if let Err(why) = Name::new(zone)
            && !zone.is_empty()
        {
            wrong("zone", why.to_string());
        }
        if address.len() > limits::PICTURE_TEXT_BYTES {
            wrong("address", format!("it has {} bytes, at most {} may be", address.len(), limits::PICTURE_TEXT_BYTES));
        }
        if url.is_empty() && address.is_empty() {
            wrong("snapshot_url", "a camera needs an address to get pictures from, or one to look at".to_owned());
        }
        if index == limits::RELAY_CAMERAS {
            wrong("snapshot_url", format!("a relay has at most {} cameras", limits::RELAY_CAMERAS));
        }
    }
    mistakes
}

/// The way to a relay's cameras. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Eyes {
    handle: Handle<Cameras>,
}

impl Eyes {
    /// Sets the cameras going.
    pub(crate) fn start(
        base: &mut Base,
        link: &Link,
        bodies: &Bodies,
    ) -> Result<Self, huxiao_runtime::host::StartError> {
        let (cameras, urls): (Vec<Camera>, Vec<Option<HttpUrl>>) = configured(&base.config).into_iter().unzip();
        let rows = Rows::open(&base.config.path("data.dir").join("pictures"));
        let (rows, kept) = rows.map_err(|why| huxiao_runtime::host::StartError::Role(why.to_string()))?;
        let (handle, inbox) = drive::channel();
        let machine = Cameras::new(base.host.clock.now(), cameras, kept);
        let shell = shell::CameraShell::new(link.clone(), bodies.clone(), urls, rows, handle.downgrade());
        let (clock, stop) = (base.host.clock.clone(), base.host.shutdown.clone());
        base.spawn(shell::follow_bodies(bodies.reports(), handle.downgrade(), stop.clone()));
        base.spawn(async move { drop(drive::drive(machine, shell, inbox, clock, stop).await) });
        Ok(Self { handle })
    }

    /// Takes what is the cameras' from what happens on a link; `None` if nothing is left for the relay's machine.
    pub(crate) fn tap(&self, event: LinkEvent) -> Option<LinkEvent> {
        let input = match event {
            LinkEvent::Message { path, message: Message::Look(look) } => Input::Look(path, look),
            LinkEvent::Message { message: Message::PicturesKept(event, keys), .. } => Input::Kept(event, keys),
            LinkEvent::Up { path, info, ref peer, .. } if info.lane == Lane::Express => {
                let _ = self.handle.urgent(Input::PathUp(path, peer.identity.node.clone()));
                return Some(event);
            }
            LinkEvent::Down { path, .. } => {
                let _ = self.handle.urgent(Input::PathDown(path));
                return Some(event);
            }
            event => return Some(event),
        };
        // Whoever looks says it again, and so does a node that has a picture.
        if !self.handle.offer(input) {
            tracing::debug!("a word for the cameras is dropped: too many wait");
        }
        None
    }

    /// Tells the cameras of alarms, until the node stops. First of those that were there when it started.
    pub(crate) async fn watch(
        self,
        relay: Handle<Relay>,
        changes: broadcast::Sender<Arc<Change>>,
        stop: huxiao_runtime::shutdown::Shutdown,
    ) {
        let mut changes = changes.subscribe();
        if self.tell_open(&relay, true).await.is_err() {
            return stop.wait().await;
        }
        loop {
            let change = tokio::select! {
                () = stop.wait() => return,
                change = changes.recv() => change,
            };
            let told = match change {
                Ok(change) => {
                    let sent = change.receipt().is_some_and(|receipt| receipt.stage == Stage::Sent);
                    match change.event() {
                        Some(id) if change.name() == "raised" || sent => self.tell(&relay, id, sent).await,
                        _ => Ok(()),
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.tell_open(&relay, false).await,
                Err(broadcast::error::RecvError::Closed) => Err(Stopped),
            };
            if told.is_err() {
                return stop.wait().await;
            }
        }
    }

    async fn tell(&self, relay: &Handle<Relay>, event: EventId, sent: bool) -> Result<(), Stopped> {
        let read = move |relay: &Relay| {
            let event = &relay.get(&event)?.sealed().event;
            is_pictured(event.class, &event.kind).then(|| event.zone.clone())
        };
        match relay.inspect(read).await? {
            Some(zone) => self.handle.input(Input::Alarm { event, zone, sent }).await,
            None => Ok(()),
        }
    }

    /// Tells of all alarms that are not finished: those of before a start as such.
    async fn tell_open(&self, relay: &Handle<Relay>, restored: bool) -> Result<(), Stopped> {
        let read = |relay: &Relay| {
            let open = relay.events().filter(|view| !view.is_finished());
            let alarms = open.filter(|view| is_pictured(view.sealed().event.class, &view.sealed().event.kind));
            let of = |view: &huxiao_core::relay::EventView| {
                let event = &view.sealed().event;
                (event.id, event.zone.clone(), event.raised_at)
            };
            alarms.rev().take(limits::PICTURES_WAITING).map(of).collect::<Vec<_>>()
        };
        for (event, zone, raised_at) in relay.inspect(read).await? {
            let input = if restored {
                Input::Restored(event, zone, raised_at)
            } else {
                Input::Alarm { event, zone, sent: true }
            };
            self.handle.input(input).await?;
        }
        Ok(())
    }
}

/// Whether pictures belong to an event: to alarms, and not to what takes one back.
fn is_pictured(class: Class, kind: &EventKind) -> bool {
    class <= Class::P1 && *kind != EventKind::Cancel
}
